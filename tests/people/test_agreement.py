"""Agreement with people: worked values, AlpacaEval's Analyzer as oracle, ragged data, coverage."""

import itertools
import json
import time

import numpy as np
import pandas as pd
import pytest
from judgements import people, said
from numpy.testing import assert_allclose

from alpaca_analysis import (
    AnnotationError,
    agreement_by,
    agreement_by_majority,
    compare_agreement,
    from_patterns,
    human_agreement,
    load,
    read_annotations,
)
from alpaca_analysis.foundations.errors import UndefinedWarning

QUICK = {"method": "t"}
small = pytest.mark.filterwarnings("ignore::alpaca_analysis.foundations.errors.UndefinedWarning")


def flip(table):
    return table.assign(model=table["reference"], reference=table["model"], outcome=1 - table["outcome"])


def row(result, annotator):
    return result.set_index("annotator").loc[annotator]


@pytest.fixture(scope="module")
def pandalm(mirror):
    table = read_annotations(mirror / "pandalm")
    human = table["annotator"].astype(str).str.startswith("human")
    return table[~human], table[human]


# Worked values -----------------------------------------------------------------------------------


@small
def test_four_people_on_two_items():
    """Items [1,1,1,1] and [2,2,2,1]: one against one 0.75, one against the rest 0.875."""
    humans = people([0, 1], [0, 1], [0, 1], [0, 0])
    judge = said([0, 1])
    result = human_agreement(judge, humans, **QUICK)
    assert row(result, "humans")["agreement"] == 0.875
    assert row(result, "humans")["variance"] == 0.125
    assert row(result, "judge")["agreement"] == 1.0
    grown = agreement_by_majority(judge, humans, **QUICK).set_index(["n_humans", "annotator"])["agreement"]
    assert grown[1, "humans"] == 0.75
    assert grown[3, "humans"] == 0.875
    assert_allclose(grown[1, "judge"], (1 + 0.75) / 2)


@small
def test_ties_are_split_in_expectation():
    """One of two sides is the majority at random: a verdict is right half the time, a draw never."""
    humans = people([1, 1, 1], [0, 0, 0])
    result = human_agreement(said([1, 0, 0.5]), humans, **QUICK)
    assert_allclose(row(result, "judge")["agreement"], (0.5 + 0.5 + 0) / 3)
    result = human_agreement(said([1, 0, 0.5]), humans, scoring="absolute", **QUICK)
    assert_allclose(row(result, "judge")["agreement"], 0.5)


@pytest.mark.parametrize(
    ("scoring", "expected"), [("zero_one", {"pandalm-7b": 0.6677}), ("absolute", {"pandalm-7b": 0.7417})]
)
@pytest.mark.rows
@pytest.mark.slow
def test_pandalm_published(pandalm, scoring, expected):
    result = human_agreement(*pandalm, scoring=scoring, **QUICK)
    for annotator, value in expected.items():
        assert_allclose(row(result, annotator)["agreement"], value, atol=5e-5)
        assert row(result, annotator)["n"] == 999


@pytest.mark.rows
@pytest.mark.slow
def test_pandalm_fair_comparison_and_clustering(pandalm):
    judges, humans = pandalm
    against_all = human_agreement(judges, humans, **QUICK)
    assert_allclose(row(against_all, "humans")["agreement"], 0.9199, atol=5e-5)
    assert_allclose(row(against_all, "gpt-3.5-turbo")["agreement"], 0.716, atol=5e-4)
    assert row(against_all, "gpt-3.5-turbo")["n_missing"] == 25
    fair = human_agreement(judges, humans, remaining=True, **QUICK)
    assert_allclose(row(fair, "pandalm-7b")["agreement"], 0.660, atol=5e-4)
    assert_allclose(row(fair, "gpt-3.5-turbo")["agreement"], 0.706, atol=5e-4)
    assert_allclose(row(against_all, "pandalm-7b")["standard_error"], 0.023, atol=5e-4)
    apart = [t.assign(instruction_id=t["repeat"].astype(str)) for t in (judges, humans)]
    independent = human_agreement(*apart, **QUICK)
    assert_allclose(row(independent, "pandalm-7b")["standard_error"], 0.015, atol=5e-4)
    assert against_all.attrs["unit"] == "instruction"


# Oracles -----------------------------------------------------------------------------------------


def brute_force(judge, votes, scoring):
    """Average over every choice among tied majorities, pair by pair, in plain Python."""

    def one(a, b):
        return float(a == b) if scoring == "zero_one" else 1 - abs(a - b)

    def against(value, rest):
        tally = {v: rest.count(v) for v in rest}
        modes = [v for v, c in tally.items() if c == max(tally.values())]
        return np.mean([one(value, m) for m in modes])

    scores = {"judge": [], "fair": [], "humans": []}
    for j, row_ in zip(judge, votes, strict=True):
        cast = [v for v in row_ if not np.isnan(v)]
        scores["judge"].append(against(j, cast) if cast and not np.isnan(j) else np.nan)
        rest = [cast[:k] + cast[k + 1 :] for k in range(len(cast))] if len(cast) > 1 else []
        scores["humans"].append(np.mean([against(v, r) for v, r in zip(cast, rest, strict=False)] or np.nan))
        scores["fair"].append(np.mean([against(j, r) for r in rest] or np.nan) if j == j else np.nan)
    return {k: np.nanmean(v) for k, v in scores.items()}


