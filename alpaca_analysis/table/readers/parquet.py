"""Parquet files to Arrow tables, never larger in memory than their size allows.

A dictionary holds a value once that a million rows may name, so that a file of 4 kB can come to
gigabytes. Sizes are therefore counted before values are written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
DICTIONARIES = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
PREFIXES = "DELTA_BYTE_ARRAY"  # a value says how much of the one before it repeats
GROUPS_AT_A_TIME = 2**26  # bytes
AT_A_TIME = 2**29  # texts of one Arrow array hold less than 2**31 bytes


class Nested:
    """A column of lists or records, decoded a few row groups at a time when it is asked for.

    Attributes
    ----------
    type : pyarrow.DataType
        As the file states it; texts may come in dictionaries.
    """

    def __init__(self, file: _File, name: str, kind: Any):
        self._file, self._name, self.type = file, name, kind

    def __len__(self) -> int:
        return self._file.n_rows

    @property
    def chunks(self) -> Iterator[Any]:
        """Yield the Arrow arrays one after the other; each may be let go before the next is decoded."""
        for table in self._file.tables([self._name]):
            yield from table[self._name].chunks

    def whole(self) -> Any:
        """Return the column as one Arrow array of chunks."""
        import pyarrow as pa

        return pa.chunked_array(list(self.chunks)) if len(self) else pa.chunked_array([], self.type)


def read_parquet(data: bytes, path: Path, *, limit: int) -> dict[str, Any]:
    """Return the columns of a Parquet file: Arrow arrays, of lists and records `Nested` ones.

    Parameters
    ----------
    data : bytes
        The file.
    path : Path
        How messages name it.
    limit : int
        The most bytes that its values may take in memory.

    Returns
    -------
    dict of str to pyarrow.ChunkedArray or Nested

    Raises
    ------
    AnnotationError
        No whole Parquet file, a name that occurs twice, or values of more than `limit` bytes.
    """
    import pyarrow as pa

    file = _File(data, path, limit)
    names = file.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError("each column once", source=path, found=Verbatim(f"column {twice!r} twice"))
    flat = [field.name for field in file.schema if not pa.types.is_nested(field.type)]
    read = pa.concat_tables(file.tables(flat)) if flat else {}
    return {
        field.name: read[field.name] if field.name in flat else Nested(file, field.name, field.type)
        for field in file.schema
    }


class _File:
    """A Parquet file whose values are counted before they are written out."""

    def __init__(self, data: bytes, path: Any, limit: int):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._data, self._path, self._limit = data, path, limit
        self._counted: dict[tuple, int] = {}
        try:
            self._plain = pq.ParquetFile(pa.BufferReader(data))
            self.schema, self.n_rows = self._plain.schema_arrow, self._plain.metadata.num_rows
            least, named, self._prefixed = _sizes(self._plain.metadata, limit)
            self._encoded = pq.ParquetFile(pa.BufferReader(data), read_dictionary=named) if named else None
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None
        if least > limit:
            raise _too_large(least, data, path, limit)

    def tables(self, names: list[str]) -> Iterator[Any]:
        """Yield the row groups of some columns, small groups together."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in names])
        try:
            if self._prefixed:
                yield _in_batches(self._plain, names, self._prefixed, self._data, self._path, self._limit)
            elif self._encoded is None:
                yield from _groups(self._plain, names)
            else:
                for number, encoded in enumerate(_groups(self._encoded, names)):
                    size = sum(_written_out(column) for column in encoded.columns)
                    self._counted[*names, number] = size
                    if sum(self._counted.values()) > self._limit:
                        total = sum(self._counted.values())
                        raise _too_large(total, self._data, self._path, self._limit)
                    yield _write_out(encoded, schema, size)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> AnnotationError:
        return AnnotationError(f"a whole Parquet file ({error})", source=self._path)


