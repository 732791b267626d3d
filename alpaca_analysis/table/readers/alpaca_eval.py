"""AlpacaEval's files: both codings of ``preference``, what folder names say, and model outputs.

``preference`` is 1 for the reference and 2 for the model. In files of verdicts both 0 and 1.5 are
draws; weighted files hold 1 + P(model preferred). null is no usable answer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError, warn
from alpaca_analysis.foundations.files import folder_name
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.probabilities import told_by_probabilities
from alpaca_analysis.table.readers.rows import (
    Rows,
    codes,
    frame,
    further,
    instruction_id,
    lengths,
    names,
    numbers,
    require_outcome,
    verdict_codes,
    with_input,
)

OWN = {
    *("instruction", "input", "output_1", "output_2", "generator_1", "generator_2"),
    *("dataset", "annotator", "annotator_index", "position", "repeat", "preference"),
}
VERDICTS = (0.0, 1.0, 1.5, 2.0)
CODING = "a number: 1 reference, 2 model, 0 or 1.5 draw, or in [1, 2] if weighted; or null"


def folder_names(path: Path | None) -> dict[str, str]:
    """Return what ``results/<model>/<annotator>/<file>`` or ``results/<model>/<file>`` says.

    Examples
    --------
    >>> folder_names(Path("results/gpt4/alpaca_eval_gpt4/annotations.json"))
    {'model': 'gpt4', 'annotator': 'alpaca_eval_gpt4'}
    """
    parts = Path(os.path.abspath(path)).parts if path is not None else ()
    if len(parts) >= 4 and parts[-4] == "results":
        return {"model": parts[-3], "annotator": parts[-2]}
    if len(parts) >= 3 and parts[-3] == "results":
        return {"model": parts[-2]}
    return {}


def to_rows(columns: Columns, *, texts: bool = False, values: Mapping | None = None) -> Rows:
    """Make rows of one annotation file.

    Under ``results/<model>/<annotator>/`` the folder names win where at least one of them is what the file
    says, or the file says nothing; what the file says is kept in ``model_in_file`` and
    ``annotator_in_file`` where it differs. Where neither is (``results/<date>/<seed>/``), the file's own
    names are taken, and a warning says so. An ``input`` belongs to the prompt. Files without any names, as
    AlpacaEval's human annotations, get them from the outputs' texts, so that equal pairs meet.

    Parameters
    ----------
    columns : Columns
        The fields ``instruction``, ``output_1`` (reference), ``output_2`` (model), ``generator_1``,
        ``generator_2``, ``preference``; optional ``annotator``, ``annotator_index``, ``dataset``,
        ``position``, ``repeat`` and ``raw_completion``, whose log probabilities are compared with the
        preferences. Other columns of numbers, truth values and short texts are kept.
    texts : bool
        Keep instruction and outputs.
    values : mapping, optional
        What preferences mean, where they are not AlpacaEval's.
    """
    prompts = _prompts(columns)
    output_1, output_2 = columns.require("output_1"), columns.require("output_2")
    said = _said(columns, output_1, output_2)
    named, extra, disagreements = _apply_folder(said, columns)
    extra = further(columns, OWN) | extra
    if texts:
        extra |= {"instruction": prompts, "output_model": output_2, "output_reference": output_1}
    if "annotator_index" in columns and "annotator" in columns:
        extra["repeat"] = numbers(columns, "annotator_index")
    if "repeat" in columns:  # as this package's judges write it
        extra["repeat"] = numbers(columns, "repeat")
    if "position" in columns:
        places, expected = (
            {1: 1.0, 2: 2.0, "1": 1.0, "2": 2.0},
            "1 (the model's output was shown first), 2 or null",
        )
        shown = columns.get("position") or []
        extra["position"] = codes(shown, places, columns=columns, column="position", expected=expected)
    outcome = _outcomes(columns, values)
    completions = columns.get("raw_completion")
    told = told_by_probabilities(completions, outcome, columns.source) if completions else None
    return require_outcome(
        Rows(
            source=columns.source,
            ids=list(map(instruction_id, prompts)),
            names=named,
            outcome=outcome,
            length_model=lengths(output_2),
            length_reference=lengths(output_1),
            extra=extra,
            disagreements=disagreements,
            sha256=columns.sha256,
            probabilities=told,
        )
    )


def _said(columns: Any, output_1: list, output_2: list) -> dict:
    annotator = names(columns, "annotator")
    index = columns.get("annotator_index")
    if index is not None and annotator is None:
        annotator = [f"human_{i}" for i in index]
    if index is not None and "generator_1" not in columns and "generator_2" not in columns:
        model: str | list | None = list(map(_name_of_text, output_2))
        reference: str | list | None = list(map(_name_of_text, output_1))
    elif "generator_1" not in columns and "generator_2" not in columns:
        model, reference = "output_2", "output_1"
    else:
        model = names(columns, "generator_2", required=True)
        reference = names(columns, "generator_1", required=True)
        if index is None:  # annotators who saw the same pairs of many models make one file
            _one_reference(reference, columns)
    dataset = names(columns, "dataset")
    return {"dataset": dataset, "model": model, "reference": reference, "annotator": annotator}


def _prompts(columns: Any) -> list[str]:
    prompts = columns.texts("instruction")
    if "input" not in columns:
        return prompts
    inputs = [value if isinstance(value, str) else "" for value in columns.get("input")]
    return [with_input(prompt, more) for prompt, more in zip(prompts, inputs, strict=True)]


def _name_of_text(text: Any) -> str:
    return "output-" + hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _one_reference(reference: Any, columns: Any) -> None:
    if isinstance(reference, list):
        row = next(i for i, name in enumerate(reference) if name != reference[0])
        raise AnnotationError(
            f"one reference in a file, {reference[0]!r} as in row 0; where sides change, write the pairs as "
            "battles: model_a, model_b, winner",
            source=columns.source,
            row=row,
            column="generator_1",
            found=reference[row],
        )


def _apply_folder(said: dict, columns: Any) -> tuple:
    named = dict(said)
    extra: dict[str, Any] = {}
    found: list[dict] = []
    folders = folder_names(columns.path)
    if _is_elsewhere(folders, said):
        path = "/".join(("results", *folders.values()))
        warn(f"{columns.source}: neither name in {path} is what the file says; the file's names are taken")
        return named, extra, found
    for column, folder in folders.items():
        inside = said[column]
        if isinstance(inside, str) and folder_name(inside) == folder:
            continue  # the same name, as a folder can be called
        kinds = set(inside) if isinstance(inside, list) else {inside}
        named[column] = folder
        if other := sorted(kinds - {folder, None}):
            extra[f"{column}_in_file"] = inside
            place = {"file": columns.source, "column": column, "folder": folder}
            found.append({**place, "in_file": ", ".join(other)})
    return named, extra, found


def _outcomes(columns: Columns, values: Mapping | None) -> np.ndarray:
    preferences = columns.require("preference")
    if values is not None:
        expected = f"one of the verdicts in values={dict(values)!r}, or null"
        return codes(
            preferences, verdict_codes(values), columns=columns, column="preference", expected=expected
        )
    found = outcomes(preferences, columns.source)
    if looks_like_zero_one(found):
        warn(
            f"{columns.source}: preferences are 0 and 1 only, read as draws and losses; if 0 "
            'is the reference and 1 the model, read with values={"reference": 0, "model": 1}'
        )
    return found


def looks_like_zero_one(outcome: np.ndarray) -> bool:
    """Tell whether outcomes are many draws and losses and no win: 0/1 labels, most probably.

    Examples
    --------
    >>> looks_like_zero_one(np.array([0.5] * 5 + [0.0] * 15)), looks_like_zero_one(np.array([0.5, 0.0]))
    (True, False)
    """
    known = outcome[~np.isnan(outcome)]
    draws, losses = (known == 0.5).sum(), (known == 0).sum()
    return bool(draws + losses == len(known) and min(draws, losses) >= max(5, 0.1 * len(known)))


def _is_elsewhere(folders: dict, said: dict) -> bool:
    """Tell whether both folders are named otherwise than the file says, as by date and seed."""
    inside = {column: said[column] for column in folders}
    kinds = {c: set(v) if isinstance(v, list) else {v} for c, v in inside.items()}
    differs = [
        None not in kinds[column] and not any(folder_name(name) == folder for name in kinds[column])
        for column, folder in folders.items()
    ]
    return len(folders) == 2 and all(differs)


def outcomes(preferences: list, source: str) -> np.ndarray:
    """Turn AlpacaEval's preferences into outcomes, telling verdicts from weighted preferences.

    Examples
    --------
    >>> outcomes([2, 1, 0, 1.5, None], "file").tolist()
    [1.0, 0.0, 0.5, 0.5, nan]
    >>> outcomes([1.25, 2.0], "file").tolist()
    [0.25, 1.0]
    """
    if not set(map(type, preferences)) <= {int, float, type(None)}:
        preferences = [_number(value, row, source) for row, value in enumerate(preferences)]
    try:
        values = np.array(preferences, dtype=float)
    except OverflowError:
        preferences = [p if p is None or abs(p) < 9 else np.inf for p in preferences]
        values = np.array(preferences, dtype=float)
    known = ~np.isnan(values)
    bad = known & (values != 0) & ~((values >= 1) & (values <= 2))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        expected = "0, 1, 1.5, 2 or null, or a weighted preference in [1, 2]"
        raise AnnotationError(expected, source=source, row=row, column="preference", found=preferences[row])
    weighted = known & ~np.logical_or.reduce([values == verdict for verdict in VERDICTS])
    if weighted.any() and (values == 0).any():
        row, other = int(np.flatnonzero(values == 0)[0]), int(np.flatnonzero(weighted)[0])
        raise AnnotationError(
            f"one coding in a file: 0 is a draw among verdicts, but row {other} has the weighted "
            f"preference {preferences[other]}",
            source=source,
            row=row,
            column="preference",
            found=preferences[row],
        )
    return np.where(values == 0, 0.5, values - 1)


def _number(value: Any, row: Any, source: str) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise AnnotationError(CODING, source=source, row=row, column="preference", found=value)
    return value


def outputs_table(parts: list[Columns], *, texts: bool = False) -> pd.DataFrame:
    """Make the table of outputs; see `read_outputs`."""
    tables, disagreements = [], []
    for columns in parts:
        prompts, written = columns.texts("instruction"), columns.require("output")
        said = {"model": names(columns, "generator")}
        named, extra, found = _apply_folder(said, columns)
        disagreements += [f for f in found if f["column"] == "model"]
        data = {
            "instruction_id": list(map(instruction_id, prompts)),
            "dataset": names(columns, "dataset"),
            "model": named["model"],
            "length": lengths(written),
        }
        if texts:
            data |= {"instruction": prompts, "output": written}
        tables.append(frame({**data, **extra}, columns.source))
        _outputs_once(tables[-1], columns.source)
    table = pd.concat(tables, ignore_index=True)
    table = table.astype({"instruction_id": "string", "dataset": "category", "model": "category"})
    table.attrs = {
        "counts": {
            "n_files": len(parts),
            "n_rows": len(table),
            "n_not_text": int(table["length"].isna().sum()),
        },
        "disagreements": disagreements,
    }
    return table


def _outputs_once(table: pd.DataFrame, source: str) -> None:
    twice = table[["instruction_id", "model"]].duplicated()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        first = int(np.flatnonzero(table["instruction_id"] == table["instruction_id"].iloc[row])[0])
        raise AnnotationError(
            f"one output per instruction and model; row {first} has the same instruction",
            source=source,
            row=row,
            column="instruction",
            found=table["model"].iloc[row],
        )
