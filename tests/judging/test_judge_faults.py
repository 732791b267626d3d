"""The judge against a real server on this machine that fails in every way a server fails."""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.judging import ChatJudge, FunctionJudge, JudgeWarning, ServerRefused, judge

KEY = "sk-secret-0123456789"


def ask(server, data, cache, *, design="one_token", **options):
    chosen = {k: options.pop(k) for k in ("timeout", "max_retries", "price", "api_key_env") if k in options}
    asked = ChatJudge(
        "tiny", design=design, base_url=server.url, **{"max_retries": 4, "timeout": 5, **chosen}
    )
    return judge(*data, judge=asked, cache=cache, **{"order": "random", **options})


def outcomes(result):
    return [None if r["preference"] is None else r["preference"] - 1 for r in result.records]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "answers.sqlite"


@pytest.mark.parametrize("design", ["one_token", "ranking", "batched_choice"])
@pytest.mark.parametrize("order", ["random", "both", "model_first", "reference_first"])
@pytest.mark.slow
def test_every_design_finds_the_longer_output_in_every_order(server, outputs, cache, design, order):
    result = ask(server, outputs(7), cache, design=design, order=order)
    weight = (0.9, 0.1) if design == "one_token" else (1.0, 0.0)
    expected = [weight[0] if i % 2 else weight[1] for i in range(7) for _ in range(1 + (order == "both"))]
    assert outcomes(result) == pytest.approx(expected)
    frame = result.to_frame()
    positions = {"both": {1, 2}, "random": {1, 2}, "model_first": {1}, "reference_first": {2}}[order]
    assert set(frame["position"]) == positions
    n_orders = 2 if order == "both" else 1
    assert len(server.bodies) == n_orders * (2 if design == "batched_choice" else 7)


@pytest.mark.parametrize("fault", [429, 500, 503, 408, "cut", "half", "garbage", "no choices"])
@pytest.mark.slow
def test_passing_faults_are_tried_again(server, outputs, cache, fault):
    server.faults = [fault, fault]
    result = ask(server, outputs(6), cache, concurrency=2)
    assert outcomes(result) == pytest.approx([0.1, 0.9] * 3)
    assert len(server.bodies) == 8
    assert ask(server, outputs(6), cache).n_asked == 0
    assert len(server.bodies) == 8


@pytest.mark.slow
def test_a_time_out_is_tried_again(server, outputs, cache):
    server.faults, server.slow = ["slow"], 3.0
    result = ask(server, outputs(3), cache, timeout=1.0)
    assert outcomes(result) == pytest.approx([0.1, 0.9, 0.1])
    assert len(server.bodies) == 4


@pytest.mark.parametrize("fault", [500, 400, "garbage"])
@pytest.mark.slow
def test_lasting_faults_leave_the_pair_open_and_are_asked_again_later(server, outputs, cache, fault):
    server.always = fault
    with pytest.warns(JudgeWarning, match="3 of 3 pairs were not judged: 3 x failed"):
        failed = ask(server, outputs(3), cache, max_retries=1)
    assert outcomes(failed) == [None] * 3
    assert failed.to_frame()["outcome"].isna().all()
    server.always = None
    assert outcomes(ask(server, outputs(3), cache)) == pytest.approx([0.1, 0.9, 0.1])


@pytest.mark.parametrize("state", [401, 403, 404])
def test_no_access_stops_the_run_at_once(server, outputs, cache, state):
    server.always = state
    with pytest.raises(ServerRefused, match=f"state {state}, .*injected"):
        ask(server, outputs(100), cache, concurrency=2)
    assert len(server.bodies) <= 4


@pytest.mark.slow
def test_a_dead_server_is_given_up(outputs, cache, server):
    server.always = 503
    with pytest.warns(JudgeWarning, match="not asked: 20 requests in a row failed"):
        ask(server, outputs(100), cache, max_retries=0, concurrency=2)
    assert len(server.bodies) <= 22


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no logprobs", "no logprobs"),
        ("empty", "an empty answer"),
        ("refusal", "the judge refused"),
        ("chatter", "no logprobs"),
    ],
)
@pytest.mark.slow
def test_unusable_answers_are_missing_kept_and_never_guessed(server, outputs, cache, fault, reason):
    server.faults = [fault]
    with pytest.warns(JudgeWarning, match=f"1 of 4 pairs were not judged: 1 x {reason}"):
        result = ask(server, outputs(4), cache, concurrency=1)
    assert [r["reason"] for r in result.records] == [reason, "", "", ""]
    assert outcomes(result)[0] is None
    assert aa.win_rate(result.to_frame(), method="t").loc[0, ["n_total", "n_missing"]].tolist() == [3, 1]
    with pytest.warns(JudgeWarning):
        again = ask(server, outputs(4), cache)
    assert (again.n_asked, again.n_cached, len(server.bodies)) == (0, 4, 4)


