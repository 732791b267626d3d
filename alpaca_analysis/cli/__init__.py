"""The shell: every verb reads files, calls one function and prints what it returns.

Exit code 0 where that went well, 1 with one line on standard error where the input is at fault or a model
did not answer, 2 where the command is, 3 where an audit found what `--fail-on` names, 4 and 5 where a gate
found a new version worse or could not decide. Results go to standard output, everything else to standard
error.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from alpaca_analysis.cli import audits, data, gate, length, making, statistics
from alpaca_analysis.cli.options import note, reading, write_text
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.foundations.version import __version__

__all__ = ["app", "main"]

QUESTIONS = {  # verbs by what they answer, in the order in which a reader looks for them
    "How often does a model win?": (
        *("win-rate", "bounds", "compare", "confidence-sequence", "gate", "rank-sets", "ratings"),
    ),
    "How many judgements are needed?": ("plan", "detectable"),
    "Does the judge agree with people?": ("agreement", "correlation"),
    "What moves a judge?": ("audit", "prefer-longer", "prefer-first", "prefer-lists", "length-response"),
    "Who wins at equal length?": ("length-control",),
    "Do printed numbers hold?": ("check-claims", "audit-leaderboard"),
    "Ask models": ("generate", "judge"),
    "Published data": ("data",),
}


class ByQuestion(TyperGroup):
    """Lists verbs by the question that they answer, each with its whole first sentence."""

    def format_commands(self, ctx, formatter) -> None:
        """Write the verbs, a section a question."""
        known = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        listed = {name for names in QUESTIONS.values() for name in names}
        sections = {**QUESTIONS, "Further": [name for name in known if name not in listed]}
        for question, names in sections.items():
            rows = [(name, _first_sentence(known[name])) for name in names if known.get(name)]
            if rows:
                with formatter.section(question.rstrip("?")):
                    formatter.write_dl(rows)


def _first_sentence(command):
    return " ".join((command.help or "").split("\n\n")[0].split())


app = typer.Typer(
    cls=ByQuestion,
    name="alpaca-analysis",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
for part in (statistics, length, audits, gate, making):
    for verb in part.app.registered_commands:
        if "sources" in inspect.signature(verb.callback).parameters:
            verb.callback = reading(verb.callback)
    app.add_typer(part.app)
app.add_typer(data.app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        write_text(f"alpaca_analysis {__version__}\n")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Say what pairwise judgements of language models show, and how surely."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb and leave with its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", RuntimeWarning)
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: note(message)
        try:
            app(args=arguments, prog_name="alpaca-analysis")
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:  # what a user can mend
            note(_plainly(error), label="alpaca-analysis")
            sys.exit(1)


def _plainly(error):
    """Return what an error says, in the shell's words; of the system's errors without their number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if not isinstance(error, AnnotationError):
        return error
    said = _BY.sub(lambda found: f"; group by it too: {_options(found[1])} --by {found[2]}", str(error))
    return said.replace("bradley_terry rates", "`alpaca-analysis ratings` rates")


_BY = re.compile(r" in each group of \[([^]]*)\]; select one, or add '([^']+)' to `by`")


def _options(columns: str) -> str:
    """Return the options that group by the columns of a list as Python writes it."""
    return " ".join(f"--by {column}" for column in re.findall(r"'([^']+)'", columns))
