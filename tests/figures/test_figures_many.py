"""Figures of ranks, length, preferences and plans: what is drawn is what was given, names stay apart."""

import itertools

import gallery
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pictures import WIDTHS, assert_apart, texts

from alpaca_analysis import figures, load, model_length_regression
from alpaca_analysis.figures import labels


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(ax, label):
    """Return the points of the line that has a label."""
    return next(line for line in ax.lines if line.get_label() == label).get_xydata()


RANKS = pd.DataFrame(
    {
        "model": ["gpt4", "claude-2", "llama-2-13b-chat-hf", "alpaca-7b"],
        "rank": [1, 2, 3, 4],
        "rank_low": [1, 1, 2, 4],
        "rank_high": [2, 3, 3, 4],
        "simultaneous_low": [1, 1, 1, 4],
        "simultaneous_high": [2, 3, 3, 4],
        "tier": [1, 1, 2, 3],
    }
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.slow
def test_rank_sets(width):
    ax = figures.rank_sets(RANKS, width=width)
    assert_apart(ax, texts(ax))
    np.testing.assert_array_equal(drawn(ax, "estimated")[:, 0], RANKS["rank"])
    sets = next(c for c in ax.collections if c.get_label() == "this rank alone")
    spans = [segment[:, 0].tolist() for segment in sets.get_segments()]
    assert spans == RANKS[["rank_low", "rank_high"]].to_numpy().tolist()
    assert [t.get_text() for t in ax.texts] == ["tier 1", "", "tier 2", "tier 3"]


def pairs(models):
    rows = [
        {"model_a": models[i], "model_b": models[j], "difference": (j - i) / 100, "ordered": j - i > 1}
        for i, j in itertools.combinations(range(len(models)), 2)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [4, 60])
@pytest.mark.slow
def test_pairwise(n, width):
    models = [f"model-of-some-length-{k:02d}" for k in range(n)]
    ax = figures.pairwise(pairs(models), width=width)
    assert_apart(ax, ax.get_yticklabels())
    grid = ax.collections[0].get_array().filled(np.nan)
    expected = np.full((n, n), np.nan)
    for i, j in itertools.combinations(range(n), 2):
        expected[i, j] = (j - i) / 100 if j - i > 1 else np.nan
    np.testing.assert_allclose(grid, expected)
    assert len(drawn(ax, "not shown to differ")) == n - 1
    shown = [text.get_text() for text in ax.texts if text.get_text()]
    assert shown == (["2.0", "3.0", "2.0"] if n == 4 else [])


CURVE = pd.DataFrame(
    {
        "annotator": ["judge"] * 3 + ["humans"] * 3,
        "difference": [-200.0, 0, 300] * 2,
        "outcome": [0.2, 0.5, 0.8, 0.3, 0.5, 0.7],
        "ci_low": [0.1, 0.4, 0.7, 0.2, 0.4, 0.6],
        "ci_high": [0.3, 0.6, 0.9, 0.4, 0.6, 0.8],
    }
)


@pytest.mark.parametrize("width", WIDTHS)
def test_length_response_of_bins_and_of_a_curve(width):
    ax = figures.length_response(CURVE, width=width)
    np.testing.assert_allclose(drawn(ax, "humans"), CURVE.loc[3:, ["difference", "outcome"]])
    assert ax.get_xlabel() == "Model's output longer by (characters)"
    bins = CURVE.assign(difference_low=0.0, difference_high=0.0)
    bins.attrs["scale"] = "tanh"
    ax = figures.length_response(bins, width=width)
    assert {line.get_marker() for line in ax.lines if line.get_label() in ("judge", "humans")} == {"o", "s"}
    assert ax.get_xlabel() == "Length difference, tanh(D / s)"


def test_length_response_says_what_is_undefined():
    nothing = CURVE.assign(outcome=np.nan, ci_low=np.nan, ci_high=np.nan, note="undefined: too few")
    assert [t.get_text() for t in figures.length_response(nothing).texts] == ["undefined: too few"]
    half = CURVE.copy()
    half.loc[3:, ["outcome", "ci_low", "ci_high"]] = np.nan
    assert "humans (undefined)" in [line.get_label() for line in figures.length_response(half).lines]


def heights(ax):
    return np.concatenate([path.vertices[:, 1] for c in ax.collections for path in c.get_paths()])


def test_length_histogram_shows_shares():
    values = pd.Series([-10.0, 0, 0, 10, np.nan])
    ax = figures.length_histogram(values)
    np.testing.assert_allclose(np.unique(heights(ax)), [0, 0.25, 0.5])
    ax = figures.length_histogram(pd.Series([-1.0, 1]), n=pd.Series([1, 3]))
    np.testing.assert_allclose(np.unique(heights(ax)), [0, 0.25, 0.75])
    ax = figures.length_histogram(pd.Series([-1.0, 1, 1, 1]), by=pd.Series(list("abbb")), bins=2)
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match="by: found 8, expected at most 7"):
        figures.length_histogram(pd.Series(np.arange(8.0)), by=pd.Series(list("abcdefgh")))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.slow
