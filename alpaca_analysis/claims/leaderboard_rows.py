"""Checks of a leaderboard's rows by themselves: ranges, scales, and figures against their counts.

Tolerances. A figure is trusted to the decimals its column is printed with, and never beyond 1e-8 points:
27 rows of AlpacaEval 1 are rounded to 8 or 9 decimals among others with 15. A difference that would change
the second decimal in percent is an ``error``, a smaller one ``minor``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from alpaca_analysis.table.checks import to_numeric

FINEST = 1e-8  # points
TWO_DECIMALS = 0.005  # points: below it a printed percentage stays what it is
MIN_SHARED = 10  # rows that tell what kind of leaderboard it is
MIN_FOR_SCALE = 6  # values of which a few can be told from the others
SCALE_GAP = 10  # times: between a fraction and a percentage

PERCENT = (0.0, 100.0)
RANGES = {
    **dict.fromkeys(("win_rate", "standard_error", "discrete_win_rate"), PERCENT),
    **dict.fromkeys(("length_controlled_winrate", "lc_standard_error"), PERCENT),
    **dict.fromkeys(("Human agreement", "Bias", "Variance"), PERCENT),
    **dict.fromkeys(("Proba. prefer longer", "Proba. prefer lists", "Proba. prefer 1"), (0.0, 1.0)),
    **dict.fromkeys(("Spearman corr.", "Pearson corr."), (-1.0, 1.0)),
    **dict.fromkeys(("Price [$/1000 examples]", "Time [seconds/1000 examples]"), (0.0, np.inf)),
    **dict.fromkeys(("n_wins", "n_wins_base", "n_draws", "n_total", "# parsed"), (0.0, np.inf)),
    "avg_length": (0.0, np.inf),
}
COUNTS = ("n_wins", "n_wins_base", "n_draws", "n_total")


class Finding(NamedTuple):
    """One thing that does not fit."""

    model: str
    check: str
    expected: Any
    found: Any
    severity: str
    message: str


def numbers(board) -> Iterator[Finding]:
    """Find values that are not numbers."""
    for column in RANGES:
        if column not in board:
            continue
        values = board[column]
        for row in np.flatnonzero((to_numeric(values).isna() & values.notna()).to_numpy()):
            message = f"{column} is {values.iloc[row]!r}, not a number"
            yield Finding(board["model"].iloc[row], "number", "a number", values.iloc[row], "error", message)


def duplicates(board) -> Iterator[Finding]:
    """Find names that occur twice."""
    for model in board["model"][board["model"].duplicated()].unique():
        times = int((board["model"] == model).sum())
        message = f"{times} rows have this name"
        yield Finding(model, "duplicate", 1, times, "error", message)


def ranges(board) -> Iterator[Finding]:
    """Find values that their column cannot have."""
    for column, (low, high) in RANGES.items():
        if column not in board:
            continue
        values = board[column]
        for row in np.flatnonzero(((values < low) | (values > high) | np.isinf(values)).to_numpy()):
            span = f"{low:g} to {high:g}" if np.isfinite(high) else f"at least {low:g}"
            message = f"{column} is {values[row]:g}, outside its range of {span}"
            yield Finding(board["model"][row], "range", span, values[row], "error", message)
        if column in COUNTS or column == "# parsed":
            for row in np.flatnonzero((values.notna() & (values != values.round())).to_numpy()):
                message = f"{column} is {values[row]:g}, not a whole number"
                yield Finding(board["model"][row], "range", "a whole number", values[row], "error", message)


def scales(board) -> Iterator[Finding]:
    """Find the few values that lie far from the others and that a factor of 100 would bring back."""
    for column, (low, high) in RANGES.items():
        if column not in board or not np.isfinite(high) or low < 0:
            continue
        values = board[column][board[column] > 0].sort_values()
        ratio = values.to_numpy()[1:] / values.to_numpy()[:-1]
        if len(values) < MIN_FOR_SCALE or ratio.max() < SCALE_GAP:
            continue
        cut = int(ratio.argmax()) + 1
        few, many = sorted((values.iloc[:cut], values.iloc[cut:]), key=len)
        factor = 100 if few.max() < many.min() else 0.01
        for row, value in few.sort_index().items():
            if many.min() / 2 <= factor * value <= 2 * many.max():
                message = (
                    f"{column} is {value:g} where the others lie between {many.min():.4g} and "
                    f"{many.max():.4g}: a fraction among percentages, or the reverse"
                )
                yield Finding(board["model"][row], "scale", factor * value, value, "error", message)


def _tolerance(values) -> float:
    """Return half a unit of the last decimal that a column is printed with, at least `FINEST`."""
    texts = (np.format_float_positional(v, trim="-") for v in values.dropna().unique())
    decimals = max((len(t.partition(".")[2]) for t in texts), default=0)
    return max(FINEST, 0.501 * 10.0**-decimals)


def _severity(expected, found):
    return "error" if abs(expected - found) >= TWO_DECIMALS else "minor"


def compare(board, column, expected, check, why) -> Iterator[Finding]:
    """Yield a finding for each row whose `column` is not what was expected, NaN aside."""
    tolerance = _tolerance(board[column])
    off = (board[column] - expected).abs() > tolerance
    for row in np.flatnonzero(off.to_numpy()):
        want, found = float(expected.iloc[row]), float(board[column].iloc[row])
        message = f"{column} is printed as {found:.10g}; {why} {want:.10g}"
        yield Finding(board["model"].iloc[row], check, want, found, _severity(want, found), message)


def against_counts(board) -> Iterator[Finding]:
    """Compare win rate, standard error and discrete win rate with what the counts give."""
    if not set(COUNTS) <= set(board):
        return
    w, losses, d, n = (board[c] for c in COUNTS)
    total = w + losses + d
    for row in np.flatnonzero((total.notna() & (total != n)).to_numpy()):
        message = f"wins, losses and draws sum to {total[row]:g}, n_total is {n[row]:g}"
        yield Finding(board["model"][row], "counts", total[row], n[row], "error", message)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (w + d / 2) / total
        error = np.sqrt(((w + d / 4) / total - rate**2).clip(lower=0) / (total - 1))
    if "discrete_win_rate" in board:
        why = "its counts of wins and draws give"
        yield from compare(board, "discrete_win_rate", 100 * rate, "discrete_win_rate", why)
    if "win_rate" not in board:
        return
    if _is_weighted(board, 100 * rate):
        yield from _within_bounds(board, w, losses, d, total)
        return
    yield from compare(board, "win_rate", 100 * rate, "win_rate", "its counts give")
    if "standard_error" in board:
        yield from compare(board, "standard_error", 100 * error, "standard_error", "its counts give")


def of_verdicts(board) -> bool:
    """Tell whether the board's win rates follow from its counts of wins, draws and losses."""
    if not {"win_rate", *COUNTS} <= set(board):
        return False
    wins, losses, draws, _ = (board[c] for c in COUNTS)
    return not _is_weighted(board, 100 * (wins + draws / 2) / (wins + losses + draws))


