"""Pairs read in JupyterLab and on a page: fluid, by keyboard, harmless, with intervals that are the package's."""

import re
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from alpaca_analysis import browse, win_rate

from .conftest import outside
from .test_browser import SLOW, run_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> "
    "![i](http://example.org/i.png) [l](javascript:document.title='owned') **bold** `code`\n\n1. one\n2. two"
)
TABLE = """
import numpy as np, pandas as pd
def make(models, n):
    rng = np.random.default_rng(0)
    ids = [f"i{k:03}" for k in range(n)]
    parts = [pd.DataFrame({
        "instruction_id": ids, "dataset": np.where(np.arange(n) % 3, "koala", "vicuna"), "model": f"model-{m:02}",
        "reference": "the reference", "annotator": "the judge",
        "outcome": np.where(rng.random(n) < 0.05, 0.5, (rng.random(n) < (m + 1) / (models + 1)).astype(float)),
        "instruction": [f"Prompt {k}. Say **something** about {k % 7}." for k in range(n)],
        "output_model": [HOSTILE + " alpha beta " + "word " * int(rng.integers(20, 400)) for _ in range(n)],
        "output_reference": ["beta gamma delta " + "other " * int(rng.integers(20, 400)) for _ in range(n)],
    }) for m in range(models)]
    return pd.concat(parts, ignore_index=True)
"""


def make(models, n):
    space = {"HOSTILE": HOSTILE}
    exec(TABLE, space)
    return space["make"](models, n)


def quiet(page):
    """Return the errors that the page writes from here on, a list that grows."""
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


@pytest.fixture(scope="module")
def judged():
    return make(4, 60)


@pytest.fixture(scope="module")
def written(judged, tmp_path_factory):
    people = (
        judged[judged["model"] == "model-01"]
        .iloc[:20]
        .drop(columns="dataset")
        .assign(annotator="p1", outcome=1.0)
    )
    browser = browse(judged, humans=people)
    return browser, browser.to_html(tmp_path_factory.mktemp("pairs") / "pairs.html", n=200)