def test_length_scatter_names_what_has_room_and_the_highlighted_first(width):
    rng = np.random.default_rng(0)
    n = 102
    points = pd.DataFrame(
        {
            "model": [f"model-{k:03d}-chat" for k in range(n)],
            "length": rng.normal(1200, 300, n),
            "win_rate": rng.beta(5, 2, n),
        }
    )
    points["fitted"] = 0.3 + points["length"] / 4000
    ax = figures.length_scatter(points, highlight=["model-007-chat"], width=width)
    assert_apart(ax, ax.texts)
    assert "model-007-chat" in [t.get_text() for t in ax.texts]
    assert len(ax.texts) > (5 if width == figures.COLUMN else 15)
    frame = ax.get_window_extent()
    renderer = ax.figure.canvas.get_renderer()
    for text in ax.texts:
        box = text.get_window_extent(renderer)
        inside = ax.transData.transform(points[["length", "win_rate"]].to_numpy())
        inside = (inside > [box.x0 + 1, box.y0 + 1]) & (inside < [box.x1 - 1, box.y1 - 1])
        assert not inside.all(axis=1).any() or text.arrow_patch is not None, text.get_text()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1 + 1
    with pytest.raises(ValueError, match="expected fractions"):
        figures.length_scatter(points.assign(win_rate=points["win_rate"] * 100))


