"""Whether a judge may stand in for a person: the alternative annotator test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import intervals
from alpaca_analysis.people import votes
from alpaca_analysis.people.agreement import matched_votes, settings


def alternative_test(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    epsilon: float = 0.15,
    scoring: str = "zero_one",
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
    table, humans : DataFrame
        As for `human_agreement`; at least two people on a pair.
    epsilon : float
        What a person's greater cost is worth: 0.2 for experts, 0.15 for trained people, 0.1 for crowd
        workers, as its authors recommend.
    scoring : {"zero_one", "absolute"}
        How a verdict is scored against one person's.
    q : float
        False discovery rate.
    on : sequence of str, optional
        As for `human_agreement`.

    Returns
    -------
    DataFrame
        One row per judge and person: ``annotator``, ``human``, ``advantage`` (rho_j), ``human_advantage``
        (rho_h), ``difference`` (rho_h - rho_j), ``standard_error``, ``pvalue``, ``pvalue_adjusted``,
        ``rejected``, ``n``, ``note``, and, equal in all rows of a judge, ``winning_rate`` (omega, the
        share rejected), ``advantage_probability`` (rho, the mean of rho_j) and ``passes`` (omega at
        least 0.5). ``.attrs`` holds epsilon and q.

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
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon: found {epsilon!r}, expected a number in [0, 1)")
    matched = matched_votes(table, humans, scoring, "t", on)
    if matched.voters.shape[1] < 2:
        raise AnnotationError("at least two people", source="humans", column="annotator", found="one")
    result = pd.concat(
        [_replace(matched, name, epsilon, scoring, q) for name in matched.judges], ignore_index=True
    )
    result.attrs = settings(matched, scoring, "t", None, None, None) | {
        "epsilon": epsilon,
        "q": q,
        "correction": "Benjamini-Yekutieli",
    }
    return result


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
    tolerance = 1e-12  # equal means of different sums
    wins = np.column_stack([judge >= person - tolerance, person >= judge - tolerance]).astype(float)
    if not both.any():
        blank = dict.fromkeys(
            ["advantage", "human_advantage", "difference", "standard_error", "pvalue"], np.nan
        )
        return {**blank, "n": 0, "note": "undefined: no pair with judge, person and another person"}
    units = votes.clustered(matched.items[both], wins[both])
    rho_judge, rho_human = units.estimate
    difference, error, _, _ = intervals.interval(units, contrast=np.array([[-1.0], [1.0]]), method="t")
    size, note = int(units.counts.sum()), ""
    if error[0] > 1e-12:
        pvalue = float(stats.t.cdf((difference[0] - epsilon) / error[0], size - 1))
    elif size > 1:
        pvalue, note = float(difference[0] >= epsilon), "no variation: decided without a test"
    else:
        pvalue, note = np.nan, f"undefined: fewer than two {matched.unit.split()[0]}s"
    if size < 30 and not note:
        note = f"fewer than 30 {matched.unit.split()[0]}s: the t-test is rough"
    return {
        "advantage": rho_judge,
        "human_advantage": rho_human,
        "difference": difference[0],
        "standard_error": error[0],
        "pvalue": pvalue,
        "n": int(matched.items["n"].to_numpy()[both].sum()),
        "note": note,
    }
