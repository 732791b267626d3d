"""What the instructions can show: which of them separate models, and what fewer of them would do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations.coefficients import coefficient, pearson
from alpaca_analysis.correlations.intervals import fisher_interval
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.inference import ratios, results
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import require_judged


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
        No instruction ids, several references or annotators, fewer than four models, or no usable
        judgement.

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
    options.check_options(confidence_level)
    ids, datasets, y, m = _sums(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, rest = y / m, (y.sum(axis=0) - y) / (m.sum(axis=0) - m)
    known = np.isfinite(x) & np.isfinite(rest)
    r, n_models = pearson(x, rest, known), known.sum(axis=1)
    low, high = fisher_interval(r, n_models, "pearson", confidence_level)
    note = np.where(np.isnan(low), "interval undefined: fewer than four models, or points on a line", "")
    note = np.where(np.isnan(r), "undefined: the same outcome for every model", note)
    note = np.where(n_models == 0, "undefined: its models were judged on nothing else", note)
    result = pd.DataFrame(
        {
            "instruction_id": ids,
            "dataset": datasets,
            "n_models": n_models,
            "mean_outcome": np.nanmean(x, axis=1),
            "discrimination": r,
            "ci_low": low,
            "ci_high": high,
            "note": note,
        }
    ).sort_values("discrimination", ascending=False, kind="stable", ignore_index=True)
    result.attrs = results.settings(method="Fisher", unit="model", confidence_level=confidence_level)
    return result


def _sums(table):
    """Return instructions, their sources, and sums of outcomes and judgements, instructions by models."""
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
    require_judged(table)
    judged = table[table["outcome"].notna() & table["model"].notna()]
    unit, ids = pd.factorize(judged["instruction_id"], sort=True)
    model, names = pd.factorize(judged["model"].astype(str), sort=True)
    shape = (len(ids), len(names))
    cell, n = unit * shape[1] + model, judged["n"].to_numpy()
    sums = (judged["outcome"].to_numpy() * n, n)
    y, m = (np.bincount(cell, v, shape[0] * shape[1]).reshape(shape) for v in sums)
    datasets = table.groupby("instruction_id")["dataset"].first().reindex(ids)
    return ids.to_numpy(), datasets.to_numpy(), y, m


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

    Warns
    -----
    UndefinedWarning
        All models have the same win rate, so that there is no order to find again.

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
    options.check_options(n_resamples=n_resamples)
    if min(sizes) < 2:
        raise AnnotationError("sizes of at least 2 instructions", column="sizes", found=int(min(sizes)))
    _, _, y, m = _sums(table)
    truth = y.sum(axis=0) / m.sum(axis=0)
    seed, rng = results.seed_of(rng), np.random.default_rng(rng)
    rows = []
    for size in sizes:
        drawn = rng.multinomial(size, np.full(len(y), 1 / len(y)), size=n_resamples).astype(float)
        found = _conclusions(y, m, drawn, truth, stats.norm.ppf(1 - alpha / 2))
        low = high = np.nan
        if not np.isnan(found["spearman"]).all():
            low, high = np.nanquantile(found["spearman"], [0.025, 0.975])
        means = {name: float(np.nanmean(v)) if not np.isnan(v).all() else np.nan for name, v in found.items()}
        rows.append({"n": int(size), **means, "spearman_low": low, "spearman_high": high})
    if np.ptp(truth) == 0:
        text = "spearman: undefined, the same win rate for every model"
        warnings.warn(text, UndefinedWarning, stacklevel=2)
    columns = ["n", "spearman", "spearman_low", "spearman_high", "standard_error"]
    result = pd.DataFrame(rows)[[*columns, "share_ordered", "share_wrong", "same_best"]]
    result.attrs = results.settings(
        method="instructions drawn with replacement",
        unit="instruction",
        confidence_level=0.95,
        n_resamples=n_resamples,
        rng=seed,
    ) | {"alpha": alpha}
    return result


def _conclusions(y, m, drawn, truth, critical):
    """Return what every evaluation of so often drawn instructions says of the models and of every pair."""
    first, second = np.triu_indices(len(truth), 1)
    better = np.sign(truth[first] - truth[second])
    rates = np.empty((len(drawn), len(truth)))
    error, ordered, wrong = np.empty((3, len(drawn)))
    for k, weights in enumerate(drawn):
        used = weights > 0
        units = ratios.Units(y[used], m[used], weights[used])
        rates[k] = units.estimate
        spread = ratios.covariance(ratios.influence(units), units.counts)
        alone = np.diag(spread)
        variance = alone[first] + alone[second] - 2 * spread[first, second]
        gap = rates[k, first] - rates[k, second]
        shown = np.abs(gap) > critical * np.sqrt(np.maximum(variance, 0))
        right = np.sign(gap) == better
        error[k], ordered[k] = np.sqrt(alone).mean(), (shown & right).mean()
        wrong[k] = (shown & ~right & (better != 0)).mean()
    best = np.argmax(np.where(np.isnan(rates), -np.inf, rates), axis=1)
    return {
        "spearman": coefficient(rates, np.broadcast_to(truth, rates.shape), "spearman"),
        "standard_error": error,
        "share_ordered": ordered,
        "share_wrong": wrong,
        "same_best": (truth[best] == truth.max()).astype(float),
    }
