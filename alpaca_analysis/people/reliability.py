"""How far people agree at all, and how well a perfect judge could agree with them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning
from alpaca_analysis.inference import intervals, resampling, results
from alpaca_analysis.people import votes
from alpaca_analysis.people.agreement import settings

LEVELS = ("nominal", "ordinal", "interval")
# With fewer the interval of alpha covered 58 to 92 % for 95 % in simulation, with more 93 to 96 %.
FEW_INSTRUCTIONS, FEW_RARER = 30, 8


def krippendorff_alpha(
    humans: pd.DataFrame,
    *,
    level: str = "nominal",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compute Krippendorff's alpha of several annotators, with an interval over instructions.

    Alpha is 1 for perfect agreement and 0 for agreement by chance. Any number of annotators may have
    judged each pair; pairs with a single verdict do not count.

    Parameters
    ----------
    humans : DataFrame
        Judgements by two or more annotators; verdicts only (0, 0.5 or 1).
    level : {"nominal", "ordinal", "interval"}
        What a draw is to a verdict: just different, between, or half-way.
    confidence_level : float
        Coverage in (0, 1) of the percentile interval.
    n_resamples : int
        Resamples of instructions, all their pairs and verdicts together.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Columns that tell comparisons apart, as for `human_agreement`.

    Returns
    -------
    DataFrame
        One row: ``level``, ``alpha``, ``ci_low``, ``ci_high``, ``n`` (pairs with two verdicts or more),
        ``n_verdicts``, ``note`` (why an entry is NaN, or the interval approximate: fewer than 30
        instructions, or fewer than 8 on which most people give another verdict than the commonest).

    Raises
    ------
    AnnotationError
        No pair with two verdicts.

    Warns
    -----
    UndefinedWarning
        All verdicts are the same, so that chance agreement is perfect too: alpha is not defined.

    References
    ----------
    Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability. Computed by the package
    ``krippendorff``.

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"instruction_id": list("aabbccddee"), "model": "m",
    ...                        "reference": "r", "annotator": ["p", "q"] * 5,
    ...                        "outcome": [1, 1, 0, 0, 1, 0, 1, 1, 0, 0]})
    >>> krippendorff_alpha(people, n_resamples=99)[["level", "alpha", "n"]].round(4)
         level  alpha  n
    0  nominal   0.64  5
    """
    options.check_options(confidence_level, n_resamples)
    if level not in LEVELS:
        raise ValueError(f"level: found {level!r}, expected one of {', '.join(LEVELS)}")
    matched = votes.match(humans, humans, on=on)
    rated = matched.counts.sum(axis=1) > 1
    if not rated.any():
        raise AnnotationError("a pair with two verdicts, found none", source="humans")
    counts, items = matched.counts[rated], matched.items[rated]
    units = votes.clustered(items, _coincidences(counts))
    alpha, low, high, note = _alpha(counts, items["n"].to_numpy(), level), np.nan, np.nan, ""
    drawn = resampling.draw_weights(units, n_resamples=n_resamples, rng=rng)
    resampled = np.concatenate([_resampled_alpha(weights @ units.y, level) for weights in drawn])
    if np.isnan(alpha):
        note = "undefined: all verdicts are the same"
    elif np.isnan(resampled).mean() > 0.05 or np.nanstd(resampled) < 1e-12:
        note = "interval undefined: too few instructions that differ"
    else:
        tail = (1 - confidence_level) / 2
        low, high = np.nanquantile(resampled, [tail, 1 - tail])
        note = _few(counts, items)
    weight = items["n"].to_numpy()
    result = pd.DataFrame(
        {
            "level": [level],
            "alpha": alpha,
            "ci_low": low,
            "ci_high": high,
            "n": int(weight.sum()),
            "n_verdicts": int(weight @ counts.sum(axis=1)),
            "note": note,
        }
    )
    result.attrs = results.settings(
        method="percentile",
        unit=matched.unit,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
    ) | {"level": level, "on": list(matched.on)}
    if np.isnan(low):
        warnings.warn(f"alpha: {note}", UndefinedWarning, stacklevel=2)
    return result


def _few(counts, items):
    """Return a note if too few instructions, or too few on the rarer side, carry the interval of alpha."""
    commonest = (items["n"].to_numpy() @ counts).argmax()
    total = counts.sum(axis=1)
    rarer = votes.clustered(items, 1.0 * (2 * (total - counts[:, commonest]) >= total))
    size, carried = rarer.counts.sum(), rarer.counts @ (rarer.y[:, 0] > 0)
    if size < FEW_INSTRUCTIONS:
        return f"interval approximate: {size} instructions"
    if carried < FEW_RARER:
        return f"interval approximate: rests on {carried} instructions whose verdict is not the commonest"
    return ""


def _alpha(counts, weight, level):
    import krippendorff

    if (counts.sum(axis=0) > 0).sum() < 2:
        return np.nan
    return krippendorff.alpha(
        value_counts=np.repeat(counts, weight, axis=0),
        value_domain=votes.VERDICTS,
        level_of_measurement=level,
    )


def _coincidences(counts):
    """Return how often each two verdicts meet in a pair, each verdict weighing 1, of shape (n_items, 9)."""
    meet = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(3, dtype=counts.dtype)
    return (meet / (counts.sum(axis=1) - 1)[:, None, None]).reshape(len(counts), 9)


