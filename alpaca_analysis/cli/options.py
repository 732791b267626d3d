"""What verbs share: options, reading of sources, printing of results."""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from alpaca_analysis.foundations import options


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Annotation files, folders, patterns, a name of `data list`, or - for standard input.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=COLUMN", help="What the files call a column, as model=left; repeatable."),
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(metavar="MEANING=VALUE", help="What a verdict means, as model=1, draw=tie; repeatable."),
]
StrongWeight = Annotated[
    int, typer.Option(help="What a strong verdict of Arena-Hard weighs; 3 in its own count.")
]
PAIRS = {"column": Columns, "value": Verdicts, "strong_weight": StrongWeight}
By = Annotated[list[str] | None, typer.Option(help="Column that makes a group; repeat for several.")]
SliceBy = Annotated[
    list[str] | None,
    typer.Option("--by", help="Column that cuts into slices, compared at once; repeat for several."),
]
Interval = Annotated[options.Interval, typer.Option(help="Interval.")]
WinRateInterval = Annotated[options.WinRateInterval, typer.Option(help="Interval.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]
Resamples = Annotated[int, typer.Option(help="Bootstrap resamples.")]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
Power = Annotated[float, typer.Option(help="Probability of finding the difference.")]
Alpha = Annotated[float, typer.Option(help="Level of the two-sided test.")]


_COLUMNS: ContextVar[dict | None] = ContextVar(
    "what the command line says of columns and verdicts", default=None
)


def reading(verb: Callable) -> Callable:
    """Give a verb that reads judgements the options of reading, which `read` obeys."""

    @wraps(verb)
    def run(
        *args, column: Columns = None, value: Verdicts = None, strong_weight: StrongWeight = 1, **options
    ):
        columns, values = _pairs("--column", column), _pairs("--value", value)
        said = {
            "columns": {name: theirs[-1] for name, theirs in columns.items()} or None,
            "values": values or None,
            "strong_weight": strong_weight,
        }
        token = _COLUMNS.set(said)
        try:
            return verb(*args, **options)
        finally:
            _COLUMNS.reset(token)

    signature = inspect.signature(verb, eval_str=True)
    own = [p for name, p in inspect.signature(run, follow_wrapped=False).parameters.items() if name in PAIRS]
    own = [p.replace(annotation=PAIRS[p.name]) for p in own]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore
    run.__annotations__ = {name: p.annotation for name, p in run.__signature__.parameters.items()}  # type: ignore
    return run


def _pairs(option: str, given: list[str] | None) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{option}: found {pair!r}, expected NAME=VALUE")
        pairs.setdefault(name, []).append(value)
    return pairs


def read(sources: list[str], *, features: bool = False):
    """Read annotation files, standard input, or a data set of the catalogue by its name."""
    from alpaca_analysis import load, read_annotations

    if sources == ["-"]:
        return read_piped(sys.stdin.buffer.read(), features=features)
    if len(sources) == 1 and is_bundled(sources[0]):
        return load(sources[0], features=features)
    chosen = sources if len(sources) > 1 else sources[0]
    return read_annotations(chosen, features=features, **(_COLUMNS.get() or {}))


def is_bundled(source: str) -> bool:
    """Tell whether `source` is a name of the catalogue and no file."""
    from alpaca_analysis import catalog

    return not Path(source).exists() and source in set(catalog()["name"])


def read_piped(data: bytes, *, features: bool = False):
    """Read annotations from another program; what is not JSON, Parquet or gzip is CSV."""
    from alpaca_analysis import read_annotations

    other = data.lstrip()[:1] in (b"[", b"{") or data.startswith((b"PAR1", b"\x1f\x8b"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("standard input" + (".json" if other else ".csv"))
        path.write_bytes(data)
        try:
            return read_annotations(path, features=features, **(_COLUMNS.get() or {}))
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "standard input")) from None


def read_csv(path: Path, *required: str, **types):
    """Read a CSV file that has the columns `required`."""
    import pandas as pd

    from alpaca_analysis.foundations.errors import AnnotationError

    try:
        frame = pd.read_csv(path, dtype=types or None)
    except (ValueError, pd.errors.ParserError) as error:
        raise AnnotationError(f"a CSV file with a header: {error}", source=path) from error
    for column in required:
        if column not in frame:
            raise AnnotationError(f"a column {column!r}", source=path, found=list(frame.columns))
    return frame


def write(result: Any, format: Format) -> None:
    """Print a result to standard output."""
    from alpaca_analysis.audits.auditing import Audit
    from alpaca_analysis.audits.sliced import AuditSlices
    from alpaca_analysis.present.rendering import records
    from alpaca_analysis.present.tables import show, to_csv, to_latex, to_markdown

    frame = result.to_frame() if hasattr(result, "to_frame") else result
    if format in (Format.csv, Format.json) and frame.attrs.get("slices"):
        note(frame.attrs["slices"]["note"])
    if format is Format.csv:
        text = to_csv(frame) or ""
    elif format is Format.json:
        text = json.dumps(records(frame), indent=2, allow_nan=False) + "\n"
    elif format in (Format.markdown, Format.latex):
        text = f"{(to_markdown if format is Format.markdown else to_latex)(frame)}\n"
    else:
        text = f"{result if isinstance(result, Audit | AuditSlices) else show(frame)}\n"
    write_text(text)


def write_text(text: str) -> None:
    """Print text to standard output, and leave quietly where nobody reads it any more."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        raise typer.Exit(128 + 13) from None  # as if ended by the signal SIGPIPE


def note(message, *, label: str = "note") -> None:
    """Print one line to standard error."""
    from alpaca_analysis.present.rendering import printable

    print(f"{label}: {printable(message)}", file=sys.stderr)
