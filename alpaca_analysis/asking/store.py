"""Answers kept on disk: one SQLite file, safe for several processes, so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUSY = "busy"
MINE = "mine"


class StoreError(OSError):
    """Answers cannot be kept; says where, why and what to do."""


VERSION = 1  # of what a key is made of; files of older versions are brought to it when they are opened

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL)",
)


def request_key(request: dict) -> str:
    """Return the SHA-256 of a request, whatever the order of its fields.

    Examples
    --------
    >>> request_key({"a": 1, "b": 2}) == request_key({"b": 2, "a": 1})
    True
    """
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class AnswerStore:
    """Answers by request, in a SQLite file in write-ahead mode.

    A worker that means to ask claims the key first. Another thread or process that wants the same key
    finds it busy and waits for the answer. A claim is a lease that its owner renews: when a process is
    killed, its claims lapse after `lease` seconds and others take them over.

    Parameters
    ----------
    path : path
        The file; its folder is made if need be. A local disk: SQLite's locks are not safe on network
        file systems.
    lease : float
        Seconds a claim outlives its last renewal.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, AnswerStore(folder + "/answers.sqlite") as store:
    ...     store.claim("k") == MINE, store.claim("k") == BUSY
    ...     store.put("k", {"prompt": "Hi"}, {"text": "Hello"})
    ...     store.claim("k")
    (True, True)
    {'text': 'Hello'}
    """

    def __init__(self, path, *, lease: float = 30.0):
        self.path = Path(path)
        self.lease = lease
        self._owner = uuid.uuid4().hex
        self._lock = threading.RLock()
        with self._telling():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Prompts and answers are for their user alone; SQLite gives its other files the same rights.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                self.path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._prepare()

    @contextmanager
    def _telling(self):
        """Name the file and what to do where it cannot be written."""
        try:
            yield
        except (OSError, sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(
                f"{self.path}: answers cannot be kept there ({reason}). Make room or take another file by "
                "cache=; all answers so far are kept"
            ) from error

    def _prepare(self):
        for attempt in range(50):
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError:
                # The switch to write-ahead mode does not wait for another process that does the same.
                if attempt == 49:
                    raise
                time.sleep(0.05)
        # In write-ahead mode a killed process loses nothing; only a power cut can take the last answers.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self._transaction() as sql:
            for statement in _SCHEMA:
                sql.execute(statement)
            if sql.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                _leave_addresses_out(sql)
                sql.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self):
        with self._lock, self._telling():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def known(self, key: str) -> Any:
        """Return the kept answer to `key`, None where there is none."""
        with self._transaction() as sql:
            row = sql.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return _loaded(row[0]) if row else None

    def knows_any(self, keys: Iterable[str]) -> bool:
        """Tell whether an answer to one of `keys` is kept."""
        listed = list(keys)
        with self._lock, self._telling():
            for start in range(0, len(listed), 500):
                some = listed[start : start + 500]
                question = f"SELECT 1 FROM answers WHERE key IN ({','.join('?' * len(some))}) LIMIT 1"
                if self._connection.execute(question, some).fetchone():
                    return True
        return False

    def forget(self, keys: Iterable[str]) -> None:
        """Forget the answers to `keys`, so that they are asked again."""
        listed = list(keys)
        with self._transaction() as sql:
            sql.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in listed])

    def claim(self, key: str) -> Any:
        """Return the answer to `key`, or `MINE` if the caller is to find it, or `BUSY` if another does."""
        with self._transaction() as sql:
            row = sql.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            if row:
                kept = _loaded(row[0])
                if kept is not None:
                    return kept
                sql.execute("DELETE FROM answers WHERE key = ?", (key,))
            now = time.time()
            held = sql.execute("SELECT expires FROM claims WHERE key = ?", (key,)).fetchone()
            if held and held[0] > now:
                return BUSY
            sql.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, self._owner, now + self.lease)
            )
            return MINE

    def put(self, key: str, request: dict, answer: dict) -> None:
        """Keep an answer and release its claim."""
        with self._transaction() as sql:
            sql.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)",
                (key, json.dumps(request, sort_keys=True), json.dumps(answer)),
            )
            sql.execute("DELETE FROM claims WHERE key = ?", (key,))

    def release(self, key: str) -> None:
        """Release a claim without an answer."""
        with self._transaction() as sql:
            sql.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))

    def renew(self) -> None:
        """Extend all claims of this store."""
        with self._transaction() as sql:
            sql.execute(
                "UPDATE claims SET expires = ? WHERE owner = ?", (time.time() + self.lease, self._owner)
            )

    @contextmanager
    def renewing(self):
        """Renew the claims in the background while the block runs."""
        done = threading.Event()

        def work():
            while not done.wait(self.lease / 3):
                self.renew()

        thread = threading.Thread(target=work, daemon=True, name="renew-claims")
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()

    def count(self) -> int:
        """Return how many answers are kept."""
        with self._lock:
            return self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _leave_addresses_out(sql):
    """Find answers that were kept by the server's address, too, by what was asked alone."""
    kept = sql.execute("SELECT key, request FROM answers WHERE request LIKE '{\"address\": %'").fetchall()
    for key, text in kept:
        request = {name: value for name, value in json.loads(text).items() if name != "address"}
        row = (request_key(request), json.dumps(request, sort_keys=True), key)
        sql.execute("UPDATE OR IGNORE answers SET key = ?, request = ? WHERE key = ?", row)


def _loaded(text):
    """Return a kept answer, None where it cannot be read: it is asked for again."""
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return kept if isinstance(kept, dict) else None


def default_path() -> Path:
    """Return where answers are kept unless told otherwise: the user's cache folder."""
    import pooch

    return Path(pooch.os_cache("alpaca_analysis")) / "answers.sqlite"
