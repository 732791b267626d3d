"""Verbs that check: a judge, a leaderboard, printed numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from alpaca_analysis.cli.options import (
    Format,
    FormatOption,
    Resamples,
    Seed,
    SliceBy,
    Sources,
    is_bundled,
    note,
    read,
    read_csv,
    write,
)

app = typer.Typer()
SEVERITIES = ("high", "medium", "low")
FailOn = Literal["high", "medium", "low"]


@app.command()
def audit(
    sources: Sources,
    by: SliceBy = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one page.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write findings and results as JSON.")] = None,
    humans: Annotated[
        list[str] | None, typer.Option(help="File of human judgements of the same pairs; repeatable.")
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="CSV with model, reference and printed (percent).")
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Leave with exit code 3 if there is a finding of this severity or a higher one."),
    ] = None,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Audit a judge: data, win rates, length, position, people, claims; findings in plain words.

    Example: alpaca-analysis audit annotations.json --html audit.html
    """
    from alpaca_analysis import audit as statistic

    people = read(humans) if humans else None
    printed = read_claims(claims) if claims else None
    how: dict[str, Any] = {"by": by or None, "n_resamples": n_resamples, "rng": seed}
    result = statistic(read(sources, features=True), humans=people, claims=printed, **how)
    for path, save in ((html, result.to_html), (json, result.to_json)):
        if path:
            note(save(path), label="written")
    write(result, format)
    if fail_on is not None and set(result.to_frame()["severity"]) & set(
        SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    ):
        raise typer.Exit(3)


@app.command("audit-leaderboard")
def audit_leaderboard(
    board: Annotated[
        str,
        typer.Argument(
            help="A leaderboard (CSV, percent, as AlpacaEval writes it), or a name of `data list`."
        ),
    ],
    annotations: Annotated[
        list[str] | None, typer.Option(help="Annotation file of its models; repeatable.")
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Check a leaderboard against itself and against annotation files.

    Example: alpaca-analysis audit-leaderboard alpaca_eval_v1_leaderboard
    """
    from alpaca_analysis import audit_leaderboard as statistic
    from alpaca_analysis import load

    chosen = load(board) if is_bundled(board) else Path(board)
    write(statistic(chosen, annotations=read(annotations) if annotations else None), format)


@app.command("check-claims")
def check_claims(
    claims: Annotated[Path, typer.Argument(help="CSV with model, reference and printed (percent).")],
    sources: Sources,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Check printed win rates against judgements.

    Example: alpaca-analysis check-claims claims.csv results/
    """
    from alpaca_analysis import check_claims as statistic

    write(statistic(read_claims(claims), read(sources), n_resamples=n_resamples, rng=seed), format)


def read_claims(path: Path):
    """Read printed win rates; they stay text, since their digits are part of what is claimed."""
    return read_csv(path, "model", "reference", "printed", printed=str)
