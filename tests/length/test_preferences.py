"""Preference for longer outputs, lists and the first position; the response to length."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import UndefinedWarning
from alpaca_analysis.length.scales import length_difference

WORDS = "a plain answer "


@pytest.fixture(scope="module")
def outputs():
    """Return 400 pairs of texts with a judge that likes length and lists, with draws and gaps."""
    rng = np.random.default_rng(3)
    size = 400
    texts = {
        side: [
            ("- item\n- item\n" if has else "") + WORDS * n
            for has, n in zip(rng.random(size) < 0.4, rng.integers(1, 30, size), strict=True)
        ]
        for side in ("output_1", "output_2")
    }
    frame = pd.DataFrame(texts).assign(instruction=[f"i{k // 2}" for k in range(size)], input=range(size))
    longer = frame["output_2"].str.len() > frame["output_1"].str.len()
    chance = 0.3 + 0.4 * longer
    frame["preference"] = np.where(rng.random(size) < chance, 2.0, 1.0)
    frame.loc[::17, "preference"] = 1.5
    frame.loc[5::29, "preference"] = np.nan
    return frame


@pytest.fixture(scope="module")
def analyzer():
    """Return alpaca-eval's own analysis, without the human annotations it would download."""
    module = pytest.importorskip("alpaca_eval.analyze")
    analyzer = module.Analyzer.__new__(module.Analyzer)
    analyzer.keys, analyzer.annotation_key = ["instruction", "input", "output_1", "output_2"], "preference"
    return analyzer


@pytest.fixture(scope="module")
def table(outputs):
    """Return the same judgements as the table; lists as alpaca-eval finds them."""
    utils = pytest.importorskip("alpaca_eval.utils")
    return pd.DataFrame(
        {
            "instruction_id": outputs["instruction"],
            "repeat": outputs["input"],
            "annotator": "judge",
            "model": "m",
            "reference": "r",
            "outcome": outputs["preference"] - 1,
            "length_model": outputs["output_2"].str.len(),
            "length_reference": outputs["output_1"].str.len(),
            "list_model": outputs["output_2"].map(utils.contains_list),
            "list_reference": outputs["output_1"].map(utils.contains_list),
        }
    )


@pytest.mark.parametrize("least", [0, 30, 150])
def test_longer_is_what_alpaca_eval_finds(table, outputs, analyzer, least):
    expected = analyzer.get_length_biases(outputs, significant_delta_length=least)
    result = aa.prefer_longer(table, min_difference=least, method="t")
    assert_allclose(result["probability"], expected["probability_prefer_longer"], rtol=1e-12)


def test_lists_are_what_alpaca_eval_finds(table, outputs, analyzer):
    expected = analyzer.get_list_biases(outputs)["probability_prefer_list"]
    result = aa.prefer_lists(table, method="t")
    assert_allclose(result["probability"], expected, rtol=1e-12)


def test_first_is_two_minus_the_mean_preference(table, outputs):
    """alpaca-eval's figure, which shows the reference first throughout."""
    result = aa.prefer_first(table.assign(position=2), method="t")
    assert_allclose(result["probability"], 2 - outputs["preference"].mean(), rtol=1e-12)
    assert result.loc[0, "n"] == outputs["preference"].notna().sum()


