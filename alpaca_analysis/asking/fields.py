"""Further fields of a request: what cannot be sent or meant is refused before anything is asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from alpaca_analysis.asking.replies import finite
from alpaca_analysis.foundations import options

_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "temperature": lambda name, value: options.number(name, value, 0, 2),
    "top_p": lambda name, value: options.number(name, value, 0, 1, closed="right"),
    "min_p": lambda name, value: options.number(name, value, 0, 1),
    "top_k": lambda name, value: options.whole(name, value, -1),
    "seed": lambda name, value: options.whole(name, value, -(2**63)),
    "n": options.whole,
    "best_of": options.whole,
    "frequency_penalty": lambda name, value: options.number(name, value, -2, 2),
    "presence_penalty": lambda name, value: options.number(name, value, -2, 2),
    "stop": lambda name, value: value if isinstance(value, str) else options.texts(name, value),
}


def check_fields(name: str, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return further fields of a request as a dictionary, or raise.

    Parameters
    ----------
    name : str
        Of the option that holds them.
    fields : mapping or None
        Any names, with values that JSON can hold; None leaves a field out. Those of OpenAI's protocol that
        decide the sampling, the number of answers or their length have to be possible values.

    Raises
    ------
    ValueError
        Names the field, the value found and what was expected.

    Examples
    --------
    >>> check_fields("extra", {"reasoning_effort": "low", "temperature": None})
    {'reasoning_effort': 'low', 'temperature': None}
    >>> check_fields("extra", {"seed": 1.7})
    Traceback (most recent call last):
    ...
    ValueError: extra['seed']: found 1.7, expected a whole number of at least -9223372036854775808
    """
    if fields is not None and not isinstance(fields, Mapping):
        raise ValueError(f"{name}: found {fields!r}, expected a mapping of names to values")
    found = dict(fields or {})
    for field, value in found.items():
        if not isinstance(field, str):
            raise ValueError(f"{name}: found {field!r}, expected a field's name")
        place = f"{name}[{field!r}]"
        check = options.whole if is_token_limit(field) else _CHECKS.get(field)
        if check is not None and value is not None:
            check(place, value)
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"{place}: found {value!r}, expected what JSON can hold") from None
    return found


def is_token_limit(field: str) -> bool:
    """Tell whether a field limits the tokens of an answer, whatever the server calls it.

    Examples
    --------
    >>> [is_token_limit(f) for f in ("max_tokens", "max_completion_tokens", "tokens")]
    [True, True, False]
    """
    return field.startswith("max_") and field.endswith("tokens")


def most_tokens(body: Mapping[str, Any]) -> float:
    """Return how many tokens all answers to a request may have together, infinity where it sets no limit.

    Examples
    --------
    >>> most_tokens({"max_tokens": 100, "n": 20}), most_tokens({"n": 20})
    (2000.0, inf)
    """
    limits = [finite(value) for field, value in body.items() if is_token_limit(field)]
    given = [limit for limit in limits if limit is not None]
    if not given or min(given) < 0:  # some servers read -1 as no limit
        return math.inf
    answers = [finite(body.get(field)) or 1.0 for field in ("n", "best_of")]
    return max(given) * max(1.0, *answers)
