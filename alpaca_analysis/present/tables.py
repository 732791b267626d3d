"""Results as people read them, in percent and with digits that follow from the error; and as files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.files import write_text
from alpaca_analysis.present import marks
from alpaca_analysis.present.rendering import ABSENT, Table, decimals, format_number, printable
from alpaca_analysis.table.checks import columns_once, to_numeric

LABELS = {
    "ci": "interval",
    "lc_win_rate": "length-controlled win rate",
    "near_equal": "about equally long",
    "n_draws": "draws",
    "n_judged": "judged",
    "n_losses": "losses",
    "n_missing": "missing",
    "n_not_text": "outputs that are no text",
    "n_total": "judged",
    "n_wins": "wins",
    "other_reference": "reference outputs of another length than usual",
    "phi": "length (phi)",
    "psi": "difficulty (psi)",
    "pvalue": "p",
    "same_length": "outputs of the usual length",
    "same_length_reference": "same, of the reference",
    "standard_error": "standard error",
    "theta": "strength (theta)",
}
RISKY = tuple("=+-@＝＋－＠")  # what a spreadsheet takes for the beginning of a formula


def show(
    frame,
    *,
    estimate: str | None = None,
    fractions: Sequence[str] | None = None,
    differences: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    digits: int | Mapping[str, int] | None = None,
    stars: bool | Sequence[float] = False,
    best: options.Emphasis | None = None,
    baseline: str | None = None,
    note: bool = True,
) -> Table:
    """Return a result as a person reads it.

    A result says of itself which column its standard error and interval belong to, and which columns are
    fractions (``.attrs``, kept by selections of rows and columns). Fractions become percent and their
    differences points; the estimate stands with its standard error, both to two significant digits of the
    error, and the interval to as many decimals. Where there is no standard error, a quarter of the
    interval's width stands in for it when digits are chosen. A number recomputed from a printed one has the
    decimals of the printed one, so that a difference can be seen. Notes get a column where rows differ in
    them, and stand under the table where not. A frame that says nothing is shown as it is, and so are
    columns of text.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result.
    estimate : str, optional
        Column that ``standard_error``, ``ci_low`` and ``ci_high`` belong to, where the frame does not say.
    fractions, differences : sequence of str, optional
        Columns that are fractions, and differences of fractions, where the frame does not say.
    columns : sequence of str, optional
        Columns to show, in this order; the rest still serves for digits and marks. Where ``note`` is not
        among them, notes of single rows become footnotes.
    digits : int or mapping of str to int, optional
        Decimals of the estimate, its error and interval, and of other columns of floats, as shown (in
        percent, in points); p-values have three. With a mapping, of the columns it names.
    stars : bool or sequence of float
        Stars behind the estimate, one for each of these bounds that the p-value of the row is below; True
        for 0.05, 0.01 and 0.001. The bounds, and which p-value it is, stand under the table.
    best : {"bold"}, optional
        Mark the highest value of each column of which the result says that higher is better.
    baseline : str, optional
        Name of one row: it is marked, and a column has the other rows' differences to it. They are
        differences of the estimates; `compare` has their intervals.
    note : bool
        Whether what is said of the method, and of marks, stands under the table.

    Returns
    -------
    Table
        Plain text when printed, HTML in Jupyter; ``to_latex()``, ``to_markdown()``, and ``cells``,
        the text as a DataFrame.

    Raises
    ------
    ValueError
        Stars of a result that names no p-value, a best one of a result that says of no column that higher is
        better, or a baseline that is not the name of one row.

    See Also
    --------
    to_latex, to_markdown, to_html : The same as files take it, with equal decimals in a column.

    Examples
    --------
    >>> from alpaca_analysis import from_counts, win_rate
    >>> table = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    >>> print(show(win_rate(table, method="t")))
    model  win rate (%)  95 % interval (%)  wins  draws  losses  judged  missing
    gpt4   95.28 ± 0.72     93.66 to 96.50   761     12      32     805        0
    Method: mean outcome; interval: t; unit: judgement (no instruction ids)
    """
    layout = _Layout(columns, digits, stars, best, baseline, note)
    frame = _frame(frame)
    return _table(frame, _Said.of(frame, estimate, fractions, differences), layout)


@dataclass(frozen=True)
class _Layout:
    """How a result is to be shown."""

    columns: Sequence[str] | None = None
    digits: int | Mapping[str, int] | None = None
    stars: bool | Sequence[float] = False
    best: options.Emphasis | None = None
    baseline: str | None = None
    note: bool = True
    equal: bool = False

    def __post_init__(self):
        listed = not isinstance(self.columns, Mapping) and options.texts("columns", self.columns or ())
        if self.columns is not None and not listed:
            raise ValueError(f"columns: found {self.columns!r}, expected names of columns")
        given = self.digits.values() if isinstance(self.digits, Mapping) else (self.digits,)
        for digits in given:
            if digits is not None:
                options.whole("digits", digits, 0)
        if not isinstance(self.stars, bool):
            for bound in marks.bounds(self.stars):
                options.level("stars", bound)
        if self.best is not None:
            options.one_of("best", self.best, options.Emphasis)
        if self.baseline is not None and not isinstance(self.baseline, str):
            raise ValueError(f"baseline: found {self.baseline!r}, expected the name of one row")

    def decimals(self, name):
        return self.digits.get(name) if isinstance(self.digits, Mapping) else self.digits


def _table(frame, said, layout):
    columns_once(frame, source="show")
    places = _places(frame, said, layout)
    shared = _shared_note(frame)
    wanted = list(frame.columns) if layout.columns is None else list(layout.columns)
    if absent := [c for c in wanted if c not in frame]:
        raise ValueError(
            f"columns: found {absent[0]!r}, expected some of {', '.join(map(str, frame.columns))}"
        )
    marked = marks.of(frame, said, layout, wanted)
    cells: dict[str, list[str]] = {}
    shown: list[tuple[str, bool]] = []
    for name in wanted:
        if name == "reason" or (name == "note" and (shared is not None or not len(frame))):
            continue
        if said.estimate is not None and name in ("ci_high", "standard_error"):
            continue
        if said.estimate is not None and name == "ci_low" and frame[name].isna().all():
            continue
        header, values, right = _column(frame, name, said, places, layout)
        cells[header if header not in cells else str(name)] = values
        shown.append((name, right))
    if layout.baseline is not None:
        header, values = marks.differences(frame, said, layout.baseline, places)
        cells[header] = values
        shown.append((header, True))
    under = [*filter(None, [_caption(frame.attrs, shared), *marked.under])] if layout.note else []
    return Table(
        pd.DataFrame(cells, index=range(len(frame)), dtype=object),
        tuple(right for _, right in shown),
        ". ".join(under),
        **marked.placed([name for name, _ in shown]),
    )


@dataclass(frozen=True)
class _Said:
    """What a result says of its columns."""

    estimate: str | None
    fractions: frozenset[str]
    differences: frozenset[str]

    @classmethod
    def of(cls, frame, estimate, fractions, differences):
        estimate = frame.attrs.get("estimate") if estimate is None else estimate
        given = [
            frame.attrs.get(key, ()) if value is None else value
            for key, value in (("fractions", fractions), ("differences", differences))
        ]
        owned = [c for c in (estimate, "standard_error", "ci_low", "ci_high") if c in frame]
        numeric = all(pd.api.types.is_numeric_dtype(frame[c]) for c in owned)
        return cls(estimate if estimate in frame and numeric else None, *map(frozenset, given))

    def factor(self, name):
        return 100.0 if name in self.fractions | self.differences else 1.0

    def unit(self, name):
        return " (points)" if name in self.differences else " (%)" if name in self.fractions else ""


def to_latex(
    frame,
    *,
    columns: Sequence[str] | None = None,
    digits: int | Mapping[str, int] | None = None,
    stars: bool | Sequence[float] = False,
    best: options.Emphasis | None = None,
    baseline: str | None = None,
    note: bool = True,
    siunitx: bool = False,
    place: options.Place = "column",
    caption: str | None = None,
    label: str | None = None,
) -> str:
    r"""Return a result as a LaTeX table, as `show` reads it, with equal decimals in a column.

    It needs ``\usepackage{booktabs}``; where cells hold sentences ``tabularx``, with `siunitx` that package,
    with ``place="long"`` ``longtable``.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result.
    columns : sequence of str, optional
        Columns to show, in this order; the rest still serves for digits and marks, and notes of single rows
        become footnotes.
    digits : int or mapping of str to int, optional
        Decimals of the estimate, its error and interval, and of other columns of floats; by default two
        significant digits of the typical error, and as many for every row.
    stars : bool or sequence of float
        Stars by the p-value of the row, as in `show`.
    best : {"bold"}, optional
        Mark the best of each column, as in `show`.
    baseline : str, optional
        Mark one row and show the others' differences to it, as in `show`.
    note : bool
        Whether what is said of the method, and of marks, stands under the table.
    siunitx : bool
        Set numbers in columns of type S, aligned at the decimal point.
    place : {"column", "page", "long"}
        Where the table stands: in one column, across both columns of a page (``table*``), or over as many
        pages as it needs (``longtable``, which LaTeX allows outside of two-column pages only: an appendix
        after ``\onecolumn``). A table in one column is a float if it has a caption or a label.
    caption, label : str, optional
        Plain text, escaped; letters, digits and ``:._-``.

    Returns
    -------
    str
        LaTeX; names are escaped. Letters beyond Latin need LuaLaTeX or XeLaTeX and a font that has them.

    Raises
    ------
    ValueError
        As `show`.

    Examples
    --------
    >>> import pandas as pd
    >>> print(to_latex(pd.DataFrame({"model": ["gpt4_0613"], "n_total": [805]})))
    \begin{tabular}{lr}
    \toprule
    model & judged \\
    \midrule
    gpt4\_0613 & 805 \\
    \bottomrule
    \end{tabular}
    """
    options.one_of("place", place, options.Place)
    layout = _Layout(columns, digits, stars, best, baseline, note, equal=True)
    return _paper(frame, layout).to_latex(caption=caption, label=label, siunitx=siunitx, place=place)


def to_markdown(
    frame,
    *,
    columns: Sequence[str] | None = None,
    digits: int | Mapping[str, int] | None = None,
    stars: bool | Sequence[float] = False,
    best: options.Emphasis | None = None,
    baseline: str | None = None,
    note: bool = True,
) -> str:
    r"""Return a result as a Markdown table, as `show` reads it, with equal decimals in a column.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result.
    columns : sequence of str, optional
        Columns to show, in this order; the rest still serves for digits and marks, and notes of single rows
        become footnotes.
    digits : int or mapping of str to int, optional
        Decimals of the estimate, its error and interval, and of other columns of floats; by default two
        significant digits of the typical error, and as many for every row.
    stars : bool or sequence of float
        Stars by the p-value of the row, as in `show`.
    best : {"bold"}, optional
        Mark the best of each column, as in `show`.
    baseline : str, optional
        Mark one row and show the others' differences to it, as in `show`.
    note : bool
        Whether what is said of the method, and of marks, stands under the table.

    Returns
    -------
    str
        Markdown; names are escaped.

    Raises
    ------
    ValueError
        As `show`.

    Examples
    --------
    >>> import pandas as pd
    >>> print(to_markdown(pd.DataFrame({"model": ["gpt4_0613"], "n_total": [805]})))
    | model | judged |
    | :--- | ---: |
    | gpt4\_0613 | 805 |
    """
    return _paper(frame, _Layout(columns, digits, stars, best, baseline, note, equal=True)).to_markdown()


def to_html(
    frame,
    *,
    columns: Sequence[str] | None = None,
    digits: int | Mapping[str, int] | None = None,
    stars: bool | Sequence[float] = False,
    best: options.Emphasis | None = None,
    baseline: str | None = None,
    note: bool = True,
) -> str:
    """Return a result as an HTML table, as `show` reads it, with equal decimals in a column.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result.
    columns : sequence of str, optional
        Columns to show, in this order; the rest still serves for digits and marks, and notes of single rows
        become footnotes.
    digits : int or mapping of str to int, optional
        Decimals of the estimate, its error and interval, and of other columns of floats; by default two
        significant digits of the typical error, and as many for every row.
    stars : bool or sequence of float
        Stars by the p-value of the row, as in `show`.
    best : {"bold"}, optional
        Mark the best of each column, as in `show`.
    baseline : str, optional
        Mark one row and show the others' differences to it, as in `show`.
    note : bool
        Whether what is said of the method, and of marks, stands under the table.

    Returns
    -------
    str
        HTML; no name in it can run, and the same result gives the same bytes.

    Raises
    ------
    ValueError
        As `show`.

    Examples
    --------
    >>> import pandas as pd
    >>> to_html(pd.DataFrame({"model": ["<b>"]})).splitlines()[5]
    '<tr><td style="text-align: left">&lt;b&gt;</td></tr>'
    """
    return _paper(frame, _Layout(columns, digits, stars, best, baseline, note, equal=True)).to_html()


def _paper(frame, layout):
    frame = _frame(frame)
    return _table(frame, _Said.of(frame, None, None, None), layout)


def to_csv(frame, path=None) -> str | None:
    """Return or write a result as CSV whose names no spreadsheet takes for a formula.

    Numbers keep all their digits and their units. A text that begins with ``=``, ``+``, ``-`` or
    ``@`` gets an apostrophe in front, which spreadsheets take as "this is text"; control characters
    are shown as escapes, since CSV is also printed in terminals.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result; its index is left out if it is a plain count of rows.
    path : path, optional
        Where to write; without it the text is returned.

    Returns
    -------
    str or None
        The CSV, unless it was written.

    Examples
    --------
    >>> import pandas as pd
    >>> print(to_csv(pd.DataFrame({"model": ["=1+1"], "win_rate": [-0.5]})))
    model,win_rate
    '=1+1,-0.5
    """
    frame = _frame(frame)
    safe = frame.copy()
    for i, dtype in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            safe.isetitem(i, frame.iloc[:, i].astype(object).map(_csv_cell))
    safe.columns = pd.Index([_csv_cell(c) for c in frame.columns], name=frame.columns.name)
    plain = isinstance(frame.index, pd.RangeIndex)
    if not plain:
        safe.index = frame.index.map(_csv_cell)
    text = safe.to_csv(index=not plain, lineterminator="\n")
    if path is None:
        return text
    write_text(path, text)
    return None


def save(frame, path) -> list[Path]:
    """Write a result as CSV (all digits), LaTeX and Markdown (as `show` reads it).

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        A result.
    path : path
        Without a suffix.

    Returns
    -------
    list of Path
        The files written; each is whole or absent.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> files = save(pd.DataFrame({"model": ["gpt4"], "win_rate": [0.95]}), tempfile.mkdtemp() + "/rates")
    >>> [file.name for file in files]
    ['rates.csv', 'rates.tex', 'rates.md']
    """
    texts = {"csv": to_csv(frame) or "", "tex": to_latex(frame), "md": to_markdown(frame)}
    return [write_text(f"{path}.{suffix}", text) for suffix, text in texts.items()]


def to_leaderboard(
    frame,
    path=None,
    *,
    length_control=None,
    avg_length: Mapping[str, float] | None = None,
    mode: Literal["minimal", "verified", "community"] = "community",
) -> pd.DataFrame:
    """Return, and write, win rates as an AlpacaEval leaderboard: its columns, in percent.

    Parameters
    ----------
    frame : DataFrame
        Result of `win_rate` by model: fractions.
    path : path, optional
        Where to write the CSV; ``alpaca_eval`` takes it as ``precomputed_leaderboard``.
    length_control : DataFrame or object with ``to_frame()``, optional
        ``model``, ``lc_win_rate`` and ``standard_error`` in fractions; they become
        ``length_controlled_winrate`` and ``lc_standard_error``.
    avg_length : mapping of str to float, optional
        Mean output length in characters by model; by default what `win_rate` found in the table.
    mode : {"minimal", "verified", "community"}
        AlpacaEval's label for who vouches for the rows.

    Returns
    -------
    DataFrame
        Models as index; ``win_rate``, ``standard_error``, ``n_wins``, ``n_wins_base``, ``n_draws``,
        ``n_total``, ``discrete_win_rate``, ``mode``, ``avg_length`` and, with length control,
        ``length_controlled_winrate`` and ``lc_standard_error``. In the file, a name that a
        spreadsheet would run as a formula begins with an apostrophe.

    Examples
    --------
    >>> from alpaca_analysis import from_counts, win_rate
    >>> table = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    >>> board = to_leaderboard(win_rate(table, method="t"))
    >>> board[["win_rate", "n_wins", "n_wins_base"]].round(3)
          win_rate  n_wins  n_wins_base
    gpt4     95.28     761           32
    """
    options.one_of("mode", mode, ("minimal", "verified", "community"))
    frame = _frame(frame)
    if _is_percent(frame):
        raise ValueError("win_rate: found percent, expected fractions as `win_rate` returns them")
    if frame["model"].duplicated().any():
        twice = frame["model"][frame["model"].duplicated()].iloc[0]
        raise ValueError(f"model: found {twice!r} twice, expected one row per model")
    model = frame["model"].astype(str)
    lengths = frame.attrs.get("avg_length", {}) if avg_length is None else avg_length
    board = pd.DataFrame(
        {
            "win_rate": 100 * frame["win_rate"],
            "standard_error": 100 * frame["standard_error"],
            "n_wins": frame["n_wins"],
            "n_wins_base": frame["n_losses"],
            "n_draws": frame["n_draws"],
            "n_total": frame["n_total"],
            "discrete_win_rate": 100 * (frame["n_wins"] + frame["n_draws"] / 2) / frame["n_total"],
            "mode": mode,
            "avg_length": model.map(dict(lengths)).astype(float),
        }
    ).set_axis(pd.Index(model.to_numpy(dtype=object)), axis="index")
    if length_control is not None:
        control = _frame(length_control).set_index("model")
        control.index = control.index.astype(str)
        board["length_controlled_winrate"] = 100 * control["lc_win_rate"].reindex(board.index)
        board["lc_standard_error"] = 100 * control["standard_error"].reindex(board.index)
    if path is not None:
        to_csv(board, path)
    return board


def _frame(result) -> pd.DataFrame:
    if isinstance(result, pd.DataFrame):
        return result
    if hasattr(result, "to_frame"):
        return result.to_frame()
    raise TypeError(f"found {type(result).__name__}, expected a DataFrame or an object with to_frame()")


def _is_percent(frame):
    """Tell whether the frame is a published one in percent: some win rate exceeds 1."""
    rates = [c for c in frame if str(c).endswith("win_rate")]
    return any(to_numeric(frame[c]).max() > 1 for c in rates)


def _places(frame, said, layout):
    """Return the decimals of each row's estimate."""
    if said.estimate is not None and (digits := layout.decimals(said.estimate)) is not None:
        return [digits] * len(frame)
    printed = frame.attrs.get("decimals_of", {}).get(said.estimate)
    if printed in frame and said.estimate is not None:
        return [len(str(text).strip(" %").partition(".")[2]) for text in frame[printed]]
    error = np.full(len(frame), np.nan)
    if said.estimate is not None:
        factor = said.factor(said.estimate)
        if "standard_error" in frame:
            error = frame["standard_error"].to_numpy(dtype=float) * factor
        if {"ci_low", "ci_high"} <= set(frame.columns):
            quarter = (frame["ci_high"] - frame["ci_low"]).to_numpy(dtype=float) * factor / 4
            error = np.where(np.isfinite(error) & (error > 0), error, quarter)
    usual = decimals(np.nanmedian(error)) if np.isfinite(error).any() else 2
    return [usual if layout.equal else decimals(e, default=usual) for e in error]


