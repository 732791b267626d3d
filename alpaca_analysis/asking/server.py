"""Any server that speaks OpenAI's protocol: one request, its retries, its price, and no secret in sight."""

from __future__ import annotations

import base64
import json
import os
import random
import threading
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

OFFICIAL_ADDRESS = "https://api.openai.com/v1"
HIDDEN = "[hidden]"


class ServerError(RuntimeError):
    """A request that got no usable reply after all retries."""


class ServerRefused(ServerError):
    """A reply that would be the same for every request: no access, or no such model or address."""


class Server:
    """A client of an OpenAI-compatible server.

    Transport errors, time-outs and the states 408, 409, 429 and 5xx are tried again by the ``openai``
    package with growing pauses (a ``retry-after`` of the server is kept); a reply that is not the JSON
    it should be is tried again here.

    Parameters
    ----------
    base_url : str, optional
        Address up to ``/v1``; by default ``OPENAI_BASE_URL``, else OpenAI's. A name and password in it
        are sent as basic authorisation and never shown.
    api_key_env : str, optional
        *Name* of the environment variable that holds the key. By default ``OPENAI_API_KEY`` for
        OpenAI's own address and none for others: a key goes only where it is told to.
    timeout : float
        Seconds to wait for one try.
    max_retries : int
        Tries after the first.
    price : (float, float), optional
        Dollars per million tokens of prompt and of completion. Without it costs are unknown.

    Raises
    ------
    ValueError
        An address that is not http(s) or has a query part, or an environment variable that is not set.

    Examples
    --------
    >>> Server("http://me:secret@127.0.0.1:8000/v1/").address
    'http://127.0.0.1:8000/v1'
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 6,
        price: tuple[float, float] | None = None,
    ):
        given = base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL_ADDRESS
        self.address, self._user = _split_address(given)
        if api_key_env is None and self.address == OFFICIAL_ADDRESS:
            api_key_env = "OPENAI_API_KEY"
        self.api_key_env = api_key_env
        self.timeout = timeout
        self.max_retries = max_retries
        self.price = _check_price(price)
        self._client: Any = None
        self._lock = threading.Lock()

    def __repr__(self):
        return f"Server({self.address!r})"

    @property
    def settings(self) -> dict:
        """Return what may be written down: no key, no password."""
        return {"address": self.address, "price_per_million_tokens": self.price}

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
            States 401, 403 and 404.
        ServerError
            Nothing usable after all retries, or the server found the request wrong.
        """
        start = time.monotonic()
        for attempt in range(self.max_retries + 1):
            text = self._post(path, body)
            reply, wrong = _read_reply(self._hide(text))
            if reply is not None:
                return {
                    "reply": reply,
                    "seconds": round(time.monotonic() - start, 4),
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            if attempt < self.max_retries:
                time.sleep(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))
        raise ServerError(f"{self.address}: {wrong}, {self.max_retries + 1} times")

    def _post(self, path, body):
        import openai

        try:
            headers: Any = {"Authorization": self._authorization() or openai.Omit()}
            return _create(self._connect(), path, body, headers).text
        except openai.APITimeoutError:
            error = ServerError(f"{self.address}: no reply within {self.timeout:g} s")
        except openai.APIStatusError as status:
            kind = ServerRefused if status.status_code in (401, 403, 404) else ServerError
            error = kind(f"{self.address}: state {status.status_code}, {self._shorten(status.message)}")
        except openai.APIConnectionError as broken:
            error = ServerError(f"{self.address}: connection failed, {self._shorten(broken.__cause__)}")
        # Raised outside the handler: the caught errors hold the request with its headers.
        raise error

    def _connect(self):
        import openai

        with self._lock:
            if self._client is None:
                self._client = openai.OpenAI(
                    base_url=self.address,
                    api_key="unused",  # what counts is the header of each request
                    timeout=self.timeout,
                    max_retries=self.max_retries,
                )
        return self._client

    def _secret(self):
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ValueError(
                f"the environment variable {self.api_key_env} is not set: it has to hold the key for "
                f"{self.address}"
            )
        return key

    def _authorization(self):
        key = self._secret()
        if key:
            return f"Bearer {key}"
        return f"Basic {_basic(self._user)}" if self._user else None

    def _hide(self, text):
        secrets = [self._secret()]
        if self._user:
            secrets += [self._user.partition(":")[2], _basic(self._user)]
        for secret in filter(None, secrets):
            text = text.replace(secret, HIDDEN)
        return text

    def _shorten(self, message, limit=300):
        text = self._hide(str(message))
        return text if len(text) <= limit else text[: limit - 3] + "..."

    def cost(self, answer: dict) -> float | None:
        """Return the dollars one answer cost, None where price or usage are unknown."""
        usage = answer["reply"].get("usage")
        if self.price is None or not isinstance(usage, dict):
            return None
        return (
            self.price[0] * (usage.get("prompt_tokens") or 0)
            + self.price[1] * (usage.get("completion_tokens") or 0)
        ) / 1e6

    def bound(self, body: dict) -> float:
        """Return dollars that one request cannot exceed: a token is at least one byte of the prompt."""
        if self.price is None:
            return 0.0
        prompt = json.dumps(body.get("messages", body.get("prompt", "")), ensure_ascii=False)
        longest = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        return (self.price[0] * len(prompt.encode("utf-8", "surrogatepass")) + self.price[1] * longest) / 1e6

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def _create(client, path, body, headers):
    rest = dict(body)
    model = rest.pop("model")
    if path == "/chat/completions":
        messages = rest.pop("messages")
        return client.chat.completions.with_raw_response.create(
            model=model, messages=messages, extra_body=rest, extra_headers=headers
        )
    prompt = rest.pop("prompt")
    return client.completions.with_raw_response.create(
        model=model, prompt=prompt, extra_body=rest, extra_headers=headers
    )


def _split_address(given):
    parts = urlsplit(given)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url: found {shown!r}, expected an address such as http://127.0.0.1:8000/v1")
    if parts.query or parts.fragment:
        raise ValueError(f"base_url: {shown}?...: expected no query part; keys come from the environment")
    user, at, _ = parts.netloc.rpartition("@")
    return shown, user if at else None


def _check_price(price):
    if price is None:
        return None
    prompt, completion = map(float, price)
    if not (prompt >= 0 and completion >= 0):
        raise ValueError(f"price: found {price!r}, expected dollars per million tokens (prompt, completion)")
    return [prompt, completion]


def _basic(user):
    return base64.b64encode(user.encode()).decode()


def _read_reply(text):
    try:
        reply = json.loads(text)
    except ValueError:
        return None, "a reply that is not JSON"
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None, "a reply without choices"
    message = choices[0].get("message", choices[0])
    if not isinstance(message, dict):
        return None, "a reply without a message"
    text = message.get("content", message.get("text"))
    if text is not None and not isinstance(text, str):
        return None, "a message that is not text"
    return reply, None


def reply_text(answer: dict) -> str:
    """Return the text of an answer, empty where the server gave none."""
    choice = answer["reply"]["choices"][0]
    message = choice.get("message", choice)
    return message.get("content", message.get("text")) or ""
