"""Judging that stops when it has decided: order, predictability, what is kept, and what later analyses say."""

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.judging import ChatJudge, Decided, FunctionJudge, judge
from alpaca_analysis.judging.stopping import place_of

N = 200


def outputs(name, n=N):
    return [{"instruction": f"Q{i}", "output": f"{name} {i}", "generator": name} for i in range(n)]


def coin(rate, seed=0):
    """Return a judge that prefers the output of "mine" in a share of instructions, settled by each of them."""
    wins = np.random.default_rng(seed).random(N) < rate

    def prefers(instruction, first, second):
        prefers.asked.append(instruction)
        won = bool(wins[int(instruction[1:])])
        return won if first.startswith("mine") else not won

    prefers.asked = []
    return prefers


def stopped(rate, rule=None, **options):
    function = FunctionJudge(coin(rate), name="prefers")
    said = judge(outputs("mine"), outputs("ref"), judge=function, stop_when=rule or Decided(), **options)
    return said, function.function.asked


def test_it_stops_at_the_look_at_which_the_sequence_over_all_decides():
    said, asked = stopped(0.75)
    full = judge(outputs("mine"), outputs("ref"), judge=coin(0.75)).to_frame()
    order = sorted((f"Q{i}" for i in range(N)), key=place_of)
    ids = [aa.table.checks.instruction_id(q) for q in order]
    full["sequence"] = full["instruction_id"].map({i: k + 1 for k, i in enumerate(ids)})
    expected = aa.confidence_sequence(full, "mine").iloc[0]
    assert len(said.records) == expected["n_decided"] < N
    assert asked == order[: expected["n_decided"]]
    assert {r["instruction"] for r in said.records} == set(asked)
    assert said.settings["stop_when"]["decided"] == f"better than ref after {len(asked)} of 200 instructions"
    assert f"stopped: better than ref after {len(asked)} of 200" in said.summary()


def test_a_sequence_of_the_file_says_what_it_was_stopped_for(tmp_path):
    said, asked = stopped(0.25)
    path = said.save(tmp_path / "results")
    table = aa.read_annotations(path)
    for frame in (table, said.to_frame()):
        found = aa.confidence_sequence(frame, "mine")
        assert found.attrs["order"] == "as asked"
        row = found.iloc[0]
        assert (row["verdict"], row["n"], row["n_decided"]) == ("worse", len(asked), len(asked))
        assert row["note"] == f"judging stopped early: worse than ref after {len(asked)} of 200 instructions"
    settings = json.loads((path.parent / "annotations.settings.json").read_text())
    assert settings["stop_when"]["confidence_level"] == 0.95


def test_what_was_not_decided_is_asked_to_the_end_and_is_no_stopped_file():
    said, asked = stopped(0.5)
    assert len(asked) == len(said.records) == N
    assert "not decided after all 200 instructions" in said.summary()
    frame = said.to_frame()
    assert "stopped_early" not in frame
    assert sorted(frame["sequence"]) == list(range(1, N + 1))
    aa.win_rate(frame)  # without a warning


def test_equivalence_needs_a_margin():
    said, asked = stopped(0.5, Decided(margin=0.25))
    assert len(asked) < N
    assert said.settings["stop_when"]["decided"].startswith("equivalent to ref after")


def test_two_models_are_compared_instruction_by_instruction():
    rival = judge(outputs("other"), outputs("ref"), judge=FunctionJudge(_other, name="prefers")).to_frame()
    rule = Decided(margin=0.02, against=rival)
    said, asked = stopped(0.75, rule)
    assert (
        said.settings["stop_when"]["decided"] == f"better than other after {len(asked)} of 200 instructions"
    )
    both = pd.concat([said.to_frame(), rival], ignore_index=True)
    row = aa.confidence_sequence(both, "mine", "other", margin=0.02).iloc[0]
    assert (row["verdict"], row["n"], row["n_decided"]) == ("better", len(asked), len(asked))
    assert row["n_left_out"] == N - len(asked)
    with pytest.warns(aa.StoppedWarning, match="judging of 'mine' was stopped early"):
        found = aa.compare(both, "mine", "other")
    assert "stopped_early" in found["reason"][0]


def _other(instruction, first, second):
    won = int(instruction[1:]) % 4 == 0
    return won if first.startswith("other") else not won


def test_a_fixed_set_decides_no_later_than_all_such_prompts():
    endless, _ = stopped(0.65)
    fixed, asked = stopped(0.65, Decided(fixed_set=True))
    assert len(fixed.records) <= len(endless.records)
    row = aa.confidence_sequence(fixed.to_frame(), "mine", population=N).iloc[0]
    assert (row["verdict"], row["n_decided"]) == ("better", len(asked))


