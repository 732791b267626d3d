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
    with pytest.raises(ValueError, match="sizes: found 1, expected a whole number of at least 2"):
        aa.fewer_instructions(table, sizes=[1])
    with pytest.raises(ValueError, match="alpha: found 5"):
        aa.fewer_instructions(table, alpha=5)
    half = table.assign(annotator=np.where(np.arange(len(table)) % 2, "judge", None))
    for function in (aa.discrimination, aa.fewer_instructions):
        with pytest.raises(aa.AnnotationError, match=r"judge, \(missing\), expected one annotator"):
            function(half)


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
    said = aa.discrimination(table, n_resamples=19, rng=4).attrs
    assert (said["interval"], said["n_resamples"], said["rng"]) == ("fisher", 19, 4)
    assert said["estimate"] == "discrimination"
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


@pytest.mark.slow
def test_pvalues_are_those_of_scipys_permutation_test(table, wide):
    result = aa.discrimination(table).set_index("instruction_id")
    for name in ("i002", "i050", "i119"):
        both = pd.concat([wide.loc[name], wide.drop(index=name).mean()], axis=1).dropna().to_numpy().T
        expected = stats.permutation_test(
            (both[0],), lambda a, b=both[1]: np.corrcoef(a, b)[0, 1], permutation_type="pairings",
            alternative="greater", n_resamples=np.inf,
        )  # fmt: skip
        assert_allclose(result.loc[name, "pvalue"], expected.pvalue, atol=0.015)
    known = result["pvalue"].notna()
    adjusted = stats.false_discovery_control(result.loc[known, "pvalue"])
    assert_allclose(result.loc[known, "pvalue_bh"], adjusted)
    assert (result["separates"] == (result["pvalue_bh"] <= 0.025)).all()
    assert result.attrs["n_tested"] == known.sum() == (wide.max(axis=1) > wide.min(axis=1)).sum()
    assert result.attrs["n_separating"] == result["separates"].sum()


def test_instructions_that_say_nothing_do_not_separate():
    """Outcomes that no skill decides: intervals exclude 0 now and then, adjusted p-values do not."""
    rng, separating = np.random.default_rng(1), 0
    for _ in range(20):
        rows = pd.DataFrame({"instruction_id": np.repeat(np.arange(60).astype(str), 12)})
        rows = rows.assign(model=list("abcdefghijkl") * 60, outcome=rng.integers(0, 2, 720) * 1.0)
        separating += aa.discrimination(rows, n_resamples=499).attrs["n_separating"] > 0
    assert separating <= 3


def test_what_is_shown_does_not_depend_on_order_names_or_shift(table):
    """Ties of computed means go by one rule: see STATISTICS on 0.1 + 0.8 y."""
    shifted = table.assign(outcome=0.1 + 0.8 * table["outcome"])
    shuffled = shifted.sample(frac=1, random_state=3)
    few = {"sizes": [20], "n_resamples": 50}
    one, two, three = (aa.fewer_instructions(t, **few) for t in (table, shifted, shuffled))
    pd.testing.assert_frame_equal(one.drop(columns="standard_error"), two.drop(columns="standard_error"))
    pd.testing.assert_frame_equal(two, three)
    one, two, three = (aa.discrimination(t, n_resamples=99) for t in (table, shifted, shuffled))
    pd.testing.assert_frame_equal(one.drop(columns="mean_outcome"), two.drop(columns="mean_outcome"))
    pd.testing.assert_frame_equal(two, three)
    ten_times = aa.fewer_instructions(table.assign(n=10), **few)
    pd.testing.assert_frame_equal(ten_times, aa.fewer_instructions(table, **few))


@pytest.mark.slow
def test_models_that_tie_for_the_best_share_it():
    """Of two equal best models each is best in every evaluation: both count half, whatever their names."""
    rng = np.random.default_rng(0)
    luck = rng.random(60)
    outcome = {"a": luck, "z": luck[::-1][::-1], "m": 0.5 * luck, "n": 0.4 * luck}
    frame = pd.DataFrame({"instruction_id": np.arange(60).astype(str), **outcome})
    rows = frame.melt("instruction_id", var_name="model", value_name="outcome")
    assert aa.fewer_instructions(rows, sizes=[20], n_resamples=30)["same_best"].eq(1).all()
    # One of the two is a little worse in all: where the drawn instructions do not show it, each counts 1/2.
    rows.loc[(rows["model"] == "a") & (rows["instruction_id"] == "0"), "outcome"] -= 0.04
    found = aa.fewer_instructions(rows, sizes=[20], n_resamples=4000)["same_best"].item()
    unseen = (1 - 1 / 60) ** 20
    assert_allclose(found, unseen / 2 + (1 - unseen), atol=0.02)


@pytest.mark.rows
def test_published_instructions_that_separate(alpaca_eval_v1):
    """Of the ten best none, of all 664 of 791 in a computation of its own; 13 were flagged one by one."""
    best = alpaca_eval_v1.groupby("model", observed=True)["outcome"].mean().nlargest(10).index
    ten = aa.discrimination(alpaca_eval_v1[alpaca_eval_v1["model"].isin(best)])
    assert ((ten["ci_low"] > 0).sum(), ten.attrs["n_separating"]) == (13, 0)
    every = aa.discrimination(alpaca_eval_v1)
    assert every.attrs["n_tested"] == 791
    assert abs(every.attrs["n_separating"] - 664) <= 6


@pytest.mark.rows
@pytest.mark.slow
def test_published_best_model_is_found_again_as_often_as_ties_allow(alpaca_eval_v1):
    sizes = (50, 100, 300, 805)
    found = aa.fewer_instructions(alpaca_eval_v1, sizes=sizes)["same_best"]
    assert_allclose(found, [0.33, 0.48, 0.73, 0.88], atol=0.03)
