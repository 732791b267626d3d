"""What results say of judgements that were stopped when they had decided."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alpaca_analysis.inference.results import Note, Reason
from alpaca_analysis.table.checks import STOPPED


def stops_by(table: pd.DataFrame, by: Sequence[str] = ("model",)) -> dict[tuple, str]:
    """Return, for every group with judgements that were stopped early, what was decided.

    Examples
    --------
    >>> stops_by(pd.DataFrame({"model": ["a", "b"], "stopped_early": ["better than b after 90 of 805", ""]}))
    {('a',): 'better than b after 90 of 805'}
    """
    if STOPPED not in table:
        return {}
    known = table[table[STOPPED].notna() & table[STOPPED].astype(str).ne("")]
    first = known.drop_duplicates(list(by))
    names = zip(*(first[column] for column in by), strict=True)
    return {key: str(why) for key, why in zip(names, first[STOPPED], strict=True)}


def stopped_notes(table: pd.DataFrame, groups: pd.DataFrame) -> list[Note]:
    """Return a note for every row of `groups` that rests on judgements that were stopped early.

    Parameters
    ----------
    table : DataFrame
        Judgements.
    groups : DataFrame
        The columns of `table` that make a group, one row per result.
    """
    stops = stops_by(table, list(groups))
    rows = groups.itertuples(index=False, name=None)
    return [_note(stops.get(row)) if stops else "" for row in rows]


def _note(why: str | None) -> Note:
    return Reason("stopped_early", f"judging stopped early: {why}; see confidence_sequence") if why else ""
