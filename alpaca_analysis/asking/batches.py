"""Batches of OpenAI's kind: hand requests in, leave, and collect the answers within a day for half the price.

A small file remembers which batches wait. Answers go to the same store as any others, by the same keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alpaca_analysis.asking.ask import Answered, Budget
from alpaca_analysis.asking.replies import read_reply, server_reason
from alpaca_analysis.asking.server import BATCH_SHARE, Server, ServerError
from alpaca_analysis.asking.store import MINE, AnswerStore, request_key
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.files import write_json

MOST_REQUESTS = 50_000  # in one batch
MOST_BYTES = 100 * 1024**2  # of one file of requests
LARGEST = 1024**3  # bytes of one file of answers
FORMAT = "alpaca-analysis batches, version 1"
ENDED = ("completed", "failed", "expired", "cancelled")


class Batches:
    """The batches of one file, and the money that may be promised to new ones.

    Parameters
    ----------
    path : path
        Remembers what was handed in: ids, states and keys, no texts and no secrets.
    budget : Budget
        What answers cost is taken down there; requests that could exceed its limit are not handed in.

    Raises
    ------
    AnnotationError
        The file is there and holds something else.
    """

    def __init__(self, path, budget: Budget):
        self.path, self.budget = Path(path), budget
        self.promised = 0.0
        self.batches: list[dict] = []

    def ask(
        self,
        requests: Sequence[dict],
        server: Server,
        *,
        endpoint: str,
        store: AnswerStore,
        bound: Callable[[dict], float],
        cost: Callable[[dict], float | None],
    ) -> list[Answered]:
        """Collect what has been answered, hand in what has not been asked, and say what waits.

        Parameters
        ----------
        requests : sequence of dict
            Each with a ``body``; its hash is its key in the store and its name in the batch.
        server : Server
            Takes batches.
        endpoint : str
            ``"/chat/completions"`` or ``"/completions"``.
        store : AnswerStore
            Where answers are looked up and kept.
        bound, cost : callable
            The most a request can cost at full price, and what an answer did cost.

        Returns
        -------
        list of Answered
            In the order of `requests`; those that wait, and those that failed, with the reason.

        Raises
        ------
        ServerError
            The server does not answer or takes no batches; nothing is lost, and the next call goes on.
        BlockingIOError
            Another process uses the file.
        """
        keys = list(map(request_key, requests))
        places = {key: i for i, key in enumerate(keys)}  # requests are made when they are looked at
        lock = f"batches in {self.path.resolve()}"
        if store.claim(lock) != MINE:
            raise BlockingIOError(f"{self.path}: another process uses it; try again when that has ended")
        try:
            with store.renewing():
                self.batches = _read(self.path)
                before = {key: answer for key in places if (answer := store.known(key)) is not None}
                failed = self._collect(server, places.keys(), store)
                known = before | {key: a for key in places.keys() - before if (a := store.known(key))}
                settled = known.keys() | failed.keys() | self._waiting().keys()
                new = [(key, requests[i]) for key, i in places.items() if key not in settled]
                refused = self._hand_in(new, server, endpoint, bound)
                waiting = self._waiting()
        finally:
            store.release(lock)
        for key in known.keys() - before.keys():
            self.budget.settle(0.0, cost(known[key]) or 0.0)
        reasons = {**waiting, **failed, **refused}
        return [
            Answered(known[key], cached=key in before) if key in known else Answered(None, reasons[key])
            for key in keys
        ]

    def _waiting(self):
        """Return what is to be said of each key that waits."""
        return {
            key: f"waits in batch {batch['id']}: {batch['state']}; the same call collects it"
            for batch in self.batches
            for key in batch["keys"]
        }

    def _save(self):
        write_json(self.path, {"format": FORMAT, "batches": self.batches})

    def _collect(self, server, keys, store):
        """Keep the answers of batches that have ended; return the reasons of what failed in them."""
        failed: dict[str, str] = {}
        for batch in self.batches:
            if keys.isdisjoint(batch["keys"]) or batch["address"] != server.address:
                continue
            if batch["id"] is None:
                batch["id"] = _found(batch, server) or _made(batch, server)
            told = _object(server.fetch("GET", f"/batches/{batch['id']}"))
            batch["state"] = str(told.get("status"))
            if batch["state"] in ENDED:
                failed |= _keep(batch, told, server, store)
                batch |= {"keys": [], "collected": _now()}
            self._save()
        return failed

    def _hand_in(self, asked, server, endpoint, bound):
        """Hand in new requests as far as money goes; return the reasons of what was not."""
        allowed, refused = [], {}
        if self.budget.limit is not None and any(math.isinf(bound(request)) for _, request in asked[:1]):
            raise ValueError("max_cost: the request sets no limit of tokens, so that its cost has no bound")
        for key, request in asked:
            most = BATCH_SHARE * bound(request)
            if self.budget.limit is not None and self.budget.spent + self.promised + most > self.budget.limit:
                refused[key] = (
                    f"not asked: ${self.promised:.4f} of ${self.budget.limit:.4f} promised; "
                    f"the next request could cost ${most:.4f}"
                )
                continue
            self.promised += most
            allowed.append((key, request))
        for keys, lines in _files(allowed, endpoint):
            file = {"file": ("requests.jsonl", lines, "application/jsonl")}
            uploaded = server.fetch("POST", "/files", files=file, data={"purpose": "batch"})
            batch = {
                "id": None,
                "input_file_id": _id(uploaded),
                "address": server.address,
                "endpoint": f"/v1{endpoint}",
                "state": "handed in",
                "submitted": _now(),
                "keys": keys,
            }
            self.batches.append(batch)
            self._save()  # before the batch is made: after an interruption it is looked for, not made twice
            batch["id"] = _made(batch, server)
            self._save()
        return refused


def _made(batch, server) -> str:
    """Make the batch of an uploaded file, and return its id."""
    body = {"input_file_id": batch["input_file_id"], "endpoint": batch["endpoint"]}
    return _id(server.fetch("POST", "/batches", json=body | {"completion_window": "24h"}, max_retries=0))


def _found(batch, server) -> str | None:
    """Return the id of a batch that was made before an interruption; None where the server has none."""
    listed = _object(server.fetch("GET", "/batches", params={"limit": "100"})).get("data")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("input_file_id") == batch["input_file_id"]:
            return str(one["id"])
    return None


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path):
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] == FORMAT:
            return found["batches"]
    except (ValueError, KeyError, TypeError):
        pass
    raise AnnotationError("a file that remembers batches, or none yet", source=path)


def _files(asked, endpoint) -> Iterator[tuple[list[str], bytes]]:
    """Yield keys and lines of requests, each within the limits of one batch."""
    keys: list[str] = []
    lines: list[bytes] = []
    size = 0
    for key, request in asked:
        named = {"custom_id": key, "method": "POST", "url": f"/v1{endpoint}", "body": request["body"]}
        line = json.dumps(named, allow_nan=False).encode() + b"\n"
        if keys and (len(keys) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield keys, b"".join(lines)
            keys, lines, size = [], [], 0
        keys.append(key)
        lines.append(line)
        size += len(line)
    if keys:
        yield keys, b"".join(lines)


def _object(text) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ServerError("the server's reply about a batch is no JSON object; it may not take batches")
    return found


def _id(text) -> str:
    found = _object(text).get("id")
    if not isinstance(found, str) or not found.replace("-", "").replace("_", "").isalnum():
        raise ServerError("the server's reply about a batch has no id; it may not take batches")
    return found


def _keep(batch, told, server, store) -> dict[str, str]:
    """Keep the answers of an ended batch; return why the other keys have none."""
    missing = dict.fromkeys(batch["keys"], f"failed: batch {batch['id']} {batch['state']} without an answer")
    errors = told.get("errors")
    why = server_reason(errors.get("data") if isinstance(errors, dict) else errors)
    if batch["state"] == "failed" and why:
        missing = dict.fromkeys(missing, f"failed: batch {batch['id']}: {server.shown(why)}")
    for name in ("output_file_id", "error_file_id"):
        file = told.get(name)
        if not isinstance(file, str):
            continue
        for line in server.fetch("GET", f"/files/{file}/content", largest=LARGEST).splitlines():
            key, reply, why = _answer(line)
            if key not in missing:
                continue
            if reply is None:
                missing[key] = f"failed: {server.shown(why)}"
            else:
                hidden = server.hidden(reply)
                store.put(key, {}, {"reply": hidden, "seconds": None, "date": _now(), "batch": batch["id"]})
                del missing[key]
    return missing


def _answer(line):
    """Return key, reply and what is wrong of one line of answers; a line of another shape has no key."""
    try:
        found = json.loads(line)
        key, response = found["custom_id"], found.get("response") or {}
        if found.get("error") or response.get("status_code") != 200:
            said = server_reason(found.get("error")) or server_reason(response.get("body"))
            return key, None, f"state {response.get('status_code')}, {said}"
        return key, *read_reply(json.dumps(response["body"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None, "a line of another shape"