@pytest.mark.parametrize("scoring", ["zero_one", "absolute"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_closed_form_equals_enumeration(scoring, seed):
    rng = np.random.default_rng(seed)
    votes = rng.choice([0, 0.5, 1, np.nan], p=[0.4, 0.15, 0.3, 0.15], size=(60, 5))
    judge = rng.choice([0, 0.5, 1, np.nan], size=60)
    expected = brute_force(judge, votes.tolist(), scoring)
    table, humans = said(judge), people(*votes.T)
    plain = human_agreement(table, humans, scoring=scoring, **QUICK)
    fair = human_agreement(table, humans, scoring=scoring, remaining=True, **QUICK)
    assert_allclose(row(plain, "judge")["agreement"], expected["judge"])
    assert_allclose(row(plain, "humans")["agreement"], expected["humans"])
    assert_allclose(row(fair, "judge")["agreement"], expected["fair"])


def analyzer_frame(table, idx):
    """Return judgements as AlpacaEval's Analyzer wants them: 1 and 2 for the sides, 0 for a draw."""
    code = {1.0: 1, 0.0: 2, 0.5: 0}
    frame = pd.DataFrame({"idx": table["repeat"].to_numpy(), "preference": table["outcome"].map(code)})
    return frame[frame["idx"].isin(idx)].dropna()


def analyzer_scores(pandalm, idx, scoring, monkeypatch, annotator):
    """Average the Analyzer's score over the choices among tied verdicts, which it would draw at random."""
    analyze = pytest.importorskip("alpaca_eval.analyze")
    from alpaca_eval.metrics import helpers

    judges, humans = pandalm
    gold = pd.concat([analyzer_frame(part, idx) for _, part in humans.groupby("annotator", observed=True)])
    scores = []
    for choice in range(2):  # the tied sets of two votes are pairs; of three votes triples would need 6

        def pick(s, *_, choice=choice, **__):
            modes = s.mode().dropna()
            return modes.iloc[choice % len(modes)] if len(modes) else np.nan

        monkeypatch.setattr(helpers, "_random_mode", pick)
        analyzer = analyze.Analyzer(
            gold_crossannotations=gold,
            gold_annotations=gold.drop_duplicates("idx"),
            n_annotators=3,
            keys=("idx",),
            scoring_rule=scoring,
        )
        if annotator == "humans":
            found = analyzer.agreement_of_annotations("gold_crossannotations", None, n_majority_vote_1=1)
        else:
            own = analyzer_frame(judges[judges["annotator"] == annotator], idx)
            found = analyzer.agreement_of_annotations(own, n_majority_vote_1=1)
        scores.append(found["score"])
    return np.mean(scores)


def all_different(humans):
    """Return the idx whose three people said three different things: a tie among three."""
    kinds = humans.groupby("repeat")["outcome"].nunique()
    return set(kinds.index[kinds == 3])


@pytest.mark.rows
@pytest.mark.parametrize("scoring", ["zero_one", "absolute"])
@pytest.mark.parametrize("annotator", ["humans", "gpt-3.5-turbo", "pandalm-7b"])
@pytest.mark.slow
def test_equals_the_analyzer_on_split_pairs(pandalm, monkeypatch, scoring, annotator):
    """Pairs on which people differ by two to one, where ties matter, and some others."""
    judges, humans = pandalm
    split = humans.groupby("repeat")["outcome"].nunique()
    idx = (set(split.index[split == 2][:30]) | set(range(15))) - all_different(humans)
    expected = analyzer_scores(pandalm, idx, scoring, monkeypatch, annotator)
    chosen = [t[t["repeat"].isin(idx)] for t in (judges, humans)]
    assert_allclose(row(human_agreement(*chosen, scoring=scoring, **QUICK), annotator)["agreement"], expected)


@pytest.mark.rows
@pytest.mark.simulation  # 40 s, nearly all of it the oracle's
@pytest.mark.parametrize("scoring", ["zero_one", "absolute"])
@pytest.mark.parametrize("annotator", ["humans", "gpt-3.5-turbo", "pandalm-7b"])
def test_equals_the_analyzer_on_all_pairs(pandalm, monkeypatch, scoring, annotator):
    judges, humans = pandalm
    idx = set(range(999)) - (set() if annotator == "humans" else all_different(humans))
    expected = analyzer_scores(pandalm, idx, scoring, monkeypatch, annotator)
    chosen = [t[t["repeat"].isin(idx)] for t in (judges, humans)]
    assert_allclose(row(human_agreement(*chosen, scoring=scoring, **QUICK), annotator)["agreement"], expected)


@pytest.mark.slow
def test_bias_and_variance_equal_the_analyzer(monkeypatch):
    """Three judgements of each of 40 pairs by a judge and by three people, without draws."""
    analyze = pytest.importorskip("alpaca_eval.analyze")
    from alpaca_eval.metrics import helpers

    rng = np.random.default_rng(11)
    votes, repeats = rng.integers(0, 2, (40, 3)), rng.integers(0, 2, (40, 3))

    def frame(values):
        return pd.DataFrame({"idx": np.repeat(range(40), 3), "preference": 2 - values.ravel()})

    humans, table = people(*votes.T), pd.concat([said(v, repeat=k) for k, v in enumerate(repeats.T)])
    result = human_agreement(table, humans, **QUICK)
    gold = frame(votes)
    variance = {"judge": [], "humans": []}
    for choice in range(2):

        def pick(s, *_, choice=choice, **__):
            return s.mode().iloc[choice % len(s.mode())]

        monkeypatch.setattr(helpers, "_random_mode", pick)
        analyzer = analyze.Analyzer(
            gold_crossannotations=gold,
            gold_annotations=gold.drop_duplicates("idx"),
            n_annotators=3,
            keys=("idx",),
            scoring_rule="zero_one",
        )
        crossed = frame(repeats)
        crossed["index"] = crossed.groupby("idx").cumcount()
        variance["judge"].append(analyzer.estimate_variance(crossed))
        variance["humans"].append(analyzer.estimate_variance(gold))
    assert_allclose(row(result, "judge")["bias"], analyzer.estimate_bias(crossed))
    found = analyzer.agreement_of_annotations(crossed, "gold_crossannotations", n_majority_vote_1=1)
    assert_allclose(row(result, "judge")["agreement"], found["score"])
    for annotator, expected in variance.items():
        assert_allclose(row(result, annotator)["variance"], np.mean(expected))


@pytest.mark.rows
@pytest.mark.benchmark
def test_faster_than_one_call_of_the_analyzer(pandalm):
    analyze = pytest.importorskip("alpaca_eval.analyze")
    judges, humans = pandalm
    gold = analyzer_frame(humans, set(range(999)))
    analyzer = analyze.Analyzer(
        gold_crossannotations=gold,
        gold_annotations=gold.drop_duplicates("idx"),
        n_annotators=3,
        keys=("idx",),
        scoring_rule="zero_one",
    )
    own = analyzer_frame(judges[judges["annotator"] == "pandalm-7b"], set(range(999)))
    start = time.perf_counter()
    analyzer.agreement_of_annotations(own, n_majority_vote_1=1)
    theirs, start = time.perf_counter() - start, time.perf_counter()
    human_agreement(judges, humans, n_resamples=9999)
    assert time.perf_counter() - start < theirs


# Ragged data -------------------------------------------------------------------------------------


@small
@pytest.mark.slow
def test_flipped_sides_match():
    table, humans = said([1, 0, 0.5, 1]), people([1, 0, 0, 1], [1, 1, 0.5, 1], [0, 0, 0.5, 1])
    straight = human_agreement(table, humans, n_resamples=200)
    mixed = pd.concat([humans[::2], flip(humans[1::2])])
    pd.testing.assert_frame_equal(straight, human_agreement(table, mixed, n_resamples=200))
    pd.testing.assert_frame_equal(straight, human_agreement(flip(table), humans, n_resamples=200))


@small
@pytest.mark.slow
def test_row_order_and_inputs_do_not_matter():
    table, humans = said([1, 0, 0.5, 1]), people([1, 0, 0, 1], [1, 1, 0.5, 1], [0, 0, 0.5, 1])
    before = table.copy(), humans.copy()
    plain = human_agreement(table, humans, **QUICK)
    shuffled = human_agreement(table[::-1], humans.sample(frac=1, random_state=0), **QUICK)
    pd.testing.assert_frame_equal(plain, shuffled)
    pd.testing.assert_frame_equal(table, before[0])
    pd.testing.assert_frame_equal(humans, before[1])
    again = human_agreement(table, humans, rng=3, n_resamples=500)
    pd.testing.assert_frame_equal(again, human_agreement(table, humans, rng=3, n_resamples=500))


@small
def test_different_numbers_of_people():
    humans = pd.concat([said([1, 0, 1, 0], "p"), said([1, 0, 1], "q"), said([0, 0], "r")])
    result = human_agreement(said([1, 0, 1, 0]), humans, **QUICK)
    assert row(result, "judge")[["agreement", "n"]].tolist() == [1.0, 4]
    assert row(result, "humans")["n"] == 3
    assert row(result, "humans")["n_missing"] == 1
    assert_allclose(row(result, "humans")["agreement"], ((0.5 + 0.5 + 0) / 3 + 1 + 1) / 3)


def test_missing_verdicts_and_unshared_pairs_are_counted():
    table = said([1, np.nan, 0, 1, 1, 0])
    humans = people([1, 1, 0, np.nan, 0.5], [1, 1, 1, np.nan, 0.5], [1, 0, 0, np.nan, 0.5])
    judge = row(human_agreement(table, humans, **QUICK), "judge")
    assert judge[["n", "n_missing", "n_unmatched"]].tolist() == [3, 1, 2]
    assert_allclose(judge["agreement"], 2 / 3)


def test_a_judge_that_always_draws():
    humans = people([1, 0, 1, 0.5], [1, 0, 1, 0.5], [0, 0, 1, 0.5])
    result = human_agreement(said([0.5] * 4), humans, **QUICK)
    assert row(result, "judge")["agreement"] == 0.25
    result = human_agreement(said([0.5] * 4), humans, scoring="absolute", **QUICK)
    assert_allclose(row(result, "judge")["agreement"], 0.625)


def test_all_people_agree():
    humans = people([1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0])
    with pytest.warns(UndefinedWarning, match="humans: interval undefined"):
        result = human_agreement(said([1, 1, 0, 0]), humans)
    alone = row(result, "humans")
    assert alone["agreement"] == 1
    assert alone["standard_error"] == 0
    assert np.isnan(alone["ci_low"])
    assert "no variation" in alone["note"]
    assert row(result, "judge")["agreement"] == 0.5
    assert row(result, "judge")["note"] == (
        "one judgement per pair: bias includes variance; interval approximate: 4 units"
    )


def test_one_pair_only():
    with pytest.warns(UndefinedWarning, match="fewer than two instructions"):
        result = human_agreement(said([1]), people([1], [1], [0]))
    assert row(result, "judge")["agreement"] == 1
    assert np.isnan(row(result, "judge")["standard_error"])


def test_one_person_only_leaves_humans_undefined():
    with pytest.warns(UndefinedWarning, match="no pair with two human votes"):
        result = human_agreement(said([1, 0, 1]), people([1, 0, 0]), **QUICK)
    assert np.isnan(row(result, "humans")["agreement"])
    assert_allclose(row(result, "judge")["agreement"], 2 / 3)


def test_repeats_of_a_judge_give_its_variance():
    table = pd.concat([said(o, repeat=k) for k, o in enumerate([[1, 0], [1, 0], [0, 0], [1, 1]])])
    humans = people([1, 1], [1, 1], [1, 0])
    judge = row(human_agreement(table, humans, **QUICK), "judge")
    assert_allclose(judge["agreement"], (0.75 + 0.25) / 2)
    assert_allclose(judge["bias"], 0.5)  # own majorities: model and reference; people: model, model
    # one against the other three: right 3 times of 4 on both pairs, never tied
    assert_allclose(judge["variance"], 0.25)


def test_a_judge_that_contradicts_itself_is_right_half_the_time():
    table = pd.concat([said([1, 1], repeat=0), said([0, 1], repeat=1)])
    judge = row(human_agreement(table, people([1, 1], [1, 0], [1, 0]), **QUICK), "judge")
    assert judge[["agreement", "bias", "variance"]].tolist() == [0.25, 0.75, 0.5]
    assert judge["note"] == "interval approximate: 2 units"


@small
def test_bias_and_variance_of_weighted_judgements():
    """The median stands for the majority; one judgement of a pair has no others."""
    given = np.array([[0.9, 0.2, 0.6], [0.3, 0.1, np.nan], [0.7, np.nan, np.nan], [np.nan] * 3])
    table = pd.concat([said(given[:, k], repeat=k) for k in range(3)])
    humans = people([1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 1, 1])
    judge = row(human_agreement(table, humans, scoring="absolute", **QUICK), "judge")
    assert_allclose(judge["agreement"], 1 - np.mean([(0.1 + 0.8 + 0.4) / 3, 0.2, 0.7]))
    assert_allclose(judge["bias"], np.mean([0.4, 0.2, 0.7]))
    # 0.9 against the median of 0.2 and 0.6, and so on; 0.3 against 0.1 and the other way round
    assert_allclose(judge["variance"], np.mean([(0.5 + 0.55 + 0.05) / 3, 0.2]))
    assert judge[["n", "n_missing"]].tolist() == [3, 1]
    once = row(human_agreement(said(given[:, 0]), humans, scoring="absolute", **QUICK), "judge")
    assert np.isnan(once["variance"])


@pytest.mark.parametrize("method", ["bca", "percentile", "t"])
def test_with_one_person_nobody_remains(method):
    with pytest.warns(UndefinedWarning, match="humans, judge: undefined: no pair with two"):
        result = human_agreement(
            said([1, 0, 1]), people([1, 0, 0]), remaining=True, method=method, n_resamples=9
        )
    assert result["agreement"].isna().all()
    assert (result["reason"] == "nothing_judged").all()


@small
def test_results_say_how_they_were_computed():
    table, humans = (
        pd.concat([said([1, 0, 0], "y"), said([0, 0, 1], "x")]),
        people([1, 0, 0], [1, 1, 0], [1, 0, 1]),
    )
    everyone, rest = "the majority of all people", "the remaining people"
    common = {
        "interval": "bca", "unit": "instruction", "confidence_level": 0.95, "n_resamples": 9999, "rng": 0,
        "scoring": "zero_one", "ties": "expectation over a random choice", "on": [],
    }  # fmt: skip
    result = human_agreement(table, humans)
    alone = {
        "estimate": "agreement", "fractions": ["agreement", "bias", "variance"], "differences": [],
        "higher_is_better": ["agreement"], "pvalue": None,
    }  # fmt: skip
    method = {"method": "agreement with the majority of all people", "against": everyone}
    assert result.attrs == common | alone | method
    assert result["n_unmatched"].tolist() == [0, 0, 0]
    options = {"remaining": True, "method": "t", "rng": 3}
    assert human_agreement(table, humans, **options).attrs == common | alone | {
        "method": "agreement with the majority of the remaining people", "against": rest,
        "interval": "t", "n_resamples": None, "rng": None,
    }  # fmt: skip
    assert compare_agreement(table, humans, "x", "y").attrs == common | {
        "estimate": "difference", "fractions": ["agreement_a", "agreement_b"], "differences": ["difference"],
        "higher_is_better": [], "pvalue": "pvalue",
        "method": "paired difference of agreements with the majority of all people", "against": everyone,
    }  # fmt: skip
    assert compare_agreement(table, humans, "x", "humans").attrs["against"] == rest
    grown = agreement_by_majority(table, humans, n_resamples=99, rng=np.random.default_rng(3)).attrs
    assert (grown["interval"], grown["n_resamples"], grown["rng"]) == ("bca", 99, "generator")


def test_a_judge_as_good_as_one_person_is_no_better_among_the_same_people():
    """Three people and a judge, each right in 80 % of pairs: all 16 patterns with their exact frequencies."""
    right = np.array(list(itertools.product([1, 0], repeat=4)))
    patterns = pd.DataFrame({"idx": np.arange(16), "model": "a", "reference": "b"})
    patterns["n"] = (4 ** right.sum(axis=1)).astype(int)  # of 625 pairs
    judge = patterns.assign(annotator="judge", outcome=right[:, 0].astype(float))
    humans = pd.concat([patterns.assign(annotator=f"p{k}", outcome=right[:, k] * 1.0) for k in (1, 2, 3)])
    majority = 0.8**3 + 3 * 0.8**2 * 0.2
    unfair = human_agreement(judge, humans, method="t")
    assert_allclose(row(unfair, "judge")["agreement"], 0.8 * majority + 0.2 * (1 - majority))
    assert_allclose(row(unfair, "humans")["agreement"], 0.8 * 0.8 + 0.2 * 0.2)
    assert row(unfair, "humans")["reason"] == "fewer_votes_to_match"
    fair = human_agreement(judge, humans, method="t", remaining=True)
    assert_allclose(fair["agreement"], 0.68)
    assert not fair["reason"].str.contains("fewer_votes").any()
    judge["dataset"] = "d"
    for remaining, expected in ((False, [False, True]), (True, [False, False])):
        grouped = agreement_by(judge, humans, by="dataset", method="t", remaining=remaining)
        assert grouped["reason"].str.contains("fewer_votes_to_match").tolist() == expected
    found = compare_agreement(judge, humans, "judge", "humans", method="t").iloc[0]
    assert (found["difference"], found["pvalue"]) == (0, 1)
    # The error is that of the difference of the two scores, people's own part included.
    ours, theirs = right[:, 0], right[:, 1:]
    of = [
        theirs[:, [j for j in range(3) if j != k]].mean(axis=1) for k in range(3)
    ]  # P(majority of two is 1)
    score = [np.mean([np.where(v == 1, m, 1 - m) for v, m in zip(vs, of, strict=True)], axis=0)
             for vs in ([ours] * 3, theirs.T)]  # fmt: skip
    gap = np.repeat(score[0] - score[1], patterns["n"])
    assert_allclose(found["standard_error"], gap.std(ddof=1) / np.sqrt(625))


def test_of_equals_the_first_by_name_comes_first():
    table = pd.concat([said([1, 0, 0, 0], "y"), said([1, 0, 0, 1], "z"), said([0, 0, 0, 1], "x")])
    with pytest.warns(UndefinedWarning):
        result = human_agreement(table, people([1, 0, 0, 1]))
    assert result["annotator"].tolist() == ["z", "x", "y", "humans"]
    assert result.index.equals(pd.RangeIndex(4))


def test_a_warning_names_the_first_and_counts_the_rest():
    table, humans = pd.concat([said([np.nan, np.nan], "mute"), said([1, 0])]), people([1, 0], [0, 0])
    with pytest.warns(UndefinedWarning) as caught:
        result = human_agreement(table, humans, **QUICK)
    note = "undefined: no usable verdict on a pair that people judged"
    assert row(result, "mute")["note"] == note
    assert str(caught[0].message) == f"mute: {note}"
    assert caught[0].filename == __file__
    two = pd.concat([said([1], "one"), said([1], "two")])
    with pytest.warns(UndefinedWarning, match="^one, two, humans: error undefined: "):
        human_agreement(two, people([1], [1], [0]), **QUICK)


def test_weighted_judgements_need_the_absolute_rule():
    humans = people([1, 0, 1], [1, 0, 0], [1, 0, 1])
    with pytest.raises(AnnotationError, match="scoring='zero_one'"):
        human_agreement(said([0.9, 0.2, 0.6]), humans)
    result = human_agreement(said([0.9, 0.2, 0.6]), humans, scoring="absolute", **QUICK)
    assert_allclose(row(result, "judge")["agreement"], (0.9 + 0.8 + 0.6) / 3)


def test_repeat_may_number_comparisons():
    """The same prompt and the same two models, compared three times: `repeat` belongs in the key."""
    same = {"instruction_id": "x", "repeat": [0, 1, 2]}
    table = said([1, 0, 1]).assign(**same)
    humans = pd.concat([said(o, f"p{k}").assign(**same) for k, o in enumerate([[1, 0, 1], [1, 0, 0]])])
    with pytest.warns(UndefinedWarning):
        result = human_agreement(table, humans, **QUICK)
    assert row(result, "judge")["n"] == 3
    assert_allclose(row(result, "judge")["agreement"], (1 + 1 + 0.5) / 3)


def test_tables_of_counts_match_by_idx():
    """Frequencies instead of pairs: the same numbers as from pairs that are units of their own."""
    rng = np.random.default_rng(5)
    votes = rng.choice([0, 0.5, 1], size=(200, 4), p=[0.45, 0.1, 0.45])
    patterns, n = np.unique(votes, axis=0, return_counts=True)
    base = pd.DataFrame({"model": "a", "reference": "b", "idx": range(len(n)), "n": n})
    table = base.assign(annotator="judge", outcome=patterns[:, 0])
    humans = pd.concat([base.assign(annotator=f"p{k}", outcome=patterns[:, k]) for k in (1, 2, 3)])
    counted = human_agreement(table, humans, **QUICK)
    rows = human_agreement(said(votes[:, 0]), people(*votes[:, 1:].T), **QUICK)
    pd.testing.assert_frame_equal(counted, rows)
    assert counted.attrs["unit"] == "pair (no instruction ids)"


@pytest.mark.parametrize(
    ("table", "humans", "message"),
    [
        (said([1, 0]).drop(columns="instruction_id"), people([1, 0]), "instruction id"),
        (said([1, 0]).assign(model="z"), people([1, 0]), "pairs judged in both tables"),
        (said([1, 0]), people([1, 0.3]), "humans, row 1, column 'outcome': found 0.3"),
        (said([1, 0], "humans"), people([1, 0]), "another name than 'humans'"),
    ],
)
def test_malformed_questions_raise(table, humans, message):
    with pytest.raises(AnnotationError, match=message):
        human_agreement(table, humans)


def test_unknown_options_raise():
    for options in (
        {"scoring": "squared"}, {"method": "wilson"}, {"confidence_level": 95}, {"confidence_level": 1},
        {"confidence_level": 0}, {"confidence_level": -0.5},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="found"):
            human_agreement(said([1, 0]), people([1, 0]), **options)


# Two judges, groups, growing majorities ------------------------------------------------------------


@pytest.mark.rows
@pytest.mark.slow
def test_two_judges_on_the_same_pairs(pandalm):
    judges, humans = pandalm
    result = compare_agreement(judges, humans, "gpt-3.5-turbo", "pandalm-7b", **QUICK).loc[0]
    both = judges.pivot(index="repeat", columns="annotator", values="outcome").dropna()
    chosen = judges[judges["repeat"].isin(both.index)]
    alone = human_agreement(chosen, humans, **QUICK).set_index("annotator")["agreement"]
    assert_allclose(result["difference"], alone["gpt-3.5-turbo"] - alone["pandalm-7b"])
    assert result[["n", "n_unshared"]].tolist() == [974, 25]
    assert_allclose(result["difference"], 0.0421, atol=5e-5)
    assert 0.05 < result["pvalue"] < 0.15
    against_person = compare_agreement(judges, humans, "pandalm-7b", "humans", **QUICK).loc[0]
    assert_allclose(against_person["agreement_a"], 0.660, atol=5e-4)
    assert_allclose(against_person["agreement_b"], 0.9199, atol=5e-5)


def test_comparison_equals_a_paired_t_test():
    from scipy import stats

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 120).astype(float)
    one = np.where(rng.random(120) < 0.8, truth, 1 - truth)
    two = np.where(rng.random(120) < 0.7, truth, 1 - truth)
    table = pd.concat([said(one, "one"), said(two, "two")])
    result = compare_agreement(table, people(truth), "one", "two", **QUICK).loc[0]
    expected = stats.ttest_rel((one == truth).astype(float), (two == truth).astype(float))
    assert_allclose(result["pvalue"], expected.pvalue)
    interval = expected.confidence_interval()
    assert_allclose(result[["ci_low", "ci_high"]].tolist(), [interval.low, interval.high])


def test_pairs_of_one_judge_alone_are_left_out_of_a_comparison():
    one, two = said([1, 0, 1, 1, 0, np.nan, np.nan], "one"), said([1, 1, 0, 1, np.nan, 1, np.nan], "two")
    humans = people([1, 0, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0, 1])
    found = compare_agreement(pd.concat([one, two]), humans, "one", "two", **QUICK).loc[0]
    assert found[["agreement_a", "agreement_b", "difference"]].tolist() == [0.75, 0.25, 0.5]
    assert found[["n", "n_unshared"]].tolist() == [4, 2]
    assert found["note"] == "interval approximate: 4 units"


def test_judges_that_never_differ():
    table = pd.concat([said([1, 0, 1], "one"), said([1, 0, 1], "two")])
    with pytest.warns(UndefinedWarning, match="^one/two: interval undefined: the two never") as caught:
        found = compare_agreement(table, people([1, 0, 0]), "one", "two").loc[0]
    assert caught[0].filename == __file__
    assert found["difference"] == 0
    assert found[["pvalue", "ci_low", "ci_high"]].isna().all()
    assert found["note"].startswith("interval undefined: the two never differ")


def test_unknown_judge_raises():
    with pytest.raises(AnnotationError, match="one of 'judge', 'humans'"):
        compare_agreement(said([1, 0]), people([1, 0]), "judge", "nobody")


@pytest.mark.slow
def test_groups_partition_the_pairs():
    table = said(
        [1, 0, 1, 1, 0, 1], dataset=list("xxyyzz"), length_model=[10, 50, 200, 900, 5, 5], length_reference=0
    )
    humans = people([1, 0, 0, 1, 1, 1], [1, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1])
    by = agreement_by(table, humans, by="dataset", **QUICK)
    assert by.groupby("annotator")["n"].sum().tolist() == [6, 6]
    unanimous = agreement_by(table, humans, by="unanimity", **QUICK).set_index("unanimity")
    assert unanimous.loc["unanimous", ["agreement", "n"]].tolist() == [1.0, 2]
    lengths = agreement_by(table, humans, by="length_difference", **QUICK)
    assert lengths.query("annotator == 'judge'")["n"].tolist() == [3, 1, 1, 1]
    assert lengths["length_difference"].iloc[0] == "up to 30"
    assert lengths["note"].str.contains("instructions|undefined").all()
    with pytest.raises(AnnotationError, match="'unanimity'"):
        agreement_by(table, humans, by="colour")


@pytest.mark.slow
def test_growing_majority_equals_subsets():
    """The majority of 2 of 4 people, over all six choices."""
    from itertools import combinations

    rng = np.random.default_rng(3)
    votes = rng.choice([0, 0.5, 1], size=(40, 4))
    judge = rng.choice([0, 0.5, 1], size=40)
    grown = agreement_by_majority(said(judge), people(*votes.T), **QUICK).set_index(["n_humans", "annotator"])
    expected = np.mean(
        [
            brute_force(judge, votes[:, list(chosen)].tolist(), "zero_one")["judge"]
            for chosen in combinations(range(4), 2)
        ]
    )
    assert_allclose(grown.loc[(2, "judge"), "agreement"], expected)
    whole = human_agreement(said(judge), people(*votes.T), **QUICK)
    assert_allclose(grown.loc[(4, "judge"), "agreement"], row(whole, "judge")["agreement"])
    assert_allclose(grown.loc[(3, "humans"), "agreement"], row(whole, "humans")["agreement"])


# Coverage ----------------------------------------------------------------------------------------


def simulated(rng, n_instructions=150, pairs_each=3):
    """Pairs of an instruction share how clear they are; the judge is right more often on clear ones."""
    clear = np.repeat(rng.beta(4, 2, n_instructions), pairs_each)
    truth = rng.integers(0, 2, len(clear)).astype(float)
    votes = np.where(
        rng.random((len(clear), 3)) < 0.5 + clear[:, None] / 2, truth[:, None], 1 - truth[:, None]
    )
    judge = np.where(rng.random(len(clear)) < 0.4 + clear / 2, truth, 1 - truth)
    ids = np.repeat([f"i{k}" for k in range(n_instructions)], pairs_each)
    base = {"instruction_id": ids, "repeat": np.arange(len(clear))}
    return said(judge).assign(**base), pd.concat(
        [said(v, f"p{k}").assign(**base) for k, v in enumerate(votes.T)]
    )


@pytest.mark.simulation
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["t", "bca"])
def test_coverage_of_agreement(method):
    rng = np.random.default_rng(20)
    table, humans = simulated(rng, n_instructions=60_000)
    true = human_agreement(table, humans, **QUICK).set_index("annotator")["agreement"]
    hits, n = 0, 500
    for _ in range(n):
        result = human_agreement(*simulated(rng), method=method, n_resamples=999)
        result = result.set_index("annotator").loc[true.index]
        hits += ((result["ci_low"] <= true) & (true <= result["ci_high"])).astype(int)
    assert ((hits / n).between(0.93, 0.97)).all(), (hits / n).to_dict()


