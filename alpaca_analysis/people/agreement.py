"""Agreement of judges with people, and of people with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import clustered, coverage_notes, intervals, ratios
from alpaca_analysis.inference.results import Note, Reason, best_first, finish
from alpaca_analysis.inference.slices import said as slices_said
from alpaca_analysis.inference.slices import simultaneous
from alpaca_analysis.people import votes
from alpaca_analysis.people.slices import cut_pairs
from alpaca_analysis.people.votes import Votes

HUMANS = "humans"
FEWER_VOTES = Reason(
    "fewer_votes_to_match",
    "scored against one vote fewer than the judges: to compare, take remaining=True or compare_agreement",
)


def human_agreement(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    scoring: options.Scoring = "zero_one",
    remaining: bool = False,
    method: options.Interval = "bca",
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
    by : str or sequence of str, optional
        Columns of the judges' table that cut the pairs into slices, such as "category". All intervals of all
        slices then hold at once (max-t on the logit scale, whatever `method`), and one clustered test, on the
        same scale, says whether the agreement of every judge is the same in all slices. Pairs that people
        alone judged are in a slice where their table has the columns, too.
    scoring : {"zero_one", "absolute"}
        1 if both say the same (a draw equals only a draw), or ``1 - abs(difference)`` (a draw is 0.5
        against a verdict), which also takes weighted judgements.
    remaining : bool
        Score the judges, too, against the majority of the people who remain when one is left out. The
        difference between a judge and ``humans`` is fair only so: a majority of all has one vote more.
    method : {"bca", "percentile", "t"}
        Interval over instructions. "t" is Student's on the logit scale, with the jackknife (CR3) error and
        the degrees of freedom that instructions with unequal numbers of pairs leave.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        `by` columns, ``annotator``, ``agreement``, ``standard_error``, ``ci_low``, ``ci_high``, ``bias``
        (error of the annotator's own majority against the human majority), ``variance`` (its leave-one-out
        error against itself; NaN with one judgement per pair), ``n`` (pairs scored), ``n_missing`` (pairs
        that people judged and this judge did not), ``n_unmatched`` (pairs that only this judge judged),
        ``reason`` and ``note`` (why an entry is NaN, why an interval is approximate, and where ``humans``
        had fewer votes to agree with than the judges); fractions, best first. With `by`
        ``.attrs["slices"]`` has the test that all slices are equal.

    Raises
    ------
    AnnotationError
        No pair in common, a human outcome that is not a verdict, or weighted judgements with "zero_one".

    Warns
    -----
    UndefinedWarning
        Where an agreement or its interval is not defined.

    See Also
    --------
    compare_agreement : The difference of two judges, or of a judge and a person, with its interval.
    agreement_by : The same by source, length difference or unanimity.
    alternative_test : Whether a judge may replace a person.

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
    check_options(scoring, method, confidence_level, n_resamples)
    by = None if by is None else options.groups(by, _COLUMNS)
    matched = matched_votes(table, humans, scoring, on)
    settings: dict[str, Any] = {
        "against": "the remaining people" if remaining else "the majority of all people"
    }
    interval: str = method
    if by is None:
        out = _agreement(matched, scoring, remaining, method, confidence_level, n_resamples, rng)
    else:
        interval = "max-t"
        sliced = cut_pairs(matched, table, humans, by)
        frames = [
            _agreement(part, scoring, remaining, "t", confidence_level, n_resamples, rng, advice=False)
            for part in sliced.parts
        ]
        shares = sliced.shares(pair_scores(matched, scoring, remaining))
        low, high, critical = simultaneous(
            shares, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng, logit=True
        )
        out = sliced.with_bounds(sliced.cut.glued(frames), low, high, [*matched.judges, HUMANS])
        judges = shares.only(np.flatnonzero(shares.labels < len(matched.judges)))
        settings["slices"] = slices_said(
            sliced.cut,
            judges.on_logit_scale().equality(),
            confidence_level=confidence_level,
            n_intervals=int(shares.known.sum()),
            critical_value=critical,
        )
    return finish(
        out,
        **said(
            matched,
            scoring,
            "agreement with the majority of " + ("the remaining people" if remaining else "all people"),
            interval,
            confidence_level,
            n_resamples,
            rng,
            **settings,
        ),
        fractions=["agreement", "bias", "variance"],
        higher_is_better=["agreement"],
        undefined=[*(by or ()), "annotator"],
    )


_COLUMNS = (
    *("annotator", "agreement", "standard_error", "ci_low", "ci_high", "bias", "variance"),
    *("n_missing", "n_unmatched", "reason", "note"),
)


def _agreement(
    matched, scoring, remaining, method, confidence_level, n_resamples, rng, *, advice=True
) -> pd.DataFrame:
    """Return the rows of all annotators on some pairs, best first."""
    if matched.items.empty:
        return _nothing(matched)
    out = mean_scores(
        matched.items,
        pair_scores(matched, scoring, remaining),
        method,
        confidence_level,
        n_resamples,
        rng,
        advice=advice,
    )
    errors = pd.DataFrame(_errors(matched, scoring)).T.rename_axis("annotator").reset_index()
    out = out.merge(errors.astype({"n_missing": np.int64, "n_unmatched": np.int64}), on="annotator")
    out["note"] = _notes(out, matched, scoring, remaining)
    columns = ["annotator", "agreement", "standard_error", "ci_low", "ci_high", "bias", "variance"]
    columns += ["n", "n_missing", "n_unmatched", "note"]
    return best_first(out[columns], "agreement", ["annotator"])


def _nothing(matched):
    """Return the rows of all annotators where people judged no pair."""
    names = sorted([*matched.judges, HUMANS])
    out = pd.DataFrame({"annotator": names, **dict.fromkeys(_COLUMNS[1:7], np.nan)})
    counts = {"n": 0, "n_missing": 0, "n_unmatched": [matched.unmatched.get(name, 0) for name in names]}
    return out.assign(
        **counts, note=[Reason("nothing_judged", "undefined: people judged no pair")] * len(names)
    )


def check_options(scoring, method="t", confidence_level=0.95, n_resamples=1) -> None:
    """Raise unless the options that all statistics of agreement share are valid."""
    options.one_of("scoring", scoring, options.Scoring)
    options.one_of("method", method, options.Interval)
    options.check_options(confidence_level, n_resamples)


def matched_votes(table, humans, scoring, on=None) -> Votes:
    """Match the two tables, and raise unless the judges' outcomes can be scored by `scoring`."""
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


