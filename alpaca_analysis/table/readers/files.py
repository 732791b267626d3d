"""Files to bytes to columns: JSON, JSON Lines, CSV, Parquet, gzip of any, with errors that name the place.

Limits, so that a small file cannot fill the memory: gzip and Parquet may grow to `MAX_EXPANSION` times
their size (anything up to `ALWAYS_EXPANDED` bytes is fine), and no file may hold more than `MAX_BYTES`.
Published annotation files shrink to about a quarter.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import zlib
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.foundations.progress import bar
from alpaca_analysis.table.readers.parquet import Nested, read_parquet

MAX_EXPANSION = 100
ALWAYS_EXPANDED = 64 * 2**20
MAX_BYTES = 4 * 2**30
MOST_COLUMNS = 2000
# Columns of a CSV file that hold numbers; all others are taken as text, as written.
NUMBER_COLUMNS = {
    *("preference", "outcome", "n", "position", "repeat", "length_model", "length_reference"),
    *("idx", "label", "turn", "annotator_index", "annotator1", "annotator2", "annotator3"),
    *("list_model", "list_reference", "length_feature", "difficulty"),
}


class Columns:
    """The fields of the records of one source, taken out one by one when asked for.

    Attributes
    ----------
    source : str
        How messages name the file.
    path : Path or None
        Where it lies, if it is a file.
    names : dict
        The fields that occur in any record, in order of appearance.
    sha256 : callable or None
        Gives the hash of the bytes on disk; it may wait until they are hashed.
    licence : str or None
        What the source says of it.
    """

    def __init__(
        self,
        source: Any,
        *,
        records: Any = None,
        columns: Any = None,
        path: Any = None,
        sha256: Callable[[], str] | None = None,
        licence: str | None = None,
    ):
        self.source, self.path, self.sha256, self.licence = str(source), path, sha256, licence
        self._records, self._columns = records, columns
        if records is not None:
            if set(map(type, records)) - {dict}:
                row = next(i for i, r in enumerate(records) if type(r) is not dict)
                raise AnnotationError(
                    "a record (object)", source=source, row=row, found=type(records[row]).__name__
                )
            fields = list(records[0]) if records else []
            if fields and all(map(fields.__eq__, map(list, records))):  # the same fields in the same order
                self._columns = {name: [record[name] for record in records] for name in fields}
                self._records = None
                self.names = dict.fromkeys(fields)
            else:
                self.names = dict.fromkeys(chain.from_iterable(dict.fromkeys(map(tuple, records))))
        else:
            self.names = dict.fromkeys(columns)
        self._lists: dict[str, Any] = {}
        if len(self.names) > MOST_COLUMNS:
            found = Verbatim(f"{len(self.names):,}")
            raise AnnotationError(f"at most {MOST_COLUMNS:,} columns", source=source, found=found)
        if not len(self):
            raise AnnotationError("at least one record, found none", source=source)

    def __len__(self) -> int:
        return len(self._records if self._columns is None else next(iter(self._columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def require(self, name: str) -> list:
        """Return a field that every record must have, or raise naming the first that lacks it."""
        if name not in self.names:
            found = Verbatim("the columns " + ", ".join(map(str, self.names)))
            raise AnnotationError(f"a column {name!r}", source=self.source, found=found)
        if self._columns is not None:
            return self._listed(name)
        try:
            return list(map(itemgetter(name), self._records))
        except KeyError:
            row = next(i for i, r in enumerate(self._records) if name not in r)
            found = Verbatim("the fields " + ", ".join(self._records[row]))
            raise AnnotationError(f"a field {name!r}", source=self.source, row=row, found=found) from None

    def get(self, name: str) -> list | None:
        """Return a field, None where a record lacks it; None if no record has it."""
        if name not in self.names:
            return None
        if self._columns is not None:
            return self._listed(name)
        try:
            return list(map(itemgetter(name), self._records))
        except KeyError:
            return [record.get(name) for record in self._records]

    def arrow(self, name: str) -> Any:
        """Return a field as the Arrow array that it came as, or as it waits to be decoded; else None."""
        values = None if self._columns is None else self._columns.get(name)
        return None if values is None or isinstance(values, list) else values

    def _listed(self, name: str) -> Any:
        values = self._columns[name]
        if isinstance(values, list):
            return values
        if name not in self._lists:
            import pyarrow as pa

            try:
                self._lists[name] = _to_list(values.whole() if isinstance(values, Nested) else values)
            except (pa.ArrowException, ValueError, OverflowError) as error:  # no UTF-8, no date that there is
                expected = f"values that can be read ({error})"
                raise AnnotationError(expected, source=self.source, column=name) from None
        return self._lists[name]

    def texts(self, name: str) -> list[str]:
        """Return a field of texts, or raise naming the first value that is not text."""
        values = self.require(name)
        if set(map(type, values)) != {str}:
            row = next(i for i, v in enumerate(values) if not isinstance(v, str))
            raise AnnotationError("text", source=self.source, row=row, column=name, found=values[row])
        return values


def from_arrow(table: Any, source: Any) -> dict:
    """Return the columns of an Arrow table by name, as Arrow arrays."""
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError("each column once", source=source, found=Verbatim(f"column {twice!r} twice"))
    return dict(zip(names, table.columns, strict=True))


def _to_list(array: Any) -> list:
    """Return the values of an Arrow array, those of texts and of numbers without gaps by way of NumPy."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not is_text and not (is_number and not array.null_count):
        return array.to_pylist()
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    return [value for chunk in chunks for value in chunk.to_numpy(zero_copy_only=False).tolist()]


