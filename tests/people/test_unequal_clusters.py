"""Agreement where instructions have unequal numbers of pairs: jackknife errors, G*, the logit scale."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit, logit

import alpaca_analysis as aa


def of_unequal_size(n=60, seed=4):
    """Return two judges and a person on instructions with 1 to 12 pairs each."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(n), np.resize([1, 1, 2, 1, 12, 3], n))
    right = rng.normal(1, 1, n)[ids]
    base = pd.DataFrame(
        {"instruction_id": ids.astype(str), "model": [f"m{k}" for k in range(len(ids))], "reference": "r"}
    )
    person = base.assign(annotator="p", outcome=rng.integers(0, 2, len(ids)).astype(float))
    judges = [
        base.assign(annotator=name, outcome=np.where(rng.logistic(right + shift) > 0, person["outcome"], 0.5))
        for name, shift in (("one", 0.0), ("two", 0.5))
    ]
    return pd.concat(judges, ignore_index=True), person


def scores_of(judges, person):
    """Return per judge whether it agrees with the person, by pair, and instructions."""
    wide = judges.pivot_table(index=["instruction_id", "model"], columns="annotator", values="outcome")
    said = person.set_index(["instruction_id", "model"])["outcome"].reindex(wide.index)
    return wide.eq(said, axis=0).astype(float)


def jackknifed(values, ids):
    """Return the CR3 error of a mean over rows by leaving each instruction out, and G*."""
    left = np.array([values[ids != i].mean() for i in np.unique(ids)])
    sizes = pd.Series(ids).value_counts()
    error = np.sqrt((len(left) - 1) / len(left) * ((left - values.mean()) ** 2).sum())
    return error, sizes.sum() ** 2 / (sizes**2).sum()


@pytest.mark.filterwarnings("ignore::alpaca_analysis.foundations.errors.UndefinedWarning")  # of people
def test_agreement_of_unequal_clusters_has_a_logit_interval_with_jackknife_error():
    judges, person = of_unequal_size()
    scores = scores_of(judges, person)
    found = aa.human_agreement(judges, person, method="t").set_index("annotator").loc["one"]
    error, worth = jackknifed(scores["one"].to_numpy(), scores.index.get_level_values(0).to_numpy())
    p = scores["one"].mean()
    half = stats.t.ppf(0.975, worth - 1) * error / (p * (1 - p))
    assert_allclose([found["ci_low"], found["ci_high"]], expit(logit(p) + np.array([-half, half])))
    assert found["ci_high"] < 1
    with_bca = aa.human_agreement(judges, person, n_resamples=99).set_index("annotator").loc["one", "note"]
    assert with_bca.endswith(f"worth about {worth:.0f} equal ones; method='t' covers better")


def test_comparison_of_unequal_clusters_is_the_t_test_with_jackknife_error():
    judges, person = of_unequal_size()
    scores = scores_of(judges, person)
    values = (scores["two"] - scores["one"]).to_numpy()
    error, worth = jackknifed(values, scores.index.get_level_values(0).to_numpy())
    for method in ("t", "bca"):
        found = aa.compare_agreement(judges, person, "two", "one", method=method, n_resamples=99).loc[0]
        assert_allclose([found["difference"], found["standard_error"]], [values.mean(), error])
        assert_allclose(found["pvalue"], 2 * stats.t.sf(abs(values.mean()) / error, worth - 1))
        assert "of unequal size" in found["note"]
    half = stats.t.ppf(0.975, worth - 1) * error
    ends = aa.compare_agreement(judges, person, "two", "one", method="t").loc[0, ["ci_low", "ci_high"]]
    assert_allclose(ends.astype(float), [values.mean() - half, values.mean() + half])
