"""Fitted length control: against statsmodels, scikit-learn, alpaca-eval, and published values."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from judgements import columns, made_up
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm, spearmanr

from alpaca_analysis import AnnotationError, fit_length_control, load
from alpaca_analysis.foundations.errors import UndefinedWarning
from alpaca_analysis.length.control.difficulty import length_feature, rebuild_difficulty
from alpaca_analysis.length.control.fitting import BASELINE_WEIGHT, COLUMNS, gamed_baselines


def test_coefficients_equal_statsmodels():
    table, difficulty = made_up()
    table.loc[3, "outcome"] = np.nan
    frame = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")
    for model, rows in table.groupby("model"):
        X, ok = columns(rows, difficulty), rows["outcome"].notna().to_numpy()
        fit = sm.GLM(rows["outcome"][ok], X[ok], family=sm.families.Binomial()).fit(tol=1e-12)
        np.testing.assert_allclose(
            frame.loc[model, ["phi", "psi", "theta"]].astype(float), fit.params, atol=1e-8
        )
        X[:, 0] = 0
        assert frame.loc[model, "lc_win_rate"] == pytest.approx(expit(X @ fit.params).mean(), abs=1e-10)
        assert frame.loc[model, "win_rate"] == pytest.approx(rows["outcome"].mean(), abs=1e-12)


def test_standard_error_equals_the_stacked_estimating_equations():
    """The M-estimator's sandwich, with derivatives by finite differences and HC3 residuals.

    Instructions that were not judged take part in the average alone.
    """
    table, difficulty = made_up(models=("a",))
    table.loc[::25, "outcome"] = np.nan
    row = fit_length_control(table, difficulty=difficulty).to_frame().iloc[0]
    X, y = columns(table, difficulty), table["outcome"].to_numpy()
    X0 = X * [0, 1, 1]
    solution = np.array([row["phi"], row["psi"], row["theta"], row["lc_win_rate"]])

    def equations(parameters):
        residual = np.nan_to_num(y - expit(X @ parameters[:3]))
        return np.column_stack([X * residual[:, None], expit(X0 @ parameters[:3]) - parameters[3]])

    assert np.abs(equations(solution).sum(axis=0)).max() < 1e-6
    bread = np.column_stack(
        [
            (equations(solution + h).sum(axis=0) - equations(solution - h).sum(axis=0)) / 2e-5
            for h in 1e-5 * np.eye(4)
        ]
    )
    p = expit(X @ solution[:3])
    hat = p * (1 - p) * ((X @ np.linalg.inv(-bread[:3, :3])) * X).sum(axis=1)
    meat = equations(solution)
    meat[:, :3] /= (1 - hat)[:, None]
    inverse = np.linalg.inv(bread)
    variance = (inverse @ (meat.T @ meat) @ inverse.T)[3, 3]
    assert row["standard_error"] == pytest.approx(np.sqrt(variance * len(y) / (len(y) - 1)), rel=1e-6)
    half = 1.959963984540054 * row["standard_error"] / (row["lc_win_rate"] * (1 - row["lc_win_rate"]))
    middle = np.log(row["lc_win_rate"] / (1 - row["lc_win_rate"]))
    np.testing.assert_allclose(
        [row["ci_low"], row["ci_high"]], expit([middle - half, middle + half]), rtol=1e-9
    )


def test_coefficient_covariance_equals_statsmodels_hc3():
    """With one row per instruction, the part of the error that comes from the fit is statsmodels' HC3."""
    table, difficulty = made_up(models=("a",), n=150)
    from alpaca_analysis.inference import logistic as _logistic
    from alpaca_analysis.length.control import one_model as _length_fit
    from alpaca_analysis.length.control.fitting import model_rows, prepared

    rows = model_rows(prepared(table, "tanh").assign(d=difficulty.loc[table["instruction_id"]].to_numpy()))[
        0
    ][0]
    fit = _logistic.fit(rows.X, rows.y, rows.weight[None])
    oracle = sm.GLM(rows.y, rows.X, family=sm.families.Binomial()).fit(tol=1e-12)
    # an average over constant columns has no spread of its own: only the fit remains
    X0 = np.broadcast_to([0.0, 0.3, 1.0], rows.X.shape)
    mean, shares = _logistic.influence(rows.X, X0, rows.y, rows.weight[None], rows.n[None].astype(float), fit)
    gradient = mean * (1 - mean) * X0[0]
    hat = oracle.get_influence().hat_matrix_diag
    score = rows.X * ((rows.y - oracle.mu) / (1 - hat))[:, None]
    bread = np.linalg.inv(-oracle.model.hessian(oracle.params))
    hc3 = gradient @ bread @ score.T @ score @ bread @ gradient
    assert (shares**2).sum() == pytest.approx(hc3, rel=1e-8)
    assert _length_fit.standard_error(shares, rows.n)[0] == pytest.approx(np.sqrt(hc3 * 150 / 149), rel=1e-8)


