"""Pairs of outputs, whichever of the two is called the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import refuse, to_numeric


def same_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return judgements with the sides of every pair in the order of their names.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.

    Returns
    -------
    DataFrame
        ``model`` is the name that sorts first, missing names are "". Outcomes, positions and all columns
        that come in two, such as ``length_model`` and ``length_reference``, are turned with the sides;
        ``turned`` says where.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": ["b"], "reference": ["a"], "outcome": [1.0], "position": [1]})
    >>> same_side(table)[["model", "reference", "outcome", "position"]]
      model reference  outcome  position
    0     a         b      0.0       2.0
    """
    names = [table[c].astype(object).where(table[c].notna(), "") for c in ("model", "reference")]
    turned = (names[0] > names[1]).to_numpy()
    rows = table.assign(
        model=names[0].where(~turned, names[1]),
        reference=names[1].where(~turned, names[0]),
        outcome=ties.verdicts(table["outcome"].where(~turned, 1 - table["outcome"])),
        turned=turned,
    )
    for one in [c for c in table if str(c).endswith("_model")]:
        other = one.removesuffix("_model") + "_reference"
        if other in table:
            rows[one] = table[one].where(~turned, table[other])
            rows[other] = table[other].where(~turned, table[one])
    if "position" in table:
        place = positions(table)
        rows["position"] = place.where(~turned, 3 - place)
    return rows


def one_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return judgements with all rows of a pair seen from one side: the table's, where it is the same on all.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.

    Returns
    -------
    DataFrame
        As of `same_side`, whose sides are taken where rows of a pair disagree on them.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("iij"), "model": list("bab"), "reference": list("aba"),
    ...                       "outcome": [1.0, 1.0, 1.0]})
    >>> one_side(table)[["model", "reference", "outcome"]].to_numpy().tolist()
    [['a', 'b', 0.0], ['a', 'b', 1.0], ['b', 'a', 1.0]]
    """
    sided = same_side(table)
    key = ["instruction_id", "model", "reference"]
    turned = sided.groupby(key, observed=True, dropna=False)["turned"].transform("all").to_numpy()
    back = turned & sided["turned"].to_numpy()
    kept = {c: table[c].astype(object).where(table[c].notna(), "").where(back, sided[c]) for c in key[1:]}
    pairs = [c for c in table if str(c).endswith(("_model", "_reference")) or c in ("position", "outcome")]
    return sided.assign(**kept, **{c: table[c].where(back, sided[c]) for c in pairs})


def positions(table: pd.DataFrame) -> pd.Series:
    """Return where the model's output was shown, 1 or 2, NaN where unknown; raise at anything else."""
    position = to_numeric(table["position"])
    bad = table["position"].notna() & ~position.isin([1, 2])
    refuse(bad, "1 (the model's output first), 2 (second) or NaN", table["position"], column="position")
    return position.astype(float)


def named_judges(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with "judge" for annotators without a name, where no annotator has one; else raise."""
    unnamed = table["annotator"].isna()
    if unnamed.all():
        return table.assign(annotator="judge")
    if unnamed.any():
        row = int(np.flatnonzero(unnamed)[0])
        expected = "an annotator on every row, or on none"
        raise AnnotationError(expected, row=row, column="annotator", found=Verbatim("none"))
    return table.assign(annotator=table["annotator"].astype(str))


def require_ids(table: pd.DataFrame) -> None:
    """Raise unless every row names its instruction: what is compared is found by it."""
    missing = table["instruction_id"].isna()
    if missing.any():
        expected = "an instruction on every row (column instruction_id, or instruction), not counts"
        row = int(np.flatnonzero(missing)[0])
        raise AnnotationError(expected, row=row, column="instruction_id", found=Verbatim("none"))


def singly(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per judgement: a row of n equal ones becomes n rows."""
    if (rows["n"] == 1).all():
        return rows
    return rows.loc[rows.index.repeat(rows["n"])].assign(n=1).reset_index(drop=True)


def different(rows: pd.DataFrame, key: list[str]) -> pd.Series:
    """Return, for each group of judgements, the share of different verdicts among all pairs of them.

    Parameters
    ----------
    rows : DataFrame
        One row per judgement, with ``verdict``: 0, 0.5 or 1.
    key : list of str
        Columns that make a group.

    Returns
    -------
    Series
        By group; NaN for a single judgement.

    Examples
    --------
    >>> import pandas as pd
    >>> different(pd.DataFrame({"pair": list("aaab"), "verdict": [1, 1, 0, 1]}), ["pair"]).round(2).tolist()
    [0.67, nan]
    """
    counts = pd.DataFrame({str(v): (rows["verdict"] == v).astype(int) for v in ties.VERDICTS})
    counts = counts.groupby([rows[c] for c in key], observed=True, dropna=False).sum()
    r = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1)
    return (1 - same / (r * (r - 1)).where(r > 1)).rename("flips")
