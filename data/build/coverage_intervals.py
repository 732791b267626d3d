"""Simulate how often intervals cover the truth: win rates, comparisons, agreement, correlations.

Every statistic here but the correlation is a mean (or a difference of two) of outcomes that take few
values, so a data set is its counts of these values. Counts are drawn from a multinomial distribution, and
the bootstrap distribution of a mean is then known exactly: that of a sum of n independent draws from those
counts, by Fourier transform. The bootstrap intervals are the package's with infinitely many resamples; the
test of this script compares all of them with the package's own on single data sets.

Needs no data. Some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import common
import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit, ndtr, ndtri
from statsmodels.stats.proportion import proportion_confint

from alpaca_analysis.correlations.coefficients import coefficient
from alpaca_analysis.correlations.intervals import crowding, fisher_interval
from alpaca_analysis.inference import coverage_notes as few_units
from alpaca_analysis.people import votes

REPETITIONS, SEED, LEVEL = 2_500, 1, 0.95
SIZES = (20, 80, 300, 805)
WIN_RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.97, 0.99)
DRAWS = (0.0, 0.02, 0.1, 0.3)
JUDGEMENTS, INTRACLASS = 4, 0.3  # of one instruction, where judgements are clustered
PAIRS = ((0.5, 0.45), (0.9, 0.88), (0.955, 0.953), (0.98, 0.97))  # win rates of two models
RHO = 0.5  # of the normal variables behind the outcomes of two models on one instruction
RIGHT = (0.7, 0.8, 0.9, 0.95, 0.98)  # how often people, and a judge, are right
PAIRS_DIFFER = 3.0  # sum of the parameters of a beta distribution of how often people are right on a pair
MODELS = (10, 20, 80, 300)  # in a correlation of win rates
# What win rates make of normal variables
IMAGES = {
    "normal": lambda z: z,
    "win rates 12 to 88 %": lambda z: expit(z),
    "win rates 5 to 95 %": lambda z: expit(1.5 * z),
    "win rates 27 to 99 %": lambda z: expit(1.5 * z + 2),
}
BATCH = 2_500


def outcomes(win_rate, draws):
    """Return the probabilities of loss, draw and win."""
    return np.array([1 - win_rate - draws / 2, draws, win_rate - draws / 2])


def bootstrap_law(counts, steps, size) -> np.ndarray:
    """Return, per data set, the law of the sum of a resample, on the lattice 0, 1, ... (at most `size`)."""
    steps = np.asarray(steps)
    grid = np.exp(-2j * np.pi * np.outer(steps, np.arange(size // 2 + 1)) / size)
    n = counts.sum(axis=1, keepdims=True)
    return np.fft.irfft((counts / n @ grid) ** n, size, axis=1).clip(0)


def bounds(law, observed, acceleration, level=LEVEL):
    """Return lattice bounds of the percentile and BCa intervals, NaN where BCa is undefined."""
    tail = ndtri([(1 - level) / 2, (1 + level) / 2])[:, None]
    total = np.cumsum(law, axis=1)
    rows = np.arange(len(law))
    with np.errstate(divide="ignore", invalid="ignore"):
        z0 = ndtri(total[rows, observed] - law[rows, observed] / 2)
        levels = ndtr(z0 + (z0 + tail) / (1 - acceleration * (z0 + tail)))
    return {
        method: [(total < at[:, None] - 1e-12).sum(axis=1) for at in both]
        for method, both in (("percentile", np.tile(ndtr(tail), len(law))), ("bca", np.nan_to_num(levels)))
    }


def of_means(counts, values) -> dict[str, np.ndarray]:
    """Return mean, error, intervals and rarity of data sets: counts of `values`, multiples of 1/6 or 1/8."""
    distinct, which = np.unique(counts, axis=0, return_inverse=True)
    which = which.ravel()  # a column, in NumPy 2.0
    found = of_distinct(distinct, values)
    return {k: tuple(x[which] for x in v) if isinstance(v, tuple) else v[which] for k, v in found.items()}


def of_distinct(counts, values) -> dict[str, np.ndarray]:
    """Do what `of_means` says, each data set once."""
    values = np.asarray(values, dtype=float)
    scale = next(s for s in (1, 2, 3, 4, 6, 8) if np.allclose(values * s, np.rint(values * s)))
    steps = np.rint((values - values.min()) * scale).astype(int)
    n = counts.sum(axis=1)
    mean = counts @ values / n
    centred = values - mean[:, None]
    squares = (counts * centred**2).sum(axis=1)
    error = np.sqrt(squares / (n - 1) / n)
    cubes = (counts * centred**3).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = cubes / (6 * squares**1.5)
        rarity = squares**3 / cubes**2
    size = int(2 ** np.ceil(np.log2(n.max() * steps.max() + 1)))
    lattice = bounds(bootstrap_law(counts, steps, size), counts @ steps, acceleration)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    out = {"estimate": mean, "error": error, "n": n, "rarity": rarity, "t": (mean - half, mean + half)}
    if values.min() >= 0:  # outcomes, on a scale from 0 to 1; else differences of two
        out["far_end"] = squares / np.maximum(mean, 1 - mean) ** 2
    for method, ends in lattice.items():
        out[method] = tuple(end / scale / n + values.min() for end in ends)
    return out


def as_win_rates(found) -> dict[str, np.ndarray]:
    """Return intervals as `win_rate` makes them: "t" on the logit scale, exact where all are alike."""
    mean, n = found["estimate"], found["n"]
    all_won = ((1 - LEVEL) / 2) ** (1 / n)
    won, lost = mean > 1 - 1e-12, mean < 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * found["error"] / (mean * (1 - mean))
        ends = {**found, "t": (expit(logit(mean) - half), expit(logit(mean) + half))}
    unseen = found["far_end"] < few_units.FAR_END
    for method in ("t", "percentile", "bca"):
        low, high = ends[method]
        low = np.where(unseen, np.minimum(low, all_won), low)
        high = np.where(unseen, np.maximum(high, 1 - all_won), high)
        ends[method] = (
            np.select([won, lost], [all_won, 0.0], low),
            np.select([won, lost], [1.0, 1 - all_won], high),
        )
    return ends | {"alike": won | lost}


def wilson(wins, n):
    """Return Wilson's intervals (statsmodels)."""
    return proportion_confint(wins, n, 1 - LEVEL, "wilson")


