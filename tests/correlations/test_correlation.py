"""Correlations: the published values, scipy as oracle, intervals, noise, ragged input, coverage."""

import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from alpaca_analysis import (
    AnnotationError,
    check_correlation,
    compare_correlations,
    correlation_from_rows,
    load,
    restrict_range,
    win_rate_correlation,
)
from alpaca_analysis.correlations.coefficients import coefficient, pearson, resampled
from alpaca_analysis.correlations.intervals import fisher_interval
from alpaca_analysis.foundations.errors import UndefinedWarning


@pytest.fixture(scope="module")
def human():
    """Return the 15 points of the published scatter plot."""
    points = load("human_win_rates").set_index("point")
    return points["auto_win_rate"], points["human_win_rate"]


@pytest.fixture(scope="module")
def alpacafarm():
    return load("alpacafarm_win_rates").set_index("method")


@pytest.fixture(scope="module")
def arena():
    """Return Arena ratings and the AlpacaEval 2 leaderboard's columns, by model."""
    bench = load("chat_benchmarks").set_index("model")
    board = load("alpaca_eval_v2_leaderboard").set_index("model")
    elo = bench.filter(like="Arena Elo").rename(columns=lambda c: "february" if "Feb" in c else "april")
    return elo, board


# Published values --------------------------------------------------------------------------------


def test_the_points_of_the_published_figure(human):
    found = win_rate_correlation(*human)
    assert_allclose(found.statistic, 0.942, atol=5e-4)
    assert_allclose([found.ci_low, found.ci_high], [0.830, 0.981], atol=5e-4)
    assert found.n == 15
    assert_allclose(win_rate_correlation(*human, method="spearman").statistic, 0.879, atol=5e-4)
    for printed, method in (("0.94", "pearson"), ("0.88", "spearman")):
        assert check_correlation(printed, *human, method=method).loc[0, "agrees"]
    assert not check_correlation("0.95", *human).loc[0, "agrees"]


def test_alpacafarm(alpacafarm):
    x, y = alpacafarm["simulated_win_rate"], alpacafarm["human_win_rate"]
    found = win_rate_correlation(x, y, method="spearman")
    assert_allclose(found.statistic, 0.976, atol=5e-4)
    assert found.n == 10
    assert set(found.dropped) == {"Quark", "Binary Reward Conditioning"}
    assert check_correlation("0.98", x, y, method="spearman").loc[0, "agrees"]
    squared = check_correlation("0.87", x, y, power=2).loc[0]
    assert squared["agrees"]
    assert_allclose(squared["statistic"], 0.871, atol=5e-4)


def test_interval_of_the_evaluators_correlation():
    """0.94 over nine models: 0.734 to 0.988. The leaderboard's own value is 0.9448."""
    assert_allclose(fisher_interval(0.94, 9, "pearson", 0.95), [0.734, 0.988], atol=5e-4)
    board = load("evaluators_leaderboard").set_index("model")
    assert_allclose(board.loc["alpaca_eval_gpt4_fn", "Pearson corr."], 0.9448, atol=5e-5)


@pytest.mark.parametrize(
    ("month", "column", "n", "expected", "digits"),
    [
        ("february", "win_rate", 37, 0.9305275703, 10),
        ("february", "length_controlled_winrate", 37, 0.9746295267, 10),
        ("february", "avg_length", 37, 0.2985, 4),
        ("april", "win_rate", 20, 0.5237, 4),
        ("april", "length_controlled_winrate", 20, 0.8698, 4),
    ],
)
@pytest.mark.slow
def test_arena(arena, month, column, n, expected, digits):
    elo, board = arena
    found = win_rate_correlation(board[column], elo[month], method="spearman")
    assert found.n == n
    assert_allclose(found.statistic, expected, atol=0.5 * 10**-digits)


