"""PandaLM's test set: three human verdicts per pair, and judges' verdicts joined by ``idx``.

1 and 2 name the better response; 0 and ``Tie`` are draws; any other text is no usable answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.readers.files import Columns, read_columns
from alpaca_analysis.table.readers.rows import (
    Rows,
    codes,
    further,
    instruction_id,
    lengths,
    require_outcome,
    with_input,
)

HUMANS = ("annotator1", "annotator2", "annotator3")
OWN = {"idx", "cmp_key", "instruction", "input", "response1", "response2", *HUMANS}
VERDICTS = {0: 0.5, 1: 1.0, 2: 0.0, "0": 0.5, "1": 1.0, "2": 0.0, "Tie": 0.5}


def is_testset(columns: Columns) -> bool:
    """Tell whether these are the pairs with their human verdicts."""
    return "response1" in columns and "annotator1" in columns


def verdict_column(columns: Columns) -> str | None:
    """Return the field that holds a judge's verdicts, if these are a judge's records."""
    found = [name for name in columns.names if str(name).endswith("_result")]
    return found[0] if len(found) == 1 and "idx" in columns else None


def to_rows(parts: Sequence[Columns], *, texts: bool = False) -> list[Rows]:
    """Make rows of a test set and any number of judges' files.

    ``model`` and ``reference`` are the two names in ``cmp_key``, in the order of the responses; the
    humans are annotators ``human_1`` to ``human_3``, a judge is named by its file. ``repeat`` is
    ``idx``: some rows repeat instruction, input and both responses. Other columns of numbers, truth values
    and short texts are kept, those of the test set for every verdict on the pair.

    Parameters
    ----------
    parts : sequence of Columns
        Test set and judges' files in any order. A judge's file alone finds the test set beside it.
    texts : bool
        Keep instruction and responses.

    Raises
    ------
    AnnotationError
        No test set, or an ``idx`` that it does not know.
    """
    testsets = [columns for columns in parts if is_testset(columns)]
    judges = [columns for columns in parts if not is_testset(columns)]
    if len(testsets) > 1:
        found = Verbatim(testsets[0].source)
        raise AnnotationError("one PandaLM test set", source=testsets[1].source, found=found)
    pairs = _Pairs(testsets[0] if testsets else _beside(judges[0]))
    rows = [pairs.rows(human, f"human_{i}", texts) for i, human in enumerate(HUMANS, 1)] if testsets else []
    rows += [_judge(columns, pairs, texts) for columns in judges]
    for later in rows[1:]:
        later.n_not_text = 0  # the same responses: counted once
    return rows


def _beside(columns: Any) -> Any:
    """Read the test set in the folder of a judge's file."""
    candidates = sorted(columns.path.parent.glob("testset*.json*")) if columns.path else []
    for path in candidates:
        found = read_columns(path)
        if is_testset(found):
            return found
    raise AnnotationError(
        "the PandaLM test set beside this file of verdicts, or in the same list of paths",
        source=columns.source,
    )


class _Pairs:
    """The pairs of a test set, to which verdicts are joined."""

    def __init__(self, columns: Any):
        self.columns = columns
        self.instructions, self.inputs = columns.texts("instruction"), columns.texts("input")
        self.idx = _idx(columns)
        self.responses = columns.require("response1"), columns.require("response2")
        self.ids = [
            instruction_id(with_input(a, b)) for a, b in zip(self.instructions, self.inputs, strict=True)
        ]
        self.names = [self._split(key, row) for row, key in enumerate(columns.texts("cmp_key"))]
        self.lengths = [lengths(side) for side in self.responses]
        self.further = further(columns, OWN)
        self.row_of = {idx: row for row, idx in enumerate(self.idx)}
        if len(self.row_of) < len(self.idx):
            row = next(i for i, idx in enumerate(self.idx) if self.row_of[idx] != i)
            expected = "each idx once"
            raise AnnotationError(expected, source=columns.source, row=row, column="idx", found=self.idx[row])

    def _split(self, key: Any, row: Any) -> Any:
        sides = key.split("_")
        if len(sides) != 2:
            expected = "two model names joined by '_'"
            raise AnnotationError(expected, source=self.columns.source, row=row, column="cmp_key", found=key)
        return sides

    def rows(self, verdicts: str, annotator: str, texts: bool, *, judge: Any = None, of: Any = None) -> Any:
        """Make rows of the verdicts in a column of the test set, or of a judge's file."""
        columns = judge or self.columns
        of = np.arange(len(self.ids)) if of is None else of
        values = columns.require(verdicts)
        if judge is not None:  # a judge that answers something else gave no usable answer
            values = [None if isinstance(v, str) and v not in VERDICTS else v for v in values]
        expected = "0 or 'Tie' for a draw, 1 or 2 for the better response"
        extra: dict = {name: [column[i] for i in of] for name, column in self.further.items()}
        if judge is not None:
            extra |= further(judge, {"idx", verdicts})
        extra["repeat"] = np.array([self.idx[i] for i in of])
        if texts:
            extra |= {
                "instruction": [self.instructions[i] for i in of],
                "input": [self.inputs[i] for i in of],
                "output_model": [self.responses[0][i] for i in of],
                "output_reference": [self.responses[1][i] for i in of],
            }
        return require_outcome(
            Rows(
                source=columns.source,
                ids=[self.ids[i] for i in of],
                names={
                    "dataset": "pandalm",
                    "model": [self.names[i][0] for i in of],
                    "reference": [self.names[i][1] for i in of],
                    "annotator": annotator,
                },
                outcome=codes(values, VERDICTS, columns=columns, column=verdicts, expected=expected),
                length_model=self.lengths[0][of],
                length_reference=self.lengths[1][of],
                extra=extra,
                sha256=columns.sha256,
            )
        )


def _judge(columns: Any, pairs: Any, texts: bool) -> Any:
    verdicts = verdict_column(columns)
    for row, idx in enumerate(_idx(columns)):
        if idx not in pairs.row_of:
            expected = f"an idx of the test set {pairs.columns.source}"
            raise AnnotationError(expected, source=columns.source, row=row, column="idx", found=idx)
    of = np.array([pairs.row_of[idx] for idx in _idx(columns)])
    return pairs.rows(verdicts, _judge_name(columns.path, verdicts), texts, judge=columns, of=of)


def _idx(columns: Any) -> Any:
    """Return the field that ties verdicts to pairs: numbers or texts."""
    values = columns.require("idx")
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or value != value:
            raise AnnotationError(
                "a number or text", source=columns.source, row=row, column="idx", found=value
            )
    return values


def _judge_name(path: Path | None, verdicts: Any) -> str:
    if path is None:
        return verdicts.removesuffix("_result")
    return path.name.split(".json")[0].removesuffix("-testset-v1")