def _column(frame, name, said, places, layout):
    """Return header, cells and whether the column holds numbers."""
    values = frame[name]
    if name == said.estimate:
        return _estimate(frame, name, places, said)
    if name == "ci_low" and said.estimate is not None and "ci_high" in frame:
        return _interval(frame, places, said)
    if pd.api.types.is_bool_dtype(values):
        return _label(name), ["yes" if v else "no" for v in values], False
    if pd.api.types.is_integer_dtype(values):
        return _label(name), [ABSENT if pd.isna(v) else format_number(v, 0) for v in values], True
    if pd.api.types.is_float_dtype(values):
        return (
            f"{_label(name)}{said.unit(name)}",
            _floats(values * said.factor(name), name, said, layout),
            True,
        )
    right = name == "printed" or all(_missing(v) or isinstance(v, int | np.integer) for v in values)
    return _label(name), [_text(v) for v in values], right


def _floats(values, name, said, layout):
    """Return the cells of a column of floats that is not the estimate."""
    digits = layout.decimals(name)
    if str(name).startswith("pvalue") and not isinstance(layout.digits, Mapping):
        digits = None
    if digits is None and said.unit(name):
        digits = 2
    if digits is None and layout.equal and not str(name).startswith("pvalue"):
        largest = np.abs(values[np.isfinite(values)]).max()
        digits = 0 if not largest > 0 else min(4, max(0, 3 - math.floor(math.log10(largest))))
    if digits is not None:
        return [format_number(v, digits) for v in values]
    return [_general(v, str(name).startswith("pvalue"), layout.equal) for v in values]


