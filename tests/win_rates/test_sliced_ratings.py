"""`bradley_terry(by=)`: each slice alone, contributions against statsmodels, all slices at once."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special

import alpaca_analysis as aa
from alpaca_analysis.win_rates.bradley_terry_fits import BattleUnits
from alpaca_analysis.win_rates.sliced_ratings import contributions

STRENGTH = {"a": 0.6, "b": 0.0, "c": -0.6}


def battles(n=400, *, shift=0.0, seed=0):
    """Return battles in two languages, in the second of which c is better by `shift`."""
    rng = np.random.default_rng(seed)
    pairs = np.array([["a", "b"], ["b", "c"], ["c", "a"]])[rng.integers(3, size=n)]
    language = np.array(["de", "en"])[np.arange(n) % 2]
    gap = np.array([[STRENGTH[m] for m in side] for side in pairs.T])
    gap += shift * (pairs.T == "c") * (language == "en")
    outcome = (rng.random(n) < special.expit(gap[0] - gap[1])).astype(float)
    names = {"instruction_id": [f"q{k}" for k in range(n)], "model": pairs[:, 0], "reference": pairs[:, 1]}
    return pd.DataFrame(names | {"annotator": "j", "outcome": outcome, "language": language})


@pytest.mark.parametrize("seed", range(12))
def test_contributions_are_those_of_a_clustered_regression(seed):
    rng = np.random.default_rng(seed)
    n, p = 300, 4
    first = rng.integers(p, size=n)
    second = (first + rng.integers(1, p, size=n)) % p
    unit, x, y = rng.integers(70, size=n), rng.normal(size=(n, 1)), rng.integers(3, size=n) / 2
    unit = np.unique(unit, return_inverse=True)[1]
    design = np.zeros((n, p))
    design[np.arange(n), first] += 1
    design[np.arange(n), second] -= 1
    full = np.hstack([design[:, :-1], x])  # the last model at 0
    cluster = {"groups": unit, "use_correction": False}
    fit = sm.GLM(y, full, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds=cluster)
    ratings = np.append(fit.params[:-1], 0.0)
    units = BattleUnits(first, second, y, np.ones(n), x, unit, None, False)
    share = contributions(units, ratings - ratings.mean(), fit.params[-1:])
    against_last = share[:, :-1] - share[:, -1:]
    np.testing.assert_allclose(against_last.T @ against_last, fit.cov_params()[:-1, :-1], rtol=1e-6)
    np.testing.assert_allclose(share.sum(axis=1), 0, atol=1e-12)


@pytest.mark.slow
def test_each_slice_is_rated_alone_and_intervals_hold_for_all():
    rows = battles(shift=1.5)
    found = aa.bradley_terry(rows, by="language", n_resamples=299)
    assert list(found) == ["de", "en"]
    frame = found.to_frame()
    assert frame.columns[:2].tolist() == ["language", "model"]
    for language, part in frame.groupby("language"):
        alone = aa.bradley_terry(rows[rows["language"] == language], n_resamples=299).to_frame()
        same = ["model", "rating", "n_battles", "rank"]
        pd.testing.assert_frame_equal(part[same].reset_index(drop=True), alone[same], check_exact=False)
        own = found[language].to_frame()
        np.testing.assert_allclose(own["standard_error"], part["standard_error"])
        assert (part["ci_high"] - part["ci_low"]).mean() > (own["ci_high"] - own["ci_low"]).mean()
        assert (part["simultaneous_high"] >= part["rank_high"]).all()
    said = found.equality
    assert said["pvalue"] < 0.001
    assert said["df"][0] == 2
    assert frame.attrs["slices"] is said
    assert repr(found) == f"2 slices by language: de, en\n{said['note']}"
    equal = aa.bradley_terry(battles(), by="language", n_resamples=299).equality
    assert equal["pvalue"] > 0.05


@pytest.mark.slow
def test_slices_of_the_same_instructions_are_compared_pair_by_pair():
    rows = battles(n=300)
    other = np.where(np.random.default_rng(2).random(300) < 0.1, 1 - rows["outcome"], rows["outcome"])
    judges = pd.concat([rows, rows.assign(annotator="k", outcome=other)])
    paired = aa.bradley_terry(judges, by="annotator", n_resamples=299).equality
    apart = judges.assign(instruction_id=judges["instruction_id"] + judges["annotator"])
    unpaired = aa.bradley_terry(apart, by="annotator", n_resamples=299).equality
    assert paired["statistic"] > 3 * unpaired["statistic"]


def test_a_slice_that_cannot_be_rated_says_why():
    rows = battles(n=200)
    lost = rows["language"] == "en"
    rows.loc[lost & (rows["model"].eq("c") | rows["reference"].eq("c")), "outcome"] = np.nan
    french = battles(n=2).assign(language="fr", outcome=1.0, instruction_id=["f1", "f2"])
    never = pd.concat([rows, french])
    with pytest.warns(aa.UndefinedWarning, match="en/c, fr/a, fr/b and 1 more: undefined: no battle"):
        found = aa.bradley_terry(never, by="language", n_resamples=99)
    assert list(found) == ["de", "en"]
    with pytest.raises(KeyError, match=r"fr.* is undefined: expected two or more models"):
        found["fr"]
    frame = found.to_frame()
    assert len(frame) == 9
    assert frame.loc[frame["language"] == "fr", "reason"].tolist() == ["undefined_slice"] * 3
    assert frame["rating"].isna().sum() == 4
    assert found.equality["n_labels"] == 2


@pytest.mark.slow
def test_covariates_and_counts_have_slices_too():
    rows = battles(n=300).assign(position=np.arange(300) // 2 % 2 + 1)
    found = aa.bradley_terry(rows, by="language", covariates=["position"], n_resamples=99)
    assert found["de"].coefficients["covariate"].tolist() == ["position"]
    counted = rows.groupby(["language", "model", "reference", "outcome"]).size().rename("n").reset_index()
    counts = aa.bradley_terry(counted.assign(annotator="j"), by="language", n_resamples=299)
    single = aa.bradley_terry(rows, by="language", n_resamples=299)
    np.testing.assert_allclose(counts.to_frame()["rating"], single.to_frame()["rating"], atol=1e-6)
    np.testing.assert_allclose(counts.equality["statistic"], single.equality["statistic"], rtol=0.3)
