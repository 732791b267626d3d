"""Conversations of several turns: what a file says of them, and what a judge sees, which is all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.readers.arena import said_by
from alpaca_analysis.table.readers.files import Columns

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Said:
    """One side of a conversation, or a plain text.

    Attributes
    ----------
    text : str or None
        What that side said, its turns apart by an empty line, as readers of conversations have it.
    shown : str or None
        All messages, each under its role; a plain text, and a single message, as it is.
    """

    text: str | None
    shown: str | None


def side_of(value: Any, role: str, columns: Columns, row: int, field: str) -> Said:
    r"""Return what one side of a record says.

    Parameters
    ----------
    value : str, list of str, list of messages, or None
        A text, one side's turns, or messages with ``role`` and ``content``.
    role : {"user", "assistant"}
        Whose turns a list of texts holds, and whose words the text is made of.
    columns, row, field
        Where it stands, for messages.

    Raises
    ------
    AnnotationError
        Something else.

    Examples
    --------
    >>> side_of(["Hi", "Bye"], "user", Columns("x", columns={"instruction": [1]}), 0, "instruction")
    Said(text='Hi\n\nBye', shown='[user]\nHi\n\n[user]\nBye')
    """
    if value is None or isinstance(value, str):
        return Said(value, value)
    turns = list(value) if isinstance(value, Sequence) or hasattr(value, "tolist") else None
    if turns is None or not all(isinstance(turn, (str, dict)) for turn in turns):
        expected = "text, a list of one side's turns, or a list of messages"
        raise AnnotationError(expected, source=columns.source, row=row, column=field, found=value)
    messages = [turn if isinstance(turn, dict) else {"role": role, "content": turn} for turn in turns]
    if strange := [m for m in messages if m.get("role") not in ROLES]:
        expected = f"messages of {', '.join(ROLES)}"
        raise AnnotationError(expected, source=columns.source, row=row, column=field, found=strange[0])
    own = said_by(messages, role, columns, row, field)
    if not own:
        return Said(None, None)
    told = [(m["role"], said_by([m], m["role"], columns, row, field)[0]) for m in messages]
    shown = told[0][1] if len(told) == 1 else "\n\n".join(f"[{who}]\n{words}" for who, words in told)
    return Said("\n\n".join(filter(None, own)), shown)


def is_conversation(text: str) -> bool:
    r"""Tell whether a text is a conversation as `side_of` shows it.

    Examples
    --------
    >>> is_conversation("[user]\nHi\n\n[user]\nBye"), is_conversation("Hi")
    (True, False)
    """
    return text.startswith(tuple(f"[{role}]\n" for role in ROLES))
