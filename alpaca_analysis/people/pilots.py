"""Labelled and unlabelled pairs of each group: means of people and of the judge, and how they vary."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios
from alpaca_analysis.people import votes
from alpaca_analysis.table.checks import check, refuse
from alpaca_analysis.table.groups import refuse_mixed

PROBABILITY = "probability"  # of having been drawn to be labelled, as `label` records it


@dataclass(frozen=True)
class Pilot:
    """People and judge on the pairs of one group.

    Attributes
    ----------
    units : Units
        Columns are people where they labelled, the judge there, and the judge elsewhere. Where pairs were
        drawn to be labelled with unequal probabilities the first two are weighted by their inverse (Hajek),
        and the third holds all pairs.
    ids : ndarray of shape (n_units,), optional
        Instructions of the units; None where units are pairs without one.
    judge : float
        Mean of the judge over all pairs.
    n_labelled, n_judged, n_unjudged : int
        Pairs with both, pairs with the judge, and pairs with people alone, which are left out.
    weighted : bool
        Whether probabilities of the draw were unequal.
    """

    units: ratios.Units
    ids: np.ndarray | None
    judge: float
    n_labelled: int
    n_judged: int
    n_unjudged: int
    weighted: bool

    @property
    def labelled(self) -> np.ndarray:
        """Tell which units have labels."""
        return self.units.m[:, 0] > 0

    @property
    def labels(self) -> ratios.Units:
        """Return people's column alone."""
        return ratios.Units(self.units.y[:, :1], self.units.m[:, :1], self.units.multiplicity)

    @property
    def n_units(self) -> int:
        """Return how many units have labels."""
        return int(self.units.counts[self.labelled].sum())

    @property
    def effective_units(self) -> float:
        """Return how many equal units those with labels are worth."""
        return float(ratios.effective_units(self.labels)[0])

    @property
    def all_labelled(self) -> bool:
        """Tell whether no pair is left for the judge."""
        return self.n_labelled == self.n_judged

    @property
    def means(self) -> np.ndarray:
        """Return people's mean, and the judge's mean elsewhere less where people labelled."""
        people, there, elsewhere = self.units.estimate
        return np.array([people, 0.0 if self.all_labelled else elsewhere - there])

    @property
    def deviations(self) -> np.ndarray:
        """Return by how much `means` change without each unit, so that sums of squares are variances (CR3).

        Units with labels and units without are strata, unless the draw was weighted; NaN where a stratum
        has a single unit, which cannot tell how units differ.
        """
        apart = ratios.jackknife(self.units) - self.units.estimate
        gap = np.zeros(len(apart)) if self.all_labelled else apart[:, 2] - apart[:, 1]
        both = np.column_stack([apart[:, 0], gap])
        strata = np.zeros(len(both), dtype=bool) if self.weighted else self.labelled
        for inside in (strata, ~strata):
            size = self.units.counts[inside].sum()
            both[inside] *= np.sqrt((size - 1) / size) if size > 1 else np.nan
        return both if self.n_units > 1 else np.full_like(both, np.nan)

    def covariance(self) -> np.ndarray:
        """Return the covariance of `means`."""
        deviations = self.deviations
        return (deviations.T * self.units.counts) @ deviations


def best_weight(covariance: np.ndarray) -> float:
    """Return the lambda in [0, 1] of least variance: of a mean plus lambda times a gap."""
    if np.isnan(covariance).any():
        return np.nan
    return float(np.clip(-covariance[0, 1] / covariance[1, 1], 0, 1)) if covariance[1, 1] > 0 else 0.0


