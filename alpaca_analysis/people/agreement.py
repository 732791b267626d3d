"""Agreement of judges with people, and of people with each other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.inference import coverage_notes as few_units
from alpaca_analysis.inference import intervals, results
from alpaca_analysis.people import votes
from alpaca_analysis.people.votes import Votes

HUMANS = "humans"
METHODS = ("bca", "percentile", "t")


def human_agreement(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    scoring: str = "zero_one",
    remaining: bool = False,
    method: str = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compute how often judges agree with the majority of people, and single people with the others.

    A judge is scored against the majority of all human votes on a pair; the row ``humans`` scores each
    person against the majority of the others and averages. Where a majority is not unique the score is
    its expectation over a random choice among the tied verdicts, in closed form. Pairs weigh equally;
    the resampled unit is the instruction with all its pairs.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped.
    scoring : {"zero_one", "absolute"}
        1 if both say the same (a draw equals only a draw), or 1 - |difference| (a draw scores 0.5
        against a verdict), which also takes weighted judgements.
    remaining : bool
        Score the judges, too, against the majority of the people who remain when one is left out. The
        difference between a judge and ``humans`` is fair only so: a majority of all has one vote more.
    method : {"bca", "percentile", "t"}
        Interval over instructions.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Further columns to match by. By default ``idx`` where both tables have it, and ``repeat`` where
        each of its values belongs to one pair only and several people share it: it then numbers
        comparisons, else the judgements of one annotator. Tables of counts are matched by these alone.
        ``.attrs["on"]`` says which were taken.

    Returns
    -------
    DataFrame
        ``annotator``, ``agreement``, ``standard_error``, ``ci_low``, ``ci_high``, ``bias`` (error of the
        annotator's own majority against the human majority), ``variance`` (its leave-one-out error
        against itself; NaN with one judgement a pair), ``n`` (pairs scored), ``n_missing`` (pairs that
        people judged and this judge did not), ``n_unmatched`` (pairs that only this judge judged) and
        ``note`` (why an entry is NaN, or an interval approximate: it rests on few units); fractions,
        best first.

    Raises
    ------
    AnnotationError
        No pair in common, a human outcome that is not a verdict, or weighted judgements with "zero_one".

    Warns
    -----
    UndefinedWarning
        Where an agreement or its interval is not defined.

    References
    ----------
    Dubois, Y. et al. (2023). AlpacaFarm, arXiv:2305.14387, for bias, variance and leave-one-out.

    Examples
    --------
    >>> import pandas as pd
    >>> ids = [f"i{k}" for k in range(4)]
    >>> judge = pd.DataFrame({"instruction_id": ids, "model": "a", "reference": "b",
    ...                       "annotator": "judge", "outcome": [1, 0, 1, 1]})
    >>> people = pd.concat([judge.assign(annotator=who, outcome=said) for who, said in
    ...                     [("p", [1, 0, 0, 1]), ("q", [1, 0, 0, 1]), ("r", [1, 1, 0, 0])]])
    >>> result = human_agreement(judge, people, method="t")
    >>> result[["annotator", "agreement", "bias", "n"]].round(3)
      annotator  agreement  bias  n
    0     judge      0.750  0.25  4
    1    humans      0.667  0.00  4
    """
    options.check_options(confidence_level, n_resamples)
    matched = matched_votes(table, humans, scoring, method, on)
    scores = pair_scores(matched, scoring, remaining)
    out = mean_scores(matched.items, scores, method, confidence_level, n_resamples, rng)
    errors = pd.DataFrame(_errors(matched, scoring)).T.rename_axis("annotator").reset_index()
    out = out.merge(errors.astype({"n_missing": np.int64, "n_unmatched": np.int64}), on="annotator")
    out["note"] = _notes(out, matched)
    columns = ["annotator", "agreement", "standard_error", "ci_low", "ci_high", "bias", "variance"]
    out = out[[*columns, "n", "n_missing", "n_unmatched", "note"]].sort_values(
        ["agreement", "annotator"], ascending=[False, True], kind="stable", ignore_index=True
    )
    out.attrs = settings(matched, scoring, method, confidence_level, n_resamples, rng) | {
        "against": "the remaining people" if remaining else "the majority of all people"
    }
    _warn(out)
    return out