# Oracles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_coefficients_equal_scipys_with_ties(method):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 50, 12)).astype(float)
    test = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[method]
    expected = [test(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert_allclose(coefficient(x, y, method), expected, atol=1e-12)
    found = win_rate_correlation(x[0], y[0], method=method, n_resamples=99)
    assert_allclose(found.pvalue, test(x[0], y[0]).pvalue)


def test_fisher_interval_equals_scipys(human):
    found = win_rate_correlation(*human)
    interval = stats.pearsonr(*human).confidence_interval()
    assert_allclose([found.ci_low, found.ci_high], [interval.low, interval.high])


@pytest.mark.slow
def test_bootstrap_interval_is_near_scipys(human):
    x, y = (v.to_numpy() for v in human)
    found = win_rate_correlation(x, y, interval="bootstrap", n_resamples=9999)
    boot = stats.bootstrap(
        (x, y),
        lambda a, b: stats.pearsonr(a, b).statistic,
        paired=True,
        method="percentile",
        rng=1,
        n_resamples=1499,
        vectorized=False,
    ).confidence_interval
    assert_allclose([found.ci_low, found.ci_high], [boot.low, boot.high], atol=0.015)
    assert (found.ci_low, found.ci_high) == (found.bootstrap_low, found.bootstrap_high)


def test_williams_equals_rs_psych():
    """psych::r.test(n = 103, r12 = .4, r13 = .5, r23 = .1): t value -0.89 with probability 0.37."""
    wanted = np.array([[1, 0.4, 0.5], [0.4, 1, 0.1], [0.5, 0.1, 1]])  # y, x1, x2: exactly these correlations
    noise = np.random.default_rng(0).normal(size=(103, 3))
    free = np.linalg.qr(noise - noise.mean(axis=0))[0]
    y, x1, x2 = (free @ np.linalg.cholesky(wanted).T).T
    p = compare_correlations(x1, x2, y, n_resamples=99).loc[0, "pvalue"]
    assert_allclose(p, 2 * stats.t.sf(0.891, 100), atol=5e-4)
    assert_allclose(p, 0.37, atol=6e-3)


def test_leave_one_out_equals_pandas(human):
    x, y = human
    found = win_rate_correlation(x, y)
    for model in x.index:
        assert_allclose(found.leave_one_out[model], x.drop(model).corr(y.drop(model)))
    assert found.leave_one_out.is_monotonic_increasing
    assert found.leave_one_out.idxmin() == 1  # without GPT-4


# Noise -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_noise_lowers_the_correlation_and_disattenuation_undoes_it():
    rng = np.random.default_rng(3)
    true = rng.normal(size=4000)
    x, y = true + rng.normal(0, 0.5, 4000), true + rng.normal(0, 0.3, 4000)
    found = win_rate_correlation(x, y, x_se=0.5, y_se=0.3, n_resamples=199)
    assert found.statistic < 0.9
    assert_allclose(found.disattenuated, 1, atol=0.02)
    assert found.noise_low < found.statistic < found.noise_high


def test_noise_of_alpacafarm(alpacafarm):
    a = alpacafarm
    found = win_rate_correlation(
        a["simulated_win_rate"], a["human_win_rate"], x_se=a["simulated_se"], y_se=a["human_se"]
    )
    assert found.noise_low < found.statistic < found.noise_high
    assert found.statistic < found.disattenuated < 1
    assert "independently" in found.note
    assert found.to_frame().loc[0, "noise_low"] == found.noise_low
    bare = win_rate_correlation(a["simulated_win_rate"], a["human_win_rate"])
    assert np.isnan([bare.noise_low, bare.noise_high, bare.disattenuated]).all()


def test_a_disattenuated_coefficient_that_is_undefined_or_cut_is_explained():
    x, y = np.arange(8.0), np.array([0.0, 2, 1, 3, 5, 4, 6, 7])
    swamped = win_rate_correlation(x, y, x_se=5.0, n_resamples=99)
    assert np.isnan(swamped.disattenuated)
    assert "disattenuation undefined: x spreads no more than its errors" in swamped.note
    cut = win_rate_correlation(x, -y, x_se=2.0, n_resamples=99)
    assert cut.disattenuated == -1
    beyond = cut.statistic / np.sqrt(1 - 4 / x.var(ddof=1))
    assert f"disattenuated coefficient {beyond:.2f} cut at -1" in cut.note


def rows(rng, n=200, k=6, annotator="judge", shared=None):
    """Make rows of k models; `shared` is a luck that an instruction brings to all of them."""
    skill = np.linspace(-1.2, 1.2, k)
    latent = skill[:, None] + (0 if shared is None else shared) + rng.logistic(size=(k, n))
    return pd.DataFrame(
        {
            "instruction_id": np.tile([f"i{j}" for j in range(n)], k),
            "model": np.repeat([f"m{j}" for j in range(k)], n),
            "reference": "r",
            "annotator": annotator,
            "outcome": (latent > 0).astype(float).ravel(),
        }
    )


def test_joint_noise_is_that_of_two_samples_of_instructions():
    """With many instructions little is shrunk: measured again is two noises apart, the old one and a new one."""
    rng = np.random.default_rng(6)
    one, two = rows(rng, 3000), rows(rng, 3000, annotator="people")
    swapped = {f"m{j}": f"m{k}" for j, k in enumerate([1, 0, 2, 3, 5, 4])}
    two["model"] = two["model"].map(swapped)
    found = correlation_from_rows(one, two, n_resamples=1999)
    wide = [t.pivot(index="instruction_id", columns="model", values="outcome") for t in (one, two)]
    assert_allclose(found.statistic, np.corrcoef(wide[0].mean(), wide[1].mean())[0, 1])
    assert_allclose(found.points["x_se"], wide[0].sem())
    drawn = rng.integers(3000, size=(1999, 3000))
    means = [w.to_numpy()[drawn].mean(axis=1) for w in wide]
    by_hand = coefficient(*means, "pearson").std()
    assert_allclose(found.noise_high - found.noise_low, 2 * 1.96 * np.sqrt(2) * by_hand, rtol=0.1)


def coefficient_again(rng, true, error):
    return np.corrcoef(true + error * rng.standard_normal(true.shape))[0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "error", "r"), [(15, 0.02, 0.95), (15, 0.08, 0.95), (40, 0.05, 0.9)])
def test_coefficient_measured_again_lies_within_its_interval(n, error, r):
    """Noise added to win rates that hold noise already held it in 50 to 90 % of data sets."""
    rng, held = np.random.default_rng(n), []
    while len(held) < 400:
        true = 0.15 * rng.multivariate_normal([0, 0], [[1, r], [r, 1]], n).T + 0.5
        x, y = true + error * rng.standard_normal(true.shape)
        found = win_rate_correlation(x, y, x_se=error, y_se=error, n_resamples=399, rng=len(held))
        if not np.isnan(found.noise_low):
            held.append(found.noise_low <= coefficient_again(rng, true, error) <= found.noise_high)
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.slow
def test_coefficient_of_new_instructions_lies_within_its_interval():
    """Judge and people share the luck that an instruction brings to all models."""
    rng, held = np.random.default_rng(2), []
    for _ in range(100):
        skill = rng.normal(0, 0.8, (12, 1))
        skills = [skill, 0.9 * skill + rng.normal(0, 0.3, (12, 1))]

        def measured(skills=skills):
            luck = rng.normal(size=100)
            return [(s + luck + rng.logistic(size=(12, 100)) > 0).astype(float) for s in skills]

        ids = {"instruction_id": np.tile(np.arange(100).astype(str), 12), "reference": "r"}
        ids["model"] = np.repeat([f"m{k:02d}" for k in range(12)], 100)
        tables = [pd.DataFrame({**ids, "outcome": y.ravel()}) for y in measured()]
        found = correlation_from_rows(*tables, n_resamples=399)
        again = np.corrcoef(*(y.mean(axis=1) for y in measured()))[0, 1]
        held.append(found.noise_low <= again <= found.noise_high)
    assert np.mean(held) >= 0.88


def test_units_do_not_matter_to_what_is_measured_again(alpacafarm):
    x, y = alpacafarm["simulated_win_rate"], alpacafarm["human_win_rate"]
    x_se, y_se = alpacafarm["simulated_se"], alpacafarm["human_se"]
    one = win_rate_correlation(x, y, x_se=x_se, y_se=y_se, n_resamples=499)
    two = win_rate_correlation(x, 1e6 * y, x_se=x_se, y_se=1e6 * y_se, n_resamples=499)
    assert_allclose([one.noise_low, one.noise_high], [two.noise_low, two.noise_high], rtol=1e-6)


def test_win_rates_that_spread_no_more_than_their_errors_are_not_drawn_again():
    x, y = np.arange(8.0), np.array([0.0, 2, 1, 3, 5, 4, 6, 7])
    for given in ({"x_se": 5.0}, {"x_se": 0.1, "y_se": 3.0}):
        found = win_rate_correlation(x, y, **given, method="spearman", n_resamples=99)
        assert np.isnan([found.noise_low, found.noise_high]).all()
        side = "y" if "y_se" in given else "x"
        assert f"noise undefined: {side} spreads no more than its errors" in found.note
        assert "no_spread_beyond_errors" in found.reason.split()


@pytest.mark.rows
@pytest.mark.slow
def test_joint_noise_on_published_rows(alpaca_eval_v1, alpaca_eval_v2):
    """Two judges with two references over the models that both judged."""
    found = correlation_from_rows(alpaca_eval_v1, alpaca_eval_v2, method="spearman", n_resamples=499)
    rates = [t.groupby("model", observed=True)["outcome"].mean() for t in (alpaca_eval_v1, alpaca_eval_v2)]
    both = pd.concat(rates, axis=1).dropna()
    assert found.n == len(both) >= 4
    assert_allclose(found.statistic, both.corr("spearman").iloc[0, 1])
    assert found.noise_low <= found.statistic <= found.noise_high


# Range, rivals, ragged input -----------------------------------------------------------------------


def test_restricted_range_follows_thorndike():
    """Selection on y in a bivariate normal population of r = 0.9 lowers r as the formula says."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    y = 0.9 * x + np.sqrt(1 - 0.81) * rng.normal(size=4000)
    points = pd.DataFrame({"x": x, "y": y}).sort_values("x", ascending=False).head(1000)
    whole = np.corrcoef(x, y)[0, 1]
    u = points["x"].std() / x.std(ddof=1)
    expected = whole * u / np.sqrt(1 + whole**2 * (u**2 - 1))
    assert_allclose(points["x"].corr(points["y"]), expected, atol=0.03)
    found = restrict_range(x[:30], y[:30], by="x", minimum=10)
    field = pd.DataFrame({"x": x[:30], "y": y[:30]}).sort_values("x", ascending=False)
    top = found.query("keep == 'best' and n == 12").iloc[0]
    assert_allclose(top["statistic"], field.head(12)["x"].corr(field.head(12)["y"]))
    assert_allclose(found.query("keep == 'worst' and n == 12")["statistic"], field.tail(12).corr().iloc[0, 1])
    assert found.loc[0, "keep"] == "all"
    assert_allclose(found.loc[0, "statistic"], found.loc[0, "expected"])


@pytest.mark.slow
def test_raw_and_length_controlled_against_the_arena(arena):
    elo, board = arena
    lc, raw = board["length_controlled_winrate"], board["win_rate"]
    february = compare_correlations(lc, raw, elo["february"], method="spearman").loc[0]
    assert_allclose(february["statistic_difference"], 0.9746295267 - 0.9305275703, atol=1e-9)
    assert february["n"] == 37
    april = compare_correlations(lc, raw, elo["april"], method="spearman").loc[0]
    assert_allclose([april["statistic_1"], april["statistic_2"]], [0.8698, 0.5237], atol=5e-5)
    assert april["ci_low"] > 0
    swapped = compare_correlations(raw, lc, elo["april"], method="spearman").loc[0]
    assert_allclose(swapped["statistic_difference"], -april["statistic_difference"])
    assert_allclose([swapped["ci_low"], swapped["ci_high"]], [-april["ci_high"], -april["ci_low"]])


def test_series_align_and_units_do_not_matter(human):
    x, y = human
    plain = win_rate_correlation(x, y)
    shuffled = win_rate_correlation(x.sample(frac=1, random_state=0) / 100, y[::-1])
    assert_allclose(shuffled.statistic, plain.statistic)
    part = win_rate_correlation(x.iloc[:-2], y.iloc[1:])
    assert part.n == 12
    assert part.dropped == ("1", "14", "15")
    swapped = win_rate_correlation(y, x)
    assert_allclose([swapped.statistic, swapped.ci_low], [plain.statistic, plain.ci_low])


def test_the_same_seed_gives_the_same_result(human):
    frames = [win_rate_correlation(*human, x_se=1.0, rng=5).to_frame() for _ in range(2)]
    pd.testing.assert_frame_equal(*frames)


def test_undefined_is_nan_with_a_reason():
    with pytest.warns(UndefinedWarning, match="constant"):
        flat = win_rate_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5])
    assert np.isnan(flat.statistic)
    assert "constant" in flat.note
    with pytest.warns(UndefinedWarning, match="3 models"):
        few = win_rate_correlation([1, 2, 4], [1, 3, 2])
    assert np.isnan(few.ci_low)
    assert_allclose(few.statistic, np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2], "at least three models"),
        ([1, 2, 3], [1, 2], "one length"),
        (pd.Series([1, 2, 3], index=list("aab")), pd.Series([1, 2, 3], index=list("abc")), "each model once"),
        (pd.Series(["1", "x", "3"]), pd.Series([1, 2, 3]), "a number"),
        (pd.Series([1, 2, 3], index=list("abc")), pd.Series([1, 2, 3], index=list("xyz")), "found 0"),
    ],
)
def test_malformed_questions_raise(x, y, message):
    with pytest.raises(AnnotationError, match=message):
        win_rate_correlation(x, y)


def test_printed_values_round_either_way():
    x = np.arange(5.0)
    assert check_correlation("1.00", x, x).loc[0, "agrees"]
    assert check_correlation("0.9", [1, 2, 3, 4, 5], [1, 3, 2, 4, 5]).loc[0, "agrees"]
    assert not check_correlation("0.91", [1, 2, 3, 4, 5], [1, 3, 2, 4, 5]).loc[0, "agrees"]
    with pytest.raises(AnnotationError, match="as text"):
        check_correlation(0.94, x, x)


def test_reading_error_may_explain_a_print(human):
    found = check_correlation("0.943", *human, reading_error=0.1).loc[0]
    assert_allclose(found["statistic"], 0.942, atol=5e-4)
    assert not found["agrees"]
    assert check_correlation("0.943", *human, reading_error=1.0).loc[0, "could_agree"]
    assert not check_correlation("0.96", *human, reading_error=0.1).loc[0, "could_agree"]


def test_kendalls_bootstrap_equals_scipys_on_resampled_points():
    rng = np.random.default_rng(12)
    x, y = rng.integers(0, 9, (2, 23)).astype(float)
    drawn = rng.integers(23, size=(60, 23))
    expected = [stats.kendalltau(x[k], y[k]).statistic for k in drawn]
    assert_allclose(resampled(x, y, drawn, "kendall"), expected, atol=1e-14)
    assert_allclose(coefficient(x[drawn], y[drawn], "kendall"), expected, atol=1e-14)


@pytest.mark.benchmark
def test_kendall_of_many_models_is_fast():
    """The bootstrap of all 223 models of a board takes at most twice as long as Pearson's."""
    rng, took = np.random.default_rng(14), {}
    x, y = rng.normal(size=(2, 223))
    drawn = rng.integers(223, size=(9999, 223))
    for method in ("pearson", "kendall"):
        start = time.perf_counter()
        resampled(x, y, drawn, method)
        took[method] = time.perf_counter() - start
    assert took["kendall"] < 2 * took["pearson"]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 65])
