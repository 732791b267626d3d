"""Simulate intervals and tests on less than ideal data: what `coverage_intervals` leaves out.

Instructions of unequal size, weighted outcomes with heavy tails, judgements missing not at random, few
instructions for rank sets, people who agree too little to be an instrument, a judge at the very edge of the
alternative annotator test, and alpha over unequal clusters. All of it through the package's own functions.

Needs no data. Half an hour in two processes; fewer data sets with an argument (``coverage_designs.py 200``).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import common
import numpy as np
import pandas as pd
from coverage_intervals import row
from scipy import integrate, optimize, stats
from scipy.special import expit

import alpaca_analysis as aa
from alpaca_analysis.inference import coverage_notes, intervals
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.length import beyond_people
from alpaca_analysis.people import alternative_annotator
from alpaca_analysis.people.agreement import matched_votes

REPETITIONS, SEED = 2_000, 2
WIN_RATES = (0.5, 0.8, 0.95)
SIGMAS = (0.5, 1.0, 1.5)  # of the logarithm of an instruction's number of judgements
MEDIAN_SIZE, INTRACLASS = 4, 0.3
MISSING = 0.05  # of all judgements; a loss is three times as likely to be missing as a win
TAIL, STRETCH = 2, 3.0  # degrees of freedom and scale of the logits of weighted outcomes
MODELS = 6  # in rank sets
PEOPLE = 3
EPSILON = 0.1  # of the alternative annotator test


def sizes(rng, n, sigma, repetitions):
    """Return how many judgements each instruction of each data set has."""
    return np.ceil(MEDIAN_SIZE * rng.lognormal(0, sigma, (n, repetitions))).astype(int)


def clustered_wins(rng, m, p):
    """Return wins of m judgements an instruction, of mean p and the stated intraclass correlation."""
    spread = (1 - INTRACLASS) / INTRACLASS
    return rng.binomial(m, rng.beta(p * spread, (1 - p) * spread, m.shape))


def counted(won, lost) -> pd.DataFrame:
    """Return a table of wins and losses by instruction; every column, a data set, is a model."""
    n, repetitions = won.shape
    ids, sets = np.repeat(np.arange(n), repetitions), np.tile(np.arange(repetitions), n)
    parts = [
        pd.DataFrame({"instruction_id": ids.astype(str), "model": sets.astype(str), "outcome": outcome})
        .assign(n=counts.ravel(), repeat=int(outcome) + 1, reference="r", annotator="j")
        .query("n > 0")
        for outcome, counts in ((1.0, won), (0.0, lost))
    ]
    return pd.concat(parts, ignore_index=True)


def rates(table, truth, **scenario) -> Iterator[dict]:
    """Yield how the intervals of win rates cover, one data set per model."""
    for method in ("t", "bca"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", aa.UndefinedWarning)
            found = aa.win_rate(table, method=method, n_resamples=1999)
        yield {
            **scenario,
            "statistic": "win_rate",
            "method": method,
            "truth": truth,
            **judged(found, truth),
        }


def judged(found, truth) -> dict:
    """Return coverage, notes and width of intervals, one row per data set."""
    low, high = found["ci_low"].to_numpy(), found["ci_high"].to_numpy()
    noted = found["note"].str.contains("approximate|unreliable|exact|rough").to_numpy()
    return row(low, high, truth, defined=~np.isnan(low), noted=noted)


def unequal(n, p, sigma, *, rng, repetitions) -> Iterator[dict]:
    """Yield win rates over instructions of unequal size."""
    m = sizes(rng, n, sigma, repetitions)
    won = clustered_wins(rng, m, p)
    yield from rates(counted(won, m - won), p, design=f"sizes lognormal, {sigma}", n=n, win_rate=p)


def several(n, p, *, rng, repetitions) -> Iterator[dict]:
    """Yield win rates over instructions with one judgement or some more."""
    m = 1 + rng.poisson(MEDIAN_SIZE - 1, (n, repetitions))
    won = clustered_wins(rng, m, p)
    yield from rates(counted(won, m - won), p, design="sizes 1 + Poisson(3)", n=n, win_rate=p)


def centre(p):
    """Return the shift of the logits that makes the mean outcome p."""

    def mean(shift):
        return integrate.quad(lambda t: stats.t.pdf(t, TAIL) * expit(shift + STRETCH * t), -np.inf, np.inf)[0]

    return optimize.brentq(lambda shift: mean(shift) - p, -60, 60)


def weighted(n, p, *, rng, repetitions) -> Iterator[dict]:
    """Yield win rates of outcomes between 0 and 1 whose logits have heavy tails."""
    outcomes = expit(centre(p) + STRETCH * rng.standard_t(TAIL, (n, repetitions)))
    table = pd.DataFrame(
        {
            "instruction_id": np.repeat(np.arange(n), repetitions).astype(str),
            "model": np.tile(np.arange(repetitions), n).astype(str),
            "outcome": outcomes.ravel(),
        }
    )
    yield from rates(table, p, design="weighted, heavy tails", n=n, win_rate=p)


def missing(n, p, *, rng, repetitions) -> Iterator[dict]:
    """Yield win rates and their bounds where losses are missing more often; the truth counts everything."""
    won = rng.random((n, repetitions)) < p
    chance = np.where(won, 1.0, 3.0) * MISSING / (p + 3 * (1 - p))
    outcome = np.where(rng.random(won.shape) < chance, np.nan, won.astype(float))
    table = pd.DataFrame(
        {
            "instruction_id": np.repeat(np.arange(n), repetitions).astype(str),
            "model": np.tile(np.arange(repetitions), n).astype(str),
            "outcome": outcome.ravel(),
        }
    )
    scenario = {"design": "missing not at random", "n": n, "win_rate": p}
    yield from rates(table, p, **scenario)
    found = aa.win_rate_bounds(table)
    yield {
        **scenario,
        "statistic": "win_rate_bounds",
        "method": "imbens-manski",
        "truth": p,
        **judged(found, p),
    }


def lost(n, p, *, rng, repetitions) -> Iterator[dict]:
    """Yield bounds where two losses of five are missing and no win: the truth is the lower bound itself."""
    outcome = np.where(rng.random((n, repetitions)) < p, 1.0, 0.0)
    outcome[(outcome == 0) & (rng.random(outcome.shape) < 0.4)] = np.nan
    table = pd.DataFrame(
        {
            "instruction_id": np.repeat(np.arange(n), repetitions).astype(str),
            "model": np.tile(np.arange(repetitions), n).astype(str),
            "outcome": outcome.ravel(),
        }
    )
    yield {
        "statistic": "win_rate_bounds",
        "design": "losses missing",
        "method": "imbens-manski",
        "n": n,
        "win_rate": p,
        "truth": p,
        **judged(aa.win_rate_bounds(table), p),
    }


def compared(n, p, sigma, *, rng, repetitions) -> Iterator[dict]:
    """Yield differences of two models of equal win rates over the same instructions of unequal size."""
    m = sizes(rng, n, sigma, repetitions)
    spread = (1 - INTRACLASS) / INTRACLASS
    level = rng.beta(p * spread, (1 - p) * spread, m.shape)  # shared by the two, as difficulty is
    won = [rng.binomial(m, level) for _ in range(2)]
    found = [difference(*(each[:, k] for each in won), m[:, k]) for k in range(repetitions)]
    yield {
        "statistic": "compare",
        "design": f"sizes lognormal, {sigma}",
        "method": "t",
        "n": n,
        "win_rate": p,
        "truth": 0.0,
        **judged(pd.DataFrame(found), 0.0),
    }


def difference(one, two, m) -> dict:
    """Return what `compare` says of two models' wins of m judgements an instruction; a test compares them."""
    units = Units(np.column_stack([one, two]).astype(float), np.column_stack([m, m]).astype(float))
    _, _, (low,), (high,) = intervals.interval(units, contrast=np.array([[1.0], [-1.0]]), method="t")
    note = coverage_notes.of_difference(units)
    return {"ci_low": low, "ci_high": high, "note": note.text if note else ""}


