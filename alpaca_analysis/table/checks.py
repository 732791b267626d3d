"""The one table: its columns and its checks.

One row is one judgement, or ``n`` equal ones:

=================== ============ ==========================================================
``instruction_id``  string       hash of the prompt's text; NA where the row is aggregated
``dataset``         category     source of the prompt
``model``           category     who was judged
``reference``       category     against whom
``annotator``       category     by whom
``outcome``         float        1 model, 0 reference, 0.5 draw, NaN no usable answer
``length_model``    float        characters of the model's output; NaN where unknown
``length_reference`` float       characters of the reference's output; NaN where unknown
``n``               int >= 1     frequency weight
=================== ============ ==========================================================

Optional columns pass through: ``position`` (1 if the model's output was shown first, else 2),
``repeat``, ``list_model``, ``list_reference``, ``length_feature``, ``difficulty`` and texts; ``sequence`` and
``stopped_early`` where judging went in random order until it had decided.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import ties
from alpaca_analysis.foundations.errors import AnnotationError, StoppedWarning, Verbatim, warn

REQUIRED = ("model", "outcome")
NAMES = ("dataset", "model", "reference", "annotator")
COLUMNS = ("instruction_id", *NAMES, "outcome", "length_model", "length_reference", "n")
SEQUENCE = "sequence"  # optional column: place of an instruction in the random order in which it was asked
STOPPED = "stopped_early"  # optional column: what was decided when judging stopped before all was asked
KEY = ("instruction_id", "model", "reference", "annotator", "position", "repeat")


BIASED = "plain means and their intervals are biased then; confidence_sequence holds"
NO_ID = "(no id) "  # begins the ids of rows without an instruction among others: units of their own
_NO_NUMBERS = (bool, np.bool_, str, bytes)  # though pandas would make numbers of them


def instruction_id(text: str) -> str:
    """Return the identifier of a prompt: the first 16 hexadecimal digits of its SHA-256.

    Parameters
    ----------
    text : str
        The prompt.

    Returns
    -------
    str
        16 characters, the same on every machine.

    Examples
    --------
    >>> instruction_id("Say hello.")
    'c8e2c1437abb87b6'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check(
    table: pd.DataFrame, *, source: str = "table", require: Iterable[str] = (), at_any_time: bool = False
) -> pd.DataFrame:
    """Return `table` with every standard column in its standard type, or raise.

    Parameters
    ----------
    table : DataFrame
        At least the columns ``model`` and ``outcome``; absent standard columns are filled with NA
        (``n`` with 1). Without ids and lengths, the texts ``instruction``, ``output_model`` and
        ``output_reference`` give them. It is not changed.
    source : str
        How messages name the table.
    require : iterable of str
        Further columns that must be present.
    at_any_time : bool
        Whether what follows holds for judging that was stopped when it had decided, too.

    Returns
    -------
    DataFrame
        Standard columns first, then the others; index 0, 1, ...

    Warns
    -----
    StoppedWarning
        Judging was stopped when it had decided: plain means and their intervals are biased then.

    Raises
    ------
    AnnotationError
        A missing column, a row without a model, a name that is no text, an outcome outside [0, 1], an
        `n` that is not a positive integer, or two rows with the same key.

    Examples
    --------
    >>> import pandas as pd
    >>> check(pd.DataFrame({"model": ["m"], "outcome": [1]}))["n"].tolist()
    [1]
    """
    if not isinstance(table, pd.DataFrame):
        raise AnnotationError("a DataFrame of judgements", source=source, found=type(table).__name__)
    columns_once(table, source=source)
    for column in (*REQUIRED, *require):
        if column not in table:
            found = Verbatim("columns " + ", ".join(map(str, table.columns)))
            remedy = "; read_annotations makes the table of other formats" if column in REQUIRED else ""
            raise AnnotationError(f"a column {column!r}{remedy}", source=source, found=found)
    if len(table) == 0:
        raise AnnotationError("at least one judgement, found none", source=source)
    try:
        out = {
            "instruction_id": _ids(table, source),
            **{name: _category(table, name, source) for name in NAMES},
            "outcome": _outcomes(table["outcome"], source),
            "length_model": _lengths(table, "length_model", source),
            "length_reference": _lengths(table, "length_reference", source),
            "n": _weights(table, source),
        }
        out.update({c: table[c].to_numpy() for c in table.columns if c not in out and c not in NAMES})
        checked = pd.DataFrame(out, copy=False)
    except UnicodeEncodeError as error:  # half a surrogate pair, which pandas cannot hold
        raise AnnotationError("whole characters", source=source, found=error.object) from None
    checked.attrs = dict(table.attrs)
    _check_unique(checked, source)
    if STOPPED in checked and not at_any_time and not checked.attrs.get("stop_said"):
        checked.attrs["stop_said"] = warn_stopped(checked)
    return checked


