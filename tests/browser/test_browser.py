"""What a person sees: notebooks run in JupyterLab, a control moved by keyboard, the report opened."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import audit, from_counts

from .conftest import ROOT, outside

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
SLOW = 120_000  # milliseconds: a loaded machine starts kernels and imports slowly


def run_all(page, lab, name):
    """Open a notebook, run all its cells and wait until every one is numbered."""
    page.goto(f"{lab.address}/lab/tree/{name}?token={lab.token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=SLOW)
    page.get_by_text(re.compile(r"\| Idle$")).first.wait_for(timeout=SLOW)  # the kernel has answered
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    if page.locator(".jp-Dialog").count():  # which kernel? a slow one has not said yet that it is there
        page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            return prompts.some(p => p.textContent.match('[0-9]')) && !prompts.some(p => p.textContent.includes('*'));
        }""",
        timeout=SLOW,
    )
    page.wait_for_selector(IDLE, timeout=SLOW)


def saved(page, lab, name):
    """Save the notebook and return it."""
    before = (lab.folder / name).stat().st_mtime_ns
    page.keyboard.press("Control+s")
    for _ in range(600):
        if (lab.folder / name).stat().st_mtime_ns != before:
            break
        page.wait_for_timeout(100)
    return nbformat.read(lab.folder / name, as_version=4)


def test_win_rates_run_in_jupyterlab(page, lab, shots):
    run_all(page, lab, "01_win_rates.ipynb")
    page.screenshot(path=shots / "01_win_rates.png")
    cells = [c for c in saved(page, lab, "01_win_rates.ipynb").cells if c.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert [o for o in outputs if "image/png" in o.get("data", {})]
    assert [o for o in outputs if "95.28" in o.get("data", {}).get("text/html", "")]
    assert outside(page) == []


def test_controls_of_the_explorer_moved_by_keyboard_change_the_chart_at_once(page, lab, shots):
    page.set_viewport_size({"width": 1200, "height": 950})
    run_all(page, lab, "07_explore.ipynb")
    chart = page.locator(".aa-explorer .aa-chart").first
    chart.wait_for(timeout=SLOW)
    page.screenshot(path=shots / "07_explore_before.png")
    slider = page.locator(".widget-slider [role=slider]").first
    assert page.locator(".widget-readout").first.inner_text().strip() == "95 %"
    slider.focus()
    # From the key to the changed chart, the kernel's answer included, seen by the page itself.
    page.evaluate(
        """() => {
            const root = document.querySelector('.aa-explorer');
            window.waited = [];
            let pressed = null, before = null;
            const text = () => root.querySelector('.aa-chart')?.innerText;
            document.addEventListener('keydown', () => { pressed = performance.now(); before = text(); }, true);
            new MutationObserver(() => {
                if (pressed !== null && text() !== before) { waited.push(performance.now() - pressed); pressed = null; }
            }).observe(root, {childList: true, subtree: true, characterData: true});
        }"""
    )
    for k, key in enumerate(["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"]):
        slider.press(key)
        page.wait_for_function("n => window.waited.length === n", arg=k + 1, timeout=SLOW)
    waited = page.evaluate("window.waited")
    assert page.locator(".widget-readout").first.inner_text().strip() == "99 %"
    assert np.median(waited) < 200, waited
    page.get_by_text("99 % interval (%)").first.wait_for(timeout=SLOW)
    numbers = page.locator(".aa-chart td.number").evaluate_all(
        "nodes => nodes.map(n => [n.offsetHeight, n.scrollWidth - n.clientWidth, n.getBoundingClientRect().right])"
    )
    assert all(height < 24 and clipped <= 0 and right < 1200 for height, clipped, right in numbers)
    page.screenshot(path=shots / "07_explore_after.png")
    assert outside(page) == []


def test_the_explorer_opens_pairs_and_copies_its_code(page, lab, shots):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    name = "explore_rows.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(f"{PAIRS}\nimport alpaca_analysis as aa\naa.explore(table)")],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        ),
        lab.folder / name,
    )
    run_all(page, lab, name)
    page.locator(".aa-chart").first.wait_for(timeout=SLOW)
    page.get_by_role("button", name="head-to-head").click()
    page.get_by_text(re.compile(r"Difference of win rates \(points\), \w less \w")).wait_for(timeout=SLOW)
    page.get_by_role("button", name="Copy the code").click()
    page.get_by_role("button", name="Copied").wait_for(timeout=SLOW)
    assert "result = aa.compare(table, " in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Read the pairs").click()
    page.locator(".aa-window section .text").first.wait_for(timeout=SLOW)
    assert "60 of 60 pairs" in page.locator(".aa-window output").first.inner_text()
    page.screenshot(path=shots / "explore_pairs.png")
    assert outside(page) == []


PAIRS = """
import numpy as np, pandas as pd
n = 30
table = pd.concat([pd.DataFrame({
    "instruction": [f"prompt {k}" for k in range(n)], "model": model, "reference": "r", "annotator": "judge",
    "outcome": np.random.default_rng(seed).integers(0, 2, n).astype(float),
    "output_model": [f"{model} says {k} " * (k % 5 + 1) for k in range(n)],
    "output_reference": [f"reference {k}" for k in range(n)]}) for seed, model in enumerate("ab")])
"""


def upload(page, path):
    with page.expect_file_chooser() as chooser:
        page.locator(".jp-OutputArea .widget-upload").first.click()
    chooser.value.set_files(path)


