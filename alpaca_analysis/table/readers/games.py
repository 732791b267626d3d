"""Two games in one record, one for each order of presentation: MT-bench's pairs, Arena-Hard's judgements."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.readers.arena import judged_turns, question_ids
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.rows import Rows, further, names, require_outcome

GRADES = {
    **dict.fromkeys(("A>>B", "A>B", "B<A", "B<<A"), 1.0),
    **dict.fromkeys(("A=B", "B=A"), 0.5),
    **dict.fromkeys(("B>A", "B>>A", "A<B", "A<<B"), 0.0),
}
STRONG = {"A>>B", "B>>A", "A<<B", "B<<A"}


def is_mt_bench(names: Any) -> bool:
    """Tell whether records are pairs that MT-bench's judge saw in both orders."""
    return all(name in names for name in ("model_1", "model_2", "g1_winner", "g2_winner"))


def is_arena_hard(names: Any) -> bool:
    """Tell whether records are judgements of Arena-Hard."""
    return "games" in names and "model" in names


def mt_bench(columns: Columns) -> Rows:
    """Make rows of MT-bench's ``gpt-4_pair.jsonl``: ``model_1`` comes first in game 1.

    Parameters
    ----------
    columns : Columns
        The fields ``model_1``, ``model_2``, ``g1_winner`` and ``g2_winner`` ("model_1", "model_2", "tie", or
        "error" for no verdict); optional ``question_id``, ``turn`` and ``judge`` (model and prompt).
    """
    coding = {"model_1": 1.0, "model_2": 0.0, "tie": 0.5, "error": np.nan}
    turns = judged_turns(columns)
    said = []
    for field in ("g1_winner", "g2_winner"):
        values = columns.require(field)
        if strange := [row for row, v in enumerate(values) if v is not None and not _is_word(v, coding)]:
            row, expected = strange[0], f"one of {', '.join(coding)}, or null"
            raise AnnotationError(expected, source=columns.source, row=row, column=field, found=values[row])
        said.append([np.nan if v is None else coding[v] for v in values])
    named = {
        "dataset": None,
        "model": names(columns, "model_1", required=True),
        "reference": names(columns, "model_2", required=True),
        "annotator": _judge(columns),
    }
    used = {"model_1", "model_2", "g1_winner", "g2_winner", "judge", "question_id"}
    used |= {f"g{game}_{text}" for game in (1, 2) for text in ("user_prompt", "judgment")}
    extra: dict[str, Any] = further(columns, used)
    if turns is not None:
        extra["turn"] = turns
    ids = question_ids(columns, "question_id", turns or [None] * len(columns))
    return _rows(columns, ids, named, np.array(said).T, extra)


def arena_hard(columns: Columns, *, strong_weight: int = 1) -> Rows:
    """Make rows of Arena-Hard's judgements: in game 1 the baseline is A, in game 2 the model.

    Each verdict counts once; ``strong`` marks ``A>>B`` and ``B>>A``. With another weight they count as
    Arena-Hard's own program counts: strong verdicts weigh so much (``n``), and where one of the two games has
    no verdict neither counts.

    Parameters
    ----------
    columns : Columns
        The fields ``model`` and ``games`` (two, each with a ``score``); optional ``baseline``, ``judge``,
        ``uid`` or ``question_id``, ``category``.
    strong_weight : int
        Weight of a strong verdict; Arena-Hard publishes with 3.
    """
    scores = [_scores(games, columns.source, row) for row, games in enumerate(columns.require("games"))]
    as_a = np.array([[GRADES.get(score or "", np.nan) for score in pair] for pair in scores])
    strong = np.array([score in STRONG for pair in scores for score in pair])
    if strong_weight > 1:
        as_a[np.isnan(as_a).any(axis=1)] = np.nan
    named = {
        "dataset": None,
        "model": names(columns, "model", required=True),
        "reference": names(columns, "baseline"),
        "annotator": names(columns, "judge"),
    }
    field = "uid" if "uid" in columns else "question_id"
    extra: dict[str, Any] = further(columns, {"games", "model", "baseline", "judge", "uid", "question_id"})
    rows = _rows(
        columns,
        question_ids(columns, field, [None] * len(columns)),
        named,
        np.column_stack([1 - as_a[:, 0], as_a[:, 1]]),
        extra,
        first=(2, 1),
    )
    rows.extra["strong"] = strong
    if strong_weight > 1:
        rows.extra["n"] = np.where(strong & ~np.isnan(rows.outcome), strong_weight, 1)
    return rows


def _scores(games: Any, source: str, row: int) -> list:
    good = isinstance(games, list) and len(games) == 2
    found = (
        [_grade(game.get("score")) if isinstance(game, dict) else None for game in games] if good else None
    )
    if found is None or any(score is not None and not _is_word(score, GRADES) for score in found):
        expected = f"two games with a 'score' of {', '.join(GRADES)} or null"
        raise AnnotationError(expected, source=source, row=row, column="games", found=found or games)
    return found


def _grade(score: Any) -> Any:
    """Return a verdict without the brackets in which judges write it."""
    return score.strip().removeprefix("[[").removesuffix("]]") if isinstance(score, str) else score


def _rows(
    columns: Columns, ids: list, named: dict, outcome: np.ndarray, extra: dict, *, first: tuple = (1, 2)
) -> Rows:
    """Return two rows for each record, with the position of the model's output."""
    n = len(columns)
    unknown = np.full(2 * n, np.nan)
    twice = {name: _twice(values) for name, values in extra.items()}
    return require_outcome(
        Rows(
            source=columns.source,
            ids=_twice(ids),
            names={name: _twice(values) for name, values in named.items()},
            outcome=outcome.ravel(),
            length_model=unknown,
            length_reference=unknown,
            extra=twice | {"position": np.tile(first, n)},
            record=np.repeat(np.arange(n), 2),
            sha256=columns.sha256,
            n_not_text=0,
        )
    )


def _judge(columns: Columns) -> list | None:
    """Return who judged: a name, or a model and the name of its prompt."""
    values = columns.get("judge")
    if values is None:
        return None
    called = []
    for row, value in enumerate(values):
        parts = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(part, str) for part in parts):
            expected = "a name (text), or a list of texts"
            raise AnnotationError(expected, source=columns.source, row=row, column="judge", found=value)
        called.append(" ".join(parts) or None)
    return called


def _is_word(value: Any, coding: dict) -> bool:
    return isinstance(value, str) and value in coding


def _twice(values: Any) -> Any:
    """Return each value of a list twice; what stands for all rows still does."""
    return [value for value in values for _ in range(2)] if isinstance(values, list) else values
