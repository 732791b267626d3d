"""One check for each kind of option, and the names that options may take."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, get_args

Interval = Literal["bca", "percentile", "t"]
WinRateInterval = Literal["bca", "percentile", "t", "wilson"]
LengthControlInterval = Literal["sandwich", "bca", "percentile"]
Adjustment = Literal["holm", "max-t"]
Ranked = Literal["win_rate", "rating"]
Looks = Literal["last", "all"]
Baselines = Literal["auto", "published"]
Scale = Literal["characters", "log_ratio", "tanh"]
Feature = Literal["tanh", "clip", "log_ratio"]
Scoring = Literal["zero_one", "absolute"]
Order = Literal["auto", "both", "random", "model_first", "reference_first"]
OnMissing = Literal["report", "ignore", "raise"]
NonAnswer = Literal["length", "content_filter", "refusal", "tool_calls", "error", "empty", "unreadable"]
Coefficient = Literal["pearson", "spearman", "kendall"]
PartialCoefficient = Literal["pearson", "spearman"]
Emphasis = Literal["bold"]
Place = Literal["column", "page", "long"]


def one_of(name: str, value: Any, allowed: Any) -> None:
    """Raise unless `value` is one of `allowed`, a collection or a `Literal` type.

    Parameters
    ----------
    name : str
        Of the option.
    value : object
        What was given.
    allowed : collection or Literal
        What is accepted.

    Raises
    ------
    ValueError
        Names the option, the value found and what was expected.

    Examples
    --------
    >>> one_of("method", "median", Interval)
    Traceback (most recent call last):
    ...
    ValueError: method: found 'median', expected one of bca, percentile, t
    """
    names = tuple(get_args(allowed) or allowed)
    if not any(value is one or (isinstance(value, str | Real) and value == one) for one in names):
        raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(map(str, names))}")


def number(
    name: str,
    value: Any,
    low: float = float("-inf"),
    high: float = float("inf"),
    *,
    closed: str = "both",
    hint: str = "",
) -> float:
    """Return `value` as a float, or raise unless it is a number between `low` and `high`.

    Parameters
    ----------
    name : str
        Of the option.
    value : object
        What was given.
    low, high : float
        Bounds.
    closed : {"both", "left", "right", "neither"}
        Which bounds belong to the range.
    hint : str
        Added to the message.

    Examples
    --------
    >>> number("alpha", 5, 0, 1, closed="neither")
    Traceback (most recent call last):
    ...
    ValueError: alpha: found 5, expected a number in (0, 1)
    """
    left, right = closed in ("both", "left"), closed in ("both", "right")
    good = isinstance(value, Real) and not isinstance(value, bool)
    good = good and (low <= value if left else low < value) and (value <= high if right else value < high)
    if not good:
        raise ValueError(f"{name}: found {value!r}, expected {_range(low, high, left, right)}{hint}")
    return float(value)


def _range(low, high, left, right):
    if low == float("-inf") and high == float("inf"):
        return "a finite number"
    if high == float("inf"):
        return f"a number {'>=' if left else '>'} {low:g}"
    if low == float("-inf"):
        return f"a number {'<=' if right else '<'} {high:g}"
    return f"a number in {'[' if left else '('}{low:g}, {high:g}{']' if right else ')'}"


def level(name: str, value: Any) -> float:
    """Return a probability strictly between 0 and 1, such as a confidence level, or raise."""
    percent = isinstance(value, int | float) and 1 < value < 100
    hint = f"; did you mean {value / 100:g}?" if percent else ""
    return number(name, value, 0, 1, closed="neither", hint=hint)


def fraction(name: str, value: Any, *, closed: str = "both") -> float:
    """Return a fraction between 0 and 1, or raise; a percentage is named as what it probably is."""
    percent = isinstance(value, int | float) and 1 < value <= 100
    return number(
        name, value, 0, 1, closed=closed, hint=f"; did you mean {value / 100:g}?" if percent else ""
    )


def whole(name: str, value: Any, minimum: int = 1) -> int:
    """Return a whole number of at least `minimum`, or raise.

    Examples
    --------
    >>> whole("n_resamples", 99.5)
    Traceback (most recent call last):
    ...
    ValueError: n_resamples: found 99.5, expected a whole number of at least 1
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}: found {value!r}, expected a whole number of at least {minimum}")
    return int(value)