def read_all(paths: Sequence[Path]) -> Iterator[Columns]:
    """Yield the columns of each file; its hash is computed while it is parsed."""
    with bar(len(paths), "Reading", unit="file") as steps:
        hashing: _Hash | None = None
        for path in paths:
            data = _load(path)
            if hashing is not None:
                hashing()  # no more than one file's bytes wait to be hashed
            hashing = _Hash(data)
            columns = _parse(path, data, hashing)
            del data
            yield columns
            steps.update()


def read_columns(path: Path) -> Columns:
    """Read one file into columns; what it holds is told by its content first, then by its suffix."""
    return next(read_all([path]))


def _load(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        found = Verbatim(f"{path.stat().st_size:,} bytes")
        raise AnnotationError(f"at most {MAX_BYTES:,} bytes in one file", source=path, found=found)
    try:
        return path.read_bytes()
    except OSError as error:  # reading, unlike opening, does not say which file
        raise OSError(error.errno, error.strerror, str(path)) from None


class _Hash:
    """The SHA-256 of a file's bytes, computed in a thread of its own; calling it gives the digits.

    Nothing waits for the thread but that call: a suspended reader may be collected inside any thread.
    """

    def __init__(self, data: bytes):
        self._digits = ""
        self._hashed = allocate_lock()
        self._hashed.acquire()
        start_new_thread(self._compute, (data,))  # Thread would wait until it has started

    def _compute(self, data: bytes) -> None:
        self._digits = hashlib.sha256(data).hexdigest()
        self._hashed.release()

    def __call__(self) -> str:
        with self._hashed:
            return self._digits


def _parse(path: Any, data: bytes, sha256: Callable[[], str]) -> Columns:
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, path)
    about = {"path": path, "sha256": sha256}
    if data[:4] == b"PAR1":
        return Columns(path, columns=read_parquet(data, path, limit=_limit(data)), **about)
    if not data.strip():
        raise AnnotationError("records, found an empty file", source=path)
    suffix = os.path.splitext(path.name.removesuffix(".gz"))[1].lower()
    if suffix in (".csv", ".tsv"):
        return Columns(path, columns=_csv(_text(data, path), path, suffix), **about)
    return Columns(path, records=_json_records(data, path, lines=suffix in (".jsonl", ".ndjson")), **about)


def _limit(data: bytes) -> int:
    """Return the most bytes that a file's contents may take."""
    return max(ALWAYS_EXPANDED, min(MAX_BYTES, MAX_EXPANSION * len(data)))


