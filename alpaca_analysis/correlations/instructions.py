"""What the instructions can show: which of them separate models, and what fewer of them would do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.correlations.coefficients import CHUNK_CELLS, coefficient, pearson
from alpaca_analysis.correlations.intervals import fisher_interval
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, warn
from alpaca_analysis.inference import ratios, resampling
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.table.checks import check, refuse
from alpaca_analysis.table.groups import refuse_mixed, require_judged


def discrimination(
    table: pd.DataFrame, *, confidence_level: float = 0.95, n_resamples: int = 9999, rng=0
) -> pd.DataFrame:
    """Measure how well each instruction separates better models from worse ones.

    The discrimination of an instruction is the correlation, over models, of the outcome on it with the
    model's win rate on all *other* instructions (the corrected item-total correlation of test theory).
    Near 0, the instruction says nothing about which model is better; where every model wins, it is
    undefined. Many instructions are many tests, of which some succeed by chance: ``separates`` goes by
    p-values that are adjusted for it, and that need no normal distribution over models.

    Parameters
    ----------
    table : DataFrame
        Judgements of several models against one reference by one annotator, with instruction ids.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Random orders of the models behind the p-values.
    rng : int, Generator or SeedSequence
        Seed of the random orders.

    Returns
    -------
    DataFrame
        ``instruction_id``, ``dataset``, ``n_models`` (with a usable answer), ``mean_outcome``,
        ``discrimination``, ``ci_low``, ``ci_high`` (Fisher's z interval over models, of this instruction
        alone), ``pvalue`` (one-sided permutation test: how often models in random order discriminate as
        well), ``pvalue_bh`` (Benjamini and Hochberg, over all instructions), ``separates`` (`pvalue_bh` at
        most (1 - `confidence_level`) / 2, the level of the interval's lower end: of these instructions no
        larger share is expected to be false), ``reason`` and ``note``; the largest discrimination first,
        undefined last. ``.attrs["n_separating"]`` of ``.attrs["n_tested"]`` separate.

    Raises
    ------
    AnnotationError
        No instruction ids, several references or annotators, fewer than four models, or no usable
        judgement.

    See Also
    --------
    fewer_instructions : What an evaluation of another size would conclude.

    References
    ----------
    Lord, F. M. and Novick, M. R. (1968). Statistical Theories of Mental Test Scores, chapter 15.

    Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. JRSS B 57(1).

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
    options.check_options(confidence_level, n_resamples)
    ids, datasets, y, m = _sums(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, rest = y / m, (y.sum(axis=0) - y) / (m.sum(axis=0) - m)
    known = np.isfinite(x) & np.isfinite(rest)
    r, n_models = pearson(x, rest, known), known.sum(axis=1)
    low, high = fisher_interval(r, n_models, "pearson", confidence_level)
    pvalue = _permutation_pvalues(x, rest, known & ~np.isnan(r)[:, None], n_resamples, rng)
    adjusted, tested = np.full(len(r), np.nan), ~np.isnan(pvalue)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(pvalue[tested], method="bh")
    frame = pd.DataFrame(
        {
            "instruction_id": ids,
            "dataset": datasets,
            "n_models": n_models,
            "mean_outcome": np.nanmean(x, axis=1),
            "discrimination": r,
            "ci_low": low,
            "ci_high": high,
            "pvalue": pvalue,
            "pvalue_bh": adjusted,
            "separates": adjusted <= (1 - confidence_level) / 2,
            "note": [_note(*row) for row in zip(n_models, r, low, strict=True)],
        }
    )
    return finish(
        frame.iloc[np.argsort(-ties.tied(r), kind="stable")],
        estimate="discrimination",
        method="item-rest correlation over models",
        interval="fisher",
        unit="model",
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        fractions=["mean_outcome"],
        settings={"n_tested": int(tested.sum()), "n_separating": int(frame["separates"].sum())},
    )


def _permutation_pvalues(x, rest, known, n_resamples, rng):
    """Return how often outcomes in random order correlate with `rest` at least as well, row by row.

    Rows with the same known models share the random orders. One is added to both counts.
    """
    rng, out = np.random.default_rng(rng), np.full(len(x), np.nan)
    patterns, code = np.unique(known, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        place, n = np.flatnonzero(code.ravel() == k), pattern.sum()
        a, b = _standardised(x[place][:, pattern]), _standardised(rest[place][:, pattern])
        found, reached = (a * b).sum(axis=1, keepdims=True), np.zeros(len(place))
        size = max(1, CHUNK_CELLS // a.size)
        for start in range(0, n_resamples, size):
            order = rng.random((min(size, n_resamples - start), n)).argsort(axis=1)
            drawn = np.einsum("ibj,ij->ib", a[:, order], b)
            reached += (ties.difference(drawn, found) >= 0).sum(axis=1)
        out[place] = (1 + reached) / (1 + n_resamples)
    return out


def _standardised(values):
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))


def _note(n_models, r, low):
    if n_models == 0:
        return Reason("nothing_else", "undefined: its models were judged on nothing else")
    if np.isnan(r):
        return Reason("all_alike", "undefined: the same outcome for every model")
    if np.isnan(low):
        text = "interval undefined: fewer than four models, or points on a line"
        return Reason("too_few_models", text)
    return ""


def _sums(table):
    """Return instructions, their sources, and sums of outcomes and judgements, instructions by models."""
    table = check(table, require=["instruction_id"])
    refuse_mixed(table)
    ids = table["instruction_id"]
    refuse(ids.isna(), "an instruction id on every row", ids, column="instruction_id")
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
    n_resamples: int = 2000,
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
        Numbers of instructions, each at least 2.
    alpha : float
        Level in (0, 1) of the two-sided test, pair by pair.
    n_resamples : int
        Evaluations drawn for each size.
    rng : int, Generator or SeedSequence
        Seed of the draws.

    Returns
    -------
    DataFrame
        ``n`` (instructions) and, over the resamples: ``spearman`` (mean correlation of the order with
        that of all instructions) with ``spearman_low``, ``spearman_high`` (2.5 to 97.5 %);
        ``standard_error`` (mean over models of the error of a win rate); ``share_ordered`` (of the
        pairs of models, shown to differ in the right direction); ``share_wrong`` (shown to differ in
        the wrong one); ``same_best`` (share in which the best model of all is best; where k models tie
        for it, each counts 1/k); ``reason`` and ``note``.

    Raises
    ------
    AnnotationError
        No instruction ids, several references or annotators, fewer than four models, or no usable
        judgement.
    ValueError
        A size below 2, or an option out of range.

    Warns
    -----
    UndefinedWarning
        All models have the same win rate, so that there is no order to find again.

    See Also
    --------
    discrimination : Which instructions separate models.
    plan_order : Instructions needed to order models.

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
    sizes = options.wholes("sizes", sizes, 2)
    options.level("alpha", alpha)
    options.whole("n_resamples", n_resamples)
    _, _, y, m = _sums(table)
    truth = ties.tied(y.sum(axis=0) / m.sum(axis=0))
    generator, rows = np.random.default_rng(rng), []
    for size in sizes:
        drawn = generator.integers(len(y), size=(n_resamples, size), dtype=np.int32)
        found = _conclusions(y, m, resampling.counted(drawn, len(y)), truth, stats.norm.ppf(1 - alpha / 2))
        low = high = np.nan
        if not np.isnan(found["spearman"]).all():
            low, high = np.nanquantile(found["spearman"], [0.025, 0.975])
        means = {name: float(np.nanmean(v)) if not np.isnan(v).all() else np.nan for name, v in found.items()}
        rows.append({"n": int(size), **means, "spearman_low": low, "spearman_high": high})
    note: Reason | str = ""
    if (truth == truth[0]).all():
        note = Reason("all_alike", "spearman: undefined, the same win rate for every model")
        warn(note.text, UndefinedWarning)
    columns = ["n", "spearman", "spearman_low", "spearman_high", "standard_error"]
    columns += ["share_ordered", "share_wrong", "same_best"]
    return finish(
        pd.DataFrame(rows)[columns],
        estimate=None,
        method="instructions drawn with replacement, all models together",
        interval="percentile",
        unit="instruction",
        confidence_level=0.95,
        n_resamples=n_resamples,
        rng=rng,
        fractions=["standard_error", "share_ordered", "share_wrong", "same_best"],
        notes=[note] * len(rows),
        settings={"alpha": alpha},
    )


def _conclusions(y, m, drawn, truth, critical):
    """Return what every evaluation of so often drawn instructions says of the models and of every pair."""
    first, second = np.triu_indices(len(truth), 1)
    better = np.sign(truth[first] - truth[second])
    rates = np.empty((len(drawn), len(truth)))
    error, ordered, wrong = np.empty((3, len(drawn)))
    for k, weights in enumerate(drawn):
        used = weights > 0
        units = ratios.Units(y[used], m[used], weights[used])
        rates[k] = ties.tied(units.estimate)
        spread = ratios.covariance(ratios.influence(units), units.counts)
        alone = np.diag(spread)
        apart = np.maximum(alone[first] + alone[second] - 2 * spread[first, second], 0)
        gap = rates[k, first] - rates[k, second]
        shown = np.abs(gap) > critical * ties.standard_error(np.sqrt(apart))
        right = np.sign(gap) == better
        error[k], ordered[k] = np.sqrt(alone).mean(), (shown & right).mean()
        wrong[k] = (shown & ~right & (better != 0)).mean()
    highest = np.max(rates, axis=1, keepdims=True, where=~np.isnan(rates), initial=-np.inf)
    best = rates == highest
    return {
        "spearman": coefficient(rates, np.broadcast_to(truth, rates.shape), "spearman"),
        "standard_error": error,
        "share_ordered": ordered,
        "share_wrong": wrong,
        "same_best": (best & (truth == truth.max())).sum(axis=1) / best.sum(axis=1),
    }
