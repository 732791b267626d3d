"""Verdicts of comparisons: better, worse, equivalent, not worse, undecided; one, many, and how firmly."""

import itertools

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets
from scipy import stats
from statsmodels.stats.multitest import multipletests

from alpaca_analysis import AnnotationError, compare, dropped_to_reverse, load, plan_comparison


def judged(rates, n=200, *, rho=0.0, seed=0):
    """Verdicts of models on shared instructions; `rho` is how often a verdict is that of the first model."""
    rng = np.random.default_rng(seed)
    first = rng.random(n)
    parts = []
    for k, (name, rate) in enumerate(rates.items()):
        u = np.where((rng.random(n) < rho) | (k == 0), first, rng.random(n))
        parts.append(
            pd.DataFrame(
                {
                    "instruction_id": [f"i{i:04d}" for i in range(n)],
                    "model": name,
                    "reference": "r",
                    "annotator": "j",
                    "outcome": (u < rate).astype(float),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def outcomes(table, model):
    return table[table["model"] == model].sort_values("instruction_id")["outcome"].to_numpy()


def test_intervals_and_tests_are_those_of_scipy():
    table = judged({"a": 0.6, "b": 0.5})
    row = compare(table, "a", "b", margin=0.1).iloc[0]
    test = stats.ttest_rel(outcomes(table, "a"), outcomes(table, "b"))
    inner = test.confidence_interval(0.90)
    assert row["pvalue"] == pytest.approx(test.pvalue, rel=1e-10)
    assert (row["equivalence_low"], row["equivalence_high"]) == (
        pytest.approx(inner.low, abs=1e-12),
        pytest.approx(inner.high, abs=1e-12),
    )
    difference = outcomes(table, "a") - outcomes(table, "b")
    not_worse = stats.ttest_1samp(difference, -0.1, alternative="greater").pvalue < 0.05
    not_better = stats.ttest_1samp(difference, 0.1, alternative="less").pvalue < 0.05
    assert (row["not_worse"], row["equivalent"]) == (not_worse, not_worse and not_better)


@pytest.mark.parametrize(
    ("won", "lost", "margin", "verdict"),
    [
        (60, 20, 0.05, "better"),
        (20, 60, 0.05, "worse"),
        (10, 10, 0.05, "equivalent"),
        (18, 12, 0.03, "not worse"),
        (12, 18, 0.03, "undecided"),
        (2, 12, 0.1, "worse"),  # by less than matters, and shown to be
    ],
)
def test_each_verdict(won, lost, margin, verdict):
    """400 instructions on which the two models agree, but for those that one of them won alone."""
    ids = [f"i{k:03d}" for k in range(400)]
    a = np.repeat([1.0, 0.0, 1.0], [won, lost, 400 - won - lost])
    b = np.repeat([0.0, 1.0, 1.0], [won, lost, 400 - won - lost])
    sides = [pd.DataFrame({"instruction_id": ids, "model": m, "outcome": y}) for m, y in (("a", a), ("b", b))]
    found = compare(pd.concat(sides, ignore_index=True), "a", "b", margin=margin).iloc[0]
    assert found["verdict"] == verdict
    assert found["not_worse"] == (verdict in ("better", "equivalent", "not worse") or margin == 0.1)


def test_without_a_margin_nothing_is_equivalent():
    found = compare(judged({"a": 0.5, "b": 0.5}, n=2000, rho=0.9), "a", "b")
    assert found["verdict"].tolist() == ["undecided"]
    assert "not_worse" not in found


def test_many_against_a_baseline_and_all_pairs_are_the_single_ones_adjusted():
    table = judged({"a": 0.7, "b": 0.6, "c": 0.55, "d": 0.5}, n=300, rho=0.5)
    against = compare(table, b="c", margin=0.05)
    assert against["model_a"].tolist() == ["a", "b", "d"]
    assert set(against["model_b"]) == {"c"}
    assert compare(table, "c")[["model_a", "model_b"]].to_numpy().tolist() == [
        ["c", "a"],
        ["c", "b"],
        ["c", "d"],
    ]
    every = compare(table)
    assert list(zip(every["model_a"], every["model_b"], strict=True)) == list(
        itertools.combinations("abcd", 2)
    )
    single = [compare(table, a, b).iloc[0] for a, b in itertools.combinations("abcd", 2)]
    np.testing.assert_allclose(every["pvalue"], [row["pvalue"] for row in single])
    np.testing.assert_allclose(every["pvalue_adjusted"], multipletests(every["pvalue"], method="holm")[1])
    level = 1 - 0.05 / 6
    narrow = [
        compare(table, a, b, confidence_level=level).iloc[0]["ci_low"]
        for a, b in itertools.combinations("abcd", 2)
    ]
    np.testing.assert_allclose(every["ci_low"], narrow)


def test_max_t_is_narrower_than_bonferroni_and_wider_than_one():
    table = judged({name: 0.6 - 0.02 * k for k, name in enumerate("abcdef")}, n=300, rho=0.8)
    wide, joint = compare(table), compare(table, adjust="max-t", n_resamples=4999)
    half = (joint["ci_high"] - joint["ci_low"]) / 2
    assert (half < (wide["ci_high"] - wide["ci_low"]) / 2).all()
    critical = (half / joint["standard_error"]).round(6)
    assert (critical == critical[0]).all()
    assert stats.t.ppf(0.975, 299) < critical[0] < stats.t.ppf(1 - 0.025 / 15, 299)
    low = joint["pvalue_adjusted"] < 0.045
    high = joint["pvalue_adjusted"] > 0.055
    outside = (joint["ci_low"] > 0) | (joint["ci_high"] < 0)
    assert outside[low].all()
    assert not outside[high].any()


def test_malformed_questions():
    table = judged({"a": 0.5, "b": 0.5})
    with pytest.raises(AnnotationError, match="model"):
        compare(table, b="nobody")
    with pytest.raises(AnnotationError, match="two or more models"):
        compare(table[table["model"] == "a"])
    with pytest.raises(ValueError, match=r"did you mean 0\.02\?"):
        compare(table, "a", "b", margin=2)


# --- how few judgements carry it -------------------------------------------------------------------


def fewest(table, a, b):
    """Return the fewest instructions to a tie and to a reversal, by trying all subsets."""
    difference = outcomes(table, a) - outcomes(table, b)
    difference = difference if difference.sum() > 0 else -difference
    tie = turned = None
    for k in range(1, len(difference)):
        for kept in itertools.combinations(difference, len(difference) - k):
            total = round(sum(kept), 9)
            tie = k if total <= 0 and tie is None else tie
            turned = k if total < 0 and turned is None else turned
        if turned is not None:
            break
    return tie, turned


@pytest.mark.parametrize("seed", range(12))
def test_dropped_judgements_are_those_of_trying_all(seed):
    table = judged({"a": 0.7, "b": 0.4}, n=11, seed=seed)
    rng = np.random.default_rng(seed)
    table.loc[rng.random(len(table)) < 0.2, "outcome"] = 0.5
    found = dropped_to_reverse(table, "a", "b").attrs
    if outcomes(table, "a").sum() == outcomes(table, "b").sum():
        assert (found["n_to_tie"], found["n_to_reverse"]) == (None, None)
    else:
        assert (found["n_to_tie"], found["n_to_reverse"]) == fewest(table, "a", "b")
        assert found["exact"]


def test_dropped_instructions_turn_the_order_in_truth():
    table = judged({"a": 0.55, "b": 0.5}, n=150, rho=0.5, seed=2)
    table = pd.concat([table.assign(repeat=0), table.iloc[::2].assign(repeat=1)], ignore_index=True)
    found = dropped_to_reverse(table, "b", "a")
    best, other = found.attrs["model_a"], found.attrs["model_b"]
    kept = table[~table["instruction_id"].isin(found["instruction_id"])]
    row = compare(kept, best, other).iloc[0]
    assert row["difference"] < 0
    assert row["difference"] == pytest.approx(found["difference"].iloc[-1], abs=1e-12)
    assert not found.attrs["exact"]
    with pytest.raises(AnnotationError, match="instruction ids"):
        dropped_to_reverse(load("alpaca_eval_v1_counts"), "gpt4", "claude-2")


@pytest.mark.rows
@pytest.mark.slow
def test_few_judgements_carry_the_top_of_alpaca_eval(alpaca_eval_v1):
    for a, b, tie, turned in (
        ("gpt4_1106_preview", "mistral-medium", 7, 8),
        ("pairrm-tulu-2-70b", "gpt4", 1, 2),
    ):
        found = dropped_to_reverse(alpaca_eval_v1, b, a).attrs
        assert (found["model_a"], found["n"], found["exact"]) == (a, 804, True)
        assert (found["n_to_tie"], found["n_to_reverse"]) == (tie, turned)


def test_plans_for_a_difference_one_hopes_to_see():
    table = judged({"a": 0.6, "b": 0.5}, n=400, rho=0.3)
    plan = plan_comparison(table, "a", "b", difference=0.03).iloc[0]
    sd = np.std(outcomes(table, "a") - outcomes(table, "b"), ddof=1)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert plan["n_needed"] == np.ceil((z * sd / 0.03) ** 2)
    alone = plan_comparison(table, "a", difference=0.03).iloc[0]
    sd = np.std(outcomes(table, "a"), ddof=1)
    assert alone["n_needed"] == np.ceil((z * sd / 0.03) ** 2)
    assert (alone["model_b"], alone["n"]) == ("r", 400)
    observed = plan_comparison(table, "a").iloc[0]
    assert observed["difference"] == pytest.approx(outcomes(table, "a").mean() - 0.5)
    with pytest.raises(ValueError, match=r"did you mean 0\.03\?"):
        plan_comparison(table, "a", difference=3)


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("rate_a", "margin", "verdicts"),
    [
        (0.5, 0.05, {"better", "worse"}),
        (0.4, 0.1, {"equivalent", "not worse", "better"}),
        (0.6, 0.1, {"equivalent"}),
    ],
)
def test_wrong_verdicts_are_as_rare_as_they_say(rate_a, margin, verdicts):
    """2,000 data sets: under equality, and with the difference at the margin; 5 % and no more."""
    wrong, sets = 0, data_sets(2000)
    for seed in range(sets):
        table = judged({"b": 0.5, "a": rate_a}, n=150, seed=seed)
        wrong += compare(table, "a", "b", margin=margin)["verdict"][0] in verdicts
    assert wrong / sets <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sets)


@pytest.mark.simulation
@pytest.mark.parametrize("adjust", ["holm", "max-t"])
def test_no_verdict_among_equal_models(adjust):
    """2,000 data sets of five equal models: some pair is called better or worse in 5 %."""
    wrong, sets = 0, data_sets(2000)
    for seed in range(sets):
        table = judged(dict.fromkeys("abcde", 0.5), n=150, rho=0.5, seed=seed)
        found = compare(table, adjust=adjust, n_resamples=999)
        wrong += found["verdict"].isin(["better", "worse"]).any()
    assert wrong / sets <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sets)
