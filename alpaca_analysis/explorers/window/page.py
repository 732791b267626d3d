"""The view as one self-contained page: nothing is asked of a network, and no text in it can run."""

from __future__ import annotations

import html

from alpaca_analysis.explorers.window.widget import source
from alpaca_analysis.present.pages import digest, script_data
from alpaca_analysis.present.rendering import printable

# What JupyterLab gives to the module, given by the page itself.
_MODEL = """
const held = JSON.parse(document.getElementById("data").textContent), hearers = new Set();
const say = (message) => queueMicrotask(() => hearers.forEach((hear) => hear(message)));
const model = {
  get: (name) => held[name], set: (name, value) => { held[name] = value; }, save_changes: () => {},
  on: (_, hear) => hearers.add(hear), off: (_, hear) => hearers.delete(hear),
  send: (message) => {
    if (message.want) say({ texts: Object.fromEntries(message.want.map((i) => [i, held.texts[i]])) });
    if (message.search) {
      const words = message.search.toLowerCase(), has = (text) => text.toLowerCase().includes(words);
      const all = ({ prompt, a, b }) => [prompt, a, b];
      const found = [...held.texts.keys()].filter((i) => all(held.texts[i]).some(has));
      say({ search: message.search, found });
    }
  },
};
render({ model, el: document.getElementById("window") });
"""


def size(entry) -> int:
    """Return how many bytes an entry takes in the page."""
    return len(script_data(entry).encode())


def render(title: str, numbers: dict, texts: list[dict]) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
        What is shown; any text.
    numbers : dict
        What the view knows of all pairs.
    texts : list of dict
        The texts of each pair.
    """
    script = source("window.js").replace("export default { render };", "").replace("\nexport ", "\n") + _MODEL
    style = source("window.css")
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {digest(script)}; "
        f"style-src {digest(style)}"
    )
    name = html.escape(printable(title))
    data = script_data({"kind": "browse", "page": True, "numbers": numbers, "texts": texts, "selected": []})
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{style}</style>\n</head>\n"
        f'<body class="aa-page">\n<h1>{name}</h1>\n<div id="window"></div>\n'
        f'<script type="application/json" id="data">{data}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )
