"""Figures of agreement and correlation draw what they are given, within the page, on given Axes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis import figures


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pandalm():
    table = aa.from_patterns(aa.load("pandalm_counts"))
    human = table["annotator"].astype(str).str.startswith("human")
    return table[~human], table[human]


@pytest.fixture(scope="module")
def found():
    points = aa.load("alpacafarm_win_rates").set_index("method")
    return aa.win_rate_correlation(
        points["simulated_win_rate"],
        points["human_win_rate"],
        x_se=points["simulated_se"],
        y_se=points["human_se"],
        n_resamples=99,
    )


def assert_inside(ax):
    """Fail where a text leaves the page."""
    figure = ax.get_figure()
    figure.draw_without_rendering()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    named = [*ax.texts, ax.xaxis.label, ax.yaxis.label, ax.title, *ax.get_yticklabels()]
    for text in named:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert page.x0 - 1 <= box.x0, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()


@pytest.mark.parametrize("width", [figures.COLUMN, figures.PAGE])
@pytest.mark.slow
def test_agreement(pandalm, width):
    result = aa.human_agreement(*pandalm, method="t")
    ax = figures.agreement(result, width=width)
    drawn = sorted(x for line in ax.get_lines() if line.get_linestyle() == "None" for x in line.get_xdata())
    assert_allclose(drawn, sorted(result["agreement"]))
    assert_inside(ax)


def test_agreement_groups(pandalm):
    result = aa.agreement_by(*pandalm, by="unanimity", method="t")
    ax = figures.agreement_groups(result)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["unanimous", "split"]
    drawn = sorted(x for line in ax.get_lines() for x in line.get_xdata())
    assert_allclose(drawn, sorted(result["agreement"]))
    assert_inside(ax)


@pytest.mark.slow
def test_agreement_growth_with_its_ceiling(pandalm):
    result = aa.agreement_by_majority(*pandalm, method="t")
    ceiling = aa.agreement_ceiling(pandalm[1], n_resamples=99)
    ax = figures.agreement_growth(ceiling, ax=figures.agreement_growth(result))
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert_allclose(lines["perfect judge"], ceiling["ceiling"])
    for annotator, rows in result.groupby("annotator"):
        assert_allclose(lines[annotator], rows["agreement"])
    assert_inside(ax)


def test_confusion(pandalm):
    result = aa.confusion(*pandalm)
    one = result[result["annotator"] == "pandalm-7b"]
    ax = figures.confusion(one)
    assert_allclose(ax.collections[0].get_array().ravel(), one["share"])
    assert f"({one['count'].iloc[0]:,.0f})" in ax.texts[0].get_text()
    assert_inside(ax)
    with pytest.raises(ValueError, match="2 judges"):
        figures.confusion(result)


@pytest.mark.parametrize(
    ("draw", "x", "y"), [("bias_variance", "variance", "bias"), ("agreement_cost", "price", "agreement")]
)
@pytest.mark.slow
def test_named_points(draw, x, y):
    frame = pd.DataFrame(
        {
            "annotator": ["humans", "judge $1_2$", "free", "unknown"],
            "agreement": [0.66, 0.69, 0.62, 0.5],
            "bias": [0.0, 0.28, 0.38, np.nan],
            "variance": [0.34, 0.15, 0.0, np.nan],
            "price": [300, 14, 0, np.nan],
        }
    )
    ax = getattr(figures, draw)(frame, width=figures.PAGE)
    drawn = {(float(a), float(b)) for line in ax.get_lines() for a, b in line.get_xydata()}
    kept = frame[frame[x] > 0] if draw == "agreement_cost" else frame.dropna(subset=[x, y])
    assert drawn == set(kept[[x, y]].itertuples(index=False, name=None))
    assert "judge $1_2$" in [t.get_text() for t in ax.texts]
    assert_inside(ax)


@pytest.mark.slow
def test_correlation_and_leave_one_out(found):
    ax = figures.correlation(found)
    assert_allclose(np.asarray(ax.containers[0].lines[0].get_xdata(), dtype=float), found.points["x"])
    assert f"{found.statistic:.3f}" in ax.get_title(loc="left")
    assert_inside(ax)
    ax = figures.leave_one_out(found)
    assert_allclose(ax.get_lines()[-1].get_xdata(), found.leave_one_out)
    assert_inside(ax)


@pytest.mark.slow
def test_restricted_range_and_budget(found, pandalm):
    points = found.points.set_index("model")
    result = aa.restrict_range(points["x"], points["y"])
    ax = figures.restricted_range(result)
    best = next(line for line in ax.get_lines() if line.get_label() == "best models")
    assert_allclose(best.get_ydata()[-1], found.statistic)
    assert_inside(ax)
    judge = pandalm[0][pandalm[0]["annotator"] == "pandalm-7b"]
    plan = aa.label_budget(judge, pandalm[1][pandalm[1]["idx"] % 3 == 0])
    ax = figures.label_budget(plan)
    assert_allclose(ax.get_lines()[1].get_ydata(), plan["half_width"])
    assert_inside(ax)
    ax.figure.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
    shown = [int(t.get_text().replace(",", "")) for t in ax.get_xticklabels()]
    assert {plan["n_labels"].min(), plan["n_labels"].max()} <= set(shown) <= set(plan["n_labels"])
    line = 7 * 2**0.5 * ax.figure.dpi / 72  # what a line of slanted text takes across
    assert (np.diff([box.x0 for box in boxes]) > line).all()


def test_axes_are_used_and_input_is_not_changed(pandalm, found):
    _, ax = plt.subplots()
    result = aa.human_agreement(*pandalm, method="t")
    before = result.copy()
    assert figures.agreement(result, ax=ax) is ax
    pd.testing.assert_frame_equal(result, before)
    _, ax = plt.subplots()
    assert figures.correlation(found, ax=ax) is ax
