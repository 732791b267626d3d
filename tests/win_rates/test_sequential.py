"""Confidence sequences of win rates and differences: what they say, and how often they err at any look."""

import numpy as np
import pandas as pd
import pytest
from judgements import data_sets, said

from alpaca_analysis import AnnotationError, compare, confidence_sequence, load
from alpaca_analysis.inference import betting
from alpaca_analysis.win_rates.sequential import first_decided

COLUMNS = ["difference", "ci_low", "ci_high", "equivalence_low", "equivalence_high"]


def two(rate_a, rate_b, n=200, *, seed=0):
    """Return verdicts of models a and b on n instructions; one of five is a draw."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 2)) < [rate_a, rate_b]).astype(float)
    y[rng.random((n, 2)) < 0.2] = 0.5
    return pd.concat([said(y[:, k], model=name) for k, name in enumerate("ab")], ignore_index=True)


def test_the_difference_is_that_of_instruction_means():
    table = two(0.8, 0.3)
    repeated = pd.concat([table.assign(repeat=0), table.assign(repeat=1)], ignore_index=True)
    once, twice = (confidence_sequence(t, "a", "b", margin=0.05) for t in (table, repeated))
    pd.testing.assert_frame_equal(once, twice)
    assert once["n"][0] == 200
    assert once["verdict"][0] == "better"
    assert once["ci_low"][0] > 0
    back = confidence_sequence(table, "b", "a", margin=0.05)
    assert back["verdict"][0] == "worse"
    np.testing.assert_allclose(
        back[COLUMNS].to_numpy(),
        -once[["difference", "ci_high", "ci_low", *COLUMNS[:2:-1]]].to_numpy(),
        atol=1e-12,
    )


def test_rows_may_come_in_any_order_and_the_seed_decides_what_looks_see():
    table = two(0.6, 0.5)
    found = confidence_sequence(table, "a", "b", looks="all")
    again = confidence_sequence(table.sample(frac=1, random_state=3), "a", "b", looks="all")
    pd.testing.assert_frame_equal(found, again)
    other = confidence_sequence(table, "a", "b", looks="all", rng=1)
    assert not found["ci_low"].equals(other["ci_low"])
    assert found["n"].tolist() == list(range(1, 201))
    assert (np.diff(found["ci_low"]) >= 0).all()
    assert (np.diff(found["ci_high"]) <= 0).all()
    assert found.attrs["order"] == "random"
    assert found.attrs["rng"] == 0
    assert found.attrs["sampling"].startswith("with replacement")


@pytest.mark.parametrize(("rate_a", "rate_b"), [(0.8, 0.3), (0.3, 0.8), (0.5, 0.5)])
def test_it_tells_when_it_first_decided(rate_a, rate_b):
    table = two(rate_a, rate_b, n=600)
    every = confidence_sequence(table, "a", "b", margin=0.2, looks="all")
    decided = every["verdict"].isin(["better", "worse", "equivalent"])
    assert (every["n_decided"] == every["n"][decided.to_numpy().argmax()]).all()
    last = confidence_sequence(table, "a", "b", margin=0.2)
    pd.testing.assert_series_equal(last.iloc[0], every.iloc[-1], check_names=False)


def test_the_sequence_is_wider_than_the_interval_at_one_look():
    table = two(0.6, 0.5, n=400)
    fixed, sequence = compare(table, "a", "b").iloc[0], confidence_sequence(table, "a", "b").iloc[0]
    assert sequence["ci_low"] < fixed["ci_low"] < fixed["ci_high"] < sequence["ci_high"]


def test_win_rates_of_every_model_best_first():
    table = two(0.3, 0.9)
    found = confidence_sequence(table, margin=0.05)
    assert found["model"].tolist() == ["b", "a"]
    assert found["verdict"].tolist() == ["better", "worse"]
    one = confidence_sequence(table, "b", margin=0.05)
    pd.testing.assert_frame_equal(one, found.iloc[:1])
    assert found.attrs["fractions"] == ["win_rate", "equivalence_low", "equivalence_high"]
    plain = table[table["model"] == "b"]["outcome"].mean()
    assert one["ci_low"][0] < plain < one["ci_high"][0]


def test_a_fixed_set_ends_as_its_exact_value():
    table = two(0.6, 0.5)
    found = confidence_sequence(table, "a", "b", population=200)
    exact = compare(table, "a", "b")["difference"][0]
    np.testing.assert_allclose(found[["ci_low", "difference", "ci_high"]].to_numpy()[0], exact, atol=1e-9)
    assert found.attrs["sampling"] == "without replacement from a fixed set of 200"
    larger = confidence_sequence(table, "a", "b", population=300)
    endless = confidence_sequence(table, "a", "b")
    assert endless["ci_low"][0] < larger["ci_low"][0] < exact < larger["ci_high"][0] < endless["ci_high"][0]
    with pytest.raises(AnnotationError, match=r"population: found 199, expected .* at least the 200"):
        confidence_sequence(table, "a", "b", population=199)


def test_what_is_missing_is_left_out_and_counted():
    table = two(0.6, 0.5)
    table.loc[[0, 1, 202], "outcome"] = np.nan
    found = confidence_sequence(table.drop(index=399), "a", "b")
    assert found[["n", "n_left_out"]].iloc[0].tolist() == [196, 4]
    complete = confidence_sequence(table, "a", "b", population=200)
    np.testing.assert_allclose(complete["ci_low"], complete["ci_high"], atol=1e-9)


def test_the_order_in_which_was_asked_goes_before_a_seed():
    table = two(0.7, 0.5)
    place = np.random.default_rng(5).permutation(200)
    asked = table.assign(sequence=np.tile(place, 2) + 1)
    found = confidence_sequence(asked, "a", "b", looks="all")
    assert found.attrs["order"] == "as asked"
    assert found.attrs["rng"] is None
    renamed = asked.assign(instruction_id=[f"{p:03}" for p in np.tile(place, 2)])
    ordered = [
        confidence_sequence(renamed.drop(columns="sequence"), "a", "b", looks="all", rng=s) for s in range(3)
    ]
    assert all(not one["ci_low"].equals(found["ci_low"]) for one in ordered)
    prefix = confidence_sequence(asked[np.tile(place, 2) < 50], "a", "b")
    assert prefix["ci_low"][0] == found["ci_low"][49]


def test_refusals():
    table = two(0.6, 0.5)
    with pytest.raises(AnnotationError, match="instruction ids"):
        confidence_sequence(load("alpaca_eval_v1_counts"), "gpt4")
    with pytest.raises(AnnotationError, match="found 'nobody'"):
        confidence_sequence(table, "a", "nobody")
    with pytest.raises(ValueError, match="b: found 'a' alone, expected"):
        confidence_sequence(table, b="a")
    apart = table.assign(instruction_id=table["model"] + table["instruction_id"])
    with pytest.raises(AnnotationError, match="instructions that 'a' and 'b' share"):
        confidence_sequence(apart, "a", "b")
    stopped = table.assign(stopped_early="better after 200 of 805")
    with pytest.raises(AnnotationError, match="the order in which instructions were asked"):
        confidence_sequence(stopped, "a", "b")


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("rate_a", "wrong"),
    [
        (0.5, lambda x: (first_decided(x, span=2, alpha=0.05) or (0, ""))[1] in ("better", "worse")),
        (0.375, lambda x: above(x)),
        (0.625, lambda x: above(1 - x)),
        (0.625, lambda x: (first_decided(x, span=2, alpha=0.05, margin=0.1) or (0, ""))[1] == "equivalent"),
    ],
    ids=["better or worse", "not worse, equivalent or better", "the same from above", "equivalent first"],
)
def test_wrong_verdicts_at_any_look_are_as_rare_as_they_say(rate_a, wrong):
    """2,000 data sets of 300 instructions, a look after each: 5 % and no more, whenever one stops.

    One of five verdicts is a draw: rates of .375 or .625 and .5 differ by the margin of .1 in the mean outcome.
    """
    sets = data_sets(2000)
    found = sum(wrong(in_order(two(rate_a, 0.5, n=300, seed=seed))) for seed in range(sets))
    assert found / sets <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sets)


def above(x):
    """Tell whether the lower end for equivalence ever lies above -0.1: what "not worse" needs, and all above."""
    return betting.first_beyond(x, 0.45, alpha=0.05, reaching=0.1) is not None


def in_order(table):
    """Return (difference + 1) / 2 of a and b as they come, which is a random order."""
    y = table["outcome"].to_numpy().reshape(2, -1)
    return (y[0] - y[1] + 1) / 2
