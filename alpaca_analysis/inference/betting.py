"""Confidence sequences by betting: intervals for a mean of values in [0, 1] that hold at every look.

Against each candidate m for the mean a gambler bets on every next value before it is seen; at the true mean
no bet is expected to win, so a capital above 1 / alpha is as rare as alpha *at any time*. The interval holds
every m that has not lost so (Waudby-Smith and Ramdas 2024, "hedged" capital with predictable plug-in bets).
"""

from __future__ import annotations

import numpy as np

TRUNCATED = 0.5  # c: a bet is at most c / m, so that no single value ruins it
CELLS = 4_000_000  # of the largest matrix of capitals at once
STEPS = 44  # of the bisection: 2^-44 is far below what is shown
ROUNDING = 1e-11  # of a sum of values, relative to what is left of a fixed set


def bets(x: np.ndarray, alpha: float) -> np.ndarray:
    """Return the predictable plug-in bets, each from the values before its own.

    With mu_t = (1/2 + sum x_i) / (t + 1) and sigma2_t = (1/4 + sum (x_i - mu_i)^2) / (t + 1), over i <= t,
    bet t is sqrt(2 log(2 / alpha) / (sigma2_{t-1} t log(t + 1))).

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values in [0, 1], in the order in which they came.
    alpha : float
        1 - the confidence level.

    Returns
    -------
    ndarray of shape (n,)
        Before they are cut to c / m.

    Examples
    --------
    >>> bets(np.array([1.0, 0.0]), 0.05).round(3).tolist()
    [6.525, 4.636]
    """
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.sqrt(2 * np.log(2 / alpha) / (before * t * np.log1p(t)))


def log_capital(
    x: np.ndarray, stakes: np.ndarray, m: np.ndarray, population: int | None = None
) -> np.ndarray:
    """Return the log of the capital of betting that the mean is above m, after each value.

    Parameters
    ----------
    x, stakes : ndarray of shape (n,)
        Values and bets.
    m : ndarray of shape (k,)
        Candidates for the mean.
    population : int, optional
        Number of values in a fixed set that is drawn from without replacement; else an endless one.

    Returns
    -------
    ndarray of shape (k, n)
        Infinite where the values seen rule m out.
    """
    if population is None:
        expected = m[:, None]
        bet = np.minimum(stakes, _cut(expected))
        return np.cumsum(np.log1p(bet * (x - expected)), axis=1)
    seen = np.cumsum(x)
    total = population * m[:, None]
    left = population - np.arange(len(x))  # values not yet drawn, before each draw
    expected = np.maximum((total - (seen - x)) / left, 0.0)
    bet = np.minimum(stakes, _cut(expected))
    capital = np.cumsum(np.log1p(bet * (x - expected)), axis=1)
    return np.where(total - seen < -ROUNDING * population, np.inf, capital)


def _cut(m: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return TRUNCATED / m


def sequence(
    x: np.ndarray,
    looks: np.ndarray,
    *,
    alpha: float = 0.05,
    reaching: float | None = None,
    population: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the confidence sequence at some looks, each the intersection of all before.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values in [0, 1] in the order in which they came, which has to be random.
    looks : ndarray of int
        After how many values, increasing, each at least 1.
    alpha : float
        The bets are made for the level 1 - alpha.
    reaching : float, optional
        The interval is that of level 1 - `reaching` from the same bets; by default `alpha`. Those of two
        levels are nested.
    population : int, optional
        Number of values in a fixed set drawn from without replacement.

    Returns
    -------
    low, high : ndarray
        Ends, rounded outward by 2^-44 at most. They hold the mean at all looks at once with probability
        1 - `reaching`, and on either side fail with half of it.

    Notes
    -----
    An intersection that is empty, which is as rare as an error, leaves the interval as it was.

    Examples
    --------
    >>> x = np.tile([1.0, 1.0, 0.0], 40)
    >>> low, high = sequence(x, np.array([30, 120]))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.427, 0.533], [0.897, 0.807])
    """
    stakes = bets(x, alpha)
    threshold = np.log(2 / (alpha if reaching is None else reaching))
    low = _below(x, stakes, looks, threshold, population)
    high = 1 - _below(1 - x, stakes, looks, threshold, population)
    if low[-1] <= high[-1]:
        return low, high
    every = np.arange(1, looks[-1] + 1)
    low = _below(x, stakes, every, threshold, population)
    high = 1 - _below(1 - x, stakes, every, threshold, population)
    last = np.minimum(looks - 1, np.flatnonzero(low <= high)[-1])
    return low[last], high[last]


def first_beyond(
    x: np.ndarray,
    m: float,
    *,
    alpha: float = 0.05,
    reaching: float | None = None,
    population: int | None = None,
) -> int | None:
    """Return after how many values the lower end of the sequence has first passed m, None where never.

    For the upper end give 1 - x and 1 - m.

    Examples
    --------
    >>> first_beyond(np.ones(20), 0.5), first_beyond(np.ones(3), 0.5)
    (10, None)
    """
    threshold = np.log(2 / (alpha if reaching is None else reaching))
    found = int(_reached(x, bets(x, alpha), np.array([m]), threshold, population)[0])
    return found if found <= len(x) else None


def _below(
    x: np.ndarray, stakes: np.ndarray, looks: np.ndarray, threshold: float, population: int | None
) -> np.ndarray:
    """Return the largest m known to be too small at each look; capital falls as m grows."""
    out, inside = np.zeros(len(looks)), np.ones(len(looks))
    for _ in range(STEPS):
        middle, place = np.unique((out + inside) / 2, return_inverse=True)
        gone = _reached(x, stakes, middle, threshold, population)[place] <= looks
        out, inside = np.where(gone, (out + inside) / 2, out), np.where(gone, inside, (out + inside) / 2)
    return out


def _reached(
    x: np.ndarray, stakes: np.ndarray, m: np.ndarray, threshold: float, population: int | None
) -> np.ndarray:
    """Return after how many values the capital against each m first reaches the threshold; else n + 1."""
    size = max(1, CELLS // len(x))
    found = np.empty(len(m), dtype=np.int64)
    for start in range(0, len(m), size):
        part = slice(start, start + size)
        over = log_capital(x, stakes, m[part], population) >= threshold
        found[part] = np.where(over.any(axis=1), over.argmax(axis=1), len(x)) + 1
    return found
