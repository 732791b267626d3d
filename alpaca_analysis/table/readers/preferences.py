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
    MOST_COMPLETIONS,
    Rows,
    codes,
    further,
    instruction_id,
    lengths,
    names,
    numbers,
    require_outcome,
)

SIGNED = (  # HelpSteer3, HelpSteer2
    ("response1", "response2", "overall_preference"),
    ("response_1", "response_2", "preference_strength"),
)
SIDES = ("chosen", "rejected")
AUTO_J = ("response 1", "response 2", "label")
LABELS = {0: 1.0, 1: 0.0, 2: 0.5, "0": 1.0, "1": 0.0, "2": 0.5}
PREFERRED = {"a": 1.0, "text_a": 1.0, "b": 0.0, "text_b": 0.0, "tie": 0.5, "draw": 0.5}


def is_helpsteer(names: Any) -> bool:
    """Tell whether records are HelpSteer's, with a signed preference between two responses."""
    return any(all(name in names for name in fields) for fields in SIGNED)


def is_chosen(names: Any) -> bool:
    """Tell whether records are pairs of a chosen and a rejected response."""
    return "chosen" in names and "rejected" in names


def is_annotated_pairs(names: Any) -> bool:
    """Tell whether records are comparisons of AnnotatedPairs."""
    return all(name in names for name in ("response_a", "response_b", "annotations"))


def is_auto_j(names: Any) -> bool:
    """Tell whether records are Auto-J's pairs with people's labels."""
    return all(name in names for name in AUTO_J)


def helpsteer(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of HelpSteer3 or 2: negative where response 1 is better, 0 a draw; how much better is kept.

    Parameters
    ----------
    columns : Columns
        The fields ``response1``, ``response2``, ``overall_preference`` (-3 to 3) and ``context``, or
        ``response_1``, ``response_2``, ``preference_strength`` and ``prompt``.
    texts : bool
        Keep prompt and responses.
    """
    *written, said = next((f for f in SIGNED if all(name in columns for name in f)), SIGNED[0])
    columns.require(said)
    preference = numbers(columns, said)
    sides = [columns.texts(name) for name in written]
    asked = "context" if "context" in columns else "prompt"
    outcome = np.where(np.isnan(preference), np.nan, (1 - np.sign(preference)) / 2)
    named = dict(zip(("model", "reference"), written, strict=True))
    extra = further(columns, {*written, asked})
    return _rows(columns, named, _prompts(columns, asked), sides, outcome, extra, texts)


def auto_j(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of Auto-J's pairs: people preferred response 1 (0), response 2 (1) or neither (2).

    Parameters
    ----------
    columns : Columns
        The fields ``response 1``, ``response 2``, ``label`` and ``prompt``; optional ``scenario``.
    texts : bool
        Keep prompt and responses.
    """
    *written, said = AUTO_J
    sides = [columns.require(name) for name in written]
    expected = "0 for response 1, 1 for response 2, 2 for a draw, or null"
    outcome = codes(columns.require(said), LABELS, columns=columns, column=said, expected=expected)
    named = {"model": written[0], "reference": written[1], "annotator": "human"}
    extra = further(columns, {*AUTO_J, "prompt"})
    return _rows(columns, named, _prompts(columns, "prompt"), sides, outcome, extra, texts)


def chosen(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of chosen and rejected responses; ``chosen_model`` and ``rejected_model`` name them.

    Where a record has lists of texts, as in RewardBench 2, each chosen one against each rejected one makes a
    row; ``models`` names the chosen ones first.

    Parameters
    ----------
    columns : Columns
        The fields ``chosen`` and ``rejected``, texts, lists of messages or lists of texts; optional
        ``prompt``, scores.
    texts : bool
        Keep prompt and responses.
    """
    said = [columns.require(side) for side in SIDES]
    several = any(isinstance(value, list) and value and isinstance(value[0], str) for value in said[0])
    pairs = _several(columns, said) if several else [(row, 0, 0) for row in range(len(columns))]
    record = [row for row, *_ in pairs]
    if several:
        sides = [
            [values[row][k] for row, *at in pairs for k in [at[side]]] for side, values in enumerate(said)
        ]
        models: list = _models_of_several(columns, said, pairs)
    else:
        sides = [
            [_text(value, columns, row, side) for row, value in enumerate(values)]
            for side, values in zip(SIDES, said, strict=True)
        ]
        models = [names(columns, f"{side}_model") for side in SIDES]
    if None in models:
        models = list(SIDES)
        warn(f"{columns.source}: 'chosen' wins by construction: compare lengths and features, not win rates")
    extra = further(columns, {*SIDES, "prompt", "chosen_model", "rejected_model"})
    prompts = _prompts(columns, "prompt" if "prompt" in columns or several else "chosen")
    if several:
        extra = {name: [values[row] for row in record] for name, values in extra.items()}
        prompts = [prompts[row] for row in record]
    named = {"model": models[0], "reference": models[1]}
    return _rows(columns, named, prompts, sides, np.ones(len(record)), extra, texts, record=record)


def _several(columns: Columns, said: list) -> list[tuple[int, int, int]]:
    """Return every pair of a chosen and a rejected text: its record, and which texts of the two lists."""
    pairs = []
    for row, both in enumerate(zip(*said, strict=True)):
        for side, listed in zip(SIDES, both, strict=True):
            good = isinstance(listed, list) and 0 < len(listed) <= MOST_COMPLETIONS
            if not good or not all(isinstance(text, str) for text in listed):
                expected = f"a list of 1 to {MOST_COMPLETIONS} texts, as in other rows"
                raise AnnotationError(expected, source=columns.source, row=row, column=side, found=listed)
        pairs += [(row, a, b) for a in range(len(both[0])) for b in range(len(both[1]))]
    return pairs


def _models_of_several(columns: Columns, said: list, pairs: list) -> list:
    """Return who wrote the texts of every pair, None where records do not name a model for each text."""
    listed = columns.get("models") or [None] * len(columns)
    for models, *both in zip(listed, *said, strict=True):
        whole = isinstance(models, list) and len(models) == sum(map(len, both))
        if not whole or not all(isinstance(name, str) for name in models):
            return [None, None]
    return [
        [listed[row][a] for row, a, _ in pairs],
        [listed[row][len(said[0][row]) + b] for row, _, b in pairs],
    ]


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
    columns: Columns,
    named: dict,
    prompts: list,
    sides: list,
    outcome: np.ndarray,
    extra: dict,
    texts: bool,
    *,
    record: list | None = None,
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
            record=None if record is None else np.array(record),
            sha256=columns.sha256,
        )
    )
