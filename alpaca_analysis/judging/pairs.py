"""From two lists of outputs to the pairs that are judged, each in its order of presentation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.options import OnMissing, Order
from alpaca_analysis.judging.conversations import Said, side_of
from alpaca_analysis.judging.designs import Shown
from alpaca_analysis.table.readers.files import Columns, read_columns
from alpaca_analysis.table.readers.objects import from_object


@dataclass(frozen=True)
class Pair:
    """One judgement to be made.

    Attributes
    ----------
    instruction, output, reference : str
        The texts; None where a side has none.
    dataset : str or None
        Source of the prompt.
    position : int
        1 if the model's output is shown first, else 2.
    repeat : int
        0, 1, ... where the same pair is judged several times.
    shown_as : tuple of str, optional
        Instruction, output and reference as whole conversations, where they are some.
    """

    instruction: str
    output: str | None
    reference: str | None
    dataset: str | None = None
    position: int = 1
    repeat: int = 0
    shown_as: tuple[str, str, str] | None = None

    @property
    def shown(self) -> Shown:
        """Return what the judge sees."""
        instruction, output, reference = self.shown_as or (
            self.instruction,
            self.output or "",
            self.reference or "",
        )
        first, second = (output, reference) if self.position == 1 else (reference, output)
        return Shown(instruction, first, second)


@dataclass(frozen=True)
class Outputs:
    """One model's outputs by instruction; of conversations also what a judge is shown of both."""

    model: str
    texts: dict[str, str | None]
    datasets: dict[str, str | None]
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)


def read_model_outputs(source, *, name: str | None = None, side="outputs") -> Outputs:
    """Read a model's outputs.

    Parameters
    ----------
    source : path, list of dict, DataFrame or Dataset
        Records with ``instruction`` and ``output``, and optionally ``generator`` and ``dataset``: a
        ``model_outputs.json`` or what is in it. A conversation's instruction is the list of the user's turns
        or of messages (or these stand in ``messages``), its output a text, the list of the assistant's turns,
        or of all messages.
    name : str, optional
        The model's name; by default the one ``generator`` of all records.
    side : str
        How messages name the source.

    Returns
    -------
    Outputs
        In the order of the source.

    Raises
    ------
    AnnotationError
        A missing field, an instruction that is neither text nor conversation or occurs twice, an output
        that is neither nor null, or several generators.

    Examples
    --------
    >>> read_model_outputs([{"instruction": "Say hello.", "output": "Hi", "generator": "mine"}]).model
    'mine'
    """
    columns = _columns(source, side)
    place = columns.source
    texts: dict[str, str | None] = {}
    shown: dict[str, tuple[str, str]] = {}
    instructions, answers = columns.require("instruction"), columns.require("output")
    talks = columns.get("messages") or [None] * len(answers)
    for row, (instruction, talk, answer) in enumerate(zip(instructions, talks, answers, strict=True)):
        told = side_of(None if _is_missing(answer) else answer, "assistant", columns, row, "output")
        if _is_missing(talk):
            asked = _asked(None if _is_missing(instruction) else instruction, answer, columns, row)
        else:
            asked = side_of(talk, "user", columns, row, "messages")
        prompt = asked.text
        if prompt is None or asked.shown is None:
            raise AnnotationError("text", source=place, row=row, column="instruction", found=instruction)
        if prompt in texts:
            expected = "each instruction once"
            raise AnnotationError(expected, source=place, row=row, column="instruction", found=prompt)
        texts[prompt] = told.text
        if (asked.shown, told.shown) != (prompt, told.text):
            shown[prompt] = asked.shown, told.shown or ""
    datasets = columns.get("dataset") or [None] * len(texts)
    return Outputs(
        name or _generator(columns),
        texts,
        {prompt: None if _is_missing(d) else str(d) for prompt, d in zip(texts, datasets, strict=True)},
        shown,
    )


def _asked(instruction, output, columns, row) -> Said:
    """Return what the user asked: the instruction, or the turns in an output that is a whole conversation."""
    if isinstance(instruction, str) and not isinstance(output, str) and not _is_missing(output):
        turns = [turn for turn in output if isinstance(turn, dict) and turn.get("role") == "user"]
        if turns:
            return side_of(turns, "user", columns, row, "output")
    return side_of(instruction, "user", columns, row, "instruction")


