"""How hard an instruction is, as length control means it: the higher, the more often models win.

AlpacaEval uses one number an instruction, fitted over its version 2 leaderboard and not published in
tables of figures. `rebuild_difficulty` makes it anew from judgements and the published coefficients;
the package ships the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pandas as pd
from scipy.special import expit

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.length.scales import length_feature
from alpaca_analysis.sources.catalogue import load
from alpaca_analysis.table.checks import check, refuse, to_numeric

PUBLISHED_MEAN, PUBLISHED_SD = -0.057, 1.483  # of the published difficulties, by the quadrature's atoms


def difficulty_of(table: pd.DataFrame, difficulty) -> np.ndarray:
    """Return the difficulty of each row from a Series, or the table's own column for "published" cells."""
    if isinstance(difficulty, str) and difficulty == "published":
        if table["instruction_id"].isna().all():
            return _own_column(table)
        difficulty = _published()
        remedy = "one of AlpacaEval's 805 instructions; for others pass difficulty=None, 'joint' or a Series"
    else:
        remedy = "an instruction in the index of `difficulty`"
        difficulty = _checked(difficulty)
    values = table["instruction_id"].map(difficulty).astype(float).to_numpy()
    if np.isnan(values).any():
        row = int(np.flatnonzero(np.isnan(values))[0])
        found = table["instruction_id"].iloc[row]
        raise AnnotationError(
            remedy, row=row, column="instruction_id", found=None if pd.isna(found) else found
        )
    return values


@cache
def _published():
    return load("instruction_difficulty").set_index("instruction_id")["difficulty"]


def _own_column(table):
    if "difficulty" not in table:
        raise AnnotationError(
            "instruction ids, or a column 'difficulty' where rows are cells; else pass difficulty=None",
            column="instruction_id",
            found="none",
        )
    values = to_numeric(table["difficulty"]).to_numpy(float)
    refuse(~np.isfinite(values), "a finite number", table["difficulty"], column="difficulty")
    return values


def _checked(difficulty):
    if not isinstance(difficulty, pd.Series):
        raise ValueError(f"difficulty: found {difficulty!r}, expected 'published', 'joint', None or a Series")
    twice = difficulty.index[difficulty.index.duplicated()]
    if len(twice):
        raise AnnotationError("each instruction once", source="difficulty", found=twice[0])
    bad = ~np.isfinite(to_numeric(difficulty).astype(float))
    if bad.any():
        raise AnnotationError(
            "a finite number",
            source="difficulty",
            row=difficulty.index[bad][0],
            found=difficulty[bad].iloc[0],
        )
    return difficulty


def rebuild_difficulty(
    table: pd.DataFrame,
    coefficients: pd.DataFrame,
    *,
    models: Iterable[str] | None = None,
    penalty: float = 0.3,
    mean: float = PUBLISHED_MEAN,
    sd: float = PUBLISHED_SD,
) -> pd.Series:
    """Estimate each instruction's difficulty from judgements of models with known coefficients.

    With every model's (phi, psi, theta) held fixed, each instruction's difficulty d maximises

        sum_m y_m log p_m + (1 - y_m) log(1 - p_m)  -  penalty/2 (d - prior)^2,
        p_m = sigmoid(theta_m + phi_m tanh(D_m/s_m) + psi_m d).

    The prior is the linear regression of d on the log of the reference's length and the mean length
    feature, and is found in turn with d. The result is rescaled to a given mean and spread.

    Parameters
    ----------
    table : DataFrame
        Judgements with instruction ids and lengths.
    coefficients : DataFrame
        Index: model; columns ``phi``, ``psi``, ``theta``.
    models : iterable of str, optional
        Which models to use; all that have coefficients by default.
    penalty : float
        Weight of the prior, > 0.
    mean, sd : float
        Of the result; by default those of the published difficulties, so that published coefficients
        fit its scale.

    Returns
    -------
    Series
        Difficulty by ``instruction_id``, sorted by id.
    """
    table = check(table, require=["instruction_id"])
    table = table.assign(x=length_feature(table))
    names = [m for m in table["model"].cat.categories if m in coefficients.index]
    names = names if models is None else list(models)
    table = table[table["model"].isin(names)]
    x, y = (
        table.pivot(index="instruction_id", columns="model", values=c)[names].to_numpy()
        for c in ("x", "outcome")
    )
    reference = table.groupby("instruction_id")["length_reference"].median()
    prior = np.column_stack([np.ones(len(x)), np.log1p(reference), np.nanmean(x, axis=1)])
    phi, psi, theta = (coefficients.loc[names, c].to_numpy() for c in ("phi", "psi", "theta"))
    judged = ~(np.isnan(x) | np.isnan(y))
    known = theta + phi * np.where(judged, x, 0.0), np.where(judged, y, 0.0), judged * psi
    d = centre = np.zeros(len(x))
    for _ in range(30):
        before, d = d, _difficulties(d, centre, *known, penalty)
        centre = prior @ np.linalg.lstsq(prior, d, rcond=None)[0]
        if np.abs(d - before).max() < 1e-9:
            break
    return pd.Series(mean + sd * (d - d.mean()) / d.std(), reference.index, name="difficulty")


def _difficulties(d, centre, fixed_part, y, psi, penalty):
    """Return the penalised maximum of every instruction by Newton's method."""
    for _ in range(50):
        p = expit(fixed_part + psi * d[:, None])
        slope = (psi * (y - p)).sum(axis=1) - penalty * (d - centre)
        curvature = (psi**2 * p * (1 - p)).sum(axis=1) + penalty
        step = np.clip(slope / curvature, -1, 1)
        d = d + step
        if np.abs(step).max() < 1e-11:
            break
    return d