def row(low, high, truth, *, defined, noted=None) -> dict:
    """Return what the table says of one method in one scenario."""
    noted = ~defined if noted is None else noted | ~defined
    below, above = defined & (truth < low - 1e-9), defined & (truth > high + 1e-9)
    covered = defined & ~below & ~above
    stated = covered[~noted]
    return {
        "coverage": covered.mean(),
        "monte_carlo_error": np.sqrt(covered.mean() * (1 - covered.mean()) / len(covered)),
        "missed_low": above.mean(),
        "missed_high": below.mean(),
        "undefined": 1 - defined.mean(),
        "noted": noted.mean(),
        "coverage_unless_noted": stated.mean() if len(stated) >= 1000 else np.nan,
        "width": (high - low)[defined].mean() if defined.any() else np.nan,
        "repetitions": len(covered),
    }


def noted_as_few(found, method):
    """Tell of which data sets the package notes that their interval rests on few units."""
    if "far_end" not in found:
        few = found["rarity"] < few_units.FEW_IN_DIFFERENCE
    else:
        few = found["rarity"] < few_units.FEW[method]
        few |= (method == "bca") & (found["far_end"] < few_units.FAR_END)
    if "alike" in found:  # intervals of win rates, exact or widened where nothing contrary was seen
        few = few & ~found["alike"] & (method != "bca")
    return few | (found["n"] < few_units.FEWEST_UNITS)


def summary(found, truth, **scenario) -> Iterator[dict]:
    """Yield one row a method."""
    defined = (found["error"] > 1e-12) | found.get("alike", False)
    for method in ("t", "percentile", "bca", "wilson"):
        if method in found:
            whole = defined if method != "wilson" else np.ones_like(defined)
            noted = noted_as_few(found, method) if method != "wilson" else None
            ends = found[method]
            yield {
                **scenario,
                "method": method,
                "truth": truth,
                **row(*ends, truth, defined=whole, noted=noted),
            }


def joined(parts) -> dict:
    """Stack the batches of one scenario."""
    parts = list(parts)
    stack = {k: np.concatenate([p[k] for p in parts]) for k in parts[0] if not isinstance(parts[0][k], tuple)}
    pairs = {
        k: tuple(np.concatenate([p[k][side] for p in parts]) for side in (0, 1))
        for k in parts[0]
        if isinstance(parts[0][k], tuple)
    }
    return stack | pairs


def batches(repetitions=REPETITIONS):
    """Yield the size of each batch."""
    yield from (min(BATCH, repetitions - start) for start in range(0, repetitions, BATCH))


