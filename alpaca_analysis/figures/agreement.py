"""Judges and people: how often they agree, by group, with more people, and at what cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alpaca_analysis.figures import style
from alpaca_analysis.figures.labels import place
from alpaca_analysis.figures.leaderboards import (
    beside,
    finish_rows,
    interval_texts,
    intervals,
    mark_open,
    row_axes,
)
from alpaca_analysis.figures.style import COLOURS, COLUMN, ROW

HUMANS = "humans"


@style.styled
def agreement(
    frame: pd.DataFrame, *, numbers: bool = True, ax: Axes | None = None, width: float = COLUMN
) -> Axes:
    """Draw the agreement of judges and of single people with the human majority, one row each.

    Parameters
    ----------
    frame : DataFrame
        What `human_agreement` returns: ``annotator``, ``agreement``, ``ci_low``, ``ci_high``.
    numbers : bool
        Whether numbers stand beside the rows.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        People in their own colour and with a square; their value is carried down as a line.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> ax = figures.agreement(load("pandalm_agreement"))
    """
    style.need(
        frame, ["annotator", "agreement", "ci_low", "ci_high"], figure="agreement", of="human_agreement"
    )
    names = frame["annotator"].astype(str).tolist()
    ax, y = row_axes(ax, names, width=width)
    value, low, high = (frame[c].to_numpy(dtype=float) for c in ("agreement", "ci_low", "ci_high"))
    people = np.array([name == HUMANS for name in names])
    for which, colour, marker in ((people, "human", "s"), (~people, "judge", "o")):
        if which.any():
            look = {"colour": COLOURS[colour], "marker": marker}
            look["label"] = "people, one against the others" if people[which].all() else "judges"
            intervals(ax, value[which], low[which], high[which], y[which], **look)
    for level in value[people]:
        ax.axvline(level, color=COLOURS["human"], linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    mark_open(ax, low, high)
    style.legend_above(ax)
    if numbers:
        beside(ax, y, interval_texts(value, low, high))
    style.percent_axis(ax)
    style.name_below(ax, "Agreement with people (%)")
    return ax


@style.styled
def agreement_groups(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw agreement by group of pairs, annotators side by side.

    Parameters
    ----------
    frame : DataFrame
        What `agreement_by` returns: the group, ``annotator``, ``agreement``, ``ci_low``, ``ci_high``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Groups as rows in the order of the frame; each annotator has its colour and marker.

    Examples
    --------
    >>> from alpaca_analysis import agreement_by, figures, from_patterns, load
    >>> table = from_patterns(load("pandalm_counts"))
    >>> human = table["annotator"].str.startswith("human")
    >>> ax = figures.agreement_groups(agreement_by(table[~human], table[human], by="unanimity", method="t"))
    """
    columns = ["annotator", "agreement", "ci_low", "ci_high"]
    style.need(frame, columns, figure="agreement_groups", of="agreement_by")
    by = frame.columns[0]
    groups = list(pd.unique(frame[by].astype(str)))
    annotators = list(pd.unique(frame["annotator"].astype(str)))
    if len(annotators) > len(style.SERIES):
        raise ValueError(f"annotator: found {len(annotators)}, expected at most {len(style.SERIES)}")
    if ax is None:
        height = 0.6 + ROW * (1.0 * len(groups) * len(annotators) + 0.5 * len(groups))
        ax = style.axes(None, width=width, height=max(height, 1.3))
    ax = style.axes(ax)
    offsets = (np.arange(len(annotators)) - (len(annotators) - 1) / 2) * 0.75 / len(annotators)
    place = {group: k for k, group in enumerate(groups)}
    for k, annotator in enumerate(annotators):
        rows = frame[frame["annotator"].astype(str) == annotator]
        value, low, high = (rows[c].to_numpy(dtype=float) for c in ("agreement", "ci_low", "ci_high"))
        y = rows[by].astype(str).map(place).to_numpy() + offsets[k]
        look = {"colour": style.SERIES[k], "marker": style.MARKERS[k], "label": style.on_one_line(annotator)}
        intervals(ax, value, low, high, y, **look)
    mark_open(ax, frame["ci_low"], frame["ci_high"])
    finish_rows(ax, groups)
    style.percent_axis(ax)
    style.name_below(ax, "Agreement with people (%)")
    style.legend_above(ax)
    return ax


