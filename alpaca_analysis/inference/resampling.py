"""Resamples of units: weights drawn in chunks, ratios as matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from alpaca_analysis.foundations.progress import bar
from alpaca_analysis.inference.ratios import Units, _ratio
from alpaca_analysis.inference.verdict_law import VerdictLaw, verdict_law

EXPANDED = 20_000  # judgements in a table of counts that are drawn one by one
CHUNK_CELLS = 200_000  # weights drawn at once: few enough to stay in the processor's cache


def draw_weights(units: Units, *, n_resamples: int, rng: Any, dtype: Any = float) -> Iterator[np.ndarray]:
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
    drawn = int(units.counts.sum()) if units.counts.sum() <= EXPANDED else len(strata)
    block = max(1, CHUNK_CELLS // max(1, drawn))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        weights = np.empty((size, len(strata)), dtype=dtype)
        for members, stream in zip(groups, streams, strict=True):
            multiplicity = None if units.multiplicity is None else units.multiplicity[members]
            weights[:, members if len(groups) > 1 else slice(None)] = _draw(
                multiplicity, len(members), size, stream
            )
        yield weights


def _draw(multiplicity: np.ndarray | None, n: int, size: int, rng: Any) -> np.ndarray:
    """Return the weights of `n` units in `size` resamples; only by methods whose stream NumPy keeps."""
    if multiplicity is None:
        return counted(rng.integers(n, size=(size, n), dtype=np.int32), n)
    total = int(multiplicity.sum())
    if total <= EXPANDED:
        row = np.repeat(np.arange(n, dtype=np.int32), multiplicity)
        return counted(row[rng.integers(total, size=(size, total), dtype=np.int32)], n)
    left, weights = np.full(size, total), np.empty((size, n), dtype=np.int64)
    share = multiplicity / np.cumsum(multiplicity[::-1])[::-1]
    for k in range(n):  # one category after the other, among what is left
        weights[:, k] = left if k == n - 1 else stats.binom.ppf(rng.random(size), left, share[k])
        left = left - weights[:, k]
    return weights


def counted(drawn: np.ndarray, n: int) -> np.ndarray:
    """Count how often each of n units was drawn in each row of `drawn`, in one pass over all cells."""
    size = len(drawn)
    cell = np.add(drawn, np.arange(size)[:, None] * n, dtype=np.intp)
    return np.bincount(cell.ravel(), minlength=size * n).reshape(size, n)


def resample(units: Units, *, n_resamples: int = 9999, rng: Any = 0) -> np.ndarray:
    """Return theta of every column in every resample.

    Parameters
    ----------
    units : Units
        What is resampled.
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

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
    if not len(units.y):
        return np.full((n_resamples, units.y.shape[1]), np.nan)
    if (laws := laws_of(units)) is not None:
        return _drawn_from(laws, n_resamples, np.random.default_rng(rng))
    size = int(units.counts.sum())
    dtype = np.float32 if _exact_in_single(units, size) else np.float64
    y, m = units.y.astype(dtype), units.m.astype(dtype)
    varies = (units.m != units.m[:1]).any(axis=0)  # elsewhere the denominator is the same in every resample
    total = np.where(varies, np.nan, size * units.m[0])
    out = np.empty((n_resamples, units.y.shape[1]))
    start = 0
    with bar(n_resamples, "Resampling") as steps:
        for weights in draw_weights(units, n_resamples=n_resamples, rng=rng, dtype=dtype):
            rows = slice(start, start + len(weights))
            below = np.broadcast_to(total, out[rows].shape).copy()
            below[:, varies] = weights @ m[:, varies]
            out[rows] = _ratio((weights @ y).astype(float), below)
            start += len(weights)
            steps.update(len(weights))
    return out


def laws_of(units: Units) -> list[VerdictLaw] | None:
    """Return the exact law of every column of counts of verdicts, or None where there is none.

    There is one where each column has a stratum, or the whole, to itself and every unit in it is one verdict.
    """
    if units.multiplicity is None:
        return None
    n_columns = units.y.shape[1]
    strata = np.zeros(len(units.y), dtype=np.int64) if units.strata is None else units.strata
    home = [np.unique(strata[units.m[:, k] > 0]) for k in range(n_columns)]
    if any(len(h) != 1 for h in home) or len({int(h[0]) for h in home}) < n_columns:
        return None
    laws = []
    for k, (stratum,) in enumerate(home):
        y, m, n = (v[strata == stratum] for v in (units.y[:, k], units.m[:, k], units.multiplicity))
        if not ((m == 1).all() and np.isin(y, (0.0, 0.5, 1.0)).all()):
            return None
        laws.append(verdict_law(*(int(n[y == v].sum()) for v in (1.0, 0.5, 0.0))))
    return laws


def _drawn_from(laws: Sequence[Any], size: int, rng: Any) -> np.ndarray:
    streams = [rng] if len(laws) == 1 else rng.spawn(len(laws))
    return np.column_stack([law.draw(size, stream) for law, stream in zip(laws, streams, strict=True)])


def _exact_in_single(units: Any, size: int) -> bool:
    """Tell whether all sums are exact in single precision, as those of verdicts (0, 0.5, 1) are."""
    largest = size * max(np.abs(units.y).max(initial=0), np.abs(units.m).max(initial=0))
    halves = all((2 * v == np.rint(2 * v)).all() for v in (units.y, units.m))
    return halves and largest < 2**22
