"""Every figure of every result: it draws the estimate that the interval belongs to, or refuses."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from judgements import made_up
from matplotlib.collections import LineCollection

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError, figures

BUNDLED = (
    "coverage_intervals", "coverage_people", "length_control_v2", "length_control_corrected", "length_preference", "length_response",
    "length_slopes", "style_preference", "style_control", "style_beyond_humans", "order_consistency",
    "length_beyond_humans", "length_specifications", "correlations_from_rows", "pandalm_agreement",
    "pandalm_agreement_differences", "pandalm_agreement_groups", "pandalm_agreement_growth",
    "pandalm_agreement_ceiling", "pandalm_alpha", "pandalm_alternative_test", "pandalm_label_budget",
    "pandalm_calibrated", "instruction_discrimination", "fewer_instructions",
)  # fmt: skip


@pytest.fixture(scope="module")
def results():
    """Results of every kind that has estimates with intervals, from data whose estimates are far apart."""
    table, difficulty = made_up(models=("a", "b", "c"), theta=1.5, phi=-2.0)
    rng = np.random.default_rng(0)
    items = table[table["model"] == "a"]
    people = pd.concat(
        [
            items.assign(
                annotator=f"p{k}", outcome=np.where(rng.random(400) < 0.8, items["outcome"].round(), 0)
            )
            for k in range(3)
        ]
    )
    second = table.assign(
        annotator="k", outcome=np.where(rng.random(len(table)) < 0.3, 0.0, table["outcome"])
    )
    judges = pd.concat([table, second])
    some = second[second["instruction_id"] < "0150"].assign(annotator="p")
    some["outcome"] = some["outcome"].round()
    sources = table.assign(dataset=np.where(rng.random(len(table)) < 0.5, "x", "y"))
    orders = pd.concat([table.assign(position=1), table.assign(position=2, outcome=second["outcome"])])
    quick = {"n_resamples": 199}
    fit = aa.fit_length_control(table, difficulty=difficulty, baselines=None)
    board = aa.load("alpaca_eval_v1_leaderboard_2023_09_19")
    counts = aa.from_counts(board, reference="text_davinci_003", annotator="alpaca_eval_gpt4")
    return {
        "win_rate": aa.win_rate(table, method="t"),
        "win_rate by source": aa.win_rate(sources, by=["model", "dataset"], method="t"),
        "win_rate_bounds": aa.win_rate_bounds(table),
        "compare": aa.compare(table),
        "compare with a margin": aa.compare(table, margin=0.05),
        "confidence_sequence": aa.confidence_sequence(table),
        "confidence_sequence of a difference": aa.confidence_sequence(table, "a", "b", margin=0.05),
        "pairwise_differences": aa.pairwise_differences(table, **quick),
        "rank_sets": aa.rank_sets(table, **quick),
        "bradley_terry": aa.bradley_terry(table, **quick),
        "fit_length_control": fit,
        "published_length_control": aa.published_length_control(),
        "specification_curve": aa.specification_curve(table, difficulty=difficulty),
        "response_curve": aa.response_curve(table),
        "length_regression": aa.length_regression(table),
        "prefer_longer": aa.prefer_longer(table),
        "prefer_first": aa.prefer_first(orders),
        "order_consistency": aa.order_consistency(orders),
        "human_agreement": aa.human_agreement(judges[judges["model"] == "a"], people, **quick),
        "compare_agreement": aa.compare_agreement(items, people, "j", "humans", **quick),
        "agreement_by": aa.agreement_by(items, people, by="unanimity", **quick),
        "agreement_by_majority": aa.agreement_by_majority(items, people, **quick),
        "bias_beyond_humans": aa.bias_beyond_humans(items, people),
        "calibrated_win_rate": aa.calibrated_win_rate(items, people.iloc[:300]),
        "rogan_gladen": aa.rogan_gladen(320, 400, sensitivity=(78, 80), specificity=(30, 40)),
        "rogan_gladen_win_rate": aa.rogan_gladen_win_rate(items, people.iloc[:300], **quick),
        "compare_calibrated": aa.compare_calibrated(table, some),
        "calibrated_rank_sets": aa.calibrated_rank_sets(table, some, **quick),
        "label_budget": aa.label_budget(items, people),
        "krippendorff_alpha": aa.krippendorff_alpha(people, **quick),
        "alternative_test": aa.alternative_test(items, people),
        "judge_noise": aa.judge_noise(orders.assign(repeat=orders["position"]).drop(columns="position")),
        "effective_judges": aa.effective_judges(judges, people, **quick),
        "check_claims": aa.check_claims(aa.load("xwin_claims"), counts, method="t"),
        "check_first": aa.check_first(counts, "xwinlm-70b-v0.1"),
        **{name: aa.load(name) for name in BUNDLED},
    }


def drawn(figure, upright=False):
    """Return the filled markers and the intervals of a figure, as (at, along) and (low, high, at)."""
    points, segments = [], []
    for ax in figure.axes:
        for line in ax.lines:
            if line.get_marker() not in ("None", None, "", "|") and line.get_markerfacecolor() != "white":
                points += [
                    (y, x)[:: -1 if upright else 1] for x, y in line.get_xydata() if np.isfinite(x + y)
                ]
        for lines in ax.collections:
            ends = np.array([s for s in lines.get_segments() if len(s) == 2]) if is_lines(lines) else []
            for one, two in ends:
                along, at = (1, 0) if upright else (0, 1)
                if one[at] == two[at]:
                    segments.append((*sorted((one[along], two[along])), one[at]))
    return points, segments


def is_lines(collection):
    return isinstance(collection, LineCollection)


FIGURES = (
    "forest", "difference", "preferences", "agreement", "agreement_groups", "beyond_humans", "by_source", "claims",
    "length_control", "specification_curve", "bias_variance", "pairwise", "bounds", "rank_sets", "planning",
    "length_response", "agreement_growth", "label_budget", "control_by_feature", "gameability", "confusion",
    "claims_table", "agreement_cost", "restricted_range", "coverage", "length_scatter", "leave_one_out",
    "correlation", "length_histogram",
)  # fmt: skip
REFUSED = (AnnotationError, ValueError)


def test_every_figure_is_tried():
    import gallery

    assert set(FIGURES) == {name for name in figures.__all__ if gallery.is_figure(name)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_the_estimate_of_the_interval_or_refuses(name, results):
    """Whatever is given: one clear error, or a point on every interval."""
    for made_by, result in results.items():
        try:
            ax = getattr(figures, name)(result)
        except REFUSED:
            continue
        points, segments = drawn(ax.figure, upright=name == "length_control")
        for low, high, at in segments:
            own = [along for place, along in points if abs(place - at) < 1e-9]
            assert own, f"{name} of {made_by}: an interval without its estimate"
            inside = [low - 1e-9 <= along <= high + 1e-9 for along in own]
            assert any(inside), f"{name} of {made_by}: {own} beside [{low}, {high}]"
        plt.close("all")


@pytest.mark.slow
def test_a_forest_draws_what_a_result_says_its_estimate_is(results):
    checked = 0
    for made_by, result in results.items():
        frame = result.to_frame() if hasattr(result, "to_frame") else result
        try:
            ax = figures.forest(result)
        except REFUSED:
            assert (
                frame.attrs.get("estimate") is None or "ci_low" not in frame or frame["ci_low"].isna().all()
            )
            continue
        if value := frame.attrs.get("estimate"):
            points, segments = drawn(ax.figure)
            given = frame[frame["ci_low"].notna() & frame["ci_high"].notna()]
            assert sorted(along for _, along in points) == pytest.approx(
                sorted(given[value].astype(float))
            ), made_by
            assert sorted(low for low, *_ in segments) == pytest.approx(sorted(given["ci_low"])), made_by
            checked += 1
        plt.close("all")
    assert checked > 15
