"""Arena battles: ``model_a``, ``model_b`` and ``winner``, as Chatbot Arena and MT-bench publish them."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import (
    Rows,
    codes,
    frame,
    instruction_id,
    lengths,
    names,
    numbers,
    require_outcome,
)

WINNERS = {
    "model_a": 1.0,
    "model_b": 0.0,
    **dict.fromkeys(
        ("tie", "tie (bothbad)", "tie (both bad)", "both_bad", "bothbad", "tie (inconsistent)"), 0.5
    ),
}


def to_rows(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of battles: `model_a` becomes the model, `model_b` the reference.

    The prompt is what the user said up to the judged turn of ``conversation_a``, else the column
    ``instruction``, ``prompt`` or ``question``, else ``question_id`` stands for it. Lengths count
    what the assistant wrote in ``conversation_*``, else ``output_*`` or ``response_*``. Battles that
    the same annotator fought over the same prompt are numbered in ``repeat``.

    Parameters
    ----------
    columns : Columns
        The fields ``model_a``, ``model_b``, ``winner``; optional ``judge`` (or ``annotator``),
        ``turn``, ``dataset``, and those named above.
    texts : bool
        Keep prompt and outputs.
    """
    expected = f"one of {', '.join(map(repr, WINNERS))}, or null"
    coding = WINNERS | {"": np.nan}  # as CSV says null
    outcome = codes(columns.require("winner"), coding, columns=columns, column="winner", expected=expected)
    judge = next((c for c in ("annotator", "judge") if c in columns), "annotator")
    turns = _turns(columns)
    prompts, ids = _prompts(columns, turns)
    sides = [_written(columns, side) for side in "ab"]
    named = {
        "dataset": names(columns, "dataset"),
        "model": names(columns, "model_a", required=True),
        "reference": names(columns, "model_b", required=True),
        "annotator": names(columns, judge),
    }
    extra: dict[str, Any] = {} if turns is None else {"turn": turns}
    repeat = _repeats(ids, named, columns.source)
    if repeat is not None:
        extra["repeat"] = repeat
    if texts:
        extra |= {"instruction": prompts, "output_model": sides[0], "output_reference": sides[1]}
    return require_outcome(
        Rows(
            source=columns.source,
            ids=ids,
            names=named,
            outcome=outcome,
            length_model=lengths(sides[0]),
            length_reference=lengths(sides[1]),
            extra=extra,
            sha256=columns.sha256,
        )
    )


def _prompts(columns: Any, turns: list | None) -> tuple[list, list]:
    """Return the prompts' texts and their ids; where no text is known the question's id serves."""
    turns = turns or [None] * len(columns)
    if "conversation_a" in columns:
        said = columns.require("conversation_a")
        prompts = ["\n\n".join(_said(c, "user", columns, i, "a")[: turns[i]]) for i, c in enumerate(said)]
        return prompts, [instruction_id(p) for p in prompts]
    for name in ("instruction", "prompt", "question"):
        if name in columns:
            prompts = columns.texts(name)
            return prompts, [instruction_id(p) for p in prompts]
    if "question_id" not in columns:
        return [None] * len(columns), [None] * len(columns)
    questions = columns.require("question_id")
    ids = [f"{q}" if turn is None else f"{q}/{turn}" for q, turn in zip(questions, turns, strict=True)]
    return [None] * len(columns), ids


def _written(columns: Any, side: Any) -> list:
    if f"conversation_{side}" in columns:
        conversations = columns.require(f"conversation_{side}")
        return ["\n\n".join(_said(c, "assistant", columns, i, side)) for i, c in enumerate(conversations)]
    for name in ("output", "response"):
        if f"{name}_{side}" in columns:
            return columns.require(f"{name}_{side}")
    return [None] * len(columns)


def _turns(columns: Any) -> list | None:
    """Return the judged turn of each record, counted from 1, or None where it is not said."""
    if "turn" not in columns:
        return None
    turns = numbers(columns, "turn")
    if (wrong := (turns < 1) | (turns != np.floor(turns)) & ~np.isnan(turns)).any():
        row = int(np.flatnonzero(wrong)[0])
        found = columns.get("turn")[row]
        raise AnnotationError(
            "a whole number >= 1", source=columns.source, row=row, column="turn", found=found
        )
    return [None if np.isnan(turn) else int(turn) for turn in turns]


def _said(conversation: Any, role: str, columns: Any, row: int, side: Any) -> list:
    try:
        said = [turn["content"] for turn in conversation if turn["role"] == role and turn["content"]]
    except (TypeError, KeyError):
        said = [None]
    if isinstance(conversation, (str, dict)) or not all(isinstance(text, str) for text in said):
        raise AnnotationError(
            "a list of turns with 'role' and a text as 'content'",
            source=columns.source,
            row=row,
            column=f"conversation_{side}",
            found=conversation,
        )
    return said


def _repeats(ids: Any, named: Any, source: str) -> np.ndarray | None:
    """Return numbers from 0 for battles of equal key; None if keys are unique or prompts unknown."""
    table = frame({"id": ids, **{k: named[k] for k in ("model", "reference", "annotator")}}, source)
    number = table.groupby(list(table), dropna=False, sort=False).cumcount().to_numpy()
    return number.astype(np.int64) if number.any() and ids[0] is not None else None
