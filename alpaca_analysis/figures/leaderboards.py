"""Win rates of many models: one row each, with what is known of its error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alpaca_analysis.figures import style
from alpaca_analysis.figures.style import COLOURS, COLUMN, MARKERS, ROW, SERIES, on_one_line
from alpaca_analysis.present.rendering import decimals, format_number

OPEN = "no interval (see note)"  # what an open marker means
_ROWS: WeakKeyDictionary[Axes, list[str]] = WeakKeyDictionary()  # what the rows of an Axes are


AXES = {  # what stands at the axis of an estimate
    "win_rate": "Win rate (%)",
    "lc_win_rate": "Length-controlled win rate (%)",
    "agreement": "Agreement with people (%)",
    "probability": "Share of decisions (%)",
}


@style.styled
def forest(
    board,
    *,
    published: pd.Series | None = None,
    highlight: Collection[str] = (),
    numbers: bool | None = None,
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw estimates with their intervals, one row each, in the order of the frame.

    Parameters
    ----------
    board : DataFrame, object with ``to_frame()``, or dict of these
        What `win_rate` or `fit_length_control` returns, or any result whose ``.attrs["estimate"]`` names
        the column to draw: group columns first, then the estimate, ``ci_low``, ``ci_high``. A row without an
        interval gets an open marker. Of a dict, such as ``{"raw": raw, "length-controlled": fit}``, each
        result has its colour and marker, and rows are in the order of the first; at most seven.
    published : Series, optional
        Win rates printed elsewhere, as fractions, by model; a black stroke marks them.
    highlight : collection of str
        Models to draw in another colour, marker and weight; of several results, in bold.
    numbers : bool, optional
        Whether numbers stand beside the rows; by default where there are 5 inches, and one result.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes

    Raises
    ------
    AnnotationError
        What is given has no estimates with intervals.
    ValueError
        More than seven results, or published percents where fractions belong.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, win_rate
    >>> printed = load("alpaca_eval_v1_leaderboard").set_index("model")["win_rate"] / 100
    >>> rates = win_rate(load("alpaca_eval_v1_counts"), method="t")
    >>> ax = figures.forest(rates, published=printed, highlight=["gpt4", "claude-2"])

    Raw and at equal length, in one:

    >>> from alpaca_analysis import figures, fit_length_control, load, win_rate
    >>> cells = load("alpaca_eval_v1_cells").query("model in ['gpt4', 'claude-2', 'vicuna-13b', 'alpaca-7b']")
    >>> both = {"raw": win_rate(cells, method="t"), "at equal length": fit_length_control(cells)}
    >>> ax = figures.forest(both)

    AlpacaEval 2 at equal length, with errors that include the fit:

    >>> ax = figures.forest(load("length_control_v2"))
    """
    if isinstance(board, Mapping):
        return _several(board, published, highlight, numbers, ax, width)
    frame, value = estimates(board)
    names = row_names(frame, value)
    ax, y = row_axes(ax, names, width=width)
    rate, low, high = (frame[c].to_numpy(dtype=float) for c in (value, "ci_low", "ci_high"))
    chosen = _chosen(frame, highlight)
    for which, colour, marker in ((~chosen, "estimate", "o"), (chosen, "highlight", "D")):
        if which.any():
            look = {"colour": COLOURS[colour], "marker": marker}
            intervals(ax, rate[which], low[which], high[which], y[which], label="recomputed", **look)
    mark_open(ax, low, high)
    compared = _published(ax, y, frame, published)
    _forest_legend(ax, compared)
    _embolden(ax, y, chosen)
    if style.size(ax)[0] >= 5 if numbers is None else numbers:
        fraction = value in fractions_of(frame, value)
        texts = (
            interval_texts(rate, low, high) if fraction else interval_texts(rate / 100, low / 100, high / 100)
        )
        beside(ax, y, texts)
    _estimate_axis(ax, frame, value)
    return ax