def test_baselines_enter_as_weighted_rows():
    ids = load("instruction_difficulty")["instruction_id"].to_numpy()
    table, _ = made_up(len(ids), models=("a",))
    table["instruction_id"] = ids
    row = fit_length_control(table).to_frame().iloc[0]
    difficulty = load("instruction_difficulty").set_index("instruction_id")["difficulty"]
    fixed = gamed_baselines("published", "tanh")
    assert fixed.X.shape == (1610, 3)
    assert (fixed.X[:, 2] == 0).all()
    X = np.vstack([columns(table, difficulty), fixed.X])
    y = np.concatenate([table["outcome"], fixed.y])
    weight = np.concatenate([np.ones(805), np.full(1610, BASELINE_WEIGHT)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = sm.GLM(y, X, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-12)
    np.testing.assert_allclose(row[["phi", "psi", "theta"]].astype(float), fit.params, atol=1e-8)


def test_baselines_have_the_difficulties_that_are_given():
    published = load("instruction_difficulty").set_index("instruction_id")["difficulty"]
    given = 0.5 * published + 0.3
    table, _ = made_up(len(given), models=("a",))
    table["instruction_id"] = given.index
    row = fit_length_control(table, difficulty=given, baselines="published").to_frame().iloc[0]
    pairs = load("length_control_baselines")
    b = load("length_control_coefficients").set_index("model").loc[pairs["model"]].to_numpy()
    gap = pairs["length_reference"] - pairs["length_model"]
    x = np.tanh(gap / gap.groupby(pairs["model"]).transform("std"))
    d = pairs["instruction_id"].map(given)
    X = np.vstack([columns(table, given), np.column_stack([x, d, np.zeros(1610)])])
    y = np.concatenate([table["outcome"], expit(b[:, 2] + b[:, 0] * x + b[:, 1] * d)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = np.repeat([1, 0.1], [805, 1610])
        fit = sm.GLM(y, X, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-12)
    np.testing.assert_allclose(row[["phi", "psi", "theta"]].astype(float), fit.params, atol=1e-8)


def test_penalty_equals_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    table, difficulty = made_up(models=("a",))
    X, y = columns(table, difficulty), table["outcome"].to_numpy()
    twice = np.vstack([X, X]), np.repeat([1, 0], len(y)), np.concatenate([y, 1 - y])
    for penalty in (0.5, 20.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            oracle = linear_model.LogisticRegression(
                penalty="l1",
                C=1 / penalty,
                solver="liblinear",
                fit_intercept=False,
                tol=1e-10,
                max_iter=10_000,
            ).fit(twice[0], twice[1], sample_weight=twice[2])
        row = fit_length_control(table, difficulty=difficulty, penalty=penalty).to_frame().iloc[0]
        np.testing.assert_allclose(row[["phi", "psi", "theta"]].astype(float), oracle.coef_[0], atol=2e-4)


def test_penalty_with_nothing_to_control():
    """A length that is always 0 says nothing of its coefficient, which a penalty keeps at 0."""
    table, difficulty = made_up(100, models=("a",))
    table["length_model"] = table["length_reference"]
    row = fit_length_control(table, difficulty=difficulty, penalty=0.5).to_frame().iloc[0]
    assert row["phi"] == 0
    assert row["note"] == "all outputs as long as the reference's: nothing to control"
    other = made_up(100, models=("a",))[0].assign(outcome=table["outcome"])
    loose = fit_length_control(other, difficulty=difficulty, penalty=0.5).to_frame().iloc[0]
    assert 0.5 < row["standard_error"] / loose["standard_error"] < 1.0


def test_weights_equal_repeated_rows():
    table, difficulty = made_up(models=("a",))
    table = table.assign(n=np.tile([1, 2, 3, 1], 100))
    once = fit_length_control(table, difficulty=difficulty).to_frame()
    rows = table.loc[table.index.repeat(table["n"])].assign(n=1)
    rows["repeat"] = rows.groupby(level=0).cumcount()
    again = fit_length_control(rows, difficulty=difficulty).to_frame()
    pd.testing.assert_frame_equal(once, again, check_exact=False, rtol=1e-9)
    cells = table.drop(columns="instruction_id").assign(
        difficulty=difficulty.loc[table["instruction_id"]].to_numpy()
    )
    cells["length_feature"] = length_feature(table.assign(model="a"))
    cells = cells.drop(columns=["length_model", "length_reference"])
    cell = fit_length_control(cells, baselines=None).to_frame()
    assert cell.loc[0, "lc_win_rate"] == pytest.approx(once.loc[0, "lc_win_rate"], abs=1e-10)
    assert cell.loc[0, "standard_error"] < once.loc[0, "standard_error"]  # 700 units, not 400


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.slow
def test_bootstrap_refits_every_resample(method):
    table, difficulty = made_up(120)
    options = {"difficulty": difficulty, "method": method, "n_resamples": 200, "rng": 5}
    result = fit_length_control(table, **options)
    weights = np.random.default_rng(5).integers(120, size=(200, 120), dtype=np.int32)
    first = pd.Series(weights[0]).value_counts().reindex(range(120), fill_value=0).to_numpy()
    for model, rows in table.groupby("model"):
        X = columns(rows, difficulty)
        fit = sm.GLM(
            rows["outcome"].to_numpy(), X, family=sm.families.Binomial(), freq_weights=first + 1e-300
        ).fit(tol=1e-12)
        direct = np.average(expit(X * [0, 1, 1] @ fit.params), weights=first)
        assert result.resamples.loc[0, model] == pytest.approx(direct, abs=1e-8)
    plain = fit_length_control(table, difficulty=difficulty).to_frame()
    np.testing.assert_allclose(result.to_frame()["standard_error"], plain["standard_error"], rtol=0.2)
    again = fit_length_control(table, **options).to_frame()
    pd.testing.assert_frame_equal(result.to_frame(), again)


def refitted(rows, X, weights):
    """Return the win rate at equal length of one resample, by statsmodels."""
    outcome, weights = rows["outcome"].to_numpy(), np.asarray(weights, dtype=float)
    used = weights > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.GLM(outcome[used], X[used], family=sm.families.Binomial(), freq_weights=weights[used])
        fit = model.fit(tol=1e-12)
    return np.average(expit(X * [0, 1, 1] @ fit.params), weights=weights)


def test_first_and_last_resamples_equal_statsmodels():
    """Instructions are drawn for all models at once; the reference against itself stays at a half."""
    table, difficulty = made_up(80)
    table["n"] = np.tile([1, 2], 80)
    same = table[table["model"] == "a"].assign(model="r", outcome=0.5)
    same["length_model"] = same["length_reference"]
    options = {"difficulty": difficulty, "method": "percentile", "rng": 5}
    result = fit_length_control(pd.concat([table, same]), n_resamples=600, **options)
    drawn = np.random.default_rng(5).integers(80, size=(600, 80), dtype=np.int32)
    for k in (0, 1, 499, 500, 599):
        for model, rows in table.groupby("model"):
            X = np.column_stack([length_feature(rows), difficulty, np.ones(80)])
            direct = refitted(rows, X, rows["n"] * np.bincount(drawn[k], minlength=80))
            assert result.resamples.loc[k, model] == pytest.approx(direct, abs=1e-7)
    assert (result.resamples["r"] == 0.5).all()
    row = result.to_frame().set_index("model").loc["a"]
    assert row["standard_error"] == pytest.approx(result.resamples["a"].std(), rel=1e-12)
    bounds = result.resamples["a"].quantile([0.025, 0.975])
    np.testing.assert_allclose(row[["ci_low", "ci_high"]].astype(float), bounds, rtol=1e-12)


def bca(estimate, resamples, left_out, counts):
    """Return Efron's interval, from the statistic without one unit of each row."""
    centred = np.average(left_out, weights=counts) - left_out
    a = (counts * centred**3).sum() / (6 * (counts * centred**2).sum() ** 1.5)
    z0 = norm.ppf(np.mean(resamples < estimate))
    z = z0 + norm.ppf([0.025, 0.975])
    return np.quantile(resamples, norm.cdf(z0 + z / (1 - a * z)))


@pytest.mark.parametrize("identified", [True, False])
def test_bca_interval_of_refits(identified):
    """Acceleration by refitting without each unit: an instruction, or one judgement of a cell."""
    table, difficulty = made_up(90, models=("a",), theta=2.0)
    n, d = np.tile([1, 2, 3], 30), difficulty.loc[table["instruction_id"]].to_numpy()
    table = table.assign(n=n, difficulty=d)
    table["length_feature"] = length_feature(table)
    if not identified:
        table = table.drop(columns=["instruction_id", "length_model", "length_reference"])
    options = {"difficulty": difficulty if identified else "published", "baselines": None}
    result = fit_length_control(table, method="bca", n_resamples=600, **options)
    row, X = result.to_frame().iloc[0], np.column_stack([table["length_feature"], d, np.ones(90)])
    one, counts = (n, np.ones(90)) if identified else (1, n)
    left_out = [refitted(table, X, n - one * (np.arange(90) == k)) for k in range(90)]
    expected = bca(row["lc_win_rate"], result.resamples["a"], np.array(left_out), counts)
    np.testing.assert_allclose(row[["ci_low", "ci_high"]].astype(float), expected, atol=1e-3)


def test_resamples_of_cells_equal_statsmodels():
    """Without ids every judgement of a cell is a unit; those of several models are drawn apart."""
    table, difficulty = made_up(60)
    table = table.assign(
        n=np.tile([1, 2, 3], 40), difficulty=difficulty.loc[table["instruction_id"]].to_numpy()
    )
    table["length_feature"] = length_feature(table)
    cells = table.drop(columns=["instruction_id", "length_model", "length_reference"])
    result = fit_length_control(cells, baselines=None, method="percentile", n_resamples=300, rng=5)
    rng = np.random.default_rng(5)
    for model, rows in cells.sort_values(["difficulty", "length_feature", "outcome"]).groupby("model"):
        X = np.column_stack([rows["length_feature"], rows["difficulty"], np.ones(60)])
        cell = np.repeat(np.arange(60), rows["n"])[rng.integers(120, size=(300, 120), dtype=np.int32)]
        drawn = np.array([np.bincount(c, minlength=60) for c in cell])
        for k in (0, 299):
            assert result.resamples.loc[k, model] == pytest.approx(refitted(rows, X, drawn[k]), abs=1e-7)


def test_without_difficulty():
    table, _ = made_up()
    frame = fit_length_control(table, difficulty=None).to_frame().set_index("model")
    for model, rows in table.groupby("model"):
        X = columns(rows, pd.Series(0.0, rows["instruction_id"]))[:, [0, 2]]
        fit = sm.GLM(rows["outcome"].to_numpy(), X, family=sm.families.Binomial()).fit(tol=1e-12)
        np.testing.assert_allclose(
            frame.loc[model, ["phi", "psi", "theta"]].astype(float),
            [fit.params[0], 0, fit.params[1]],
            atol=1e-8,
        )
        assert frame.loc[model, "lc_win_rate"] == pytest.approx(expit(fit.params[1]), abs=1e-10)


@pytest.mark.parametrize("feature", ["tanh", "clip", "log_ratio"])
def test_near_equal_is_the_share_of_small_differences(feature):
    table, difficulty = made_up()
    table = table.assign(n=np.tile([1, 2], 400))
    table.loc[[1, 5], "length_model"] = np.nan
    frame = fit_length_control(table, difficulty=difficulty, feature=feature).to_frame().set_index("model")
    for model, rows in table.groupby("model"):
        rows = rows[rows["length_model"].notna()]
        gap = np.repeat(rows["length_reference"] - rows["length_model"], rows["n"])
        share = (gap.abs() <= 0.25 * gap.std(ddof=1)).mean()
        expected = np.nan if feature == "log_ratio" else share
        np.testing.assert_allclose(frame.loc[model, "near_equal"], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("wins", "losses", "mean", "error", "flagged"),
    [
        (10, 30, 0.5, 0.18, False),
        (9, 31, 0.5, 0.18, True),  # fewer than 10 wins
        (31, 9, 0.5, 0.18, True),
        (10, 30, 0.49, 0.1, True),  # fewer than 20 wins expected of 40 at equal length
        (10, 30, 0.51, 0.1, True),
        (10, 30, 0.5, 0.19, True),  # 0.75 p (1 - p) is 0.1875
        (100, 300, 0.1, 0.067, False),  # and 0.0675
        (100, 300, 0.1, 0.068, True),
        (100, 300, 0.95, 0.035, False),
        (100, 300, 0.951, 0.035, True),
    ],
)
def test_unreliable_intervals(wins, losses, mean, error, flagged):
    from alpaca_analysis.length.control.one_model import unreliable

    y = np.repeat([1.0, 0.0], [wins, losses])
    assert unreliable(np.ones((1, len(y))), y, np.array([mean]), np.array([error])).tolist() == [flagged]


def test_notes_say_what_is_wrong():
    table, difficulty = made_up(400, models=("a", "b", "c"))
    table.loc[[3, 4], "outcome"] = np.nan
    few = table.index[(table["model"] == "b") & (table["outcome"] == 1)]
    table.loc[few, "outcome"] = 0.0
    same = table["model"] == "c"
    table.loc[same, "length_model"] = table.loc[same, "length_reference"]
    note = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")["note"]
    assert note["a"] == "2 unusable judgements left out"
    assert note["b"] == "the interval may cover less than it says: too few wins or losses at equal length"
    assert note["c"] == "all outputs as long as the reference's: nothing to control"
    alone = fit_length_control(made_up(models=("a",))[0], difficulty=difficulty).to_frame()
    assert alone.loc[0, "note"] == ""


def test_separation_is_finite_and_flagged():
    table, difficulty = made_up(200)
    table.loc[table["model"] == "a", "outcome"] = 1.0
    shorter = table["length_model"] < table["length_reference"]
    table.loc[table["model"] == "b", "outcome"] = shorter[table["model"] == "b"].astype(float)
    frame = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")
    assert frame["note"].str.contains("separated").all()
    assert np.isfinite(frame[["lc_win_rate", "standard_error", "ci_low", "ci_high"]].to_numpy()).all()
    assert 0.98 < frame.loc["a", "lc_win_rate"] < 1
    assert frame.loc["a", "ci_low"] < 0.99 < frame.loc["a", "ci_high"] < 1


def test_separated_fit_maximises_the_penalised_likelihood():
    """By scipy: log-F(1, 1) adds b/2 - log(1 + exp(b)) for each coefficient b."""
    table, difficulty = made_up(120, models=("a", "b", "c"))
    shorter = (table["length_model"] < table["length_reference"]).astype(float)
    table["outcome"] = shorter.where(table["model"] == "b", 1.0).where(
        table["model"] != "c", table["outcome"]
    )
    frame = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")
    assert frame["note"].str.contains("separated").to_dict() == {"a": True, "b": True, "c": False}
    for model in "ab":
        rows = table[table["model"] == model]
        X, y = columns(rows, difficulty), rows["outcome"].to_numpy()

        def loss(b, X=X, y=y):
            return -(y * (X @ b) - np.logaddexp(0, X @ b)).sum() - (b / 2 - np.logaddexp(0, b)).sum()

        b = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7}).x
        np.testing.assert_allclose(frame.loc[model, ["phi", "psi", "theta"]].astype(float), b, atol=1e-5)
        # its error is no smaller than what the curvature of the penalised likelihood says
        p, p0 = expit(X @ b), expit(X * [0, 1, 1] @ b)
        information = (X.T * (p * (1 - p))) @ X + np.diag(expit(b) * (1 - expit(b)))
        gradient = (p0 * (1 - p0)) @ (X * [0, 1, 1]) / 120
        least = np.sqrt(gradient @ np.linalg.solve(information, gradient))
        assert 1 < frame.loc[model, "standard_error"] / least < 1.2


def test_reference_against_itself():
    table, difficulty = made_up(50, models=("a",))
    same = table.assign(model="r", outcome=0.5, length_model=table["length_reference"])
    frame = fit_length_control(pd.concat([table, same]), difficulty=difficulty).to_frame().set_index("model")
    assert frame.loc["r", ["lc_win_rate", "standard_error", "ci_low", "ci_high"]].tolist() == [
        0.5,
        0,
        0.5,
        0.5,
    ]
    assert "by definition" in frame.loc["r", "note"]
    assert frame.loc["r", ["phi", "psi", "theta"]].tolist() == [0, 0, 0]


def test_what_counts_as_the_reference_against_itself():
    """Its name, or the same lengths and only draws; neither of these two alone."""
    table, difficulty = made_up(60, models=("named", "same", "longer", "even"))
    model, equal = table["model"], table["length_reference"]
    table["reference"] = "named"
    table.loc[model.isin(["same", "longer"]), "outcome"] = 0.5
    table.loc[model.isin(["same", "even"]), "length_model"] = equal
    with pytest.warns(UndefinedWarning, match="longer: interval undefined: all outcomes are equal"):
        note = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")["note"]
    assert note[note.str.contains("by definition")].index.tolist() == ["named", "same"]


def test_order_of_equals():
    table, difficulty = made_up(100, models=("c", "a"))
    low = table[table["model"] == "a"].assign(model="low")
    low["outcome"] *= 0.5
    twin = table[table["model"] == "c"].assign(model="b")
    frame = fit_length_control(pd.concat([low, table, twin]), difficulty=difficulty).to_frame()
    assert frame["lc_win_rate"].is_monotonic_decreasing
    assert frame["model"].tolist()[frame["model"].tolist().index("b") + 1] == "c"
    assert frame.index.equals(pd.RangeIndex(4))


def test_results_say_how_they_were_computed():
    table, difficulty = made_up(60, models=("a",))
    said = {
        "reference": "r", "annotator": "j", "difficulty": "given", "baselines": None, "features": ["length"], "feature": "tanh", "penalty": 0.0,
        "method": "logistic regression at equal length, M-estimation", "interval": "logit wald", "confidence_level": 0.95,
        "n_resamples": None, "rng": None, "unit": "instruction", "estimate": "lc_win_rate", "differences": [],
        "fractions": ["win_rate", "lc_win_rate", "near_equal"], "higher_is_better": ["win_rate", "lc_win_rate"], "pvalue": None,
    }  # fmt: skip
    assert fit_length_control(table, difficulty=difficulty).to_frame().attrs == said
    none = fit_length_control(table, difficulty=None, method="bca", rng=3, penalty=0)
    assert none.settings == said | {"difficulty": None, "interval": "bca", "n_resamples": 1000, "rng": 3}
    assert fit_length_control(table, difficulty=None, method="percentile").settings["rng"] == 0
    cells = fit_length_control(load("alpaca_eval_v1_cells").query("model == 'gpt4'")).settings
    expected = {"difficulty": "published", "baselines": "published", "unit": "judgement (no instruction ids)"}
    assert {k: cells[k] for k in expected} == expected
    with pytest.raises(ValueError, match="refits are not penalised"):
        fit_length_control(table, difficulty=None, method="bca", penalty=0.5)


def test_any_against_any():
    table, difficulty = made_up()
    result = fit_length_control(table, difficulty=difficulty)
    frame = result.to_frame().set_index("model")
    assert tuple(result.to_frame().columns) == (*COLUMNS[:-1], "near_equal", "reason", "note")
    theta, psi = (frame.loc["a", c] - frame.loc["b", c] for c in ("theta", "psi"))
    ab, ba, aa_, ar = (result.win_rate(*pair).iloc[0] for pair in ("ab", "ba", "aa", "ar"))
    assert ab["win_rate"] == pytest.approx(expit(theta + psi * difficulty).mean(), abs=1e-12)
    assert ab["win_rate"] + ba["win_rate"] == pytest.approx(1, abs=1e-15)
    assert (aa_["win_rate"], aa_["standard_error"], aa_["reason"]) == (0.5, 0, "same_model")
    assert ar["win_rate"] == pytest.approx(frame.loc["a", "lc_win_rate"], abs=1e-12)
    np.testing.assert_allclose(
        ar[["standard_error", *BOUNDS]].astype(float),
        frame.loc["a", ["standard_error", *BOUNDS]].astype(float),
    )
    assert ab["standard_error"] == pytest.approx(ba["standard_error"])
    assert ab["ci_low"] == pytest.approx(1 - ba["ci_high"])


def test_error_of_a_pair_is_that_of_refits():
    """Both models' fits on the same resampled instructions: the bootstrap knows nothing of the formula."""
    table, difficulty = made_up(500)
    result = fit_length_control(table, difficulty=difficulty)
    rng = np.random.default_rng(4)
    sides = {
        model: rows.set_index("instruction_id").loc[difficulty.index]
        for model, rows in table.groupby("model")
    }
    X = {
        model: columns(rows.rename_axis("instruction_id").reset_index(), difficulty)
        for model, rows in sides.items()
    }
    refits = []
    for _ in range(400):
        k = rng.integers(500, size=500)
        b = [
            sm.GLM(sides[m]["outcome"].to_numpy()[k], X[m][k], family=sm.families.Binomial()).fit().params
            for m in "ab"
        ]
        gap = b[0] - b[1]
        refits.append(expit(gap[2] + gap[1] * difficulty.to_numpy()[k]).mean())
    found = result.win_rate("a", "b").iloc[0]
    assert found["standard_error"] == pytest.approx(np.std(refits, ddof=1), rel=0.12)
    apart = fit_length_control(
        table.assign(
            difficulty=difficulty.loc[table["instruction_id"]].to_numpy(),
            length_feature=length_feature(table),
        ).drop(columns=["instruction_id", "length_model", "length_reference"]),
        baselines=None,
    ).win_rate("a", "b")
    assert apart.loc[0, "standard_error"] > 0


def test_row_order_and_input_are_left_alone():
    table, difficulty = made_up(100)
    before = table.copy(deep=True)
    one = fit_length_control(table, difficulty=difficulty).to_frame()
    two = fit_length_control(table.sample(frac=1, random_state=3), difficulty=difficulty).to_frame()
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=1e-9)
    pd.testing.assert_frame_equal(table, before)


def test_extrapolation_is_noted():
    table, difficulty = made_up(200, models=("a",))
    rng = np.random.default_rng(2)
    table["length_model"] = table["length_reference"] + 2000 + rng.integers(0, 900, 200)
    with pytest.warns(UndefinedWarning, match="collinear"):  # tanh of what is so far from 0 is constant
        note = fit_length_control(table, difficulty=difficulty).to_frame().loc[0, "note"]
    assert "extrapolated: 0.0 % of instructions near equal length" in note
    table.loc[:2, "length_model"] = table["length_reference"]
    note = fit_length_control(table, difficulty=difficulty).to_frame().loc[0, "note"]
    assert "extrapolated: 1.5 % of instructions near equal length" in note
    table.loc[:3, "length_model"] = table["length_reference"]
    assert "extrapolated" not in fit_length_control(table, difficulty=difficulty).to_frame().loc[0, "note"]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {}, "one of AlpacaEval's 805 instructions"),
        (lambda t: t.drop(columns="instruction_id"), {}, "instruction ids, or a column 'difficulty'"),
        (lambda t: t.assign(length_model=np.nan), {"difficulty": None}, "lengths of both outputs"),
        (
            lambda t: t.assign(reference=[*"rstuv"] * 20),
            {"difficulty": None},
            "found 5: r, s, t, u, v, expected one reference",
        ),
        (
            lambda t: t.assign(annotator=["j", None] * 50),
            {"difficulty": None},
            "found 2: j, \\(missing\\), expected one annotator",
        ),
        (
            lambda t: t.assign(instruction_id=t["instruction_id"].where(~t.index.isin([3, 50]))),
            {"difficulty": None},
            "row 3, .* on all rows of a group or on none",
        ),
        (
            lambda t: t.assign(length_model=t["length_model"].where(t["model"] == "a")),
            {"difficulty": None},
            "lengths of 'b'",
        ),
        (lambda t: t, {"difficulty": pd.Series([1.0], ["0000"])}, "in the index of `difficulty`"),
        (lambda t: t, {"difficulty": pd.Series([np.inf], ["0000"])}, "a finite number"),
    ],
)
def test_bad_input_is_named(change, options, message):
    table, _ = made_up(50)
    with pytest.raises(AnnotationError, match=message):
        fit_length_control(change(table), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "wald"},
        {"baselines": "mine"},
        {"feature": "words"},
        {"penalty": -1},
        {"confidence_level": 95},
        {"difficulty": "hard"},
        {"difficulty": 3},
        {"confidence_level": 0},
        {"confidence_level": 1},
        {"confidence_level": -0.5},
        {"n_resamples": 0, "method": "bca"},
    ],
)
def test_bad_options_are_named(options):
    table, _ = made_up(50)
    with pytest.raises(ValueError, match=f"{next(iter(options))}: found"):
        fit_length_control(table, **({"difficulty": None} | options))


