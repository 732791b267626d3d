"""A judge's response to length beside people's, on the same pairs."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from statsmodels.sandbox.regression.gmm import IV2SLS

import alpaca_analysis as aa


def simulate(rng, *, size=800, instructions=200, judges=None, humans=3, noise=0.0):
    """Draw pairs that people value by quality and length, their votes, and the votes of judges.

    A judge maps people's mean verdict p and the length difference x (standardised) to its chance of
    preferring the model; people flip their vote with chance `noise` on top.
    """
    x = rng.normal(size=size)
    p = np.clip(0.5 + 0.08 * x + 0.18 * rng.normal(size=size), 0, 1)
    pairs = pd.DataFrame(
        {
            "instruction_id": [f"i{k % instructions}" for k in range(size)],
            "repeat": np.arange(size),
            "model": "a",
            "reference": "b",
            "length_model": np.round(5000 + 300 * x),
            "length_reference": 5000,
        }
    )

    def votes(name, chance):
        return pairs.assign(annotator=name, outcome=(rng.random(size) < chance) * 1.0)

    seen = p * (1 - noise) + (1 - p) * noise
    people = [votes(f"human {k}", seen) for k in range(humans)]
    verdicts = [votes(name, judge(p, x)) for name, judge in (judges or {"judge": lambda p, x: p}).items()]
    return pd.concat(verdicts, ignore_index=True), pd.concat(people, ignore_index=True)


def row(result, annotator, quantity):
    return result[(result["annotator"] == annotator) & (result["quantity"] == quantity)].iloc[0]


@pytest.fixture(scope="module")
def pair():
    return simulate(np.random.default_rng(5), size=800, instructions=200)


def test_regressions_are_those_of_statsmodels(pair):
    judge, people = pair
    result = aa.bias_beyond_humans(judge, people, scale="log_ratio")
    x = np.log((judge["length_model"] + 1) / (judge["length_reference"] + 1)).to_numpy()
    y = judge["outcome"].to_numpy() - 0.5
    h = people["outcome"].to_numpy().reshape(3, -1).T - 0.5
    majority = np.sign(h.sum(axis=1)) / 2
    groups = pd.factorize(judge["instruction_id"])[0]
    factor = np.sqrt((groups.max() + 1) / groups.max())
    for quantity, response in {
        "slope": y,
        "beyond_one_human": y - h.mean(axis=1),
        "beyond_majority": y - majority,
    }.items():
        fit = sm.OLS(response, x).fit(
            cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
        )
        found = row(result, "judge", quantity)
        assert_allclose(found["estimate"], fit.params[0], rtol=1e-10)
        assert_allclose(found["standard_error"], fit.bse[0] * factor, rtol=1e-10)
    others = (h.sum(axis=1, keepdims=True) - h) / 2
    regressors = np.column_stack([np.repeat(x, 3), h.ravel()])
    instruments = np.column_stack([np.repeat(x, 3), others.ravel()])
    expected = IV2SLS(np.repeat(y, 3), regressors, instruments).fit().params[0]
    assert_allclose(row(result, "judge", "at_equal_preference")["estimate"], expected, rtol=1e-8)


@pytest.mark.slow
def test_error_with_an_instrument_is_that_of_a_bootstrap_over_instructions(pair):
    judge, people = pair
    x = np.log((judge["length_model"] + 1) / (judge["length_reference"] + 1)).to_numpy()
    y = judge["outcome"].to_numpy() - 0.5
    h = people["outcome"].to_numpy().reshape(3, -1).T - 0.5
    others = (h.sum(axis=1, keepdims=True) - h) / 2
    ids = pd.factorize(judge["instruction_id"])[0]
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(2000):
        w = np.bincount(rng.integers(ids.max() + 1, size=ids.max() + 1), minlength=ids.max() + 1)[ids]
        left = [[3 * (w * x * x).sum(), (w[:, None] * x[:, None] * h).sum()]]
        left.append([(w[:, None] * others * x[:, None]).sum(), (w[:, None] * others * h).sum()])
        right = [3 * (w * x * y).sum(), (w[:, None] * others * y[:, None]).sum()]
        estimates.append(np.linalg.solve(left, right)[0])
    found = row(aa.bias_beyond_humans(judge, people, scale="log_ratio"), "judge", "at_equal_preference")
    spread = np.diff(np.quantile(estimates, [0.16, 0.84]))[0] / 2
    assert_allclose(found["standard_error"], spread, rtol=0.12)


def test_sides_and_row_order_do_not_matter(pair):
    judge, people = pair
    turned = people.rename(
        columns={
            "model": "reference",
            "reference": "model",
            "length_model": "length_reference",
            "length_reference": "length_model",
        }
    ).assign(outcome=1 - people["outcome"])
    shuffled = turned.sample(frac=1, random_state=1).reset_index(drop=True)
    one, two = (aa.bias_beyond_humans(judge, h) for h in (people, shuffled))
    pd.testing.assert_frame_equal(one, two, rtol=1e-9)


def test_anonymous_people_are_told_apart_by_repeat(pair):
    judge, people = pair
    keyed = [t.assign(idx=t["repeat"]).drop(columns="repeat") for t in (judge, people)]
    with_names = aa.bias_beyond_humans(
        *[t.assign(instruction_id=t["instruction_id"] + "/" + t["idx"].astype(str)) for t in keyed]
    )
    anonymous = keyed[1].assign(
        annotator="people",
        repeat=keyed[1]["annotator"].str[-1].astype(int),
        instruction_id=keyed[1]["instruction_id"] + "/" + keyed[1]["idx"].astype(str),
    )
    unkeyed = anonymous.drop(columns="idx")
    judge = keyed[0].assign(instruction_id=keyed[0]["instruction_id"] + "/" + keyed[0]["idx"].astype(str))
    result = aa.bias_beyond_humans(judge.drop(columns="idx"), unkeyed)
    assert_allclose(result["estimate"], with_names["estimate"], rtol=1e-10)


@pytest.fixture(scope="module")
def repeated():
    """Return mean and standard error of every estimate over 16 tables with three judges."""
    parts = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        judges = {
            "plain": lambda p, x: p,
            "decisive": lambda p, x: (p > 0.5) * 1.0,
            "biased": lambda p, x: 0.5 + 0.8 * (p - 0.5) + 0.1 * x,
        }
        tables, people = simulate(rng, judges=judges, humans=4, noise=0.12)
        result = aa.bias_beyond_humans(tables, people, scale="characters")
        parts.append(result.assign(estimate=result["estimate"] * 300))  # per unit of x
    every = pd.concat(parts).groupby(["annotator", "quantity"])["estimate"]
    return every.agg(["mean", "sem"])


@pytest.mark.slow
def test_an_unbiased_judge_has_no_bias_at_equal_preference(repeated):
    """Less noisy than people, it looks biased beside one of them, and is found unbiased."""
    gamma = repeated.loc[("plain", "at_equal_preference")]
    assert abs(gamma["mean"]) < 4 * gamma["sem"]
    beside_one = repeated.loc[("plain", "beyond_one_human")]
    assert beside_one["mean"] > 2 * beside_one["sem"]


def test_a_decisive_judge_has_none(repeated):
    """Always the likelier verdict: steeper than people, and for no other reason than its sureness."""
    gamma = repeated.loc[("decisive", "at_equal_preference")]
    assert abs(gamma["mean"]) < 4 * gamma["sem"]
    beside = repeated.loc[("decisive", "beyond_majority")]
    assert beside["mean"] > 4 * beside["sem"]


@pytest.mark.slow
def test_a_planted_bias_is_recovered(repeated):
    gamma = repeated.loc[("biased", "at_equal_preference")]
    assert abs(gamma["mean"] - 0.1) < 4 * gamma["sem"]
    assert gamma["mean"] > 4 * gamma["sem"]


@pytest.mark.parametrize("human", ["human 0", "human 1", "human 2"])
def test_humans_left_out_show_what_no_bias_looks_like(repeated, human):
    gamma = repeated.loc[(human, "at_equal_preference")]
    assert abs(gamma["mean"]) < 4 * gamma["sem"]
    assert gamma["sem"] < 0.04


def test_holding_the_majority_fixed_would_not_do():
    """Least squares on people's mean verdict finds a bias in an unbiased judge: it is too noisy."""
    found = []
    for seed in range(20):
        judge, people = simulate(np.random.default_rng(seed), noise=0.15)
        x = (judge["length_model"] - 5000).to_numpy() / 300
        h = people["outcome"].to_numpy().reshape(3, -1).mean(axis=0) - 0.5
        found.append(sm.OLS(judge["outcome"].to_numpy() - 0.5, np.column_stack([x, h])).fit().params[0])
    assert np.mean(found) > 4 * np.std(found, ddof=1) / np.sqrt(20)


