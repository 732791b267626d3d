"""LiteLLM as a server: against a stand-in for the package, and against the package where it is installed."""

import importlib.util
import json
import os
import subprocess
import sys
import types

import pytest
from batch_server import completion, running

import alpaca_analysis as aa
from alpaca_analysis.asking.providers import connect
from alpaca_analysis.asking.server import PromptRefused, ServerError, ServerRefused
from alpaca_analysis.judging import ChatJudge, JudgeWarning, judge

KEY = "sk-ant-0123456789abcdef"
BODY = {"model": "anthropic/claude", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}


class Failed(Exception):
    def __init__(self, said, state=None):
        super().__init__(said)
        if state:
            self.status_code = state


class Reply:
    def __init__(self, value, cost=None):
        self.value, self._hidden_params = value, {"response_cost": cost}

    def model_dump(self):
        return self.value


@pytest.fixture
def litellm(monkeypatch):
    """Return a stand-in that answers as the test server does, fails as told, and knows one price."""
    made = types.ModuleType("litellm")
    made.asked, made.faults, made.cost = [], [], 0.125

    def complete(**body):
        made.asked.append(body)
        if made.faults:
            raise made.faults.pop(0)
        return Reply(completion(body), made.cost)

    def get_model_info(model):
        if not model.startswith("anthropic/"):
            raise Exception("not mapped")
        prices = {"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6}
        return {**prices, "cache_read_input_token_cost": 0.3e-6}

    made.completion, made.get_model_info = complete, get_model_info
    monkeypatch.setitem(sys.modules, "litellm", made)
    return made


def test_a_judge_is_asked_through_litellm(litellm, outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    asked = ChatJudge("litellm:anthropic/claude", extra={"reasoning_effort": "low"})
    judged = judge(*outputs(4), judge=asked, cache=tmp_path / "answers.sqlite", max_cost=10)
    assert judged.settings["annotator"] == "reasoning_anthropic_claude"
    assert [r["preference"] for r in judged.records] == [1.0, 1.0, 2.0, 2.0] * 2
    first = litellm.asked[0]
    assert (first["model"], first["reasoning_effort"], first["drop_params"]) == (
        "anthropic/claude",
        "low",
        True,
    )
    assert "api_key" not in first  # LiteLLM takes it from the environment
    assert judged.cost == pytest.approx(8 * 0.125)  # what LiteLLM says that it was
    again = judge(*outputs(4), judge=asked, cache=tmp_path / "answers.sqlite")
    assert (again.n_cached, len(litellm.asked)) == (8, 8)
    assert judged.settings["judge"]["price_per_million_tokens"] == pytest.approx([3.0, 15.0, 0.3])


def test_a_name_is_enough(litellm, outputs):
    judged = judge(*outputs(1), judge=["litellm:anthropic/claude", "length"], cache=False)
    assert judged.settings["annotator"] == ["reasoning_anthropic_claude", "length"]
    assert judged.n_judged == len(litellm.asked) + 1 == 3


def test_prices_are_litellms_or_ones_own(litellm):
    _, known = connect("litellm:anthropic/claude")
    assert known.price == pytest.approx([3.0, 15.0, 0.3])
    assert known.bound(BODY) > 9 * 15 / 1e6
    assert connect("litellm:other/model")[1].price is None
    own = connect("litellm:anthropic/claude", price=(1.0, 2.0))[1]
    assert own.cost(own.send("/chat/completions", BODY)) == pytest.approx((100 * 1.0 + 10 * 2.0) / 1e6)
    unknown = connect("litellm:other/model")[1]
    assert unknown.cost(unknown.send("/chat/completions", BODY)) is None  # no table: no cost is made up


def test_key_address_and_headers_are_handed_on(litellm, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    server = connect(
        "litellm:anthropic/claude",
        "http://127.0.0.1:9/v1",
        api_key_env="MY_KEY",
        headers={"X-Team": "$MY_KEY"},
    )[1]
    server.send("/chat/completions", BODY)
    asked = litellm.asked[0]
    assert (asked["api_key"], asked["base_url"]) == (KEY, "http://127.0.0.1:9/v1")
    assert asked["extra_headers"] == {"X-Team": KEY}
    assert KEY not in json.dumps(server.settings)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Failed("no key", 401), ServerRefused),
        (Failed("no such model", 404), ServerRefused),
        (Failed("filtered", 400), PromptRefused),
        (Failed("busy", 429), None),
        (Failed("overloaded", 529), None),
        (Failed("no connection"), None),
    ],
)
def test_errors_mean_what_they_mean_of_servers(litellm, fault, kind, monkeypatch):
    monkeypatch.setattr("alpaca_analysis.asking.server.FIRST_PAUSE", 0.001)
    server = connect("litellm:anthropic/claude", max_retries=1)[1]
    litellm.faults = [fault]
    if kind:
        with pytest.raises(kind, match=f"litellm: state {fault.status_code}, {fault}"):
            server.send("/chat/completions", BODY)
    else:
        assert server.send("/chat/completions", BODY)["reply"]["choices"]
    assert len(litellm.asked) == 1 + (kind is None)


