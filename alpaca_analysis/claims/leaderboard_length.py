"""Checks of printed length-controlled win rates: coefficients, shifted rows, and what the penalty makes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from alpaca_analysis.claims.leaderboard_rows import MIN_SHARED, Finding, of_verdicts
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.length.control.fitting import fit_length_control, published_length_control
from alpaca_analysis.length.control.result import mean_sigmoid
from alpaca_analysis.sources.catalogue import load
from alpaca_analysis.table.checks import check

COLUMN = "length_controlled_winrate"
# Errors of the quadrature are below 0.013 points on clean rows, 0.001 on nine in ten.
TOLERANCE = 0.05
# Fits on rebuilt difficulties miss published values by 0.4 points on average.
REBUILT = 0.4
NEAR_HALF = 0.25  # points around 50 where a constant of 0 puts the win rates of AlpacaEval 1
PENALTY = 10 ** (4 / 9)  # the inverse of 0.359, the point of AlpacaEval's grid of C where it happens
BY_ROW = "AlpacaEval's fit takes difficulties by row number"


def implied_by(board, coefficients) -> pd.Series | None:
    """Return the LC win rates that coefficients imply, in percent, or None if they do not apply."""
    if COLUMN not in board:
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
    printed = board.drop_duplicates("model").set_index("model")[COLUMN]
    off = (printed - implied.reindex(printed.index)).abs().dropna()
    belongs = len(off) >= MIN_SHARED and off.median() <= TOLERANCE
    return implied if given or belongs else None


def against_coefficients(board, implied) -> Iterator[Finding]:
    """Compare printed LC win rates with those that coefficients imply."""
    if implied is None:
        return
    expected, printed = board["model"].map(implied), board[COLUMN]
    for row in np.flatnonzero(((printed - expected).abs() > TOLERANCE).to_numpy()):
        message = (
            f"{COLUMN} is printed as {printed[row]:.5f}; its coefficients give {expected[row]:.5f}, exact to "
            f"{TOLERANCE}"
        )
        yield Finding(board["model"][row], COLUMN, expected[row], printed[row], "error", message)


def shifted_rows(board, annotations, second: bool) -> Iterator[Finding]:
    """Find LC win rates that were fitted with other instructions' difficulties.

    Parameters
    ----------
    board : DataFrame
        A leaderboard, in percent.
    annotations : DataFrame or None
        The judgements behind it.
    second : bool
        Whether it is AlpacaEval 2's, on which a small ``n_total`` is a sign of missing rows.
    """
    if COLUMN not in board:
        return
    seen = set() if annotations is None else set(annotations["model"].astype(str))
    if annotations is not None:
        yield from _lacking_rows(board, annotations)
    if not second or "n_total" not in board:
        return
    size = board["n_total"].max()
    for row in np.flatnonzero(((board["n_total"] < size) & board[COLUMN].notna()).to_numpy()):
        if board["model"][row] not in seen:
            n = board["n_total"][row]
            message = (
                f"n_total is {n:g} of {size:g}: if its file lacks rows, {COLUMN} possibly comes from other "
                f"instructions' difficulties ({BY_ROW})"
            )
            yield Finding(board["model"][row], "n_total", size, n, "warning", message)


def _lacking_rows(board, annotations) -> Iterator[Finding]:
    """Compare, for every file that lacks rows, the printed value with fits by row and by instruction."""
    if "instruction_id" not in annotations:
        return
    ids = {str(m): rows["instruction_id"] for m, rows in annotations.groupby("model", observed=True)}
    ids = {model: given for model, given in ids.items() if given.notna().all()}
    if len(ids) < 2:
        return
    held = pd.Series(np.concatenate([given.unique() for given in ids.values()])).value_counts()
    lacking = {m: int((~held.index[held > (len(ids) - 1) / 2].isin(i)).sum()) for m, i in ids.items()}
    whole = [given.drop_duplicates() for model, given in ids.items() if not lacking[model]]
    printed = board.drop_duplicates("model").set_index("model")[COLUMN]
    for model, gap in sorted(lacking.items()):
        # Files that lack most rows are of other instructions.
        if gap and gap < ids[model].nunique() and not pd.isna(printed.get(model)):
            fits = None
            if whole:
                fits = _fits(annotations[annotations["model"] == model], whole[0].to_numpy())
            yield _shifted(model, printed[model], gap, ids[model].nunique() + gap, fits)


def _shifted(model, printed, lacking, size, fits) -> Finding:
    what = f"its file lacks {lacking} of {size} rows, and {BY_ROW}"
    if fits is None:
        message = f"{COLUMN} is printed as {printed:.2f}; {what}"
        return Finding(model, "shifted rows", size, size - lacking, "warning", message)
    by_row, right = fits
    message = f"{COLUMN} is printed as {printed:.2f}; {what}: {by_row:.2f} by row, {right:.2f} by instruction"
    severity = "error" if abs(printed - right) > REBUILT else "warning"
    return Finding(model, "shifted rows", right, printed, severity, message)


def _fits(rows, order) -> tuple[float, float] | None:
    """Return the LC win rate by row and by instruction, in percent; None without known difficulties."""
    if len(rows) > len(order) or rows["instruction_id"].duplicated().any():
        return None
    by_row = rows.assign(instruction_id=order[: len(rows)])
    shifted, right = _length_controlled(by_row), _length_controlled(rows)
    return None if shifted is None or right is None else (shifted, right)


def _length_controlled(rows, penalty=0.0) -> float | None:
    """Return the LC win rate in percent on AlpacaEval's difficulties, or None where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedWarning)
            fit = fit_length_control(check(rows), penalty=penalty).to_frame()
    except AnnotationError:
        return None
    return float(100 * fit["lc_win_rate"].iloc[0])


def near_half(board, annotations) -> Iterator[Finding]:
    """Find LC win rates of verdicts so near to 50 % that the penalty may have made them."""
    if COLUMN not in board or not of_verdicts(board):
        return
    itself = board["n_draws"] == board["n_total"]  # the reference, 50 by definition
    for row in np.flatnonzero((((board[COLUMN] - 50).abs() <= NEAR_HALF) & ~itself).to_numpy()):
        model, printed = board["model"][row], board[COLUMN][row]
        rows = None if annotations is None else annotations[annotations["model"] == model]
        with_penalty = plain = None
        if rows is not None and len(rows):
            with_penalty, plain = _length_controlled(rows, PENALTY), _length_controlled(rows)
        message = f"{COLUMN} is printed as {printed:.2f}, "
        if with_penalty is None or plain is None:
            message += "possibly because the penalty of the fit set its constant to 0"
            yield Finding(model, "penalty", "other than 50", printed, "warning", message)
        elif abs(with_penalty - 50) <= NEAR_HALF < abs(plain - 50):
            message += (
                f"as a fit gives it whose penalty sets the constant to 0 ({with_penalty:.2f}); without "
            )
            message += f"penalty it is {plain:.2f}"
            yield Finding(model, "penalty", plain, printed, "warning", message)
