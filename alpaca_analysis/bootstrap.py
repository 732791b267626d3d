"""Resampling of units: weights drawn in chunks, ratios as matrix products, and intervals from them.

Everything here is about a *ratio of sums over units*, columns side by side:

    theta_k = sum_u y[u, k] / sum_u m[u, k]

A unit is what is resampled (an instruction with all its rows, or a judgement where no instruction
is known). With ``m`` the number of usable judgements and ``y`` the sum of their outcomes, theta is
a win rate; with other sums it is an agreement, a share, or a mean difference. All columns share each
resample, so differences between them keep their pairing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg, special, stats

CHUNK_CELLS = 200_000  # weights drawn at once: few enough to stay in the processor's cache


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


def _ratio(y, m):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(m > 0, y / m, np.nan)


def check_options(confidence_level: float = 0.95, n_resamples: int = 1) -> None:
    """Raise `ValueError` for a coverage that is no probability, or for less than one resample."""
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level: found {confidence_level!r}, expected a number in (0, 1)")
    if n_resamples < 1:
        raise ValueError(f"n_resamples: found {n_resamples!r}, expected at least 1")


def seed_of(rng) -> int | str:
    """Return the seed as a result states it: the number, or that a generator of unknown state was given."""
    return int(rng) if isinstance(rng, (int, np.integer)) else "generator"


def unit_of(identified) -> str:
    """Return what is resampled, as a result states it: instructions, where judgements name theirs."""
    return "instruction" if identified else "judgement (no instruction ids)"


def settings(*, method, unit, confidence_level=None, n_resamples=None, rng=None) -> dict:
    """Return what a result says of how it was computed; without resamples there is no seed.

    Examples
    --------
    >>> settings(method="t", unit="instruction", confidence_level=0.95)["seed"] is None
    True
    """
    return {
        "method": method,
        "unit": unit,
        "confidence_level": confidence_level,
        "n_resamples": n_resamples,
        "seed": None if n_resamples is None else seed_of(rng),
    }


def draw_weights(units: Units, *, n_resamples: int, rng, dtype=float) -> Iterator[np.ndarray]:
    """Yield blocks of weights: how often each unit occurs in each resample.

    Parameters
    ----------
    units : Units
        What is resampled.
    n_resamples : int
        Number of resamples in all.
    rng : int, Generator or SeedSequence
        Seed; the same seed gives the same weights, however they are cut into blocks.
    dtype : dtype
        Type of the weights, which are whole numbers.

    Yields
    ------
    ndarray of shape (n_block, n_units)
        Each stratum's weights sum to its number of units.
    """
    rng = np.random.default_rng(rng)
    strata = np.zeros(len(units.y), dtype=np.int64) if units.strata is None else units.strata
    groups = [np.flatnonzero(strata == s) for s in range(strata.max() + 1)]
    # Strata draw from streams of their own, so that blocks do not change whose turn it is.
    streams = [rng] if len(groups) == 1 else rng.spawn(len(groups))
    block = max(1, CHUNK_CELLS // max(1, len(strata)))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        weights = np.empty((size, len(strata)), dtype=dtype)
        for members, stream in zip(groups, streams, strict=True):
            multiplicity = None if units.multiplicity is None else units.multiplicity[members]
            weights[:, members if len(groups) > 1 else slice(None)] = _draw(
                multiplicity, len(members), size, stream
            )
        yield weights


def _draw(multiplicity, n, size, rng):
    if multiplicity is not None:
        total = int(multiplicity.sum())
        return rng.multinomial(total, multiplicity / total, size=size)
    # One bincount for the whole block: cell = resample * n + unit. `rng.multinomial` is far slower.
    cell = np.add(
        rng.integers(n, size=(size, n), dtype=np.int32), np.arange(size)[:, None] * n, dtype=np.intp
    )
    return np.bincount(cell.ravel(), minlength=size * n).reshape(size, n)


def resample(units: Units, *, n_resamples: int = 9999, rng=0) -> np.ndarray:
    """Return theta of every column in every resample.

    Parameters
    ----------
    units : Units
        What is resampled.
    n_resamples, rng
        As in `draw_weights`.

    Returns
    -------
    ndarray of shape (n_resamples, n_columns)
        NaN where a resample drew no usable judgement of a column.

    Examples
    --------
    >>> import numpy as np
    >>> units = Units(y=np.array([[1.0], [0.0], [1.0]]), m=np.ones((3, 1)))
    >>> resample(units, n_resamples=3, rng=0).shape
    (3, 1)
    """
    size = int(units.counts.sum())
    dtype = np.float32 if _exact_in_single(units, size) else np.float64
    y, m = units.y.astype(dtype), units.m.astype(dtype)
    varies = (units.m != units.m[:1]).any(axis=0)  # elsewhere the denominator is the same in every resample
    total = np.where(varies, np.nan, size * units.m[0])
    out = np.empty((n_resamples, units.y.shape[1]))
    start = 0
    for weights in draw_weights(units, n_resamples=n_resamples, rng=rng, dtype=dtype):
        rows = slice(start, start + len(weights))
        below = np.broadcast_to(total, out[rows].shape).copy()
        below[:, varies] = weights @ m[:, varies]
        out[rows] = _ratio((weights @ y).astype(float), below)
        start += len(weights)
    return out


def _exact_in_single(units, size):
    """Tell whether all sums are exact in single precision, as those of verdicts (0, 0.5, 1) are."""
    largest = size * max(np.abs(units.y).max(initial=0), np.abs(units.m).max(initial=0))
    halves = all((2 * v == np.rint(2 * v)).all() for v in (units.y, units.m))
    return halves and largest < 2**22


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

    With one judgement a unit it equals sd(ddof = 1) / sqrt(n); with several it is the
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


def percentile_interval(resamples: np.ndarray, *, confidence_level=0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval of every column of `resamples` (n_resamples, n_columns)."""
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(resamples, [tail, 1 - tail], axis=0)
    return low, high


