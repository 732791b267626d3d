"""Any other table of judgements, by the names that the user gives its columns and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import COLUMNS, NAMES, NO_ID, id_text
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import (
    Rows,
    codes,
    further,
    instruction_id,
    lengths,
    names,
    numbers,
    require_outcome,
    verdict_codes,
)

TEXTS = ("instruction", "output_model", "output_reference")
OPTIONAL = ("position", "repeat", "turn", "difficulty")
KNOWN = (*COLUMNS, *TEXTS, *OPTIONAL)


def check_columns(columns: Any) -> None:
    """Raise `ValueError` for a mapping of columns that cannot be meant."""
    good = isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns.values())
    if not good or not {"model", "outcome"} <= set(columns) <= set(KNOWN):
        known = ", ".join(KNOWN)
        raise ValueError(f"columns: found {columns!r}, expected 'model', 'outcome' and any of {known}")


def to_rows(
    columns: Columns, mapping: Mapping[str, str], *, texts: bool = False, values: Mapping | None = None
) -> Rows:
    """Make rows of a table whose columns have other names.

    Parameters
    ----------
    columns : Columns
        The fields.
    mapping : mapping of str to str
        Our names to theirs. For ``dataset``, ``model``, ``reference`` and ``annotator`` a name that is no
        column stands for all rows.
    texts : bool
        Keep ``instruction``, ``output_model`` and ``output_reference``.
    values : mapping, optional
        Verdicts by their meaning; without, outcomes are numbers from 0 to 1, or names of the two sides.
    """
    of = dict(mapping)
    for name, theirs in of.items():
        if name not in NAMES and theirs not in columns:
            found = Verbatim("the columns " + ", ".join(columns.names))
            raise AnnotationError(f"a column {theirs!r} for {name!r}", source=columns.source, found=found)
    named = {name: _named(columns, of.get(name)) for name in NAMES}
    prompts, ids = _prompts(columns, of)
    sides = [columns.require(of[name]) if name in of else [None] * len(columns) for name in TEXTS[1:]]
    measured = [
        numbers(columns, of[name]) if name in of else lengths(side)
        for name, side in zip(("length_model", "length_reference"), sides, strict=True)
    ]
    extra: dict[str, Any] = further(columns, set(of.values()))
    extra |= {name: numbers(columns, of[name]) for name in (*OPTIONAL, "n") if name in of}
    if texts:
        extra |= {"instruction": prompts, "output_model": sides[0], "output_reference": sides[1]}
    return require_outcome(
        Rows(
            source=columns.source,
            ids=ids,
            names=named,
            outcome=_outcomes(columns, of["outcome"], named, values),
            length_model=measured[0],
            length_reference=measured[1],
            extra=extra,
            sha256=columns.sha256,
        )
    )


def _named(columns: Columns, theirs: str | None) -> Any:
    return names(columns, theirs) if theirs is not None and theirs in columns else theirs


def _prompts(columns: Columns, of: Mapping[str, str]) -> tuple[list, list]:
    prompts = columns.texts(of["instruction"]) if "instruction" in of else [None] * len(columns)
    if "instruction_id" not in of:
        return prompts, [None if text is None else instruction_id(text) for text in prompts]
    ids = list(map(id_text, columns.require(of["instruction_id"])))
    if not any(ids):
        return prompts, [None] * len(columns)
    return prompts, [name or f"{NO_ID}{columns.source} {row}" for row, name in enumerate(ids)]


def _outcomes(columns: Columns, field: str, named: dict, values: Mapping | None) -> np.ndarray:
    said = columns.require(field)
    if values is not None:
        expected = f"one of the verdicts in values={dict(values)!r}, or null"
        return codes(said, verdict_codes(values), columns=columns, column=field, expected=expected)
    sides = [
        [side] * len(said) if side is None or isinstance(side, str) else side
        for side in (named["model"], named["reference"])
    ]
    return np.array(
        [
            _outcome(v, a, b, columns, field, row)
            for row, (v, a, b) in enumerate(zip(said, *sides, strict=True))
        ]
    )


def _outcome(
    value: Any, ours: str | None, theirs: str | None, columns: Columns, field: str, row: int
) -> float:
    if value is None or value != value or value == "":
        return np.nan
    if isinstance(value, str) and value in (ours, theirs) and ours != theirs:
        return float(value == ours)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise AnnotationError(
        "a number from 0 to 1 or the name of a side; or say what verdicts mean, as in "
        'values={"model": 1, "reference": 0, "draw": 0.5}',
        source=columns.source,
        row=row,
        column=field,
        found=value,
    )
