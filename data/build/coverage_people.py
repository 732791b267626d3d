"""Simulate intervals for what people would say: unequal instructions, calibration, correction, comparisons.

Instructions hold as many pairs as a lognormal variable says (median 4), and pairs of one share how often the
model wins (intraclass correlation 0.3). The judge is right with a fixed sensitivity where people prefer the
model, and a fixed specificity where they prefer the reference. Data sets are sums by instruction, so that the
package's own functions make every estimate, interval and note; only the bootstrap of `rogan_gladen_win_rate`
is drawn here, from counts of the six kinds of pairs, which is the same law. The test of this script compares
it with the package on single tables.

Needs no data. Some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import common
import numpy as np
import pandas as pd
from coverage_intervals import LEVEL, row
from scipy.special import ndtr, ndtri

from alpaca_analysis.decisions import calibrated as models
from alpaca_analysis.inference import clustered, coverage_notes, intervals, ratios
from alpaca_analysis.inference.results import joined
from alpaca_analysis.people import calibration, corrected
from alpaca_analysis.people.pilots import Pilot
from alpaca_analysis.win_rates.ranks import joint_rank_sets

REPETITIONS, SEED = 2_000, 3
MEDIAN, INTRACLASS = 4, 0.3
SIGMAS = (0.0, 0.5, 1.0, 1.5)
RATES = (0.5, 0.8, 0.95)
LABELLED = ((150, 50), (400, 100))  # instructions judged, and of these labelled
JUDGES = ((0.95, 0.95), (0.975, 0.75), (0.8, 0.8), (0.8, 0.6), (0.65, 0.6))  # sensitivity, specificity
RESAMPLES = 999
CONTRAST = np.array([[1.0], [-1.0]])


def sizes(rng, n, sigma):
    """Return the number of pairs of each instruction; 1 each where sigma is None."""
    if sigma is None:
        return np.ones(n, dtype=int)
    return np.maximum(1, np.rint(rng.lognormal(np.log(MEDIAN), sigma, n))).astype(int)


def wins(rng, pairs, rate):
    """Return how many pairs of each instruction people call won."""
    spread = (1 - INTRACLASS) / INTRACLASS
    return rng.binomial(pairs, rng.beta(rate * spread, (1 - rate) * spread, len(pairs)))


def judged(rng, pairs, won, sensitivity, specificity):
    """Return how many pairs of each instruction the judge calls won."""
    return rng.binomial(won, sensitivity) + rng.binomial(pairs - won, 1 - specificity)


def pilot(pairs, won, said, labelled, ids=None, counts=None) -> Pilot:
    """Return sums by instruction as `pilots` makes them of tables."""
    y = np.column_stack([np.where(labelled, v, 0) for v in (won, said)] + [np.where(labelled, 0, said)])
    m = np.column_stack([np.where(labelled, pairs, 0)] * 2 + [np.where(labelled, 0, pairs)])
    units = ratios.Units(y.astype(float), m.astype(float), counts)
    times = np.ones(len(pairs), dtype=int) if counts is None else counts
    total = int(times @ pairs)
    inside = int(times @ np.where(labelled, pairs, 0))
    return Pilot(units, ids, float(times @ said / total), inside, total, 0, False)


def of_rows(found, truth, estimate, **scenario) -> dict:
    """Return what the table says of many results, each with an estimate, an interval and a note."""
    low, high, value = (np.array([r[c] for r in found], dtype=float) for c in ("ci_low", "ci_high", estimate))
    defined = ~np.isnan(low)
    noted = np.array([bool(joined(r["note"])[1]) for r in found])
    return {
        **scenario,
        "truth": truth,
        **row(low, high, truth, defined=defined, noted=noted),
        "bias": np.nanmean(value) - truth,
    }


def calibrated(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of calibrated win rates with instructions of unequal size."""
    for n, some in LABELLED:
        for sigma in SIGMAS:
            for rate in RATES:
                found = []
                for _ in range(repetitions):
                    pairs = sizes(rng, n, sigma)
                    won = wins(rng, pairs, rate)
                    said = judged(rng, pairs, won, 0.8, 0.8)
                    one = pilot(pairs, won, said, np.arange(n) < some)
                    found.append(calibration.calibrated(one, None, LEVEL))
                about = {"n": n, "n_labelled": some, "sigma": sigma, "sensitivity": 0.8, "specificity": 0.8}
                yield of_rows(
                    found,
                    rate,
                    "win_rate",
                    statistic="calibrated_win_rate",
                    design="unequal",
                    method="t",
                    **about,
                )


