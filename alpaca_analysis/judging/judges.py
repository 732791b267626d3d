"""Judges: the two that need no model, any function, and a model behind a server.

A judge has a ``name``, ``settings`` that hold no secret, a ``batch_size``, and

- ``request(batch, repeat)``: everything that decides its answer, as JSON;
- ``answer(request)``: the answer, as JSON, or ``answers(requests)`` where the judge takes many at once;
- ``read(answer, n)``: one ``(outcome of the output shown first, reason)`` a pair.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from alpaca_analysis.asking.fields import check_fields
from alpaca_analysis.asking.functions import call, name_of
from alpaca_analysis.asking.providers import PREFIX, connect
from alpaca_analysis.asking.replies import finish_reason, refusal, reply_text
from alpaca_analysis.asking.server import Server
from alpaca_analysis.foundations import options
from alpaca_analysis.judging.designs import Design, Shown, make_design
from alpaca_analysis.judging.parsers import Reading
from alpaca_analysis.judging.verdicts import read_verdict

ENDPOINT = "/chat/completions"


class Judge(ABC):  # noqa: B024, answers are given one by one or many at once
    """What all judges share; see the module.

    Attributes
    ----------
    name : str
        Goes into the annotations as ``annotator``.
    batch_size : int
        Pairs in one request.
    chunk_size : int
        Requests handed over at once, 0 where each is asked by itself.
    is_kept : bool
        Answers are kept on disk: ``request`` holds everything that decides them.
    is_remote : bool
        A language model behind a server, asked side by side.
    is_free : bool
        Known to cost nothing.
    typical_tokens : float
        About the length of an answer.
    server : Server or None
        Who is asked, where that is a server.
    """

    name = ""
    batch_size = 1
    chunk_size = 0
    is_kept = False
    is_remote = False
    is_free = False
    typical_tokens = 0.0
    server: Server | None = None

    @property
    def settings(self) -> dict:
        """Return what decides this judge's answers."""
        return {"judge": self.name}

    def request(self, batch: Sequence[Shown], repeat: int) -> dict:
        """Return everything that decides the answer about a batch."""
        return {**self.settings, "pairs": [asdict(pair) for pair in batch], "repeat": repeat}

    def answer(self, request: dict) -> dict:
        """Return the answer to a request."""
        return self.answers([request])[0]

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Return the answers to requests."""
        return [self.answer(request) for request in requests]

    def details(self, answer: dict) -> dict:
        """Return what is known of an answer: ``text``, ``finish_reason``, ``seconds`` and ``date``."""
        return answer

    def read(self, answer: dict, n: int) -> list[Reading]:
        """Return one reading a pair."""
        return [(math.nan if value is None else value, reason) for value, reason in answer["readings"]]

    def no_answer(self, answer: dict, n: int) -> str:
        """Return the kind of an answer that says nothing of any pair, empty where it says something."""
        return "unreadable" if all(math.isnan(outcome) for outcome, _ in self.read(answer, n)) else ""

    def bound(self, request: dict) -> float:
        """Return the most dollars a request can cost."""
        return 0.0

    def cost(self, answer: dict) -> float | None:
        """Return the dollars an answer cost, None where that is unknown."""
        return 0.0

    def close(self) -> None:  # noqa: B027, most judges hold nothing
        """Give back what asking took, such as connections."""


class FunctionJudge(Judge):
    """A Python function as a judge.

    Parameters
    ----------
    function : callable
        Takes ``instruction``, the output shown first and the one shown second; returns how much the
        first is preferred: 1 (or True), 0 (or False), 0.5 for a draw, a probability, or None for no
        usable answer. Or what a model said, as a text: `read_verdict` reads it. Called from several
        threads where ``judge(concurrency=)`` says so.
    name : str, optional
        By default the function's name.
    retries : int
        How often a pair is tried again after an exception, with growing pauses. Then it stays unjudged, with
        the reason; the other pairs go on.
    version : str, optional
        What decides the answers besides the texts, such as ``"gpt-5, prompt 2"``. With it, answers are kept
        on disk under name and version, and nothing is asked twice; change it whenever the function changes.
        Without it nothing is kept: what a function will say cannot be told from its name.

    Examples
    --------
    >>> shorter = FunctionJudge(lambda instruction, first, second: len(first) < len(second), name="shorter")
    >>> request = shorter.request([Shown("Say hello.", "Hello!", "Hi")], 0)
    >>> shorter.read(shorter.answer(request), 1)
    [(0.0, '')]
    """

    def __init__(
        self, function: Callable, *, name: str | None = None, retries: int = 0, version: str | None = None
    ):
        self.function = function
        self.name = name or name_of(function)
        self.retries = options.whole("retries", retries, 0)
        self.version = version
        self.is_kept = version is not None

    @property
    def settings(self) -> dict:
        """Return name and version."""
        return {"judge": self.name, **({"version": str(self.version)} if self.is_kept else {})}

    def answer(self, request: dict) -> dict:
        """Call the function on the pair."""
        shown = Shown(**request["pairs"][0])
        start = time.monotonic()
        value = call(
            self.function, shown.instruction, shown.first, shown.second, retries=self.retries, who="judge"
        )
        timed = {"seconds": round(time.monotonic() - start, 4)} if self.is_kept else {}
        if isinstance(value, str):
            return {"text": value, **timed}
        return {"readings": [self._reading(value)], **timed}

    def _reading(self, value):
        if value is None or value != value:
            return None, "no answer"
        try:
            preference = float(value)
        except (TypeError, ValueError):
            preference = math.nan
        if not 0 <= preference <= 1:
            raise ValueError(
                f"judge {self.name!r}: found {value!r}, expected a number in [0, 1] "
                "(1: the first is better), None, or a judge's reply as text"
            )
        return preference, ""

    def read(self, answer: dict, n: int) -> list[Reading]:
        """Return the function's number, or the verdict in its text."""
        if "text" in answer:
            found = read_verdict(answer["text"])
            return [(found.outcome, found.reason)]
        return super().read(answer, n)


