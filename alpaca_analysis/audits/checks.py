"""The checks of an audit by name: what each one asked, whether it could be asked, and what it found."""

from __future__ import annotations

import pandas as pd

from alpaca_analysis.audits.rules import SEVERITIES

NO_LENGTHS = "the judgements do not say how long outputs are"
# Name (as findings have it), the section it reads, and the question.
CHECKS = (
    ("outputs", "health", "Are the outputs answers?"),
    ("reference", "health", "Were all models judged against the same outputs?"),
    ("folder and file", "health", "Do the files say what their folders say?"),
    ("missing judgements", "health", "Is every pair judged?"),
    ("draws", "health", "Does the judge decide?"),
    ("verdicts", "win_rates", "Were verdicts read as they were meant?"),
    ("win rate", "win_rates", "Do the win rates have intervals?"),
    ("length preference", "length_preference", "Does the judge prefer longer outputs?"),
    ("length control", "length_control", "Do the win rates hold at equal length?"),
    ("position", "first_position", "Does the order of presentation matter?"),
    ("lists", "lists", "Does the judge prefer lists?"),
    ("agreement", "agreement", "Does the judge agree with people?"),
    ("claims", "claims", "Do the printed numbers hold?"),
)


def checks(findings: pd.DataFrame, results: dict[str, pd.DataFrame], settings: dict) -> pd.DataFrame:
    """Return every check of an audit, those with findings first.

    Parameters
    ----------
    findings, results, settings
        As `Audit` has them.

    Returns
    -------
    DataFrame
        ``check``, ``question``; ``severity`` of its strongest finding, "none" where it found no problem,
        "" where it could not be looked at; ``n_findings``; ``why`` it was not looked at.
    """
    absent = settings.get("skipped", {}) | settings.get("not_given", {})
    rows = []
    for name, section, question in CHECKS:
        found = findings[findings["check"] == name]
        problems = found[found["severity"] != "info"]
        why = "" if section in results else absent.get(section, "not looked at")
        if section in results and name in ("outputs", "reference") and _unknown_lengths(results[section]):
            why = NO_LENGTHS
        if name == "folder and file" and not settings.get("n_files", 0):
            why = "no files with folders of their own were read"
        if section in results and name == "reference" and len(results[section]) < 2:
            why = why or "there is one model"
        severity = "" if why and not len(problems) else "none"
        if len(problems):
            severity = min(problems["severity"], key=SEVERITIES.index)
        rows.append((name, question, severity, len(problems), why if not len(problems) else ""))
    frame = pd.DataFrame(rows, columns=["check", "question", "severity", "n_findings", "why"])
    order = frame["severity"].map([*SEVERITIES, "none", ""].index)
    return frame.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _unknown_lengths(health):
    return health[["mean_length", "mean_length_reference"]].isna().all(axis=None)


def summary(frame: pd.DataFrame) -> str:
    """Return what all checks came to, in a sentence.

    Examples
    --------
    >>> frame = pd.DataFrame({"severity": ["none", "none", ""], "n_findings": [0, 0, 0]})
    >>> summary(frame)
    '2 checks, no problem; 1 not looked at'
    """
    done = frame[frame["severity"] != ""]
    words = f"{len(done)} check{'s' * (len(done) != 1)}, "
    found = done[done["severity"] != "none"]
    if len(found):
        counts = found["severity"].value_counts()
        words += ", ".join(f"{counts[s]} of {s} severity" for s in SEVERITIES if s in counts)
        words += f", {len(done) - len(found)} without a problem" if len(done) > len(found) else ""
    else:
        words += "no problem"
    absent = len(frame) - len(done)
    return words + (f"; {absent} not looked at" if absent else "")