def control(n):
    rng = np.random.default_rng(1)
    raw = np.sort(rng.uniform(0.45, 0.97, n))[::-1]
    return pd.DataFrame(
        {
            "model": [f"some-model-{k:02d}-chat-v0.{k}" for k in range(n)],
            "win_rate": raw,
            "lc_win_rate": raw - 0.05 * rng.random(n),
            "ci_low": raw - 0.08,
            "ci_high": raw + 0.02,
        }
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [2, 15, 16, 60])
@pytest.mark.slow
def test_length_control_names_stay_apart_and_are_few(n, width):
    frame = control(n)
    chosen = frame["model"].iloc[n // 2]
    raw = frame[["model", "win_rate", "ci_low", "ci_high"]]
    ax = figures.length_control(frame, raw=raw, highlight=[chosen], width=width)
    assert_apart(ax, ax.texts)
    ways = [line.get_ydata() for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(ways, frame[["win_rate", "lc_win_rate"]])
    ordered = frame.sort_values("lc_win_rate", ascending=False, kind="stable")["model"]
    named = set(ordered) if n <= 15 else {*ordered[:3], *ordered[-3:], chosen}
    shown = sorted(ax.texts, key=lambda t: -t.xy[1])
    assert [t.get_text() for t in shown] == [name for name in ordered if name in named]
    ends = frame.set_index("model")["lc_win_rate"]
    for text in ax.texts:  # a line leads from each name to its end, a row or two away at most
        way = next(x for x in ax.lines if x.get_xdata()[0] > 1 and x.get_ydata()[1] == text.xy[1])
        assert way.get_ydata()[0] == ends[text.get_text()]


@pytest.mark.parametrize("width", WIDTHS)
def test_length_control_names_every_model_where_asked(width):
    frame = control(60)
    ax = figures.length_control(frame, every_name=True, width=width)
    assert_apart(ax, ax.texts)
    assert {t.get_text() for t in ax.texts} == set(frame["model"])


def luminance(colour):
    return np.dot(matplotlib.colors.to_rgb(colour), [0.299, 0.587, 0.114])


def test_length_control_says_what_is_undefined():
    frame = control(2).assign(lc_win_rate=np.nan, note="undefined: length is collinear")
    ax = figures.length_control(frame)
    assert [text.get_text() for text in ax.texts] == ["undefined: length is collinear"]
    plt.close(ax.figure)


def test_length_control_shows_intervals_whole_and_highlights_without_colour():
    frame = control(20)
    ax = figures.length_control(frame, highlight=frame["model"][:2])
    assert {c.get_clip_on() for c in ax.collections} == {False}
    ways = [line for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    assert max(luminance(w.get_color()) for w in ways[:2]) < luminance(ways[2].get_color()) - 0.15
    assert {(w.get_marker(), w.get_linewidth() > 1) for w in ways[:2]} == {("D", True)}
    assert {(w.get_marker(), w.get_linewidth() > 1) for w in ways[2:]} == {("o", False)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.slow
def test_specification_curve_marks_every_choice(width):
    choices = list(itertools.product(["tanh", "clipped", "log_ratio"], ["published", "none"], [True, False]))
    rows = [
        {"model": m, "specification": f"{f}, {d}, {b}", "feature": f, "difficulty": d, "baselines": b,
         "penalty": "cv", "lc_win_rate": 0.5 + 0.01 * ((7 * k) % 12), "ci_low": 0.4, "ci_high": 0.7}
        for m in ("gpt4", "claude-2")
        for k, (f, d, b) in enumerate(choices)
    ]  # fmt: skip
    ax = figures.specification_curve(pd.DataFrame(rows), width=width)
    assert_apart(ax, [*ax.texts, ax.xaxis.label])
    shown = [t.get_text().strip() for t in ax.texts]
    assert shown == [
        *("feature: clipped", "feature: log_ratio", "feature: tanh", "difficulty: none"),
        *("difficulty: published", "baselines"),
    ]
    estimates = drawn(ax, "gpt4")
    np.testing.assert_allclose(np.sort(estimates[:, 1]), 0.5 + 0.01 * np.arange(12))
    order = np.argsort([(7 * k) % 12 for k in range(12)])
    for line, name in zip([x for x in ax.lines if not x.get_clip_on()], shown, strict=True):
        column, value = name.split(": ") if ": " in name else (name, "True")
        at = {"feature": 0, "difficulty": 1, "baselines": 2}[column]
        expected = [x for x, k in enumerate(order) if str(choices[k][at]) == value]
        assert line.get_xdata().tolist() == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_preferences_tell_people_from_judges(width):
    frame = pd.DataFrame(
        {"annotator": ["alpaca_eval_gpt4", "humans"], "probability": [0.683, 0.636], "ci_low": [0.64, 0.59],
         "ci_high": [0.73, 0.68]}
    )  # fmt: skip
    ax = figures.preferences(frame, width=width)
    assert_apart(ax, texts(ax))
    markers = {
        line.get_marker(): line.get_xdata().tolist() for line in ax.lines if line.get_marker() != "None"
    }
    assert markers == {"o": [0.683], "s": [0.636]}
    assert ax.get_xlabel() == "Prefers the longer output (%)"


@pytest.mark.parametrize("width", WIDTHS)
def test_beyond_humans_has_a_row_for_everybody_under_each_quantity(width):
    frame = pd.DataFrame(
        [
            {"annotator": a, "kind": k, "quantity": q, "estimate": e, "ci_low": e - 0.1, "ci_high": e + 0.1}
            for q in ("slope", "beyond_one_human")
            for a, k, e in (("gpt4", "judge", 0.2), ("human 0", "human", 0.1))
        ]
    )
    ax = figures.beyond_humans(frame, width=width)
    assert_apart(ax, texts(ax))
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["slope", "gpt4", "human 0", "beyond one human", "gpt4", "human 0"]
    assert drawn(ax, "judge").tolist() == [[0.2, 1], [0.2, 4]]


@pytest.mark.parametrize("width", WIDTHS)
def test_gameability(width):
    frame = pd.DataFrame(
        {"model": ["gpt4", "(mean)"] * 2, "measure": ["win_rate"] * 2 + ["lc_win_rate"] * 2,
         "plain": [50.0, 50, 50, 50], "verbose": [64.0, 64, 52, 52], "concise": [23.0, 23, 42, 42],
         "gameability": [0.46, 0.46, 0.11, 0.11]}
    )  # fmt: skip
    ax = figures.gameability(frame, width=width)
    assert_apart(ax, texts(ax))
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        *("win rate", "gpt4", "mean", "lc win rate", "gpt4", "mean"),
    ]
    np.testing.assert_allclose(drawn(ax, "verbose"), [[0.64, 1], [0.64, 2], [0.52, 4], [0.52, 5]])


def test_planning_and_coverage():
    plan = pd.DataFrame({"n": [100, 805], "minimum_detectable_difference": [0.14, 0.0494]})
    ax = figures.planning(plan)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), plan)
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "Detectable difference\nfrom a fixed win rate (points)"
    assert figures.planning(plan, versus="another model").get_ylabel().endswith("another model (points)")
    power = pd.DataFrame(
        {"n": [100, 805] * 2, "power": [0.2, 0.5, 0.4, 0.9], "difference": [0.02] * 2 + [0.05] * 2}
    )
    ax = figures.planning(power)
    assert [line.get_label() for line in ax.lines] == ["difference 0.02", "difference 0.05"]
    assert ax.get_ylabel() == "Power (%)"
    frame = pd.DataFrame(
        {"scenario": ["n = 805"] * 2, "method": ["t", "bca"], "coverage": [0.93, 0.95], "ci_low": [0.92, 0.94],
         "ci_high": [0.94, 0.96]}
    )  # fmt: skip
    frame.attrs["confidence_level"] = 0.9
    ax = figures.coverage(frame)
    assert ax.get_xlabel() == "Coverage of 90 % intervals (%)"
    assert 0.9 in [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "None"]


def gap(box, points):
    """Return how far points are from a box, in pixels."""
    outside = np.maximum(0, np.maximum([box.x0, box.y0] - points, points - [box.x1, box.y1]))
    return np.hypot(*outside.T)


def assert_told(ax, x, y, names):
    """Fail where a name could be read as another point's, or two names as one."""
    ax.figure.canvas.draw()
    dot = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y]).astype(float))
    renderer = ax.figure.canvas.get_renderer()
    found = {t.get_text(): (t, matplotlib.text.Text.get_window_extent(t, renderer)) for t in ax.texts}
    for name, (text, box) in found.items():
        own = list(names).index(name)
        others = np.delete(points, own, axis=0)
        if text.arrow_patch is None:
            assert gap(box, others).min() > gap(box, points[[own]])[0] + dot, name
        else:
            assert gap(box, others).min() > 3 * dot, name
            at = np.clip(points[own], [box.x0, box.y0], [box.x1, box.y1])
            steps = points[own] + np.linspace(0.05, 1, 50)[:, None] * (at - points[own])
            away = np.hypot(*(steps[:, None] - others).transpose(2, 0, 1)).min()
            assert away > 2 * dot or text.get_fontweight() == "bold", name
        for other, (_, second) in found.items():
            level = min(box.y1, second.y1) - max(box.y0, second.y0) > dot
            if other != name and level:
                assert max(box.x0, second.x0) - min(box.x1, second.x1) > dot, (name, other)
    return set(found)


