"""What the instructions can show: which of them separate models, and what fewer of them would do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from . import bootstrap
from .annotations import AnnotationError, check


def discrimination(table: pd.DataFrame, *, confidence_level: float = 0.95) -> pd.DataFrame:
    """Measure how well each instruction separates better models from worse ones.

    The discrimination of an instruction is the correlation, over models, of the outcome on it with the
    model's win rate on all *other* instructions (the corrected item-total correlation of test theory).
    Near 0, the instruction says nothing about which model is better; where every model wins, it is
    undefined.

    Parameters
    ----------
    table : DataFrame
        Judgements of several models against one reference by one annotator, with instruction ids.
    confidence_level : float
        Coverage in (0, 1) of Fisher's z interval over models.

    Returns
    -------
    DataFrame
        ``instruction_id``, ``dataset``, ``n_models`` (with a usable answer), ``mean_outcome``,
        ``discrimination``, ``ci_low``, ``ci_high``, ``note``; the sharpest first, undefined last.

    Raises
    ------
    AnnotationError
        No instruction ids, several references or annotators, or fewer than four models.

    References
    ----------
    Lord, F. M. and Novick, M. R. (1968). Statistical Theories of Mental Test Scores, chapter 15.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> wins = rng.random((50, 6)) < np.linspace(0.2, 0.9, 6)
    >>> wins[0] = np.arange(6) > 2
    >>> table = pd.DataFrame({"instruction_id": np.repeat([f"i{k}" for k in range(50)], 6),
    ...                       "model": list("abcdef") * 50, "outcome": wins.ravel() * 1.0})
    >>> found = discrimination(table).set_index("instruction_id").loc["i0"]
    >>> float(found["mean_outcome"]), float(found["discrimination"].round(2))
    (0.5, 0.88)
    """
    bootstrap.check_options(confidence_level)
    outcomes, datasets = _matrix(table)
    y = outcomes.to_numpy()
    judged = ~np.isnan(y)
    total, count = np.nansum(y, axis=0), judged.sum(axis=0)
    rest = (total - np.nan_to_num(y)) / (count - judged)
    x, rest = np.where(judged, y, np.nan), np.where(judged, rest, np.nan)
    x = x - np.nanmean(x, axis=1, keepdims=True)
    rest = rest - np.nanmean(rest, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        r = np.nansum(x * rest, axis=1) / np.sqrt(np.nansum(x**2, axis=1) * np.nansum(rest**2, axis=1))
    r = np.where(np.nansum(x**2, axis=1) > 1e-12, r, np.nan)
    n_models = judged.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = stats.norm.ppf((1 + confidence_level) / 2) / np.sqrt(np.maximum(n_models - 3, 0))
        z = np.arctanh(np.clip(r, -1, 1))
    result = pd.DataFrame(
        {
            "instruction_id": outcomes.index.to_numpy(),
            "dataset": datasets.to_numpy(),
            "n_models": n_models,
            "mean_outcome": np.nanmean(y, axis=1),
            "discrimination": r,
            "ci_low": np.tanh(z - half),
            "ci_high": np.tanh(z + half),
            "note": np.where(np.isnan(r), "undefined: the same outcome for every model", ""),
        }
    ).sort_values("discrimination", ascending=False, kind="stable", ignore_index=True)
    result.attrs = {"method": "Fisher", "unit": "model", "confidence_level": confidence_level}
    return result


def _matrix(table):
    """Return outcomes as a frame of instructions by models, and each instruction's source."""
    table = check(table, require=["instruction_id"])
    for column in ("reference", "annotator"):
        names = table[column].dropna().unique()
        if len(names) > 1:
            found = ", ".join(sorted(map(str, names))[:4])
            raise AnnotationError(f"one {column}; select one", column=column, found=found)
    if table["instruction_id"].isna().any():
        row = int(np.flatnonzero(table["instruction_id"].isna())[0])
        raise AnnotationError("an instruction id on every row", row=row, column="instruction_id")
    if table["model"].nunique() < 4:
        raise AnnotationError("at least 4 models", column="model", found=int(table["model"].nunique()))
    judged = table[table["outcome"].notna()]
    outcomes = judged.pivot_table(
        index="instruction_id", columns="model", values="outcome", aggfunc="mean", observed=True
    )
    datasets = table.groupby("instruction_id")["dataset"].first().reindex(outcomes.index)
    return outcomes, datasets


