"""Settings of the documentation site; ``docs/build.py`` lays out what it is built from."""

from pathlib import Path

import alpaca_analysis

project = "alpaca_analysis"
author = "The alpaca_analysis developers"
copyright = author
version = release = alpaca_analysis.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = "alpaca_analysis"
html_show_sourcelink = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses in a folder
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))  # Sphinx looks where it was started
templates_path = ["_templates"]
exclude_patterns = ["_templates"]
default_role = "py:obj"

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say what a parameter is
numpydoc_show_class_members = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/*.ipynb"]  # committed with their results
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_execution_in_temp = True
nb_ipywidgets_js = {}  # pages ask nothing of a network
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
