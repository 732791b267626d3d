"""Full disks, folders nobody may write to, kill -9, other locales: nothing half-written, nothing different."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis import AnnotationError
from alpaca_analysis.foundations.files import write_text

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}

WRITERS = {
    "report.html": "aa.audit(table).to_html('report.html')",
    "report.json": "aa.audit(table).to_json('report.json')",
    "table.csv": "aa.to_csv(aa.win_rate(table, method='t'), 'table.csv')",
    "figure.pdf": "aa.figures.save(aa.figures.forest(aa.win_rate(table, method='t')), 'figure', formats=['pdf'])",
}
PREPARE = """
import alpaca_analysis as aa
table = aa.load("alpaca_eval_v1_counts")
"""


def run(code, folder, *, before=None, check=False, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=ENVIRONMENT | environment,
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=check,
    )


def disk_full():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.slow
def test_full_disk_leaves_what_was_there(name, tmp_path):
    (tmp_path / name).write_text("before")
    done = run(PREPARE + WRITERS[name], tmp_path, before=disk_full)
    assert "OSError" in done.stderr
    assert "File too large" in done.stderr
    assert (tmp_path / name).read_text() == "before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(os.getuid() != 0, reason="as root: becomes another user for a moment")
def test_folder_nobody_may_write_to_is_named():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=folder):
                write_text(f"{folder}/a.txt", "x")
        finally:
            os.seteuid(0)
        assert not os.listdir(folder)


def whole(path):
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else text.rstrip().endswith("</html>")


@pytest.mark.slow
def test_kill_while_a_report_is_written_leaves_it_whole(tmp_path):
    code = PREPARE + (
        "result = aa.audit(table)\nresult.to_html('report.html'); result.to_json('report.json')\n"
        "print('ready', flush=True)\n"
        "while True: result.to_html('report.html'); result.to_json('report.json')"
    )
    for wait in (0.0, 0.05, 0.11):
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        assert all(whole(tmp_path / name) for name in ("report.html", "report.json"))
    seen = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert seen == {"report.html", "report.json"}
    with pytest.raises(AnnotationError, match="records"):
        aa.read_annotations(tmp_path)  # neither reports nor what a kill left beside them are annotations


def test_hidden_files_left_by_a_kill_are_not_read(tmp_path):
    row = {"instruction": "Hello?", "output_1": "a", "output_2": "b", "generator_1": "r", "generator_2": "m",
           "dataset": "d", "annotator": "j", "preference": 2}  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps([row]))
    (tmp_path / ".mine.123.abcd.json").write_text(json.dumps([row])[:40])
    assert len(aa.read_annotations(tmp_path)) == 1


NOTEBOOK = """
import pandas as pd
import alpaca_analysis as aa
from alpaca_analysis.present import tables
rates = aa.win_rate(aa.load("alpaca_eval_v1_counts"), method="t")
aa.figures.save(aa.figures.forest(rates.head(5)), "../build/figures/01_small", formats=["pdf"])
tables.save(pd.DataFrame({"claim": ["c"], "printed": ["1"]}), "../build/tables/01_small_published")
"""


@pytest.mark.simulation
def test_kill_during_reproduce_and_the_next_run_succeeds(tmp_path):
    import nbformat

    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "reproduce.py", tmp_path / "notebooks")
    cells = [nbformat.v4.new_code_cell(line) for line in NOTEBOOK.strip().splitlines()]
    source = tmp_path / "notebooks" / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    command = [sys.executable, str(tmp_path / "notebooks" / "reproduce.py"), str(source)]
    start = time.monotonic()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    usual = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    first = {p: p.read_bytes() for p in (tmp_path / "build").rglob("*.[pc][ds][fv]")}
    assert len(first) == 2
    for share in (0.4, 0.7, 0.9):
        with subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as p:
            time.sleep(share * usual)
            p.kill()
        for path, content in first.items():
            assert path.read_bytes() == content
        nbformat.read(tmp_path / "build" / "notebooks" / "01_small.ipynb", as_version=4)
        assert whole(tmp_path / "build" / "notebooks" / "01_small.html")
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1" in done.stdout


RESULTS = (
    "import locale; locale.setlocale(locale.LC_ALL, '')  # as programs with windows do\n"
    + PREPARE
    + """