def _several(boards, published, highlight, numbers, ax, width):
    """Draw several results of the same rows, in the order of the first."""
    if not 0 < len(boards) <= len(SERIES):
        raise ValueError(f"board: found {len(boards)} results, expected 1 to {len(SERIES)}")
    frames = {str(name): estimates(board) for name, board in boards.items()}
    named = {name: frame.assign(_row=row_names(frame, value)) for name, (frame, value) in frames.items()}
    rows = list(dict.fromkeys(row for frame in named.values() for row in frame["_row"]))
    ax, y = row_axes(ax, rows, width=width, lines=max(1.0, (1.0 if numbers else 0.6) * len(named)))
    offsets = (np.arange(len(named)) - (len(named) - 1) / 2) * 0.75 / len(named)
    every, texts = [], dict.fromkeys(rows, "")
    for k, (name, frame) in enumerate(named.items()):
        columns = [frames[name][1], "ci_low", "ci_high"]
        value, low, high = frame.set_index("_row")[columns].reindex(rows).to_numpy(dtype=float).T
        look = {"colour": SERIES[k], "marker": MARKERS[k], "label": on_one_line(name)}
        given = np.isfinite(value)
        intervals(ax, value[given], low[given], high[given], y[given] + offsets[k], **look)
        every.append(np.column_stack([value, low, high])[given])
        for row, text in zip(np.array(rows, dtype=object)[given], interval_texts(*every[-1].T), strict=True):
            texts[row] += ("\n" if texts[row] else "") + text
    drawn = np.concatenate(every)
    mark_open(ax, drawn[:, 1], drawn[:, 2])
    first, value = next(iter(frames.values()))
    _published(ax, y[: len(first)], first, published)
    style.legend_above(ax)
    _embolden(ax, y, np.isin(rows, [str(name) for name in highlight]))
    if numbers:
        beside(ax, y, [texts[row] for row in rows])
    _estimate_axis(ax, first, value, drawn[:, 0])
    ax.set_xlabel(
        "Win rate (%)" if {v for _, v in frames.values()} <= {"win_rate", "lc_win_rate"} else ax.get_xlabel()
    )
    return ax


def estimates(result) -> tuple[pd.DataFrame, str]:
    """Return the frame of a result and the column that its interval belongs to.

    Examples
    --------
    >>> frame = pd.DataFrame({"model": ["a"], "win_rate": [0.5], "ci_low": [0.4], "ci_high": [0.6]})
    >>> estimates(frame)[1]
    'win_rate'
    """
    frame = result.to_frame() if hasattr(result, "to_frame") and not isinstance(result, pd.Series) else result
    style.need(frame, ["ci_low", "ci_high"], figure="forest", of="win_rate")
    said = frame.attrs.get("estimate")
    known = [c for c in (said, "lc_win_rate", "win_rate", "rating", *AXES, "estimate") if c in frame.columns]
    style.need(frame, known[:1] or ["win_rate"], figure="forest", of="win_rate")
    style.need_own_interval(frame, known[0], figure="forest", of="win_rate")
    return frame, known[0]


def fractions_of(frame, value) -> list[str]:
    """Return the columns that hold fractions, as the result says, else those of known names."""
    said = frame.attrs.get("fractions")
    return list(AXES) if not said else [*said, *(AXES if value in ("win_rate", "lc_win_rate") else ())]


def _chosen(frame, highlight):
    return frame["model"].isin(list(highlight)).to_numpy() if "model" in frame else np.zeros(len(frame), bool)


def _embolden(ax, y, chosen):
    bold = set(np.asarray(y)[chosen].tolist())
    for at, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=False):  # none on an inner panel
        label.set_fontweight("bold" if at in bold else "normal")


def _published(ax, y, frame, published) -> bool:
    """Mark what was printed elsewhere; say whether any of it is among the rows."""
    if published is None:
        return False
    printed = published.reindex(frame["model"].astype(str)).to_numpy(dtype=float)
    style.refuse_percent(printed, "published")
    if not np.isfinite(printed).any():
        return False
    look = {"markersize": 6.5, "markeredgewidth": 0.9, "color": COLOURS["published"]}
    ax.plot(printed, y, linestyle="none", marker="|", label="published", zorder=4, **look)
    return True


def _estimate_axis(ax, frame, value, drawn=None):
    if value in fractions_of(frame, value):
        style.percent_axis(ax)
        style.name_below(ax, AXES.get(value, f"{value.replace('_', ' ').capitalize()} (%)"))
        rule(ax, 0.5, frame[value] if drawn is None else drawn)
    else:
        style.name_below(ax, value.replace("_", " ").capitalize())


