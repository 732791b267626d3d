"""Fieller's confidence set of a ratio, which holds also where the denominator may be 0."""

from __future__ import annotations

import numpy as np


def ratio_interval(
    numerator: float, denominator: float, covariance: np.ndarray, quantile: float
) -> tuple[float, float]:
    """Return the smallest interval within [0, 1] that holds Fieller's set of a ratio.

    The set is of every t with (numerator - t denominator)^2 <= quantile^2 Var(numerator - t denominator).
    Where the denominator is not shown to differ from 0 it is unbounded; its part in [0, 1] may then be all.

    Parameters
    ----------
    numerator, denominator : float
        Estimates.
    covariance : ndarray of shape (2, 2)
        Of the two.
    quantile : float
        Of the normal or of t, such as 1.96.

    Returns
    -------
    low, high : float
        NaN where no t in [0, 1] belongs to the set.

    References
    ----------
    Fieller, E. C. (1954). Some problems in interval estimation. JRSS B 16(2).

    Examples
    --------
    >>> [round(end, 3) for end in ratio_interval(0.4, 0.8, np.diag([0.001, 0.001]), 1.96)]
    [0.416, 0.59]
    >>> ratio_interval(0.1, 0.01, np.diag([0.01, 0.01]), 1.96)
    (0.0, 1.0)
    """
    a = denominator**2 - quantile**2 * covariance[1, 1]
    b = -2 * (numerator * denominator - quantile**2 * covariance[0, 1])
    c = numerator**2 - quantile**2 * covariance[0, 0]
    roots = np.roots([a, b, c])
    inside = sorted(x.real for x in roots if abs(x.imag) < 1e-12 and 0 < x.real < 1)
    low = 0.0 if c <= 0 else inside[0] if inside else np.nan
    high = 1.0 if a + b + c <= 0 else inside[-1] if inside else np.nan
    return (float(low), float(high)) if low <= high else (np.nan, np.nan)
