"""Agreement of judges with people taken apart: by groups of pairs, numbers of people, and verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import Note, Reason, finish
from alpaca_analysis.people import votes
from alpaca_analysis.people.agreement import (
    FEWER_VOTES,
    HUMANS,
    check_options,
    fewer_votes_matter,
    matched_votes,
    mean_scores,
    pair_scores,
    said,
)
from alpaca_analysis.people.votes import Votes

FEW = 20  # instructions below which intervals by resampling them are unreliable
SIDES = ("reference", "draw", "model")
_COLUMNS = (
    "annotator",
    "agreement",
    "standard_error",
    "ci_low",
    "ci_high",
    "n_unknown",
    "reason",
    "note",
    "n",
)


def agreement_by(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    by: str,
    edges: Sequence[float] = (30, 100, 300),
    scoring: options.Scoring = "zero_one",
    remaining: bool = False,
    method: options.Interval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compute agreement apart for groups of pairs: by source, length difference or human unanimity.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped.
    by : str
        ``"unanimity"`` (all people say the same, or not; pairs with two votes or more),
        ``"length_difference"`` (characters between the two outputs, cut at `edges`), or a column of the
        judges' table, such as ``"dataset"``.
    edges : sequence of float
        Where to cut the length difference; a difference equal to an edge is in the lower class.
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
        Column `by`, ``annotator``, ``agreement``, ``standard_error``, ``ci_low``, ``ci_high``, ``n``,
        ``n_unknown`` (further pairs that this annotator is scored on, whose group is not known and which
        no row holds), ``reason`` and ``note``, in the order of the groups. Where people are unanimous their
        own row is 1 by construction, so ``humans`` is left out by unanimity.

    See Also
    --------
    human_agreement : Agreement over all pairs.

    Examples
    --------
    >>> import pandas as pd
    >>> judge = pd.DataFrame({"instruction_id": list("abcd"), "model": "m", "reference": "r",
    ...                       "annotator": "judge", "outcome": [1, 0, 1, 1], "dataset": list("xxyy")})
    >>> people = pd.concat([judge.assign(annotator="p", outcome=[1, 1, 1, 0]),
    ...                     judge.assign(annotator="q", outcome=[1, 1, 0, 0])])
    >>> agreement_by(judge, people, by="dataset", method="t")[["dataset", "annotator", "agreement"]]
      dataset annotator  agreement
    0       x     judge       0.50
    1       x    humans       1.00
    2       y     judge       0.25
    3       y    humans       0.50
    """
    check_options(scoring, method, confidence_level, n_resamples)
    options.groups([by], _COLUMNS)
    edges = options.increasing("edges", edges)
    matched = matched_votes(table, humans, scoring, on)
    group = _groups(matched, by, edges)
    scores = pair_scores(matched, scoring, remaining)
    if by == "unanimity":
        scores.pop(HUMANS)
    weight = matched.items["n"].to_numpy() * group.isna().to_numpy()
    unknown = {name: int(weight @ ~np.isnan(given)) for name, given in scores.items()}
    generator, parts, sizes = np.random.default_rng(rng), [], []
    for level in group.cat.categories:
        inside = (group == level).to_numpy()
        if inside.any():
            part = {name: given[inside] for name, given in scores.items()}
            out = mean_scores(matched.items[inside], part, method, confidence_level, n_resamples, generator)
            out.insert(0, by, level)
            out.insert(out.columns.get_loc("n") + 1, "n_unknown", out["annotator"].map(unknown))
            parts.append(out)
            sizes += [_n_units(matched.items[inside], one) for one in part.values()]
    if not parts:
        raise AnnotationError("a known value on at least one pair, found none", column=by)
    target = "the remaining people" if remaining else "the majority of all people"
    procedure = f"agreement with {target}, by group"
    result = pd.concat(parts, ignore_index=True)
    return finish(
        result,
        **said(matched, scoring, procedure, method, confidence_level, n_resamples, rng, against=target),
        fractions=["agreement"],
        notes=_with_fewer_votes(result, _notes(result, sizes, matched.unit), matched, scoring, remaining),
    )


def _with_fewer_votes(result, notes, matched, scoring, remaining):
    """Add to the notes of people that they had one vote fewer to agree with than the judges, if they had."""
    if remaining or not fewer_votes_matter(matched, scoring):
        return notes
    return [
        (FEWER_VOTES, note) if name == HUMANS else note
        for name, note in zip(result["annotator"], notes, strict=True)
    ]


def _n_units(items, scores):
    known = ~np.isnan(scores)
    if items["instruction_id"].isna().all():
        return int(items["n"].to_numpy()[known].sum())
    return items.loc[known, "instruction_id"].nunique()


def _notes(result, sizes, unit) -> list[Note]:
    """Return the notes of groups, in which few instructions or equal scores are common."""
    lost = Reason("no_variation", "interval undefined: too few scores, or all equal")
    return [
        lost if np.isnan(low) else _few(n, unit) if n < FEW else note
        for n, low, note in zip(sizes, result["ci_low"], result["note"], strict=True)
    ]


def _few(n, unit):
    return Reason("few_units", f"only {n} {unit.split()[0]}s: interval unreliable")


