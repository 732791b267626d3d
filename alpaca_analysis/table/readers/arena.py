"""Battles of two sides and a winner, as Chatbot Arena, MT-bench, evalica and many others write them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, warn
from alpaca_analysis.table.checks import NO_ID, id_text
from alpaca_analysis.table.readers import conversations
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

CROWD, CROWD_SIZE = "crowd", 10
SIDES = (("model_a", "model_b"), ("left", "right"))
ONE_HOT = ("winner_model_a", "winner_model_b")
TIES = ("winner_tie", "winner_tie (bothbad)")
JUDGES = ("annotator", "judge", "judge_model", "judge_name")
PROMPTS = ("instruction", "prompt", "question")
OUTPUTS = ("output", "response", "answer")
BOTH_BAD = {"tie (bothbad)", "tie (both bad)", "both_bad", "bothbad", "both bad"}
WINNERS = {
    **dict.fromkeys(("model_a", "a", "left"), 1.0),
    **dict.fromkeys(("model_b", "b", "right"), 0.0),
    **dict.fromkeys(("tie", "draw", "tie (inconsistent)", *BOTH_BAD), 0.5),
}


PLAIN = {str, int, float, type(None)}


def is_arena(names: Any) -> bool:
    """Tell whether records with these fields are battles."""
    said = "winner" in names or all(name in names for name in ONE_HOT)
    return said and any(a in names and b in names for a, b in SIDES)


def to_rows(
    columns: Columns, *, texts: bool = False, values: Mapping | None = None, separate: bool = False
) -> Rows:
    """Make rows of battles: `model_a` becomes the model, `model_b` the reference.

    The prompt is what the user said up to the judged turn of ``conversation_a``, else the column
    ``instruction``, ``prompt`` or ``question``, else ``question_id`` stands for it. Lengths count
    what the assistant wrote in ``conversation_*``, else ``output_*``, ``response_*`` or ``answer_*``; at a
    judged ``turn`` the answer of that turn alone. Conversations may be lists of messages, messages whose
    content comes in parts, or either as JSON text. Battles that the same annotator fought over the same
    prompt are numbered in ``repeat``. Without prompt and ``question_id`` a battle is a unit of its own.
    Draws because both were bad are marked in ``both_bad``. Other columns of numbers, truth values and
    short texts are kept.

    Parameters
    ----------
    columns : Columns
        The fields ``model_a`` and ``model_b`` (or ``left`` and ``right``), and ``winner``: a side, the name
        of a model, or a draw; or one-hot ``winner_model_a``, ``winner_model_b``, ``winner_tie``. Optional
        ``judge`` (or ``annotator``), ``turn``, ``dataset``, and those named above.
    texts : bool
        Keep prompt and outputs.
    values : mapping, optional
        Verdicts by their meaning, as `read_annotations` takes them.
    separate : bool
        Keep voters apart, of whom there are many with few votes each.
    """
    if not all(name in columns for name in ONE_HOT):
        columns.require("winner")
    ours, theirs = next((pair for pair in SIDES if pair[0] in columns and pair[1] in columns), SIDES[0])
    judge = next((c for c in JUDGES if c in columns), "annotator")
    named = {
        "dataset": names(columns, "dataset"),
        "model": names(columns, ours, required=True),
        "reference": names(columns, theirs, required=True),
        "annotator": names(columns, judge),
    }
    voters = None if separate else _voters(named["annotator"])
    if voters is not None:
        named["annotator"] = CROWD
        warn(
            f"{columns.source}: {len(set(voters))} annotators, with a vote or two each, are read as one, "
            f"{CROWD!r}; annotators='separate' keeps them apart"
        )
    outcome, both_bad = _outcomes(columns, named, values)
    turns = judged_turns(columns)
    counted = None if texts else conversations.count(columns, ("conversation_a", "conversation_b"), turns)
    if counted is not None:
        ids, *measured = counted
    else:
        prompts, ids = _prompts(columns, turns)
        sides = [_written(columns, side, turns) for side in "ab"]
        measured = list(map(lengths, sides))
    extra: dict[str, Any] = further(
        columns, {ours, theirs, judge, "winner", *ONE_HOT, *TIES, *PROMPTS, "question_id"}
    )
    if turns is not None:
        extra["turn"] = turns
    if voters is not None:
        extra["voter"] = voters
    if both_bad.any():
        extra["both_bad"] = both_bad
    repeat = repeats(ids, named, columns.source)
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
            length_model=measured[0],
            length_reference=measured[1],
            extra=extra,
            sha256=columns.sha256,
        )
    )


def _voters(annotators: Any) -> list | None:
    """Return the annotators where they are a crowd: many, of whom the median one votes at most twice."""
    if not isinstance(annotators, list):
        return None
    votes = Counter(name for name in annotators if name is not None)
    is_crowd = len(votes) >= CROWD_SIZE and statistics.median(votes.values()) <= 2
    return annotators if is_crowd else None


def _outcomes(columns: Columns, named: dict, values: Mapping | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the outcomes, and which draws are of two bad answers."""
    if "winner" not in columns:
        return _one_hot(columns)
    said = columns.require("winner")
    if values is not None:
        expected = f"one of the verdicts in values={dict(values)!r}, or null"
        coding = verdict_codes(values)
        return codes(said, coding, columns=columns, column="winner", expected=expected), np.zeros(
            len(said), bool
        )
    keys = said if set(map(type, said)) <= PLAIN else list(map(_hashable, said))
    known = {value: _verdict(value) for value in set(keys)}
    out = np.fromiter(map(known.__getitem__, keys), dtype=float, count=len(keys))
    bad = {value for value in known if isinstance(value, str) and value.strip().lower() in BOTH_BAD}
    expected = f"one of {', '.join(map(repr, WINNERS))}, the name of a side, or null"
    for row in np.flatnonzero(out < 0):
        sides = [
            side if isinstance(side, str) else side[row] for side in (named["model"], named["reference"])
        ]
        won = said[row] if isinstance(said[row], bool) else id_text(said[row])  # a name may be a number
        if won not in sides or sides[0] == sides[1]:
            raise AnnotationError(
                expected, source=columns.source, row=int(row), column="winner", found=said[row]
            )
        out[row] = float(won == sides[0])
    return out, np.fromiter(map(bad.__contains__, keys), dtype=bool, count=len(keys))


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else repr(type(value))