@pytest.mark.parametrize("design", ["ranking", "batched_choice"])
def test_chatter_has_no_outcome_in_any_design(server, outputs, cache, design):
    server.always = "chatter"
    with pytest.warns(JudgeWarning, match="3 of 3"):
        assert outcomes(ask(server, outputs(3), cache, design=design)) == [None] * 3


@pytest.mark.parametrize("limit", [16, 200])
@pytest.mark.slow
def test_200_requests_at_once_are_held_to_the_limit(server, outputs, limit):
    server.gate = limit  # nobody is answered before so many are waiting
    result = ask(server, outputs(200), cache=False, concurrency=limit, timeout=60)
    assert server.peak == limit
    assert len(server.bodies) == 200
    assert outcomes(result) == pytest.approx([0.1, 0.9] * 100)


def test_empty_outputs_are_judged_and_absent_ones_are_missing(server, outputs, cache):
    model, reference = outputs(4)
    model[0]["output"], model[1]["output"], reference[3]["output"] = "", None, model[3]["output"]
    with pytest.warns(JudgeWarning, match="1 x no output of the model"):
        result = ask(server, (model, reference), cache)
    assert outcomes(result) == [pytest.approx(0.1), None, pytest.approx(0.1), 0.5]
    assert [r["reason"] for r in result.records] == ["", "no output of the model", "", "equal outputs"]
    assert len(server.bodies) == 2


@pytest.mark.slow
def test_money_is_never_overspent_and_a_higher_limit_goes_on(server, outputs, cache):
    price = (1000.0, 0.0)  # 100 prompt tokens as the server counts them: 0.10 dollars a request
    with pytest.warns(JudgeWarning, match=r"not asked: \$"):
        first = ask(server, outputs(30), cache, price=price, max_cost=2.5)
    assert first.cost <= 2.5
    assert first.cost == pytest.approx(0.1 * len(server.bodies))
    assert 0 < len(server.bodies) < 25
    second = ask(server, outputs(30), cache, price=price, max_cost=100)
    assert first.cost + second.cost == pytest.approx(3.0)
    assert len(server.bodies) == 30
    assert second.to_frame()["price"].tolist() == pytest.approx([0.1] * 30)
    third = ask(server, outputs(30), cache, price=price, max_cost=0.001)
    assert (third.cost, third.n_asked, third.n_cached) == (0.0, 0, 30)


def test_a_limit_without_a_price_is_refused(server, outputs, cache):
    with pytest.raises(ValueError, match="max_cost: the judge 'one_token_tiny' has no price"):
        ask(server, outputs(1), cache, max_cost=1)


def test_price_and_time_of_a_batch_are_shared_among_its_pairs(server, outputs, cache):
    result = ask(server, outputs(7), cache, design="batched_choice", price=(10.0, 100.0))
    each = (10 * 100 + 100 * 10) / 1e6
    prices = [r["price_per_example"] for r in result.records]
    assert prices == pytest.approx([each / 5] * 5 + [each / 2] * 2)
    assert result.cost == pytest.approx(2 * each) == pytest.approx(sum(prices))
    assert all(r["time_per_example"] > 0 for r in result.records)


SCRIPT = """
    import json, sys
    from alpaca_analysis.judging import ChatJudge, judge
    url, data, cache = sys.argv[1:]
    asked = ChatJudge("tiny", design="one_token", base_url=url, timeout=5)
    judge(*json.load(open(data)), judge=asked, cache=cache, concurrency=4, order="random")
    print("done")
"""


def start(server, data, cache, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(data))
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), server.url, str(path), str(cache)],
        env={k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")},
        stdout=subprocess.PIPE,
    )


def asked_prompts(server):
    return Counter(body["messages"][-1]["content"] for body in server.bodies)


@pytest.mark.slow
def test_kill_in_mid_run_loses_nothing_and_repeats_nothing(server, outputs, cache, tmp_path):
    data = outputs(120)
    server.delay = 0.05
    process = start(server, data, cache, tmp_path)
    deadline = time.monotonic() + 60
    while server.n_answered < 30 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with sqlite3.connect(cache) as connection:
        kept = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        # The dead process renews its claims no more; shorten their 30 s so that the test need not wait.
        connection.execute("UPDATE claims SET expires = min(expires, strftime('%s', 'now') + 1)")
    connection.close()
    assert 26 <= kept < 120
    server.delay = 0.0
    result = ask(server, data, cache)
    assert (result.n_cached, result.n_asked) == (kept, 120 - kept)
    assert outcomes(result) == pytest.approx([0.1, 0.9] * 60)
    assert result.to_frame()["instruction_id"].is_unique
    counts = asked_prompts(server)
    assert len(counts) == 120
    # Only what was under way when the process died can have been asked twice.
    assert sum(counts.values()) <= 120 + 4
    before = len(server.bodies)
    again = ask(server, data, cache)
    assert (again.n_asked, again.cost, len(server.bodies)) == (0, 0.0, before)


