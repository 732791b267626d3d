"""Printed numbers beside recomputed ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from alpaca_analysis.figures import style
from alpaca_analysis.figures.leaderboards import finish_rows
from alpaca_analysis.figures.style import COLUMN, ROW

# How each verdict is drawn, by its first word: colour, marker, filled.
VERDICTS = {
    "reproduced": ("#009E73", "o", True),
    "differs": ("#D55E00", "D", True),
    "impossible": ("#CC79A7", "X", True),
    "cannot": ("0.45", "s", False),
}


@style.styled
def claims(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw printed win rates beside recomputed ones, coloured and marked by verdict.

    Parameters
    ----------
    frame : DataFrame
        What `check_claims` returns: ``model``, ``reference``, ``printed`` (text, percent),
        ``recomputed``, ``ci_low``, ``ci_high`` (fractions; NaN where open data cannot tell),
        ``verdict``, and ``source`` where claims come from several places.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        One row a claim, under a heading for each source and reference. The marker stands at what was printed;
        the black stroke and the line are the recomputed win rate and its interval.

    Examples
    --------
    >>> from alpaca_analysis import check_claims, figures, from_counts, load
    >>> board = load("alpaca_eval_v1_leaderboard_2023_09_19")
    >>> table = from_counts(board, reference="text_davinci_003", annotator="alpaca_eval_gpt4")
    >>> ax = figures.claims(check_claims(load("xwin_claims"), table, method="t"))
    """
    columns = ["model", "reference", "printed", "recomputed", "ci_low", "ci_high", "verdict"]
    style.need(frame, columns, figure="claims", of="check_claims")
    frame = frame.reset_index(drop=True)
    y, headings = _rows(frame)
    ax = style.axes(ax, width=width, height=0.47 + ROW * (len(frame) + len(headings)))
    finish_rows(ax, frame["model"], y)
    for position, heading in headings.items():
        across = blended_transform_factory(ax.figure.transFigure, ax.transData)
        ax.text(
            0.01,
            position,
            heading,
            transform=across,
            fontsize=7,
            fontweight="bold",
            va="center_baseline",
            in_layout=False,
        )
    printed = pd.to_numeric(frame["printed"].astype(str).str.rstrip("% "), errors="coerce") / 100
    low, high = frame["ci_low"].to_numpy(dtype=float), frame["ci_high"].to_numpy(dtype=float)
    ax.hlines(y, low, high, color="0.25", linewidth=1.1, zorder=2)
    ax.plot(
        frame["recomputed"],
        y,
        linestyle="none",
        marker="|",
        markersize=7,
        markeredgewidth=1.0,
        color="black",
        label="recomputed, with interval",
        zorder=4,
    )
    for verdict in pd.unique(frame["verdict"]):
        which = (frame["verdict"] == verdict).to_numpy()
        colour, marker, filled = VERDICTS.get(str(verdict).split()[0], ("#56B4E9", "P", True))
        ax.plot(
            printed[which],
            y[which],
            linestyle="none",
            marker=marker,
            color=colour,
            markersize=4,
            markerfacecolor=colour if filled else "white",
            zorder=3,
            label=f"printed: {style.on_one_line(verdict)}",
        )
    style.percent_axis(ax)
    ax.set_xlabel("Win rate (%)")
    style.legend_above(ax)
    return ax


def _rows(frame):
    """Return where each claim stands, and the headings by where they stand."""
    columns = [c for c in ("source", "reference") if c in frame]
    headings: dict[int, str] = {}
    y = np.zeros(len(frame), dtype=int)
    row = 0
    for group, members in frame.groupby(columns, sort=False, dropna=False, observed=True).indices.items():
        group = group if isinstance(group, tuple) else (group,)  # pandas gives a single column's key bare
        *source, reference = (
            style.on_one_line(g).replace("_", " ") if i == 0 and len(columns) == 2 else style.printable(g)
            for i, g in enumerate(group)
        )
        headings[row] = ", ".join([*source, f"against {reference}"])
        y[members] = row + 1 + np.arange(len(members))
        row += 1 + len(members)
    return y, headings
