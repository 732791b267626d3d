"""Coverage on less than ideal data: the bundled table, its script against the package, and again."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets

import alpaca_analysis as aa
from alpaca_analysis.sources import catalogue as sources

LOW, HIGH, NOISE = 0.935, 0.965, 3  # of coverage, and Monte-Carlo errors


@pytest.fixture(scope="module")
def bundled():
    return aa.load("coverage_designs")


@pytest.fixture(scope="module")
def script():
    folder = str(sources.data_folder() / "build")
    sys.path.insert(0, folder)
    yield importlib.import_module("coverage_designs")
    sys.path.remove(folder)


def test_every_design_is_there(bundled):
    assert (bundled["repetitions"] >= 2000).all()
    designs = bundled.groupby("statistic")["design"].nunique()
    assert designs.to_dict() == {
        "alternative_test": 2,
        "bias_beyond_humans": 4,
        "compare": 3,
        "krippendorff_alpha": 2,
        "rank_sets": 2,
        "win_rate": 6,
        "win_rate_bounds": 2,
    }
    assert set(bundled.loc[bundled["statistic"] == "win_rate", "win_rate"]) == {0.5, 0.8, 0.95}


def test_what_counts_unequal_instructions_covers_or_says_so(bundled):
    """Student's t of win rates and differences: within 1.5 points, wider, or with a note."""
    sizes = bundled[bundled["design"].str.startswith("sizes") & (bundled["method"] == "t")]
    assert len(sizes) == 27 + 9 + 18
    low = sizes[sizes["coverage"] < LOW - NOISE * sizes["monte_carlo_error"]]
    assert (low["noted"] > 0.5).all()
    assert (sizes["coverage_unless_noted"].dropna() > 0.94).all()


def test_missing_judgements_break_win_rates_and_not_their_bounds(bundled):
    missing = bundled[bundled["design"] == "missing not at random"].set_index("statistic")
    assert (missing.loc["win_rate_bounds", "coverage"] >= LOW).all()
    rates = missing.loc["win_rate"].query("n == 805")
    assert (rates["coverage"] < LOW - NOISE * rates["monte_carlo_error"]).sum() >= 4
    worst = bundled[bundled["design"] == "losses missing"]
    low = worst[worst["coverage"] < LOW]
    assert len(low) == 3
    assert (low["noted"] == 1).all()


def test_equal_models_are_ordered_in_one_data_set_of_twenty(bundled):
    ranks = bundled[bundled["statistic"] == "rank_sets"]
    assert (ranks["coverage"] > LOW - NOISE * ranks["monte_carlo_error"]).all()
    equal = ranks[ranks["design"] == "six equal models"]
    assert (equal.loc[equal["coverage"] > HIGH, "noted"] > 0.9).all()


def test_alpha_over_unequal_instructions_covers_or_says_so(bundled):
    alpha = bundled[bundled["statistic"] == "krippendorff_alpha"]
    assert (alpha.loc[alpha["coverage"] < LOW, "noted"] == 1).all()
    assert (alpha.loc[alpha["design"] == "sizes lognormal, 0.5", "noted"] == 0).all()


def test_tests_at_their_edge(bundled):
    edge = bundled[bundled["statistic"] == "alternative_test"]
    assert (edge["coverage"] > 0.95 - NOISE * edge["monte_carlo_error"]).all()
    weak = bundled[bundled["statistic"] == "bias_beyond_humans"]
    short = weak[weak["coverage"] < LOW - NOISE * weak["monte_carlo_error"]]
    assert (short["noted"] > 0.5).all()


def test_a_difference_of_the_script_is_the_package_s(script):
    rng = np.random.default_rng(0)
    m = script.sizes(rng, 25, 1.0, 1)[:, 0]
    one, two = rng.binomial(m, 0.6), rng.binomial(m, 0.4)
    table = script.counted(np.column_stack([one, two]), np.column_stack([m - one, m - two]))
    row = aa.compare(table, "0", "1").iloc[0]
    found = script.difference(one, two, m)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx([row["ci_low"], row["ci_high"]])
    assert found["note"] == row["note"]
    assert "unequal size" in row["note"]


def test_a_bias_of_the_script_is_the_package_s(script):
    rng = np.random.default_rng(1)
    votes = (rng.random((4, 80)) < rng.random(80)) * 1.0
    x = rng.integers(-1, 2, 80).astype(float)
    pairs = pd.DataFrame({"instruction_id": np.arange(80).astype(str), "model": "a", "reference": "b"})
    given = [pairs.assign(annotator=f"p{k}", outcome=v, gap=x) for k, v in enumerate(votes)]
    row = aa.bias_beyond_humans(given[0].assign(annotator="judge"), pd.concat(given[1:]), covariates="gap")
    row = row[(row["annotator"] == "judge") & (row["quantity"] == "at_equal_preference")].iloc[0]
    found = script.at_equal_preference(votes[0] - 0.5, votes[1:].T - 0.5, x)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx([row["ci_low"], row["ci_high"]])
    assert found["note"] == row["note"]


def test_the_edge_of_the_alternative_test_is_where_the_advantage_is_epsilon(script):
    rng = np.random.default_rng(2)
    n, right = 200_000, 0.8
    truth = rng.integers(0, 2, n)
    people = np.where(rng.random((3, n)) < right, truth, 1 - truth)
    judge = np.where(rng.random(n) < script.edge(right), truth, 1 - truth)
    others = people[1:]
    scores = [(others == each).mean(axis=0) for each in (people[0], judge)]
    lag = (scores[0] >= scores[1]).mean() - (scores[1] >= scores[0]).mean()
    assert lag == pytest.approx(script.EPSILON, abs=0.005)


@pytest.mark.simulation
@pytest.mark.timeout(1800)
def test_simulation_gives_the_bundled_designs(script, bundled):
    """A few data sets of every design, within four Monte-Carlo errors."""
    made = script.build(data_sets(100))["coverage_designs"]
    assert made[["statistic", "design", "method", "n"]].equals(
        bundled[["statistic", "design", "method", "n"]]
    )
    error = np.sqrt(np.maximum(bundled["coverage"] * (1 - bundled["coverage"]), 0.01) / made["repetitions"])
    assert ((made["coverage"] - bundled["coverage"]).abs() < 4 * error + 1 / made["repetitions"]).all()