@pytest.mark.rows
def test_published_values_are_reproduced(alpaca_eval_v1):
    """38 AlpacaEval 1 models with nothing downloaded: at most 0.35 points on average, Spearman 0.998."""
    ours = fit_length_control(alpaca_eval_v1).to_frame().set_index("model")["lc_win_rate"]
    board = load("alpaca_eval_v1_leaderboard").set_index("model")["length_controlled_winrate"]
    both = pd.concat([100 * ours, board], axis=1, join="inner").dropna()
    assert len(both) == 38
    assert (both.iloc[:, 0] - both.iloc[:, 1]).abs().mean() <= 0.35
    assert spearmanr(*both.to_numpy().T).statistic >= 0.998


@pytest.mark.rows
@pytest.mark.slow
def test_published_values_are_reproduced_with_each_model_left_out(alpaca_eval_v2):
    """The 17 ordinary AlpacaEval 2 models, each left out of the difficulties in turn: at most 0.6 points."""
    coefficients = (
        load("length_control_coefficients").set_index("model").set_axis(["phi", "psi", "theta"], axis=1)
    )
    board = load("alpaca_eval_v2_leaderboard").set_index("model")["length_controlled_winrate"]
    gamed = ["NullModel", "gpt4_gamed", "gpt4_1106_preview"]
    ordinary = [m for m in alpaca_eval_v2["model"].unique() if m not in gamed]
    assert len(ordinary) == 17
    errors = []
    for model in ordinary:
        rest = [m for m in ordinary if m != model]
        difficulty = rebuild_difficulty(alpaca_eval_v2, coefficients, models=rest)
        rows = alpaca_eval_v2[alpaca_eval_v2["model"] == model]
        result = fit_length_control(rows, difficulty=difficulty, baselines="published").to_frame()
        errors.append(abs(100 * result.loc[0, "lc_win_rate"] - board[model]))
    assert np.mean(errors) <= 0.6
    assert np.median(errors) <= 0.35


