"""One request over HTTP with a limit on its whole time and on the size of its reply.

Requests run on one event loop in a background thread: a caller waits for its own, and whoever closes
the transport ends all waits at once, so that Ctrl-C does not depend on a server that hangs.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

LARGEST = 32 * 1024**2  # bytes of one reply, after decompression
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Response:
    """State, headers in lower case, and text of a reply."""

    state: int
    headers: dict[str, str]
    text: str


class TransportError(RuntimeError):
    """No reply within the limits; another try may find one."""


class Transport:
    """Connections to one server, as many as there are requests at once.

    Each connection is a client of its own, taken by one request at a time: the search of a shared pool
    for a free one would grow with the square of their number.

    Parameters
    ----------
    timeout : float
        Seconds for one try, from connecting to the last byte of the reply.
    largest : int
        Bytes of a reply, after decompression.

    Attributes
    ----------
    closed : threading.Event
        Set for good by `close`.
    """

    def __init__(self, *, timeout: float, largest: int = LARGEST):
        self.timeout, self.largest = timeout, largest
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._waiting: set = set()
        self._free: list[Any] = []  # clients; touched by the loop's thread only

    def request(
        self, method: str, url: str, *, headers: dict, params: dict | None = None, **content
    ) -> Response:
        """Send a request and return its reply, or raise `TransportError`."""
        with self._lock:
            if self.closed.is_set():
                raise TransportError(INTERRUPTED)
            ask = asyncio.run_coroutine_threadsafe(
                self._within(method, url, headers, params, content), self._started()
            )
            self._waiting.add(ask)
        try:
            return ask.result()
        except (asyncio.CancelledError, CancelledError):
            error = TransportError(INTERRUPTED)
        except BaseException:
            ask.cancel()
            raise
        finally:
            with self._lock:
                self._waiting.discard(ask)
        raise error

    async def _within(self, method, url, headers, params, content):
        import httpx

        client = self._free.pop() if self._free else _make_client()
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._fetch(client, method, url, headers, params, content)
            self._free.append(client)
            return response
        except TimeoutError:
            message = f"no reply within {self.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as broken:
            message = f"connection failed, {type(broken).__name__}: {broken}"
        except TransportError as refused:
            message = str(refused)
        # A client that failed is not used again. Raised outside the handlers: the caught errors hold the
        # request with its headers.
        await client.aclose()
        raise TransportError(message)

    async def _fetch(self, client, method, url, headers, params, content):
        async with client.stream(method, url, headers=headers, params=params or None, **content) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes(65536):
                size += len(part)
                if size > self.largest:
                    raise TransportError(f"a reply of more than {self.largest:,} bytes")
                parts.append(part)
            text = b"".join(parts).decode("utf-8", "replace")
            return Response(response.status_code, dict(response.headers), text)

    def _started(self):
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=[self._loop], daemon=True, name="asking")
            self._thread.start()
        return self._loop

    def close(self) -> None:
        """End all waits and close the connections, for good."""
        with self._lock:
            self.closed.set()
            loop, thread, waiting = self._loop, self._thread, list(self._waiting)
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        for ask in waiting:
            ask.cancel()
        asyncio.run_coroutine_threadsafe(self._finish(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

    async def _finish(self):
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)
        for client in self._free:
            await client.aclose()


def _make_client():
    import httpx

    tls = _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return httpx.AsyncClient(timeout=None, verify=tls, trust_env=True)


@lru_cache(maxsize=4)
def _tls(*_):
    """Return what is known of certificates, read once for each place that the environment names."""
    import httpx

    return httpx.create_ssl_context()


def _run(loop):
    loop.run_forever()
    loop.close()