def _gunzip(data: bytes, path: Path) -> bytes:
    limit = _limit(data)
    parts, size, rest = [], 0, data
    while rest:  # a file may be several gzip members in a row
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(rest, limit - size + 1)
        except zlib.error as error:
            raise AnnotationError(f"a whole gzip file ({error})", source=path) from None
        parts.append(part)
        size += len(part)
        if size > limit:
            expected = (
                f"gzip data of at most {MAX_EXPANSION} times its size; unpack it yourself if it is genuine"
            )
            found = Verbatim(f"more than {limit:,} bytes in {len(data):,}")
            raise AnnotationError(expected, source=path, found=found)
        if not member.eof:
            raise AnnotationError("a whole gzip file, found it cut off", source=path)
        rest = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        expected = f"text in UTF-8, found byte 0x{data[broken.start]:02x} at byte {broken.start}"
        raise AnnotationError(expected, source=path) from None


def _json_records(data: bytes, path: Path, *, lines: bool) -> list:
    data = data.removeprefix(b"\xef\xbb\xbf")
    if lines:
        return _json_lines(data, path)
    try:
        records = _json(data, path)
    except AnnotationError:
        if not data.lstrip().startswith(b"{") or b"\n" not in data.strip():
            raise
        return _json_lines(data, path)  # JSON Lines under another name
    if isinstance(records, dict):
        records = _unwrapped(records)
    if not isinstance(records, list):
        raise AnnotationError("a list of records", source=path, found=Verbatim(type(records).__name__))
    return records


def _unwrapped(content: dict) -> Any:
    """Return the records of a file that has something else around them."""
    if isinstance(content.get("comparisons"), list):  # AnnotatedPairs
        return content["comparisons"]
    examples = content.get("examples")
    if isinstance(examples, list) and "models" in content:  # LLM Comparator
        models = {"models": content["models"]}
        return [each | models if isinstance(each, dict) else each for each in examples]
    return content


def _json_lines(data: bytes, path: Path) -> list:
    lines = [line for line in data.split(b"\n") if line.strip()]
    return [_json(line, path, row) for row, line in enumerate(lines)]


def _json(data: bytes, path: Path, row: Any = None) -> Any:
    """Parse JSON; what Python writes and the norm does not know (NaN, lone surrogates) is taken too."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    text = _text(data, path)
    try:
        return json.loads(text, parse_constant=_constant)
    except RecursionError:
        raise AnnotationError("records, found JSON nested too deeply", source=path, row=row) from None
    except ValueError as error:
        raise AnnotationError(f"valid JSON ({error})", source=path, row=row) from None


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name.replace("Infinity", "inf"))


def _csv(text: Any, path: Path, suffix: str) -> dict[str, list]:
    """Return the columns of a CSV file: numbers where a column holds them by name, else text as written."""
    delimiter = "\t" if suffix == ".tsv" else ","
    usual = csv.field_size_limit(2**31 - 1)  # outputs are longer than the default of 131,072
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
        header = next(rows, [])
        records = [row for row in rows if row]
    except csv.Error as error:
        raise AnnotationError(f"valid CSV ({error})", source=path) from None
    finally:
        csv.field_size_limit(usual)
    if not header:
        raise AnnotationError("a header in the first line, found it empty", source=path)
    if len(set(header)) < len(header):
        raise AnnotationError("each column once", source=path, row="header", found=header)
    for row, record in enumerate(records):
        if len(record) != len(header):
            found = Verbatim(f"{len(record)} fields")
            raise AnnotationError(f"{len(header)} fields as in the header", source=path, row=row, found=found)
    if not records:
        raise AnnotationError("at least one record, found only a header", source=path)
    columns = dict(zip(header, map(list, zip(*records, strict=True)), strict=True))
    for name in NUMBER_COLUMNS & columns.keys():
        columns[name] = [_number(value) for value in columns[name]]
    return columns


def _number(text: Any) -> float | None:
    if text.strip().lower() in ("", "nan", "na", "null", "none"):
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if math.isfinite(number) and number == int(number) else number