@pytest.mark.parametrize("width", [1200, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_of_pairs_is_harmless_and_asks_for_nothing(page, written, shots, scheme, width):
    said = quiet(page)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(written[1].as_uri())
    page.locator("section .text").first.wait_for()
    page.screenshot(path=shots / f"pairs_{scheme}_{width}.png")
    assert page.title() == "Pairs of 4 models judged by the judge"
    assert "<script>document.title" in page.locator("section .text").first.inner_text()
    assert page.locator("section .text strong").first.inner_text() == "bold"
    assert page.locator(".text img, .text script, .text a").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.locator("output").first.inner_text() == "200 of 200 pairs (40 more were left out of this page)"
    )
    assert page.requested == [written[1].as_uri()]
    assert said == []


def test_filters_sorts_and_search_show_the_right_pairs(page, written):
    browser, path = written
    pairs = browser.pairs.iloc[:200]
    page.goto(path.as_uri())
    page.get_by_label("verdict").select_option("1")
    page.get_by_label("model", exact=True).select_option(label="model-02")
    kept = pairs[(pairs["outcome"] > 0.5) & (pairs["model"] == "model-02")]
    assert page.locator("output").first.inner_text().startswith(f"{len(kept)} of 200")
    page.get_by_label("sort").select_option("length_difference")
    rows = page.locator(".pair").evaluate_all("nodes => nodes.map(n => +n.dataset.row)")
    longest = (
        kept.assign(at=range(len(kept)))["length_difference"]
        .abs()
        .sort_values(ascending=False, kind="stable")
    )
    assert pairs.index[rows].tolist() == longest.index[:10].tolist()
    page.get_by_label("model longer by at least").fill("100")
    kept = kept[kept["length_difference"] >= 100]
    assert page.locator("output").first.inner_text().startswith(f"{len(kept)} of 200")
    page.get_by_label("search").fill("PROMPT 1")
    found = kept[kept["instruction"].str.lower().str.contains("prompt 1")]
    page.wait_for_function(
        "n => document.querySelector('output').value.startsWith(n + ' of')", arg=len(found), timeout=5000
    )
    page.get_by_label("search").fill("")
    page.get_by_label("verdict").select_option("0.5")
    page.wait_for_timeout(400)
    kept = pairs[
        (pairs["outcome"] == 0.5) & (pairs["model"] == "model-02") & (pairs["length_difference"] >= 100)
    ]
    assert page.locator("output").first.inner_text().startswith(f"{len(kept)} of 200")


def test_slices_have_the_intervals_of_win_rate(page, judged, tmp_path):
    path = browse(judged, sort="random").to_html(tmp_path / "p.html", n=240)
    page.goto(path.as_uri())
    for by in ("model", "dataset"):
        page.get_by_label("slices by").select_option(by)
        rows = page.locator(".slices tbody tr").evaluate_all(
            "nodes => nodes.map(n => [...n.children].map(c => c.textContent))"
        )
        expected = win_rate(judged, by=by, method="t").set_index(by)
        assert [row[0] for row in rows] == expected.index.tolist()
        for name, _, rate, interval, n in rows:
            row = expected.loc[name]
            assert rate == f"{100 * row['win_rate']:.1f}"
            assert interval == f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
            assert int(n) == row["n_total"]


def test_slices_of_unequal_or_uniform_outcomes_have_the_intervals_of_win_rate(page, judged, tmp_path):
    uneven = judged[(judged["model"] != "model-00") | (judged.index % 7 == 0)].copy()  # units of unequal size
    uneven.loc[uneven["dataset"] == "vicuna", "outcome"] = 1.0
    part = uneven[uneven["model"] == "model-03"].index
    uneven.loc[part, "outcome"] = 1.0
    uneven.loc[part[0], "outcome"] = 0.5  # a loss may not have been seen yet
    page.goto(browse(uneven, sort="table").to_html(tmp_path / "p.html").as_uri())
    for by in ("model", "dataset"):
        page.get_by_label("slices by").select_option(by)
        rows = page.locator(".slices tbody tr").evaluate_all(
            "nodes => nodes.map(n => [...n.children].map(c => c.textContent))"
        )
        expected = win_rate(uneven, by=by, method="t").set_index(by)
        for name, _, _, interval, _ in rows:
            row = expected.loc[name]
            found = [float(text) for text in interval.split(" to ")]
            np.testing.assert_allclose(found, 100 * row[["ci_low", "ci_high"]].astype(float), atol=0.051)


def test_words_that_one_alone_or_both_have_are_marked(page, written):
    page.goto(written[1].as_uri())
    pair = page.locator(".pair").first
    left, right = pair.locator("section").nth(0), pair.locator("section").nth(1)
    marked = " ".join(left.locator("mark").all_inner_texts()).split()
    assert "alpha" in marked
    assert "beta" not in marked
    assert "gamma" in " ".join(right.locator("mark").all_inner_texts())
    page.get_by_label("mark").select_option("both")
    assert left.locator("mark").all_inner_texts() == ["beta"] == right.locator("mark").all_inner_texts()
    page.get_by_label("mark").select_option("")
    assert page.locator("mark").count() == 0
    page.get_by_label("texts").select_option("raw")
    assert "**bold**" in left.locator(".text").inner_text()


def test_pairs_are_read_and_selected_by_keyboard(page, written):
    browser, path = written
    page.goto(path.as_uri())
    page.locator(".aa-window").focus()
    for key in ("j", "x", "j", "j", "x", "k", "x", "x", "n", "j", "x"):
        page.keyboard.press(key)
    with page.expect_download() as download:
        page.get_by_text("save selection").click()
    saved = pd.read_csv(download.value.path())
    assert page.locator("output").nth(1).inner_text() == "3 selected"
    assert saved["row"].tolist() == browser.pairs.index[[0, 2, 11]].tolist()
    assert saved["instruction_id"].tolist() == browser.pairs.loc[saved["row"], "instruction_id"].tolist()


def notebook(lab, name, *cells):
    book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, lab.folder / name)
    return name


