"""A judge's response to length beside people's, on the pairs that both judged.

People prefer longer outputs too, so a judge's preference for length is a bias only where it exceeds
theirs. Two things blur the comparison. A person's single verdict is noisy, which flattens every slope
of it: a judge that returned exactly what people think on average would look steeper than each of
them. And the majority of a few noisy people is noisy as well: holding it fixed does not hold fixed
what people think. `bias_beyond_humans` therefore puts the judge beside each person left out in turn,
and estimates what length still adds with the people's noise removed by instrumental variables.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.ratios import covariance
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.length.scales import length_difference
from alpaca_analysis.people.votes import VERDICTS, majority, match, mean_of_known, tally

COLUMNS = (
    "annotator",
    "kind",
    "quantity",
    "estimate",
    "standard_error",
    "ci_low",
    "ci_high",
    "pvalue",
    "n",
    "n_instructions",
    "note",
)
WEAK = 10  # first-stage F below which an instrument is called weak (Staiger and Stock 1997)
FEW_INSTRUCTIONS = 50  # below, normal quantiles cover 91 to 95 % for 95 %
QUANTITIES = ("slope", "beyond_one_human", "beyond_majority", "at_equal_preference")


def bias_beyond_humans(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    scale: options.Scale = "tanh",
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    r"""Compare how judges and people respond to length on the same pairs.

    For pair i let x be the difference in length, h_ij human j's verdict minus 1/2 and y the judge's.
    Which output is called the model's is arbitrary, so all regressions go through the origin: turning
    a pair around changes nothing. All are least squares, where noise in a verdict costs precision and
    does not bias the slope. Reported per judge, and per human taken as the judge with the *other*
    humans as people:

    slope
        of y on x: the verdict's shift where the lengths differ by one unit.
    beyond_one_human
        the slope minus the mean slope of the humans. Positive also for a judge without any bias that
        is less noisy than one person.
    beyond_majority
        the slope on x of y minus the humans' majority (draw where it is not unique). Negative for a
        person, who is noisier than a majority: the rows of the humans are what no bias looks like.
    at_equal_preference
        gamma in y = beta p + gamma x + error, with p what people on average think of the pair. p is
        not seen; one human's verdict stands for it and the mean of the others is its instrument, each
        human in turn, stacked. 0 for a judge whose liking for length is that of people, however
        noisy either is: this is the bias beyond people's. ``note`` says where people agree too little
        with one another for it (a weak instrument).

    Parameters
    ----------
    table : DataFrame
        Judgements of one or more judges (``annotator``), with lengths.
    humans : DataFrame
        Judgements of the same pairs by people. Pairs are matched as `human_agreement` matches them,
        whichever side is called the model's; several judgements of a pair by one name are several
        people. A judge's repeated judgements of a pair are averaged.
    scale : {"tanh", "characters", "log_ratio"}
        How the difference in length is measured, see `length_difference`; "tanh" takes
        the root mean square over the pairs as the spread, which does not depend on sides.
    confidence_level : float
        Coverage in (0, 1) of the normal interval.

    Returns
    -------
    DataFrame
        ``annotator``, ``kind`` ("judge" or "human"), ``quantity``, ``estimate``, ``standard_error``
        (clustered by instruction), ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of 0), ``n``
        (pairs), ``n_instructions`` and ``note`` (why an entry is NaN, or not to be trusted as it stands: a
        weak instrument, few instructions), in units of outcome per unit of length difference.

    Raises
    ------
    AnnotationError
        No pair judged by both, or pairs that are ambiguous.

    Notes
    -----
    gamma assumes that people's errors are independent given the pair, and that the judge's mean
    verdict is linear in p and x, or p linear in x: a judge whose verdicts saturate, being surer than
    people are, is read correctly in the second case and only roughly otherwise. It says what the
    judge adds to people like these, not that people are right.

    References
    ----------
    Wooldridge, J. M. (2010). Econometric Analysis of Cross Section and Panel Data, chapter 5
    (repeated measurements as instruments).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> pairs = pd.DataFrame({"instruction_id": [f"i{k}" for k in range(400)], "model": "a",
    ...                       "reference": "b", "length_reference": 500,
    ...                       "length_model": rng.integers(100, 900, 400)})
    >>> liked = rng.uniform(0.1, 0.9, 400)
    >>> vote = lambda name, p: pairs.assign(annotator=name, outcome=(rng.random(400) < p) * 1.0)
    >>> people = pd.concat([vote(f"human {k}", liked) for k in range(3)])
    >>> judge = vote("judge", liked + (pairs["length_model"] > 500) * 0.4 - 0.2)
    >>> result = bias_beyond_humans(judge, people)
    >>> result.loc[:3, ["annotator", "quantity", "estimate"]].round(2)
      annotator             quantity  estimate
    0     judge                slope      0.29
    1     judge     beyond_one_human      0.25
    2     judge      beyond_majority      0.24
    3     judge  at_equal_preference      0.24
    """
    options.level("confidence_level", confidence_level)
    options.one_of("scale", scale, options.Scale)
    pairs = match(table, humans)
    if pairs.items["instruction_id"].isna().any():
        raise AnnotationError("rows with instruction ids, not counts", column="instruction_id", found="none")
    x, ids = _differences(pairs.items, scale), pd.factorize(pairs.items["instruction_id"])[0]
    people = pairs.voters.to_numpy()
    parts = [
        _compare(name, "judge", mean_of_known(verdicts), people, x, ids)
        for name, verdicts in pairs.judges.items()
    ]
    for k, name in enumerate(pairs.voters if people.shape[1] > 2 else []):
        parts.append(_compare(name, "human", people[:, k], np.delete(people, k, axis=1), x, ids))
    result = pd.concat(parts, ignore_index=True)
    half = stats.norm.ppf((1 + confidence_level) / 2) * result["standard_error"]
    z = (result["estimate"] / result["standard_error"]).abs()
    result = result.assign(
        ci_low=result["estimate"] - half, ci_high=result["estimate"] + half, pvalue=2 * stats.norm.sf(z)
    )[list(COLUMNS)]
    return finish(
        result,
        estimate="estimate",
        method="least squares through the origin, instrumental variables",
        interval="wald",
        unit="instruction",
        confidence_level=confidence_level,
        settings={"scale": scale},
    )


def _differences(items, scale):
    """Return x of each pair; the spread is taken about 0, so that turning a pair changes nothing."""
    if items[["length_model", "length_reference"]].dropna().empty:
        raise AnnotationError("lengths of both outputs", column="length_model", found="none")
    if scale != "tanh":
        return length_difference(items, scale=scale).to_numpy()
    difference = (items["length_model"] - items["length_reference"]).to_numpy(dtype=float)
    spread = np.sqrt(np.nanmean(difference**2))
    return np.tanh(difference / spread) if spread > 0 else difference


def _compare(name, kind, verdict, people, x, ids):
    """Return the four quantities of one annotator on the pairs that it and at least two people judged."""
    used = ~np.isnan(verdict) & ~np.isnan(x) & ((~np.isnan(people)).sum(axis=1) >= 2)
    y, x, h, ids = verdict[used] - 0.5, x[used], people[used] - 0.5, ids[used]
    most = majority(tally(people[used])) @ VERDICTS - 0.5
    fits = [_through_origin(v, x[:, None], x[:, None], ids) for v in (y, y - mean_of_known(h), y - most)]
    fits.append(_at_equal_preference(y, h, x, ids))
    n_units = len(np.unique(ids))
    text = f"interval approximate: normal quantiles over {n_units} instructions"
    few = [Reason("few_units", text)] if n_units < FEW_INSTRUCTIONS else []
    rows = [
        {
            "quantity": quantity,
            "estimate": estimate,
            "standard_error": error,
            "note": [note] if np.isnan(error) else [note, *few],
        }
        for quantity, (estimate, error, note) in zip(QUANTITIES, fits, strict=True)
    ]
    return pd.DataFrame(rows).assign(annotator=name, kind=kind, n=len(y), n_instructions=n_units)


def _at_equal_preference(y, h, x, clusters):
    """Regress y on each vote and x, the mean of the other votes as the vote's instrument."""
    seen = ~np.isnan(h)
    size = seen.sum(axis=1, keepdims=True)
    others = (np.nansum(h, axis=1, keepdims=True) - np.nan_to_num(h)) / np.maximum(size - 1, 1)
    pair, vote = np.nonzero(seen)
    regressors = np.column_stack([x[pair], h[pair, vote]])
    instruments = np.column_stack([x[pair], others[pair, vote]])
    weights, clusters = 1 / size[pair, 0], clusters[pair]
    estimate, error, note = _through_origin(y[pair], regressors, instruments, clusters, weights)
    first = instruments[:, ::-1]
    strength, spread, _ = _through_origin(h[pair, vote], first, first, clusters, weights)
    if not note and strength**2 < WEAK * spread**2:
        text = f"weak instrument (F = {(strength / spread) ** 2:.1f}): people agree too little, unreliable"
        note = Reason("weak_instrument", text)
    return estimate, error, note


def _through_origin(y, regressors, instruments, clusters, weights=None):
    """Return first coefficient, its clustered standard error and a note, by instrumental variables."""
    n_units = len(np.unique(clusters))
    if n_units <= regressors.shape[1]:
        return np.nan, np.nan, Reason("too_few_units", f"undefined: {n_units} instructions")
    z = instruments if weights is None else instruments * weights[:, None]
    bread = z.T @ regressors
    if np.linalg.matrix_rank(bread) < len(bread):
        return np.nan, np.nan, Reason("no_variation", "undefined: lengths or people's verdicts do not vary")
    coefficients = np.linalg.solve(bread, z.T @ y)
    scores = z * (y - regressors @ coefficients)[:, None] @ np.linalg.inv(bread)[:1].T
    shares = np.bincount(np.unique(clusters, return_inverse=True)[1], scores.ravel())[:, None]
    error = float(np.sqrt(covariance(shares, np.ones(len(shares)))[0, 0]))
    if not ties.standard_error(error) > 0:
        why = Reason("no_residuals", "interval undefined: length tells every verdict exactly")
        return float(coefficients[0]), np.nan, why
    return float(coefficients[0]), error, ""