def warn_stopped(table: pd.DataFrame) -> bool:
    """Warn of judgements that were stopped when they had decided; return whether there are any."""
    known = table[STOPPED].notna() & table[STOPPED].astype(str).ne("")
    if known.any():
        first = table[known].iloc[0]
        more = table.loc[known, "model"].nunique() - 1
        who = f"{first['model']!r}" + (f" and {more} more" if more else "")
        warn(f"judging of {who} was stopped early ({first[STOPPED]}): {BIASED}", StoppedWarning)
    return bool(known.any())


def columns_once(frame: pd.DataFrame, *, source: str = "table") -> None:
    """Raise where two columns of a frame share a name, or names have several levels."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise AnnotationError("columns with one name each", source=source, found=list(frame.columns))
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise AnnotationError("each column once", source=source, found=Verbatim(f"column {twice!r} twice"))


def refuse(
    bad: pd.Series | np.ndarray | list[bool],
    expected: str,
    values: pd.Series,
    *,
    column: str,
    source: str = "table",
) -> None:
    """Raise where an entry of `bad` is true, naming the first row and the value it has in `values`."""
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise AnnotationError(expected, source=source, row=row, column=column, found=values.iloc[row])


def _ids(table: pd.DataFrame, source: str) -> pd.api.extensions.ExtensionArray:
    if "instruction_id" in table:
        return _texts_of_ids(table["instruction_id"])
    if "instruction" not in table:
        return pd.array([pd.NA] * len(table), dtype="string")
    prompts = table["instruction"]
    strange = prompts.map(lambda text: not isinstance(text, str))
    refuse(strange, "text", prompts, column="instruction", source=source)
    return pd.array(prompts.map(instruction_id), dtype="string")


def _texts_of_ids(values: pd.Series) -> pd.api.extensions.ExtensionArray:
    """Return ids as texts: 81, 81.0 and "81" are one; None, NaN and blanks are missing."""
    if pd.api.types.is_float_dtype(values) or values.dtype == object:
        return values.map(id_text).astype("string").array
    texts = values.astype("string")
    return texts.mask(texts.str.strip() == "").array


def id_text(value: Any) -> str | None:
    """Return an id as text, None where it is missing or blank.

    Examples
    --------
    >>> id_text(81.0), id_text("81"), id_text(" "), id_text(float("nan"))
    ('81', '81', None, None)
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (float, np.floating)) and value.is_integer():
        return str(int(value))
    return str(value) if str(value).strip() else None