def _verdict(value: Any) -> float:
    """Return the outcome that a word stands for, NaN for none, -1 for anything else."""
    if value is None or value != value:
        return np.nan
    word = value.strip().lower() if isinstance(value, str) else None
    return np.nan if word == "" else WINNERS.get(word, -1.0) if word is not None else -1.0


def _one_hot(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    names_of = [name for name in (*ONE_HOT, *TIES) if name in columns]
    marks = np.array([numbers(columns, name) for name in names_of])
    known = ~np.isnan(marks).all(axis=0)
    wrong = known & ((np.nansum(marks, axis=0) != 1) | ~np.isin(marks, (0, 1)).all(axis=0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise AnnotationError(
            f"a single 1 among {', '.join(names_of)}, and 0 in the others",
            source=columns.source,
            row=row,
            column=names_of[0],
            found=marks[:, row].tolist(),
        )
    weight = np.array([{ONE_HOT[0]: 1.0, ONE_HOT[1]: 0.0}.get(name, 0.5) for name in names_of])
    bad = marks[names_of.index(TIES[1])] == 1 if TIES[1] in names_of else np.zeros(len(known), dtype=bool)
    return np.where(known, weight @ np.nan_to_num(marks), np.nan), bad


def _prompts(columns: Any, turns: list | None) -> tuple[list, list]:
    """Return the prompts' texts and their ids; where no text is known the question's id serves."""
    turns = turns or [None] * len(columns)
    if "conversation_a" in columns:
        said = columns.require("conversation_a")
        asked = [said_by(c, "user", columns, i, "conversation_a")[: turns[i]] for i, c in enumerate(said)]
        prompts = ["\n\n".join(filter(None, texts)) for texts in asked]
        return prompts, [instruction_id(p) for p in prompts]
    for name in PROMPTS:
        if name in columns:
            prompts = [_joined(text) for text in columns.texts(name)]
            return prompts, [instruction_id(p) for p in prompts]
    return [None] * len(columns), question_ids(columns, "question_id", turns)


def question_ids(columns: Any, field: str, turns: Sequence) -> list:
    """Return ids by question and turn; None where no question is known, and one's own where some are not."""
    ids = list(map(id_text, columns.get(field))) if field in columns else []
    if not any(ids):
        return [None] * len(columns)
    named = [q if turn is None else f"{q}/{turn}" for q, turn in zip(ids, turns, strict=True)]
    lost = [f"{NO_ID}{columns.source} {row}" for row in range(len(ids))]
    return [name if q else own for q, name, own in zip(ids, named, lost, strict=True)]


def _written(columns: Any, side: str, turns: list | None) -> list:
    """Return what one side wrote: at a judged turn its answer there, else all its answers."""
    field = f"conversation_{side}"
    if field in columns:
        said = [said_by(c, "assistant", columns, i, field) for i, c in enumerate(columns.require(field))]
        judged = turns or [None] * len(said)
        return [
            "\n\n".join(filter(None, texts)) if turn is None else next(iter(texts[turn - 1 : turn]), None)
            for texts, turn in zip(said, judged, strict=True)
        ]
    for name in OUTPUTS:
        if f"{name}_{side}" in columns:
            return list(map(_joined, columns.require(f"{name}_{side}")))
    return [None] * len(columns)


def _joined(text: Any) -> Any:
    """Return a text; of a list of texts by turn, as such or as JSON, all of them."""
    if isinstance(text, str) and text.startswith("[") and text.endswith("]"):
        listed = parsed(text)
        text = listed if isinstance(listed, list) and listed else text
    if isinstance(text, list) and all(isinstance(turn, str | None) for turn in text):
        return "\n\n".join(filter(None, text))
    return text


def parsed(text: str) -> Any:
    """Return what a text of JSON holds, None where it is no JSON."""
    import orjson

    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None


def judged_turns(columns: Any) -> list | None:
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


def said_by(conversation: Any, role: str, columns: Any, row: int, field: str) -> list:
    """Return what one role said, message by message."""
    messages = parsed(conversation) if isinstance(conversation, str) else conversation
    try:
        said = [_content(message["content"]) for message in messages if message["role"] == role]
    except (TypeError, KeyError):
        said = [None]
    if isinstance(messages, (str, dict)) or not all(isinstance(text, str) for text in said):
        raise AnnotationError(
            "a list of turns with 'role' and a text as 'content'",
            source=columns.source,
            row=row,
            column=field,
            found=conversation,
        )
    return said


def _content(content: Any) -> Any:
    """Return the text of a message, whose content may come in parts."""
    if isinstance(content, list):
        if not all(isinstance(part, dict) for part in content):
            return content
        parts = [part.get("text") or "" for part in content if part.get("type", "text") == "text"]
        return "\n".join(parts) if all(isinstance(part, str) for part in parts) else content
    return "" if content is None else content


def repeats(ids: Any, named: Any, source: str) -> np.ndarray | None:
    """Return numbers from 0 for battles of equal key; None if keys are unique or prompts unknown."""
    keys = [
        values for values in (ids, *map(named.get, ("model", "reference", "annotator"))) if _varies(values)
    ]
    if not keys:
        return None
    number = (
        pd.Series(0, index=range(len(ids))).groupby(list(map(_coded, keys)), sort=False).cumcount().to_numpy()
    )
    return number.astype(np.int64) if number.any() and ids[0] is not None else None


def _varies(values: Any) -> bool:
    return values is not None and not isinstance(values, str)


def _coded(values: Any) -> np.ndarray:
    """Return a whole number for every value, the same for equal ones."""
    if not isinstance(values, list):
        return pd.factorize(values)[0]
    code = {value: k for k, value in enumerate(dict.fromkeys(values))}
    return np.fromiter(map(code.__getitem__, values), dtype=np.int64, count=len(values))
