"""Requests to a real server on this machine that answers in every odd way, and what must not follow."""

import base64
import gzip
import html
import json
import os
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from alpaca_analysis.asking.ask import ask_all
from alpaca_analysis.asking.replies import server_reason, without_thinking
from alpaca_analysis.asking.server import PromptRefused, Server, ServerError, ServerRefused
from alpaca_analysis.asking.store import AnswerStore, StoreError
from alpaca_analysis.foundations.secrets import hide, hide_in

KEY = 'sk-se/cr"et+0123456789abc'
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


def reply(content="Hello.", **more):
    return json.dumps({"choices": [{"message": {"content": content}}], **more})


class Odd(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        state, data, headers = self.server.say(self)
        if data is None:  # drip: one byte after the other, never all
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not self.server.done.wait(0.05):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    break
            self.close_connection = True
            return
        data = data if isinstance(data, bytes) else data.encode()
        self.send_response(state)
        for name, value in {"Content-Length": str(len(data)), "retry-after-ms": "5", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def odd():
    pytest.importorskip("httpx")
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as running:
        running.lock, running.asked, running.done = threading.Lock(), [], threading.Event()
        running.daemon_threads, running.handle_error = True, lambda *_: None
        running.say = lambda _: (200, reply(), {})
        running.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.done.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def ask(odd):
    made = []

    def call(*, body=BODY, **options):
        made.append(Server(odd.url, **{"max_retries": 0, "timeout": 5, **options}))
        return made[-1].send("/chat/completions", body)

    yield call
    for server in made:
        server.close()


ENCODINGS = {
    "plain": str,
    "json": json.dumps,
    "twice json": lambda s: json.dumps(json.dumps(s)),
    "escaped slash": lambda s: s.replace("/", "\\/"),
    "repr": repr,
    "repr of bytes": lambda s: repr(s.encode()),
    "url": lambda s: quote(s, safe=""),
    "url twice": lambda s: quote(quote(s, safe=""), safe=""),
    "url lower": lambda s: quote(s, safe="").lower(),
    "html": html.escape,
    "html decimal": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "html hexadecimal": lambda s: "".join(f"&#x{ord(c):X};" for c in s),
    "unicode escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "byte escapes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "percent everywhere": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "hexadecimal": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "upper case": str.upper,
    "bearer": lambda s: f"Bearer {s}",
    "line break": lambda s: s + "\n",
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_key_is_hidden_in_every_encoding(encode):
    hidden = hide(f"<{encode(KEY)}>", [KEY + "\n"])
    assert "[hidden]" in hidden
    assert encode(KEY).strip() not in hidden
    assert len(hidden) < 24


@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_a_key_within_other_base64_is_hidden_but_for_what_its_neighbours_share(before):
    text = base64.b64encode(f"{before}{KEY}zz".encode()).decode()
    assert len(hide(text, [KEY])) <= len("[hidden]") + 8


def test_ordinary_words_are_left_alone():
    text = "An empty answer, and none the worse."
    assert hide(text, ["EMPTY", "an", None, ""]) == text
    assert hide_in({"a": [text, 1, None]}, ["EMPTY"]) == {"a": [text, 1, None]}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_key_that_the_server_echoes_is_neither_said_nor_kept(odd, ask, monkeypatch, encode):
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    odd.say = lambda _: (200, reply(encode(KEY)), {})
    answer = ask(api_key_env="MY_KEY")
    assert odd.asked[0][1]["authorization" if "authorization" in odd.asked[0][1] else "Authorization"] == (
        f"Bearer {KEY}"
    )
    assert "[hidden]" in json.dumps(answer)
    odd.say = lambda _: (400, json.dumps({"error": {"message": encode(KEY)}}), {})
    with pytest.raises(PromptRefused, match=r"\[hidden\]") as refused:
        ask(api_key_env="MY_KEY")
    assert refused.value.__context__ is None
    for text in (json.dumps(answer), str(refused.value)):
        assert KEY not in text
        assert encode(KEY).strip() not in text


def test_headers_come_from_the_environment_and_query_parts_are_sent(odd, ask, monkeypatch):
    monkeypatch.setenv("AZURE", KEY)
    odd.say = lambda _: (200, reply(KEY), {})
    answer = ask(headers={"api-key": "$AZURE"}, query={"api-version": "2024-10-21"})
    path, headers, _ = odd.asked[0]
    assert path.endswith("/chat/completions?api-version=2024-10-21")
    assert headers["api-key"] == KEY
    assert answer["reply"]["choices"][0]["message"]["content"] == "[hidden]"
    settings = Server(odd.url, headers={"api-key": "$AZURE"}, query={"a": "b"}).settings
    assert (settings["headers"], settings["query"]) == (["api-key"], {"a": "b"})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000 + "]" * 200_000,
        '{"choices": [{"message": {"content": "x"}}], "x": ' + "[" * 900 + "]" * 900 + "}",
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"message": null}]}',
        '{"choices": {}}',
        "[]",
    ],
)
def test_odd_json_is_an_error_of_its_request_alone(odd, ask, text):
    odd.say = lambda _: (200, text, {})
    with pytest.raises(ServerError, match=r"a reply|a message"):
        ask()