def agreement(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of agreement by "t", and of the difference of two judges who share their luck."""
    for n in (100, 300):
        for sigma in SIGMAS:
            for rate in RATES:
                single, double = [], []
                for _ in range(repetitions):
                    pairs = sizes(rng, n, sigma)
                    luck = rng.normal(0, 1, n)
                    right = [
                        rng.binomial(pairs, ndtr(ndtri(r) * np.sqrt(2) + luck)) for r in (rate, rate - 0.05)
                    ]
                    y, m = np.column_stack(right).astype(float), np.column_stack([pairs] * 2).astype(float)
                    single.append(_agreement(ratios.Units(y[:, :1], m[:, :1])))
                    double.append(_difference(ratios.Units(y, m)))
                about = {"design": "unequal", "method": "t", "n": n, "sigma": sigma}
                yield of_rows(single, rate, "agreement", statistic="human_agreement", **about)
                yield of_rows(
                    double, 0.05, "difference", statistic="compare_agreement", win_rate=rate, **about
                )


def _agreement(units):
    (low,), (high,) = clustered.t_interval(units, confidence_level=LEVEL)
    varies = ratios.standard_error(units)[0] > 0
    (note,) = coverage_notes.of_means(units, "t")
    return {
        "agreement": units.estimate[0],
        "ci_low": low if varies else np.nan,
        "ci_high": high if varies else np.nan,
        "note": note,
    }


def _difference(units):
    (difference,), _, (low,), (high,) = intervals.interval(
        units, contrast=CONTRAST, method="t", confidence_level=LEVEL
    )
    note = coverage_notes.of_difference(units)
    return {"difference": difference, "ci_low": low, "ci_high": high, "note": note}


def kinds(rng, n, some, rate, sensitivity, specificity):
    """Return counts of the six kinds of pairs of a data set: labelled won, lost by judge; elsewhere by judge.

    Rows are (people, judge): (1, 1), (1, 0), (0, 1), (0, 0), then the judge's 1 and 0 without labels.
    """
    law = np.array([sensitivity, 1 - sensitivity, 1 - specificity, specificity])
    law = law * np.repeat([rate, 1 - rate], 2)
    inside = rng.multinomial(some, law)
    return np.concatenate([inside, rng.multinomial(n - some, [law[0] + law[2], law[1] + law[3]])])


KINDS = {
    "won": np.array([1, 1, 0, 0, 0, 0]),
    "said": np.array([1, 0, 1, 0, 1, 0]),
    "labelled": np.array([1, 1, 1, 1, 0, 0], dtype=bool),
}


def corrected_by_counts(counts, rng):
    """Return what `rogan_gladen_win_rate` says of single pairs with these counts, and its notes."""
    labelled, won, said = KINDS["labelled"], KINDS["won"], KINDS["said"]

    def means(c):
        lost = labelled & (won == 0)
        chosen = (np.ones(6, dtype=bool), lost, labelled & (won == 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([(c[..., k] @ said[k]) / c[..., k].sum(axis=-1) for k in chosen], axis=-1)

    theta, tells = corrected.solved(means(counts), False)
    if not tells > 0:
        return {"win_rate": np.nan, "ci_low": np.nan, "ci_high": np.nan, "note": corrected.CHANCE}
    drawn, told = corrected.solved(
        means(rng.multinomial(counts.sum(), counts / counts.sum(), RESAMPLES)), False
    )
    low, high, weak = corrected.percentile(drawn, told, LEVEL)
    labels = np.array([counts[2] + counts[3], 0, counts[0] + counts[1]])
    note = corrected.WEAK if weak else corrected.few(labels, False)
    return {"win_rate": np.clip(theta, 0, 1), "ci_low": low, "ci_high": high, "note": note}


def side_by_side(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of calibration, correction and people alone on the same single pairs, labels random."""
    n = 500
    for some in (60, 150):
        for sensitivity, specificity in JUDGES:
            for rate in RATES:
                found = {"calibrated_win_rate": [], "rogan_gladen_win_rate": [], "people alone": []}
                for _ in range(repetitions):
                    counts = kinds(rng, n, some, rate, sensitivity, specificity)
                    seen = counts > 0
                    one = pilot(
                        np.ones(seen.sum(), dtype=int),
                        *(KINDS[k][seen] for k in ("won", "said", "labelled")),
                        counts=counts[seen],
                    )
                    found["calibrated_win_rate"].append(calibration.calibrated(one, None, LEVEL))
                    found["people alone"].append(calibration.calibrated(one, 0.0, LEVEL))
                    found["rogan_gladen_win_rate"].append(corrected_by_counts(counts, rng))
                about = {"design": "side by side", "n": n, "n_labelled": some}
                about |= {"sensitivity": sensitivity, "specificity": specificity}
                methods = {"rogan_gladen_win_rate": "percentile"}
                for name, results in found.items():
                    method = methods.get(name, "t")
                    yield of_rows(results, rate, "win_rate", statistic=name, method=method, **about)


def from_counts(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of `rogan_gladen`: the judge checked on other pairs, where it may err differently."""
    for m1, m0 in ((80, 40), (20, 20)):
        for sensitivity, specificity in JUDGES:
            for rate in RATES:
                for design in ("checked elsewhere", "errs differently"):
                    if design == "errs differently" and (m1 == 20 or sensitivity < 0.8):
                        continue
                    there = sensitivity - (0.1 if design == "errs differently" else 0)
                    p = rate * sensitivity + (1 - rate) * (1 - specificity)
                    draws = (
                        rng.binomial(k, q, repetitions) for k, q in ((400, p), (m1, there), (m0, specificity))
                    )
                    found = [_from_counts(*map(int, each), m1, m0) for each in zip(*draws, strict=True)]
                    about = {"n": 400, "n_labelled": m1 + m0, "sensitivity": sensitivity}
                    about |= {"specificity": specificity, "method": "fieller", "design": design}
                    yield of_rows(found, rate, "win_rate", statistic="rogan_gladen", **about)


def _from_counts(k, k1, k0, m1, m0):
    if k1 / m1 + k0 / m0 <= 1 + 1e-12:  # refused
        return {"win_rate": np.nan, "ci_low": np.nan, "ci_high": np.nan, "note": corrected.CHANCE}
    found = corrected.from_shares(k, 400, k1, m1, k0, m0, LEVEL)
    return {**found, "note": found.pop("notes")}


def weighted(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of labels drawn with unequal probabilities: as many hard pairs as easy ones."""
    n = 600
    for some in (60, 150):
        for easy, hard in ((0.9, 0.4), (0.6, 0.3)):
            for design in ("weighted draw", "weighted draw, taken as simple"):
                found, truth = [], 0.85 * easy + 0.15 * hard
                for _ in range(repetitions):
                    stratum = (rng.random(n) < 0.15).astype(int)
                    won = (rng.random(n) < np.where(stratum, hard, easy)).astype(int)
                    said = np.where(rng.random(n) < np.where(stratum, 0.7, 0.85), won, 1 - won)
                    chance = (some / 2 / np.bincount(stratum))[stratum]
                    place = rng.random(n)
                    rank = pd.Series(place).groupby(stratum).rank().to_numpy()
                    labelled = rank <= some / 2
                    one = pilot(np.ones(n, dtype=int), won, said, labelled)
                    if design == "weighted draw":
                        one = by_probability(one, won, said, labelled, chance)
                    found.append(calibration.calibrated(one, None, LEVEL))
                about = {"design": design, "method": "t", "n": n, "n_labelled": some}
                yield of_rows(found, truth, "win_rate", statistic="calibrated_win_rate", **about)


def by_probability(one, won, said, labelled, chance) -> Pilot:
    """Return the pilot with labels weighted by 1 / `chance`, as `pilots` makes it of tables."""
    weight = np.where(labelled, 1 / chance, 0.0)
    y = np.column_stack([weight * won, weight * said, said])
    m = np.column_stack([weight, weight, np.ones(len(won))])
    return Pilot(ratios.Units(y, m), None, one.judge, one.n_labelled, one.n_judged, 0, True)


def several(rng, n, some, rates, sigma, favour=0.0):
    """Return pilots of several models on shared instructions; the judge favours the last one."""
    pairs, luck, found = sizes(rng, n, sigma), rng.normal(0, 1, n), []
    ids = np.array([f"i{k:04}" for k in range(n)], dtype=object)
    for k, rate in enumerate(rates):
        won = rng.binomial(pairs, ndtr(ndtri(rate) * np.sqrt(2) + luck))
        said = judged(rng, pairs, won, 0.85, 0.8)
        if k == len(rates) - 1:
            said = said + rng.binomial(pairs - said, favour)
        found.append(pilot(pairs, won, said, np.arange(n) < some, ids))
    return models.together([f"m{k}" for k in range(len(rates))], found)


def compared(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of calibrated differences; the judge favours the second model."""
    for n, some in LABELLED:
        for sigma in (None, 0.5, 1.0, 1.5):
            for rates in ((0.5, 0.5), (0.8, 0.7), (0.95, 0.9)):
                found = []
                for _ in range(repetitions):
                    joint = several(rng, n, some, rates, sigma, favour=0.3)
                    line, note = models.compared(joint, 0, 1, None, None, LEVEL)
                    found.append(line | {"note": note})
                about = {"design": "one pair" if sigma is None else "unequal", "method": "t", "n": n}
                about |= {"n_labelled": some, "win_rate": rates[0], "sigma": sigma}
                truth = rates[0] - rates[1]
                yield of_rows(found, truth, "difference", statistic="compare_calibrated", **about)


def ranked(rng, repetitions) -> Iterator[dict]:
    """Yield the rows of rank sets of five equal models, of which the judge favours one: no order claimed."""
    n = 400
    for some, sigma, rate in (
        (60, None, 0.5),
        (60, None, 0.8),
        (200, None, 0.8),
        (60, None, 0.95),
        (60, 1.0, 0.5),
    ):
        claimed = np.empty(repetitions, dtype=bool)
        for k in range(repetitions):
            joint = several(rng, n, some, [rate] * 5, sigma, favour=0.3)
            law = models.joint_estimates(joint, n_resamples=RESAMPLES, rng=rng)
            claimed[k] = joint_rank_sets(law, confidence_level=LEVEL)[0].attrs["n_pairs_ordered"] > 0
        end = np.where(claimed, 1.0, 0.0)  # an interval that misses 0 where some order is claimed
        yield {
            "statistic": "calibrated_rank_sets",
            "design": "five equal models",
            "method": "max-t",
            "n": n,
            "n_labelled": some,
            "win_rate": rate,
            "sigma": sigma,
            "truth": 0.0,
            **row(end, end + 1, 0.0, defined=np.ones(repetitions, dtype=bool)),
            "noted": np.nan,
            "coverage_unless_noted": np.nan,
            "width": np.nan,
        }


SCENARIOS = (calibrated, agreement, side_by_side, from_counts, weighted, compared, ranked)
FIRST = [
    "statistic",
    "design",
    "method",
    "n",
    "n_labelled",
    "sigma",
    "sensitivity",
    "specificity",
    "win_rate",
]


def build(repetitions: int = REPETITIONS, scenarios=SCENARIOS) -> dict[str, pd.DataFrame]:
    records = []
    for scenario in scenarios:
        seed = [SEED, SCENARIOS.index(scenario)]
        records += list(scenario(np.random.default_rng(seed), repetitions))
    frame = pd.DataFrame(records)
    frame["win_rate"] = frame["win_rate"].fillna(frame["truth"]) if "win_rate" in frame else frame["truth"]
    columns = [*FIRST, "truth", *frame.columns.drop([*FIRST, "truth"], errors="ignore")]
    return {"coverage_people": frame.reindex(columns=columns).round(5)}


if __name__ == "__main__":
    common.write(build())