@pytest.fixture(scope="module")
def from_cells():
    return fit_length_control(load("alpaca_eval_v1_cells")).to_frame().set_index("model")


def test_published_values_are_reproduced_from_bundled_cells(from_cells):
    """The same 38 models without a single judgement at hand."""
    board = load("alpaca_eval_v1_leaderboard").set_index("model")["length_controlled_winrate"]
    both = pd.concat([100 * from_cells["lc_win_rate"], board], axis=1, join="inner").dropna()
    assert len(both) == 38
    assert (both.iloc[:, 0] - both.iloc[:, 1]).abs().mean() <= 0.35
    assert spearmanr(*both.to_numpy().T).statistic >= 0.998


@pytest.mark.rows
def test_cells_give_what_rows_give(from_cells, alpaca_eval_v1):
    rows = fit_length_control(alpaca_eval_v1).to_frame().set_index("model").reindex(from_cells.index)
    difference = 100 * (from_cells["lc_win_rate"] - rows["lc_win_rate"]).abs()
    assert len(rows) == 40
    assert difference.mean() <= 0.1
    assert difference.max() <= 0.3
    np.testing.assert_allclose(from_cells["standard_error"], rows["standard_error"], rtol=0.02)


def test_sensitivity_to_the_penalty_is_bundled():
    table = load("length_control_sensitivity")
    used = table[(table["penalty"] == 0.3) & table["baselines"]].iloc[0]
    assert (used["n_v1"], used["n_v2"]) == (38, 14)
    assert used["mean_absolute_error_v1"] <= 0.27
    assert used["mean_absolute_error_v2"] <= 0.40
    # AlpacaEval 1 hardly depends on it; the held-out AlpacaEval 2 models do; baselines matter most
    with_baselines = table[table["baselines"]]
    assert with_baselines["mean_absolute_error_v1"].max() < 0.5
    assert with_baselines["mean_absolute_error_v2"].max() > 1.5
    assert table.loc[~table["baselines"], "mean_absolute_error_v1"].min() > 3


