"""A tiny Llama through transformers, and through vLLM in process and behind its server: the same tokens.

Run by ``make test-generate`` in an environment of its own. vLLM runs in processes of its own: it sets
threads and environment to its taste.
"""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

from alpaca_analysis.generating import (
    ConversationError,
    GenerateWarning,
    Sampling,
    ServerBackend,
    TransformersBackend,
    generate,
    vicuna_prompt,
)
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


@pytest.mark.parametrize("top_k", [None, 50])
def test_sampling_equals_the_plain_call_of_the_article(tiny, backend, tmp_path, top_k):
    """The oracle: ``generate(**inputs, max_new_tokens=..., temperature=0.7)`` as Xwin-LM's page has it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    of_all = {} if top_k else {"top_k": 0}  # transformers' own default is 50
    found = []
    for prompt in PROMPTS:
        inputs = tokenizer(vicuna_prompt(prompt), return_tensors="pt")
        torch.manual_seed(11)
        samples = model.generate(**inputs, do_sample=True, max_new_tokens=24, temperature=0.7, **of_all)
        found.append(samples[0][inputs["input_ids"].shape[1] :].tolist())
    cache = tmp_path / "k.sqlite"
    generate(PROMPTS, backend, cache=cache, max_tokens=24, temperature=0.7, seed=11, top_k=top_k)
    assert token_ids(cache) == found


def test_the_call_of_the_article_to_the_letter_takes_the_likeliest_token(tiny, greedy):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny)
    inputs = tokenizer(vicuna_prompt(PROMPTS[0]), return_tensors="pt")
    samples = model.float().generate(**inputs, max_new_tokens=24, temperature=0.7)
    assert samples[0][inputs["input_ids"].shape[1] :].tolist() == greedy[1][0]


LONG = "Why? " * 1000  # beyond the 1,024 tokens of the tiny model


def test_a_prompt_beyond_the_context_is_not_answered_and_costs_no_other(tiny, greedy, tmp_path):
    batched = TransformersBackend(tiny, dtype="float32", batch_size=9)
    cache = tmp_path / "l.sqlite"
    with pytest.warns(GenerateWarning, match="where the model's context has 1,024"):
        made = generate([LONG, *PROMPTS], batched, cache=cache, max_tokens=24)
    assert made.records[0]["output"] is None
    assert made.records[0]["reason"].startswith("a prompt of ")
    assert token_ids(cache) == greedy[1]
    with pytest.warns(GenerateWarning):
        again = generate([LONG, *PROMPTS], batched, cache=cache, max_tokens=24)
    assert (again.n_cached, again.records) == (6, made.records)


@pytest.mark.parametrize("rotary", [True, False])
def test_an_answer_ends_with_the_context(tiny, tmp_path, monkeypatch, rotary):
    """Prompts of different lengths, together: each has its own room, and is told as cut off."""
    batched = TransformersBackend(tiny, dtype="float32", batch_size=4)
    if not rotary:
        for name in [name for name in vars(batched.network.config) if name.startswith("rope")]:
            monkeypatch.delattr(batched.network.config, name)
    prompts = ["Why? " * 200, "Why? " * 201, "Hi"]
    lengths = [len(batched.token_ids([{"role": "user", "content": prompt}])) for prompt in prompts]
    monkeypatch.setattr(batched, "_context", lambda: max(lengths) + 2)
    cache = tmp_path / "e.sqlite"
    made = generate(prompts, batched, cache=cache, max_tokens=6)
    assert [len(ids) for ids in token_ids(cache, prompts)] == [min(6, max(lengths) + 2 - n) for n in lengths]
    assert [record["finish_reason"] for record in made.records] == ["length"] * 3


def test_a_malformed_conversation_is_told_before_anything_is_asked(backend, monkeypatch):
    monkeypatch.setattr(backend, "answers", lambda requests: pytest.fail("asked"))
    with pytest.raises(ConversationError, match=r"prompts, row 1: .*found role assistant, expected user"):
        generate(["Hi", [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]], backend)


def test_device_and_revision_are_written_down(tiny, tmp_path):
    placed = TransformersBackend(tiny, dtype="float32", device="cpu", revision="main")
    with pytest.warns(GenerateWarning):
        made = generate(["Hi"], placed, cache=False, max_tokens=1, top_k=5)
    assert (made.settings["device"], made.settings["revision"]) == ("cpu", "main")
    assert made.settings["sampling"]["top_k"] == 5
    assert placed.request([{"role": "user", "content": "Hi"}], Sampling())["revision"] == "main"
    with pytest.raises(ValueError, match="device: found 'cpu' beside device_map='auto'"):
        TransformersBackend(tiny, device="cpu", device_map="auto")


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
    backend = VLLMBackend(folder, engine=engine)
    made = generate([*json.loads(prompts), "Why? " * 600], backend, cache=cache, max_tokens=24)
    sampled = generate(["Hi"], backend, cache=False, max_tokens=8, temperature=1.0, top_k=1).records
    greedy = generate(["Hi"], backend, cache=False, max_tokens=8).records
    assert [r["partial"] for r in sampled] == [r["partial"] for r in greedy]  # the likeliest token alone
    print("RESULT" + json.dumps([[r["output"] or r["partial"] for r in made.records], made.settings,
                                 made.records[-1]["reason"]]))
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
    texts, settings, reason = json.loads(done.stdout.rpartition("RESULT")[2])
    assert token_ids(cache) == greedy[1]
    assert texts == [*greedy[0], None]
    assert re.fullmatch(r"a prompt of [\d,]+ tokens, where the model's context has 512", reason)
    assert settings["versions"]["vllm"]
    assert settings["device"] == "cpu"


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
        first = judge(mine, theirs, judge=asked, order="random", cache=tmp_path / "j.sqlite")
    assert first.n_asked == (1 if design == "batched_choice" else 4)
    assert first.cost > 0
    reasons = {r["reason"] for r in first.records}
    assert not [r for r in reasons if "failed" in r or r == "no logprobs"]
    with pytest.warns(JudgeWarning):
        second = judge(mine, theirs, judge=asked, order="random", cache=tmp_path / "j.sqlite")
    assert (second.n_asked, second.cost, second.records) == (0, 0.0, first.records)
