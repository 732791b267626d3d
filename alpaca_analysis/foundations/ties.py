"""Equal is equal: ties, zeros and signs of computed numbers.

Means that are equal on paper differ in the last binary digit, and by which digit depends on the order of
rows and on the processor. Whatever ranks, compares, counts ties or asks for zero does so on the numbers that
`tied` returns.
"""

from __future__ import annotations

import numpy as np

GAP = 1e-10  # relative to the larger of 1 and the largest magnitude: what separates two groups of numbers
NO_ERROR = 1e-12  # standard errors below are 0
VERDICTS = (0.0, 0.5, 1.0)


def tied(values, axis: int = -1) -> np.ndarray:
    """Return the numbers with ties made exact: all members of a group take its smallest value.

    The finite numbers are sorted; a new group starts where the gap to the number before exceeds `GAP` times
    the larger of 1 and the largest magnitude. NaN and infinities stay as they are. Unlike rounding, the rule
    has no grid edges; it cannot merge means of verdicts of up to 805 instructions, which differ by 7.7e-7 or
    more.

    Parameters
    ----------
    values : array_like of float
        Numbers of one scale, such as win rates.
    axis : int
        Along which numbers are compared with each other.

    Returns
    -------
    ndarray of float
        Of the same shape.

    Examples
    --------
    >>> x = tied([0.1 + 0.2, 0.3, 0.4])
    >>> bool(x[0] == x[1]), bool(x[1] == x[2])
    (True, False)
    """
    values = np.moveaxis(np.asarray(values, dtype=float), axis, -1)
    if values.shape[-1] == 0:
        return np.moveaxis(values.copy(), -1, axis)
    finite = np.isfinite(values)
    order = np.argsort(np.where(finite, values, np.inf), axis=-1, kind="stable")
    x = np.take_along_axis(np.where(finite, values, np.nan), order, axis=-1)
    largest = np.maximum(np.max(np.abs(values), axis=-1, where=finite, initial=0.0), 1.0)
    opens = np.ones(x.shape, dtype=bool)
    opens[..., 1:] = ~(np.diff(x, axis=-1) <= GAP * largest[..., None])
    first = np.maximum.accumulate(np.where(opens, np.arange(x.shape[-1]), 0), axis=-1)
    out = np.empty_like(values)
    np.put_along_axis(out, order, np.take_along_axis(x, first, axis=-1), axis=-1)
    return np.moveaxis(np.where(finite, out, values), -1, axis)


def equal(a, b) -> np.ndarray:
    """Tell where two numbers tie, entry by entry.

    Examples
    --------
    >>> equal([0.1 + 0.2, 0.5], 0.3).tolist()
    [True, False]
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    with np.errstate(invalid="ignore"):
        close = np.abs(a - b) <= GAP * np.maximum(np.maximum(np.abs(a), np.abs(b)), 1.0)
    return close | (a == b)


def difference(a, b) -> np.ndarray:
    """Return a - b, exactly 0 where the two tie.

    Examples
    --------
    >>> difference([0.1 + 0.2, 0.5], [0.3, 0.3]).tolist()
    [0.0, 0.2]
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.where(equal(a, b), 0.0, a - b)


def standard_error(error) -> np.ndarray:
    """Return standard errors, exactly 0 where they are below `NO_ERROR`.

    Examples
    --------
    >>> standard_error([1e-17, 0.02]).tolist()
    [0.0, 0.02]
    """
    error = np.asarray(error, dtype=float)
    return np.where(error < NO_ERROR, 0.0, error)


def verdicts(outcome) -> np.ndarray:
    """Return outcomes, exactly 0, 0.5 or 1 where they are within 1e-12 of it.

    Examples
    --------
    >>> verdicts([1 - 1e-16, 0.5 + 1e-16, 0.3]).tolist()
    [1.0, 0.5, 0.3]
    """
    outcome = np.array(outcome, dtype=float)
    for verdict in VERDICTS:
        outcome[np.abs(outcome - verdict) <= NO_ERROR] = verdict
    return outcome
