"""UltraFeedback: several completions of one instruction, each of them rated, compared two by two."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.readers.arena import repeats
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import (
    MOST_COMPLETIONS,
    RESERVED,
    Rows,
    finite,
    further,
    instruction_id,
    lengths,
    names,
    require_outcome,
)

MOST_SCORES = 20
OVERALL, MEAN = "overall_score", "fine-grained_score"
OWN = {"instruction", "source", "models", "completions"}


def is_ultrafeedback(names: Any) -> bool:
    """Tell whether records are instructions with rated completions."""
    return "completions" in names and "instruction" in names and "preference" not in names


def to_rows(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of every two completions of one instruction: the higher score wins, equal ones draw.

    The score is ``overall_score`` or, in files without one, the mean rating over the aspects that were rated
    (``fine-grained_score``). All scores and ratings are kept in columns for both sides, such as
    ``helpfulness_model`` and ``helpfulness_reference``.

    Parameters
    ----------
    columns : Columns
        The fields ``instruction`` and ``completions``, each with ``model``, ``response``, and
        ``overall_score`` or ``annotations`` (by aspect, a ``Rating``); optional ``source``.
    texts : bool
        Keep instruction and responses.
    """
    prompts = columns.texts("instruction")
    said = [_completions(value, columns, row) for row, value in enumerate(columns.require("completions"))]
    pairs = [
        (row, pair)
        for row, completions in enumerate(said)
        for pair in combinations(completions, 2)
        if pair[0]["model"] != pair[1]["model"]
    ]
    if not pairs:
        expected = "at least two completions, by two models, of one instruction"
        raise AnnotationError(expected, source=columns.source, column="completions", found=Verbatim("none"))
    record = np.array([row for row, _ in pairs])
    sides = [[pair[k] for _, pair in pairs] for k in range(2)]
    scores = _scores(columns, [each for completions in said for each in completions])
    rated = [
        {name: np.array([each["scores"].get(name, np.nan) for each in side]) for name in scores}
        for side in sides
    ]
    first, second = (side[scores[0]] if scores else np.full(len(pairs), np.nan) for side in rated)
    difference = first - second
    named = {
        "dataset": _of(names(columns, "source"), record),
        "model": [each["model"] for each in sides[0]],
        "reference": [each["model"] for each in sides[1]],
        "annotator": None,
    }
    ids = _of(list(map(instruction_id, prompts)), record)
    extra: dict[str, Any] = {name: _of(values, record) for name, values in further(columns, OWN).items()}
    for name in scores:
        extra |= {f"{name}_model": rated[0][name], f"{name}_reference": rated[1][name]}
    again = repeats(ids, named, columns.source)
    if again is not None:
        extra["repeat"] = again
    written = [[each["response"] for each in side] for side in sides]
    if texts:
        extra |= {"instruction": _of(prompts, record)}
        extra |= {"output_model": written[0], "output_reference": written[1]}
    return require_outcome(
        Rows(
            source=columns.source,
            ids=ids,
            names=named,
            outcome=(np.sign(difference) + 1) / 2,
            length_model=lengths(written[0]),
            length_reference=lengths(written[1]),
            extra=extra,
            record=record,
            sha256=columns.sha256,
            n_not_text=sum(not isinstance(each["response"], str) for listed in said for each in listed),
        )
    )


def _completions(value: Any, columns: Columns, row: int) -> list[dict]:
    """Return the completions of a record: who wrote what, and its scores by name."""
    good = isinstance(value, list) and len(value) <= MOST_COMPLETIONS
    good = good and all(isinstance(each, dict) for each in value)
    if not good or not all(isinstance(each.get("model"), str) for each in value):
        expected = f"a list of at most {MOST_COMPLETIONS} completions, each with a 'model' (text)"
        raise AnnotationError(expected, source=columns.source, row=row, column="completions", found=value)
    return [
        {"model": each["model"], "response": each.get("response"), "scores": _scores_of(each)}
        for each in value
    ]


def _scores_of(completion: dict) -> dict[str, float]:
    """Return the scores of a completion; what is no number, such as "N/A", is missing."""
    aspects = completion.get("annotations")
    ratings = {
        str(name): finite(said.get("Rating"))
        for name, said in (aspects.items() if isinstance(aspects, dict) else ())
        if isinstance(said, dict)
    }
    known = [rating for rating in ratings.values() if rating == rating]
    mean = finite(completion.get(MEAN))
    if mean != mean and known:
        mean = sum(known) / len(known)
    return {OVERALL: finite(completion.get(OVERALL)), MEAN: mean} | ratings


def _scores(columns: Columns, completions: list[dict]) -> list[str]:
    """Return the names of the scores that are known anywhere, the one that decides first."""
    known = dict.fromkeys(
        name for each in completions for name, score in each["scores"].items() if score == score
    )
    if len(known) > MOST_SCORES:
        expected = f"at most {MOST_SCORES} different scores"
        raise AnnotationError(expected, source=columns.source, column="completions", found=len(known))
    kept = [name for name in known if f"{name}_model" not in RESERVED]
    return sorted(kept, key=lambda name: (name != OVERALL, name != MEAN))


def _of(values: Any, record: np.ndarray) -> Any:
    return [values[row] for row in record] if isinstance(values, list) else values
