"""Resampling against scipy.stats: same distribution, same intervals; determinism and chunking."""

import numpy as np
import pytest
from scipy import stats

from alpaca_analysis.inference import intervals, ratios, resampling
from alpaca_analysis.inference.ratios import Units

N_RESAMPLES = 9999


def _column(values):
    values = np.asarray(values, dtype=float)[:, None]
    return Units(values, np.ones_like(values))


def _samples():
    rng = np.random.default_rng(3)
    return {
        "verdicts": rng.choice([0, 0.5, 1], size=300, p=[0.3, 0.05, 0.65]),
        "skewed": rng.choice([0.0, 1.0], size=200, p=[0.06, 0.94]),
        "weighted": rng.beta(0.5, 2.0, size=250),
    }


def _ours(sample, method, seed=0):
    units = _column(sample)
    resamples = resampling.resample(units, n_resamples=N_RESAMPLES, rng=seed)
    if method == "percentile":
        return np.ravel(intervals.percentile_interval(resamples))
    return np.ravel(intervals.bca_interval(units.estimate, resamples, ratios.jackknife(units)))


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("name", _samples())
@pytest.mark.slow
def test_intervals_equal_scipy_to_resampling_noise(name, method):
    sample = _samples()[name]
    theirs = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=N_RESAMPLES,
        method=method,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    # an end's noise is about 0.03 standard errors at 9,999 resamples; win rates lie on a grid of 1/(2n)
    tolerance = 0.15 * error + 1 / len(sample)
    np.testing.assert_allclose(_ours(sample, method), theirs.confidence_interval, rtol=0, atol=tolerance)


def test_bca_from_scipys_own_resamples_equals_scipy():
    """Given the same resamples the two formulas agree exactly, ties at the estimate included."""
    sample = _samples()["verdicts"]
    theirs = stats.bootstrap((sample,), np.mean, method="BCa", vectorized=True, rng=np.random.default_rng(5))
    units = _column(sample)
    ours = intervals.bca_interval(
        units.estimate, theirs.bootstrap_distribution[:, None], ratios.jackknife(units)
    )
    np.testing.assert_allclose(np.ravel(ours), theirs.confidence_interval, rtol=0, atol=1e-12)


def test_standard_error_and_jackknife():
    for sample in _samples().values():
        units = _column(sample)
        np.testing.assert_allclose(ratios.standard_error(units), stats.sem(sample), rtol=1e-12)
        without = [np.delete(sample, i).mean() for i in range(len(sample))]
        np.testing.assert_allclose(ratios.jackknife(units)[:, 0], without, rtol=1e-12)


def test_resamples_have_the_distribution_of_sampling_with_replacement():
    sample = _samples()["skewed"]
    ours = resampling.resample(_column(sample), n_resamples=20_000, rng=0)[:, 0] * len(sample)
    # the number of wins in a resample is binomial
    points = np.unique(ours)
    expected = stats.binom.cdf(points, len(sample), sample.mean())
    observed = np.searchsorted(np.sort(ours), points, side="right") / len(ours)
    assert np.abs(observed - expected).max() < 1.63 / np.sqrt(len(ours))  # Kolmogorov's 1 % point


def test_counts_are_resampled_like_the_rows_they_stand_for():
    values, counts = np.array([1.0, 0.5, 0.0]), np.array([60, 5, 35])
    few = Units(values[:, None], np.ones((3, 1)), counts)
    expanded = _column(np.repeat(values, counts))
    ours = resampling.resample(few, n_resamples=20_000, rng=0)[:, 0]
    rows = resampling.resample(expanded, n_resamples=20_000, rng=1)[:, 0]
    assert stats.ks_2samp(ours, rows, method="asymp").pvalue > 0.001
    np.testing.assert_allclose(few.estimate, expanded.estimate, rtol=1e-15)
    np.testing.assert_allclose(ratios.standard_error(few), ratios.standard_error(expanded), rtol=1e-12)
    both = [
        intervals.bca_interval(u.estimate, ours[:, None], ratios.jackknife(u), counts=u.counts)
        for u in (few, expanded)
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)


def test_strata_keep_their_size_and_their_error():
    rng = np.random.default_rng(2)
    strata = np.repeat([0, 1, 2], [40, 100, 60])
    values = rng.random(200) + strata
    units = Units(values[:, None], np.ones((200, 1)), strata=strata)
    for weights in resampling.draw_weights(units, n_resamples=50, rng=0):
        sums = np.array([weights[:, strata == s].sum(axis=1) for s in range(3)])
        assert (sums == np.array([[40], [100], [60]])).all()
    # stratified standard error from the text-book formula
    parts = [values[strata == s] for s in range(3)]
    expected = np.sqrt(sum(len(p) * p.var(ddof=1) for p in parts)) / 200
    np.testing.assert_allclose(ratios.standard_error(units), expected, rtol=1e-12)
    # resampling within strata has variance sum n_s (population variance) / n^2
    resamples = resampling.resample(units, n_resamples=20_000, rng=0)[:, 0]
    plain = np.sqrt(sum(len(p) * p.var() for p in parts)) / 200
    assert abs(resamples.std() / plain - 1) < 0.02