import hashlib, json, pandas as pd
from pathlib import Path
row = {"instruction": "\\u0130\\u0131iI?", "output_1": "a", "output_2": "b\\u00e4", "generator_1": "r", "generator_2": "\\u0130stanbul",
       "dataset": "d", "annotator": "j", "preference": 2}
Path("annotations.json").write_text(json.dumps([row, row | {"instruction": "2", "preference": 1}]), encoding="utf-8")
pair = [aa.read_annotations("annotations.json")]
report = aa.audit(table)
report.to_html("report.html")
aa.to_csv(aa.win_rate(pair[0], method="t").assign(outcome=0.25), "table.csv")
out = [aa.win_rate(table, n_resamples=499), aa.compare(table, "gpt4", "claude-2"), aa.win_rate(pair[0], method="t"),
       pair[0], aa.check_claims(aa.load("xwin_claims"), aa.load("alpaca_eval_v1_counts")),
       aa.published_length_control().to_frame(), report.to_frame(), aa.read_annotations("table.csv")]
print("\\n".join(ascii(frame.to_csv()) for frame in out))
print(ascii(aa.show(out[0])._repr_html_()))
print(hashlib.sha256(Path("report.html").read_bytes()).hexdigest())
"""
)
SETTINGS = [
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LC_ALL": "tr_TR.UTF-8"},
    {"LC_ALL": "de_DE.UTF-8"},
    {"TZ": "Asia/Kathmandu"},
    {"PYTHONHASHSEED": "1"},
    {"PYTHONHASHSEED": "2"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return run(RESULTS, tmp_path_factory.mktemp("usual"), check=True).stdout


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(s.values()))
@pytest.mark.slow
def test_surroundings_change_no_digit(setting, usual, tmp_path):
    if "LC_ALL" in setting:
        known = run("import locale; locale.setlocale(locale.LC_ALL, '')", tmp_path, **setting)
        if known.returncode:
            pytest.skip(f"the locale {setting['LC_ALL']} is not installed here")
    done = run(RESULTS, tmp_path, **setting)
    assert done.returncode == 0, done.stderr
    assert done.stdout == usual


def judged(seed=0, n=60):
    """Return judgements of three models by two judges on instructions they share."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        [(f"i{k}", m, j) for k in range(n) for m in "abc" for j in ("j", "k")],
        columns=["instruction_id", "model", "annotator"],
    )
    frame["outcome"] = rng.choice([0, 0.5, 1], len(frame), p=[0.3, 0.1, 0.6])
    frame["length_model"], frame["length_reference"] = rng.integers(1, 2000, (2, len(frame)))
    return frame.assign(reference="r", dataset=frame["instruction_id"].str[-1])


def of_judge(table):
    return table[table["annotator"] == "j"]


def flipped(table, k):
    """Return the judgements with a share of them turned round, the same whatever the order of rows."""
    turn = table["instruction_id"].str[1:].astype(int) % (k + 2) == 0
    return table.assign(outcome=table["outcome"].where(~turn, 1 - table["outcome"]))


ORDERLESS = {
    "win_rate": lambda t: aa.win_rate(of_judge(t), n_resamples=99),
    "win_rate, strata": lambda t: aa.win_rate(of_judge(t), stratify="dataset", n_resamples=99),
    "compare": lambda t: aa.compare(of_judge(t), "a", "b", method="bca", n_resamples=99),
    "rank_sets": lambda t: aa.rank_sets(of_judge(t), n_resamples=99),
    "human_agreement": lambda t: aa.human_agreement(
        t[t["annotator"] == "k"],
        pd.concat([flipped(of_judge(t), k).assign(annotator=p) for k, p in enumerate("pqr")]),
        n_resamples=99,
    ),
    "prefer_longer": lambda t: aa.prefer_longer(t, n_resamples=99),
    "fit_length_control": lambda t: aa.fit_length_control(of_judge(t), difficulty=None, baselines=None).to_frame(),
    "counts": lambda t: aa.win_rate(
        of_judge(t).assign(instruction_id=pd.NA).groupby(["model", "outcome"], sort=False).size()
        .rename("n").reset_index(), n_resamples=99,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERLESS)
@pytest.mark.slow
def test_order_of_rows_changes_nothing(name):
    table = judged()
    first = ORDERLESS[name](table)
    other = ORDERLESS[name](table.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(first, other, rtol=1e-12, atol=1e-12)
