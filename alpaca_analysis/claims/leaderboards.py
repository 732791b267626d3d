"""Whether a published leaderboard agrees with itself, with its files and with its coefficients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from alpaca_analysis.claims.leaderboard_files import (
    against_files,
    figures_of_files,
    identical,
    names_in_files,
)
from alpaca_analysis.claims.leaderboard_rows import (
    MIN_SHARED,
    RANGES,
    Finding,
    against_counts,
    duplicates,
    numbers,
    ranges,
    scales,
)
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import columns_once, to_numeric

SEVERITIES = ("error", "warning", "minor")
# Errors of the quadrature are below 0.013 points on clean rows, 0.001 on nine in ten.
LENGTH_CONTROL_TOLERANCE = 0.05


def audit_leaderboard(board, *, annotations: pd.DataFrame | None = None, coefficients=None) -> pd.DataFrame:
    """Find what in a leaderboard does not fit: its own columns, its annotation files, its coefficients.

    Parameters
    ----------
    board : DataFrame or path
        A leaderboard in AlpacaEval's format, in percent: models in the index, in ``model`` or in
        ``Unnamed: 0``; any of ``win_rate, standard_error, n_wins, n_wins_base, n_draws, n_total,
        discrete_win_rate, length_controlled_winrate, lc_standard_error, avg_length``. AlpacaEval's
        leaderboard of evaluators is checked for ranges and scales.
    annotations : DataFrame, optional
        What `read_annotations` made of the annotation files behind the leaderboard.
    coefficients : DataFrame or LengthControl, optional
        Length-control coefficients per model (AlpacaEval's three columns, or ``phi, psi, theta``), or an
        object with such a frame. By default AlpacaEval's published ones, used if they are evidently this
        leaderboard's: at least 10 shared models, and half of them within 0.05 points.

    Returns
    -------
    DataFrame
        ``model``, ``check``, ``expected``, ``found``, ``severity`` ("error", "warning", "minor") and
        ``message``, most severe first; empty if nothing was found. Percent, as in the leaderboard.
        ``.attrs`` says how many rows were checked against what, and lists models with files and
        without a row.

    Raises
    ------
    AnnotationError
        A board without models, or annotations that are no table.

    Notes
    -----
    Checks of the row: ``number``, ``range``, ``scale`` (a fraction among percentages, or the reverse),
    ``duplicate``, ``counts`` (they sum to ``n_total``), ``win_rate``, ``standard_error`` and
    ``discrete_win_rate`` against the counts. With m = (w + d/2)/n, the standard error of verdicts is
    sqrt(((w + d/4)/n - m^2)/(n - 1)). Of weighted judgements the counts give the discrete win rate, and
    bounds of the others. ``length_controlled_winrate``: the mean of sigmoid(theta + psi difficulty).

    Checks of the files: the same figures as ``file: ...``; ``model in file`` and ``annotator in file``
    against the folder names; ``reference`` and ``annotator`` that differ from the other files';
    ``identical files``. A file that contradicts its folder may have been renamed: a warning. A row that
    passes fits its files; that does not make the judgements sound.

    Examples
    --------
    >>> board = pd.DataFrame({"win_rate": [75.0, 60.0], "n_wins": [7, 7], "n_wins_base": [2, 2],
    ...                       "n_draws": [1, 1], "n_total": [10, 10]}, index=["right", "wrong"])
    >>> audit_leaderboard(board)[["model", "check", "expected", "found", "severity"]]
       model     check expected found severity
    0  wrong  win_rate     75.0  60.0    error
    """
    board = _read(board)
    findings = list(numbers(board))
    board = board.assign(**{c: to_numeric(board[c]) for c in RANGES if c in board})
    findings += [*duplicates(board), *ranges(board), *scales(board)]
    findings += against_counts(board)
    fitted = _length_controlled(board, coefficients)
    findings += _against_coefficients(board, fitted)
    files = None
    if annotations is not None:
        files = figures_of_files(annotations)
        findings += [*against_files(board, files), *names_in_files(annotations), *identical(annotations)]
    result = pd.DataFrame(findings, columns=list(Finding._fields), dtype=object)
    order = result["severity"].map({s: i for i, s in enumerate(SEVERITIES)})
    result = result.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    listed = set(board["model"])
    result.attrs = {
        "n_rows": len(board),
        "n_against_files": 0 if files is None else len(listed & set(files.index)),
        "n_against_coefficients": 0 if fitted is None else len(listed & set(fitted.index)),
        "unlisted": [] if files is None else sorted(set(files.index) - listed),
    }
    return result


def _read(board):
    source = "board"
    if isinstance(board, (str, os.PathLike)):
        source = str(board)
        if not Path(board).is_file():
            raise FileNotFoundError(f"{board}: no such leaderboard")
        try:
            board = pd.read_csv(board)
        except ValueError as error:
            raise AnnotationError(f"a CSV file with a header ({error})", source=source) from None
    if not isinstance(board, pd.DataFrame):
        raise AnnotationError("a DataFrame or a path", source=source, found=type(board).__name__)
    columns_once(board, source=source)
    first = next((c for c in ("model", "Unnamed: 0", "evaluator") if c in board), None)
    if first is not None:
        board = board.rename(columns={first: "model"}).reset_index(drop=True)
    elif isinstance(board.index, pd.RangeIndex):
        raise AnnotationError("models in the index or in 'model'", source=source, found=list(board.columns))
    else:
        board = board.rename_axis("model").reset_index()
    if board.empty:
        raise AnnotationError("at least one row, found none", source=source)
    return board.assign(model=board["model"].astype(str))


def _length_controlled(board, coefficients) -> pd.Series | None:
    """Return the LC win rates that coefficients imply, in percent, or None if they do not apply."""
    from alpaca_analysis.length.control.fitting import published_length_control
    from alpaca_analysis.length.control.result import mean_sigmoid
    from alpaca_analysis.sources.catalogue import load

    if "length_controlled_winrate" not in board:
        return None
    given = coefficients is not None
    fitted = coefficients if given else published_length_control()
    frame: pd.DataFrame = fitted if isinstance(fitted, pd.DataFrame) else fitted.to_frame()
    first = next((c for c in ("model", "Unnamed: 0") if c in frame), None)
    frame = (frame if first is None else frame.set_index(first)).rename(
        columns={"instruction_difficulty": "psi", "not_gamed_baseline.astype(float)": "theta"}
    )
    if "lc_win_rate" in frame:
        implied = 100 * frame["lc_win_rate"]
    elif {"psi", "theta"} <= set(frame):
        atoms = load("difficulty_quadrature")
        arrays = (frame["theta"], frame["psi"], atoms["difficulty"], atoms["weight"])
        implied = pd.Series(100 * mean_sigmoid(*(a.to_numpy() for a in arrays)), frame.index)
    else:
        raise AnnotationError("columns 'psi' and 'theta'", source="coefficients", found=list(frame.columns))
    printed = board.drop_duplicates("model").set_index("model")["length_controlled_winrate"]
    off = (printed - implied.reindex(printed.index)).abs().dropna()
    belongs = len(off) >= MIN_SHARED and off.median() <= LENGTH_CONTROL_TOLERANCE
    return implied if given or belongs else None


def _against_coefficients(board, implied) -> Iterator[Finding]:
    if implied is None:
        return
    column = "length_controlled_winrate"
    expected, printed = board["model"].map(implied), board[column]
    for row in np.flatnonzero(((printed - expected).abs() > LENGTH_CONTROL_TOLERANCE).to_numpy()):
        message = (
            f"{column} is printed as {printed[row]:.5f}; its coefficients give {expected[row]:.5f}, exact to "
            f"{LENGTH_CONTROL_TOLERANCE}"
        )
        yield Finding(board["model"][row], column, expected[row], printed[row], "error", message)
