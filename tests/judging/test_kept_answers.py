"""Nothing is asked, or paid, twice: by whatever judge, at whatever address, whatever pairs are added."""

import hashlib
import json
import sqlite3
import threading
import time

import pytest

from alpaca_analysis.judging import AlpacaEvalJudge, ChatJudge, FunctionJudge, JudgeWarning, judge
from alpaca_analysis.judging.designs import Shown


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


def chat(server, **options):
    return ChatJudge("tiny", design="one_token", base_url=server.url, **options)


def ask(data, asked, cache, **options):
    return judge(*data, judge=asked, cache=cache, order="random", **options)


def test_an_answer_is_known_by_what_was_asked_not_by_the_address(server, outputs, cache):
    ask(outputs(3), chat(server), cache)
    elsewhere = ChatJudge("tiny", design="one_token", base_url=server.url.replace("127.0.0.1", "localhost"))
    assert ask(outputs(3), elsewhere, cache).n_cached == len(server.bodies) == 3


def test_answers_that_were_kept_with_an_address_are_found(server, outputs, cache):
    judged = ask(outputs(3), chat(server), cache)
    with sqlite3.connect(cache) as sql:  # as 0.2.0 wrote them
        for key, request in sql.execute("SELECT key, request FROM answers").fetchall():
            old = {"address": server.url, **json.loads(request)}
            text = json.dumps(old, sort_keys=True, separators=(",", ":"))
            row = hashlib.sha256(text.encode()).hexdigest(), json.dumps(old, sort_keys=True), key
            sql.execute("UPDATE answers SET key = ?, request = ? WHERE key = ?", row)
        sql.execute("PRAGMA user_version = 0")
    sql.close()
    again = ask(outputs(3), chat(server), cache)
    assert (again.n_asked, again.n_cached) == (0, 3)
    assert again.records == judged.records


@pytest.mark.parametrize("place", [0, 2, 5])
def test_one_pair_more_asks_for_that_pair_alone(server, outputs, cache, place):
    mine, theirs = outputs(6)
    ask((mine[:place] + mine[place + 1 :], theirs), chat(server), cache, on_missing="ignore")
    asked = ask((mine, theirs), chat(server), cache)
    assert (asked.n_asked, asked.n_cached, len(server.bodies)) == (1, 5, 6)
    assert json.dumps(mine[place]["output"]) in server.bodies[-1]["messages"][-1]["content"]


class Calls:
    """A judge of nothing but length that counts, and raises when told."""

    def __init__(self, wrong=()):
        self.seen, self.wrong, self.active, self.peak, self.lock = [], list(wrong), 0, 0, threading.Lock()
        self.threads = set()

    def __call__(self, instruction, first, second):
        with self.lock:
            self.seen.append(instruction)
            self.threads.add(threading.current_thread())
            self.active += 1
            self.peak = max(self.peak, self.active)
            wrong = self.wrong.pop(0) if self.wrong else None
        time.sleep(0.01)
        with self.lock:
            self.active -= 1
        if wrong:
            raise wrong
        return float(len(first) > len(second))


def test_a_function_with_a_version_is_asked_once(outputs, cache):
    calls = Calls()
    named = FunctionJudge(calls, name="mine", version="1")
    first = judge(*outputs(4), judge=named, cache=cache)
    again = judge(*outputs(5), judge=named, cache=cache)
    assert (first.n_asked, again.n_asked, again.n_cached, len(calls.seen)) == (4, 1, 4, 5)
    assert [r["preference"] for r in again.records] == [1.0, 2.0, 1.0, 2.0, 1.0]
    assert again.settings["judge"] == {"judge": "mine", "version": "1"}
    assert all(record["time_per_example"] > 0 for record in again.records)
    assert judge(*outputs(4), judge=FunctionJudge(calls, name="mine", version="2"), cache=cache).n_asked == 4
    assert judge(*outputs(4), judge=FunctionJudge(calls, name="other", version="1"), cache=cache).n_asked == 4


def test_a_function_without_a_version_is_not_kept(outputs, cache):
    calls = Calls()
    for _ in range(2):
        assert judge(*outputs(3), judge=calls, cache=cache).n_cached == 0
    assert len(calls.seen) == 6
    assert not cache.exists()


def test_what_a_function_raised_is_not_kept(outputs, cache):
    calls = Calls(wrong=[OSError("busy"), None, OSError("busy")])
    with pytest.warns(JudgeWarning, match="2 x failed: the judge raised OSError: busy"):
        first = judge(*outputs(4), judge=FunctionJudge(calls, version="1"), cache=cache)
    again = judge(*outputs(4), judge=FunctionJudge(calls, version="1"), cache=cache)
    assert (first.n_asked, again.n_asked, again.n_cached, again.n_judged) == (2, 2, 2, 4)


