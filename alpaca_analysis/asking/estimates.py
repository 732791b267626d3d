"""How many requests a model would be sent, and about what they would cost, before any is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_analysis.asking.replies import tokens
from alpaca_analysis.asking.store import AnswerStore, default_path, request_key

BYTES_PER_TOKEN = 4.0  # of English prose; other scripts and code have fewer
SAMPLE = 200  # kept answers that are looked at


@dataclass(frozen=True)
class Estimate:
    """What judging, or generating, would ask for.

    Attributes
    ----------
    n_requests : int
        Requests in all.
    n_kept : int
        Those whose answers are on disk and cost nothing.
    cost : float or None
        About the dollars of the others; None where no price is known.
    most : float or None
        Dollars that they cannot exceed, by bytes and the limit on answers; None where no price or no limit
        is known.
    basis : str
        What the estimate goes by.
    """

    n_requests: int
    n_kept: int
    cost: float | None
    most: float | None
    basis: str

    def __str__(self):
        asked = self.n_requests - self.n_kept
        said = f"{asked} of {self.n_requests} requests would be sent, {self.n_kept} are answered from disk"
        if self.cost is None:
            return f"{said}; no price is known"
        most = "" if self.most is None else f", at most ${self.most:.4f}"
        return f"{said}; about ${self.cost:.4f}{most} ({self.basis})"


def estimate(
    who: Any, requests: Sequence[dict], cache, *, typical_tokens: float = 400.0, share: float = 1.0
) -> Estimate:
    """Return how many requests a model would be sent, and about what they would cost.

    Parameters
    ----------
    who : Judge or Backend
        Who would be asked: ``is_kept``, ``server``, ``bound`` and ``cost``.
    requests : sequence of dict
        All requests.
    cache : path or False, optional
        File of kept answers.
    typical_tokens : float
        About the length of an answer.
    share : float
        Of the price that is charged, in batches.

    Returns
    -------
    Estimate
        By the tokens of kept answers to the same requests where there are any, else by four bytes a token and
        the typical length.
    """
    kept, waiting = _kept(who, requests, cache)
    n_kept = len(requests) - len(waiting)
    if who.server is None:
        return _by_kept_prices(who, len(requests), n_kept, kept)
    price = who.server.price
    if price is None:
        return Estimate(len(requests), n_kept, None, None, "no price")
    counted = [(_bytes(request), *_usage(answer)) for request, answer in kept]
    known = [(size, prompt, said) for size, prompt, said in counted if None not in (prompt, said)]
    if known:
        sizes, prompts, answers = (math.fsum(column) for column in zip(*known, strict=True))
        per_byte, length = prompts / max(sizes, 1.0), answers / len(known)
        basis = f"by the tokens of {len(known)} kept answers, {length:.0f} on average"
    else:
        per_byte, length = 1 / BYTES_PER_TOKEN, float(typical_tokens)
        basis = f"assuming {BYTES_PER_TOKEN:g} bytes a token and answers of {length:.0f} tokens"
    prompt = per_byte * math.fsum(map(_bytes, waiting))
    cost = share * (price[0] * prompt + price[1] * length * len(waiting)) / 1e6
    most = share * math.fsum(map(who.bound, waiting))
    return Estimate(len(requests), n_kept, cost, most if math.isfinite(most) else None, basis)


def sum_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the estimate of several judges in one."""
    costs, most = [e.cost for e in estimates], [e.most for e in estimates]
    return Estimate(
        sum(e.n_requests for e in estimates),
        sum(e.n_kept for e in estimates),
        None if None in costs else math.fsum(filter(None, costs)),
        None if None in most else math.fsum(filter(None, most)),
        f"{len(estimates)} judges together",
    )


def _kept(who, requests, cache):
    """Return up to `SAMPLE` requests with their kept answers, and all requests without one."""
    path = None if cache is False or not who.is_kept else Path(cache or default_path())
    if path is None or not path.exists():
        return [], list(requests)
    kept: list[tuple[dict, dict]] = []
    waiting: list[dict] = []
    with AnswerStore(path) as store:
        for request in requests:
            answer = store.known(request_key(request))
            if answer is None:
                waiting.append(request)
            elif len(kept) < SAMPLE:
                kept.append((request, answer))
    return kept, waiting


def _by_kept_prices(who, n_requests, n_kept, kept):
    if not who.is_kept:
        return Estimate(n_requests, 0, None, None, "no price")
    prices = [cost for _, answer in kept if (cost := who.cost(answer))]
    if not prices:
        return Estimate(n_requests, n_kept, None, None, "no price")
    mean = math.fsum(prices) / len(prices)
    basis = f"by the prices of {len(prices)} kept answers"
    return Estimate(n_requests, n_kept, mean * (n_requests - n_kept), None, basis)


def _bytes(request):
    body = request["body"]
    asked = body.get("messages", body.get("prompt", ""))
    return len(json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace"))


def _usage(answer):
    usage = answer["reply"].get("usage")
    return tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens")
