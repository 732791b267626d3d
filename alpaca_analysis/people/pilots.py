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

WEIGHTED = "labels weighted by 1 / probability (Hajek)"
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
    pairs = judged_pairs(table, humans, by, on)
    found = [(key, _pilot(pairs, members)) for key, members in pairs.groups]
    if any(pilot.weighted for _, pilot in found):
        pairs.settings["draw"] = WEIGHTED
    return {"unit": pairs.unit, "settings": pairs.settings}, found


@dataclass(frozen=True)
class Pairs:
    """Pairs of each group, as the judge's rows have their sides; a pair may be in several groups.

    Attributes
    ----------
    items : DataFrame
        What `votes.match` says of each pair.
    judge, drawn : ndarray of shape (n_pairs,)
        Mean outcome of the judge's verdicts, NaN where there is none, and the share of draws among them.
    votes : ndarray of shape (n_pairs, 3)
        People's verdicts, counted.
    people : ndarray of shape (n_pairs,)
        Their mean outcome.
    probability : ndarray of shape (n_pairs,)
        Of having been drawn to be labelled, 1 where nobody says.
    groups : list of (key, ndarray of int)
        Values of the columns that make a group, and its pairs.
    unit : str
        What is resampled.
    settings : dict
        What a result says of the match.
    """

    items: pd.DataFrame
    judge: np.ndarray
    drawn: np.ndarray
    votes: np.ndarray
    people: np.ndarray
    probability: np.ndarray
    groups: list[tuple[tuple[Hashable, ...], np.ndarray]]
    unit: str
    settings: dict[str, Any]


def judged_pairs(table: pd.DataFrame, humans: pd.DataFrame, by: list[str], on: Sequence[str] | None) -> Pairs:
    """Match one judge with people, and return the pairs of each group; see `pilots`."""
    votes.matching_columns(on)
    table = check(table, source="table", require=by)
    refuse_mixed(table, by)
    matched = votes.match(table, humans, on=on, unvoted=True)
    if len(matched.judges) > 1:
        raise AnnotationError(
            "one judge; call once for each", column="annotator", found=", ".join(matched.judges)
        )
    # A pair may be in several groups, and in some from the other side: the rows of the judge decide.
    grouped = table.groupby(by, observed=True, dropna=False, sort=True)
    known, n = table["outcome"].notna(), table["n"]
    rows = pd.DataFrame(
        {
            "group": grouped.ngroup(),
            "item": matched.place,
            "turned": matched.turned,
            "won": (table["outcome"] * n).where(known, 0.0),
            "drawn": n.where(table["outcome"] == 0.5, 0),
            "known": n.where(known, 0),
        }
    )
    pairs = rows.groupby(["group", "item", "turned"], as_index=False).sum()
    times, turned, item = pairs["known"].where(pairs["known"] > 0), pairs["turned"], pairs["item"]
    people = votes.mean_of_known(matched.voters.to_numpy())[item]
    counts = matched.counts[item]
    members = pairs.groupby("group").indices
    keys = grouped.size().reset_index()[by].itertuples(index=False, name=None)
    found = Pairs(
        items=matched.items.iloc[item].reset_index(drop=True),
        judge=(pairs["won"] / times).to_numpy(),
        drawn=(pairs["drawn"] / times).to_numpy(),
        votes=np.where(turned.to_numpy()[:, None], counts[:, ::-1], counts),
        people=np.where(turned, 1 - people, people),
        probability=_probabilities(humans, matched)[item],
        groups=[(key, members[k]) for k, key in enumerate(keys)],
        unit=matched.unit,
        settings={"on": list(matched.on)},
    )
    if np.isnan(found.judge + found.people).all():
        raise AnnotationError(
            "a pair with a verdict of the judge and of a person, found none", source="humans"
        )
    return found


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


def _pilot(pairs, members):
    items = pairs.items.iloc[members]
    judge, people, drawn = (v[members] for v in (pairs.judge, pairs.people, pairs.probability))
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