def test_32_200_pairs_are_fluid_in_jupyterlab_and_the_selection_comes_back(page, lab, shots):
    said = quiet(page)
    name = notebook(
        lab,
        "browse.ipynb",
        f"HOSTILE = {HOSTILE!r}\n{TABLE}\nimport alpaca_analysis as aa\nb = aa.browse(make(40, 805))\nb",
        "print('selected', b.selection['model'].unique().tolist(), len(b.selection))",
    )
    run_all(page, lab, name)
    root = page.locator("[data-ready]")
    root.wait_for(timeout=SLOW)
    assert float(root.get_attribute("data-ready")) < 1000
    page.locator("section .text").first.wait_for(timeout=SLOW)
    page.screenshot(path=shots / "browse_lab.png")
    times = []
    for value in ("1", "0", "0.5", ""):
        page.get_by_label("verdict").select_option(value)
        times.append(float(root.get_attribute("data-filtered")))
    assert np.median(times) < 100, times
    started = time.perf_counter()
    page.get_by_label("model", exact=True).select_option(label="model-07")
    page.wait_for_function("() => !document.querySelector('.aa-window .wait')", timeout=SLOW)
    assert time.perf_counter() - started < 3
    cells = page.locator(".jp-CodeCell").count()
    page.locator(".pair").first.focus()
    for key in ("x", "j", "x", "m", "r"):  # in JupyterLab's command mode they cut and change cells
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == cells
    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        """() => document.querySelector(".jp-Notebook").innerText.includes("selected ['model-07'] 2")""",
        timeout=SLOW,
    )
    assert outside(page) == []
    assert page.title() != "owned"
    assert [text for text in said if "owned" in text or "aa-window" in text or "Window" in text] == []


def test_pairs_are_labelled_blind_by_keyboard_in_jupyterlab(page, lab, shots, tmp_path):
    said = quiet(page)
    path = tmp_path / "labels.jsonl"
    name = notebook(
        lab,
        "label.ipynb",
        f"HOSTILE = {HOSTILE!r}\n{TABLE}\nimport alpaca_analysis as aa\n"
        f"labels = aa.label(make(2, 30), {str(path)!r}, n=12, by='model')\nlabels",
    )
    run_all(page, lab, name)
    view = page.locator(".aa-window.label")
    view.locator("section .text").first.wait_for(timeout=SLOW)
    page.screenshot(path=shots / "label_lab.png")
    text = view.inner_text()
    assert "model-0" not in text
    assert "the reference" not in text
    cells = page.locator(".jp-CodeCell").count()
    view.focus()
    for k, key in enumerate(["ArrowLeft", "ArrowRight", "ArrowDown", "s", "d"]):
        page.keyboard.press(key)
        page.get_by_text(f"{k + 1} of 12 pairs done").first.wait_for(timeout=SLOW)
    assert len(path.read_text().splitlines()) == 5
    page.keyboard.press("b")
    page.get_by_text("4 of 12 pairs done").first.wait_for(timeout=SLOW)
    assert page.locator(".jp-CodeCell").count() == cells  # its keys are not JupyterLab's
    kept = pd.read_json(path, lines=True)
    left = kept["outcome"].where(kept["position"] == 1, 1 - kept["outcome"])
    assert left.iloc[:3].tolist() == [1, 0, 0.5]
    assert np.isnan(left.iloc[3])
    assert outside(page) == []
    assert page.title() != "owned"
    assert [text for text in said if "owned" in text or "aa-window" in text] == []


def luminance(colour):
    """Return the relative luminance of a colour as a browser writes it."""
    channels = np.array([float(part) for part in re.findall(r"[0-9.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("width", [1200, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_jupyterlab_light_and_dark(page, lab, shots, tmp_path, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    name = notebook(
        lab,
        f"all_{scheme}.ipynb",
        f"HOSTILE = {HOSTILE!r}\n{TABLE}\nimport alpaca_analysis as aa\ntable = make(2, 30)\naa.explore(table)",
        "aa.browse(table)",
        f"aa.label(table, {str(tmp_path / 'l.jsonl')!r})",
    )
    run_all(page, lab, name)
    page.locator(".aa-window section .text").nth(3).wait_for(timeout=SLOW)
    page.locator(".aa-chart").first.wait_for(timeout=SLOW)
    page.screenshot(path=shots / f"all_{scheme}_{width}.png")
    seen = page.evaluate(
        """() => {
            const solid = (node) => {
                for (; node; node = node.parentElement) {
                    const colour = getComputedStyle(node).backgroundColor;
                    if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
                }
            };
            const chosen = ".aa-window .text, .aa-window select, .aa-window .measures, .aa-window .slices td, .aa-chart th, .aa-chart td.number";
            return [...document.querySelectorAll(chosen)].map((n) => [n.className, getComputedStyle(n).color, solid(n)]);
        }"""
    )
    assert len(seen) > 30
    for what, text, behind in seen:
        lighter, darker = sorted([luminance(text), luminance(behind)], reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 4.5, (what, text, behind)
    assert (luminance(seen[0][2]) < 0.1) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert outside(page) == []
