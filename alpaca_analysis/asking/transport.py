"""One request over HTTP with a limit on its whole time and on the size of its reply.

Requests run on one event loop in a background thread: a caller waits for its own, and whoever closes
the transport ends all waits at once, so that Ctrl-C does not depend on a server that hangs.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

LARGEST = 32 * 1024**2  # bytes of one reply, after decompression


@dataclass(frozen=True)
class Response:
    """State, headers in lower case, and text of a reply."""

    state: int
    headers: dict[str, str]
    text: str


class TransportError(RuntimeError):
    """No reply within the limits; another try may find one."""


class Transport:
    """A pool of connections.

    Parameters
    ----------
    timeout : float
        Seconds for one try, from connecting to the last byte of the reply.
    largest : int
        Bytes of a reply, after decompression.
    """

    def __init__(self, *, timeout: float, largest: int = LARGEST):
        self.timeout, self.largest = timeout, largest
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._waiting: set = set()

    def request(
        self, method: str, url: str, *, headers: dict, params: dict | None = None, **content
    ) -> Response:
        """Send a request and return its reply, or raise `TransportError`."""
        loop = self._start()
        ask = asyncio.run_coroutine_threadsafe(self._within(method, url, headers, params, content), loop)
        with self._lock:
            self._waiting.add(ask)
        try:
            return ask.result()
        except (asyncio.CancelledError, CancelledError):
            error = TransportError("interrupted")
        except BaseException:
            ask.cancel()
            raise
        finally:
            with self._lock:
                self._waiting.discard(ask)
        raise error

    async def _within(self, method, url, headers, params, content):
        import httpx

        try:
            async with asyncio.timeout(self.timeout):
                return await self._fetch(method, url, headers, params, content)
        except TimeoutError:
            message = f"no reply within {self.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as broken:
            message = f"connection failed, {type(broken).__name__}: {broken}"
        # Raised outside the handler: the caught errors hold the request with its headers.
        raise TransportError(message)

    async def _fetch(self, method, url, headers, params, content):
        async with self._client.stream(
            method, url, headers=headers, params=params or None, **content
        ) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes(65536):
                size += len(part)
                if size > self.largest:
                    raise TransportError(f"a reply of more than {self.largest:,} bytes")
                parts.append(part)
            text = b"".join(parts).decode("utf-8", "replace")
            return Response(response.status_code, dict(response.headers), text)

    def _start(self):
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=[self._loop], daemon=True, name="asking")
                self._thread.start()
                self._client = asyncio.run_coroutine_threadsafe(_make_client(), self._loop).result()
            return self._loop

    def close(self) -> None:
        """End all waits and close the connections."""
        with self._lock:
            loop, client, thread = self._loop, self._client, self._thread
            waiting = list(self._waiting)
            self._loop = self._client = self._thread = None
        if loop is None or thread is None:
            return
        for ask in waiting:
            ask.cancel()
        asyncio.run_coroutine_threadsafe(_close(client), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _run(loop):
    loop.run_forever()
    loop.close()


async def _make_client():
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=None, limits=limits, trust_env=True)


async def _close(client):
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.gather(*others, return_exceptions=True)
    await client.aclose()
