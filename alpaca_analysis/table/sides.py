"""Models that stand on both sides: as ``model`` in some battles, as ``reference`` in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import KEY

OF_A_SIDE = ("length", "output", "list")


def names_on_both_sides(table: pd.DataFrame) -> set[str]:
    """Return the names that are a model in some rows and the reference of another model in others."""
    pairs = table[["model", "reference"]].drop_duplicates().dropna().astype(object)
    pairs = pairs[pairs["model"] != pairs["reference"]]
    return set(pairs["model"]) & set(pairs["reference"])


def turned(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same judgements seen from the reference: 1 - outcome, and what belongs to a side swapped.

    Examples
    --------
    >>> import pandas as pd
    >>> turned(pd.DataFrame({"model": ["a"], "reference": ["b"], "outcome": [1.0], "position": [1]}))
      model reference  outcome  position
    0     b         a      0.0         2
    """
    sides = [("model", "reference"), *((f"{c}_model", f"{c}_reference") for c in OF_A_SIDE)]
    names = {a: b for pair in sides for a, b in (pair, pair[::-1])}
    out = rows.rename(columns=names)[list(rows.columns)]
    out["outcome"] = 1 - out["outcome"]
    if "position" in out:
        out["position"] = 3 - out["position"]
    if "length_feature" in out:
        out["length_feature"] = -out["length_feature"]
    return out


def from_every_side(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the table with the battles of models that stand on both sides, seen from each of them.

    Without them a model would be counted where it happens to stand first: 0.8 and 0.8 for two models that
    tie, where a judge prefers what it sees first and every pair was shown in both orders.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.
    by : sequence of str
        Columns that make a group. With ``reference`` among them a pair needs turning only where it was
        met in both orders.

    Returns
    -------
    DataFrame
        The table itself where every model stands on one side; else with the turned rows at its end.

    Raises
    ------
    AnnotationError
        Models on both sides and no ``model`` among `by`: whose outcome it is depends on the side.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": "i", "model": ["a", "b"], "reference": ["b", "a"],
    ...                       "outcome": [1.0, 1.0]})
    >>> from_every_side(table, ["model"])["outcome"].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    both = names_on_both_sides(table)
    if not both:
        return table
    if "model" not in by:
        found = Verbatim(f"{min(both)!r} on both sides")
        raise AnnotationError("'model' in `by`, or each model on one side", column="reference", found=found)
    model, reference = (table[c].astype(object) for c in ("model", "reference"))
    if "reference" in by:
        met = set(zip(model, reference, strict=True))
        again = np.array([a != b and (b, a) in met for a, b in zip(model, reference, strict=True)])
    else:
        again = (reference.isin(both) & (model != reference)).to_numpy()
    if not again.any():
        return table
    plain = table.astype({"model": object, "reference": object})
    out = pd.concat([plain, turned(plain[again])], ignore_index=True)
    if out["instruction_id"].notna().any():  # a pair met in both orders has two judgements of one side now
        out["repeat"] = out.groupby([c for c in KEY if c in out], dropna=False, observed=True).cumcount()
    return out.astype({"model": "category", "reference": "category"})
