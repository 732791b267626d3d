"""Counts from every engine against a plain pandas recount, and streams of files against the whole."""

import gzip
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from alpaca_analysis import AnnotationError, collapse, collapse_files, win_rate
from alpaca_analysis.table import collapsing

BY = ("dataset", "model", "reference", "annotator", "position")
MEANS = ("length_model", "length_reference")


def judgements(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "dataset": rng.choice(["helpful", "köln", None], n),
            "model": rng.choice(["a", "b", "c"], n),
            "reference": "davinci",
            "annotator": rng.choice(["judge", "human"], n),
            "outcome": rng.choice([0.0, 0.5, 1.0, 0.8317, np.nan], n),
            "length_model": np.where(rng.random(n) < 0.1, np.nan, rng.integers(1, 5000, n)),
            "length_reference": rng.lognormal(6, 1, n),
            "position": rng.integers(1, 3, n),
            "n": rng.integers(1, 5, n),
        }
    )


@pytest.fixture(scope="module")
def table():
    return judgements()


@pytest.fixture(scope="module")
def expected(table):
    """Recount with a dictionary and math.fsum: no group-by of any engine."""
    import math

    cells = {}
    for row in table.astype(object).where(table.notna(), None).itertuples(index=False):
        key = tuple(getattr(row, c) for c in (*BY, "outcome"))
        cells.setdefault(key, []).append(row)
    out = []
    for key, rows in cells.items():
        mean = {}
        for column in MEANS:
            known = [(getattr(r, column), r.n) for r in rows if getattr(r, column) is not None]
            total = sum(n for _, n in known)
            mean[column] = math.fsum(v * n for v, n in known) / total if total else None
        out.append((*key, sum(r.n for r in rows), *mean.values()))
    return pd.DataFrame(out, columns=[*BY, "outcome", "n", *MEANS]).convert_dtypes()


def assert_same(found, expected):
    """Counts identical, floats to 1e-12 relative."""
    assert isinstance(found, pd.DataFrame)
    keys = [*BY, "outcome"]
    both = [
        f[[*keys, "n", *MEANS]]
        .astype(dict.fromkeys(("dataset", "model", "reference", "annotator"), object))
        .fillna({"dataset": "", "outcome": -1})
        .sort_values(keys, ignore_index=True)
        for f in (found, expected)
    ]
    for column in (*keys, "n"):
        assert both[0][column].tolist() == both[1][column].tolist()
    for column in MEANS:
        assert_allclose(both[0][column].astype(float), both[1][column].astype(float), rtol=1e-12)


LOCAL = {
    "pandas": lambda t: t,
    "pandas categories": lambda t: t.astype({"model": "category", "dataset": "category"}),
    "arrow": lambda t: pa.Table.from_pandas(t),
    "polars": pl.from_pandas,
    "polars with NaN": lambda t: pl.from_pandas(t, nan_to_null=False),
    "polars lazy": lambda t: pl.from_pandas(t).lazy(),
    "duckdb": lambda t: duckdb.from_df(t),
}


@pytest.mark.parametrize("engine", LOCAL)
@pytest.mark.slow
def test_counts_are_the_same_from_every_engine(engine, table, expected):
    assert_same(collapse(LOCAL[engine](table), by=BY, means=MEANS), expected)


@pytest.mark.parametrize("engine", LOCAL)
@pytest.mark.slow
def test_the_frame_is_the_same_from_every_engine_down_to_its_types(engine, table):
    found = collapse(LOCAL[engine](table), by=BY)
    pd.testing.assert_frame_equal(found, collapse(table, by=BY))


def test_win_rates_survive_and_the_input_is_unchanged(table):
    before = table.copy(deep=True)
    one = table[table["annotator"] == "judge"]
    rates = win_rate(collapse(one), method="t").set_index("model")
    pd.testing.assert_frame_equal(table, before)
    judged = one.dropna(subset="outcome")
    for model, rows in judged.groupby("model"):
        repeated = np.repeat(rows["outcome"], rows["n"])
        assert_allclose(rates.loc[model, "win_rate"], repeated.mean(), rtol=1e-12)
        assert_allclose(rates.loc[model, "standard_error"], repeated.sem(), rtol=1e-12)


