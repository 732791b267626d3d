"""The table from counts: of wins, losses and draws, or of patterns of verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import NAMES, check, columns_once, refuse, whole_numbers


def from_counts(frame: Any, *, reference: str | None = None, annotator: str | None = None) -> pd.DataFrame:
    """Make the table from counts of wins, losses and draws.

    Parameters
    ----------
    frame : DataFrame or mapping
        Per row a ``model`` (a column, or the index) with ``n_wins``, ``n_wins_base`` (or
        ``n_losses``) and ``n_draws``; optionally ``n_asked``, how many judgements were asked for,
        and ``dataset``, ``reference``, ``annotator``. Other columns are ignored.
    reference, annotator : str, optional
        Names for all rows where the frame has no such column.

    Returns
    -------
    DataFrame
        The table, with one row per model and outcome that occurred and ``n`` as its frequency.
        Judgements asked for and not made are rows with a NaN outcome. Counts carry no instruction,
        so nothing computed from them is paired.

    Raises
    ------
    AnnotationError
        A missing column, a count that is not a whole number >= 0, a model without any judgement or
        listed twice, or ``n_asked`` below what was judged.

    Examples
    --------
    >>> from_counts({"model": ["m"], "n_wins": [765], "n_losses": [35], "n_draws": [1],
    ...              "n_asked": [805]})[["model", "outcome", "n"]]
      model  outcome    n
    0     m      1.0  765
    1     m      0.5    1
    2     m      0.0   35
    3     m      NaN    4
    """
    frame = _with_model_column(frame)
    won, drawn, lost = _counted(frame)
    judged = won + drawn + lost
    if (judged == 0).any():
        row = int(np.flatnonzero(judged == 0)[0])
        raise AnnotationError(
            "at least one judgement",
            source="counts",
            row=row,
            column="n_wins",
            found=Verbatim(f"none for model {frame['model'].iloc[row]!r}"),
        )
    asked = _asked(frame, judged)
    names = _names(frame, {"reference": reference, "annotator": annotator})
    parts = [
        names.assign(outcome=outcome, n=n, _row=range(len(frame)))
        for outcome, n in ((1.0, won), (0.5, drawn), (0.0, lost), (np.nan, asked - judged))
    ]
    table = pd.concat(parts).sort_values("_row", kind="stable").drop(columns="_row")
    return check(table[table["n"] > 0].reset_index(drop=True), source="counts")


def _counted(frame: pd.DataFrame) -> list:
    """Return the numbers of wins, draws and losses."""
    losses = "n_wins_base" if "n_wins_base" in frame else "n_losses"
    if {"n_wins_base", "n_losses"} <= set(frame) and not frame["n_wins_base"].equals(frame["n_losses"]):
        raise AnnotationError(
            "one of the columns 'n_wins_base' and 'n_losses', which differ", source="counts"
        )
    for column in ("n_wins", losses, "n_draws"):
        if column not in frame:
            found = Verbatim("columns " + ", ".join(map(str, frame.columns)))
            raise AnnotationError(f"a column {column!r}", source="counts", found=found)
    return [whole_numbers(frame[c], column=c, source="counts") for c in ("n_wins", "n_draws", losses)]


def _asked(frame: pd.DataFrame, judged: np.ndarray) -> np.ndarray:
    """Return how many judgements were asked for."""
    if "n_asked" not in frame:
        return judged
    asked = whole_numbers(frame["n_asked"], column="n_asked", source="counts")
    if (asked < judged).any():
        row = int(np.flatnonzero(asked < judged)[0])
        expected = f"at least the {judged[row]} judged"
        raise AnnotationError(expected, source="counts", row=row, column="n_asked", found=int(asked[row]))
    return asked


def _names(frame: pd.DataFrame, given: Any) -> pd.DataFrame:
    """Return who was judged, against whom and by whom, each once; `given` stands in for absent columns."""
    absent = {name: pd.Series([given.get(name)] * len(frame), dtype=object) for name in NAMES}
    named = pd.DataFrame({name: frame.get(name, absent[name]) for name in NAMES})
    # Checked before rows are dealt out to outcomes: a message names the row as it was given.
    names = check(named.assign(outcome=np.nan), source="counts")[list(NAMES)]
    refuse(names.duplicated(), "each model once", names["model"], column="model", source="counts")
    return names


def _with_model_column(frame: pd.DataFrame) -> pd.DataFrame:
    try:
        frame = pd.DataFrame(frame)
    except (ValueError, TypeError) as error:  # neither, or columns of different lengths
        raise AnnotationError(f"a DataFrame, or lists by column ({error})", source="counts") from None
    columns_once(frame, source="counts")
    if "model" not in frame:
        unnamed = next((c for c in frame.columns if str(c).startswith("Unnamed: 0")), None)
        if unnamed is not None:
            frame = frame.rename(columns={unnamed: "model"})
        elif isinstance(frame.index, pd.RangeIndex):
            found = Verbatim("columns " + ", ".join(map(str, frame.columns)))
            raise AnnotationError("a column 'model', or the models as index", source="counts", found=found)
        else:
            frame = frame.rename_axis("model").reset_index()
    return frame.reset_index(drop=True)


def from_patterns(frame: pd.DataFrame, *, source: str = "patterns") -> pd.DataFrame:
    """Make the table from counts of patterns: who said what on how many pairs.

    Parameters
    ----------
    frame : DataFrame
        ``n``, how many pairs, and a column per annotator with their outcome (1 the first output, 0 the
        second, 0.5 a draw, NaN no usable answer), as `load` returns for "pandalm_counts".
    source : str
        How messages name the frame.

    Returns
    -------
    DataFrame
        The table: a row per pattern and annotator, with the pattern's number as ``idx`` and ``n`` pairs.
        Instructions are unknown, so that `human_agreement` and its like take pairs as independent.

    Raises
    ------
    AnnotationError
        No column ``n``, no annotator, or a value that is no outcome.

    Examples
    --------
    >>> import pandas as pd
    >>> patterns = pd.DataFrame({"human_1": [1, 0], "judge": [1.0, 1.0], "n": [30, 12]})
    >>> from_patterns(patterns)[["annotator", "idx", "outcome", "n"]]
      annotator  idx  outcome   n
    0   human_1    0      1.0  30
    1   human_1    1      0.0  12
    2     judge    0      1.0  30
    3     judge    1      1.0  12
    """
    names = [c for c in frame.columns if c != "n"]
    if "n" not in frame or not names:
        raise AnnotationError("a column 'n' and one per annotator", source=source, found=list(frame.columns))
    parts = [
        pd.DataFrame(
            {
                "model": "first",
                "reference": "second",
                "annotator": str(name),
                "outcome": frame[name].to_numpy(),
                "n": frame["n"].to_numpy(),
                "idx": np.arange(len(frame)),
            }
        )
        for name in names
    ]
    return check(pd.concat(parts, ignore_index=True), source=source)
