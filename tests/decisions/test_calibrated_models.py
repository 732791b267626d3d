"""Models as people would compare and rank them: ppi-python as oracle, clusters, error rates among equals."""

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.multitest import multipletests

from alpaca_analysis import (
    AnnotationError,
    calibrated_rank_sets,
    calibrated_win_rate,
    compare_calibrated,
    rank_sets,
)
from alpaca_analysis.foundations.errors import UndefinedWarning

FEW = {"n_resamples": 499}


def judged(rates, n=200, labelled=60, *, seed=0, favour=0.0, model_labels=None):
    """Return a judge of several models on the same instructions, and people on the first of them.

    `favour` is how often the judge says of the last model that it wins, whatever it wrote.
    """
    rng = np.random.default_rng(seed)
    luck, parts = rng.normal(0, 1, n), []
    ids = np.array([f"i{k:04}" for k in range(n)])
    for k, rate in enumerate(rates):
        people = (rng.normal(stats.norm.ppf(rate) * np.sqrt(2), 1, n) + luck > 0).astype(float)
        judge = np.where(rng.random(n) < 0.85, people, 1 - people)
        if k == len(rates) - 1:
            judge = np.where(rng.random(n) < favour, 1.0, judge)
        base = pd.DataFrame({"instruction_id": ids, "model": f"m{k}", "reference": "r"})
        parts.append(base.assign(judge=judge, people=people))
    rows = pd.concat(parts, ignore_index=True)
    where = np.tile(np.arange(n) < labelled, len(rates)) if model_labels is None else model_labels(rows)
    judge = rows.assign(annotator="judge", outcome=rows["judge"])
    person = rows[where].assign(annotator="p", outcome=rows["people"])
    return judge.drop(columns=["judge", "people"]), person.drop(columns=["judge", "people"])


def wide(frame):
    return frame.pivot_table(index="instruction_id", columns="model", values="outcome")


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_equals_ppi_python_on_the_differences(lam):
    """With as many labelled as unlabelled instructions its variance differs by n / (n - 1) only."""
    ppi = pytest.importorskip("ppi_py")
    judge, people = judged([0.7, 0.5], 240, 120)
    f, y = (wide(x).eval("m0 - m1").to_numpy() for x in (judge, people))
    found = compare_calibrated(judge, people, "m0", "m1", weight=lam).loc[0]
    point = ppi.ppi_mean_pointestimate(y, f[:120], f[120:], lam=lam)
    assert_allclose(found["difference"], point.item())
    low, high = (end.item() for end in ppi.ppi_mean_ci(y, f[:120], f[120:], alpha=0.05, lam=lam))
    error = (high - low) / 2 / stats.norm.ppf(0.975) * np.sqrt(120 / 119)
    assert_allclose(found["standard_error"], error)
    half = stats.t.ppf(0.975, 119) * error
    ends = [found["difference"] - half, found["difference"] + half]
    assert_allclose([found["ci_low"], found["ci_high"]], ends)
    assert_allclose(found["pvalue"], 2 * stats.t.sf(abs(found["difference"]) / error, 119))
    assert found[["n_labelled", "n_shared", "weight"]].tolist() == [120, 120, lam]


def test_tuned_lambda_is_near_ppi_pythons():
    ppi = pytest.importorskip("ppi_py")
    judge, people = judged([0.7, 0.5], 4000, 1000, seed=1)
    f, y = (wide(x).eval("m0 - m1").to_numpy() for x in (judge, people))
    found = compare_calibrated(judge, people, "m0", "m1").loc[0]
    ends = [end.item() for end in ppi.ppi_mean_ci(y, f[:1000], f[1000:], alpha=0.05)]
    assert_allclose([found["ci_low"], found["ci_high"]], ends, atol=1e-3)
    assert found["standard_error"] < found["human_standard_error"]