def matched_votes(table, humans, scoring, method, on=None) -> Votes:
    """Check the options and match the two tables."""
    if scoring not in votes.SCORINGS:
        raise ValueError(f"scoring: found {scoring!r}, expected one of {', '.join(votes.SCORINGS)}")
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, expected one of {', '.join(METHODS)}")
    matched = votes.match(table, humans, on=on)
    if HUMANS in matched.judges:
        raise AnnotationError(f"a judge of another name than {HUMANS!r}", column="annotator", found=HUMANS)
    for name, given in matched.judges.items():
        strange = ~np.isnan(given) & ~np.isin(given, votes.VERDICTS)
        if scoring == "zero_one" and strange.any():
            raise AnnotationError(
                f"verdicts (0, 0.5, 1) of {name!r} for scoring='zero_one'; use 'absolute' or round them",
                column="outcome",
                found=float(given[strange][0]),
            )
    return matched


def pair_scores(matched: Votes, scoring, remaining=False, size=None) -> dict[str, np.ndarray]:
    """Return per annotator, `humans` last, the expected score of each pair."""
    counts = matched.counts
    target = votes.remaining_majority(counts, size) if remaining else votes.majority(counts, size)
    scores = {name: votes.score(given, target, scoring) for name, given in matched.judges.items()}
    return scores | {HUMANS: votes.voter_scores(counts, scoring, size)}


def mean_scores(items, scores, method, confidence_level, n_resamples, rng):
    """Average the scores of each annotator, with errors and intervals over instructions."""
    stacked = np.column_stack(list(scores.values()))
    units = votes.clustered(items, stacked)
    weight = items["n"].to_numpy()
    better = "" if method == "bca" else "'bca' covers better"
    estimate, error, low, high = intervals.interval(
        units, method=method, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng
    )
    return pd.DataFrame(
        {
            "annotator": list(scores),
            "agreement": estimate,
            "standard_error": error,
            "ci_low": low,
            "ci_high": high,
            "n": (weight @ ~np.isnan(stacked)).astype(np.int64),
            "note": [getattr(n, "text", n) for n in few_units.of_means(units, method, better)],
        }
    )


def _errors(matched: Votes, scoring):
    """Return bias, variance and what could not be scored, by annotator."""
    counts, weight = matched.counts, matched.items["n"].to_numpy()
    target = votes.majority(counts)
    out = {}
    for name, given in matched.judges.items():
        judged = ~np.isnan(given).all(axis=1)
        own, itself = _own_majority(given, target, scoring), _against_itself(given, scoring)
        out[name] = {
            "bias": 1 - _average(own, weight),
            "variance": 1 - _average(itself, weight),
            "n_missing": weight[~judged].sum(),
            "n_unmatched": matched.unmatched[name],
        }
    alone = votes.voter_scores(counts, scoring)
    out[HUMANS] = {
        "bias": 0.0,
        "variance": 1 - _average(alone, weight),
        "n_missing": weight[np.isnan(alone)].sum(),
        "n_unmatched": 0,
    }
    return out


def _own_majority(given, target, scoring):
    """Score an annotator's own majority (the median, where it gives weighted judgements)."""
    if np.isin(given[~np.isnan(given)], votes.VERDICTS).all():
        own = votes.majority(votes.tally(given))
        scores = [votes.score(np.full(len(given), v), target, scoring) for v in votes.VERDICTS]
        return (own * np.column_stack(scores)).sum(axis=1)
    return votes.score(_median(given), target, scoring)


def _against_itself(given, scoring):
    """Score each of an annotator's judgements of a pair against the majority of its others."""
    if np.isin(given[~np.isnan(given)], votes.VERDICTS).all():
        return votes.voter_scores(votes.tally(given), scoring)
    each = [1 - np.abs(given[:, k] - _median(np.delete(given, k, axis=1))) for k in range(given.shape[1])]
    return votes.mean_of_known(np.column_stack(each))


def _median(values):
    out = np.full(len(values), np.nan)
    known = ~np.isnan(values).all(axis=1) if values.shape[1] else np.zeros(len(values), dtype=bool)
    if known.any():
        out[known] = np.nanmedian(values[known], axis=1)
    return out


def _average(scores, weight):
    known = ~np.isnan(scores)
    return float(scores[known] @ weight[known] / weight[known].sum()) if known.any() else np.nan


def _notes(out, matched: Votes):
    notes = []
    for row in out.itertuples():
        once = row.annotator != HUMANS and matched.judges[row.annotator].shape[1] == 1
        if row.n == 0 and row.annotator == HUMANS:
            notes.append("undefined: no pair with two human votes")
        elif row.n == 0:
            notes.append("undefined: no usable verdict on a pair that people judged")
        elif np.isnan(row.standard_error):
            notes.append("error undefined: fewer than two instructions")
        elif np.isnan(row.ci_low):
            notes.append("interval undefined: no variation to resample")
        else:
            single = "one judgement a pair: bias holds variance too" if once else ""
            notes.append("; ".join(filter(None, (single, row.note))))
    return notes


