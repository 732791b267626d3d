"""Verbs that compute a statistic of judgements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from alpaca_analysis.cli.options import (
    Alpha,
    By,
    Format,
    FormatOption,
    Interval,
    Level,
    Power,
    Resamples,
    Seed,
    SliceBy,
    Sources,
    WinRateInterval,
    note,
    read,
    read_csv,
    write,
)
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.options import Coefficient, Scoring

app = typer.Typer()


@app.command("win-rate")
def win_rate(
    sources: Sources,
    by: By = None,
    method: WinRateInterval = "bca",
    discrete: Annotated[bool, typer.Option(help="Round weighted outcomes to verdicts first.")] = False,
    stratify: Annotated[str | None, typer.Option(help="Column whose groups keep their size.")] = None,
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Win rates with standard errors and intervals.

    Example: alpaca-analysis win-rate results/my-model/my-judge/annotations.json --by model --by dataset
    """
    from alpaca_analysis import win_rate as statistic

    options: dict[str, Any] = {
        "discrete": discrete,
        "stratify": stratify,
        "n_resamples": n_resamples,
        "rng": seed,
    }
    table = read(sources)
    write(
        statistic(table, by=by or "model", method=method, confidence_level=confidence_level, **options),
        format,
    )


@app.command()
def bounds(sources: Sources, by: By = None, format: FormatOption = Format.table) -> None:
    """Bound win rates over everything asked, judged or not.

    Example: alpaca-analysis bounds results/
    """
    from alpaca_analysis import win_rate_bounds

    write(win_rate_bounds(read(sources), by=by or "model"), format)