def test_error_is_clustered_by_instruction(table):
    import statsmodels.api as sm

    kept = table[(table["outcome"] - 0.5).abs() == 0.5]
    kept = kept[(kept["length_model"] - kept["length_reference"]).abs() > 30]
    agrees = (kept["outcome"] > 0.5) == (kept["length_model"] > kept["length_reference"])
    groups = pd.factorize(kept["instruction_id"])[0]
    fit = sm.OLS(agrees.astype(float), np.ones(len(kept))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    clusters = groups.max() + 1
    result = aa.prefer_longer(table)
    assert_allclose(result["standard_error"], fit.bse * np.sqrt(clusters / (clusters - 1)), rtol=1e-10)
    assert result.loc[0, "n"] == len(kept)
    assert result.loc[0, "ci_low"] < result.loc[0, "probability"] < result.loc[0, "ci_high"]


@pytest.mark.slow
def test_sides_do_not_matter(table):
    turned = table.rename(
        columns={
            "length_model": "length_reference",
            "length_reference": "length_model",
            "list_model": "list_reference",
            "list_reference": "list_model",
            "model": "reference",
            "reference": "model",
        }
    ).assign(outcome=1 - table["outcome"])
    for function in (aa.prefer_longer, aa.prefer_lists):
        pd.testing.assert_frame_equal(function(table), function(turned))
    first, second = (aa.prefer_first(t) for t in (table.assign(position=1), turned.assign(position=2)))
    pd.testing.assert_frame_equal(first, second)


def test_weights_are_frequencies_and_input_stays(table):
    rows = table.drop(columns=["instruction_id", "repeat"])
    counted = rows.groupby(list(rows.columns), dropna=False, observed=True).size().rename("n").reset_index()
    before = counted.copy()
    one, two = (aa.prefer_longer(t, method="t") for t in (rows, counted))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(counted, before)


def test_several_annotators_and_none_that_decides(table):
    undecided = table.assign(annotator="undecided", outcome=0.5)
    with pytest.warns(UndefinedWarning):
        result = aa.prefer_longer(pd.concat([table, undecided], ignore_index=True))
    assert result["annotator"].tolist() == ["judge", "undecided"]
    assert result.loc[1, ["probability", "n"]].tolist() == [pytest.approx(np.nan, nan_ok=True), 0]
    assert result.loc[1, "note"] == "undefined: no judgement qualifies"


@pytest.mark.parametrize(
    ("function", "change", "message"),
    [
        (aa.prefer_longer, {"length_model": np.nan}, "both lengths"),
        (aa.prefer_first, {"position": 0}, r"row 0, column 'position': found 0, expected 1"),
        (aa.prefer_lists, {"list_model": 3}, r"column 'list_model': found 3, expected True, False"),
    ],
)
def test_bad_input_is_named(table, function, change, message):
    with pytest.raises(aa.AnnotationError, match=message):
        function(table.assign(**change))


def test_missing_columns_are_named(table):
    with pytest.raises(aa.AnnotationError, match="list_model"):
        aa.prefer_lists(table.drop(columns="list_model"))
    with pytest.raises(aa.AnnotationError, match="position"):
        aa.prefer_first(table)


def test_bins_are_pandas_bins(table):
    result = aa.response_curve(table, n_bins=5, method="t")
    judged = table[table["outcome"].notna()]
    x = judged["length_model"] - judged["length_reference"]
    bins = judged.assign(x=x).groupby(pd.qcut(x, 5, labels=False))
    assert_allclose(result["outcome"], bins["outcome"].mean(), rtol=1e-12)
    assert_allclose(result["difference"], bins["x"].mean(), rtol=1e-12)
    assert_allclose(result[["difference_low", "difference_high"]], bins["x"].agg(["min", "max"]))
    assert result["n"].tolist() == bins.size().tolist()
    assert ((result["ci_low"] < result["outcome"]) & (result["outcome"] < result["ci_high"])).all()


def test_spline_is_that_of_a_formula(table):
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    judged = table[table["outcome"].notna()]
    judged = judged.assign(x=judged["length_model"] - judged["length_reference"])
    low, high = judged["x"].quantile([0.01, 0.99])
    fit = smf.glm(
        f"outcome ~ 0 + cr(x, df=5, lower_bound={low}, upper_bound={high})",
        judged,
        family=sm.families.Binomial(),
    ).fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(judged["instruction_id"])[0]})
    result = aa.response_curve(table, kind="spline", n_points=21)
    expected = fit.get_prediction(pd.DataFrame({"x": result["difference"]})).summary_frame()
    columns = ["outcome", "standard_error", "ci_low", "ci_high"]
    assert_allclose(result[columns], expected, rtol=1e-5)


def test_length_feature_stands_in_for_lengths():
    cells = pd.DataFrame(
        {
            "model": "m",
            "outcome": [0.0, 1.0, 1.0, 0.0],
            "length_feature": [0.5, -0.5, -0.25, -0.5],
            "n": [3, 4, 2, 3],
        }
    )
    assert length_difference(cells, scale="tanh").tolist() == [-0.5, 0.5, 0.25, 0.5]
    result = aa.response_curve(cells, scale="tanh", n_bins=1, method="t", by="model")
    assert result["n"].tolist() == [12]
    assert_allclose(result["outcome"], 0.5)
    with pytest.raises(aa.AnnotationError, match="scale='tanh' can use"):
        aa.response_curve(cells, by="model")


def test_tanh_is_minus_alpaca_evals_feature(table):
    delta = table["length_reference"] - table["length_model"]
    expected = -np.tanh(delta / delta.std())
    assert_allclose(length_difference(table, scale="tanh"), expected, rtol=1e-12)


def test_outliers_in_length_are_no_separation(table):
    """A few outputs of enormous length must not undo the curve."""
    wild = table.assign(length_model=table["length_model"].where(np.arange(len(table)) > 0, 40_000))
    result = aa.response_curve(wild, kind="spline", n_points=5)
    assert result["note"].eq("").all()
    assert result["outcome"].between(0.05, 0.95).all()


