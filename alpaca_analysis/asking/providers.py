"""Providers that do not speak OpenAI's protocol, through the package LiteLLM, imported when it is needed."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Mapping
from typing import Any

from alpaca_analysis.asking.server import Server
from alpaca_analysis.asking.transport import LARGEST, Response, TransportError
from alpaca_analysis.foundations.extras import need

PREFIX = "litellm:"
_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


def connect(model: str, base_url: str | None = None, **options: Any) -> tuple[str, Server]:
    """Return a model's name without the provider's prefix, and who is asked.

    Parameters
    ----------
    model : str
        As the server knows it; ``"litellm:PROVIDER/MODEL"`` goes through LiteLLM.
    base_url : str, optional
        Address up to ``/v1``.
    **options
        Of `Server`.

    Examples
    --------
    >>> connect("tiny", "http://127.0.0.1:8000/v1")
    ('tiny', Server('http://127.0.0.1:8000/v1'))
    """
    if not model.startswith(PREFIX):
        return model, Server(base_url, **options)
    name = model.removeprefix(PREFIX)
    return name, LiteLLM(name, base_url, **options)


class LiteLLM(Server):
    """A provider that LiteLLM knows, asked as a server is.

    The provider's key comes from the environment variable that LiteLLM expects, such as
    ``ANTHROPIC_API_KEY``, or from the one that `api_key_env` names. Fields that a provider does not know,
    such as ``seed``, are left out by LiteLLM.

    Parameters
    ----------
    model : str
        As LiteLLM names it, such as ``"anthropic/claude-sonnet-4-5"``.
    base_url : str, optional
        Address, where it is not the provider's own.
    api_key_env : str, optional
        *Name* of the environment variable that holds the key.
    timeout : float
        Seconds for one try.
    max_retries : int
        Tries after the first.
    price : two or three floats, optional
        As of `Server`; by default what LiteLLM's table says of the model.
    headers : mapping, optional
        Further headers; see `Server`.
    query : mapping, optional
        Refused: LiteLLM makes the address.
    """

    takes_batches = False

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        price: tuple[float, ...] | None = None,
        **options: Any,
    ):
        if query:
            raise ValueError(f"query: found {dict(query)!r}, expected none for a model through LiteLLM")
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # prices as installed, not downloaded
        need("litellm", "alpaca-analysis[litellm]", f"{PREFIX}{model}")
        import litellm

        litellm.suppress_debug_info = True
        known = _known_price(litellm, model)
        self._base_url, self._states_price = base_url, price is None and known is not None
        super().__init__(base_url or "https://litellm.invalid", price=price or known, **options)
        if not base_url:
            self.address = "litellm"

    def _make_transport(self) -> Any:
        return _Completions(self.timeout, self._base_url, self._states_price)

    def _headers(self):
        """Return key and headers as LiteLLM takes them."""
        key, headers = self._key(), self._further_headers()
        return {**({"api_key": key} if key else {}), **({"extra_headers": headers} if headers else {})}

    def _secrets(self):
        named = [value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= 8]
        return [*super()._secrets(), *named]


def _known_price(litellm, model):
    """Return the prices of LiteLLM's table, None where it does not know the model."""
    try:
        known = litellm.get_model_info(model)
    except Exception:  # LiteLLM raises a bare one for models that are not in its table
        return None
    prompt, completion = known.get("input_cost_per_token"), known.get("output_cost_per_token")
    if not prompt or not completion:  # 0 stands for a price that is not known, too
        return None
    cached = known.get("cache_read_input_token_cost")
    return tuple(1e6 * dollars for dollars in (prompt, completion, prompt if cached is None else cached))


class _Completions:
    """LiteLLM in the place of a `Transport`: its answers and errors as replies."""

    largest = LARGEST

    def __init__(self, timeout, base_url, states_price):
        self.states_price = states_price
        self.options = {"timeout": timeout, "num_retries": 0, "max_retries": 0, "drop_params": True}
        if base_url:
            self.options["base_url"] = base_url
        self.closed = threading.Event()

    def request(self, method, url, *, headers, params=None, content):
        """Return the completion of a chat."""
        if not url.endswith("/chat/completions"):
            return Response(404, {}, "a model through LiteLLM answers chats only")
        import litellm

        try:
            found = litellm.completion(**json.loads(content), **headers, **self.options)
        except Exception as error:  # LiteLLM raises its own kinds, and those of providers' packages
            state, said = getattr(error, "status_code", None), str(error)
        else:
            return Response(200, {}, json.dumps(self._stated(found), default=str))
        if not isinstance(state, int):
            raise TransportError(said)
        return Response(state, {}, json.dumps({"error": {"message": said}}))

    def _stated(self, found):
        reply = found.model_dump()
        cost = (getattr(found, "_hidden_params", None) or {}).get("response_cost")
        if self.states_price and isinstance(cost, float) and math.isfinite(cost):
            reply["usage"] = {**(reply.get("usage") or {}), "cost": cost}
        return reply

    def close(self):
        """Ask no further; what is under way ends by its own time limit."""
        self.closed.set()
