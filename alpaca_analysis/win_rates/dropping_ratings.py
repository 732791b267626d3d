"""How few battles carry an order of Bradley-Terry ratings: by influence, always refitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import finish
from alpaca_analysis.table.groups import all_identified, select_models
from alpaca_analysis.win_rates.bradley_terry_battles import rated_battles, wins_of
from alpaca_analysis.win_rates.bradley_terry_fits import fit_wins

EQUAL = 1e-6  # log odds: ratings as close are what the solver leaves, not what battles say
ONE_BY_ONE = 30  # units still needed from which on each is refitted; above, a quarter at a time
COLUMNS = ("model", "reference", "outcome")


def dropped_ratings(table: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Find few battles whose removal turns the order of two ratings; see `dropped_to_reverse`.

    Each step leaves out what pulls the ratings of the two models furthest apart, by influence (one step of
    Newton's method), and fits anew. What is returned does turn the order; fewer may.
    """
    battles = rated_battles(table)
    sides = pd.DataFrame({"model": battles.names})
    select_models(sides, [a, b])
    for model in (a, b):
        if model in battles.separated:
            raise AnnotationError(
                f"a model with a finite rating ({battles.separated[model]})", column="model", found=model
            )
    units = _units(battles)
    models = [battles.names[k] for k in battles.rated]
    search = _Search(units, len(models), models.index(a), models.index(b))
    if search.difference < 0:
        a, b = b, a
        search = _Search(units, len(models), models.index(a), models.index(b))
    search.run()
    tie, turned = search.first(lambda left: left <= EQUAL), search.first(lambda left: left < -EQUAL)
    shown = search.order[: turned or tie or 0]
    frame = units.frame.iloc[shown].reset_index(drop=True)
    frame["difference"] = [search.left.get(k + 1, np.nan) for k in range(len(shown))]
    return finish(
        frame,
        estimate=None,
        method="battles left out by influence, ratings fitted anew; at most so many",
        unit="instruction" if units.identified else "judgement (no instruction ids)",
        settings={
            "model_a": a,
            "model_b": b,
            "difference": search.difference,
            "n": int(units.capacity.sum()),
            "n_to_tie": tie,
            "n_to_reverse": turned,
            "exact": False,
            "statistic": "rating",
        },
    )


@dataclass(frozen=True)
class _Units:
    """What is left out as a whole: instructions with all their battles, or single judgements."""

    first: np.ndarray  # of each row
    second: np.ndarray
    y: np.ndarray
    n: np.ndarray  # how many judgements of the row go with its unit
    unit: np.ndarray
    capacity: np.ndarray  # of each unit: how many equal ones there are
    frame: pd.DataFrame  # one row per unit, as a person reads it
    identified: bool


def _units(battles):
    rows = battles.rows[[*COLUMNS, "n", "instruction_id"]].assign(_i=battles.first, _j=battles.second)
    identified = all_identified(rows["instruction_id"])
    keys = ["instruction_id"] if identified else [*COLUMNS, "_i", "_j"]
    if not identified:  # equal ones are told apart by nothing
        rows = rows.groupby(keys, observed=True)["n"].sum().reset_index()
    unit = rows.groupby(keys, observed=True, sort=True).ngroup().to_numpy()
    grouped = rows.assign(_unit=unit).groupby("_unit")
    frame = grouped[list(COLUMNS)].first().astype({"model": object, "reference": object})
    frame[list(COLUMNS)] = frame[list(COLUMNS)].where(grouped.size() == 1)
    frame.insert(0, "instruction_id", grouped["instruction_id"].first() if identified else pd.NA)
    n = rows["n"].to_numpy(float)
    frame["n_battles"] = grouped["n"].sum() if identified else 1
    return _Units(
        first=rows["_i"].to_numpy(),
        second=rows["_j"].to_numpy(),
        y=rows["outcome"].to_numpy(float),
        n=n if identified else np.ones(len(rows)),
        unit=unit,
        capacity=np.ones(unit.max() + 1, dtype=np.int64) if identified else n.astype(np.int64),
        frame=frame,
        identified=identified,
    )


class _Search:
    """Units left out one after the other, until the first of two ratings is below the second."""

    def __init__(self, units: _Units, p: int, a: int, b: int):
        self.units, self.p, self.a, self.b = units, p, a, b
        self.order: list[int] = []
        self.left: dict[int, float] = {}  # difference of ratings after so many
        self.rest = units.capacity.copy()
        self.stuck = np.zeros(len(self.rest), dtype=bool)  # left out, they leave no finite ratings
        self.ratings = np.zeros(p)
        self.difference = self._fitted([])

    def run(self):
        """Leave out units until the order turns, or nothing that could turn it is left."""
        left, most = self.difference, len(self.rest)
        while left >= -EQUAL and abs(self.difference) > EQUAL:
            chosen = self._chosen(max(left, EQUAL), most)
            if not chosen:
                return
            found = self._fitted([*self.order, *chosen])
            if not np.isnan(found):
                self.order += chosen
                np.subtract.at(self.rest, chosen, 1)
                left = found
            elif len(chosen) == 1:
                self.stuck[chosen] = True
            else:
                most = len(chosen) // 2

    def first(self, done):
        """Return after how many units `done` first holds, refitting between those that are known."""
        above, below = 0, next((k for k in sorted(self.left) if k and done(self.left[k])), None)
        if below is None:
            return None
        above = max(k for k in (0, *self.left) if k < below)
        while below - above > 1:
            middle = (above + below) // 2
            value = self._fitted(self.order[:middle])
            above, below = (above, middle) if done(value) else (middle, below)
        return below

    def _fitted(self, order):
        """Return the difference of ratings without the units of `order`, NaN where they are not finite."""
        u = self.units
        times = np.bincount(order, minlength=len(u.capacity)).astype(float)
        kept = u.n * (u.capacity - times)[u.unit]
        wins = wins_of(u.first, u.second, u.y, kept, self.p)
        ratings = fit_wins(np.where(wins > 1e-9, wins, 0.0), self.ratings)
        if ratings is None:
            return np.nan
        self.ratings = ratings
        self.left[len(order)] = float(ratings[self.a] - ratings[self.b])
        return self.left[len(order)]

    def _pull(self):
        """Return by how much the difference falls without each unit, about; 0 for those that are gone."""
        u, r = self.units, self.ratings
        p = 1 / (1 + np.exp(r[u.second] - r[u.first]))
        kept = u.n * self.rest[u.unit]
        information = wins_of(u.first, u.second, np.full(len(p), 0.5), 2 * kept * p * (1 - p), self.p)
        laplacian = np.diag(information.sum(axis=1)) - information
        contrast = np.zeros(self.p)
        contrast[[self.a, self.b]] = 1, -1
        direction = np.linalg.solve(laplacian + 1 / self.p, contrast)  # ratings sum to 0
        share = u.n * (u.y - p) * (direction[u.first] - direction[u.second])
        pull = np.round(np.bincount(u.unit, share, len(self.rest)), 12)
        return np.where((self.rest > 0) & ~self.stuck, pull, 0.0)

    def _chosen(self, left, most):
        """Return the next units to leave out: one, or a quarter of those that seem to be needed if many."""
        pull = self._pull()
        ordered = np.argsort(-pull, kind="stable")
        ordered = np.repeat(ordered, self.rest[ordered])
        ordered = ordered[pull[ordered] > 0]
        needed = int(np.searchsorted(np.cumsum(pull[ordered]), left)) + 1
        return ordered[: 1 if needed <= ONE_BY_ONE else min(needed // 4, most)].tolist()
