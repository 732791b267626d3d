"""The table as a data set of `datasets`, with a card that says where its rows come from."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.version import __version__
from alpaca_analysis.present.tables import to_markdown
from alpaca_analysis.table.checks import check

if TYPE_CHECKING:
    import datasets

COLUMNS = {
    "instruction_id": "hash of the prompt's text; missing where the row is aggregated or its prompt unknown",
    "dataset": "source of the prompt",
    "model": "who was judged",
    "reference": "against whom",
    "annotator": "by whom",
    "outcome": "1 the model is preferred, 0 the reference, 0.5 a draw; missing without a usable answer",
    "length_model": "characters of the model's output",
    "length_reference": "characters of the reference's output",
    "n": "how many equal judgements the row stands for",
    "position": "1 if the model's output was shown first, else 2",
    "repeat": "which of several judgements of the same pair",
}
# Names of licences as the hub writes them; others are given in words.
LICENCES = {"apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "odc-by"}


def to_dataset(table: pd.DataFrame, path=None, *, licence: str | None = None) -> datasets.Dataset:
    """Make a data set of `datasets` from the table; `read_annotations` reads it back equal.

    Parameters
    ----------
    table : DataFrame
        Judgements, as `read_annotations` returns them.
    path : path, optional
        A new folder to save it in, with its card as ``README.md``; ``hf:`` names are written by
        ``push_to_hub`` of what is returned.
    licence : str, optional
        Under which licence the rows are passed on, such as "cc-by-4.0"; by default what `load` said of
        them (``.attrs["licence"]``), else "unknown".

    Returns
    -------
    datasets.Dataset
        One row per judgement. Names are texts, outcomes and lengths 64-bit floats, ``n`` a 64-bit
        integer; further columns as they are. ``.info.license`` is the licence, ``.info.description``
        the card: columns, counts, and each source with its hash where `read_annotations` recorded it.

    Raises
    ------
    AnnotationError
        No table of judgements, or a column of values that are not of one type.
    FileExistsError
        `path` exists and is not an empty folder.

    Examples
    --------
    >>> import pandas as pd
    >>> from alpaca_analysis import read_annotations
    >>> table = read_annotations(pd.DataFrame({"model": ["a", "b"], "outcome": [1, 0.5]}))
    >>> data = to_dataset(table, licence="cc0-1.0")
    >>> data.features["outcome"].dtype, data.info.license
    ('float64', 'cc0-1.0')
    >>> read_annotations(data).equals(table)
    True
    """
    import datasets

    checked = check(table)
    licence = licence or table.attrs.get("licence") or "unknown"
    card = _card(checked, licence)
    arrow = _to_arrow(checked)
    info = datasets.DatasetInfo(
        description=card, license=licence, features=datasets.Features.from_arrow_schema(arrow.schema)
    )
    made = datasets.Dataset(arrow, info=info)
    if path is not None:
        _save(made, Path(path), f"{_front_matter(licence)}{card}")
    return made


def _to_arrow(table):
    import pyarrow as pa

    arrays = {}
    for column in table.columns:
        values = table[column]
        plain = values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values
        is_text = isinstance(values.dtype, (pd.CategoricalDtype, pd.StringDtype))
        try:
            arrays[column] = pa.array(plain, pa.string() if is_text else None, from_pandas=True)
        except (pa.ArrowException, TypeError, OverflowError) as error:
            expected = f"values of one type, which Arrow can hold ({str(error).splitlines()[0]})"
            raise AnnotationError(expected, column=column) from None
    return pa.table(arrays)


def _front_matter(licence):
    known = licence.lower()
    named = (
        f"license: {known}\n" if known in LICENCES else f"license: other\nlicense_name: {_quoted(licence)}\n"
    )
    return f"---\n{named}tags:\n- pairwise-comparison\n- llm-as-a-judge\n---\n"


def _quoted(text):
    return "'" + " ".join(text.split()).replace("'", "''") + "'"


def _card(table, licence):
    shown = pd.DataFrame(
        {
            "column": table.columns,
            "type": [str(_to_arrow(table[[c]].head(1)).schema[0].type) for c in table.columns],
            "known": [int(table[c].notna().sum()) for c in table.columns],
            "meaning": [COLUMNS.get(c, "") for c in table.columns],
        }
    )
    missing = int(table["outcome"].isna().sum())
    parts = [
        "# Pairwise judgements",
        f"{len(table):,} rows, {int(table['n'].sum()):,} judgements of {table['model'].nunique():,} models; "
        f"{missing:,} rows without a usable answer. Licence: {licence}.",
        "## Columns",
        to_markdown(shown),
        "## Sources",
        _sources(table.attrs.get("files")),
        "## Reading",
        "`alpaca_analysis.read_annotations` reads it as it was. "
        f"Written by `alpaca_analysis.to_dataset`, version {__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def _sources(files):
    if not files:
        return "Not recorded."
    listed = pd.DataFrame(list(files))
    listed["file"] = [os.path.basename(str(f)) if os.path.isabs(str(f)) else str(f) for f in listed["file"]]
    return to_markdown(listed.fillna("").rename(columns={"sha256": "SHA-256", "n_rows": "rows"}))


def _save(data, path, card):
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: expected a new folder, found one with files in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        data.save_to_disk(str(made))
        (made / "README.md").write_text(card, encoding="utf-8")
        made.chmod(0o755)
        os.replace(made, path)
    finally:
        shutil.rmtree(made, ignore_errors=True)