def test_inversions_of_any_number_of_models(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, 5, n))
    y[1], x[2] = 0.0, np.round(x[2])
    y[3] = x[3]
    with np.errstate(invalid="ignore"):
        expected = [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)] if n > 1 else np.nan
    assert_allclose(coefficient(x, y, "kendall"), np.full(5, expected), atol=1e-14)
    if n > 1:
        x[0, 0] = np.nan
        assert np.isnan(coefficient(x, y, "kendall")[0])


def test_pearson_of_marked_entries_and_of_rounded_constants():
    rng = np.random.default_rng(13)
    x, y, where = rng.normal(size=(4, 9)), rng.normal(size=(4, 9)), rng.random((4, 9)) < 0.7
    expected = [stats.pearsonr(a[k], b[k]).statistic for a, b, k in zip(x, y, where, strict=True)]
    assert_allclose(pearson(x, y, where), expected)
    constant = np.full((1, 7), 1234.1)  # its mean is off by rounding
    assert np.isnan(pearson(constant, 100 * x[:1, :7])).all()


@pytest.mark.parametrize("method", ["pearson", "kendall"])
def test_order_of_models_and_rows_changes_nothing(human, method):
    x, y = human
    options = {"method": method, "x_se": 2.0, "n_resamples": 199}
    plain = win_rate_correlation(x, y, **options).to_frame()
    mixed = win_rate_correlation(x.sample(frac=1, random_state=1), y[::-1], **options).to_frame()
    pd.testing.assert_frame_equal(plain, mixed, check_exact=True)
    rng = np.random.default_rng(6)
    one, two = rows(rng, n=40), rows(rng, n=40, annotator="people")
    found = correlation_from_rows(one, two, n_resamples=99).to_frame()
    shuffled = (t.sample(frac=1, random_state=k) for k, t in enumerate((one, two)))
    pd.testing.assert_frame_equal(found, correlation_from_rows(*shuffled, n_resamples=99).to_frame())


