"""Many requests at once: each asked once, within limits on concurrency and money, with progress."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from alpaca_analysis.asking.server import PromptRefused, ServerError, ServerRefused
from alpaca_analysis.asking.store import BUSY, MINE, AnswerStore, request_key
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.progress import bar

GIVE_UP_AFTER = 20  # requests in a row without a reply: the server is down, not busy


class BudgetReached(RuntimeError):
    """The next request could exceed the limit on money."""


class Budget:
    """Money that may be spent: a request reserves the most it can cost and settles with what it did.

    Parameters
    ----------
    limit : float, optional
        Dollars; None for no limit.

    Examples
    --------
    >>> budget = Budget(1.0)
    >>> budget.reserve(0.75)
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
        self._changed = threading.Condition()

    def reserve(self, bound: float) -> None:
        """Set `bound` dollars aside, waiting for requests under way; raise if it does not fit after them."""
        with self._changed:
            while self.limit is not None and self.spent + self._reserved + bound > self.limit:
                if self._reserved == 0:
                    raise BudgetReached(
                        f"${self.spent:.4f} of ${self.limit:.4f} spent; "
                        f"the next request could cost ${bound:.4f}"
                    )
                self._changed.wait()
            self._reserved += bound

    def settle(self, bound: float, cost: float) -> None:
        """Give back what was set aside and take what was spent."""
        with self._changed:
            self._reserved = max(0.0, self._reserved - bound) if self._reserved - bound > 1e-12 else 0.0
            self.spent += cost
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
        Ends all requests under way, on Ctrl-C.

    Returns
    -------
    list of Answered
        In the order of `requests`. A request without an answer says why and is not kept.

    Raises
    ------
    ServerRefused
        No access, or no such model; nothing more is sent then.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency: found {concurrency!r}, expected at least 1")
    work = _Work(send, store, budget or Budget(), bound, cost)
    results: list[Answered | None] = [None] * len(requests)
    # Not a `with` block: its exit would wait for every request that has not begun.
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="ask")
    with store.renewing() if store else nullcontext(), _bar(len(requests), label, progress) as steps:
        try:
            for i, answered in _in_turn(work, requests) if concurrency == 1 else _aside(work, requests, pool):
                results[i] = answered
                steps.update()
                if work.budget.spent:
                    steps.set_postfix_str(f"${work.budget.spent:.4f}")
        except KeyboardInterrupt:
            work.stopped = "interrupted"
            if interrupt:
                interrupt()
            if store:
                print(f"interrupted: {store.count()} answers are kept in {store.path}", file=sys.stderr)
            raise
        finally:
            work.stopped = work.stopped or "interrupted"
            pool.shutdown(wait=True, cancel_futures=True)
    return [result for result in results if result is not None]


def _in_turn(work, requests):
    for i, request in enumerate(requests):
        yield i, work.answer(request)


def _aside(work, requests, pool):
    futures = {pool.submit(work.answer, request): i for i, request in enumerate(requests)}
    for future in as_completed(futures):
        yield futures[future], future.result()


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

    Returns
    -------
    list of Answered
        In the order of `requests`.
    """
    results: dict[int, Answered] = {}
    waiting = list(range(len(requests)))
    keys = [request_key(request) if store else "" for request in requests]
    with store.renewing() if store else nullcontext(), _bar(len(requests), label, progress) as steps:
        while waiting:
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
                    results[i] = Answered(found, cached=True)
                    steps.update()
            try:
                batch = answers([requests[i] for i in mine]) if mine else []
                for i, answer in zip(mine, batch, strict=True):
                    if store:
                        store.put(keys[i], requests[i], answer)
                    results[i] = Answered(answer)
                    if budget:
                        budget.settle(0.0, cost(answer) or 0.0)
                    steps.update()
            finally:
                if store:
                    for i in mine:
                        store.release(keys[i])
            if busy and not mine:
                time.sleep(0.1)
            waiting += busy
    return [results[i] for i in range(len(requests))]


class _Work:
    """One request after another, from many threads."""

    def __init__(self, send, store, budget, bound, cost):
        self.send, self.store, self.budget, self.bound, self.cost = send, store, budget, bound, cost
        self.stopped = ""
        self._failed_in_a_row = 0
        self._lock = threading.Lock()

    def answer(self, request) -> Answered:
        key = request_key(request) if self.store else ""
        found = self._claim(key)
        if isinstance(found, dict):
            return Answered(found, cached=True)
        if found == BUSY:
            return Answered(None, f"not asked: {self.stopped}")
        try:
            return self._ask(key, request)
        finally:
            if self.store:
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

    def _ask(self, key, request):
        if self.stopped:
            return Answered(None, f"not asked: {self.stopped}")
        most = self.bound(request)
        try:
            self.budget.reserve(most)
        except BudgetReached as reached:
            self.stopped = str(reached)
            return Answered(None, f"not asked: {reached}")
        spent = most
        try:
            answer = self.send(request)
            paid = self.cost(answer)
            spent = most if paid is None or not 0 <= paid < math.inf else paid
            self._failed_in_a_row = 0
        except ServerRefused as refused:
            self.stopped, spent = str(refused), 0.0
            raise
        except ServerError as error:
            self._count_failure(error)
            spent = 0.0
            return Answered(None, f"failed: {error}")
        finally:
            self.budget.settle(most, spent)
        if self.store:
            self.store.put(key, request, answer)
        return Answered(answer)

    def _count_failure(self, error):
        if isinstance(error, PromptRefused):
            return  # the server is up, and the next prompt may please it
        with self._lock:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= GIVE_UP_AFTER and not self.stopped:
                self.stopped = f"{GIVE_UP_AFTER} requests in a row failed; the last: {error}"


def _bar(total, label, shown):
    return bar(total, label, shown=shown, unit="request", delay=0, leave=True)
