"""Many requests at once: each asked once, within limits on concurrency and money, with progress."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from alpaca_analysis.asking.server import Forbidden, PromptRefused, ServerError, ServerRefused
from alpaca_analysis.asking.store import BUSY, MINE, AnswerStore, request_key
from alpaca_analysis.asking.transport import INTERRUPTED
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.progress import bar

GIVE_UP_AFTER = 20  # requests in a row without a reply: the server is down, not busy
REFUSED_AT_FIRST = 3  # states 401, 403 and 404 and never an answer: no access, not one prompt's fault


class BudgetReached(RuntimeError):
    """The next request could exceed the limit on money."""


class Budget:
    """Money that may be spent: a request reserves the most it can cost and settles with what it did.

    Some servers charge for more than the request's limit of tokens, such as hidden reasoning. So at first
    one request is under way, then ever more, and what an answer cost beyond its bound is expected of the
    next ones.

    Parameters
    ----------
    limit : float, optional
        Dollars; None for no limit.

    Examples
    --------
    >>> budget = Budget(1.0)
    >>> budget.reserve(0.75)
    0.75
    >>> budget.settle(0.75, 0.25)
    >>> budget.spent
    0.25
    >>> budget.reserve(0.80)
    Traceback (most recent call last):
    ...
    alpaca_analysis.asking.ask.BudgetReached: $0.2500 of $1.0000 spent; the next request could cost $0.8000
    """

    def __init__(self, limit: float | None = None):
        self.limit = None if limit is None else options.number("max_cost", limit, 0)
        self.spent = 0.0
        self._reserved = 0.0
        self._under_way = self._answered = 0
        self._beyond = 1.0  # greatest cost of an answer in terms of its bound
        self._changed = threading.Condition()

    def reserve(self, bound: float) -> float:
        """Set aside the most that a request can cost, waiting for those under way, and return it.

        Parameters
        ----------
        bound : float
            Dollars, by the request's own limits.

        Raises
        ------
        BudgetReached
            It does not fit after the requests under way.
        """
        if self.limit is None:
            return bound
        with self._changed:
            while True:
                most = bound * self._beyond
                if self.spent + self._reserved + most <= self.limit and self._under_way <= self._answered:
                    break
                if not self._under_way:
                    raise BudgetReached(
                        f"${self.spent:.4f} of ${self.limit:.4f} spent; "
                        f"the next request could cost ${most:.4f}"
                    )
                self._changed.wait()
            self._reserved += most
            self._under_way += 1
            return most

    def settle(self, reserved: float, cost: float, *, bound: float = 0.0, answered: bool = True) -> None:
        """Give back what was set aside and take what was spent.

        Parameters
        ----------
        reserved : float
            What `reserve` returned.
        cost : float
            Dollars that were spent.
        bound : float
            What the request could cost by its own limits.
        answered : bool
            Whether there was an answer, so that its cost says something of the next ones.
        """
        with self._changed:
            left = self._reserved - reserved
            self._reserved = left if left > 1e-12 else 0.0
            self._under_way = max(0, self._under_way - 1)
            self._answered += answered
            self.spent += cost
            if bound > 0:
                self._beyond = max(self._beyond, cost / bound)
            self._changed.notify_all()


@dataclass(frozen=True)
class Answered:
    """The outcome of one request: an answer, or the reason why there is none."""

    answer: dict | None
    error: str = ""
    cached: bool = False


def ask_all(
    requests: Sequence[dict],
    send: Callable[[dict], dict],
    *,
    store: AnswerStore | None = None,
    concurrency: int = 8,
    budget: Budget | None = None,
    bound: Callable[[dict], float] = lambda request: 0.0,
    cost: Callable[[dict], float | None] = lambda answer: 0.0,
    progress: bool | None = None,
    label: str = "asked",
    interrupt: Callable[[], None] | None = None,
    watch: Callable[[int, Answered], str] | None = None,
    take: Callable[[int, Answered], Answered] = lambda i, answered: answered,
) -> list[Answered]:
    """Ask every request, those in the store for nothing.

    Parameters
    ----------
    requests : sequence of dict
        Everything that decides the answer; its hash is the key in the store.
    send : callable
        Takes a request, returns its answer, raises `ServerError`.
    store : AnswerStore, optional
        Where answers are looked up and kept, each as soon as it is there.
    concurrency : int
        Requests under way at any moment, at most. One at a time is asked in the caller's own thread.
    budget : Budget, optional
        Limit on money; after it is reached nothing more is sent.
    bound, cost : callable
        The most a request can cost, and what an answer did (None: unknown, `bound` is assumed).
    progress : bool, optional
        Show a bar with the time left; by default where a person watches: on a terminal or in a notebook.
    label : str
        Word on the bar.
    interrupt : callable, optional
        Ends all requests under way, on Ctrl-C; called until none is left.
    watch : callable, optional
        Told the place of each request and what became of it, as it comes; returns why nothing more is to be
        asked, or "". Requests are then sent as earlier ones come back, and no further ahead.
    take : callable, optional
        Told the same before `watch` is, from several threads; what it returns is all that is remembered, so
        that whole replies need not be.

    Returns
    -------
    list of Answered
        In the order of `requests`, as `take` left them. A request without an answer says why and is not kept.

    Raises
    ------
    ServerRefused
        No access, or no such model, and no answer to any request. Nothing more is sent then; where there are
        answers they are returned, and what was not asked says why.
    ValueError
        A limit on money, and requests whose cost has no bound.
    """
    options.whole("concurrency", concurrency)
    budget = budget or Budget()
    if budget.limit is not None and requests and math.isinf(bound(requests[0])):
        raise ValueError("max_cost: the request sets no limit of tokens, so that its cost has no bound")
    work = _Work(requests, send, store, budget, bound, cost, concurrency, take)
    results: list[Answered | None] = [None] * len(requests)
    # Not a `with` block: its exit would wait for every request that has not begun.
    # More threads than requests under way: some look up and keep answers while the others wait for theirs.
    n_threads = concurrency + min(concurrency, 8)
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="ask")
    under_way: dict[Future, int] = {}
    with store.renewing() if store else nullcontext(), _bar(len(requests), label, progress) as steps:
        try:
            if concurrency == 1:
                come = _in_turn(work)
            else:
                ahead = concurrency if watch else 2 * n_threads
                come = _aside(work, pool, ahead, under_way, kept_first=bool(watch))
            for i, answered in come:
                results[i] = answered
                if watch and not work.enough:
                    work.enough = watch(i, answered)
                steps.update()
                if work.budget.spent:
                    steps.set_postfix_str(f"${work.budget.spent:.4f}")
        except KeyboardInterrupt:
            work.stopped = INTERRUPTED
            pool.shutdown(wait=False, cancel_futures=True)
            while interrupt and wait([f for f in under_way if not f.cancelled()], timeout=0.1).not_done:
                interrupt()  # again and again: some may only just have begun
            _tell_what_is_kept(store)
            raise
        finally:
            work.stopped = work.stopped or INTERRUPTED
            pool.shutdown(wait=True, cancel_futures=True)
    if work.refused and not work.has_answers:
        raise ServerRefused(work.refused)
    return [result for result in results if result is not None]


def _tell_what_is_kept(store):
    if store:
        print(f"interrupted: {store.count()} answers are kept in {store.path}", file=sys.stderr)


def _in_turn(work):
    for i in range(len(work.requests)):
        yield i, work.skipped(i) if work.enough else work.answer(i)


def _aside(work, pool, ahead, under_way, *, kept_first):
    """Yield answers as they come; no more than `ahead` requests are handed to the threads at once.

    With `kept_first`, answers at the beginning that are kept come before anything is sent.
    """
    start, n = 0, len(work.requests)
    done: SimpleQueue[Future] = SimpleQueue()
    while kept_first and start < n and not work.enough and (kept := work.known(start)) is not None:
        yield start, kept
        start += 1
    while under_way or (start < n and not work.enough):
        while start < n and len(under_way) < ahead and not work.enough:
            future = pool.submit(work.answer, start)
            under_way[future] = start
            future.add_done_callback(done.put)
            start += 1
        future = done.get()
        yield under_way.pop(future), future.result()
    for i in range(start, n):
        yield i, work.skipped(i)


def ask_in_batches(
    requests: Sequence[dict],
    answers: Callable[[Sequence[dict]], list[dict]],
    *,
    store: AnswerStore | None = None,
    batch_size: int = 8,
    budget: Budget | None = None,
    cost: Callable[[dict], float | None] = lambda answer: 0.0,
    progress: bool | None = None,
    label: str = "answered",
    watch: Callable[[int, Answered], str] | None = None,
    take: Callable[[int, Answered], Answered] = lambda i, answered: answered,
) -> list[Answered]:
    """Ask requests in batches, one after the other; each batch is kept when it is done.

    Parameters
    ----------
    requests : sequence of dict
        Everything that decides the answer; its hash is the key in the store.
    answers : callable
        Takes a batch of requests, returns their answers.
    store : AnswerStore, optional
        Where answers are looked up and kept, each batch as soon as it is there.
    batch_size : int
        Requests in one batch.
    budget : Budget, optional
        Takes down what the answers cost.
    cost : callable
        What an answer cost; None where that is unknown.
    progress : bool, optional
        Show a bar with the time left; by default where a person watches: on a terminal or in a notebook.
    label : str
        Word on the bar.
    watch, take : callable, optional
        As of `ask_all`; what is watched is looked at after each batch.

    Returns
    -------
    list of Answered
        In the order of `requests`.
    """
    results: dict[int, Answered] = {}
    waiting, stopped = list(range(len(requests))), ""
    keys = [request_key(request) if store else "" for request in requests]
    with store.renewing() if store else nullcontext(), _bar(len(requests), label, progress) as steps:

        def put(i, answered):
            nonlocal stopped
            results[i] = take(i, answered)
            stopped = stopped or (watch(i, results[i]) if watch else "")
            steps.update()

        while waiting and not stopped:
            mine: list[int] = []
            busy: list[int] = []
            while waiting and len(mine) < batch_size:
                i = waiting.pop(0)
                found: Any = store.claim(keys[i]) if store else MINE
                if found == MINE:
                    mine.append(i)
                elif found == BUSY:
                    busy.append(i)
                else:
                    put(i, Answered(found, cached=True))
            try:
                batch = answers([requests[i] for i in mine]) if mine else []
                for i, answer in zip(mine, batch, strict=True):
                    if store:
                        store.put(keys[i], requests[i], answer)
                    if budget:
                        budget.settle(0.0, cost(answer) or 0.0)
                    put(i, Answered(answer))
            except KeyboardInterrupt:
                _tell_what_is_kept(store)
                raise
            finally:
                if store:
                    for i in mine:
                        store.release(keys[i])
            if busy and not mine:
                time.sleep(0.1)
            waiting += busy
    left = Answered(None, f"not asked: {stopped}")
    return [results[i] if i in results else take(i, left) for i in range(len(requests))]


class _Work:
    """One request after another, from many threads."""

    def __init__(self, requests, send, store, budget, bound, cost, concurrency, take):
        self.requests, self.take = requests, take
        self.send, self.store, self.budget, self.bound, self.cost = send, store, budget, bound, cost
        self.stopped = self.refused = self.enough = ""
        self.has_answers = False
        self._failed_in_a_row = self._refusals = 0
        self._places = threading.BoundedSemaphore(concurrency)
        self._lock = threading.Lock()

    def known(self, i) -> Answered | None:
        """Return the kept answer to a request, None where there is none."""
        kept = self.store.known(request_key(self.requests[i])) if self.store else None
        return None if kept is None else self.take(i, Answered(kept, cached=True))

    def skipped(self, i) -> Answered:
        """Return that nothing more was asked."""
        return self.take(i, Answered(None, f"not asked: {self.enough}"))

    def answer(self, i) -> Answered:
        """Return what became of a request."""
        return self.take(i, self._answer(i))

    def _answer(self, i) -> Answered:
        request = self.requests[i]
        key = request_key(request) if self.store else ""
        found = self._claim(key)
        if isinstance(found, dict):
            self.has_answers = True
            return Answered(found, cached=True)
        if found == BUSY:
            return Answered(None, f"not asked: {self.stopped}")
        kept = False
        try:
            with self._places:
                answered = self._ask(request)
            if self.store and answered.answer is not None:
                self.store.put(key, request, answered.answer)
                kept = True
            return answered
        finally:
            if self.store and not kept:
                self.store.release(key)

    def _claim(self, key):
        if not self.store:
            return MINE
        pause = 0.01
        while True:
            found = self.store.claim(key)
            if found != BUSY or self.stopped:
                return found
            time.sleep(pause)
            pause = min(0.5, 2 * pause)

    def _ask(self, request):
        if self.stopped:
            return Answered(None, f"not asked: {self.stopped}")
        bound = self.bound(request)
        try:
            reserved = self.budget.reserve(bound)
        except BudgetReached as reached:
            self.stopped = str(reached)
            return Answered(None, f"not asked: {reached}")
        spent, answered = reserved, True
        try:
            answer = self.send(request)
            paid = self.cost(answer)
            spent = paid if paid is not None and 0 <= paid < math.inf else _finite(reserved)
        except ServerError as error:
            self._count_failure(error)
            spent, answered = 0.0, False
            return Answered(None, f"failed: {error}")
        finally:
            self.budget.settle(reserved, spent, bound=bound, answered=answered)
        self._failed_in_a_row, self.has_answers = 0, True
        return Answered(answer)

    def _count_failure(self, error):
        """Stop asking where the next request would fare no better."""
        with self._lock:
            if isinstance(error, (ServerRefused, Forbidden)) and not self.has_answers:
                self._refusals += 1
                enough = self._refusals >= REFUSED_AT_FIRST and not self._is_any_kept()
                self.refused = str(error) if enough or isinstance(error, ServerRefused) else ""
                self.stopped = self.stopped or (self.refused if enough else "")
            elif not isinstance(error, PromptRefused):  # a prompt's fault says nothing of the next
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= GIVE_UP_AFTER and not self.stopped:
                    self.stopped = f"{GIVE_UP_AFTER} requests in a row failed; the last: {error}"

    def _is_any_kept(self):
        """Look whether a request that has not been looked at yet is answered on disk."""
        kept = self.store and self.store.knows_any(map(request_key, self.requests))
        self.has_answers = self.has_answers or bool(kept)
        return self.has_answers


def _finite(dollars):
    return dollars if math.isfinite(dollars) else 0.0


def _bar(total, label, shown):
    return bar(total, label, shown=shown, unit="request", delay=0, leave=True)