def test_an_interrupted_function_goes_on_where_it_stopped(outputs, cache, capsys):
    calls = Calls(wrong=[None, None, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        judge(*outputs(5), judge=FunctionJudge(calls, version="1"), cache=cache)
    assert "interrupted: 2 answers are kept in" in capsys.readouterr().err
    again = judge(*outputs(5), judge=FunctionJudge(calls, version="1"), cache=cache)
    assert (again.n_cached, again.n_asked) == (2, 3)


def test_functions_are_called_from_as_many_threads_as_told(outputs):
    alone, together = Calls(), Calls()
    judge(*outputs(12), judge=alone)
    assert (alone.peak, alone.threads) == (1, {threading.current_thread()})
    judge(*outputs(12), judge=together, concurrency=4)
    assert together.peak == 4
    assert sorted(together.seen) == sorted(alone.seen)


def test_a_function_may_return_what_a_model_said(outputs, cache):
    def say(instruction, first, second):
        return f"<think>A?</think>Both answer.\nVerdict: {'A' if len(first) > len(second) else 'B'}"

    judged = judge(*outputs(4), judge=FunctionJudge(say, version="1"), cache=cache)
    assert [r["preference"] for r in judged.records] == [1.0, 2.0, 1.0, 2.0]
    assert "Both answer." in judged.records[0]["raw_completion"]
    with pytest.warns(JudgeWarning, match="2 x no verdict"):
        judge(*outputs(2), judge=lambda *_: "Both are fine.")


CONFIG = """
first:
  prompt_template: "first/prompt.txt"
  fn_completions: "test_completions"
  completions_kwargs:
    model_name: "tiny"
    api_key: "sk-secret-0123456789"
    value: "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
  fn_completion_parser: "ranking_parser"
  batch_size: 1
"""


@pytest.fixture
def annotator(tmp_path, monkeypatch):
    pytest.importorskip("alpaca_eval")
    from alpaca_eval import decoders, utils
    from alpaca_eval.decoders import test

    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "configs.yaml").write_text(CONFIG)
    (tmp_path / "first" / "prompt.txt").write_text("{instruction}\n{output_1}\n{output_2}\n")
    asked = []

    def paid(prompts, value, **_):
        asked.append(prompts)
        n = len(prompts)
        said = {"completions": [value] * n, "completions_all": [value] * n}
        return {**said, "price_per_example": [0.25] * n, "time_per_example": [2.0] * n}

    monkeypatch.setattr(test, "test_completions", paid)
    assert decoders, utils
    return AlpacaEvalJudge("first", batch_size=3, options={"base_dir": tmp_path}), asked


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_alpaca_evals_answers_are_kept_with_price_words_and_time(annotator, outputs, cache):
    made, asked = annotator
    mine, theirs = outputs(7)
    first = judge(mine[:3] + mine[4:], theirs, judge=made, cache=cache, on_missing="ignore")
    assert (first.n_asked, first.cost) == (6, pytest.approx(1.5))
    assert {record["price_per_example"] for record in first.records} == {0.25}
    assert {record["time_per_example"] for record in first.records} == {2.0}
    assert all("'rank': 1" in record["raw_completion"] for record in first.records)
    assert all(record["preference_date"].startswith("20") for record in first.records)
    more = judge(mine, theirs, judge=made, cache=cache)
    assert (more.n_asked, more.n_cached, more.cost) == (1, 6, pytest.approx(0.25))
    assert sum(map(len, asked)) == 7
    settings = more.settings["judge"]
    assert settings["annotators"]["first"]["completions_kwargs"]["model_name"] == "tiny"
    assert "sk-secret" not in json.dumps([settings, more.records])
    assert b"sk-secret" not in cache.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_another_prompt_of_alpaca_evals_is_another_question(annotator, tmp_path):
    made, _ = annotator
    (tmp_path / "first" / "prompt.txt").write_text("Other\n{instruction}\n{output_1}\n{output_2}\n")
    other = AlpacaEvalJudge("first", options={"base_dir": tmp_path})
    pair = [Shown("I", "F", "S")]
    assert made.request(pair, 0) != other.request(pair, 0)


@pytest.mark.parametrize(
    ("fault", "kind"), [("empty", "empty"), ("refusal", "refusal"), ("chatter", "unreadable")]
)
def test_answers_without_a_verdict_are_asked_again_where_that_is_wanted(server, outputs, cache, fault, kind):
    asked = ChatJudge("tiny", design="ranking", base_url=server.url)
    server.faults = [fault]
    with pytest.warns(JudgeWarning, match="1 of 3 pairs were not judged"):
        ask(outputs(3), asked, cache)
    others = {"empty", "refusal", "unreadable", "length"} - {kind}
    with pytest.warns(JudgeWarning):
        assert ask(outputs(3), asked, cache, ask_again=sorted(others)).n_asked == 0
    again = ask(outputs(3), asked, cache, ask_again=[kind])
    assert (again.n_asked, again.n_cached, again.n_judged) == (1, 2, 3)
    assert ask(outputs(3), asked, cache, ask_again=[kind]).n_asked == 0


def test_functions_without_an_answer_are_asked_again_where_that_is_wanted(outputs, cache):
    said = [None, 1.0, None, 0.0]
    named = FunctionJudge(lambda *_: said.pop(0), name="moody", version="1")
    with pytest.warns(JudgeWarning, match="1 x no answer"):
        ask(outputs(2), named, cache)
    with pytest.warns(JudgeWarning, match="1 x no answer"):
        assert ask(outputs(2), named, cache, ask_again=["unreadable"]).n_asked == 1
    assert ask(outputs(2), named, cache, ask_again=["unreadable"]).n_judged == 2
    assert said == []
