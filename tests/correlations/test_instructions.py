"""Which instructions separate models, and what fewer of them would show."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import alpaca_analysis as aa


@pytest.fixture(scope="module")
def wide():
    """Return outcomes of 8 models on 120 instructions, some missing, the first two without contrast."""
    rng = np.random.default_rng(4)
    y = (rng.random((120, 8)) < np.linspace(0.2, 0.9, 8)).astype(float)
    y[rng.random(y.shape) < 0.03] = np.nan
    y[0], y[1] = 1.0, 0.0
    return pd.DataFrame(y, index=[f"i{k:03d}" for k in range(120)], columns=list("abcdefgh"))


@pytest.fixture(scope="module")
def table(wide):
    rows = wide.rename_axis("instruction_id").reset_index().melt("instruction_id", var_name="model")
    return rows.rename(columns={"value": "outcome"}).assign(dataset="d", annotator="judge", reference="r")


def test_discrimination_is_the_item_rest_correlation(table, wide):
    result = aa.discrimination(table).set_index("instruction_id")
    for name in ("i002", "i050", "i119"):
        rest = wide.drop(index=name).mean()
        both = pd.concat([wide.loc[name], rest], axis=1).dropna()
        expected = stats.pearsonr(both.iloc[:, 0], both.iloc[:, 1])
        assert_allclose(result.loc[name, "discrimination"], expected.statistic, rtol=1e-10)
        low, high = expected.confidence_interval()
        assert_allclose(result.loc[name, ["ci_low", "ci_high"]].astype(float), [low, high], rtol=1e-8)
    assert_allclose(result["mean_outcome"], wide.mean(axis=1).reindex(result.index), rtol=1e-12)


def test_no_contrast_is_undefined(table):
    result = aa.discrimination(table).set_index("instruction_id")
    assert result.loc[["i000", "i001"], "discrimination"].isna().all()
    assert result.loc["i000", "note"] == "undefined: the same outcome for every model"
    known = result["discrimination"].dropna()
    assert known.is_monotonic_decreasing
    assert result.index[: len(known)].equals(known.index)


@pytest.mark.slow
def test_errors_of_a_smaller_evaluation_follow_the_root(table, wide):
    result = aa.fewer_instructions(table, sizes=[60, 120, 240], n_resamples=200)
    expected = np.mean(wide.std(ddof=0) / np.sqrt(wide.count()))
    assert_allclose(result["standard_error"] * np.sqrt(result["n"] / 120), expected, rtol=0.03)
    assert result["spearman"].is_monotonic_increasing
    assert result["share_ordered"].is_monotonic_increasing


@pytest.mark.slow
def test_share_ordered_is_the_power_of_a_paired_test(table, wide):
    """Beside statsmodels-free brute force: draw rows, test each pair with scipy."""
    complete = wide.fillna(0.5)
    rows = table.assign(outcome=table["outcome"].fillna(0.5))
    rng = np.random.default_rng(9)
    truth, shown = complete.mean(), []
    for _ in range(60):
        drawn = complete.iloc[rng.integers(120, size=80)]
        for j in range(8):
            for k in range(j):
                gap = drawn.iloc[:, j] - drawn.iloc[:, k]
                z = gap.mean() / (gap.std(ddof=1) / np.sqrt(80))
                shown.append(abs(z) > 1.959964 and np.sign(z) == np.sign(truth.iloc[j] - truth.iloc[k]))
    result = aa.fewer_instructions(rows, sizes=[80], n_resamples=300)
    assert_allclose(result["share_ordered"], np.mean(shown), atol=0.03)


def test_same_seed_same_result_and_input_stays(table):
    before = table.copy()
    one, two = (aa.fewer_instructions(table, sizes=[50], n_resamples=20, rng=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(table, before)


def test_bad_input_is_named(table):
    with pytest.raises(aa.AnnotationError, match="at least 4 models"):
        aa.discrimination(table[table["model"].isin(["a", "b"])])
    with pytest.raises(aa.AnnotationError, match="one annotator"):
        aa.discrimination(pd.concat([table, table.assign(annotator="other")], ignore_index=True))
    with pytest.raises(aa.AnnotationError, match="at least 2 instructions"):
        aa.fewer_instructions(table, sizes=[1])


def test_frequencies_are_judgements(table, wide):
    """One judgement and nine opposite ones: the same from rows, from frequencies, and by hand."""
    weighted = pd.concat(
        [table.assign(repeat=0, n=1), table.assign(repeat=1, n=9, outcome=1 - table["outcome"])]
    )
    parts = [table.assign(repeat=0)] + [
        table.assign(repeat=k, outcome=1 - table["outcome"]) for k in range(1, 10)
    ]
    expanded = pd.concat(parts)
    one, two = aa.discrimination(weighted), aa.discrimination(expanded)
    pd.testing.assert_frame_equal(one, two)
    shifted = 0.1 * wide + 0.9 * (1 - wide)
    assert_allclose(one.set_index("instruction_id")["mean_outcome"].reindex(wide.index), shifted.mean(axis=1))
    fewer = [aa.fewer_instructions(t, sizes=[30], n_resamples=20) for t in (weighted, expanded)]
    pd.testing.assert_frame_equal(*fewer)
    single = aa.fewer_instructions(
        table.assign(outcome=0.9 - 0.8 * table["outcome"]), sizes=[30], n_resamples=20
    )
    pd.testing.assert_frame_equal(fewer[0], single)


def test_points_on_a_line_have_no_interval():
    four = pd.DataFrame(
        {
            "instruction_id": np.repeat([f"i{k}" for k in range(5)], 4),
            "model": list("abcd") * 5,
            "outcome": [0.0, 0, 1, 1] * 5,
        }
    )
    result = aa.discrimination(four)
    assert_allclose(result["discrimination"], 1)
    assert result[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (result["note"] == "interval undefined: fewer than four models, or points on a line").all()


def test_one_instruction_only_says_nothing_of_the_others(table):
    result = aa.discrimination(table[table["instruction_id"] == "i002"]).loc[0]
    assert np.isnan(result["discrimination"])
    assert result["n_models"] == 0
    assert "nothing else" in result["note"]


def test_results_say_how_they_were_computed(table):
    assert aa.discrimination(table).attrs["rng"] is None
    said = aa.fewer_instructions(table, sizes=[20], n_resamples=5, rng=np.int64(3)).attrs
    assert (said["n_resamples"], said["rng"], said["unit"]) == (5, 3, "instruction")


def test_models_all_alike_have_no_order_to_find_again(table):
    alike = table.assign(outcome=0.5)
    with pytest.warns(aa.UndefinedWarning, match="the same win rate"):
        row = aa.fewer_instructions(alike, sizes=[20], n_resamples=20).iloc[0]
    assert row[["spearman", "spearman_low", "spearman_high"]].isna().all()
    assert row["share_ordered"] == row["share_wrong"] == 0


@pytest.mark.parametrize("function", [aa.discrimination, aa.fewer_instructions])
def test_nothing_judged_is_refused(table, function):
    with pytest.raises(aa.AnnotationError, match="at least one usable judgement"):
        function(table.assign(outcome=np.nan))