def _category(table: pd.DataFrame, column: str, source: str) -> pd.Categorical:
    none = pd.Categorical.from_codes(np.full(len(table), -1), categories=pd.Index([], dtype="str"))
    if column not in table:
        return none
    values = table[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.remove_unused_categories()
        strange = ~values.isin([c for c in values.cat.categories if isinstance(c, str)])
    elif isinstance(values.dtype, pd.StringDtype):
        strange = values.isna()
    else:
        strange = values.map(lambda v: not isinstance(v, str)).astype(bool)
    if column != "model":  # the others may be unknown
        strange &= values.notna()
    refuse(strange, "a name (text)", values, column=column, source=source)
    return none if values.isna().all() else pd.Categorical(one_form(values))


def one_form(names: pd.Series) -> pd.Series:
    """Return names in one Unicode form (NFC): what looks the same is the same."""
    distinct = pd.Series(names.unique()).dropna()
    other = {name: unicodedata.normalize("NFC", name) for name in distinct if not name.isascii()}
    other = {name: form for name, form in other.items() if name != form}
    return names.astype(object).replace(other) if other else names


def _outcomes(values: pd.Series, source: str) -> np.ndarray:
    strange = values.map(lambda v: isinstance(v, _NO_NUMBERS)) if values.dtype.kind not in "fiu" else None
    numbers = to_numeric(values).astype(float)
    bad = (numbers < 0) | (numbers > 1) | (numbers.isna() & values.notna())
    if strange is not None:
        bad |= strange
    expected = "a number in [0, 1] (1 model, 0 reference, 0.5 draw) or NaN"
    refuse(bad, expected, values, column="outcome", source=source)
    return ties.verdicts(numbers)


def to_numeric(values: pd.Series) -> pd.Series:
    """Return numbers as pandas does; non-numbers become NaN, integers too large for a float infinity."""
    try:
        numbers = pd.to_numeric(values, errors="coerce")
    except OverflowError:
        small = [np.inf if isinstance(v, int) and v.bit_length() > 1000 else v for v in values]
        numbers = pd.to_numeric(pd.Series(small, index=values.index), errors="coerce")
    if {numbers.dtype.kind, values.dtype.kind} & set("cmM"):  # dates and complex numbers count nothing
        return pd.Series(np.nan, index=values.index)
    return numbers


def _lengths(table: pd.DataFrame, column: str, source: str) -> np.ndarray:
    if column not in table:
        text = column.replace("length", "output")
        written = table[text] if text in table else [None] * len(table)
        return np.array([len(t) if isinstance(t, str) else np.nan for t in written])
    numbers = to_numeric(table[column]).astype(float)
    bad = (numbers < 0) | np.isinf(numbers) | (numbers.isna() & table[column].notna())
    if table[column].dtype.kind not in "fiu":
        bad |= table[column].map(lambda v: isinstance(v, (bool, np.bool_)))
    refuse(bad, "a number of characters >= 0, or NaN", table[column], column=column, source=source)
    return numbers.to_numpy()


def _weights(table: pd.DataFrame, source: str) -> np.ndarray:
    if "n" not in table:
        return np.ones(len(table), dtype=np.int64)
    return whole_numbers(table["n"], column="n", source=source, minimum=1)


def whole_numbers(values: pd.Series, *, column: str, source: str = "table", minimum: int = 0) -> np.ndarray:
    """Return `values` as int64, or raise naming the first that is not a whole number >= `minimum`."""
    numbers = to_numeric(values).astype(float).to_numpy()
    bad = ~(numbers >= minimum) | (numbers != np.floor(numbers)) | (numbers > 2**53)
    if values.dtype.kind not in "fiu":
        bad |= values.map(lambda v: isinstance(v, _NO_NUMBERS)).to_numpy()
    expected = "a positive integer" if minimum == 1 else f"a whole number >= {minimum}"
    refuse(bad, expected, values, column=column, source=source)
    return numbers.astype(np.int64)


def _check_unique(table: pd.DataFrame, source: str) -> None:
    identified = table["instruction_id"].notna()
    key = [c for c in KEY if c in table]
    for column in key:
        values = table[column]
        if values.dtype == object:
            strange = [not pd.api.types.is_hashable(v) for v in values]
            refuse(strange, "a number or text", values, column=column, source=source)
    twice = table.loc[identified, key].duplicated(keep="first")
    if not twice.any():
        return
    row = int(twice.index[twice][0])
    alike = table.loc[identified].groupby(key, dropna=False, observed=True, sort=False).ngroup()
    first = int(alike.index[alike == alike[row]][0])
    found = Verbatim(f"the same {', '.join(key)} as row {first} ({table.loc[row, 'model']!r})")
    expected = "one row per key; tell judgements of the same pair apart by 'repeat' or 'position'"
    raise AnnotationError(expected, source=source, row=row, found=found)
