"""The audit of a judge: every section that its judgements allow, and what they find."""

from __future__ import annotations

import html
import os
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from alpaca_analysis.audits import rules as findings
from alpaca_analysis.audits.biases import NEEDS as BIAS_NEEDS
from alpaca_analysis.audits.biases import bias_sections
from alpaca_analysis.audits.checks import answer, checks, names, summary
from alpaca_analysis.audits.examples import examples
from alpaca_analysis.audits.sliced import AuditSlices, audit_in_slices
from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, StoppedWarning, UndefinedWarning
from alpaca_analysis.foundations.files import write_json, write_text
from alpaca_analysis.foundations.progress import bar
from alpaca_analysis.inference.results import seed_of
from alpaca_analysis.inference.stopped import stops_by
from alpaca_analysis.present.rendering import printable, records
from alpaca_analysis.table.checks import SEQUENCE, STOPPED, check
from alpaca_analysis.table.groups import refuse_mixed
from alpaca_analysis.table.style import add_features

NO_LENGTHS = (
    "the judgements do not say how long outputs are (columns length_model and length_reference, or the texts "
    "output_model and output_reference)"
)
NEED_ONE_REFERENCE = ("win_rates", "first_place", "length_control", "claims")
SEVERAL_REFERENCES = (
    "the judgements are against several references; select one, or rate models by bradley_terry"
)
NEEDS = {
    "first_place": "there are no two models whose judgements name their instructions",
    "first_position": "the judgements do not say which output was shown first (column position)",
    "lists": "the judgements do not say which outputs hold a list (columns list_model, list_reference)",
    "agreement": "no human judgements were given (humans)",
    "claims": "no printed numbers were given (claims)",
    **BIAS_NEEDS,
}


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes
    ----------
    findings : DataFrame
        ``severity`` (high, medium, low, info), ``check``, ``model``, ``finding``, ``evidence``;
        strongest first.
    results : dict of str to DataFrame
        The sections the findings rest on.
    settings : dict
        Judges, references, models, judgements, ``skipped`` (sections that could not be computed) and
        ``not_given`` (sections for which nothing was given), each with the reason.
    examples : DataFrame
        Pairs behind findings, where the table has texts: ``finding`` (its row), ``model``, ``verdict``,
        ``instruction``, ``output_model``, ``output_reference``. They stand in the page, not in the JSON.
    """

    findings: pd.DataFrame
    results: dict[str, pd.DataFrame]
    settings: dict
    examples: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_frame(self) -> pd.DataFrame:
        """Return the findings."""
        return self.findings.copy()

    def __repr__(self) -> str:
        named = textwrap.fill(printable(names(self.checks())), 96)
        head = f"{self._headline()}\n{self._summary()}\n{named}"
        return "\n\n".join([head, *map(_paragraph, self.findings.to_dict("records"))])

    def _repr_html_(self) -> str:
        from alpaca_analysis.present.tables import show

        head = f"{self._headline()}: {self._summary()}"
        return f"<p>{html.escape(head)}</p>\n{show(self.findings).to_html()}"

    @property
    def summary(self) -> str:
        """What all checks came to, in a sentence."""
        return self._summary()

    def _summary(self):
        first = answer(self.findings)
        asked = self.checks()
        said = f"{first}. {summary(asked)}." if first else f"{summary(asked)}."
        return printable(said)

    def _headline(self):
        s = self.settings
        judges, references = (
            ", ".join(map(printable, s[k])) or f"an unnamed {what}"
            for k, what in (("annotators", "judge"), ("references", "reference"))
        )
        size, models = (
            _counted(s[k], what) for k, what in (("n_judgements", "judgement"), ("n_models", "model"))
        )
        rates = self.results.get("win_rates")
        if rates is not None and len(rates) == 1 and rates["ci_low"].notna().all():
            row = rates.iloc[0]
            rate, low, high = (f"{100 * row[c]:.1f}" for c in ("win_rate", "ci_low", "ci_high"))
            models = f"{printable(row['model'])}, which wins {rate} % [{low}, {high}],"
        return f"Audit of {judges}: {size} of {models} against {references}"

    def to_json(self, path) -> Path:
        """Write findings, results and settings as JSON; undefined numbers are null."""
        content = {
            "settings": self.settings,
            "findings": records(self.findings),
            "checks": records(self.checks()),
            "results": {name: records(frame) for name, frame in self.results.items()},
        }
        return write_json(path, content)

    def to_html(self, path) -> Path:
        """Write one self-contained page: figures are embedded, and nothing is loaded from elsewhere."""
        from alpaca_analysis.audits.page import render

        page = render(self._headline(), self.findings, self.results, self.settings, self.examples)
        return write_text(path, page)

    def checks(self) -> pd.DataFrame:
        """Return the checks by name, those with findings first.

        Returns
        -------
        DataFrame
            ``check``, ``question``, ``status`` ("flagged", "fine", "not looked at"), ``severity`` ("none"
            where no problem was found, "" where it could not be looked at), ``n_findings``, ``why`` it was
            not looked at; of checks that test one number its ``estimate``, ``ci_low``, ``ci_high``,
            ``pvalue`` and ``pvalue_holm``, adjusted for all tests of the audit (Holm).
        """
        return checks(self.findings, self.results, self.settings)


def _counted(number, what):
    return f"{number:,} {what}{'s' * (number != 1)}"


def _paragraph(finding, width=100):
    """Return a finding as a terminal shows it."""
    head = " · ".join(printable(finding[k]) for k in ("severity", "check", "model") if finding[k])
    body = (printable(finding[k]) for k in ("finding", "evidence") if finding[k])
    lines = [line for text in body for line in textwrap.wrap(text, width - 4)]
    return "\n    ".join([head, *lines])


_COLUMNS = (
    *("severity", "check", "model", "finding", "evidence", "estimate", "standard_error"),
    *("ci_low", "ci_high", "pvalue", "pvalue_holm", "reason", "note"),
)


def audit(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    humans: pd.DataFrame | None = None,
    claims: pd.DataFrame | None = None,
    families: Mapping[str, str] | None = None,
    n_resamples: int = 9999,
    rng=0,
) -> Audit | AuditSlices:
    """Audit the judgements of one judge.

    Looks at data health, win rates, preference for length, length control, position, both orders, repeats and
    lists where they are known, agreement with people, length and own family beyond people where human
    judgements are given, and printed numbers where they are. With several references it looks at what
    concerns the judge, and not at win rates. Judge
    and people are scored against the same people: on every pair those who remain when one is left out.

    Parameters
    ----------
    table : DataFrame
        Judgements, as `read_annotations` returns them.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "category": each is audited alone. The numbers that
        checks test get intervals that hold in all slices at once (Bonferroni) and p-values adjusted for all
        tests of all slices; a Wald test says of each whether it is the same in all slices.
    humans : DataFrame, optional
        Judgements of the same pairs by people.
    claims : DataFrame, optional
        Printed win rates: ``model``, ``reference``, ``printed`` (percent, as text). They are about all
        judgements, so not with `by`.
    families : mapping of str to str, optional
        Family of each model and judge by name, as of `self_preference`; by default what names say.
    n_resamples : int
        Bootstrap resamples of every interval that resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    Audit, or AuditSlices where `by` is given
        ``.to_frame()``, ``.to_html(path)``, ``.to_json(path)``, ``.results``. Slices hold the audit of each
        by its name (``found["code"]``), the numbers of all in ``.checks()``, the tests in ``.equality``.

    Raises
    ------
    AnnotationError
        Several annotators: audit them one by one.

    See Also
    --------
    audit_leaderboard : A whole leaderboard against itself and its files.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> counts = {"model": ["m"], "n_wins": [70], "n_losses": [20], "n_draws": [5], "n_asked": [100]}
    >>> table = from_counts(counts)
    >>> audit(table).to_frame()[["severity", "check", "finding"]].iloc[0].tolist()
    ['medium', 'missing judgements', '5 of 100 judgements are missing and not averaged']
    """
    from alpaca_analysis.biases.own_family import given_families

    options.whole("n_resamples", n_resamples)
    if families is not None:
        given_families(families)
    if by is not None:
        by = options.groups(by, _COLUMNS)
        if claims is not None:
            raise ValueError("claims: printed numbers are about all judgements; check them without `by`")
        one: Callable[..., Any] = partial(audit, families=families, n_resamples=n_resamples, rng=rng)
        return audit_in_slices(table, humans, by, one)
    attrs = table.attrs
    table = check(table, at_any_time=True)
    table.attrs = {"stop_said": True}  # the findings say it
    refuse_mixed(table, columns=("annotator",))
    results, skipped = {}, {}
    blind = table[["length_model", "length_reference"]].isna().any(axis=1).all()
    several = len(table["reference"].unique()) > 1
    sections = _sections(table, humans, claims, families, {"n_resamples": n_resamples, "rng": rng})
    with bar(len(sections), "Auditing", unit="section") as steps:
        for name, section in sections.items():
            try:
                results[name] = section()
            except AnnotationError as error:
                if name != "agreement_difference":  # one person a pair: the section on agreement says so
                    skipped[name] = NO_LENGTHS if blind and name.startswith("length") else str(error)
                    if name in NEED_ONE_REFERENCE and several:
                        skipped[name] = SEVERAL_REFERENCES
            steps.update()
    settings = {
        "annotators": sorted(map(str, table["annotator"].dropna().unique())),
        "references": sorted(map(str, table["reference"].dropna().unique())),
        "n_models": int(table["model"].nunique()),
        "n_judgements": int(table["n"][table["outcome"].notna()].sum()),
        "n_resamples": n_resamples,
        "rng": seed_of(rng),
        "n_files": len(attrs.get("files", [])),
        "disagreements": _from_common_folder(attrs.get("disagreements", []), attrs.get("files", [])),
        "probabilities": _from_common_folder(attrs.get("probabilities", []), attrs.get("files", [])),
        "stopped": {str(model): why for (model,), why in stops_by(table).items()}
        if {SEQUENCE, STOPPED} & set(table)
        else None,
        "skipped": skipped,
        "not_given": {k: why for k, why in NEEDS.items() if k not in results and k not in skipped},
    }
    found = findings.collect(results, settings)
    return Audit(found, results, settings, examples(found, table, humans))


def _from_common_folder(disagreements, files):
    """Return disagreements whose files are named from the folder that all files share, not from the root."""
    folders = {os.path.dirname(entry["file"]) for entry in (*files, *disagreements)}
    try:
        common = os.path.commonpath(folders) if folders else ""
    except ValueError:  # absolute and relative ones, or other drives
        common = None
    return [
        d | {"file": Path(d["file"]).name if common is None else str(Path(d["file"]).relative_to(common))}
        for d in disagreements
    ]


def _sections(table, humans, claims, families, options) -> dict[str, Callable[[], pd.DataFrame]]:
    from alpaca_analysis.audits.health import health
    from alpaca_analysis.claims.win_rates import check_claims
    from alpaca_analysis.length.preferences import prefer_first, prefer_lists, prefer_longer, response_curve
    from alpaca_analysis.people.agreement import HUMANS, compare_agreement
    from alpaca_analysis.win_rates.estimates import win_rate

    if {"output_model", "output_reference"} <= set(table.columns) and "bold_model" not in table:
        table = add_features(table)
    named = table.assign(annotator=table["annotator"].astype(object).fillna("the judge").astype("category"))
    measured = table[["outcome", "length_model", "length_reference"]].notna().all(axis=1).sum()
    scale = "characters"
    if not measured and "length_feature" in table:  # cells of length: how long outputs are is not known
        scale, measured = "tanh", len(table)
    bins = min(10, max(1, measured))
    sections: dict[str, Callable[[], pd.DataFrame]] = {
        "health": lambda: health(table),
        "win_rates": lambda: _quiet(win_rate, table, **options),
        "length_preference": lambda: _quiet(prefer_longer, named, **options),
        "length_response": lambda: _quiet(response_curve, named, n_bins=bins, scale=scale, **options),
        "length_control": lambda: _length_control(table),
    }
    if len(table["model"].unique()) > 1 and table["instruction_id"].notna().all():
        sections["first_place"] = lambda: _quiet(_first_place, table)
    if "position" in table:
        sections["first_position"] = lambda: _quiet(prefer_first, named, **options)
    if {"list_model", "list_reference"} <= set(table.columns):
        sections["lists"] = lambda: _quiet(prefer_lists, named, **options)
    biases = bias_sections(named, humans, families, options)
    sections |= {name: partial(_quiet, section) for name, section in biases.items()}
    if humans is not None:
        judge = str(named["annotator"].iloc[0])
        sections["agreement"] = lambda: _agreement(named, humans, **options)
        sections["agreement_difference"] = lambda: _quiet(
            compare_agreement, named, humans, judge, HUMANS, **options
        )
    if claims is not None:
        sections["claims"] = lambda: _quiet(check_claims, claims, table, **options)
    return sections


def _quiet(statistic, *args, **options):
    """Call a statistic; what it leaves undefined is in its notes, and the findings repeat them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedWarning)
        warnings.simplefilter("ignore", StoppedWarning)
        return statistic(*args, **options)


def _first_place(table):
    """Check that the model with the highest win rate is first, and how few judgements decide it."""
    from alpaca_analysis.claims.win_rates import check_first
    from alpaca_analysis.win_rates.estimates import win_rate_bounds

    return check_first(table, str(win_rate_bounds(table)["model"].iloc[0]))


def _agreement(table, humans, **options):
    """Score the judge and people against the same remaining people; against all where nobody remains."""
    from alpaca_analysis.people.agreement import HUMANS, human_agreement

    fair = _quiet(human_agreement, table, humans, remaining=True, **options)
    if fair.loc[fair["annotator"] != HUMANS, "n"].any():
        return fair
    return _quiet(human_agreement, table, humans, **options)


def _length_control(table):
    """Fit with AlpacaEval's difficulty where the instructions are its own, else without."""
    from alpaca_analysis.length.control.fitting import fit_length_control

    try:
        return _quiet(fit_length_control, table).to_frame()
    except AnnotationError:
        return _quiet(fit_length_control, table, difficulty=None).to_frame()
