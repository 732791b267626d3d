"""The audit of a judge: one call, findings in plain words, one self-contained page."""

from __future__ import annotations

import base64
import html
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import bootstrap, findings
from .annotations import AnnotationError, check
from .rendering import printable
from .writing import write_json, write_text

TITLES = {
    "health": "The data",
    "win_rates": "Win rates",
    "length_preference": "Preference for longer outputs",
    "length_response": "Outcome against length difference",
    "length_control": "Length-controlled win rates",
    "first_position": "Preference for the output shown first",
    "lists": "Preference for lists",
    "agreement": "Agreement with people",
    "claims": "Printed numbers",
}
EXPLANATIONS = {
    "health": "Per model: what was judged and what is missing, how long outputs are on average, in "
    "characters, and the share of outputs that have the usual, most frequent length.",
    "win_rates": "Mean outcome over judged instructions, a draw counting half.",
    "length_preference": "Decisions between outputs that differ by more than 30 characters; 50 % is no "
    "preference. Longer outputs may also be better ones.",
    "length_response": "Mean outcome in bins of how much longer the model's output is.",
    "length_control": "The win rate had both outputs been equally long, by logistic regression on length "
    "(phi), the instruction's difficulty (psi) and the model's strength (theta); the error includes the "
    "fit. It answers for length only, not for style or substance.",
    "first_position": "50 % means that the order of presentation does not matter.",
    "lists": "Decisions between an output with a list and one without.",
    "agreement": "The judge against the human majority; one human against the majority of the others.",
    "claims": "Printed values against recomputed ones; a value is impossible where no number of wins and "
    "draws rounds to it.",
}
NO_LENGTHS = (
    "the judgements do not say how long outputs are (columns length_model and length_reference, or the texts "
    "output_model and output_reference)"
)
NEEDS = {
    "first_position": "the judgements do not say which output was shown first (column position)",
    "lists": "the judgements do not say which outputs hold a list (columns list_model, list_reference)",
    "agreement": "no human judgements were given (humans)",
    "claims": "no printed numbers were given (claims)",
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
    """

    findings: pd.DataFrame
    results: dict[str, pd.DataFrame]
    settings: dict

    def to_frame(self) -> pd.DataFrame:
        """Return the findings."""
        return self.findings.copy()

    def __repr__(self) -> str:
        return "\n\n".join([self._headline(), *map(_paragraph, self.findings.to_dict("records"))])

    def _repr_html_(self) -> str:
        from .tables import show

        return f"<p>{html.escape(self._headline())}</p>\n{show(self.findings).to_html()}"

    def _headline(self):
        s = self.settings
        judges, references = (
            ", ".join(map(printable, s[k])) or f"an unnamed {what}"
            for k, what in (("annotators", "judge"), ("references", "reference"))
        )
        size, models = (
            _counted(s[k], what) for k, what in (("n_judgements", "judgement"), ("n_models", "model"))
        )
        return f"Audit of {judges}: {size} of {models} against {references}"

    def to_json(self, path) -> Path:
        """Write findings, results and settings as JSON; undefined numbers are null."""
        content = {
            "settings": self.settings,
            "findings": records(self.findings),
            "results": {name: records(frame) for name, frame in self.results.items()},
        }
        return write_json(path, content)

    def to_html(self, path) -> Path:
        """Write one page that needs nothing else: figures are inside it, and it asks for nothing."""
        return write_text(path, render(self))


def _counted(number, what):
    return f"{number:,} {what}{'s' * (number != 1)}"


def _paragraph(finding, width=100):
    """Return a finding as a terminal shows it."""
    head = " · ".join(printable(finding[k]) for k in ("severity", "check", "model") if finding[k])
    body = (printable(finding[k]) for k in ("finding", "evidence") if finding[k])
    lines = [line for text in body for line in textwrap.wrap(text, width - 4)]
    return "\n    ".join([head, *lines])


def audit(
    table: pd.DataFrame,
    *,
    humans: pd.DataFrame | None = None,
    claims: pd.DataFrame | None = None,
    n_resamples: int = 9999,
    rng=0,
) -> Audit:
    """Audit the judgements of one judge against one reference.

    Looks at data health, win rates, preference for length, length control, position and lists where
    they are known, agreement where human judgements are given, and printed numbers where they are.

    Parameters
    ----------
    table : DataFrame
        Judgements, as `read_annotations` returns them.
    humans : DataFrame, optional
        Judgements of the same pairs by people.
    claims : DataFrame, optional
        Printed win rates: ``model``, ``reference``, ``printed`` (percent, as text).
    n_resamples : int
        Bootstrap resamples of every interval that resamples.
    rng : int
        Seed of every bootstrap.

    Returns
    -------
    Audit
        ``.to_frame()``, ``.to_html(path)``, ``.to_json(path)``, ``.results``.

    Raises
    ------
    AnnotationError
        Several annotators or references: audit them one by one.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> counts = {"model": ["m"], "n_wins": [70], "n_losses": [20], "n_draws": [5], "n_asked": [100]}
    >>> table = from_counts(counts)
    >>> audit(table).to_frame()[["severity", "check", "finding"]].iloc[0].tolist()
    ['medium', 'missing judgements', '5 of 100 judgements are missing and not averaged']
    """
    bootstrap.check_options(n_resamples=n_resamples)
    attrs = table.attrs
    table = check(table)
    table.attrs = {}
    for column in ("annotator", "reference"):
        names = sorted(map(str, table[column].unique()))
        if len(names) > 1:
            found = ", ".join(names[:4])
            raise AnnotationError(f"one {column} in an audit; select one", column=column, found=found)
    results, skipped = {}, {}
    blind = table[["length_model", "length_reference"]].isna().any(axis=1).all()
    for name, section in _sections(table, humans, claims, {"n_resamples": n_resamples, "rng": rng}).items():
        try:
            results[name] = section()
        except AnnotationError as error:
            skipped[name] = NO_LENGTHS if blind and name.startswith("length") else str(error)
    settings = {
        "annotators": sorted(map(str, table["annotator"].dropna().unique())),
        "references": sorted(map(str, table["reference"].dropna().unique())),
        "n_models": int(table["model"].nunique()),
        "n_judgements": int(table["n"][table["outcome"].notna()].sum()),
        "n_resamples": n_resamples,
        "seed": bootstrap.seed_of(rng),
        "disagreements": _from_common_folder(attrs.get("disagreements", []), attrs.get("files", [])),
        "skipped": skipped,
        "not_given": {k: why for k, why in NEEDS.items() if k not in results and k not in skipped},
    }
    return Audit(findings.collect(results, settings), results, settings)


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


def _sections(table, humans, claims, options) -> dict[str, Callable[[], pd.DataFrame]]:
    from .agreement import human_agreement
    from .claims import check_claims
    from .length_bias import prefer_first, prefer_lists, prefer_longer, response_curve
    from .winrates import win_rate

    named = table.assign(annotator=table["annotator"].astype(object).fillna("the judge"))
    measured = table[["outcome", "length_model", "length_reference"]].notna().all(axis=1).sum()
    bins = min(10, max(1, measured))
    sections: dict[str, Callable[[], pd.DataFrame]] = {
        "health": lambda: health(table),
        "win_rates": lambda: _quiet(win_rate, table, **options),
        "length_preference": lambda: _quiet(prefer_longer, named, **options),
        "length_response": lambda: _quiet(response_curve, named, n_bins=bins, **options),
        "length_control": lambda: _length_control(table),
    }
    if "position" in table:
        sections["first_position"] = lambda: _quiet(prefer_first, named, **options)
    if {"list_model", "list_reference"} <= set(table.columns):
        sections["lists"] = lambda: _quiet(prefer_lists, named, **options)
    if humans is not None:
        sections["agreement"] = lambda: _quiet(human_agreement, named, humans, **options)
    if claims is not None:
        sections["claims"] = lambda: _quiet(check_claims, claims, table, **options)
    return sections


def _quiet(statistic, *args, **options):
    """Call a statistic; what it leaves undefined is in its notes, and the findings repeat them."""
    import warnings

    from .annotations import UndefinedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedWarning)
        return statistic(*args, **options)


def _length_control(table):
    """Fit with AlpacaEval's difficulty where the instructions are its own, else without."""
    from .length_control import fit_length_control

    try:
        fit = _quiet(fit_length_control, table)
    except AnnotationError:
        fit = _quiet(fit_length_control, table, difficulty=None)
    frame = fit.to_frame()
    frame.attrs = {k: v for k, v in fit.settings.items() if isinstance(v, (str, int, float))}
    return frame


def health(table: pd.DataFrame) -> pd.DataFrame:
    """Count per model what was judged, what is missing, and how long the outputs are.

    Parameters
    ----------
    table : DataFrame
        Judgements.

    Returns
    -------
    DataFrame
        ``model``, ``n_judged``, ``n_missing``, ``n_draws``, ``n_not_text`` (outputs whose length is unknown
        where others of the same side are known), ``mean_length`` and ``mean_length_reference`` (characters),
        ``usual_length`` (the most frequent length), ``same_length`` and ``same_length_reference`` (the share
        of outputs that have the most frequent length, of the model and of the reference) and
        ``other_reference`` (the share of reference outputs whose length is not what it is for most models).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": "m", "outcome": [1, 0.5, None], "length_model": [10, 10, 30]})
    >>> health(table)[["n_judged", "n_missing", "n_draws", "usual_length", "same_length"]].round(2)
       n_judged  n_missing  n_draws  usual_length  same_length
    0         2          1        1          10.0         0.67
    """
    table = check(table)
    length = table["length_reference"]
    usual = length.groupby(table["instruction_id"]).transform("median")
    table["other"] = length.ne(usual).where(usual.notna() & length.notna())
    parts = table.groupby("model", observed=True, sort=True)
    return pd.DataFrame([{"model": model, **_health_of(part)} for model, part in parts])


def _health_of(part):
    n, outcome = part["n"], part["outcome"]
    ours, theirs = part["length_model"], part["length_reference"]
    usual, same = _most_frequent(ours, n)
    unknown = sum(int(n[side.isna()].sum()) for side in (ours, theirs) if side.notna().any())
    return {
        "n_judged": int(n[outcome.notna()].sum()),
        "n_missing": int(n[outcome.isna()].sum()),
        "n_draws": int(n[outcome == 0.5].sum()),
        "n_not_text": unknown,
        "mean_length": _mean(ours, n),
        "mean_length_reference": _mean(theirs, n),
        "usual_length": usual,
        "same_length": same,
        "same_length_reference": _most_frequent(theirs, n)[1],
        "other_reference": float(part["other"].mean()),
    }


def _mean(lengths, n):
    known = lengths.notna()
    return float(np.average(lengths[known], weights=n[known])) if known.any() else np.nan


def _most_frequent(lengths, n):
    """Return the most frequent length and the share of outputs that have it."""
    counts = n.groupby(lengths).sum()
    return (float(counts.idxmax()), float(counts.max() / counts.sum())) if len(counts) else (np.nan, np.nan)


def render(result: Audit) -> str:
    """Return the page of an audit."""
    import jinja2
    from markupsafe import Markup

    from . import __version__
    from .tables import show

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    pictures = _pictures(result.results)
    sections = [
        {
            "name": name,
            "title": TITLES[name],
            "text": EXPLANATIONS[name],
            "table": Markup(show(frame).to_html()),  # safe: it escapes every text
            "picture": pictures.get(name, ""),
        }
        for name, frame in result.results.items()
    ]
    absent = result.settings["skipped"] | result.settings["not_given"]
    return environment.get_template("report.html.j2").render(
        headline=result._headline(),
        findings=result.findings.to_dict("records"),
        counts=result.findings["severity"].value_counts().to_dict(),
        sections=sections,
        absent={TITLES[name]: why for name, why in absent.items()},
        settings=result.settings,
        version=__version__,
    )


def _pictures(results) -> dict[str, str]:
    """Draw what a person would rather look at; as SVG inside the page."""
    from . import figures

    draw = {
        "win_rates": lambda frame: figures.forest(frame, width=figures.PAGE),
        "length_response": lambda frame: figures.length_response(frame, width=figures.PAGE),
        "length_control": lambda frame: figures.length_control(frame, width=figures.PAGE),
        "claims": lambda frame: figures.claims(frame, width=figures.PAGE),
    }
    return {name: _svg(draw[name](results[name])) for name in draw if name in results and len(results[name])}


def _svg(ax) -> str:
    import tempfile

    import matplotlib.pyplot as plt

    from . import figures

    with tempfile.TemporaryDirectory() as folder:
        (path,) = figures.save(ax, Path(folder) / "figure.svg")
        content = path.read_bytes()
    plt.close(ax.figure)
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def records(frame: pd.DataFrame) -> list[dict]:
    """Return rows as JSON takes them: plain numbers with all digits, None where undefined.

    Examples
    --------
    >>> records(pd.DataFrame({"model": ["m"], "win_rate": [0.1 + 0.2], "ci_low": [float("nan")]}))
    [{'model': 'm', 'win_rate': 0.30000000000000004, 'ci_low': None}]
    """
    rows = frame.astype(object).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)