def _columns(source, side) -> Columns:
    if isinstance(source, pd.DataFrame):
        return Columns(side, columns={c: source[c].tolist() for c in source.columns})
    if isinstance(source, (str, os.PathLike)):
        return read_columns(Path(source))
    if isinstance(source, Sequence) and source:
        return Columns(side, records=list(source))
    found = from_object(source)
    if found is None:
        raise AnnotationError("a path, a frame or a list of records", source=side, found=source)
    return found


def _generator(columns):
    names = {g for g in columns.get("generator") or [] if not _is_missing(g)}
    if len(names) != 1:
        expected = "one model's name in the field 'generator', or the name given"
        raise AnnotationError(
            expected, source=columns.source, column="generator", found=sorted(map(str, names))
        )
    return str(names.pop())


def _is_missing(value):
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def shown_first(instruction: str, *, seed: int = 0) -> bool:
    """Tell by a fair coin, tossed by the instruction and the seed alone, whether the model goes first.

    The model's texts do not enter: every model meets the reference in the same order.

    Examples
    --------
    >>> [shown_first("Say hello.", seed=seed) for seed in range(4)]
    [False, False, True, False]
    """
    digest = hashlib.sha256(f"order\n{seed}\n{instruction}".encode("utf-8", "surrogatepass")).digest()
    return digest[0] % 2 == 0


def make_pairs(
    outputs: Outputs,
    reference: Outputs,
    *,
    order: Order = "random",
    seed: int = 0,
    n_repeats: int = 1,
    on_missing: OnMissing = "report",
) -> list[Pair]:
    """Match outputs by instruction and settle who is shown first.

    Parameters
    ----------
    outputs, reference : Outputs
        The model's and the reference's.
    order : {"random", "both", "model_first", "reference_first", "auto"}
        "both" asks about each pair twice, once in each order; "auto" is "random" here.
    seed : int
        Of the random order.
    n_repeats : int
        Times that each pair is judged in each order.
    on_missing : {"report", "ignore", "raise"}
        What becomes of an instruction that only the other side answered: a missing judgement, nothing,
        or an error.

    Returns
    -------
    list of Pair
        In the order of the reference's instructions, the model's further ones last.

    Raises
    ------
    AnnotationError
        No instruction in common, or one missing and ``on_missing="raise"``.
    """
    check_pairing(order, seed, n_repeats, on_missing)
    common = outputs.texts.keys() & reference.texts.keys()
    if not common:
        expected = f"at least one instruction that {reference.model!r} answered too"
        raise AnnotationError(
            expected, source=outputs.model, column="instruction", found=next(iter(outputs.texts))
        )
    asked = list(dict.fromkeys([*reference.texts, *outputs.texts]))
    if on_missing != "report":
        alone = [prompt for prompt in asked if prompt not in common]
        if alone and on_missing == "raise":
            expected = f"every instruction from both; {len(alone)} are from one only"
            raise AnnotationError(expected, source="outputs", column="instruction", found=alone[0])
        asked = [prompt for prompt in asked if prompt in common]
    return [
        Pair(
            prompt,
            outputs.texts.get(prompt),
            reference.texts.get(prompt),
            outputs.datasets.get(prompt) or reference.datasets.get(prompt),
            position,
            repeat,
            _whole(prompt, outputs, reference),
        )
        for repeat in range(n_repeats)
        for prompt in asked
        for position in _positions(prompt, order, seed)
    ]


def _whole(prompt, outputs, reference):
    """Return instruction, output and reference as whole conversations; None where all are plain texts."""
    ours, theirs = outputs.shown.get(prompt), reference.shown.get(prompt)
    if ours is None and theirs is None:
        return None
    asked = max((side[0] for side in (ours, theirs) if side), key=len)
    return (
        asked,
        ours[1] if ours else outputs.texts.get(prompt) or "",
        theirs[1] if theirs else reference.texts.get(prompt) or "",
    )


def check_pairing(order, seed, n_repeats, on_missing) -> None:
    """Raise `ValueError` for an option of `make_pairs` that cannot be meant."""
    options.one_of("order", order, Order)
    options.whole("seed", seed, 0)
    options.whole("n_repeats", n_repeats)
    options.one_of("on_missing", on_missing, OnMissing)


def _positions(prompt, order, seed):
    if order == "both":
        return (1, 2)
    if order in ("auto", "random"):
        return (1,) if shown_first(prompt, seed=seed) else (2,)
    return (1,) if order == "model_first" else (2,)
