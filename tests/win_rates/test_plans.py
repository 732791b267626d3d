"""Planning against statsmodels' power functions, published values, and simulated power."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.power import NormalIndPower, normal_sample_size_one_tail

from alpaca_analysis import (
    compare,
    from_counts,
    instructions_needed,
    minimum_detectable_difference,
    outcome_sd,
    plan_comparison,
    plan_order,
    rank_sets,
)
from alpaca_analysis.win_rates.joint import joint_win_rates
from alpaca_analysis.win_rates.ranks import simultaneous_critical_value


def test_the_minimum_detectable_difference_of_805_instructions_is_4_937_points():
    assert round(100 * minimum_detectable_difference(805), 3) == 4.937


@pytest.mark.parametrize(("difference", "power", "alpha"), [(0.05, 0.8, 0.05), (0.01, 0.9, 0.01)])
def test_instructions_agree_with_statsmodels(difference, power, alpha):
    expected = normal_sample_size_one_tail(difference, power, alpha / 2, 0.5, 0.5)
    found = instructions_needed(difference, power=power, alpha=alpha)
    assert found == math.ceil(expected)
    reached = NormalIndPower(ddof=0).solve_power(
        effect_size=difference / 0.5, nobs1=found, alpha=alpha, ratio=0, alternative="two-sided"
    )
    assert_allclose(reached, power, atol=2e-3)
    assert minimum_detectable_difference(found, power=power, alpha=alpha) <= difference


@pytest.mark.parametrize(("wins", "losses", "draws"), [(761, 32, 12), (1, 1, 0), (0, 0, 5), (3, 1, 6)])
def test_the_spread_follows_from_wins_and_draws(wins, losses, draws):
    outcomes = np.repeat([1.0, 0.0, 0.5], [wins, losses, draws])
    found = outcome_sd(outcomes.mean(), draw_rate=draws / len(outcomes))
    assert_allclose(found, outcomes.std(), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: outcome_sd(1.2), "win_rate"),
        (lambda: outcome_sd(0.9, draw_rate=0.3), "draw_rate"),
        (lambda: minimum_detectable_difference(0), "n: found 0"),
        (lambda: minimum_detectable_difference(5, power=1), "power"),
        (lambda: instructions_needed(0), "other than 0"),
        (lambda: instructions_needed(0.1, standard_deviation=-1), "standard_deviation"),
    ],
)
def test_malformed_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_paired_plan_uses_the_observed_discordance():
    rng = np.random.default_rng(3)
    a, b = rng.choice([0, 0.5, 1], p=[0.2, 0.1, 0.7], size=(2, 300))
    b = np.where(rng.random(300) < 0.6, a, b)
    table = pd.DataFrame(
        {
            "instruction_id": [f"i{u}" for u in range(300)] * 2,
            "model": ["a"] * 300 + ["b"] * 300,
            "outcome": np.concatenate([a, b]),
        }
    )
    plan = plan_comparison(table, "a", "b").iloc[0]
    d = a - b
    assert_allclose(plan["discordance"], (d != 0).mean())
    assert_allclose(plan["standard_deviation"], d.std(ddof=1), rtol=1e-12)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert plan["n_needed"] == math.ceil((z * d.std(ddof=1) / d.mean()) ** 2)
    assert_allclose(plan["minimum_detectable_difference"], z * d.std(ddof=1) / np.sqrt(300), rtol=1e-12)
    independent = plan_comparison(table.drop(columns="instruction_id"), "a", "b").iloc[0]
    assert independent["n_needed"] > plan["n_needed"]
    assert np.isnan(independent["discordance"])


def test_repeated_judgements_are_no_further_instructions():
    """Two models on instructions of their own, each judgement made five times alike."""
    rng = np.random.default_rng(0)
    outcomes = (rng.random((2, 100)) < [[0.6], [0.5]]).astype(float)
    once = pd.DataFrame(
        {
            "instruction_id": [f"i{u}" for u in range(200)],
            "model": ["a"] * 100 + ["b"] * 100,
            "outcome": outcomes.ravel(),
        }
    )
    five = pd.concat([once.assign(repeat=k) for k in range(5)])
    plans = [plan_comparison(t, "a", "b") for t in (once, five)]
    pd.testing.assert_frame_equal(*plans)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    sd = np.sqrt(outcomes.var(axis=1, ddof=1).sum())
    assert plans[1].loc[0, "n"] == 100
    assert plans[1].loc[0, "n_needed"] == math.ceil((z * sd / np.diff(outcomes.mean(axis=1))[0]) ** 2)
    assert plans[1].attrs["unit"] == "instruction"


def test_the_plan_for_the_headline_agrees_with_compare():
    table = from_counts(
        {"model": ["xwin", "gpt4"], "n_wins": [765, 761], "n_losses": [35, 32], "n_draws": [1, 12]}
    )
    plan = plan_comparison(table, "xwin", "gpt4").iloc[0]
    z = 2.8015852181
    error = compare(table, "xwin", "gpt4").loc[0, "standard_error"]
    assert_allclose(plan["minimum_detectable_difference"], z * error, rtol=1e-9)
    expanded = [np.repeat([1, 0, 0.5], k) for k in ([765, 35, 1], [761, 32, 12])]
    sd = np.sqrt(sum(x.var(ddof=1) for x in expanded))
    assert plan["n_needed"] == math.ceil((z * sd / (expanded[0].mean() - expanded[1].mean())) ** 2)


def test_an_order_of_two_models_is_the_formula_for_two():
    """With one pair the critical value is z for 1 - alpha / 2, so the plan is that of a single test."""
    table = from_counts({"model": ["a", "b"], "n_wins": [600, 560], "n_losses": [400, 440], "n_draws": 0})
    plan = plan_order(table, n_resamples=40_000)
    alone = plan.to_frame().loc[0, "n_needed_alone"]
    assert_allclose(plan.critical_value, stats.norm.ppf(0.975), rtol=0.02)
    assert_allclose(plan.n_needed, alone, rtol=0.03)
    assert_allclose(alone, plan_comparison(table, "a", "b").loc[0, "n_needed"], rtol=1e-3)


def test_a_tie_can_never_be_ordered():
    table = from_counts({"model": ["a", "b"], "n_wins": [5, 5], "n_losses": [4, 4], "n_draws": 0})
    plan = plan_order(table, n_resamples=99)
    assert math.isinf(plan.n_needed)
    assert "tied" in plan.to_frame().loc[0, "note"]


def test_the_whole_order_needs_at_least_what_its_hardest_pair_needs():
    table = from_counts(
        {"model": list("abcd"), "n_wins": [90, 80, 60, 57], "n_losses": [10, 20, 40, 43], "n_draws": 0}
    )
    plan = plan_order(table)
    assert plan.n_needed >= plan.to_frame()["n_needed"].max() * 0.97
    assert plan.n_neighbours_ordered == (plan.pairs["difference"] > 3 * plan.pairs["standard_error"]).sum()
    assert "power 0.8" in str(plan)


@pytest.mark.simulation
def test_the_planned_order_is_shown_as_often_as_planned():
    """Draw the planned number of judgements from the observed shares and count complete orders."""
    shares = np.array([[0.75, 0.05, 0.2], [0.65, 0.05, 0.3], [0.57, 0.03, 0.4], [0.4, 0.1, 0.5]])
    names = list("abcd")

    def table(counts):
        return from_counts(
            {"model": names, "n_wins": counts[:, 0], "n_draws": counts[:, 1], "n_losses": counts[:, 2]}
        )

    plan = plan_order(table((400 * shares).astype(int)), n_resamples=9999)
    rng = np.random.default_rng(11)
    complete = []
    for _ in range(200):
        joint = joint_win_rates(table(rng.multinomial(int(plan.n_needed), shares)), n_resamples=499, rng=rng)
        critical = simultaneous_critical_value(joint)
        t = joint.difference / np.where(joint.difference_error > 0, joint.difference_error, np.inf)
        complete.append(all(t[j, j + 1] > critical for j in range(3)))
    assert_allclose(np.mean(complete), 0.8, atol=3 * np.sqrt(0.16 / 200) + 0.01)


@pytest.mark.rows
@pytest.mark.slow
def test_what_alpaca_eval_1_would_need(alpaca_eval_v1):
    table = alpaca_eval_v1[alpaca_eval_v1["model"] != "falcon-7b-instruct"]
    plan = plan_order(table)
    ranks = rank_sets(table)
    assert plan.n == 805
    assert plan.n_needed > 1_000 * plan.n
    assert plan.n_neighbours_ordered <= ranks.attrs["n_tiers"]
