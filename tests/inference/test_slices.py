"""Slices: the test that all are equal against closed forms and statsmodels, and the largest t over slices."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from judgements import data_sets
from scipy import stats
from statsmodels.stats.multivariate import test_mvmean as hotelling

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.slices import Part, cut, shares, simultaneous
from alpaca_analysis.table.checks import check


def of_means(groups, ids=None, *, corrected=True):
    """Return the shares of one mean per slice."""
    ids = [[f"{s} {i}" for i in range(len(y))] for s, y in enumerate(groups)] if ids is None else ids
    means = [np.mean(y) for y in groups]
    parts = [
        Part(((y - m) / len(y))[:, None], [s], own)
        for s, (y, m, own) in enumerate(zip(groups, means, ids, strict=True))
    ]
    errors = [np.std(y, ddof=int(corrected)) / np.sqrt(len(y)) for y in groups]
    where = {"slices": range(len(groups)), "labels": np.zeros(len(groups), dtype=int)}
    return shares(parts, **where, estimate=means, error=errors)


def test_two_slices_that_share_nothing_give_welchs_t():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=12), rng.normal(0.8, 3, size=40)
    found, expected = of_means([a, b]).equality(), stats.ttest_ind(a, b, equal_var=False)
    np.testing.assert_allclose(found["statistic"], expected.statistic**2)
    np.testing.assert_allclose(found["df"], (1, expected.df))
    np.testing.assert_allclose(found["pvalue"], expected.pvalue)


@pytest.mark.parametrize("size", [3, 4])
def test_slices_of_the_same_units_give_hotellings_t_squared(size):
    rng = np.random.default_rng(1)
    y = rng.normal(size=(30, 1)) + rng.normal(0.1 * np.arange(size), 1, (30, size))
    found = of_means(list(y.T), [range(30)] * size).equality()
    expected = hotelling(y[:, 1:] - y[:, :1], np.zeros(size - 1))
    np.testing.assert_allclose(found["statistic"], expected.statistic)
    np.testing.assert_allclose(found["df"], expected.df)
    np.testing.assert_allclose(found["pvalue"], expected.pvalue)


def overlapping(seed=2):
    """Return outcomes in three slices: instructions fall into several, and several times into one."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(90, size=300)
    effect = rng.normal(size=90)[ids]
    slices = rng.integers(3, size=300)
    return pd.DataFrame({"id": ids, "slice": slices, "y": effect + rng.normal(0.2 * slices, 1)})


@pytest.mark.parametrize("model", ["OLS", "GEE"])
def test_the_wald_statistic_is_that_of_a_clustered_regression(model):
    rows = overlapping()
    design = pd.get_dummies(rows["slice"]).to_numpy(float)
    if model == "OLS":
        cluster = {"groups": rows["id"].to_numpy(), "use_correction": False}
        fit = sm.OLS(rows["y"].to_numpy(), design).fit(cov_type="cluster", cov_kwds=cluster)
    else:
        fit = sm.GEE(rows["y"].to_numpy(), design, groups=rows["id"].to_numpy()).fit()
    expected = fit.wald_test(np.array([[-1, 1, 0], [-1, 0, 1]]), scalar=True, use_f=False)
    parts = []
    for s, part in rows.groupby("slice"):
        sums = part.assign(r=part["y"] - part["y"].mean()).groupby("id")["r"].sum() / len(part)
        parts.append(Part(sums.to_numpy()[:, None], [s], list(sums.index)))
    one = np.zeros(3, dtype=int)
    where = {"slices": range(3), "labels": one, "estimate": rows.groupby("slice")["y"].mean()}
    found = shares(parts, **where, error=fit.bse).equality()
    q, left = found["df"]
    squared = found["statistic"] * q * (left + q - 1) / left  # T squared, of which F is a multiple
    np.testing.assert_allclose(squared, expected.statistic)
    assert 40 < left < 90


def test_relative_estimates_are_compared_within_their_slice():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40, 2)), rng.normal(size=(25, 2)) + 10  # another zero, the same difference
    sides = (a, b)
    parts = [Part((y - y.mean(axis=0)) / len(y), [2 * s, 2 * s + 1]) for s, y in enumerate(sides)]
    estimate = [m for y in sides for m in y.mean(axis=0)]
    error = [e for y in sides for e in y.std(axis=0, ddof=1) / np.sqrt(len(y))]
    found = shares(parts, slices=[0, 0, 1, 1], labels=[0, 1, 0, 1], estimate=estimate, error=error)
    expected = stats.ttest_ind(a[:, 1] - a[:, 0], b[:, 1] - b[:, 0], equal_var=False)
    np.testing.assert_allclose(found.equality(relative=True)["statistic"], expected.statistic**2, rtol=1e-10)
    assert found.equality()["pvalue"] < 1e-6


