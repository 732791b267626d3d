"""The exact law of counts: against convolution by hand, and the stated values."""

import numpy as np
import pytest
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.inference import resampling
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.inference.verdict_law import verdict_law


@pytest.mark.parametrize("counts", [(7, 2, 3), (20, 0, 1), (0, 5, 5), (1, 1, 0), (300, 30, 4)])
def test_law_is_the_convolution_of_single_verdicts(counts):
    wins, draws, losses = counts
    n = sum(counts)
    single = np.array([losses, draws, wins]) / n
    whole = np.ones(1)
    for _ in range(n):
        whole = np.convolve(whole, single)
    law = verdict_law(*counts)
    found = np.zeros(2 * n + 1)
    found[law.first : law.first + len(law.probability)] = law.probability
    np.testing.assert_allclose(found, whole, atol=1e-12)


def test_law_without_draws_is_binomial_for_ten_million_verdicts():
    law = verdict_law(10**7 - 3, 0, 3)
    wins = np.rint(law.support[law.probability > 1e-4] * 10**7)
    expected = stats.poisson.pmf(10**7 - wins, 3)
    np.testing.assert_allclose(law.probability[law.probability > 1e-4], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((765, 1, 35), 93.945, 96.816),
        ((761, 12, 32), 93.727, 96.522),
        ((734, 2, 65), 89.700, 93.508),
        ((703, 1, 97), 85.393, 89.950),
    ],
)
def test_bca_of_counts_has_the_stated_bounds_whatever_the_seed(counts, low, high):
    wins, draws, losses = ([k] for k in counts)
    table = aa.from_counts({"model": ["m"], "n_wins": wins, "n_draws": draws, "n_losses": losses})
    for options in ({}, {"rng": 7, "n_resamples": 99}):
        row = aa.win_rate(table, **options).iloc[0]
        assert (100 * row["ci_low"], 100 * row["ci_high"]) == (
            pytest.approx(low, abs=6e-4),
            pytest.approx(high, abs=6e-4),
        )


def test_percentile_interval_of_counts_is_that_of_the_binomial():
    table = aa.from_counts({"model": ["m"], "n_wins": [60], "n_losses": [40], "n_draws": [0]})
    row = aa.win_rate(table, method="percentile", confidence_level=0.9).iloc[0]
    bounds = stats.binom.ppf([0.05, 0.95], 100, 0.6) / 100
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], bounds)


def test_resamples_of_counts_have_the_moments_of_their_law():
    counts = np.array([60, 10, 30])
    units = Units(np.array([[1.0], [0.5], [0.0]]), np.ones((3, 1)), counts)
    drawn = resampling.resample(units, n_resamples=20_000, rng=1)[:, 0]
    assert drawn.mean() == pytest.approx(0.65, abs=0.002)
    sd = np.sqrt((0.6 + 0.1 / 4 - 0.65**2) / 100)
    assert drawn.std() == pytest.approx(sd, rel=0.02)
    assert len(np.unique(drawn)) > 50


def test_two_strata_of_counts_are_drawn_apart():
    y = np.array([[1.0, 0], [0, 0], [0, 1], [0, 0]])
    m = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    units = Units(y, m, np.array([50, 50, 80, 20]), np.array([0, 0, 1, 1]))
    drawn = resampling.resample(units, n_resamples=5000, rng=0)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05
    np.testing.assert_allclose(drawn.mean(axis=0), [0.5, 0.8], atol=0.01)


def test_weighted_counts_are_drawn_by_stable_methods_alone(monkeypatch):
    """`Generator.multinomial` and `.binomial` draw differently from one NumPy to the next."""

    class Stable(np.random.Generator):
        def multinomial(self, *args, **options):
            raise AssertionError("not stable")

        binomial = multinomial

    for n in (30, resampling.EXPANDED):
        units = Units(np.array([[0.2], [0.7], [0.9]]), np.ones((3, 1)), np.array([n, n, n]))
        drawn = resampling.resample(units, n_resamples=400, rng=Stable(np.random.PCG64(3)))
        assert drawn.mean() == pytest.approx(0.6, abs=4 * drawn.std() / 20)
        sd = np.std([0.2, 0.7, 0.9]) / np.sqrt(3 * n)
        assert drawn.std() == pytest.approx(sd, rel=0.15)
