"""What is resampled: units, their sums, influence, errors and jackknife.

Everything here is about a *ratio of sums over units*, columns side by side:

    theta_k = sum_u y[u, k] / sum_u m[u, k]

A unit is what is resampled (an instruction with all its rows, or a judgement where no instruction
is known). With ``m`` the number of usable judgements and ``y`` the sum of their outcomes, theta is
a win rate; with other sums it is an agreement, a share, or a mean difference. All columns share each
resample, so differences between them keep their pairing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg


@dataclass(frozen=True)
class Units:
    """Sums per unit, and how units are drawn.

    Attributes
    ----------
    y, m : ndarray of shape (n_units, n_columns)
        Numerator and denominator of every column.
    multiplicity : ndarray of int of shape (n_units,), optional
        How many equal units each row stands for; None for one each.
    strata : ndarray of int of shape (n_units,), optional
        Codes 0, 1, ... of strata that are resampled apart; None for a single one.
    """

    y: np.ndarray
    m: np.ndarray
    multiplicity: np.ndarray | None = None
    strata: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """Return how many units each row stands for."""
        return np.ones(len(self.y), dtype=np.int64) if self.multiplicity is None else self.multiplicity

    @property
    def estimate(self) -> np.ndarray:
        """Return theta, NaN where the denominator is 0."""
        return _ratio(self.counts @ self.y, self.counts @ self.m)


def beside(one: Units, two: Units) -> Units:
    """Return the columns of both on the units they share, which are resampled together."""
    return Units(np.hstack([one.y, two.y]), np.hstack([one.m, two.m]), one.multiplicity)


def apart(one: Units, two: Units) -> Units:
    """Return the columns of both on units of their own: two strata, resampled independently."""
    counts = np.concatenate([one.counts, two.counts])
    return Units(
        linalg.block_diag(one.y, two.y),
        linalg.block_diag(one.m, two.m),
        None if (counts == 1).all() else counts,
        np.repeat([0, 1], [len(one.y), len(two.y)]),
    )


def _ratio(y: np.ndarray, m: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(m > 0, y / m, np.nan)


def influence(units: Units) -> np.ndarray:
    """Return each unit's linearised share in theta, (y - theta m) / sum(m), of shape (n_units, n_columns)."""
    total = units.counts @ units.m
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (units.y - np.nan_to_num(units.estimate) * units.m) / total, np.nan)


def covariance(shares: np.ndarray, counts: np.ndarray, strata: np.ndarray | None = None) -> np.ndarray:
    """Return the covariance matrix of sums whose units contribute `shares`.

    Parameters
    ----------
    shares : ndarray of shape (n_units, n_columns)
        Linearised contributions, as of `influence`.
    counts : ndarray of shape (n_units,)
        How many equal units each row stands for.
    strata : ndarray of shape (n_units,), optional
        Codes of strata; contributions are centred, and ddof = 1 is taken, within each.

    Returns
    -------
    ndarray of shape (n_columns, n_columns)
        NaN where a stratum has a single unit.
    """
    strata = np.zeros(len(shares), dtype=np.int64) if strata is None else strata
    total = np.zeros((shares.shape[1],) * 2)
    for s in np.unique(strata):
        inside = strata == s
        c, v = counts[inside].astype(float), shares[inside]
        size = c.sum()
        centred = v - (c @ v) / size
        factor = size / (size - 1) if size > 1 else np.nan
        total = total + factor * (centred.T * c) @ centred
    return total


def standard_error(units: Units) -> np.ndarray:
    """Return the linearised standard error of every column.

    With one judgement per unit it equals sd(ddof = 1) / sqrt(n); with several it is the
    cluster-robust error of a ratio.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[1.0], [0.0], [1.0], [0.5]])
    >>> float(standard_error(Units(y, np.ones_like(y)))[0]) == float(y.std(ddof=1) / 2)
    True
    """
    out = np.empty(units.y.shape[1])
    for k in range(units.y.shape[1]):
        used = units.m[:, k] > 0
        if not used.any():
            out[k] = np.nan
            continue
        one = Units(
            units.y[used, k : k + 1],
            units.m[used, k : k + 1],
            units.counts[used],
            None if units.strata is None else units.strata[used],
        )
        out[k] = np.sqrt(covariance(influence(one), one.counts, one.strata)[0, 0])
    return out