def test_sides_swapped():
    """Without baselines, the reference's view is one minus the model's."""
    table, difficulty = made_up(200)
    swapped = table.assign(
        outcome=1 - table["outcome"],
        length_model=table["length_reference"],
        length_reference=table["length_model"],
    )
    one = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")
    two = fit_length_control(swapped, difficulty=difficulty).to_frame().set_index("model").reindex(one.index)
    np.testing.assert_allclose(one["lc_win_rate"], 1 - two["lc_win_rate"], atol=1e-10)
    np.testing.assert_allclose(one["ci_low"], 1 - two["ci_high"], atol=1e-10)
    np.testing.assert_allclose(one["standard_error"], two["standard_error"], atol=1e-10)


def test_models_are_fitted_apart():
    """What else is in the table, of whatever size, changes nothing of a model."""
    table, difficulty = made_up(300, models=("a", "b", "c"))
    table = pd.concat([table[table["model"] == "a"].iloc[:90], table[table["model"] != "a"]])
    whole = fit_length_control(table, difficulty=difficulty).to_frame().set_index("model")
    for model, rows in table.groupby("model"):
        alone = fit_length_control(rows, difficulty=difficulty).to_frame().set_index("model")
        pd.testing.assert_frame_equal(whole.loc[[model]], alone, check_exact=False, rtol=1e-9)


