"""A judge's response to length beside people's, on the pairs that both judged.

People prefer longer outputs too, so a judge's preference for length is a bias only where it exceeds
theirs. Two things blur the comparison. A person's single verdict is noisy, which flattens every slope
of it: a judge that returned exactly what people think on average would look steeper than each of
them. And the majority of a few noisy people is noisy as well: holding it fixed does not hold fixed
what people think. `bias_beyond_humans` therefore puts the judge beside each person left out in turn,
and estimates what length still adds with the people's noise removed by instrumental variables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.ratios import covariance
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.length.scales import length_difference
from alpaca_analysis.people.votes import VERDICTS, majority, match, matching_columns, mean_of_known, tally
from alpaca_analysis.table.checks import check, to_numeric
from alpaca_analysis.table.style import FEATURES
from alpaca_analysis.table.style_pairs import STYLE, style_difference

COLUMNS = (
    "annotator",
    "kind",
    "covariate",
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
COVARIATE = "covariate "  # before the names of columns that are made here
FEW_INSTRUCTIONS = 50  # below, normal quantiles cover 91 to 95 % for 95 %
QUANTITIES = ("slope", "beyond_one_human", "beyond_majority", "at_equal_preference")


def bias_beyond_humans(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    covariates: str | Sequence[str] = "length",
    scale: options.Scale = "tanh",
    confidence_level: float = 0.95,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Compare how judges and people respond to length, style, or the place of an output, on the same pairs.

    For pair i let x be the difference in length (or another covariate; several enter together), h_ij human
    j's verdict minus 1/2 and y the judge's. Which output is called the model's is arbitrary, so all
    regressions go through the origin: turning a pair around changes nothing. All are least squares, where
    noise in a verdict costs precision and does not bias the slope. Reported per judge, and per human taken
    as the judge with the *other* humans as people:

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
    covariates : str or sequence of str
        "length"; "position" (1/2 where the judge saw the model's output first, -1/2 where second; of a judge
        whose rows of a pair differ in it, the mean); "style" or any of `style_features` (relative differences
        over their root mean square); or a numeric column of `table` that is a difference, model minus
        reference, such as 1 where only the model is of the judge's own family.
    scale : {"tanh", "characters", "log_ratio"}
        How the difference in length is measured, see `length_difference`; "tanh" takes
        the root mean square over the pairs as the spread, which does not depend on sides.
    confidence_level : float
        Coverage in (0, 1) of the normal interval.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as `human_agreement` takes them.

    Returns
    -------
    DataFrame
        ``annotator``, ``kind`` ("judge" or "human"), ``covariate``, ``quantity``, ``estimate``,
        ``standard_error`` (clustered by instruction), ``ci_low``, ``ci_high``, ``pvalue`` (two-sided, of 0),
        ``n`` (pairs), ``n_instructions`` and ``note`` (why an entry is NaN, or not to be trusted as it
        stands: a weak instrument, few instructions), in units of outcome per unit of the covariate.

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
    matching_columns(on)
    names = [covariates] if isinstance(covariates, str) else options.groups(covariates, name="covariates")
    names = [one for name in names for one in (STYLE if name == "style" else (name,))]
    table = check(table)
    pairs = match(table, humans, on=on)
    table = _with_covariates(table, names)
    if pairs.items["instruction_id"].isna().any():
        raise AnnotationError("rows with instruction ids, not counts", column="instruction_id", found="none")
    ids = pd.factorize(pairs.items["instruction_id"])[0]
    people = pairs.voters.to_numpy()
    parts = []
    for name, verdicts in pairs.judges.items():
        x = _differences(pairs, table, names, scale, judge=name)
        parts.append(_compare(name, "judge", mean_of_known(verdicts), people, x, ids, names))
    x = _differences(pairs, table, names, scale)
    for k, name in enumerate(pairs.voters if people.shape[1] > 2 else []):
        parts.append(_compare(name, "human", people[:, k], np.delete(people, k, axis=1), x, ids, names))
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
        settings={"scale": scale, "covariates": names},
    )


def _with_covariates(table, names):
    """Return the table with the covariates other than length, which change sign with the sides."""
    made = {}
    for name in names:
        if name == "length":
            continue
        if name == "position":
            check(table, require=["position"])
            shown = to_numeric(table["position"]).to_numpy(dtype=float, na_value=np.nan)
            made[COVARIATE + name] = np.select([shown == 1, shown == 2], [0.5, -0.5], np.nan)
        elif name in FEATURES and name not in table:
            made[COVARIATE + name] = style_difference(table, name).to_numpy()
        else:
            check(table, require=[name])
            made[COVARIATE + name] = to_numeric(table[name]).to_numpy(dtype=float, na_value=np.nan)
    return table.assign(**made)


def _differences(pairs, table, names, scale, judge=None):
    """Return x of each pair, a column for each covariate; spreads are taken about 0: sides change nothing.

    What is known of a row only (the position) is that of the judge's own rows, or of all rows without one.
    """
    columns, size = [], len(pairs.items)
    own = (pairs.place >= 0) & (judge is None or _annotator(table) == judge)
    for name in names:
        if name == "length":
            columns.append(_length(pairs.items, scale))
            continue
        signed = np.where(pairs.turned, -1.0, 1.0) * table[COVARIATE + name].to_numpy(float)
        seen = own & ~np.isnan(signed)
        times = np.bincount(pairs.place[seen], minlength=size)
        total = np.bincount(pairs.place[seen], signed[seen], size)
        mean = np.where(times > 0, total / np.maximum(times, 1), np.nan)
        spread = np.sqrt(np.nanmean(mean**2)) if name in FEATURES and times.any() else 1.0
        columns.append(mean / spread if spread > 0 else mean)
    return np.column_stack(columns)


def _annotator(table):
    return table["annotator"].astype(object).where(table["annotator"].notna(), "table").to_numpy()


def _length(items, scale):
    if items[["length_model", "length_reference"]].dropna().empty:
        raise AnnotationError("lengths of both outputs", column="length_model", found="none")
    if scale != "tanh":
        return length_difference(items, scale=scale).to_numpy()
    difference = (items["length_model"] - items["length_reference"]).to_numpy(dtype=float)
    spread = np.sqrt(np.nanmean(difference**2))
    return np.tanh(difference / spread) if spread > 0 else difference


def _compare(name, kind, verdict, people, x, ids, names):
    """Return the quantities of one annotator on the pairs that it and at least two people judged."""
    used = ~np.isnan(verdict) & ~np.isnan(x).any(axis=1) & ((~np.isnan(people)).sum(axis=1) >= 2)
    y, x, h, ids = verdict[used] - 0.5, x[used], people[used] - 0.5, ids[used]
    most = majority(tally(people[used])) @ VERDICTS - 0.5
    fits = [_through_origin(v, x, x, ids) for v in (y, y - mean_of_known(h), y - most)]
    fits.append(_at_equal_preference(y, h, x, ids))
    n_units = len(np.unique(ids))
    text = f"interval approximate: normal quantiles over {n_units} instructions"
    few = [Reason("few_units", text)] if n_units < FEW_INSTRUCTIONS else []
    rows = [
        {
            "covariate": covariate,
            "quantity": quantity,
            "estimate": estimate[k],
            "standard_error": error[k],
            "note": [note] if np.isnan(error[k]) else [note, *few],
        }
        for k, covariate in enumerate(names)
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
    first, spreads, _ = _through_origin(h[pair, vote], instruments, instruments, clusters, weights)
    strength, spread = first[-1], spreads[-1]
    if not note and strength**2 < WEAK * spread**2:
        text = f"weak instrument (F = {(strength / spread) ** 2:.1f}): people agree too little, unreliable"
        note = Reason("weak_instrument", text)
    return estimate, error, note


def _through_origin(y, regressors, instruments, clusters, weights=None):
    """Return coefficients, their clustered standard errors and a note, by instrumental variables."""
    n_units, undefined = len(np.unique(clusters)), np.full(regressors.shape[1], np.nan)
    if n_units <= regressors.shape[1]:
        return undefined, undefined, Reason("too_few_units", f"undefined: {n_units} instructions")
    z = instruments if weights is None else instruments * weights[:, None]
    bread = z.T @ regressors
    if np.linalg.matrix_rank(bread) < len(bread):
        text = "undefined: what is compared, or people's verdicts, do not vary"
        return undefined, undefined, Reason("no_variation", text)
    coefficients = np.linalg.solve(bread, z.T @ y)
    scores = z * (y - regressors @ coefficients)[:, None] @ np.linalg.inv(bread).T
    code = np.unique(clusters, return_inverse=True)[1]
    shares = np.column_stack([np.bincount(code, column) for column in scores.T])
    error = np.sqrt(np.diag(covariance(shares, np.ones(len(shares)))))
    if not (ties.standard_error(error) > 0).all():
        why = Reason("no_residuals", "interval undefined: length tells every verdict exactly")
        return coefficients, undefined, why
    return coefficients, error, ""