def wholes(name: str, values: Any, minimum: int = 1) -> list[int]:
    """Return a sequence of one or more whole numbers of at least `minimum` as a list, or raise.

    Examples
    --------
    >>> wholes("sizes", (100, 300), 2)
    [100, 300]
    """
    given = _listed(values)
    if not given:
        raise ValueError(f"{name}: found {values!r}, expected a sequence of whole numbers")
    return [whole(name, value, minimum) for value in given]


def increasing(name: str, values: Any) -> list[float]:
    """Return a sequence of one or more increasing numbers as a list, or raise.

    Examples
    --------
    >>> increasing("edges", [30, 20])
    Traceback (most recent call last):
    ...
    ValueError: edges: found [30, 20], expected increasing numbers
    """
    found = [number(name, value) for value in _listed(values)]
    if not found or any(b <= a for a, b in itertools.pairwise(found)):
        raise ValueError(f"{name}: found {values!r}, expected increasing numbers")
    return found


def texts(name: str, values: Any) -> list[str]:
    """Return a sequence of texts as a list, or raise; a single text is refused, for it is one of letters.

    Examples
    --------
    >>> texts("stop", "END")
    Traceback (most recent call last):
    ...
    ValueError: stop: found 'END', expected a sequence of texts, such as ['END']
    """
    if isinstance(values, str):
        raise ValueError(f"{name}: found {values!r}, expected a sequence of texts, such as [{values!r}]")
    found = _listed(values)
    if not isinstance(values, Iterable) or not all(isinstance(value, str) for value in found):
        raise ValueError(f"{name}: found {values!r}, expected a sequence of texts")
    return found


def some_of(name: str, values: Any, allowed: Any) -> list[str]:
    """Return a sequence of texts of which each is one of `allowed` as a list, or raise.

    Examples
    --------
    >>> some_of("ask_again", ["cut"], NonAnswer)
    Traceback (most recent call last):
    ...
    ValueError: ask_again: found 'cut', expected one of length, content_filter, refusal, tool_calls, error, \
empty, unreadable
    """
    found = texts(name, values)
    for value in found:
        one_of(name, value, allowed)
    return found


def _listed(values) -> list:
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []


def groups(by: Any, results: Collection[str] = (), *, name: str = "by") -> list[str]:
    """Return the columns that make a group as a list, or raise.

    Parameters
    ----------
    by : str or sequence of str
        What was given.
    results : collection of str
        Columns of the result, which a group may not be named like.
    name : str
        Of the option.

    Raises
    ------
    ValueError
        No column, one twice, one of the result, or one that is what is measured.

    Examples
    --------
    >>> groups("model"), groups(["model", "dataset"])
    (['model'], ['model', 'dataset'])
    """
    if isinstance(by, str):
        by = [by]
    if not isinstance(by, Sequence) or not by or not all(isinstance(column, str) for column in by):
        raise ValueError(f"{name}: found {by!r}, expected the name of a column or a list of names")
    by = list(by)
    if twice := [column for i, column in enumerate(by) if column in by[:i]]:
        raise ValueError(f"{name}: found {twice[0]!r} twice, expected each column once")
    if clash := [column for column in by if column in results]:
        raise ValueError(f"{name}: found {clash[0]!r}, which is a column of the result; rename it first")
    if measured := [column for column in by if column in ("outcome", "n")]:
        raise ValueError(f"{name}: found {measured[0]!r}, which is what is measured, not a group")
    return by


def check_options(confidence_level: float = 0.95, n_resamples: int = 1) -> None:
    """Raise `ValueError` for a level outside (0, 1), or for less than one resample."""
    level("confidence_level", confidence_level)
    whole("n_resamples", n_resamples)
