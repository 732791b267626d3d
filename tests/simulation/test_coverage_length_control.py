"""Coverage of length-controlled intervals: the bundled table, and the simulation that makes it."""

import importlib
import sys

import numpy as np
import pytest

from alpaca_analysis import load
from alpaca_analysis.sources import catalogue as sources

LOW, HIGH = 0.935, 0.965


@pytest.fixture(scope="module")
def bundled():
    return load("coverage_length_control")


def within(table):
    """Return the scenarios from 0.03 to 0.97, where coverage is promised."""
    return table[(table["win_rate"] > 0.02) & (table["win_rate"] < 0.98)]


def test_default_interval_covers_or_says_that_it_may_not(bundled):
    table = within(bundled)
    assert (table["repetitions"] >= 5000).all()
    assert len(table) == 42
    outside = table[~table["coverage"].between(LOW, HIGH)]
    assert len(outside) <= 3
    assert (outside["noted"] > 0.6).all()
    assert (outside["lc_win_rate"] < 0.01).all()


def test_alpaca_evals_formula_covers_far_less(bundled):
    assert within(bundled)["alpaca_eval_coverage"].max() < 0.5
    assert (bundled["mean_standard_error"] > 2.5 * bundled["alpaca_eval_standard_error"]).all()


def test_standard_error_is_the_spread_of_estimates(bundled):
    kept = bundled[bundled["noted"] < 0.5]
    np.testing.assert_allclose(kept["mean_standard_error"], kept["sd"], rtol=0.1)


@pytest.fixture(scope="module")
def script(mirror):
    folder = str(sources.data_folder() / "build")
    sys.path.insert(0, folder)
    yield importlib.import_module("coverage_length_control")
    sys.path.remove(folder)


@pytest.mark.rows
@pytest.mark.simulation
@pytest.mark.timeout(1800)
def test_simulation_gives_the_bundled_table(script, mirror, bundled):
    made = script.build(mirror)["coverage_length_control"]
    assert made[["gap", "win_rate"]].equals(bundled[["gap", "win_rate"]])
    np.testing.assert_allclose(made["lc_win_rate"], bundled["lc_win_rate"], atol=1e-5)
    np.testing.assert_allclose(made["coverage"], bundled["coverage"], atol=0.01)
    np.testing.assert_allclose(made["alpaca_eval_coverage"], bundled["alpaca_eval_coverage"], atol=0.03)


@pytest.mark.rows
@pytest.mark.simulation
def test_one_data_set_of_the_simulation_is_what_fit_length_control_fits(script, mirror):
    """The simulation's weighted pairs against the same judgements, one row each, through the front door."""
    import pandas as pd
    from scipy.special import expit

    from alpaca_analysis import fit_length_control

    population = script.populations(mirror)["gpt4"]
    x, d = population["x"].to_numpy(), population["difficulty"].to_numpy()
    theta = script.constant(x, d, 0.9)
    draw = script.simulate(x, d, theta, repetitions=1, rng=np.random.default_rng(3)).iloc[0]
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(805, np.full(len(x), 1 / len(x)), size=1)[0]
    won = rng.binomial(drawn[None], expit(theta + script.PHI * x + script.PSI * d))[0]
    rows = pd.DataFrame({"length_feature": np.repeat(x, drawn), "difficulty": np.repeat(d, drawn)})
    rows["outcome"] = np.concatenate(
        [np.r_[np.ones(w), np.zeros(m - w)] for w, m in zip(won, drawn, strict=True)]
    )
    row = fit_length_control(rows.assign(model="m"), baselines=None).to_frame().iloc[0]
    for ours, theirs in (
        ("lc_win_rate", "estimate"),
        ("standard_error", "error"),
        ("ci_low", "low"),
        ("ci_high", "high"),
    ):
        assert row[ours] == pytest.approx(draw[theirs], rel=1e-6)
