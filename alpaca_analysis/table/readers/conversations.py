"""Conversations that come as Arrow arrays: prompts and lengths without a Python object per message."""

from __future__ import annotations

from binascii import hexlify
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

SEPARATOR = "\n\n"


def count(columns: Any, fields: tuple[str, str], turns: list | None) -> tuple | None:
    """Return the ids of prompts and the lengths of both sides' answers, as the readers of lists count them.

    Parameters
    ----------
    columns : Columns
        The records.
    fields : (str, str)
        The columns that hold the two conversations; prompts are the first one's.
    turns : list of int or None, optional
        The judged turn of every record.

    Returns
    -------
    tuple of (array of texts, ndarray, ndarray) or None
        None where a conversation is no plain Arrow list of ``role`` and ``content`` (texts).
    """
    import pyarrow as pa

    arrays = [columns.arrow(field) for field in fields]
    if not all(array is not None and _is_conversation(array.type) for array in arrays):
        return None
    judged = None if turns is None else np.array([np.nan if turn is None else turn for turn in turns])
    ids: list = []
    lengths: list[list] = [[], []]
    for side, array in enumerate(arrays):
        start = 0
        for chunk in array.chunks if hasattr(array, "chunks") else [array]:
            messages = _messages(chunk)
            if messages is None:
                return None
            at = None if judged is None else judged[start : start + len(chunk)]
            start += len(chunk)
            lengths[side].append(_lengths(messages, at))
            if side == 0:
                ids.append(_ids(messages, at))
            del messages, chunk  # before the next one is decoded: the same memory serves again
    named = pd.array(pa.chunked_array(ids, pa.large_string()), dtype="string")
    return named, np.concatenate(lengths[0]), np.concatenate(lengths[1])


def _is_conversation(kind: Any) -> bool:
    """Tell whether an Arrow type is one of lists of messages with ``role`` and ``content``."""
    import pyarrow.types as kinds

    if not (kinds.is_list(kind) or kinds.is_large_list(kind)) or not kinds.is_struct(kind.value_type):
        return False
    fields = [kind.value_type.field(i).name for i in range(kind.value_type.num_fields)]
    return fields.count("role") == fields.count("content") == 1


def _messages(chunk: Any) -> dict | None:
    """Return the messages of an array: their rows, roles, contents and lengths; None where some are not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunk.type.value_type
    messages = chunk.flatten()
    parts = messages.flatten()
    role, content = (parts[kind.get_field_index(name)] for name in ("role", "content"))
    if chunk.null_count or messages.null_count or not (_is_text(role) and _is_text(content)):
        return None
    try:
        _distinct(role).validate(full=True)
        _distinct(content).validate(full=True)  # as texts, of which bytes that are no UTF-8 are none
    except pa.ArrowInvalid:
        return None
    said = pc.utf8_length(_distinct(content))
    size = said.take(content.indices) if content is not _distinct(content) else said
    return {
        "n": len(chunk),
        "row": np.repeat(np.arange(len(chunk)), np.diff(chunk.offsets.to_numpy())),
        "user": _equals(role, "user"),
        "assistant": _equals(role, "assistant"),
        "content": content,
        "size": pc.fill_null(size, 0).to_numpy(zero_copy_only=False).astype(float),
    }


def _is_text(array: Any) -> bool:
    import pyarrow.types as kinds

    kind = array.type.value_type if kinds.is_dictionary(array.type) else array.type
    return kinds.is_string(kind) or kinds.is_large_string(kind)


def _distinct(array: Any) -> Any:
    """Return the values that an array holds, each of a dictionary once."""
    return array.dictionary if hasattr(array, "dictionary") else array


def _equals(array: Any, word: str) -> np.ndarray:
    import pyarrow.compute as pc

    same = pc.equal(_distinct(array), word)
    if _distinct(array) is not array:
        same = same.take(array.indices)
    return pc.fill_null(same, False).to_numpy(zero_copy_only=False)


def _ranks(row: np.ndarray) -> np.ndarray:
    """Return the number of each message within its row, from 0; rows come in order."""
    first = np.flatnonzero(np.diff(row, prepend=-1))
    return np.arange(len(row)) - np.repeat(first, np.diff(first, append=len(row)))


def _lengths(messages: dict, judged: np.ndarray | None) -> np.ndarray:
    """Return the length of what the assistant said: all of it, or its answer at the judged turn."""
    own = messages["assistant"]
    row, size = messages["row"][own], messages["size"][own]
    n_said = np.bincount(row[size > 0], minlength=messages["n"])
    out = np.bincount(row, weights=size, minlength=messages["n"]).astype(float)  # whole where it is empty
    out += len(SEPARATOR) * np.maximum(n_said - 1, 0)
    if judged is not None:
        known = ~np.isnan(judged)
        out[known] = np.nan
        at = _ranks(row) == judged[row] - 1
        out[row[at]] = size[at]
    return out


def _ids(messages: dict, judged: np.ndarray | None) -> Any:
    """Return the id of what the user said up to the judged turn."""
    own = messages["user"]
    row, size, place = messages["row"][own], messages["size"][own], np.flatnonzero(own)
    counts = size > 0
    if judged is not None:
        counts &= ~(_ranks(row) >= judged[row])  # all of them where no turn is judged
    row, place = row[counts], place[counts]
    n_said = np.bincount(row, minlength=messages["n"])
    out = np.empty((messages["n"], 32), dtype=np.uint8)
    out[:] = _digests([b""])  # of rows in which the user said nothing
    alone = n_said[row] == 1
    texts, of = _bytes(messages["content"], place[alone])
    out[row[alone]] = _digests(texts)[of]
    texts, of = _bytes(messages["content"], place[~alone])
    several: dict[int, list] = {}
    for k, text in zip(row[~alone].tolist(), texts[of], strict=True):
        several.setdefault(k, []).append(text)
    if several:
        out[list(several)] = _digests([SEPARATOR.encode().join(said) for said in several.values()])
    return _hexadecimal(out)


def _bytes(content: Any, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of some texts, those of a dictionary once, and which of them stands at each place."""
    import pyarrow as pa

    if _distinct(content) is content:
        chosen, of = content.take(pa.array(place)), np.arange(len(place))
    else:
        index, of = np.unique(content.indices.to_numpy(zero_copy_only=False)[place], return_inverse=True)
        chosen = content.dictionary.take(pa.array(index.astype(np.int64)))
    return chosen.cast(pa.large_string()).cast(pa.large_binary()).to_numpy(zero_copy_only=False), of


def _digests(texts: Any) -> np.ndarray:
    digest = b"".join([sha256(text).digest() for text in texts])
    return np.frombuffer(digest, dtype=np.uint8).reshape(-1, 32)


def _hexadecimal(digests: np.ndarray) -> Any:
    """Return ids, the first 16 hexadecimal digits of each hash, as an Arrow array."""
    import pyarrow as pa

    digits = pa.py_buffer(hexlify(digests[:, :8].tobytes()))
    offsets = np.arange(0, 16 * len(digests) + 1, 16, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(digests), pa.py_buffer(offsets), digits)