def test_a_file_of_ones_own_is_read_and_a_bad_one_is_explained(page, lab, tmp_path):
    run_all(page, lab, "07_explore.ipynb")
    bad, good = tmp_path / "bad<b>.csv", tmp_path / "good.csv"
    bad.write_text("model,outcome\nm,7\n")
    good.write_text("model,outcome\n" + "m,1\nm,0\n" * 20)
    upload(page, bad)
    said = page.get_by_text(re.compile(r"bad<b>\.csv cannot be read\. .*found 7"))
    said.first.wait_for(timeout=SLOW)
    upload(page, good)
    choice = page.locator(".widget-dropdown select").first
    page.wait_for_function(
        "select => select.selectedOptions[0].textContent === 'good.csv'",
        arg=choice.element_handle(),
        timeout=SLOW,
    )
    assert outside(page) == []


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the page of an audit with a figure of each kind, and with hostile names."""
    rng = np.random.default_rng(0)
    n = 300
    reference_lengths = rng.integers(50, 900, n)
    models = [
        pd.DataFrame(
            {
                "instruction_id": [f"i{k}" for k in range(n)],
                "model": model,
                "reference": "<script>document.title = 'owned'</script>",
                "annotator": '"><img src=x onerror="document.title = \'owned\'">',
                "outcome": (rng.random(n) < rate).astype(float),
                "length_model": rng.integers(50, 900, n),
                "length_reference": reference_lengths,
                "position": rng.integers(1, 3, n),
            }
        )
        for model, rate in (("gpt4", 0.9), ("claude-2", 0.8), ("javascript:document.title='owned'", 0.4))
    ]
    table = pd.concat(models, ignore_index=True)
    claims = pd.DataFrame(
        {"model": ["gpt4", "claude-2"], "reference": table["reference"].iloc[0], "printed": ["90.0", "10.0"]}
    )
    result = audit(table, claims=claims, n_resamples=499)
    return result.to_html(tmp_path_factory.mktemp("report") / "audit.html")


@pytest.mark.parametrize("width", [1200, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_whole_and_asks_for_nothing(page, report, shots, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 950})
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(report.as_uri())
    images = page.locator("img").evaluate_all("nodes => nodes.map(n => [n.complete, n.naturalWidth])")
    assert len(images) == 4
    assert all(complete and width > 300 for complete, width in images)
    assert page.locator("table").count() >= 6
    assert page.locator("table").first.is_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
    assert page.title().startswith("Audit of")
    assert page.requested[0] == report.as_uri()
    assert all(url.startswith("data:") for url in page.requested[1:])
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"audit_{scheme}_{width}.png", full_page=True)


def test_tables_of_the_report_sort_and_filter(page, tmp_path):
    counts = {
        "model": [f"m{k:02}" for k in range(12)],
        "n_wins": list(range(40, 52)),
        "n_losses": 30,
        "n_draws": 0,
    }
    result = audit(from_counts(counts), n_resamples=99)
    path = result.to_html(tmp_path / "a.html")
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    table = page.locator("section", has=page.locator("#win_rates"))
    names = "rows => rows.filter(r => !r.hidden).map(r => r.cells[0].textContent)"

    def shown():
        return table.locator("tbody tr").evaluate_all(names)

    assert shown() == [f"m{k:02}" for k in reversed(range(12))]
    table.get_by_role("button", name="wins").click()
    assert shown() == [f"m{k:02}" for k in reversed(range(12))]
    table.get_by_role("button", name="wins").click()
    assert shown() == [f"m{k:02}" for k in range(12)]
    table.get_by_role("button", name="model").click()
    table.get_by_role("button", name="model").click()
    assert shown() == [f"m{k:02}" for k in reversed(range(12))]
    table.get_by_label("filter the rows of this table").fill("m1")
    assert set(shown()) == {"m10", "m11"}
    absent = (result.checks()["why"] != "").sum()
    done = len(result.checks()) - absent
    assert page.locator("#summary").inner_text() == f"{done} checks, no problem; {absent} not looked at."
    assert page.locator("ul.cards li").count() == done + absent
    assert said == []


def test_the_report_prints(page, report, shots):
    page.goto(report.as_uri())
    page.pdf(path=shots / "audit.pdf", format="A4")
    assert (shots / "audit.pdf").stat().st_size > 20_000


def test_the_report_fits_a_telephone(page, report, shots):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(report.as_uri())
    width = page.evaluate("document.documentElement.scrollWidth")
    page.screenshot(path=shots / "audit_narrow.png", full_page=True)
    assert width <= 390


def test_executed_notebooks_ask_for_nothing(page):
    pages = sorted((ROOT / "build" / "notebooks").glob("*.html"))
    if not pages:
        pytest.skip("needs the pages that `make reproduce` leaves under build/notebooks")
    for path in pages:
        page.goto(path.as_uri())
    assert outside(page) == []
    assert not [url for url in page.requested if url.startswith("http")]


def test_counts_alone_make_a_report_that_says_what_is_missing(page, tmp_path):
    table = from_counts({"model": ["a"], "n_wins": [7], "n_losses": [2], "n_draws": [1]})
    result = audit(table, n_resamples=99)
    page.goto(result.to_html(tmp_path / "a.html").as_uri())
    absent = (result.checks()["status"] == "not looked at").sum()
    assert page.locator("#absent ~ ul li").count() == absent >= 7
