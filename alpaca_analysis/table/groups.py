"""One rule for groups of rows: which reference and annotator they have, which models, which ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.sides import names_on_both_sides


def all_identified(ids: pd.Series, groups: pd.DataFrame | None = None) -> bool:
    """Tell whether rows name their instruction, and raise where only some of them do.

    Rows without an id among others would have to be left out, or taken for independent of rows they
    may belong with; errors would be too small and nothing would say so.

    Parameters
    ----------
    ids : Series of str
        Ids of the rows that make one result, indexed by their place in the table.
    groups : DataFrame, optional
        What names the group of each row in the message.

    Returns
    -------
    bool

    Raises
    ------
    AnnotationError
        Ids on some rows only; names the first without.

    Examples
    --------
    >>> import pandas as pd
    >>> all_identified(pd.Series(["a", "b"])), all_identified(pd.Series([pd.NA, pd.NA]))
    (True, False)
    """
    known = ids.notna().to_numpy()
    if known.any() and not known.all():
        first = int(np.flatnonzero(~known)[0])
        found = Verbatim("none") if groups is None else f"none, in {groups.iloc[first].tolist()}"
        expected = "instruction ids on all rows of a group or on none"
        raise AnnotationError(expected, row=int(ids.index[first]), column="instruction_id", found=found)
    return bool(known.all())


def require_judged(table: pd.DataFrame, *, source: str = "table") -> None:
    """Raise unless at least one judgement of `table` is usable."""
    if table["outcome"].isna().all():
        raise AnnotationError(f"at least one usable judgement; all {len(table)} are missing", source=source)


def select_models(table: pd.DataFrame, models: Sequence[str], *, source: str = "table") -> None:
    """Raise unless every name in `models` occurs in the table, naming the closest that does."""
    import difflib

    known = [str(m) for m in table["model"].dropna().unique()]
    for model in models:
        if model not in known:
            near = difflib.get_close_matches(str(model), known, n=3, cutoff=0.4) or sorted(known)[:5]
            raise AnnotationError(
                f"one of {len(known)} models, such as {', '.join(map(repr, near))}",
                source=source,
                column="model",
                found=model,
            )


def refuse_mixed(
    table: pd.DataFrame,
    by: Sequence[str] = (),
    *,
    columns: Sequence[str] = ("reference", "annotator"),
) -> None:
    """Raise where a group holds judgements against several references or by several annotators.

    A missing name among others counts as one more: such rows may belong to anyone.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.
    by : sequence of str
        Columns that make a group; without, the table is one.
    columns : sequence of str
        What has to be one in each group.

    Raises
    ------
    AnnotationError
        Names the column, the group and what it holds.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_mixed(pd.DataFrame({"reference": ["a", None], "annotator": "j"}))
    Traceback (most recent call last):
    ...
    alpaca_analysis.foundations.errors.AnnotationError: table, column 'reference': found 2: a, (missing), \
expected one reference; select one
    """
    by = list(by)
    for column in columns:
        if column in by:
            continue
        code = (
            table.groupby(by, observed=True, dropna=False).ngroup().to_numpy() if by else np.zeros(len(table))
        )
        kinds = table[column].groupby(code).nunique(dropna=False)
        if (kinds > 1).any():
            inside = table.loc[code == kinds.index[kinds > 1][0]]
            names = inside[column].unique()
            known = sorted(str(name) for name in names if not pd.isna(name))
            listed = ", ".join([*known, "(missing)"] if len(known) < len(names) else known)
            group = f" in {'/'.join(map(str, inside[by].iloc[0]))}" if by else ""
            advice = (
                f" in each group of {by}; select one, or add {column!r} to `by`" if by else "; select one"
            )
            if column == "reference" and "model" in table and names_on_both_sides(table):
                advice += "; bradley_terry rates models that stand on both sides"
            found = Verbatim(f"{len(names)}{group}: {_cut(listed)}")
            raise AnnotationError(f"one {column}{advice}", column=column, found=found)


def _cut(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def in_order(models: pd.Index) -> pd.Index:
    """Return the models in one order, whatever the order of rows: what a seed draws depends on it."""
    try:
        return models.sort_values()
    except TypeError:  # names and numbers
        return models[np.argsort(models.astype(str), kind="stable")]