@pytest.mark.rows
def test_published_rows_recounted(alpaca_eval_v1):
    """The judge of AlpacaEval 1 on the published rows, beside a recount in plain pandas."""
    rows = alpaca_eval_v1.dropna(subset=["length_model", "length_reference"])
    gap = rows["length_model"] - rows["length_reference"]
    kept = rows["outcome"].isin([0, 1]) & (gap.abs() > 30)
    share = ((gap > 0) == (rows["outcome"] == 1))[kept].mean()
    result = aa.prefer_longer(alpaca_eval_v1, n_resamples=999)
    assert_allclose(result["probability"], share, rtol=1e-12)
    assert result.loc[0, "n"] == kept.sum()


FUNCTIONS = {"prefer_longer": {}, "prefer_first": {"position": 2}, "prefer_lists": {}}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("by", ["repeat", ["repeat", "model"], "dataset"])
def test_any_column_makes_groups(table, name, by):
    """Also the one that tells the judgements of a pair apart, as a group at a time shows."""
    rows = table.assign(**FUNCTIONS[name], repeat=np.arange(len(table)) % 2, dataset="d")
    rows["instruction_id"] += [f"-{k // 2}" for k in range(len(rows))]
    result = getattr(aa, name)(rows, by=by, method="t")
    first = [by] if isinstance(by, str) else by
    assert result.columns[: len(first)].tolist() == first
    assert len(result) == rows[first].drop_duplicates().shape[0]
    for found in result.itertuples():
        inside = rows[rows[first[0]] == getattr(found, first[0])]
        alone = getattr(aa, name)(inside.assign(repeat=range(len(inside))), method="t").iloc[0]
        assert_allclose([found.probability, found.ci_high], alone[["probability", "ci_high"]].astype(float))
        assert found.n == alone["n"]


@pytest.mark.parametrize("name", [*FUNCTIONS, "response_curve"])
def test_columns_that_cannot_make_groups_are_named(table, name):
    rows = table.assign(position=2)
    with pytest.raises(aa.AnnotationError, match="expected a column 'nowhere'"):
        getattr(aa, name)(rows, by="nowhere")
    with pytest.raises(ValueError, match="by: found 'n', which is a column of the result"):
        getattr(aa, name)(rows, by=["model", "n"])


def test_bins_of_each_group_are_pandas_bins(table):
    rows = pd.concat([table, table.assign(model="k", outcome=1 - table["outcome"])], ignore_index=True)
    rows["length_model"] += 100 * (rows["model"] == "k")
    result = aa.response_curve(rows, by="model", n_bins=4, n_resamples=999)
    judged = rows[rows["outcome"].notna()].assign(x=rows["length_model"] - rows["length_reference"])
    assert result["model"].tolist() == ["k"] * 4 + ["m"] * 4
    for model, group in judged.groupby("model"):
        bins = group.groupby(pd.qcut(group["x"], 4, labels=False))
        ours = result[result["model"] == model]
        assert_allclose(ours["outcome"], bins["outcome"].mean(), rtol=1e-12)
        assert_allclose(ours["difference"], bins["x"].mean(), rtol=1e-12)
        assert_allclose(ours[["difference_low", "difference_high"]], bins["x"].agg(["min", "max"]))
        assert ours["n"].tolist() == bins.size().tolist()
        means = bins["outcome"].mean()
        low, high = np.array([[_resampled(rows, q) for q in (0.025, 0.975)] for _, rows in bins]).T
        assert_allclose(ours["ci_low"], low, atol=0.04)
        assert_allclose(ours["ci_high"], high, atol=0.04)
        assert ((ours["ci_low"] < means.to_numpy()) & (means.to_numpy() < ours["ci_high"])).all()


def _resampled(rows, level, n_resamples=400):
    """Return a quantile of the mean outcome over instructions drawn one by one."""
    rng, by = np.random.default_rng(0), rows.groupby("instruction_id")["outcome"]
    sums = by.agg(["sum", "size"]).to_numpy()
    drawn = rng.integers(len(sums), size=(n_resamples, len(sums)))
    return np.quantile(sums[drawn, 0].sum(axis=1) / sums[drawn, 1].sum(axis=1), level)


@pytest.mark.parametrize(
    ("options", "n_resamples"), [({"n_resamples": 99, "rng": 7}, 99), ({"kind": "spline"}, None)]
)
def test_curves_state_their_settings(table, options, n_resamples):
    attrs = aa.response_curve(table, **options).attrs
    assert {"method", "unit", "confidence_level", "n_resamples", "rng"} <= set(attrs)
    assert (attrs["n_resamples"], attrs["rng"]) == (n_resamples, 7 if n_resamples else None)
    assert (attrs["unit"], attrs["confidence_level"]) == ("instruction", 0.95)