def test_resamples_without_a_row_of_a_model_are_left_out():
    table, _ = made_up(60)
    few = pd.concat([table[table["model"] == "a"].iloc[:3], table[table["model"] == "b"]])
    few.iloc[:3, few.columns.get_loc("outcome")] = [0.6, 0.4, 0.5]
    result = fit_length_control(few, difficulty=None, method="percentile", n_resamples=300)
    frame = result.to_frame().set_index("model")
    empty = result.resamples["a"].isna().mean()
    assert 0 < empty < 0.2  # (1 - 3/60)^60 = 0.046
    assert np.isfinite(frame[["standard_error", "ci_low", "ci_high"]].to_numpy()).all()
    assert "separated" not in frame.loc["a", "note"]


BOOTSTRAPS = ("bca", "percentile")
BOUNDS = ["ci_low", "ci_high"]


def _one(table, **options):
    with pytest.warns(UndefinedWarning, match=r"a.*: .*undefined"):
        return fit_length_control(table, **{"difficulty": None, "n_resamples": 50} | options).to_frame()


@pytest.mark.parametrize("method", ["sandwich", *BOOTSTRAPS])
def test_outcomes_that_do_not_vary_have_no_interval(method):
    table, _ = made_up(60, models=("a",))
    row = _one(table.assign(outcome=0.5), method=method).iloc[0]
    assert row[["lc_win_rate", "standard_error"]].tolist() == [0.5, pytest.approx(0, abs=1e-12)]
    assert row[BOUNDS].isna().all()
    assert row["note"] == "interval undefined: all outcomes are equal"


