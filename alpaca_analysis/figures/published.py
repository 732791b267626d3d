"""Printed numbers beside recomputed ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from alpaca_analysis.figures import style
from alpaca_analysis.figures.leaderboards import beside, finish_rows, rule
from alpaca_analysis.figures.style import COLUMN, PAGE, ROW
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim

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
    _draw_claims(ax, y, frame)
    style.percent_axis(ax)
    ax.set_xlabel("Win rate (%)")
    style.legend_above(ax)
    return ax


def _draw_claims(ax, y, frame) -> np.ndarray:
    """Draw what was printed and what was recomputed, at these heights; return the printed fractions."""
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
    return printed.to_numpy(dtype=float)


@style.styled
def claims_table(frame: pd.DataFrame, *, numbers: bool = True, width: float = PAGE) -> Axes:
    """Draw a printed table of models by references, recomputed: one panel a reference, one row a model.

    On a column the panels stand one above the other, on a page beside each other.

    Parameters
    ----------
    frame : DataFrame
        What `check_claims` returns, of one source: at most one claim per model and reference.
    numbers : bool
        Whether the printed percent stand beside the rows.
    width : float
        Width of the figure in inches.

    Returns
    -------
    Axes
        The panel of the first reference; the others are in ``.figure.axes``. The marker stands at what was
        printed, its colour and shape are the verdict; the stroke and the line are the recomputed win rate and
        its interval.

    Raises
    ------
    AnnotationError
        Two claims of one model against one reference.

    Examples
    --------
    >>> from alpaca_analysis import check_claims, figures, from_counts, load
    >>> board = load("alpaca_eval_v1_leaderboard_2023_09_19")
    >>> table = from_counts(board, reference="text_davinci_003", annotator="alpaca_eval_gpt4")
    >>> checked = check_claims(load("xwin_claims").query("source == 'project_table'"), table, method="t")
    >>> ax = figures.claims_table(checked)
    """
    columns = ["model", "reference", "printed", "recomputed", "ci_low", "ci_high", "verdict"]
    style.need(frame, columns, figure="claims_table", of="check_claims")
    twice = frame.duplicated(["model", "reference"])
    if twice.any():
        row = frame[twice].iloc[0]
        found = Verbatim(f"two of {row['model']!r} against {row['reference']!r}")
        expected = "one claim per model and reference; select one source"
        raise AnnotationError(expected, source="figures.claims_table", found=found)
    models = list(pd.unique(frame["model"].astype(str)))
    references = list(pd.unique(frame["reference"].astype(str)))
    wide = width >= 5  # else the panels stand one above the other
    shape = (1, len(references)) if wide else (len(references), 1)
    _, panels = style.panels(*shape, width=width, sharey=wide, letters=False)
    panels = np.atleast_1d(panels)
    for ax, reference in zip(panels, references, strict=True):
        part = frame[frame["reference"].astype(str) == reference].reset_index(drop=True)
        style.axes(ax, height=0.7 + ROW * len(models))
        finish_rows(ax, models)
        y = part["model"].astype(str).map(models.index).to_numpy()
        printed = _draw_claims(ax, y, part)
        if numbers:
            beside(ax, y, [str(text) for text in part["printed"]])
        ax.set_title(f"against {style.on_one_line(reference)}", loc="left")
        style.percent_axis(ax)
        rule(ax, 0.5, printed)
    panels[len(panels) // 2 if wide else -1].set_xlabel("Win rate (%)")
    handles: dict = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure = style.figure_of(panels[0])
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3 if wide else 1)
    return panels[0]


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
