"""How much longer one output is than the other: the one place that measures it, and its scales.

A difference here is that of the model's output minus that of the reference's, positive where the model
wrote more. AlpacaEval counts the other way round, and its published coefficients are of its sign: what
it calls the length feature, `length_feature`, is minus the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError


def length_difference(table: pd.DataFrame, *, scale: str = "characters", by: Sequence[str] = ()) -> pd.Series:
    """Return how much longer the model's output is than the reference's, row by row.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``length_model`` and ``length_reference``; for "tanh" the column
        ``length_feature`` does where lengths are unknown.
    scale : {"characters", "log_ratio", "tanh"}
        The difference in characters; log((length_model + 1) / (length_reference + 1)); or
        tanh(difference / s) with s the standard deviation (ddof = 1, weighted by ``n``) of the
        difference over all rows of a group, unjudged ones included.
    by : sequence of str
        Columns that make a group for "tanh"; by default the whole table is one.

    Returns
    -------
    Series
        Named ``difference``, in the order of the table; NaN where unknown. With "tanh", where all
        differences of a group are the same or there is only one, s is 0 or unknown and the result is
        the difference's sign.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": "m", "outcome": [1, 0], "length_model": [30, 10],
    ...                       "length_reference": [10, 20]})
    >>> length_difference(table).tolist()
    [20.0, -10.0]
    """
    options.one_of("scale", scale, options.Scale)
    known = {"length_model", "length_reference"} <= set(table.columns)
    if not known or table["length_model"].isna().all():
        if scale == "tanh" and "length_feature" in table:
            return (-table["length_feature"].astype(float)).rename("difference")
        hint = " (scale='tanh' can use 'length_feature')" if "length_feature" in table else ""
        raise AnnotationError(f"lengths of both outputs{hint}", column="length_model", found="none")
    return _scaled(table, scale, by).rename("difference")


def length_feature(table: pd.DataFrame, *, kind: str = "tanh") -> pd.Series:
    """Return AlpacaEval's length feature of each row: the difference with the other sign, model by model.

    Parameters
    ----------
    table : DataFrame
        Judgements. A column ``length_feature`` (of kind "tanh") is used where lengths are unknown.
    kind : {"tanh", "clip", "log_ratio"}
        tanh(D/s); D/s clipped to [-1, 1]; or log((length_reference + 1)/(length_model + 1)). D is
        length_reference - length_model, s its standard deviation as in `length_difference` over all
        rows of a model.

    Returns
    -------
    Series
        On the index of `table`; NaN where a length is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"model": "m", "outcome": 1.0, "n": 1,
    ...                       "length_model": [10.0, 30.0], "length_reference": [20.0, 20.0]})
    >>> length_feature(table).round(4).tolist()
    [0.6089, -0.6089]
    """
    options.one_of("feature", kind, options.Feature)
    return -_scaled(table, kind, ["model"]).rename("length_feature")


def _scaled(table, scale, by):
    """Return the difference, positive where the model wrote more, on any scale."""
    if scale == "log_ratio":
        lengths = table[["length_model", "length_reference"]].to_numpy(dtype=float) + 1
        return pd.Series(np.log(lengths[:, 0] / lengths[:, 1]), table.index)
    difference = (table["length_model"] - table["length_reference"]).astype(float)
    if scale == "characters":
        return difference
    spread = _spread(difference, table, by)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(spread > 0, difference / spread, np.sign(difference) * np.inf)
    scaled = pd.Series(np.where(difference == 0, 0.0, scaled), table.index)
    if scale == "clip":
        return scaled.clip(-1, 1)
    bent = pd.Series(np.tanh(scaled), table.index)
    return bent.fillna(-table["length_feature"].astype(float)) if "length_feature" in table else bent


def _spread(difference, table, by):
    """Return each row's standard deviation (ddof = 1, weighted by n) of its group, NaN where unknown."""
    by = list(by)
    code = table.groupby(by, observed=True, dropna=False, sort=False).ngroup().to_numpy() if by else None
    code = np.zeros(len(table), dtype=np.int64) if code is None else code
    n = table["n"].to_numpy(float) if "n" in table else np.ones(len(table))
    known, size = difference.notna().to_numpy(), code.max(initial=0) + 1
    d, n, inside = difference.to_numpy()[known], n[known], code[known]
    total = np.bincount(inside, n, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(inside, n * d, size) / total
        squares = np.bincount(inside, n * (d - mean[inside]) ** 2, size)
        return np.where(total > 1, np.sqrt(squares / (total - 1)), np.nan)[code]
