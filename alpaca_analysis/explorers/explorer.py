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
from alpaca_analysis.present.rendering import printable
from alpaca_analysis.table.checks import check

BUNDLED = "AlpacaEval 1, bundled counts"
ROWS = {"AlpacaEval 1": "alpaca_eval_v1", "AlpacaEval 2": "alpaca_eval_v2"}
GIVEN = "the table given"
LEVELS = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class DataSet:
    """Judgements to choose from, and cells of length where the judgements hold none."""

    table: pd.DataFrame
    cells: pd.DataFrame | None = None


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

    def __init__(self, table: pd.DataFrame | None = None):
        self._sets: dict[str, DataSet] = {}
        self._answers: dict[Choice, Answer] = {}
        self._filling = False
        self.answer = Answer(None, b"", "")
        names = self._offer(table)
        self._build(names)
        self._fill()

    def _offer(self, table) -> list[str]:
        from alpaca_analysis.sources.catalogue import available

        if table is not None:
            self._sets[GIVEN] = DataSet(check(table))
            return [GIVEN]
        at_hand = [label for label, name in ROWS.items() if available(name) in ("mirror", "cached")]
        return [*at_hand, BUNDLED]

    def _build(self, names) -> None:
        import ipywidgets as w

        wide = w.Layout(width="18rem")
        self.controls = {
            "data": w.Dropdown(options=names, description="Data", layout=wide),
            "judge": w.Dropdown(description="Judge", layout=wide),
            "source": w.Dropdown(description="Source", layout=wide),
            "view": w.ToggleButtons(options=views.VIEWS, style={"button_width": "9rem"}),
            "models": w.SelectMultiple(description="Models", rows=8, layout=wide),
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
        }
        self._upload = w.FileUpload(
            description="Own file", accept=".json,.jsonl,.csv,.parquet,.gz", layout=wide
        )
        self._message, self._table = w.HTML(), w.HTML()
        self._image = w.Image(format="png", layout=w.Layout(max_width="100%", width="640px"))
        left = w.VBox([c for k, c in self.controls.items() if k != "view"] + [self._upload])
        right = w.VBox(
            [self.controls["view"], self._message, self._image, self._table],
            layout=w.Layout(flex="1 1 26rem", min_width="26rem"),
        )
        self.widget = w.HBox([left, right], layout=w.Layout(flex_flow="row wrap"))
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
            ``control``.

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
                self._sets[name] = DataSet(load("alpaca_eval_v1_counts"), load("alpaca_eval_v1_cells"))
            else:
                self._sets[name] = DataSet(load(ROWS[name], download=False))
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
        models = views.best_first(table)
        options = [(printable(m), m) for m in models]
        chosen = controls["models"].value
        if not chosen or not set(chosen) <= set(models):
            chosen = models[: views.MOST]
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
            return views.answer(data.table, choice, cells=data.cells)
        except (ViewError, ValueError) as error:
            return Answer(None, b"", str(error))

    def _show(self):
        from alpaca_analysis.present.tables import show

        self._say(self.answer.message)
        self._image.value = self.answer.picture
        self._image.layout.display = None if self.answer.picture else "none"
        self._table.value = "" if self.answer.result is None else show(self.answer.result).to_html()

    def _say(self, text: str) -> None:
        self._message.value = f"<p>{html.escape(printable(text))}</p>" if text else ""


def _offer_options(control, options, default=None) -> None:
    """Offer `options`, keeping the value where it is still one of them."""
    values = [option[-1] if isinstance(option, tuple) else option for option in options]
    first = default if default is not None else values[0]
    value = control.value if control.value in values else first
    control.options = options
    control.value = value


def explore(table: pd.DataFrame | None = None) -> Explorer:
    """Explore judgements in Jupyter: leaderboard, head-to-head and length response.

    Parameters
    ----------
    table : DataFrame, optional
        Judgements, as `read_annotations` returns them. By default AlpacaEval's: the published rows where
        they are at hand (`catalog`), and the bundled counts.

    Returns
    -------
    Explorer
        Jupyter shows it as controls and a figure; ``.result`` has the numbers, ``.choose`` sets controls.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b"], "n_wins": [7, 5], "n_losses": [2, 4], "n_draws": [1, 1]})
    >>> explore(table).choose(view="head-to-head").result.loc[0, ["model_a", "model_b"]].tolist()
    ['a', 'b']
    """
    return Explorer(table)
