"""Judgements to counts where the judgements are: pandas, Polars, DuckDB, Dask, Spark, or folders of files.

One expression, written against narwhals, runs in each engine; what comes back is small and is always
the same pandas table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.table.checks import COLUMNS, NAMES, check

BY = ("dataset", "model", "reference", "annotator")
BATCH_ROWS = 1_000_000
PARTIAL_ROWS = 2_000_000  # partial counts are added up when they reach this many rows


def collapse(table: Any, *, by: Sequence[str] = BY, means: Sequence[str] = ()) -> pd.DataFrame:
    """Reduce judgements to counts: one row per group of `by` and distinct outcome.

    Parameters
    ----------
    table : DataFrame, LazyFrame or relation
        Judgements, in anything that narwhals understands: a pandas, Polars (also lazy), PyArrow, Dask
        or PySpark frame, or a DuckDB relation. The counting is done by that engine; only the counts
        are fetched.
    by : sequence of str
        Columns to keep apart. A standard column that the table lacks is left NA.
    means : sequence of str
        Numeric columns, such as "length_model", to carry along as means over each row's judgements
        (weighted by ``n``, missing values left out).

    Returns
    -------
    DataFrame
        A pandas table without instructions, ``n`` summed, sorted by `by` and outcome. Win rates stay
        what they were; pairing, joint resampling and clustering by instruction are lost. Keep
        "instruction_id" in `by` to keep them, where each instruction was judged once.

    Raises
    ------
    AnnotationError
        A missing column, an outcome outside [0, 1], or an ``n`` that is not a positive integer. That
        no row occurs twice is checked for pandas only: elsewhere it would cost a second pass.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"model": ["m"] * 3, "outcome": [1.0, 1.0, 0.0]})
    >>> collapse(rows)[["model", "outcome", "n"]]
      model  outcome  n
    0     m      0.0  1
    1     m      1.0  2
    """
    import narwhals as nw

    by = options.groups(by)
    if isinstance(table, pd.DataFrame):
        table = check(table, require=[c for c in (*by, *means) if c not in COLUMNS])
    try:
        frame = nw.from_native(table)
    except TypeError:
        found = type(table).__name__
        raise AnnotationError("a frame of judgements that narwhals can read", found=found) from None
    return _finish(_count(frame, by, means, "table"), by, means)


def collapse_files(
    source: Any,
    *,
    by: Sequence[str] = BY,
    means: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    r"""Reduce Parquet or JSON Lines files to counts without ever holding them in memory.

    Files are read as a stream of batches of a million rows; each is counted as `collapse` does, and
    the counts are added up.

    Parameters
    ----------
    source : path, or list of paths
        A file, a folder (searched at any depth), or files; ``.parquet``, or ``.jsonl`` and ``.ndjson``
        (also gzipped), one kind at a time. Rows are those of the table.
    by : sequence of str
        Columns to keep apart. A standard column that the files lack is left NA.
    means : sequence of str
        Numeric columns, such as "length_model", to carry along as means over each row's judgements
        (weighted by ``n``, missing values left out).
    columns : mapping, optional
        Names in the files of columns of the table that are called differently there, such as
        ``{"model": "model_a", "reference": "model_b"}``.

    Returns
    -------
    DataFrame
        One row per group and outcome, as `collapse` returns it.

    Raises
    ------
    AnnotationError
        A column that is not there or cannot be counted; files of both kinds, or none.

    Examples
    --------
    >>> import pandas as pd, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "rows.jsonl")
    ...     _ = path.write_text('{"model": "m", "outcome": 1}\n' * 3)
    ...     collapse_files(path)[["model", "outcome", "n"]]
      model  outcome  n
    0     m      1.0  3
    """
    import narwhals as nw

    by = options.groups(by)
    dataset, name = _open(source), str(source)
    names = {c: (columns or {}).get(c, c) for c in (*COLUMNS, *by, *means)}
    wanted = {c: f for c, f in names.items() if f in dataset.schema.names and _used(c, by, means)}
    for column in ("model", "outcome"):
        if column not in wanted:
            found = ", ".join(dataset.schema.names)
            raise AnnotationError(f"a column {names[column]!r}", source=name, found=found)
    projection = {c: _field(dataset, c, f) for c, f in wanted.items()}
    parts = []
    for batch in _batches(dataset, projection):
        parts.append(_count(nw.from_native(batch), by, means, name))
        if sum(map(len, parts)) > PARTIAL_ROWS:
            parts = [_add(parts, by)]
    if not parts:
        raise AnnotationError("at least one judgement, found none", source=name)
    return _finish(_add(parts, by), by, means)


def _batches(dataset: Any, projection: Any) -> Iterator[Any]:
    """Yield Arrow tables of about BATCH_ROWS rows: JSON comes in blocks of a few thousand."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in dataset.to_batches(columns=projection, batch_size=BATCH_ROWS):
        held, rows = [*held, batch], rows + batch.num_rows
        if rows >= BATCH_ROWS:
            yield pa.Table.from_batches(held).unify_dictionaries()
            held, rows = [], 0
    if rows:
        yield pa.Table.from_batches(held).unify_dictionaries()


def _used(column: str, by: Sequence[str], means: Sequence[str]) -> bool:
    return column in ("model", "outcome", "n") or column in by or column in means