def pilots(
    table: pd.DataFrame, humans: pd.DataFrame, by: list[str], on: Sequence[str] | None
) -> tuple[dict, list[tuple[tuple[Hashable, ...], Pilot]]]:
    """Return what a result says of the match, and each group of `by` with its pilot.

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs.
    humans : DataFrame
        Judgements by people of some; ``probability`` is that of each pair to be drawn for it.
    by : list of str
        Columns of `table` that make a group.
    on : sequence of str, optional
        As `votes.match` takes it.

    Raises
    ------
    AnnotationError
        Several judges, no labelled pair, or probabilities that are none.
    """
    votes.matching_columns(on)
    table = check(table, source="table", require=by)
    refuse_mixed(table, by)
    matched = votes.match(table, humans, on=on, unvoted=True)
    if len(matched.judges) > 1:
        raise AnnotationError(
            "one judge; call once for each", column="annotator", found=", ".join(matched.judges)
        )
    drawn = _probabilities(humans, matched)
    # A pair may be in several groups, and in some from the other side: the rows of the judge decide.
    grouped = table.groupby(by, observed=True, dropna=False, sort=True)
    known, n = table["outcome"].notna(), table["n"]
    rows = pd.DataFrame(
        {
            "group": grouped.ngroup(),
            "item": matched.place,
            "turned": matched.turned,
            "won": (table["outcome"] * n).where(known, 0.0),
            "known": n.where(known, 0),
        }
    )
    pairs = rows.groupby(["group", "item", "turned"], as_index=False).sum()
    judge = (pairs["won"] / pairs["known"].where(pairs["known"] > 0)).to_numpy()
    people = votes.mean_of_known(matched.voters.to_numpy())[pairs["item"]]
    people = np.where(pairs["turned"], 1 - people, people)
    if np.isnan(judge + people).all():
        raise AnnotationError(
            "a pair with a verdict of the judge and of a person, found none", source="humans"
        )
    items, drawn = matched.items.iloc[pairs["item"]], drawn[pairs["item"]]
    members = pairs.groupby("group").indices
    keys = grouped.size().reset_index()[by].itertuples(index=False, name=None)
    found = [(key, _pilot(items, judge, people, drawn, members[k])) for k, key in enumerate(keys)]
    settings: dict[str, Any] = {"on": list(matched.on)}
    if any(pilot.weighted for _, pilot in found):
        settings["draw"] = "labels weighted by 1 / probability (Hajek)"
    return {"unit": matched.unit, "settings": settings}, found


def _probabilities(humans, matched):
    """Return every item's probability of having been drawn, 1 where nobody says."""
    out = np.ones(len(matched.items))
    if PROBABILITY not in humans or humans[PROBABILITY].isna().all():
        return out
    given = pd.to_numeric(humans[PROBABILITY], errors="coerce").reset_index(drop=True)
    expected = "the probability of the pair to be drawn, above 0 and at most 1"
    refuse(~((given > 0) & (given <= 1)), expected, humans[PROBABILITY], column=PROBABILITY, source="humans")
    of_item = given.groupby(matched.voted).agg(["min", "max"])
    several = of_item.index[(of_item["max"] - of_item["min"] > 1e-9) & (of_item.index >= 0)]
    if len(several):
        row = int(np.argmax(matched.voted == several[0]))
        expected = "one probability for each pair: labels of one draw"
        raise AnnotationError(expected, source="humans", row=row, column=PROBABILITY, found=given[row])
    of_item = of_item[of_item.index >= 0]
    out[of_item.index] = of_item["min"]
    draws = humans["draw"].dropna().unique() if "draw" in humans else []
    if len(draws) > 1 and given.max() - given.min() > 1e-9:
        expected = "labels of one draw where probabilities are unequal"
        raise AnnotationError(expected, source="humans", column="draw", found=f"{len(draws)} draws")
    return out


def _pilot(items, judge, people, drawn, members):
    items, judge, people, drawn = items.iloc[members], judge[members], people[members], drawn[members]
    judged, labelled, n = ~np.isnan(judge), ~np.isnan(people), items["n"].to_numpy()
    used = judged & labelled
    weighted = bool(used.any() and np.ptp(drawn[used]) > 1e-9)
    elsewhere = judge if weighted else np.where(labelled, np.nan, judge)
    columns = np.column_stack([people, np.where(labelled, judge, np.nan), elsewhere])[judged]
    weights = np.column_stack([1 / drawn, 1 / drawn, np.ones(len(drawn))])[judged] if weighted else None
    ids = items.loc[judged, "instruction_id"]
    return Pilot(
        votes.clustered(items[judged], columns, weights),
        None if ids.isna().all() else np.array(sorted(ids.unique()), dtype=object),
        float(judge[judged] @ n[judged] / n[judged].sum()) if judged.any() else np.nan,
        int(n[used].sum()),
        int(n[judged].sum()),
        int(n[labelled & ~judged].sum()),
        weighted,
    )
