"""JudgeBench: pairs of one model's responses, of which one is right, and judges' verdicts in both orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import id_text
from alpaca_analysis.table.readers.arena import repeats
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.games import GRADES
from alpaca_analysis.table.readers.rows import (
    Rows,
    codes,
    further,
    instruction_id,
    lengths,
    names,
    require_outcome,
)

SIDES = ("response_A", "response_B")
OWN = {"question", "source", "judgments", "judge_name", *SIDES}


def is_judgebench(names: Any) -> bool:
    """Tell whether records are JudgeBench's pairs, or a judge's verdicts on them."""
    return all(name in names for name in ("question", *SIDES)) and ("label" in names or "judgments" in names)


def to_rows(columns: Columns, *, texts: bool = False) -> Rows:
    """Make rows of the pairs with their labels, or of one judge's verdicts on them.

    Response A is the model, response B the reference; both are called after the model that wrote them, such
    as "gpt-4o A". The label's annotator is ``gold``. A judge is called by ``judge_name`` and its model; its
    verdicts have ``position`` 1 (A was shown first) and 2, and ``label`` stays a column. Several pairs of one
    question are numbered in ``repeat`` in the order of their ``pair_id``, which is also ``idx``, so that
    verdicts meet labels.

    Parameters
    ----------
    columns : Columns
        The fields ``question``, ``response_A``, ``response_B``, and ``label`` ("A>B", "B>A") or ``judgments``
        (one or two, each a ``decision``, or null). Optional ``pair_id``, ``response_model``, ``source``.
    texts : bool
        Keep question and responses.
    """
    prompts, sides = columns.texts("question"), [columns.require(side) for side in SIDES]
    if "judgments" in columns:
        record, position, outcome = _verdicts(columns)
        used, annotators = OWN, _judges(columns)
    else:
        record, position = np.arange(len(columns)), None
        expected = f"one of {', '.join(GRADES)}, or null"
        outcome = codes(columns.require("label"), GRADES, columns=columns, column="label", expected=expected)
        used, annotators = OWN | {"label"}, ["gold"] * len(columns)

    def of_rows(values: Any) -> Any:
        return [values[row] for row in record] if isinstance(values, list) else values

    ids = list(map(instruction_id, prompts))
    wrote = names(columns, "response_model")
    named = {
        "dataset": names(columns, "source"),
        "model": _called(wrote, SIDES[0]),
        "reference": _called(wrote, SIDES[1]),
        "annotator": annotators,
    }
    extra: dict[str, Any] = {name: of_rows(values) for name, values in further(columns, used).items()}
    again = _repeats(columns, ids, named)
    if again is not None:
        extra["repeat"] = again[record]
    if "pair_id" in extra:
        extra["idx"] = extra["pair_id"]  # by which verdicts are matched with labels
    if position is not None:
        extra["position"] = position
    if texts:
        kept = zip(("instruction", "output_model", "output_reference"), (prompts, *sides), strict=True)
        extra |= {name: of_rows(values) for name, values in kept}
    written = [lengths(side) for side in sides]
    return require_outcome(
        Rows(
            source=columns.source,
            ids=of_rows(ids),
            names={name: of_rows(values) for name, values in named.items()},
            outcome=outcome,
            length_model=written[0][record],
            length_reference=written[1][record],
            extra=extra,
            record=record,
            sha256=columns.sha256,
            n_not_text=int(sum(np.isnan(side).sum() for side in written)),
        )
    )


def _verdicts(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of every game its record, its position and its outcome; in the second B was shown first."""
    record, position, outcome = [], [], []
    for row, games in enumerate(columns.require("judgments")):
        good = isinstance(games, list) and 1 <= len(games) <= 2
        said = [_decision(game) for game in games] if good else [""]
        if any(decision is not None and decision not in GRADES for decision in said):
            expected = f"one or two judgements with a 'decision' of {', '.join(GRADES)} or null"
            raise AnnotationError(
                expected, source=columns.source, row=row, column="judgments", found=said if good else games
            )
        for place, decision in enumerate(said, 1):
            first = np.nan if decision is None else GRADES[decision]
            record.append(row)
            position.append(place)
            outcome.append(first if place == 1 else 1 - first)
    return np.array(record), np.array(position), np.array(outcome, dtype=float)


def _decision(game: Any) -> str | None:
    decision = game.get("decision") if isinstance(game, dict) else game
    return decision if decision is None or isinstance(decision, str) else repr(decision)


def _judges(columns: Columns) -> list:
    """Return who judged each pair: how, and with which model, where the file says so."""
    models = [next(filter(None, map(_model, games)), None) for games in columns.require("judgments")]
    known = set(filter(None, models))
    only = next(iter(known)) if len(known) == 1 else None
    said = names(columns, "judge_name")
    how = said if isinstance(said, list) else [said] * len(columns)
    called = (" ".join(filter(None, (a, b or only))) for a, b in zip(how, models, strict=True))
    return [name or "judge" for name in called]


def _model(game: Any) -> str | None:
    said = game.get("judgment") if isinstance(game, dict) else None
    model = said.get("judge_model") if isinstance(said, dict) else None
    return model if isinstance(model, str) else None


def _called(wrote: Any, side: str) -> Any:
    if isinstance(wrote, list):
        return [_called(name, side) for name in wrote]
    return f"{wrote} {side[-1]}" if wrote else side


def _repeats(columns: Columns, ids: list, named: dict) -> np.ndarray | None:
    """Return numbers for pairs of one question, in the order of their names or else as they come."""
    pairs = columns.get("pair_id") or [None] * len(columns)
    order = sorted(range(len(columns)), key=lambda row: id_text(pairs[row]) or "")
    turned = {name: [v[row] for row in order] if isinstance(v, list) else v for name, v in named.items()}
    again = repeats([ids[row] for row in order], turned, columns.source)
    if again is None:
        return None
    out = np.empty_like(again)
    out[order] = again
    return out