def evaluators():
    board = load("evaluators_leaderboard")
    board = board[board["mode"].notna() & (board["Human agreement"] > 1)]  # one row is on another scale
    columns = {"model": "annotator", "Price [$/1000 examples]": "price"}
    return board.rename(columns=columns).assign(agreement=board["Human agreement"] / 100)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.slow
def test_no_name_can_be_read_as_another_points(width):
    judges = evaluators()
    frame = judges[judges["price"] > 0]
    ax = figures.agreement_cost(judges, width=width)
    named = assert_told(ax, frame["price"], frame["agreement"], frame["annotator"])
    assert len(named) >= {3.25: 8, 6.75: 14}[width]
    assert {"humans", "alpaca_eval_gpt4_fn", "chatgpt"} <= named
    options = {"highlight": ["xwinlm-70b-v0.1", "gpt4"]}
    board = load("alpaca_eval_v1_leaderboard").set_index("model")
    fit = model_length_regression(board["win_rate"] / 100, board["avg_length"], n_resamples=9)
    points = fit.leave_one_out
    ax = figures.length_scatter(fit, width=width, **options)
    named = assert_told(ax, points["length"], points["win_rate"], points["model"])
    assert {*options["highlight"], "text_davinci_001"} <= named


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_names_of_crowded_points_are_told_apart(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 25))
    names = [f"point-{k}" for k in range(25)]
    with figures.style.context():
        ax = figures.style.axes(None)
        ax.plot(x, y, "o")
        labels.place(ax, x, y, names, first=["point-3"])
    named = assert_told(ax, x, y, names)
    assert "point-3" in named
    assert len(named) > 8


def test_a_name_between_two_points_is_left_out_or_led():
    x = [0.0, 0.02, 0.04, 1]
    with figures.style.context():
        ax = figures.style.axes(None)
        ax.plot(x, [0.5] * 4, "o")
        ax.set(xlim=(-0.2, 1.2), ylim=(0, 1))
        labels.place(ax, x, [0.5] * 4, ["a long name", "b", "c", "far"])
    shown = {t.get_text(): t.arrow_patch for t in ax.texts}
    assert "far" in shown
    assert "b" not in shown  # between its neighbours neither a place nor a line is its own


