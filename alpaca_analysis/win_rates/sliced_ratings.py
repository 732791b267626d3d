"""Bradley-Terry ratings in slices of the table: each rated alone, intervals and rank sets made together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, special

from alpaca_analysis.inference.results import Reason, finish, seed_of
from alpaca_analysis.inference.slices import Part, Slices, cut, each, said, simultaneous
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed
from alpaca_analysis.win_rates.bradley_terry_battles import rated_battles
from alpaca_analysis.win_rates.bradley_terry_fits import BattleUnits, battle_units
from alpaca_analysis.win_rates.bradley_terry_ratings import Ratings
from alpaca_analysis.win_rates.ranks import rank_sets_of


def rate_in_slices(
    table: pd.DataFrame,
    by: Sequence[str],
    fit: Callable[..., Ratings],
    *,
    confidence_level: float,
    n_resamples: int,
    rng: Any,
) -> Slices:
    """Rate the models in each slice, with intervals and rank sets that hold for all of them at once.

    Intervals use the linearised contributions of instructions to all ratings of all slices. Rank sets rest on
    the resamples of each slice, drawn apart: where slices share instructions these are no narrower than need
    be, since symmetric sets of normal variables are positively dependent (Royen 2014).

    Parameters
    ----------
    table : DataFrame
        Battles.
    by : sequence of str
        Columns that make a slice.
    fit : callable
        `bradley_terry` with its options but `rng`.
    confidence_level, n_resamples, rng
        Of the intervals.

    Returns
    -------
    Slices
        Of Ratings. A model without a battle in a slice is NaN there.

    References
    ----------
    Royen, T. (2014). A simple proof of the Gaussian correlation conjecture extended to multivariate gamma
    distributions. Far East Journal of Theoretical Statistics 48(2), 139-145.
    """
    table = check(table, require=["reference", *by])
    refuse_mixed(table, by, columns=["annotator"])
    all_identified(table["instruction_id"])
    found, generator = cut(table, by), np.random.default_rng(rng)
    results, undefined = each(table, found, lambda part: fit(part, rng=generator))
    shares, models = _shares(table, found, results)
    low, high, critical = simultaneous(
        shares, confidence_level=confidence_level, n_resamples=n_resamples, rng=generator
    )
    ranks, _ = rank_sets_of([one.joint for one in results.values()], confidence_level=confidence_level)
    ranked = dict(zip(results, ranks, strict=True))
    rows = {k: one.rows(ranked[k]) for k, one in results.items()}
    empty = next(iter(rows.values())).iloc[:0]
    frames = [rows.get(k, empty) for k in range(len(found))]
    absent = [
        _absent([m for m in models if m not in set(frame["model"])], undefined.get(k))
        for k, frame in enumerate(frames)
    ]
    out = found.glued(frames, absent)
    place = {key: at for at, key in enumerate(zip(shares.slices, shares.labels, strict=True))}
    codes = np.repeat(np.arange(len(found)), [len(f) + len(a) for f, a in zip(frames, absent, strict=True)])
    at = np.array([place.get((k, models.index(m)), -1) for k, m in zip(codes, out["model"], strict=True)])
    out["ci_low"], out["ci_high"] = (np.where(at >= 0, end[at], np.nan) for end in (low, high))
    first = next(iter(results.values())).settings
    slices = said(
        found,
        shares.equality(relative=True),
        confidence_level=confidence_level,
        n_intervals=int(shares.known.sum()),
        critical_value=critical,
    )
    frame = finish(
        out,
        estimate="rating",
        method=first["method"],
        interval="max-t",
        unit=first["unit"],
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        higher_is_better=["rating"],
        undefined=[*by, "model"],
        settings={"covariates": first["covariates"], "slices": slices},
    )
    frame.attrs["rng"] = seed_of(rng)
    return Slices(
        {found.name(k): result for k, result in results.items()},
        {found.name(k): why for k, why in undefined.items()},
        frame,
    )


def _absent(models, why):
    """Return rows for models that a slice says nothing of."""
    code = "undefined_slice" if why else "nothing_judged"
    reason = Reason(code, f"undefined: {why or 'no battle in this slice'}")
    return pd.DataFrame({"model": models, "note": pd.Series([reason] * len(models), dtype=object)})


def _shares(table, found, results):
    """Return what instructions contribute to all ratings, and the names of all models."""
    models = sorted({str(m) for side in ("model", "reference") for m in table[side].dropna().unique()})
    held = pd.Series(found.code).groupby(table["instruction_id"].to_numpy(dtype=object)).nunique()
    by_id = bool((held > 1).any())
    parts: list[Part] = []
    slices: list[int] = []
    labels: list[int] = []
    estimate: list[float] = []
    error: list[float] = []
    for k, ratings in results.items():
        joint = ratings.joint
        columns = np.arange(len(labels), len(labels) + len(joint.models))
        parts.append(_part(found.part(table, k), ratings, columns, by_id))
        slices += [k] * len(columns)
        labels += [models.index(model) for model in joint.models]
        estimate += joint.estimate.tolist()
        spread = joint.resamples.std(axis=1, ddof=1)
        error += np.where(joint.untested == "", spread, np.nan).tolist()
    return shares_of(parts, slices=slices, labels=labels, estimate=estimate, error=error), models


def _part(table, ratings, columns, by_id):
    """Return what each unit contributes to the ratings of a slice, linearised."""
    covariates = ratings.settings["covariates"]
    found = rated_battles(table, covariates)
    rows, first, second = found.rows, found.first, found.second
    units, ids = battle_units(rows, first, second, covariates), None
    if by_id:
        unit, names = pd.factorize(rows["instruction_id"], sort=True)
        ids, n = list(names), rows["n"].to_numpy(dtype=float)
        x = rows[[f"_{c}" for c in covariates]].to_numpy(dtype=float)
        units = BattleUnits(first, second, rows["outcome"].to_numpy(), n, x, unit, None, False)
    values = contributions(units, ratings.joint.estimate, ratings.coefficients["coefficient"].to_numpy())
    return Part(values, columns, ids, units.multiplicity)


def contributions(units: BattleUnits, ratings: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return what each unit contributes to the ratings of a logistic fit, of shape (n_units, n_models)."""
    size, p = len(units.first), len(ratings)
    row = np.arange(size)
    sides = sparse.coo_array(
        (np.repeat([1.0, -1.0], size), (np.tile(row, 2), np.concatenate([units.first, units.second]))),
        shape=(size, p),
    )
    design = sparse.csr_array(sparse.hstack([sides, sparse.csr_array(units.x)]))
    fitted = special.expit(design @ np.concatenate([ratings, coefficients.astype(float)]))
    weight = units.n if units.multiplicity is None else units.n * units.multiplicity[units.unit]
    information = (design.multiply((weight * fitted * (1 - fitted))[:, None]).T @ design).toarray()
    scores = design.multiply((units.n * (units.outcome - fitted))[:, None])
    sums = sparse.csr_array((np.ones(size), (units.unit, row)), shape=(units.unit.max() + 1, size)) @ scores
    level = np.zeros(len(information))  # all ratings together, of which battles say nothing
    level[:p] = 1.0
    information += np.trace(information) / p**2 * np.outer(level, level)
    return np.linalg.solve(information, sums.toarray().T).T[:, :p]
