"""Intervals where units differ in size: jackknife errors, fewer degrees of freedom, the logit scale.

With a few large units the linearised error is too small, and Student's t with one degree of freedom less than
there are units too narrow. The jackknife error (CR3) and `ratios.effective_units` less one mend both; a rate
strictly between 0 and 1 has its interval on the logit scale, its error divided by p(1 - p).
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from alpaca_analysis.foundations import ties
from alpaca_analysis.inference import coverage_notes, ratios
from alpaca_analysis.inference.ratios import Units


def rate_interval(
    rate: np.ndarray | float, error: np.ndarray | float, df: np.ndarray | float, confidence_level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return Student's t interval of a rate: on the logit scale strictly between 0 and 1, else as it is.

    Parameters
    ----------
    rate, error, df : ndarray or float
        Estimate, its standard error, and degrees of freedom; NaN bounds where there are none above 0.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : ndarray

    Examples
    --------
    >>> [float(end.round(3)) for end in rate_interval(0.9, 0.03, 99, 0.95)]
    [0.823, 0.946]
    """
    rate, error = np.asarray(rate, dtype=float), np.asarray(error, dtype=float)
    inside = (rate > 0) & (rate < 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stats.t.ppf((1 + confidence_level) / 2, df) * error
        middle, apart = special.logit(rate), half / (rate * (1 - rate))
        low = np.where(inside, special.expit(middle - apart), rate - half)
        return low, np.where(inside, special.expit(middle + apart), rate + half)


def t_interval(units: Units, *, confidence_level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Student's t interval of every column of rates, with the jackknife error where units are unequal.

    Strata, whose sizes are fixed, keep the linearised error and one degree of freedom less each.
    """
    if units.strata is None:
        error, lost = ratios.jackknife_error(units), 1
    else:
        error, lost = ratios.standard_error(units), int(units.strata.max()) + 1
    return rate_interval(units.estimate, error, ratios.effective_units(units) - lost, confidence_level)


def no_narrower_than_alike(
    units: Units, low: np.ndarray, high: np.ndarray, *, confidence_level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals no narrower than those of units that all win, or all lose, where few could be seen.

    Where all outcomes are 1, or all 0, it is the exact interval of Clopper and Pearson over the units.
    """
    sizes, rate = units.counts @ (units.m > 0), units.estimate
    with np.errstate(divide="ignore"):
        all_won = ((1 - confidence_level) / 2) ** (1 / sizes)
    unseen = coverage_notes.far_end(units) < coverage_notes.FAR_END
    low, high = (
        np.where(unseen, np.minimum(low, all_won), low),
        np.where(unseen, np.maximum(high, 1 - all_won), high),
    )
    won, lost = ties.equal(rate, 1.0) & (sizes > 1), ties.equal(rate, 0.0) & (sizes > 1)
    low = np.select([won, lost], [all_won, 0.0], low)
    return low, np.select([won, lost], [1.0, 1 - all_won], high)
