"""Pairs to read behind a finding: which judgements show what it says, where texts were given."""

from __future__ import annotations

import pandas as pd

TEXTS = ("instruction", "output_model", "output_reference")
MOST = 2  # pairs behind one finding
LONGEST = 700  # characters of a text that are shown
COLUMNS = ("finding", "model", "verdict", *TEXTS)


def examples(findings: pd.DataFrame, table: pd.DataFrame, humans: pd.DataFrame | None) -> pd.DataFrame:
    """Return up to two pairs behind each finding.

    Parameters
    ----------
    findings : DataFrame
        Of the audit.
    table : DataFrame
        The judgements, checked.
    humans : DataFrame, optional
        Judgements by people.

    Returns
    -------
    DataFrame
        ``finding`` (its row), ``model``, ``verdict`` and the texts, shortened; empty where no texts were
        given.
    """
    parts = []
    if set(TEXTS) <= set(table.columns):
        told = table[table[list(TEXTS)].notna().all(axis=1)]
        for number, finding in findings.iterrows():
            rows = told[told["model"] == finding["model"]] if finding["model"] else told
            shown = _behind(finding["check"], rows, humans).head(MOST)
            texts = {column: shown[column].map(shortened) for column in TEXTS}
            parts.append(
                pd.DataFrame(
                    {
                        "finding": number,
                        "model": shown["model"].astype(str),
                        "verdict": shown["outcome"].map(verdict),
                        **texts,
                    }
                )
            )
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(parts, ignore_index=True)


def _behind(check, rows, humans):
    """Return the rows that show what a finding of this check says, the plainest first."""
    longer = rows["length_model"] - rows["length_reference"]
    toward = (rows["outcome"] - 0.5) * longer  # > 0: the longer output was preferred
    if check == "outputs":
        return rows[rows["length_model"] == rows["length_model"].mode().get(0)]
    if check == "reference":
        usual = rows["length_reference"].mode().get(0)
        return rows[rows["length_reference"] != usual]
    if check == "missing judgements":
        return rows[rows["outcome"].isna()]
    if check == "draws":
        return rows[rows["outcome"] == 0.5]
    if check in ("length preference", "length control"):
        return _by(rows[toward > 0], longer.abs())
    if check == "position" and "position" in rows:
        first = (rows["position"] == 1) == (rows["outcome"] > 0.5)
        return _by(rows[first & (rows["outcome"] != 0.5) & rows["outcome"].notna()], -longer.abs())
    if check == "lists" and {"list_model", "list_reference"} <= set(rows.columns):
        with_list = rows["list_model"].astype(float) - rows["list_reference"].astype(float)
        return rows[with_list * (rows["outcome"] - 0.5) > 0]
    if check == "agreement" and humans is not None:
        keys = [c for c in ("instruction_id", "model", "reference") if c in humans]
        if "instruction_id" not in keys:
            return rows.head(0)
        said = humans.assign(**{c: humans[c].astype(str) for c in keys}).groupby(keys)["outcome"].mean()
        named = pd.MultiIndex.from_frame(rows[keys].astype(str))
        apart = (rows["outcome"] - said.reindex(named).to_numpy()).abs()
        return _by(rows[apart > 0.5], apart)
    return rows.head(0)


def _by(rows, key):
    return rows.loc[key.loc[rows.index].sort_values(ascending=False, kind="stable").index]


def verdict(outcome: float) -> str:
    """Return an outcome in words."""
    if pd.isna(outcome):
        return "no verdict"
    if outcome == 0.5:
        return "a draw"
    return "the model was preferred" if outcome > 0.5 else "the reference was preferred"


def shortened(text) -> str:
    """Return the beginning of a text."""
    text = str(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST:,} characters more)"
