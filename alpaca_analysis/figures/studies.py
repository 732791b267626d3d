"""Preferences, planning and coverage: rows of estimates, and curves over the number of instructions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from alpaca_analysis.figures import style
from alpaca_analysis.figures.leaderboards import (
    beside,
    grouped_rows,
    interval_texts,
    intervals,
    mark_open,
    row_axes,
    rule,
)
from alpaca_analysis.figures.style import COLOURS, COLUMN, LINES, MARKERS, SERIES, on_one_line


@style.styled
def preferences(
    frame: pd.DataFrame,
    *,
    what: str = "the longer output",
    numbers: bool | None = None,
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw how often annotators prefer one kind of output, with 50 % as no preference.

    Parameters
    ----------
    frame : DataFrame
        What `prefer_longer`, `prefer_lists` or `prefer_first` returns: group columns, then
        ``probability``, ``ci_low``, ``ci_high`` as fractions. Annotators whose name begins with ``human`` are
        drawn as people.
    what : str
        What is preferred, for the axis.
    numbers : bool, optional
        Whether numbers stand beside the rows; by default where there are 5 inches.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> frame = load("length_preference").drop(columns="data")
    >>> ax = figures.preferences(frame)
    """
    style.need(frame, ["probability", "ci_low", "ci_high"], figure="preferences", of="prefer_longer")
    groups = list(frame.columns[: list(frame.columns).index("probability")])
    names = [" · ".join(map(str, row)) for row in frame[groups].itertuples(index=False, name=None)]
    ax, y = row_axes(ax, names, width=width)
    value, low, high = (frame[c].to_numpy(float) for c in ("probability", "ci_low", "ci_high"))
    annotators = frame["annotator"].astype(str) if "annotator" in frame else pd.Series(names)
    human = annotators.str.lower().str.startswith("human").to_numpy()
    for which, colour, marker in ((~human, "judge", "o"), (human, "human", "s")):
        if which.any():
            label = ("people" if colour == "human" else "judges") if len(set(human)) == 2 else None
            look = {"colour": COLOURS[colour], "marker": marker, "label": label}
            intervals(ax, value[which], low[which], high[which], y[which], **look)
    if style.size(ax)[0] >= 5 if numbers is None else numbers:
        beside(ax, y, interval_texts(value, low, high))
    mark_open(ax, low, high)
    style.legend_above(ax)
    rule(ax, 0.5, value)
    style.percent_axis(ax)
    style.name_below(ax, f"Prefers {what} (%)")
    return ax