def settings(matched: Votes, scoring, method, confidence_level, n_resamples, rng):
    """Return what a result says of how it was computed."""
    resampled = None if method == "t" else n_resamples
    common = results.settings(
        method=method, unit=matched.unit, confidence_level=confidence_level, n_resamples=resampled, rng=rng
    )
    return common | {
        "scoring": scoring,
        "ties": "expectation over a random choice",
        "on": list(matched.on),
    }


def _warn(result):
    undefined = result[result["ci_low"].isna()]
    if len(undefined):
        name, note = undefined["annotator"].iloc[0], undefined["note"].iloc[0]
        more = f" (and {len(undefined) - 1} more)" if len(undefined) > 1 else ""
        warnings.warn(f"{name}: {note}{more}", UndefinedWarning, stacklevel=3)


def compare_agreement(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    a: str,
    b: str,
    *,
    scoring: str = "zero_one",
    method: str = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare the agreement of two judges, or of a judge and a single person, on the same pairs.

    Parameters
    ----------
    table, humans : DataFrame
        As for `human_agreement`.
    a, b : str
        Judges; one of them may be ``"humans"``. Then both are scored against the majority of the people
        who remain when one is left out.
    scoring, method, confidence_level, n_resamples, rng, on
        As for `human_agreement`. The p-value is that of the t-test on the clustered error in every case.

    Returns
    -------
    DataFrame
        One row: ``annotator_a``, ``annotator_b``, ``agreement_a``, ``agreement_b``, ``difference``,
        ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of no difference), ``n``
        (pairs with both), ``n_unshared`` (pairs with only one of them), ``note``.

    Raises
    ------
    AnnotationError
        An unknown judge, or no pair with both.

    Examples
    --------
    >>> import pandas as pd
    >>> one = pd.DataFrame({"instruction_id": list("abcd"), "model": "m", "reference": "r",
    ...                     "annotator": "one", "outcome": [1, 0, 1, 1]})
    >>> two = one.assign(annotator="two", outcome=[1, 0, 0, 0])
    >>> people = one.assign(annotator="p", outcome=[1, 0, 1, 0])
    >>> result = compare_agreement(pd.concat([one, two]), people, "one", "two", method="t")
    >>> result[["difference", "pvalue", "n"]].round(3)
       difference  pvalue  n
    0         0.0     1.0  4
    """
    options.check_options(confidence_level, n_resamples)
    matched = matched_votes(table, humans, scoring, method, on)
    known = [*matched.judges, HUMANS]
    for name in (a, b):
        if name not in known:
            expected = f"one of {', '.join(map(repr, known))}"
            raise AnnotationError(expected, column="annotator", found=name)
    scores = pair_scores(matched, scoring, remaining=HUMANS in (a, b))
    pair = np.column_stack([scores[a], scores[b]])
    both = ~np.isnan(pair).any(axis=1)
    if not both.any():
        raise AnnotationError(f"a pair judged by both {a!r} and {b!r}, found none", column="annotator")
    weight = matched.items["n"].to_numpy()
    units = votes.clustered(matched.items[both], pair[both])
    estimate, error, low, high = intervals.interval(
        units,
        contrast=np.array([[1.0], [-1.0]]),
        method=method,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
    )
    df = units.counts.sum() - 1
    pvalue = 2 * stats.t.sf(abs(estimate[0]) / error[0], df) if error[0] > 1e-12 else np.nan
    note = getattr(few_units.of_difference(units), "text", "")
    if not error[0] > 1e-12:
        note = "interval undefined: the two never differ, or a single instruction"
    result = pd.DataFrame(
        {
            "annotator_a": [a],
            "annotator_b": b,
            "agreement_a": units.estimate[0],
            "agreement_b": units.estimate[1],
            "difference": estimate[0],
            "standard_error": error[0],
            "ci_low": low[0],
            "ci_high": high[0],
            "pvalue": float(pvalue),
            "n": int(weight[both].sum()),
            "n_unshared": int(weight[~both & ~np.isnan(pair).all(axis=1)].sum()),
            "note": note,
        }
    )
    result.attrs = settings(matched, scoring, method, confidence_level, n_resamples, rng)
    if np.isnan(low[0]):
        warnings.warn(f"{a} against {b}: {note}", UndefinedWarning, stacklevel=2)
    return result
