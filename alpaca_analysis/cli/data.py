"""Verbs about published data."""

from __future__ import annotations

from typing import Annotated

import typer

from alpaca_analysis.cli.options import Format, FormatOption, write, write_text

app = typer.Typer(help="Published data: list it, fetch it, verify it.", no_args_is_help=True)


@app.command("list")
def list_data(format: FormatOption = Format.table) -> None:
    """List what data there is and where it would come from.

    Example: alpaca-analysis data list
    """
    from alpaca_analysis import catalog

    frame = catalog()
    write(
        frame[["name", "kind", "available", "licence", "what"]] if format is Format.table else frame, format
    )


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A name of `data list`, or a path.")]) -> None:
    """Download published files into the cache, verified, and print where they are.

    Example: alpaca-analysis data fetch alpaca_eval_v1
    """
    from alpaca_analysis.sources.catalogue import fetch as find

    write_text("".join(f"{path}\n" for path in find(name)))


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(help="A name of `data list`, or a path; all by default.")
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Check files on this machine against their published hashes; exit code 1 if one is wrong.

    Example: alpaca-analysis data verify pandalm
    """
    from alpaca_analysis.sources.catalogue import verify as check

    frame = check(name)
    write(frame, format)
    if frame["status"].str.startswith("wrong").any():
        raise typer.Exit(1)
