"""The table as a data set: it reads back equal, and its card says where the rows come from."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

import alpaca_analysis as aa

datasets = pytest.importorskip("datasets")

RECORDS = [
    {
        "instruction": "Say hello.",
        "preference": 2,
        "output_1": "Hi",
        "generator_1": "ref",
        "output_2": "Hello",
    },
    {"instruction": "Count.", "preference": None, "output_1": "1", "generator_1": "ref", "output_2": None},
]


@pytest.fixture
def table(tmp_path):
    """Return a table of two files, each with its hash."""
    for model in ("one|two", "b"):
        folder = tmp_path / "results" / model / "judge"
        folder.mkdir(parents=True)
        text = json.dumps([{**record, "generator_2": model} for record in RECORDS])
        (folder / "annotations.json").write_text(text)
    return aa.read_annotations(tmp_path / "results", texts=True)


TABLES = {
    "least": pd.DataFrame({"model": ["a", "b"], "outcome": [1, 0.5]}),
    "no verdict": pd.DataFrame(
        {"model": ["a", "b"], "outcome": [1, None], "n": [1, 3], "dataset": [None, "x"]}
    ),
    "further columns": pd.DataFrame(
        {
            "instruction_id": ["1", None, "é"],
            "model": ["a", "b", "ü"],
            "reference": "r",
            "outcome": [0.1 + 0.2, 0, 1],
            "position": [1.0, 2.0, np.nan],
            "repeat": [0, 1, 2],
            "language": ["en", "de", None],
            "is_code": [True, False, True],
            "length_model": [3, np.nan, 10**6],
            "score": [1e-300, np.nan, -5.5],
        }
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_read_back_equal(kind, tmp_path):
    table = aa.read_annotations(TABLES[kind])
    pd.testing.assert_frame_equal(aa.read_annotations(aa.to_dataset(table)), table)
    aa.to_dataset(table, tmp_path / "saved")
    pd.testing.assert_frame_equal(aa.read_annotations(tmp_path / "saved"), table)


def test_tables_of_files_read_back_equal_and_stay_unchanged(table):
    before = table.copy(deep=True)
    data = aa.to_dataset(table)
    pd.testing.assert_frame_equal(aa.read_annotations(data), table)
    pd.testing.assert_frame_equal(table, before)
    assert data.num_rows == len(table)
    assert data.features["model"] == datasets.Value("string")
    assert data.features["outcome"] == datasets.Value("float64")
    assert data.features["n"] == datasets.Value("int64")


def test_card_names_sources_with_hashes_licence_and_columns(table, tmp_path):
    data = aa.to_dataset(table, tmp_path / "saved", licence="CC-BY-4.0")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "4 rows, 4 judgements of 2 models; 2 rows without a usable answer. Licence: CC-BY-4.0." in card
    for file in tmp_path.glob("results/*/judge/annotations.json"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    for column in table:
        assert column.replace("_", r"\_") in card
    assert str(tmp_path) not in card  # where files lay on this machine is nobody's business
    assert r"one\|two" in card
    assert data.info.license == "CC-BY-4.0"
    assert data.info.description in card


def test_licences_travel_with_the_rows(table, tmp_path):
    table.attrs["licence"] = "from CC-BY-NC-4.0 rows: 'ask'\nfirst"
    aa.to_dataset(table, tmp_path / "saved")
    assert "license: other\nlicense_name: 'from CC-BY-NC-4.0 rows: ''ask'' first'\n" in (
        (tmp_path / "saved" / "README.md").read_text()
    )
    assert aa.read_annotations(tmp_path / "saved").attrs["licence"] == table.attrs["licence"]
    assert "license_name: 'unknown'" in _card(aa.read_annotations(TABLES["least"]), tmp_path / "other")


def _card(table, path):
    aa.to_dataset(table, path)
    return (path / "README.md").read_text()


def test_nothing_is_overwritten_and_nothing_is_left_half_written(table, tmp_path, monkeypatch):
    path = tmp_path / "saved"
    path.mkdir()
    aa.to_dataset(table, path)  # an empty folder is fine
    with pytest.raises(FileExistsError, match="saved: expected a new folder, found one with files in it"):
        aa.to_dataset(table, path)

    def full(self, folder):
        raise OSError("no space left")

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="no space left"):
        aa.to_dataset(table, tmp_path / "other")
    assert sorted(tmp_path.iterdir()) == before


def test_columns_of_several_types_are_refused_by_name():
    table = TABLES["least"].assign(odd=[1, "x"])
    with pytest.raises(aa.AnnotationError, match="column 'odd': expected values of one type"):
        aa.to_dataset(table)
    with pytest.raises(aa.AnnotationError, match="expected a DataFrame of judgements"):
        aa.to_dataset([1, 2])
