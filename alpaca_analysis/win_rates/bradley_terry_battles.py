"""Battles behind the ratings: which rows are usable, who met whom, and whose rating is finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import check, to_numeric
from alpaca_analysis.table.groups import refuse_mixed, require_judged
from alpaca_analysis.table.style import FEATURES
from alpaca_analysis.table.style_pairs import scaled_differences


@dataclass(frozen=True)
class Battles:
    """Battles between models whose ratings are finite.

    Attributes
    ----------
    names : list of str
        All models that met another.
    wins : ndarray of shape (len(names), len(names))
        How often row beat column, draws half.
    rated : ndarray of int
        Positions in `names` of the models whose ratings are finite.
    separated : dict of str to str
        The others, and why they have none.
    rows : DataFrame
        Battles among the rated models.
    first, second : ndarray of int
        Positions in `rated` of both sides of each row.
    left_out : dict of str to int
        Judgements without a verdict, and without a covariate or of a model against itself.
    """

    names: list[str]
    wins: np.ndarray
    rated: np.ndarray
    separated: dict[str, str]
    rows: pd.DataFrame
    first: np.ndarray
    second: np.ndarray
    left_out: dict[str, int]


def rated_battles(table: pd.DataFrame, covariates: Sequence[str] = ()) -> Battles:
    """Return the usable battles of a table, and the models that they rate; see `bradley_terry`.

    Raises
    ------
    AnnotationError
        Several annotators, an unnamed side, no usable battle, or models in halves that never met.
    """
    rows, left_out = _battles(table, covariates)
    names, (first, second) = _codes(rows)
    wins = wins_of(first, second, rows["outcome"].to_numpy(), rows["n"].to_numpy(), len(names))
    _require_connected(names, wins)
    rated, separated = _finite(names, wins)
    inside = np.isin(first, rated) & np.isin(second, rated)
    position = np.full(len(names), -1)
    position[rated] = np.arange(len(rated))
    first, second = position[first[inside]], position[second[inside]]
    return Battles(names, wins, rated, separated, rows[inside], first, second, left_out)


def _battles(table, covariates):
    """Return the usable rows with their covariates, and how many were left out."""
    known = {"position": ["position"], "length": ["length_model", "length_reference"]}
    known |= {name: [f"{name}_model", f"{name}_reference"] for name in FEATURES[1:]}
    needed = [c for name in covariates for c in known.get(name, [name])]
    table = check(table, require=["reference", *needed])
    require_judged(table)
    refuse_mixed(table, columns=["annotator"])
    for column in ("model", "reference"):
        if table[column].isna().any():
            row = int(np.flatnonzero(table[column].isna())[0])
            raise AnnotationError("a name on both sides", row=row, column=column, found=None)
    own = table["model"].astype(str) == table["reference"].astype(str)
    values = {name: _covariate(table, name) for name in covariates}
    complete = np.logical_and.reduce([np.isfinite(v) for v in values.values()] + [~own])
    judged = table["outcome"].notna()
    rows = table.assign(**{f"_{name}": v for name, v in values.items()})[judged & complete]
    if rows.empty:
        raise AnnotationError(f"battles with values of {', '.join(covariates) or 'two models'}")
    left_out = {
        "n_missing": int(table["n"][~judged].sum()),
        "n_left_out": int(table["n"][judged & ~complete].sum()),
    }
    return rows, left_out


def _covariate(table, name):
    if name == "position":
        shown = to_numeric(table["position"]).to_numpy(dtype=float, na_value=np.nan)
        return np.select([shown == 1, shown == 2], [1.0, -1.0], np.nan)
    if name == "length":
        ours, theirs = table["length_model"].to_numpy(), table["length_reference"].to_numpy()
        with np.errstate(invalid="ignore"):
            return np.where(ours + theirs > 0, (ours - theirs) / (ours + theirs), 0.0 * (ours + theirs))
    if name in FEATURES and name not in table:
        return scaled_differences(table, [name])[name].to_numpy()
    return to_numeric(table[name]).to_numpy(dtype=float, na_value=np.nan)


def _codes(rows):
    sides = [rows[c].astype(str).to_numpy(dtype=str) for c in ("model", "reference")]
    names, codes = np.unique(np.concatenate(sides), return_inverse=True)
    return [str(n) for n in names], (codes[: len(rows)], codes[len(rows) :])


def wins_of(first: np.ndarray, second: np.ndarray, y: np.ndarray, n: np.ndarray, p: int) -> np.ndarray:
    """Return how often row beat column, draws half."""
    wins = np.bincount(first * p + second, y * n, p * p) + np.bincount(second * p + first, (1 - y) * n, p * p)
    return wins.reshape(p, p)


def _require_connected(names, wins):
    count, label = sparse.csgraph.connected_components(wins > 0, directed=False)
    if count > 1:
        halves = [", ".join(np.array(names)[label == k][:3]) for k in range(min(count, 3))]
        raise AnnotationError(
            f"battles that connect all models; {count} groups never met, so there is no common scale: "
            + " | ".join(halves)
        )


def _finite(names, wins):
    """Return the models of the largest group with finite ratings, and why the others have none.

    Ratings are finite if and only if each model is reached from each other along wins (Ford 1957).
    """
    _, label = sparse.csgraph.connected_components(wins > 0, directed=True, connection="strong")
    largest = np.bincount(label).argmax()
    rated = np.flatnonzero(label == largest)
    if len(rated) < 2:
        raise AnnotationError("two or more models that both won and lost: every battle is separated")
    separated = {}
    beats = wins > 0
    reach = sparse.csgraph.shortest_path(beats, unweighted=True)
    for k in np.flatnonzero(label != largest):
        above = np.isfinite(reach[k, rated]).any()
        separated[names[k]] = "rating undefined: " + (
            "never lost to the rated models, directly or through others"
            if above
            else "never won against the rated models, directly or through others"
        )
    return rated, separated
