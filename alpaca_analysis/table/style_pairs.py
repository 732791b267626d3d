"""Differences in style between the two outputs of a pair, as statistics use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import to_numeric
from alpaca_analysis.table.style import FEATURES, FLAGS, SCRIPT

STYLE = ("headers", "bold", "bulleted", "numbered", "code_blocks", "opening", "refusal")
KNOWN = ("length", *FEATURES[1:])


def feature_names(features: str | Sequence[str], *, name: str = "features") -> list[str]:
    """Return the features that are asked for, "style" as what it stands for, or raise.

    Examples
    --------
    >>> feature_names(["length", "style"])[:3]
    ['length', 'headers', 'bold']
    """
    given = [features] if isinstance(features, str) else features
    expected = f"names out of {', '.join(KNOWN)}, or style"
    if not isinstance(given, list | tuple) or not given or not all(isinstance(f, str) for f in given):
        raise ValueError(f"{name}: found {features!r}, expected {expected}")
    found = [one for f in given for one in (STYLE if f == "style" else (f,))]
    unknown = [f for f in found if f not in KNOWN]
    if unknown or len(set(found)) < len(found):
        raise ValueError(f"{name}: found {features!r}, expected {expected}, each once")
    return found


def style_difference(table: pd.DataFrame, feature: str) -> pd.Series:
    """Return how far the outputs of each row differ in one feature, positive where the model has more.

    Parameters
    ----------
    table : DataFrame
        Judgements with the columns of `add_features`.
    feature : str
        One of `style_features`.

    Returns
    -------
    Series
        Of counts (a - b)/(a + b), 0 where both are 0; of opening phrases and refusals a - b; of the script 1
        where it differs. NaN where a feature is unknown.

    Raises
    ------
    AnnotationError
        The table does not hold the feature, or a value is no count.

    Examples
    --------
    >>> table = pd.DataFrame({"bold_model": [3, 0], "bold_reference": [1, 0]})
    >>> style_difference(table, "bold").tolist()
    [0.5, 0.0]
    """
    columns = [f"{feature}_{side}" for side in ("model", "reference")]
    if feature == "characters":
        columns = ["length_model", "length_reference"]
    missing = [c for c in columns if c not in table]
    if missing:
        raise AnnotationError("features of both outputs; add_features makes them", column=missing[0])
    if feature == SCRIPT:
        ours, theirs = (table[c] for c in columns)
        known = ours.notna() & theirs.notna()
        return (ours.astype(object) != theirs.astype(object)).astype(float).where(known)
    ours, theirs = (to_numeric(table[c]).astype(float) for c in columns)
    for column, values in zip(columns, (ours, theirs), strict=True):
        bad = (values < 0) | (values > 1 if feature in FLAGS else False)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            expected = "0 or 1" if feature in FLAGS else "a count"
            raise AnnotationError(expected, column=column, row=row, found=table[column].iloc[row])
    if feature in FLAGS:
        return ours - theirs
    total = ours + theirs
    return ((ours - theirs) / total.where(total > 0, 1.0)).where(total.notna())


def scaled_differences(
    table: pd.DataFrame, features: Sequence[str], *, by: str | None = None
) -> pd.DataFrame:
    """Return differences of features, each divided by its standard deviation, and 0 where nothing differs.

    Parameters
    ----------
    table : DataFrame
        Judgements with the columns of `add_features`.
    features : sequence of str
        Names of `style_features`.
    by : str, optional
        Column of the groups whose own standard deviation (ddof 1, weighted by ``n``) is taken; by default
        that of all rows. They are not centred, so that 0 is no difference.

    Returns
    -------
    DataFrame
        One column a feature. A feature that does not vary is 0.

    Examples
    --------
    >>> table = pd.DataFrame({"bold_model": [3, 0, 1], "bold_reference": [1, 0, 3]})
    >>> scaled_differences(table, ["bold"])["bold"].tolist()
    [1.0, 0.0, -1.0]
    """
    code = (
        np.zeros(len(table), dtype=int)
        if by is None
        else table.groupby(by, observed=True).ngroup().to_numpy()
    )
    n = table["n"].to_numpy(float) if "n" in table else np.ones(len(table))
    out = {}
    for feature in features:
        difference = style_difference(table, feature).to_numpy(float)
        out[feature] = difference / _spread(difference, n, code)[code]
    return pd.DataFrame(out, index=table.index)


def _spread(values: np.ndarray, n: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return each group's standard deviation, 1 where it is 0 or unknown."""
    known, size = ~np.isnan(values), code.max(initial=0) + 1
    v, w, inside = values[known], n[known], code[known]
    total = np.bincount(inside, w, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(inside, w * v, size) / total
        spread = np.sqrt(np.bincount(inside, w * (v - mean[inside]) ** 2, size) / (total - 1))
    return np.where(spread > 0, spread, 1.0)
