"""Checks of a leaderboard against the annotation files behind it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from alpaca_analysis.claims.leaderboard_rows import COUNTS, TWO_DECIMALS, Finding, compare
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.win_rates.estimates import win_rate

# A leaderboard averages all outputs, a file may lack some: clean rows differ by up to 0.6 %.
LENGTH_TOLERANCE = 0.01
MIN_IDENTICAL = 20  # judgements that are no coincidence when they are all equal


def figures_of_files(annotations) -> pd.DataFrame:
    """Return what a leaderboard would print for each model of the table, in percent."""
    missing = {"model", "reference", "annotator", "outcome"} - set(annotations)
    if missing:
        raise AnnotationError(f"the columns {sorted(missing)}", source="annotations", found=list(annotations))
    # A leaderboard takes each judgement for itself, whatever its instruction.
    judgements = annotations[[c for c in ("model", "outcome", "n") if c in annotations]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedWarning)  # what has no interval has its figures all the same
        rates, discrete = (
            win_rate(judgements, method="t", discrete=d).set_index("model") for d in (False, True)
        )
    rates["n_wins_base"], rates["discrete_win_rate"] = rates["n_losses"], 100 * discrete["win_rate"]
    rates[["win_rate", "standard_error"]] *= 100
    out = rates[["win_rate", "standard_error", "discrete_win_rate", *COUNTS]]
    out.index = out.index.astype(str)
    n = annotations["n"] if "n" in annotations else pd.Series(1, annotations.index)
    length = annotations["length_model"] if "length_model" in annotations else n * np.nan
    by = annotations["model"].astype(str)
    total, known = (n * length).groupby(by).sum(), n.where(length.notna(), 0).groupby(by).sum()
    return out.assign(avg_length=total / known.where(known > 0)).sort_index()


def against_files(board, files) -> Iterator[Finding]:
    """Compare each row with the figures of its file."""
    shared = board[board["model"].isin(files.index)]
    of = files.loc[shared["model"]].set_index(shared.index)
    for column in files.columns.intersection(board.columns):
        if column == "avg_length":
            continue
        for finding in compare(shared, column, of[column], f"file: {column}", "its annotation file gives"):
            mirrored = 100 - finding.expected
            swapped = column == "win_rate" and abs(mirrored - finding.found) < TWO_DECIMALS
            hint = ", as if model and reference had changed sides" if swapped else ""
            severity = "error" if column in COUNTS else finding.severity
            yield finding._replace(message=finding.message + hint, severity=severity)
    if "avg_length" in board:
        printed, ours = shared["avg_length"], of["avg_length"]
        off = (printed - ours).abs() > LENGTH_TOLERANCE * ours + 1  # printed as a whole number
        for row in off.index[off]:
            message = (
                f"avg_length is printed as {printed[row]:g}; outputs in its file average {ours[row]:.1f}"
            )
            yield Finding(board["model"][row], "file: avg_length", ours[row], printed[row], "error", message)


def names_in_files(annotations) -> Iterator[Finding]:
    """Compare folder names with contents, and each file's reference and judge with the others'."""
    for column in ("model", "annotator"):
        inside = f"{column}_in_file"
        if inside not in annotations:
            continue
        rows = annotations[annotations[inside].notna()].astype({column: str, inside: str, "model": str})
        rows = rows[rows[column] != rows[inside]]
        for model, group in rows.groupby("model"):
            folder, names = group[column].iloc[0], ", ".join(sorted(group[inside].unique()))
            message = f"the folder says {column} {folder!r}, the file says {names!r} in {len(group)} rows"
            yield Finding(model, f"{column} in file", folder, names, "warning", message)
    for column in ("reference", "annotator"):
        names = annotations.groupby("model", observed=True)[column].agg(
            lambda c: tuple(c.dropna().astype(str).unique())
        )
        usual = names.mode()
        for model, found in names.items():
            if len(usual) and found != usual[0]:
                expected, found = ", ".join(usual[0]), ", ".join(found)
                message = f"judged with {column} {found!r}, where most models have {expected!r}"
                yield Finding(str(model), column, expected, found, "error", message)


def identical(annotations) -> Iterator[Finding]:
    """Find models whose judgements are all equal, instruction by instruction, lengths included."""
    if "instruction_id" not in annotations:
        return
    hashes = {f.get("model"): f.get("sha256") for f in annotations.attrs.get("files", ())}
    seen: dict[object, str] = {}
    columns = [
        c for c in ("instruction_id", "outcome", "length_model", "length_reference") if c in annotations
    ]
    for model, rows in annotations.groupby("model", observed=True):
        if len(rows) < MIN_IDENTICAL or rows["instruction_id"].isna().any():
            continue
        content = int(pd.util.hash_pandas_object(rows[columns], index=False).sum())
        if (other := seen.setdefault(content, str(model))) != str(model):
            exact = hashes.get(model) is not None and hashes.get(model) == hashes.get(other)
            how = "byte for byte" if exact else "in all judgements and lengths"
            message = f"its file equals that of {other} {how}"
            yield Finding(str(model), "identical files", f"other than {other}", other, "error", message)
