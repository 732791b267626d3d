"""Length: how outcomes follow it, and what is left of a win rate when it is controlled for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import Affine2D, ScaledTranslation, blended_transform_factory

from alpaca_analysis.figures import labels, style
from alpaca_analysis.figures.style import COLOURS, COLUMN, LINES, MARKERS, ROW, SERIES, on_one_line
from alpaca_analysis.foundations.errors import AnnotationError

SCALES = {
    "characters": "Model's output longer by (characters)",
    "log_ratio": "Log ratio of lengths, model to reference",
    "tanh": "Length difference, tanh(D / s)",
}

MANY = 15  # ways of models up to which each of them is named
PALE = "#86B9DA"  # of the estimates' hue; in grey lighter than what is highlighted


@style.styled
def length_response(curve: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw the mean outcome against the difference in length, one curve a group.

    Parameters
    ----------
    curve : DataFrame
        What `response_curve` returns: group columns, ``difference``, ``outcome``, ``ci_low``,
        ``ci_high`` as fractions. With ``difference_low`` the rows are bins and drawn as points, else a
        curve and drawn as a line in a band. At most seven groups.
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
    >>> curves = load("length_response")
    >>> bins = curves.query("data == 'alpaca_eval_v1' and kind == 'bins'").drop(columns="data")
    >>> ax = figures.length_response(bins)

    As a curve with its band, of judges and of people:

    >>> spline = curves.query("data == 'pandalm' and kind == 'spline'")
    >>> ax = figures.length_response(spline.drop(columns=["data", "difference_low", "difference_high"]))
    """
    columns = ["difference", "outcome", "ci_low", "ci_high"]
    style.need(curve, columns, figure="length_response", of="response_curve")
    groups = list(curve.columns[: list(curve.columns).index("difference")])
    names = [" · ".join(map(on_one_line, row)) for row in curve[groups].itertuples(index=False, name=None)]
    kinds = list(dict.fromkeys(names))
    _few(kinds, "groups")
    ax = style.axes(ax, width=width)
    for k, kind in enumerate(kinds):
        part = curve[np.array(names) == kind].sort_values("difference")
        kind = kind if part["outcome"].notna().any() else f"{kind} (undefined)"
        x, y = part["difference"].to_numpy(float), part["outcome"].to_numpy(float)
        low, high = part["ci_low"].to_numpy(float), part["ci_high"].to_numpy(float)
        if "difference_low" in part:
            ax.vlines(x, low, high, color=SERIES[k], linewidth=0.9)
            ax.plot(x, y, color=SERIES[k], marker=MARKERS[k], linestyle=LINES[k], linewidth=0.6, label=kind)
        else:
            ax.fill_between(x, low, high, color=SERIES[k], alpha=0.2 if len(kinds) < 4 else 0.09, linewidth=0)
            ax.plot(x, y, color=SERIES[k], linestyle=LINES[k], label=kind)
    if curve["outcome"].notna().any():
        _middle(ax, curve["outcome"])
    else:
        _say_why(ax, curve)
    style.percent_axis(ax, "y")
    ax.set_ylabel("Win rate (%)")
    _name_length(ax, curve)
    if len(kinds) > 1:
        style.legend_above(ax)
    return ax


def _say_why(ax, result):
    """Write in the middle why nothing is drawn."""
    reason = next(iter(result["note"]), "") if "note" in result else ""
    ax.text(0.5, 0.5, reason or "undefined", transform=ax.transAxes, ha="center", wrap=True, fontsize=7)


def _name_length(ax, result):
    scale = result.attrs.get("scale", "characters")
    ax.set_xlabel(SCALES.get(scale, "Difference in length"))
    if scale == "characters":
        style.count_axis(ax)


def _few(names, what):
    if len(names) > len(SERIES):
        raise ValueError(f"{what}: found {len(names)}, expected at most {len(SERIES)}")


def _middle(ax, outcomes):
    """Draw equal length and, where it is among the data, equal preference."""
    ax.axvline(0, color=COLOURS["rule"], linewidth=0.6, zorder=0.5)
    if np.nanmin(outcomes) < 0.5 < np.nanmax(outcomes):
        ax.axhline(0.5, color=COLOURS["rule"], linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.5)


