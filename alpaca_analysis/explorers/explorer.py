"""The explorer: choose judgements, models and methods, and see at once what follows.

It needs ipywidgets (the extra ``notebooks``), no network and no published rows: without them it shows the
bundled counts and says what counts cannot answer.
"""

from __future__ import annotations

import base64
import difflib
import html
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alpaca_analysis.explorers import views
from alpaca_analysis.explorers.views import Answer, Choice, ViewError
from alpaca_analysis.explorers.window.widget import copy_button, source
from alpaca_analysis.present.rendering import printable
from alpaca_analysis.table.checks import check

BUNDLED = "AlpacaEval 1, bundled counts"
PEOPLE = "PandaLM with people, bundled counts"
ROWS = {"AlpacaEval 1": "alpaca_eval_v1", "AlpacaEval 2": "alpaca_eval_v2"}
GIVEN = "the table given"
LEVELS = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class DataSet:
    """Judgements to choose from, cells of length where they hold none, and what people said."""

    table: pd.DataFrame
    cells: pd.DataFrame | None = None
    humans: pd.DataFrame | None = None
    code: str = ""  # the lines that make it


class Explorer:
    """Controls, a figure and its numbers; what `explore` returns.

    Attributes
    ----------
    widget : ipywidgets.Widget
        What Jupyter shows.
    controls : dict of str to ipywidgets.Widget
        By the names that `choose` takes.
    answer : Answer
        The current result, its picture and what it cannot say.
    """

    def __init__(self, table: pd.DataFrame | None = None, humans: pd.DataFrame | None = None):
        self._sets: dict[str, DataSet] = {}
        self._answers: dict[Choice, Answer] = {}
        self._filling = False
        self.answer = Answer(None, "")
        names = self._offer(table, humans)
        self._build(names)
        self._fill()

    def _offer(self, table, humans) -> list[str]:
        from alpaca_analysis.sources.catalogue import available

        if table is not None:
            checked = check(table)
            checked.attrs = dict(table.attrs)
            self._sets[GIVEN] = DataSet(checked, humans=humans)
            return [GIVEN]
        at_hand = [label for label, name in ROWS.items() if available(name) in ("mirror", "cached")]
        return [*at_hand, BUNDLED, PEOPLE]

    def _build(self, names) -> None:
        import ipywidgets as w

        wide = w.Layout(width="17rem")
        self.controls = {
            "data": w.Dropdown(options=names, description="Data", layout=wide),
            "judge": w.Dropdown(description="Judge", layout=wide),
            "source": w.Dropdown(description="Source", layout=wide),
            "view": w.ToggleButtons(options=views.VIEWS, style={"button_width": "auto"}),
            "models": w.SelectMultiple(description="Models", rows=5, layout=wide),
            "a": w.Dropdown(description="Model A", layout=wide),
            "b": w.Dropdown(description="Model B", layout=wide),
            "method": w.Dropdown(options=views.METHODS, description="Interval", layout=wide),
            "level": w.SelectionSlider(
                options=[(f"{100 * x:.0f} %", x) for x in LEVELS],
                value=0.95,
                description="Coverage",
                layout=wide,
            ),
            "control": w.Dropdown(options=list(views.CONTROLS), description="Length", layout=wide),
            "by": w.Dropdown(description="Slices", layout=wide),
        }
        self._upload = w.FileUpload(
            description="Own file", accept=".json,.jsonl,.csv,.parquet,.gz", layout=wide
        )
        self._message, self._chart, self._table, self._code = w.HTML(), w.HTML(), w.HTML(), w.HTML()
        self._pairs = w.VBox([])
        self.buttons = {
            "pairs": w.Button(description="Read the pairs", icon="eye"),
            "save": w.Button(description="Save figure", icon="save"),
            "copy": copy_button(),
        }
        self.buttons["pairs"].on_click(lambda _: self.open_pairs())
        self.buttons["save"].on_click(lambda _: self._save())
        groups = (("data", "judge", "source"), ("models",), ("a", "b"), ("method", "level", "control", "by"))
        columns = [w.VBox([self.controls[name] for name in names]) for names in groups]
        columns[0].children += (self._upload,)
        self.widget = w.VBox(
            [
                w.HTML("<style>" + source("explorer.css") + "</style>"),
                w.HBox(columns, layout=w.Layout(flex_flow="row wrap")),
                self.controls["view"],
                self._message,
                self._chart,
                w.HBox(list(self.buttons.values())),
                self._pairs,
                self._table,
                self._code,
            ]
        )
        self.widget.add_class("aa-explorer")
        for name, control in self.controls.items():
            control.observe(self._fill if name in ("data", "judge") else self._update, "value")
        self._upload.observe(self._read_upload, "value")

    def _repr_mimebundle_(self, **_options):
        bundle = self.widget._repr_mimebundle_()
        return bundle | {"text/html": self._page(), "text/plain": repr(self)}

    def _page(self):
        """Return what a page without a kernel shows in place of the controls."""
        drawn = base64.b64encode(self.answer.picture).decode()
        picture = f'<img alt="Figure" width="640" src="data:image/png;base64,{drawn}">' if drawn else ""
        return f"<div>{self._message.value}{picture}{self._table.value}</div>"

    def __repr__(self):
        return f"<Explorer of {printable(self.controls['data'].value)}>"

    @property
    def result(self) -> pd.DataFrame | None:
        """The numbers behind the figure; None where there are none."""
        return self.answer.result

    @property
    def code(self) -> str:
        """The lines that compute the numbers from the same judgements; "" where there are none."""
        return self.answer.code

    def open_pairs(self):
        """Show the pairs behind what is looked at, under the controls, and return them.

        Returns
        -------
        Browser or None
            None where the judgements name no pairs; the message says so.
        """
        from alpaca_analysis.explorers.browser import browse

        data, choice = self._data(), self.choice
        rows = views.judged_by(data.table, choice.judge)
        asked = self.answer.pairs
        if asked.get("models") is not None:
            rows = rows[rows["model"].isin(list(asked["models"]))]
        if choice.source and "source" in views.USED[choice.view]:
            rows = rows[rows["dataset"] == choice.source]
        rows = rows.reset_index(drop=True)
        rows.attrs = dict(data.table.attrs)
        try:
            opened = browse(rows, sort=asked.get("sort", "surprise"), humans=data.humans)
        except ValueError as error:
            self._say(f"These judgements cannot be read pair by pair: {error}")
            return None
        self._pairs.children = [opened.widget]
        return opened

    def _save(self) -> None:
        import matplotlib.pyplot as plt

        from alpaca_analysis import figures

        if self.answer.draw is None:
            self._say("There is no figure to save.")
            return
        ax = self.answer.draw(width=figures.PAGE)
        files = figures.save(ax, Path(f"explorer_{self.choice.view.replace(' ', '_')}"))
        plt.close(ax.figure)
        self._say(f"Saved {', '.join(str(file.resolve()) for file in files)}")

    @property
    def picture(self):
        """The figure as IPython shows a picture, for pages that have no kernel behind them."""
        from IPython.display import HTML, Image

        if not self.answer.picture:
            return HTML(self._message.value)
        return Image(data=self.answer.picture, width=640, alt=f"Figure: {self.controls['view'].value}")

    def choose(self, **choices) -> Explorer:
        """Set controls by name, as a hand would.

        Parameters
        ----------
        **choices
            ``data``, ``judge``, ``source``, ``view``, ``models``, ``a``, ``b``, ``method``, ``level``,
            ``control``, ``by``.

        Raises
        ------
        ValueError
            No such control, or not one of its values.
        """
        for name, value in choices.items():
            if name not in self.controls:
                raise ValueError(f"found {name!r}, expected one of {', '.join(self.controls)}")
            control = self.controls[name]
            if name == "models":
                value = tuple(value)
            offered = [option[-1] if isinstance(option, tuple) else option for option in control.options]
            for one in value if name == "models" else (value,):
                if one not in offered:
                    near = difflib.get_close_matches(str(one), map(str, offered), cutoff=0.4) or offered[:4]
                    raise ValueError(f"{name}: found {one!r}, expected one of {len(offered)} such as {near}")
            control.value = value
        return self

    def add_file(self, name: str, content: bytes) -> None:
        """Read a user's file and show it, or say in plain words what is wrong with it.

        Parameters
        ----------
        name : str
            Its name; the suffix tells its format.
        content : bytes
            What it holds.
        """
        from alpaca_analysis.table.readers import read_annotations

        suffixes = "".join(s for s in Path(name).suffixes[-2:] if s.lstrip(".").isalnum())
        with tempfile.TemporaryDirectory(prefix="explore-") as folder:
            path = Path(folder) / f"file{suffixes}"
            path.write_bytes(content)
            try:
                table = read_annotations(path)
            except (ValueError, OSError, KeyError, TypeError) as error:
                self._say(f"{name} cannot be read. " + str(error).replace(str(path), name))
                return
        label = f"{name} ({time.strftime('%H:%M:%S')})" if name in self._sets else name
        self._sets[label] = DataSet(table)
        data = self.controls["data"]
        data.options = [*data.options, label]
        data.value = label

    def _read_upload(self, change) -> None:
        for file in change["new"]:
            self.add_file(file["name"], bytes(file["content"]))

    def _data(self) -> DataSet:
        from alpaca_analysis.sources.catalogue import load

        name = self.controls["data"].value
        if name not in self._sets:
            if name == BUNDLED:
                counts, cells = load("alpaca_eval_v1_counts"), load("alpaca_eval_v1_cells")
                self._sets[name] = DataSet(counts, cells, code='table = aa.load("alpaca_eval_v1_counts")')
            elif name == PEOPLE:
                self._sets[name] = _pandalm()
            else:
                rows = load(ROWS[name], download=False)
                self._sets[name] = DataSet(rows, code=f'table = aa.load("{ROWS[name]}")')
        return self._sets[name]

    def _fill(self, change=None) -> None:
        """Offer what the chosen data hold, keeping what was chosen where they hold it, too."""
        if self._filling:
            return
        self._filling = True
        try:
            self._fill_controls()
        finally:
            self._filling = False
        self._update()

    def _fill_controls(self):
        table, controls = self._data().table, self.controls
        _offer_options(controls["judge"], views.judges(table))
        table = views.judged_by(table, controls["judge"].value)
        sources = sorted(map(str, table["dataset"].dropna().unique()))
        _offer_options(controls["source"], [("all", ""), *((printable(s), s) for s in sources)])
        columns = views.slice_columns(table)
        _offer_options(controls["by"], [("none", ""), *((printable(c), c) for c in columns)])
        models = views.best_first(table)
        options = [(printable(m), m) for m in models]
        chosen = controls["models"].value
        if not chosen or not set(chosen) <= set(models):
            chosen = models[: views.AT_FIRST]
        controls["models"].options = options
        controls["models"].value = tuple(chosen)
        for name, default in (("a", models[0]), ("b", models[min(1, len(models) - 1)])):
            _offer_options(controls[name], options, default)

    @property
    def choice(self) -> Choice:
        """What is chosen."""
        values = {name: control.value for name, control in self.controls.items()}
        return Choice(**values)

    def _update(self, change=None) -> None:
        if self._filling:
            return
        choice = self.choice
        if choice not in self._answers:
            self._answers[choice] = self._compute(choice)
        self.answer = self._answers[choice]
        self._show()

    def _compute(self, choice) -> Answer:
        data = self._data()
        try:
            return views.answer(data.table, choice, cells=data.cells, humans=data.humans, made_by=data.code)
        except (ViewError, ValueError) as error:
            return Answer(None, str(error))

    def _show(self):
        from alpaca_analysis.present.tables import show

        answer, used = self.answer, views.USED[self.controls["view"].value]
        self._say(answer.message)
        self._chart.value = answer.chart.to_html() if answer.chart is not None else ""
        table = show(answer.result).to_html() if answer.result is not None else ""
        self._table.value = f'<div class="scroll">{table}</div>' if table else ""
        code = f"<details><summary>Code</summary><pre>{html.escape(answer.code)}</pre></details>"
        self._code.value = code if answer.code else ""
        self.buttons["copy"].text = answer.code
        for name, button in self.buttons.items():
            button.disabled = answer.result is None and name != "pairs"
        for name, control in self.controls.items():
            control.disabled = name not in {"data", "judge", "view"} | used
        self._pairs.children = []  # they were of another choice

    def _say(self, text: str) -> None:
        self._message.value = f"<p>{html.escape(printable(text))}</p>" if text else ""


