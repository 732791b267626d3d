"""How many independent judges a panel is worth, and what each of them does to its ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alpaca_analysis.biases.panels import Rule, judged_by, votes_of
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.inference.resampling import draw_weights
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.people.votes import VERDICTS, majority, match, mean_of_known


def effective_judges(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    on: Sequence[str] | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Estimate how many judges with independent errors a panel is worth.

    An error is how far a judge's outcome is from what people say of the pair (their majority, 1/2 where it is
    not unique): 0 or 1 for verdicts. With k judges whose errors correlate by rho on average, the mean of the
    panel is as exact as that of k / (1 + (k - 1) rho) judges with independent errors. People's own noise is
    in every judge's error: it makes judges look more alike, the more so the fewer people there are.

    Parameters
    ----------
    table : DataFrame
        Judgements of the same pairs by two or more judges. A judge's judgements of a pair are averaged.
    humans : DataFrame
        Judgements of the same pairs by people, or one gold label each; matched as by `human_agreement`.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as of `human_agreement`.
    confidence_level : float
        Coverage in (0, 1) of the BCa interval.
    n_resamples : int
        Bootstrap resamples of the instructions.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row: ``n_judges``, ``effective``, ``standard_error`` (of the bootstrap), ``ci_low``, ``ci_high``,
        ``correlation`` (mean over pairs of judges), ``lowest`` and ``highest`` of them, ``most_alike`` (the
        two judges of the highest), ``n`` (pairs that all judged).

    Raises
    ------
    AnnotationError
        Fewer than two judges, or no pair that all of them and a person judged.

    References
    ----------
    Kish, L. (1965). Survey Sampling, section 5.4 (design effect of correlated measurements).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> pairs = pd.DataFrame({"instruction_id": [f"i{k}" for k in range(500)], "model": "m"})
    >>> says = lambda name, right: pairs.assign(reference="r", annotator=name, outcome=right * 1.0)
    >>> one, other = rng.random(500) < 0.8, rng.random(500) < 0.8
    >>> judges = pd.concat([says("a", one), says("copy of a", one), says("b", other)])
    >>> found = effective_judges(judges, says("gold", np.ones(500)), n_resamples=999)
    >>> found[["n_judges", "effective"]].round(1)
       n_judges  effective
    0         3        1.8
    """
    options.check_options(confidence_level, n_resamples)
    pairs = match(table, humans, on=on)
    names = sorted(pairs.judges)
    if len(names) < 2:
        found = Verbatim(f"one: {names[0]}")
        raise AnnotationError("judgements by two or more annotators", column="annotator", found=found)
    outcomes = np.stack([mean_of_known(pairs.judges[name]) for name in names], axis=1)
    errors = np.abs(outcomes - (majority(pairs.counts) @ VERDICTS)[:, None])
    used = ~np.isnan(errors).any(axis=1)
    if not used.any():
        raise AnnotationError(
            "pairs that every judge and a person judged", column="outcome", found=Verbatim("none")
        )
    moments, counts = _moments(pairs.items[used], errors[used])
    whole = _correlations(counts @ moments, len(names))
    estimate = _effective(whole, len(names))
    low = high = error = np.nan
    if len(counts) > 2 and not np.isnan(estimate):
        units = Units(moments, np.ones_like(moments), None if (counts == 1).all() else counts)
        weights = draw_weights(units, n_resamples=n_resamples, rng=rng)
        drawn = np.concatenate(
            [_effective(_correlations(w @ moments, len(names)), len(names)) for w in weights]
        )
        left = _effective(_correlations(counts @ moments - moments, len(names)), len(names))
        error = float(np.nanstd(drawn, ddof=1))
        (low,), (high,) = intervals.bca_interval(
            np.array([estimate]),
            drawn[:, None],
            left[:, None],
            counts=counts,
            confidence_level=confidence_level,
        )
    one, two = np.triu_indices(len(names), 1)
    known = not np.isnan(estimate)
    row = {
        "n_judges": len(names),
        "effective": float(estimate),
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "correlation": float(whole.mean()),
        "lowest": float(whole.min()),
        "highest": float(whole.max()),
        "most_alike": " and ".join(names[k[np.argmax(whole)]] for k in (one, two)) if known else "",
        "n": int((pairs.items["n"].to_numpy()[used]).sum()),
    }
    undefined = Reason("no_variation", "undefined: a judge makes the same error on every pair")
    return finish(
        pd.DataFrame([row]),
        estimate="effective",
        method="judges over their design effect, mean correlation of errors",
        interval="bca",
        unit=pairs.unit,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        notes=["" if known else undefined],
        undefined=["n_judges"],
    )