def test_models_of_names_and_numbers_have_one_order():
    x = pd.Series([0.1, 0.5, 0.3, 0.9], index=["b", 2, "a", 10])
    points = win_rate_correlation(x, x[::-1] ** 2, n_resamples=9).points
    again = win_rate_correlation(x[::-1], x**2, n_resamples=9).points
    pd.testing.assert_frame_equal(points, again)


def test_an_error_that_is_missing_is_not_zero():
    x, y = (pd.Series(v, index=list("abcd")) for v in ([1, 2, 3, 4.0], [1, 2, 4, 3.0]))
    error = pd.Series([0.1, 0.1, 0.1], index=list("abc"))
    found = win_rate_correlation(x, y, x_se=error, n_resamples=99)
    assert np.isnan([found.noise_low, found.noise_high, found.disattenuated]).all()
    assert "no x_se of 'd'" in found.note
    known = win_rate_correlation(x, y, x_se=0.1, n_resamples=99)
    assert_allclose(known.disattenuated, 0.8 / np.sqrt(1 - 0.01 / x.var()))
    assert "y taken as exact" in known.note


@pytest.mark.parametrize("method", ["pearson", "kendall"])
@pytest.mark.parametrize("side", range(3))
def test_comparing_with_a_constant_is_undefined(method, side):
    values = [[1, 3, 2, 4, 5], [1, 2, 3, 5, 4], [2, 1, 3, 4, 5]]
    values[side] = [1] * 5
    with pytest.warns(UndefinedWarning, match=f"{('x1', 'x2', 'y')[side]} constant"):
        found = compare_correlations(*values, method=method, n_resamples=99).loc[0]
    assert found[["ci_low", "ci_high", "pvalue", "statistic_difference"]].isna().all()