def test_two_humans_leave_none_out_and_missing_votes_count_as_missing(pair):
    judge, people = pair
    two = people[people["annotator"] != "human 2"]
    result = aa.bias_beyond_humans(judge, two)
    assert result["kind"].unique().tolist() == ["judge"]
    gaps = people.assign(outcome=people["outcome"].where(np.arange(len(people)) % 7 > 0))
    result = aa.bias_beyond_humans(judge, gaps)
    votes = gaps.groupby("repeat")["outcome"].count()
    assert row(result, "judge", "slope")["n"] == (votes >= 2).sum()
    assert result["estimate"].notna().all()


def test_a_weak_instrument_is_said():
    """People who agree on nothing tell nothing about what they think on average."""
    judge, people = simulate(np.random.default_rng(1), size=100, instructions=50)
    coins = people.assign(outcome=np.random.default_rng(2).integers(0, 2, len(people)) * 1.0)
    result = aa.bias_beyond_humans(judge, coins)
    noted = result[result["note"].str.startswith("weak instrument")]
    assert set(noted["quantity"]) == {"at_equal_preference"}
    assert "judge" in set(noted["annotator"])
    fine = aa.bias_beyond_humans(*simulate(np.random.default_rng(1)))
    assert row(fine, "judge", "at_equal_preference")["note"] == ""


