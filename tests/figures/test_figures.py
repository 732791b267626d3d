"""Figures: data and labels as given, names that cannot act, no overlaps, the same bytes each time."""

import os
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pictures import WIDTHS, assert_apart, texts

from alpaca_analysis import compare, figures, from_counts, win_rate, win_rate_bounds


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def board(n, seed=0):
    rng = np.random.default_rng(seed)
    wins = np.sort(rng.integers(40, 780, n))[::-1]
    names = [f"{'very-' * (k % 3)}long-family-{rng.integers(1e6)}-chat-v{k}" for k in range(n)]
    return from_counts({"model": names, "n_wins": wins, "n_losses": 800 - wins, "n_draws": [5] * n})


@pytest.fixture(scope="module")
def xwin():
    return from_counts(
        {
            "model": ["xwinlm-70b-v0.1", "gpt4", "xwinlm-13b-v0.1"],
            "n_wins": [765, 761, 734],
            "n_losses": [35, 32, 65],
            "n_draws": [1, 12, 2],
            "n_asked": [805, 805, 805],
        }
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [1, 60, 102])
@pytest.mark.slow
def test_forest_labels_do_not_overlap(n, width):
    ax = figures.forest(win_rate(board(n), method="t"), width=width)
    assert_apart(ax, texts(ax))
    assert ax.get_figure().get_size_inches()[0] == width


def test_forest_draws_what_it_is_given(xwin):
    result = win_rate(xwin, method="t")
    published = pd.Series({"gpt4": 0.9528, "xwinlm-70b-v0.1": 0.9557})
    ax = figures.forest(result, published=published, highlight=["gpt4"])
    assert [t.get_text() for t in ax.get_yticklabels()] == result["model"].tolist()
    points = {line.get_label(): line.get_xydata() for line in ax.lines}
    drawn = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() in ("o", "D")])
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 1]), 0], result["win_rate"])
    np.testing.assert_allclose(points["published"][:, 0], [0.9557, 0.9528, np.nan])
    segments = np.concatenate([c.get_segments() for c in ax.collections])
    segments = segments[np.argsort(segments[:, 0, 1])]
    np.testing.assert_allclose(segments[:, :, 0], result[["ci_low", "ci_high"]])
    assert ax.get_xlabel() == "Win rate (%)"
    assert [t.get_fontweight() for t in ax.get_yticklabels()] == ["normal", "bold", "normal"]


def test_forest_refuses_percent_where_fractions_belong(xwin):
    with pytest.raises(ValueError, match=r"found 95\.57, expected fractions"):
        figures.forest(win_rate(xwin, method="t"), published=pd.Series({"xwinlm-70b-v0.1": 95.57}))


@pytest.mark.parametrize("column", ["win_rate", "lc_win_rate"])
def test_frames_in_percent_are_refused_whether_or_not_they_say_what_they_hold(xwin, column):
    frame = win_rate(xwin, method="t").rename(columns={"win_rate": column})
    percent = frame.assign(**{c: 100 * frame[c] for c in (column, "ci_low", "ci_high")})
    percent.attrs = {}
    with pytest.raises(
        ValueError, match=rf"{column}: found 95\.\d+, expected fractions; divide percent by 100"
    ):
        figures.forest(percent)
    with pytest.raises(ValueError, match="win_rate: found 95"):
        figures.bounds(percent.assign(win_rate=percent[column], low=0.9, high=0.95, n_missing=0))


def test_forest_opens_the_marker_where_there_is_no_interval(xwin):
    result = win_rate(xwin, method="t")
    result.loc[1, ["ci_low", "ci_high"]] = np.nan
    ax = figures.forest(result)
    assert [line.get_markerfacecolor() for line in ax.lines if len(line.get_xdata()) == 1] == ["white"]
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["no interval (see note)"]
    assert not figures.forest(win_rate(xwin, method="t")).figure.legends