def test_a_field_without_contrast_says_so():
    found = restrict_range([1, 1, 1, 1, 2], [5, 4, 3, 2, 6], minimum=3)
    constant = found["keep"] == "worst"
    assert found.loc[constant, "note"].eq("undefined: one side is constant").all()
    assert (found["ci_low"].isna() == (found["note"] != "")).all()


def test_a_measure_beside_itself():
    x, y = [1, 3, 2, 4, 5], [1, 2, 3, 5, 4]
    with pytest.warns(UndefinedWarning, match="never differ"):
        found = compare_correlations(x, x, y, n_resamples=99).loc[0]
    assert found["statistic_difference"] == 0
    assert np.isnan(found["ci_low"])


def test_results_say_how_they_were_computed(human):
    x, y = human
    for result, resamples in (
        (win_rate_correlation(x, y, n_resamples=99, rng=4).to_frame(), 99),
        (compare_correlations(x, y, y + x, n_resamples=99, rng=4), 99),
        (restrict_range(x, y), None),
        (check_correlation("0.94", x, y), None),
    ):
        said = result.attrs
        assert "Pearson's r" in said["method"]
        assert (said["interval"], said["unit"]) == (
            ("percentile" if "difference" in said["method"] else "fisher"),
            "model",
        )
        assert said["confidence_level"] == 0.95
        assert said["n_resamples"] == resamples
        assert said["rng"] == (4 if resamples else None)
    assert win_rate_correlation(x, y, n_resamples=9, rng=np.random.default_rng(0)).seed == "generator"


