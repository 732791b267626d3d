"""What log probabilities that a file holds say of the preferences it stores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LABELS = ("m", "M")  # AlpacaEval's, of the output shown first and second
HIGHEST = 0.01  # of a log probability: rounding may lift a certain token a little above 0
TOLERANCE = 0.005  # in probability: log probabilities are rounded, some servers to two digits


def log_probability(value: Any) -> float | None:
    """Return a log probability as a float, None for what is none: text, NaN, above 0, or out of range.

    Examples
    --------
    >>> log_probability(-2), log_probability(0.6), log_probability("-2")
    (-2.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if found <= HIGHEST else None


def share_of_first(logprobs: Mapping[str, float], labels: Sequence[str] = LABELS) -> float:
    """Return p(first) / (p(first) + p(second)); a label that is not listed counts 0, NaN where neither is.

    Examples
    --------
    >>> round(share_of_first({"m": math.log(0.6), "M": math.log(0.2)}), 12)
    0.75
    """
    first, second = (logprobs.get(label, -math.inf) for label in labels)
    largest = max(first, second)  # subtracted so that tiny probabilities do not vanish
    if largest == -math.inf:
        return math.nan
    a, b = math.exp(first - largest), math.exp(second - largest)
    return a / (a + b)


def told_by_probabilities(completions: Sequence[Any], outcome: np.ndarray, source: str) -> dict | None:
    """Compare weighted preferences with the log probabilities of the labels in the judge's completion.

    Which output was shown first is not stored, so that the two are compared without sides: by how far they
    are from a draw.

    Parameters
    ----------
    completions : sequence
        The field ``raw_completion``: where it is a choice of OpenAI's format, its first token is the label.
    outcome : ndarray of shape (n_rows,)
        As read from the stored preferences.
    source : str
        The file.

    Returns
    -------
    dict or None
        ``file``, ``n`` (preferences with log probabilities) and ``contradicted``: of those that differ
        ``row``, ``stored`` and ``told`` (the preferred side's share). None where there is nothing to compare:
        no log probabilities, or verdicts, which are rounded on purpose.

    Examples
    --------
    >>> top = [{"token": "m", "logprob": math.log(0.9)}, {"token": "M", "logprob": math.log(0.1)}]
    >>> said = [{"logprobs": {"content": [{"top_logprobs": top}]}}] * 2
    >>> told_by_probabilities(said, np.array([0.1, 0.4]), "a.json")["contradicted"]
    [{'row': 1, 'stored': 0.6, 'told': 0.9}]
    """
    if np.isin(outcome[~np.isnan(outcome)], (0.0, 0.5, 1.0)).all():
        return None
    n, contradicted = 0, []
    for row, (completion, stored) in enumerate(zip(completions, outcome.tolist(), strict=True)):
        told = share_of_first(_logprobs(completion))
        if math.isnan(told) or math.isnan(stored):
            continue
        n += 1
        stored, told = max(stored, 1 - stored), max(told, 1 - told)
        if abs(stored - told) > TOLERANCE:
            contradicted.append({"row": row, "stored": round(stored, 4), "told": round(told, 4)})
    return {"file": source, "n": n, "contradicted": contradicted} if n else None


def _logprobs(completion: Any) -> dict[str, float]:
    """Return the log probabilities of the labels as the first token, empty where there are none."""
    try:
        top = completion["logprobs"]["content"][0]["top_logprobs"]
        listed = {entry["token"]: entry["logprob"] for entry in top if entry["token"] in LABELS}
    except (TypeError, KeyError, IndexError, AttributeError):
        return {}
    read = {label: log_probability(value) for label, value in listed.items()}
    return {label: value for label, value in read.items() if value is not None}