def _offer_options(control, options, default=None) -> None:
    """Offer `options`, keeping the value where it is still one of them."""
    values = [option[-1] if isinstance(option, tuple) else option for option in options]
    first = default if default is not None else values[0]
    value = control.value if control.value in values else first
    control.options = options
    control.value = value


def _pandalm() -> DataSet:
    """Return PandaLM's two judges and three people, from counts."""
    from alpaca_analysis.sources.catalogue import load
    from alpaca_analysis.table.counts import from_patterns

    both = from_patterns(load("pandalm_counts"))
    human = both["annotator"].astype(str).str.startswith("human")
    lines = (
        'both = aa.from_patterns(aa.load("pandalm_counts"))',
        'human = both["annotator"].str.startswith("human")',
        "table, humans = both[~human], both[human]",
    )
    table, humans = (both[which].reset_index(drop=True) for which in (~human, human))
    return DataSet(table, humans=humans, code="\n".join(lines))


def explore(table: pd.DataFrame | None = None, *, humans: pd.DataFrame | None = None) -> Explorer:
    """Explore judgements in Jupyter: leaderboard, ranks, head-to-head, length, people, style.

    Parameters
    ----------
    table : DataFrame, optional
        Judgements, as `read_annotations` returns them. By default AlpacaEval's: the published rows where
        they are at hand (`catalog`), and the bundled counts of AlpacaEval and PandaLM.
    humans : DataFrame, optional
        Judgements of the same pairs by people.

    Returns
    -------
    Explorer
        Jupyter shows it as controls and a chart, with buttons that open the pairs behind it, save it as a
        figure and copy its code. ``.result`` has the numbers, ``.code`` the lines that compute them,
        ``.choose`` sets controls, ``.open_pairs()`` shows the pairs.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b"], "n_wins": [7, 5], "n_losses": [2, 4], "n_draws": [1, 1]})
    >>> explore(table).choose(view="head-to-head").result.loc[0, ["model_a", "model_b"]].tolist()
    ['a', 'b']
    """
    return Explorer(table, humans)
