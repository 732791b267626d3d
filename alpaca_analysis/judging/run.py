"""Judge a model's outputs against a reference's: from two files to annotations."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Any

from alpaca_analysis.asking.ask import Answered, Budget, ask_all, ask_in_batches
from alpaca_analysis.asking.server import ServerError
from alpaca_analysis.asking.store import AnswerStore, default_path
from alpaca_analysis.foundations import options
from alpaca_analysis.judging.judges import Judge, make_judge
from alpaca_analysis.judging.pairs import (
    OnMissing,
    Order,
    Outputs,
    Pair,
    check_pairing,
    make_pairs,
    read_model_outputs,
)
from alpaca_analysis.judging.records import Judgements, make_record

PROBE = 20  # requests of which one answer at least has to be readable before the others are paid for


class JudgeWarning(UserWarning):
    """Some pairs were not judged; the ``reason`` of each record says why."""


def judge(
    outputs,
    reference_outputs,
    *,
    judge="length",
    model: str | None = None,
    reference: str | None = None,
    order: Order = "random",
    seed: int = 0,
    n_repeats: int = 1,
    on_missing: OnMissing = "report",
    cache=None,
    concurrency: int | None = None,
    max_cost: float | None = None,
    progress: bool | None = None,
) -> Judgements:
    """Judge a model's outputs against a reference's, pair by pair.

    Outputs are paired by instruction and shown without names, in an order that a seed and the
    instruction settle. Equal texts are a draw and cost nothing. Every answer of a language model is
    kept on disk the moment it arrives: after an interruption the same call goes on where it stopped,
    and a second call asks nothing.

    Parameters
    ----------
    outputs, reference_outputs : path, list of dict or DataFrame
        AlpacaEval's ``model_outputs.json``, or records with ``instruction``, ``output``, and optionally
        ``generator`` and ``dataset``.
    judge : str, callable or Judge
        ``"length"`` (more characters win), ``"random"``, ``"alpaca_eval:NAME"``, a function of
        instruction, first and second output (see `FunctionJudge`), or a `ChatJudge`.
    model, reference : str, optional
        Names; by default the ``generator`` of the records.
    order : {"random", "both", "model_first", "reference_first"}
        Who is shown first. "random" depends on seed and instruction alone, so that every model meets
        the reference in the same order; "both" asks twice.
    seed : int
        Of the random order.
    n_repeats : int
        Times that each pair is judged in each order.
    on_missing : {"report", "ignore", "raise"}
        What becomes of an instruction that only one side answered: a missing judgement that counts as
        such, nothing, or an error.
    cache : path or False, optional
        File of kept answers (`AnswerStore`), by default in the user's cache folder; False for none. An
        answer is known by what was asked (model, messages, options), not by the server's address: where
        two servers call different models the same, give each its own file. Functions are kept where they
        have a version (`FunctionJudge`).
    concurrency : int, optional
        Requests under way at once, at most; by default 8 for models behind servers, 1 for functions, which
        are called from that many threads.
    max_cost : float, optional
        Dollars that this call may spend; needs the judge's ``price``. Nothing is sent that could
        exceed it. Tries that the server charged for without answering are not seen.
    progress : bool, optional
        Show a bar with time left and money spent; by default on a terminal.

    Returns
    -------
    Judgements
        ``.to_frame()`` is the table, ``.save(folder)`` writes ``annotations.json``, ``.cost`` is what
        this call spent.

    Raises
    ------
    AnnotationError
        Outputs that are not what they should be, or no instruction in common.
    ServerRefused
        No access, or no such model.
    ValueError
        An unknown option, or a limit on money without a price.

    Warns
    -----
    JudgeWarning
        Pairs were not judged: no text, no usable answer, or a limit.

    Examples
    --------
    >>> mine = [{"instruction": "Say hello.", "output": "Hello there!", "generator": "mine"}]
    >>> theirs = [{"instruction": "Say hello.", "output": "Hi", "generator": "theirs"}]
    >>> judge(mine, theirs, judge="length").to_frame()[["model", "reference", "annotator", "outcome"]]
      model reference annotator  outcome
    0  mine    theirs    length      1.0
    """
    budget = Budget(max_cost)
    concurrency = None if concurrency is None else options.whole("concurrency", concurrency)
    check_pairing(order, seed, n_repeats, on_missing)
    judge = make_judge(judge)
    ours = read_model_outputs(outputs, name=model, side="outputs")
    theirs = read_model_outputs(reference_outputs, name=reference, side="reference_outputs")
    pairs = make_pairs(ours, theirs, order=order, seed=seed, n_repeats=n_repeats, on_missing=on_missing)
    if max_cost is not None and getattr(getattr(judge, "server", None), "price", None) is None:
        raise ValueError(f"max_cost: the judge {judge.name!r} has no price to hold against it; give it one")
    batches = list(_batches(pairs, judge.batch_size))
    requests = [judge.request([pair.shown for pair in batch], batch[0].repeat) for batch in batches]
    start = time.monotonic()
    sizes = {id(request): len(batch) for request, batch in zip(requests, batches, strict=True)}
    probe = _Probe(judge, sizes)
    answers = [probe.told(a) for a in _ask(judge, requests, probe, cache, concurrency, budget, progress)]
    seconds = time.monotonic() - start
    result = Judgements(
        records=tuple(_records(judge, ours, theirs, pairs, batches, answers)),
        settings={
            "model": ours.model,
            "reference": theirs.model,
            "annotator": judge.name,
            "judge": judge.settings,
            "order": order,
            "order_seed": seed,
            "n_repeats": n_repeats,
            "on_missing": on_missing,
        },
        cost=budget.spent,
        seconds=seconds,
        n_asked=sum(not a.cached and a.answer is not None for a in answers),
        n_cached=sum(a.cached for a in answers),
    )
    _warn_missing(result)
    return result


def _batches(pairs: Sequence[Pair], size: int) -> Iterator[list[Pair]]:
    """Cut the pairs that need a judge into batches; a batch holds one repeat only."""
    for repeat in sorted({pair.repeat for pair in pairs}):
        asked = [p for p in pairs if p.repeat == repeat and not _settled(p)]
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

    def __init__(self, judge: Judge, sizes: dict[int, int]):
        self.judge, self.sizes = judge, sizes
        self.lock, self.seen, self.why = threading.Lock(), 0, ""

    def __call__(self, request: dict) -> dict:
        if self.why:
            raise ServerError(self.why)
        answer = self.judge.answer(request)
        if self.seen < PROBE:
            self._look(self.judge.read(answer, self.sizes[id(request)]))
        return answer

    def told(self, answered: Answered) -> Answered:
        """Return an outcome, with the reason alone where asking was stopped."""
        stopped = self.why and self.why in answered.error
        return Answered(None, self.why) if stopped else answered

    def _look(self, readings):
        with self.lock:
            self.seen = PROBE if not all(math.isnan(outcome) for outcome, _ in readings) else self.seen + 1
            if self.seen == PROBE and all(math.isnan(outcome) for outcome, _ in readings):
                said = readings[0][1]
                self.why = (
                    f"not asked: the first {PROBE} answers could not be read ({said}); take another design"
                )


def _ask(judge, requests, send, cache, concurrency, budget, progress) -> list[Answered]:
    store = AnswerStore(cache or default_path()) if judge.is_kept and cache is not False else None
    label = f"judged by {judge.name}"
    common: dict[str, Any] = {"store": store, "budget": budget, "cost": judge.cost, "progress": progress}
    with store or nullcontext(), closing(judge):
        if judge.chunk_size:
            return ask_in_batches(requests, judge.answers, batch_size=judge.chunk_size, label=label, **common)
        return ask_all(
            requests,
            send if judge.is_remote else judge.answer,
            concurrency=concurrency or (8 if judge.is_remote else 1),
            bound=judge.bound,
            label=label,
            **common,
        )


def _records(judge: Judge, ours: Outputs, theirs: Outputs, pairs, batches, answers) -> Iterator[dict]:
    verdicts = {}
    for batch, answered in zip(batches, answers, strict=True):
        n = len(batch)
        if answered.answer is None:
            readings = [(math.nan, answered.error)] * n
        else:
            readings = judge.read(answered.answer, n)
        for pair, reading in zip(batch, readings, strict=True):
            verdicts[pair] = reading, answered.answer, n
    for pair in pairs:
        settled = _settled(pair)
        if settled:
            outcome, reason = settled
            yield make_record(pair, ours.model, theirs.model, judge, outcome, reason, None, 1)
        else:
            (first, reason), answer, n = verdicts[pair]
            outcome = first if pair.position == 1 else 1.0 - first
            yield make_record(pair, ours.model, theirs.model, judge, outcome, reason, answer, n)


def _warn_missing(result):
    missing = Counter(r["reason"] for r in result.records if r["preference"] is None)
    if missing:
        listed = "; ".join(f"{count} x {reason}" for reason, count in missing.most_common(3))
        more = f"; {len(missing) - 3} further reasons" if len(missing) > 3 else ""
        warnings.warn(
            f"{sum(missing.values())} of {len(result.records)} pairs were not judged: {listed}{more}",
            JudgeWarning,
            stacklevel=3,
        )