def _forest_legend(ax, compared):
    """Explain open markers and, where a forest has them, published rates."""
    handles, labels = ax.get_legend_handles_labels()
    named = dict(zip(labels[::-1], handles[::-1], strict=True))  # one entry though two looks
    shown = [label for label in list(named)[::-1] if compared or label == OPEN]
    if shown:
        style.legend_above(ax, handles=[named[label] for label in shown], labels=shown)


@style.styled
def bounds(
    frame: pd.DataFrame, *, numbers: bool = True, ax: Axes | None = None, width: float = COLUMN
) -> Axes:
    """Draw what missing judgements could make of each win rate.

    Parameters
    ----------
    frame : DataFrame
        What `win_rate_bounds` returns: group columns, then ``win_rate``, ``low``, ``high`` as fractions
        and ``n_missing``.
    numbers : bool
        Whether the number of missing judgements stands beside the rows.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        A bar from the lowest to the highest possible win rate, and a point at that of what was judged.

    Examples
    --------
    >>> from alpaca_analysis import figures, from_counts, load, win_rate_bounds
    >>> board = load("alpaca_eval_v1_leaderboard_2023_09_19").head(12)
    >>> ax = figures.bounds(win_rate_bounds(from_counts(board.assign(n_asked=805))))
    """
    style.need(frame, ["win_rate", "low", "high", "n_missing"], figure="bounds", of="win_rate_bounds")
    ax, y = row_axes(ax, row_names(frame), width=width)
    low, high = frame["low"].to_numpy(dtype=float), frame["high"].to_numpy(dtype=float)
    ax.barh(
        y,
        high - low,
        left=low,
        height=0.55,
        facecolor="0.8",
        edgecolor="0.45",
        hatch="//////",
        label="possible over all asked",
        zorder=2,
    )
    ax.plot(
        frame["win_rate"],
        y,
        linestyle="none",
        marker="o",
        color=COLOURS["estimate"],
        label="among the judged",
        zorder=3,
    )
    ax.use_sticky_edges = False
    if numbers:
        beside(ax, y, [f"{n:,} missing" if n else "" for n in frame["n_missing"]])
    style.percent_axis(ax)
    style.name_below(ax, "Win rate (%)")
    style.legend_above(ax)
    return ax