@pytest.mark.parametrize("method", BOOTSTRAPS)
@pytest.mark.parametrize("wins", ["always", "where longer"])
def test_refits_of_separated_data_give_no_error(method, wins):
    table, _ = made_up(60, models=("a",))
    longer = (table["length_model"] > table["length_reference"]).astype(float)
    row = _one(table.assign(outcome=1.0 if wins == "always" else longer), method=method).iloc[0]
    assert row[["standard_error", *BOUNDS]].isna().all()
    assert 0 < row["lc_win_rate"] < 1
    assert "error undefined" in row["note"]
    assert "separated" in row["note"]


@pytest.mark.parametrize("method", ["sandwich", *BOOTSTRAPS])
def test_one_instruction_has_no_error(method):
    ids = load("instruction_difficulty")["instruction_id"].to_numpy()
    table, _ = made_up(4, models=("a",))
    table = table.assign(instruction_id=ids[0], repeat=range(4), outcome=[1, 0.5, 0, 1])
    row = _one(table, difficulty="published", method=method).iloc[0]  # baselines identify its fit
    assert row[["standard_error", *BOUNDS]].isna().all()
    assert 0 < row["lc_win_rate"] < 1
    assert row["note"].startswith("error undefined: fewer than two units")
    row = _one(table.iloc[[0]], method=method).iloc[0]
    assert row[["lc_win_rate", "standard_error", *BOUNDS, "phi", "psi", "theta"]].isna().all()