def fewer_instructions(
    table: pd.DataFrame,
    *,
    sizes: Sequence[int] = (100, 300, 805),
    alpha: float = 0.05,
    n_resamples: int = 400,
    rng=0,
) -> pd.DataFrame:
    """Show what an evaluation with so many instructions of the same kind would conclude.

    Each resample draws `size` instructions with replacement from those of the table, for all models
    together: the table stands for the population, its win rates for the truth. Every pair of models
    is then compared by a paired z-test. A size above that of the table says what more instructions of
    the same kind would do.

    Parameters
    ----------
    table : DataFrame
        Judgements of several models against one reference by one annotator, with instruction ids.
    sizes : sequence of int
        Numbers of instructions.
    alpha : float
        Level in (0, 1) of the two-sided test, pair by pair.
    n_resamples : int
        Evaluations drawn for each size.
    rng : int, Generator or SeedSequence
        Seed.

    Returns
    -------
    DataFrame
        ``n`` (instructions) and, over the resamples: ``spearman`` (mean correlation of the order with
        that of all instructions) with ``spearman_low``, ``spearman_high`` (2.5 to 97.5 %);
        ``standard_error`` (mean over models of the error of a win rate); ``share_ordered`` (of the
        pairs of models, shown to differ in the right direction); ``share_wrong`` (shown to differ in
        the wrong one); ``same_best`` (share in which the best model of all is best).

    Raises
    ------
    AnnotationError
        As `discrimination`, or a size below 2.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> wins = rng.random((200, 5)) < [0.2, 0.4, 0.5, 0.6, 0.9]
    >>> table = pd.DataFrame({"instruction_id": np.repeat([f"i{k}" for k in range(200)], 5),
    ...                       "model": list("abcde") * 200, "outcome": wins.ravel() * 1.0})
    >>> fewer_instructions(table, sizes=[50, 200])[["n", "share_ordered", "same_best"]].round(2)
         n  share_ordered  same_best
    0   50           0.78        1.0
    1  200           0.93        1.0
    """
    bootstrap.check_options(n_resamples=n_resamples)
    if min(sizes) < 2:
        raise AnnotationError("sizes of at least 2 instructions", column="sizes", found=int(min(sizes)))
    outcomes, _ = _matrix(table)
    y = outcomes.to_numpy()
    judged = (~np.isnan(y)).astype(float)
    y = np.nan_to_num(y)
    truth = y.sum(axis=0) / judged.sum(axis=0)
    first, second = np.triu_indices(len(truth), 1)
    critical = stats.norm.ppf(1 - alpha / 2)
    rng = np.random.default_rng(rng)
    rows = []
    for size in sizes:
        drawn = rng.multinomial(size, np.full(len(y), 1 / len(y)), size=n_resamples).astype(float)
        found = [_conclusions(y, judged, w, truth, first, second, critical) for w in drawn]
        each = pd.DataFrame(found)
        low, high = each["spearman"].quantile([0.025, 0.975])
        rows.append({"n": int(size), **each.mean().to_dict(), "spearman_low": low, "spearman_high": high})
    columns = ["n", "spearman", "spearman_low", "spearman_high", "standard_error"]
    result = pd.DataFrame(rows)[[*columns, "share_ordered", "share_wrong", "same_best"]]
    result.attrs = {
        "method": "instructions drawn with replacement",
        "unit": "instruction",
        "alpha": alpha,
        "n_resamples": n_resamples,
    }
    return result


def _conclusions(y, judged, weights, truth, first, second, critical):
    """Return what one evaluation of weighted instructions says of the models and of every pair."""
    used = weights > 0
    y, judged, weights = y[used], judged[used], weights[used]
    units = bootstrap.Units(y, judged, weights)
    rates = units.estimate
    spread = bootstrap.covariance(bootstrap.influence(units), weights)
    difference = rates[first] - rates[second]
    variance = spread[first, first] + spread[second, second] - 2 * spread[first, second]
    shown = np.abs(difference) > critical * np.sqrt(np.maximum(variance, 0))
    right = np.sign(difference) == np.sign(truth[first] - truth[second])
    return {
        "spearman": stats.spearmanr(rates, truth).statistic,
        "standard_error": np.sqrt(np.diag(spread)).mean(),
        "share_ordered": (shown & right).mean(),
        "share_wrong": (shown & ~right & (truth[first] != truth[second])).mean(),
        "same_best": float(truth[np.argmax(rates)] == truth.max()),
    }
