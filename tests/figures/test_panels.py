"""Several results in one picture: panels that keep the style, shared rows, results as they come, wrong frames."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pictures import WIDTHS, assert_apart, texts

from alpaca_analysis import AnnotationError, figures, fit_length_control, load, prefer_longer, win_rate

MODELS = ["mistral-medium", "gpt4", "claude-2", "llama-2-13b-chat-hf", "vicuna-13b", "alpaca-7b"]


@pytest.fixture(scope="module")
def cells():
    every = load("alpaca_eval_v1_cells")
    return every[every["model"].isin(MODELS)].reset_index(drop=True)


@pytest.fixture(scope="module")
def raw(cells):
    return win_rate(cells, method="t")


@pytest.fixture(scope="module")
def fit(cells):
    return fit_length_control(cells)


def marked(ax, label):
    """Return what the markers of a legend's entry stand at."""
    return np.concatenate([line.get_xydata() for line in ax.lines if line.get_label() == label])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("numbers", [None, True])
def test_two_results_stand_in_one_forest_in_the_order_of_the_first(raw, fit, width, numbers):
    ax = figures.forest({"raw": raw, "length-controlled": fit}, width=width, numbers=numbers)
    assert_apart(ax, texts(ax))
    assert [t.get_text() for t in ax.get_yticklabels()] == raw["model"].tolist()
    np.testing.assert_allclose(marked(ax, "raw")[:, 0], raw["win_rate"])
    controlled = fit.to_frame().set_index("model")["lc_win_rate"].reindex(raw["model"])
    np.testing.assert_allclose(marked(ax, "length-controlled")[:, 0], controlled)
    assert (marked(ax, "raw")[:, 1] < marked(ax, "length-controlled")[:, 1]).all()
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["raw", "length-controlled"]
    assert len([t for t in ax.texts if t.get_text()]) == (len(MODELS) if numbers else 0)


def test_models_that_only_one_result_has_come_after_the_others(raw, fit):
    ax = figures.forest({"some": raw.head(3), "all": fit})
    assert [t.get_text() for t in ax.get_yticklabels()][:3] == raw["model"].head(3).tolist()
    assert len(ax.get_yticklabels()) == len(MODELS)
    assert len(marked(ax, "some")) == 3
    with pytest.raises(ValueError, match="board: found 8 results, expected 1 to 7"):
        figures.forest({str(k): raw for k in range(8)})


def test_a_forest_takes_results_themselves(fit):
    ax = figures.forest(fit)
    frame = fit.to_frame()
    drawn = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(drawn[:, 0], frame["lc_win_rate"])
    assert ax.get_xlabel() == "Length-controlled win rate (%)"


def test_a_forest_draws_any_estimate_that_says_what_it_is():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"instruction_id": np.arange(200).astype(str), "model": "m", "annotator": "judge",
         "outcome": rng.integers(0, 2, 200), "length_model": rng.integers(1, 900, 200), "length_reference": 400}
    )  # fmt: skip
    result = prefer_longer(table, method="t")
    ax = figures.forest(result)
    assert ax.get_xlabel() == "Share of decisions (%)"
    drawn = next(line for line in ax.lines if line.get_marker() == "o").get_xdata()
    np.testing.assert_allclose(drawn, result["probability"])


def test_numbers_beside_rows_can_be_had_or_left_out(raw):
    assert [t.get_text() for t in figures.forest(raw, width=figures.PAGE, numbers=False).texts] == []
    narrow = figures.forest(raw, numbers=True)
    assert_apart(narrow, texts(narrow))
    assert len(narrow.texts) == len(MODELS)


def test_panels_share_their_rows_though_results_are_in_other_orders(raw, fit):
    figure, (left, right) = figures.panels(sharey=True)
    figures.forest(raw, ax=left, numbers=True)
    figures.forest(fit.to_frame().sort_values("model"), ax=right, numbers=True)
    assert [t.get_text() for t in left.get_yticklabels()] == raw["model"].tolist()
    assert not any(t.get_visible() for t in right.get_yticklabels())
    controlled = fit.to_frame().set_index("model")["lc_win_rate"]
    for x, y in np.concatenate([line.get_xydata() for line in right.lines if line.get_marker() == "o"]):
        assert x == pytest.approx(controlled[raw["model"].iloc[int(y)]])
    for ax in (left, right):
        assert_apart(ax, texts(ax))
    with pytest.raises(ValueError, match="rows: found 'other', expected the rows of the panel beside"):
        figures.forest(raw.assign(model="other").head(1), ax=right)
    plt.close(figure)


def test_panels_keep_the_style_and_grow_with_their_rows():
    counts = load("alpaca_eval_v1_counts")
    figure, ((a, b), (c, d)) = figures.panels(2, 2)
    low = figure.get_size_inches()[1]
    figures.forest(win_rate(counts, method="t"), ax=b)
    figures.length_histogram(pd.Series([-1.0, 2, 3]), ax=a)
    assert figure.get_size_inches()[0] == figures.PAGE
    assert figure.get_size_inches()[1] > low + 2
    assert not a.spines["top"].get_visible()
    assert not d.spines["right"].get_visible()
    figure.draw_without_rendering()
    assert_apart(b, texts(b))
    assert b.get_yticklabels()[0].get_fontsize() == 7
    assert c.get_xlabel() == ""
    assert [ax.texts[0].get_text() for ax in (a, b, c, d)] == ["a", "b", "c", "d"]


