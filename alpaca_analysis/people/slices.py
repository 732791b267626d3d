"""Pairs that judges and people judged, cut into slices by columns of the judges' table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios
from alpaca_analysis.inference.slices import Cut, Part, Shares, cut
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.people import votes
from alpaca_analysis.people.votes import Votes
from alpaca_analysis.table.checks import check


@dataclass(frozen=True)
class SlicedVotes:
    """Votes in slices.

    Attributes
    ----------
    cut : Cut
        The slices; its codes are those of the judges' rows.
    code : ndarray of int of shape (n_items,)
        The slice of each pair; -1 where it is not known.
    parts : list of Votes
        The votes of each slice.
    items : DataFrame
        All pairs.
    """

    cut: Cut
    code: np.ndarray
    parts: list[Votes]
    items: pd.DataFrame

    def shares(self, scores: Mapping[str, np.ndarray]) -> Shares:
        """Return what instructions contribute to the mean score of each annotator in each slice.

        Parameters
        ----------
        scores : mapping of str to ndarray of shape (n_items,)
            Of each annotator on each pair; labels count the annotators in their order.
        """
        stacked = np.column_stack(list(scores.values()))
        width, slices = stacked.shape[1], range(len(self.cut))
        inside = [np.where((self.code == k)[:, None], stacked, np.nan) for k in slices]
        units = votes.clustered(self.items, np.hstack(inside))
        influence, used = ratios.influence(units), units.m > 0
        parts = []
        for k in slices:
            columns = np.arange(k * width, (k + 1) * width)
            rows = np.flatnonzero(used[:, columns].any(axis=1))
            cells = np.ix_(rows, columns)
            share = np.nan_to_num(influence[cells])
            parts.append(Part(share, columns, rows.tolist(), units.counts[rows], used[cells]))
        return shares_of(
            parts,
            slices=np.repeat(slices, width),
            labels=np.tile(np.arange(width), len(self.cut)),
            estimate=units.estimate,
            error=ratios.jackknife_error(units),
            df=np.maximum(ratios.effective_units(units) - 1, 1),
        )

    def with_bounds(self, frame: pd.DataFrame, low: np.ndarray, high: np.ndarray, names: Sequence[str]):
        """Return the frame of all slices with the intervals of `shares`, whose labels are `names`."""
        place = {name: k for k, name in enumerate(names)}
        codes = {self.cut.key(k): k for k in range(len(self.cut))}
        keys = frame[self.cut.by].itertuples(index=False, name=None)
        at = [
            codes[key] * len(names) + place[name] for key, name in zip(keys, frame["annotator"], strict=True)
        ]
        return frame.assign(ci_low=low[at], ci_high=high[at])


def cut_pairs(matched: Votes, table: pd.DataFrame, humans: pd.DataFrame, by: Sequence[str]) -> SlicedVotes:
    """Cut matched pairs by columns of the judges' table; pairs of people alone by the same of theirs.

    Parameters
    ----------
    matched : Votes
        Of the two tables.
    table, humans : DataFrame
        Judgements of judges and of people.
    by : sequence of str
        Columns that make a slice.

    Raises
    ------
    AnnotationError
        A column that the table lacks, or that differs between judgements of one pair.
    """
    table, humans = check(table, require=by), check(humans, source="humans")
    found = cut(table, by)
    code = np.full(len(matched.items), -1)
    known = np.flatnonzero(matched.place >= 0)
    code[matched.place[known]] = found.code[known]
    strange = known[code[matched.place[known]] != found.code[known]]
    if len(strange):
        row = int(strange[0])
        value = [table[column].iloc[row] for column in by]
        raise AnnotationError(
            "one value on all judgements of a pair", row=row, column="/".join(by), found=value
        )
    if set(by) <= set(humans.columns):
        place = {found.key(k): k for k in range(len(found))}
        theirs = humans[list(by)].astype(object).itertuples(index=False, name=None)
        codes = np.array([place.get(key, -1) for key in theirs])
        only = (matched.voted >= 0) & (code[matched.voted] < 0)
        code[matched.voted[only]] = codes[only]
    unmatched = _unmatched(matched, table, found)
    parts = [_within(matched, code == k, unmatched[k]) for k in range(len(found))]
    return SlicedVotes(found, code, parts, matched.items)


def _within(matched, inside, unmatched):
    """Return the votes on some pairs."""
    return replace(
        matched,
        items=matched.items[inside].reset_index(drop=True),
        voters=matched.voters[inside].reset_index(drop=True),
        judges={name: given[inside] for name, given in matched.judges.items()},
        unmatched=unmatched,
    )


def _unmatched(matched, table, found):
    """Return how many pairs each judge alone judged, in each slice."""
    rows = table[matched.place < 0].astype({"model": object, "reference": object, "annotator": object})
    rows = rows.assign(_slice=found.code[matched.place < 0])
    sides = rows[["model", "reference"]].fillna("").to_numpy(dtype=str)
    rows["model"], rows["reference"] = np.sort(sides, axis=1).T
    keys = ["_slice", "annotator", "instruction_id", "model", "reference", *matched.on]
    counts = rows.drop_duplicates(keys).groupby(["_slice", rows["annotator"].fillna("table")]).size()
    return [{name: int(counts.get((k, name), 0)) for name in matched.judges} for k in range(len(found))]
