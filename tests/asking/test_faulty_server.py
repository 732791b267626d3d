"""A server of our own that is faulty in every way: each pair is judged exactly once, or missing and why."""

import base64
import gc
import gzip
import html
import json
import logging
import math
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alpaca_analysis as aa
from alpaca_analysis.cli import main
from alpaca_analysis.generating import ConversationError, GenerateWarning, ServerBackend, generate
from alpaca_analysis.judging import ChatJudge, JudgeWarning, ServerRefused, judge
from alpaca_analysis.judging.designs import DESIGNS

BAD = "Question 2?"  # the one pair whose reply is faulty
HUGE = 10**400
TOP = [{"token": "A", "logprob": math.log(0.9)}, {"token": "B", "logprob": math.log(0.1)}]


def reply(
    content="Both are short.\nVerdict: A", *, finish_reason="stop", logprobs=None, message=None, **more
):
    if logprobs is None:
        logprobs = {"content": [{"token": "A", "logprob": TOP[0]["logprob"], "top_logprobs": TOP}]}
    choice = {"message": {"content": content, **(message or {})}, "finish_reason": finish_reason}
    return json.dumps({"choices": [{**choice, "logprobs": logprobs}], **more}).encode()


def http(data=b"", state=200, **headers):
    """Return the bytes of a reply."""
    data = data.encode() if isinstance(data, str) else data
    lines = {"Content-Length": len(data), "retry-after-ms": 1, **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {state} X\r\n{head}\r\n".encode("latin-1") + data


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked.append(prompt)
            said = self.server.say(prompt, self)
        if callable(said):
            said(self)
            self.close_connection = True
        else:
            self.wfile.write(said)
        with self.server.lock:
            self.server.answered[prompt] += 1


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("httpx")
    monkeypatch.setattr("alpaca_analysis.asking.server.FIRST_PAUSE", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads, running.block_on_close, running.handle_error = True, False, lambda *_: None
        running.lock, running.done = threading.Lock(), threading.Event()
        running.asked, running.answered = [], Counter()
        running.say = lambda prompt, handler: http(reply())
        running.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.done.set()
        running.shutdown()
        thread.join()


def outputs(n=6):
    ours = [{"instruction": f"Question {i}?", "output": f"Yes, {i}.", "generator": "m"} for i in range(n)]
    return ours, [{**record, "output": f"No, {i}.", "generator": "r"} for i, record in enumerate(ours)]


def ask(server, cache, n=6, *, design="reasoning", concurrency=4, max_cost=None, **options):
    options = {"max_retries": 1, "timeout": 5, **options}
    asked = ChatJudge("tiny", design=design, base_url=server.url, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JudgeWarning)
        return judge(
            *outputs(n), judge=asked, cache=cache, order="model_first", concurrency=concurrency,
            max_cost=max_cost, progress=False,
        )  # fmt: skip


def only_bad(server, said, *, times=10**9):
    """Have the server say `said` of the one bad pair, at its first `times` tries, and sense of the others."""
    tries = []

    def say(prompt, handler):
        if f'"{BAD}"' not in prompt or len(tries) >= times:
            return http(reply())
        tries.append(prompt)
        return said

    server.say = say


# --- what goes wrong on the way: tried again ---------------------------------------------------------


def cut(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def half(handler):
    whole = http(reply())
    handler.wfile.write(whole[: len(whole) // 2])


def hang(handler):
    handler.server.done.wait(20)


def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    dribble(handler)


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    dribble(handler)


def dribble(handler):
    while not handler.server.done.wait(0.02):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


def raw(data):
    return lambda handler: handler.wfile.write(data)


DEEP = "[" * 200_000 + "]" * 200_000
ON_THE_WAY = {
    **{f"state {state}": http('{"error": {"message": "busy"}}', state) for state in (408, 409, 425, 429)},
    **{f"state {state}": http("busy", state) for state in (500, 502, 503, 504, 529, 599)},
    **{f"retry-after {v}": http("", 503, retry_after_ms=v) for v in ("nan", "-5", "soon", "inf", "1e-3")},
    "cut": cut,
    "half": half,
    "hang": hang,
    "drip": drip,
    "drip headers": drip_headers,
    "no HTTP": raw(b"hello\r\n\r\n"),
    "nothing": raw(b""),
    "odd headers": raw(b"HTTP/1.1 200 OK\r\n\xff\xfe\r\n\r\n"),
    "broken chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "longer than told": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}"),
    "gzip bomb": http(gzip.compress(b" " * 40_000_000), Content_Encoding="gzip"),
    "deflate bomb": http(zlib.compress(b" " * 40_000_000), Content_Encoding="deflate"),
    "no gzip": http(b"plain", Content_Encoding="gzip"),
    "empty": http(),
    "state 204": http(b"", 204),
    "half JSON": http('{"choices": ['),
    "stream": http('data: {"choices": []}\n\ndata: [DONE]\n'),
    "HTML": http("<html>Bad gateway</html>"),
    "not UTF-8": http(b"\xff\xfe\x00"),
    "deep": http(DEEP),
    "deep in a reply": http(
        '{"choices": [{"message": {"content": "x"}}], "x": ' + DEEP[199_000:201_000] + "}"
    ),
    **{f"JSON {v}": http(v) for v in ("null", "7", "[]", '"x"', "{}", "NaN")},
    **{
        f"choices {v}": http(f'{{"choices": {v}}}')
        for v in ("null", "[]", "{}", "[null]", "[[]]", '"x"', "7")
    },
    **{f"message {v}": http(f'{{"choices": [{{"message": {v}}}]}}') for v in ("null", "[]", '"x"', "7")},
    "content a number": http(reply(7)),
    "content an object": http(reply({"a": 1})),
    "content of numbers": http(reply([1, 2])),
}
SHORT = {"hang": 0.3, "drip": 0.3, "drip headers": 0.3}


SLOW = {*SHORT, "gzip bomb", "deflate bomb"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ON_THE_WAY]
)
def test_what_breaks_once_is_asked_again_and_what_breaks_always_costs_its_pair(server, tmp_path, name):
    """Each pair has one verdict, or none and the reason; a later call asks for what is missing alone."""
    cache, options = tmp_path / "a.sqlite", {"timeout": SHORT.get(name, 5)}
    only_bad(server, ON_THE_WAY[name])
    result = ask(server, cache, **options)
    assert [r["preference"] for r in result.records] == [2, 2, None, 2, 2, 2]
    assert [bool(r["reason"]) for r in result.records] == [False, False, True, False, False, False]
    assert result.records[2]["reason"].startswith(f"failed: {server.url}: ")
    assert sorted(Counter(server.asked).values()) == [1, 1, 1, 1, 1, 2]
    assert aa.read_annotations(result.save(tmp_path))["outcome"].count() == 5
    server.asked.clear()
    only_bad(server, ON_THE_WAY[name], times=1)
    again = ask(server, cache, **options)
    assert [r["preference"] for r in again.records] == [2] * 6
    assert (again.n_asked, again.n_cached, len(server.asked)) == (1, 5, 2)
    assert ask(server, cache).n_asked == 0


# --- what the server says of one prompt: its own pair only, and no second try ---------------------------


@pytest.mark.parametrize("state", [301, 302, 400, 401, 402, 403, 404, 405, 413, 418, 422, 451])
def test_what_is_refused_costs_its_own_pair(server, tmp_path, state):
    cache = tmp_path / "a.sqlite"
    only_bad(server, http('{"error": {"message": "not this one"}}', state, Location="/elsewhere"))
    for n_asked in (5, 0):
        result = ask(server, cache, concurrency=1)
        assert [r["preference"] for r in result.records] == [2, 2, None, 2, 2, 2]
        assert result.records[2]["reason"] == f"failed: {server.url}: state {state}, not this one"
        assert result.n_asked == n_asked
    assert Counter(server.asked).most_common(2)[0][1] == 2  # once by each call
    server.say = lambda *_: http(reply())
    assert ask(server, cache).n_judged == 6


def test_pairs_that_are_forbidden_do_not_hide_what_is_kept(server, tmp_path):
    """Ten prompts that the server never answers, after ten that it did: no call ends in an error."""
    cache = tmp_path / "a.sqlite"
    server.say = lambda prompt, _: http(*((reply(),) if prompt.split("?")[0][-1] in "01234" else ("{}", 403)))
    for _ in range(2):
        result = ask(server, cache, 20, concurrency=1)
        assert (result.n_judged, len(result.records)) == (10, 20)
    assert Counter(Counter(server.asked).values()) == {1: 10, 2: 10}


@pytest.mark.parametrize(("state", "tries"), [(400, 30), (503, 19)])
def test_failures_in_a_row_that_end_are_no_end(server, tmp_path, state, tries):
    server.say = lambda *_: http("{}", state) if len(server.asked) <= tries else http(reply())
    result = ask(server, tmp_path / "a.sqlite", 40, concurrency=1, max_retries=0)
    assert [r["preference"] for r in result.records] == [None] * tries + [2] * (40 - tries)


# --- replies that are kept, and say nothing, or more than they should --------------------------------


UNREADABLE = {
    "null": (reply(None), "an empty answer"),
    "empty": (reply(" \n"), "an empty answer"),
    "odd parts": (reply([{"type": "text", "text": 5}, {"x": 1}, "y"]), "no verdict, found 'y'"),
    "cut off": (reply("Verdict: A", finish_reason="length"), "cut off: the limit of tokens"),
    "cut off in thought": (reply("<think>Verdict: A"), "a thought without an answer"),
    "filtered": (reply("Verdict: A", finish_reason="content_filter"), "stopped by the server's content filter"),
    "ended by an error": (reply("Verdict: A", finish_reason="error"), "the server ended the answer with 'error'"),
    "refused": (reply(None, message={"refusal": "I cannot."}), "the judge refused"),
    "tools": (reply(None, message={"tool_calls": [{}]}), "a call of a tool instead of an answer"),
    "chatter": (reply("Both have their merits."), "no verdict, found 'Both have their merits.'"),
    "NUL": (reply("Verdict: \0"), "no verdict, found 'Verdict: \\x00'"),
    "half a surrogate pair": (reply("\ud800"), "no verdict, found '\\ud800'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_answers_without_a_verdict_are_kept_with_their_reason(server, tmp_path, name):
    said, reason = UNREADABLE[name]
    only_bad(server, http(said))
    for n_asked in (6, 0):
        result = ask(server, tmp_path / "a.sqlite")
        assert [r["preference"] for r in result.records] == [2, 2, None, 2, 2, 2]
        assert result.records[2]["reason"].startswith(reason)
        assert (result.n_asked, len(server.asked)) == (n_asked, 6)
        assert aa.read_annotations(result.save(tmp_path))["outcome"].count() == 5


NO_OUTPUT = [
    name for name in UNREADABLE if name not in ("odd parts", "chatter", "NUL", "half a surrogate pair")
]


@pytest.mark.parametrize("name", [*NO_OUTPUT, "state 400", "half JSON", "deep", "choices []"])
def test_what_is_no_answer_is_no_output(server, tmp_path, name):
    """Of a model that is asked for outputs: nobody may judge it as one."""
    said = UNREADABLE[name][0] if name in UNREADABLE else ON_THE_WAY.get(name, http("{}", 400))
    server.say = lambda prompt, _: (
        http(said)
        if name in UNREADABLE and prompt == BAD
        else (said if prompt == BAD else http(reply("Yes.")))
    )
    backend = ServerBackend("tiny", base_url=server.url, max_retries=0)
    for _ in range(2):
        with pytest.warns(GenerateWarning, match="1 of 6 prompts were not answered"):
            made = generate(
                [f"Question {i}?" for i in range(6)], backend, cache=tmp_path / "a.sqlite", progress=False
            )
        outputs = [record["output"] for record in made.records]
        assert outputs == ["Yes."] * 2 + [None] + ["Yes."] * 3
        assert [bool(record["reason"]) for record in made.records] == [i == 2 for i in range(6)]
        assert made.n_unanswered == 1
    assert len(server.asked) == (6 if name in UNREADABLE else 7)
    made.save(tmp_path)
    again = {"ask_again": ["length", "content_filter", "refusal", "tool_calls", "error", "empty"]}
    server.say = lambda *_: http(reply("Yes."))
    assert generate([BAD], backend, cache=tmp_path / "a.sqlite", progress=False, **again).n_unanswered == 0


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_malformed_conversation_is_told_with_its_row_before_anything_is_asked(server, endpoint):
    backend = ServerBackend("tiny", base_url=server.url, endpoint=endpoint)
    turns = [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]
    odd = {"chat": [{"role": "user"}], "completions": turns}[endpoint]
    with pytest.raises(ConversationError, match="prompts, row 5: message"):
        generate([*["Hi"] * 5, odd], backend, cache=False)
    assert not server.asked


READABLE = {
    "parts": reply([{"type": "text", "text": "Both are short.\n"}, {"type": "text", "text": "Verdict: A"}]),
    "byte order mark": b"\xef\xbb\xbf" + reply(),
    "odd finish reason": reply(finish_reason={"a": [1]}),
    "odd refusal": reply(message={"refusal": {"a": 1}}),
    "no finish reason": reply(finish_reason=None),
    "log probabilities not asked for": reply(logprobs=[[1]]),
    "a megabyte": reply("So. " * 250_000 + "\nVerdict: A"),
    "old protocol": b'{"choices": [{"text": "Verdict: A"}]}',
    "not a number": reply()[:-1] + b', "x": NaN, "y": -Infinity}',
}


@pytest.mark.parametrize("name", READABLE)
def test_odd_replies_with_a_verdict_are_read(server, tmp_path, name):
    only_bad(server, http(READABLE[name]))
    for n_asked in (6, 0):
        result = ask(server, tmp_path / "a.sqlite")
        assert [r["preference"] for r in result.records] == [2] * 6
        assert result.n_asked == n_asked
        assert aa.read_annotations(result.save(tmp_path))["outcome"].count() == 6


# --- log probabilities -------------------------------------------------------------------------------


def listed(*entries):
    return {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": list(entries)}]}


def entry(logprob, token="A"):
    return {"token": token, "logprob": logprob}


LOGPROBS = {
    "a text": ("x", "no logprobs"),
    "a list": ([1], "no logprobs"),
    "content a text": ({"content": "abc"}, "no logprobs"),
    "content a mapping": ({"content": {}}, "no logprobs"),
    "content empty": ({"content": []}, "no logprobs"),
    "content null": ({"content": [None]}, "no logprobs"),
    "content a list of lists": ({"content": [TOP]}, "no logprobs"),
    "one level too high, in content": ({"content": TOP}, "no logprobs"),
    "one level too high, beside content": ({"top_logprobs": TOP}, "no logprobs"),
    "two levels too high": (TOP, "no logprobs"),
    "a mapping": ({"content": [{"top_logprobs": {"A": -0.1, "B": -2}}]}, "no logprobs"),
    "texts": (listed("A", "B"), "neither label"),
    "a token that is a list": (listed(entry(-0.1, ["A"])), "neither label"),
    "huge": (listed(entry(1e308), entry(-1, "B")), "log probabilities that are no numbers"),
    "beyond floats": (listed(entry(HUGE), entry(-1, "B")), "log probabilities that are no numbers"),
    "not a number": (listed(entry(math.nan), entry(-1, "B")), "log probabilities that are no numbers"),
    "infinite": (listed(entry(math.inf), entry(-1, "B")), "log probabilities that are no numbers"),
    "as text": (listed(entry("-0.1"), entry(-3, "B")), "log probabilities that are no numbers"),
    "true": (listed(entry(True), entry(-1, "B")), "log probabilities that are no numbers"),
    "probabilities": (listed(entry(0.9), entry(0.1, "B")), "log probabilities that are no numbers"),
    "both certain": (listed(entry(0), entry(0, "B")), "log probabilities that are more than certain"),
    "one label alone, not certain": (listed(entry(math.log(0.6))), "one label is not listed"),
}


@pytest.mark.parametrize("name", LOGPROBS)
def test_odd_log_probabilities_are_no_preference(server, tmp_path, name):
    logprobs, reason = LOGPROBS[name]
    only_bad(server, http(reply("A", logprobs=logprobs)))
    for n_asked in (6, 0):
        result = ask(server, tmp_path / "a.sqlite", design="one_token")
        found = [r["preference"] for r in result.records]
        assert found[2] is None
        assert found[:2] + found[3:] == [pytest.approx(1.9)] * 5
        assert result.records[2]["reason"].startswith(reason)
        assert result.n_asked == n_asked


def test_one_label_alone_is_read_where_the_other_cannot_matter(server):
    rest = [entry(math.log(0.3), "The"), entry(math.log(0.1), "I"), entry(math.log(0.01), "So")]
    for logprobs in (listed(entry(math.log(0.97))), listed(entry(math.log(0.59)), *rest)):
        only_bad(server, http(reply("A", logprobs=logprobs)))
        assert ask(server, False, design="one_token").records[2]["preference"] == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(HUGE) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def some(**fields):
    return JSON | st.fixed_dictionaries({}, optional=fields)


TOKENS = (
    st.lists(some(token=st.sampled_from(["A", "B"]) | JSON, logprob=st.floats() | JSON), max_size=4) | JSON
)
CHOICE = some(
    message=some(content=JSON | st.just("Verdict: A"), refusal=JSON, tool_calls=JSON),
    finish_reason=JSON | st.sampled_from(["stop", "length"]),
    logprobs=some(content=st.lists(some(token=JSON, logprob=JSON, top_logprobs=TOKENS), max_size=2) | JSON),
    text=JSON,
)
USAGE = some(
    prompt_tokens=JSON,
    completion_tokens=JSON,
    cost=JSON,
    prompt_tokens_details=JSON | some(cached_tokens=JSON),
)
REPLIES = some(choices=st.lists(CHOICE, max_size=2) | JSON, usage=USAGE)


@settings(max_examples=300, deadline=None)
@given(REPLIES)
def test_no_reply_raises_in_any_design(said):
    """Whatever JSON a server sends, or a file of answers holds: a verdict or a reason, a cost or none."""
    price = (1, 1)
    for design in DESIGNS:
        asked = ChatJudge("tiny", design=design, base_url="http://127.0.0.1:9/v1", price=price)
        outcomes = asked.read({"reply": said}, asked.batch_size)
        assert all(math.isnan(outcome) == bool(reason) for outcome, reason in outcomes)
        assert all(math.isnan(outcome) or 0 <= outcome <= 1 for outcome, _ in outcomes)
        assert isinstance(asked.details({"reply": said})["text"], str)
        cost = asked.cost({"reply": said})
        assert cost is None or 0 <= cost < math.inf
    backend = ServerBackend("tiny", base_url="http://127.0.0.1:9/v1", price=price)
    assert bool(backend.no_answer({"reply": said})[0]) or backend.text({"reply": said}).strip()
    backend.finish_reason({"reply": said})


# --- money ----------------------------------------------------------------------------------------------

USAGE = [
    "much", 5, [], {}, {"prompt_tokens": "5", "completion_tokens": "5"}, {"prompt_tokens": -5e6, "completion_tokens": 1},
    {"prompt_tokens": HUGE, "completion_tokens": 1}, {"prompt_tokens": math.inf, "completion_tokens": 1},
    {"prompt_tokens": math.nan, "completion_tokens": 1}, {"cost": -3}, {"cost": math.inf}, {"cost": math.nan},
    {"cost": HUGE}, {"cost": 1e300}, {"cost": "free"}, {"prompt_tokens": 5, "completion_tokens": -1},
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGE, ids=lambda usage: str(usage)[:50])
def test_impossible_usage_counts_as_the_most_that_was_possible(server, tmp_path, usage):
    """No reply can lower what was spent, nor hide it."""
    server.say = lambda *_: http(reply(usage=usage))
    result = ask(server, tmp_path / "a.sqlite", 30, price=(0, 1000), max_tokens=1000, max_cost=5.5)
    assert (result.n_judged, len(server.asked)) == (5, 5)
    assert result.cost == pytest.approx(5)
    assert sum("could cost $1.0000" in r["reason"] for r in result.records) == 25


@pytest.mark.parametrize("limit", [3.5, 20.5])
def test_what_is_charged_beyond_the_limit_of_tokens_is_expected_of_the_next(server, tmp_path, limit):
    """Hidden reasoning: 10,000 tokens where 1,000 were allowed; one answer at most goes beyond the limit."""
    server.say = lambda *_: http(reply(usage={"prompt_tokens": 9, "completion_tokens": 10_000}))
    result = ask(
        server, tmp_path / "a.sqlite", 30, price=(0, 1000), max_tokens=1000, max_cost=limit, concurrency=16
    )
    assert len(server.asked) == max(1, int(limit / 10))
    assert result.cost == 10 * len(server.asked)


def test_every_answer_that_was_asked_for_is_reserved(server, tmp_path):
    server.say = lambda *_: http(reply(usage={"prompt_tokens": 9, "completion_tokens": 20_000}))
    options = {"price": (0, 1000), "max_tokens": 1000, "extra": {"n": 20}}
    assert ask(server, tmp_path / "a.sqlite", 30, max_cost=19.5, **options).cost == 0
    assert ask(server, tmp_path / "a.sqlite", 30, max_cost=41, **options).cost == 40
    assert len(server.asked) == 2


def test_a_request_without_a_limit_of_tokens_has_no_bound(server):
    for field in ({"max_tokens": None}, {"max_tokens": None, "n": 2}):
        with pytest.raises(ValueError, match="max_cost: the request sets no limit of tokens"):
            ask(server, False, price=(1, 1), max_cost=1, extra=field)
    assert not server.asked
    assert ask(server, False, price=(1, 1), extra={"max_tokens": None}).cost == 0
    renamed = {"max_tokens": None, "max_output_tokens": 10}
    assert ask(server, False, price=(1, 1), max_cost=1, extra=renamed).n_judged == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 1.7}, "seed: found 1.7"),
        ({"seed": -1}, "seed: found -1"),
        ({"temperature": math.nan}, "temperature: found nan"),
        ({"temperature": 3}, "temperature: found 3"),
        ({"max_tokens": 0}, "max_tokens: found 0"),
        ({"max_tokens": 1.5}, "max_tokens: found 1.5"),
        ({"extra": {"seed": 1.7}}, r"extra\['seed'\]: found 1.7"),
        ({"extra": {"n": 0}}, r"extra\['n'\]: found 0"),
        ({"extra": {"n": "20"}}, r"extra\['n'\]: found '20'"),
        ({"extra": {"top_p": 0}}, r"extra\['top_p'\]: found 0"),
        ({"extra": {"max_completion_tokens": -1}}, r"extra\['max_completion_tokens'\]: found -1"),
        ({"extra": {"stop": 5}}, r"extra\['stop'\]: found 5"),
        ({"extra": {"x": math.inf}}, r"extra\['x'\]: found inf, expected what JSON can hold"),
        ({"extra": {"x": {1}}}, r"extra\['x'\]: found \{1\}, expected what JSON can hold"),
        ({"extra": "x"}, "extra: found 'x', expected a mapping"),
        ({"extra": {5: 1}}, "extra: found 5, expected a field's name"),
    ],
)
def test_what_cannot_be_meant_is_not_sent(server, options, said):
    with pytest.raises(ValueError, match=said):
        ask(server, False, **options)
    if set(options) <= {"extra"}:
        with pytest.raises(ValueError, match=said):
            ServerBackend("tiny", base_url=server.url, **options)
    assert not server.asked


# --- all at once ----------------------------------------------------------------------------------------


def test_among_all_faults_at_once_every_pair_is_judged_exactly_once(server, tmp_path):
    """Each of 150 prompts meets another fault at its first try, many at once."""
    quick = [said for name, said in ON_THE_WAY.items() if name not in SLOW]
    rng, tries = random.Random(5), Counter()

    def say(prompt, handler):
        tries[prompt] += 1
        return rng.choice(quick) if tries[prompt] == 1 else http(reply())

    server.say = say
    result = ask(server, tmp_path / "a.sqlite", 150, concurrency=16)
    assert [r["preference"] for r in result.records] == [2] * 150
    assert set(tries.values()) == {2}
    assert len(set(tries)) == 150


@pytest.mark.slow
def test_memory_beside_the_results_does_not_grow_with_the_pairs(server, tmp_path):
    """Four times as many pairs, whose prompts and replies are 10 kB each: less than 1 kB more for each."""
    prose = "Words. " * 400

    def beside(n):
        ours, theirs = outputs(n)
        ours, theirs = ([{**r, "output": r["output"] + prose} for r in side] for side in (ours, theirs))
        asked = ChatJudge("tiny", base_url=server.url)
        asked.server.send = lambda path, body: {
            "reply": json.loads(
                reply(f"{prose}\nVerdict: A", usage={"prompt_tokens": 9, "completion_tokens": 9})
            )
        }
        gc.collect()
        tracemalloc.start()
        said = judge(ours, theirs, judge=asked, cache=tmp_path / f"{n}.sqlite", order="both", progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert said.n_judged == 2 * n
        return peak - left

    beside(10)  # imports
    assert beside(400) - beside(100) < 600 * 1000


def test_a_file_of_answers_with_unreadable_ones_is_asked_anew(server, tmp_path):
    """What an older version kept, or another program wrote, costs its own pair at most."""
    cache = tmp_path / "a.sqlite"
    ask(server, cache)
    with sqlite3.connect(cache) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM answers ORDER BY key")]
        for key, text in zip(
            keys, (DEEP, "not JSON", "[]", '{"reply": 5}', '{"reply": {"choices": 5}}'), strict=False
        ):
            connection.execute("UPDATE answers SET answer = ? WHERE key = ?", (text, key))
    connection.close()
    result = ask(server, cache)
    assert (result.n_asked, result.n_cached, result.n_judged) == (3, 3, 4)
    assert Counter(r["reason"] for r in result.records) == {"": 4, "an empty answer": 2}


@pytest.mark.parametrize(
    ("verb", "said", "code", "told"),
    [
        ("judge", http(reply("Both have their merits.")), 1, "not asked: the first 20 answers could not be read"),
        ("judge", http("{}", 503), 1, "not asked: 20 requests in a row failed"),
        ("judge", http('{"error": {"message": "no such key"}}', 401), 1, "state 401, no such key"),
        ("judge", http(reply()), 0, "judged: 60 of 60 pairs"),
        ("generate", http(reply("Half a", finish_reason="length")), 1, "cut off: the limit of tokens was reached"),
    ],
    ids=["chatter", "server down", "no access", "judged", "cut off"],
)  # fmt: skip
def test_the_shell_says_by_its_exit_code_that_nothing_came(server, tmp_path, capsys, verb, said, code, told):
    """One pass over the mistakes that cost money: they end early, say why and what to do, and are no success."""
    server.say = lambda *_: said
    files = [tmp_path / "mine.json", tmp_path / "theirs.json"]
    for path, records in zip(files, outputs(60), strict=True):
        path.write_text(json.dumps(records))
    shared = ["--base-url", server.url, "--cache", tmp_path / "a.sqlite", "--concurrency", "2"]
    verbs = {
        "judge": ["judge", *files, "--judge", "tiny", "--order", "random", *shared],
        "generate": ["generate", files[0], "--model", "tiny", "--out", tmp_path, *shared],
    }
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in verbs[verb]])
    assert ended.value.code == code
    assert told in capsys.readouterr().err
    assert verb == "generate" or code == 0 or len(server.asked) <= 22 * 7


INTERRUPTED = """
import json, sys
from alpaca_analysis.generating import ServerBackend, generate
from alpaca_analysis.judging import ChatJudge, judge
url, cache, what = sys.argv[1:4]
ours, theirs = json.loads(sys.argv[4])
if what == "judge":
    judge(ours, theirs, judge=ChatJudge("tiny", base_url=url), cache=cache, concurrency=4)
else:
    generate([r["instruction"] for r in ours], ServerBackend("tiny", base_url=url), cache=cache, concurrency=4)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("what", "said"),
    [("judge", hang), ("generate", http("", 503, retry_after_ms=40_000))],
    ids=["hangs", "asks for a pause"],
)
@pytest.mark.slow
def test_ctrl_c_ends_while_the_server_hangs_or_asks_for_a_pause(server, tmp_path, what, said):
    server.say = lambda *_: http(reply()) if len(server.asked) <= 3 else said
    arguments = [server.url, str(tmp_path / "a.sqlite"), what, json.dumps(outputs(30))]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments], stderr=subprocess.PIPE, text=True
    )
    while len(server.asked) < 7:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert [line for line in told.splitlines() if "interrupted" in line] == [
        f"interrupted: 3 answers are kept in {tmp_path / 'a.sqlite'}"
    ]
    assert told.rstrip().endswith("KeyboardInterrupt")
    server.say = lambda *_: http(reply())
    assert what == "generate" or ask(server, tmp_path / "a.sqlite", 30).n_judged == 30


# --- keys ---------------------------------------------------------------------------------------------------

KEY = 'sk-se/cr"et+0123456789abc'
LEAKS = {
    "plain": str,
    "with a line break": lambda s: s + "\n",
    "in a header's form": lambda s: f"Authorization: Bearer {s}",
    "JSON": json.dumps,
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)),
    "escaped slash": lambda s: s.replace("/", "\\/"),
    "quoted": lambda s: f"'{s}' and \"{s}\"",
    "Python": repr,
    "Python's bytes": lambda s: repr(s.encode()),
    "URL": lambda s: quote(s, safe=""),
    "URL twice": lambda s: quote(quote(s, safe=""), safe=""),
    "percent everywhere": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "HTML": html.escape,
    "HTML decimal": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "HTML hexadecimal": lambda s: "".join(f"&#x{ord(c):X};" for c in s),
    "JSON escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "byte escapes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "hexadecimal": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "upper case": str.upper,
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_key_appears_nowhere(server, tmp_path, monkeypatch, caplog, capsys, name):
    """Echoed in answers, refusals, names of fields, errors and states: not in files, messages, logs, tables."""
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    leak = LEAKS[name](KEY)
    said = [
        http(reply(f"{leak}\nVerdict: A", finish_reason=leak, model=leak, **{leak: leak})),
        http(reply(None, message={"refusal": leak})),
        http(reply(f"No verdict: {leak}")),
        http(json.dumps({"error": {"message": leak}}), 400),
        http(leak, 422),
        http(json.dumps({"choices": leak, "error": leak})),
    ]
    server.say = lambda prompt, _: said[int(prompt.split("Question ")[1][0])]
    options = {"api_key_env": "MY_KEY", "max_retries": 0}
    result = ask(server, tmp_path / "a.sqlite", **options)
    assert result.n_judged == 1
    result.save(tmp_path)
    server.say = lambda *_: http(json.dumps({"detail": leak}), 401)
    with pytest.raises(ServerRefused) as refused:
        ask(server, tmp_path / "b.sqlite", **options)
    backend = ServerBackend("tiny", base_url=server.url, **options)
    server.say = lambda prompt, _: said[int(prompt[0])]
    with pytest.warns(GenerateWarning) as warned:
        generated = generate([str(i) for i in range(6)], backend, cache=tmp_path / "c.sqlite", progress=False)
    generated.save(tmp_path)
    texts = [
        result.summary(),
        repr(result),
        result.to_frame().to_csv(),
        json.dumps(result.records),
        caplog.text,
    ]
    texts += [
        repr(refused.value),
        repr(refused.value.__context__),
        str(warned[0].message),
        *capsys.readouterr(),
    ]
    texts += [json.dumps(generated.records), json.dumps(generated.settings)]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert sum("[hidden]" in text for text in texts) >= 8
    bare = leak.strip().removeprefix("Authorization: Bearer ")
    for form in {KEY, bare, json.dumps(bare)[1:-1]}:
        assert not [text[:200] for text in texts if form in text]
