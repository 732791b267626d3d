"""The explorer: what a choice shows, what it cannot, files of one's own, and how long one waits."""

import re
import time

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa

pytest.importorskip("ipywidgets")

from alpaca_analysis.explorers.explorer import BUNDLED, ROWS, explore
from alpaca_analysis.explorers.views import CONTROLS, METHODS, MOST, VIEWS

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 120
    return pd.concat(
        pd.DataFrame(
            {
                "instruction_id": [f"i{k}" for k in range(n)],
                "dataset": np.where(np.arange(n) % 2, "koala", "vicuna"),
                "model": model,
                "reference": "ref",
                "annotator": judge,
                "outcome": (rng.random(n) < rate).astype(float),
                "length_model": rng.integers(50, 900, n),
                "length_reference": rng.integers(50, 900, n),
            }
        )
        for judge in ("judge one", "judge two")
        for model, rate in (("a", 0.7), ("b", 0.4), ("c", 0.2))
    )


@pytest.fixture
def explorer(rows):
    return explore(rows)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Take away the mirror and the cache."""
    monkeypatch.delenv("ALPACA_ANALYSIS_DATA", raising=False)
    monkeypatch.setenv("ALPACA_ANALYSIS_CACHE", str(tmp_path / "none"))


@pytest.mark.slow
def test_it_opens_on_the_leaderboard_of_one_judge(explorer, rows):
    assert explorer.controls["judge"].value == ("judge one", "ref")
    one = rows[rows["annotator"] == "judge one"]
    expected = aa.win_rate(one, n_resamples=1999)
    pd.testing.assert_frame_equal(explorer.result, expected)
    assert explorer.answer.picture.startswith(PNG)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.slow
def test_every_view_answers_with_every_interval(explorer, view, method):
    explorer.choose(view=view, method=method)
    assert explorer.answer.picture.startswith(PNG)
    assert explorer.result["ci_low"].notna().all()


@pytest.mark.slow
def test_controls_reach_the_statistic(explorer, rows):
    explorer.choose(judge=("judge two", "ref"), source="koala", models=["a", "c"], level=0.8, method="t")
    part = rows[(rows["annotator"] == "judge two") & (rows["dataset"] == "koala")]
    expected = aa.win_rate(part[part["model"] != "b"], method="t", confidence_level=0.8)
    pd.testing.assert_frame_equal(explorer.result, expected)
    explorer.choose(source="", view="head-to-head", a="c", b="a", level=0.95)
    two = rows[rows["annotator"] == "judge two"]
    pd.testing.assert_frame_equal(explorer.result, aa.compare(two, "c", "a"))
    explorer.choose(view="length response", models=["a", "b", "c"])
    pd.testing.assert_frame_equal(explorer.result, aa.response_curve(two, n_bins=8, method="t"))


@pytest.mark.parametrize("control", [c for c, o in CONTROLS.items() if o.get("difficulty", "") is None])
@pytest.mark.slow
def test_length_control_is_fitted_as_chosen(explorer, rows, control):
    explorer.choose(control=control)
    one = rows[rows["annotator"] == "judge one"]
    expected = aa.fit_length_control(one, **CONTROLS[control]).to_frame()
    np.testing.assert_allclose(explorer.result["lc_win_rate"], expected["lc_win_rate"], rtol=1e-12)


@pytest.mark.slow
def test_the_same_choice_is_answered_from_memory(explorer):
    first = explorer.answer
    explorer.choose(view="length response").choose(view="leaderboard")
    assert explorer.answer is first


@pytest.mark.slow
def test_more_models_than_fit_are_said_to_be_left_out():
    names = [f"m{k}" for k in range(MOST + 3)]
    explorer = explore(aa.from_counts({"model": names, "n_wins": 7, "n_losses": 2, "n_draws": 1}))
    assert len(explorer.controls["models"].value) == MOST
    explorer.choose(models=names)
    assert explorer.answer.message == f"The first {MOST} of {len(names)} chosen models are shown."


@pytest.mark.slow
def test_a_choice_that_is_none_is_refused_in_plain_words(explorer):
    with pytest.raises(ValueError, match=r"found 'colour', expected one of data, judge"):
        explorer.choose(colour="red")
    with pytest.raises(ValueError, match=r"models: found 'z', expected one of 3 such as"):
        explorer.choose(models=["a", "z"])
    explorer.choose(view="head-to-head", a="a", b="a")
    assert explorer.answer.message == "Choose two different models."
    assert explorer.result is None


@pytest.mark.slow
def test_without_rows_counts_answer_and_say_what_they_cannot(offline):
    explorer = explore()
    assert explorer.controls["data"].options == (BUNDLED,)
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")["win_rate"]
    assert len(explorer.result) == MOST
    both = 100 * explorer.result.set_index("model")["win_rate"]
    both = both[both.index.isin(board.index)]
    assert len(both) > MOST / 2
    np.testing.assert_allclose(both, board[both.index], rtol=0, atol=1e-9)
    explorer.choose(control="equal length: AlpacaEval's fit")
    cells = aa.fit_length_control(aa.load("alpaca_eval_v1_cells")).to_frame().set_index("model")
    mine = explorer.result.set_index("model")["lc_win_rate"]
    np.testing.assert_allclose(mine, cells["lc_win_rate"].reindex(mine.index), rtol=1e-12)
    for change in ({"source": "koala"}, {"source": "", "control": "equal length: log ratio"}):
        explorer.choose(**change)
        assert "hold no lengths" in explorer.answer.message
    explorer.choose(view="length response")
    assert explorer.answer.picture == b""
    assert "hold no lengths" in explorer.answer.message
    assert explorer._image.layout.display == "none"


@pytest.mark.slow
def test_a_file_of_ones_own_becomes_a_choice(explorer):
    explorer.add_file("mine.csv", b"model,outcome\nm,1\nm,0\nn,1\nn,0\nn,1\n")
    assert explorer.controls["data"].value == "mine.csv"
    assert set(explorer.result["model"]) == {"m", "n"}
    assert [label for label, _ in explorer.controls["judge"].options] == ["judge unknown against unknown"]
    explorer.add_file("mine.csv", b"model,outcome\nk,1\nk,0\n")
    assert explorer.result["model"].tolist() == ["k"]
    explorer.choose(data="mine.csv")
    assert set(explorer.result["model"]) == {"m", "n"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.csv", b"model,outcome\nm,7\n", "found 7"),
        ("bad.json", b"{", "bad.json"),
        ("bad.txt", b"hello", "bad.txt"),
        ("../../evil.csv", b"a,b\n1,2\n", "expected"),
        ("<script>.json", b"[]", "&lt;script&gt;.json cannot be read"),
    ],
)
@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_explained_and_changes_nothing(explorer, name, content, says):
    before = explorer.result
    explorer.add_file(name, content)
    assert says in explorer._message.value
    assert "Traceback" not in explorer._message.value
    assert "/tmp" not in explorer._message.value
    assert explorer.result is before


def test_an_uploaded_file_arrives(explorer):
    content = memoryview(b"model,outcome\nm,1\nm,0\n")
    explorer._upload.value = ({"name": "up.csv", "type": "text/csv", "size": 22, "content": content,
                               "last_modified": pd.Timestamp("2024-01-01", tz="UTC").to_pydatetime()},)  # fmt: skip
    assert explorer.controls["data"].value == "up.csv"


def test_names_cannot_act():
    names = ["<script>alert(1)</script>", "x\x1b[2J", '"><img src=x onerror=alert(1)>']
    table = aa.from_counts(
        {"model": names, "n_wins": [5, 4, 3], "n_losses": 4, "n_draws": 1},
        reference=names[0],
        annotator=names[2],
    )
    explorer = explore(table)
    page = explorer._repr_mimebundle_()["text/html"]
    assert set(re.findall(r"<([a-z]+)", page)) <= {
        *("div", "p", "img", "table", "caption", "thead", "tbody", "tr", "th", "td")
    }
    assert "\x1b" not in page + repr(explorer) + "".join(
        label for label, _ in explorer.controls["models"].options
    )
    explorer.choose(view="length response")
    assert "<script" not in explorer._message.value


def test_a_page_without_a_kernel_shows_the_figure_and_its_numbers(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert 'src="data:image/png;base64,' in bundle["text/html"]
    assert "<table" in bundle["text/html"]


@pytest.mark.benchmark
@pytest.mark.rows
def test_each_view_answers_within_300_milliseconds(mirror):
    explorer = explore()
    for data in (*ROWS, BUNDLED):
        explorer.choose(data=data)
        for view in VIEWS:
            for method in ("t", "bca"):
                explorer.choose(view=view, method=method)  # once, for what loads when first used
                seconds = []
                for _ in range(3):
                    explorer._answers.clear()
                    start = time.process_time()
                    explorer._update()
                    seconds.append(time.process_time() - start)
                print(f"{data:30s} {view:16s} {method:4s} {min(seconds):.3f} s of processor time")
                assert min(seconds) < 0.3