def test_both_orders_and_repeats_of_an_instruction_go_together():
    said, asked = stopped(0.75, order="both", n_repeats=2)
    once, single = stopped(0.75)
    assert len(asked) == 4 * len(single)
    frame = said.to_frame()
    assert (frame.groupby("instruction_id").size() == 4).all()
    assert set(frame["sequence"]) == set(once.to_frame()["sequence"])
    assert asked[:4] == [asked[0]] * 4


def test_equal_outputs_count_without_being_asked_and_missing_ones_do_not():
    mine = outputs("mine")
    for k in range(0, N, 2):
        mine[k]["output"] = f"ref {k}"
    mine[1]["output"] = None
    function = coin(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aa.JudgeWarning)
        said = judge(mine, outputs("ref"), judge=function, stop_when=Decided())
    frame = said.to_frame()
    assert set(frame["outcome"].dropna()) == {0.5, 1.0}
    assert len(function.asked) == (frame["outcome"] == 1).sum()
    row = aa.confidence_sequence(frame, "mine").iloc[0]
    assert row["verdict"] == "better"
    assert row["n_decided"] == frame["outcome"].notna().sum()


def test_servers_side_by_side_give_the_same_file_and_the_cache_pays(server, tmp_path):
    mine, theirs = _served(60)
    said = []
    for concurrency, cache in ((1, "one"), (8, "eight"), (8, "eight")):
        asked = ChatJudge("tiny", base_url=server.url, design="ranking", price=(1, 1))
        options = {"cache": tmp_path / cache, "concurrency": concurrency, "order": "random"}
        said.append(judge(mine, theirs, judge=asked, stop_when=Decided(), progress=False, **options))
    one, eight, again = said
    stripped = [
        [{k: v for k, v in r.items() if k not in ("time_per_example", "preference_date")} for r in s.records]
        for s in said
    ]
    assert stripped[0] == stripped[1] == stripped[2]
    n = len(one.records)
    assert n < 60
    assert one.n_asked == n
    assert n <= eight.n_asked < 60
    assert (again.n_asked, again.n_cached) == (0, n)


def _served(n):
    """Return outputs that the test server's rule always prefers: more letters y."""
    prompts = [f"Question {i}?" for i in range(n)]
    mine = [{"instruction": p, "generator": "mine", "output": "yes " * 8} for p in prompts]
    return mine, [{"instruction": p, "generator": "ref", "output": "no! " * 3} for p in prompts]


def test_every_later_analysis_says_that_it_was_stopped(tmp_path):
    said, _ = stopped(0.75)
    table = aa.read_annotations(said.save(tmp_path / "results"))
    text = "judging of 'mine' was stopped early .better than ref after .* confidence_sequence"
    for statistic in (aa.win_rate, aa.win_rate_bounds, aa.prefer_first):
        with pytest.warns(aa.StoppedWarning, match=text):
            statistic(table)
    with pytest.warns(aa.StoppedWarning):
        row = aa.win_rate(table).iloc[0]
    assert "stopped_early" in row["reason"]
    assert "judging stopped early: better than ref after" in row["note"]
    with pytest.warns(aa.StoppedWarning) as told:
        aa.win_rate(table)
    assert len(told) == 1
    assert told[0].filename == __file__


def _stopped_table():
    """Return judgements of four models on shared instructions in both orders, of which one was stopped."""
    rng = np.random.default_rng(0)
    parts = []
    for model, rate in (("a", 0.8), ("b", 0.5), ("c", 0.4), ("d", 0.6)):
        rows = {
            "instruction_id": [f"i{k}" for k in range(40) for _ in range(2)],
            "model": model,
            "reference": "r",
            "annotator": "judge",
            "outcome": (rng.random(80) < rate).astype(float),
            "position": [1, 2] * 40,
            "length_model": rng.integers(50, 900, 80),
            "length_reference": rng.integers(50, 900, 80),
            "dataset": rng.choice(["x", "y"], 40).repeat(2),
        }
        parts.append(pd.DataFrame(rows))
    table = pd.concat(parts, ignore_index=True)
    why = "better than r after 40 of 80 instructions"
    return table.assign(sequence=np.nan, stopped_early=np.where(table["model"] == "a", why, None))


def _people(table):
    people = pd.concat([table.assign(annotator=f"p{k}") for k in range(3)])
    return people.drop(columns=["sequence", "stopped_early"])