def bca_interval(estimate, resamples, leave_one_out, *, counts=None, confidence_level=0.95):
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
    apart = resamples - estimate
    rounding = 1e-12 * np.fmax.reduce(np.abs(resamples))  # sums in another order tie, though not in binary
    below = ((apart < -rounding).mean(axis=0) + (apart <= rounding).mean(axis=0)) / 2
    counts = np.ones(len(leave_one_out)) if counts is None else counts
    centred = np.average(leave_one_out, axis=0, weights=counts) - leave_one_out
    with np.errstate(invalid="ignore", divide="ignore"):
        z0 = special.ndtri(below)
        a = (counts @ centred**3) / (6 * (counts @ centred**2) ** 1.5)
        tail = special.ndtri(np.array([(1 - confidence_level) / 2, (1 + confidence_level) / 2]))[:, None]
        levels = special.ndtr(z0 + (z0 + tail) / (1 - a * (z0 + tail)))
    bounds = np.full((2, len(estimate)), np.nan)
    for k in np.flatnonzero(np.isfinite(levels).all(axis=0)):
        bounds[:, k] = np.nanquantile(resamples[:, k], levels[:, k])
    return bounds[0], bounds[1]


def interval(
    units: Units,
    *,
    contrast: np.ndarray | None = None,
    method: str = "bca",
    df: float | np.ndarray | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
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
        Degrees of freedom of "t"; by default the number of units less one.
    confidence_level, n_resamples, rng
        As elsewhere; the last two are ignored by "t".

    Returns
    -------
    estimate, standard_error, low, high : ndarray of shape (n_columns or n_contrasts,)
        Bounds are NaN where nothing varies or fewer than two units are left.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    >>> [x.round(3).tolist() for x in interval(Units(y, np.ones_like(y)), method="t")]
    [[0.75, 0.25], [0.25, 0.25], [-0.046, -0.546], [1.546, 1.046]]
    """
    used = units.m > 0
    if contrast is None:
        estimate, error, sizes = units.estimate, standard_error(units), units.counts @ used
    else:
        estimate = units.estimate @ contrast
        shares = influence(units) @ contrast
        error = np.sqrt(np.maximum(np.diag(covariance(shares, units.counts, units.strata)), 0))
        sizes = (units.counts @ used) @ (contrast != 0) / (contrast != 0).sum(axis=0)
    if method == "t":
        with np.errstate(invalid="ignore"):
            half = stats.t.ppf((1 + confidence_level) / 2, sizes - 1 if df is None else df) * error
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
    settled = ~(error > 1e-12)
    return estimate, error, np.where(settled, np.nan, low), np.where(settled, np.nan, high)