def win_rates(rng) -> Iterator[dict]:
    """Yield the rows of win rates of independent judgements."""
    for n in SIZES:
        for p in WIN_RATES:
            for d in DRAWS:
                if d > 2 * min(p, 1 - p) + 1e-9:
                    continue
                parts = []
                for size in batches():
                    counts = rng.multinomial(n, outcomes(p, d).clip(0), size=size)
                    part = as_win_rates(of_means(counts, [0, 0.5, 1]))
                    if d == 0:
                        part["wilson"] = wilson(counts[:, 2], n)
                    parts.append(part)
                yield from summary(
                    joined(parts), p, statistic="win_rate", design="independent", n=n, win_rate=p, draws=d
                )


def clustered(rng) -> Iterator[dict]:
    """Yield the rows of win rates with several judgements of each instruction."""
    for n in SIZES:
        for p in WIN_RATES:
            spread = (1 - INTRACLASS) / INTRACLASS
            law = stats.betabinom.pmf(np.arange(JUDGEMENTS + 1), JUDGEMENTS, p * spread, (1 - p) * spread)
            parts = []
            for size in batches():
                counts = rng.multinomial(n, law / law.sum(), size=size)
                part = as_win_rates(of_means(counts, np.arange(JUDGEMENTS + 1) / JUDGEMENTS))
                parts.append(part)
            yield from summary(
                joined(parts), p, statistic="win_rate", design="clustered", n=n, win_rate=p, draws=0.0
            )


def joint(p, q, draws) -> np.ndarray:
    """Return the 3 x 3 probabilities of two models' outcomes (loss, draw, win) on one instruction."""
    edges = [ndtri(np.r_[0, np.cumsum(outcomes(w, draws))].clip(0, 1)).clip(-9, 9) for w in (p, q)]
    law = stats.multivariate_normal(cov=[[1, RHO], [RHO, 1]])
    below = np.array([[law.cdf([a, b]) for b in edges[1]] for a in edges[0]])
    return np.diff(np.diff(below, axis=0), axis=1).clip(0)


def compared(rng) -> Iterator[dict]:
    """Yield the rows of differences of two win rates, paired and independent."""
    for n in SIZES:
        for p, q in PAIRS:
            for d in (0.0, 0.02, 0.1):
                if d > 2 * min(1 - p, 1 - q) + 1e-9:
                    continue
                cells = joint(p, q, d)
                law = np.array([np.trace(cells, k) for k in range(-2, 3)])  # difference of b's less a's
                about = {"statistic": "compare", "n": n, "win_rate": p, "draws": d}
                parts = []
                for size in batches():
                    part = of_means(rng.multinomial(n, law / law.sum(), size=size), [1, 0.5, 0, -0.5, -1])
                    parts.append(part)
                yield from summary(joined(parts), p - q, design="paired", **about)
                parts = [
                    independent(*(rng.multinomial(n, outcomes(w, d).clip(0), size=size) for w in (p, q)))
                    for size in batches()
                ]
                yield from summary(joined(parts), p - q, design="independent", **about)