def _text(value):
    if isinstance(value, list | tuple):
        few = ", ".join(map(_text, value[:4]))
        return few + (f", … ({len(value)})" if len(value) > 4 else "")
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return format_number(value, 0)
    if isinstance(value, float) and not _missing(value):
        return f"{value:.6g}".replace("-", "−")
    return "" if _missing(value) else printable(value)


def _estimate(frame, name, places, said):
    errors = frame["standard_error"] if "standard_error" in frame else pd.Series(np.nan, index=frame.index)
    factor = said.factor(name)
    cells = [
        format_number(v * factor, p) + ("" if pd.isna(e) else f" ± {format_number(e * factor, p)}")
        for v, e, p in zip(to_numeric(frame[name]), errors, places, strict=True)
    ]
    return f"{_label(name)}{said.unit(name)}", cells, True


def _interval(frame, places, said):
    level, factor = frame.attrs.get("confidence_level"), said.factor(said.estimate)
    header = f"{100 * level:g} % interval" if isinstance(level, int | float) else "interval"
    cells = [
        ABSENT
        if pd.isna(low) or pd.isna(high)
        else f"{format_number(low * factor, p)} to {format_number(high * factor, p)}"
        for low, high, p in zip(frame["ci_low"], frame["ci_high"], places, strict=True)
    ]
    return header + said.unit(said.estimate), cells, True


