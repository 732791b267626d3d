"""The page of an audit: findings, tables and figures in one self-contained file."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import pandas as pd

from alpaca_analysis.audits.checks import answer, checks, names, summary
from alpaca_analysis.present.pages import digest
from alpaca_analysis.present.rendering import printable

TITLES = {
    "health": "The data",
    "win_rates": "Win rates",
    "first_place": "The first place",
    "length_preference": "Preference for longer outputs",
    "length_response": "Outcome against length difference",
    "length_control": "Length-controlled win rates",
    "first_position": "Preference for the output shown first",
    "order": "Both orders",
    "noise": "The judge asked again",
    "beyond_people": "Length beyond people",
    "more_beyond_people": "Style and order beyond people",
    "own_family": "The own family beyond people",
    "lists": "Preference for lists",
    "style": "Preference for style",
    "agreement": "Agreement with people",
    "agreement_difference": "The judge against one person",
    "claims": "Printed numbers",
}
EXPLANATIONS = {
    "health": "Per model: what was judged and what is missing, how long outputs are on average, in "
    "characters, and the share of outputs that have the usual, most frequent length.",
    "win_rates": "Mean outcome over judged instructions, a draw counting half.",
    "first_place": "The best model against the next one, on the instructions that both were judged on, and "
    "how few of these put the other first when they are left out.",
    "length_preference": "Decisions between outputs that differ by more than 30 characters; 50 % is no "
    "preference. Longer outputs may also be better ones.",
    "length_response": "Mean outcome in bins of how much longer the model's output is.",
    "length_control": "The win rate had both outputs been equally long, by logistic regression on length "
    "(phi), the instruction's difficulty (psi) and the model's strength (theta); the error includes the "
    "fit. It answers for length only, not for style or substance.",
    "first_position": "50 % means that the order of presentation does not matter.",
    "order": "Pairs judged in both orders: the same output preferred, or the same place.",
    "noise": "Variance of the instructions, and of the judge asked again about the same pair; how often two "
    "of its verdicts differ.",
    "beyond_people": "The judge's response to length beside people's on the same pairs; at_equal_preference "
    "is what length adds where people are indifferent, 0 without a bias beyond people.",
    "own_family": "Win rate of outputs of the judge's own family by the judge, less that by people on the "
    "same pairs, also where both outputs are equally long.",
    "lists": "Decisions between an output with a list and one without.",
    "style": "Decisions between outputs that differ in a feature; 50 % is no preference for more of it. "
    "Features go together with length and with substance.",
    "more_beyond_people": "What position and style add to the verdict where people are indifferent and "
    "length is equal, all at once; 0 without a bias beyond people.",
    "agreement": "The judge and single people against the majority of the same people: those who remain "
    "when one is left out.",
    "agreement_difference": "Agreement of the judge less that of one person, on the same pairs and against "
    "the same remaining people; the interval includes the people's own error.",
    "claims": "Printed values against recomputed ones; a value is impossible where no number of wins and "
    "draws rounds to it.",
}


def render(
    headline: str,
    findings: pd.DataFrame,
    results: dict[str, pd.DataFrame],
    settings: dict,
    examples: pd.DataFrame,
) -> str:
    """Return the page of an audit: findings and checks first, data health last.

    Parameters
    ----------
    headline : str
        What was audited.
    findings, results, settings, examples
        As `Audit` has them.
    """
    import jinja2
    from markupsafe import Markup

    from alpaca_analysis.foundations.version import __version__
    from alpaca_analysis.present.tables import show

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    pictures = _pictures(results)
    sections = [
        {
            "name": name,
            "title": TITLES[name],
            "text": EXPLANATIONS[name],
            "table": Markup(show(telling(frame, name)).to_html()),  # safe: it escapes every text
            "picture": pictures.get(name, ""),
        }
        for name, frame in sorted(results.items(), key=lambda item: item[0] == "health")
    ]
    asked = checks(findings, results, settings)
    script = (Path(__file__).parent / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        headline=headline,
        summary=". ".join(filter(None, [answer(findings), summary(asked)])),
        names=names(asked),
        findings=_with_pairs(findings, examples),
        checks=[
            {**row, "effect": _effect(row, asked["pvalue_holm"].count())} for row in asked.to_dict("records")
        ],
        sections=sections,
        absent=asked.loc[asked["status"] == "not looked at"].set_index("check")["why"].to_dict(),
        settings=settings,
        version=__version__,
        script=Markup(script),  # safe: our own, and the only one that the policy lets run
        script_hash=Markup(digest(script)),
    )


def _effect(check, n_tests):
    """Return estimate, interval and p-values of a check in words, "" where it tests no number."""
    if pd.isna(check["estimate"]) or check["status"] == "not looked at":
        return ""
    text = f"{100 * check['estimate']:.1f} %"
    if not pd.isna(check["ci_low"]):
        text += f", 95 % interval {100 * check['ci_low']:.1f} to {100 * check['ci_high']:.1f} %"
    if not pd.isna(check["pvalue_holm"]):
        text += f"; {_pvalue(check['pvalue'])}, among {n_tests} tests {_pvalue(check['pvalue_holm'])} (Holm)"
    return text


def _pvalue(value):
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def telling(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a result without the columns that hold nothing: no value at all, or of health all 0.

    Examples
    --------
    >>> frame = pd.DataFrame({"model": ["a"], "n_judged": [7], "n_missing": [0], "mean_length": [None]})
    >>> telling(frame, "health").columns.tolist()
    ['model', 'n_judged']
    """
    empty = [c for c in frame if frame[c].isna().all() or (frame[c].astype(str) == "").all()]
    if name == "health":
        numbers = frame.select_dtypes("number")
        empty += [c for c in numbers if (numbers[c].fillna(0) == 0).all() and c != "n_judged"]
    return frame.drop(columns=[c for c in empty if c not in ("ci_low", "ci_high", "standard_error")])


def _with_pairs(findings, examples):
    """Return findings as the page shows them, without what was only not looked at."""
    shown = []
    for number, finding in findings.iterrows():
        if finding["severity"] == "info" and str(finding["finding"]).startswith("not looked at"):
            continue
        pairs = examples[examples["finding"] == number] if len(examples) else examples
        told = [{name: _lines(text) for name, text in pair.items()} for pair in pairs.to_dict("records")]
        shown.append({**finding.to_dict(), "pairs": told})
    return shown


def _lines(text):
    """Return a text with its lines; what else would act in it is shown as an escape."""
    from markupsafe import Markup, escape

    return Markup("\n").join(escape(printable(line)) for line in str(text).splitlines())


def _pictures(results) -> dict[str, str]:
    """Draw the sections that are easier to read as figures, as SVG inside the page."""
    from alpaca_analysis import figures

    draw = {
        "win_rates": lambda frame: figures.forest(frame, width=figures.PAGE),
        "length_response": lambda frame: figures.length_response(frame, width=figures.PAGE),
        "length_control": lambda frame: figures.length_control(frame, width=figures.PAGE),
        "claims": lambda frame: figures.claims(frame, width=figures.PAGE),
    }
    return {name: _svg(draw[name](results[name])) for name in draw if name in results and len(results[name])}


def _svg(ax) -> str:
    import matplotlib.pyplot as plt

    from alpaca_analysis import figures

    with tempfile.TemporaryDirectory() as folder:
        (path,) = figures.save(ax, Path(folder) / "figure.svg")
        content = path.read_bytes()
    plt.close(ax.figure)
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()
