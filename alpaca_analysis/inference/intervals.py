"""Intervals of ratios and of contrasts of them: Student's t, percentile, BCa."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

from alpaca_analysis.foundations import ties
from alpaca_analysis.inference import verdict_law
from alpaca_analysis.inference.ratios import (
    Units,
    contrast_error,
    effective_units,
    jackknife,
    jackknife_error,
    standard_error,
)
from alpaca_analysis.inference.resampling import laws_of, resample


def percentile_interval(
    resamples: np.ndarray, *, confidence_level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval of every column of `resamples` (n_resamples, n_columns)."""
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(resamples, [tail, 1 - tail], axis=0)
    return low, high


def bca_interval(
    estimate: np.ndarray,
    resamples: np.ndarray,
    leave_one_out: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    confidence_level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-corrected and accelerated interval of every column.

    Parameters
    ----------
    estimate : ndarray of shape (n_columns,)
        The statistic on the data.
    resamples : ndarray of shape (n_resamples, n_columns)
        The statistic on the resamples.
    leave_one_out : ndarray of shape (n_units, n_columns)
        The statistic without each unit; the acceleration comes from it.
    counts : ndarray of shape (n_units,), optional
        How many equal units each row of `leave_one_out` stands for.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : ndarray of shape (n_columns,)
        NaN where the interval is undefined: every resample on one side of the estimate.

    References
    ----------
    Efron, B. (1987). Better bootstrap confidence intervals. JASA 82(397).
    """
    apart = np.where(ties.equal(resamples, estimate), 0.0, resamples - estimate)
    below = ((apart < 0).mean(axis=0) + (apart <= 0).mean(axis=0)) / 2
    counts = np.ones(len(leave_one_out)) if counts is None else counts
    a = acceleration(leave_one_out, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        z0 = special.ndtri(below)
        tail = special.ndtri(np.array([(1 - confidence_level) / 2, (1 + confidence_level) / 2]))[:, None]
        levels = special.ndtr(z0 + (z0 + tail) / (1 - a * (z0 + tail)))
    bounds = np.full((2, len(estimate)), np.nan)
    for k in np.flatnonzero(np.isfinite(levels).all(axis=0)):
        bounds[:, k] = np.nanquantile(resamples[:, k], levels[:, k])
    return bounds[0], bounds[1]


def resampled(
    units: Units, method: str, confidence_level: float, n_resamples: int, rng: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return bootstrap intervals of the columns, from their exact laws where counts of verdicts have them.

    Parameters
    ----------
    units : Units
        What is resampled.
    method : {"bca", "percentile"}
        Interval.
    confidence_level, n_resamples, rng
        Of the interval.

    Returns
    -------
    low, high : ndarray of shape (n_columns,)
    """
    laws, left_out = laws_of(units), jackknife(units)
    if laws is None:
        resamples = resample(units, n_resamples=n_resamples, rng=rng)
        if method == "percentile":
            return percentile_interval(resamples, confidence_level=confidence_level)
        return bca_interval(
            units.estimate, resamples, left_out, counts=units.counts, confidence_level=confidence_level
        )
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    if method == "percentile":
        return tuple(np.array([law.quantile(tails) for law in laws]).T)
    accelerations = acceleration(left_out, units.counts)
    bounds = [
        verdict_law.bca_interval(law, rate, a, confidence_level=confidence_level)
        for law, rate, a in zip(laws, units.estimate, accelerations, strict=True)
    ]
    return tuple(np.array(bounds).T)


def acceleration(leave_one_out: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the acceleration of every column from the statistic without each unit."""
    centred = np.average(leave_one_out, axis=0, weights=counts) - leave_one_out
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts @ centred**3) / (6 * (counts @ centred**2) ** 1.5)


def interval(
    units: Units,
    *,
    contrast: np.ndarray | None = None,
    method: str = "bca",
    df: float | np.ndarray | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng: Any = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return estimates, standard errors and intervals of the columns, or of contrasts of them.

    Parameters
    ----------
    units : Units
        What is resampled.
    contrast : ndarray of shape (n_columns, n_contrasts), optional
        Weights of the columns in each result, such as ``[[1], [-1]]`` for a difference. The columns
        of one contrast must be defined on the same units.
    method : {"bca", "percentile", "t"}
        Interval.
    df : float or ndarray, optional
        Degrees of freedom of "t"; by default the number of equal units that they are worth, less one.
    confidence_level, n_resamples, rng
        As elsewhere; the last two are ignored by "t".

    Returns
    -------
    estimate, standard_error, low, high : ndarray of shape (n_columns or n_contrasts,)
        The error of a contrast, and that of "t", is the jackknife's (CR3): with units of equal size the
        linearised one, larger where some units are far larger than others. Bounds are NaN where nothing
        varies or fewer than two units are left.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    >>> [x.round(3).tolist() for x in interval(Units(y, np.ones_like(y)), method="t")]
    [[0.75, 0.25], [0.25, 0.25], [-0.046, -0.546], [1.546, 1.046]]
    """
    if contrast is None:
        estimate, error = units.estimate, standard_error(units)
        if method == "t" and units.strata is None:
            error = jackknife_error(units)
        worth = effective_units(units)
    else:
        estimate = ties.difference(units.estimate @ contrast, 0)
        error = contrast_error(units, contrast)
        each = np.where(contrast != 0, effective_units(units)[:, None], np.nan)
        worth = np.fmin.reduce(each, axis=0)
    if method == "t":
        with np.errstate(invalid="ignore"):
            half = stats.t.ppf((1 + confidence_level) / 2, worth - 1 if df is None else df) * error
        low, high = estimate - half, estimate + half
    else:
        resamples = resample(units, n_resamples=n_resamples, rng=rng)
        left_out = jackknife(units)
        if contrast is not None:
            resamples, left_out = resamples @ contrast, left_out @ contrast
        defined = ~np.isnan(estimate)
        low, high = np.full((2, len(estimate)), np.nan)
        if defined.any() and method == "percentile":
            low[defined], high[defined] = percentile_interval(
                resamples[:, defined], confidence_level=confidence_level
            )
        elif defined.any():
            low[defined], high[defined] = bca_interval(
                estimate[defined],
                resamples[:, defined],
                left_out[:, defined],
                counts=units.counts,
                confidence_level=confidence_level,
            )
    error = ties.standard_error(error)
    settled = ~(error > 0)
    return estimate, error, np.where(settled, np.nan, low), np.where(settled, np.nan, high)


def degrees_of_freedom(
    variance: np.ndarray, sizes: np.ndarray, shared: np.ndarray, worth: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return the degrees of freedom of the t-tests of all differences of means.

    With s shared units of n_a and n_b they are s - 1 where all are shared, Welch's w where none is,
    and (1 - f) (s - 1) + f w between, with f = 1 - 2 s / (n_a + n_b) the share of units of one alone.

    Parameters
    ----------
    variance, sizes : ndarray of shape (p,)
        Squared standard error of each mean, and the units behind it.
    shared : ndarray of shape (p, p) or int
        Units that two means share.
    worth : ndarray of shape (p,), optional
        How many equal units each unit of a mean is worth, see `ratios.effective_units`.

    Returns
    -------
    ndarray of shape (p, p)

    References
    ----------
    Derrick, B., Russ, B., Toher, D., White, P. (2017). Test statistics for the comparison of means for
    two samples that include both paired and independent observations. Journal of Modern Applied
    Statistical Methods 16(1), 137-157.

    Examples
    --------
    >>> float(degrees_of_freedom(np.array([2.0, 2.0]), np.array([10, 10]), 4)[0, 1])
    12.0
    """
    alone = 1 - 2 * shared / (sizes[:, None] + sizes)
    worth = np.broadcast_to(worth, np.shape(sizes))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = variance**2 / (sizes * worth - 1)
        welch = (variance[:, None] + variance) ** 2 / (part[:, None] + part)
        both = shared * np.minimum(worth[:, None], worth) - 1
        return np.where(alone > 0, (1 - alone) * both + alone * welch, both)