@pytest.mark.parametrize("method", ["sandwich", *BOOTSTRAPS])
def test_lengths_that_always_differ_alike_are_collinear_not_separated(method):
    table, difficulty = made_up(60)
    rows = table["model"] == "a"
    table.loc[rows, "length_model"] = table.loc[rows, "length_reference"] + 40
    frame = _one(table, difficulty=difficulty, method=method).set_index("model")
    assert frame.loc["a", ["lc_win_rate", "standard_error", *BOUNDS, "theta"]].isna().all()
    assert frame.loc["a", "note"].startswith("undefined: length is collinear")
    assert "separated" not in frame.loc["a", "note"]
    assert 0 < frame.loc["b", "ci_low"] < frame.loc["b", "lc_win_rate"] < frame.loc["b", "ci_high"] < 1
    with pytest.warns(UndefinedWarning):
        result = fit_length_control(table, difficulty=difficulty)
    pair = result.win_rate("a", "b").iloc[0]
    assert np.isnan(pair["win_rate"])
    assert "coefficients_only" in pair["reason"]


@pytest.mark.parametrize("method", ["sandwich", *BOOTSTRAPS])
def test_outputs_as_long_as_the_references_keep_their_raw_win_rate(method):
    """Nothing is controlled then: the win rate is the mean outcome, its error that of a mean."""
    table, _ = made_up(400, models=("a",))
    table["length_model"] = table["length_reference"]
    row = fit_length_control(table, difficulty=None, method=method, n_resamples=400).to_frame().iloc[0]
    assert row["lc_win_rate"] == pytest.approx(table["outcome"].mean(), abs=1e-9)
    assert row["standard_error"] == pytest.approx(
        table["outcome"].sem(), rel=0.1 if method != "sandwich" else 0.01
    )
    assert row["note"].startswith("all outputs as long")


@pytest.mark.parametrize("method", ["sandwich", "bca"])
def test_terms_that_tell_nothing_apart_are_no_separation(method):
    """A difficulty that is the same for all leaves the value what it is without."""
    table, difficulty = made_up(200, models=("a",))
    options = {"method": method, "n_resamples": 60}
    same = fit_length_control(table, difficulty=difficulty * 0 + 2, **options).to_frame().iloc[0]
    without = fit_length_control(table, difficulty=None, **options).to_frame().iloc[0]
    for column in ("lc_win_rate", "standard_error", *BOUNDS):
        assert same[column] == pytest.approx(without[column], abs=1e-7)
    assert same["note"] == "collinear: terms that the data do not tell apart share a coefficient"


@pytest.mark.parametrize("method", BOOTSTRAPS)
@pytest.mark.parametrize("known", [True, False])
def test_row_order_moves_no_refit(method, known):
    table, difficulty = made_up(60)
    if not known:
        table, difficulty = table.drop(columns="instruction_id"), None
    mixed = table.sample(frac=1, random_state=5)
    mixed["model"] = pd.Categorical(mixed["model"], ["b", "a"])
    options = {"difficulty": difficulty, "method": method, "n_resamples": 40}
    one, two = (fit_length_control(t, **options).to_frame() for t in (table, mixed))
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=1e-7)


@pytest.mark.parametrize(
    "options",
    [{"method": "bca"}, {"baselines": "published"}, {"penalty": 50.0}, {"penalty": 1, "method": "bca"}],
)
def test_joint_difficulties_refuse_what_they_cannot_take(options):
    table, _ = made_up(30, models=("a", "b", "c"))
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"difficulty: 'joint' .* take no .*{name}|penalty: refits"):
        fit_length_control(table, difficulty="joint", **options)


def test_settings_are_those_of_a_win_rate():
    table, difficulty = made_up(30)
    settings = fit_length_control(table, difficulty=difficulty).settings
    assert {"method", "unit", "confidence_level", "n_resamples", "rng"} <= set(settings)
    assert (settings["n_resamples"], settings["rng"]) == (None, None)
    options = {"difficulty": difficulty, "method": "percentile", "n_resamples": 9}
    assert fit_length_control(table, rng=4, **options).settings["rng"] == 4
    given = np.random.default_rng(4)
    assert fit_length_control(table, rng=given, **options).to_frame().attrs["rng"] == "generator"