@pytest.mark.parametrize("usage", ["much", -5, float("inf"), float("nan"), None, 1.5, True, {"a": 1}])
def test_impossible_usage_has_no_cost(odd, ask, usage):
    odd.say = lambda _: (200, reply(usage={"prompt_tokens": 5, "completion_tokens": usage}), {})
    server = Server(odd.url, price=(1, 2))
    assert server.cost(ask()) is None
    odd.say = lambda _: (200, reply(usage=usage), {})
    assert server.cost(ask()) is None


def test_cost_follows_the_servers_statement_and_its_cache(odd, ask):
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 600}}
    odd.say = lambda _: (200, reply(usage=usage), {})
    assert Server(odd.url, price=(1, 10)).cost(ask()) == pytest.approx((1000 + 100) / 1e6)
    assert Server(odd.url, price=(1, 10, 0.5)).cost(ask()) == pytest.approx((400 + 300 + 100) / 1e6)
    odd.say = lambda _: (200, reply(usage={**usage, "cost": 0.25}), {})
    assert Server(odd.url, price=(1, 10)).cost(ask()) == 0.25


def test_the_bound_counts_every_answer():
    server = Server("http://127.0.0.1:1/v1", price=(0, 1e6))
    assert server.bound({**BODY, "n": 20}) == 100


def test_time_and_size_of_a_reply_have_limits(odd, ask):
    odd.say = lambda _: (200, None, {})
    start = time.monotonic()
    with pytest.raises(ServerError, match=r"no reply within 0\.3 s"):
        ask(timeout=0.3)
    assert time.monotonic() - start < 2
    bomb = gzip.compress(b" " * 40_000_000)
    odd.say = lambda _: (200, bomb, {"Content-Encoding": "gzip"})
    with pytest.raises(ServerError, match="a reply of more than 33,554,432 bytes"):
        ask(timeout=20)


def test_closing_ends_all_waits(odd):
    odd.say = lambda _: (200, None, {})
    server = Server(odd.url, timeout=60)
    threading.Timer(0.3, server.close).start()
    with pytest.raises(ServerError, match="interrupted"):
        server.send("/chat/completions", BODY)


def test_refused_prompts_do_not_end_the_run(odd):
    def say(handler):
        refused = len(odd.asked) <= 30
        return (
            (403 if len(odd.asked) == 2 else 400, '{"detail": "filtered"}', {})
            if refused
            else (200, reply(), {})
        )

    odd.say = say
    server = Server(odd.url, max_retries=0)
    found = ask_all([BODY] * 40, lambda body: server.send("/chat/completions", body), concurrency=1)
    server.close()
    assert [a.answer is None for a in found] == [True] * 30 + [False] * 10
    assert found[0].error.endswith("state 400, filtered")


def test_nothing_but_403_is_no_access(odd):
    odd.say = lambda _: (403, "{}", {})
    server = Server(odd.url, max_retries=0)
    with pytest.raises(ServerRefused):
        ask_all([BODY] * 9, lambda body: server.send("/chat/completions", body), concurrency=1)
    server.close()
    assert len(odd.asked) == 3


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": "too long"}, "too long"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"detail": "too long"}, "too long"),
        ([{"error": {"message": "too long"}}], "too long"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too long"}]}, "body.n: too long"),
    ],
)
def test_the_reason_is_read_in_every_dialect(said, reason):
    assert server_reason(said) == reason


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>\n\nb", "b"),
        ("<THINKING>a\n</THINKING> b", "b"),
        ("<think>cut", ""),
        ("a < b and c", "a < b and c"),
    ],
)
def test_thoughts_are_left_out(text, left):
    assert without_thinking(text) == left


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_retries": -1},
        {"price": (1,)},
        {"price": (1, float("inf"))},
        {"max_retries": 1.5},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: found"):
        Server("http://127.0.0.1:1/v1", **options)


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
def test_answers_are_private_to_their_user(tmp_path):
    with AnswerStore(tmp_path / "own" / "a.sqlite") as store:
        store.put("k", {}, {"text": "x"})
        assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700
        for path in (tmp_path / "own").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_is_told_with_path_and_remedy(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.put("k", {}, {"text": "x"})
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"a\.sqlite: answers cannot be kept there .*full.*Make room or"):
            store.put("l", {}, {"text": "x" * 100_000})
        assert store.claim("k") == {"text": "x"}


def test_a_password_in_the_address_of_downloads_is_not_said(tmp_path):
    import pandas as pd

    from alpaca_analysis.sources.downloads import DataUnavailableError, download_files

    row = pd.DataFrame({"url": ["x"], "sha256": ["0" * 64], "bytes": [5]}, index=["a/b.json"])
    for address in ("http://me:pa55word@127.0.0.1:9/data", "ftp://me:pa55word@127.0.0.1/data"):
        with pytest.raises(DataUnavailableError) as failed:
            download_files(row, tmp_path, url=address, progress=False)
        error = failed.value
        assert "127.0.0.1" in str(error)
        assert "pa55word" not in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None


@pytest.mark.parametrize(
    "text", ["\\" * 200_000, "&amp;" * 40_000, "%25" * 60_000, "&#0" * 60_000, KEY[:-1] * 8000]
)
def test_hiding_takes_no_long_time(text):
    """A reply of nothing but escapes held a run for minutes."""
    start = time.monotonic()
    assert hide(text, [KEY]) == text
    assert time.monotonic() - start < 5