@style.styled
def length_histogram(
    differences: pd.Series,
    *,
    by: pd.Series | None = None,
    n: pd.Series | None = None,
    bins: int = 40,
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw how the differences in length are spread: whether any are near 0, where length control asks.

    Parameters
    ----------
    differences : Series
        Model's minus reference's length of every pair, as `length_difference` returns it.
    by : Series, optional
        Group of each pair, such as the model; at most seven. Each group is outlined.
    n : Series, optional
        How many pairs each value stands for; 1 by default.
    bins : int
        Number of bins of equal width over all values.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Shares of pairs in each bin; the line at 0 is equal length.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> cells = load("alpaca_eval_v1_cells").query("model in ['gpt4', 'vicuna-13b', 'text_davinci_001']")
    >>> longer = -cells["length_feature"]
    >>> longer.attrs["scale"] = "tanh"
    >>> ax = figures.length_histogram(longer, by=cells["model"], n=cells["n"], bins=10)
    """
    if not isinstance(differences, pd.Series):
        expected = "a Series of differences in length, as length_difference returns it"
        raise AnnotationError(expected, source="figures.length_histogram", found=type(differences).__name__)
    values = differences.to_numpy(float)
    known = np.isfinite(values)
    groups = np.full(len(values), "all pairs") if by is None else by.astype(str).to_numpy()
    counts = np.ones(len(values)) if n is None else n.to_numpy(float)
    kinds = list(pd.unique(groups[known]))
    _few(kinds, "by")
    ax = style.axes(ax, width=width)
    import seaborn as sns

    edges = np.linspace(values[known].min(), values[known].max(), bins + 1)
    for k, kind in enumerate(kinds):
        which = known & (groups == kind)
        drawn = {"x": values[which], "weights": counts[which], "bins": edges.tolist(), "stat": "proportion"}
        look: dict[str, Any] = {"fill": len(kinds) == 1, "color": SERIES[k], "label": on_one_line(kind)}
        sns.histplot(ax=ax, element="step", linewidth=1.0, linestyle=LINES[k], alpha=0.35, **drawn, **look)
        for line in ax.lines[-1:] if len(kinds) > 1 else ():
            line.set_alpha(1)
    ax.axvline(0, color="black", linewidth=0.7)
    style.percent_axis(ax, "y")
    ax.set_ylabel("Pairs (%)")
    _name_length(ax, differences)
    if len(kinds) > 1:
        style.legend_above(ax)
    return ax


@style.styled
def length_scatter(
    points, *, highlight: Collection[str] = (), ax: Axes | None = None, width: float = COLUMN
) -> Axes:
    """Draw win rates of models against the mean length of their outputs.

    Parameters
    ----------
    points : DataFrame or ModelLengthRegression
        ``model``, ``length`` (mean characters), ``win_rate`` (fractions) and, for the line,
        ``fitted``; of a regression, its ``leave_one_out``.
    highlight : collection of str
        Models to draw in another colour and name first. Others are named where there is room.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from alpaca_analysis import figures, load, model_length_regression
    >>> board = load("alpaca_eval_v1_leaderboard").set_index("model")
    >>> fit = model_length_regression(board["win_rate"] / 100, board["avg_length"], n_resamples=199)
    >>> ax = figures.length_scatter(fit, highlight=["xwinlm-70b-v0.1", "gpt4"])
    """
    points = points.leave_one_out if hasattr(points, "leave_one_out") else points
    style.need(points, ["model", "length", "win_rate"], figure="length_scatter", of="model_length_regression")
    points = points.dropna(subset=["length", "win_rate"])
    ax = style.axes(ax, width=width, height=min(0.75 * width, 4.2))
    chosen = points["model"].isin(list(highlight)).to_numpy()
    for which, colour, marker in ((~chosen, "estimate", "o"), (chosen, "highlight", "D")):
        part = points[which]
        ax.plot(
            part["length"],
            part["win_rate"],
            linestyle="none",
            marker=marker,
            color=COLOURS[colour],
            markersize=3,
            zorder=3,
        )
    line = None
    if "fitted" in points:
        ends = points.sort_values("length")[["length", "fitted"]].to_numpy(float)[[0, -1]]
        ax.plot(*ends.T, color="0.3", linewidth=0.8, linestyle="--", zorder=2, label="fitted line")
        ax.plot([], [], "o", color=COLOURS["estimate"], markersize=3, label="models")
        style.legend_above(ax)
        line = np.linspace(ends[0], ends[1], 300)
    style.percent_axis(ax, "y")
    style.count_axis(ax)
    ax.set_ylabel("Win rate (%)")
    ax.set_xlabel("Mean length of outputs (characters)")
    ax.margins(0.08)
    labels.place(
        ax,
        points["length"].to_numpy(float),
        points["win_rate"].to_numpy(float),
        points["model"].tolist(),
        first=list(highlight),
        avoid=line,
    )
    return ax


@style.styled
def length_control(
    frame,
    *,
    raw: pd.DataFrame | None = None,
    highlight: Collection[str] = (),
    every_name: bool = False,
    ax: Axes | None = None,
    width: float = COLUMN,
) -> Axes:
    """Draw each model's way from its raw to its length-controlled win rate.

    Parameters
    ----------
    frame : DataFrame or object with ``to_frame()``
        What `fit_length_control` gives: ``model``, ``win_rate``, ``lc_win_rate`` and, where known,
        ``ci_low``, ``ci_high`` of the latter; fractions.
    raw : DataFrame, optional
        What `win_rate` returns; gives the raw win rates their intervals.
    highlight : collection of str
        Models to draw darker and thicker than the others, with another marker.
    every_name : bool
        Name every model, however many: the figure is as high as they need.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the names.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Raw at the left, length-controlled at the right, names at the right end; a thin line leads
        to a name that had to move. Of more than fifteen models only those to highlight and the three
        highest and lowest at the right are named, unless `every_name` says otherwise.

    Examples
    --------
    >>> from alpaca_analysis import figures, published_length_control
    >>> frame = published_length_control().to_frame().head(40)
    >>> ax = figures.length_control(frame, highlight=["NullModel", "gpt4_1106_preview"])

    With the name of every model:

    >>> ax = figures.length_control(frame, highlight=["NullModel"], every_name=True)

    Fitted, with intervals at both ends:

    >>> from alpaca_analysis import figures, fit_length_control, load, win_rate
    >>> cells = load("alpaca_eval_v1_cells").query("model in ['gpt4', 'claude-2', 'vicuna-13b', 'alpaca-7b']")
    >>> ax = figures.length_control(fit_length_control(cells), raw=win_rate(cells, method="t"))
    """
    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
    style.need(frame, ["model", "win_rate", "lc_win_rate"], figure="length_control", of="fit_length_control")
    every, frame = frame, frame.dropna(subset=["win_rate", "lc_win_rate"]).reset_index(drop=True)
    if frame.empty:
        ax = style.axes(ax, width=width)
        _say_why(ax, every)
        return ax
    chosen = frame["model"].isin(list(highlight)).to_numpy()
    named = _named(frame["lc_win_rate"].to_numpy(float), chosen) | every_name
    shown = len(frame) if every_name else min(len(frame), 2 * MANY)
    ax = style.axes(ax, width=width, height=max(2.3, 0.5 + 1.15 * ROW * shown))
    colours = [COLOURS["highlight" if c else "estimate"] for c in chosen]
    if chosen.any():  # the others step back, also where a printer leaves only shades of grey
        colours = [colour if c else PALE for c, colour in zip(chosen, colours, strict=True)]
    ways = frame[["win_rate", "lc_win_rate"]].to_numpy(float)
    for way, colour, bold in zip(ways, colours, chosen, strict=True):
        ax.plot(
            [0, 1],
            way,
            linestyle="-",
            color=colour,
            linewidth=1.7 if bold else 0.8,
            marker="D" if bold else "o",
            markersize=3.4 if bold else 2.6,
            zorder=4 if bold else 2,
            clip_on=False,
        )
    if {"ci_low", "ci_high"} <= set(frame.columns):
        style.need_own_interval(frame, "lc_win_rate", figure="length_control", of="fit_length_control")
        _way_errors(ax, 1, frame, colours)
    if raw is not None:
        known = raw.set_index(raw["model"].astype(str)).reindex(frame["model"].astype(str))
        _way_errors(ax, 0, known, colours)
    _name_ends(ax, ways[named, 1], frame["model"][named], chosen[named])
    ax.set_xlim(-0.12, 1.0)
    ax.set_xticks([0, 1], labels=["raw", "length-controlled"])
    style.percent_axis(ax, "y")
    ax.set_ylabel("Win rate (%)")
    return ax


def _named(ends, chosen):
    """Tell which models are named: all of a few; of many, those to highlight and the extremes."""
    if len(ends) <= MANY:
        return np.ones(len(ends), dtype=bool)
    place = np.argsort(np.argsort(ends, kind="stable"))
    return chosen | (place < 3) | (place >= len(ends) - 3)


def _way_errors(ax, x, frame, colours):
    """Draw intervals at one end of the ways, whole also at the frame."""
    look = {"colors": colours, "linewidth": 2.2, "alpha": 0.35, "clip_on": False}
    ax.vlines(np.full(len(frame), float(x)), frame["ci_low"], frame["ci_high"], **look)


def _name_ends(ax, ends, names, chosen):
    """Write names at the right of the Axes, moved apart, with a line back to where they belong."""
    low, high = ax.get_ylim()
    inner = style.size(ax)[1] - 0.55  # inches that the Axes' height has at least
    at = np.asarray(ends)
    for _ in range(4):  # names moved apart may need wider limits, and these more room in data units
        at = labels.spread(ends, 1.15 * 7 / 72 / inner * (high - low))
        low, high = min(low, at.min() - 0.01), max(high, at.max() + 0.01)
    ax.set_ylim(low, high)
    short = style.shorten(list(names), width=0.5 * style.size(ax)[0])
    points = Affine2D().scale(1 / 72) + style.figure_of(ax).dpi_scale_trans
    right = blended_transform_factory(points + ScaledTranslation(1, 0, ax.transAxes), ax.transData)
    look: dict[str, Any] = {"linestyle": "-", "color": "0.4", "linewidth": 0.6, "clip_on": False}
    for end, y, name, bold in zip(ends, at, short, chosen, strict=True):
        ax.plot([4, 12], [end, y], transform=right, scalex=False, scaley=False, zorder=1, **look)
        ax.annotate(
            name,
            (14, y),
            xycoords=right,
            va="center_baseline",
            fontsize=7,
            fontweight="bold" if bold else "normal",
            parse_math=False,
            annotation_clip=False,
        )


@style.styled
def specification_curve(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw a length-controlled win rate under every specification, and which choices each one makes.

    Parameters
    ----------
    frame : DataFrame
        What `specification_curve` returns: ``model``, ``specification`` (its name), the choices
        ``feature``, ``difficulty``, ``baselines`` and ``penalty``, ``lc_win_rate``, ``ci_low``,
        ``ci_high`` as fractions. At most seven models.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Specifications from left to right in the order of the first model's estimates; below, a mark
        for each choice that a specification makes.

    Examples
    --------
    >>> from alpaca_analysis import figures, load
    >>> curve = load("length_specifications")
    >>> ax = figures.specification_curve(curve)
    """
    columns = ["model", "specification", "lc_win_rate", "ci_low", "ci_high"]
    style.need(frame, columns, figure="specification_curve", of="specification_curve")
    models = list(pd.unique(frame["model"].astype(str)))
    _few(models, "model")
    first = frame[frame["model"].astype(str) == models[0]].sort_values("lc_win_rate", kind="stable")
    order = {name: k for k, name in enumerate(first["specification"])}
    rows = _choices(first)
    ax = style.axes(ax, width=width, height=1.9 + ROW * (len(rows) + 1))
    offsets = (np.arange(len(models)) - (len(models) - 1) / 2) * 0.7 / max(len(models), 1)
    for k, model in enumerate(models):
        part = frame[frame["model"].astype(str) == model]
        x = part["specification"].map(order).to_numpy(float) + offsets[k]
        ax.vlines(x, part["ci_low"], part["ci_high"], color=SERIES[k], linewidth=0.8)
        ax.plot(
            x,
            part["lc_win_rate"],
            linestyle="none",
            marker=MARKERS[k],
            markersize=2.8,
            color=SERIES[k],
            label=on_one_line(model),
        )
    ax.set_xlim(-0.6, len(order) - 0.4)
    ax.set_xticks([])
    style.percent_axis(ax, "y")
    ax.set_ylabel("Length-controlled\nwin rate (%)")
    for k, (name, chosen) in enumerate(rows):
        down = ScaledTranslation(0, -(k + 1) * ROW, style.figure_of(ax).dpi_scale_trans)
        across = blended_transform_factory(ax.transData, ax.transAxes) + down
        x = np.flatnonzero(chosen)
        look: dict[str, Any] = {
            "linestyle": "none",
            "marker": "o",
            "markersize": 2.4,
            "color": "0.15",
            "clip_on": False,
        }
        ax.plot(x, np.zeros(len(x)), transform=across, scalex=False, scaley=False, **look)
        ax.text(
            0,
            0,
            on_one_line(name) + "  ",
            transform=ax.transAxes + down,
            ha="right",
            va="center_baseline",
            fontsize=7,
        )
    ax.set_xlabel("Specifications", labelpad=72 * ROW * (len(rows) + 0.7))
    if len(models) > 1:
        style.legend_above(ax)
    return ax


def _choices(first):
    """Return the name of each choice that differs between specifications, and who makes it."""
    rows = []
    for column in ("feature", "difficulty", "baselines", "penalty"):
        if column not in first or len(set(first[column].astype(str))) < 2:
            continue
        if pd.api.types.is_bool_dtype(first[column]):
            rows.append((column, first[column].to_numpy()))
            continue
        values = first[column].astype(str)
        kinds = sorted(values.unique())
        rows += [(f"{column}: {on_one_line(kind)}", (values == kind).to_numpy()) for kind in kinds]
    return rows
