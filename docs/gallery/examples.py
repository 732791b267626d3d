"""What each figure is drawn from in the gallery: bundled data alone.

Counts, length cells and shipped results stand in for rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pandas as pd

import alpaca_analysis as aa
from alpaca_analysis import figures
from alpaca_analysis.length.scales import length_difference


@functools.cache
def _board() -> pd.DataFrame:
    return aa.load("alpaca_eval_v1_leaderboard_2023_09_19")


@functools.cache
def _table() -> pd.DataFrame:
    return aa.from_counts(_board(), reference="text_davinci_003", annotator="alpaca_eval_gpt4")


def _cells(models):
    """Return the length cells of some models: what is bundled in place of their rows."""
    cells = aa.load("alpaca_eval_v1_cells")
    return cells[cells["model"].isin(models)].reset_index(drop=True)


@functools.cache
def _pandalm():
    """Return the verdicts of two judges and of three people on PandaLM's pairs."""
    table = aa.from_patterns(aa.load("pandalm_counts"))
    human = table["annotator"].astype(str).str.startswith("human")
    return table[~human], table[human]


@functools.cache
def _evaluators():
    board = aa.load("evaluators_leaderboard")
    board = board[board["mode"].notna() & (board["Human agreement"] > 1)]  # one row is on another scale
    return pd.DataFrame(
        {
            "annotator": board["model"],
            "agreement": board["Human agreement"] / 100,
            "bias": board["Bias"] / 100,
            "variance": board["Variance"] / 100,
            "price": board["Price [$/1000 examples]"],
        }
    )


@functools.cache
def _correlation():
    points = aa.load("alpacafarm_win_rates").set_index("method")
    return aa.win_rate_correlation(
        points["simulated_win_rate"],
        points["human_win_rate"],
        x_se=points["simulated_se"],
        y_se=points["human_se"],
        n_resamples=999,
    )


@functools.cache
def _judged() -> pd.DataFrame:
    """Return the win rates of the leaderboard but for the reference's own row."""
    table = _table()
    return aa.win_rate(table[table["model"] != "text_davinci_003"], method="t")


@functools.cache
def _counts() -> pd.DataFrame:
    return aa.load("alpaca_eval_v1_counts")


def _forest():
    published = _board().set_index("model")["win_rate"] / 100
    return figures.forest, (_judged(),), {"published": published, "highlight": ("xwinlm-70b-v0.1", "gpt4")}


def _difference():
    pairs = [("xwinlm-70b-v0.1", "gpt4"), ("xwinlm-70b-v0.1", "llama-2-70b-chat-hf"),
             ("xwinlm-7b-v0.1", "llama-2-13b-chat-hf")]  # fmt: skip
    return figures.difference, (pd.concat([aa.compare(_table(), a, b) for a, b in pairs]),), {}


def _bounds():
    table = aa.from_counts(_board().assign(n_asked=805))
    return figures.bounds, (aa.win_rate_bounds(table).head(12),), {}


def _by_source():
    counts = _counts()
    chosen = counts[counts["model"].isin(["gpt4", "claude-2", "llama-2-13b-chat-hf", "alpaca-7b"])]
    return figures.by_source, (aa.win_rate(chosen, by=["model", "dataset"], n_resamples=1999),), {}


def _claims():
    return figures.claims, (aa.check_claims(aa.load("xwin_claims"), _table(), method="t"),), {}


def _rank_sets():
    return figures.rank_sets, (aa.rank_sets(_counts(), n_resamples=999),), {}


def _pairwise():
    return figures.pairwise, (aa.pairwise_differences(_counts(), n_resamples=999),), {}


def _planning():
    sizes = [100, 150, 200, 300, 500, 805, 1200, 2000, 3000, 5000]
    least = aa.minimum_detectable_difference
    rows = [
        {"win rate": rate, "n": n, "minimum_detectable_difference": least(n, win_rate=rate)}
        for rate in (0.5, 0.8, 0.95)
        for n in sizes
    ]
    return figures.planning, (pd.DataFrame(rows),), {}


def _response(data, kind):
    curves = aa.load("length_response")
    curves = curves[(curves["data"] == data) & (curves["kind"] == kind)].drop(columns="data")
    return curves if kind == "bins" else curves.drop(columns=["difference_low", "difference_high"])


def _length_response():
    return figures.length_response, (_response("alpaca_eval_v1", "bins"),), {}


def _length_curve():
    return figures.length_response, (_response("pandalm", "spline"),), {}


def _length_histogram():
    cells = _cells(["gpt4", "llama-2-13b-chat-hf", "text_davinci_001"])
    differences = length_difference(cells, scale="tanh")
    differences.attrs["scale"] = "tanh"
    return figures.length_histogram, (differences,), {"by": cells["model"], "n": cells["n"], "bins": 10}


def _length_scatter():
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")
    fit = aa.model_length_regression(board["win_rate"] / 100, board["avg_length"], n_resamples=199)
    return figures.length_scatter, (fit,), {"highlight": ["xwinlm-70b-v0.1", "gpt4"]}


