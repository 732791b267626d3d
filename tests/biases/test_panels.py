"""Panels of judges: crowd-kit, pandas and planted truths as oracles."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from judgements import people, said
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning


def noisy(rng, n, skills, shared=0.0):
    """Return judges who name the better output with a chance each; some slips are everyone's."""
    truth = rng.random(n) < 0.5
    common = rng.random(n) < shared
    parts = []
    for k, skill in enumerate(skills):
        right = np.where(common, False, rng.random(n) < skill)
        parts.append(said(truth == right, f"j{k}"))
    return pd.concat(parts, ignore_index=True), truth


def crowdkit(table, n_iterations):
    """Return crowd-kit's fit after so many iterations; left alone it stops where a bound of its own falls."""
    module = pytest.importorskip("crowdkit.aggregation")
    rows = table.dropna(subset=["outcome"])
    task = rows["instruction_id"].astype(str)
    task = task + "/" + rows["repeat"].astype(str) if "repeat" in rows else task
    votes = pd.DataFrame({"task": task, "worker": rows["annotator"].astype(str), "label": rows["outcome"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about crowd-kit's calls
        return module.DawidSkene(n_iter=n_iterations, tol=-np.inf).fit(votes)


@pytest.mark.rows
def test_pandalm_has_the_published_fit(mirror):
    fit = aa.dawid_skene(aa.load("pandalm"))
    assert_allclose(fit.prior, [0.4761, 0.1051, 0.4188], atol=5e-5)
    assert round(fit.log_likelihood, 3) == -2935.525
    assert fit.converged


@pytest.mark.rows
def test_pandalm_against_crowdkit(mirror):
    table = aa.load("pandalm")
    oracle = crowdkit(table, 60)
    fit = aa.dawid_skene(table, tol=1e-11)
    assert_allclose(fit.prior, oracle.priors_.sort_index(), atol=1e-6)
    confusion = oracle.errors_.melt(ignore_index=False, var_name="truth", value_name="expected")
    confusion = confusion.rename_axis(["annotator", "said"]).set_index("truth", append=True)
    both = fit.confusion.join(confusion, on=["annotator", "said", "truth"])
    assert_allclose(both["probability"], both["expected"], atol=1e-5)
    posterior = oracle.probas_.sort_index(axis=1).to_numpy()
    for k, column in enumerate(("p_0", "p_half", "p_1")):
        assert_allclose(np.sort(fit.posterior[column]), np.sort(posterior[:, k]), atol=1e-6)
    panel = aa.panel(table, rule="dawid_skene")["outcome"]
    assert_allclose(np.sort(panel), np.sort(posterior @ [0, 0.5, 1]), atol=1e-3)  # at the tolerance of 1e-5


def test_random_votes_against_crowdkit():
    table, _ = noisy(np.random.default_rng(1), 300, [0.9, 0.8, 0.7, 0.6])
    table = table.sample(frac=0.8, random_state=0)
    oracle = crowdkit(table, 25)
    with pytest.warns(UserWarning, match="not converged after 25 iterations"):
        fit = aa.dawid_skene(table, tol=1e-12, max_iterations=25)
    p = fit.posterior.set_index("instruction_id")["p_1"]
    assert p.between(0.01, 0.99).sum() > 20
    assert_allclose(p, oracle.probas_[1.0].reindex(p.index), atol=1e-8)


def test_dawid_skene_finds_the_reliable_judge():
    table, truth = noisy(np.random.default_rng(3), 2000, [0.95, 0.75, 0.6, 0.65, 0.7])
    fit = aa.dawid_skene(table)
    right = fit.confusion.query("truth == said and truth != 0.5").groupby("annotator")["probability"].mean()
    assert_allclose(right, [0.95, 0.75, 0.6, 0.65, 0.7], atol=0.05)
    verdict = aa.panel(table, rule="dawid_skene").set_index("instruction_id")["outcome"] > 0.5
    truth = pd.Series(truth, [f"i{k:03}" for k in range(2000)])[verdict.index]
    majority = aa.panel(table, rule="majority").set_index("instruction_id")["outcome"] > 0.5
    right = [(said.to_numpy() == truth.reindex(said.index).to_numpy()).mean() for said in (verdict, majority)]
    assert right[0] > right[1] + 0.05


def test_mean_and_majority_against_pandas():
    rng = np.random.default_rng(5)
    votes = rng.choice([0, 0.5, 1, np.nan], size=(200, 5))
    votes[3] = np.nan
    table = people(*votes.T)
    wide = table.pivot(index="instruction_id", columns="annotator", values="outcome")
    mean = aa.panel(table).set_index("instruction_id")
    pd.testing.assert_series_equal(
        mean["outcome"], wide.mean(axis=1), check_names=False, check_index_type=False
    )
    assert mean["n_votes"].tolist() == wide.notna().sum(axis=1).tolist()
    assert set(mean["annotator"]) == {"panel"}
    modes = wide.mode(axis=1)
    expected = modes[0].where(modes.notna().sum(axis=1) <= 1, 0.5)
    majority = aa.panel(table, rule="majority").set_index("instruction_id")["outcome"]
    pd.testing.assert_series_equal(majority, expected, check_names=False, check_index_type=False)


def test_each_annotator_has_one_vote():
    """One who judged both orders counts once, and sides may be turned."""
    twice = said([1, 0], "x", ids=["a", "a"], position=[1, 2])
    turned = said([0], "y", ids=["a"], model="r", reference="m")
    (row,) = aa.panel(pd.concat([twice, turned])).to_dict("records")
    assert (row["model"], row["outcome"], row["n_votes"]) == ("m", 0.75, 2)
    assert "position" not in row


def test_a_panel_is_a_table_like_any_other():
    table, _ = noisy(np.random.default_rng(6), 100, [0.8, 0.7, 0.9])
    rate = aa.win_rate(aa.panel(table, rule="majority"), method="t")
    expected = table.pivot(index="instruction_id", columns="annotator", values="outcome").mean(axis=1) > 0.5
    assert_allclose([rate["win_rate"][0], rate["standard_error"][0]], [expected.mean(), expected.sem()])


def test_effective_number_against_pandas():
    table, truth = noisy(np.random.default_rng(7), 400, [0.9, 0.8, 0.7], shared=0.2)
    gold = said(truth, "gold")
    (row,) = aa.effective_judges(table, gold, n_resamples=999).to_dict("records")
    errors = (
        table.pivot(index="instruction_id", columns="annotator", values="outcome")
        .sub(gold.set_index("instruction_id")["outcome"], axis=0)
        .abs()
    )
    r = errors.corr().to_numpy()[np.triu_indices(3, 1)]
    assert_allclose(row["correlation"], r.mean())
    assert_allclose([row["lowest"], row["highest"]], [r.min(), r.max()])
    assert_allclose(row["effective"], 3 / (1 + 2 * r.mean()))
    assert row["ci_low"] < row["effective"] < row["ci_high"]
    assert row["n"] == 400


def test_copies_are_worth_one_judge_and_strangers_all():
    table, truth = noisy(np.random.default_rng(8), 3000, [0.8, 0.8, 0.8, 0.8])
    gold = said(truth, "gold")
    strangers = aa.effective_judges(table, gold, n_resamples=199)
    assert strangers["ci_low"][0] < 4 < strangers["ci_high"][0]
    one = table[table["annotator"] == "j0"]
    copies = pd.concat([one.assign(annotator=f"copy {k}") for k in range(4)])
    with pytest.warns(UndefinedWarning):
        found = aa.effective_judges(copies, gold, n_resamples=199)
    assert_allclose(found["effective"], 1)
    assert_allclose(found["standard_error"], 0, atol=1e-12)


def test_leaving_one_out_against_pandas():
    rng = np.random.default_rng(9)
    parts = [noisy(rng, 60, [0.9, 0.7, 0.6])[0].assign(model=f"m{k}") for k in range(4)]
    table = pd.concat(parts)
    result = aa.panel_without_each(table).set_index(["left_out", "model"])
    wide = table.pivot(index=["model", "instruction_id"], columns="annotator", values="outcome")
    for name in ("j0", "j1", "j2"):
        rest = wide.drop(columns=name).mean(axis=1)
        change = (rest - wide.mean(axis=1)).groupby("model")
        rows = result.loc[name].sort_index()
        assert_allclose(rows["difference"], change.mean(), atol=1e-15)
        assert_allclose(rows["standard_error"], change.sem())
        assert_allclose(
            rows["rank"], rest.groupby("model").mean().round(12).rank(ascending=False, method="min")
        )
        assert_allclose(
            rows["rank_all"],
            wide.mean(axis=1).groupby("model").mean().round(12).rank(ascending=False, method="min"),
        )


def test_leaving_one_out_error_is_clustered_by_instruction():
    table, _ = noisy(np.random.default_rng(10), 80, [0.9, 0.7, 0.6])
    number = table["instruction_id"].str[1:].astype(int)
    table = table.assign(instruction_id="i" + (number // 2).astype(str), repeat=number % 2)
    result = aa.panel_without_each(table, on=["repeat"]).query("left_out == 'j0'")
    wide = table.pivot(index=["instruction_id", "repeat"], columns="annotator", values="outcome")
    change = (wide.drop(columns="j0").mean(axis=1) - wide.mean(axis=1)).rename("change").reset_index()
    fit = smf.ols("change ~ 1", change).fit(
        cov_type="cluster",
        cov_kwds={"groups": pd.factorize(change["instruction_id"])[0], "use_correction": False},
    )
    assert_allclose(result["standard_error"], fit.bse["Intercept"] * np.sqrt(40 / 39))


@pytest.mark.parametrize("call", [aa.panel, aa.dawid_skene, aa.panel_without_each])
def test_one_annotator_is_no_panel(call):
    with pytest.raises(AnnotationError, match="found one: judge, expected judgements by two or more"):
        call(said([1, 0]))


def test_nothing_judged_is_refused():
    table, _ = noisy(np.random.default_rng(1), 10, [0.9, 0.8])
    with pytest.raises(AnnotationError, match="at least one usable judgement"):
        aa.dawid_skene(table.assign(outcome=np.nan))


def test_a_missing_reference_stays_missing():
    table, _ = noisy(np.random.default_rng(1), 10, [0.9, 0.8])
    assert aa.panel(table.drop(columns="reference"))["reference"].isna().all()


@pytest.mark.slow
def test_interval_of_the_effective_number_covers():
    """500 data sets of 300 pairs with a tenth of shared slips: the population value from two million."""
    rng = np.random.default_rng(2026)
    large, truth = noisy(rng, 400_000, [0.85, 0.8, 0.75], shared=0.1)
    errors = np.stack([(part["outcome"] - truth).abs() for _, part in large.groupby("annotator")])
    r = np.corrcoef(errors)[np.triu_indices(3, 1)].mean()
    target = 3 / (1 + 2 * r)
    hits = []
    for _ in range(500):
        table, truth = noisy(rng, 300, [0.85, 0.8, 0.75], shared=0.1)
        (row,) = aa.effective_judges(table, said(truth, "gold"), n_resamples=299).to_dict("records")
        hits.append(row["ci_low"] < target < row["ci_high"])
    assert 0.92 <= np.mean(hits) <= 0.98