def _resampled_alpha(sums, level):
    """Return alpha of each row of summed coincidences; the package takes one table at a time."""
    met = sums.reshape(-1, 3, 3)
    n = met.sum(axis=2)
    if level == "ordinal":
        below = np.cumsum(n, axis=1) - n / 2  # mid-ranks
        apart = (below[:, :, None] - below[:, None, :]) ** 2
    else:
        place = votes.VERDICTS
        apart = (place[:, None] != place) if level == "nominal" else (place[:, None] - place) ** 2
    observed = (met * apart).sum(axis=(1, 2))
    expected = (n[:, :, None] * n[:, None, :] * apart).sum(axis=(1, 2)) / (n.sum(axis=1) - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def agreement_ceiling(
    humans: pd.DataFrame,
    *,
    scoring: str = "zero_one",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Estimate how well a perfect judge could agree with the majority of m people, given their noise.

    A perfect judge knows how all people, not only those asked, would vote on each pair. Its score lies
    between two numbers that need no model: the majority of the other people predicts m of them
    (``low``, no better than perfect), and the best answer chosen after seeing all the votes (``high``,
    no worse than perfect). In between, ``ceiling`` fits the distribution of the pairs' vote
    probabilities by nonparametric maximum likelihood and integrates.

    Parameters
    ----------
    humans : DataFrame
        Judgements by several people.
    scoring : {"zero_one", "absolute"}
        As for `human_agreement`.
    confidence_level, n_resamples, rng, on
        As for `human_agreement`.

    Returns
    -------
    DataFrame
        ``n_humans`` (m), ``ceiling``, ``low``, ``high``, ``ci_low`` (lower bound of the interval of
        `low`), ``ci_high`` (upper bound of that of `high`), ``n`` (pairs with at least m votes) and
        ``note``. With m = all of them `low` is NaN and `high` is 1 but for ties: nobody is left to compare
        with.

    Notes
    -----
    Few votes per pair do not determine `ceiling`: distributions that fit three votes as well gave 0.927
    to 0.958 for one person on PandaLM, where the grid's own is 0.954. Rely on `low` and `high`.

    References
    ----------
    Laird, N. (1978). Nonparametric maximum likelihood estimation of a mixing distribution. JASA 73(364).

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"instruction_id": list("aaabbb"), "model": "m", "reference": "r",
    ...                        "annotator": list("pqrpqr"), "outcome": [1, 1, 1, 0, 0, 1]})
    >>> agreement_ceiling(people, n_resamples=99)[["n_humans", "low", "high"]].round(3)
       n_humans    low   high
    0         1  0.667  0.833
    1         2  0.667  0.833
    2         3    NaN  1.000
    """
    options.check_options(confidence_level, n_resamples)
    if scoring not in votes.SCORINGS:
        raise ValueError(f"scoring: found {scoring!r}, expected one of {', '.join(votes.SCORINGS)}")
    matched = votes.match(humans, humans, on=on)
    counts, weight = matched.counts, matched.items["n"].to_numpy()
    grid, mixture = _vote_distribution(counts, weight)
    generator, rows = np.random.default_rng(rng), []
    for size in range(1, int(counts.sum(axis=1).max()) + 1):
        best = _best_score(votes.majority(counts, size), scoring)
        pair = np.column_stack([_split_score(counts, size, scoring), best])
        units = votes.clustered(matched.items, pair)
        estimate, _, low, high = intervals.interval(
            units, confidence_level=confidence_level, n_resamples=n_resamples, rng=generator
        )
        rows.append(
            {
                "n_humans": size,
                "ceiling": float(mixture @ _best_score(_panel_majority(grid, size), scoring)),
                "low": estimate[0],
                "high": estimate[1],
                "ci_low": low[0],
                "ci_high": high[1],
                "n": int(weight @ (counts.sum(axis=1) >= size)),
                "note": "low undefined: nobody is left to compare with" if np.isnan(estimate[0]) else "",
            }
        )
    result = pd.DataFrame(rows)
    result.attrs = settings(matched, scoring, "bca", confidence_level, n_resamples, rng)
    return result


def _points(scoring):
    """Return the score of each verdict (row) against each (column)."""
    apart = np.abs(votes.VERDICTS[:, None] - votes.VERDICTS)
    return (apart == 0).astype(float) if scoring == "zero_one" else 1 - apart


def _best_score(target, scoring):
    return (target @ _points(scoring)).max(axis=1)


def _split_score(counts, size, scoring):
    """Score the majority of all other voters against that of `size`, over all ways to split them."""
    total, ways = np.zeros(len(counts)), np.zeros(len(counts))
    for drawn in votes.panels(size):
        times = votes.ways(counts, drawn) * (counts.sum(axis=1) > size)
        others = np.where(times[:, None] > 0, counts - drawn, 1)
        predicted = votes.majority(others) @ _points(scoring)
        total += times * (predicted * votes.majority(drawn[None, :])).sum(axis=1)
        ways += times
    with np.errstate(invalid="ignore"):
        return np.where(ways > 0, total / ways, np.nan)


def _panel_majority(p, size):
    """Return the majority's distribution among `size` independent voters with probabilities `p`."""
    out = np.zeros(p.shape)
    for drawn in votes.panels(size):
        chance = stats.multinomial.pmf(drawn, size, p)
        out += chance[:, None] * votes.majority(drawn[None, :])
    return out


def _vote_distribution(counts, weight, steps=20, iterations=500):
    """Fit a distribution of vote probabilities on a grid of the simplex by the EM algorithm."""
    patterns, code = np.unique(counts, axis=0, return_inverse=True)
    frequency = np.bincount(code.ravel(), weight)
    grid = np.array(list(votes.panels(steps))) / steps
    likelihood = np.prod(grid[None] ** patterns[:, None], axis=2)
    mixture = np.full(len(grid), 1 / len(grid))
    for _ in range(iterations):
        share = likelihood * mixture
        share /= share.sum(axis=1, keepdims=True)
        mixture = frequency @ share / frequency.sum()
    return grid, mixture
