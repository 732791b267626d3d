"""From a judge's completion to a preference, or to the reason why there is none: nothing is guessed.

A reading is a pair ``(outcome, reason)``: the outcome is 1 where the output shown first is preferred,
0 for the second, 0.5 for a draw, in between if weighted; NaN, with a reason, where the completion
does not say.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from alpaca_analysis.table.readers.probabilities import log_probability, share_of_first

Reading = tuple[float, str]
MOST = 1.02  # probability that a list of tokens may have together, after rounding
LONGEST = 20_000  # characters; a ranking is about a hundred


def read_ranking(completion: str, *, names: Sequence[str] = ("model_1", "model_2")) -> Reading:
    """Read a list of two records that rank both outputs.

    Parameters
    ----------
    completion : str
        A Python or JSON literal such as ``[{"model": "model_1", "rank": 1}, {"model": "model_2",
        "rank": 2}]`` and nothing else. Equal ranks are a draw.
    names : (str, str)
        What the first and the second output were called.

    Returns
    -------
    (float, str)
        Outcome of the first output, and why it is NaN.

    Notes
    -----
    AlpacaEval's ``ranking_parser`` looks at the rank of the first name alone. This reader agrees with
    it wherever both ranks are given, once each and different; equal ranks are a draw here and a win
    of the first there, and a list that leaves a name out, names one twice or contradicts itself has no
    outcome here.

    Examples
    --------
    >>> read_ranking("[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]")
    (0.0, '')
    >>> read_ranking("Both are fine.")
    (nan, 'not a ranking')
    """
    ranking = _literal(completion)
    if not isinstance(ranking, (list, tuple)) or not all(isinstance(r, dict) for r in ranking):
        return math.nan, "not a ranking"
    found = [(record.get("model"), record.get("rank")) for record in ranking]
    ranks = {name: [rank for model, rank in found if model == name] for name in names}
    if len(found) != 2 or any(len(r) != 1 for r in ranks.values()):
        return math.nan, "not one rank for each of the two"
    first, second = (ranks[name][0] for name in names)
    if not all(
        isinstance(r, (int, float)) and not isinstance(r, bool) and r in (1, 2) for r in (first, second)
    ):
        return math.nan, "a rank that is not 1 or 2"
    return (second - first + 1) / 2, ""


def _literal(text):
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def read_label_logprobs(
    top_logprobs: Any,
    *,
    labels: Sequence[str] = ("m", "M"),
    min_mass: float = 0.0,
    max_doubt: float = 1.0,
) -> Reading:
    """Read the preference from the probabilities of the two labels as the first token.

    Parameters
    ----------
    top_logprobs : list of dict
        ``token`` and ``logprob`` of the likeliest first tokens, as the server lists them. Anything else that
        a server says has no outcome.
    labels : (str, str)
        The tokens that stand for the first and the second output, exactly.
    min_mass : float
        Least probability that both labels together must have: below it the judge was about to say
        something else, and the ratio of two small numbers is no preference. 0 accepts any, as
        AlpacaEval does.
    max_doubt : float
        Most that a label which is not listed may lower the outcome of the other, if it were as likely as the
        list leaves room for. A list of one token says little of two labels. 1 accepts any, as AlpacaEval
        does.

    Returns
    -------
    (float, str)
        p(first) / (p(first) + p(second)), a label that is not listed counting 0; and why it is NaN.

    Notes
    -----
    With ``min_mass=0`` and ``max_doubt=1`` this is 2 minus what AlpacaEval's ``logprob_parser`` returns with
    ``is_binarize=False``.

    Examples
    --------
    >>> import math
    >>> outcome, _ = read_label_logprobs([{"token": "m", "logprob": math.log(0.6)},
    ...                                   {"token": "M", "logprob": math.log(0.2)}])
    >>> round(outcome, 12)
    0.75
    """
    if not isinstance(top_logprobs, (list, tuple)) or not top_logprobs:
        return math.nan, "no logprobs"
    found = [
        (entry.get("token"), log_probability(entry.get("logprob")))
        for entry in top_logprobs
        if isinstance(entry, Mapping)
    ]
    listed = {token: value for token, value in found if isinstance(token, str) and token in labels}
    if not listed:
        return math.nan, "neither label among the likeliest tokens"
    if None in listed.values():
        return math.nan, "log probabilities that are no numbers of at most 0"
    likely = {token: value for token, value in listed.items() if value is not None}
    every = [math.exp(value) for _, value in found if value is not None]
    if min_mass > 0 and sum(every) > MOST:
        return math.nan, "log probabilities that are more than certain together"
    if sum(map(math.exp, likely.values())) < min_mass:
        return math.nan, "labels too unlikely"
    if len(likely) == 1 and _doubt(math.exp(next(iter(likely.values()))), every) > max_doubt:
        return math.nan, "one label is not listed, and may be likely"
    share = share_of_first(likely, labels)
    return share, "labels too unlikely" if math.isnan(share) else ""


def _doubt(label, every):
    """Return the greatest share of a label that is not listed, beside the one that is.

    It is at most as likely as the last token of the list, and as what the list leaves over.
    """
    unlisted = max(0.0, min(min(every), 1 - sum(every)))
    return unlisted / (label + unlisted) if label + unlisted > 0 else 0.0


_CHOICE = re.compile(r"pair[ ]+(\d{1,4})[ ]*:[ ]*(A|B|draw)[ ]*\.?", re.ASCII | re.IGNORECASE)
_CHOICES = {"A": 1.0, "B": 0.0, "DRAW": 0.5}


def read_choices(completion: str, n: int) -> list[Reading]:
    r"""Read one numbered choice a line for each of `n` pairs.

    Parameters
    ----------
    completion : str
        Lines such as ``Pair 1: A``, ``Pair 2: B`` or ``Pair 3: draw``; other lines are passed over.
    n : int
        How many pairs were shown.

    Returns
    -------
    list of (float, str)
        One reading a pair. Choices are matched by their number, never by their order; a pair that is
        missing or named twice has none, and a number out of range makes all numbers worthless.

    Examples
    --------
    >>> read_choices("Pair 2: B\nPair 1: draw", 3)
    [(0.5, ''), (0.0, ''), (nan, 'no choice for this pair')]
    """
    found: dict[int, list[float]] = {number: [] for number in range(1, n + 1)}
    for line in completion.splitlines():
        match = _CHOICE.fullmatch(line.strip())
        if match is None:
            continue
        number = int(match[1])
        if number not in found:
            return [(math.nan, f"a choice for pair {number} of {n}")] * n
        found[number].append(_CHOICES[match[2].upper()])
    return [_single(choices) for choices in found.values()]


def _single(choices):
    if not choices:
        return math.nan, "no choice for this pair"
    if len(choices) > 1:
        return math.nan, "several choices for this pair"
    return choices[0], ""
