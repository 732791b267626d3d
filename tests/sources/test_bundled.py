"""The bundled tables: what scripts make of the published files, and a codebook of every column."""

import importlib
import json
import re
import sys

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alpaca_analysis import from_patterns
from alpaca_analysis.sources import catalogue as sources

DATA = sources.data_folder()
TABLES = sorted(path.name for path in DATA.glob("*.csv"))
SCRIPTS = sorted(
    path.stem for path in (DATA / "build").glob("*.py") if "from common import main" in path.read_text()
)


def columns_of(name):
    return list(pd.read_csv(DATA / name, nrows=0).columns)


def codebook_section(name):
    parts = re.split(r"^(#{2,3} .*)$", (DATA / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if heading.startswith("### ") and f"`{name}`" in heading:
            return body
    raise AssertionError(f"data/README.md has no section on {name}")


@pytest.mark.parametrize("name", TABLES)
def test_codebook_explains_every_column_of_every_table(name):
    section = codebook_section(name)
    missing = [column for column in columns_of(name) if f"`{column}`" not in section]
    assert not missing


@pytest.mark.parametrize("name", TABLES)
def test_codebook_explains_no_column_that_is_not_there(name):
    tables = re.findall(r"^\| (`.*?) \|", codebook_section(name), flags=re.MULTILINE)
    explained = {column for cell in tables for column in re.findall(r"`([^`]+)`", cell)}
    # A section may speak of several files: every name in its tables is a column of one, or one of them.
    heading = next(
        line
        for line in (DATA / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("### ") and f"`{name}`" in line
    )
    files = re.findall(r"`([^`]+\.csv)`", heading)
    known = {column for file in files for column in columns_of(file)} | {file[:-4] for file in files}
    assert explained <= known


def test_every_table_is_in_the_catalogue_and_the_other_way_round():
    catalog = sources.catalog()
    bundled = set(catalog.loc[catalog["kind"].isin(["figures", "counts"]), "files"])
    assert bundled == set(TABLES) - {"catalog.csv", "registry.csv"}


@pytest.fixture(scope="module")
def build_folder():
    sys.path.insert(0, str(DATA / "build"))
    yield
    sys.path.remove(str(DATA / "build"))


@pytest.mark.rows
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.slow
def test_committed_tables_are_what_the_scripts_make(script, mirror, build_folder):
    module = importlib.import_module(script)
    made = module.build(mirror)
    assert made
    for name, frame in made.items():
        text = importlib.import_module("common").text(frame)
        committed = (DATA / f"{name}.csv").read_text(encoding="utf-8")
        if text == committed:
            continue
        # The last digits of computed numbers may differ between machines; nothing else may.
        from io import StringIO

        assert_frame_equal(
            pd.read_csv(StringIO(text)), pd.read_csv(StringIO(committed)), rtol=1e-9, obj=f"data/{name}.csv"
        )


@pytest.mark.rows
def test_published_tables_keep_every_digit(mirror):
    board = pd.read_csv(DATA / "alpaca_eval_v1_leaderboard.csv", dtype=str)
    published = pd.read_csv(
        mirror / "alpaca_eval" / "leaderboards" / "alpaca_eval_gpt4_leaderboard.csv", dtype=str
    )
    assert board.columns[0] == "model"
    assert_frame_equal(board.iloc[:, 1:], published.iloc[:, 1:])
    assert board["model"].tolist() == published.iloc[:, 0].tolist()


def test_no_table_holds_texts_or_single_judgements():
    for name in TABLES:
        frame = pd.read_csv(DATA / name, dtype=str)
        assert len(frame) < 10_000, name
        longest = frame.map(lambda cell: len(cell) if isinstance(cell, str) else 0).to_numpy().max()
        assert longest < 300, name


def test_results_say_what_they_were_computed_from(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ALPACA_ANALYSIS_CACHE", str(tmp_path))
    monkeypatch.delenv("ALPACA_ANALYSIS_DATA", raising=False)
    bundled = sources.load_result("length_control_v2", "alpaca_eval_v2", len)
    assert_frame_equal(bundled, sources.load("length_control_v2"))
    assert bundled.attrs["computed_from"] == "bundled result"
    assert capsys.readouterr().out.endswith("(the rows of alpaca_eval_v2 are not at hand)\n")
    table = sources.load_result("pandalm_counts", "pandalm", bundled=from_patterns)
    assert_frame_equal(table, from_patterns(sources.load("pandalm_counts")))


@pytest.mark.rows
def test_results_put_together_say_what_the_bundled_one_says(mirror):
    """Frames whose settings differ lose them when they are concatenated; their columns mean the same."""
    from alpaca_analysis import compare_agreement, show

    def compute(rows):
        people = rows["annotator"].astype(str).str.startswith("human")
        pairs = [("gpt-3.5-turbo", "pandalm-7b"), ("gpt-3.5-turbo", "humans")]
        return pd.concat(compare_agreement(rows[~people], rows[people], *p, method="t") for p in pairs)

    found = sources.load_result("pandalm_agreement_differences", "pandalm", compute)
    bundled = sources.load("pandalm_agreement_differences")
    assert {key: found.attrs[key] for key in ("estimate", "fractions", "differences")} == {
        key: bundled.attrs[key] for key in ("estimate", "fractions", "differences")
    }
    assert "difference (points)" in show(found).cells


def test_rows_are_found_again_where_the_folder_changes(monkeypatch, capsys, tmp_path):
    """What is read once for several results is not taken for that of another folder."""
    monkeypatch.setenv("ALPACA_ANALYSIS_CACHE", str(tmp_path / "none"))
    path = "alpaca_eval/results/{}/model_outputs.json"
    models = [p.split("/")[2] for p in sources._paths("alpaca_eval_outputs")]
    for folder, text in (("a", "x"), ("b", "xyz")):
        for model in models:
            file = tmp_path / folder / path.format(model)
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps([{"instruction": "i", "output": text, "generator": model}]))
        monkeypatch.setenv("ALPACA_ANALYSIS_DATA", str(tmp_path / folder))
        for _ in range(2):
            outputs = sources.load_result("xwin_length_cells", "alpaca_eval_outputs")
            assert (outputs["length"] == len(text)).all()
            outputs["length"] = 0  # the caller's own
    assert capsys.readouterr().out == "alpaca_eval_outputs: the rows\n" * 4


@pytest.mark.rows
@pytest.mark.slow
def test_results_are_computed_from_rows_where_they_are_at_hand(mirror, capsys):
    from alpaca_analysis import fit_length_control

    found = sources.load_result(
        "length_control_v2", "alpaca_eval_v2", lambda rows: fit_length_control(rows).to_frame()
    )
    assert found.attrs["computed_from"] == "alpaca_eval_v2"
    assert capsys.readouterr().out == "length_control_v2: computed from the rows of alpaca_eval_v2\n"
    columns = ["model", "lc_win_rate", "standard_error"]
    assert_frame_equal(found[columns], sources.load("length_control_v2")[columns], atol=1e-6, check_like=True)