def test_a_height_that_was_asked_for_stays():
    figure, ax = figures.panels(1, 1, height=2.0)
    figures.forest(win_rate(load("alpaca_eval_v1_counts"), method="t").head(20), ax=ax)
    assert figure.get_size_inches().tolist() == [figures.PAGE, 2.0]
    with pytest.raises(ValueError, match="rows: found 0, expected a whole number of at least 1"):
        figures.panels(0)


def test_what_a_user_draws_in_the_style_looks_like_the_figures():
    with figures.context():
        ax = plt.figure().add_subplot()
    assert not ax.spines["top"].get_visible()
    assert mpl.rcParams["axes.spines.top"]


def test_published_values_of_no_row_are_not_promised(raw):
    ax = figures.forest(raw, published=pd.Series({"somebody": 0.9}))
    assert not ax.figure.legends


FRAMES = {
    "forest": "win_rate", "bounds": "win_rate_bounds", "by_source": "win_rate", "difference": "compare",
    "claims": "check_claims", "rank_sets": "rank_sets", "pairwise": "pairwise_differences",
    "length_response": "response_curve", "length_scatter": "model_length_regression",
    "length_control": "fit_length_control", "specification_curve": "specification_curve",
    "preferences": "prefer_longer", "control_by_feature": "control_by_feature", "beyond_humans": "bias_beyond_humans", "gameability": "gameability",
    "planning": "minimum_detectable_difference", "coverage": "a simulation", "agreement": "human_agreement",
    "agreement_groups": "agreement_by", "agreement_growth": "agreement_by_majority", "confusion": "confusion",
    "bias_variance": "human_agreement", "agreement_cost": "human_agreement", "label_budget": "label_budget",
    "restricted_range": "restrict_range", "claims_table": "check_claims",
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_wrong_frame_is_one_error_that_says_what_makes_the_right_one(name):
    draw = getattr(figures, name)
    for wrong in (pd.DataFrame({"colour": ["red"]}), pd.DataFrame(), 3, None):
        with pytest.raises(AnnotationError, match=rf"figures.{name}: found .*as {FRAMES[name]}"):
            draw(wrong)


@pytest.mark.parametrize("name", ["correlation", "leave_one_out", "length_histogram"])
def test_other_wrong_results_are_errors_too(name):
    with pytest.raises(AnnotationError, match=rf"figures.{name}: found .*expected a "):
        getattr(figures, name)(3)


def test_figures_without_a_test_of_wrong_frames_are_none():
    import gallery

    public = {name for name in figures.__all__ if gallery.is_figure(name)}
    assert public == {*FRAMES, "correlation", "leave_one_out", "length_histogram"}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_of_claims_has_a_panel_for_each_reference(width):
    from alpaca_analysis import check_claims, from_counts

    board = load("alpaca_eval_v1_leaderboard_2023_09_19")
    table = from_counts(board, reference="text_davinci_003", annotator="alpaca_eval_gpt4")
    checked = check_claims(load("xwin_claims"), table, method="t")
    with pytest.raises(AnnotationError, match=r"found two of 'xwinlm-70b-v0\.1' against 'text_davinci_003'"):
        figures.claims_table(checked)
    one = checked[checked["source"] == "project_table"]
    ax = figures.claims_table(one, width=width)
    panels = ax.figure.axes
    assert [p.get_title("left") for p in panels] == [f"against {r}" for r in pd.unique(one["reference"])]
    models = pd.unique(one["model"].astype(str)).tolist()
    ax.figure.draw_without_rendering()
    for panel, (_, part) in zip(panels, one.groupby("reference", sort=False, observed=True), strict=True):
        assert_apart(panel, texts(panel))
        marks = [line for line in panel.lines if str(line.get_label()).startswith("printed: ")]
        drawn = {models[int(y)]: x for line in marks for x, y in line.get_xydata()}
        printed = part.set_index("model")["printed"].astype(float) / 100
        assert drawn == pytest.approx(printed.to_dict())
        stroke = next(line for line in panel.lines if line.get_label() == "recomputed, with interval")
        np.testing.assert_allclose(stroke.get_xdata(), part["recomputed"].astype(float))
    named = [t.get_text() for t in ax.figure.legends[0].get_texts()]
    assert named[0] == "recomputed, with interval"
    assert {f"printed: {v}" for v in one["verdict"]} == set(named[1:])


def cut_off(ax):
    """Return the texts of a figure that leave its page by more than a pixel."""
    figure = ax.figure
    figure.draw_without_rendering()
    shown = [text for legend in figure.legends for text in legend.get_texts()]
    for part in figure.axes:
        shown += [*part.texts, part.xaxis.label, part.yaxis.label, part.title, part._left_title]
        shown += part.get_legend().get_texts() if part.get_legend() else []
        for axis in (part.xaxis, part.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    lost = []
    for text in shown:
        if text.get_visible() and text.get_text():
            box = text.get_window_extent(figure.canvas.get_renderer())
            over = (
                figure.bbox.x0 - box.x0,
                box.x1 - figure.bbox.x1,
                figure.bbox.y0 - box.y0,
                box.y1 - figure.bbox.y1,
            )
            if max(over) > 1:
                lost.append(text.get_text())
    return lost


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_the_gallery_is_cut_off(width):
    import gallery

    lost = {}
    for name, entry in gallery.entries().items():
        ax = entry.draw(width)
        if found := cut_off(ax):
            lost[name] = found
        plt.close("all")
    assert lost == {}
