"""Fits behind the ratings: who is resampled with whom, and the two engines that fit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import ratios, resampling
from alpaca_analysis.table.groups import all_identified


@dataclass(frozen=True)
class BattleUnits:
    """Rows of battles, and which unit of the bootstrap each belongs to."""

    first: np.ndarray
    second: np.ndarray
    outcome: np.ndarray
    n: np.ndarray
    x: np.ndarray  # (n_rows, n_covariates)
    unit: np.ndarray
    multiplicity: np.ndarray | None
    anonymous: bool

    def resampled(self, n_resamples, rng):
        """Yield blocks of weights of the units, of shape (n_block, n_units)."""
        blank = np.zeros((self.unit.max() + 1, 1))
        units = ratios.Units(blank, blank, self.multiplicity)
        return resampling.draw_weights(units, n_resamples=n_resamples, rng=rng)


def battle_units(rows, first, second, covariates) -> BattleUnits:
    """Return the units of `rows`: instructions with all their rows, or distinct battles and their number."""
    outcome, n = rows["outcome"].to_numpy(), rows["n"].to_numpy()
    x = rows[[f"_{c}" for c in covariates]].to_numpy(dtype=float)
    ids = rows["instruction_id"]
    anonymous = not all_identified(ids)
    unit = pd.factorize(ids, sort=True)[0]  # what a seed draws must not depend on the order of rows
    if not anonymous and (unit.max() + 1 < len(rows) or (n > 1).any()):
        return BattleUnits(first, second, outcome, n.astype(float), x, unit, None, anonymous)
    # one judgement per unit: equal ones are drawn together, a multinomial over distinct battles
    cells = pd.DataFrame({"i": first, "j": second, "y": outcome, **{str(k): v for k, v in enumerate(x.T)}})
    distinct = cells.assign(n=n).groupby(list(cells), sort=True)["n"].sum().reset_index()
    one = np.ones(len(distinct))
    values = distinct[[str(k) for k in range(x.shape[1])]].to_numpy()
    sides = distinct["i"].to_numpy(), distinct["j"].to_numpy()
    codes = np.arange(len(distinct))
    return BattleUnits(
        *sides, distinct["y"].to_numpy(), one, values, codes, distinct["n"].to_numpy(), anonymous
    )


def fit_choix(units, p, covariates, n_resamples, rng):
    """Fit every resample; return the estimate, the resamples (p, n) and how many were separated.

    choix's dense solver takes a matrix of (half) wins, starts from the estimate, and was the fastest
    of the maintained ones: 2 ms for 130 models, where evalica takes 145 and statsmodels 5,600.
    """
    cell = np.concatenate([units.first * p + units.second, units.second * p + units.first])
    score = np.concatenate([units.outcome, 1 - units.outcome]) * np.tile(units.n, 2)
    place, code = np.unique(cell, return_inverse=True)
    sums = sparse.csr_array((score, (np.tile(units.unit, 2), code)), shape=(units.unit.max() + 1, len(place)))
    counts = np.ones(sums.shape[0]) if units.multiplicity is None else units.multiplicity

    def fit(totals, start=None, tol=1e-9):
        wins = np.zeros(p * p)
        wins[place] = totals
        return fit_wins(wins.reshape(p, p), start, tol)

    estimate = fit(counts @ sums)
    resampled = (totals for block in units.resampled(n_resamples, rng) for totals in block @ sums)
    draws = [fit(totals, estimate, tol=1e-5) for totals in resampled]  # far below their own noise
    kept = [d for d in draws if d is not None]
    if len(kept) < 2:
        raise AnnotationError(
            "resamples with finite ratings; in all of them some model won or lost everything"
        )
    return estimate, np.array(kept).T, len(draws) - len(kept)


def fit_wins(wins: np.ndarray, start: np.ndarray | None = None, tol: float = 1e-9) -> np.ndarray | None:
    """Return the ratings, around a mean of 0, of models of which row beat column so often.

    None where they are not finite: some models won, or lost, everything against the others.
    """
    import choix

    if sparse.csgraph.connected_components(wins > 0, connection="strong")[0] > 1:
        return None
    found = choix.ilsr_pairwise_dense(wins, initial_params=start, max_iter=1000, tol=tol)
    return found - found.mean()


def fit_regression(units, p, covariates, n_resamples, rng):
    """Fit a logistic regression and move it by its influence; models sum to 0."""
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    design = np.zeros((len(units.first), p))
    rows = np.arange(len(design))
    design[rows, units.first] += 1
    design[rows, units.second] -= 1
    contrast = np.vstack([np.eye(p - 1), -np.ones(p - 1)])  # ratings sum to 0
    design = np.hstack([design @ contrast, units.x])
    weight = units.n if units.multiplicity is None else units.multiplicity.astype(float)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        found = ", ".join(covariates)
        raise AnnotationError("covariates that vary apart from each other and from the models", found=found)
    model = sm.GLM(units.outcome, design, family=sm.families.Binomial(), freq_weights=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            result = model.fit()
        except PerfectSeparationWarning:
            found = ", ".join(covariates)
            raise AnnotationError("covariates that do not tell every outcome exactly", found=found) from None
    residual = (units.outcome - result.fittedvalues) * units.n
    bread = np.linalg.inv((design.T * (weight * result.fittedvalues * (1 - result.fittedvalues))) @ design)
    influence = sparse.csr_array(
        (np.ones(len(rows)), (units.unit, rows)), shape=(units.unit.max() + 1, len(rows))
    ) @ (residual[:, None] * (design @ bread))
    counts = np.ones(len(influence)) if units.multiplicity is None else units.multiplicity
    blocks = [(w - counts) @ influence for w in units.resampled(n_resamples, rng)]
    draws = result.params + np.concatenate(blocks)
    widen = np.block(
        [
            [contrast, np.zeros((p, len(covariates)))],
            [np.zeros((len(covariates), p - 1)), np.eye(len(covariates))],
        ]
    )
    return widen @ result.params, widen @ draws.T, 0
