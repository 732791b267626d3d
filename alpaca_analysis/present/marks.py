"""What stands beside the numbers of a table: stars, the best in bold, differences to a baseline, footnotes.

All of it is read from what a result says of itself (``.attrs``): which column holds the p-value, and of
which columns higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.ties import tied
from alpaca_analysis.present.rendering import ABSENT, format_number, printable

BOUNDS = (0.05, 0.01, 0.001)
BEST = "Bold: the highest of its column, whether or not the lead is more than chance"


def bounds(stars: bool | Sequence[float]) -> tuple[float, ...]:
    """Return the bounds of p-values at which one more star is given, largest first.

    Examples
    --------
    >>> bounds(True), bounds([0.01, 0.05])
    ((0.05, 0.01, 0.001), (0.05, 0.01))
    """
    if isinstance(stars, bool):
        return BOUNDS if stars else ()
    if isinstance(stars, str) or not isinstance(stars, Sequence) or not len(stars):
        raise ValueError(
            f"stars: found {stars!r}, expected True or bounds of the p-value, such as [0.05, 0.01]"
        )
    return tuple(sorted(stars, key=lambda bound: -bound if isinstance(bound, int | float) else 0))


@dataclass
class Marks:
    """Marks by row and name of the column, and what they mean.

    Attributes
    ----------
    behind : dict
        (row, column): what stands behind the number; the column None is the first one shown.
    bold : set
        (row, column) of the best.
    under : list of str
        What the marks mean.
    """

    behind: dict[tuple[int, str | None], str] = field(default_factory=dict)
    bold: set[tuple[int, str]] = field(default_factory=set)
    under: list[str] = field(default_factory=list)

    def placed(self, columns: list[str]) -> dict:
        """Return the marks by the place of their column among those shown."""
        place = {name: i for i, name in reversed(list(enumerate(columns)))}
        behind: dict[tuple[int, int], str] = {}
        for (row, name), text in self.behind.items():
            at = (row, 0 if name is None else place.get(name, -1))
            behind[at] = behind.get(at, "") + text
        bold = frozenset((row, place[name]) for row, name in self.bold if name in place)
        return {"marks": {at: text for at, text in behind.items() if at[1] >= 0}, "bold": bold}


def of(frame: pd.DataFrame, said, layout, columns: list[str]) -> Marks:
    """Return the marks of a result that is shown in these columns."""
    marks = Marks()
    if layout.stars is not False:
        _stars(marks, frame, said, bounds(layout.stars))
    if layout.best is not None:
        _best(marks, frame, columns)
    if layout.baseline is not None:
        marks.under.append(
            f"Differences to {printable(layout.baseline)} are those of the estimates, without intervals"
        )
    if layout.columns is not None and layout.note and "note" in frame and "note" not in columns:
        _footnotes(marks, frame["note"].fillna("").astype(str).str.strip())
    return marks


def _stars(marks, frame, said, limits):
    name = frame.attrs.get("pvalue")
    if name not in frame or said.estimate is None:
        raise ValueError(
            f"stars: found a result with the columns {', '.join(map(str, frame.columns))}, which names no "
            "p-value, expected one of a test, such as `compare` returns, with all its columns (columns=[...] "
            "chooses those to show)"
        )
    for row, p in enumerate(frame[name]):
        if reached := sum(p < bound for bound in limits):
            marks.behind[row, said.estimate] = "*" * reached
    stated = ", ".join(f"{'*' * k} p < {bound:g}" for k, bound in enumerate(limits, 1))
    adjusted = frame.attrs.get("adjust")
    which = f" (adjusted: {printable(adjusted)})" if adjusted and name != "pvalue" else ""
    marks.under.append(stated + which)


def _best(marks, frame, columns):
    better = [c for c in frame.attrs.get("higher_is_better", ()) if c in columns]
    if not better:
        raise ValueError(
            f"best: found a result with the columns {', '.join(map(str, columns))}, which says of none that "
            "higher is better, expected one such as `win_rate` returns"
        )
    for name in better:
        values = frame[name].to_numpy(dtype=float)
        known = np.isfinite(values)
        if known.any():
            level = np.full(len(values), -np.inf)
            level[known] = tied(pd.Series(values[known]))
            marks.bold |= {(int(row), name) for row in np.flatnonzero(level == level.max())}
    marks.under.append(BEST)


def _footnotes(marks, notes):
    if notes.nunique() < 2:
        return  # the same of all rows: it stands under the table anyway
    letters: dict[str, str] = {}
    for row, text in enumerate(notes):
        if text:
            letter = letters.setdefault(text, _letter(len(letters)))
            marks.behind[row, None] = f" [{letter}]"
    marks.under += [f"[{letter}] {printable(text)}" for text, letter in letters.items()]


def _letter(k):
    return ascii_lowercase[k] if k < 26 else _letter(k // 26 - 1) + ascii_lowercase[k % 26]


def differences(frame: pd.DataFrame, said, baseline: str, places: list[int]) -> tuple[str, list[str]]:
    """Return the header and cells of a column with the differences of the estimates to one row's."""
    if said.estimate is None:
        raise ValueError(
            "baseline: found a result without an estimate, expected one such as `win_rate` returns"
        )
    names = frame.drop(columns=["reason", "note"], errors="ignore").select_dtypes(exclude="number")
    own = names.astype(object).eq(baseline).any(axis=1).to_numpy()
    if own.sum() != 1:
        raise ValueError(f"baseline: found {baseline!r} in {own.sum()} rows, expected the name of one row")
    values = frame[said.estimate].to_numpy(dtype=float) * said.factor(said.estimate)
    moved = values - values[own][0]
    cells = [
        "baseline" if base else _signed(value, digits)
        for value, digits, base in zip(moved, places, own, strict=True)
    ]
    is_fraction = said.factor(said.estimate) != 1
    return f"difference to {printable(baseline)}{' (points)' if is_fraction else ''}", cells


def _signed(value, digits):
    text = format_number(value, digits)
    return text if text == ABSENT or text.startswith("−") or not text.strip("0.,") else f"+{text}"
