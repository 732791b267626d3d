"""Confidence sequences by betting, against the paper's formulas written out and against confseq."""

import math

import numpy as np
import pytest
from judgements import data_sets

from alpaca_analysis.inference import betting


def capital(x, m, alpha, population=None):
    """Return the hedged capital after each value: Waudby-Smith and Ramdas (2024), step by step."""
    up = down = 0.5
    out, total, spread = [], 0.0, 0.0
    for i, value in enumerate(x):
        t = i + 1
        variance = (0.25 + spread) / t
        bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1)))
        expected = m if population is None else (population * m - total) / (population - i)
        if not 0 <= expected <= 1:
            out.append(math.inf)
        else:
            long = min(bet, 0.5 / expected) if expected > 0 else bet
            short = min(bet, 0.5 / (1 - expected)) if expected < 1 else bet
            up *= 1 + long * (value - expected)
            down *= 1 - short * (value - expected)
            out.append(max(up, down))
        total += value
        spread += (value - (0.5 + total) / (t + 1)) ** 2
    return np.array(out)


VALUES = {
    "verdicts": (np.random.default_rng(1).random(60) < 0.7).astype(float),
    "weighted": np.random.default_rng(2).beta(2, 3, 60),
    "draws": np.random.default_rng(3).choice([0.25, 0.5, 0.75], 60),
}


@pytest.mark.parametrize("population", [None, 90])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("reaching", [0.05, 0.10])
def test_ends_are_where_the_capital_of_the_paper_reaches_its_limit(values, population, reaching):
    x, looks = VALUES[values], np.array([5, 20, 60])
    ends = betting.sequence(x, looks, reaching=reaching, population=population)
    for look, low, high in zip(looks, *ends, strict=True):
        for end, outward in ((low, -1e-7), (high, 1e-7)):
            out, inside = (
                capital(x[:look], np.clip(m, 0, 1), 0.05, population).max()
                for m in (end + outward, end - outward)
            )
            assert out >= 1 / reaching or end + outward in (-1e-7, 1 + 1e-7)
            assert inside < 1 / reaching


def test_values_of_confseq():
    """Python package confseq 0.0.11, whose grid of 1 / 1000 is rounded outward.

    Its session: l, u = confseq.betting.betting_cs(x, N=N, breaks=1000), then np.maximum.accumulate(l) and
    np.minimum.accumulate(u) at [9, 39, 119].
    """
    k = np.arange(120)
    verdicts, weighted = ((k * 7919) % 101 % 3 != 0).astype(float), (k * 104729) % 97 / 96
    golden = [
        (verdicts, None, [0.208, 0.377, 0.493], [0.929, 0.814, 0.768]),
        (weighted, None, [0.122, 0.338, 0.411], [0.689, 0.602, 0.568]),
        (verdicts, 150, [0.217, 0.400, 0.549], [0.922, 0.791, 0.721]),
        (weighted, 150, [0.127, 0.352, 0.443], [0.679, 0.585, 0.536]),
    ]
    for x, population, lower, upper in golden:
        low, high = betting.sequence(x, np.array([10, 40, 120]), population=population)
        assert ((low >= lower) & (low <= np.array(lower) + 1.01e-3)).all()
        assert ((high <= upper) & (high >= np.array(upper) - 1.01e-3)).all()


def test_a_set_that_is_judged_to_the_end_has_its_exact_mean():
    x = np.random.default_rng(0).random(50)
    low, high = betting.sequence(x, np.array([49, 50]), population=50)
    np.testing.assert_allclose([low[1], high[1]], x.mean(), atol=1e-9)
    assert low[0] <= x.mean() <= high[0]


def test_first_beyond_is_the_look_at_which_the_sequence_passes():
    x = VALUES["verdicts"]
    low, _ = betting.sequence(x, np.arange(1, 61))
    for m in (0.1, 0.3, low[-1] - 1e-6):
        assert betting.first_beyond(x, m) == np.flatnonzero(low > m)[0] + 1
    assert betting.first_beyond(x, 0.9) is None


def test_an_empty_intersection_leaves_the_interval_as_it_was():
    x = np.concatenate([np.ones(60), np.zeros(600)])
    low, high = betting.sequence(x, np.arange(1, 661, 60))
    assert (low <= high).all()
    assert low[-1] == low[-2]
    assert low[-1] > 0.5


@pytest.mark.simulation
@pytest.mark.parametrize("population", [None, 300])
@pytest.mark.parametrize("mean", [0.5, 0.9])
def test_the_mean_is_inside_at_every_look(mean, population):
    """2,000 data sets of 200 verdicts, a look after each: the mean is outside at some look in at most 5 %."""
    wrong, sets = 0, data_sets(2000)
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        if population:
            x = rng.permutation(np.arange(population) < mean * population)[:200].astype(float)
        else:
            x = (rng.random(200) < mean).astype(float)
        sides = (
            betting.first_beyond(x, mean, population=population),
            betting.first_beyond(1 - x, 1 - mean, population=population),
        )
        wrong += sides != (None, None)
    assert wrong / sets <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sets)
