"""Ranks, tiers and all differences at once."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from alpaca_analysis.figures import style
from alpaca_analysis.figures.leaderboards import beside, finish_rows, row_axes
from alpaca_analysis.figures.style import COLOURS, COLUMN, ROW
from alpaca_analysis.present.rendering import format_number


@style.styled
def rank_sets(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw the ranks that each model may have, and the tiers.

    Parameters
    ----------
    frame : DataFrame
        What `rank_sets` returns: ``model``, ``rank``, ``rank_low``, ``rank_high`` and, where known,
        ``simultaneous_low``, ``simultaneous_high``, ``tier``.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        The point is the rank of the estimates, the thick line the marginal set, the thin one the
        simultaneous set. Lines across part the tiers.
    """
    ax, y = row_axes(ax, frame["model"].tolist(), width=width)
    if "simultaneous_low" in frame:
        ax.hlines(
            y,
            frame["simultaneous_low"],
            frame["simultaneous_high"],
            color=COLOURS["estimate"],
            linewidth=0.8,
            zorder=2,
            label="all ranks at once",
        )
        ends = np.concatenate([frame["simultaneous_low"], frame["simultaneous_high"]])
        ax.plot(ends, np.tile(y, 2), linestyle="none", marker="|", markersize=3, color=COLOURS["estimate"])
    ax.hlines(
        y,
        frame["rank_low"],
        frame["rank_high"],
        color="#56B4E9",
        linewidth=3.2,
        zorder=1.5,
        label="this rank alone",
    )
    ax.plot(
        frame["rank"],
        y,
        linestyle="none",
        marker="o",
        markersize=3,
        color="black",
        zorder=3,
        label="estimated",
    )
    if "tier" in frame:
        _tiers(ax, y, frame["tier"].to_numpy())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(0.3, len(frame) + 0.7)
    ax.set_xlabel("Rank")
    style.legend_above(ax)
    return ax


def _tiers(ax, y, tiers):
    """Name the tier at its first row; part tiers that follow each other by a line."""
    beside(ax, y, [f"tier {t}" if k == 0 or t != tiers[k - 1] else "" for k, t in enumerate(tiers)])
    for k in np.flatnonzero(tiers[1:] > tiers[:-1]):
        ax.axhline(y[k] + 0.5, color=COLOURS["rule"], linewidth=0.6, linestyle=(0, (4, 2)), zorder=1)


@style.styled
def pairwise(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw the difference of every two models: dark where large, blank where not shown to differ.

    Parameters
    ----------
    frame : DataFrame
        What `pairwise_differences` returns: one row per pair, the better model first: ``model_a``,
        ``model_b``, ``difference`` (a fraction), ``ordered``.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the models.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Rows are models, best first, with their numbers; columns are the same models by number. A
        small cross marks a pair not shown to differ.
    """
    models = _best_first(frame)
    place = {model: k for k, model in enumerate(models)}
    n = len(models)
    grid, ordered = np.full((n, n), np.nan), np.zeros((n, n), dtype=bool)
    row, column = frame["model_a"].map(place).to_numpy(int), frame["model_b"].map(place).to_numpy(int)
    grid[row, column], ordered[row, column] = frame["difference"], frame["ordered"]
    ax = style.axes(ax, width=width, height=0.5 + ROW * max(n, 6))
    shown = ax.pcolormesh(
        np.arange(n + 1) + 0.5,
        np.arange(n + 1) - 0.5,
        np.where(ordered, grid, np.nan),
        cmap=ListedColormap(mpl.colormaps["Blues"](np.linspace(0.25, 1, 256))),
        vmin=0,
        edgecolors="white",
        linewidth=0.3 if n <= 20 else 0,
        zorder=2,
    )
    finish_rows(ax, [f"{model}  {k + 1}" for k, model in enumerate(models)])
    down, across = np.nonzero(~ordered & np.isfinite(grid))
    ax.plot(
        across + 1,
        down,
        linestyle="none",
        marker="x",
        color="0.55",
        zorder=3,
        label="not shown to differ",
        markersize=min(3.0, 40 / n),
        markeredgewidth=0.5,
    )
    ax.set_xlim(0.5, n + 0.5)
    ax.xaxis.set_major_locator(
        MaxNLocator(integer=True, nbins=min(n, 12), steps=[1, 2, 5, 10], min_n_ticks=1)
    )
    ax.set_xlabel("Number of the other model")
    style.legend_above(ax)
    bar = ax.figure.colorbar(shown, ax=ax, location="right", fraction=0.05, pad=0.02, aspect=30)
    bar.set_label("Difference (points)")
    bar.ax.tick_params(labelsize=7, length=2, width=0.6)
    style.percent_axis(bar.ax, "y")
    bar.outline.set_visible(False)
    if n <= 8 and width >= 5:
        for i, j in zip(*np.nonzero(ordered), strict=True):
            dark = grid[i, j] > 0.5 * np.nanmax(grid)
            ax.text(
                j + 1,
                i,
                format_number(100 * grid[i, j], 1),
                ha="center",
                va="center_baseline",
                fontsize=7,
                color="white" if dark else "black",
                zorder=4,
            )
    return ax


def _best_first(frame):
    """Return the models by how many others they stand before, ties by name."""
    before = frame["model_a"].astype(str).value_counts()
    names = pd.unique(pd.concat([frame["model_a"], frame["model_b"]]).astype(str))
    return sorted(names, key=lambda name: (-int(before.get(name, 0)), name))
