"""One bar for what takes more than a moment: on standard error, and only where a person watches."""

from __future__ import annotations

import sys

PATIENCE = 1.0  # seconds before a bar appears


def bar(total: int | None, label: str):
    """Return a progress bar to be used in a ``with`` statement; it vanishes when it is done.

    Parameters
    ----------
    total : int, optional
        Steps, where their number is known.
    label : str
        What is being done.

    Examples
    --------
    >>> with bar(3, "Counting") as steps:
    ...     for _ in range(3):
    ...         _ = steps.update()
    """
    from tqdm import tqdm

    hidden = not sys.stderr.isatty()
    return tqdm(total=total, desc=label, disable=hidden, delay=PATIENCE, leave=False, file=sys.stderr)