def _sizes(metadata: Any, limit: int) -> tuple:
    """Return the least size in memory, and the columns of texts whose size is not known from the metadata.

    These are told apart by how they repeat values: the paths of columns with dictionaries, and the
    largest number of bytes that one value of a column with shared prefixes may have (0 without any).
    """
    least, named, prefixed = 0, [], 0
    for index in range(metadata.num_columns):
        described = metadata.schema.column(index)
        groups = [metadata.row_group(i).column(index) for i in range(metadata.num_row_groups)]
        if described.physical_type != "BYTE_ARRAY":
            width = WIDTHS.get(described.physical_type) or described.length
            least += width * sum(group.num_values for group in groups)
            continue
        least += sum(group.total_uncompressed_size for group in groups)
        most = sum(group.num_values * group.total_uncompressed_size for group in groups)
        if most <= limit / metadata.num_columns:
            continue
        encodings = {encoding for group in groups for encoding in group.encodings}
        if PREFIXES in encodings:
            prefixed = max(prefixed, *(group.total_uncompressed_size for group in groups))
        elif DICTIONARIES & encodings:
            named.append(described.path)
    return least, named, prefixed


def _groups(file: Any, names: list[str]) -> Iterator[Any]:
    """Yield some columns by row groups, small groups together; without rows, one table without any."""
    import pyarrow as pa

    groups: list[int] = []
    size, last = 0, file.metadata.num_row_groups - 1
    for index in range(file.metadata.num_row_groups):
        groups.append(index)
        size += file.metadata.row_group(index).total_byte_size
        if size < GROUPS_AT_A_TIME and index < last:
            continue
        try:
            yield file.read_row_groups(groups, columns=names)
        except pa.ArrowException:  # lists of texts that one array cannot hold, or a broken file: told again
            yield pa.Table.from_batches(file.iter_batches(batch_size=2**12, row_groups=groups, columns=names))
        groups, size = [], 0
    if last < 0:
        yield file.read(columns=names)


def _in_batches(file: Any, names: list[str], largest: Any, data: bytes, path: Any, limit: int) -> Any:
    import pyarrow as pa

    batches, size = [], 0
    for batch in file.iter_batches(batch_size=max(1, min(2**16, limit // largest)), columns=names):
        size += batch.nbytes
        if size > limit:
            raise _too_large(size, data, path, limit)
        batches.append(batch)
    return pa.Table.from_batches(batches, pa.schema([file.schema_arrow.field(name) for name in names]))


def _written_out(array: Any) -> int:
    """Return the bytes that an array takes when its dictionaries are written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.ChunkedArray):
        return sum(map(_written_out, array.chunks))
    if pa.types.is_dictionary(array.type):
        sizes = pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)
        return (pc.sum(sizes).as_py() or 0) + 4 * len(array)
    if pa.types.is_struct(array.type):
        return sum(map(_written_out, array.flatten()))
    if hasattr(array, "flatten") and hasattr(array, "offsets"):  # lists and maps
        return _written_out(array.flatten()) + 4 * len(array)
    return array.nbytes


def _write_out(encoded: Any, schema: Any, size: int) -> Any:
    """Return texts as such, in arrays of bearable size; what is in lists keeps its dictionary."""
    import pyarrow as pa

    kept = [
        theirs if pa.types.is_nested(theirs.type) else ours
        for ours, theirs in zip(schema, encoded.schema, strict=True)
    ]
    schema = pa.schema(kept, metadata=schema.metadata)
    rows = max(1, encoded.num_rows // (size // AT_A_TIME + 1))
    starts = range(0, max(1, encoded.num_rows), rows)
    return pa.concat_tables([encoded.slice(start, rows).cast(schema) for start in starts])


def _too_large(size: int, data: bytes, path: Any, limit: int) -> AnnotationError:
    return AnnotationError(
        f"Parquet data that take at most {limit:,} bytes in memory; keep only the columns needed, or split "
        "the file, if it is genuine",
        source=path,
        found=Verbatim(f"{size:,} bytes in a file of {len(data):,}"),
    )