def quiet(function, *args, **options):
    """Call without warnings of undefined results: they are counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aa.UndefinedWarning)
        return function(*args, **options)


def ranked(n, p, apart, *, rng, repetitions) -> Iterator[dict]:
    """Yield how often the simultaneous rank sets of six models all hold their true ranks.

    The true ranks of models that tie are all those they share.
    """
    truth = p + apart * np.repeat([0.5, -0.5], MODELS // 2)
    lowest = 1 + (truth[:, None] < truth).sum(axis=1)
    highest = MODELS - (truth[:, None] > truth).sum(axis=1)
    held, noted, width = [], [], []
    names = [f"m{k}" for k in range(MODELS)]
    for seed in range(repetitions):
        z = np.sqrt(0.3) * rng.standard_normal((n, 1)) + np.sqrt(0.7) * rng.standard_normal((n, MODELS))
        outcomes = (z < stats.norm.ppf(truth)).astype(float)
        table = pd.DataFrame(outcomes, columns=names).rename_axis("instruction_id").reset_index()
        table = table.melt("instruction_id", var_name="model", value_name="outcome")
        sets = quiet(aa.rank_sets, table, n_resamples=999, rng=seed).set_index("model").loc[names]
        low, high = sets["simultaneous_low"].to_numpy(), sets["simultaneous_high"].to_numpy()
        held.append(((low <= lowest) & (high >= highest)).all())
        noted.append((sets["note"] != "").any() if "note" in sets else False)
        width.append((high - low + 1).mean())
    held = np.array(held)
    yield {
        "statistic": "rank_sets",
        "design": "six equal models"
        if not apart
        else f"three models {100 * apart:.0f} points ahead of three",
        "method": "max-t",
        "n": n,
        "win_rate": p,
        **shares(held, np.array(noted)),
        "width": np.mean(width),
    }


def shares(held, noted) -> dict:
    """Return the columns of the table for what either holds or does not."""
    stated = held[~noted]
    return {
        "coverage": held.mean(),
        "monte_carlo_error": np.sqrt(held.mean() * (1 - held.mean()) / len(held)),
        "noted": noted.mean(),
        "coverage_unless_noted": stated.mean() if len(stated) >= len(held) / 2 else np.nan,
        "repetitions": len(held),
    }


def beyond(n, spread, *, rng, repetitions) -> Iterator[dict]:
    """Yield the bias beyond people's of a judge without any, where people agree much or little.

    What people think of a pair varies by `spread` around 1/2, more for longer outputs.
    """
    found = []
    for _ in range(repetitions):
        x = rng.uniform(-1, 1, n)
        liked = np.clip(0.5 + spread * rng.uniform(-1, 1, n) + 0.1 * x, 0, 1)
        votes = (rng.random((PEOPLE + 1, n)) < liked) - 0.5
        found.append(at_equal_preference(votes[0], votes[1:].T, x))
    yield {
        "statistic": "bias_beyond_humans",
        "design": f"people's preferences within {spread} of even",
        "method": "wald",
        "n": n,
        "truth": 0.0,
        **judged(pd.DataFrame(found), 0.0),
    }


def at_equal_preference(judge, people, x) -> dict:
    """Return what `bias_beyond_humans` says of one pair an instruction; a test compares them."""
    estimate, error, note = beyond_people._at_equal_preference(judge, people, x[:, None], np.arange(len(x)))
    half = stats.norm.ppf(0.975) * error[0]
    return {"ci_low": estimate[0] - half, "ci_high": estimate[0] + half, "note": note.text if note else ""}


def replaced(n, right, *, rng, repetitions) -> Iterator[dict]:
    """Yield how often a judge that is just as much worse as the test allows is not passed.

    People, and the judge, are right independently of each other. A judge right with chance q is at least as
    good as a person right with chance p, on average over the others, but for what epsilon grants.
    """
    q = edge(right)
    pairs = pd.DataFrame({"instruction_id": np.arange(n).astype(str), "model": "a", "reference": "b"})
    names = [f"p{k}" for k in range(PEOPLE)]
    rows = [pairs.assign(annotator=name, outcome=1.0) for name in names]
    template = matched_votes(pairs.assign(annotator="judge", outcome=1.0), pd.concat(rows), "zero_one")
    passed, noted = [], []
    for _ in range(repetitions):
        truth = rng.integers(0, 2, (n, 1))
        people = np.where(rng.random((n, PEOPLE)) < right, truth, 1 - truth).astype(float)
        judge = np.where(rng.random((n, 1)) < q, truth, 1 - truth).astype(float)
        drawn = replace(
            template, judges={"judge": judge}, voters=pd.DataFrame(people, columns=template.voters.columns)
        )
        found = alternative_annotator._replace(drawn, "judge", EPSILON, "zero_one", 0.05)
        passed.append(bool(found["passes"].iloc[0]))
        noted.append(any(found["note"]))
    yield {
        "statistic": "alternative_test",
        "design": f"judge at the edge, people right {right:.0%}",
        "method": "benjamini-yekutieli",
        "n": n,
        "win_rate": right,
        **shares(~np.array(passed), np.array(noted)),
    }


def edge(right) -> float:
    """Return how often a judge is right whose advantage is less than a person's by just epsilon.

    With c of the two other people saying the right thing, the score of who is right is c / 2. Both right or
    both wrong tie and count for both.
    """
    c = stats.binom.pmf(np.arange(PEOPLE), PEOPLE - 1, right)
    ahead, behind = c[2], c[0]  # at c = 1 right and wrong score the same

    def lag(q):
        differ_for, differ_against = right * (1 - q), (1 - right) * q  # person right, judge not; the reverse
        return (ahead - behind) * (differ_for - differ_against) - EPSILON

    return optimize.brentq(lag, 0, right)


def alpha(n, sigma, *, rng, repetitions) -> Iterator[dict]:
    """Yield Krippendorff's alpha where instructions are of unequal size, and some are harder."""
    hard, easy = 0.7, 0.95  # chance of a person to be right; half of the instructions are hard
    agree = np.mean([p**2 + (1 - p) ** 2 for p in (hard, easy)])
    truth = 1 - (1 - agree) / 0.5
    found = []
    for _ in range(repetitions):
        m = sizes(rng, n, sigma, 1)[:, 0]
        ids, chance = np.repeat(np.arange(n), m), np.repeat(rng.choice([hard, easy], n), m)
        right = rng.integers(0, 2, len(ids))
        pairs = pd.DataFrame({"instruction_id": ids.astype(str), "reference": "b"})
        pairs["model"] = [f"m{k}" for size in m for k in range(size)]
        votes = [
            pairs.assign(
                annotator=f"p{k}", outcome=np.where(rng.random(len(ids)) < chance, right, 1 - right) * 1.0
            )
            for k in range(PEOPLE)
        ]
        found.append(quiet(aa.krippendorff_alpha, pd.concat(votes), n_resamples=999))
    yield {
        "statistic": "krippendorff_alpha",
        "design": f"sizes lognormal, {sigma}",
        "method": "percentile",
        "n": n,
        "truth": truth,
        **judged(pd.concat(found), truth),
    }


