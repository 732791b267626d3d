"""Judging that stops when it has decided: instructions in random order, looked at one after the other."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.judging.pairs import Pair
from alpaca_analysis.table.checks import SEQUENCE, STOPPED, check, instruction_id
from alpaca_analysis.table.groups import all_identified, refuse_mixed, select_models

WORDS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}


@dataclass(frozen=True)
class Decided:
    """When `judge` stops asking: as soon as a confidence sequence decides between two models.

    Parameters
    ----------
    margin : float, optional
        Difference, a fraction, that would not matter: it also stops where the two are shown to be equivalent.
        Without, it stops only at better or worse, and between equal models asks to the end.
    against : DataFrame, optional
        Judgements of another model against the same reference by the same annotator: the model is compared
        with that one, instruction by instruction. Without, the model is compared with the reference itself:
        its win rate with 1/2.
    rival : str, optional
        Which model of `against`, where it holds several.
    fixed_set : bool
        Whether the question is about the prompts at hand alone (drawn without replacement), not about all
        prompts such as these.
    confidence_level : float
        In (0, 1): a wrong verdict, at whatever look, comes with at most 1 - `confidence_level`.

    See Also
    --------
    confidence_sequence : What the verdict rests on, and what to report afterwards.

    Examples
    --------
    >>> Decided(margin=0.05)
    Decided(margin=0.05, rival=None, fixed_set=False, confidence_level=0.95)
    """

    margin: float | None = None
    against: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    rival: str | None = None
    fixed_set: bool = False
    confidence_level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        options.level("confidence_level", self.confidence_level)
        if self.margin is not None:
            options.fraction("margin", self.margin, closed="neither")
        if self.rival is not None and self.against is None:
            raise ValueError(f"rival: found {self.rival!r} without judgements of it, expected `against`, too")


def place_of(instruction: str, *, seed: int = 0) -> str:
    """Return by what instructions are sorted when they are asked in random order: a hash with the seed.

    Neither other instructions nor outputs enter: every model is asked about in the same order.

    Examples
    --------
    >>> sorted(["Say hello.", "Say goodbye.", "Count to ten."], key=place_of)
    ['Say goodbye.', 'Say hello.', 'Count to ten.']
    """
    text = f"sequence\n{seed}\n{instruction}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Stopping:
    """Follows the outcomes of instructions in their random order, and says when they have decided.

    Parameters
    ----------
    rule : Decided
        When to stop.
    pairs : sequence of Pair
        All that would be asked.
    reference, annotator : str
        Of this call; judgements in ``rule.against`` have to be of the same.
    seed : int
        Of the random order.
    """

    def __init__(self, rule: Decided, pairs: Sequence[Pair], reference: str, annotator: str, seed: int):
        self.rule, self.pairs = rule, pairs
        prompts = dict.fromkeys(pair.instruction for pair in pairs)
        ordered = sorted(prompts, key=lambda prompt: place_of(prompt, seed=seed))
        self.place = {prompt: k for k, prompt in enumerate(ordered)}
        self.name, self.rivals = _rival(rule, reference, annotator)
        self._left = np.zeros(len(ordered), dtype=int)  # judgements to come, of each instruction
        for pair in pairs:
            self._left[self.place[pair.instruction]] += 1
        self._outcomes: list[list[float]] = [[] for _ in ordered]
        self._ids = [instruction_id(prompt) for prompt in ordered]
        self._x: list[float] = []
        self._next = self._missing = 0
        self.verdict, self.n_asked = "", len(ordered)

    @property
    def reason(self) -> str:
        """Return what was decided, and after how many instructions; "" where it was not."""
        if not self.verdict:
            return ""
        return f"{WORDS[self.verdict]} {self.name} after {self.n_asked} of {len(self.place)} instructions"

    def blocks(self, size: int) -> Iterator[list[Pair]]:
        """Yield the pairs of `size` instructions at a time, in random order; those of one as they were."""
        rest = sorted(self.pairs, key=lambda pair: self.place[pair.instruction])
        ends = [k for k in range(1, len(rest)) if rest[k].instruction != rest[k - 1].instruction]
        edges = [0, *ends[size - 1 :: size], len(rest)]
        for start, end in itertools.pairwise(edges):
            yield rest[start:end]

    def see(self, pair: Pair, outcome: float) -> None:
        """Take down the outcome of one judgement, NaN where there is none."""
        k = self.place[pair.instruction]
        self._left[k] -= 1
        if not math.isnan(outcome):
            self._outcomes[k].append(outcome)

    def decide(self) -> str:
        """Look at all instructions up to the first that is not complete; return the reason to stop, or ""."""
        while not self.verdict and self._next < len(self._left) and not self._left[self._next]:
            self._look(self._next)
            self._next += 1
        return self.reason

    def _look(self, k):
        from alpaca_analysis.win_rates.sequential import first_decided

        outcomes, own = self._outcomes[k], self.rivals is None
        rival = 0.0 if self.rivals is None else self.rivals.get(self._ids[k])
        if not outcomes or rival is None or math.isnan(rival):
            self._missing += not outcomes or rival is not None
            return
        y = sum(outcomes) / len(outcomes)
        self._x.append(y if own else (y - rival + 1) / 2)
        decided = first_decided(
            np.array(self._x),
            span=1.0 if own else 2.0,
            alpha=1 - self.rule.confidence_level,
            margin=self.rule.margin,
            population=len(self.place) - self._missing if self.rule.fixed_set else None,
        )
        if decided:
            self.verdict, self.n_asked = decided[1], k + 1

    def marked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record with the place of its instruction, and why judging ended early."""
        marks = {SEQUENCE: self.place[record["instruction"]] + 1}
        return {**record, **marks, **({STOPPED: self.reason} if self.verdict else {})}

    def kept(self) -> list[Pair]:
        """Return the pairs that belong to the result: those of all instructions up to the decision."""
        return [pair for pair in self.pairs if self.place[pair.instruction] < self.n_asked]

    @property
    def settings(self) -> dict[str, Any]:
        """Return the rule and what came of it."""
        return {
            "against": self.name,
            "margin": self.rule.margin,
            "fixed_set": self.rule.fixed_set,
            "confidence_level": self.rule.confidence_level,
            "decided": self.reason or None,
            "n_instructions": len(self.place),
        }


