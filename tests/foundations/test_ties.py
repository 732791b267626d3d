"""Ties: the values the rule is pinned to, and what it may not merge."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_analysis.foundations import ties


def test_means_of_verdicts_of_up_to_805_instructions_stay_apart():
    """The closest two such means are k/804.5-like fractions: 1 / (2 * 804 * 805) apart."""
    rates = np.unique(np.concatenate([np.arange(2 * n + 1) / (2 * n) for n in (803, 804, 805)]))
    assert len(np.unique(ties.tied(rates))) == len(rates)
    assert np.diff(rates).min() > 7.6e-7


def test_members_of_a_group_take_its_first_value_and_others_stay():
    x = np.array([0.3, np.nan, 0.1 + 0.2, np.inf, 0.4, -np.inf, np.inf, 0.3])
    found = ties.tied(x)
    assert found[[0, 2, 7]].tolist() == [0.3] * 3
    assert found[4] == 0.4
    assert np.isnan(found[1])
    assert found[[3, 5, 6]].tolist() == [np.inf, -np.inf, np.inf]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_each_line_of_an_array_has_its_own_groups(axis):
    x = np.array([[0.1 + 0.2, 0.3, 1.0], [5.0, 0.3, 5.0 + 1e-12]])
    found = ties.tied(x, axis=axis)
    expected = np.apply_along_axis(ties.tied, axis, x)
    np.testing.assert_array_equal(found, expected)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.randoms())
def test_order_is_irrelevant_and_the_rule_is_idempotent(values, random):
    x = np.array(values)
    once = ties.tied(x)
    np.testing.assert_array_equal(ties.tied(once), once)
    turned = list(range(len(x)))
    random.shuffle(turned)
    np.testing.assert_array_equal(ties.tied(x[turned]), once[turned])
    assert (np.abs(once - x) <= len(x) * 5 * ties.GAP).all()


def test_sums_in_any_order_tie():
    sums = [sum(order) for order in itertools.permutations([0.1, 0.2, 0.3, 0.7])]
    assert len(set(sums)) > 1
    assert len(np.unique(ties.tied(sums))) == 1


def test_small_errors_are_none_and_verdicts_are_exact():
    assert ties.standard_error(np.array([9e-13, 1e-11, np.nan])).tolist()[:2] == [0.0, 1e-11]
    assert ties.verdicts([0.5 - 1e-13, 1 - 1e-13, 1e-13, 0.25]).tolist() == [0.5, 1.0, 0.0, 0.25]
    assert ties.difference(0.1 + 0.2, 0.3) == 0
    assert np.isnan(ties.difference(np.nan, 0.3))