def jackknife_error(units: Units) -> np.ndarray:
    """Return the jackknife (CR3) standard error of every column: leave out one unit at a time.

    It equals `standard_error` where all units have one judgement, and is larger where some have many more
    than others; `effective_units` less one are the degrees of freedom that go with it. Not for strata.

    References
    ----------
    MacKinnon, J. G., Nielsen, M. O., Webb, M. D. (2023). Fast and reliable jackknife and bootstrap methods
    for cluster-robust inference. Journal of Applied Econometrics 38(5).

    Examples
    --------
    >>> units = Units(np.array([[1.0], [0.0], [1.0], [0.5]]), np.ones((4, 1)))
    >>> bool(np.allclose(jackknife_error(units), standard_error(units)))
    True
    """
    used = units.m > 0
    size = units.counts @ used
    apart = np.where(used, jackknife(units) - units.estimate, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.where(size > 1, (size - 1) / size, np.nan) * (units.counts @ apart**2))


def contrast_error(units: Units, contrast: np.ndarray) -> np.ndarray:
    """Return the jackknife (CR3) standard error of every contrast of the columns, within strata where given.

    Parameters
    ----------
    units : Units
        What is left out, one at a time.
    contrast : ndarray of shape (n_columns, n_contrasts)
        Weights of the columns, defined on the same units within a stratum.

    Returns
    -------
    ndarray of shape (n_contrasts,)
        NaN where a stratum has a single unit.

    Examples
    --------
    >>> units = Units(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]), np.ones((4, 2)))
    >>> contrast_error(units, np.array([[1.0], [-1.0]])).round(3).tolist()
    [0.289]
    """
    apart = np.where(units.m > 0, jackknife(units) - units.estimate, 0.0) @ contrast
    inside = (units.m > 0) @ (contrast != 0)
    strata = np.zeros(len(units.y), dtype=np.int64) if units.strata is None else units.strata
    variance = np.zeros(contrast.shape[1])
    for s in np.unique(strata):
        counts = np.where(strata == s, units.counts, 0)
        size = counts @ inside
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = variance + np.where(size > 1, (size - 1) / size, np.nan) * (counts @ apart**2)
    return np.sqrt(variance)


def effective_units(units: Units) -> np.ndarray:
    """Return how many equal units those of every column are worth: (sum m)^2 / sum m^2.

    Examples
    --------
    >>> effective_units(Units(np.zeros((3, 1)), np.array([[1.0], [1.0], [4.0]]))).tolist()
    [2.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (units.counts @ units.m) ** 2 / (units.counts @ units.m**2)


def undefined_errors(units: Units) -> np.ndarray:
    """Return for every column why its standard error is undefined, and "" where it is defined.

    Examples
    --------
    >>> units = Units(np.ones((3, 1)), np.ones((3, 1)), strata=np.array([0, 0, 1]))
    >>> undefined_errors(units).tolist()
    ['a stratum of one unit has no variance within']
    """
    strata = np.zeros(len(units.y), dtype=np.int64) if units.strata is None else units.strata
    reasons = np.full(units.y.shape[1], "", dtype=object)
    for k, used in enumerate((units.m > 0).T):
        sizes = np.bincount(strata[used], units.counts[used])
        if (sizes == 1).any():
            reasons[k] = "a stratum of one unit has no variance within"
        if sizes.sum() < 2:
            reasons[k] = "fewer than two units"
    return reasons


def jackknife(units: Units) -> np.ndarray:
    """Return theta without one unit of each row, of shape (n_units, n_columns)."""
    counts = units.counts
    return _ratio(counts @ units.y - units.y, counts @ units.m - units.m)
