"""Components of variance: statsmodels' analysis of variance and mixed models, closed forms, simulations."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from judgements import said
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning


def repeated(rng, r, *, spread=0.2, model="m"):
    """Return verdicts on instructions with r[i] repeats each; their chances of a win are beta-distributed."""
    a = 0.25 / spread**2 / 2 - 0.5
    chance = np.repeat(rng.beta(a, a, len(r)), r)
    numbers = np.concatenate([np.arange(k) for k in r])
    ids = np.repeat([f"i{k:04}" for k in range(len(r))], r)
    return said(rng.random(len(ids)) < chance, ids=ids, repeat=numbers, model=model)


def test_balanced_repeats_against_a_mixed_model():
    table = repeated(np.random.default_rng(1), np.full(120, 4))
    (row,) = aa.judge_noise(table).to_dict("records")
    fit = smf.mixedlm("outcome ~ 1", table, groups=table["instruction_id"]).fit(reml=True)
    assert_allclose(row["variance_repeats"], fit.scale, rtol=1e-4)
    assert_allclose(row["variance_instructions"], fit.cov_re.iloc[0, 0], rtol=1e-3)
    assert_allclose(row["standard_error"], fit.bse["Intercept"], rtol=1e-3)
    assert_allclose(row["standard_error"], table.groupby("instruction_id")["outcome"].mean().sem())


def test_unequal_repeats_against_analysis_of_variance():
    r = np.random.default_rng(3).integers(1, 6, 80)
    table = repeated(np.random.default_rng(2), r)
    (row,) = aa.judge_noise(table).to_dict("records")
    squares = sm.stats.anova_lm(smf.ols("outcome ~ C(instruction_id)", table).fit())["mean_sq"]
    between, within = squares["C(instruction_id)"], squares["Residual"]
    total, n = r.sum(), len(r)
    pairs = (between - within) / ((total - (r**2).sum() / total) / (n - 1))
    assert_allclose([row["variance_instructions"], row["variance_repeats"]], [pairs, within])
    error = np.sqrt(pairs / n + within / n**2 * (1 / r).sum())
    assert_allclose(row["standard_error"], error)
    assert_allclose(row["noise_share"], within / n**2 * (1 / r).sum() / error**2)
    assert (row["n_instructions"], row["n_judgements"]) == (n, total)


def test_equal_judgements_in_one_row_are_repeats():
    table = repeated(np.random.default_rng(4), np.full(40, 3))
    counted = table.groupby(["instruction_id", "outcome"], as_index=False).agg(n=("outcome", "size"))
    counted = counted.assign(model="m", repeat=counted["outcome"])
    columns = ["win_rate", "standard_error", "variance_instructions", "variance_repeats", "flip_rate"]
    pd.testing.assert_frame_equal(aa.judge_noise(counted)[columns], aa.judge_noise(table)[columns])


def test_flip_rate_by_hand():
    table = repeated(np.random.default_rng(5), np.full(30, 3))
    (row,) = aa.judge_noise(table, confidence_level=0.9).to_dict("records")
    y = table["outcome"].to_numpy().reshape(30, 3)
    flips = (1.0 * (y[:, [0, 0, 1]] != y[:, [1, 2, 2]])).mean(axis=1)
    low, high = sm.stats.DescrStatsW(flips).tconfint_mean(0.1)
    assert_allclose([row["flip_rate"], row["flip_low"], row["flip_high"]], [flips.mean(), low, high])


def test_difference_of_two_models_is_that_of_their_judgements():
    rng = np.random.default_rng(6)
    one, two = (repeated(rng, np.full(60, 3), model=m) for m in "ab")
    (row,) = aa.judge_noise(pd.concat([one, two]), between=["a", "b"]).to_dict("records")
    apart = one.assign(outcome=one["outcome"] - two["outcome"])
    squares = sm.stats.anova_lm(smf.ols("outcome ~ C(instruction_id)", apart).fit())["mean_sq"]
    assert_allclose(row["variance_repeats"], squares["Residual"])
    assert_allclose(row["variance_instructions"], (squares.iloc[0] - squares["Residual"]) / 3)
    paired = aa.compare(pd.concat([one, two]), "a", "b")
    assert_allclose(row["difference"], paired["difference"][0])
    assert_allclose(row["standard_error"], paired["standard_error"][0])


def test_what_repeats_buy_follows_from_the_components():
    table = repeated(np.random.default_rng(7), np.full(100, 4))
    noise = aa.judge_noise(table).iloc[0]
    plan = aa.repeats_or_instructions(table, repeats=[1, 4, 1000], instruction_cost=3).set_index("repeats")
    assert_allclose(plan.loc[4, "standard_error"], noise["standard_error"])
    pairs, judge = noise["variance_instructions"], noise["variance_repeats"]
    assert_allclose(plan.loc[1000, "standard_error"], np.sqrt(pairs / 100 + judge / 1e5))
    assert_allclose(plan.loc[4, "same_cost_instructions"], 100 * 4 / 7)
    r = np.arange(1, 200)
    errors = aa.repeats_or_instructions(table, repeats=r.tolist(), instruction_cost=3)
    best = errors["best_repeats"][0]
    assert abs(r[errors["same_cost_error"].argmin()] - best) <= 1
    free = aa.repeats_or_instructions(table, repeats=r.tolist())
    assert (free["best_repeats"] == 1).all()
    assert free["same_cost_error"].argmin() == 0


def test_a_judge_that_tosses_coins_is_cut_at_0_and_says_so():
    rng = np.random.default_rng(12)
    tables = [repeated(rng, np.full(20, 5), spread=0.01) for _ in range(20)]
    results = pd.concat([aa.judge_noise(table) for table in tables])
    cut = results["reason"] == "cut_at_zero"
    assert 3 < cut.sum() < 19
    assert (results.loc[cut, "variance_instructions"] == 0).all()
    assert (results.loc[~cut, "variance_instructions"] >= 0).all()


def test_nothing_judged_twice_is_undefined_with_a_reason():
    result = aa.judge_noise(said([1, 0, 1, 1]))
    assert result["reason"].tolist() == ["no_repeats few_units"]
    assert result[["variance_repeats", "flip_rate", "noise_share"]].isna().all(axis=None)
    assert result["standard_error"][0] == pytest.approx(0.25)
    with pytest.warns(UndefinedWarning, match="fewer than two"):
        aa.judge_noise(said([1]))


def test_orders_are_no_repeats():
    table = repeated(np.random.default_rng(1), np.full(10, 2))
    with pytest.raises(AnnotationError, match="position"):
        aa.judge_noise(table.assign(position=table["repeat"] + 1))
    assert len(aa.judge_noise(table.assign(position=1))) == 1


@pytest.mark.parametrize("between", ["ab", ["a"], ["a", "a"]])
def test_between_takes_two_models(between):
    with pytest.raises(ValueError, match="between: found"):
        aa.judge_noise(said([1, 0]), between=between)


def test_nothing_judged_is_refused_and_few_instructions_are_named():
    table = repeated(np.random.default_rng(3), np.full(6, 3))
    with pytest.raises(AnnotationError, match="at least one usable judgement"):
        aa.judge_noise(table.assign(outcome=np.nan))
    assert "few_units" in aa.judge_noise(table)["reason"][0]


@pytest.mark.slow
def test_components_are_unbiased_and_intervals_cover():
    """500 data sets, unequal repeats: the chances vary by 0.2, the judge's variance is 1/4 less that."""
    rng = np.random.default_rng(2026)
    results = pd.concat([aa.judge_noise(repeated(rng, rng.integers(1, 5, 100))) for _ in range(500)])
    means = results[["variance_instructions", "variance_repeats", "flip_rate"]].mean()
    assert_allclose(means, [0.04, 0.21, 0.42], atol=0.006)
    covered = (results["ci_low"] < 0.5) & (results["ci_high"] > 0.5)
    assert 0.92 < covered.mean() < 0.98
