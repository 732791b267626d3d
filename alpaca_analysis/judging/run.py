"""Judge a model's outputs against a reference's: from two files to annotations."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Sequence

from alpaca_analysis.asking.ask import Answered, Budget
from alpaca_analysis.asking.batches import Batches
from alpaca_analysis.asking.estimates import estimate
from alpaca_analysis.asking.server import BATCH_SHARE
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.options import NonAnswer, OnMissing, Order
from alpaca_analysis.judging.judges import Judge, make_judge
from alpaca_analysis.judging.pairs import check_pairing, make_pairs, read_model_outputs
from alpaca_analysis.judging.questions import Questions
from alpaca_analysis.judging.records import Judgements, together
from alpaca_analysis.judging.stopping import Decided, Stopping


class JudgeWarning(UserWarning):
    """Some pairs were not judged; the ``reason`` of each record says why."""


def judge(
    outputs,
    reference_outputs,
    *,
    judge="length",
    model: str | None = None,
    reference: str | None = None,
    order: Order = "auto",
    seed: int = 0,
    n_repeats: int = 1,
    on_missing: OnMissing = "report",
    cache=None,
    concurrency: int | None = None,
    max_cost: float | None = None,
    batch=None,
    ask_again: Sequence[NonAnswer] = (),
    stop_when: Decided | None = None,
    dry_run: bool = False,
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
        ``generator`` and ``dataset``. Conversations of several turns are lists of turns or of messages, and
        are judged as a whole (see `read_model_outputs`).
    judge : str, callable or Judge, or list of them
        ``"length"`` (more characters win), ``"random"``, ``"alpaca_eval:NAME"``, ``"litellm:NAME"``, a
        function of instruction, first and second output (see `FunctionJudge`), or a `ChatJudge`. Several
        judge the same pairs one after the other, told apart by their names; `panel` and `human_agreement`
        compare them.
    model, reference : str, optional
        Names; by default the ``generator`` of the records.
    order : {"auto", "both", "random", "model_first", "reference_first"}
        Who is shown first. "both" asks twice, and `order_consistency` says how often the same output won.
        "random" depends on seed and instruction alone, so that every model meets the reference in the same
        order. "auto" shows pairs to models behind servers in both orders, unless that could cost more than
        `max_cost`, and to functions, ``"length"`` and alpaca-eval's annotators in one random order.
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
        Dollars that this call may spend, on all judges together; needs their ``price``. Nothing is sent
        that could exceed it. Tries that the server charged for without answering are not seen.
    batch : path, optional
        Ask servers that take OpenAI's kind of batches, for half the price: the first call hands the requests
        in and remembers them in this file; the same call later collects the answers into `cache`, or says
        how far the batch is. Requests that failed are handed in again by the call after that.
    ask_again : sequence of str
        Kinds of kept answers without a verdict that are asked anew: "length" (cut off), "content_filter",
        "refusal", "tool_calls", "error", "empty", and "unreadable" for all others.
    stop_when : Decided, optional
        Ask about instructions in random order (settled by seed and instruction), and stop as soon as a
        confidence sequence decides between the model and the reference, or between two models:
        ``stop_when=Decided(margin=0.02, against=table)``. The records are those up to the decision, whatever
        else was under way; they hold the order (``sequence``) and what was decided (``stopped_early``).
        Report them by `confidence_sequence`: plain means are biased, and warn of it.
    dry_run : bool
        Send nothing; the result's ``estimate`` and ``summary()`` say how many requests there would be,
        how many are answered from disk, and about what the others would cost.
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
    again = options.some_of("ask_again", ask_again, NonAnswer)
    judges = _judges(judge, max_cost)
    if not isinstance(stop_when, Decided | None):
        raise ValueError(f"stop_when: found {stop_when!r}, expected Decided(...)")
    if stop_when is not None and batch is not None:
        raise ValueError(f"stop_when: found together with batch={batch!r}, expected one of the two")
    batches = None if batch is None else _batches(batch, budget, judges, cache)
    ours = read_model_outputs(outputs, name=model, side="outputs")
    theirs = read_model_outputs(reference_outputs, name=reference, side="reference_outputs")

    def ask_about(chosen: Order) -> list[Questions]:
        pairs = make_pairs(ours, theirs, order=chosen, seed=seed, n_repeats=n_repeats, on_missing=on_missing)
        stops: list[Stopping | None] = [None] * len(judges)
        if stop_when is not None:
            stops = [Stopping(stop_when, pairs, theirs.model, one.name, seed) for one in judges]
        return [Questions(one, ours, theirs, pairs, s) for one, s in zip(judges, stops, strict=True)]

    share = 1.0 if batch is None else BATCH_SHARE
    questions, orders = _in_order(order, judges, ask_about, max_cost, share)
    common = {"order_seed": seed, "n_repeats": n_repeats, "on_missing": on_missing}
    parts = []
    for one, said in zip(questions, orders, strict=True):
        settings = {
            "model": ours.model,
            "reference": theirs.model,
            "annotator": one.judge.name,
            "judge": one.judge.settings,
            **said,
            **common,
        }
        if dry_run:
            parts.append(_not_asked(one, settings, cache, share))
        else:
            limits = {"concurrency": concurrency, "budget": budget, "progress": progress, "batches": batches}
            parts.append(_asked(one, settings, cache, limits | {"again": again}))
    result = parts[0] if len(parts) == 1 else together(parts)
    if not dry_run:
        _warn_missing(result)
    return result


def _judges(given, max_cost) -> list[Judge]:
    """Return the judges that `given` names, one or several; each has its own name."""
    judges = [make_judge(one) for one in (given if isinstance(given, (list, tuple)) else [given])]
    names = [one.name for one in judges]
    if not judges:
        raise ValueError(f"judge: found {given!r}, expected one judge at least")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"judge: found {twice[0]!r} twice, expected different names; give one of them name=")
    for one in judges if max_cost is not None else ():
        if not one.is_free and (one.server is None or one.server.price is None):
            raise ValueError(f"max_cost: the judge {one.name!r} has no price to hold against it; give it one")
    return judges


def _batches(path, budget, judges, cache) -> Batches:
    if cache is False:
        raise ValueError("batch: found cache=False, expected a file for the answers")
    if not any(one.server and one.server.takes_batches for one in judges):
        raise ValueError(
            f"batch: found {judges[0].name!r}, expected a judge behind a server that takes batches"
        )
    return Batches(path, budget)


def _in_order(order, judges, ask_about, max_cost, share) -> tuple[list[Questions], list[dict]]:
    """Return every judge's questions, and what is written down of their order.

    "auto": language models see each pair in both orders unless that could cost more than is allowed.
    """
    if order != "auto":
        return ask_about(order), [{"order": order}] * len(judges)
    alone, both = ask_about("random"), ask_about("both")
    models = [one.judge.is_remote for one in both]
    most = share * math.fsum(one.most for one in both if one.judge.is_remote)
    fits = max_cost is None or most <= max_cost
    over = {} if fits or not math.isfinite(most) else {"both_orders_could_cost": most}
    return (
        [b if model and fits else a for a, b, model in zip(alone, both, models, strict=True)],
        [
            {"order": "both"} if model and fits else {"order": "random"} | (over if model else {})
            for model in models
        ],
    )


def _asked(questions, settings, cache, limits) -> Judgements:
    before, start = limits["budget"].spent, time.monotonic()
    answers = questions.ask(cache=cache, **limits)
    if questions.stopping:
        settings = settings | {"stop_when": questions.stopping.settings}
    return Judgements(
        records=tuple(questions.records(answers)),
        settings=settings,
        cost=limits["budget"].spent - before,
        seconds=time.monotonic() - start,
        n_asked=sum(not a.cached and a.answer is not None for a in answers),
        n_cached=sum(a.cached for a in answers),
    )


def _not_asked(questions, settings, cache, share) -> Judgements:
    answers = [Answered(None, "not asked: dry run")] * len(questions.requests)
    judge = questions.judge
    expected = estimate(judge, questions.requests, cache, typical_tokens=judge.typical_tokens, share=share)
    return Judgements(tuple(questions.records(answers)), settings, 0.0, 0.0, 0, 0, estimate=expected)


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
