"""Any server that speaks OpenAI's protocol: one request, its retries, its price; no secret is shown."""

from __future__ import annotations

import base64
import json
import math
import os
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from alpaca_analysis.asking.fields import most_tokens
from alpaca_analysis.asking.replies import charged, read_reply, reply_text, server_reason, stated_cost
from alpaca_analysis.asking.transport import INTERRUPTED, LARGEST, Response, Transport, TransportError
from alpaca_analysis.foundations.extras import need
from alpaca_analysis.foundations.secrets import address_secrets, hide, hide_in

__all__ = ["Forbidden", "PromptRefused", "Server", "ServerError", "ServerRefused", "reply_text"]

OFFICIAL_ADDRESS = "https://api.openai.com/v1"
TRIED_AGAIN = (408, 409, 425, 429)  # and 5xx
FIRST_PAUSE, LONGEST_OWN_PAUSE = 0.25, 8.0  # seconds; they double from try to try
BATCH_SHARE = 0.5  # of the price, for what is asked in a batch
LONGEST_PAUSE = 60.0  # seconds between two tries, whatever the server asks for


class ServerError(RuntimeError):
    """A request that got no usable reply after all retries."""


class ServerRefused(ServerError):
    """A reply that would be the same for every request: no access, or no such model or address."""


class PromptRefused(ServerError):
    """A refusal that concerns one request alone, such as a prompt that is filtered or too long."""


class Forbidden(PromptRefused):
    """State 403: no access, or, with some servers, a prompt that they filter."""