@pytest.mark.parametrize("engine", ["pandas", "polars", "duckdb", "arrow"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "positive integer"),
        ({"n": 1.5}, "positive integer"),
        ({"outcome": 1.5}, r"in \[0, 1\]"),
    ],
)
def test_every_engine_refuses_what_is_not_a_judgement(engine, change, message, table):
    wrong = table.assign(**{c: np.where(np.arange(len(table)) == 7, v, table[c]) for c, v in change.items()})
    with pytest.raises(AnnotationError, match=message):
        collapse(LOCAL[engine](wrong), by=BY)


@pytest.mark.parametrize("engine", ["pandas", "polars", "duckdb"])
def test_a_missing_column_is_named(engine, table):
    with pytest.raises(AnnotationError, match="'outcome'"):
        collapse(LOCAL[engine](table.drop(columns="outcome")))
    with pytest.raises(AnnotationError, match="'topic'"):
        collapse(LOCAL[engine](table), by=["model", "topic"])
    with pytest.raises(AnnotationError, match="narwhals"):
        collapse([1, 2])


def write(table, folder, kind, parts=3):
    """Write the table as several files, of several row types where the kind allows."""
    (folder / "nested").mkdir(parents=True)
    for k in range(parts):
        part = table.iloc[k::parts]
        path = folder / ("nested" if k else ".") / f"part{k}"
        if kind == "parquet":
            part = part.astype({"model": "category"}) if k == 0 else part
            part.to_parquet(path.with_suffix(".parquet"), row_group_size=500)
        elif kind == "jsonl":
            part.to_json(path.with_suffix(".jsonl"), orient="records", lines=True)
        else:
            text = part.to_json(orient="records", lines=True)
            Path(f"{path}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz"])
@pytest.mark.slow
def test_folders_are_counted_as_a_stream(kind, table, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(collapsing, "BATCH_ROWS", 300)
    monkeypatch.setattr(collapsing, "PARTIAL_ROWS", 200)
    assert_same(collapse_files(write(table, tmp_path / "rows", kind), by=BY, means=MEANS), expected)


def test_columns_may_be_called_differently_in_files(table, tmp_path):
    table.rename(columns={"model": "model_a", "reference": "model_b"}).to_parquet(tmp_path / "x.parquet")
    found = collapse_files(tmp_path, by=BY, columns={"model": "model_a", "reference": "model_b"})
    pd.testing.assert_frame_equal(found, collapse(table, by=BY))


def test_what_is_no_folder_of_rows_is_refused(table, tmp_path):
    with pytest.raises(AnnotationError, match="none"):
        collapse_files(tmp_path)
    table.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(AnnotationError, match="'winner'"):
        collapse_files(tmp_path, columns={"outcome": "winner"})
    (tmp_path / "y.jsonl").write_text('{"model": "m", "outcome": 1}\n')
    with pytest.raises(AnnotationError, match="both kinds"):
        collapse_files(tmp_path)


@pytest.mark.engines
@pytest.mark.timeout(900)  # a cold Java or two processes on a busy machine
@pytest.mark.filterwarnings("ignore")  # of the engines, not of this package
def test_dask_with_two_worker_processes(table, expected):
    dd = pytest.importorskip("dask.dataframe")
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        found = collapse(dd.from_pandas(table, npartitions=4), by=BY, means=MEANS)
    assert_same(found, expected)
    pd.testing.assert_frame_equal(found[list(BY)], collapse(table, by=BY)[list(BY)])


@pytest.mark.engines
@pytest.mark.timeout(900)  # a cold Java or two processes on a busy machine
@pytest.mark.filterwarnings("ignore")  # of the engines, not of this package
def test_pyspark_on_this_machine(table, expected, tmp_path, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    table.to_parquet(tmp_path / "rows.parquet")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
    }
    session = sql.SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    try:
        found = collapse(session.read.parquet(str(tmp_path / "rows.parquet")), by=BY, means=MEANS)
    finally:
        session.stop()
    assert_same(found, expected)
