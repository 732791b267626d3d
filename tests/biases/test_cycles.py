"""Cycles of preferences: published counts, a count by hand, statsmodels' interval, simulated coverage."""

import itertools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.stats.proportion import proportion_confint

import alpaca_analysis as aa
from alpaca_analysis.biases.cycles import clustered_proportion
from alpaca_analysis.foundations.errors import UndefinedWarning


def tournament(rng, n_instructions, models="abcd", draws=0.2):
    """Return a random tournament of models on each instruction, sides and rows in no order."""
    rows = [
        {"instruction_id": f"i{k}", "model": pair[0], "reference": pair[1], "outcome": outcome}
        for k in range(n_instructions)
        for pair in (rng.permutation(p) for p in itertools.combinations(models, 2))
        for outcome in [0.5 if rng.random() < draws else float(rng.random() < 0.5)]
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=1).assign(annotator="judge")


def by_hand(table):
    """Return triads without draws, cyclic ones and those with draws: every permutation looked up."""
    cyclic = strict = drawn = 0
    for _, rows in table.groupby("instruction_id"):
        won = {(r.model, r.reference): r.outcome for r in rows.itertuples()}
        won |= {(b, a): 1 - outcome for (a, b), outcome in won.items()}
        for triad in itertools.combinations(sorted({m for pair in won for m in pair}), 3):
            edges = [won.get((a, b)) for a, b in itertools.permutations(triad, 2)]
            if None in edges:
                continue
            if 0.5 in edges:
                drawn += 1
                continue
            strict += 1
            cyclic += sorted(sum(won[a, b] for b in triad if b != a) for a in triad) == [1, 1, 1]
    return strict, cyclic, drawn


@pytest.mark.rows
def test_pandalm(mirror):
    result = aa.cycles(aa.load("pandalm")).set_index("annotator")
    expected = {"gpt-3.5-turbo": (18, 415), "human_1": (4, 366), "human_2": (4, 336), "human_3": (1, 347)}
    for annotator, (cyclic, triads) in expected.items():
        assert result.loc[annotator, ["n_cyclic", "n_triads"]].tolist() == [cyclic, triads]
        assert result.loc[annotator, "ci_low"] < cyclic / triads < result.loc[annotator, "ci_high"]


@pytest.mark.parametrize("seed", range(3))
def test_counts_by_hand(seed):
    table = tournament(np.random.default_rng(seed), 30).iloc[7:]
    (row,) = aa.cycles(table).to_dict("records")
    assert (row["n_triads"], row["n_cyclic"], row["n_with_draws"]) == by_hand(table)


def test_independent_triads_have_the_exact_interval():
    table = tournament(np.random.default_rng(2), 60, models="abc", draws=0)
    (row,) = aa.cycles(table, confidence_level=0.9).to_dict("records")
    expected = proportion_confint(row["n_cyclic"], row["n_triads"], alpha=0.1, method="beta")
    assert_allclose([row["ci_low"], row["ci_high"]], expected)
    assert_allclose(clustered_proportion(0, 50, 0.0, 50), proportion_confint(0, 50, method="beta"))


def test_error_is_that_of_a_clustered_regression():
    import statsmodels.api as sm

    table = tournament(np.random.default_rng(5), 40, models="abcde", draws=0)
    (row,) = aa.cycles(table).to_dict("records")
    triads, cyclic, codes = [], [], []
    for code, (_, rows) in enumerate(table.groupby("instruction_id")):
        for triad in itertools.combinations("abcde", 3):
            strict, found, _ = by_hand(rows[rows["model"].isin(triad) & rows["reference"].isin(triad)])
            triads.append(strict)
            cyclic.append(found)
            codes.append(code)
    fit = sm.OLS(cyclic, np.ones(len(cyclic))).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    assert row["n_triads"] == sum(triads)
    assert_allclose(row["standard_error"], fit.bse[0] * np.sqrt(40 / 39))


def test_repeats_are_averaged_and_sides_do_not_matter():
    table = tournament(np.random.default_rng(8), 20, draws=0)
    twice = pd.concat(
        [table.assign(repeat=k) for k in range(2)]
        + [
            table.assign(
                repeat=2, model=table["reference"], reference=table["model"], outcome=table["outcome"]
            )
        ]
    )
    pd.testing.assert_frame_equal(aa.cycles(twice), aa.cycles(table))


def test_a_table_against_one_reference_has_none():
    table = pd.DataFrame(
        {"instruction_id": ["a", "a"], "model": ["x", "y"], "reference": "r", "outcome": 1.0}
    )
    with pytest.warns(UndefinedWarning, match="no instruction on which three models"):
        result = aa.cycles(table)
    assert result["reason"].tolist() == ["no_triads"]
    assert result["share"].isna().all()


@pytest.mark.slow
def test_interval_covers_near_0():
    """Cycles that come in clusters, 1 % of triads: the interval misses in at most 5 % of 2,000 samples."""
    rng = np.random.default_rng(4)
    missed, n = 0, 2000
    for _ in range(n):
        sizes = rng.integers(1, 5, 250)
        counts = np.where(rng.random(250) < 0.02, rng.binomial(sizes, 0.5), 0)
        share = counts.sum() / sizes.sum()
        influence = (counts - share * sizes) / sizes.sum()
        error = np.sqrt(250 / 249 * (influence**2).sum())
        low, high = clustered_proportion(int(counts.sum()), int(sizes.sum()), float(error), 250)
        missed += not low <= 0.01 <= high
    assert missed / n < 0.06
