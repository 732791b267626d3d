"""Preference for style, and control for it, against statsmodels, resampling and plain counts."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from judgements import data_sets
from scipy.special import expit

from alpaca_analysis import (
    AnnotationError,
    bias_beyond_humans,
    bradley_terry,
    control_by_feature,
    fit_length_control,
    prefer,
    win_rate,
)


def styled(n=600, *, bold=0.0, seed=0, models=("a",)):
    """Judgements whose outcome follows length, and bold text by `bold`."""
    rng = np.random.default_rng(seed)
    parts = []
    for k, model in enumerate(models):
        part = pd.DataFrame(
            {
                "instruction_id": [f"i{i}" for i in range(n)],
                "model": model,
                "reference": "r",
                "annotator": "j",
                "length_model": rng.integers(200, 900, n),
                "length_reference": rng.integers(200, 700, n),
                "bold_model": rng.poisson(2 + k, n),
                "bold_reference": rng.poisson(1, n),
                "headers_model": rng.poisson(1, n),
                "headers_reference": rng.poisson(1, n),
            }
        )
        gap = part["length_model"] - part["length_reference"]
        total = part["bold_model"] + part["bold_reference"]
        relative = (part["bold_model"] - part["bold_reference"]) / total.where(total > 0, 1)
        p = expit(0.3 + 0.5 * np.tanh(gap / gap.std()) + bold * relative)
        parts.append(part.assign(outcome=(rng.random(n) < p).astype(float), relative=relative))
    return pd.concat(parts, ignore_index=True)


def test_preference_is_a_share_of_decisions():
    table = styled(bold=1.0)
    table.loc[:20, "outcome"] = 0.5
    found = prefer(table, "bold", method="t").iloc[0]
    decided = table[(table["outcome"] != 0.5) & (table["bold_model"] != table["bold_reference"])]
    more = (decided["bold_model"] > decided["bold_reference"]) == (decided["outcome"] == 1)
    assert (found["probability"], found["n"]) == (pytest.approx(more.mean(), abs=1e-12), len(decided))
    with pytest.raises(ValueError, match="feature: found 'script', expected one of characters, words"):
        prefer(table, "script")
    with pytest.raises(AnnotationError, match=r"links_model.*features of both outputs"):
        prefer(table, "links")


def columns(table):
    """Return the columns of the regression in plain pandas."""
    gap = table["length_reference"] - table["length_model"]
    bold = table["relative"] / table["relative"].std(ddof=1)
    total = table["headers_model"] + table["headers_reference"]
    headers = ((table["headers_model"] - table["headers_reference"]) / total.where(total > 0, 1)).fillna(0)
    return np.column_stack(
        [np.tanh(gap / gap.std()), bold, headers / headers.std(ddof=1), np.ones(len(table))]
    )


def test_controlled_win_rates_are_those_of_statsmodels():
    table = styled(bold=1.0)
    frame = (
        fit_length_control(table, difficulty=None, features=["length", "bold", "headers"]).to_frame().iloc[0]
    )
    fit = sm.GLM(table["outcome"], columns(table), family=sm.families.Binomial()).fit()
    found = frame[["phi", "phi_bold", "phi_headers", "theta"]].to_numpy(float)
    np.testing.assert_allclose(found, fit.params, atol=1e-8)
    assert frame["lc_win_rate"] == pytest.approx(expit(fit.params.iloc[-1]), abs=1e-10)
    hc3 = sm.Logit(table["outcome"], columns(table)).fit(disp=0, cov_type="HC3")
    p = frame["lc_win_rate"]
    error = p * (1 - p) * hc3.bse.iloc[-1] * np.sqrt(600 / 599)  # no difficulty: one value at no difference
    assert frame["standard_error"] == pytest.approx(error, rel=0.01)
    alone = fit_length_control(table, difficulty=None, features="bold").to_frame().iloc[0]
    fit = sm.GLM(table["outcome"], columns(table)[:, [1, 3]], family=sm.families.Binomial()).fit()
    np.testing.assert_allclose(alone[["phi_bold", "theta"]].to_numpy(float), fit.params, atol=1e-8)


def test_length_alone_is_what_it_was():
    table = styled(bold=1.0, models=("a", "b"))
    one = fit_length_control(table, difficulty=None).to_frame()
    two = fit_length_control(table, difficulty=None, features="length").to_frame()
    pd.testing.assert_frame_equal(one, two)


def test_resampling_agrees_with_the_error():
    table = styled(bold=1.0)
    options = {"difficulty": None, "features": ["length", "bold"]}
    fitted = fit_length_control(table, **options).to_frame()["standard_error"][0]
    drawn = fit_length_control(table, **options, method="percentile", n_resamples=600).to_frame()
    assert drawn["standard_error"][0] == pytest.approx(fitted, rel=0.12)


def test_what_does_not_differ_is_said_and_what_is_unknown_left_out():
    table = styled().assign(tables_model=0, tables_reference=0)
    frame = fit_length_control(table, difficulty=None, features=["length", "tables"]).to_frame().iloc[0]
    assert "no output differs in tables: nothing to control" in frame["note"]
    plain = fit_length_control(table, difficulty=None).to_frame().iloc[0]
    assert frame["lc_win_rate"] == pytest.approx(plain["lc_win_rate"], abs=1e-9)
    assert frame["standard_error"] == pytest.approx(plain["standard_error"], rel=1e-6)
    table = styled().astype({"bold_model": float})
    table.loc[:9, "bold_model"] = np.nan
    frame = fit_length_control(table, difficulty=None, features=["length", "bold"]).to_frame().iloc[0]
    assert "10 unusable judgements left out" in frame["note"]


@pytest.mark.parametrize("options", [{"difficulty": "joint"}, {"baselines": "published"}])
def test_what_knows_no_style_refuses_it(options):
    with pytest.raises(ValueError, match=r"features: found .*expected 'length' alone"):
        fit_length_control(styled(), features=["length", "bold"], **options)


def test_control_by_feature_is_each_fit_less_the_raw_rate():
    table = styled(bold=1.0, models=("a", "b"))
    found = control_by_feature(table, features=["length", "bold"]).set_index(["model", "controlled"])
    raw = win_rate(table, method="t").set_index("model")["win_rate"]
    for label, features in {"length": "length", "bold": "bold", "all": ["length", "bold"]}.items():
        fits = fit_length_control(table, difficulty=None, features=features).to_frame().set_index("model")
        for model in "ab":
            row = found.loc[(model, label)]
            assert row["lc_win_rate"] == pytest.approx(fits["lc_win_rate"][model], abs=1e-12)
            assert row["moved"] == pytest.approx(fits["lc_win_rate"][model] - raw[model], abs=1e-12)
    assert (found["standard_error"] < 0.05).all()


@pytest.mark.slow
def test_error_of_what_is_moved_is_that_of_resampling():
    table = styled(300, bold=1.0)
    found = control_by_feature(table, features=["bold"]).iloc[0]
    rng, moved = np.random.default_rng(1), []
    for _ in range(300):
        drawn = table.iloc[rng.integers(0, 300, 300)].reset_index(drop=True)
        drawn["instruction_id"] = [f"i{k}" for k in range(300)]
        moved.append(control_by_feature(drawn, features=["bold"])["moved"][0])
    assert found["standard_error"] == pytest.approx(np.std(moved, ddof=1), rel=0.15)


def test_ratings_with_style_are_those_of_statsmodels():
    table = styled(bold=1.0, models=("a", "b"))
    found = bradley_terry(table, covariates=["bold", "headers"], n_resamples=99)
    total = table["headers_model"] + table["headers_reference"]
    headers = ((table["headers_model"] - table["headers_reference"]) / total.where(total > 0, 1)).fillna(0)
    X = np.column_stack(
        [
            table["model"] == "a",
            table["model"] == "b",
            table["relative"] / table["relative"].std(),
            headers / headers.std(),
        ]
    ).astype(float)
    fit = sm.GLM(table["outcome"], X, family=sm.families.Binomial()).fit()
    np.testing.assert_allclose(found.coefficients["coefficient"], fit.params[2:], atol=1e-6)
    assert found.win_rate("a", "r")["win_rate"][0] == pytest.approx(expit(fit.params.iloc[0]), abs=1e-6)
    with pytest.raises(AnnotationError, match="bulleted_model"):
        bradley_terry(table, covariates=["style"], n_resamples=99)


def with_people(table, seed=5):
    rng = np.random.default_rng(seed)
    liked = rng.uniform(0.1, 0.9, len(table))
    people = [
        table.assign(annotator=f"human {k}", outcome=(rng.random(len(table)) < liked).astype(float))
        for k in range(3)
    ]
    return table, pd.concat(people, ignore_index=True), liked


def test_several_covariates_beyond_people_are_one_regression():
    table, people, liked = with_people(styled(800))
    rng = np.random.default_rng(2)
    lean = liked + 0.2 * np.sign(table["relative"]) - 0.0
    table = table.assign(
        outcome=(rng.random(len(table)) < lean).astype(float), position=1 + np.arange(800) % 2
    )
    found = bias_beyond_humans(table, people, covariates=["length", "bold", "position"])
    judge = found[found["annotator"] == "j"].set_index(["covariate", "quantity"])
    assert judge.loc[("bold", "at_equal_preference"), "ci_low"] > 0
    assert judge.loc[("position", "at_equal_preference"), "pvalue"] > 0.01
    gap = (table["length_model"] - table["length_reference"]).astype(float)
    X = np.column_stack(
        [
            np.tanh(gap / np.sqrt((gap**2).mean())),
            table["relative"] / np.sqrt((table["relative"] ** 2).mean()),
            np.where(table["position"] == 1, 0.5, -0.5),
        ]
    )
    slopes = sm.OLS(table["outcome"] - 0.5, X).fit().params
    names = [("length", "slope"), ("bold", "slope"), ("position", "slope")]
    np.testing.assert_allclose(judge.loc[names, "estimate"], slopes, atol=1e-10)


def test_length_alone_beyond_people_is_what_it_was_and_sides_do_not_matter():
    table, people, _ = with_people(styled(300, bold=1.0))
    found = bias_beyond_humans(table, people, covariates=["bold"])
    turned = table.assign(
        outcome=1 - table["outcome"],
        model="r",
        reference="a",
        **{
            f"{f}_{s}": table[f"{f}_{o}"]
            for f in ("bold", "length")
            for s, o in (("model", "reference"), ("reference", "model"))
        },
    )
    again = bias_beyond_humans(turned, people, covariates=["bold"])
    np.testing.assert_allclose(again["estimate"], found["estimate"], atol=1e-10)
    assert set(bias_beyond_humans(table, people)["covariate"]) == {"length"}


@pytest.mark.simulation
@pytest.mark.parametrize(("planted", "least", "most"), [(0.0, 0.0, 0.09), (1.2, 0.95, 1.0)])
def test_planted_style_is_found_and_none_where_there_is_none(planted, least, most):
    """500 data sets: how often control for bold text is shown to move the win rate."""
    found = []
    for seed in range(data_sets(500)):
        row = control_by_feature(styled(400, bold=planted, seed=seed), features=["bold"]).iloc[0]
        found.append(row["ci_low"] > 0 or row["ci_high"] < 0)
    assert least <= np.mean(found) <= most