def _is_weighted(board, rate):
    """Tell weighted judgements: the win rates, unlike the discrete ones, do not follow from counts."""
    follows = (board["win_rate"] - rate).abs() <= _tolerance(board["win_rate"])
    if "discrete_win_rate" not in board:
        return len(board) >= MIN_SHARED and follows.mean() < 0.5
    discrete = (board["discrete_win_rate"] - rate).abs() <= _tolerance(board["discrete_win_rate"])
    return bool(follows.mean() < 0.5 <= discrete.mean())


def _within_bounds(board, w, losses, d, n) -> Iterator[Finding]:
    """Check what counts say of weighted judgements: a win is above 0.5, a loss below."""
    rate = board["win_rate"]
    low, high = 50 * (w + d) / n, 100 * (w + d / 2 + losses / 2) / n
    for row in np.flatnonzero(((rate < low - FINEST) | (rate > high + FINEST)).to_numpy()):
        span = f"{low[row]:.4f} to {high[row]:.4f}"
        message = f"win_rate is printed as {rate[row]:.10g}; its counts allow {span}"
        yield Finding(board["model"][row], "win_rate", span, rate[row], "error", message)
    if "standard_error" in board:
        error = board["standard_error"]
        largest = np.sqrt((rate * (100 - rate)).clip(lower=0) / (n - 1))
        for row in np.flatnonzero((error > largest + FINEST).to_numpy()):
            message = (
                f"standard_error is printed as {error[row]:.10g}; {largest[row]:.10g} is the most possible"
            )
            expected = f"at most {largest[row]:.4f}"
            yield Finding(board["model"][row], "standard_error", expected, error[row], "error", message)
