"""Win rates of many models: one row each, with what is known of its error."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alpaca_analysis.figures import style
from alpaca_analysis.figures.style import COLOURS, COLUMN, MARKERS, ROW, SERIES, on_one_line
from alpaca_analysis.present.rendering import decimals, format_number

OPEN = "no interval (see note)"  # what an open marker means


@style.styled
def forest(
    board: pd.DataFrame,
    *,
    published: pd.Series | None = None,
    highlight: Collection[str] = (),
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw win rates with their intervals, one row per model, in the order of the frame.

    Parameters
    ----------
    board : DataFrame
        What `win_rate` returns: group columns, then ``win_rate``, ``ci_low``, ``ci_high`` as fractions.
        A row without an interval gets an open marker.
    published : Series, optional
        Win rates printed elsewhere, as fractions, by model; a black stroke marks them.
    highlight : collection of str
        Models to draw in another colour, marker and weight.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches. From 5 inches on, numbers stand beside the rows.

    Returns
    -------
    Axes
    """
    names = row_names(board)
    ax, y = row_axes(ax, names, width=width)
    rate = board["win_rate"].to_numpy(dtype=float)
    low, high = (board[c].to_numpy(dtype=float) for c in ("ci_low", "ci_high"))
    chosen = board["model"].isin(list(highlight)).to_numpy() if "model" in board else np.zeros(len(y), bool)
    for which, colour, marker in ((~chosen, "estimate", "o"), (chosen, "highlight", "D")):
        if which.any():
            look = {"colour": COLOURS[colour], "marker": marker}
            intervals(ax, rate[which], low[which], high[which], y[which], label="recomputed", **look)
    mark_open(ax, low, high)
    if published is not None:
        printed = published.reindex(board["model"].astype(str)).to_numpy(dtype=float)
        refuse_percent(printed, "published")
        ax.plot(
            printed,
            y,
            linestyle="none",
            marker="|",
            markersize=6.5,
            markeredgewidth=0.9,
            color=COLOURS["published"],
            label="published",
            zorder=4,
        )
    _forest_legend(ax, published is not None)
    for label, bold in zip(ax.get_yticklabels(), chosen, strict=True):
        label.set_fontweight("bold" if bold else "normal")
    if style.size(ax)[0] >= 5:
        beside(ax, y, interval_texts(rate, low, high))
    style.percent_axis(ax)
    ax.set_xlabel("Win rate (%)")
    rule(ax, 0.5, rate)
    return ax


def _forest_legend(ax, compared):
    """Explain open markers and, where a forest has them, published rates."""
    handles, labels = ax.get_legend_handles_labels()
    named = dict(zip(labels[::-1], handles[::-1], strict=True))  # one entry though two looks
    shown = [label for label in list(named)[::-1] if compared or label == OPEN]
    if shown:
        style.legend_above(ax, handles=[named[label] for label in shown], labels=shown)


@style.styled
def bounds(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw what missing judgements could make of each win rate.

    Parameters
    ----------
    frame : DataFrame
        What `win_rate_bounds` returns: group columns, then ``win_rate``, ``low``, ``high`` as fractions
        and ``n_missing``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        A bar from the lowest to the highest possible win rate, and a point at that of what was judged.
    """
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
    beside(ax, y, [f"{n:,} missing" if n else "" for n in frame["n_missing"]])
    style.percent_axis(ax)
    ax.set_xlabel("Win rate (%)")
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
    """
    ax = grouped_rows(frame, "dataset", "model", "win_rate", ax=ax, width=width, sort=True)
    ax.set_xlabel("Win rate (%)")
    rule(ax, 0.5, frame["win_rate"])
    return ax


def row_names(frame: pd.DataFrame) -> list[str]:
    """Return what a row is called: its group columns, all that stand before the win rate."""
    groups = list(frame.columns[: list(frame.columns).index("win_rate")])
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


def row_axes(ax, names, *, width, lines=1) -> tuple[Axes, np.ndarray]:
    """Return Axes with one named row each, the first on top, and the rows' positions."""
    ax = style.axes(ax, width=width, height=0.47 + ROW * lines * max(len(names), 2 / lines))
    return ax, finish_rows(ax, names)


def finish_rows(ax, names, y=None) -> np.ndarray:
    """Name the rows of `ax`, the first on top, and shade every other; `y` where they do not just follow."""
    y = np.arange(len(names)) if y is None else y
    ax.set_ylim(max(y, default=0) + 0.6, -0.6)
    style.bands(ax, y)
    style.name_ticks(ax, y, names, width=0.46 * style.size(ax)[0])
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


def refuse_percent(values, name) -> None:
    """Raise where a number that should be a fraction exceeds 1."""
    if np.nanmax(values, initial=0) > 1:
        raise ValueError(f"{name}: found {np.nanmax(values):g}, expected fractions; divide percent by 100")