@pytest.mark.parametrize("draw", ["by_source", "preferences", "agreement", "difference"])
def test_an_open_marker_is_explained_where_there_is_one(draw):
    frame = pd.DataFrame(
        {"annotator": ["a", "b"], "model": ["a", "b"], "dataset": ["koala"] * 2, "model_a": "x", "model_b": "y",
         "pvalue": 0.5, "paired": True, **dict.fromkeys(("probability", "agreement", "difference"), 0.7),
         "win_rate": [0.7, 1.0], "ci_low": [0.6, np.nan], "ci_high": [0.8, np.nan]}
    )  # fmt: skip
    frame = frame[["annotator", *frame.columns.drop("annotator")]]

    def explained(rows):
        names = ["model", "dataset"] if draw == "by_source" else ["annotator"]
        ax = getattr(figures, draw)(rows[names + [c for c in rows if c not in names]])
        texts = [t.get_text() for legend in ax.figure.legends for t in legend.get_texts()]
        return texts.count("no interval (see note)")

    assert explained(frame) == 1
    assert explained(frame[:1]) == 0


def test_numbers_beside_rows_have_as_many_decimals_in_all_of_them():
    rates = pd.DataFrame(
        {"model": list("abc"), "win_rate": [0.9136, 0.912, 0.5], "ci_low": [0.9, 0.89, np.nan]}
    )
    ax = figures.forest(rates.assign(ci_high=[0.93, 0.934, np.nan]), width=figures.PAGE)
    assert [t.get_text() for t in ax.texts] == [
        *("91.36 [90.00, 93.00]", "91.20 [89.00, 93.40]", "50.00"),
    ]


def test_an_axes_given_is_used_and_input_is_not_changed(xwin):
    result = win_rate(xwin, method="t")
    before = result.copy()
    figure, (left, right) = plt.subplots(1, 2)
    assert figures.forest(result, ax=left) is left
    assert figures.bounds(win_rate_bounds(xwin), ax=right) is right
    assert len(plt.get_fignums()) == 1
    figure.canvas.draw()
    pd.testing.assert_frame_equal(result, before)


def test_drawing_leaves_the_style_around_it_alone(xwin):
    before = dict(mpl.rcParams)
    figures.forest(win_rate(xwin, method="t"))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("width", WIDTHS)
def test_difference(xwin, width):
    rows = pd.concat([compare(xwin, "xwinlm-70b-v0.1", b) for b in ("gpt4", "xwinlm-13b-v0.1")])
    ax = figures.difference(rows, width=width)
    assert_apart(ax, texts(ax))
    drawn = next(line for line in ax.lines if line.get_marker() == "s")
    np.testing.assert_allclose(drawn.get_xdata(), rows["difference"])
    assert drawn.get_label() == "independent samples"
    assert ax.texts[0].get_text().endswith("p = 0.78")


@pytest.mark.parametrize("width", WIDTHS)
def test_bounds(xwin, width):
    frame = win_rate_bounds(xwin)
    ax = figures.bounds(frame, width=width)
    assert_apart(ax, texts(ax))
    bars = [p for p in ax.patches if p.get_hatch()]
    np.testing.assert_allclose([p.get_x() for p in bars], frame["low"])
    np.testing.assert_allclose([p.get_x() + p.get_width() for p in bars], frame["high"])
    assert [t.get_text() for t in ax.texts] == ["4 missing", "", "4 missing"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.slow
def test_claims(width):
    frame = pd.DataFrame(
        {
            "source": ["article", "article", "project_table", "project_table"],
            "model": ["xwinlm-70b-v0.1", "xwinlm-70b-v0.1", "xwinlm-7b-v0.1", "a\n<b>$x$"],
            "reference": ["text_davinci_003", "gpt4", "text_davinci_003", "text_davinci_003"],
            "printed": ["95.57", "60.61", "87.35", "50.00"],
            "recomputed": [0.9557, np.nan, 0.8783, 0.4],
            "ci_low": [0.94, np.nan, 0.85, 0.3],
            "ci_high": [0.968, np.nan, 0.90, 0.49],
            "verdict": ["reproduced", "cannot be tested with open data", "impossible as printed", "differs"],
        }
    )
    ax = figures.claims(frame, width=width)
    assert_apart(ax, texts(ax))
    assert [t.get_text() for t in ax.texts] == [
        "article, against text_davinci_003",
        "article, against gpt4",
        "project table, against text_davinci_003",
    ]
    marks = {line.get_label(): line for line in ax.lines}
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 5
    assert marks["printed: cannot be tested with open data"].get_xdata() == pytest.approx([0.6061])
    np.testing.assert_allclose(marks["recomputed, with interval"].get_xdata(), frame["recomputed"])
    assert r"a\n<b>$x$" in [t.get_text() for t in ax.get_yticklabels()]


def test_by_source():
    counts = pd.DataFrame(
        {
            "model": ["a"] * 3 + ["b"] * 3,
            "dataset": ["koala", "vicuna", "oasst"] * 2,
            "n_wins": [50, 60, 70, 20, 30, 40],
            "n_losses": [30, 20, 10, 60, 50, 40],
            "n_draws": [0] * 6,
        }
    )
    frame = win_rate(from_counts(counts), by=["model", "dataset"], method="t")
    ax = figures.by_source(frame)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["koala", "oasst", "vicuna"]
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines if line.get_marker() != "None"}
    np.testing.assert_allclose(drawn["a"], [50 / 80, 70 / 80, 60 / 80])
    many = pd.concat([frame.assign(model=f"m{k}") for k in range(8)])
    with pytest.raises(ValueError, match="found 8 models, expected at most 7"):
        figures.by_source(many)


