"""Packages that only some of the work needs: a missing one is told with the line that installs it."""

from __future__ import annotations

import importlib


def need(module: str, install: str, what: str) -> None:
    """Say what needs a module that is missing, and how it is installed.

    Parameters
    ----------
    module : str
        Its name.
    install : str
        What pip is to be given.
    what : str
        What needs it.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.

    Examples
    --------
    >>> need("no_such_module", "alpaca-analysis[judge]", "asking a server")
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: asking a server needs no_such_module: pip install 'alpaca-analysis[judge]'
    """
    try:
        importlib.import_module(module)
        return
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
    raise ModuleNotFoundError(f"{what} needs {module}: pip install '{install}'", name=module)