@style.styled
def agreement_growth(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw agreement against the number of people in the majority.

    Parameters
    ----------
    frame : DataFrame
        What `agreement_by_majority` returns: ``n_humans``, ``annotator``, ``agreement``, ``ci_low``,
        ``ci_high``; or `agreement_ceiling`: ``n_humans``, ``ceiling``, ``low``, ``high``.
    ax : Axes, optional
        Where to draw; drawing both on the same Axes puts the ceiling over the judges.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Points with intervals, moved apart a little; the ceiling as a line in its band of bounds.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> ax = figures.agreement_growth(load("pandalm_agreement_growth"))
    """
    style.need(frame, ["n_humans"], figure="agreement_growth", of="agreement_by_majority")
    ax = style.axes(ax, width=width)
    if "ceiling" in frame:
        m, low = frame["n_humans"], frame["low"].fillna(frame["ceiling"])
        ax.fill_between(m, low, frame["high"], color=COLOURS["rule"], alpha=0.25, linewidth=0, zorder=0)
        ax.plot(m, frame["ceiling"], color=COLOURS["rule"], linestyle="--", label="perfect judge", zorder=1)
    else:
        annotators = list(pd.unique(frame["annotator"].astype(str)))
        for k, annotator in enumerate(annotators):
            rows = frame[frame["annotator"].astype(str) == annotator]
            value, low, high = (rows[c].to_numpy(dtype=float) for c in ("agreement", "ci_low", "ci_high"))
            x = rows["n_humans"].to_numpy(dtype=float) + 0.06 * (k - (len(annotators) - 1) / 2)
            colour = COLOURS["human"] if annotator == HUMANS else style.SERIES[k % len(style.SERIES)]
            ax.vlines(x, low, high, color=colour, linewidth=1.1)
            ax.plot(x, value, marker=style.MARKERS[k % 7], color=colour, label=style.on_one_line(annotator))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.percent_axis(ax, "y")
    ax.set_xlabel("People in the majority")
    ax.set_ylabel("Agreement (%)")
    if ax.get_legend() is None:
        ax.legend(loc="best")
    else:
        ax.legend()
    return ax


@style.styled
def confusion(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw one judge's verdicts against the human majority's.

    Parameters
    ----------
    frame : DataFrame
        What `confusion` returns, of one ``annotator``: ``majority``, ``verdict``, ``count``, ``share``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Rows are the majority's verdicts and add up to 100 %; cells hold share and count.

    Examples
    --------
    >>> from alpaca_analysis import confusion, figures, from_patterns, load
    >>> table = from_patterns(load("pandalm_counts"))
    >>> human = table["annotator"].str.startswith("human")
    >>> ax = figures.confusion(confusion(table[~human], table[human]).query("annotator == 'pandalm-7b'"))
    """
    columns = ["annotator", "majority", "verdict", "count", "share"]
    style.need(frame, columns, figure="confusion", of="confusion")
    judges = list(pd.unique(frame["annotator"]))
    if len(judges) > 1:
        raise ValueError(f"annotator: found {len(judges)} judges, expected one")
    sides = list(pd.unique(frame["majority"]))
    share = frame.pivot(index="majority", columns="verdict", values="share").loc[sides, sides].to_numpy()
    count = frame.pivot(index="majority", columns="verdict", values="count").loc[sides, sides].to_numpy()
    ax = style.axes(ax, width=width, height=min(0.75 * width, 2.8))
    cells = zip(share.ravel(), count.ravel(), strict=True)
    words = [f"{100 * s:.0f} %\n({n:,.0f})" if np.isfinite(s) else "" for s, n in cells]
    style.heatmap(share, ax=ax, words=np.reshape(words, share.shape), vmax=1.1, square=True)
    ax.set_xticks(np.arange(len(sides)) + 0.5, labels=sides)
    ax.set_yticks(np.arange(len(sides)) + 0.5, labels=sides, rotation=0)
    ax.tick_params(length=0)
    ax.set_xlabel(f"Verdict of {style.on_one_line(frame['annotator'].iloc[0])}", parse_math=False)
    ax.set_ylabel("Majority of people")
    return ax


@style.styled
def bias_variance(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw annotators' errors by kind: bias against variance.

    Parameters
    ----------
    frame : DataFrame
        ``annotator``, ``bias`` and ``variance`` as fractions, as `human_agreement` returns; rows without
        both are left out.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        People as a square in their own colour; points have their names where there is room.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> board = load("evaluators_leaderboard").query("`Human agreement` > 1")
    >>> frame = board.rename(columns={"model": "annotator", "Bias": "bias", "Variance": "variance"})
    >>> ax = figures.bias_variance(frame.assign(bias=frame["bias"] / 100, variance=frame["variance"] / 100))
    """
    style.need(frame, ["annotator", "bias", "variance"], figure="bias_variance", of="human_agreement")
    frame = frame.dropna(subset=["bias", "variance"])
    ax = style.axes(ax, width=width, height=min(0.75 * width, 3.4))
    style.percent_axis(ax)
    style.percent_axis(ax, "y")
    ax.set_xlabel("Variance: error against itself (%)")
    ax.set_ylabel("Bias: error of its majority (%)")
    _named_points(ax, frame, "variance", "bias")
    return ax


@style.styled
def agreement_cost(
    frame: pd.DataFrame, *, cost: str = "price", ax: Axes | None = None, width: float = COLUMN
) -> Axes:
    """Draw agreement with people against what judgements cost, on a logarithmic scale.

    Parameters
    ----------
    frame : DataFrame
        ``annotator``, ``agreement`` as a fraction, and the column `cost`; rows without a positive cost
        are left out.
    cost : str
        Column, such as ``"price"`` (US dollars per 1,000 judgements) or ``"time"`` (seconds per 1,000).
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        People as a square in their own colour; points have their names where there is room.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> board = load("evaluators_leaderboard").query("`Human agreement` > 1")
    >>> frame = board.rename(columns={"model": "annotator", "Price [$/1000 examples]": "price"})
    >>> ax = figures.agreement_cost(frame.assign(agreement=frame["Human agreement"] / 100))
    """
    style.need(frame, ["annotator", "agreement", cost], figure="agreement_cost", of="human_agreement")
    frame = frame[frame[cost] > 0].dropna(subset=["agreement"])
    ax = style.axes(ax, width=width, height=min(0.75 * width, 3.4))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    style.percent_axis(ax, "y")
    ax.set_xlabel(
        {"price": "US$ per 1,000 judgements", "time": "Seconds per 1,000 judgements"}.get(cost, cost)
    )
    ax.set_ylabel("Agreement with people (%)")
    _named_points(ax, frame, cost, "agreement")
    return ax


def _named_points(ax, frame, x, y):
    """Plot points and as many of their names as find room, people's first."""
    ax.margins(0.12)
    people = (frame["annotator"].astype(str) == HUMANS).to_numpy()
    for which, colour, marker in ((people, "human", "s"), (~people, "judge", "o")):
        look = {"color": COLOURS[colour], "markersize": 3.5, "linestyle": "none", "marker": marker}
        ax.plot(
            frame.loc[which, x],
            frame.loc[which, y],
            label="people" if colour == "human" else "judges",
            **look,
        )
    if people.any() and not people.all():
        style.legend_above(ax)
    names = frame["annotator"].astype(str).tolist()
    place(ax, frame[x].to_numpy(), frame[y].to_numpy(), names, first=[HUMANS])


@style.styled
def label_budget(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw how the interval of a calibrated win rate shrinks with human labels, with a judge and without.

    Parameters
    ----------
    frame : DataFrame
        What `label_budget` returns for one group: ``n_labels``, ``half_width``, ``human_half_width``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Half-widths in points against the number of labels, both on logarithmic scales.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> plan = load("pandalm_label_budget")
    >>> ax = figures.label_budget(plan)
    """
    columns = ["n_labels", "half_width", "human_half_width"]
    style.need(frame, columns, figure="label_budget", of="label_budget")
    if frame["n_labels"].duplicated().any():
        raise ValueError("n_labels: found several groups, expected one")
    ax = style.axes(ax, width=width)
    ax.plot(frame["n_labels"], frame["human_half_width"], "s--", color=COLOURS["human"], label="people alone")
    ax.plot(frame["n_labels"], frame["half_width"], "o-", color=COLOURS["judge"], label="people and judge")
    ax.set_xscale("log")
    shown = _apart(frame["n_labels"].to_numpy(float), 0.25 / (0.75 * style.size(ax)[0]))
    ax.set_xticks(shown, labels=[f"{n:,.0f}" for n in shown], rotation=45)
    ax.minorticks_off()
    style.percent_axis(ax, "y")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("Pairs with human labels")
    ax.set_ylabel("Half-width (points)")
    ax.legend()
    return ax


def _apart(values, share):
    """Return the values whose places on a logarithmic axis are `share` of its length apart, ends first."""
    place = np.log(values)
    kept = [int(place.argmax()), int(place.argmin())]
    for k in np.argsort(place):
        if np.abs(place[k] - place[kept]).min() >= share * np.ptp(place):
            kept.append(int(k))
    return np.sort(values[np.unique(kept)])
