"""What answers prompts: a function or a server here, transformers and vLLM in `local`.

A backend has a ``name``, ``settings`` without secrets, and

- ``request(messages, sampling)``: everything that decides the answer, as JSON;
- ``answer(request)`` (servers and functions: side by side) or ``answers(requests)`` (in process: a batch);
- ``text(answer)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from alpaca_analysis.asking import replies
from alpaca_analysis.asking.fields import check_fields
from alpaca_analysis.asking.functions import call, name_of
from alpaca_analysis.asking.providers import connect
from alpaca_analysis.asking.replies import without_thinking
from alpaca_analysis.asking.server import Server, ServerError
from alpaca_analysis.foundations import options
from alpaca_analysis.generating.conversation import VICUNA_TEMPLATE, render


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    temperature : float
        0 takes the likeliest token.
    top_p : float
        Share of probability to sample from.
    max_tokens : int
        Longest answer.
    seed : int
        Of each request (vLLM, servers) or each batch (transformers).
    stop : tuple of str
        Texts that end an answer.
    top_k : int or None
        How many of the likeliest tokens to sample from; None for all of them, and on servers for what they
        are set to.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 2048
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_k: int | None = None

    def __post_init__(self):
        options.number("temperature", self.temperature, 0, 2)
        options.number("top_p", self.top_p, 0, 1, closed="right")
        options.whole("max_tokens", self.max_tokens)
        options.whole("seed", self.seed, 0)
        options.texts("stop", self.stop)
        if self.top_k is not None:
            options.whole("top_k", self.top_k)

    def given(self) -> dict:
        """Return the fields as JSON, those left to the model or server left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Backend(ABC):
    """What all backends share; see the module."""

    name = ""
    batch_size = 1
    is_remote = False  # behind a server
    is_kept = True  # on disk
    server: Server | None = None
    in_batches = True  # as models in this process are asked; others one by one, or side by side

    @property
    @abstractmethod
    def settings(self) -> dict:
        """Return what decides this backend's answers, apart from the sampling."""

    @property
    def circumstances(self) -> dict:
        """Return what is written down besides, such as the device: it does not decide the answers."""
        return {}

    def answer(self, request: dict) -> dict:
        """Answer a request."""
        return self.answers([request])[0]

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Answer a batch, or one request after the other."""
        return [self.answer(request) for request in requests]

    def bound(self, request: dict) -> float:
        """Return the most dollars a request can cost."""
        return 0.0

    def cost(self, answer: dict) -> float | None:
        """Return the dollars an answer cost, None where that is unknown."""
        return 0.0

    def request(self, messages: list[dict], sampling: Sampling) -> dict:
        """Return everything that decides the answer."""
        return {**self.settings, "messages": messages, "sampling": sampling.given()}

    def text(self, answer: dict) -> str:
        """Return the text of an answer."""
        return answer["text"]

    def finish_reason(self, answer: dict) -> str | None:
        """Return why an answer ended, None where that is not known."""
        return answer.get("finish_reason")

    def no_answer(self, answer: dict) -> tuple[str, str]:
        """Return the kind and the description of a non-answer, two empty texts for an answer."""
        text = without_thinking(self.text(answer))
        return replies.no_answer(text, self.finish_reason(answer) or "")

    def close(self) -> None:  # noqa: B027, most hold nothing
        """Give back what answering took."""


class FunctionBackend(Backend):
    """A Python function that takes messages and returns a text.

    Parameters
    ----------
    function : callable
        Of a list of messages; what it raises costs its own prompt only. Called from several threads where
        ``generate(concurrency=)`` says so.
    name : str, optional
        By default the function's name.
    retries : int
        How often a prompt is tried again after an exception, with growing pauses.
    version : str, optional
        What decides the answers besides the messages. With it, answers are kept on disk under name and
        version; change it whenever the function changes. Without it nothing is kept: what a function will
        say cannot be told from its name.
    """

    in_batches = False

    def __init__(
        self,
        function: Callable[[list[dict]], str],
        *,
        name: str | None = None,
        retries: int = 0,
        version: str | None = None,
    ):
        self.function = function
        self.name = name or name_of(function)
        self.retries = options.whole("retries", retries, 0)
        self.version = version
        self.is_kept = version is not None

    @property
    def settings(self) -> dict:
        """Return name and version."""
        version = {"version": str(self.version)} if self.is_kept else {}
        return {"backend": "function", "model": self.name, **version}

    def answer(self, request: dict) -> dict:
        """Call the function."""
        text = call(self.function, request["messages"], retries=self.retries)
        if not isinstance(text, str):
            raise ServerError(f"the function returned {type(text).__name__}, expected text")
        return {"text": text}


class ServerBackend(Backend):
    """A model behind an OpenAI-compatible server, or of any provider that LiteLLM knows.

    Its texts are kept as they come. Those of Llama's kind of tokenizer may then begin with a space that
    the same tokens do not have in `TransformersBackend` and `VLLMBackend`, which decode answers alone.

    Parameters
    ----------
    model : str
        The model's name as the server knows it; or ``"litellm:PROVIDER/MODEL"``, which goes through LiteLLM
        (``pip install "alpaca-analysis[litellm]"``) and takes keys from the environment variables that it
        expects.
    endpoint : {"chat", "completions"}
        "chat" sends messages, and the server's own template applies; "completions" sends the prompt
        that `template` makes of them.
    template : str
        Chat template for "completions".
    base_url : str, optional
        Address up to ``/v1``; by default ``OPENAI_BASE_URL``, else OpenAI's.
    api_key_env : str, optional
        *Name* of the environment variable that holds the key; the key itself is never an argument.
    timeout : float
        Seconds for one try, to the last byte of its reply.
    max_retries : int
        Tries after the first.
    price : two or three floats, optional
        Dollars per million tokens of prompt and of completion, and of a prompt that the server has in
        its cache; of LiteLLM's models by default what its table says. What a server itself states counts.
    headers, query : mapping, optional
        Further headers and a query part; see `Server`.
    extra : dict, optional
        Further fields of the request; None leaves a field out.
    name : str, optional
        Goes into the outputs as ``generator``; by default the model's name.
    """

    is_remote, in_batches = True, False
    server: Server

    def __init__(
        self,
        model: str,
        *,
        endpoint: str = "chat",
        template: str = VICUNA_TEMPLATE,
        base_url: str | None = None,
        api_key_env: str | None = None,
        timeout: float = 600.0,
        max_retries: int = 6,
        price: tuple[float, ...] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        extra: dict | None = None,
        name: str | None = None,
    ):
        if endpoint not in ("chat", "completions"):
            raise ValueError(f"endpoint: found {endpoint!r}, expected 'chat' or 'completions'")
        self.endpoint, self.template = endpoint, template
        self.model, self.server = connect(
            model,
            base_url,
            api_key_env=api_key_env,
            timeout=timeout,
            max_retries=max_retries,
            price=price,
            headers=headers,
            query=query,
        )
        self.extra = check_fields("extra", extra)
        self.name = name or self.model

    @property
    def settings(self) -> dict:
        """Return model, address and endpoint."""
        template = {"template": self.template} if self.endpoint == "completions" else {}
        return {
            "backend": "server",
            "model": self.model,
            "endpoint": self.endpoint,
            **template,
            **self.server.settings,
            **self.extra,
        }

    def request(self, messages: list[dict], sampling: Sampling) -> dict:
        """Return the path and the body that is sent there."""
        body = {"model": self.model, **{k: v for k, v in sampling.given().items() if k != "stop" or v}}
        if self.endpoint == "chat":
            return self._request("/chat/completions", {**body, "messages": messages})
        return self._request("/completions", {**body, "prompt": render(self.template, messages)})

    def _request(self, path, body):
        # Not the address: an answer is known by what was asked, wherever.
        sent = {name: value for name, value in {**body, **self.extra}.items() if value is not None}
        return {"path": path, "body": sent}

    def answer(self, request: dict) -> dict:
        """Ask the server."""
        return self.server.send(request["path"], request["body"])

    def bound(self, request: dict) -> float:
        """Return the most dollars a request can cost, by its bytes."""
        return self.server.bound(request["body"])

    def cost(self, answer: dict) -> float | None:
        """Return the dollars an answer cost, by the server's count of tokens."""
        return self.server.cost(answer)

    def text(self, answer: dict) -> str:
        """Return the text of the server's first choice."""
        return replies.reply_text(answer)

    def finish_reason(self, answer: dict) -> str | None:
        """Return why the server says that the answer ended."""
        return replies.finish_reason(answer) or None

    def no_answer(self, answer: dict) -> tuple[str, str]:
        """Return the kind and the description of a non-answer, refusals and calls of tools among them."""
        return replies.no_answer(
            without_thinking(self.text(answer)),
            replies.finish_reason(answer),
            refused=replies.refusal(answer),
            tools=replies.has_tool_calls(answer),
        )

    def close(self) -> None:
        """Close the connections."""
        self.server.close()