@app.command()
def compare(
    sources: Sources,
    a: Annotated[str | None, typer.Option(help="One model; without, every other one.")] = None,
    b: Annotated[str | None, typer.Option(help="The other model, or the baseline of all.")] = None,
    by: SliceBy = None,
    margin: Annotated[
        float | None, typer.Option(help="Difference that would not matter, a fraction: gives verdicts.")
    ] = None,
    adjust: Annotated[options.Adjustment, typer.Option(help="How several are adjusted.")] = "holm",
    method: Interval = "t",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Compare two models, one with all others, or every pair; paired where they share instructions.

    Example: alpaca-analysis compare results/ --a gpt4 --b claude-2
    """
    from alpaca_analysis import compare as statistic

    how: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    how["by"] = by or None
    write(statistic(read(sources), a, b, margin=margin, adjust=adjust, method=method, **how), format)


@app.command("confidence-sequence")
def confidence_sequence(
    sources: Sources,
    a: Annotated[str | None, typer.Option(help="One model; without, every model by itself.")] = None,
    b: Annotated[str | None, typer.Option(help="The other model.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="Difference that would not matter, a fraction: gives verdicts.")
    ] = None,
    population: Annotated[
        int | None, typer.Option(help="Instructions in the fixed set; without, all such instructions.")
    ] = None,
    looks: Annotated[options.Looks, typer.Option(help="One row, or one for every instruction.")] = "last",
    confidence_level: Level = 0.95,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Win rates or a difference with intervals that hold however often one looks, and whenever one stops.

    Example: alpaca-analysis confidence-sequence results/ --a mine --b theirs --margin 0.02
    """
    from alpaca_analysis import confidence_sequence as statistic

    how: dict[str, Any] = {"population": population, "looks": looks, "rng": seed}
    how |= {"margin": margin, "confidence_level": confidence_level}
    write(statistic(read(sources), a, b, **how), format)


@app.command("rank-sets")
def rank_sets(
    sources: Sources,
    by: SliceBy = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Say how few instructions put each model above the next.")
    ] = False,
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Ranks with confidence sets, from all differences at once.

    Example: alpaca-analysis rank-sets alpaca_eval_v1_counts
    """
    from alpaca_analysis import rank_sets as statistic

    how: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    how["by"] = by or None
    write(statistic(read(sources), dropped=dropped, **how), format)


@app.command()
def ratings(
    sources: Sources,
    by: SliceBy = None,
    covariate: Annotated[
        list[str] | None, typer.Option(help="Column to control for; repeat for several.")
    ] = None,
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Bradley-Terry ratings of models that meet without a common reference.

    Example: alpaca-analysis ratings battles.jsonl --format csv
    """
    from alpaca_analysis import bradley_terry

    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    write(bradley_terry(read(sources), by=by or None, covariates=covariate or (), **options), format)


@app.command()
def plan(
    sources: Sources,
    a: Annotated[str | None, typer.Option(help="One model; without, the whole order is planned.")] = None,
    b: Annotated[str | None, typer.Option(help="The other model.")] = None,
    difference: Annotated[
        float | None, typer.Option(help="Difference one hopes to see, a fraction; else the observed one.")
    ] = None,
    power: Power = 0.8,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """How many instructions a comparison, or the order of all models, would need.

    Example: alpaca-analysis plan results/ --a gpt4 --b claude-2
    """
    from alpaca_analysis import plan_comparison, plan_order

    if a is None and (b is not None or difference is not None):
        raise typer.BadParameter("give --a, too")
    if a is not None:
        found = plan_comparison(read(sources), a, b, difference=difference, power=power, alpha=alpha)
        write(found, format)
        return
    order = plan_order(read(sources), power=power, confidence_level=1 - alpha, rng=seed)
    note(order)
    write(order, format)


@app.command()
def detectable(
    n: Annotated[int, typer.Argument(help="Instructions.")],
    win_rate: Annotated[float, typer.Option(help="Expected win rate, a fraction.")] = 0.5,
    draw_rate: Annotated[float, typer.Option(help="Expected share of draws.")] = 0.0,
    power: Power = 0.8,
    alpha: Alpha = 0.05,
    format: FormatOption = Format.table,
) -> None:
    """Smallest difference from a fixed win rate that a number of instructions can show.

    Example: alpaca-analysis detectable 805
    """
    import pandas as pd

    from alpaca_analysis import minimum_detectable_difference

    expected = {"win_rate": win_rate, "draw_rate": draw_rate, "power": power, "alpha": alpha}
    found = pd.DataFrame([{"n": n, "difference": minimum_detectable_difference(n, **expected)}])
    found.attrs = {"differences": ["difference"]}
    write(found, format)


@app.command()
def agreement(
    sources: Sources,
    humans: Annotated[
        list[str], typer.Option(help="File of human judgements of the same pairs; repeatable.")
    ],
    by: SliceBy = None,
    scoring: Annotated[Scoring, typer.Option(help="How draws are scored.")] = "zero_one",
    method: Interval = "bca",
    confidence_level: Level = 0.95,
    n_resamples: Resamples = 9999,
    seed: Seed = 0,
    format: FormatOption = Format.table,
) -> None:
    """Agreement of judges with the human majority.

    Example: alpaca-analysis agreement judge.json --humans testset-v1.json
    """
    from alpaca_analysis import human_agreement

    options: dict[str, Any] = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": seed}
    options |= {"scoring": scoring, "method": method}
    write(human_agreement(read(sources), read(humans), by=by or None, **options), format)


@app.command()
def correlation(
    file: Annotated[Path, typer.Argument(help="CSV with one row per model.")],
    x: Annotated[str, typer.Option(help="Column of one win rate.")],
    y: Annotated[str, typer.Option(help="Column of the other.")],
    method: Annotated[Coefficient, typer.Option(help="Coefficient.")] = "pearson",
    format: FormatOption = Format.table,
) -> None:
    """Correlation of two columns over models, with its interval.

    Example: alpaca-analysis correlation rates.csv --x judge --y human
    """
    from alpaca_analysis import win_rate_correlation

    frame = read_csv(file, x, y)
    options: dict[str, Any] = {"method": method}
    write(win_rate_correlation(frame[x], frame[y], **options), format)
