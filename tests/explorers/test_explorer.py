"""The explorer: what a choice shows, what it cannot, files of one's own, and how long one waits."""

import re
import time

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa

pytest.importorskip("ipywidgets")

from alpaca_analysis.explorers.explorer import BUNDLED, PEOPLE, ROWS, explore
from alpaca_analysis.explorers.views import AT_FIRST, CONTROLS, METHODS, USED, VIEWS

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
    judged = rows[rows["model"] != "c"].drop_duplicates(["instruction_id", "model"])
    people = [
        judged.assign(annotator=who, outcome=np.roll(judged["outcome"], k)) for k, who in enumerate("pq")
    ]
    return explore(rows, humans=pd.concat(people, ignore_index=True))


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
    low = explorer.result["rank_low" if view == "ranks" else "ci_low"]
    assert low.notna().all()
    assert explorer._chart.value.count("<tr>") == len(explorer.result) + 1


@pytest.mark.slow
def test_controls_reach_the_statistic(explorer, rows):
    explorer.choose(judge=("judge two", "ref"), source="koala", models=["a", "c"], level=0.8, method="t")
    part = rows[(rows["annotator"] == "judge two") & (rows["dataset"] == "koala")]
    expected = aa.win_rate(part[part["model"] != "b"], method="t", confidence_level=0.8)
    pd.testing.assert_frame_equal(explorer.result, expected)
    explorer.choose(source="", view="head-to-head", a="c", b="a", level=0.95)
    two = rows[rows["annotator"] == "judge two"]
    whole = explorer.result.drop(columns="instructions").head(1)
    pd.testing.assert_frame_equal(whole, aa.compare(two, "c", "a", n_resamples=1999))
    assert explorer.result["instructions"].tolist() == ["all instructions", "koala", "vicuna"]
    koala = aa.compare(two[two["dataset"] == "koala"], "c", "a", n_resamples=1999)
    assert explorer.result["difference"][1] == koala["difference"].item()
    explorer.choose(view="length response", models=["a", "b", "c"])
    pd.testing.assert_frame_equal(explorer.result, aa.response_curve(two, n_bins=8, method="t"))


@pytest.mark.parametrize("control", [c for c, o in CONTROLS.items() if o.get("difficulty", "") is None])
@pytest.mark.slow
def test_length_control_is_fitted_as_chosen(explorer, rows, control):
    explorer.choose(control=control)
    one = rows[rows["annotator"] == "judge one"]
    expected = aa.fit_length_control(one, **CONTROLS[control]).to_frame()
    np.testing.assert_allclose(explorer.result["lc_win_rate"], expected["lc_win_rate"], rtol=1e-12)
    raw = aa.win_rate(one, n_resamples=1999).set_index("model")
    both = explorer.result.set_index("model")
    np.testing.assert_allclose(both["raw_ci_low"], raw["ci_low"].reindex(both.index))
    assert explorer.answer.chart.series == ("raw", "at equal length")
    drawn = {name: [mark.value for mark in marks] for name, marks in explorer.answer.chart.rows}
    for model in "abc":
        np.testing.assert_allclose(
            drawn[model], 100 * both.loc[model, ["win_rate", "lc_win_rate"]].astype(float)
        )


@pytest.mark.slow
@pytest.mark.parametrize("view", ["ranks", "head-to-head", "people"])
def test_a_column_cuts_into_slices(explorer, rows, view):
    assert [value for _, value in explorer.controls["by"].options] == ["", "dataset"]
    explorer.choose(view=view, by="dataset", models=["a", "b"], a="a", b="b")
    assert explorer.result.columns[0] == "dataset"
    assert "test that all slices are equal: F(" in explorer.answer.message
    assert explorer.answer.picture.startswith(PNG)
    assert "by='dataset'" in explorer.code
    names = re.findall(r'<th scope="row">([^<]*)</th>', explorer._chart.value)
    assert all(name.startswith(("koala", "vicuna")) for name in names)
    assert len(names) == len(explorer.result)
    judged = rows[rows["model"] != "c"].drop_duplicates(["instruction_id", "model"])
    votes = [judged.assign(annotator=w, outcome=np.roll(judged["outcome"], k)) for k, w in enumerate("pq")]
    space = {"table": rows, "humans": pd.concat(votes, ignore_index=True)}
    exec(explorer.code, space)
    pd.testing.assert_frame_equal(space["result"], explorer.result)


@pytest.mark.slow
def test_the_same_choice_is_answered_from_memory(explorer):
    first = explorer.answer
    explorer.choose(view="length response").choose(view="leaderboard")
    assert explorer.answer is first


@pytest.mark.slow
def test_as_many_models_are_shown_as_are_chosen():
    names = [f"m{k:02}" for k in range(40)]
    explorer = explore(aa.from_counts({"model": names, "n_wins": 7, "n_losses": 2, "n_draws": 1}))
    assert len(explorer.controls["models"].value) == AT_FIRST
    explorer.choose(models=names)
    assert len(explorer.result) == 40
    assert set(re.findall(r">(m\d\d)<", explorer._chart.value)) == set(names)


@pytest.mark.slow
def test_controls_without_effect_are_disabled(explorer):
    for view in VIEWS:
        explorer.choose(view=view, a="a", b="b")
        disabled = {name for name, control in explorer.controls.items() if control.disabled}
        assert disabled == set(explorer.controls) - USED[view] - {"data", "judge", "view"}
        before = explorer.result
        for name in disabled & {"a", "b", "control", "method"}:
            options = explorer.controls[name].options
            last = options[-1][-1] if isinstance(options[-1], tuple) else options[-1]
            explorer.choose(**{name: last})
        pd.testing.assert_frame_equal(explorer.result, before)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.slow
