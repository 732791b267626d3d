"""The verb for continuous integration: whether a new version is good enough, against one reference."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import typer

from alpaca_analysis.cli.options import Level, note, read, write_text

app = typer.Typer()
CODES = {"better": 0, "equivalent": 0, "not worse": 0, "worse": 4, "undecided": 5}


class Form(StrEnum):
    """How the outcome is printed."""

    text = "text"
    markdown = "markdown"
    json = "json"
    junit = "junit"


@app.command()
def gate(
    base: Annotated[Path, typer.Argument(help="Judgements of the version in use.")],
    new: Annotated[Path, typer.Argument(help="Judgements of the new version, of the same prompts.")],
    margin: Annotated[float, typer.Option(help="Difference of win rates that would not matter, a fraction.")],
    base_model: Annotated[str | None, typer.Option(help="Its name, where the file holds several.")] = None,
    new_model: Annotated[str | None, typer.Option(help="Its name, where the file holds several.")] = None,
    least: Annotated[int, typer.Option(help="Shared prompts below which nothing is decided.")] = 50,
    confidence_level: Level = 0.95,
    format: Annotated[Form, typer.Option("--format", "-f", help="How to print the outcome.")] = Form.text,
    output: Annotated[Path | None, typer.Option(help="Write the outcome to a file as well.")] = None,
) -> None:
    """Pass a new version that is not worse than the one in use; for continuous integration.

    Exit code 0 where it is better, equivalent or not worse by the margin; 4 where it is worse by more than
    the margin, or not shown to be within it; 5 where the judgements do not decide; 1 for broken input.

    Example: alpaca-analysis gate base.json new.json --margin 0.02
    """
    outcome = decide(base, new, margin, base_model, new_model, least, confidence_level)
    text = RENDERERS[format](outcome)
    write_text(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")
        note(output, label="written")
    raise typer.Exit(outcome["exit_code"])


def decide(base, new, margin, base_model, new_model, least, confidence_level) -> dict[str, Any]:
    """Return the outcome of a gate: numbers, verdict in words, exit code."""
    import pandas as pd

    from alpaca_analysis import compare

    sides = []
    for path, name, side in ((base, base_model, "base"), (new, new_model, "new")):
        table = read([str(path)])
        sides.append(_one_model(table, name, path, side).assign(model=side))
    together = pd.concat(sides, ignore_index=True).drop(columns=["idx"], errors="ignore")
    row = compare(together, "new", "base", margin=margin, confidence_level=confidence_level).iloc[0]
    verdict, why = row["verdict"], row["note"]
    if verdict == "worse" and row["not_worse"]:
        verdict = "not worse"  # shown to be lower, by less than what matters
    if not row["paired"]:
        verdict, why = "undecided", "the two files share no prompts (instruction ids)"
    elif row["n"] < least:
        verdict, why = "undecided", f"{row['n']} shared prompts, fewer than the {least} asked for"
    numbers = ("difference", "ci_low", "ci_high", "equivalence_low", "equivalence_high")
    return {
        "verdict": verdict,
        "exit_code": CODES[verdict],
        **{name: _number(row[name]) for name in numbers},
        "margin": margin,
        "confidence_level": confidence_level,
        "n": int(row["n"]),
        "note": why,
    }


def _number(value):
    return None if value != value else float(value)


def _one_model(table, name, path, side):
    from alpaca_analysis.foundations.errors import AnnotationError

    models = sorted(map(str, table["model"].unique()))
    if name is None and len(models) > 1:
        expected = f"judgements of one model; say which by --{side}-model"
        raise AnnotationError(expected, source=path, column="model", found=models)
    if name is not None and name not in models:
        raise AnnotationError(f"one of {models}", source=path, column="model", found=name)
    return table[table["model"] == (name or models[0])]


def _sentence(outcome):
    if outcome["difference"] is None:
        return f"{outcome['verdict']}: {outcome['note']}"
    low, high = outcome["ci_low"], outcome["ci_high"]
    interval = "no interval" if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    level, margin = f"{100 * outcome['confidence_level']:g}", f"{100 * outcome['margin']:g}"
    words = (
        f"{outcome['verdict']}: the win rate of the new version differs by "
        f"{100 * outcome['difference']:+.1f} points ({level} % interval {interval}; margin {margin}), "
        f"{outcome['n']} shared prompts"
    )
    return words + (f"; {outcome['note']}" if outcome["note"] else "")


def _text(outcome):
    return f"{'pass' if not outcome['exit_code'] else 'FAIL'}: {_sentence(outcome)}\n"


def _markdown(outcome):
    mark = "✅" if not outcome["exit_code"] else "❌"
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in outcome.items()]
    return f"{mark} **{_sentence(outcome)}**\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _json(outcome):
    return json.dumps(outcome, indent=2, ensure_ascii=False) + "\n"


def _junit(outcome):
    failed = bool(outcome["exit_code"])
    suite = ElementTree.Element(
        "testsuite", name="alpaca-analysis gate", tests="1", failures=str(int(failed))
    )
    case = ElementTree.SubElement(suite, "testcase", name="new version", classname="gate")
    if failed:
        ElementTree.SubElement(case, "failure", message=_sentence(outcome), type=outcome["verdict"])
    ElementTree.SubElement(case, "system-out").text = _sentence(outcome)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


RENDERERS = {Form.text: _text, Form.markdown: _markdown, Form.json: _json, Form.junit: _junit}