class Server:
    """A client of an OpenAI-compatible server.

    Broken connections, time-outs, the states 408, 409, 425, 429 and 5xx, and replies that are not the
    JSON they should be are tried again with growing pauses; a ``retry-after`` of the server is kept.

    Parameters
    ----------
    base_url : str, optional
        Address up to ``/v1``; by default ``OPENAI_BASE_URL``, else OpenAI's. A name and password in it
        are sent as basic authorisation and never shown.
    api_key_env : str, optional
        *Name* of the environment variable that holds the key. By default ``OPENAI_API_KEY`` for
        OpenAI's own address and none for others: a key goes only where it is told to.
    timeout : float
        Seconds for one try, to the last byte of its reply.
    max_retries : int
        Tries after the first.
    price : two or three floats, optional
        Dollars per million tokens of prompt and of completion, and of a prompt that the server has in
        its cache. Without it costs are known only where the server states them.
    headers : mapping, optional
        Further headers. A value that begins with ``$`` names an environment variable, such as
        ``{"api-key": "$AZURE_KEY"}``. Values are never shown.
    query : mapping, optional
        Query part of the address, such as ``{"api-version": "2024-10-21"}``; written down with the
        settings, so no place for secrets.

    Raises
    ------
    ValueError
        An address that is not http(s) or has a query part, an impossible time-out, number of retries or
        price, or an environment variable that is not set.

    Examples
    --------
    >>> Server("http://me:secret@127.0.0.1:8000/v1/").address
    'http://127.0.0.1:8000/v1'
    """

    takes_batches = True

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 6,
        price: tuple[float, ...] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ):
        given = (base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL_ADDRESS).strip()
        self.address, self._user = _split_address(given)
        self._address_secrets = address_secrets(given)
        if api_key_env is None and self.address == OFFICIAL_ADDRESS:
            api_key_env = "OPENAI_API_KEY"
        self.api_key_env = api_key_env
        self.timeout = _check_timeout(timeout)
        self.max_retries = _check_retries(max_retries)
        self.price = _check_price(price)
        self.headers, self.query = dict(headers or {}), dict(query or {})
        self._transport = self._make_transport()
        self._lock = threading.Lock()

    def _make_transport(self):
        return Transport(timeout=self.timeout)

    def __repr__(self):
        return f"Server({self.address!r})"

    @property
    def settings(self) -> dict:
        """Return what may be written down: no key, no password, of headers their names."""
        settings: dict[str, Any] = {"address": self.address, "price_per_million_tokens": self.price}
        if self.query:
            settings["query"] = self.query
        if self.headers:
            settings["headers"] = sorted(self.headers)
        return settings

    def send(self, path: str, body: dict) -> dict:
        """Send one request and return its reply.

        Parameters
        ----------
        path : str
            ``"/chat/completions"`` or ``"/completions"``.
        body : dict
            The request as the protocol has it.

        Returns
        -------
        dict
            ``reply`` (the server's, with any secret it echoed hidden), ``seconds`` and ``date``.

        Raises
        ------
        ServerRefused
            States 401 and 404.
        PromptRefused
            The server found this request wrong (400, 413, 422 and the like; `Forbidden`: 403).
        ServerError
            Nothing usable after all retries.
        """
        start = time.monotonic()
        asked = {"headers": self._headers(), "params": self.query, "content": _encode(body)}
        reply = self._tried(self._transport, self.max_retries, "POST", path, read_reply, **asked)
        return {
            "reply": self.hidden(reply),
            "seconds": round(time.monotonic() - start, 4),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def fetch(
        self,
        method: str,
        path: str,
        *,
        largest: int = LARGEST,
        max_retries: int | None = None,
        params: Mapping[str, str] | None = None,
        **content,
    ) -> str:
        """Send a request that is no question, such as one about a batch, and return its reply's text.

        Parameters
        ----------
        method, path : str
            Such as ``"GET"`` and ``"/batches"``.
        largest : int
            Bytes of the reply, at most.
        max_retries : int, optional
            Tries after the first, by default as for questions.
        params : mapping, optional
            Further query part.
        **content
            ``json``, or ``files`` and ``data``, as httpx takes them.

        Raises
        ------
        ServerError
            Another state than success, or no reply.
        """
        own = largest == self._transport.largest
        transport = self._transport if own else Transport(timeout=self.timeout, largest=largest)
        headers = {name: value for name, value in self._headers().items() if name != "Content-Type"}
        asked = {"headers": headers, "params": {**self.query, **(params or {})}, **content}
        retries = self.max_retries if max_retries is None else max_retries
        try:
            return self._tried(transport, retries, method, path, lambda text: (text, ""), **asked)
        finally:
            if not own:
                transport.close()

    def _tried(self, transport, max_retries, method, path, read, **asked):
        """Return what `read` makes of a reply's text, after as many tries as are needed and allowed."""
        need("httpx", "alpaca-analysis[judge]", "asking a server")
        wrong = ""
        for attempt in range(max_retries + 1):
            pause = min(LONGEST_OWN_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                response = transport.request(method, self.address + path, **asked)
            except TransportError as error:
                wrong = str(error)
            else:
                found, wrong = self._read(response, read)
                if found is not None:
                    return found
                pause = _asked_pause(response.headers, pause)
            # One transport for all tries: once it is closed there is none any more.
            if transport.closed.wait(pause if attempt < max_retries else 0):
                wrong = INTERRUPTED
                break
        tries = f", {max_retries + 1} times" if max_retries and wrong != INTERRUPTED else ""
        raise ServerError(f"{self.address}: {self.shown(wrong)}{tries}")

    def shown(self, message: str, limit: int = 300) -> str:
        """Return a message without secrets, cut to what a person reads."""
        text = hide(str(message), self._secrets())
        return text if len(text) <= limit else text[: limit - 3] + "..."

    def hidden(self, value: Any) -> Any:
        """Return a JSON value without secrets."""
        return hide_in(value, self._secrets())

    def _read(self, response: Response, read):
        """Return the reply, or what is wrong with it where another try may help; raise where not."""
        state = response.state
        if state < 300:
            return read(response.text)
        wrong = f"state {state}, {_said(response.text)}"
        if state in TRIED_AGAIN or state >= 500:
            return None, wrong
        raise refused_as(state)(f"{self.address}: {self.shown(wrong)}")

    def _headers(self):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        authorization = self._authorization()
        if authorization:
            headers["Authorization"] = authorization
        return headers | self._further_headers()

    def _further_headers(self):
        return {
            name: _variable(value[1:], self.address) if value.startswith("$") else value.strip()
            for name, value in self.headers.items()
        }

    def _key(self):
        return None if self.api_key_env is None else _variable(self.api_key_env, self.address)

    def _authorization(self):
        key = self._key()
        if key:
            return f"Bearer {key}"
        return f"Basic {_basic(self._user)}" if self._user else None

    def _secrets(self):
        secrets = [self._key(), *self._further_headers().values(), *self._address_secrets]
        return [*secrets, _basic(self._user)] if self._user else secrets

    def cost(self, answer: dict) -> float | None:
        """Return the dollars one answer cost, None where price or usage are unknown or impossible."""
        reply = answer.get("reply")
        if not isinstance(reply, dict):
            return None
        stated = stated_cost(reply)
        if stated is not None or self.price is None:
            return stated
        cost = charged(reply, self.price)
        return cost * BATCH_SHARE if cost is not None and "batch" in answer else cost

    def bound(self, body: dict) -> float:
        """Return dollars that one request cannot exceed: a token is at least one byte of the prompt.

        Each of ``n`` (or ``best_of``) answers may be as long as the limit says. What a server charges
        beyond its own limit, such as hidden reasoning, is known only from its reply. A request without a
        limit of tokens has no bound.
        """
        if self.price is None:
            return 0.0
        prompt = json.dumps(body.get("messages", body.get("prompt", "")), ensure_ascii=False)
        n_bytes = len(prompt.encode("utf-8", "surrogatepass"))
        of_answers = self.price[1] * most_tokens(body) if self.price[1] else 0.0
        return (max(self.price[0::2]) * n_bytes + of_answers) / 1e6

    def close(self) -> None:
        """End all waits and close the connections. A later request opens new ones."""
        with self._lock:
            transport, self._transport = self._transport, self._make_transport()
        transport.close()


def refused_as(state: int) -> type[ServerError]:
    """Return the kind of refusal that a state means."""
    if state == 403:
        return Forbidden
    return ServerRefused if state in (401, 404) or state < 400 else PromptRefused


def _encode(body):
    return json.dumps(body, ensure_ascii=True, allow_nan=False).encode()


def _said(text):
    try:
        return server_reason(json.loads(text)) or text.strip()
    except (ValueError, RecursionError):
        return text.strip()


def _asked_pause(headers, pause):
    """Return the pause the server asks for, within reason, else our own."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            asked = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(asked) and asked >= 0:
            return min(asked, LONGEST_PAUSE)
    return pause


def _variable(name, address):
    value = os.environ.get(name, "").strip()
    if not value:
        raise ValueError(f"the environment variable {name} is not set: it has to hold the key for {address}")
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"the environment variable {name}: expected one line of ASCII characters")
    return value


def _split_address(given):
    parts = urlsplit(given)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url: found {shown!r}, expected an address such as http://127.0.0.1:8000/v1")
    if parts.query or parts.fragment:
        raise ValueError(
            f"base_url: {shown}?...: expected no query part; keys come from the environment, the rest goes "
            "into query="
        )
    user, at, _ = parts.netloc.rpartition("@")
    return shown, unquote(user) if at else None


def _check_timeout(timeout):
    if isinstance(timeout, bool) or not 0 < timeout < math.inf:
        raise ValueError(f"timeout: found {timeout!r}, expected seconds above 0")
    return float(timeout)


def _check_retries(max_retries):
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise ValueError(f"max_retries: found {max_retries!r}, expected a whole number of at least 0")
    return max_retries


def _check_price(price):
    if price is None:
        return None
    found = [float(dollars) for dollars in price]
    if len(found) not in (2, 3) or not all(0 <= dollars < math.inf for dollars in found):
        raise ValueError(
            f"price: found {price!r}, expected dollars per million tokens: (prompt, completion) or (prompt, "
            "completion, cached prompt)"
        )
    return found


def _basic(user):
    return base64.b64encode(user.encode()).decode()