def mean_scores(items, scores, method, confidence_level, n_resamples, rng, *, advice=True):
    """Average the scores of each annotator, with errors and intervals over instructions.

    Without `advice` notes do not say which other method covers better.
    """
    stacked = np.column_stack(list(scores.values()))
    units = votes.clustered(items, stacked)
    weight = items["n"].to_numpy()
    better = "" if method == "bca" or not advice else "'bca' covers better"
    unequal = "" if method == "t" else "method='t' covers better"
    estimate, error, low, high = intervals.interval(
        units, method=method, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng
    )
    if method == "t":
        ends = clustered.t_interval(units, confidence_level=confidence_level)
        low, high = (np.where(error > 0, end, np.nan) for end in ends)
    return pd.DataFrame(
        {
            "annotator": list(scores),
            "agreement": estimate,
            "standard_error": error,
            "ci_low": low,
            "ci_high": high,
            "n": (weight @ ~np.isnan(stacked)).astype(np.int64),
            "note": coverage_notes.of_means(units, method, better, unequal),
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


def _notes(out, matched: Votes, scoring, remaining):
    fewer = not remaining and fewer_votes_matter(matched, scoring)
    alone = remaining and matched.counts.sum(axis=1).max() < 2
    notes: list[Note | Sequence[Note]] = []
    for row in out.itertuples():
        people = row.annotator == HUMANS
        if row.n == 0 and (people or alone):
            notes.append(Reason("nothing_judged", "undefined: no pair with two human votes"))
        elif row.n == 0:
            text = "undefined: no usable verdict on a pair that people judged"
            notes.append(Reason("nothing_judged", text))
        elif np.isnan(row.standard_error):
            notes.append(Reason("too_few_units", "error undefined: fewer than two instructions"))
        elif np.isnan(row.ci_low):
            notes.append(Reason("no_variation", "interval undefined: no variation to resample"))
        elif people:
            notes.append((FEWER_VOTES, row.note) if fewer else row.note)
        else:
            once = matched.judges[row.annotator].shape[1] == 1
            single = Reason("one_judgement", "one judgement per pair: bias includes variance")
            notes.append((single, row.note) if once else row.note)
    return notes


def fewer_votes_matter(matched: Votes, scoring):
    """Tell whether some judge's score changes when one vote is taken away, as it is for people."""
    counts = matched.counts
    targets = votes.majority(counts), votes.remaining_majority(counts)
    pairs = counts.sum(axis=1) > 1  # where one vote can be taken away
    scores = [
        [votes.score(given, target, scoring) for target in targets] for given in matched.judges.values()
    ]
    return any((pairs & ~np.isnan(all_) & ~ties.equal(all_, left)).any() for all_, left in scores)


def said(matched: Votes, scoring, procedure, interval, confidence_level, n_resamples, rng, **settings):
    """Return what a result about agreement says of how it was computed, as `finish` takes it."""
    return {
        "estimate": "agreement",
        "method": procedure,
        "interval": interval,
        "unit": matched.unit,
        "confidence_level": confidence_level,
        "n_resamples": None if interval == "t" else n_resamples,
        "rng": rng,
        "settings": {
            "scoring": scoring,
            "ties": "expectation over a random choice",
            "on": list(matched.on),
            **settings,
        },
    }


def compare_agreement(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    a: str,
    b: str,
    *,
    scoring: options.Scoring = "zero_one",
    method: options.Interval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare the agreement of two judges, or of a judge and a single person, on the same pairs.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped.
    a, b : str
        Judges; one of them may be ``"humans"``. Then both are scored against the majority of the people
        who remain when one is left out: the fair comparison of a judge with a person, whose interval
        includes the people's own error.
    scoring : {"zero_one", "absolute"}
        1 if both say the same (a draw equals only a draw), or ``1 - abs(difference)`` (a draw is 0.5
        against a verdict), which also takes weighted judgements.
    method : {"bca", "percentile", "t"}
        Interval over instructions. Error and p-value are those of the t-test with the jackknife (CR3) error
        and the degrees of freedom that instructions with unequal numbers of pairs leave, in every case.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        One row: ``annotator_a``, ``annotator_b``, ``agreement_a``, ``agreement_b``, ``difference``,
        ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of no difference), ``n``
        (pairs with both), ``n_unshared`` (pairs with only one of them), ``reason`` and ``note``.

    Raises
    ------
    AnnotationError
        An unknown judge, or no pair with both.

    See Also
    --------
    human_agreement : Agreement of every judge.
    alternative_test : Whether a judge may replace a person.

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
    check_options(scoring, method, confidence_level, n_resamples)
    matched = matched_votes(table, humans, scoring, on)
    known = [*matched.judges, HUMANS]
    for name in (a, b):
        if name not in known:
            expected = f"one of {', '.join(map(repr, known))}"
            raise AnnotationError(expected, column="annotator", found=name)
    remaining = HUMANS in (a, b)
    scores = pair_scores(matched, scoring, remaining)
    pair = np.column_stack([scores[a], scores[b]])
    both = ~np.isnan(pair).any(axis=1)
    if not both.any():
        raise AnnotationError(f"a pair judged by both {a!r} and {b!r}, found none", column="annotator")
    weight = matched.items["n"].to_numpy()
    units = votes.clustered(matched.items[both], pair[both])
    _, (error,), (low,), (high,) = intervals.interval(
        units,
        contrast=np.array([[1.0], [-1.0]]),
        method=method,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
    )
    difference, df = float(ties.difference(*units.estimate)), ratios.effective_units(units).min() - 1
    note = coverage_notes.of_difference(units)
    if not error > 0:
        code = "too_few_units" if np.isnan(error) else "no_variation"
        note = Reason(code, "interval undefined: the two never differ, or a single instruction")
    row = {
        "annotator_a": a,
        "annotator_b": b,
        "agreement_a": units.estimate[0],
        "agreement_b": units.estimate[1],
        "difference": difference,
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "pvalue": float(2 * stats.t.sf(abs(difference) / error, df)) if error > 0 else np.nan,
        "n": int(weight[both].sum()),
        "n_unshared": int(weight[~both & ~np.isnan(pair).all(axis=1)].sum()),
    }
    target = "the remaining people" if remaining else "the majority of all people"
    procedure = "paired difference of agreements with " + target
    settings = said(
        matched, scoring, procedure, method, confidence_level, n_resamples, rng, against=target
    ) | {"estimate": "difference"}
    return finish(
        pd.DataFrame([row]),
        **settings,
        fractions=["agreement_a", "agreement_b"],
        differences=["difference"],
        notes=[note],
        undefined=["annotator_a", "annotator_b"],
    )
