"""How far people agree at all, and how well a perfect judge could agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import coverage_notes, intervals, ratios, resampling
from alpaca_analysis.inference.results import Note, Reason, finish
from alpaca_analysis.people import votes
from alpaca_analysis.people.agreement import said

Level = Literal["nominal", "ordinal", "interval"]
# With fewer the interval of alpha covered 58 to 92 % for 95 % in simulation, with more 93 to 96 %.
FEW_INSTRUCTIONS, FEW_RARER = 30, 8
NOBODY_LEFT = Reason("nobody_left", "low undefined: nobody is left to compare with")


def krippendorff_alpha(
    humans: pd.DataFrame,
    *,
    level: Level = "nominal",
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
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples of instructions, with all their pairs and verdicts.
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
        One row: ``level``, ``alpha``, ``ci_low``, ``ci_high`` (percentile interval), ``n`` (pairs with two
        verdicts or more), ``n_verdicts``, ``reason`` and ``note`` (why an entry is NaN, or the interval
        approximate: fewer than 30 instructions, or fewer than 8 on which most people give another verdict
        than the commonest, or a few instructions that hold most verdicts).

    Raises
    ------
    AnnotationError
        No pair with two verdicts.

    Warns
    -----
    UndefinedWarning
        All verdicts are the same, so that chance agreement is perfect too: alpha is not defined.

    See Also
    --------
    human_agreement : Agreement of people with the majority of the others.

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
    options.one_of("level", level, Level)
    options.check_options(confidence_level, n_resamples)
    matched = votes.match(humans, humans, on=on)
    rated = matched.counts.sum(axis=1) > 1
    if not rated.any():
        raise AnnotationError("a pair with two verdicts, found none", source="humans")
    counts, items = matched.counts[rated], matched.items[rated]
    units = votes.clustered(items, coincidences(counts))
    alpha, low, high = _alpha(counts, items["n"].to_numpy(), level), np.nan, np.nan
    drawn = resampling.draw_weights(units, n_resamples=n_resamples, rng=rng)
    resampled = np.concatenate([resampled_alpha(weights @ units.y, level) for weights in drawn])
    known = ties.tied(resampled[~np.isnan(resampled)])
    note: Note
    if np.isnan(alpha):
        note = Reason("all_alike", "undefined: all verdicts are the same")
    elif len(known) < 0.95 * n_resamples or (known == known[0]).all():
        note = Reason("no_variation", "interval undefined: too few instructions that differ")
    else:
        tail = (1 - confidence_level) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        note = _few(counts, items)
    weight = items["n"].to_numpy()
    row = {
        "level": level,
        "alpha": alpha,
        "ci_low": low,
        "ci_high": high,
        "n": int(weight.sum()),
        "n_verdicts": int(weight @ counts.sum(axis=1)),
    }
    return finish(
        pd.DataFrame([row]),
        estimate="alpha",
        method="Krippendorff's alpha",
        interval="percentile",
        unit=matched.unit,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        notes=[note],
        undefined=["level"],
        settings={"level": level, "on": list(matched.on)},
    )


def _few(counts, items) -> Note:
    """Return a note if too few instructions, in all or on the rarer side, drive the interval of alpha."""
    commonest = (items["n"].to_numpy() @ counts).argmax()
    total = counts.sum(axis=1)
    rarer = votes.clustered(items, 1.0 * (2 * (total - counts[:, commonest]) >= total))
    size, carried = rarer.counts.sum(), rarer.counts @ (rarer.y[:, 0] > 0)
    if size < FEW_INSTRUCTIONS:
        return Reason("few_units", f"interval approximate: {size} instructions")
    if carried < FEW_RARER:
        text = f"interval approximate: driven by {carried} instructions whose verdict is not the commonest"
        return Reason("few_units", text)
    verdicts = votes.clustered(items, 1.0 * total)
    sums = ratios.Units(verdicts.y / 2, verdicts.y, verdicts.multiplicity)  # alpha is no rate near 0 or 1
    return coverage_notes.of_sizes(sums, "percentile")[0]


def _alpha(counts, weight, level):
    import krippendorff

    if (counts.sum(axis=0) > 0).sum() < 2:
        return np.nan
    return krippendorff.alpha(
        value_counts=np.repeat(counts, weight, axis=0),
        value_domain=votes.VERDICTS,
        level_of_measurement=level,
    )


def coincidences(counts):
    """Return how often each two verdicts meet in a pair, each verdict weighing 1, of shape (n_items, 9)."""
    meet = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(3, dtype=counts.dtype)
    return (meet / (counts.sum(axis=1) - 1)[:, None, None]).reshape(len(counts), 9)


def resampled_alpha(sums, level):
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
    scoring: options.Scoring = "zero_one",
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
        1 if both say the same (a draw equals only a draw), or ``1 - abs(difference)`` (a draw is 0.5
        against a verdict), which also takes weighted judgements.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples.
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
        ``n_humans`` (m), ``ceiling``, ``low``, ``high``, ``ci_low`` (lower bound of the interval of
        `low`), ``ci_high`` (upper bound of that of `high`), ``n`` (pairs with at least m votes),
        ``reason`` and ``note``. With m = all of them `low` is NaN and `high` is 1 but for ties: nobody is
        left to compare with.

    See Also
    --------
    human_agreement : How often judges agree with the majority.
    agreement_by_majority : Agreement with the majority of m people.

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
    options.one_of("scoring", scoring, options.Scoring)
    options.check_options(confidence_level, n_resamples)
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
                "note": NOBODY_LEFT if np.isnan(estimate[0]) else "",
            }
        )
    procedure = "bounds of a perfect judge's agreement, with its estimate by maximum likelihood"
    return finish(
        pd.DataFrame(rows),
        **said(matched, scoring, procedure, "bca", confidence_level, n_resamples, rng)
        | {"estimate": "ceiling"},
        fractions=["ceiling", "low", "high"],
    )


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
