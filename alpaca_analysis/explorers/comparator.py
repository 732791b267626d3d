"""Judged pairs of two models in the format of LLM Comparator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alpaca_analysis.explorers import texts as read
from alpaca_analysis.explorers.window import parts
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.files import write_json
from alpaca_analysis.table.checks import check

RANGE = 1.5  # LLM Comparator's scores lie in [-1.5, 1.5], positive where A is better
_NAMES = ("model", "reference", "annotator")


def to_comparator(table: pd.DataFrame, path) -> Path:
    """Write the judged pairs of a model and its reference as LLM Comparator reads them (JSON).

    The model is A and the reference B. Judgements of one pair, by several judges, in both orders or
    repeated, are its individual ratings; its score is their mean, 1.5 where A always wins and -1.5 where B
    does. Source and further columns are tags and custom fields, lengths and features of both outputs
    fields per model, a judge's explanation its rationale. `read_annotations` reads the file back.

    Parameters
    ----------
    table : DataFrame
        Judgements of one model against one reference, with texts (``read_annotations(..., texts=True)``) or
        as `load` gives them where their files are on this machine.
    path : path
        The file to make or replace.

    Returns
    -------
    Path

    Raises
    ------
    AnnotationError
        Several models or references, rows without an instruction, or texts that are not at hand.

    References
    ----------
    Kahng, M. et al. (2024). LLM Comparator. arXiv:2402.10524; the format is described in the tool's README.

    Examples
    --------
    >>> import json, tempfile
    >>> table = pd.DataFrame({
    ...     "instruction": ["Say hello."] * 2, "model": "mine", "reference": "ref", "repeat": [0, 1],
    ...     "outcome": [1.0, 0.5], "output_model": "Hello!", "output_reference": "Hi"})
    >>> written = json.loads(to_comparator(table, tempfile.mkdtemp() + "/pairs.json").read_text())
    >>> written["models"], written["examples"][0]["score"]
    ([{'name': 'mine'}, {'name': 'ref'}], 0.75)
    """
    attrs = dict(table.attrs) if isinstance(table, pd.DataFrame) else {}
    rows = check(table)
    rows.attrs = attrs
    for column in ("model", "reference"):
        found = rows[column].astype(object).where(rows[column].notna(), "unknown").unique()
        if len(found) != 1:
            names = ", ".join(map(str, found[:3]))
            raise AnnotationError(f"one {column}; select one", column=column, found=f"{len(found)}: {names}")
    if rows["instruction_id"].isna().any():
        row = int(rows["instruction_id"].isna().to_numpy().argmax())
        raise AnnotationError("an instruction on every row", row=row, column="instruction_id", found=None)
    texts = read.Texts(rows)
    if not texts.known:
        raise AnnotationError("texts: read_annotations(..., texts=True) keeps them")
    keys = ["instruction_id", *(c for c in ("turn",) if c in rows)]
    pairs = rows.groupby(keys, sort=False, dropna=False)
    first = [int(indices[0]) for indices in pairs.indices.values()]
    shown = texts.of(first)
    fields = _fields(rows)
    examples = [
        _example(shown.iloc[k], rows.iloc[members], fields)
        for k, members in enumerate(pairs.indices.values())
    ]
    both = ["A" if pd.isna(rows[c].iloc[0]) else str(rows[c].iloc[0]) for c in ("model", "reference")]
    content = {
        "metadata": {
            "source_path": str(attrs.get("name", "")) or parts.title(rows),
            "custom_fields_schema": [{"name": name, "type": kind} for name, kind, _ in fields],
        },
        "models": [{"name": name} for name in both],
        "examples": examples,
    }
    return write_json(path, content)


def _fields(rows) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return what is told of a pair: name, LLM Comparator's type, and the columns it comes from."""
    found: list[tuple[str, str, tuple[str, ...]]] = [("instruction_id", "string", ("instruction_id",))]
    if rows[["length_model", "length_reference"]].notna().any(axis=None):
        found.append(("length", "per_model_number", ("length_model", "length_reference")))
    for name, a, b in parts.features(rows):
        numeric = all(pd.api.types.is_numeric_dtype(rows[c]) for c in (a, b))
        found.append((name, "per_model_number" if numeric else "per_model_category", (a, b)))
    used = {column for *_, columns in found for column in columns}
    for column in rows.columns:
        if column in used or column in _NAMES or column in parts.NEVER:
            continue
        if pd.api.types.is_float_dtype(rows[column]):
            found.append((str(column), "number", (column,)))
        elif rows[column].map(np.isscalar).all():
            found.append((str(column), "category", (column,)))
    return found


def _example(shown, members, fields) -> dict[str, Any]:
    known = members["outcome"].dropna()
    dataset = members["dataset"].iloc[0]
    values: dict[str, Any] = {}
    for name, _, columns in fields:
        told = [_plain(members[column].iloc[0]) for column in columns]
        values[name] = told if len(told) == 2 else told[0]
    return {
        "input_text": read.shortened(shown["instruction"]),
        "tags": [] if pd.isna(dataset) else [str(dataset)],
        "output_text_a": read.shortened(shown["output_model"]),
        "output_text_b": read.shortened(shown["output_reference"]),
        "score": float(RANGE * (2 * known.mean() - 1)) if len(known) else None,
        "individual_rater_scores": [_rating(row) for row in members.to_dict("records")],
        "custom_fields": values,
    }


def _rating(row) -> dict[str, Any]:
    why = next((row[c] for c in read.EXPLANATIONS if isinstance(row.get(c), str) and row[c]), "")
    known = not pd.isna(row["outcome"])
    return {
        "score": float(RANGE * (2 * row["outcome"] - 1)) if known else None,
        "rating_label": parts.verdict(row["outcome"]),
        "is_flipped": None if pd.isna(row.get("position")) else row["position"] == 2,
        "rationale": read.shortened(why),
        "custom_fields": {
            "judge": "" if pd.isna(row["annotator"]) else str(row["annotator"]),
            "outcome": str(float(row["outcome"])) if known else "",  # its reader takes it as it was
        },
    }


def _plain(value):
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float) else str(value)