@pytest.mark.parametrize("instructions", [49, 50])
def test_few_instructions_are_said(instructions):
    judge, people = simulate(np.random.default_rng(1), size=200, instructions=instructions)
    notes = aa.bias_beyond_humans(judge, people)["note"]
    few = notes.str.contains("interval approximate: normal quantiles over 49 instructions")
    assert few.all() if instructions == 49 else not few.any()


def test_bad_input_is_named(pair):
    judge, people = pair
    with pytest.raises(aa.AnnotationError, match="pairs judged in both tables"):
        aa.bias_beyond_humans(judge.assign(model="c"), people)
    with pytest.raises(aa.AnnotationError, match="instruction ids"):
        aa.bias_beyond_humans(*(t.drop(columns="instruction_id") for t in pair))
    with pytest.raises(aa.AnnotationError, match="lengths of both outputs"):
        aa.bias_beyond_humans(*(t.drop(columns="length_model") for t in pair))


def test_a_judge_that_only_draws_has_a_slope_without_interval():
    judge, people = simulate(np.random.default_rng(1), size=200)
    result = aa.bias_beyond_humans(judge.assign(outcome=0.5), people).set_index(["annotator", "quantity"])
    row = result.loc[("judge", "slope")]
    assert row["estimate"] == 0
    assert row[["standard_error", "ci_low", "ci_high", "pvalue"]].isna().all()
    assert row["note"].startswith("interval undefined")