def prefer_longer_output(instruction: str, first: str, second: str) -> float:
    """Prefer the output with more characters, whatever it says.

    Examples
    --------
    >>> prefer_longer_output("Say hello.", "Hello!", "Hi")
    1.0
    """
    return (float(len(first) > len(second)) + float(len(first) >= len(second))) / 2


class RandomJudge(Judge):
    """A fair coin for each pair, the same on every machine.

    Parameters
    ----------
    seed : int
        Another seed, another coin.
    """

    name, is_free = "random", True

    def __init__(self, *, seed: int = 0):
        self.seed = seed

    @property
    def settings(self) -> dict:
        """Return name and seed."""
        return {"judge": self.name, "seed": self.seed}

    def answer(self, request: dict) -> dict:
        """Toss a coin for each pair."""
        return {"readings": [(self._toss(pair, request["repeat"]), "") for pair in request["pairs"]]}

    def _toss(self, pair, repeat):
        # Lengths keep texts apart: without them ("ab", "c") and ("a", "bc") would share a coin.
        texts = [f"{len(text)}:{text}" for text in pair.values()]
        digest = hashlib.sha256("\n".join([f"{self.seed}:{repeat}", *texts]).encode("utf-8", "surrogatepass"))
        return float(digest.digest()[0] % 2)


