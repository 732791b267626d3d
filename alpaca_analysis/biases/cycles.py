"""Cycles of preferences: a over b, b over c and c over a, on one instruction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.biases.sides import named_judges, require_ids, same_side
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.inference import ratios
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.table.checks import check

RESULT = (
    "n_triads",
    "n_cyclic",
    "share",
    "standard_error",
    "ci_low",
    "ci_high",
    "n_with_draws",
    "n_instructions",
)
NO_TRIADS = Reason(
    "no_triads",
    "undefined: no instruction on which three models were compared with each other without a draw",
)


def cycles(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "annotator",
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Count triads of models whose preferences on one instruction go round in a circle.

    A triad is three models that were compared with each other on the same instruction, none of the three
    comparisons a draw. Several judgements of a pair are averaged first, and the verdict is the side that the
    mean leans to. Of verdicts by tossing a coin a quarter of the triads are cyclic.

    Cycles on single instructions bear on numbers that compare any model with any other through a reference,
    such as `LengthControl.win_rate` and `Ratings.win_rate`. They are not what these assume, which is about
    mean win rates: means can be consistent where single verdicts are not.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``instruction_id``, ``model`` and ``reference``, of several models against each other.
    by : str or sequence of str
        Columns that make a group; each group has its own triads.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        `by` columns, ``n_triads``, ``n_cyclic``, ``share`` (of cyclic ones), ``standard_error`` (clustered by
        instruction), ``ci_low``, ``ci_high``, ``n_with_draws`` (triads left out for a draw) and
        ``n_instructions`` (that have triads), smallest share first; NaN with a reason without triads. The
        interval is Clopper and Pearson's at the effective number of triads, the number of independent ones
        that would tell the share as exactly; it is the number of instructions where no triad or every triad
        is cyclic. Unlike a normal one it is sound near 0.

    Raises
    ------
    AnnotationError
        Rows without an instruction.

    References
    ----------
    Korn, E. L., Graubard, B. I. (1998). Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data. Survey Methodology 24(2), 193-201.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("iiijjj"), "model": list("abaaba"),
    ...                       "reference": list("bccbcc"), "outcome": [1, 1, 0, 1, 1, 1]})
    >>> cycles(table)[["annotator", "n_triads", "n_cyclic", "share"]]
      annotator  n_triads  n_cyclic  share
    0     judge         2         1    0.5
    """
    options.level("confidence_level", confidence_level)
    by = options.groups(by, {*RESULT, "reason", "note"})
    rows = named_judges(check(table, require=sorted({*by} - {"annotator"})))
    require_ids(rows)
    triads = _triads(_edges(same_side(rows), by), by)
    groups = rows[by].drop_duplicates()
    found = [_share(triads, dict(zip(by, key, strict=True)), confidence_level) for key in groups.to_numpy()]
    result = pd.DataFrame(found)
    order = result.assign(_tied=ties.tied(result["share"])).sort_values(["_tied", *by], kind="stable").index
    return finish(
        result.loc[order],
        estimate="share",
        method="share of cyclic triads without draws",
        interval="korn-graubard",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=["share"],
        notes=[NO_TRIADS if n == 0 else "" for n in result.loc[order, "n_triads"]],
        undefined=by,
    )


def _edges(rows, by):
    """Return for each pair of an instruction which model is preferred: 1 the first by name, -1, 0 a draw."""
    rows = rows[rows["outcome"].notna() & (rows["model"] != rows["reference"])]
    rows = rows.assign(total=rows["outcome"] * rows["n"])
    key = list(dict.fromkeys([*by, "instruction_id", "model", "reference"]))
    sums = rows.groupby(key, observed=True, dropna=False)[["total", "n"]].sum()
    lean = np.sign(ties.difference(sums["total"] / sums["n"], 0.5))
    return sums.assign(lean=lean).reset_index()[[*key, "lean"]]


def _triads(edges, by):
    """Return one row per triad a < b < c by name: ``cyclic`` is NaN where a comparison is a draw."""
    key = list(dict.fromkeys([*by, "instruction_id"]))
    key = [column for column in key if column not in ("model", "reference")]
    names = {"model": "a", "reference": "b", "lean": "ab"}
    ab = edges.rename(columns=names)
    bc = edges.rename(columns={"model": "b", "reference": "c", "lean": "bc"})
    ac = edges.rename(columns={"model": "a", "reference": "c", "lean": "ac"})
    triads = ab.merge(bc, on=[*key, "b"]).merge(ac, on=[*key, "a", "c"])
    strict = (triads[["ab", "bc", "ac"]] != 0).all(axis=1)
    cyclic = (triads["ab"] == triads["bc"]) & (triads["ab"] == -triads["ac"])
    return triads.assign(cyclic=cyclic.astype(float).where(strict))


def _share(triads, group, confidence_level):
    inside = np.ones(len(triads), dtype=bool)
    for column, value in group.items():
        inside &= (triads[column].isna() if pd.isna(value) else triads[column] == value).to_numpy()
    strict = triads[inside].dropna(subset=["cyclic"])
    code, ids = pd.factorize(strict["instruction_id"], sort=True)
    n, cyclic = len(strict), int(strict["cyclic"].sum())
    numbers = {"n_with_draws": int(inside.sum()) - n, "n_instructions": len(ids)}
    if n == 0:
        nothing = dict.fromkeys(("share", "standard_error", "ci_low", "ci_high"), np.nan)
        return group | {"n_triads": 0, "n_cyclic": 0} | nothing | numbers
    units = ratios.Units(
        np.bincount(code, strict["cyclic"])[:, None], np.bincount(code)[:, None].astype(float)
    )
    error = float(ratios.standard_error(units)[0])
    low, high = clustered_proportion(cyclic, n, error, len(ids), confidence_level)
    interval = {"share": cyclic / n, "standard_error": error, "ci_low": low, "ci_high": high}
    return group | {"n_triads": n, "n_cyclic": cyclic} | interval | numbers


def clustered_proportion(
    count: int, n: int, error: float, n_clusters: int, confidence_level: float = 0.95
) -> tuple[float, float]:
    """Return Korn and Graubard's interval of a share seen in clusters.

    Parameters
    ----------
    count, n : int
        Of those that have what is counted, and of all.
    error : float
        Cluster-robust standard error of the share.
    n_clusters : int
        Clusters; independent where there are as many as `n`.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : float
        Clopper and Pearson's interval where every cluster has one member.

    Examples
    --------
    >>> [round(bound, 3) for bound in clustered_proportion(0, 20, 0.0, 10)]
    [0.0, 0.308]
    """
    share, tail = count / n, (1 - confidence_level) / 2
    effective = float(min(n, n_clusters))
    if error > 0:
        effective = share * (1 - share) / error**2 + 1  # one more: the error divides by n - 1
        if n_clusters < n:
            effective *= (stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, n_clusters - 1)) ** 2
    effective = min(effective, n)
    hits = share * effective
    low = stats.beta.ppf(tail, hits, effective - hits + 1) if count else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, effective - hits) if count < n else 1.0
    return float(low), float(high)
