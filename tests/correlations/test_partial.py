"""Partial correlations against residuals of statsmodels' regressions, and the coverage of their interval."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

from alpaca_analysis import AnnotationError, load, partial_correlation


def drawn(n=40, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    x, y = z + rng.normal(size=n), 2 * z + rng.normal(size=n)
    return x, y, z


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_it_is_the_correlation_of_what_regressions_leave(method):
    x, y, z = drawn()
    found = partial_correlation(x, y, given=z, method=method).iloc[0]
    a, b, c = (stats.rankdata(v) if method == "spearman" else v for v in (x, y, z))
    left = [sm.OLS(v, sm.add_constant(c)).fit().resid for v in (a, b)]
    assert_allclose(found["statistic"], stats.pearsonr(*left)[0], rtol=1e-12)
    assert found["n"] == 40


def test_the_interval_is_fishers_with_one_model_less():
    x, y, z = drawn()
    found = partial_correlation(x, y, given=z, confidence_level=0.9).iloc[0]
    half = stats.norm.ppf(0.95) / np.sqrt(40 - 1 - 3)
    expected = np.tanh(np.arctanh(found["statistic"]) + np.array([-half, half]))
    assert_allclose(found[["ci_low", "ci_high"]].astype(float), expected, rtol=1e-12)


def test_it_covers_no_partial_correlation_as_often_as_it_says():
    found = [
        partial_correlation(*drawn(15, seed)[:2], given=drawn(15, seed)[2]).iloc[0] for seed in range(400)
    ]
    covered = np.mean([row["ci_low"] <= 0 <= row["ci_high"] for row in found])
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


def test_series_are_matched_by_model_and_incomplete_ones_left_out():
    x, y, z = (pd.Series(v, index=[f"m{k}" for k in range(40)]) for v in drawn())
    found = partial_correlation(x, y.sample(frac=1, random_state=1), given=z.drop("m3"))
    expected = partial_correlation(
        x.drop("m3").to_numpy(), y.drop("m3").to_numpy(), given=z.drop("m3").to_numpy()
    )
    assert_allclose(found["statistic"], expected["statistic"])
    assert found["n"][0] == 39


def test_what_does_not_vary_beside_the_given_is_undefined_and_says_so():
    x, _, z = drawn()
    found = partial_correlation(x, 3 * z, given=z).iloc[0]
    assert np.isnan(found["statistic"])
    assert found["reason"] == "no_spread"
    with pytest.raises(AnnotationError, match="five or more models"):
        partial_correlation(x[:4], z[:4], given=z[:4])


def test_length_and_arena_at_equal_win_rate():
    board = load("alpaca_eval_v1_leaderboard").set_index("model")
    arena = load("chat_benchmarks").set_index("model")["Arena Elo [Feb 2, 2024]"]
    found = partial_correlation(board["avg_length"], arena, given=board["win_rate"]).iloc[0]
    rows = board.join(arena.rename("arena"), how="inner").dropna(subset=["arena", "win_rate", "avg_length"])
    design = sm.add_constant(rows["win_rate"])
    left = [sm.OLS(rows[c], design).fit().resid for c in ("avg_length", "arena")]
    assert_allclose(found["statistic"], stats.pearsonr(*left)[0])
    assert found["n"] == len(rows)
