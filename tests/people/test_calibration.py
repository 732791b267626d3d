"""Human win rates from a judge and a few labels: ppi-python as oracle, clusters, coverage, planning."""

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets, said
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from alpaca_analysis import (
    AnnotationError,
    calibrated_win_rate,
    from_patterns,
    label_budget,
    read_annotations,
)
from alpaca_analysis.foundations.errors import UndefinedWarning


def rows(outcomes, annotator, ids=None, **columns):
    """Return judgements of one annotator, told apart by ``repeat``."""
    ids = np.asarray(np.arange(len(outcomes)) if ids is None else ids).astype(str)
    return said(outcomes, annotator, ids=ids, **{"repeat": np.arange(len(outcomes)), **columns})


def simulate(rng, n, labelled, pairs_each=1, accuracy=0.8, rate=0.6, luck=1.5):
    """Return judge and labels; pairs of one instruction share a luck, a tenth of both are draws."""
    ids = np.repeat(np.arange(n // pairs_each), pairs_each)
    shared = rng.normal(0, luck if pairs_each > 1 else 0, n // pairs_each)[ids]
    people = (rng.logistic(np.log(rate / (1 - rate)) + shared) > 0).astype(float)
    judge = np.where(rng.random(n) < accuracy, people, 1 - people)
    people[rng.random(n) < 0.1] = 0.5
    judge[rng.random(n) < 0.1] = 0.5
    with_label = ids < labelled // pairs_each
    return rows(judge, "judge", ids), rows(people, "p", ids)[with_label], people


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.slow
def test_equals_ppi_python_at_fixed_lambda(lam):
    """With as many labelled as unlabelled pairs its variance differs by n / (n - 1) only."""
    ppi = pytest.importorskip("ppi_py")
    judge, labels, _ = simulate(np.random.default_rng(0), 300, 150)
    y, f = labels["outcome"].to_numpy(), judge["outcome"].to_numpy()
    found = calibrated_win_rate(judge, labels, weight=lam).loc[0]
    point = ppi.ppi_mean_pointestimate(y, f[:150], f[150:], lam=lam)
    assert_allclose(found["win_rate"], point.item())
    low, high = (b.item() for b in ppi.ppi_mean_ci(y, f[:150], f[150:], alpha=0.05, lam=lam))
    theirs = (high - low) / 2 / 1.959963984540054
    assert_allclose(found["standard_error"], theirs * np.sqrt(150 / 149))
    assert found["weight"] == lam


def test_tuned_lambda_is_near_ppi_pythons():
    ppi = pytest.importorskip("ppi_py")
    judge, labels, _ = simulate(np.random.default_rng(1), 4000, 1000)
    y, f = labels["outcome"].to_numpy(), judge["outcome"].to_numpy()
    found = calibrated_win_rate(judge, labels).loc[0]
    low, high = (b.item() for b in ppi.ppi_mean_ci(y, f[:1000], f[1000:], alpha=0.05))
    assert_allclose(found["win_rate"], (low + high) / 2, atol=5e-4)
    assert_allclose([found["ci_low"], found["ci_high"]], [low, high], atol=5e-4)


@pytest.mark.slow
def test_least_variance_beats_both_ends():
    judge, labels, _ = simulate(np.random.default_rng(2), 900, 200)
    errors = {w: calibrated_win_rate(judge, labels, weight=w).loc[0, "standard_error"] for w in (0.0, 1.0)}
    best = calibrated_win_rate(judge, labels).loc[0]
    assert best["standard_error"] < min(errors.values())
    grid = [
        calibrated_win_rate(judge, labels, weight=w).loc[0, "standard_error"]
        for w in np.clip(best["weight"] + np.array([-0.02, 0.02]), 0, 1)
    ]
    assert best["standard_error"] < min(grid)
    assert_allclose(errors[0.0], labels["outcome"].sem())
    assert_allclose(best["human_standard_error"], labels["outcome"].sem())
    assert_allclose(best["judge_win_rate"], judge["outcome"].mean())


def test_a_useless_judge_is_ignored():
    rng = np.random.default_rng(3)
    judge, labels, _ = simulate(rng, 1000, 200)
    noise = judge.assign(outcome=rng.integers(0, 2, 1000).astype(float))
    found = calibrated_win_rate(noise, labels).loc[0]
    assert found["weight"] < 0.15
    assert_allclose(found["standard_error"], found["human_standard_error"], rtol=0.02)
    opposite = calibrated_win_rate(judge.assign(outcome=1 - judge["outcome"]), labels).loc[0]
    assert opposite["weight"] == 0
    assert_allclose(opposite["win_rate"], labels["outcome"].mean())


def test_flipped_labels_and_missing_verdicts():
    judge, labels, _ = simulate(np.random.default_rng(4), 400, 100)
    plain = calibrated_win_rate(judge, labels)
    flipped = labels.assign(model="r", reference="m", outcome=1 - labels["outcome"])
    pd.testing.assert_frame_equal(plain, calibrated_win_rate(judge, flipped))
    holes = judge.assign(outcome=judge["outcome"].where(judge["repeat"] >= 10))
    found = calibrated_win_rate(holes, labels).loc[0]
    assert found[["n_labelled", "n_judged", "n_unjudged"]].tolist() == [90, 390, 10]


def test_all_labelled_is_the_human_win_rate():
    judge, labels, _ = simulate(np.random.default_rng(5), 120, 120)
    found = calibrated_win_rate(judge, labels).loc[0]
    assert_allclose(found["win_rate"], labels["outcome"].mean())
    assert_allclose(found["standard_error"], labels["outcome"].sem())
    assert "judge adds nothing" in found["note"]


@pytest.mark.slow
def test_undefined_and_malformed():
    judge, labels, _ = simulate(np.random.default_rng(6), 50, 20)
    with pytest.warns(UndefinedWarning, match="fewer than two instructions"):
        one = calibrated_win_rate(judge, labels.head(1)).loc[0]
    assert np.isnan(one["standard_error"])
    with pytest.raises(AnnotationError, match="one judge"):
        calibrated_win_rate(pd.concat([judge, judge.assign(annotator="other")]), labels, by="annotator")
    with pytest.raises(AnnotationError, match="pairs judged in both"):
        calibrated_win_rate(judge, labels.assign(model="z"))
    with pytest.raises(ValueError, match="weight"):
        calibrated_win_rate(judge, labels, weight=2)
    with pytest.raises(AnnotationError, match="from 1 to 50 labels"):
        label_budget(judge, labels, n_labels=[60])


@pytest.mark.slow
def test_budget_predicts_the_error_that_more_labels_give():
    rng = np.random.default_rng(7)
    judge, labels, people = simulate(rng, 20_000, 20_000)
    plan = label_budget(judge, labels.head(4000), n_labels=[500, 2000, 20_000]).set_index("n_labels")
    for n in (500, 2000):
        found = calibrated_win_rate(judge, labels.head(n)).loc[0]
        assert_allclose(plan.loc[n, "standard_error"], found["standard_error"], rtol=0.06)
        assert_allclose(plan.loc[n, "human_standard_error"], found["human_standard_error"], rtol=0.06)
    assert_allclose(plan.loc[20_000, "standard_error"], plan.loc[20_000, "human_standard_error"])
    assert_allclose(plan.loc[20_000, "human_standard_error"], people.std(ddof=1) / np.sqrt(20_000), rtol=0.05)
    assert (plan["equivalent_labels"] >= plan.index - 1e-6).all()


@pytest.mark.rows
@pytest.mark.slow
def test_pandalm_pairs_of_models(mirror):
    """Labels of 60 instructions and a judge for all 170: near what all people said."""
    table = read_annotations(mirror / "pandalm")
    human = table["annotator"].astype(str).str.startswith("human")
    judge, humans = table[table["annotator"] == "gpt-3.5-turbo"], table[human]
    some = np.random.default_rng(0).choice(table["instruction_id"].unique(), 60, replace=False)
    found = calibrated_win_rate(judge, humans[humans["instruction_id"].isin(some)], by=["model", "reference"])
    assert len(found) == 10
    truth = humans.groupby(["model", "reference"], observed=True)["outcome"].mean()
    apart = [abs(r.win_rate - truth[r.model, r.reference]) / r.standard_error for r in found.itertuples()]
    assert np.sqrt(np.mean(np.square(apart))) < 2
    assert (found["n_labelled"] < found["n_judged"]).all()


# Groups that must not vanish ------------------------------------------------------------------------


def three_models(seed=0):
    rng = np.random.default_rng(seed)
    parts = [rows(rng.integers(0, 2, 60), "judge").assign(model=m, n=1) for m in ("m1", "m2", "m3")]
    table = pd.concat(parts, ignore_index=True).drop(columns="repeat")
    labels = table.assign(annotator="p", outcome=np.where(rng.random(180) < 0.8, table["outcome"], 0.5))
    return table, labels[labels["instruction_id"].astype(int) < 20]


def test_a_model_without_labels_stays():
    table, labels = three_models()
    labels = labels[labels["model"] != "m3"]
    with pytest.warns(UndefinedWarning, match="m3: undefined: no judged pair with a label"):
        found = calibrated_win_rate(table, labels)
    assert sorted(found["model"]) == ["m1", "m2", "m3"]
    last = found.iloc[2]
    assert last["model"] == "m3"
    assert last[["win_rate", "standard_error", "ci_low", "ci_high", "human_win_rate"]].isna().all()
    assert_allclose(last["judge_win_rate"], table.loc[table["model"] == "m3", "outcome"].mean())
    assert last[["n_labelled", "n_judged"]].tolist() == [0, 60]
    with pytest.warns(UndefinedWarning, match="m3"):
        plan = label_budget(table, labels, n_labels=[20]).set_index("model")
    assert np.isnan(plan.loc["m3", "half_width"])
    assert (plan["half_width"].isna() == (plan["note"] != "")).all()


def test_both_sides_of_a_pair_are_groups_of_their_own():
    """A against B and B against A on the same instructions, judged apart: as if each were alone."""
    rng = np.random.default_rng(1)
    there = rows(rng.integers(0, 2, 60), "judge").assign(model="A", reference="B")
    back = there.assign(model="B", reference="A", outcome=rng.integers(0, 2, 60).astype(float))
    labels = rows(rng.integers(0, 2, 30), "p").assign(model="A", reference="B")
    by = ["model", "reference"]
    alone = pd.concat([calibrated_win_rate(side, labels, by=by) for side in (there, back)]).set_index("model")
    for table in (pd.concat([there, back]), pd.concat([back, there[::-1]])):
        found = calibrated_win_rate(table, labels, by=by).set_index("model")
        pd.testing.assert_frame_equal(found.sort_index(), alone, check_exact=False)
    assert alone["n_judged"].tolist() == [60, 60]
    assert_allclose(alone.loc["B", "human_win_rate"], 1 - labels["outcome"].mean())
    assert sorted(label_budget(table, labels, by=by)["model"].unique()) == ["A", "B"]


def test_a_pair_shown_in_both_orders_is_in_both_groups():
    table, labels = three_models()
    one = table[table["model"] == "m1"]
    both = pd.concat([one.assign(position=1), one.assign(position=2, outcome=1 - one["outcome"])])
    found = calibrated_win_rate(both, labels, by="position").set_index("position")
    assert_allclose(found.loc[1, "judge_win_rate"], one["outcome"].mean())
    assert_allclose(found["judge_win_rate"].sum(), 1)


def test_a_pilot_that_cannot_say_gives_no_plan():
    table, labels = three_models()
    table = table[table["model"] == "m1"]
    for pilot, note in (
        (labels[labels["model"] == "m1"].head(10).assign(outcome=1.0), "all labels are equal"),
        (labels.head(1), "fewer than two instructions"),
    ):
        with pytest.warns(UndefinedWarning, match=note):
            plan = label_budget(table, pilot, n_labels=[20, 50])
        widths = ["standard_error", "half_width", "human_half_width", "equivalent_labels", "correlation"]
        assert plan[widths].isna().all(axis=None)


def test_a_judge_that_contradicts_people_or_never_varies_is_no_help():
    judge, labels, _ = simulate(np.random.default_rng(2), 400, 100)
    for outcome, note in ((1 - judge["outcome"], "contradicts"), (1.0, "says the same")):
        plan = label_budget(judge.assign(outcome=outcome), labels, n_labels=[100])
        assert_allclose(plan["half_width"], plan["human_half_width"])
        assert_allclose(plan["equivalent_labels"], 100)
        assert note in plan.loc[0, "note"]


def test_counts_are_pairs_and_settings_are_stated():
    frame = pd.DataFrame({"p": [1, 0, np.nan, np.nan], "judge": [1.0, 1, 0, 1], "n": [20, 10, 40, 30]})
    table = from_patterns(frame)
    judge, labels = (table[table["annotator"] == who] for who in ("judge", "p"))
    found = calibrated_win_rate(judge, labels)
    assert found.loc[0, ["n_labelled", "n_judged"]].tolist() == [30, 100]
    assert_allclose(found.loc[0, "human_win_rate"], 2 / 3)
    for result in (found, label_budget(judge, labels)):
        assert result.attrs["unit"] == "pair (no instruction ids)"
        assert {"method", "confidence_level", "n_resamples", "rng"} <= set(result.attrs)


def labelled(losses, n=80, judged=400):
    """Return a judge who is right four times of five, and labels of n pairs with so many losses."""
    truth = np.where(np.arange(judged) % n < losses, 0.0, 1.0)
    said = np.where(np.arange(judged) % 5, truth, 1 - truth)
    base = pd.DataFrame({"instruction_id": np.arange(judged).astype(str), "model": "m", "reference": "r"})
    return base.assign(annotator="judge", outcome=said), base.assign(annotator="p", outcome=truth).head(n)


def test_interval_says_that_labels_are_nearly_of_one_kind():
    assert "approximate" in calibrated_win_rate(*labelled(3)).loc[0, "note"]
    assert calibrated_win_rate(*labelled(30)).loc[0, "note"] == ""
    note = calibrated_win_rate(*labelled(4), weight=1.0).loc[0, "note"]
    assert note == "interval approximate: about 4 labels of the rarer kind"
    assert calibrated_win_rate(*labelled(5), weight=1.0).loc[0, "note"] == ""
    alone = calibrated_win_rate(*labelled(3, judged=80)).loc[0, "note"]
    assert alone.startswith(
        "every judged pair has a label: the judge adds nothing; interval approximate: driven by"
    )


# Clusters of unequal size, and labels drawn with unequal probabilities ------------------------------


def unequal(seed=0, labelled=25, n=80):
    """Return a judge and labels of instructions with 1 to 12 pairs each."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(n), np.resize([1, 1, 2, 1, 12, 3], n))
    people = (rng.logistic(0.5 + rng.normal(0, 1, n)[ids]) > 0).astype(float)
    judge = np.where(rng.random(len(ids)) < 0.8, people, 1 - people)
    return rows(judge, "judge", ids), rows(people, "p", ids)[ids < labelled]


def without_each(judge, labels, lam):
    """Return the estimate without each instruction, in pandas."""
    out = {}
    for left in judge["instruction_id"].unique():
        j, y = (x[x["instruction_id"] != left] for x in (judge, labels))
        seen = j["repeat"].isin(labels["repeat"])
        out[left] = lam * j.loc[~seen, "outcome"].mean()
        out[left] += (y["outcome"] - lam * j.loc[seen, "outcome"].to_numpy()).mean()
    return pd.Series(out)


@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_unequal_clusters_have_the_jackknife_error_and_fewer_degrees_of_freedom(lam):
    judge, labels = unequal()
    found = calibrated_win_rate(judge, labels, weight=lam, on=["repeat"]).loc[0]
    apart = without_each(judge, labels, lam) - found["win_rate"]
    inside = apart.index.isin(labels["instruction_id"])
    variance = sum((k.sum() - 1) / k.sum() * (apart[k] ** 2).sum() for k in (inside, ~inside))
    assert_allclose(found["standard_error"], np.sqrt(variance))
    sizes = labels.groupby("instruction_id").size()
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    half = stats.t.ppf(0.975, effective - 1) * found["standard_error"]
    logit = np.log(found["win_rate"] / (1 - found["win_rate"]))
    half = half / (found["win_rate"] * (1 - found["win_rate"]))
    ends = [1 / (1 + np.exp(-(logit + side * half))) for side in (-1, 1)]
    assert_allclose([found["ci_low"], found["ci_high"]], ends)
    assert (
        found["note"]
        == f"interval approximate: 25 units of unequal size, worth about {effective:.0f} equal ones"
    )


def test_labels_all_alike_have_the_exact_interval():
    judge, labels = labelled(0, n=40)
    found = calibrated_win_rate(judge, labels).loc[0]
    assert found[["win_rate", "standard_error", "ci_high", "reason"]].tolist() == [1, 0, 1, "all_alike"]
    assert_allclose(found["ci_low"], 0.025 ** (1 / 40))
    near = calibrated_win_rate(*labelled(1, n=40)).loc[0]
    assert near["ci_low"] <= found["ci_low"]
    with pytest.warns(UndefinedWarning, match="all outcomes are equal"):
        draws = calibrated_win_rate(judge, labels.assign(outcome=0.5)).loc[0]
    assert np.isnan(draws["ci_low"])


def drawn_by_stratum(rng, n=400, each=60):
    """Return a judge, and labels of as many easy as hard pairs, though five of six are easy."""
    hard = np.arange(n) % 6 == 0
    people = (rng.random(n) < np.where(hard, 0.3, 0.9)).astype(float)
    judge = np.where(rng.random(n) < 0.8, people, 1 - people)
    probability = np.where(hard, each / hard.sum(), each / (~hard).sum())
    chosen = np.sort(np.concatenate([rng.choice(np.flatnonzero(s), each, False) for s in (hard, ~hard)]))
    labels = rows(people, "p").assign(probability=probability)
    return rows(judge, "judge"), labels.iloc[chosen], people


def test_labels_weigh_the_inverse_of_their_probability():
    judge, labels, _ = drawn_by_stratum(np.random.default_rng(3))
    found = calibrated_win_rate(judge, labels, weight=0.5)
    y, f = labels["outcome"], judge["outcome"].to_numpy()[labels["repeat"]]
    residual = np.average(y - 0.5 * f, weights=1 / labels["probability"])
    assert_allclose(found.loc[0, "win_rate"], 0.5 * judge["outcome"].mean() + residual)
    assert "Hajek" in found.attrs["draw"]
    alone = calibrated_win_rate(judge, labels, weight=0.0).loc[0]
    design = DescrStatsW(y, 1 / labels["probability"])
    assert_allclose([alone["win_rate"], alone["human_win_rate"]], design.mean)
    linearised = np.sqrt(((y - design.mean) ** 2 / labels["probability"] ** 2).sum())
    linearised /= (1 / labels["probability"]).sum()
    assert_allclose(alone["standard_error"], linearised, rtol=0.02)


def test_a_plan_from_a_weighted_draw_is_for_such_a_draw():
    judge, labels, _ = drawn_by_stratum(np.random.default_rng(3))
    plan = label_budget(judge, labels, n_labels=[120]).loc[0]
    alone = calibrated_win_rate(judge, labels, weight=0.0).loc[0, "standard_error"]
    assert_allclose(plan["human_standard_error"], alone, rtol=0.03)
    assert plan["reason"] == "weighted_draw"
    assert label_budget(judge, labels.drop(columns="probability")).loc[0, "note"] == ""


def test_equal_probabilities_change_nothing():
    judge, labels, _ = drawn_by_stratum(np.random.default_rng(3))
    plain = calibrated_win_rate(judge, labels.drop(columns="probability"))
    pd.testing.assert_frame_equal(plain, calibrated_win_rate(judge, labels.assign(probability=0.3)))
    shuffled = calibrated_win_rate(judge, labels.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, calibrated_win_rate(judge, labels))


def test_probabilities_that_are_none_are_refused():
    judge, labels, _ = drawn_by_stratum(np.random.default_rng(3))
    for value in (0, 1.5, np.nan, "often"):
        wrong = labels.astype({"probability": object})
        wrong.iloc[4, wrong.columns.get_loc("probability")] = value
        with pytest.raises(AnnotationError, match=r"humans, row 4, column 'probability': found .* at most 1"):
            calibrated_win_rate(judge, wrong)
    twice = pd.concat([labels, labels.assign(annotator="q", probability=0.5)])
    with pytest.raises(AnnotationError, match="one probability for each pair"):
        calibrated_win_rate(judge, twice, on=["repeat"])
    two_draws = labels.assign(draw=np.where(np.arange(len(labels)) < 9, "one", "two"))
    with pytest.raises(AnnotationError, match=r"column 'draw': found '2 draws', expected labels of one draw"):
        calibrated_win_rate(judge, two_draws)


@pytest.mark.simulation
@pytest.mark.timeout(900)
def test_weighted_draws_are_unbiased_and_cover():
    rng, true = np.random.default_rng(9), 0.9 * 5 / 6 + 0.3 / 6
    found = [calibrated_win_rate(*drawn_by_stratum(rng)[:2]).loc[0] for _ in range(data_sets(400))]
    rates = np.array([row["win_rate"] for row in found])
    assert abs(rates.mean() - true) < 4 * rates.std() / np.sqrt(len(rates)) + 0.002
    assert 0.925 <= np.mean([row["ci_low"] <= true <= row["ci_high"] for row in found]) <= 0.98


@pytest.mark.simulation
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("pairs_each", "accuracy"), [(1, 0.6), (4, 0.9)])
def test_coverage(pairs_each, accuracy):
    """New instructions each time; draws, and clusters of four pairs that share their luck."""
    rng, options = np.random.default_rng(8), {"pairs_each": pairs_each, "accuracy": accuracy}
    true = np.mean([simulate(rng, 40_000, 0, **options)[2].mean() for _ in range(30)])
    hits = []
    for _ in range(data_sets(400)):
        judge, labels, _ = simulate(rng, 800, 240, **options)
        found = calibrated_win_rate(judge, labels).loc[0]
        hits.append(found["ci_low"] <= true <= found["ci_high"])
    assert 0.95 - 4 * np.sqrt(0.05 * 0.95 / len(hits)) <= np.mean(hits) <= 0.99