def independent(one, two) -> dict[str, np.ndarray]:
    """Return difference, error and intervals of two models judged on different instructions, n each."""
    n = one[0].sum()
    means, squares, cubes = [], [], []
    for counts in (one, two):
        mean = counts @ [0, 0.5, 1] / n
        centred = np.array([0, 0.5, 1]) - mean[:, None]
        means.append(mean)
        squares.append((counts * centred**2).sum(axis=1))
        cubes.append((counts * centred**3).sum(axis=1))
    variances = [s / (n - 1) / n for s in squares]
    error = np.sqrt(sum(variances))
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (n - 1) * sum(variances) ** 2 / sum(v**2 for v in variances)
        acceleration = (cubes[0] - cubes[1]) / (6 * sum(squares) ** 1.5)
        rarity = sum(squares) ** 3 / (cubes[0] - cubes[1]) ** 2
    half = stats.t.ppf((1 + LEVEL) / 2, df) * error
    size = int(2 ** np.ceil(np.log2(4 * n + 1)))
    steps = np.arange(3)
    grids = [np.exp(-2j * np.pi * np.outer(s, np.arange(size // 2 + 1)) / size) for s in (steps, 2 - steps)]
    law = np.fft.irfft(((one / n) @ grids[0]) ** n * ((two / n) @ grids[1]) ** n, size, axis=1).clip(0)
    lattice = bounds(law, one @ steps + two @ (2 - steps), acceleration)
    difference = means[0] - means[1]
    out = {"estimate": difference, "error": error, "n": one.sum(axis=1), "rarity": rarity}
    out["t"] = difference - half, difference + half
    return out | {m: tuple(end / 2 / n - 1 for end in ends) for m, ends in lattice.items()}


def agreement(rng) -> Iterator[dict]:
    """Yield the rows of agreement with people, of a judge that is right as often as they are and of them."""
    for people, pairs in ((4, "alike"), (3, "alike"), (4, "differ")):
        patterns = np.array([[people - k, 0, k] for k in range(people + 1)])
        target = votes.majority(patterns)
        scores = [votes.score(np.full(people + 1, verdict), target, "zero_one") for verdict in (1.0, 0.0)]
        each = votes.voter_scores(patterns, "zero_one")
        for n in SIZES:
            for right in RIGHT:
                if pairs == "alike":
                    law = stats.binom.pmf(np.arange(people + 1), people, right)
                else:
                    shape = PAIRS_DIFFER * np.array([right, 1 - right])
                    law = stats.betabinom.pmf(np.arange(people + 1), people, *shape)
                kinds = {
                    "judge": (np.r_[law * right, law * (1 - right)], np.concatenate(scores)),
                    "humans": (law, each),
                }
                for who, (chance, values) in kinds.items():
                    levels, code = np.unique(values, return_inverse=True)
                    chance = np.bincount(code, chance)
                    parts = [
                        of_means(rng.multinomial(n, chance / chance.sum(), size=s), levels) for s in batches()
                    ]
                    yield from summary(
                        joined(parts),
                        float(chance @ levels),
                        statistic="human_agreement",
                        design=f"{who}, {people} people" + (", pairs differ" if pairs == "differ" else ""),
                        n=n,
                        win_rate=right,
                        draws=0.0,
                    )


def longer(rng) -> Iterator[dict]:
    """Yield the rows of the preference for the longer output, where 0.69 of the pairs count."""
    for n in SIZES:
        for p in (0.5, 0.68, 0.9):
            parts = []
            for size in batches():
                used = rng.binomial(n, 0.69, size=size)
                won = rng.binomial(used, p)
                part = as_win_rates(of_means(np.column_stack([used - won, won]), [0, 1]))
                part["wilson"] = wilson(won, used)
                parts.append(part)
            yield from summary(
                joined(parts), p, statistic="prefer_longer", design="independent", n=n, win_rate=p, draws=0.0
            )


def true_correlation(rho, method, image):
    """Return the population's coefficient of an image of normal variables correlated by `rho`."""
    if method == "spearman":
        return 6 / np.pi * np.arcsin(rho / 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    a, b = np.meshgrid(nodes, nodes)
    x, y = image(a), image(rho * a + np.sqrt(1 - rho**2) * b)
    w = np.outer(weights, weights)
    mean = (x * w).sum()
    return ((x - mean) * (y - mean) * w).sum() / ((x - mean) ** 2 * w).sum()


def correlations(rng) -> Iterator[dict]:
    """Yield the rows of Fisher's interval, for normal variables and for win rates (their logistic images)."""
    for n in MODELS:
        for rho in (0.0, 0.5, 0.8, 0.94):
            z = rng.standard_normal((2, REPETITIONS, n))
            x, y = z[0], rho * z[0] + np.sqrt(1 - rho**2) * z[1]
            for design, image in IMAGES.items():
                for method in ("pearson", "spearman"):
                    a, b = image(x), image(y)
                    found = coefficient(a, b, method)
                    ends = np.array([fisher_interval(r, n, method, LEVEL) for r in found]).T
                    truth = true_correlation(rho, method, image)
                    noted = np.array([bool(crowding(*both, method)) for both in zip(a, b, strict=True)])
                    yield {
                        "statistic": "win_rate_correlation",
                        "design": design,
                        "n": n,
                        "method": f"fisher, {method}",
                        "truth": truth,
                        **row(*ends, truth, defined=np.isfinite(ends[0]), noted=noted),
                    }


def build() -> dict[str, pd.DataFrame]:
    records = []
    for seed, scenario in enumerate((win_rates, clustered, compared, agreement, longer, correlations)):
        records += list(scenario(np.random.default_rng([SEED, seed])))
    first = ["statistic", "design", "method", "n", "win_rate", "draws", "truth"]
    frame = pd.DataFrame(records)
    return {"coverage_intervals": frame[[*first, *frame.columns.drop(first)]].round(5)}


if __name__ == "__main__":
    common.write(build())