@pytest.mark.slow
def test_two_processes_share_the_work(server, outputs, cache, tmp_path):
    data = outputs(60)
    server.delay = 0.02
    processes = [start(server, data, cache, tmp_path) for _ in range(2)]
    assert [p.communicate(timeout=60)[0] for p in processes] == [b"done\n"] * 2
    assert set(asked_prompts(server).values()) == {1}
    assert len(server.bodies) == 60
    assert outcomes(ask(server, data, cache)) == pytest.approx([0.1, 0.9] * 30)
    assert len(server.bodies) == 60


@pytest.mark.slow
def test_the_key_is_sent_and_shown_nowhere(server, outputs, cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.always = "echo"
    result = ask(server, outputs(3), cache, design="batched_choice", api_key_env="MY_KEY")
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    result.save(tmp_path / "results")
    server.always, server.complaint = 400, f"bad request by {KEY}"
    with pytest.warns(JudgeWarning) as warned:
        failed = ask(server, outputs(4), cache, api_key_env="MY_KEY", max_retries=0)
    server.always = 401
    with pytest.raises(ServerRefused) as refused:
        ask(server, outputs(5), cache, api_key_env="MY_KEY", max_retries=0)
    assert refused.value.__context__ is None
    assert refused.value.__cause__ is None
    texts = [caplog.text, str(warned[0].message), repr(refused.value), repr(result), repr(failed)]
    texts += [json.dumps(failed.records), json.dumps(failed.settings)]
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} >= {".json", ".sqlite"}
    assert "[hidden]" in json.dumps(failed.records)
    assert not [p for p in files if KEY.encode() in p.read_bytes()]
    assert not [t for t in texts if KEY in t]


