"""Two models, or many pairs of them: how far apart their win rates are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alpaca_analysis.figures import style
from alpaca_analysis.figures.leaderboards import beside, interval_texts, intervals, mark_open, row_axes
from alpaca_analysis.figures.style import COLOURS, COLUMN


@style.styled
def difference(
    comparisons: pd.DataFrame, *, numbers: bool = True, ax: Axes | None = None, width: float = COLUMN
) -> Axes:
    """Draw differences of two win rates with their intervals, one row per pair.

    Parameters
    ----------
    comparisons : DataFrame
        What `compare` returns, or several such rows: ``model_a``, ``model_b``, ``difference``,
        ``ci_low``, ``ci_high`` as fractions, ``pvalue``, ``paired``.
    numbers : bool
        Whether the p-value and, from 5 inches on, the difference and its interval stand beside the rows.
    ax : Axes, optional
        Where to draw; by default a new figure whose height grows with the rows.
    width : float
        Width of a new figure in inches.

    Returns
    -------
    Axes
        The line at 0 is no difference. Circles are paired on shared instructions, squares were taken
        as independent samples.

    Examples
    --------
    >>> import pandas as pd
    >>> from alpaca_analysis import compare, figures, load
    >>> counts = load("alpaca_eval_v1_counts")
    >>> pairs = [compare(counts, "gpt4", b, method="t") for b in ("claude-2", "cohere", "gpt4_0314")]
    >>> ax = figures.difference(pd.concat(pairs))
    """
    columns = ["model_a", "model_b", "difference", "ci_low", "ci_high", "pvalue", "paired"]
    style.need(comparisons, columns, figure="difference", of="compare")
    pairs = zip(comparisons["model_a"], comparisons["model_b"], strict=True)
    wide = (width if ax is None else style.size(ax)[0]) >= 5
    names = [f"{a} − {b}" if wide else (str(a), f"− {b}") for a, b in pairs]
    ax, y = row_axes(ax, names, width=width, lines=1 if wide else 1.8)
    ax.axvline(0, color=COLOURS["rule"], linewidth=0.7, zorder=1)
    value, low, high = (comparisons[c].to_numpy(dtype=float) for c in ("difference", "ci_low", "ci_high"))
    paired = comparisons["paired"].to_numpy(dtype=bool)
    for which, marker, colour, label in (
        (paired, "o", "estimate", "paired"),
        (~paired, "s", "second", "independent samples"),
    ):
        if which.any():
            intervals(
                ax,
                value[which],
                low[which],
                high[which],
                y[which],
                marker=marker,
                label=label,
                colour=COLOURS[colour],
            )
    mark_open(ax, low, high)
    texts = [f"p {p_text(p)}" for p in comparisons["pvalue"]]
    if wide:
        spans = interval_texts(value, low, high, points=True)
        texts = [f"{span}, {text}" for span, text in zip(spans, texts, strict=True)]
    if numbers:
        beside(ax, y, texts)
    style.percent_axis(ax, points=True)
    style.name_below(ax, "Difference of win rates (points)")
    style.legend_above(ax)
    return ax


def p_text(pvalue: float) -> str:
    """Return a p-value as it stands behind the letter p."""
    if not np.isfinite(pvalue):
        return "undefined"
    return "< 0.001" if pvalue < 0.001 else f"= {pvalue:.2g}"
