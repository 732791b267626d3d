"""A tiny Llama through transformers, and through vLLM in process and behind its server: the same tokens.

Run by ``make test-generate`` in an environment of its own. vLLM runs in processes of its own: it sets
threads and environment to its taste.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

from alpaca_analysis.generating import ServerBackend, TransformersBackend, generate, vicuna_prompt
from alpaca_analysis.judging import ChatJudge, JudgeWarning, judge

pytestmark = [pytest.mark.generate, pytest.mark.timeout(900), pytest.mark.filterwarnings("default")]


def text_of(record):
    """Return what was written; the tiny model knows no end, and most of its answers are cut off."""
    return record["output"] or record["partial"]


CONVERSATION = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"},
]
PROMPTS = ["Say hello.", "What is a list comprehension?", "Émile: 1 + 1 = ?", "Why?", CONVERSATION]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    for name in ("torch", "transformers"):
        pytest.importorskip(name, reason=f"{name} has an environment of its own: make test-generate")
    import tiny_llama

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_llama.build(folder)
    return folder


def token_ids(cache, prompts=PROMPTS):
    """Return the token ids that were kept for each prompt."""
    kept = {}
    with sqlite3.connect(cache) as connection:
        for request, answer in connection.execute("SELECT request, answer FROM answers"):
            kept[json.dumps(json.loads(request)["messages"], sort_keys=True)] = json.loads(answer)[
                "token_ids"
            ]
    connection.close()
    conversations = [[{"role": "user", "content": p}] if isinstance(p, str) else p for p in prompts]
    return [kept[json.dumps(c, sort_keys=True)] for c in conversations]


@pytest.fixture(scope="module")
def backend(tiny):
    return TransformersBackend(tiny, dtype="float32", batch_size=1)


@pytest.fixture(scope="module")
def greedy(backend, tmp_path_factory):
    """Outputs and token ids, one prompt at a time."""
    cache = tmp_path_factory.mktemp("one") / "a.sqlite"
    made = generate(PROMPTS, backend, cache=cache, max_tokens=24)
    return [text_of(r) for r in made.records], token_ids(cache)


def test_transformers_equals_its_own_plain_generate(tiny, greedy):
    """The oracle: transformers called by hand on the prompts written by hand."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    found = []
    for prompt in PROMPTS:
        ids = tokenizer(vicuna_prompt(prompt), return_tensors="pt").input_ids
        assert ids[0].tolist().count(tokenizer.bos_token_id) == 1
        found.append(model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :].tolist())
    assert greedy[1] == found
    assert greedy[0] == tokenizer.batch_decode(found, skip_special_tokens=True)
    assert len(set(map(tuple, found))) == len(PROMPTS)


def test_batches_padded_on_the_left_change_nothing(tiny, greedy, tmp_path):
    batched = TransformersBackend(tiny, dtype="float32", batch_size=4)
    generate(PROMPTS, batched, cache=tmp_path / "b.sqlite", max_tokens=24)
    assert token_ids(tmp_path / "b.sqlite") == greedy[1]


def test_a_run_is_resumed(backend, greedy, tmp_path):
    cache = tmp_path / "c.sqlite"
    generate(PROMPTS[:2], backend, cache=cache, max_tokens=24)
    whole = generate(PROMPTS, backend, cache=cache, max_tokens=24)
    assert (whole.n_cached, whole.n_asked) == (2, 3)
    assert [text_of(r) for r in whole.records] == greedy[0]


def test_sampling_is_repeatable_by_its_seed(backend, greedy, tmp_path):
    options = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 24}
    made = [generate(PROMPTS, backend, cache=False, seed=seed, **options).records for seed in (7, 7, 8)]
    assert made[0] == made[1] != made[2]
    assert [text_of(r) for r in made[0]] != greedy[0]


def test_stop_strings_end_an_answer(backend, greedy, tmp_path):
    text = greedy[0][0]
    stopped = generate(PROMPTS[:1], backend, cache=False, max_tokens=24, stop=[text[8:12]]).records[0][
        "output"
    ]
    assert stopped == text[: text.index(text[8:12])]


def test_the_tokenizers_own_template_is_the_vicuna_template(backend):
    for conversation in ([{"role": "user", "content": "  Hi {x}\n"}], CONVERSATION):
        made = backend.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        assert made == vicuna_prompt(conversation)
    with pytest.raises(Exception, match="found role assistant, expected user"):
        backend.tokenizer.apply_chat_template([{"role": "assistant", "content": "x"}], tokenize=False)


@pytest.fixture(scope="module")
def vllm(tiny):
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        pytest.skip("vLLM has an environment of its own: make test-generate")


IN_PROCESS = """
    import json, sys
    from alpaca_analysis.generating import VLLMBackend, generate
    folder, cache, prompts = sys.argv[1:]
    engine = dict(dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=8, seed=0,
                  distributed_executor_backend="uni")
    made = generate(json.loads(prompts), VLLMBackend(folder, engine=engine), cache=cache, max_tokens=24)
    print("RESULT" + json.dumps([[r["output"] or r["partial"] for r in made.records], made.settings["versions"]]))
"""


@pytest.mark.usefixtures("vllm")
def test_vllm_in_process_gives_the_same_tokens(tiny, greedy, tmp_path):
    cache = tmp_path / "v.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_PROCESS), str(tiny), str(cache), json.dumps(PROMPTS)],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    texts, versions = json.loads(done.stdout.rpartition("RESULT")[2])
    assert token_ids(cache) == greedy[1]
    assert texts == greedy[0]
    assert versions["vllm"]


@pytest.fixture(scope="module")
def vllm_server(tiny, vllm, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.txt"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "1024", "--served-model-name", "tiny"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **ENVIRONMENT})
    try:
        deadline = time.monotonic() + 600
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.3)
        else:
            pytest.fail(log.read_text()[-3000:])
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_vllms_server_gives_the_same_texts(vllm_server, greedy, tmp_path, endpoint):
    # Chat templates are applied without <s>; completions add it, as training did.
    extra = {"add_special_tokens": True} if endpoint == "chat" else {}
    server = ServerBackend("tiny", endpoint=endpoint, base_url=vllm_server, extra=extra)
    made = generate(PROMPTS, server, cache=tmp_path / "s.sqlite", max_tokens=24)
    # What a server sends goes on from the prompt: a first word has its space, which a text alone has not.
    assert [text_of(r).removeprefix(" ") for r in made.records] == greedy[0]


@pytest.mark.parametrize("design", ["one_token", "ranking", "batched_choice"])
def test_vllms_server_is_asked_as_a_judge(vllm_server, tmp_path, design):
    """A random model judges nothing; but all is asked, paid and kept, and a second run asks nothing."""
    mine = [{"instruction": f"Q{i}", "output": "yes", "generator": "mine"} for i in range(4)]
    theirs = [{"instruction": f"Q{i}", "output": "no", "generator": "theirs"} for i in range(4)]
    asked = ChatJudge("tiny", design=design, base_url=vllm_server, price=(1.0, 1.0))
    with pytest.warns(JudgeWarning, match="were not judged"):
        first = judge(mine, theirs, judge=asked, cache=tmp_path / "j.sqlite")
    assert first.n_asked == (1 if design == "batched_choice" else 4)
    assert first.cost > 0
    reasons = {r["reason"] for r in first.records}
    assert not [r for r in reasons if "failed" in r or r == "no logprobs"]
    with pytest.warns(JudgeWarning):
        second = judge(mine, theirs, judge=asked, cache=tmp_path / "j.sqlite")
    assert (second.n_asked, second.cost, second.records) == (0, 0.0, first.records)
