"""LLM Comparator's files, as the tool documents them and as `to_comparator` writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import id_text
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import (
    LONGEST_LABEL,
    RESERVED,
    Rows,
    finite,
    instruction_id,
    lengths,
    require_outcome,
)

LENGTHS = ("length_model", "length_reference")
TEXTS = ("input_text", "output_text_a", "output_text_b")


def is_comparator(names: Any) -> bool:
    """Tell whether records are examples of LLM Comparator."""
    return all(name in names for name in ("models", *TEXTS, "score"))


def to_rows(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of the ratings of each example, or of its score where there are none.

    A is the model and B the reference. Scores above 0 are wins of A, below 0 of B; what `to_comparator`
    writes also holds each rating's outcome. A flipped rating has ``position`` 2. Tags are the ``dataset``.
    Of the custom fields, numbers and short texts become columns, those of both models two, such as
    ``words_model`` and ``words_reference``; ``length`` is the length of the outputs, ``instruction_id`` the
    id.

    Parameters
    ----------
    columns : Columns
        One record an example: ``models``, ``input_text``, ``output_text_a``, ``output_text_b``, ``score`` and
        optionally ``tags``, ``individual_rater_scores``, ``custom_fields``.
    texts : bool
        Keep prompt and outputs.
    """
    prompts, *sides = (_texts(columns, name) for name in TEXTS)
    fields = [_fields(value) for value in columns.get("custom_fields") or [None] * len(columns)]
    ratings = [
        (row, *rating)
        for row, given in enumerate(_given(columns))
        for rating in _ratings(given, columns, row)
    ]
    record = [row for row, *_ in ratings]
    ids = [
        id_text(own.get("instruction_id")) or (None if text is None else instruction_id(text))
        for own, text in zip(fields, prompts, strict=True)
    ]
    model, reference = _models(columns)
    named = {
        "dataset": _tags(columns),
        "model": [model] * len(columns),
        "reference": [reference] * len(columns),
    }
    keys = [(ids[row], annotator, place) for row, _, place, annotator in ratings]
    extra: dict[str, Any] = {
        name: [own.get(name) for own in fields]
        for name in dict.fromkeys(name for own in fields for name in own)
        if name not in RESERVED and name != "position"
    }
    if texts:
        extra |= dict(
            zip(("instruction", "output_model", "output_reference"), (prompts, *sides), strict=True)
        )
    extra = {name: [values[row] for row in record] for name, values in extra.items()}
    position = np.array([place for _, _, place, _ in ratings], dtype=float)
    if not np.isnan(position).all():
        extra["position"] = position
    again = pd.Series(range(len(keys))).groupby(
        [pd.Series(part) for part in zip(*keys, strict=True)], dropna=False
    )
    if (number := again.cumcount().to_numpy()).any():
        extra["repeat"] = number
    written = [
        np.where(np.isnan(stated), counted, stated)
        for stated, counted in (
            (np.array([finite(own.get(name)) for own in fields]), lengths(side))
            for name, side in zip(LENGTHS, sides, strict=True)
        )
    ]
    return require_outcome(
        Rows(
            source=columns.source,
            ids=[ids[row] for row in record],
            names={name: [values[row] for row in record] for name, values in named.items()}
            | {"annotator": [annotator for *_, annotator in ratings]},
            outcome=np.array([outcome for _, outcome, *_ in ratings], dtype=float),
            length_model=written[0][record],
            length_reference=written[1][record],
            extra=extra,
            record=np.array(record),
            sha256=columns.sha256,
            n_not_text=sum(not isinstance(text, str) for side in sides for text in side),
        )
    )


def _given(columns: Columns) -> list[list]:
    """Return the ratings of every example; its score, where it has none, is the only one."""
    listed = columns.get("individual_rater_scores") or [None] * len(columns)
    scores = columns.require("score")
    return [
        value if isinstance(value, list) and value else [{"score": score}]
        for value, score in zip(listed, scores, strict=True)
    ]


def _ratings(given: list, columns: Columns, row: int) -> list[tuple[float, float, str | None]]:
    """Return the outcome, the position and the judge of every rating."""
    out = []
    for rating in given:
        said = rating.get("score") if isinstance(rating, dict) else rating
        score = finite(said)
        if not isinstance(rating, dict) or (said is not None and np.isnan(score)):
            expected = "a score: a number, positive where A is better, or null"
            raise AnnotationError(expected, source=columns.source, row=row, column="score", found=said)
        own = rating.get("custom_fields")
        own = own if isinstance(own, dict) else {}
        outcome, judge, flipped = finite(own.get("outcome")), own.get("judge"), rating.get("is_flipped")
        if not 0 <= outcome <= 1:
            outcome = (np.sign(score) + 1) / 2
        place = float(1 + flipped) if isinstance(flipped, bool) else np.nan
        out.append((outcome, place, judge if isinstance(judge, str) and judge else None))
    return out


def _models(columns: Columns) -> list[str]:
    """Return the names of the two models, which the file gives once."""
    models = columns.require("models")[0]
    listed = models if isinstance(models, list) else []
    named = [each.get("name") if isinstance(each, dict) else each for each in listed]
    known = [name for name in named if isinstance(name, str) and name]
    if len(named) != 2 or len(set(known)) != 2:
        expected = "two models with different names"
        raise AnnotationError(expected, source=columns.source, column="models", found=models)
    return known


def _texts(columns: Columns, name: str) -> list:
    """Return texts; of what comes in chunks, the texts among them."""
    return [_text(value, columns, row, name) for row, value in enumerate(columns.require(name))]


def _text(value: Any, columns: Columns, row: int, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(chunk, dict) for chunk in value):
        said = [chunk.get("data") for chunk in value if chunk.get("type", "text") == "text"]
        if all(isinstance(text, str) for text in said):
            return "\n".join(said)
    raise AnnotationError("text", source=columns.source, row=row, column=name, found=value)


def _tags(columns: Columns) -> list:
    listed = columns.get("tags") or [None] * len(columns)
    return [
        "; ".join(tag for tag in tags if isinstance(tag, str)) or None if isinstance(tags, list) else None
        for tags in listed
    ]


def _fields(value: Any) -> dict[str, Any]:
    """Return the custom fields that are one value, or one for each model."""
    out: dict[str, Any] = {}
    for name, said in value.items() if isinstance(value, dict) else ():
        if isinstance(said, list) and len(said) == 2 and all(map(_is_short, said)):
            out |= {f"{name}_model": said[0], f"{name}_reference": said[1]}
        elif _is_short(said):
            out[str(name)] = said
    return out


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_LABEL
    return value is None or isinstance(value, int | float)