class ChatJudge(Judge):
    """A language model behind any OpenAI-compatible server, or of any provider that LiteLLM knows.

    Parameters
    ----------
    model : str
        The model's name as the server knows it; or ``"litellm:PROVIDER/MODEL"``, which goes through LiteLLM
        (``pip install "alpaca-analysis[litellm]"``) and takes keys from the environment variables that it
        expects.
    design : {"reasoning", "structured", "five_grades", "three_grades", "one_token", "ranking", \
"batched_choice"} or Design
        How to ask, and how to read: reasons and then a verdict, the same as JSON by a schema, Arena-Hard's
        five grades, MT-bench's three, the probability of one label, two ranks, several pairs at once.
    max_tokens : int, optional
        Longest answer of the first four, thoughts included; by default 4,096.
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
    headers : mapping, optional
        Further headers. A value that begins with ``$`` names an environment variable, such as
        ``{"api-key": "$AZURE_KEY"}``. Values are never shown.
    query : mapping, optional
        Query part of the address, such as ``{"api-version": "2024-10-21"}``; no place for secrets.
    temperature : float
        Of the sampling; 0 asks for the likeliest answer.
    seed : int or None
        Sent along, plus the number of the repeat; None sends none.
    max_tokens_field : {"max_tokens", "max_completion_tokens"}
        What the server calls the limit on the answer's length.
    extra : dict, optional
        Further fields of the request, such as ``{"reasoning_effort": "low"}``; None leaves a field out, as
        ``{"temperature": None}`` for models that refuse it. Written down with the settings, so no place for
        secrets.
    name : str, optional
        By default design and model.

    Examples
    --------
    >>> ChatJudge("tiny", design="ranking", base_url="http://127.0.0.1:8000/v1").name
    'ranking_tiny'
    """

    is_kept = is_remote = True
    server: Server

    def __init__(
        self,
        model: str,
        *,
        design: str | Design = "reasoning",
        max_tokens: int | None = None,
        base_url: str | None = None,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 6,
        price: tuple[float, ...] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        temperature: float = 0.0,
        seed: int | None = 0,
        max_tokens_field: str = "max_tokens",
        extra: dict | None = None,
        name: str | None = None,
    ):
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
        self.design = make_design(design, max_tokens=max_tokens)
        self.batch_size, self.typical_tokens = self.design.batch_size, self.design.typical_tokens
        options.number("temperature", temperature, 0, 2)
        self.sampling = {
            "temperature": temperature,
            "seed": None if seed is None else options.whole("seed", seed, 0),
        }
        self.max_tokens_field = max_tokens_field
        self.extra = check_fields("extra", extra)
        # The name becomes a folder under results/<model>/.
        self.name = name or re.sub(r"[^\w.+-]+", "_", f"{self.design.name}_{self.model}")

    @property
    def settings(self) -> dict:
        """Return model, design, address and sampling."""
        return {
            "judge": self.name,
            "model": self.model,
            **self.design.settings,
            **self.server.settings,
            **self.sampling,
            **self.extra,
        }

    def request(self, batch: Sequence[Shown], repeat: int) -> dict:
        """Return the body that is sent."""
        limits = self.design.options(len(batch))
        limits[self.max_tokens_field] = limits.pop("max_tokens")
        body = {"model": self.model, "messages": self.design.messages(batch), **limits}
        body["temperature"] = self.sampling["temperature"]
        if self.sampling["seed"] is not None:
            body["seed"] = self.sampling["seed"] + repeat
        # Not the design's thresholds: reading a stored answer again with another costs nothing.
        sent = {name: value for name, value in {**body, **self.extra}.items() if value is not None}
        # Nor the address: an answer is known by what was asked, wherever.
        return {"body": sent, "repeat": repeat}

    def answer(self, request: dict) -> dict:
        """Ask the server."""
        return self.server.send(ENDPOINT, request["body"])

    def read(self, answer: dict, n: int) -> list[Reading]:
        """Read the server's reply as the design says; what no design foresees costs its own pairs only."""
        try:
            return self.design.read(answer, n)
        except Exception as error:  # whatever a server, or an older file of answers, holds
            return [(math.nan, f"an answer of another shape ({type(error).__name__}: {error})"[:300])] * n

    def details(self, answer: dict) -> dict:
        """Return the judge's words, why they ended, how long they took, and when."""
        return {
            **answer,
            "text": reply_text(answer) or refusal(answer),
            "finish_reason": finish_reason(answer),
        }

    def no_answer(self, answer: dict, n: int) -> str:
        """Return the kind of an answer that says nothing of any pair, refusals and the like among them."""
        return super().no_answer(answer, n) and (self.design.no_answer(answer) or "unreadable")

    def bound(self, request: dict) -> float:
        """Return the most dollars a request can cost, by its bytes."""
        return self.server.bound(request["body"])

    def cost(self, answer: dict) -> float | None:
        """Return the dollars an answer cost, by the server's count of tokens."""
        return self.server.cost(answer)

    def close(self) -> None:
        """Close the connections."""
        self.server.close()


def make_judge(judge) -> Judge:
    """Return the judge that `judge` names.

    Parameters
    ----------
    judge : str, callable or Judge
        ``"length"``, ``"random"``, ``"alpaca_eval:NAME"``, ``"litellm:NAME"``, a function (see
        `FunctionJudge`) or a judge.

    Examples
    --------
    >>> make_judge("length").name
    'length'
    """
    if isinstance(judge, Judge):
        return judge
    if judge == "length":
        length = FunctionJudge(prefer_longer_output, name="length")
        length.is_free = True
        return length
    if judge == "random":
        return RandomJudge()
    if isinstance(judge, str) and judge.startswith("alpaca_eval:"):
        from alpaca_analysis.judging.alpaca_eval_judge import AlpacaEvalJudge

        return AlpacaEvalJudge(judge.removeprefix("alpaca_eval:"))
    if isinstance(judge, str) and judge.startswith(PREFIX):
        return ChatJudge(judge)
    if callable(judge):
        return FunctionJudge(judge)
    raise ValueError(
        f"judge: found {judge!r}, expected 'length', 'random', 'alpaca_eval:NAME', 'litellm:NAME', a "
        "function or a Judge"
    )
