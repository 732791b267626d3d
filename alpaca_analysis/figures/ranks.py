"""Ranks, tiers and all differences at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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

    Examples
    --------
    >>> from alpaca_analysis import figures, load, rank_sets
    >>> sets = rank_sets(load("alpaca_eval_v1_counts"), n_resamples=499)
    >>> ax = figures.rank_sets(sets)
    """
    style.need(frame, ["model", "rank", "rank_low", "rank_high"], figure="rank_sets", of="rank_sets")
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
        small cross marks a pair not shown to differ. Differences stand in the cells where there is room.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, pairwise_differences
    >>> differences = pairwise_differences(load("alpaca_eval_v1_counts"), n_resamples=499)
    >>> ax = figures.pairwise(differences)

    Of a few models the numbers stand in the cells:

    >>> few = load("alpaca_eval_v1_counts").query("model in ['gpt4', 'claude-2', 'phi-2', 'alpaca-7b']")
    >>> ax = figures.pairwise(pairwise_differences(few, n_resamples=499))
    """
    style.need(
        frame, ["model_a", "model_b", "difference", "ordered"], figure="pairwise", of="pairwise_differences"
    )
    models = _best_first(frame)
    place = {model: k for k, model in enumerate(models)}
    n = len(models)
    grid, ordered = np.full((n, n), np.nan), np.zeros((n, n), dtype=bool)
    row, column = frame["model_a"].map(place).to_numpy(int), frame["model_b"].map(place).to_numpy(int)
    grid[row, column], ordered[row, column] = frame["difference"], frame["ordered"]
    ax = style.axes(ax, width=width, height=0.5 + ROW * max(n, 6))
    inside = style.size(ax)[0] * 0.5 / n  # inches of a cell
    told = inside > style.text_width("88.8", 6.5)
    words = [
        format_number(100 * value, 1) if told and sure else ""
        for value, sure in zip(grid.flat, ordered.flat, strict=True)
    ]
    shown = style.heatmap(
        np.where(ordered, grid, np.nan),
        ax=ax,
        words=np.reshape(words, grid.shape),
        lines=0.3 if n <= 20 else 0,
    )
    finish_rows(ax, [f"{model}  {k + 1}" for k, model in enumerate(models)], np.arange(n) + 0.5)
    ax.set_ylim(n, 0)
    down, across = np.nonzero(~ordered & np.isfinite(grid))
    look: dict = {"color": "0.45", "markersize": min(3.0, max(1.2, 40 / n)), "markeredgewidth": 0.5}
    ax.plot(
        across + 0.5, down + 0.5, linestyle="none", marker="x", zorder=3, label="not shown to differ", **look
    )
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step * inside > 0.16 or step * 3 > n)
    numbers = np.array([k for k in range(1, n + 1) if k % every == 0])
    ax.set_xlim(0, n)
    ax.set_xticks(numbers - 0.5, labels=numbers, rotation=0)
    ax.set_xlabel("Number of the other model")
    if len(down):
        style.legend_above(ax)
    if not told:  # the scale stands in the half that is empty
        scale = ax.inset_axes((0.09, 0.16 * 6 / max(n, 6), 0.4, 0.11 / (ROW * max(n, 6))))
        bar = style.figure_of(ax).colorbar(shown, cax=scale, orientation="horizontal")
        bar.set_label("Difference (points)", fontsize=7, labelpad=2)
        bar.ax.xaxis.set_label_position("top")
        bar.ax.tick_params(labelsize=6.5, length=2, width=0.6, pad=1.5)
        bar.ax.xaxis.set_major_locator(MaxNLocator(3))
        style.percent_axis(bar.ax, "x")
        bar.outline.set_visible(False)
    return ax


def _best_first(frame):
    """Return the models by how many others they stand before, ties by name."""
    before = frame["model_a"].astype(str).value_counts()
    names = pd.unique(pd.concat([frame["model_a"], frame["model_b"]]).astype(str))
    return sorted(names, key=lambda name: (-int(before.get(name, 0)), name))
