"""Logistic regressions of judgements on length, against statsmodels called directly."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose
from scipy import special

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import UndefinedWarning


@pytest.fixture(scope="module")
def table():
    """Return weighted judgements of three models on 200 instructions from two sources."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        [(f"i{i}", "ab"[i % 2], model) for i in range(200) for model in ("m1", "m2", "m3")],
        columns=["instruction_id", "dataset", "model"],
    )
    ease = rng.normal(size=200).repeat(3)
    rows["length_reference"] = rng.integers(100, 900, 200).repeat(3)
    rows["length_model"] = (rows["length_reference"] * rng.lognormal(0.2, 0.5, len(rows))).round()
    eta = 0.003 * (rows["length_model"] - rows["length_reference"]) + ease + rows["model"].eq("m3")
    rows["outcome"] = special.expit(eta + rng.normal(size=len(rows)))
    rows.loc[::50, "outcome"] = np.nan
    return rows.assign(annotator="judge", reference="r", difficulty=ease)


def _direct(rows, formula):
    fit = smf.glm(formula, rows, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(rows["instruction_id"])[0]}
    )
    return fit


def _close(result, fit, renamed):
    ours = result.set_index("term")
    for term, theirs in renamed.items():
        assert_allclose(ours.loc[term, "estimate"], fit.params[theirs], rtol=1e-6)
        assert_allclose(ours.loc[term, "standard_error"], fit.bse[theirs], rtol=1e-6)
        assert_allclose(ours.loc[term, "pvalue"], fit.pvalues[theirs], rtol=1e-4)
        assert_allclose(
            ours.loc[term, ["ci_low", "ci_high"]].astype(float), fit.conf_int().loc[theirs], rtol=1e-6
        )


@pytest.mark.parametrize("scale", ["characters", "log_ratio"])
def test_pooled_with_controls(table, scale):
    rows = table.dropna(subset="outcome").copy()
    if scale == "characters":
        rows["x"] = (rows["length_model"] - rows["length_reference"]) / 100
    else:
        rows["x"] = np.log((rows["length_model"] + 1) / (rows["length_reference"] + 1))
    fit = _direct(rows, "outcome ~ x + C(model) + C(dataset) + difficulty")
    result = aa.length_regression(table, scale=scale, controls=["model", "dataset", "difficulty"])
    names = {"length": "x", "constant": "Intercept", "difficulty": "difficulty"}
    names |= {"model_m2": "C(model)[T.m2]", "model_m3": "C(model)[T.m3]", "dataset_b": "C(dataset)[T.b]"}
    _close(result, fit, names)
    assert set(result["term"]) == set(names)
    assert result["n"].unique().tolist() == [len(rows)]
    assert result["n_instructions"].unique().tolist() == [200]


def test_per_model_with_the_spread_of_all_its_rows(table):
    result = aa.length_regression(table, by="model")
    for model, rows in table.groupby("model"):
        gap = rows["length_model"] - rows["length_reference"]
        rows = rows.assign(x=np.tanh(gap / gap.std())).dropna(subset="outcome")
        _close(
            result[result["model"] == model],
            _direct(rows, "outcome ~ x"),
            {"length": "x", "constant": "Intercept"},
        )


def test_weights_are_frequencies(table):
    rows = table.drop(columns="instruction_id").dropna(subset="outcome").assign(n=2)
    twice = pd.concat([rows, rows], ignore_index=True).assign(n=1)
    one, two = (aa.length_regression(t, scale="log_ratio") for t in (rows, twice))
    pd.testing.assert_frame_equal(one, two)


def test_turning_all_sides_turns_the_constant_only(table):
    turned = table.rename(
        columns={"length_model": "length_reference", "length_reference": "length_model"}
    ).assign(outcome=1 - table["outcome"])
    one, two = (aa.length_regression(t).set_index("term")["estimate"] for t in (table, turned))
    assert_allclose(one["length"], two["length"], rtol=1e-6)
    assert_allclose(one["constant"], -two["constant"], rtol=1e-6)


@pytest.mark.parametrize("outcome", ["always", "separated"])
def test_no_fit_is_said(table, outcome):
    gap = table["length_model"] - table["length_reference"]
    wins = 1.0 if outcome == "always" else (gap > 0).astype(float)
    with pytest.warns(UndefinedWarning, match="separate"):
        result = aa.length_regression(table.assign(outcome=wins))
    assert result["estimate"].isna().all()
    assert result["note"].str.startswith("undefined").all()


def test_collinear_control_is_said(table):
    with pytest.warns(UndefinedWarning, match="collinear"):
        aa.length_regression(table.assign(twin=1.0), controls=["twin"])


def test_two_judges_do_not_mix(table):
    other = table.assign(annotator="other")
    both = pd.concat([table, other], ignore_index=True)
    with pytest.raises(aa.AnnotationError, match="expected one annotator"):
        aa.length_regression(both)
    result = aa.length_regression(both, by="annotator")
    assert_allclose(*result[result["term"] == "length"]["estimate"])


def test_an_id_missing_on_one_row_is_refused(table):
    """It used to turn all clustering off; in a model of its own, without ids, it is a fit without."""
    table = table.dropna(subset="outcome").reset_index(drop=True)
    row = int(table.index[table["model"] == "m2"][3])
    table.loc[row, "instruction_id"] = None
    for by in (None, "model"):
        with pytest.raises(aa.AnnotationError, match=f"row {row}, column 'instruction_id': found none"):
            aa.length_regression(table, by=by)
    table.loc[table["model"] == "m2", "instruction_id"] = None
    assert aa.length_regression(table, by="model")["n_instructions"].min() == 0


@pytest.mark.slow
def test_error_covers_a_known_slope():
    """Wald intervals from clustered errors, over 80 simulated tables with dependent judgements."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(80):
        shared = rng.normal(size=100).repeat(4)
        x = rng.normal(size=100).repeat(4) * 60 + rng.normal(size=400) * 20
        p = special.expit(0.8 * x / 100 + 0 * shared)
        same = rng.random(100).repeat(4)  # the four judgements of an instruction move together
        rows = pd.DataFrame(
            {
                "instruction_id": np.arange(100).repeat(4).astype(str),
                "model": np.tile(list("abcd"), 100),
                "outcome": (same < p) * 1.0,
                "length_model": 1000 + x,
                "length_reference": 1000.0,
            }
        )
        slope = aa.length_regression(rows, scale="characters").set_index("term").loc["length"]
        covered.append(slope["ci_low"] < 0.8 < slope["ci_high"])
    assert 0.87 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(
    ("wins", "note"), [(9, "about 9 wins or losses"), (10, ""), (190, ""), (191, "about 9")]
)
def test_a_fit_that_rests_on_few_wins_or_losses_says_so(wins, note):
    k = np.arange(200)
    rows = pd.DataFrame({"instruction_id": [f"i{i:03}" for i in k], "length_model": 500 + k * 37 % 400})
    rows = rows.assign(model="m", reference="r", annotator="judge", length_reference=600)
    rows["outcome"] = (k * 61 % 200 < wins) * 1.0
    found = aa.length_regression(rows)["note"]
    curve = aa.response_curve(rows, kind="spline", n_points=3)["note"]
    for notes in (found, curve):
        assert notes.str.contains(note, regex=False).all()
        assert (notes != "").all() == bool(note)