# Equal is equal ----------------------------------------------------------------------------------


def test_ranks_are_of_numbers_that_tie():
    """0.1 + 0.2 is 0.3: Spearman and Kendall were 1 and 1 by the last binary digit."""
    x, y = np.array([0.1 + 0.2, 0.3, 0.4, 0.5]), np.arange(4.0)
    found = {"spearman": win_rate_correlation(x, y, method="spearman", n_resamples=99).statistic}
    with pytest.warns(UndefinedWarning, match="interval undefined: 4 models"):
        found["kendall"] = win_rate_correlation(x, y, method="kendall", n_resamples=99).statistic
    assert_allclose(found["spearman"], 0.9487, atol=5e-5)
    assert_allclose(found["kendall"], 0.9129, atol=5e-5)
    exact = np.array([0.3, 0.3, 0.4, 0.5])
    assert_allclose(found["spearman"], stats.spearmanr(exact, y).statistic)
    assert_allclose(found["kendall"], stats.kendalltau(exact, y).statistic)


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_shifted_and_scaled_win_rates_keep_their_ranks(method):
    """Means of few verdicts tie often; 0.1 + 0.8 y must tie where y does, and in every resample."""
    rng = np.random.default_rng(8)
    y = pd.Series(rng.integers(0, 5, 30) / 4, index=[f"m{k:02d}" for k in range(30)])
    x = pd.Series(rng.integers(0, 7, 30) / 3, index=y.index)
    shifted = 0.1 + 0.8 * y
    one, two = (win_rate_correlation(x, v, method=method, n_resamples=299) for v in (y, shifted))
    assert one.to_frame().drop(columns="note").equals(two.to_frame().drop(columns="note"))
    pd.testing.assert_series_equal(one.leave_one_out, two.leave_one_out)
    turned = win_rate_correlation(x.iloc[::-1], shifted.iloc[::-1], method=method, n_resamples=299)
    assert turned.to_frame().equals(two.to_frame())
    narrowed = [restrict_range(x, v, method=method).drop(columns="spread") for v in (y, shifted)]
    pd.testing.assert_frame_equal(*narrowed)
    compared = [compare_correlations(x, x[::-1].to_numpy(), v.to_numpy(), method=method, n_resamples=99)
                for v in (y, shifted)]  # fmt: skip
    pd.testing.assert_frame_equal(*compared)


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_the_order_and_the_names_of_models_do_not_matter(method):
    rng = np.random.default_rng(9)
    names = pd.Index([f"m{k:02d}" for k in range(20)])
    x, y, z = (pd.Series(rng.integers(1, 9, 20) / 10, index=names) for _ in range(3))
    turned = [v.sample(frac=1, random_state=k) for k, v in enumerate((x, y, z))]
    for function, n in ((restrict_range, 2), (compare_correlations, 3)):
        one, two = (function(*given[:n], method=method) for given in ((x, y, z), turned))
        pd.testing.assert_frame_equal(one, two)
    renamed = [v.rename(index=dict(zip(names, names[::-1], strict=True))) for v in (x, y)]
    found = [restrict_range(*given, method=method) for given in ((x, y), renamed)]
    columns = ["keep", "n", "statistic", "ci_low", "ci_high"]
    whole = [frame.loc[frame["keep"] == "all", columns] for frame in found]  # ties at a cut go by name
    pd.testing.assert_frame_equal(*whole)