def test_bundled_patterns_give_the_published_values():
    """PandaLM without its instructions: the same agreement, errors as if pairs were independent."""
    table = from_patterns(load("pandalm_counts"))
    human = table["annotator"].astype(str).str.startswith("human")
    result = human_agreement(table[~human], table[human], **QUICK)
    assert_allclose(row(result, "pandalm-7b")["agreement"], 0.6677, atol=5e-5)
    assert_allclose(row(result, "humans")["agreement"], 0.9199, atol=5e-5)
    assert_allclose(row(result, "pandalm-7b")["standard_error"], 0.015, atol=5e-4)
    assert row(result, "gpt-3.5-turbo")[["n", "n_missing"]].tolist() == [974, 25]


@pytest.mark.rows
@pytest.mark.slow
def test_files_of_the_publishers_shape_load_with_one_call(mirror, tmp_path, monkeypatch):
    """PandaLM's people written as AlpacaEval publishes its crossed human judgements."""
    records = json.loads((mirror / "pandalm" / "testset-v1.json").read_text(encoding="utf-8"))
    pairs = pd.DataFrame([r for r in records if isinstance(r["response1"], str)])
    pairs = pairs[[isinstance(text, str) for text in pairs["response2"]]]
    both = ["\t".join(sorted(two)) for two in zip(pairs["response1"], pairs["response2"], strict=True)]
    pairs = pairs[pairs["response1"] != pairs["response2"]].assign(both=pd.Series(both, index=pairs.index))
    pairs = pairs.drop_duplicates(
        ["instruction", "input", "both"]
    )  # the texts are all that tells pairs apart
    crossed = [
        {
            "instruction": f"{r.instruction}\n\n{r.input}",
            "output_1": r.response1,
            "output_2": r.response2,
            "preference": getattr(r, f"annotator{k + 1}"),
            "annotator_index": k,
            "datasplit": "eval",
        }
        for r in pairs.itertuples()
        for k in range(3)
    ]
    folder = tmp_path / "alpaca_eval"
    folder.mkdir()
    (folder / "alpaca_farm_human_crossannotations.json").write_text(json.dumps(crossed), encoding="utf-8")
    monkeypatch.setenv("ALPACA_ANALYSIS_DATA", str(tmp_path))
    loaded = load("alpaca_farm_humans")
    longer = loaded["length_model"] >= loaded["length_reference"]
    longest = loaded[loaded["annotator"] == "human_0"].assign(
        annotator="longest", outcome=longer[loaded["annotator"] == "human_0"].astype(float)
    )
    found = human_agreement(longest, loaded, **QUICK)
    kept = read_annotations(mirror / "pandalm" / "testset-v1.json", format="pandalm")
    kept = kept[kept["repeat"].isin(pairs["idx"])]
    alone = human_agreement(kept[kept["annotator"] == "human_1"].assign(annotator="x"), kept, **QUICK)
    assert len(loaded) == 3 * len(pairs)
    assert_allclose(row(found, "humans")["agreement"], row(alone, "humans")["agreement"])
    assert_allclose(row(found, "humans")["standard_error"], row(alone, "humans")["standard_error"])
    verdict = np.where(pairs["response2"].str.len() >= pairs["response1"].str.len(), 2, 1)
    votes = pairs[["annotator1", "annotator2", "annotator3"]].replace({0: 0.5, 1: 0, 2: 1}).to_numpy(float)
    expected = brute_force(verdict - 1, votes.tolist(), "zero_one")["judge"]
    assert_allclose(row(found, "longest")["agreement"], expected)


