"""What one judge is asked about pairs of outputs: requests, their answers, and the records that they make."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from alpaca_analysis.asking.ask import Answered, Budget, ask_all, ask_in_batches
from alpaca_analysis.asking.batches import Batches
from alpaca_analysis.asking.server import ServerError
from alpaca_analysis.asking.store import AnswerStore, default_path, request_key
from alpaca_analysis.judging.judges import ENDPOINT, Judge
from alpaca_analysis.judging.pairs import Outputs, Pair
from alpaca_analysis.judging.records import make_record
from alpaca_analysis.judging.stopping import Stopping

NOT_ASKED = "not asked: the first"
PROBE = 20  # requests of which one answer at least has to be readable before the others are paid for


@dataclass
class Questions:
    """One judge's requests about pairs.

    Parameters
    ----------
    judge : Judge
        Who is asked.
    ours, theirs : Outputs
        The model's and the reference's.
    pairs : list of Pair
        Each in its order of presentation.
    stopping : Stopping, optional
        Puts instructions in random order, and says when nothing more is to be asked.
    """

    judge: Judge
    ours: Outputs
    theirs: Outputs
    pairs: list[Pair]
    stopping: Stopping | None = None
    batches: list[list[Pair]] = field(init=False)
    requests: Sequence[dict] = field(init=False)

    def __post_init__(self):
        size = self.judge.batch_size
        blocks = self.stopping.blocks(size) if self.stopping else [self.pairs]
        self.batches = [batch for block in blocks for batch in _batches(block, size)]
        self.requests = _Requests(self.judge, self.batches)

    @property
    def most(self) -> float:
        """Return the most dollars that all requests can cost, kept answers not taken off."""
        return math.fsum(map(self.judge.bound, self.requests))

    def ask(
        self,
        *,
        cache,
        concurrency: int | None,
        budget: Budget,
        progress: bool | None,
        batches: Batches | None = None,
        again: Sequence[str] = (),
    ) -> list[Answered]:
        """Return an answer, or the reason why there is none, for each request."""
        judge = self.judge
        store = AnswerStore(cache or default_path()) if judge.is_kept and cache is not False else None
        common: dict[str, Any] = {
            "store": store,
            "budget": budget,
            "cost": judge.cost,
            "progress": progress,
            "label": f"judged by {judge.name}",
            "watch": self._watched(self.stopping) if self.stopping else None,
            "take": self._read,
        }
        with store or nullcontext(), closing(judge):
            if store and again:
                self._forget(store, again)
            if batches and store and judge.server and judge.server.takes_batches:
                answers = batches.ask(
                    self.requests,
                    judge.server,
                    endpoint=ENDPOINT,
                    store=store,
                    bound=judge.bound,
                    cost=judge.cost,
                )
                return [self._read(i, answered) for i, answered in enumerate(answers)]
            if judge.chunk_size:
                return ask_in_batches(self.requests, judge.answers, batch_size=judge.chunk_size, **common)
            return ask_all(
                self.requests,
                _Probe(judge) if judge.is_remote else judge.answer,
                concurrency=concurrency or (8 if judge.is_remote else 1),
                bound=judge.bound,
                interrupt=judge.close if judge.is_remote else None,
                **common,
            )

    def _forget(self, store, kinds):
        """Forget kept answers of some kinds that say nothing, so that they are asked again."""
        for request, batch in zip(self.requests, self.batches, strict=True):
            key = request_key(request)
            kept = store.known(key)
            if kept is not None and self.judge.no_answer(kept, len(batch)) in kinds:
                store.forget([key])

    def _read(self, i, answered):
        """Return what records need of an answer: its readings, what is known of it, and its cost."""
        answer = answered.answer
        if answer is None:
            _, stopped, why = answered.error.partition(NOT_ASKED)
            return replace(answered, error=stopped + why) if stopped else answered
        details = self.judge.details(answer)
        said = {"readings": self.judge.read(answer, len(self.batches[i])), "cost": self.judge.cost(answer)}
        known = {name: details.get(name) for name in ("text", "finish_reason", "seconds", "date")}
        return replace(answered, answer=said | known)

    def records(self, answers: Sequence[Answered]) -> Iterator[dict]:
        """Yield one record per pair."""
        verdicts = {}
        for batch, answered in zip(self.batches, answers, strict=True):
            for pair, outcome, reason in self._readings(batch, answered):
                verdicts[pair] = outcome, reason, answered.answer, len(batch)
        for pair in self.stopping.kept() if self.stopping else self.pairs:
            settled = _settled(pair)
            said = (*settled, None, 1) if settled else verdicts[pair]
            record = make_record(pair, self.ours.model, self.theirs.model, self.judge, *said)
            yield self.stopping.marked(record) if self.stopping else record

    def _readings(self, batch, answered):
        """Yield each pair of a batch with its outcome and the reason for one that is missing."""
        n = len(batch)
        failed = answered.answer is None
        readings = [(math.nan, answered.error)] * n if failed else answered.answer["readings"]
        for pair, (first, reason) in zip(batch, readings, strict=True):
            yield pair, first if pair.position == 1 else 1.0 - first, reason

    def _watched(self, stopping: Stopping):
        """Return what tells `stopping` of every answer as it comes, and returns the reason to stop."""
        for pair in self.pairs:
            if settled := _settled(pair):
                stopping.see(pair, settled[0])

        def watch(i, answered):
            for pair, outcome, _ in self._readings(self.batches[i], answered):
                stopping.see(pair, outcome)
            return stopping.decide()

        return watch


class _Requests(Sequence[dict]):
    """A judge's requests, each made when it is looked at: together they are larger than all outputs."""

    def __init__(self, judge: Judge, batches: list[list[Pair]]):
        self.judge, self.batches = judge, batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, place):
        batch = self.batches[place]
        return self.judge.request([pair.shown for pair in batch], batch[0].repeat)


def _batches(pairs: Sequence[Pair], size: int) -> Iterator[list[Pair]]:
    """Cut the pairs that need a judge into batches; a batch holds one repeat only, and no pair twice."""
    rounds: dict[tuple[int, int], list[Pair]] = {}
    seen: Counter = Counter()
    for pair in pairs:
        if not _settled(pair):
            turn = seen[pair.repeat, pair.instruction]
            seen[pair.repeat, pair.instruction] += 1
            rounds.setdefault((pair.repeat, turn if size > 1 else 0), []).append(pair)
    for _, asked in sorted(rounds.items()):
        for start in range(0, len(asked), size):
            yield asked[start : start + size]


def _settled(pair):
    """Return the outcome and reason of a pair that no judge has to see, else None."""
    if pair.output is None:
        return math.nan, "no output of the model"
    if pair.reference is None:
        return math.nan, "no output of the reference"
    return (0.5, "equal outputs") if pair.output == pair.reference else None


class _Probe:
    """Sends a judge's requests, and stops paying where none of the first answers can be read."""

    def __init__(self, judge: Judge):
        self.judge = judge
        self.lock, self.seen, self.why = threading.Lock(), 0, ""

    def __call__(self, request: dict) -> dict:
        if self.why:
            raise ServerError(self.why)
        answer = self.judge.answer(request)
        if self.seen < PROBE:
            self._look(self.judge.read(answer, self.judge.batch_size))
        return answer

    def _look(self, readings):
        with self.lock:
            self.seen = PROBE if not all(math.isnan(outcome) for outcome, _ in readings) else self.seen + 1
            if self.seen == PROBE and all(math.isnan(outcome) for outcome, _ in readings):
                said = readings[0][1]
                self.why = f"{NOT_ASKED} {PROBE} answers could not be read ({said}); take another design"
