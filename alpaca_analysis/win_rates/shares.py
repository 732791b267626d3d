"""Shares that judgements have, such as of the longer output: means by group, as `win_rate` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.win_rates.estimates import win_rate

RESULT = ("standard_error", "ci_low", "ci_high", "n", "reason", "note")


def shares_by(
    table: pd.DataFrame,
    name: str,
    shares: np.ndarray,
    by: Sequence[str],
    method: str,
    confidence_level: float,
    n_resamples: int,
    rng: Any,
) -> pd.DataFrame:
    """Return the mean share of each group, with the interval of a win rate; NaN does not count.

    Rows are told apart by a number, in the column that says which of several judgements a row is; groups
    have names that no other column has, so that any column can make them.

    Parameters
    ----------
    table : DataFrame
        Checked judgements, or anything else with ``instruction_id`` and ``n`` that has a share.
    name : str
        Column of the result that holds the mean.
    shares : ndarray of shape (n_rows,)
        In [0, 1], NaN where a row does not count.
    by : sequence of str
        Columns that make a group.
    method, confidence_level, n_resamples, rng
        Of the interval, as of `win_rate`.

    Returns
    -------
    DataFrame
        `by` columns, `name` and `RESULT`, largest first.
    """
    groups = {c: c if c in ("model", "reference", "annotator") else f"group {c}" for c in by}
    rows = table[list(by)].rename(columns=groups)
    rows = rows.assign(
        instruction_id=table["instruction_id"], n=table["n"], outcome=shares, repeat=np.arange(len(rows))
    )
    rows["model"] = rows.get("model", "any")
    rates = win_rate(
        rows,
        by=list(groups.values()),
        method=method,  # type: ignore[arg-type]  # checked by the caller, under its name
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
    )
    names = {inside: c for c, inside in groups.items()} | {"win_rate": name, "n_total": "n"}
    kept = ["win_rate", "standard_error", "ci_low", "ci_high", "n_total", "reason", "note"]
    found = rates[[*groups.values(), *kept]].rename(columns=names)
    found.attrs |= {"estimate": name, "fractions": [name], "method": "mean over the judgements that count"}
    return found