def panel_without_each(
    table: pd.DataFrame,
    *,
    rule: Rule = "mean",
    on: Sequence[str] | None = None,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Say what leaving each judge out of a panel does to the models' win rates and ranks.

    Parameters
    ----------
    table : DataFrame
        Judgements of the same pairs by three or more annotators.
    rule : {"mean", "majority", "dawid_skene"}
        Of the panel, as of `panel`.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as of `human_agreement`.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``left_out``, ``model``, ``win_rate`` (of the panel without that judge) and ``rank``, ``win_rate_all``
        and ``rank_all`` (of the whole panel, on the same pairs), ``difference`` with ``standard_error``,
        ``ci_low``, ``ci_high`` (paired over instructions, Student's t, the panel's rule taken as fixed), and
        ``n`` pairs; the largest differences first. Where models were compared with each other and not with
        one reference, a model's win rate is over all its pairs, whomever it met. Equal win rates share the
        better rank.

    Raises
    ------
    AnnotationError
        Fewer than three annotators, or rows without an instruction.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("abc") * 3, "annotator": list("xxxyyyzzz"),
    ...                       "model": "m", "reference": "r", "outcome": [1, 0, 1, 1, 1, 1, 0, 0, 1]})
    >>> panel_without_each(table)[["left_out", "win_rate", "win_rate_all", "difference"]].round(3)
      left_out  win_rate  win_rate_all  difference
    0        y     0.500         0.667      -0.167
    1        z     0.833         0.667       0.167
    2        x     0.667         0.667       0.000
    """
    options.one_of("rule", rule, Rule)
    options.level("confidence_level", confidence_level)
    votes = votes_of(table, on)
    if len(votes.judges) < 3:
        found = Verbatim(f"{len(votes.judges)}: {', '.join(votes.judges)}")
        raise AnnotationError("judgements by three or more annotators", column="annotator", found=found)
    whole = judged_by(votes, rule)
    parts = [
        _changes(judged_by(votes.without(k), rule), whole, confidence_level).assign(left_out=name)
        for k, name in enumerate(votes.judges)
    ]
    result = pd.concat(parts, ignore_index=True)
    size = pd.Series(-ties.tied(result["difference"].abs()))
    keys = ["_size", "left_out", "model"]
    order = result.assign(_size=size).sort_values(keys, kind="stable").index
    result = result.loc[order]
    still = Reason("no_variation", "interval undefined: nothing changes")
    error = result["standard_error"]
    rates = ["win_rate", "win_rate_all"]
    return finish(
        result[["left_out", *[c for c in result if c != "left_out"]]],
        estimate="difference",
        method=f"win rates of a panel by {rule} with and without a judge",
        interval="t",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=rates,
        differences=["difference"],
        notes=["" if e > 0 else still for e in error],
        settings={"rule": rule},
    )


def _moments(items, errors):
    """Return for each instruction the number of pairs, and sums and sums of products of their errors."""
    k = errors.shape[1]
    one, two = np.triu_indices(k)
    each = np.column_stack([np.ones(len(errors)), errors, errors[:, one] * errors[:, two]])
    if items["instruction_id"].isna().all():
        counts = items["n"].to_numpy()
        order = np.lexsort([counts, *each.T])
        return each[order], counts[order]
    code, ids = pd.factorize(items["instruction_id"], sort=True)
    sums = np.stack([np.bincount(code, v, len(ids)) for v in each.T], axis=1)
    return sums, np.ones(len(ids), dtype=np.int64)


def _correlations(moments, k):
    """Return the correlations of all pairs of judges, last axis, from sums of moments."""
    one, two = np.triu_indices(k)
    n, means = moments[..., :1], moments[..., 1 : k + 1] / moments[..., :1]
    covariances = moments[..., k + 1 :] / n - means[..., one] * means[..., two]
    variances = np.where(covariances[..., one == two] > ties.NO_ERROR, covariances[..., one == two], np.nan)
    pair = one != two
    return covariances[..., pair] / np.sqrt(variances[..., one[pair]] * variances[..., two[pair]])


def _effective(correlations, k):
    return k / (1 + (k - 1) * correlations.mean(axis=-1))


def _changes(part, whole, confidence_level):
    """Return the win rates of a panel and of the whole panel on the pairs that both judged."""
    judged = (part["outcome"].notna() & whole["outcome"].notna()).to_numpy()
    both = whole[judged].assign(without=part.loc[judged, "outcome"].to_numpy())
    if (both["reference"] != both["reference"].iloc[0]).any():
        turned = both.assign(
            model=both["reference"], outcome=1 - both["outcome"], without=1 - both["without"]
        )
        both = pd.concat([both.astype({"model": object}), turned.astype({"model": object})])
    found = []
    for model, rows in both.groupby("model", observed=True, sort=True):
        code = pd.factorize(rows["instruction_id"], sort=True)[0]
        sums = np.stack([np.bincount(code, rows[c]) for c in ("without", "outcome")], axis=1)
        units = Units(sums, np.repeat(np.bincount(code)[:, None], 2, axis=1).astype(float))
        difference, error, low, high = (
            float(v[0])
            for v in intervals.interval(
                units, contrast=np.array([[1.0], [-1.0]]), method="t", confidence_level=confidence_level
            )
        )
        row = {"model": model, "win_rate": float(units.estimate[0]), "win_rate_all": float(units.estimate[1])}
        row |= {"difference": difference, "standard_error": error, "ci_low": low, "ci_high": high}
        found.append(row | {"n": len(rows)})
    frame = pd.DataFrame(found)
    for column in ("win_rate", "win_rate_all"):
        ranks = pd.Series(-ties.tied(frame[column])).rank(method="min").astype(int)
        frame.insert(list(frame).index(column) + 1, column.replace("win_rate", "rank"), ranks.to_numpy())
    return frame
