"""What a server's reply says: its text, why it ended, whether it refused, and what it was charged for."""

from __future__ import annotations

import json
import math
import re
from typing import Any

DEEPEST = 64  # levels of nesting that a reply may have
MOST_TOKENS, MOST_DOLLARS = 10**8, 10**4  # of one reply; more is no count and no price
ANSWERED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "completed")
_SPACE = re.compile(r"\s*")
_TAG = re.compile(r"<(/?)(think|thinking|reasoning)>", re.IGNORECASE)


def read_reply(text: str) -> tuple[dict | None, str]:
    """Return a server's reply and, where it is none, what is wrong with it.

    Examples
    --------
    >>> read_reply('{"choices": [')
    (None, 'a reply that is not JSON')
    """
    try:
        reply = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None, "a reply that is not JSON"
    if _is_deeper(reply, DEEPEST):
        return None, f"a reply nested more than {DEEPEST} levels deep"
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None, f"a reply without choices{_complaint(reply)}"
    message = choices[0].get("message", choices[0])
    if not isinstance(message, dict):
        return None, "a reply without a message"
    content = message.get("content", message.get("text"))
    if content is not None and not isinstance(content, str) and not _is_parts(content):
        return None, "a message that is not text"
    return reply, ""


def _is_deeper(value, levels):
    layer = [value]
    for _ in range(levels):
        layer = [item for outer in layer for item in _inner(outer)]
        if not layer:
            return False
    return True


def _inner(value):
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_parts(content):
    return isinstance(content, list) and all(isinstance(part, (dict, str)) for part in content)


def _complaint(reply):
    said = server_reason(reply)
    return f": {said}" if said else ""


def server_reason(reply: Any) -> str:
    """Return the reason a server gives for a refusal, in the dialects that are in use.

    Parameters
    ----------
    reply
        The JSON of the reply: ``{"error": {"message": ...}}``, ``{"error": "..."}``, ``{"message": ...}``,
        ``{"detail": ...}`` (a text, or a list of ``{"loc", "msg"}``), or a list of such.

    Examples
    --------
    >>> server_reason({"detail": [{"loc": ["body", "seed"], "msg": "extra field"}]})
    'body.seed: extra field'
    """
    if isinstance(reply, list):
        return "; ".join(filter(None, map(server_reason, reply[:3])))
    if isinstance(reply, str):
        return reply
    if not isinstance(reply, dict):
        return ""
    if "msg" in reply:
        place = reply.get("loc")
        where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
        return f"{where}{reply['msg']}"
    for name in ("error", "message", "detail", "errors", "reason"):
        said = server_reason(reply.get(name))
        if said:
            return said
    return ""


def _choice(answer):
    """Return the first choice, empty where an older file of answers holds another shape."""
    try:
        choice = answer["reply"]["choices"][0]
    except (KeyError, IndexError, TypeError):
        return {}
    return choice if isinstance(choice, dict) else {}


def _message(answer):
    choice = _choice(answer)
    message = choice.get("message", choice)
    return message if isinstance(message, dict) else {}


def reply_text(answer: dict) -> str:
    """Return the text of an answer, empty where the server gave none; of content in parts, the texts."""
    message = _message(answer)
    content = message.get("content", message.get("text"))
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def finish_reason(answer: dict) -> str:
    """Return why the server says that an answer ended, empty where it does not say."""
    reason = _choice(answer).get("finish_reason")
    return reason if isinstance(reason, str) else ""


def refusal(answer: dict) -> str:
    """Return the refusal that the server states apart from the text, empty where there is none."""
    said = _message(answer).get("refusal")
    return said if isinstance(said, str) else ""


def has_tool_calls(answer: dict) -> bool:
    """Tell whether the model called a tool instead of answering."""
    message = _message(answer)
    return bool(message.get("tool_calls") or message.get("function_call"))


