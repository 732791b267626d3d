"""What a result says of itself: one function finishes every frame that a statistic returns.

Under its columns a result carries, in ``.attrs``:

==================== ============================================================================
``method``           the procedure, in words
``interval``         kind of interval ("bca", "percentile", "t", "wilson", "fisher", ...) or None
``estimate``         the column that ``standard_error``, ``ci_low`` and ``ci_high`` belong to
``fractions``        columns that are fractions, shown as percent
``differences``      columns that are differences of fractions, shown as points
``higher_is_better`` columns whose highest value is the best
``decimals_of``      claims only: for a recomputed column the one whose printed decimals it is shown with
``pvalue``           the column with the p-value to go by: adjusted, where there is one
``unit``             what is resampled, or what counts as one independent observation
``confidence_level``, ``n_resamples``, ``rng``   None where there is none
==================== ============================================================================

Its last two columns are ``reason``, codes for programs, and ``note``, sentences for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import UndefinedWarning, warn
from alpaca_analysis.foundations.ties import tied


@dataclass(frozen=True)
class Reason:
    """Why an entry is undefined or approximate: a code for programs and a sentence for people.

    Attributes
    ----------
    code : str
        Lower case, words joined by underscores, such as "few_units".
    text : str
        What a person reads.
    """

    code: str
    text: str


Note = str | Reason
PVALUES = ("pvalue_adjusted", "pvalue_max_t", "pvalue_holm", "pvalue")


def finish(
    frame: pd.DataFrame,
    *,
    estimate: str | None,
    method: str,
    interval: str | None = None,
    unit: str | None = None,
    confidence_level: float | None = None,
    n_resamples: int | None = None,
    rng: Any = None,
    fractions: Iterable[str] = (),
    differences: Iterable[str] = (),
    higher_is_better: Iterable[str] = (),
    notes: Iterable[Note | Sequence[Note]] | None = None,
    undefined: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Return the frame as every statistic returns it: reasons and notes last, settings in ``.attrs``.

    Parameters
    ----------
    frame : DataFrame
        What was computed, in its final order; its index becomes 0, 1, ...
    estimate : str or None
        Column that ``standard_error``, ``ci_low`` and ``ci_high`` belong to.
    method : str
        The procedure.
    interval : str, optional
        Kind of interval.
    unit : str, optional
        What is resampled or independent.
    confidence_level, n_resamples, rng
        Of the interval; without resamples there is no seed.
    fractions, differences : iterable of str
        Columns that are fractions, and differences of fractions.
    higher_is_better : iterable of str
        Columns whose highest value is the best.
    notes : iterable of str, Reason or sequences of them, optional
        One entry per row; by default what the frame's own ``reason`` and ``note`` say, or nothing.
    undefined : sequence of str
        Columns that name a row in the one warning about undefined intervals; without, none is given.
    settings : mapping, optional
        What else the result says of itself.

    Returns
    -------
    DataFrame

    Warns
    -----
    UndefinedWarning
        Once, in the line that called the package, where ``ci_low`` is NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"model": ["a"], "win_rate": [0.5], "ci_low": [0.4], "ci_high": [0.6]})
    >>> done = finish(frame, estimate="win_rate", method="mean outcome", interval="t",
    ...               fractions=["win_rate"], notes=[Reason("few_units", "8 units")])
    >>> done[["reason", "note"]].iloc[0].tolist(), done.attrs["interval"]
    (['few_units', '8 units'], 't')
    """
    codes, texts = _said_of(frame, notes)
    frame = frame.drop(columns=["reason", "note"], errors="ignore").reset_index(drop=True)
    frame["reason"], frame["note"] = pd.array(codes, dtype=object), pd.array(texts, dtype=object)
    frame.attrs = {
        "method": method,
        "interval": interval,
        "estimate": estimate,
        "unit": unit,
        "confidence_level": confidence_level,
        "n_resamples": n_resamples,
        "rng": None if n_resamples is None else seed_of(rng),
        "fractions": [c for c in fractions if c in frame],
        "differences": [c for c in differences if c in frame],
        "higher_is_better": [c for c in higher_is_better if c in frame],
        "pvalue": next((c for c in PVALUES if c in frame), None),
        **(settings or {}),
    }
    if undefined:
        warn_undefined(frame, undefined)
    return frame


def _said_of(frame: pd.DataFrame, notes: Iterable[Any] | None) -> tuple[list[str], list[str]]:
    """Return codes and sentences of every row."""
    if notes is None and {"reason", "note"} <= set(frame):
        return frame["reason"].tolist(), frame["note"].tolist()
    if notes is None:
        notes = frame["note"] if "note" in frame else [""] * len(frame)
    read = [joined(note) for note in notes]
    return [codes for codes, _ in read], [text for _, text in read]


def best_first(frame: pd.DataFrame, column: str, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows with the largest value first; rows that tie are in the order of their names.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"model": ["b", "a", "c"], "win_rate": [0.1 + 0.2, 0.3, 0.9]})
    >>> best_first(frame, "win_rate", ["model"])["model"].tolist()
    ['c', 'a', 'b']
    """
    order = frame[list(names)].assign(_tied=-tied(frame[column]))
    order = order.sort_values(["_tied", *names], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def joined(note: Note | Sequence[Note]) -> tuple[str, str]:
    """Return the codes and the sentences of one row."""
    parts = [note] if isinstance(note, str | Reason) else list(note)
    codes = [part.code for part in parts if isinstance(part, Reason)]
    texts = [part.text if isinstance(part, Reason) else part for part in parts]
    return " ".join(dict.fromkeys(codes)), "; ".join(dict.fromkeys(filter(None, texts)))


def has_reason(frame: pd.DataFrame, code: str) -> pd.Series:
    """Tell for every row of a result whether it gives this reason.

    Examples
    --------
    >>> import pandas as pd
    >>> has_reason(pd.DataFrame({"reason": ["few_units separated", ""]}), "separated").tolist()
    [True, False]
    """
    return frame["reason"].str.split().map(lambda codes: code in codes).astype(bool)


def warn_undefined(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Warn once, in the user's line, of the rows whose interval is undefined."""
    lost = frame[frame["ci_low"].isna()]
    if len(lost):
        rows = lost[list(names)].head(3).to_numpy()
        shown = ", ".join("/".join(map(str, row)) for row in rows)
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        warn(f"{shown}{more}: {lost['note'].iloc[0]}", UndefinedWarning)


def seed_of(rng: Any) -> int | str:
    """Return the seed as a result states it: the number, or that a generator of unknown state was given."""
    return int(rng) if isinstance(rng, (int, np.integer)) else "generator"


def unit_of(identified: bool) -> str:
    """Return what is resampled, as a result states it: instructions, where judgements name theirs."""
    return "instruction" if identified else "judgement (no instruction ids)"
