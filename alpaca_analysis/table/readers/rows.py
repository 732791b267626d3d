"""What every format comes to: rows of one source, checked, and their union as the table."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import COLUMNS, KEY, NAMES, id_text
from alpaca_analysis.table.checks import instruction_id as _instruction_id

OUTCOMES = {"model": 1.0, "reference": 0.0, "draw": 0.5}
SCALARS = (str, int, float, type(None), np.generic, date, type(pd.NA), type(pd.NaT))
LONGEST_LABEL = 200  # characters; what is longer is a text, not a label
MOST_COMPLETIONS = 64  # of one instruction, where every two of them make a row
RESERVED = {
    *COLUMNS,
    *("turn", "repeat", "both_bad", "instruction", "output_model", "output_reference"),
    *(f"{text}_{side}" for text in ("conversation", "output", "response", "answer") for side in "ab"),
}

# The models of a benchmark are judged on the same prompts: each prompt is hashed once.
instruction_id = lru_cache(maxsize=2**16)(_instruction_id)


@dataclass
class Rows:
    """Judgements of one source, column by column.

    Attributes
    ----------
    source : str
        How messages name it.
    ids : list of str or None, or a pandas array of texts
        Instruction ids.
    names : dict of str to str, None or list
        ``dataset``, ``model``, ``reference``, ``annotator``; one name stands for all rows.
    outcome, length_model, length_reference : ndarray
        One float a row.
    extra : dict of str to sequence
        Further columns; one text stands for all rows.
    record : ndarray of int, optional
        The record each row comes from, where that is not the row's own number.
    disagreements : list of dict
        Where folder names and contents differ.
    sha256 : callable, optional
        Gives the hash of the file.
    n_not_text : int, optional
        Outputs that are not text, where that is not the number of missing lengths.
    probabilities : dict, optional
        What log probabilities in the file say of its preferences.
    """

    source: str
    ids: Any
    names: dict
    outcome: np.ndarray
    length_model: np.ndarray
    length_reference: np.ndarray
    extra: dict = field(default_factory=dict)
    record: np.ndarray | None = None
    disagreements: list = field(default_factory=list)
    sha256: Callable[[], str] | None = None
    n_not_text: int | None = None
    probabilities: dict | None = None

    def __len__(self) -> int:
        return len(self.outcome)


def names(columns: Any, name: str, *, required: Any = False) -> str | list | None:
    """Return a column of names: one for all rows, None, or a list of names and None."""
    if not required and name not in columns:
        return None
    values = columns.require(name) if required else columns.get(name)
    if type(values[0]) is str and values.count(values[0]) == len(values):
        return unicodedata.normalize("NFC", values[0])
    if set(map(type, values)) != {str}:
        values = [_name(value, columns, name, row) for row, value in enumerate(values)]
    form = {name: name and unicodedata.normalize("NFC", name) for name in set(values)}
    distinct = set(form.values())
    if len(distinct) == 1:
        return next(iter(distinct))
    return values if len(distinct) == len(form) and distinct == form.keys() else [form[v] for v in values]


def _name(value: Any, columns: Any, column: str, row: int) -> str | None:
    """Return a name: a text, or a number as a text."""
    if isinstance(value, str) or _missing(value):
        return value if isinstance(value, str) else None
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise AnnotationError("a name (text)", source=columns.source, row=row, column=column, found=value)
    return id_text(value)


def with_input(instruction: str, more: str) -> str:
    """Return the prompt that an instruction and its input make together."""
    return f"{instruction}\n\n{more}" if more else instruction


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def lengths(texts: Sequence) -> np.ndarray:
    """Return the number of characters of each text, NaN for what is not text."""
    try:
        return np.fromiter(map(str.__len__, texts), dtype=float, count=len(texts))
    except TypeError:
        pass
    return np.array([len(t) if isinstance(t, str) else np.nan for t in texts])


def codes(values: Sequence, coding: dict, *, columns: Any, column: str, expected: str) -> np.ndarray:
    """Translate each value by `coding`, whose keys are texts and numbers; None and NaN are missing.

    Raises
    ------
    AnnotationError
        A value that `coding` does not know. True and False are never taken for 1 and 0.
    """
    out = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if _missing(value):
            continue
        known = isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool)
        if not known or value not in coding:
            raise AnnotationError(expected, source=columns.source, row=row, column=column, found=value)
        out[row] = coding[value]
    return out


def verdict_codes(values: Mapping[str, Any]) -> dict[Any, float]:
    """Return the outcome of each verdict of ``values={"model": ..., "reference": ..., "draw": ...}``.

    Each meaning has one verdict or several; a number is also known as the text that a CSV file has.

    Raises
    ------
    ValueError
        Another meaning than these three, no verdict for one side, or one verdict with two meanings.

    Examples
    --------
    >>> verdict_codes({"model": [1, "win"], "reference": 0})
    {1: 1.0, '1': 1.0, 'win': 1.0, 0: 0.0, '0': 0.0}
    """
    if not isinstance(values, Mapping) or not {"model", "reference"} <= set(values) <= OUTCOMES.keys():
        raise ValueError(
            f"values: found {values!r}, expected verdicts for 'model', 'reference' and maybe 'draw'"
        )
    out: dict[Any, float] = {}
    for meaning, verdicts in values.items():
        for verdict in verdicts if isinstance(verdicts, list | tuple | set) else [verdicts]:
            for form in dict.fromkeys((verdict, str(verdict))):
                if out.setdefault(form, OUTCOMES[meaning]) != OUTCOMES[meaning]:
                    raise ValueError(
                        f"values: found {verdict!r} twice, expected one meaning for each verdict"
                    )
    return out


def further(columns: Any, used: Collection[str]) -> dict[str, Sequence]:
    """Return the other columns that hold one number, truth value, date or short text a row.

    They make groups, such as a category or a language. Long texts, lists and records are left out, and so
    are names that the table has of its own.
    """
    out = {}
    for name in columns.names:
        if name in used or name in RESERVED or is_nested(columns.arrow(name)):
            continue
        values = columns.get(name)
        kinds = set(map(type, values))
        if not all(issubclass(kind, SCALARS) for kind in kinds):
            continue
        texts = values if kinds == {str} else [value for value in values if type(value) is str]
        if max(map(len, texts), default=0) <= LONGEST_LABEL:
            out[name] = values
    return out


def is_nested(array: Any) -> bool:
    """Tell whether an Arrow array holds lists or records, which need not be written out to see that."""
    import pyarrow.types as kinds

    return array is not None and kinds.is_nested(array.type)


def numbers(columns: Any, name: str) -> np.ndarray:
    """Return a field of finite numbers as floats; None and NaN are missing.

    Raises
    ------
    AnnotationError
        Anything else: text that is no number, a truth value, a list.
    """
    out = np.full(len(columns), np.nan)
    for row, value in enumerate(columns.get(name)):
        if _missing(value):
            continue
        out[row] = finite(value)
        if np.isnan(out[row]):
            raise AnnotationError(
                "a number or null", source=columns.source, row=row, column=name, found=value
            )
    return out


def finite(value: Any) -> float:
    """Return a finite number, also one written as text; anything else becomes NaN."""
    try:
        number = np.nan if isinstance(value, (bool, np.bool_)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan
    return number if np.isfinite(number) else np.nan


def require_outcome(rows: Rows) -> Rows:
    """Return `rows`, or raise if not one of its judgements is usable."""
    if np.isnan(rows.outcome).all():
        expected = f"at least one usable judgement; all {len(rows)} are missing"
        raise AnnotationError(expected, source=rows.source)
    return rows


def frame(columns: dict, source: str) -> pd.DataFrame:
    """Make a frame of columns, some of them one value for all rows.

    Half a surrogate pair, as a text cut within an emoji ends with, is nothing that pandas can hold: in
    texts it becomes ``?``. Integers of hundreds of digits, which pandas 2 cannot hold, become infinite.

    Raises
    ------
    AnnotationError
        Half a pair in a name or an id, where ``?`` could make two of them one.
    """
    try:
        return pd.DataFrame(columns, copy=False)
    except (UnicodeEncodeError, OverflowError):
        pass
    n_rows = max((len(v) for v in columns.values() if v is not None and not isinstance(v, str)), default=1)
    whole = {}
    for column, values in columns.items():
        whole[column] = values
        if values is None or isinstance(values, pd.Categorical):
            continue
        one = isinstance(values, str)  # for all rows
        listed = [values] if one else list(values)
        clean = list(map(_whole, listed))
        cut = [row for row, pair in enumerate(zip(listed, clean, strict=True)) if pair[0] is not pair[1]]
        if cut and column in ("instruction_id", *NAMES):
            found = listed[cut[0]]
            raise AnnotationError("whole characters", source=source, row=cut[0], column=column, found=found)
        if cut:
            whole[column] = clean[0] if one else clean
    return pd.DataFrame(whole, index=range(n_rows))


def _whole(value: Any) -> Any:
    """Return a text without halves of surrogate pairs, and infinity for an integer that no float can hold."""
    if isinstance(value, int) and value.bit_length() > 1000:
        return math.inf if value > 0 else -math.inf
    if not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value):
        return value
    return value.encode("utf-8", "replace").decode()


class Provenance(tuple):
    """What is known of each file; pandas copies ``.attrs`` at every step, and this need not be."""

    def __deepcopy__(self, memo: dict) -> Any:
        return self


def join(parts: Sequence[Rows]) -> pd.DataFrame:
    """Put the rows of all sources together into the table.

    Returns
    -------
    DataFrame
        The table; ``.attrs["counts"]`` counts files, rows, missing outcomes and outputs that are no
        text, ``.attrs["files"]`` lists each source with its hash, names and number of rows,
        ``.attrs["disagreements"]`` what folder names contradict; ``.attrs["probabilities"]``, where files
        hold log probabilities, which stored preferences they contradict.
    """
    sizes = [len(part) for part in parts]
    try:
        data: dict = {"instruction_id": _ids(parts)}
        data |= {name: _category([part.names.get(name) for part in parts], sizes) for name in NAMES}
    except UnicodeEncodeError:
        for part in parts:
            frame({"instruction_id": part.ids, **part.names}, part.source)  # says which
        raise
    for name in ("outcome", "length_model", "length_reference"):
        data[name] = np.concatenate([getattr(part, name) for part in parts])
    data["n"] = np.concatenate([_array(part.extra.pop("n", np.ones(len(part), np.int64))) for part in parts])
    for name in dict.fromkeys(name for part in parts for name in part.extra):
        data[name] = _extra([part.extra.get(name) for part in parts], sizes)
    table = frame(data, "texts")
    _check_unique(table, parts, sizes)
    table.attrs = {
        "counts": {
            "n_files": len({part.source for part in parts}),
            "n_rows": len(table),
            "n_missing": int(np.isnan(data["outcome"]).sum()),
            "n_not_text": sum(map(_not_text, parts)),
        },
        "files": Provenance(map(_about, parts)),
        "disagreements": Provenance(d for part in parts for d in part.disagreements),
    }
    if told := [part.probabilities for part in parts if part.probabilities]:
        table.attrs["probabilities"] = Provenance(told)
    return table


def _ids(parts: Any) -> Any:
    import pyarrow as pa

    # pandas would look at every id twice more
    listed = [
        pa.array(part.ids, pa.large_string()) if isinstance(part.ids, list) else part.ids.__arrow_array__()
        for part in parts
    ]
    chunks = [
        chunk.cast(pa.large_string())
        for ids in listed
        for chunk in (ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids])
    ]
    return pd.array(pa.chunked_array(chunks, pa.large_string()), dtype="string")


def _not_text(part: Any) -> int:
    if part.n_not_text is not None:
        return part.n_not_text
    return int(np.isnan(part.length_model).sum() + np.isnan(part.length_reference).sum())


def _about(part: Any) -> dict:
    listed = {
        name: "; ".join(sorted({str(v) for v in value if v is not None}))
        if isinstance(value, list)
        else value
        for name, value in part.names.items()
        if name != "dataset"
    }
    sha256 = part.sha256() if part.sha256 else None
    return {"file": part.source, "sha256": sha256, **listed, "n_rows": len(part)}


def _category(values: Any, sizes: list[int]) -> pd.Categorical:
    """Make one categorical of constants and lists, without an object array of all rows."""
    known = {}
    for value in values:
        known.update(dict.fromkeys(value if isinstance(value, list) else (value,)))
    known.pop(None, None)
    categories = sorted(known)
    code = {name: i for i, name in enumerate(categories)} | {None: -1}
    out = np.empty(sum(sizes), dtype=np.int32)
    start = 0
    for value, size in zip(values, sizes, strict=True):
        part = map(code.__getitem__, value) if isinstance(value, list) else None
        out[start : start + size] = code[value] if part is None else np.fromiter(part, np.int32, size)
        start += size
    return pd.Categorical.from_codes(out, categories=pd.Index(categories, dtype="str"))


def _extra(values: Any, sizes: list[int]) -> Any:
    """Concatenate a further column: whole numbers stay so where no source lacks them."""
    if all(value is None or isinstance(value, str) for value in values):
        return pd.Series([np.nan if value is None else value for value in values]).repeat(sizes).array
    parts = [
        np.full(size, np.nan if value is None else value)
        if value is None or isinstance(value, str)
        else _array(value)
        for value, size in zip(values, sizes, strict=True)
    ]
    kinds = {part.dtype.kind for part in parts}
    if kinds <= set("fiu") or kinds == {"b"}:
        return np.concatenate(parts)
    return np.concatenate([part.astype(object) for part in parts])


def _array(values: Any) -> np.ndarray:
    """Return one entry a row: numbers as such, lists and the like as objects."""
    if isinstance(values, np.ndarray):
        return values
    kinds = set(map(type, values))
    if kinds <= {int, float, type(None)}:
        try:
            return np.array(values, dtype=float if type(None) in kinds else None)
        except OverflowError:
            pass
    if kinds != {str} and not any(issubclass(kind, list | tuple | np.ndarray) for kind in kinds):
        return np.asarray(values)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _check_unique(table: pd.DataFrame, parts: Any, sizes: list[int]) -> None:
    key = [c for c in KEY if c in table]
    twice = (table[key].duplicated() & table["instruction_id"].notna()).to_numpy()
    if not twice.any():
        return
    last = int(np.flatnonzero(twice)[0])
    label = table[key].astype(object).fillna("").apply(tuple, axis=1)
    first = int(np.flatnonzero(label == label[last])[0])
    (source, row), (other, before) = (_place(i, parts, sizes) for i in (last, first))
    place = f"row {before}" if source == other else f"row {before} of {other}"
    who = ", ".join(f"{c} {table[c].iloc[last]!r}" for c in ("model", "reference", "annotator"))
    raise AnnotationError(
        "one row per key; tell judgements of the same pair apart by 'repeat' or 'position'",
        source=source,
        row=row,
        found=Verbatim(f"the same {', '.join(key)} as {place} ({who})"),
    )


def _place(i: int, parts: Any, sizes: list[int]) -> tuple[str, Any]:
    """Return the source, and the record in it, that row `i` of the table comes from."""
    starts = np.cumsum([0, *sizes[:-1]])
    part = int(np.searchsorted(starts, i, side="right")) - 1
    row = i - int(starts[part])
    return parts[part].source, row if parts[part].record is None else int(parts[part].record[row])
