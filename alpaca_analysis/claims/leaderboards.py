"""Whether a published leaderboard agrees with itself, with its files and with its coefficients."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from alpaca_analysis.claims.leaderboard_files import (
    against_files,
    figures_of_files,
    identical,
    names_in_files,
)
from alpaca_analysis.claims.leaderboard_length import (
    against_coefficients,
    implied_by,
    near_half,
    shifted_rows,
)
from alpaca_analysis.claims.leaderboard_rows import (
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

    See Also
    --------
    audit : The judgements of one judge.
    check_claims : Printed win rates one by one.

    Notes
    -----
    Checks of the row: ``number``, ``range``, ``scale`` (a fraction among percentages, or the reverse),
    ``duplicate``, ``counts`` (they sum to ``n_total``), ``win_rate``, ``standard_error`` and
    ``discrete_win_rate`` against the counts. With m = (w + d/2)/n, the standard error of verdicts is
    sqrt(((w + d/4)/n - m^2)/(n - 1)). Of weighted judgements the counts give the discrete win rate, and
    bounds of the others. ``length_controlled_winrate``: the mean of sigmoid(theta + psi difficulty).

    AlpacaEval's length control gives each judgement the difficulty of its row number, so that in a file
    that lacks rows all rows behind the gap get another instruction's (alpaca-eval 0.6.6; rows without a
    verdict keep their place). ``shifted rows``: with `annotations`, the files that lack rows which most
    others have, and the win rate fitted by row number and by instruction. ``n_total``: rows of AlpacaEval 2
    without a file that have fewer judgements than others, as a possibility; on other boards that only says
    what was judged. ``penalty``: on boards of verdicts, LC win rates within 0.25 points of 50, which the L1
    penalty may have made by setting the constant to 0; with `annotations`, whether a fit at that penalty
    gives such a value.

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
    files = None if annotations is None else figures_of_files(annotations)
    findings = list(numbers(board))
    board = board.assign(**{c: to_numeric(board[c]) for c in RANGES if c in board})
    findings += [*duplicates(board), *ranges(board), *scales(board), *against_counts(board)]
    fitted = implied_by(board, coefficients)
    findings += [*against_coefficients(board, fitted), *shifted_rows(board, annotations, fitted is not None)]
    if fitted is None:
        findings += near_half(board, annotations)
    if files is not None:
        findings += [*against_files(board, files), *names_in_files(annotations), *identical(annotations)]
    result = pd.DataFrame(findings, columns=list(Finding._fields), dtype=object)
    order = result["severity"].map({s: i for i, s in enumerate(SEVERITIES)})
    result = result.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    listed = set(board["model"])
    result.attrs = {
        "method": "printed values against their own row, their files and their coefficients",
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