@pytest.mark.slow
def test_names_cannot_act_in_a_figure():
    names = [
        r"$\frac{1}{0}$",
        "a\nb\x1b[31m",
        "$unclosed",
        r"\input{/etc/passwd}",
        "<script>alert(1)</script>",
    ]
    table = from_counts({"model": names, "n_wins": [5] * 5, "n_losses": [4] * 5, "n_draws": [0] * 5})
    ax = figures.forest(win_rate(table, method="t"))
    ax.get_figure().canvas.draw()
    shown = [t.get_text() for t in ax.get_yticklabels()]
    assert not any("\n" in t or "\x1b" in t for t in shown)
    assert not any(t.get_parse_math() for t in ax.get_yticklabels())


@pytest.mark.slow
def test_names_too_long_lose_their_middle_and_stay_distinct():
    names = [f"{'x' * 60}-{k}-{'y' * 60}" for k in range(3)] + ["short"]
    short = figures.style.shorten(names, width=1.4)
    assert short == [*names[:3], "short"]  # the middle is what tells them apart
    assert figures.style.shorten(["x" * 60, "short"], width=1.0)[0].count("…") == 1


SAVE = """
import sys, matplotlib
matplotlib.use("Agg")
from alpaca_analysis import figures, from_counts, win_rate
table = from_counts({"model": ["b", "a"], "n_wins": [7, 6], "n_losses": [3, 4], "n_draws": [1, 1]})
figures.save(figures.forest(win_rate(table, method="t")), sys.argv[1])
"""


@pytest.mark.slow
def test_saved_files_are_the_same_bytes_in_every_process(tmp_path):
    for run, seed in (("one", "1"), ("two", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        environment.pop("SOURCE_DATE_EPOCH", None)  # it would date the files, and hide that we do not
        subprocess.run([sys.executable, "-c", SAVE, tmp_path / run / "f"], check=True, env=environment)
    for suffix in ("pdf", "svg", "png"):
        one, two = ((tmp_path / run / f"f.{suffix}").read_bytes() for run in ("one", "two"))
        assert one == two, suffix
        assert len(one) > 1000
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["f.pdf", "f.png", "f.svg"]
    pdf = (tmp_path / "one" / "f.pdf").read_bytes()
    assert b"/Subtype /Type0" in pdf or b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf
    assert b"<text" not in (tmp_path / "one" / "f.svg").read_bytes()


@pytest.mark.slow
def test_save_writes_one_format_by_suffix_and_refuses_others(tmp_path, xwin):
    ax = figures.forest(win_rate(xwin, method="t"))
    assert figures.save(ax, tmp_path / "v0.1.png") == [tmp_path / "v0.1.png"]
    assert [p.name for p in figures.save(ax, tmp_path / "xwin-v0.1", formats=("svg",))] == ["xwin-v0.1.svg"]
    with pytest.raises(ValueError, match="found 'gif'"):
        figures.save(ax, tmp_path / "f", formats=("gif",))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v0.1.png", "xwin-v0.1.svg"]


@pytest.mark.slow
def test_a_saved_page_has_the_width_of_a_column(tmp_path, xwin):
    figures.save(figures.forest(win_rate(xwin, method="t")), tmp_path / "f.png")
    assert plt.imread(tmp_path / "f.png").shape[1] == 975  # 3.25 inches of 300 dots
