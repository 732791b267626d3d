"""Parquet files: what they hold comes out, and a small one cannot fill the memory."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alpaca_analysis import AnnotationError, read_annotations
from alpaca_analysis.table.readers import files, parquet

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x" * 1000}]


def battles(**columns):
    n_rows = len(next(iter(columns.values())))
    return pa.table(
        {"model_a": ["a"] * n_rows, "model_b": ["b"] * n_rows, "winner": ["model_a"] * n_rows, **columns}
    )


BOMBS = {
    "text": battles(judge=["y" * 200_000] * 5000),
    "bytes": battles(judge=pa.array([b"y" * 200_000] * 5000)),
    "in a list of structures": battles(conversation_a=[[{"role": "user", "content": "x" * 200_000}]] * 5000),
    "in a list": battles(judge=[["x" * 200_000]] * 5000),
    "the same twice": battles(judge=["y" * 100_000] * 5000, other=["z" * 100_000] * 5000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_dictionaries_that_come_to_gigabytes_are_refused(tmp_path, kind):
    path = tmp_path / "battles.parquet"
    pq.write_table(BOMBS[kind], path, compression="zstd")
    refuses_in_little_memory(path)


@pytest.mark.parametrize("kind", ["text", "bytes"])
def test_shared_prefixes_that_come_to_gigabytes_are_refused(tmp_path, kind):
    path = tmp_path / "battles.parquet"
    encodings = {"judge": "DELTA_BYTE_ARRAY"}
    pq.write_table(BOMBS[kind], path, compression="zstd", use_dictionary=False, column_encoding=encodings)
    refuses_in_little_memory(path)


def refuses_in_little_memory(path):
    assert path.stat().st_size < 200_000
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(
        AnnotationError, match=r"battles.parquet: found .* bytes in a file of .*, expected Parquet data"
    ):
        read_annotations(path)
    assert pa.default_memory_pool().max_memory() <= max(before, 4 * files.ALWAYS_EXPANDED)


def test_many_equal_rows_of_numbers_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "battles.parquet"
    pq.write_table(battles(turn=[1] * 100_000), path, compression="zstd")
    monkeypatch.setattr(files, "ALWAYS_EXPANDED", 100_000)
    with pytest.raises(AnnotationError, match="expected Parquet data that take at most"):
        read_annotations(path)


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
@pytest.mark.parametrize(
    ("limit", "later"), [(2 * 10**6, True), (10**9, False)], ids=["written out later", "at once"]
)
def test_values_are_those_of_pyarrow(tmp_path, monkeypatch, kind, limit, later):
    types = {
        "string": pa.string(),
        "large_string": pa.large_string(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
    }
    names = [None, "a" * 50, "b", ""] * 500
    table = pa.table(
        {
            "name": pa.array(names, pa.string()).cast(types[kind]),
            "turns": [TURNS, None, [], TURNS[:1]] * 500,
            "number": [1, None, 2, 3] * 500,
            "raw": pa.array([b"1", None, b"", b"2"] * 500),
        }
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    monkeypatch.setattr(parquet, "AT_A_TIME", 10_000)
    columns = parquet.read_parquet(path.read_bytes(), path, limit=limit)
    read = pa.table({n: c.whole() if isinstance(c, parquet.Nested) else c for n, c in columns.items()})
    assert (read["name"].num_chunks > 1) == later
    assert read.to_pylist() == pq.read_table(path).to_pylist()
    flat = ["name", "number", "raw"]  # lists keep their dictionaries
    assert read.select(flat).schema.equals(pq.read_table(path, columns=flat).schema)


def test_a_column_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["model", "model"])
    pq.write_table(twice, path)
    with pytest.raises(AnnotationError, match="found column 'model' twice, expected each column once"):
        read_annotations(path)


def test_battles_in_parquet_are_those_in_json(tmp_path):
    rows = battles(judge=["j", None, "k"], turn=[1, 2, None], question_id=[5, 5, 6])
    pq.write_table(rows, tmp_path / "rows.parquet")
    rows.to_pandas().to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    pd.testing.assert_frame_equal(
        read_annotations(tmp_path / "rows.parquet"), read_annotations(tmp_path / "rows.jsonl")
    )


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "battles.parquet"
    broken = pa.array([b"a\xff"]).cast(pa.binary()).view(pa.string())
    pq.write_table(battles(judge=broken), path)
    with pytest.raises(AnnotationError, match=r"battles.parquet, column 'judge': expected values"):
        read_annotations(path)