def test_a_side_that_varies_by_rounding_only_is_constant():
    with pytest.warns(UndefinedWarning, match="one side is constant"):
        found = win_rate_correlation([0.1 + 0.2, 0.3, 0.3], [1, 2, 3], n_resamples=9)
    assert np.isnan(found.statistic)
    assert found.reason == "constant"


# Notes on intervals that cover less --------------------------------------------------------------

SPREAD = np.linspace(0.2, 0.8, 18)
LIKEWISE = np.where(np.arange(18) % 2, SPREAD - 0.05, SPREAD + 0.05)
AT_THE_TOP = np.append(SPREAD, [0.91, 0.95, 0.99])
LIKEWISE_AT_THE_TOP = np.append(LIKEWISE, [0.8, 0.85, 0.8])


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("turned", [False, True])
def test_fisher_says_that_models_crowd_at_a_bound(scale, turned):
    """3 of 21 models are 14 %, 4 of 22 are 18 %; either side and either bound count."""
    x, y = scale * AT_THE_TOP, scale * LIKEWISE_AT_THE_TOP
    x, y = (scale - y, scale - x) if turned else (x, y)
    assert win_rate_correlation(x, y, n_resamples=9).note == ""
    more = win_rate_correlation(np.append(x, 0.02 * scale), np.append(y, 0.5 * scale), n_resamples=9)
    assert more.note.startswith("interval approximate: 4 of 22 models within 10 points of 0 or 100 %")