# What tells comparisons apart, unknown groups, units --------------------------------------------------


def judging_twice(rng, annotator):
    return pd.concat(
        [said(rng.integers(0, 2, 100), annotator, repeat=k) for k in range(2)], ignore_index=True
    )


def test_one_row_less_does_not_change_what_repeat_means():
    """A judge and three people judge 100 pairs twice: 100 pairs, whether or not a row is missing."""
    rng = np.random.default_rng(0)
    judge = judging_twice(rng, "judge")
    humans = pd.concat([judging_twice(rng, f"p{k}") for k in range(3)])
    whole = human_agreement(judge, humans, **QUICK)
    less = human_agreement(judge.iloc[:-1], humans.iloc[1:], **QUICK)
    assert whole.attrs["on"] == less.attrs["on"] == []
    for result in (whole, less):
        assert row(result, "judge")["n"] == 100
    twice = judge.pivot(index="instruction_id", columns="repeat", values="outcome")
    assert_allclose(row(whole, "judge")["variance"], (twice[0] != twice[1]).mean())
    asked = human_agreement(judge, humans, on=["repeat"], **QUICK)
    assert asked.attrs["on"] == ["repeat"]
    assert row(asked, "judge")["n"] == 200


def test_numbers_of_comparisons_stay_in_the_key_when_rows_are_missing():
    """As PandaLM: each number belongs to one pair, and some pairs have several."""
    rng = np.random.default_rng(1)
    base = {"instruction_id": [f"i{k // 2}" for k in range(60)], "repeat": np.arange(60)}
    table = said(rng.integers(0, 2, 60)).assign(**base)
    humans = pd.concat([said(rng.integers(0, 2, 60), f"p{k}").assign(**base) for k in range(3)])
    for rows in (table, table.iloc[7:]):
        result = human_agreement(rows, humans, **QUICK)
        assert result.attrs["on"] == ["repeat"]
        assert row(result, "judge")["n"] == len(rows)


