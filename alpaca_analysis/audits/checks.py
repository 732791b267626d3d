"""The checks of an audit by name: what each one asked, whether it could be asked, and what it found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.audits.rules import SEVERITIES

NO_LENGTHS = "the judgements do not say how long outputs are"
# Name (as findings have it), the section it reads, and the question.
CHECKS = (
    ("outputs", "health", "Are the outputs answers?"),
    ("reference", "health", "Were all models judged against the same outputs?"),
    ("folder and file", "health", "Do the files say what their folders say?"),
    ("log probabilities", "health", "Are the preferences what their own log probabilities say?"),
    ("missing judgements", "health", "Is every pair judged?"),
    ("stopped early", "health", "Was everything judged, whatever came out?"),
    ("draws", "health", "Does the judge decide?"),
    ("verdicts", "win_rates", "Were verdicts read as they were meant?"),
    ("win rate", "win_rates", "Do the win rates have intervals?"),
    ("first place", "first_place", "Is the first place carried by more than a few judgements?"),
    ("length preference", "length_preference", "Does the judge prefer longer outputs?"),
    ("length control", "length_control", "Do the win rates hold at equal length?"),
    ("beyond people", "beyond_people", "Does the judge prefer longer outputs more than people do?"),
    ("style beyond people", "more_beyond_people", "Does style or order move the judge more than people?"),
    ("own family", "own_family", "Does the judge prefer outputs of its own family more than people do?"),
    ("position", "first_position", "Does the order of presentation matter?"),
    ("order", "order", "Does the judge prefer the same output in both orders?"),
    ("noise", "noise", "Does the judge say the same when it is asked again?"),
    ("lists", "lists", "Does the judge prefer lists?"),
    ("style", "style", "Does the judge prefer markdown, opening phrases or refusals?"),
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
        ``check``, ``question``; ``status`` ("flagged", "fine", "not looked at"); ``severity`` of its
        strongest finding, "none" where it found no problem, "" where it could not be looked at;
        ``n_findings``; ``why`` it was not looked at; ``estimate``, ``ci_low``, ``ci_high``, ``pvalue`` and
        ``pvalue_holm`` of checks that test one number.
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
        if name == "log probabilities" and not settings.get("probabilities"):
            why = "no weighted preferences with log probabilities were read (raw_completion)"
        if name == "stopped early" and settings.get("stopped") is None:
            why = "the judgements do not say in which order they were asked (column sequence)"
        if section in results and name == "reference" and len(results[section]) < 2:
            why = why or "there is one model"
        if section in ("own_family", "beyond_people", "more_beyond_people") and section in results:
            why = why or _undefined(results[section])
        severity = "" if why and not len(problems) else "none"
        if len(problems):
            severity = min(problems["severity"], key=SEVERITIES.index)
        rows.append((name, question, severity, len(problems), why if not len(problems) else ""))
    frame = pd.DataFrame(rows, columns=["check", "question", "severity", "n_findings", "why"])
    named = {"": "not looked at", "none": "fine"}
    frame.insert(2, "status", frame["severity"].map(lambda severity: named.get(severity, "flagged")))
    frame = frame.join(pd.DataFrame([_effect(name, results) for name in frame["check"]]))
    frame["pvalue_holm"] = adjusted(frame["pvalue"].where(frame["status"] != "not looked at"))
    order = frame["severity"].map([*SEVERITIES, "none", ""].index)
    return frame.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def answer(findings: pd.DataFrame) -> str:
    """Return whether the judge is biased beyond people, where people judged the same pairs, else "".

    Examples
    --------
    >>> answer(pd.DataFrame({"check": ["length preference"], "finding": ["it likes length"]}))
    ''
    """
    found = findings.loc[findings["check"] == "beyond people", "finding"]
    return str(found.iloc[0]) if len(found) and not found.iloc[0].startswith("not looked at") else ""


def _undefined(frame):
    """Return why no row of a result is defined, "" where one is."""
    known = frame["estimate"].notna()
    return "" if known.any() else str(frame["note"].iloc[0]).removeprefix("undefined: ")


def _effect(check, results):
    """Return estimate, interval and p-value of a check that tests one number; NaN of the others."""
    nothing = dict.fromkeys(("estimate", "ci_low", "ci_high", "pvalue"), np.nan)
    shares = {"length preference": "length_preference", "position": "first_position", "lists": "lists"}
    if check in shares and shares[check] in results:
        row = results[shares[check]].iloc[0]
        error = row["standard_error"]
        pvalue = 2 * stats.norm.sf(abs(row["probability"] - 0.5) / error) if error > 0 else np.nan
        return {
            "estimate": row["probability"],
            **{c: row[c] for c in ("ci_low", "ci_high")},
            "pvalue": pvalue,
        }
    if check == "style" and "style" in results:
        return _strongest(results["style"], results["style"]["probability"] - 0.5, "probability")
    if check == "style beyond people" and "more_beyond_people" in results:
        frame = results["more_beyond_people"]
        frame = frame[(frame["kind"] == "judge") & (frame["quantity"] == "at_equal_preference")]
        frame = frame[frame["covariate"] != "length"]
        return _strongest(frame, frame["estimate"], "estimate")
    if check == "order" and "order" in results:
        row = results["order"].iloc[0]
        return {"estimate": row["consistent"]} | {c: row[c] for c in ("ci_low", "ci_high", "pvalue")}
    if check == "agreement" and "pvalue" in results.get("agreement_difference", ()):
        row = results["agreement_difference"].iloc[0]
        return {"estimate": row["difference"]} | {c: row[c] for c in ("ci_low", "ci_high", "pvalue")}
    section = {"beyond people": "beyond_people", "own family": "own_family"}.get(check)
    if section in results:
        frame = results[section]
        if section == "beyond_people":
            frame = frame[(frame["kind"] == "judge") & (frame["quantity"] == "at_equal_preference")]
        return {c: frame[c].iloc[0] for c in nothing}
    return nothing


def _strongest(frame, distance, estimate):
    """Return the entry that is furthest from nothing for its error, its p-value times their number."""
    z = (distance / frame["standard_error"].where(frame["standard_error"] > 0)).abs()
    if z.isna().all():
        return dict.fromkeys(("estimate", "ci_low", "ci_high", "pvalue"), np.nan)
    row = frame.loc[z.idxmax()]
    pvalue = min(1.0, 2 * stats.norm.sf(z.max()) * int(z.notna().sum()))
    return {"estimate": row[estimate], **{c: row[c] for c in ("ci_low", "ci_high")}, "pvalue": pvalue}


def adjusted(pvalues: pd.Series) -> pd.Series:
    """Return Holm's adjusted p-values; statsmodels has them too, and takes a second to load."""
    ordered = pvalues.dropna().sort_values()
    steps = ordered * np.arange(len(ordered), 0, -1)
    return steps.cummax().clip(upper=1).reindex(pvalues.index)


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


def names(frame: pd.DataFrame) -> str:
    """Return which checks found something, and which could not be looked at, in two sentences.

    Examples
    --------
    >>> names(pd.DataFrame({"check": ["lists", "draws", "order"], "severity": ["low", "none", ""]}))
    'Flagged: lists. Not looked at: order.'
    """
    flagged = frame.loc[~frame["severity"].isin(["none", ""]), "check"]
    absent = frame.loc[frame["severity"] == "", "check"]
    said = [f"Flagged: {', '.join(flagged)}."] if len(flagged) else []
    return " ".join([*said, f"Not looked at: {', '.join(absent)}."] if len(absent) else said)