def _length_control():
    frame = aa.published_length_control().to_frame().head(40)
    return figures.length_control, (frame,), {"highlight": ["NullModel", "gpt4_1106_preview"]}


def _length_control_fitted():
    cells = _cells(["gpt4", "mistral-medium", "claude-2", "llama-2-13b-chat-hf", "vicuna-13b", "alpaca-7b"])
    return figures.length_control, (aa.fit_length_control(cells),), {"raw": aa.win_rate(cells, method="t")}


def _specification_curve():
    models = ["gpt4", "llama-2-13b-chat-hf"]
    curve = aa.specification_curve(aa.load("alpaca_eval_v1_cells"), models=models)
    return figures.specification_curve, (curve,), {}


def _coverage():
    study = aa.load("coverage_length_control")
    study = study[study["gap"] == study["gap"].iloc[0]]
    scenario = [f"win rate {rate:g}" for rate in study["win_rate"]]
    ours = pd.DataFrame({"scenario": scenario, "method": "with the fit", "coverage": study["coverage"]})
    theirs = ours.assign(method="as AlpacaEval", coverage=study["alpaca_eval_coverage"])
    both = pd.concat([ours, theirs], ignore_index=True)
    covered = both["coverage"]
    noise = 1.96 * (covered * (1 - covered) / study["repetitions"].iloc[0]) ** 0.5  # of the simulation
    return figures.coverage, (both.assign(ci_low=covered - noise, ci_high=covered + noise),), {}


def _preferences():
    return figures.preferences, (aa.load("length_preference").drop(columns="data"),), {}


def _beyond_humans():
    return figures.beyond_humans, (aa.load("length_beyond_humans"),), {}


def _gameability():
    board = aa.load("alpaca_eval_v2_leaderboard")
    measures = ("win_rate", "length_controlled_winrate")
    return figures.gameability, (aa.gameability(board, measures=measures),), {}


def _agreement():
    return figures.agreement, (aa.human_agreement(*_pandalm(), method="t"),), {}


def _agreement_groups():
    return figures.agreement_groups, (aa.agreement_by(*_pandalm(), by="unanimity", method="t"),), {}


def _agreement_growth():
    return figures.agreement_growth, (aa.agreement_by_majority(*_pandalm(), method="t"),), {}


def _confusion():
    frame = aa.confusion(*_pandalm())
    return figures.confusion, (frame[frame["annotator"] == "pandalm-7b"],), {}


def _agreement_cost():
    return figures.agreement_cost, (_evaluators(),), {}


def _bias_variance():
    return figures.bias_variance, (_evaluators(),), {}


def _correlated():
    labels = ("Simulated win rate (%)", "Human win rate (%)")
    return figures.correlation, (_correlation(),), {"labels": labels}


def _leave_one_out():
    return figures.leave_one_out, (_correlation(),), {}


# What each figure shows, in the order of the page. The first part of a name is the figure's function.
ENTRIES: dict[str, tuple[str, Callable]] = {
    "forest": ("Win rates with intervals, 59 models of 19 September 2023", _forest),
    "difference": ("Differences of two win rates", _difference),
    "bounds": ("What missing judgements could change", _bounds),
    "by_source": ("Win rates by source of the instruction", _by_source),
    "claims": ("Printed win rates against recomputed ones", _claims),
    "rank_sets": ("Ranks that models may have, and tiers", _rank_sets),
    "pairwise": ("All differences at once", _pairwise),
    "planning": ("Differences that a number of instructions can show", _planning),
    "length_response": ("Win rate against difference in length, in bins", _length_response),
    "length_response-curve": ("Win rate against difference in length, as a curve", _length_curve),
    "length_histogram": ("How far lengths differ", _length_histogram),
    "length_scatter": ("Win rates against mean length, 102 models", _length_scatter),
    "length_control": ("Raw and length-controlled win rates, as published", _length_control),
    "length_control-fitted": ("Raw and length-controlled win rates, fitted", _length_control_fitted),
    "specification_curve": ("Length control under every specification", _specification_curve),
    "preferences": ("Preference for the longer output", _preferences),
    "beyond_humans": ("Response to length beyond people's", _beyond_humans),
    "gameability": ("Scores of models that were only asked for another length", _gameability),
    "coverage": ("Coverage of length-controlled intervals in simulation", _coverage),
    "agreement": ("Agreement with people on PandaLM's pairs", _agreement),
    "agreement_groups": ("Agreement where people are of one mind, and where not", _agreement_groups),
    "agreement_growth": ("Agreement by the number of people in the majority", _agreement_growth),
    "confusion": ("Verdicts of a judge against the majority of people", _confusion),
    "agreement_cost": ("Agreement with people against price", _agreement_cost),
    "bias_variance": ("Errors of judges by kind", _bias_variance),
    "correlation": ("Win rates by simulated annotators and by people", _correlated),
    "leave_one_out": ("The correlation without each model", _leave_one_out),
}