def test_spread_keeps_order_and_distance_and_moves_no_more_than_needed():
    rng = np.random.default_rng(0)
    positions = rng.random(50)
    moved = labels.spread(positions, 0.05)
    order = np.argsort(positions)
    assert (np.diff(moved[order]) >= 0.05 - 1e-12).all()
    np.testing.assert_allclose(labels.spread([0.0, 1, 2], 0.5), [0, 1, 2])
    from scipy.optimize import minimize

    few = np.array([0.0, 0.02, 0.5, 0.51, 0.52])
    gap = 0.04
    limits = [{"type": "ineq", "fun": lambda x, k=k: x[k + 1] - x[k] - gap} for k in range(4)]
    best = minimize(lambda x: ((x - few) ** 2).sum(), np.linspace(0, 1, 5), constraints=limits, tol=1e-12).x
    np.testing.assert_allclose(labels.spread(few, gap), best, atol=1e-6)


def test_every_figure_has_an_example_that_draws_it():
    shown = {entry.name.split("-")[0] for entry in gallery.entries().values()}
    assert shown == {name for name in figures.__all__ if gallery.is_figure(name)}
    assert len(shown) > 25
    for entry in gallery.entries().values():
        assert entry.lines[-1].startswith(f"ax = figures.{entry.name.split('-')[0]}("), entry.name
        assert len(entry.code.splitlines()) < 10, entry.name


@pytest.mark.slow
def test_the_gallery_shows_pictures_and_the_lines_that_draw_them(tmp_path, capsys):
    files = gallery.draw(tmp_path, names=["difference", "length_response-2"], formats=("png",))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert {f'src="{f.name}"' in page for f in files[:-1]} == {True}
    assert "ax = figures.difference(pd.concat(pairs))" in page
    assert "http" not in page
    assert capsys.readouterr().err.startswith("difference: ")
    assert plt.imread(files[0]).shape[1] == 975
    assert plt.imread(files[1]).shape[1] == 2025
    with pytest.raises(SystemExit, match="2"):
        gallery.main([])


# Pictures. Made anew by
#   python -m pytest tests/figures/test_figures_many.py -k picture --mpl-generate-path=tests/figures/baseline
# and then looked at, one by one, before they are committed.
def picture(test):
    """Compare what a test draws with the committed picture."""
    other = pytest.mark.skipif(
        matplotlib.__version_info__ < (3, 11),
        reason="the pictures show text as matplotlib sets it from 3.11 on",
    )
    compared = pytest.mark.mpl_image_compare(
        baseline_dir="baseline", tolerance=2.5, style="default", savefig_kwargs={"dpi": 80}
    )
    return other(compared(test))


def board():
    frame = control(9)[["model", "win_rate", "ci_low", "ci_high"]]
    frame.loc[4, ["ci_low", "ci_high"]] = np.nan
    return frame


@picture
def test_picture_of_a_forest():
    published = pd.Series(0.9, index=["some-model-01-chat-v0.1"])
    return figures.forest(board(), published=published, highlight=["some-model-03-chat-v0.3"]).figure


@picture
@pytest.mark.slow
def test_picture_of_differences():
    frame = pd.DataFrame(
        {"model_a": ["xwinlm-70b-v0.1"] * 2, "model_b": ["gpt4", "llama-2-70b-chat-hf"],
         "difference": [0.003, 0.029], "ci_low": [-0.017, 0.006], "ci_high": [0.023, 0.052],
         "pvalue": [0.78, 0.013], "paired": [False, True]}
    )  # fmt: skip
    return figures.difference(frame, width=figures.PAGE).figure


@picture
def test_picture_of_claims():
    frame = pd.DataFrame(
        {"source": ["article"] * 2 + ["project_table"] * 2, "model": ["a-70b", "a-70b", "a-7b", "b"],
         "reference": ["text_davinci_003", "gpt4"] + ["text_davinci_003"] * 2,
         "printed": ["95.57", "60.61", "87.35", "87.82"], "recomputed": [0.9557, np.nan, 0.8783, 0.8783],
         "ci_low": [0.94, np.nan, 0.855, 0.855], "ci_high": [0.968, np.nan, 0.9, 0.9],
         "verdict": ["reproduced", "cannot be tested with open data", "impossible as printed", "differs"]}
    )  # fmt: skip
    return figures.claims(frame).figure


@picture
def test_picture_of_rank_sets():
    return figures.rank_sets(RANKS).figure


@picture
def test_picture_of_a_length_response():
    return figures.length_response(CURVE).figure


@picture
def test_picture_of_length_control():
    return figures.length_control(control(12), highlight=["some-model-03-chat-v0.3"]).figure
