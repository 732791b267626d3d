"""Win rates: the mean outcome with its interval, and what missing judgements could make of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import clustered, coverage_notes, intervals, ratios, resampling
from alpaca_analysis.inference.blocks import blocks_of
from alpaca_analysis.inference.results import Reason, best_first, finish, unit_of
from alpaca_analysis.inference.stopped import stopped_notes
from alpaca_analysis.table.checks import NO_ID, check
from alpaca_analysis.table.groups import refuse_mixed
from alpaca_analysis.table.sides import from_every_side


def win_rate(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    method: options.WinRateInterval = "bca",
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
        Interval: bias-corrected and accelerated bootstrap, percentile bootstrap, Student's t on the logit
        scale with the jackknife (CR3) error and the degrees of freedom that instructions with unequal
        numbers of judgements leave, or Wilson's score interval (wins and losses only, one judgement per
        unit). Where all outcomes are 1, or all 0, the first three give way to the exact interval of
        Clopper and Pearson over the units.
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
        fractions. ``.attrs`` holds the settings, and by model ``avg_length``, the mean length of outputs
        in characters, where lengths are known.

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
    Efron, B. (1987), JASA 82(397), for "bca"; Wilson, E. B. (1927), JASA 22(158), for "wilson";
    MacKinnon, J. G., Nielsen, M. O., Webb, M. D. (2023), Journal of Applied Econometrics 38(5), for "t".

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    >>> win_rate(table, method="t")[["model", "win_rate", "standard_error"]].round(6)
      model  win_rate  standard_error
    0  gpt4  0.952795        0.007163
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.WinRateInterval)
    by = options.groups(by, _COLUMNS)
    table = from_every_side(check(table, require=by + ([stratify] if stratify else [])), by)
    refuse_mixed(table, by)
    if discrete:
        table["outcome"] = (np.sign(table["outcome"] - 0.5) + 1) / 2
    generator = np.random.default_rng(rng)
    groups, parts, exact = [], [], True
    for block in blocks_of(table, by, stratify):
        stream = _stream(block, rng, generator)
        groups.append(block.groups)
        parts.append(_estimate(block, method, confidence_level, n_resamples, stream))
        exact &= resampling.laws_of(block.units) is not None
    columns = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS if name != "reason"}
    frame = best_first(pd.concat(groups, ignore_index=True).assign(**columns), "win_rate", by)
    strong_weight, weights = _strong_verdicts(table, by, frame)
    said = (_unnamed(table, by, frame), weights, stopped_notes(table, frame[by]))
    frame["note"] = list(zip(frame["note"], *said, strict=True))
    return finish(
        frame,
        estimate="win_rate",
        method="mean outcome",
        interval=method,
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        n_resamples=n_resamples if method in ("bca", "percentile") and not exact else None,
        rng=rng,
        fractions=["win_rate"],
        higher_is_better=["win_rate"],
        undefined=by,
        settings={"discrete": discrete, "stratify": stratify} | strong_weight | _mean_lengths(table, by),
    )


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
    "reason",
    "note",
)


def _unnamed(table, by, frame):
    """Return a note for every group with rows that name no instruction, each of them a unit of its own."""
    unnamed = table["instruction_id"].str.startswith(NO_ID).fillna(False).to_numpy(dtype=bool)
    if not unnamed.any():
        return [""] * len(frame)
    counts = table[unnamed].groupby(by, observed=True, dropna=False).size()
    numbers = counts.reindex(
        pd.MultiIndex.from_frame(frame[by]) if len(by) > 1 else frame[by[0]], fill_value=0
    )
    text = "{} row{} without an id, each a unit of its own"
    return [Reason("no_id", text.format(n, "s" if n > 1 else "")) if n else "" for n in numbers]


def _mean_lengths(table, by):
    """Return the mean length of each model's outputs, as a setting that a leaderboard shows."""
    known = table["length_model"].notna()
    if by != ["model"] or not known.any():
        return {}
    rows = table.loc[known, ["model", "length_model", "n"]]
    total = (rows["length_model"] * rows["n"]).groupby(rows["model"], observed=True).sum()
    return {"avg_length": (total / rows["n"].groupby(rows["model"], observed=True).sum()).to_dict()}


