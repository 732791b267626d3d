"""One bar for what takes more than a moment: only where a person watches, on a terminal or in a notebook."""

from __future__ import annotations

import os
import sys
import warnings

PATIENCE = 1.0  # seconds before a bar appears


def watched() -> bool:
    """Say whether a person watches: a terminal, or a notebook's kernel, whose streams are no terminal.

    ``TQDM_DISABLE=1`` says that nobody does, as where notebooks are executed to be kept.

    Examples
    --------
    >>> import os
    >>> os.environ["TQDM_DISABLE"] = "1"
    >>> watched()
    False
    >>> del os.environ["TQDM_DISABLE"]
    """
    if os.environ.get("TQDM_DISABLE", "0") not in ("", "0"):
        return False
    return sys.stderr.isatty() or in_kernel()


def in_kernel() -> bool:
    """Say whether this is a kernel of Jupyter."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


def bar(total: int | None, label: str, *, shown: bool | None = None, **look):
    """Return a progress bar to be used in a ``with`` statement; it vanishes when it is done.

    Parameters
    ----------
    total : int, optional
        Steps, where their number is known.
    label : str
        What is being done.
    shown : bool, optional
        Whether to show it; by default where a person watches.
    **look
        Further options of `tqdm.tqdm`, such as ``unit``.

    Examples
    --------
    >>> with bar(3, "Counting") as steps:
    ...     for _ in range(3):
    ...         _ = steps.update()
    """
    shown = watched() if shown is None else shown
    if in_kernel():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets it is a line of text
            from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    options = {"delay": PATIENCE, "leave": False, "file": sys.stderr, **look}
    return tqdm(total=total, desc=label, disable=not shown, **options)
