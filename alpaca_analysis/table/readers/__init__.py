"""From files, frames and data sets to the one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Literal

import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.table.checks import check, columns_once
from alpaca_analysis.table.groups import require_judged
from alpaca_analysis.table.readers import (
    alpaca_eval,
    arena,
    games,
    judgebench,
    llm_comparator,
    llmbar,
    mapped,
    pandalm,
    preferences,
    ultrafeedback,
)
from alpaca_analysis.table.readers.files import Columns
from alpaca_analysis.table.readers.hub import read_sources
from alpaca_analysis.table.readers.rows import Provenance, Rows, frame, join, verdict_codes
from alpaca_analysis.table.style import add_features

TEXTS = ("instruction", "output_model", "output_reference")
Format = Literal[
    "auto",
    "alpaca_eval",
    "arena",
    "mt_bench",
    "arena_hard",
    "pandalm",
    "llmbar",
    "helpsteer",
    "chosen",
    "annotated_pairs",
    "judgebench",
    "auto_j",
    "ultrafeedback",
    "llm_comparator",
    "table",
]
SINGLE: dict[str, Callable[..., Rows]] = {  # formats whose files are read one by one
    "mt_bench": lambda columns, texts: games.mt_bench(columns),
    "llmbar": lambda columns, texts: llmbar.to_rows(columns, texts=texts),
    "helpsteer": lambda columns, texts: preferences.helpsteer(columns, texts=texts),
    "chosen": lambda columns, texts: preferences.chosen(columns, texts=texts),
    "annotated_pairs": lambda columns, texts: preferences.annotated_pairs(columns, texts=texts),
    "judgebench": lambda columns, texts: judgebench.to_rows(columns, texts=texts),
    "auto_j": lambda columns, texts: preferences.auto_j(columns, texts=texts),
    "ultrafeedback": lambda columns, texts: ultrafeedback.to_rows(columns, texts=texts),
    "llm_comparator": lambda columns, texts: llm_comparator.to_rows(columns, texts=texts),
}
RECOGNISED: dict[str, Callable[[Any], bool]] = {  # in the order in which they are tried
    "arena": arena.is_arena,
    "mt_bench": games.is_mt_bench,
    "arena_hard": games.is_arena_hard,
    "helpsteer": preferences.is_helpsteer,
    "annotated_pairs": preferences.is_annotated_pairs,
    "chosen": preferences.is_chosen,
    "judgebench": judgebench.is_judgebench,
    "auto_j": preferences.is_auto_j,
    "ultrafeedback": ultrafeedback.is_ultrafeedback,
    "llm_comparator": llm_comparator.is_comparator,
}


def read_annotations(
    source: Any,
    *,
    format: Format = "auto",
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    annotators: Literal["auto", "separate"] = "auto",
    strong_weight: int = 1,
    texts: bool = False,
    features: bool = False,
    split: str | None = None,
) -> pd.DataFrame:
    """Read judgements into the table.

    Parameters
    ----------
    source : path, glob, hub name, list of these, DataFrame or Dataset
        A file of annotations (``.json``, ``.jsonl``, ``.csv``, ``.parquet``, each also gzipped), a
        folder that holds such files at any depth, a folder that ``save_to_disk`` of `datasets` wrote, a
        glob pattern, ``hf:owner/name`` (also ``hf:owner/name/configuration``, and behind either
        ``@revision`` and ``:split``) for a data set of the Hugging Face hub, a list of any of these, or
        records in memory: a pandas DataFrame, a list of dicts, a Dataset, IterableDataset or DatasetDict
        of `datasets`, a Polars or Arrow table.
        Of a hub name with a commit as its revision, what `datasets` has in its cache is read without a
        network; without one, a warning names the revision that was read.
        Of a folder, files called ``annotations.*`` are read, or all data files if there are none.
    format : {"auto", "alpaca_eval", "arena", "mt_bench", "arena_hard", "pandalm", "llmbar", "helpsteer", \
"chosen", "annotated_pairs", "judgebench", "auto_j", "ultrafeedback", "llm_comparator", "table"}
        What the records are; "auto" tells by their columns.

        - "alpaca_eval": ``instruction, output_1, output_2, generator_1, generator_2, preference``.
          Under ``results/<model>/<annotator>/`` the folder names win over what the file says;
          ``.attrs["disagreements"]`` lists where they differ.
        - "arena": ``model_a, model_b, winner`` (also ``left, right``; a winner is a side, a name or a draw,
          or one-hot), optionally judge, turn and conversations.
        - "mt_bench": MT-bench's ``gpt-4_pair.jsonl``, and "arena_hard": Arena-Hard's judgements; both hold
          two games in each record, one for each order of presentation.
        - "helpsteer": ``response1, response2, overall_preference`` (HelpSteer3), or ``response_1, response_2,
          preference_strength`` (HelpSteer2); "chosen": ``chosen, rejected``, texts or messages, or lists of
          texts (RewardBench 2); "annotated_pairs": several annotators on each pair.
        - "judgebench": ``question, response_A, response_B, label``, and judges' files with ``judgments``;
          "auto_j": ``response 1, response 2, label``, people's.
        - "ultrafeedback": ``instruction`` and rated ``completions``, of which every two make a row.
        - "llm_comparator": LLM Comparator's file, a row for each rating.
        - "pandalm": the test set with three human columns, and judges' files joined by ``idx``.
        - "llmbar": gold labels, and judges' verdicts in both orders; LLMEval^2's pairs too.
        - "table": the table itself, one row a judgement: ``model`` and ``outcome`` (1 the model is
          preferred, 0 the reference, 0.5 a draw, empty where there is no verdict) at least, and what is
          known of ``instruction_id`` (or the text ``instruction``), ``dataset``, ``reference``,
          ``annotator``, ``length_model`` and ``length_reference`` (or the texts ``output_model`` and
          ``output_reference``), ``n``, ``position`` and ``repeat``.
    columns : mapping of str to str, optional
        For a table of another format: the table's names to those of the file, such as
        ``{"model": "left", "reference": "right", "outcome": "label"}``. ``model`` and ``outcome`` at least;
        a ``model``, ``reference``, ``annotator`` or ``dataset`` that is no column of the file is the name for
        all rows.
    values : mapping, optional
        What verdicts mean, such as ``{"model": 1, "reference": 0, "draw": 0.5}``; each meaning has one
        verdict or a list of them. For ``columns`` and for the formats "alpaca_eval" and "arena".
    annotators : {"auto", "separate"}
        What becomes of many voters in a file of battles: by default, where there are at least ten and the
        median one votes at most twice, they are one annotator, "crowd", and ``voter`` keeps their names.
    strong_weight : int
        What a strong verdict of Arena-Hard (``A>>B``) weighs, by the column ``n``: 1, or 3 as Arena-Hard
        publishes, whose count also leaves out both games where one has no verdict. Results of `win_rate` say
        which.
    texts : bool
        Keep the columns ``instruction``, ``output_model`` and ``output_reference``.
    features : bool
        Count the style of both outputs while their texts are at hand, see `add_features`; takes about
        0.2 ms a text. Files without texts are read as they are.
    split : str, optional
        Which split of a data set that has several.

    Returns
    -------
    DataFrame
        The table: one row per judgement, lengths in characters. ``.attrs["counts"]`` says how many
        files and rows were read, how many judgements are missing and how many outputs are not text;
        ``.attrs["files"]`` has a hash of each file.

    Raises
    ------
    AnnotationError
        Names the file, the row (counted from 0), the column, the value found and what was expected.
    FileNotFoundError
        No such path, or nothing that matches the pattern.
    DataUnavailableError
        A hub name that is not in the cache of `datasets` while the hub does not answer, or refuses.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({
    ...     "instruction": ["Say hello.", "Count to 3."], "preference": [2, 0],
    ...     "output_1": ["Hi", "1 2 3"], "generator_1": "ref",
    ...     "output_2": ["Hello!", "1, 2, 3"], "generator_2": "mine", "annotator": "judge"})
    >>> read_annotations(rows)[["model", "reference", "outcome", "length_model"]]
      model reference  outcome  length_model
    0  mine       ref      1.0           6.0
    1  mine       ref      0.5           7.0
    """
    options.one_of("format", format, Format)
    options.one_of("annotators", annotators, ("auto", "separate"))
    options.whole("strong_weight", strong_weight)
    if features:
        given: dict[str, Any] = {
            "format": format,
            "columns": columns,
            "values": values,
            "annotators": annotators,
            "strong_weight": strong_weight,
        }
        table = read_annotations(source, **given, texts=True, split=split)
        if {"output_model", "output_reference"} <= set(table.columns):
            table = add_features(table)
        return table if texts else table.drop(columns=list(TEXTS), errors="ignore")
    how: dict[str, Any] = {
        "texts": texts,
        "mapping": columns,
        "values": values,
        "separate": annotators == "separate",
        "strong_weight": strong_weight,
    }
    if columns is not None:
        mapped.check_columns(columns)
    if values is not None:
        verdict_codes(values)
    if isinstance(source, pd.DataFrame):
        if columns is None and (format == "table" or (format == "auto" and _is_table(source))):
            return _checked(source, "DataFrame")
        return _read([_from_frame(source)], format, **how)
    with closing(read_sources(source, split=split)) as sources:
        return _read(sources, format, **how)


def _is_table(names: Any) -> bool:
    return "outcome" in names and "model" in names and "preference" not in names


def _from_frame(frame: pd.DataFrame) -> Columns:
    frame = frame.set_axis(frame.columns.map(str), axis=1)
    columns_once(frame, source="DataFrame")
    return Columns("DataFrame", columns={c: frame[c].tolist() for c in frame.columns})


def _checked(frame: pd.DataFrame, source: Any) -> pd.DataFrame:
    table = check(frame, source=source)
    require_judged(table, source=source)
    return table


def _read(
    sources: Any,
    format: str,
    *,
    texts: bool,
    mapping: Mapping[str, str] | None,
    values: Mapping[str, Any] | None,
    separate: bool,
    strong_weight: int,
) -> pd.DataFrame:
    rows, pandalm_parts, tables, licences = [], [], [], set()
    for columns in sources:  # one file's records are held at a time
        licences.add(columns.licence)
        kind = "mapped" if mapping else recognise(columns) if format == "auto" else format
        if values is not None and kind not in ("mapped", "alpaca_eval", "arena"):
            raise ValueError(
                f"values: {columns.source} has the format {kind!r}, whose verdicts have one meaning"
            )
        if kind == "mapped":
            rows.append(mapped.to_rows(columns, mapping or {}, texts=texts, values=values))
        elif kind == "table":
            tables.append(_table(columns))
        elif kind == "pandalm":
            pandalm_parts.append(columns)
        elif kind == "arena":
            rows.append(arena.to_rows(columns, texts=texts, values=values, separate=separate))
        elif kind == "arena_hard":
            rows.append(games.arena_hard(columns, strong_weight=strong_weight))
        elif kind in SINGLE:
            rows.append(SINGLE[kind](columns, texts))
        else:
            rows.append(alpaca_eval.to_rows(columns, texts=texts, values=values))
        del columns  # before the next file is parsed: the same memory serves again
    if pandalm_parts:
        rows += pandalm.to_rows(pandalm_parts, texts=texts)
    if tables and rows:
        raise AnnotationError("files of one kind, found tables and annotation files", source="source")
    read = _together(tables) if tables else join(rows)
    if "strong" in read:
        read.attrs["strong_weight"] = strong_weight
    if len(licences) == 1 and None not in licences:
        read.attrs["licence"] = licences.pop()
    return read


def _table(columns: Any) -> pd.DataFrame:
    table = _checked(_frame(columns), columns.source)
    if columns.sha256 is not None:
        about = {"file": columns.source, "sha256": columns.sha256(), "n_rows": len(table)}
        table.attrs["files"] = Provenance([about])
    return table


def _frame(columns: Any) -> pd.DataFrame:
    import pyarrow as pa

    arrays = {name: columns.arrow(name) for name in columns.names}
    if all(isinstance(array, pa.Array | pa.ChunkedArray) for array in arrays.values()):
        try:
            return pa.table(arrays).to_pandas()
        except (pa.ArrowException, ValueError, OverflowError):  # column by column, the message says which
            pass
    return frame({name: columns.get(name) for name in columns.names}, columns.source)


def _together(tables: list) -> pd.DataFrame:
    if len(tables) == 1:
        return tables[0]
    loose = [t.astype(dict.fromkeys(t.select_dtypes("category"), object)) for t in tables]
    files = [about for t in loose for about in t.attrs.pop("files", ())]
    together = _checked(pd.concat(loose, ignore_index=True), "the tables together")
    together.attrs["files"] = Provenance(files)
    return together


def recognise(columns: Columns) -> str:
    """Return the format of records, told by their fields.

    Raises
    ------
    AnnotationError
        Fields of no known format, or of model outputs without judgements.
    """
    if _is_table(columns):
        return "table"
    for name, fits in RECOGNISED.items():
        if fits(columns):
            return name
    if pandalm.is_testset(columns) or pandalm.verdict_column(columns):
        return "pandalm"
    if {"input", "output_1", "output_2"} <= columns.names.keys() and "preference" not in columns:
        return "llmbar"
    if {"preference", "output_1", "output_2", "generator_1", "generator_2"} & columns.names.keys():
        return "alpaca_eval"
    expected = (
        "judgements: 'preference' (AlpacaEval), 'winner' (arena), 'response1' or '*_result' with 'idx' "
        "(PandaLM), 'label' (LLMBar) or 'outcome' (the table); any other table is read by "
        'columns={"model": ..., "reference": ..., "outcome": ...} and '
        'values={"model": ..., "reference": ..., "draw": ...}'
    )
    if {"instruction", "output"} <= columns.names.keys():
        expected += "; outputs without judgements are read by read_outputs"
    found = Verbatim("the columns " + ", ".join(columns.names))
    raise AnnotationError(expected, source=columns.source, found=found)


def read_outputs(source: Any, *, texts: bool = False, split: str | None = None) -> pd.DataFrame:
    """Read what models wrote, AlpacaEval's ``model_outputs.json``.

    Parameters
    ----------
    source : path, glob, hub name, list of these, DataFrame or Dataset
        Whatever `read_annotations` takes, with records of ``instruction``, ``output`` and optionally
        ``generator`` and ``dataset``. Of a folder, files called ``model_outputs.*`` are read at any
        depth. Under ``results/<model>/`` the folder's name is the model's.
    texts : bool
        Keep the columns ``instruction`` and ``output``.
    split : str, optional
        Which split of a data set that has several.

    Returns
    -------
    DataFrame
        ``instruction_id``, ``dataset``, ``model``, ``length`` (characters, NaN where the output is
        not text); ``.attrs["counts"]`` has the number of files, rows and outputs that are not text.

    Raises
    ------
    AnnotationError
        A missing column, an instruction that is not text, or two outputs for one instruction.

    Examples
    --------
    >>> import pandas as pd
    >>> outputs = pd.DataFrame({"instruction": ["Say hello."], "output": ["Hi"], "generator": "mine"})
    >>> read_outputs(outputs)[["model", "length"]]
      model  length
    0  mine     2.0
    """
    if isinstance(source, pd.DataFrame):
        parts = [_from_frame(source)]
    else:
        parts = list(read_sources(source, split=split, name="model_outputs"))
    return alpaca_eval.outputs_table(parts, texts=texts)