@style.styled
def control_by_feature(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw how far control of each feature moves win rates, a dot a model and a stroke at the median.

    Parameters
    ----------
    frame : DataFrame
        What `control_by_feature` returns: ``model``, ``controlled``, ``moved``, ``ci_low``, ``ci_high``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Rows are features; filled dots are models whose interval leaves out 0.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> ax = figures.control_by_feature(load("style_control"))
    """
    columns = ["model", "controlled", "moved", "ci_low", "ci_high"]
    style.need(frame, columns, figure="control_by_feature", of="control_by_feature")
    names = list(pd.unique(frame["controlled"]))
    ax, y = row_axes(ax, [name.replace("_", " ") for name in names], width=width)
    shown = (frame["ci_low"] > 0) | (frame["ci_high"] < 0)
    kinds = {True: "interval leaves out 0", False: "it holds 0"}
    beside_row = np.random.default_rng(0).uniform(-0.25, 0.25, len(frame))  # the same in every picture
    row = frame["controlled"].map(dict(zip(names, y, strict=True))).to_numpy(float) + beside_row
    for kind in (False, True):
        some = (shown == kind).to_numpy()
        colour = COLOURS["judge"] if kind else "0.6"
        ax.plot(frame["moved"][some], row[some], "o", ms=3, color=colour, alpha=0.75, mew=0)
    for kind, colour in ((True, COLOURS["judge"]), (False, "0.6")):
        ax.plot([], [], "o", ms=3.5, color=colour, label=kinds[kind])
    medians = frame.groupby("controlled", sort=False)["moved"].median()[names]
    ax.vlines(medians, y - 0.35, y + 0.35, color="black", lw=1.2, label="median", zorder=5)
    style.name_ticks(ax, y, [name.replace("_", " ") for name in names], width=width)
    style.legend_above(ax)
    ax.set_ylabel("")
    rule(ax, 0.0, frame["moved"].to_numpy(float))
    style.percent_axis(ax, points=True)
    style.name_below(ax, "Win rate moves by (points)")
    return ax


@style.styled
def beyond_humans(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw a judge's response to length beside each human's, by how it is measured.

    Parameters
    ----------
    frame : DataFrame
        What `bias_beyond_humans` returns: ``annotator``, ``kind`` ("judge" or "human"), ``quantity``,
        ``estimate``, ``ci_low``, ``ci_high``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Rows are annotators under a heading for each quantity; 0 is no response to length.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> ax = figures.beyond_humans(load("length_beyond_humans"))
    """
    columns = ["annotator", "kind", "quantity", "estimate", "ci_low", "ci_high"]
    style.need(frame, columns, figure="beyond_humans", of="bias_beyond_humans")
    quantities = list(pd.unique(frame["quantity"]))
    annotators = list(pd.unique(frame["annotator"]))
    names: list[str] = []
    for quantity in quantities:
        names += [str(quantity).replace("_", " "), *map(str, annotators)]
    ax, _ = row_axes(ax, names, width=width)
    step = len(annotators) + 1
    for label in ax.get_yticklabels()[::step]:
        label.set_fontweight("bold")
    row = frame["quantity"].map(quantities.index) * step + 1 + frame["annotator"].map(annotators.index)
    value, low, high = (frame[c].to_numpy(float) for c in ("estimate", "ci_low", "ci_high"))
    for kind, marker in (("judge", "o"), ("human", "s")):
        which = (frame["kind"] == kind).to_numpy()
        if which.any():
            intervals(
                ax,
                value[which],
                low[which],
                high[which],
                row.to_numpy()[which],
                label=kind,
                colour=COLOURS[kind],
                marker=marker,
            )
    mark_open(ax, low, high)
    ax.axvline(0, color=COLOURS["rule"], linewidth=0.7, zorder=1)
    style.percent_axis(ax, points=True)
    style.name_below(ax, "Points of outcome per unit of length")
    style.legend_above(ax)
    return ax


@style.styled
def gameability(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw how far each model's score moves when it is only asked to write more or less.

    Parameters
    ----------
    frame : DataFrame
        What `gameability` returns: ``model``, ``measure``, ``plain``, one column per variant, then
        ``gameability``. Scores in fractions or percent.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        One row a model, under a heading for each measure; the gameability stands beside it.

    Examples
    --------
    >>> from alpaca_analysis import figures, gameability, load
    >>> board = load("alpaca_eval_v2_leaderboard")
    >>> ax = figures.gameability(gameability(board, measures=("win_rate", "length_controlled_winrate")))
    """
    style.need(frame, ["model", "measure", "plain", "gameability"], figure="gameability", of="gameability")
    columns = list(frame.columns)
    variants = columns[columns.index("plain") : columns.index("gameability")]
    measures = list(pd.unique(frame["measure"]))
    names: list[str] = []
    texts: list[str] = []
    places = np.empty(len(frame))
    for measure in measures:
        names.append(str(measure).replace("_", " "))
        texts.append("")
        for k in np.flatnonzero(frame["measure"] == measure).tolist():
            places[k] = len(names)
            names.append(str(frame["model"].iloc[k]).strip("()"))
            texts.append(f"{frame['gameability'].iloc[k]:.2f}")
    ax, y = row_axes(ax, names, width=width)
    for label, text in zip(ax.get_yticklabels(), texts, strict=True):
        label.set_fontweight("normal" if text else "bold")
    scores = frame[variants].to_numpy(float) / (100 if frame[variants].to_numpy(float).max() > 1 else 1)
    ax.hlines(places, scores.min(axis=1), scores.max(axis=1), color="0.6", linewidth=0.9, zorder=2)
    for k, variant in enumerate(variants):
        ax.plot(
            scores[:, k],
            places,
            linestyle="none",
            marker=MARKERS[k],
            color=SERIES[k],
            label=on_one_line(variant),
            zorder=3,
        )
    beside(ax, y, texts)
    style.percent_axis(ax)
    style.name_below(ax, "Score (%); gameability at the right")
    style.legend_above(ax)
    return ax


@style.styled
def planning(
    frame: pd.DataFrame,
    *,
    versus: str = "a fixed win rate",
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw what a number of instructions can show.

    Parameters
    ----------
    frame : DataFrame
        ``n`` (instructions) and either ``minimum_detectable_difference`` or ``power``, as fractions.
        Any other column tells curves apart and names them; at most seven curves.
    versus : str
        What a difference is from, for the axis. `minimum_detectable_difference` of one win rate is that
        from a fixed value; two independent models need sqrt(2) times as much.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        The number of instructions on a logarithmic axis.

    Examples
    --------
    >>> import pandas as pd
    >>> from alpaca_analysis import figures, minimum_detectable_difference
    >>> grid = pd.MultiIndex.from_product([(0.5, 0.8, 0.95), (100, 200, 400, 805, 1600, 3200)])
    >>> plan = grid.to_frame(index=False, name=["win rate", "n"])
    >>> least = [minimum_detectable_difference(n, win_rate=rate) for rate, n in plan.to_numpy()]
    >>> ax = figures.planning(plan.assign(minimum_detectable_difference=least))
    """
    of = "minimum_detectable_difference or plan_comparison"
    style.need(frame, ["n"], figure="planning", of=of)
    value = "power" if "minimum_detectable_difference" not in frame else "minimum_detectable_difference"
    style.need(frame, [value], figure="planning", of=of)
    groups = [c for c in frame.columns if c not in ("n", value)]
    ax = style.axes(ax, width=width)
    parts = list(frame.groupby(groups, sort=True)) if groups else [((), frame)]
    if len(parts) > len(SERIES):
        raise ValueError(f"{', '.join(groups)}: found {len(parts)} curves, expected at most {len(SERIES)}")
    for k, (key, part) in enumerate(parts):
        part = part.sort_values("n")
        ax.plot(
            part["n"],
            part[value],
            color=SERIES[k],
            linestyle=LINES[k],
            label=", ".join(
                f"{g.replace('_', ' ')} {on_one_line(v)}" for g, v in zip(groups, key, strict=True)
            ),
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("Instructions")
    ax.set_ylim(bottom=0, top=1 if value == "power" else None)
    style.percent_axis(ax, "y")
    ax.set_ylabel("Power (%)" if value == "power" else f"Detectable difference\nfrom {versus} (points)")
    if groups:
        style.legend_above(ax)
    return ax


@style.styled
def coverage(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw how often intervals covered the truth in a simulation, by method.

    Parameters
    ----------
    frame : DataFrame
        ``scenario``, ``method`` (at most seven), ``coverage`` as a fraction, and ``ci_low``, ``ci_high``
        for the noise of the simulation. ``.attrs["confidence_level"]`` is the nominal level, 0.95 if absent.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Rows are scenarios, colours and markers methods; the line is the nominal level.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> study = load("coverage_length_control").drop_duplicates("win_rate")
    >>> noise = 1.96 * (study["coverage"] * (1 - study["coverage"]) / study["repetitions"]) ** 0.5
    >>> frame = study.assign(scenario=study["win_rate"].map("win rate {:g}".format), method="with the fit",
    ...                      ci_low=study["coverage"] - noise, ci_high=study["coverage"] + noise)
    >>> ax = figures.coverage(frame)
    """
    columns = ["scenario", "method", "coverage", "ci_low", "ci_high"]
    style.need(frame, columns, figure="coverage", of="a simulation")
    ax = grouped_rows(frame, "scenario", "method", "coverage", ax=ax, width=width)
    level = frame.attrs.get("confidence_level", 0.95)
    ax.axvline(level, color="black", linewidth=0.7, zorder=1)
    style.name_below(ax, f"Coverage of {100 * level:g} % intervals (%)")
    return ax