def test_the_code_computes_what_is_shown(explorer, rows, view):
    explorer.choose(view=view, method="t", source="" if view == "people" else "koala", models=["a", "b"])
    if view == "leaderboard":
        explorer.choose(control="and at equal length: no difficulties")
    judged = rows[rows["model"] != "c"].drop_duplicates(["instruction_id", "model"])
    people = [
        judged.assign(annotator=who, outcome=np.roll(judged["outcome"], k)) for k, who in enumerate("pq")
    ]
    space = {"table": rows, "humans": pd.concat(people, ignore_index=True)}
    exec(explorer.code, space)
    if view == "leaderboard":
        controlled = space["controlled"].to_frame().set_index("model")
        shown = explorer.result.set_index("model")
        np.testing.assert_allclose(shown["lc_win_rate"], controlled["lc_win_rate"].reindex(shown.index))
        return
    value = {
        "ranks": "rank",
        "head-to-head": "difference",
        "length response": "outcome",
        "people": "agreement",
    }
    value = value.get(view, "probability")
    mine = explorer.result if view != "head-to-head" else explorer.result.head(1)
    np.testing.assert_allclose(space["result"][value], mine[value])


@pytest.mark.slow
def test_code_of_bundled_data_runs_as_it_is(offline):
    explorer = explore()
    for data in explorer.controls["data"].options:
        explorer.choose(data=data, view="people" if data == PEOPLE else "leaderboard")
        space = {}
        exec(explorer.code, space)
        result = space["result"] if data == PEOPLE else space["raw"]
        pd.testing.assert_frame_equal(result, explorer.result)


@pytest.mark.slow
def test_people_and_style(explorer, rows):
    explorer.choose(view="people")
    assert set(explorer.result["annotator"]) == {"judge one", "humans"}
    assert "Agreement with the remaining people (%)" in explorer._chart.value
    one = rows[rows["annotator"] == "judge one"]
    explorer.choose(view="style")
    expected = aa.prefer_longer(one, min_difference=0, n_resamples=1999)
    assert explorer.result["probability"].tolist() == expected["probability"].tolist()
    words = explore(rows.assign(words_model=rows["length_model"] // 5, words_reference=90))
    words.choose(view="style", method="t")
    assert words.result["more"].tolist() == ["characters", "words"]
    fewer = one.assign(length_model=one["length_model"] // 5, length_reference=90)
    expected = aa.prefer_longer(fewer, min_difference=0, method="t")
    assert words.result["probability"][1] == expected["probability"].item()
    bare = explore(aa.from_counts({"model": ["a"], "n_wins": [7], "n_losses": [2], "n_draws": [1]}))
    bare.choose(view="people")
    assert bare.answer.message.startswith("No people judged these pairs.")


@pytest.mark.slow
def test_the_pairs_behind_what_is_shown_are_opened(explorer, rows):
    explorer.choose(judge=("judge two", "ref"), view="head-to-head", a="a", b="c", source="koala")
    opened = explorer.open_pairs()
    two = rows[
        (rows["annotator"] == "judge two") & (rows["dataset"] == "koala") & rows["model"].isin(["a", "c"])
    ]
    assert len(opened.pairs) == len(two)
    assert set(opened.pairs["annotator"]) == {"judge two"}
    assert explorer._pairs.children == (opened.widget,)
    explorer.choose(a="b")
    assert explorer._pairs.children == ()
    counts = explore(aa.from_counts({"model": ["a"], "n_wins": [7], "n_losses": [2], "n_draws": [1]}))
    assert counts.open_pairs() is None
    assert "counts name no pairs" in counts._message.value


@pytest.mark.slow
def test_the_figure_is_saved_beside_the_notebook(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer.choose(view="length response")
    explorer.buttons["save"].click()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"explorer_length_response.{s}" for s in ("pdf", "svg", "png")
    }
    assert "Saved" in explorer._message.value


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
    assert explorer.controls["data"].options == (BUNDLED, PEOPLE)
    board = aa.load("alpaca_eval_v1_leaderboard").set_index("model")["win_rate"]
    assert len(explorer.result) == AT_FIRST
    both = 100 * explorer.result.set_index("model")["win_rate"]
    both = both[both.index.isin(board.index)]
    assert len(both) > AT_FIRST / 2
    np.testing.assert_allclose(both, board[both.index], rtol=0, atol=1e-9)
    explorer.choose(control="and at equal length: AlpacaEval's fit")
    cells = aa.fit_length_control(aa.load("alpaca_eval_v1_cells")).to_frame().set_index("model")
    mine = explorer.result.set_index("model")["lc_win_rate"]
    np.testing.assert_allclose(mine, cells["lc_win_rate"].reindex(mine.index), rtol=1e-12)
    for change in ({"source": "koala"}, {"source": "", "control": "and at equal length: log ratio"}):
        explorer.choose(**change)
        assert "hold no lengths" in explorer.answer.message
    explorer.choose(view="length response")
    assert explorer.answer.picture == b""
    assert "hold no lengths" in explorer.answer.message
    assert explorer._chart.value == ""


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
        *("div", "p", "img", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong")
    }
    assert "<script" not in explorer._chart.value + explorer._code.value
    assert "<img" not in explorer._chart.value + explorer._code.value
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
def test_each_view_answers_within_200_milliseconds_with_all_models(mirror):
    explorer = explore()
    for data in (*ROWS, BUNDLED):
        explorer.choose(data=data)
        explorer.choose(models=[name for _, name in explorer.controls["models"].options])
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
                assert min(seconds) < 0.2