def _groups(matched: Votes, by, edges) -> pd.Series:
    """Return each pair's group as an ordered category; NaN where it is unknown."""
    items = matched.items
    if by == "unanimity":
        counts = matched.counts
        labels = np.where(counts.max(axis=1) == counts.sum(axis=1), "unanimous", "split").astype(object)
        labels[counts.sum(axis=1) < 2] = np.nan
        return pd.Series(pd.Categorical(labels, ["unanimous", "split"]))
    if by == "length_difference":
        apart = (items["length_model"] - items["length_reference"]).abs()
        if apart.isna().all():
            raise AnnotationError("lengths of both outputs", column="length_model", found="none")
        bounds = [-1.0, *edges, np.inf]
        names = [f"up to {edges[0]:g}"]
        names += [f"over {a:g}, up to {b:g}" for a, b in itertools.pairwise(edges)]
        return pd.cut(apart, bounds, labels=[*names, f"over {edges[-1]:g}"])
    if by not in items:
        known = ", ".join(map(repr, ["unanimity", "length_difference", *items.columns]))
        raise AnnotationError(f"one of {known}", column="by", found=by)
    return items[by].astype("category")


def agreement_by_majority(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    scoring: options.Scoring = "zero_one",
    method: options.Interval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compute agreement with the majority of 1, 2, ... people.

    The majority of m people is averaged over all choices of m of those who judged the pair, in closed
    form. A single person is scored against m of the others, on pairs with at least m + 1 votes.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped.
    scoring : {"zero_one", "absolute"}
        1 if both say the same (a draw equals only a draw), or ``1 - abs(difference)`` (a draw is 0.5
        against a verdict), which also takes weighted judgements.
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
        ``n_humans`` (m), ``annotator``, ``agreement``, ``standard_error``, ``ci_low``, ``ci_high``,
        ``n``, ``reason`` and ``note``. With different numbers of people per pair, `n` falls as m grows: the
        rows are then about different pairs.

    See Also
    --------
    human_agreement : Agreement with the majority of all people.
    agreement_ceiling : How well a perfect judge could agree.

    Examples
    --------
    >>> import pandas as pd
    >>> judge = pd.DataFrame({"instruction_id": list("ab"), "model": "m", "reference": "r",
    ...                       "annotator": "judge", "outcome": [1, 1]})
    >>> people = pd.concat([judge.assign(annotator=k, outcome=o)
    ...                     for k, o in [("p", [1, 1]), ("q", [1, 0]), ("r", [1, 1])]])
    >>> agreement_by_majority(judge, people, method="t")[["n_humans", "annotator", "agreement"]].round(3)
       n_humans annotator  agreement
    0         1     judge      0.833
    1         1    humans      0.667
    2         2     judge      0.833
    3         2    humans      0.667
    4         3     judge      1.000
    """
    check_options(scoring, method, confidence_level, n_resamples)
    matched = matched_votes(table, humans, scoring, on)
    generator, parts, sizes = np.random.default_rng(rng), [], []
    for size in range(1, int(matched.counts.sum(axis=1).max()) + 1):
        scores = pair_scores(matched, scoring, size=size)
        scores = {k: s for k, s in scores.items() if not np.isnan(s).all()}
        if scores:
            out = mean_scores(matched.items, scores, method, confidence_level, n_resamples, generator)
            out.insert(0, "n_humans", size)
            parts.append(out)
            sizes += [_n_units(matched.items, one) for one in scores.values()]
    result = pd.concat(parts, ignore_index=True)
    procedure = "agreement with the majority, by number of people"
    return finish(
        result,
        **said(matched, scoring, procedure, method, confidence_level, n_resamples, rng),
        fractions=["agreement"],
        notes=_notes(result, sizes, matched.unit),
    )


def confusion(table: pd.DataFrame, humans: pd.DataFrame, *, on: Sequence[str] | None = None) -> pd.DataFrame:
    """Count each judge's verdicts against the human majority's.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges. Weighted judgements are taken for the side that they favour.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        ``annotator``, ``majority`` and ``verdict`` (``"reference"``, ``"draw"`` or ``"model"``, sides as
        in `table`), ``count`` (expected, where the majority is not unique), ``share`` (of the pairs with
        that majority), ``reason`` and ``note``.

    See Also
    --------
    human_agreement : How often they agree.

    Examples
    --------
    >>> import pandas as pd
    >>> judge = pd.DataFrame({"instruction_id": list("abcd"), "model": "m", "reference": "r",
    ...                       "annotator": "judge", "outcome": [1, 0, 1, 1]})
    >>> people = judge.assign(annotator="p", outcome=[1, 0, 0, 1])
    >>> table = confusion(judge, people)
    >>> table.loc[table["count"] > 0, ["annotator", "majority", "verdict", "count", "share"]]
      annotator   majority    verdict  count  share
    0     judge  reference  reference    1.0    0.5
    2     judge  reference      model    1.0    0.5
    8     judge      model      model    2.0    1.0
    """
    matched = votes.match(table, humans, on=on)
    target, weight = votes.majority(matched.counts), matched.items["n"].to_numpy()
    parts = []
    for name, given in matched.judges.items():
        favoured = votes.tally((np.sign(given - 0.5) + 1) / 2)
        with np.errstate(invalid="ignore"):
            favoured = np.nan_to_num(favoured / favoured.sum(axis=1, keepdims=True))
        count = (target * weight[:, None]).T @ favoured
        with np.errstate(invalid="ignore"):
            share = count / count.sum(axis=1, keepdims=True)
        parts.append(
            pd.DataFrame(
                {
                    "annotator": name,
                    "majority": np.repeat(SIDES, 3),
                    "verdict": np.tile(SIDES, 3),
                    "count": count.ravel(),
                    "share": share.ravel(),
                }
            )
        )
    return finish(
        pd.concat(parts, ignore_index=True),
        estimate=None,
        method="verdicts counted against the human majority",
        unit=matched.unit,
        fractions=["share"],
        settings={"on": list(matched.on)},
    )