def _strong_verdicts(table, by, frame):
    """Return what strong verdicts weigh, as a setting, and a note for every group that has some."""
    if "strong" not in table:
        return {}, [""] * len(frame)
    strong = table[(table["strong"] == True) & table["outcome"].notna()]  # noqa: E712, other formats have NaN
    weights = set(strong["n"])
    if len(weights) != 1:
        return {}, [""] * len(frame)
    weight = int(weights.pop())
    text = "strong verdicts weigh 1 (3 in Arena-Hard's own count)"
    if weight > 1:
        text = f"strong verdicts weigh {weight}, as in Arena-Hard's own count"
    groups = set(strong[by].itertuples(index=False, name=None))
    note = Reason("strong_verdicts", text)
    found = [note if row in groups else "" for row in frame[by].itertuples(index=False, name=None)]
    return {"strong_weight": weight}, found


def _stream(block, rng, generator):
    """Return the generator of a block: a group without instructions has its own."""
    if block.units.multiplicity is None or not isinstance(rng, (int, np.integer)):
        return generator
    names = block.groups.drop(columns=["reference", "annotator"], errors="ignore")
    name = "\n".join(map(str, names.to_numpy().ravel()))
    return np.random.default_rng([int(rng), zlib.crc32(name.encode("utf-8", "surrogatepass"))])


def _estimate(block, method, confidence_level, n_resamples, rng):
    units = block.units
    rate, error = units.estimate, ties.standard_error(ratios.standard_error(units))
    if method == "t":
        low, high = clustered.t_interval(units, confidence_level=confidence_level)
    elif method == "wilson":
        low, high = _wilson_interval(block, confidence_level)
    else:
        low, high = intervals.resampled(units, method, confidence_level, n_resamples, rng)
    constant = ~(error > 0) & (method != "wilson")
    low, high = np.where(constant, np.nan, low), np.where(constant, np.nan, high)
    if method != "wilson":
        low, high = clustered.no_narrower_than_alike(units, low, high, confidence_level=confidence_level)
    estimates = {"win_rate": rate, "standard_error": error, "ci_low": low, "ci_high": high}
    return estimates | block.counts | {"note": _notes(block, error, low, method)}


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
            "one judgement per instruction for method='wilson'; use 'bca' or 't'",
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
    unequal = "" if method == "t" else "method='t' covers better"
    notes = coverage_notes.of_means(block.units, method, better, unequal, widened=True)
    unvarying = f"interval undefined: method {method!r} finds no variation to resample"
    alike = (error == 0) & (method != "wilson")
    errors = ratios.undefined_errors(block.units)
    for k in np.flatnonzero(np.isnan(low) | alike | (block.counts["n_total"] == 0)):
        if block.counts["n_total"][k] == 0:
            notes[k] = Reason("nothing_judged", "undefined: nothing was judged")
        elif np.isnan(error[k]):
            notes[k] = Reason("too_few_units", "error undefined: " + errors[k])
        elif alike[k] and np.isnan(low[k]):
            notes[k] = Reason("all_alike", "interval undefined: all outcomes are equal")
        elif alike[k]:
            notes[k] = Reason("all_alike", "all outcomes are equal: exact interval (Clopper-Pearson)")
        else:
            notes[k] = Reason("no_variation", unvarying)
    return notes