def test_labels_of_different_instructions_are_not_paired():
    """Each model's own labelled instructions: the difference of what each has alone, errors added."""

    def half_each(rows):
        place = rows["instruction_id"].str[1:].astype(int)
        return np.where(rows["model"] == "m0", place < 60, (place >= 60) & (place < 120))

    judge, people = judged([0.7, 0.5], 200, model_labels=half_each)
    alone = calibrated_win_rate(judge, people, weight=0.0).set_index("model")
    found = compare_calibrated(judge, people, "m0", "m1", weight=0.0).loc[0]
    assert_allclose(found["difference"], alone.loc["m0", "win_rate"] - alone.loc["m1", "win_rate"])
    assert_allclose(found["standard_error"], np.hypot(*alone["standard_error"]))
    assert found[["n_labelled", "n_shared"]].tolist() == [120, 0]


def test_unequal_clusters_have_the_jackknife_error():
    judge, people = judged([0.7, 0.5], 120, 50, seed=3)
    cluster = np.minimum(np.arange(120) ** 2 // 60, 119) // 3
    for frame in (judge, people):
        place = frame["instruction_id"].str[1:].astype(int)
        frame["repeat"] = place
        frame["instruction_id"] = "c" + pd.Series(cluster[place], frame.index).astype(str)
    found = compare_calibrated(judge, people, "m0", "m1", weight=0.5, on=["repeat"]).loc[0]
    values = judge.pivot_table(index=["instruction_id", "repeat"], columns="model", values="outcome")
    said = people.pivot_table(index=["instruction_id", "repeat"], columns="model", values="outcome")
    f = values["m0"] - values["m1"]
    y = (said["m0"] - said["m1"]).reindex(f.index)
    names = f.index.get_level_values(0)

    def estimate(kept):
        seen = kept & y.notna()
        return (y[seen] - 0.5 * f[seen]).mean() + 0.5 * f[kept & y.isna()].mean()

    whole = estimate(np.ones(len(f), dtype=bool))
    apart = pd.Series({c: estimate(names != c) - whole for c in names.unique()})
    with_labels = apart.index.isin(names[y.notna()])
    variance = sum((k.sum() - 1) / k.sum() * (apart[k] ** 2).sum() for k in (with_labels, ~with_labels))
    assert_allclose([found["difference"], found["standard_error"]], [whole, np.sqrt(variance)])
    sizes = y.dropna().groupby(level=0).size()
    worth = sizes.sum() ** 2 / (sizes**2).sum()
    assert_allclose(found["pvalue"], 2 * stats.t.sf(abs(whole) / np.sqrt(variance), worth - 1))
    assert found["reason"] == "unequal_units"


def test_several_are_adjusted_and_the_better_model_stands_first():
    judge, people = judged([0.8, 0.4, 0.55], 300, 120, seed=2)
    every = compare_calibrated(judge, people)
    assert len(every) == 3
    assert (every["difference"] > 0).all()
    assert_allclose(every["pvalue_adjusted"], multipletests(every["pvalue"], method="holm")[1])
    one = compare_calibrated(judge, people, "m0", "m1", confidence_level=1 - 0.05 / 3).loc[0]
    same = every.set_index(["model_a", "model_b"]).loc[("m0", "m1")]
    assert_allclose([same["ci_low"], same["ci_high"]], [one["ci_low"], one["ci_high"]])
    baseline = compare_calibrated(judge, people, b="m1")
    assert baseline["model_a"].tolist() == ["m0", "m2"]
    assert compare_calibrated(judge, people, "m1")["model_b"].tolist() == ["m0", "m2"]
    turned = compare_calibrated(judge, people, "m1", "m0").loc[0]
    assert_allclose(turned["difference"], -one["difference"])


def test_verdicts_go_by_the_margin():
    judge, people = judged([0.6, 0.6], 3000, 1500, seed=5)
    found = compare_calibrated(judge, people, "m0", "m1", margin=0.1).loc[0]
    assert found["verdict"] == "equivalent"
    assert -0.1 < found["equivalence_low"] < found["equivalence_high"] < 0.1
    narrower = stats.t.ppf(0.95, 1499) / stats.t.ppf(0.975, 1499)
    width = found["ci_high"] - found["ci_low"]
    assert_allclose(found["equivalence_high"] - found["equivalence_low"], width * narrower)
    judge, people = judged([0.9, 0.4], seed=6)
    assert compare_calibrated(judge, people, "m0", "m1").loc[0, "verdict"] == "better"


def test_a_favoured_model_is_first_for_the_judge_only():
    judge, people = judged([0.75, 0.5, 0.5], 800, 250, favour=0.9, seed=8)
    ranks = calibrated_rank_sets(judge, people, **FEW).set_index("model")
    assert rank_sets(judge, **FEW).set_index("model").loc["m2", ["rank_low", "rank_high"]].tolist() == [1, 1]
    assert ranks.loc["m0", ["rank", "rank_low", "rank_high", "judge_rank"]].tolist() == [1, 1, 1, 2]
    assert ranks.loc["m2", ["rank_low", "rank_high", "judge_rank"]].tolist() == [2, 3, 1]
    alone = calibrated_win_rate(judge, people).set_index("model")
    for column in ("win_rate", "judge_win_rate"):
        assert_allclose(ranks[column], alone[column][ranks.index])
    shuffled = calibrated_rank_sets(judge.sample(frac=1, random_state=0), people[::-1], **FEW)
    pd.testing.assert_frame_equal(shuffled.set_index("model"), ranks)


def test_the_joint_law_has_the_errors_of_the_differences():
    """With each lambda 0 the law is that of people's paired differences; a set of two is their t-test."""
    judge, people = judged([0.62, 0.5], 150, 80, seed=11)
    difference = wide(people).eval("m0 - m1")
    test = stats.ttest_1samp(difference, 0)
    found = compare_calibrated(judge, people, "m0", "m1", weight=0.0).loc[0]
    assert_allclose([found["standard_error"], found["pvalue"]], [difference.sem(), test.pvalue])
    useless = judge.assign(outcome=1.0)
    for level in (1 - 1.3 * test.pvalue, 1 - 0.7 * test.pvalue):
        ranks = calibrated_rank_sets(useless, people, confidence_level=level, n_resamples=20_000)
        assert ranks.attrs["n_pairs_ordered"] == (level < 1 - test.pvalue)


def test_models_without_labels_are_refused_and_few_are_named():
    judge, people = judged([0.7, 0.5, 0.5])
    some = people[people["model"] != "m2"]
    for function in (compare_calibrated, calibrated_rank_sets):
        with pytest.raises(AnnotationError, match=r"none of 'm2'.*a judged pair with a label of each model"):
            function(judge, some)
        with pytest.raises(AnnotationError, match=r"two or more models|at least two models"):
            function(judge[judge["model"] == "m0"], people[people["model"] == "m0"])
    with pytest.raises(AnnotationError, match="m9"):
        compare_calibrated(judge, people, "m0", "m9")
    single = pd.concat([some, people[people["model"] == "m2"].head(1)])
    with pytest.warns(UndefinedWarning, match="m1/m2"):
        row = compare_calibrated(judge, single, "m1", "m2").loc[0]
    assert row["reason"] == "too_few_units"
    ranks = calibrated_rank_sets(judge, single, **FEW).set_index("model")
    assert ranks.loc["m2", ["rank_low", "rank_high", "reason"]].tolist() == [1, 3, "untested"]
    high, labels = judged([0.97, 0.96], 200, 60, seed=12)
    assert calibrated_rank_sets(high, labels, **FEW)["reason"].str.contains("few").all()


@pytest.mark.simulation
@pytest.mark.timeout(900)
def test_equal_models_are_rarely_ordered_though_the_judge_favours_one():
    claimed, wrong = [], []
    for seed in range(data_sets(320)):
        judge, people = judged([0.6] * 4, 200, 50, favour=0.4, seed=seed)
        claimed.append(calibrated_rank_sets(judge, people, **FEW).attrs["n_pairs_ordered"] > 0)
        wrong.append(compare_calibrated(judge, people, "m3", "m0").loc[0, "pvalue"] < 0.05)
    assert max(np.mean(claimed), np.mean(wrong)) < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / len(claimed))
