"""Verbs about length, and about what else a judge prefers besides quality."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from alpaca_analysis.cli.options import (
    By,
    Format,
    FormatOption,
    Level,
    Resamples,
    Seed,
    SliceBy,
    Sources,
    WinRateInterval,
    read,
    write,
)
from alpaca_analysis.foundations.options import Feature, LengthControlInterval, Scale

app = typer.Typer()


@app.command("prefer-longer")
def prefer_longer(
    sources: Sources,
    min_difference: Annotated[float, typer.Option(help="Characters by which outputs must differ.")] = 30,
    by: By = None,
    method: WinRateInterval = "bca",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """How often a judge that decides prefers the longer output.

    Example: alpaca-analysis prefer-longer results/my-model/my-judge/annotations.json
    """
    from alpaca_analysis import prefer_longer as statistic

    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    table = read(sources)
    write(
        statistic(table, min_difference=min_difference, by=by or "annotator", method=method, **options),
        format,
    )


@app.command("prefer-first")
def prefer_first(
    sources: Sources,
    by: By = None,
    method: WinRateInterval = "bca",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """How often a judge prefers the output it was shown first.

    Example: alpaca-analysis prefer-first "LLMBar/*/evaluators/ChatGPT/Vanilla_NoRules/*.json"
    """
    from alpaca_analysis import prefer_first as statistic

    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    write(statistic(read(sources), by=by or "annotator", method=method, **options), format)


@app.command("prefer-lists")
def prefer_lists(
    sources: Sources,
    by: By = None,
    method: WinRateInterval = "bca",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """How often a judge that decides prefers the one output of two that has a list.

    Example: alpaca-analysis prefer-lists table.csv
    """
    from alpaca_analysis import prefer_lists as statistic

    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    write(statistic(read(sources), by=by or "annotator", method=method, **options), format)


@app.command("length-response")
def length_response(
    sources: Sources,
    kind: Annotated[Literal["bins", "spline"], typer.Option(help="Form of the curve.")] = "bins",
    scale: Annotated[Scale, typer.Option(help="How a difference is measured.")] = "characters",
    by: By = None,
    n_bins: Annotated[int, typer.Option(help="Groups of about equal size.")] = 10,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Mean outcome against the difference in length.

    Example: alpaca-analysis length-response results/my-model/my-judge/annotations.json --format csv
    """
    from alpaca_analysis import response_curve

    options: dict[str, Any] = {"kind": kind, "scale": scale, "n_bins": n_bins, "rng": seed}
    write(response_curve(read(sources), by=by or "annotator", **options), format)


@app.command("length-control")
def length_control(
    sources: Sources,
    by: SliceBy = None,
    difficulty: Annotated[str, typer.Option(help="published, joint or none.")] = "published",
    feature: Annotated[Feature, typer.Option(help="How length enters.")] = "tanh",
    method: Annotated[LengthControlInterval, typer.Option(help="Interval.")] = "sandwich",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 1000,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Length-controlled win rates with errors that include the fit.

    Example: alpaca-analysis length-control results/ --difficulty none
    """
    from alpaca_analysis import fit_length_control

    chosen = None if difficulty == "none" else difficulty
    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    table = read(sources)
    write(
        fit_length_control(
            table, by=by or None, difficulty=chosen, feature=feature, method=method, **options
        ),
        format,
    )
