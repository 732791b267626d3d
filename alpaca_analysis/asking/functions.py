"""A user's own function, asked as a server is: tried again, and an exception costs one request only."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from alpaca_analysis.asking.server import FIRST_PAUSE, LONGEST_OWN_PAUSE, ServerError


def call(function: Callable, *arguments: Any, retries: int = 0, who: str = "function") -> Any:
    """Return what a function says, after `retries` further tries where it raises.

    Parameters
    ----------
    function : callable
        Whose exceptions may be of any kind.
    *arguments
        What it is given.
    retries : int
        Tries after the first, with growing pauses.
    who : str
        What the function is, for the message.

    Raises
    ------
    ServerError
        The function raised every time.

    Examples
    --------
    >>> call(max, 1, 2)
    2
    """
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(min(LONGEST_OWN_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0))
        try:
            return function(*arguments)
        except Exception as error:  # whatever a person's function raises
            said = f"the {who} raised {type(error).__name__}: {error}"[:300]
    raise ServerError(said)


def name_of(function: Callable) -> str:
    """Return what a function is called, of a lambda or an object its kind.

    Examples
    --------
    >>> name_of(lambda: None), name_of(max)
    ('lambda', 'max')
    """
    return getattr(function, "__name__", type(function).__name__).strip("<>")