def test_ratio_of_clustered_units_equals_scipy_on_the_units():
    """Instructions with several judgements travel whole: resampling pairs (y, m) as scipy does."""
    rng = np.random.default_rng(4)
    m = rng.integers(1, 6, size=120).astype(float)
    y = rng.binomial(m.astype(int), rng.beta(2, 1, size=120)).astype(float)
    theirs = stats.bootstrap(
        (y, m), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=N_RESAMPLES, method="BCa", rng=np.random.default_rng(1),
    )  # fmt: skip
    units = Units(y[:, None], m[:, None])
    resamples = resampling.resample(units, n_resamples=N_RESAMPLES, rng=0)
    ours = np.ravel(intervals.bca_interval(units.estimate, resamples, ratios.jackknife(units)))
    np.testing.assert_allclose(ours, theirs.confidence_interval, rtol=0, atol=0.15 * theirs.standard_error)
    np.testing.assert_allclose(ratios.standard_error(units), theirs.standard_error, rtol=0.05)


def test_columns_share_each_resample():
    y = np.column_stack([_samples()["verdicts"]] * 2)
    y[:, 1] = 1 - y[:, 1]
    resamples = resampling.resample(Units(y, np.ones_like(y)), n_resamples=500, rng=0)
    np.testing.assert_allclose(resamples.sum(axis=1), 1, rtol=1e-15)


def _shapes():
    rng = np.random.default_rng(6)
    y, ones = rng.choice([0, 0.5, 1], size=(90, 4)), np.ones((90, 4))
    missing = ones.copy()
    missing[rng.random((90, 4)) < 0.05] = 0
    return {
        "complete": Units(y, ones),
        "missing": Units(y * missing, missing),
        "weighted": Units(rng.random((90, 4)), ones),
        "counts": Units(y[:, :1], ones[:, :1], rng.integers(1, 30, size=90)),
        "strata": Units(y, ones, strata=np.arange(90) % 3),
        "counted strata": Units(y[:, :1], ones[:, :1], rng.integers(1, 30, size=90), np.arange(90) % 3),
    }


@pytest.mark.parametrize("name", _shapes())
def test_chunking_does_not_change_bytes(name, monkeypatch):
    units = _shapes()[name]
    whole = np.concatenate(list(resampling.draw_weights(units, n_resamples=300, rng=9)))
    estimates = resampling.resample(units, n_resamples=300, rng=9)
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 700)
    blocks = list(resampling.draw_weights(units, n_resamples=300, rng=9))
    assert len(blocks) > 40
    assert np.concatenate(blocks).tobytes() == whole.tobytes()
    again = resampling.resample(units, n_resamples=300, rng=9)
    if name == "weighted":  # the order of additions may differ between blocks of other sizes
        np.testing.assert_allclose(again, estimates, rtol=1e-13)
    else:
        assert again.tobytes() == estimates.tobytes()


@pytest.mark.parametrize("name", _shapes())
def test_resamples_are_the_ratios_of_weighted_sums(name):
    """Single precision is used only where it is exact: the same numbers as plain float64 sums."""
    units = _shapes()[name]
    if name == "counts":  # not drawn from a law of verdicts
        units = Units(units.y / 3, units.m, units.multiplicity)
    weights = np.concatenate(list(resampling.draw_weights(units, n_resamples=200, rng=2)))
    assert (weights.sum(axis=1) == units.counts.sum()).all()
    plain = (weights @ units.y) / (weights @ units.m)
    np.testing.assert_allclose(resampling.resample(units, n_resamples=200, rng=2), plain, rtol=1e-13, atol=0)


def test_undefined_is_nan():
    nothing = Units(np.zeros((5, 1)), np.zeros((5, 1)))
    assert np.isnan(nothing.estimate).all()
    assert np.isnan(resampling.resample(nothing, n_resamples=10)).all()
    same = _column(np.ones(20))
    low, high = intervals.bca_interval(
        same.estimate, resampling.resample(same, n_resamples=100), ratios.jackknife(same)
    )
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_bca_counts_ties_that_binary_fractions_hide():
    whole = np.random.default_rng(6).integers(0, 4, size=40)  # sums of integers are exact in binary
    exact, thirds = _column(whole), _column(whole / 3)
    resamples = resampling.resample(exact, n_resamples=2000, rng=1)
    assert (resamples == exact.estimate).mean() > 0.03
    ours = _ours(whole / 3, "BCa", seed=1)
    np.testing.assert_allclose(ours, _ours(whole, "BCa", seed=1) / 3, rtol=1e-12)
    drawn = resampling.resample(thirds, n_resamples=2000, rng=1)
    for shift in (-1e-16, 1e-16):  # a rounding to one side alone moves nothing
        moved = np.where(np.isclose(drawn, thirds.estimate, rtol=1e-13, atol=0), drawn + shift, drawn)
        bounds = [
            intervals.bca_interval(thirds.estimate, r, ratios.jackknife(thirds)) for r in (drawn, moved)
        ]
        np.testing.assert_allclose(bounds[1], bounds[0], rtol=1e-12)