@small
@pytest.mark.parametrize("by", ["length_difference", "dataset", "unanimity"])
def test_pairs_of_unknown_group_are_counted(by):
    lengths = np.where(np.arange(100) < 40, np.nan, 3.0 * np.arange(100))
    sources = pd.Series(["x"] * 30 + [None] * 70)
    table = said([1, 0] * 50, length_model=lengths, length_reference=0, dataset=sources)
    table.loc[99, "outcome"] = np.nan
    humans = pd.concat([said([1] * 100, "p"), said([1] * 95, "q")])
    result = agreement_by(table, humans, by=by, **QUICK).set_index("annotator")
    expected = {"length_difference": 40, "dataset": 69, "unanimity": 4}[by]
    assert result.loc[["judge"], "n_unknown"].unique().tolist() == [expected]
    assert result.loc[["judge"], "n"].sum() + expected == 99
    if by == "dataset":
        assert result.loc["humans", ["n", "n_unknown"]].tolist() == [30, 65]


@small
def test_counts_are_pairs_in_every_note_and_setting():
    table = from_patterns(
        pd.DataFrame({"p": [1, 0, 1], "q": [1, 0, 0], "judge": [1.0, 1, 0], "n": [5, 4, 3]})
    )
    human = table["annotator"].isin(["p", "q"])
    grown = agreement_by_majority(table[~human], table[human], rng=2, n_resamples=9)
    assert "only 12 pairs" in grown["note"].iloc[0]
    said = grown.attrs
    assert (said["unit"], said["on"], said["rng"]) == ("pair (no instruction ids)", ["idx"], 2)
