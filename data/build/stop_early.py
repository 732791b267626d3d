"""Save what judging saves that stops when a confidence sequence decides: made-up models, and real pairs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from common import main
from scipy import stats

import alpaca_analysis as aa
from alpaca_analysis.win_rates.sequential import first_decided

N = 805
MARGIN = 0.05
DIFFERENCES = (0.0, 0.05, 0.1, 0.2, 0.3)
EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 1.0)
REPETITIONS = 400


def build(mirror: Path) -> dict[str, pd.DataFrame]:
    rows = aa.read_annotations(mirror / "alpaca_eval" / "results" / "*" / "alpaca_eval_gpt4")
    return {"stop_early": pd.concat([simulated(), published(rows)], ignore_index=True).round(4)}


def simulated() -> pd.DataFrame:
    """Two models around a win rate of 1/2 that agree on half of the instructions; one in ten is a draw."""
    found = []
    for difference in DIFFERENCES:
        runs = [run(made_up(difference, seed), difference) for seed in range(REPETITIONS)]
        found.append(row("simulated", difference, difference, runs))
    return pd.DataFrame(found)


def made_up(difference: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    u = np.where(rng.random(N) < 0.5, rng.random(N), rng.random((2, N)))
    rates = 0.5 + np.array([[0.5], [-0.5]]) * difference / 0.9  # draws pull both towards 1/2
    outcome = np.where(rng.random((2, N)) < 0.1, 0.5, u < rates)
    return outcome[0] - outcome[1]


def published(rows: pd.DataFrame) -> pd.DataFrame:
    """All pairs of the AlpacaEval 1 models, by how far apart they are over all instructions."""
    wide = rows.pivot_table(index="instruction_id", columns="model", values="outcome", observed=True)
    wide = wide.sample(frac=1, random_state=0).to_numpy()
    found: dict[int, list] = {}
    for a, b in itertools.combinations(range(wide.shape[1]), 2):
        d = wide[:, a] - wide[:, b]
        d = d[~np.isnan(d)]
        place = int(np.searchsorted(EDGES, abs(d.mean()), side="right")) - 1
        found.setdefault(place, []).append(run(d, d.mean()))
    return pd.DataFrame(row("alpaca_eval_v1", EDGES[k], EDGES[k + 1], found[k]) for k in sorted(found))


def run(d: np.ndarray, truth: float) -> tuple[str, int, bool, bool]:
    """Return the verdict, after how many, whether it is wrong, and whether all instructions decide by t."""
    decided = first_decided((d + 1) / 2, span=2, alpha=0.05, margin=MARGIN)
    n, verdict = decided or (len(d), "undecided")
    right = {"better": truth > 0, "worse": truth < 0, "equivalent": abs(truth) < MARGIN, "undecided": True}
    half = stats.sem(d) * stats.t.ppf([0.975, 0.95], len(d) - 1)
    by_t = abs(d.mean()) > half[0] or abs(d.mean()) + half[1] < MARGIN
    return verdict, n, not right[verdict], bool(by_t)


def row(data: str, low: float, high: float, runs: list) -> dict:
    verdicts, looks, wrong, by_t = (np.array(column) for column in zip(*runs, strict=True))
    return {
        "data": data,
        "difference_low": low,
        "difference_high": high,
        "n_comparisons": len(runs),
        "better_or_worse": np.isin(verdicts, ["better", "worse"]).mean(),
        "equivalent": (verdicts == "equivalent").mean(),
        "undecided": (verdicts == "undecided").mean(),
        "wrong": wrong.mean(),
        "mean_asked": looks.mean(),
        "saved": 1 - looks.mean() / N,
        "decided_at_the_end": by_t.mean(),
    }


if __name__ == "__main__":
    main(build)