def test_keys_of_the_environment_are_not_said(litellm, outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    litellm.faults = [Failed(f"bad request with {KEY}", 400)] * 2
    with pytest.warns(JudgeWarning, match=r"bad request with \[hidden\]") as warned:
        judged = judge(
            *outputs(1), judge=ChatJudge("litellm:anthropic/claude"), cache=tmp_path / "answers.sqlite"
        )
    assert KEY not in json.dumps([judged.records, judged.settings, str(warned[0].message)])


def test_outputs_come_through_litellm_too(litellm, tmp_path):
    backend = aa.ServerBackend("litellm:anthropic/claude")
    made = aa.generate(["Say one."], backend, cache=tmp_path / "answers.sqlite")
    assert (made.records[0]["output"], made.records[0]["generator"]) == ("SAY ONE.", "anthropic/claude")
    with pytest.raises(ServerError, match="answers chats only"):
        aa.generate(["a"], aa.ServerBackend("litellm:anthropic/claude", endpoint="completions"), cache=False)
    with pytest.raises(ValueError, match="batch: found 'anthropic/claude'"):
        aa.generate(["a"], backend, cache=tmp_path / "a.sqlite", batch=tmp_path / "b.json")
    with pytest.raises(ValueError, match="query: found"):
        aa.ServerBackend("litellm:anthropic/claude", query={"a": "b"})


def test_a_missing_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'alpaca-analysis\[litellm\]'"):
        ChatJudge("litellm:anthropic/claude")
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'alpaca-analysis\[judge\]'"):
        ChatJudge("tiny", base_url="http://127.0.0.1:9/v1").server.send("/chat/completions", BODY)
    monkeypatch.setitem(sys.modules, "alpaca_eval", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'alpaca-eval'"):
        aa.AlpacaEvalJudge("x")
    for module, backend, install in (
        ("torch", aa.TransformersBackend, r"alpaca-analysis\[generate\]"),
        ("vllm", aa.VLLMBackend, "vllm"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ModuleNotFoundError, match=f"{backend.__name__} needs .*pip install '{install}'"):
            backend("x")


def test_headers_and_query_reach_a_server(server, outputs, tmp_path, monkeypatch, capsys):
    """As Azure wants them, from Python and from the shell; values are written nowhere."""
    from alpaca_analysis.cli import main

    monkeypatch.setenv("AZURE_KEY", KEY)
    common = {"base_url": server.url, "design": "one_token"}
    asked = ChatJudge("tiny", headers={"api-key": "$AZURE_KEY"}, query={"api-version": "1"}, **common)
    judged = judge(*outputs(1), judge=asked, cache=tmp_path / "answers.sqlite")
    paths = []
    for name, records in zip(("mine", "theirs"), outputs(2), strict=True):
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    words = ["judge", *paths, "--judge", "tiny", "--base-url", server.url, "--design", "one_token"]
    words += ["--header", "api-key=$AZURE_KEY", "--query", "api-version=1", "--out", str(tmp_path / "r")]
    with pytest.raises(SystemExit) as left:
        main([*words, "--cache", str(tmp_path / "answers.sqlite")])
    assert left.value.code == 0
    assert {headers["api-key"] for headers in server.headers} == {KEY}
    assert len(server.bodies) == 4
    said = capsys.readouterr()
    assert KEY not in json.dumps([judged.settings, judged.records]) + said.out + said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    with pytest.raises(SystemExit):
        main([*words[:-2], "--header", "api-key"])
    assert "--header: found 'api-key', expected NAME=VALUE" in capsys.readouterr().err


THE_PACKAGE = """
import json, sys
from alpaca_analysis.judging import ChatJudge, ServerRefused, judge
url, cache, data = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
mocked = ChatJudge("litellm:gpt-4o-mini", extra={"mock_response": "Verdict: A"})
told = [judge(*data, judge=mocked, cache=cache).n_judged, mocked.server.price]
asked = ChatJudge("litellm:openai/tiny", base_url=url, max_retries=0)
try:
    asked.server.send("/chat/completions", {"model": "openai/tiny", "messages": []})
except ServerRefused as refused:
    told.append(str(refused))
print(json.dumps([*told, [r["preference"] for r in judge(*data, judge=asked, cache=cache).records]]))
"""


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
@pytest.mark.slow
def test_the_package_itself(outputs, tmp_path):
    """By itself, for LiteLLM leaves connections open; against a server on this machine."""
    with running() as server:
        server.faults["/chat/completions"] = 401
        arguments = [server.url, str(tmp_path / "answers.sqlite"), json.dumps(outputs(4))]
        done = subprocess.run(
            [sys.executable, "-c", THE_PACKAGE, *arguments],
            env={**os.environ, "OPENAI_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr
    n_judged, price, refused, preferences = json.loads(done.stdout)
    assert n_judged == 8
    assert price == pytest.approx([0.15, 0.6, 0.075])
    assert refused.startswith(f"{server.url}: state 401")
    assert preferences == [1.0, 1.0, 2.0, 2.0] * 2
    assert KEY not in done.stdout + done.stderr