def scenarios() -> list[Callable[..., Iterator[dict]]]:
    """Return every scenario, to be called with a generator and how many data sets to draw."""
    return [
        *(partial(unequal, n, p, s) for n in (30, 100, 300) for p in WIN_RATES for s in SIGMAS),
        *(partial(several, n, p) for n in (30, 100, 300) for p in WIN_RATES),
        *(partial(weighted, n, p) for n in (30, 100, 300) for p in WIN_RATES),
        *(partial(missing, n, p) for n in (100, 805) for p in WIN_RATES),
        *(partial(compared, n, p, s) for n in (30, 100) for p in WIN_RATES for s in SIGMAS),
        *(partial(ranked, n, p, 0.0) for n in (12, 20, 50) for p in WIN_RATES),
        *(partial(ranked, n, 0.5, 0.3) for n in (20, 50, 300)),
        *(partial(beyond, n, s) for n in (100, 300) for s in (0.4, 0.2, 0.1, 0.05)),
        *(partial(replaced, n, right) for n in (30, 100, 300) for right in (0.8, 0.9)),
        *(partial(alpha, n, s) for n in (100, 300) for s in (0.5, 1.5)),
        *(partial(lost, n, p) for n in (100, 805) for p in WIN_RATES),
    ]


def simulated(k: int, repetitions: int) -> list[dict]:
    """Return the rows of scenario `k`."""
    return list(scenarios()[k](rng=np.random.default_rng([SEED, k]), repetitions=repetitions))


def build(repetitions: int = REPETITIONS) -> dict[str, pd.DataFrame]:
    every = range(len(scenarios()))
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        records = [r for rows in pool.map(partial(simulated, repetitions=repetitions), every) for r in rows]
    first = ["statistic", "design", "method", "n", "win_rate", "truth"]
    frame = pd.DataFrame(records)
    frame["coverage_unless_noted"] = frame["coverage_unless_noted"].where(
        frame["repetitions"] * (1 - frame["noted"]) >= repetitions / 2
    )
    return {"coverage_designs": frame[[*first, *frame.columns.drop(first)]].round(5)}


if __name__ == "__main__":
    common.write(build(int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS))
