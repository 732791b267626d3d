"""Whether a judge may stand in for a person: the alternative annotator test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.results import Note, Reason, finish
from alpaca_analysis.people import votes
from alpaca_analysis.people.agreement import matched_votes, said


def alternative_test(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    epsilon: float = 0.15,
    scoring: options.Scoring = "zero_one",
    q: float = 0.05,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test whether a judge may replace a person: the alternative annotator test.

    Each person j is left out in turn. On every pair that j judged, judge and j are compared by their mean
    score against each of the remaining people; an advantage is a score at least as high. With the
    advantage probabilities rho_j of the judge and rho_h of the person, the hypothesis
    rho_h - rho_j >= epsilon is tested by a one-sided paired t-test, here with errors clustered by
    instruction, and rejections control the false discovery rate by Benjamini and Yekutieli.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by several people, told apart by ``annotator`` (or ``repeat``). Pairs are matched by
        instruction and models, also where sides are flipped; at least two people on a pair.
    epsilon : float
        What a person's greater cost is worth: 0.2 for experts, 0.15 for trained people, 0.1 for crowd
        workers, as its authors recommend.
    scoring : {"zero_one", "absolute"}
        1 if both say the same (a draw equals only a draw), or ``1 - abs(difference)`` (a draw is 0.5
        against a verdict), which also takes weighted judgements.
    q : float
        False discovery rate in (0, 1).
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        One row per judge and person: ``annotator``, ``human``, ``advantage`` (rho_j), ``human_advantage``
        (rho_h), ``difference`` (rho_h - rho_j), ``standard_error``, ``pvalue``, ``pvalue_adjusted``,
        ``rejected``, ``n``, and, equal in all rows of a judge, ``winning_rate`` (omega, the share
        rejected), ``advantage_probability`` (rho, the mean of rho_j) and ``passes`` (omega at least 0.5);
        ``reason`` and ``note``. ``.attrs`` holds epsilon and q.

    See Also
    --------
    compare_agreement : The difference of a judge and one person, with its interval.

    References
    ----------
    Calderon, N., Reichart, R., Dror, R. (2025). The alternative annotator test for LLM-as-a-judge.
    ACL 2025, arXiv:2501.10970.

    Examples
    --------
    >>> import pandas as pd
    >>> judge = pd.DataFrame({"instruction_id": [f"i{k}" for k in range(40)], "model": "m",
    ...                       "reference": "r", "annotator": "judge", "outcome": [1, 0, 1, 1] * 10})
    >>> people = pd.concat([judge.assign(annotator=who, outcome=said * 10) for who, said in
    ...                     [("p", [1, 0, 1, 0]), ("q", [1, 1, 1, 1]), ("r", [0, 0, 1, 1])]])
    >>> alternative_test(judge, people)[["winning_rate", "advantage_probability"]].iloc[0].tolist()
    [1.0, 1.0]
    """
    options.fraction("epsilon", epsilon, closed="left")
    options.level("q", q)
    options.one_of("scoring", scoring, options.Scoring)
    matched = matched_votes(table, humans, scoring, on)
    if matched.voters.shape[1] < 2:
        raise AnnotationError("at least two people", source="humans", column="annotator", found="one")
    result = pd.concat(
        [_replace(matched, name, epsilon, scoring, q) for name in matched.judges], ignore_index=True
    )
    settings = {"epsilon": epsilon, "q": q, "correction": "Benjamini-Yekutieli"}
    procedure = "alternative annotator test, one-sided paired t-tests"
    return finish(
        result,
        **said(matched, scoring, procedure, None, None, None, None, **settings) | {"estimate": "difference"},
        fractions=["advantage", "human_advantage", "winning_rate", "advantage_probability"],
        differences=["difference"],
    )


def _replace(matched, name, epsilon, scoring, q):
    rows = []
    for human in matched.voters:
        others = votes.tally(matched.voters.drop(columns=human).to_numpy()).astype(float)
        total = others.sum(axis=1, keepdims=True)
        others /= np.where(total > 0, total, np.nan)
        judge = votes.score(matched.judges[name], others, scoring)
        person = votes.score(matched.voters[human].to_numpy(), others, scoring)
        both = ~np.isnan(judge + person)
        rows.append({"annotator": name, "human": human, **_advantage(matched, judge, person, both, epsilon)})
    out = pd.DataFrame(rows)
    known = out["pvalue"].notna()
    out["pvalue_adjusted"] = np.nan
    if known.any():
        adjusted = stats.false_discovery_control(out.loc[known, "pvalue"], method="by")
        out.loc[known, "pvalue_adjusted"] = adjusted
    out["rejected"] = out["pvalue_adjusted"] <= q
    out["winning_rate"] = out.loc[known, "rejected"].mean()
    out["advantage_probability"] = out["advantage"].mean()
    out["passes"] = out["winning_rate"] >= 0.5
    order = ["annotator", "human", "advantage", "human_advantage", "difference", "standard_error", "pvalue"]
    order += ["pvalue_adjusted", "rejected", "n", "winning_rate", "advantage_probability", "passes", "note"]
    return out[order]


def _advantage(matched, judge, person, both, epsilon):
    ahead = ties.difference(judge, person)
    wins = np.column_stack([ahead >= 0, ahead <= 0]).astype(float)
    note: Note
    if not both.any():
        blank = ["advantage", "human_advantage", "difference", "standard_error", "pvalue"]
        note = Reason("nothing_judged", "undefined: no pair with judge, person and another person")
        return {**dict.fromkeys(blank, np.nan), "n": 0, "note": note}
    units = votes.clustered(matched.items[both], wins[both])
    rho_judge, rho_human = units.estimate
    _, (error,), _, _ = intervals.interval(units, contrast=np.array([[-1.0], [1.0]]), method="t")
    difference, size = float(ties.difference(rho_human, rho_judge)), int(units.counts.sum())
    unit = matched.unit.split()[0]
    if error > 0:
        pvalue = float(stats.t.cdf((difference - epsilon) / error, size - 1))
        note = Reason("few_units", f"fewer than 30 {unit}s: the t-test is rough") if size < 30 else ""
    elif size > 1:
        pvalue = float(ties.difference(difference, epsilon) >= 0)
        note = Reason("no_variation", "no variation: decided without a test")
    else:
        pvalue, note = np.nan, Reason("too_few_units", f"undefined: fewer than two {unit}s")
    return {
        "advantage": rho_judge,
        "human_advantage": rho_human,
        "difference": difference,
        "standard_error": error,
        "pvalue": pvalue,
        "n": int(matched.items["n"].to_numpy()[both].sum()),
        "note": note,
    }
