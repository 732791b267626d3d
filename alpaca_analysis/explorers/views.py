"""What the explorer shows for a choice: a result, a picture of it, and what it cannot say."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

VIEWS = ("leaderboard", "head-to-head", "length response")
METHODS = ("bca", "percentile", "t", "wilson")
RAW = "as judged"
CONTROLS: dict[str, dict] = {
    RAW: {},
    "equal length: AlpacaEval's fit": {"difficulty": "published"},
    "equal length: no difficulties": {"difficulty": None},
    "equal length: log ratio": {"difficulty": None, "feature": "log_ratio"},
}
MOST = 10  # models in one figure: more would take longer to draw than people like to wait
N_RESAMPLES = 1999  # for the same reason; the caption says so
N_BINS = 8
WIDTH = 4.9  # inches; numbers stand in the table below, not beside the rows


class ViewError(Exception):
    """A view that the chosen judgements cannot fill; says why and what would."""


@dataclass(frozen=True)
class Choice:
    """Values of all controls."""

    data: str
    judge: tuple[str | None, str | None]
    source: str
    view: str
    models: tuple[str, ...]
    a: str
    b: str
    method: str
    level: float
    control: str


@dataclass(frozen=True)
class Answer:
    """A result, its picture as PNG, and a sentence; without a result, why there is none."""

    result: pd.DataFrame | None
    picture: bytes
    message: str


def judges(table: pd.DataFrame) -> list[tuple[str, tuple]]:
    """Return labels and names of each annotator with each reference."""
    from alpaca_analysis.present.rendering import printable

    known = table[["annotator", "reference"]].astype(object).drop_duplicates()
    pairs = [tuple(None if pd.isna(v) else v for v in row) for row in known.to_numpy()]
    named = [["unknown" if v is None else printable(v) for v in pair] for pair in pairs]
    labels = [("judge " if names[0] == "unknown" else "") + " against ".join(names) for names in named]
    return sorted(zip(labels, pairs, strict=True))


def judged_by(table: pd.DataFrame, judge: tuple) -> pd.DataFrame:
    """Return the judgements of one annotator against one reference."""
    keep = pd.Series(True, index=table.index)
    for column, name in zip(("annotator", "reference"), judge, strict=True):
        keep &= table[column].isna() if name is None else table[column] == name
    return table[keep]


def best_first(table: pd.DataFrame) -> list[str]:
    """Return models by win rate."""
    sums = pd.DataFrame(
        {"model": table["model"].astype(str), "y": table["outcome"] * table["n"], "n": table["n"]}
    )[table["outcome"].notna()]
    sums = sums.groupby("model").sum()
    return (sums["y"] / sums["n"]).sort_values(ascending=False, kind="stable").index.tolist()


def answer(table: pd.DataFrame, choice: Choice, *, cells: pd.DataFrame | None = None) -> Answer:
    """Compute and draw one view.

    Parameters
    ----------
    table : DataFrame
        Judgements of all judges and sources.
    choice : Choice
        What is asked.
    cells : DataFrame, optional
        The same judgements in cells of length, where `table` holds no lengths.

    Returns
    -------
    Answer

    Raises
    ------
    ViewError
        The judgements cannot answer it; the message says what would.
    AnnotationError
        Nor can the statistic behind it.
    """
    view = {"leaderboard": _leaderboard, "head-to-head": _head_to_head, "length response": _response}
    rows = judged_by(table, choice.judge)
    if choice.source:
        rows = rows[rows["dataset"] == choice.source]
    rows = rows.reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # notes in the result say the same
        result, draw, message = view[choice.view](rows, choice, cells)
        return Answer(result, _png(draw), message)


def _png(draw: Callable) -> bytes:
    """Draw once: `savefig` would lay out, measure and draw every text twice."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw().figure
    try:
        figure.set_dpi(130)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        buffer = io.BytesIO()
        plt.imsave(buffer, canvas.buffer_rgba(), format="png", metadata={"Software": None})
    finally:
        plt.close(figure)
    return buffer.getvalue()


def _options(choice) -> dict:
    return {
        "method": choice.method,
        "confidence_level": choice.level,
        "n_resamples": N_RESAMPLES,
    }


def _only(rows, models):
    return rows[rows["model"].isin(list(models))].reset_index(drop=True)


def _leaderboard(rows, choice, cells):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.estimates import win_rate

    if not choice.models:
        raise ViewError("Choose at least one model.")
    shown, message = choice.models[:MOST], ""
    if len(choice.models) > MOST:
        message = f"The first {MOST} of {len(choice.models)} chosen models are shown."
    if choice.control != RAW:
        result = _at_equal_length(rows, choice, cells, shown)
        drawn = result.drop(columns="win_rate").rename(columns={"lc_win_rate": "win_rate"})
        message += " The interval includes the fit (sandwich); the choice of interval does not apply."
    else:
        result = drawn = win_rate(_only(rows, shown), **_options(choice))
    return result, lambda: figures.forest(drawn, width=WIDTH), message.strip()


def _at_equal_length(rows, choice, cells, models):
    from alpaca_analysis.length.control.fitting import fit_length_control

    options = CONTROLS[choice.control]
    part = _only(rows, models)
    if part["length_model"].isna().all():
        if cells is None or choice.source or "feature" in options:
            raise ViewError(
                "These judgements hold no lengths, and the bundled cells of length answer for all sources "
                "together and the published measure of length only."
            )
        part = _only(judged_by(cells, choice.judge), models)
    fit = fit_length_control(part, confidence_level=choice.level, **options).to_frame()
    return fit[["model", "win_rate", "lc_win_rate", "standard_error", "ci_low", "ci_high", "note"]]


def _head_to_head(rows, choice, cells):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.estimates import win_rate
    from alpaca_analysis.win_rates.two_models import compare

    if choice.a == choice.b:
        raise ViewError("Choose two different models.")
    pair = _only(rows, (choice.a, choice.b))
    method = "t" if choice.method == "wilson" else choice.method
    options = _options(choice) | {"method": method}
    result = compare(pair, choice.a, choice.b, **options)
    message = (
        "" if choice.method == method else "Wilson's interval is for one win rate; Student's t is shown."
    )
    if pair["dataset"].isna().any() or choice.source:
        rates = win_rate(pair, **options)
        return result, lambda: figures.forest(rates, width=WIDTH), message
    rates = win_rate(pair, by=["model", "dataset"], **options)
    return result, lambda: figures.by_source(rates, width=WIDTH), message


def _response(rows, choice, cells):
    from alpaca_analysis import figures
    from alpaca_analysis.length.preferences import response_curve

    part = _only(rows, choice.models)
    if (part["length_model"] - part["length_reference"]).isna().all():
        raise ViewError(
            "These judgements hold no lengths. Choose published rows where they are at hand, or add a file "
            "of your own."
        )
    part["annotator"] = part["annotator"].astype(object).fillna("the judge")
    method = "t" if choice.method == "wilson" else choice.method
    measured = part[["outcome", "length_model", "length_reference"]].notna().all(axis=1).sum()
    bins = min(N_BINS, max(1, measured))
    result = response_curve(part, n_bins=bins, **(_options(choice) | {"method": method}))
    message = "All chosen models together. Longer outputs may also be better ones."
    return result, lambda: figures.length_response(result, width=WIDTH), message
