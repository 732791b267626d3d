"""LLMBar and LLMEval^2: pairs with a gold label, and judges' verdicts in both presentation orders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import Rows, codes, further, instruction_id, lengths, require_outcome

OWN = {"input", "output_1", "output_2", "results"}
VERDICTS = {1: 1.0, 2: 0.0, "1": 1.0, "2": 0.0}
ORDERS = {"swap = False": 1, "swap = True": 2}


def to_rows(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of a file of gold labels, or of one judge's results.

    ``output_1`` is the model, ``output_2`` the reference. The label's annotator is ``gold``. A judge
    under ``evaluators/<judge>/<strategy>/`` is called ``<judge>/<strategy>``; its two verdicts on a
    pair have ``position`` 1 (``output_1`` was shown first) and 2. Where a strategy asks again because
    the orders disagreed, the last round counts.

    Parameters
    ----------
    columns : Columns
        The fields ``input``, ``output_1``, ``output_2``, ``label``; a judge's file has ``results``. Other
        columns of numbers, truth values and short texts are kept.
    texts : bool
        Keep prompt and outputs.
    """
    prompts = columns.texts("input")
    sides = columns.require("output_1"), columns.require("output_2")
    if "results" in columns:
        annotator = _judge(columns.path)
        record, position, verdicts = _results(columns)
        column, expected = "results", "a winner '1' or '2', or null"
    else:
        annotator, record, position = "gold", np.arange(len(prompts)), None
        verdicts, column, expected = columns.require("label"), "label", "1 or 2"
    ids = list(map(instruction_id, prompts))
    outcome = codes(verdicts, VERDICTS, columns=columns, column=column, expected=expected)
    extra: dict[str, Any] = {
        name: [values[i] for i in record] for name, values in further(columns, {*OWN, column}).items()
    }
    if position is not None:
        extra["position"] = position
    written = [lengths(side) for side in sides]
    if texts:
        for name, values in zip(
            ("instruction", "output_model", "output_reference"), (prompts, *sides), strict=True
        ):
            extra[name] = [values[i] for i in record]
    return require_outcome(
        Rows(
            source=columns.source,
            ids=[ids[i] for i in record],
            names={
                "dataset": _dataset(columns.path),
                "model": "output_1",
                "reference": "output_2",
                "annotator": annotator,
            },
            outcome=outcome,
            length_model=written[0][record],
            length_reference=written[1][record],
            extra=extra,
            record=record,
            sha256=columns.sha256,
            n_not_text=int(sum(np.isnan(side).sum() for side in written)),
        )
    )


def _results(columns: Any) -> tuple:
    record, position, verdicts = [], [], []
    for row, rounds in enumerate(columns.require("results")):
        try:
            last = [(ORDERS[order], answer["winner"]) for order, answer in rounds[-1].items()]
        except (TypeError, KeyError, IndexError, AttributeError):
            last = []
        if not last:
            raise AnnotationError(
                "rounds of {'swap = False': {'winner': ...}, 'swap = True': ...}",
                source=columns.source,
                row=row,
                column="results",
                found=rounds,
            )
        for place, winner in last:
            record.append(row)
            position.append(place)
            verdicts.append(winner)
    return np.array(record), np.array(position), verdicts


def _judge(path: Any) -> Any:
    parts: tuple[str, ...] = Path(os.path.abspath(path)).parts if path is not None else ()
    return "/".join(parts[-3:-1]) if len(parts) > 3 and parts[-4] == "evaluators" else "judge"


def _dataset(path: Any) -> str | None:
    parts: tuple[str, ...] = Path(os.path.abspath(path)).parts if path is not None else ()
    if "evaluators" in parts:
        return parts[len(parts) - 2 - parts[::-1].index("evaluators")]
    return parts[-2] if len(parts) > 1 else None
