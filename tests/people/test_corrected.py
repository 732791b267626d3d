"""Win rates corrected for the judge's errors: published values, counts and tables by hand, refusals, coverage."""

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets, said
from numpy.testing import assert_allclose
from scipy import stats

from alpaca_analysis import AnnotationError, confusion, rogan_gladen, rogan_gladen_win_rate
from alpaca_analysis.foundations.errors import UndefinedWarning

FEW = {"n_resamples": 199}


def test_published_values():
    """Sensitivity 78/80, specificity 30/40, 320 of 400 (the formula of Lee et al. 2025)."""
    found = rogan_gladen(320, 400, sensitivity=(78, 80), specificity=(30, 40)).loc[0]
    assert_allclose([found["win_rate"], found["standard_error"]], [0.75862, 0.04018], atol=5e-6)
    assert found[["judge_win_rate", "sensitivity", "specificity", "note"]].tolist() == [0.8, 0.975, 0.75, ""]


def test_a_perfect_judge_needs_no_correction():
    found = rogan_gladen(30, 40, sensitivity=(5000, 5000), specificity=(5000, 5000)).loc[0]
    assert found["win_rate"] == 0.75
    assert_allclose(found["standard_error"], np.sqrt(0.75 * 0.25 / 40))
    agresti_coull = stats.norm.ppf(0.975) ** 2
    p = (30 + agresti_coull / 2) / (40 + agresti_coull)
    half = np.sqrt(agresti_coull * p * (1 - p) / (40 + agresti_coull))
    assert_allclose([found["ci_low"], found["ci_high"]], [p - half, p + half], atol=2e-3)


@pytest.mark.parametrize("counts", [(320, 400, (78, 80), (30, 40)), (200, 400, (30, 40), (15, 20))], ids=str)
def test_ends_of_the_interval_are_just_not_rejected(counts):
    """At each end t the share p differs from t sens + (1 - t)(1 - spec) by z standard errors."""
    k, n, (k1, m1), (k0, m0) = counts
    found = rogan_gladen(k, n, sensitivity=(k1, m1), specificity=(k0, m0)).loc[0]
    z2 = stats.chi2.ppf(0.95, 1)
    p, sens, spec = (k + z2 / 2) / (n + z2), (k1 + 1) / (m1 + 2), (k0 + 1) / (m0 + 2)
    for t in found[["ci_low", "ci_high"]].astype(float):
        gap = p - t * sens - (1 - t) * (1 - spec)
        variance = p * (1 - p) / (n + z2) + t**2 * sens * (1 - sens) / (m1 + 2)
        variance += (1 - t) ** 2 * spec * (1 - spec) / (m0 + 2)
        assert_allclose(gap**2 / variance, z2)
    assert found["ci_low"] < found["win_rate"] < found["ci_high"]


def test_what_a_weak_judge_leaves_open_is_said():
    found = rogan_gladen(200, 400, sensitivity=(11, 20), specificity=(10, 20)).loc[0]
    assert found[["ci_low", "ci_high", "reason"]].tolist() == [0, 1, "weak_judge"]
    cut = rogan_gladen(380, 400, sensitivity=(36, 40), specificity=(36, 40)).loc[0]
    assert cut[["win_rate", "ci_high", "reason"]].tolist() == [1, 1, "cut"]
    assert cut["note"].startswith("106.2 % before it was cut")
    with pytest.warns(UndefinedWarning, match="no win rate explains the judge's verdicts"):
        strange = rogan_gladen(5, 4000, sensitivity=(360, 400), specificity=(300, 400)).loc[0]
    assert strange["win_rate"] == 0
    assert np.isnan(strange["ci_low"])


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ((401, 400, (78, 80), (30, 40)), "n_preferred: found 401, expected at most the 400"),
        (
            (320, 400, (30, 80), (20, 40)),
            r"sensitivity, specificity: found 0.375 \+ 0.5, expected a sum above 1",
        ),
        ((320, 400, (40, 80), (20, 40)), "no better than chance"),
        ((3.5, 400, (40, 80), (20, 40)), "n_preferred: found 3.5"),
    ],
)
def test_impossible_counts_are_refused(counts, match):
    with pytest.raises(ValueError, match=match):
        rogan_gladen(*counts[:2], sensitivity=counts[2], specificity=counts[3])


# From tables ----------------------------------------------------------------------------------------


def checked(n=300, labelled=120, seed=0, draws=0.0, **columns):
    """Return a judge's verdicts on n pairs, and people's on the first of them."""
    rng = np.random.default_rng(seed)
    people = rng.choice([0.0, 0.5, 1.0], n, p=[0.35 * (1 - draws), draws, 0.65 * (1 - draws)])
    judge = np.where(rng.random(n) < 0.8, people, rng.choice([0.0, 0.5, 1.0] if draws else [0.0, 1.0], n))
    return said(judge, **columns), said(people, "p", **columns).head(labelled)