@style.styled
def by_source(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw win rates by source of the instruction, up to seven models side by side.

    Parameters
    ----------
    frame : DataFrame
        What ``win_rate(table, by=["model", "dataset"])`` returns.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Sources as rows in the order of their names; each model has its colour and marker, which is
        open where there is no interval.

    Raises
    ------
    ValueError
        More than seven models.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, win_rate
    >>> some = load("alpaca_eval_v1_counts").query("model in ['claude-2', 'vicuna-13b', 'alpaca-7b']")
    >>> ax = figures.by_source(win_rate(some, by=["model", "dataset"], method="t"))
    """
    style.need(
        frame, ["model", "dataset", "win_rate", "ci_low", "ci_high"], figure="by_source", of="win_rate"
    )
    ax = grouped_rows(frame, "dataset", "model", "win_rate", ax=ax, width=width, sort=True)
    style.name_below(ax, "Win rate (%)")
    rule(ax, 0.5, frame["win_rate"])
    return ax


def row_names(frame: pd.DataFrame, value: str = "win_rate") -> list[str]:
    """Return what a row is called: its group columns, all that stand before the first number."""
    columns = list(frame.columns)
    groups = columns[: min(columns.index(c) for c in (value, "win_rate") if c in columns)]
    return [" · ".join(map(str, row)) for row in frame[groups].itertuples(index=False, name=None)]


def grouped_rows(frame, rows, series, value, *, ax, width, sort=False) -> Axes:
    """Draw estimates with intervals, one row of several series for each value of the column `rows`."""
    kinds = list(pd.unique(frame[series].astype(str)))
    if len(kinds) > len(SERIES):
        raise ValueError(f"{series}: found {len(kinds)} {series}s, expected at most {len(SERIES)}")
    names = list(pd.unique(frame[rows].astype(str)))
    names = sorted(names) if sort else names
    height = 0.5 + ROW * len(names) * (0.8 * len(kinds) + 0.4)
    ax = style.axes(ax, width=width, height=height)
    offsets = (np.arange(len(kinds)) - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
    keys = [frame[series].astype(str), frame[rows].astype(str)]
    cells = frame.groupby(keys)[[value, "ci_low", "ci_high"]].first()
    for k, kind in enumerate(kinds):
        estimate, low, high = cells.loc[kind].reindex(names).to_numpy(dtype=float).T
        look = {"colour": SERIES[k], "marker": MARKERS[k], "label": on_one_line(kind)}
        intervals(ax, estimate, low, high, np.arange(len(names)) + offsets[k], **look)
    mark_open(ax, cells["ci_low"], cells["ci_high"])
    finish_rows(ax, names)
    style.percent_axis(ax)
    style.legend_above(ax)
    return ax


def row_axes(ax, names, *, width, lines=1.0) -> tuple[Axes, np.ndarray]:
    """Return Axes with one named row each, the first on top, and the rows' positions.

    On Axes that share their rows with others drawn before, the rows stand where those have them.
    """
    ax = style.axes(ax, width=width, height=0.47 + ROW * lines * max(len(names), 2 / lines))
    held = _rows_of_others(ax)
    if held is None:
        return ax, finish_rows(ax, names)
    names = list(map(str, names))
    if strange := [name for name in names if name not in held]:
        raise ValueError(
            f"rows: found {strange[0]!r}, expected the rows of the panel beside: {', '.join(held)}"
        )
    finish_rows(ax, held)
    return ax, np.array([held.index(name) for name in names])


def _rows_of_others(ax) -> list[str] | None:
    others = [other for other in ax.get_shared_y_axes().get_siblings(ax) if other is not ax]
    return next((_ROWS[other] for other in others if other in _ROWS), None)


def finish_rows(ax, names, y=None) -> np.ndarray:
    """Name the rows of `ax`, the first on top, and shade every other; `y` where they do not just follow."""
    if y is None:
        _ROWS[ax] = [str(name) for name in names]
    y = np.arange(len(names)) if y is None else y
    ax.set_ylim(max(y, default=0) + 0.6, -0.6)
    style.bands(ax, y)
    style.name_ticks(ax, y, names, width=0.56 * style.size(ax)[0])
    ax.spines["left"].set_visible(False)
    return y


def intervals(ax, estimate, low, high, y, *, colour, marker="o", label=None) -> None:
    """Draw points with their intervals across rows; an open marker where there is no interval."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.hlines(y[known], low[known], high[known], color=colour, linewidth=1.1, zorder=2)
    for which, face in ((known, colour), (~known, "white")):
        if which.any():
            ax.plot(
                estimate[which],
                y[which],
                linestyle="none",
                marker=marker,
                color=colour,
                markerfacecolor=face,
                label=label,
                zorder=3,
            )
            label = None


def mark_open(ax, low, high) -> None:
    """Enter into the legend what an open marker means, where one is drawn."""
    if not np.isfinite(np.asarray(low, dtype=float) + np.asarray(high, dtype=float)).all():
        look = {"linestyle": "none", "marker": "o", "color": "0.3", "markerfacecolor": "white"}
        ax.plot([], [], label=OPEN, **look)


def beside(ax, y, texts) -> None:
    """Set texts at the right of the rows, outside the Axes."""
    for position, text in zip(y, texts, strict=True):
        ax.annotate(
            text,
            (1, position),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            va="center_baseline",
            textcoords="offset points",
            fontsize=7,
            parse_math=False,
            annotation_clip=False,
        )


def interval_texts(estimate, low, high, *, points=False) -> list[str]:
    """Return estimates and their intervals in percent, all with as many decimals as the surest one needs."""
    width = np.asarray(high, dtype=float) - np.asarray(low, dtype=float)
    width = width[np.isfinite(width) & (width > 0)]
    places = decimals(25 * width.min()) if len(width) else 2
    return [_interval_text(*row, places, points) for row in zip(estimate, low, high, strict=True)]


def _interval_text(estimate, low, high, places, points):
    text = ("+" if points and estimate > 0 else "") + format_number(100 * estimate, places)
    if not (np.isfinite(low) and np.isfinite(high)):
        return text
    return f"{text} [{format_number(100 * low, places)}, {format_number(100 * high, places)}]"


def rule(ax, value, data) -> None:
    """Draw the line of equal preference where it lies among the data."""
    low, high = ax.get_xlim()
    if low < value < high or (np.nanmin(data) < value < np.nanmax(data)):
        ax.axvline(value, color=COLOURS["rule"], linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
