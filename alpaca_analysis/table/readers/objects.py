"""Records in memory: Arrow tables and data sets, whose columns stay Arrow arrays until they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.readers.files import MAX_BYTES, Columns, from_arrow

ROWS_AT_A_TIME = 1000  # of a data set that is streamed


def from_object(source: Any, *, split: str | None = None) -> Columns | None:
    """Return the columns of records in memory, or None if `source` is something else.

    Parameters
    ----------
    source : object
        A list of dicts, a `datasets` Dataset or IterableDataset (or their dictionaries of splits), or
        anything that gives an Arrow stream, such as a Polars frame.
    split : str, optional
        Which split of a dictionary of splits.
    """
    name = str(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__
    if isinstance(source, Mapping) and source and all(map(_is_dataset, source.values())):
        return from_dataset(one_split(source, split, name), name)
    if split is not None:
        found = Verbatim("one without splits")
        raise AnnotationError(f"a data set with the split {split!r}", source=name, found=found)
    if isinstance(source, list) and source and isinstance(source[0], dict):
        return Columns("records", records=source)
    if _is_dataset(source):
        return from_dataset(source, name)
    if hasattr(source, "__arrow_c_stream__"):  # Polars, Arrow, DuckDB
        import pyarrow as pa

        try:
            return Columns(name, columns=from_arrow(pa.table(source), name))
        except pa.ArrowInvalid:  # one column without a name, such as a Series
            return None
    return None


def _is_dataset(source: Any) -> bool:
    return hasattr(source, "column_names") and hasattr(source, "with_format")


def one_split(splits: Mapping, split: str | None, source: Any) -> Any:
    """Return the split of that name; the only one where none is named."""
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        found = Verbatim("the splits " + ", ".join(map(repr, splits)))
        expected = f"one of them, such as split={next(iter(splits))!r}"
        raise AnnotationError(expected, source=source, found=found)
    return splits[split]


def from_dataset(dataset: Any, source: Any, **about: Any) -> Columns:
    """Return the columns of a Dataset or IterableDataset."""
    table = dataset.with_format("arrow")[:] if hasattr(dataset, "__len__") else _streamed(dataset, source)
    columns = from_arrow(table, source)
    for name, feature in (dataset.features or {}).items():
        if type(feature).__name__ == "ClassLabel" and name in columns:
            columns[name] = _named(columns[name], feature.names)
    return Columns(source, columns=columns, licence=dataset.info.license or None, **about)


def _streamed(dataset: Any, source: str) -> Any:
    import pyarrow as pa

    tables, size = [], 0
    try:
        for table in _batches(dataset):
            tables.append(table)
            size += table.nbytes
            if size > MAX_BYTES:
                found = Verbatim(f"more than {size:,} bytes")
                expected = f"at most {MAX_BYTES:,} bytes in memory; .take(n) reads only the first n records"
                raise AnnotationError(expected, source=source, found=found)
        if not tables:
            raise AnnotationError("at least one record, found none", source=source)
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        expected = f"columns of one type each ({str(error).splitlines()[0]})"
        raise AnnotationError(expected, source=source) from None


def _batches(dataset: Any) -> Iterator[Any]:
    import pyarrow as pa

    if dataset.features is not None:
        yield from dataset.with_format("arrow").iter(batch_size=ROWS_AT_A_TIME)
    else:  # of a generator: Arrow would guess a type for every single record
        yield from map(pa.table, dataset.with_format(None).iter(batch_size=ROWS_AT_A_TIME))


def _named(codes: Any, names: Any) -> Any:
    """Return the names that class labels stand for, unless these are only numbers; below 0 is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if all(name.isdecimal() for name in names):
        return codes
    known = pc.if_else(pc.greater_equal(codes, 0), codes, pa.scalar(None, codes.type))
    return pa.array(names, pa.string()).take(known.combine_chunks())
