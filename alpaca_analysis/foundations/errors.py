"""What the package raises and warns of."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

_ABSENT = object()
_PACKAGE = str(Path(__file__).resolve().parents[1])


class UndefinedWarning(UserWarning):
    """A result is NaN because the data do not define it; the ``note`` column says why."""


class StoppedWarning(UserWarning):
    """Judging was stopped when it had decided; statistics that ignore that are biased."""


class AnnotationError(ValueError):
    """Input that is not what was expected; the message names file, row, column, value and expectation."""

    def __init__(self, expected, *, source="table", row=None, column=None, found=_ABSENT):
        place = [str(source)]
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column!r}")
        said = f"expected {expected}"
        if found is not _ABSENT:
            said = f"found {found if isinstance(found, Verbatim) else _shorten(found)}, {said}"
        super().__init__(f"{', '.join(place)}: {said}")


class DataUnavailableError(OSError):
    """Data that is neither bundled, mirrored nor cached, and could not be downloaded; says what to do."""


class Verbatim(str):
    """A text that goes into a message as it is."""


def _shorten(value, limit=80):
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn in the line outside this package that led here.

    Parameters
    ----------
    message : str
        What the user has to know.
    category : type of Warning
        Such as `UndefinedWarning`.
    """
    depth, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)
