"""Preferences between two responses whose models are not named, and pairs that many annotators judged.

Sides are called what their columns are: ``response1``, ``chosen``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError, warn
from alpaca_analysis.table.checks import id_text
from alpaca_analysis.table.readers.arena import repeats, said_by
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import (
    Rows,
    further,
    instruction_id,
    lengths,
    names,
    numbers,
    require_outcome,
)

PREFERRED = {"a": 1.0, "text_a": 1.0, "b": 0.0, "text_b": 0.0, "tie": 0.5, "draw": 0.5}


def is_helpsteer(names: Any) -> bool:
    """Tell whether records are HelpSteer3's, with a signed preference between two responses."""
    return all(name in names for name in ("response1", "response2", "overall_preference"))


def is_chosen(names: Any) -> bool:
    """Tell whether records are pairs of a chosen and a rejected response."""
    return "chosen" in names and "rejected" in names


def is_annotated_pairs(names: Any) -> bool:
    """Tell whether records are comparisons of AnnotatedPairs."""
    return all(name in names for name in ("response_a", "response_b", "annotations"))


def helpsteer(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of HelpSteer3: negative where response 1 is better, 0 a draw; how much better is kept.

    Parameters
    ----------
    columns : Columns
        The fields ``response1``, ``response2``, ``overall_preference`` (-3 to 3) and ``context``.
    texts : bool
        Keep prompt and responses.
    """
    preference = numbers(columns, "overall_preference")
    sides = [columns.texts(f"response{k}") for k in (1, 2)]
    prompts = _prompts(columns, "context")
    outcome = np.where(np.isnan(preference), np.nan, (1 - np.sign(preference)) / 2)
    named = {"model": "response1", "reference": "response2"}
    return _rows(
        columns,
        named,
        prompts,
        sides,
        outcome,
        further(columns, {"response1", "response2", "context"}),
        texts,
    )


def chosen(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of chosen and rejected responses; ``chosen_model`` and ``rejected_model`` name them.

    Parameters
    ----------
    columns : Columns
        The fields ``chosen`` and ``rejected``, texts or lists of messages; optional ``prompt``, scores.
    texts : bool
        Keep prompt and responses.
    """
    models = [names(columns, f"{side}_model") for side in ("chosen", "rejected")]
    if None in models:
        models = ["chosen", "rejected"]
        warn(f"{columns.source}: 'chosen' wins by construction: compare lengths and features, not win rates")
    sides = [
        [_text(value, columns, row, side) for row, value in enumerate(columns.require(side))]
        for side in ("chosen", "rejected")
    ]
    named = {"model": models[0], "reference": models[1]}
    extra = further(columns, {"chosen", "rejected", "prompt", "chosen_model", "rejected_model"})
    prompts = _prompts(columns, "prompt" if "prompt" in columns else "chosen")
    return _rows(columns, named, prompts, sides, np.ones(len(columns)), extra, texts)


def annotated_pairs(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of AnnotatedPairs: one for each comparison and annotator.

    Parameters
    ----------
    columns : Columns
        The fields ``response_a``, ``response_b`` (texts, or ``text`` and ``model``) and ``annotations`` (by
        annotator, a ``pref`` of "a", "b", "tie" or null); optional ``prompt`` and ``id``.
    texts : bool
        Keep prompt and responses.
    """
    record, annotators, outcome = _votes(columns)
    none = [None] * len(columns)
    ids, prompts = columns.get("id") or none, columns.get("prompt") or none
    keys = [
        instruction_id(prompt) if isinstance(prompt, str) else id_text(own)
        for prompt, own in zip(prompts, ids, strict=True)
    ]
    sides = [_responses(columns, side) for side in ("response_a", "response_b")]

    def of_votes(values: list) -> list:
        return [values[row] for row in record]

    written = [of_votes([text for text, _ in side]) for side in sides]
    extra = {"instruction": of_votes(prompts), "output_model": written[0], "output_reference": written[1]}
    return require_outcome(
        Rows(
            source=columns.source,
            ids=of_votes(keys),
            names={
                "dataset": None,
                "model": of_votes([name for _, name in sides[0]]),
                "reference": of_votes([name for _, name in sides[1]]),
                "annotator": annotators,
            },
            outcome=np.array(outcome),
            length_model=lengths(written[0]),
            length_reference=lengths(written[1]),
            extra=extra if texts else {},
            record=np.array(record),
            sha256=columns.sha256,
        )
    )


def _votes(columns: Columns) -> tuple[list[int], list[str], list[float]]:
    """Return of every annotation its record, its annotator and its outcome."""
    votes = []
    for row, said in enumerate(columns.require("annotations")):
        for annotator, verdict in (said if isinstance(said, dict) else {}).items():
            found = verdict.get("pref") if isinstance(verdict, dict) else verdict
            if found is not None and (not isinstance(found, str) or found not in PREFERRED):
                expected = f"one of {', '.join(PREFERRED)}, or null"
                raise AnnotationError(
                    expected, source=columns.source, row=row, column="annotations", found=found
                )
            votes.append((row, str(annotator), np.nan if found is None else PREFERRED[found]))
    return [row for row, _, _ in votes], [who for _, who, _ in votes], [outcome for _, _, outcome in votes]


def _responses(columns: Columns, field: str) -> list[tuple[Any, str]]:
    """Return the text of each response and who wrote it, the field's own name where nobody says."""
    parts = [r if isinstance(r, dict) else {"text": r} for r in columns.require(field)]
    return [(part.get("text"), str(part.get("model") or field)) for part in parts]


def _prompts(columns: Columns, field: str) -> list:
    """Return what the user said: a text, or the messages of a conversation."""
    if field not in columns:
        return [None] * len(columns)
    return [
        value if isinstance(value, str | None) else _asked(said_by(value, "user", columns, row, field))
        for row, value in enumerate(columns.require(field))
    ]


def _asked(said: list) -> str:
    return "\n\n".join(filter(None, said))


def _text(value: Any, columns: Columns, row: int, field: str) -> Any:
    """Return a response: a text, or the last answer of a conversation."""
    if isinstance(value, str) or value is None:
        return value
    said = said_by(value, "assistant", columns, row, field)
    return said[-1] if said else None


def _rows(
    columns: Columns, named: dict, prompts: list, sides: list, outcome: np.ndarray, extra: dict, texts: bool
) -> Rows:
    named = {"dataset": None, "annotator": None} | named
    ids = [None if prompt is None else instruction_id(prompt) for prompt in prompts]
    again = repeats(ids, named, columns.source)
    if again is not None:
        extra = extra | {"repeat": again}
    if texts:
        extra = extra | {"instruction": prompts, "output_model": sides[0], "output_reference": sides[1]}
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