def _rival(rule: Decided, reference: str, annotator: str) -> tuple[str, dict[str, float] | None]:
    """Return whom the model is compared with, and that one's mean outcome on each instruction."""
    if rule.against is None:
        return reference, None
    from alpaca_analysis.win_rates.sequential import instruction_means

    table = check(rule.against, source="against", at_any_time=True)
    models = [str(model) for model in table["model"].unique()]
    if rule.rival is None and len(models) > 1:
        found = Verbatim(", ".join(models[:5]))
        raise AnnotationError(
            "one model, or its name as `rival`", source="against", column="model", found=found
        )
    name = rule.rival or models[0]
    select_models(table, [name], source="against")
    rows = table[table["model"] == name]
    if (rows["annotator"] == annotator).any():
        rows = rows[rows["annotator"] == annotator]
    refuse_mixed(rows)
    for column, own in (("reference", reference), ("annotator", annotator)):
        said = rows[column].iloc[0]
        if not pd.isna(said) and said != own:
            expected = f"the {column} of this call, {own!r}"
            raise AnnotationError(expected, source="against", column=column, found=said)
    if not all_identified(rows["instruction_id"]):
        expected = "instruction ids, by which pairs are matched"
        raise AnnotationError(expected, source="against", column="instruction_id", found=Verbatim("none"))
    if STOPPED in rows and rows[STOPPED].notna().any():
        expected = "judgements that were not stopped early: which instructions they hold depends on outcomes"
        raise AnnotationError(
            expected, source="against", column=STOPPED, found=rows[STOPPED].dropna().iloc[0]
        )
    return name, instruction_means(rows).to_dict()