def _label(name):
    return LABELS.get(name, printable(name).replace("_", " "))


def _general(value, is_probability, equal=False):
    if pd.isna(value):
        return ABSENT
    if is_probability and value < 0.001:
        return "< 0.001"
    if is_probability and equal:
        return format_number(value, 3)
    if abs(value) >= 1000:
        return format_number(value, 0)
    return f"{value:.{2 if is_probability else 4}g}".replace("-", "−")


def _missing(value):
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _shared_note(frame):
    """Return the note that all rows have ("" for none), or None where they differ."""
    if "note" not in frame or not len(frame):
        return ""
    notes = frame["note"].fillna("").astype(str).str.strip().unique()
    return notes[0] if len(notes) == 1 else None


def _caption(attrs, note):
    shown = {"method": "Method", "interval": "interval", "unit": "unit", "stratify": "stratified by"}
    parts = [
        f"{label}: {printable(attrs[key])}" for key, label in shown.items() if attrs.get(key) is not None
    ]
    if isinstance(attrs.get("n_resamples"), int):
        parts.append(f"{attrs['n_resamples']:,} resamples")
    if attrs.get("rng") is not None:
        parts.append(f"seed: {printable(attrs['rng'])}")
    if note:
        parts.append(printable(note))
    if attrs.get("slices"):
        parts.append(printable(attrs["slices"]["note"]))
    return "; ".join(parts)


def _csv_cell(value):
    if not isinstance(value, str):
        return value
    text = printable(value)
    risky = text.lstrip()[:1] in RISKY and not re.fullmatch(r"[+-]\d+(\.\d+)?", text, re.ASCII)
    return "'" + text if risky else text
