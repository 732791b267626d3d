"""Outputs from functions and from a real server on this machine, resumed and written down."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.asking.ask import ask_in_batches
from alpaca_analysis.generating import (
    AnswerStore,
    FunctionBackend,
    GenerateWarning,
    Sampling,
    ServerBackend,
    generate,
    vicuna_prompt,
)
from alpaca_analysis.generating.backends import Backend

PROMPTS = [f"Say {word}." for word in ("one", "two", "three", "four", "five")]


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append((self.path, body))
            fault = self.server.faults.pop(0) if self.server.faults else None
        if self.path.endswith("/chat/completions"):
            choice = {"message": {"role": "assistant", "content": body["messages"][-1]["content"].upper()}}
        else:
            choice = {"text": body["prompt"].split("USER: ")[-1]}
        reply = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        data = json.dumps({"error": "no"} if fault else reply).encode()
        self.send_response(fault or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "5")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as running:
        running.lock, running.bodies, running.faults = threading.Lock(), [], []
        running.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.mark.slow
def test_chat_sends_messages_and_the_sampling(server, cache):
    made = generate(PROMPTS, ServerBackend("tiny", base_url=server.url), cache=cache, max_tokens=9, seed=3)
    assert [r["output"] for r in made.records] == [p.upper() for p in PROMPTS]
    path, body = server.bodies[0]
    assert path == "/v1/chat/completions"
    assert body | {"messages": None} == {
        "model": "tiny",
        "messages": None,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 9,
        "seed": 3,
    }


def test_completions_get_the_vicuna_prompt(server, cache):
    backend = ServerBackend("tiny", base_url=server.url, endpoint="completions")
    conversation = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
    ]
    made = generate([conversation], backend, cache=cache, stop=["USER:"])
    assert server.bodies[0][1]["prompt"] == vicuna_prompt(conversation)
    assert server.bodies[0][1]["stop"] == ["USER:"]
    assert made.records[0] == {
        "dataset": None,
        "instruction": "Hi\n\nBye",
        "output": "Bye ASSISTANT:",
        "generator": "tiny",
        "finish_reason": None,
        "reason": "",
        "partial": None,
        "messages": conversation,
    }


@pytest.mark.slow
def test_a_second_run_asks_nothing_and_other_settings_ask_again(server, cache):
    backend = ServerBackend("tiny", base_url=server.url)
    generate(PROMPTS[:3], backend, cache=cache)
    more = generate(PROMPTS, backend, cache=cache)
    assert (more.n_cached, more.n_asked, len(server.bodies)) == (3, 2, 5)
    for options in ({"temperature": 0.7}, {"seed": 1}, {"max_tokens": 5}, {"top_p": 0.9}):
        assert generate(PROMPTS[:1], backend, cache=cache, **options).n_asked == 1


def test_failures_are_told_and_asked_again(server, cache):
    backend = ServerBackend("tiny", base_url=server.url, max_retries=0)
    server.faults = [503]
    with pytest.warns(GenerateWarning, match="1 of 5 prompts were not answered: 1 x .*state 503"):
        made = generate(PROMPTS, backend, cache=cache, concurrency=1)
    assert [r["output"] for r in made.records] == [None] + [p.upper() for p in PROMPTS[1:]]
    assert generate(PROMPTS, backend, cache=cache).n_asked == 1


def test_the_shell_says_by_its_exit_code_that_answers_are_missing(server, tmp_path, monkeypatch, capsys):
    from alpaca_analysis.cli import main

    monkeypatch.setattr("alpaca_analysis.generating.run.default_path", lambda: tmp_path / "answers.sqlite")
    (tmp_path / "p.json").write_text(json.dumps([{"instruction": p} for p in PROMPTS]))
    words = ["generate", str(tmp_path / "p.json"), "--model", "tiny", "--base-url", server.url]
    server.faults = [400]
    for code, asked in ((1, 5), (0, 6)):
        with pytest.raises(SystemExit) as left:
            main([*words, "--concurrency", "1", "--out", str(tmp_path)])
        assert (left.value.code, len(server.bodies)) == (code, asked)
        said = json.loads((tmp_path / "tiny" / "model_outputs.json").read_text())
        assert [r["output"] is None for r in said] == [code == 1] + [False] * 4
        assert ("1 of 5 prompts were not answered" in capsys.readouterr().err) == (code == 1)


def test_money_is_held_to_its_limit(server, cache):
    backend = ServerBackend("tiny", base_url=server.url, price=(0.0, 1e6))  # a dollar a token
    with pytest.warns(GenerateWarning, match="3 of 5 prompts were not answered"):
        made = generate(PROMPTS, backend, cache=cache, max_tokens=4, max_cost=7.5, concurrency=1)
    assert made.cost == pytest.approx(6.0)
    with pytest.raises(ValueError, match="has no price"):
        generate(PROMPTS, ServerBackend("tiny", base_url=server.url), cache=cache, max_cost=1)


def test_the_file_is_alpaca_evals_with_the_settings_beside_it(server, cache, tmp_path):
    prompts = pd.DataFrame({"instruction": PROMPTS, "dataset": "own"})
    path = generate(prompts, ServerBackend("org/tiny", base_url=server.url), cache=cache).save(
        tmp_path / "results"
    )
    assert path == tmp_path / "results" / "org_tiny" / "model_outputs.json"
    read = aa.read_outputs(path)
    assert read["length"].tolist() == [len(p) for p in PROMPTS]
    settings = json.loads(path.with_name("model_outputs.settings.json").read_text())
    assert settings["sampling"] == {
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 2048,
        "seed": 0,
        "stop": [],
    }
    assert settings["address"] == server.url
    again = generate(path, FunctionBackend(lambda m: m[-1]["content"], name="echo"))
    assert [r["output"] for r in again.records] == PROMPTS
    assert again.records[0]["dataset"] == "own"


class Counting(Backend):
    """A backend in process that counts, and dies when told."""

    name, batch_size = "counting", 2

    def __init__(self, die_at=None):
        self.batches, self.die_at = [], die_at

    @property
    def settings(self):
        return {"backend": "counting"}

    def answers(self, requests):
        if len(self.batches) == self.die_at:
            raise KeyboardInterrupt
        self.batches.append([r["messages"][-1]["content"] for r in requests])
        return [{"text": str(len(r["messages"][-1]["content"]))} for r in requests]


def test_an_interrupted_run_goes_on_where_it_stopped(cache, capsys):
    with pytest.raises(KeyboardInterrupt):
        generate(PROMPTS, Counting(die_at=1), cache=cache)
    assert capsys.readouterr().err == f"interrupted: 2 answers are kept in {cache}\n"
    backend = Counting()
    made = generate(PROMPTS, backend, cache=cache)
    assert backend.batches == [PROMPTS[2:4], PROMPTS[4:]]
    assert (made.n_cached, made.n_asked) == (2, 3)
    assert [r["output"] for r in made.records] == [str(len(p)) for p in PROMPTS]


def test_a_prompt_that_occurs_twice_is_asked_once(cache):
    backend = Counting()
    made = generate(["a", "b", "a", "a", "c"], backend, cache=cache)
    assert sorted(p for batch in backend.batches for p in batch) == ["a", "b", "c"]
    assert [r["output"] for r in made.records] == ["1"] * 5


def test_batches_without_a_store():
    answers = ask_in_batches(
        [{"x": i} for i in range(5)], lambda batch: [{"y": r["x"]} for r in batch], batch_size=2
    )
    assert [a.answer["y"] for a in answers] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_claims_of_a_dead_process_lapse(cache):
    with AnswerStore(cache, lease=0.2) as dead, AnswerStore(cache, lease=0.2) as alive:
        assert dead.claim("k") == "mine"
        assert alive.claim("k") == "busy"
        with dead.renewing():
            threading.Event().wait(0.5)
            assert alive.claim("k") == "busy"
        threading.Event().wait(0.4)
        assert alive.claim("k") == "mine"
        alive.put("k", {}, {"text": "x"})
        assert dead.claim("k") == {"text": "x"}
        assert alive.count() == 1


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "at least one prompt"),
        ([{"prompt": "x"}], "row 0: .*a field 'instruction' of text"),
        ([""], "row 0: .*a message of the user"),
    ],
)
def test_bad_prompts_are_refused(prompts, message):
    with pytest.raises(aa.AnnotationError, match=message):
        generate(prompts, FunctionBackend(str))


def test_a_prompt_is_not_a_path():
    with pytest.raises(FileNotFoundError, match="put a single prompt into a list"):
        generate("Say hello.", FunctionBackend(str))


def test_sampling_is_greedy_unless_asked():
    assert Sampling() == Sampling(temperature=0.0, top_p=1.0, max_tokens=2048, seed=0, stop=())


# --- what is no answer -----------------------------------------------------------------------------


def replied(content, reason="stop", **message):
    return {"reply": {"choices": [{"message": {"content": content, **message}, "finish_reason": reason}]}}


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (replied("Half a sent", "length"), "length", "cut off"),
        (replied("", "content_filter"), "content_filter", "withheld"),
        (replied(None), "empty", "an empty answer"),
        (replied("<think>Hm, what"), "empty", "an empty answer"),
        (replied(None, refusal="I will not."), "refusal", "the model refused: I will not."),
        (replied("", "tool_calls", tool_calls=[{"id": "1"}]), "tool_calls", "a call of a tool"),
        (replied("Partly", "error"), "error", "the server ended the answer"),
    ],
)
def test_what_is_no_answer_is_no_output(answer, kind, says, cache, monkeypatch):
    """Kept as an empty text, it would be judged as a loss."""
    backend = ServerBackend("tiny", base_url="http://127.0.0.1:1/v1")
    monkeypatch.setattr(backend, "answer", lambda request: answer | {"seconds": 0.0, "date": "2026-01-01"})
    with pytest.warns(GenerateWarning, match=f"1 of 1 prompts were not answered: 1 x {says}"):
        made = generate(["Say hello."], backend, cache=cache)
    record = made.records[0]
    assert (record["output"], made.n_unanswered) == (None, 1)
    assert record["reason"].startswith(says)
    assert record["partial"] == {"length": "Half a sent", "error": "Partly"}.get(kind)
    with pytest.warns(GenerateWarning):
        assert generate(["Say hello."], backend, cache=cache).n_cached == 1
    good = replied("<think>Let me see.</think>Hello!") | {"seconds": 0.0, "date": "2026-01-01"}
    monkeypatch.setattr(backend, "answer", lambda request: good)
    made = generate(["Say hello."], backend, cache=cache, ask_again=[kind])
    assert (made.records[0]["output"], made.n_asked) == ("Hello!", 1)
    assert generate(["Say hello."], backend, cache=cache, ask_again=[kind]).n_cached == 1


def test_a_function_that_raises_costs_its_own_prompt_only():
    def moody(messages):
        if messages[-1]["content"] == "b":
            raise ValueError("no b")
        return "yes"

    with pytest.warns(
        GenerateWarning,
        match="1 of 3 prompts were not answered: 1 x failed: the function raised ValueError: no b",
    ):
        made = generate(["a", "b", "c"], moody)
    assert [record["output"] for record in made.records] == ["yes", None, "yes"]


def test_a_function_with_a_version_is_asked_once_and_side_by_side(cache):
    lock, seen, active, peak = threading.Lock(), [], [0], [0]

    def shout(messages):
        with lock:
            seen.append(messages[-1]["content"])
            first = len(seen) == 1
            active[0] += 1
            peak[0] = max(peak[0], active[0])
        threading.Event().wait(0.02)
        with lock:
            active[0] -= 1
        if first:
            raise OSError("busy")
        return messages[-1]["content"].upper()

    backend = FunctionBackend(shout, version="1", retries=1)
    made = generate(PROMPTS, backend, cache=cache, concurrency=3)
    assert [record["output"] for record in made.records] == [p.upper() for p in PROMPTS]
    assert (peak[0], len(seen)) == (3, 6)
    again = generate([*PROMPTS, "Say six."], backend, cache=cache)
    assert (again.n_cached, again.n_asked, len(seen)) == (5, 1, 7)
    assert generate(PROMPTS[:1], FunctionBackend(shout, version="2"), cache=cache).n_asked == 1
    assert generate(PROMPTS[:1], FunctionBackend(shout), cache=cache).n_asked == 1
    assert "version" in again.settings


def test_what_a_function_returns_is_text():
    with pytest.warns(GenerateWarning, match="1 x failed: the function returned NoneType, expected text"):
        generate(["a"], lambda messages: None)


def test_the_same_question_at_another_address_is_not_asked_again(server, cache):
    generate(PROMPTS, ServerBackend("tiny", base_url=server.url), cache=cache)
    elsewhere = ServerBackend("tiny", base_url=server.url.replace("127.0.0.1", "localhost"))
    assert generate(PROMPTS, elsewhere, cache=cache).n_cached == len(server.bodies) == 5


def test_a_dry_run_asks_nothing_and_says_what_there_is_to_ask(server, cache, tmp_path, capsys):
    from alpaca_analysis.cli import main

    backend = ServerBackend("tiny", base_url=server.url, price=(10.0, 100.0))
    dry = generate(PROMPTS, backend, cache=cache, max_tokens=50, dry_run=True)
    assert (server.bodies, cache.exists(), dry.n_unanswered) == ([], False, 5)
    sizes = [len(json.dumps([{"role": "user", "content": p}])) for p in PROMPTS]
    assert dry.estimate.cost == pytest.approx((10 * sum(sizes) / 4 + 100 * 5 * 50) / 1e6)
    generate(PROMPTS[:3], backend, cache=cache)
    known = generate(PROMPTS, backend, cache=cache, dry_run=True)
    assert (known.estimate.n_requests, known.estimate.n_kept) == (5, 3)
    # The server counts 3 tokens for every answer; the kept ones say so beforehand.
    assert "by the tokens of 3 kept answers, 3 on average" in known.summary()
    made = generate(PROMPTS, backend, cache=cache)
    assert made.cost == pytest.approx(known.estimate.cost, rel=0.1)
    assert made.summary() == f"5 of 5 prompts; 2 asked, 3 from disk; ${made.cost:.4f}"
    (tmp_path / "p.json").write_text(json.dumps([{"instruction": p} for p in PROMPTS]))
    words = ["generate", str(tmp_path / "p.json"), "--model", "tiny", "--base-url", server.url]
    with pytest.raises(SystemExit) as left:
        main([*words, "--out", str(tmp_path / "r"), "--cache", str(cache), "--dry-run", "--price", "1", "1"])
    assert (left.value.code, (tmp_path / "r").exists(), len(server.bodies)) == (0, False, 5)
    assert capsys.readouterr().out.startswith("dry run over 5 prompts: 0 of 5 requests would be sent")
