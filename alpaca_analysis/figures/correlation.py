"""Correlation over models: the points, what each of them carries, and the range they span."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alpaca_analysis.figures import style
from alpaca_analysis.figures.labels import place
from alpaca_analysis.figures.leaderboards import row_axes
from alpaca_analysis.figures.style import COLOURS, COLUMN
from alpaca_analysis.foundations.errors import AnnotationError


@style.styled
def correlation(
    result,
    *,
    ax: Axes | None = None,
    width: float = COLUMN,
    labels: tuple[str, str] = ("Judge's win rate", "Human win rate"),
    names: bool = True,
) -> Axes:
    """Draw the points of a correlation with their errors and names.

    Parameters
    ----------
    result : Correlation
        What `win_rate_correlation` or `correlation_from_rows` returns.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.
    labels : (str, str)
        What x and y are, in the units they came in.
    names : bool
        Name points where there is room, those first that leave-one-out moves most.

    Returns
    -------
    Axes
        Crosses of plus and minus one standard error where errors were given; the coefficient and its
        interval in the title.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, win_rate_correlation
    >>> points = load("alpacafarm_win_rates").set_index("method")
    >>> found = win_rate_correlation(points["simulated_win_rate"], points["human_win_rate"],
    ...                              x_se=points["simulated_se"], y_se=points["human_se"], n_resamples=199)
    >>> ax = figures.correlation(found, labels=("Simulated win rate (%)", "Human win rate (%)"))

    AlpacaEval 2 beside Chatbot Arena, raw and at equal length:

    >>> from alpaca_analysis import figures, load, win_rate_correlation
    >>> columns = ["AlpacaEval 2.0", "LC AlpacaEval 2.0", "Arena Elo [April 18, 2024]"]
    >>> boards = load("chat_benchmarks").set_index("model")[columns].dropna()
    >>> elo, options = boards[columns[2]], {"method": "spearman", "n_resamples": 199}
    >>> raw, lc = (win_rate_correlation(boards[column], elo, **options) for column in columns[:2])
    >>> figure, (left, right) = figures.panels(sharey=True)
    >>> first = figures.correlation(raw, ax=left, labels=("Win rate (%)", "Arena Elo"))
    >>> ax = figures.correlation(lc, ax=right, labels=("Length-controlled win rate (%)", ""))
    """
    _refuse_other(result, "correlation")
    ax = style.axes(ax, width=width, height=min(0.85 * width, 3.6))
    points = result.points
    ax.errorbar(
        points["x"],
        points["y"],
        xerr=points["x_se"].to_numpy() if points["x_se"].notna().any() else None,
        yerr=points["y_se"].to_numpy() if points["y_se"].notna().any() else None,
        fmt="o",
        markersize=3.5,
        color=COLOURS["estimate"],
        ecolor=COLOURS["rule"],
        elinewidth=0.7,
    )
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.set_title(_title(result), loc="left")
    if names:
        lever = (result.leave_one_out - result.statistic).abs().sort_values(ascending=False, kind="stable")
        order = points.set_index("model").loc[lever.index]
        x, y = order["x"].to_numpy(float), order["y"].to_numpy(float)
        place(ax, x, y, [str(name) for name in order.index], avoid=_crosses(points))
    return ax


def _refuse_other(result, figure):
    if not hasattr(result, "leave_one_out") or not hasattr(result, "points"):
        expected = "a result of win_rate_correlation or correlation_from_rows"
        raise AnnotationError(expected, source=f"figures.{figure}", found=result)


def _crosses(points):
    """Return spots along the crosses of plus and minus one standard error."""
    steps = np.linspace(-1, 1, 15)
    x, y = (points[c].to_numpy(float)[:, None] + 0 * steps for c in ("x", "y"))
    wide, high = (points[c].fillna(0).to_numpy(float)[:, None] * steps for c in ("x_se", "y_se"))
    return np.column_stack([np.concatenate([x + wide, x]).ravel(), np.concatenate([y, y + high]).ravel()])


def _title(result) -> str:
    symbol = {"pearson": "r", "spearman": "ρ", "kendall": "τ"}[result.method]
    text = f"{symbol} = {result.statistic:.3f}"
    if np.isfinite(result.ci_low):
        text += f" [{result.ci_low:.3f}, {result.ci_high:.3f}]"
    return f"{text}, n = {result.n}"


@style.styled
def leave_one_out(result, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw the coefficient without each model, one row per model, the most influential first.

    Parameters
    ----------
    result : Correlation
        What `win_rate_correlation` returns.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        The line is the coefficient of all models.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, win_rate_correlation
    >>> points = load("alpacafarm_win_rates").set_index("method")
    >>> found = win_rate_correlation(points["simulated_win_rate"], points["human_win_rate"])
    >>> ax = figures.leave_one_out(found)
    """
    _refuse_other(result, "leave_one_out")
    left_out = result.leave_one_out
    ax, y = row_axes(ax, [f"without {name}" for name in left_out.index], width=width)
    ax.axvline(result.statistic, color=COLOURS["rule"], linewidth=0.7, zorder=1)
    ax.hlines(y, result.statistic, left_out, color=COLOURS["estimate"], linewidth=1.1)
    ax.plot(left_out, y, "o", color=COLOURS["estimate"])
    ax.xaxis.set_major_locator(MaxNLocator(6 if style.size(ax)[0] >= 5 else 4))
    style.name_below(ax, f"Correlation (of all: {result.statistic:.3f})")
    return ax


@style.styled
def restricted_range(frame: pd.DataFrame, *, ax: Axes | None = None, width: float = COLUMN) -> Axes:
    """Draw the correlation among the best and among the worst models, by how many are kept.

    Parameters
    ----------
    frame : DataFrame
        What `restrict_range` returns: ``keep``, ``n``, ``statistic``, ``ci_low``, ``ci_high``,
        ``expected``.
    ax : Axes, optional
        Where to draw.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        Lines with the bands of their intervals; thin lines are what a linear relation of equal strength
        would give.

    Examples
    --------
    >>> from alpaca_analysis import figures, load, restrict_range
    >>> points = load("human_win_rates").set_index("point")
    >>> frame = restrict_range(points["auto_win_rate"], points["human_win_rate"])
    >>> ax = figures.restricted_range(frame)
    """
    columns = ["keep", "n", "statistic", "ci_low", "ci_high", "expected"]
    style.need(frame, columns, figure="restricted_range", of="restrict_range")
    ax = style.axes(ax, width=width)
    whole = frame[frame["keep"] == "all"]
    for keep, colour, marker in (("best", "estimate", "o"), ("worst", "highlight", "s")):
        rows = pd.concat([frame[frame["keep"] == keep], whole]).sort_values("n")
        shade = COLOURS[colour]
        ax.fill_between(rows["n"], rows["ci_low"], rows["ci_high"], alpha=0.15, linewidth=0, color=shade)
        ax.plot(
            rows["n"], rows["statistic"], marker=marker, markersize=2.5, label=f"{keep} models", color=shade
        )
        told = "linear relation of equal strength" if keep == "worst" else None
        ax.plot(rows["n"], rows["expected"], linewidth=0.7, linestyle=":", color=shade, label=told)
    ax.set_xlabel("Models kept")
    ax.set_ylabel("Correlation")
    ax.set_ylim(top=1.02)
    ax.legend(loc="lower right")
    return ax
