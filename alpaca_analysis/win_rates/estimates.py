"""Win rates: the mean outcome with its interval, and what missing judgements could make of it."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.inference import coverage_notes as few_units
from alpaca_analysis.inference import intervals, ratios, resampling, results
from alpaca_analysis.inference.blocks import blocks_of
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed

METHODS = ("bca", "percentile", "t", "wilson")


def win_rate(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    method: str = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    discrete: bool = False,
    stratify: str | None = None,
) -> pd.DataFrame:
    """Compute win rates with standard errors and confidence intervals.

    The win rate is the mean outcome over judged instructions, a draw counting half. The resampled
    unit is the instruction: all rows of one instruction travel together, within a model and across
    models. Rows without an instruction are independent units.

    Parameters
    ----------
    table : DataFrame
        Judgements, as `read_annotations` or `from_counts` return them.
    by : str or sequence of str
        Columns that make a group; each group gets one win rate. A group may not mix references or
        annotators.
    method : {"bca", "percentile", "t", "wilson"}
        Interval: bias-corrected and accelerated bootstrap, percentile bootstrap, Student's t on the
        (cluster-robust) standard error, or Wilson's score interval (wins and losses only, one
        judgement a unit).
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    discrete : bool
        Round each outcome first: below 0.5 to 0, above 0.5 to 1, a draw stays.
    stratify : str, optional
        Column, such as "dataset", whose groups keep their size: errors come from within them only.
        With AlpacaEval's five sources this is possible where an error clustered by source is not:
        five clusters are too few to estimate one.

    Returns
    -------
    DataFrame
        `by` columns, ``win_rate``, ``standard_error``, ``ci_low``, ``ci_high``, ``n_wins``,
        ``n_draws``, ``n_losses``, ``n_total`` (judged), ``n_missing`` (asked and not judged) and
        ``note`` (why an entry is NaN, or an interval approximate: it rests on few units), best first;
        fractions. ``.attrs`` holds the settings.

    Raises
    ------
    AnnotationError
        A group that mixes references or annotators, an unknown column, or "wilson" with draws.

    Warns
    -----
    UndefinedWarning
        Where an interval is not defined, such as when every outcome is the same.

    References
    ----------
    Efron, B. (1987), JASA 82(397), for "bca"; Wilson, E. B. (1927), JASA 22(158), for "wilson".

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    >>> win_rate(table, method="t")[["model", "win_rate", "standard_error"]].round(6)
      model  win_rate  standard_error
    0  gpt4  0.952795        0.007163
    """
    options.check_options(confidence_level, n_resamples)
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, expected one of {', '.join(METHODS)}")
    by = [by] if isinstance(by, str) else list(by)
    if clash := set(by) & set(_COLUMNS):
        raise ValueError(f"by: found {min(clash)!r}, which is a column of the result; rename it first")
    if twice := [column for i, column in enumerate(by) if column in by[:i]]:
        raise ValueError(f"by: found {twice[0]!r} twice, expected each column once")
    table = check(table, require=by + ([stratify] if stratify else []))
    refuse_mixed(table, by)
    if discrete:
        table["outcome"] = (np.sign(table["outcome"] - 0.5) + 1) / 2
    generator = np.random.default_rng(rng)
    groups, parts = [], []
    for block in blocks_of(table, by, stratify):
        stream = _stream(block, rng, generator)
        groups.append(block.groups)
        parts.append(_estimate(block, method, confidence_level, n_resamples, stream))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}
    result = pd.concat(groups, ignore_index=True).assign(**columns)
    result = result.sort_values(
        ["win_rate", *by], ascending=[False] + [True] * len(by), kind="stable", ignore_index=True
    )
    result.attrs = _settings(table, method, confidence_level, n_resamples, rng, discrete, stratify)
    _warn_undefined(result, by)
    return result


_COLUMNS = (
    "win_rate",
    "standard_error",
    "ci_low",
    "ci_high",
    "n_wins",
    "n_draws",
    "n_losses",
    "n_total",
    "n_missing",
    "note",
)


def _stream(block, rng, generator):
    """Return the generator of a block: a group without instructions has its own, whatever its company."""
    if block.units.multiplicity is None or not isinstance(rng, (int, np.integer)):
        return generator
    names = block.groups.drop(columns=["reference", "annotator"], errors="ignore")
    name = "\n".join(map(str, names.to_numpy().ravel()))
    return np.random.default_rng([int(rng), zlib.crc32(name.encode("utf-8", "surrogatepass"))])


def _estimate(block, method, confidence_level, n_resamples, rng):
    units = block.units
    rate, error = units.estimate, ratios.standard_error(units)
    if method == "t":
        low, high = _t_interval(units, rate, error, confidence_level)
    elif method == "wilson":
        low, high = _wilson_interval(block, confidence_level)
    else:
        resamples = resampling.resample(units, n_resamples=n_resamples, rng=rng)
        if method == "percentile":
            low, high = intervals.percentile_interval(resamples, confidence_level=confidence_level)
        else:
            low, high = intervals.bca_interval(
                rate,
                resamples,
                ratios.jackknife(units),
                counts=units.counts,
                confidence_level=confidence_level,
            )
    constant = ~(error > 0) & (method != "wilson")
    low, high = np.where(constant, np.nan, low), np.where(constant, np.nan, high)
    estimates = {"win_rate": rate, "standard_error": error, "ci_low": low, "ci_high": high}
    return estimates | block.counts | {"note": _notes(block, error, low, method)}


def _t_interval(units, rate, error, confidence_level):
    size = (units.counts[:, None] * (units.m > 0)).sum(axis=0)
    lost = 1 if units.strata is None else units.strata.max() + 1
    with np.errstate(invalid="ignore"):
        half = stats.t.ppf((1 + confidence_level) / 2, size - lost) * error
    return rate - half, rate + half


def _wilson_interval(block, confidence_level):
    counts, units = block.counts, block.units
    weighted = ((units.m == 1) & ~np.isin(units.y, (0, 1))).any(axis=0)
    strange = np.flatnonzero(weighted | (counts["n_draws"] > 0))
    if len(strange):
        raise AnnotationError(
            "outcomes 0 and 1 only for method='wilson'; use 'bca' or 't'",
            column="outcome",
            found=f"draws or weighted outcomes of {block.groups.iloc[strange[0]].tolist()}",
        )
    if not block.plain.all():
        raise AnnotationError(
            "one judgement an instruction for method='wilson'; use 'bca' or 't'",
            column="instruction_id",
            found="several",
        )
    bounds = [
        stats.binomtest(w, t).proportion_ci(confidence_level, "wilson") if t else (np.nan, np.nan)
        for w, t in zip(counts["n_wins"], counts["n_total"], strict=True)
    ]
    return np.array(bounds).T


def _notes(block, error, low, method):
    better = "'wilson' (verdicts without draws) covers better" + (
        "" if method == "bca" else ", as does 'bca'"
    )
    note = few_units.of_means(block.units, method, better)
    note[np.isnan(low)] = f"interval undefined: method {method!r} finds no variation to resample"
    note[(error == 0) & (method != "wilson")] = "interval undefined: all outcomes are equal"
    unknown = np.isnan(error)
    note[unknown] = "error undefined: " + ratios.undefined_errors(block.units)[unknown]
    note[block.counts["n_total"] == 0] = "undefined: nothing was judged"
    return note


def _settings(table, method, confidence_level, n_resamples, rng, discrete, stratify):
    resampled = method in ("bca", "percentile")
    common = results.settings(
        method=method,
        unit=results.unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        n_resamples=n_resamples if resampled else None,
        rng=rng,
    )
    return common | {"discrete": discrete, "stratify": stratify}


def _warn_undefined(result, by):
    undefined = result[result["ci_low"].isna()]
    if len(undefined):
        names = ", ".join("/".join(map(str, row)) for row in undefined[by].head(3).to_numpy())
        more = f" and {len(undefined) - 3} more" if len(undefined) > 3 else ""
        warnings.warn(f"{names}{more}: {undefined['note'].iloc[0]}", UndefinedWarning, stacklevel=3)


def win_rate_bounds(table: pd.DataFrame, *, by: str | Sequence[str] = "model") -> pd.DataFrame:
    """Bound the win rate over everything asked, whatever the missing judgements would have been.

    With n of N judged and win rate m among them, the rate over all N lies between
    n m / N (every missing one lost) and (n m + N - n) / N (every missing one won). These are bounds,
    not a confidence interval.

    Parameters
    ----------
    table : DataFrame
        Judgements; missing ones are rows with a NaN outcome.
    by : str or sequence of str
        Columns that make a group.

    Returns
    -------
    DataFrame
        `by` columns, ``win_rate``, ``low``, ``high``, ``n_total``, ``n_missing``, best first.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwin"], "n_wins": [765], "n_losses": [35], "n_draws": [1],
    ...                      "n_asked": [805]})
    >>> win_rate_bounds(table).round(4)
      model  win_rate     low    high  n_total  n_missing
    0  xwin    0.9557  0.9509  0.9559      801          4
    """
    by = [by] if isinstance(by, str) else list(by)
    table = check(table, require=by)
    refuse_mixed(table, by)
    judged = table["outcome"].notna()
    sums = table.assign(
        won=table["outcome"].fillna(0) * table["n"],
        n_total=table["n"].where(judged, 0),
        n_missing=table["n"].where(~judged, 0),
    )
    out = sums.groupby(by, observed=True, dropna=False)[["won", "n_total", "n_missing"]].sum().reset_index()
    asked = out["n_total"] + out["n_missing"]
    out["win_rate"] = out["won"] / out["n_total"].where(out["n_total"] > 0)
    out["low"], out["high"] = out["won"] / asked, (out["won"] + out["n_missing"]) / asked
    out = out.sort_values(["win_rate", *by], ascending=[False] + [True] * len(by), ignore_index=True)
    return out[[*by, "win_rate", "low", "high", "n_total", "n_missing"]].astype(
        {"n_total": np.int64, "n_missing": np.int64}
    )