FEW = {"n_resamples": 49}
EVERY = {
    "win_rate": lambda t: aa.win_rate(t, **FEW),
    "win_rate_bounds": aa.win_rate_bounds,
    "compare": aa.compare,
    "dropped_to_reverse": lambda t: aa.dropped_to_reverse(t, "a", "b"),
    "dropped ratings": lambda t: aa.dropped_to_reverse(t, "a", "b", statistic="rating"),
    "rank_sets": lambda t: aa.rank_sets(t, **FEW),
    "pairwise_differences": lambda t: aa.pairwise_differences(t, **FEW),
    "bradley_terry": lambda t: aa.bradley_terry(t, **FEW),
    "plan_comparison": lambda t: aa.plan_comparison(t, "a", "b"),
    "plan_order": lambda t: aa.plan_order(t, **FEW),
    "check_first": lambda t: aa.check_first(t, "a"),
    "check_claims": lambda t: aa.check_claims(
        pd.DataFrame({"model": ["a"], "reference": ["r"], "printed": ["80.0"]}), t, **FEW
    ),
    "discrimination": lambda t: aa.discrimination(t, **FEW),
    "fewer_instructions": lambda t: aa.fewer_instructions(t, sizes=[5], n_resamples=9),
    "prefer_longer": lambda t: aa.prefer_longer(t, **FEW),
    "prefer_first": lambda t: aa.prefer_first(t, **FEW),
    "response_curve": lambda t: aa.response_curve(t, n_bins=3, **FEW),
    "order_consistency": aa.order_consistency,
    "order_rules": aa.order_rules,
    "length_regression": aa.length_regression,
    "fit_length_control": lambda t: aa.fit_length_control(t, difficulty=None),
    "human_agreement": lambda t: aa.human_agreement(t, _people(t), **FEW),
    "calibrated_win_rate": lambda t: aa.calibrated_win_rate(t, _people(t)[:200]),
}


@pytest.mark.filterwarnings("ignore::alpaca_analysis.UndefinedWarning")
@pytest.mark.parametrize("name", EVERY)
def test_every_statistic_warns(name):
    table = _stopped_table()
    with pytest.warns(aa.StoppedWarning, match="judging of 'a' was stopped early"):
        EVERY[name](table)


def test_an_audit_finds_it(tmp_path):
    said, _ = stopped(0.75)
    audit = aa.audit(aa.read_annotations(said.save(tmp_path / "results")), n_resamples=99)
    found = audit.to_frame().set_index("check").loc["stopped early"]
    assert found["severity"] == "medium"
    assert found["model"] == "mine"
    assert "better than ref after" in found["finding"]
    assert "stopped early" not in set(_asked_whole(0.5)["check"])
    unknown = aa.audit(_stopped_table().drop(columns=["sequence", "stopped_early"]), n_resamples=99).checks()
    row = unknown.set_index("check").loc["stopped early"]
    assert (row["status"], row["why"][:40]) == ("not looked at", "the judgements do not say in which order")


def _asked_whole(rate):
    audit = aa.audit(stopped(rate)[0].to_frame(), n_resamples=99)
    assert audit.checks().set_index("check").loc["stopped early", "status"] == "fine"
    return audit.to_frame()


def test_refusals():
    rival = judge(outputs("other"), outputs("ref"), judge=coin(0.5)).to_frame()
    with pytest.raises(ValueError, match="stop_when: found 'decided', expected Decided"):
        stopped(0.5, "decided")
    with pytest.raises(ValueError, match="stop_when: found together with batch="):
        stopped(0.5, batch="batch.json")
    with pytest.raises(ValueError, match="rival: found 'x' without"):
        Decided(rival="x")
    with pytest.raises(ValueError, match=r"did you mean 0\.02"):
        Decided(margin=2)
    two = pd.concat([rival, rival.assign(model="third")], ignore_index=True)
    with pytest.raises(aa.AnnotationError, match=r"against.*found other, third, expected one model"):
        stopped(0.5, Decided(against=two))
    assert stopped(0.9, Decided(against=two, rival="third"))[0].settings["stop_when"]["against"] == "third"
    with pytest.raises(
        aa.AnnotationError, match=r"against, column 'reference': found 'gpt'.*of this call, 'ref'"
    ):
        stopped(0.5, Decided(against=rival.assign(reference="gpt")))
    with pytest.raises(aa.AnnotationError, match="not stopped early"):
        stopped(0.5, Decided(against=stopped(0.9)[0].to_frame()))


@pytest.mark.simulation
def test_between_equal_models_it_decides_in_five_percent():
    """250 runs (a quarter in CI) of 200 instructions, stopping at any look: better or worse in 5 % at most."""
    from judgements import data_sets

    sets = data_sets(250)
    wrong = 0
    for seed in range(sets):
        said = judge(outputs("mine"), outputs("ref"), judge=coin(0.5, seed), stop_when=Decided())
        wrong += said.settings["stop_when"]["decided"] is not None
    assert wrong / sets <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / sets)