def test_a_table_of_wins_and_losses_is_the_formula():
    judge, labels = checked()
    found = rogan_gladen_win_rate(judge, labels, **FEW)
    row = found.loc[0]
    f = judge["outcome"].to_numpy()
    y = labels["outcome"].to_numpy()
    sens, spec = f[:120][y == 1].mean(), 1 - f[:120][y == 0].mean()
    assert_allclose([row["sensitivity"], row["specificity"]], [sens, spec])
    assert_allclose(row["win_rate"], (f.mean() + spec - 1) / (sens + spec - 1))
    assert_allclose([row["judge_win_rate"], row["human_win_rate"]], [f.mean(), y.mean()])
    assert row["ci_low"] < row["win_rate"] < row["ci_high"]
    assert found.attrs["interval"] == "percentile"
    # Where calibration rows are apart, many, the error is that of the formula
    apart = rogan_gladen(
        int(f[120:].sum()),
        180,
        sensitivity=(int(f[:120][y == 1].sum()), int((y == 1).sum())),
        specificity=(int((1 - f[:120])[y == 0].sum()), int((y == 0).sum())),
    ).loc[0]
    assert 0.7 < row["standard_error"] / apart["standard_error"] < 1.1


def test_draws_go_by_the_three_by_three_table():
    judge, labels = checked(900, 400, draws=0.2)
    row = rogan_gladen_win_rate(judge, labels, **FEW).loc[0]
    counted = confusion(judge, labels).pivot_table(index="verdict", columns="majority", values="count")
    chances = counted / counted.sum()
    marginal = (
        judge["outcome"].map({0.0: "reference", 0.5: "draw", 1.0: "model"}).value_counts(normalize=True)
    )
    shares = pd.Series(np.linalg.solve(chances, marginal[chances.index]), chances.columns)
    assert_allclose(row["win_rate"], shares["model"] + shares["draw"] / 2)
    assert row["ci_low"] < row["win_rate"] < row["ci_high"]


def test_what_cannot_be_told_is_refused_with_a_reason():
    judge, labels = checked(draws=0.2)
    never = judge.assign(outcome=judge["outcome"].round())
    backwards = judge.assign(outcome=1 - judge["outcome"])
    no_draws, only_wins = labels[labels["outcome"] != 0.5], labels[labels["outcome"] == 1]
    for table, people, reason in (
        (never, labels, "no_draws"),
        (backwards, no_draws, "weak_judge"),
        (judge, only_wins, "one_kind_of_label"),
    ):
        with pytest.warns(UndefinedWarning, match="undefined"):
            row = rogan_gladen_win_rate(table, people, **FEW).loc[0]
        assert row["reason"] == reason
        assert np.isnan(row["win_rate"])
    with pytest.raises(AnnotationError, match="one judge"):
        rogan_gladen_win_rate(pd.concat([judge, judge.assign(annotator="k")]), labels, by="annotator")


def test_labels_of_other_models_are_used_only_if_asked_for_and_named():
    one, labels = checked(seed=1)
    other, more = checked(seed=2, model="other")
    table, people = pd.concat([one, other]), pd.concat([labels, more])
    alone = rogan_gladen_win_rate(table, labels, pooled=True, **FEW).set_index("model")
    note = "120 of 120 labels are of other groups: right only if the judge errs alike"
    assert alone.loc["other", "note"] == note
    assert alone.loc["m", "note"] == ""
    assert_allclose(alone.loc["other", "sensitivity"], alone.loc["m", "sensitivity"])
    with pytest.warns(UndefinedWarning, match="other: undefined: no judged pair with a label"):
        rogan_gladen_win_rate(table, labels, **FEW)
    together = rogan_gladen_win_rate(table, people, pooled=True, **FEW).set_index("model")
    assert together["note"].str.startswith("120 of 240 labels are of other groups").all()
    f, y = (pd.concat(x)["outcome"].to_numpy() for x in ((one.head(120), other.head(120)), (labels, more)))
    assert_allclose(together["sensitivity"], f[y == 1].mean())


def test_sides_seeds_and_order_of_rows():
    judge, labels = checked()
    found = rogan_gladen_win_rate(judge, labels, **FEW)
    flipped = labels.assign(model="r", reference="m", outcome=1 - labels["outcome"])
    mixed = judge.sample(frac=1, random_state=1), flipped.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(found, rogan_gladen_win_rate(*mixed, **FEW))
    other = judge.assign(model="r", reference="m", outcome=1 - judge["outcome"])
    assert_allclose(
        rogan_gladen_win_rate(other, labels, **FEW).loc[0, "win_rate"], 1 - found.loc[0, "win_rate"]
    )


def test_labels_weigh_the_inverse_of_their_probability():
    judge, labels = checked()
    labels = labels.assign(probability=np.where(np.arange(120) % 3, 0.2, 0.8))
    row = rogan_gladen_win_rate(judge, labels, **FEW).loc[0]
    won = (labels["outcome"] == 1).to_numpy()
    f = judge["outcome"].to_numpy()[:120]
    assert_allclose(row["sensitivity"], np.average(f[won], weights=1 / labels["probability"][won]))


@pytest.mark.simulation
@pytest.mark.parametrize(("sens", "spec", "theta"), [(0.975, 0.75, 0.8), (0.8, 0.8, 0.5), (0.65, 0.6, 0.8)])
def test_intervals_from_counts_cover(sens, spec, theta):
    rng, size = np.random.default_rng(4), data_sets(2000)
    p = theta * sens + (1 - theta) * (1 - spec)
    counts = zip(*(rng.binomial(n, q, size) for n, q in ((400, p), (80, sens), (40, spec))), strict=True)
    hits = []
    for k, k1, k0 in counts:
        if k1 / 80 + k0 / 40 > 1:
            row = rogan_gladen(int(k), 400, sensitivity=(int(k1), 80), specificity=(int(k0), 40)).loc[0]
            hits.append(row["ci_low"] <= theta <= row["ci_high"])
    assert len(hits) > 0.97 * size
    assert 0.93 <= np.mean(hits) <= 0.985