def test_what_cannot_be_tested_says_why():
    rng = np.random.default_rng(4)
    alone = of_means([rng.normal(size=9)]).equality()
    assert np.isnan(alone["pvalue"])
    assert alone["why_undefined"] == "fewer than two slices with an estimate and an error"
    many = of_means(list(rng.normal(size=(9, 8)).T), [range(9)] * 8)
    assert many.equality()["df"] == pytest.approx((7, 2))
    few = of_means([rng.normal(size=2) for _ in range(8)]).equality()
    assert np.isnan(few["pvalue"])
    assert few["why_undefined"].startswith("too few units for a test of 7 differences at once")
    same = rng.normal(size=12)
    assert "no variation" in of_means([same, same], [range(12)] * 2).equality()["why_undefined"]
    constant = of_means([np.ones(9), rng.normal(size=9)])
    assert constant.known.tolist() == [False, True]


@pytest.mark.slow
def test_the_largest_t_of_slices_that_share_nothing_and_of_slices_that_share_all():
    rng = np.random.default_rng(5)
    groups = list(rng.normal(size=(6, 500)))
    apart = of_means(groups).max_t(n_resamples=9999, rng=0).critical(0.95)
    sidak = stats.norm.isf((1 - 0.95 ** (1 / 6)) / 2)
    assert apart == pytest.approx(sidak, abs=0.04)
    together = of_means([groups[0]] * 6, [range(500)] * 6).max_t(n_resamples=9999, rng=0).critical(0.95)
    assert together == pytest.approx(1.96, abs=0.04)
    one = of_means(groups[:1]).max_t(n_resamples=9999, rng=0).critical(0.95)
    assert one == pytest.approx(1.96, abs=0.04)


def test_counts_stand_for_units():
    rng = np.random.default_rng(6)
    groups = [rng.integers(3, size=n) / 2 for n in (40, 70)]
    expected = of_means(groups)
    parts = []
    for s, y in enumerate(groups):
        values, counts = np.unique(y, return_counts=True)
        parts.append(Part(((values - y.mean()) / len(y))[:, None], [s], counts=counts))
    found = shares(parts, slices=[0, 1], labels=[0, 0], estimate=expected.estimate, error=expected.error)
    for name in ("statistic", "pvalue", "df"):
        np.testing.assert_allclose(found.equality()[name], expected.equality()[name])
    np.testing.assert_allclose(found.df, expected.df)
    critical = [one.max_t(n_resamples=4999, rng=0).critical(0.9) for one in (found, expected)]
    np.testing.assert_allclose(*critical, atol=0.06)


def table(**columns):
    return check(pd.DataFrame({"model": "m", "outcome": [1, 0, 1, 0]} | columns))


def test_slices_are_in_order_and_rows_without_a_value_are_in_none():
    rows = table(topic=["b", None, "a", "b"], turn=[2, 1, 1, 2], n=[3, 2, 1, 1])
    with pytest.warns(UserWarning, match="^2 judgements are in no slice: no value of topic$"):
        found = cut(rows, ["topic"])
    assert (found.keys["topic"].tolist(), found.code.tolist(), found.n_unknown) == (
        ["a", "b"],
        [1, -1, 0, 1],
        2,
    )
    turns = cut(rows.assign(topic="x"), ["topic", "turn"])
    assert [turns.key(k) for k in range(len(turns))] == [("x", 1), ("x", 2)]
    glued = turns.glued([pd.DataFrame({"y": [0.1]}), pd.DataFrame({"y": [0.2, 0.3]})])
    assert glued.to_dict("list") == {"topic": ["x"] * 3, "turn": [1, 2, 2], "y": [0.1, 0.2, 0.3]}


def test_columns_that_cannot_be_cut_by_are_named():
    with pytest.raises(AnnotationError, match=r"row 0, column 'tags': found \['x'\], expected a text"):
        cut(table(tags=[["x"], ["y"], ["x"], ["y"]]), ["tags"])
    with pytest.raises(AnnotationError, match="column 'topic': expected at least one known value"):
        cut(table(topic=None), ["topic"])
    assert cut(table(mixed=[1, "a", 1, "a"]), ["mixed"]).code.tolist() == [0, 1, 0, 1]


@pytest.mark.simulation
@pytest.mark.parametrize("sizes", [(40, 60, 100), (30,) * 6, (252, 188, 156, 129, 80)], ids=str)
@pytest.mark.parametrize("rate", [0.6, 0.85])
def test_intervals_of_fractions_hold_at_once_and_equality_is_kept(sizes, rate):
    rng, covered, rejected = np.random.default_rng(8), [], []
    repetitions = data_sets(2000)
    for seed in range(repetitions):
        found = of_means([(rng.random(n) < rate).astype(float) for n in sizes])
        about = {"confidence_level": 0.95, "n_resamples": 499, "rng": seed}
        low, high, _ = simultaneous(found, logit=True, **about)
        covered.append(((low <= rate) & (rate <= high))[found.known].all())
        rejected.append(found.on_logit_scale().equality()["pvalue"] < 0.05)
    noise = 3 * np.sqrt(0.05 * 0.95 / repetitions)
    assert np.mean(covered) > 0.95 - noise
    assert np.mean(rejected) < 0.05 + noise
