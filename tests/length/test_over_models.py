"""Length at the level of models: regression on mean length, gameability."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import UndefinedWarning


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(2)
    models = [f"m{k}" for k in range(40)]
    length = pd.Series(rng.uniform(300, 2500, 40), models)
    rate = (0.3 + length / 6000 + rng.normal(0, 0.12, 40)).clip(0, 1)
    return rate, length


def test_slope_and_correlations(points):
    rate, length = points
    result = aa.model_length_regression(rate, length.sample(frac=1, random_state=0))
    fit = sm.OLS(rate, sm.add_constant(length / 100)).fit(cov_type="HC3", use_t=True)
    assert_allclose([result.intercept, result.slope], fit.params, rtol=1e-8)
    assert_allclose([result.ci_low, result.ci_high], fit.conf_int().iloc[1], rtol=1e-8)
    assert_allclose(result.pearson, stats.pearsonr(rate, length).statistic)
    assert_allclose(result.spearman, stats.spearmanr(rate, length).statistic)


@pytest.mark.slow
def test_intervals_are_scipys(points):
    rate, length = points
    result = aa.model_length_regression(rate, length)
    for ours, statistic in (
        (result.pearson_interval, lambda x, y: stats.pearsonr(x, y).statistic),
        (result.spearman_interval, lambda x, y: stats.spearmanr(x, y).statistic),
    ):
        theirs = stats.bootstrap(
            (rate, length), statistic, paired=True, n_resamples=500, rng=np.random.default_rng(1)
        ).confidence_interval
        assert_allclose(ours, theirs, atol=0.05)


def test_leave_one_out(points):
    rate, length = points
    result = aa.model_length_regression(rate, length).leave_one_out.set_index("model")
    without = [m for m in rate.index if m != "m7"]
    assert_allclose(result.loc["m7", "pearson"], stats.pearsonr(rate[without], length[without]).statistic)
    assert_allclose(result.loc["m7", "spearman"], stats.spearmanr(rate[without], length[without]).statistic)
    assert_allclose(result.loc["m7", "slope"], np.polyfit(length[without] / 100, rate[without], 1)[0])
    cook = sm.OLS(rate, sm.add_constant(length)).fit().get_influence().cooks_distance[0]
    assert_allclose(result["cooks_distance"], np.sort(cook)[::-1])
    assert result.index[0] == rate.index[cook.argmax()]


def test_frame_names_the_range_without_one(points):
    result = aa.model_length_regression(*points, n_resamples=99)
    frame = result.to_frame()
    assert frame["quantity"].tolist() == [
        "slope per 100 characters",
        "Pearson correlation",
        "Spearman correlation",
    ]
    assert (frame["lowest_without_one"] <= frame["estimate"]).all()
    assert (frame["highest_without_one"] >= frame["estimate"]).all()


def test_bad_points_are_named(points):
    rate, length = points
    with pytest.raises(aa.AnnotationError, match="divide percent by 100"):
        aa.model_length_regression(rate * 100, length)
    with pytest.raises(aa.AnnotationError, match="at least 4 models"):
        aa.model_length_regression(rate.iloc[:3], length)
    with pytest.raises(aa.AnnotationError, match="each model once"):
        aa.model_length_regression(pd.concat([rate, rate]), length)
    with pytest.raises(aa.AnnotationError, match="Series"):
        aa.model_length_regression(rate.to_numpy(), length)


def test_gameability_by_hand():
    board = pd.DataFrame(
        {
            "model": ["a", "a_verbose", "a_concise", "b", "b_verbose", "c", "c_concise", "c_verbose"],
            "win_rate": [50, 60, 40, 10, 20, 30, 30, 30.0],
        }
    )
    result = aa.gameability(board).set_index("model")
    assert result.index.tolist() == ["a", "c", "(mean)"]
    assert_allclose(result["gameability"], [0.2, 0, 0.1], atol=1e-15)
    assert_allclose(result.loc["(mean)", "standard_error"], 0.1)
    low, high = stats.t.interval(0.95, 1, 0.1, 0.1)
    assert_allclose(result.loc["(mean)", ["ci_low", "ci_high"]].astype(float), [low, high])
    assert result.loc["a", ["plain", "verbose", "concise"]].tolist() == [50, 60, 40]


def test_gameability_needs_variants():
    board = pd.DataFrame({"model": ["a", "a_verbose"], "win_rate": [0.5, 0.6]})
    with pytest.raises(aa.AnnotationError, match="all variants"):
        aa.gameability(board)


def test_published_leaderboards():
    """The values that the published boards give: 102 models of AlpacaEval 1, six gamed ones of 2."""
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")
    result = aa.model_length_regression(board["win_rate"] / 100, board["avg_length"])
    assert result.n == 102
    assert_allclose([result.spearman, result.pearson], [0.575, 0.631], atol=5e-4)
    measures = ["win_rate", "length_controlled_winrate"]
    found = aa.gameability(aa.load("alpaca_eval_v2_leaderboard"), measures=measures)
    means = found[found["model"] == "(mean)"].set_index("measure")
    assert means["n"].tolist() == [6, 6]
    assert_allclose(means.loc[measures, "gameability"], [0.351, 0.160], atol=5e-4)


def series(values):
    return pd.Series(values, index=list("abcdefgh")[: len(values)], dtype=float)


@pytest.mark.parametrize(
    ("rates", "lengths", "column"), [([3] * 4, [1, 2, 3, 4], "win_rates"), ([1, 2, 3, 4], [3] * 4, "lengths")]
)
def test_constants_are_refused(rates, lengths, column):
    with pytest.raises(aa.AnnotationError, match=f"column '{column}'.*differ between models"):
        aa.model_length_regression(series(rates) / 10, series(lengths))


@pytest.mark.parametrize(
    ("rates", "lengths", "note"),
    [([1, 2, 3, 4], [1, 2, 3, 4], "lie on a line"), ([1, 2, 3, 5], [3, 3, 3, 4], "without one model")],
)
def test_intervals_without_residuals_or_with_one_model_that_decides(rates, lengths, note):
    with pytest.warns(UndefinedWarning, match=note):
        found = aa.model_length_regression(series(rates) / 10, series(lengths), n_resamples=99)
    frame = found.to_frame()
    assert frame[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (frame["note"] != "").all()
    assert np.isnan(found.standard_error)


def test_order_of_models_changes_nothing_and_settings_are_stated(points):
    rate, length = points
    found = aa.model_length_regression(rate, length, n_resamples=99, rng=3).to_frame()
    mixed = aa.model_length_regression(
        rate[::-1], length.sample(frac=1, random_state=0), n_resamples=99, rng=3
    )
    pd.testing.assert_frame_equal(found, mixed.to_frame())
    assert found.attrs["unit"] == "model"
    assert (found.attrs["n_resamples"], found.attrs["rng"], found.attrs["confidence_level"]) == (99, 3, 0.95)


@pytest.mark.parametrize("n", [79, 80])
def test_the_interval_of_pearsons_coefficient_says_that_it_rests_on_few_models(n):
    length = pd.Series(np.arange(n, dtype=float) + 100, [f"m{k}" for k in range(n)])
    rate = 0.5 + 0.3 * np.sin(length)
    slope, pearson, spearman = aa.model_length_regression(rate, length, n_resamples=99).to_frame()["note"]
    assert (slope, spearman) == ("", "")
    assert pearson == "" if n == 80 else "interval approximate: the bootstrap over 79 models" in pearson
