"""What was judged, what is missing, and whether outputs are what they should be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alpaca_analysis.table.checks import check


def health(table: pd.DataFrame) -> pd.DataFrame:
    """Count per model what was judged, what is missing, and how long the outputs are.

    Parameters
    ----------
    table : DataFrame
        Judgements.

    Returns
    -------
    DataFrame
        ``model``, ``n_judged``, ``n_missing``, ``n_draws``, ``n_not_text`` (outputs whose length is unknown
        where others of the same side are known), ``mean_length`` and ``mean_length_reference`` (characters),
        ``usual_length`` (the most frequent length), ``same_length`` and ``same_length_reference`` (the share
        of outputs that have the most frequent length, of the model and of the reference) and
        ``other_reference`` (the share of reference outputs whose length is not what it is for most models).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": "m", "outcome": [1, 0.5, None], "length_model": [10, 10, 30]})
    >>> health(table)[["n_judged", "n_missing", "n_draws", "usual_length", "same_length"]].round(2)
       n_judged  n_missing  n_draws  usual_length  same_length
    0         2          1        1          10.0         0.67
    """
    table = check(table)
    length = table["length_reference"]
    same = [table["instruction_id"], table["reference"].astype(object).fillna("")]
    usual = length.groupby(same, dropna=False).transform("median").where(table["instruction_id"].notna())
    table["other"] = length.ne(usual).where(usual.notna() & length.notna())
    parts = table.groupby("model", observed=True, sort=True)
    frame = pd.DataFrame([{"model": model, **_health_of(part)} for model, part in parts])
    frame.attrs["fractions"] = ["same_length", "same_length_reference", "other_reference"]
    return frame


def _health_of(part):
    n, outcome = part["n"], part["outcome"]
    ours, theirs = part["length_model"], part["length_reference"]
    usual, same = _most_frequent(ours, n)
    unknown = sum(int(n[side.isna()].sum()) for side in (ours, theirs) if side.notna().any())
    return {
        "n_judged": int(n[outcome.notna()].sum()),
        "n_missing": int(n[outcome.isna()].sum()),
        "n_draws": int(n[outcome == 0.5].sum()),
        "n_not_text": unknown,
        "mean_length": _mean(ours, n),
        "mean_length_reference": _mean(theirs, n),
        "usual_length": usual,
        "same_length": same,
        "same_length_reference": _most_frequent(theirs, n)[1],
        "other_reference": float(part["other"].mean()),
    }


def _mean(lengths, n):
    known = lengths.notna()
    return float(np.average(lengths[known], weights=n[known])) if known.any() else np.nan


def _most_frequent(lengths, n):
    """Return the most frequent length and the share of outputs that have it."""
    counts = n.groupby(lengths).sum()
    return (float(counts.idxmax()), float(counts.max() / counts.sum())) if len(counts) else (np.nan, np.nan)