@pytest.mark.parametrize("scale", [10, 1000])
def test_other_scales_have_no_bounds_to_crowd_at(scale):
    x, y = np.append(AT_THE_TOP, 0.98), np.append(LIKEWISE_AT_THE_TOP, 0.8)
    assert "4 of 22" in win_rate_correlation(x, y, n_resamples=9).note
    assert win_rate_correlation(x * scale, y * scale, n_resamples=9).note == ""
    assert "4 of 22" in win_rate_correlation(x, y * scale, n_resamples=9).note
    assert win_rate_correlation(x - 1, y, n_resamples=9).note == ""


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_ranks_do_not_crowd(method):
    x, y = np.append(AT_THE_TOP, 0.98), np.append(LIKEWISE_AT_THE_TOP, 0.8)
    assert win_rate_correlation(x, y, method=method, n_resamples=9).note == ""


def test_checks_of_a_correlation_carry_the_notes():
    x, y = np.append(AT_THE_TOP, 0.98), np.append(LIKEWISE_AT_THE_TOP, 0.8)
    crowded = "4 of 22 models within 10 points"
    assert crowded in check_correlation("0.9", x, y).loc[0, "note"]
    assert check_correlation("0.9", x, y, method="spearman").loc[0, "note"] == ""
    notes = restrict_range(x, y, by="x", minimum=18).set_index(["keep", "n"])["note"]
    assert crowded in notes["all", 22]
    assert "4 of 18 models" in notes["best", 18]
    assert notes["worst", 18] == ""
    assert "over 22 models" in compare_correlations(x, x**2, y, n_resamples=99).loc[0, "note"]
    assert compare_correlations(x, -x, y, method="spearman", n_resamples=99).loc[0, "note"] == ""


def test_bootstrap_over_few_models_says_so():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.8, 80)
    y = x + rng.normal(0, 0.05, 80)
    few = win_rate_correlation(x[:79], y[:79], interval="bootstrap", n_resamples=99)
    assert few.note.startswith("interval approximate: the bootstrap over 79 models")
    assert win_rate_correlation(x, y, interval="bootstrap", n_resamples=99).note == ""


# Coverage ----------------------------------------------------------------------------------------


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("method", "n"), [("pearson", 15), ("pearson", 9), ("spearman", 37), ("kendall", 37)]
)
def test_coverage_of_the_fisher_interval(method, n):
    """Bivariate normal models with r = 0.8."""
    rng, r, repeats = np.random.default_rng(9), 0.8, 4000
    true = {
        "pearson": r,
        "spearman": 6 / np.pi * np.arcsin(r / 2),
        "kendall": 2 / np.pi * np.arcsin(r),
    }[method]
    x = rng.normal(size=(repeats, n))
    y = r * x + np.sqrt(1 - r**2) * rng.normal(size=(repeats, n))
    bounds = np.array([fisher_interval(v, n, method, 0.95) for v in coefficient(x, y, method)])
    assert 0.93 <= ((bounds[:, 0] <= true) & (true <= bounds[:, 1])).mean() <= 0.97


@pytest.mark.simulation
def test_coverage_of_the_bootstrap_with_many_models():
    """The percentile interval needs models: it covers 93 to 94 % at 100, and 89 to 92 % at 9 and 15."""
    rng, r, hits = np.random.default_rng(10), 0.8, []
    for _ in range(500):
        x = rng.normal(size=100)
        y = r * x + np.sqrt(1 - r**2) * rng.normal(size=100)
        found = win_rate_correlation(x, y, interval="bootstrap", n_resamples=499)
        hits.append(found.ci_low <= r <= found.ci_high)
    assert 0.93 <= np.mean(hits) <= 0.97