def win_rate_bounds(
    table: pd.DataFrame, *, by: str | Sequence[str] = "model", confidence_level: float = 0.95
) -> pd.DataFrame:
    """Bound the win rate over everything asked, whatever the missing judgements would have been.

    With n of N judged and win rate m among them, the rate over all N lies between
    n m / N (every missing one lost) and (n m + N - n) / N (every missing one won). These are bounds, not a
    confidence interval; the interval of Imbens and Manski adds the error of sampling to them: it holds the
    win rate that all of them would have had, whatever it is, with the stated probability.

    Parameters
    ----------
    table : DataFrame
        Judgements; missing ones are rows with a NaN outcome.
    by : str or sequence of str
        Columns that make a group.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        `by` columns, ``win_rate``, ``low``, ``high``, ``ci_low``, ``ci_high``, ``n_total``, ``n_missing``,
        ``reason`` and ``note`` (where few units drive the interval: it is a normal one), best first. The
        interval is NaN where one unit alone is known.

    References
    ----------
    Imbens, G. W., Manski, C. F. (2004). Confidence intervals for partially identified parameters.
    Econometrica 72(6).

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwin"], "n_wins": [765], "n_losses": [35], "n_draws": [1],
    ...                      "n_asked": [805]})
    >>> win_rate_bounds(table)[["win_rate", "low", "high", "ci_low", "ci_high"]].round(4)
       win_rate     low    high  ci_low  ci_high
    0    0.9557  0.9509  0.9559  0.9378   0.9684
    """
    options.level("confidence_level", confidence_level)
    by = options.groups(by, ("win_rate", *BOUNDS, "n_total", "n_missing", "reason", "note"))
    table = from_every_side(check(table, require=by), by)
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
    ends = [out[by].merge(_if_missing(table, by, outcome), on=by, how="left") for outcome in (0.0, 1.0)]
    low_error, high_error = (end["error"] for end in ends)
    out["note"] = _bounds_notes(*(end["carriers"] for end in ends))
    half = _imbens_manski(out["high"] - out["low"], np.maximum(low_error, high_error), confidence_level)
    out["ci_low"] = np.maximum(out["low"] - half * low_error, 0)
    out["ci_high"] = np.minimum(out["high"] + half * high_error, 1)
    out = best_first(out, "win_rate", by)
    return finish(
        out[[*by, "win_rate", *BOUNDS, "n_total", "n_missing", "note"]].astype(
            {"n_total": np.int64, "n_missing": np.int64}
        ),
        estimate=None,
        method="bounds over everything asked",
        interval="imbens-manski",
        unit=unit_of(table["instruction_id"].notna().any()),
        confidence_level=confidence_level,
        fractions=["win_rate", *BOUNDS],
        higher_is_better=["win_rate", "low", "high"],
    )


FEW_AT_A_BOUND = 150  # rarity; simulated in ``data/coverage_designs.csv``, "losses missing"
BOUNDS = ("low", "high", "ci_low", "ci_high")


def _if_missing(table, by, outcome):
    """Return error and rarity of each group, had all its missing judgements come out so."""
    filled = table.assign(outcome=table["outcome"].fillna(outcome))
    return pd.concat(
        block.groups.assign(
            error=ratios.standard_error(block.units),
            carriers=coverage_notes.rarity(ratios.influence(block.units), block.units.counts),
        )
        for block in blocks_of(filled, by)
    )


def _bounds_notes(low, high):
    """Return a note for every group whose bounds few units drive: normal ends then cover 87 to 93 %."""
    text = "interval approximate: driven by about {:.0f} units (such as the few losses)"
    fewest = np.fmin(low, high)
    return [Reason("few_units", text.format(k)) if k < FEW_AT_A_BOUND else "" for k in fewest.fillna(np.inf)]


def _imbens_manski(width, error, confidence_level):
    """Return C, which solves Phi(C + width / error) - Phi(-C) = level."""
    out = np.full(len(width), np.nan)
    for k, gap in enumerate(np.divide(width, error, out=np.full(len(width), np.nan), where=error > 0)):
        if not np.isnan(gap):
            out[k] = optimize.brentq(
                lambda c, gap=gap: special.ndtr(c + gap) - special.ndtr(-c) - confidence_level, 0, 40
            )
    return out
