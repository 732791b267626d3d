"""The view as a widget of JupyterLab."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@functools.cache
def source(name: str) -> str:
    """Return the text of the ES module or of its style."""
    return (FOLDER / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Host:
    """A widget, and what was selected in it."""

    widget: Any

    @property
    def selected(self) -> list[int]:
        """Positions of the selected pairs."""
        return list(self.widget.selected)

    def bundle(self, text: str) -> dict[str, Any]:
        """Return what Jupyter shows: the widget, and `text` where there are no widgets."""
        shown = self.widget._repr_mimebundle_()
        data = shown[0] if isinstance(shown, tuple) else shown
        return {**(data or {}), "text/plain": text}


def window(kind: str, numbers: dict, answer: Callable[[Mapping[str, Any]], dict | None]) -> Host:
    """Return the view as a widget.

    Parameters
    ----------
    kind : str
        "browse" or "label".
    numbers : dict
        What the view knows of all pairs from the start.
    answer : callable
        Takes a message of the view and returns the reply, or None.

    Raises
    ------
    ModuleNotFoundError
        anywidget is not installed.
    """
    widget = _class()(kind=kind, numbers=numbers)

    def reply(_widget, message, _buffers):
        if isinstance(message, Mapping) and (said := answer(message)) is not None:
            widget.send(said)

    widget.on_msg(reply)
    return Host(widget)


_COPY = """
function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button";
  button.textContent = "Copy the code";
  const able = () => { button.disabled = model.get("disabled"); };
  button.addEventListener("click", async () => {
    const text = model.get("text");
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement("textarea");
      area.value = text; el.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy the code"; }, 1500);
  });
  model.on("change:disabled", able); able();
  el.append(button);
}
export default { render };
"""


def copy_button():
    """Return a button that copies its trait ``text`` to the clipboard."""
    return _copy_class()()


@functools.cache
def _copy_class():
    import anywidget
    import traitlets

    class CopyButton(anywidget.AnyWidget):
        _esm = _COPY
        text = traitlets.Unicode().tag(sync=True)
        disabled = traitlets.Bool(False).tag(sync=True)

    return CopyButton


@functools.cache
def _class():
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "to be shown in a notebook this needs anywidget: pip install 'alpaca-analysis[notebooks]'; "
            "to_html writes a page without it"
        ) from error

    class Window(anywidget.AnyWidget):
        _esm = source("window.js")
        _css = source("window.css")
        kind = traitlets.Unicode().tag(sync=True)
        page = traitlets.Bool(False).tag(sync=True)
        numbers = traitlets.Dict().tag(sync=True)
        selected = traitlets.List(traitlets.Int()).tag(sync=True)

    return Window
