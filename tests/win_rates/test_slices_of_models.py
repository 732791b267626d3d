"""`by=` in compare, pairwise_differences and rank_sets: each slice alone, all at once, and the test."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from judgements import data_sets, side_by_side
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError

NAMES = ("compare", "pairwise_differences", "rank_sets")


def judged(n=240, *, models=3, topics=3, shared=False, seed=0, gap=0.15):
    """Return judgements of models in topics; in all of them on each instruction, where they are shared."""
    rng = np.random.default_rng(seed)
    rates = 0.5 + gap * np.arange(models)
    rows = side_by_side((rng.random((n, models)) < rates).astype(float))
    rows["reference"], rows["annotator"] = "r", "j"
    if not shared:
        number = rows["instruction_id"].str[1:].astype(int)
        return rows.assign(topic=np.array(["art", "code", "law", "maths"])[:topics][number % topics])
    parts = [rows.assign(topic=name, repeat=k) for k, name in enumerate(["art", "code", "law"][:topics])]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_slice_has_the_estimates_of_its_rows_alone(name):
    rows, statistic = judged(), getattr(aa, name)
    found = statistic(rows, by="topic", n_resamples=499)
    assert found.columns[0] == "topic"
    assert found["topic"].unique().tolist() == ["art", "code", "law"]
    key = [c for c in ("model", "model_a", "model_b") if c in found]
    same = [
        c
        for c in ("difference", "standard_error", "pvalue", "win_rate", "rank", "n_shared", "n")
        if c in found
    ]
    for topic, part in found.groupby("topic"):
        alone = statistic(rows[rows["topic"] == topic], n_resamples=499)
        pd.testing.assert_frame_equal(
            part[key + same].sort_values(key).reset_index(drop=True),
            alone[key + same].sort_values(key).reset_index(drop=True),
        )
    said = found.attrs["slices"]
    assert (said["by"], said["n_slices"], said["n_unknown"]) == (["topic"], 3, 0)
    assert said["confidence_level"] == 0.95
    assert str(aa.show(found)).endswith(said["note"])


def test_the_differences_are_tested_as_a_clustered_regression_does():
    rows = judged(n=300, gap=0.05, seed=3)
    rows.loc[(rows["model"] == "m1") & (rows["topic"] == "law"), "outcome"] = 1.0
    found = aa.compare(rows, "m0", "m1", by="topic")
    said = found.attrs["slices"]
    wide = rows.pivot(index=["instruction_id", "topic"], columns="model", values="outcome").reset_index()
    fit = sm.OLS(wide["m0"] - wide["m1"], pd.get_dummies(wide["topic"]).astype(float)).fit(cov_type="HC1")
    np.testing.assert_allclose(found["difference"], fit.params)
    expected = fit.wald_test(np.array([[-1, 1, 0], [-1, 0, 1]]), scalar=True, use_f=True)
    q, left = said["df"]
    scale = (left + q - 1) / left * (297 / 300) / (99 / 100)  # to chi-square / q; HC1 counts 300 and not 100
    np.testing.assert_allclose(said["statistic"] * scale, float(expected.statistic), rtol=1e-9)
    assert said["pvalue"] < 0.01
    assert found["pvalue_adjusted"].between(found["pvalue"], 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_slices_that_repeat_the_same_judgements_cost_nothing(name):
    rows, statistic = judged(shared=True), getattr(aa, name)
    once = rows[rows["topic"] == "art"]
    alone = aa.compare(once, adjust="max-t") if name == "compare" else statistic(once)
    found = statistic(rows, by="topic")
    first = found[found["topic"] == "art"].drop(columns="topic").reset_index(drop=True)
    columns = [c for c in ("ci_low", "ci_high", "simultaneous_low", "simultaneous_high") if c in first]
    np.testing.assert_allclose(first[columns], alone[columns], atol=0.012)
    assert "no variation" in found.attrs["slices"]["note"]


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_that_says_nothing_is_undefined_with_its_reason(name):
    rows = judged()
    rows.loc[(rows["model"] == "m2") & (rows["topic"] == "code"), "outcome"] = np.nan
    warns = (
        pytest.warns(aa.UndefinedWarning, match="code/")
        if name != "rank_sets"
        else pytest.MonkeyPatch.context()
    )
    with warns:
        found = getattr(aa, name)(rows, by="topic", n_resamples=99)
    lost = found[found["reason"] == "nothing_judged"]
    assert set(lost["topic"]) == {"code"}
    value = "rank" if name == "rank_sets" else "difference"
    assert lost[value].isna().all()
    assert len(lost) == (1 if name == "rank_sets" else 2)
    assert len(found) == 9
    assert lost["note"].str.endswith("no usable judgement in this slice").all()


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_cut_by_is_one_clear_error(name):
    statistic, rows = getattr(aa, name), judged(n=30)
    with pytest.raises(AnnotationError, match="expected a column 'subject'"):
        statistic(rows, by="subject")
    with pytest.raises(ValueError, match="by: found 'model', which is a column of the result"):
        statistic(rows, by=["topic", "model"])
    with pytest.raises(AnnotationError, match="one reference in each group"):
        statistic(rows.assign(reference=np.where(rows.index < 10, "a", "b")), by="topic")


@pytest.mark.slow
def test_several_columns_and_judges_as_slices():
    rows = judged(n=120)
    rows["turn"] = 1 + (rows["instruction_id"].str[1:].astype(int) // 3) % 2
    found = aa.compare(rows, "m0", "m2", by=["topic", "turn"])
    assert found[["topic", "turn"]].drop_duplicates().shape == (6, 2)
    judges = pd.concat([rows, rows.assign(annotator="k", outcome=1 - rows["outcome"])])
    found = aa.compare(judges, "m0", "m2", by="annotator")
    np.testing.assert_allclose(found["difference"].sum(), 0, atol=1e-12)
    np.testing.assert_allclose(found.attrs["slices"]["df"], (1, 119))  # the same instructions: a paired test


@pytest.mark.slow
def test_counts_without_instructions_have_slices_too():
    counts = pd.DataFrame({"model": ["a", "b"] * 2, "n_wins": [60, 50, 30, 45], "n_losses": [40, 50, 70, 55]})
    parts = [
        aa.from_counts(part.assign(n_draws=0)).assign(topic=name)
        for name, part in zip(["x", "y"], (counts[:2], counts[2:]), strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    found = aa.compare(table, "a", "b", by="topic")
    np.testing.assert_allclose(found["difference"], [0.1, -0.15])
    np.testing.assert_allclose(
        found["standard_error"],
        [np.hypot(*np.sqrt([0.24 / 99, 0.25 / 99])), np.hypot(*np.sqrt([0.21 / 99, 0.2475 / 99]))],
    )
    z2 = 0.25**2 / (found["standard_error"] ** 2).sum()
    np.testing.assert_allclose(found.attrs["slices"]["statistic"], z2)
    ranks = aa.rank_sets(table, by="topic")
    assert ranks["model"].tolist() == ["a", "b", "b", "a"]


@pytest.mark.simulation
def test_intervals_hold_at_once_and_equality_is_kept_where_slices_share_instructions():
    """Each instruction judged anew in two topics, and half of them in a third."""
    rng, covered, rejected = np.random.default_rng(7), [], []
    size, n, gap = data_sets(1200), 120, 0.2
    truth = stats.norm.cdf(gap / np.sqrt(2)) - 0.5
    for seed in range(size):
        effect, parts = rng.normal(size=(n, 1)), []
        for k, (name, m) in enumerate((("a", n), ("b", n), ("c", n // 2))):
            outcome = ((effect[:m] + rng.normal(size=(m, 2)) + [gap, 0]) > 0).astype(float)
            parts.append(side_by_side(outcome).assign(topic=name, reference="r", annotator="j", repeat=k))
        found = aa.compare(pd.concat(parts), "m0", "m1", by="topic", n_resamples=499, rng=seed)
        covered.append(((found["ci_low"] <= truth) & (found["ci_high"] >= truth)).all())
        rejected.append(found.attrs["slices"]["pvalue"] < 0.05)
    noise = 3 * np.sqrt(0.05 * 0.95 / size)
    assert abs(np.mean(covered) - 0.95) < noise
    assert np.mean(rejected) < 0.05 + noise