def without_thinking(text: str) -> str:
    """Return a text without the thoughts in ``<think>`` tags, those that were cut off included.

    Examples
    --------
    >>> without_thinking("<think>Hm.</think>Yes.")
    'Yes.'
    >>> without_thinking("<think>Hm. I would say")
    ''
    """
    kept: list[str] = []
    start, opened, is_first = 0, "", True
    for tag in _TAG.finditer(text):
        closes, name = bool(tag[1]), tag[2].lower()
        if not opened and not closes:
            kept.append(text[start : tag.start()])
            opened = name
        elif closes and (name == opened or (not opened and is_first and name != "reasoning")):
            kept = kept if opened else []  # a thought that had begun before the text
            is_first, opened = is_first and bool(opened), ""
            start = _SPACE.match(text, tag.end()).end()  # type: ignore[union-attr]
    return "".join(kept if opened else [*kept, text[start:]])


def no_answer(text: str, reason: str, *, refused: str = "", tools: bool = False) -> tuple[str, str]:
    """Return the kind and the description of a non-answer, two empty texts for an answer.

    Parameters
    ----------
    text : str
        Without thoughts.
    reason : str
        Finish reason.
    refused : str
        A refusal stated apart from the text.
    tools : bool
        Whether a tool was called.

    Returns
    -------
    kind : str
        "refusal", "content_filter", "tool_calls", "length", "error" or "empty".
    description : str
        For people.

    Examples
    --------
    >>> no_answer("Half a sent", "length")
    ('length', 'cut off: the limit of tokens was reached')
    """
    if refused:
        return "refusal", f"the model refused: {refused[:200]}"
    if reason in ("content_filter", "safety", "SAFETY", "refusal"):
        return ("refusal" if reason == "refusal" else "content_filter"), "withheld by a content filter"
    if tools or reason in ("tool_calls", "function_call", "tool_use"):
        return "tool_calls", "a call of a tool instead of an answer"
    if reason in ("length", "max_tokens", "MAX_TOKENS"):
        return "length", "cut off: the limit of tokens was reached"
    if reason in ("error", "abort", "cancelled"):
        return "error", f"the server ended the answer with {reason!r}"
    if not text.strip():
        return "empty", "an empty answer"
    return "", ""


def finite(value: Any) -> float | None:
    """Return a number as a float, None for anything else: text, truth values, NaN, infinity, out of range.

    Examples
    --------
    >>> finite(2), finite("2"), finite(10**400)
    (2.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def tokens(usage: Any, name: str) -> int | None:
    """Return a count of tokens, None where it is no whole number of at least 0 or beyond belief.

    Examples
    --------
    >>> tokens({"prompt_tokens": -5}, "prompt_tokens") is None
    True
    """
    found = finite(usage.get(name)) if isinstance(usage, dict) else None
    return int(found) if found is not None and found.is_integer() and 0 <= found <= MOST_TOKENS else None


def stated_cost(reply: dict) -> float | None:
    """Return the dollars that the server itself says it charged (``usage.cost``), None where it does not.

    What is negative or beyond belief for one reply is no statement.
    """
    usage = reply.get("usage")
    found = finite(usage.get("cost")) if isinstance(usage, dict) else None
    return found if found is not None and 0 <= found <= MOST_DOLLARS else None


def charged(reply: dict, price: list[float] | tuple[float, ...]) -> float | None:
    """Return the dollars of a reply at a price, None where its usage is missing or impossible.

    Parameters
    ----------
    reply : dict
        Its ``usage``: ``prompt_tokens``, ``completion_tokens`` (what was thought included), and of the
        prompt's, those that came from the server's cache.
    price : two or three floats
        Dollars per million tokens of prompt, of completion, and of a prompt from the server's cache (by
        default as the prompt).

    Examples
    --------
    >>> charged({"usage": {"prompt_tokens": 1000, "completion_tokens": 500}}, (1.0, 2.0))
    0.002
    """
    usage = reply.get("usage")
    prompt, completion = tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")  # type: ignore[union-attr]
    cached = min(tokens(details, "cached_tokens") or 0, prompt)
    of_cached = price[2] if len(price) > 2 else price[0]
    return (price[0] * (prompt - cached) + of_cached * cached + price[1] * completion) / 1e6
