"""Correlation coefficients of many rows at once: Pearson, Spearman, and Kendall's tau-b."""

from __future__ import annotations

import numpy as np
from scipy import stats

from alpaca_analysis.foundations import ties

NAMES = {"pearson": "Pearson's r", "spearman": "Spearman's rho", "kendall": "Kendall's tau-b"}
CHUNK_CELLS = 1_000_000


def coefficient(x: np.ndarray, y: np.ndarray, method: str) -> np.ndarray:
    """Return the coefficient of every row of `x` and `y`, each (n_rows, n_models); NaN where undefined.

    Ranks are those of `ties.tied` numbers.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> [round(float(coefficient(x, x[:, [0, 2, 1, 3]], m)[0]), 3) for m in NAMES]
    [0.8, 0.8, 0.667]
    """
    if method == "pearson":
        return pearson(x, y)
    return _of_ranks(ties.tied(x, axis=1), ties.tied(y, axis=1), method)


def _of_ranks(x, y, method):
    if method == "kendall":
        size = max(1, CHUNK_CELLS // x.shape[1])
        parts = [_kendall(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
        return np.where(np.isnan(x).any(axis=1) | np.isnan(y).any(axis=1), np.nan, np.concatenate(parts))
    return pearson(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))


def resampled(x: np.ndarray, y: np.ndarray, indices: np.ndarray, method: str) -> np.ndarray:
    """Return the coefficient of every resample of points.

    Parameters
    ----------
    x, y : ndarray of shape (n_models,)
        The points.
    indices : ndarray of int of shape (n_resamples, n_models)
        Which points each resample holds.
    method : {"pearson", "spearman", "kendall"}
        Coefficient. Kendall's needs each two points' signs only once, and how often they meet.

    Returns
    -------
    ndarray of shape (n_resamples,)
    """
    if method == "pearson":
        return pearson(x[indices], y[indices])
    n, x, y = len(x), ties.tied(x), ties.tied(y)
    if method == "spearman":
        return _of_ranks(x[indices], y[indices], method)
    # Sums of signs are whole numbers below 2^24, exact also in single precision.
    a, b = (np.sign(v[:, None] - v).astype(np.float32) for v in (x, y))
    signs = (a * b, a * a, b * b)
    size = max(1, CHUNK_CELLS // n)
    sums = np.empty((3, len(indices)))
    for start in range(0, len(indices), size):
        part = indices[start : start + size]
        cell = part + np.arange(len(part))[:, None] * n
        times = np.bincount(cell.ravel(), minlength=len(part) * n).reshape(len(part), n)
        times = times.astype(np.float32)
        for total, sign in zip(sums, signs, strict=True):
            total[start : start + size] = np.einsum("ij,ij->i", times @ sign, times, dtype=float)
    return _over(sums[0], sums[1] * sums[2])


def pearson(x: np.ndarray, y: np.ndarray, where: np.ndarray | bool = True) -> np.ndarray:
    """Return Pearson's coefficient of every row over the entries that `where` marks; NaN where undefined."""
    varies = _varies(x, where) & _varies(y, where)
    x, y = (np.where(where, v, 0.0) for v in (x, y))
    n = np.broadcast_to(where, x.shape).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.where(where, v - v.sum(axis=1, keepdims=True) / n, 0.0) for v in (x, y))
    squares = (x**2).sum(axis=1) * (y**2).sum(axis=1)
    return np.where(varies, np.clip(_over((x * y).sum(axis=1), squares), -1, 1), np.nan)


def _varies(values, where):
    """Tell for every row whether its largest and smallest entry do not tie."""
    largest = np.max(values, axis=1, where=where, initial=-np.inf)
    return ~ties.equal(largest, np.min(values, axis=1, where=where, initial=np.inf))


def _over(sums, squares):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, sums / np.sqrt(squares), np.nan)


def _kendall(x, y):
    """Return tau-b of every row; discordant pairs are inversions of y in the order of x (Knight 1966)."""
    n = x.shape[1]
    a, b = _places(x), _places(y)
    both = np.sort(a * np.int64(n) + b, axis=1)
    pairs = n * (n - 1) // 2
    tied_x, tied_y, tied_both = (_tied(v) for v in (both // n, np.sort(b, axis=1), both))
    untied = pairs - tied_x - tied_y + tied_both
    return _over(untied - 2 * _inversions(both % n), (pairs - tied_x) * (pairs - tied_y).astype(float))


def _places(values):
    """Return the place of every value among the distinct ones of its row, from 0."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.zeros(values.shape, dtype=np.int64)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, out=place[:, 1:])
    out = np.empty_like(place)
    np.put_along_axis(out, order, place, axis=1)
    return out


def _tied(ordered):
    """Return the number of equal pairs in every row of sorted values: of each, how many equal it before."""
    at = np.arange(ordered.shape[1])
    first = np.zeros(ordered.shape, dtype=np.int64)
    first[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], at[1:], 0)
    return (at - np.maximum.accumulate(first, axis=1)).sum(axis=1)


def _inversions(values):
    """Count in every row the pairs whose earlier value is larger: a merge sort of all rows at once."""
    rows, n = values.shape
    width = 1 << (n - 1).bit_length()
    key = np.full((rows, width), n, dtype=np.int32)  # what fills up is larger than all, and last
    key[:, :n] = values
    total, half = np.zeros(rows, dtype=np.int64), 1
    while half < width:
        blocks = 2 * key.reshape(rows, -1, 2 * half)
        blocks[:, :, half:] += 1  # the lowest bit says from which half; equal values keep their order
        blocks.sort(axis=2)
        right = blocks & 1
        total += (np.cumsum(right, axis=2, dtype=np.int32) * (1 - right)).sum(axis=(1, 2))
        key, half = (blocks >> 1).reshape(rows, width), 2 * half
    return total