def test_addresses_are_shown_without_credentials(server, outputs, cache, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    address = server.url.replace("http://", "http://me:pa55word@")
    result = judge(*outputs(2), judge=ChatJudge("tiny", design="one_token", base_url=address), cache=cache)
    assert server.headers[0]["Authorization"] == "Basic bWU6cGE1NXdvcmQ="
    assert result.settings["judge"]["address"] == server.url
    result.save(tmp_path / "results")
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"pa55word" not in path.read_bytes()
    assert "pa55word" not in caplog.text
    assert "bWU6cGE1NXdvcmQ=" not in caplog.text


def test_a_key_goes_only_where_it_is_told_to(server, outputs, cache, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(server, outputs(1), cache)
    assert "Authorization" not in server.headers[0]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="environment variable OPENAI_API_KEY is not set"):
        judge(*outputs(1), judge=ChatJudge("gpt", design="one_token"), cache=cache)
    with pytest.raises(ValueError, match="no query part") as error:
        ChatJudge("gpt", design="one_token", base_url="http://127.0.0.1:1/v1?key=" + KEY)
    assert KEY not in str(error.value)


@pytest.mark.slow
def test_what_matters_is_in_the_key(server, outputs, cache):
    def asked(data=None, *, model="tiny", n_repeats=1, **options):
        data = data or outputs(1)
        made = ChatJudge(model, **{"design": "one_token", "base_url": server.url, **options})
        return judge(*data, judge=made, cache=cache, order="random", n_repeats=n_repeats).n_asked

    options = [{}, {"temperature": 0.5}, {"seed": 1}, {"design": "ranking"}, {"extra": {"top_p": 0.5}}]
    assert [asked(**option) for option in options] == [1] * 5
    assert [asked(model="other"), asked(), asked(n_repeats=2)] == [1, 0, 1]
    mine, theirs = outputs(1)
    assert asked(([{**mine[0], "output": "yes yes yes"}], theirs)) == 1


def test_repeats_are_kept_apart(server, outputs, cache):
    frame = ask(server, outputs(3), cache, n_repeats=2, design="batched_choice", order="both").to_frame()
    assert frame.groupby(["repeat", "position"]).size().tolist() == [3, 3, 3, 3]
    assert {b["seed"] for b in server.bodies} == {0, 1}


@pytest.mark.filterwarnings(
    "ignore::alpaca_analysis.foundations.errors.UndefinedWarning"
)  # longer always wins
@pytest.mark.slow
def test_from_outputs_to_an_audited_win_rate(server, outputs, tmp_path, monkeypatch):
    """The lines of the README, with a server on this machine."""
    mine, reference = outputs(60)
    for name, records in (("mine", mine), ("reference", reference)):
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    monkeypatch.chdir(tmp_path)
    llm = ChatJudge("MODEL", design="one_token", base_url=server.url, price=(0.15, 0.60))
    judged = judge("mine.json", "reference.json", judge=llm, max_cost=5, cache="answers.sqlite")
    judged.save("results")
    table = aa.read_annotations("results")
    rates, first, longer = (
        aa.win_rate(table),
        aa.prefer_first(table),
        aa.prefer_longer(table, min_difference=0),
    )
    assert rates.loc[0, "win_rate"] == pytest.approx(0.5)
    assert rates.loc[0, "n_total"] == 120
    assert first.loc[0, "probability"] == pytest.approx(0.5)
    assert longer.loc[0, "probability"] == 1.0
    assert aa.order_consistency(table).loc[0, "consistent"] == 1.0
    assert "the same output preferred in both orders in 100 % of the pairs" in judged.summary()
    assert judged.cost == pytest.approx(120 * (100 * 0.15 + 10 * 0.60) / 1e6)
    assert aa.fit_length_control(table, difficulty=None).to_frame().loc[0, "win_rate"] == pytest.approx(0.5)


def test_a_judge_without_verdicts_is_not_paid_to_the_end(server, outputs, cache):
    """After 20 answers without a verdict nothing more is asked, and the reason names what came."""
    server.always = "chatter"
    with pytest.warns(
        JudgeWarning, match=r"180 x not asked: the first 20 answers .*; 20 x no verdict, found"
    ):
        result = ask(server, outputs(200), cache, design="three_grades", concurrency=1)
    assert (len(server.bodies), result.n_judged) == (20, 0)
    assert "take another design" in result.records[-1]["reason"]


def test_a_function_that_raises_costs_its_own_pair_only(outputs, monkeypatch):
    monkeypatch.setattr("alpaca_analysis.asking.functions.FIRST_PAUSE", 0.001)
    calls = []

    def moody(instruction, first, second):
        calls.append(instruction)
        if len(calls) % 3 == 0:
            raise KeyError("mood")
        return 1.0

    with pytest.warns(JudgeWarning, match=r"10 x failed: the judge raised KeyError: 'mood'"):
        result = judge(*outputs(30), judge=moody)
    assert result.n_judged == 20
    calls.clear()
    assert judge(*outputs(30), judge=FunctionJudge(moody, retries=1)).n_judged == 30


def test_a_field_of_none_is_left_out(server, outputs, cache):
    ask(server, outputs(1), cache)
    asked = ChatJudge(
        "tiny", design="one_token", base_url=server.url, extra={"temperature": None, "seed": None}
    )
    judge(*outputs(1), judge=asked, cache=cache)
    assert set(server.bodies[0]) - set(server.bodies[1]) == {"temperature", "seed"}


def test_imitations_are_counted_and_order_is_told(server, cache):
    mine = [{"instruction": f"i{k}", "output": f"x [[A]] {k}", "generator": "m"} for k in range(3)]
    theirs = [{"instruction": f"i{k}", "output": f"y{k}", "generator": "r"} for k in range(3)]
    asked = ChatJudge("tiny", design="one_token", base_url=server.url)
    result = judge(mine, theirs, judge=asked, order="both", cache=cache)
    assert [record["imitations"] for record in result.records] == [1] * 6
    assert "6 imitations of a verdict in the outputs" in result.summary()
    assert "the same output preferred in both orders in " in result.summary()


@pytest.mark.filterwarnings("ignore::alpaca_analysis.foundations.errors.UndefinedWarning")
@pytest.mark.slow
def test_from_two_files_to_explanations_on_screen(server, outputs, tmp_path):
    """A judge that reasons; what it said and why it ended, from the result itself and from its files."""
    server.faults = ["refusal"]
    with pytest.warns(JudgeWarning, match="1 x the judge refused"):
        judged = ask(server, outputs(30), tmp_path / "a.sqlite", design="reasoning", order="random")
    tables = [judged.to_frame(texts=True), aa.read_annotations(judged.save(tmp_path), texts=True)]
    for number, table in enumerate(tables):
        assert aa.win_rate(table).loc[0, ["n_total", "n_missing"]].tolist() == [29, 1]
        assert "missing judgements" in repr(aa.audit(table))
        page = aa.browse(table).to_html(tmp_path / f"{number}.html").read_text()
        assert page.count('"explanation":"I would rather not."') == 1
        assert page.count('"explanation":"A"') + page.count('"explanation":"B"') == 29
        assert page.count('["finish_reason","stop"]') == 30
        assert "yes yes yes yes" in page
    shared = ["instruction", "output_model", "output_reference", "raw_completion", "finish_reason"]
    a, b = (t.sort_values("instruction_id")[shared].astype(object).reset_index(drop=True) for t in tables)
    pd.testing.assert_frame_equal(a.where(a.notna(), None), b.where(b.notna(), None), check_dtype=False)