def _open(source: Any) -> Any:
    import pyarrow.dataset as ds

    given = [source] if isinstance(source, str | Path) else list(source)
    files = sorted(
        str(f)
        for path in map(Path, given)
        for f in (path.rglob("*") if path.is_dir() else [path])
        if not f.is_dir() and _kind(f)
    )
    kinds = {_kind(f) for f in files}
    if len(kinds) != 1:
        found = "files of both kinds" if kinds else "none"
        raise AnnotationError("files .parquet, or .jsonl and .ndjson", source=source, found=found)
    if kinds == {"json"}:
        return ds.dataset(files, format="json")
    return _encoded(files)


def _encoded(files: list[str]) -> Any:
    """Open Parquet files with texts left dictionary-encoded: five times faster to read and count."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema = ds.dataset(files[:1]).schema
    text = [f.name for f in schema if _is_text(f.type)]
    code = pa.dictionary(pa.int32(), pa.string())
    fields = [f.with_type(code) if f.name in text else f for f in schema]
    options = ds.ParquetReadOptions(dictionary_columns=set(text))
    return ds.dataset(files, schema=pa.schema(fields), format=ds.ParquetFileFormat(read_options=options))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _kind(path: Any) -> str | None:
    name = str(path).removesuffix(".gz")
    return (
        "parquet" if name.endswith(".parquet") else "json" if name.endswith((".jsonl", ".ndjson")) else None
    )


def _field(dataset: Any, column: str, file_column: str) -> Any:
    """Return the column as it is read; a column of nothing but null is one of numbers."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    kind = dataset.schema.field(file_column).type
    if column == "outcome" and pa.types.is_null(kind):
        return ds.field(file_column).cast(pa.float64())
    return ds.field(file_column)


def _count(frame: Any, by: Sequence[str], means: Sequence[str], source: str) -> pd.DataFrame:
    """Return the counts of a narwhals frame, as pandas: keys, outcome, n, and sums for the means."""
    import narwhals as nw

    schema = frame.collect_schema()
    present = schema.names()
    for column in ("model", "outcome", *by, *means):
        if column not in present and (column not in COLUMNS or column in ("model", "outcome")):
            raise AnnotationError(f"a column {column!r}", source=source, found=", ".join(present))
    keys = [c for c in by if c in present]
    kept = (nw.String, nw.Categorical, nw.Enum)
    other = [c for c in keys if c in (*NAMES, "instruction_id") and schema[c] not in kept]
    outcome = nw.col("outcome").cast(nw.Float64)
    weight = nw.col("n") if "n" in present else nw.lit(1)
    values = [nw.col(c).cast(nw.Float64) for c in means if c in present]
    frame = frame.select(
        *[nw.col(c).cast(nw.String) if c in other else nw.col(c) for c in keys],
        nw.when(~outcome.is_nan()).then(outcome).alias("outcome"),
        weight.cast(nw.Float64).alias("n"),
        *[nw.when(~v.is_nan()).then(v).alias(f"_{c}") for c, v in zip(means, values, strict=False)],
    )
    valid = (nw.col("n") >= 1) & (nw.col("n") == nw.col("n").floor())
    sums = [e for c in means for e in _moments(nw, c)] if means else []
    frame = frame.with_columns(nw.when(valid).then(0).otherwise(1).alias("_invalid"), *sums)
    carried = [f"_{part}_{c}" for c in means for part in ("sum", "n")]
    counts = frame.group_by([*keys, "outcome"], drop_null_keys=False).agg(
        *[nw.col(c).sum() for c in ("n", "_invalid", *carried)]
    )
    if isinstance(counts, nw.LazyFrame):
        counts = counts.collect()
    counts = counts.to_pandas()
    if counts["_invalid"].sum():
        found = f"{int(counts['_invalid'].sum())} rows with another value"
        raise AnnotationError("a positive integer", source=source, column="n", found=found)
    return counts.drop(columns="_invalid")


def _moments(nw: Any, column: str) -> list:
    value, known = nw.col(f"_{column}"), ~nw.col(f"_{column}").is_null()
    return [
        nw.when(known).then(value * nw.col("n")).otherwise(0.0).alias(f"_sum_{column}"),
        nw.when(known).then(nw.col("n")).otherwise(0.0).alias(f"_n_{column}"),
    ]


def _add(parts: Any, by: Sequence[str]) -> pd.DataFrame:
    """Add up partial counts."""
    counts = pd.concat(parts, ignore_index=True)
    keys = [c for c in by if c in counts]
    return counts.groupby([*keys, "outcome"], dropna=False, observed=True, sort=False, as_index=False).sum()


def _finish(counts: pd.DataFrame, by: Sequence[str], means: Sequence[str]) -> pd.DataFrame:
    keys = [c for c in by if c in counts]
    plain = {c: counts[c].astype(object).where(counts[c].notna(), None) for c in keys if c in NAMES}
    counts = counts.assign(**plain)  # engines differ in their types of text
    counts = counts.sort_values([*keys, "outcome"], kind="stable", ignore_index=True)
    out = counts[[*keys, "outcome"]].assign(n=counts["n"].astype("int64"))
    for column in means:
        total = counts[f"_n_{column}"]
        out[column] = counts[f"_sum_{column}"] / total.where(total > 0)
    return check(out, source="collapsed table")
