"""The bar of slow calculations: seen where a person watches, and nowhere else."""

import io

import pytest
from judgements import made_up

from alpaca_analysis import fit_length_control, specification_curve
from alpaca_analysis.foundations import progress


class Screen(io.StringIO):
    """What standard error is where a person sits in front of it."""

    def isatty(self):
        return True


CALLS = {
    "Refits": lambda t, d: fit_length_control(t, difficulty=d, method="percentile", n_resamples=9),
    "Specifications": lambda t, d: specification_curve(t, difficulty=d, models=["a"]),
}


@pytest.mark.parametrize("label", CALLS)
@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_for_people(label, watched, monkeypatch):
    stream = Screen() if watched else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    table, difficulty = made_up(40)
    CALLS[label](table, difficulty)
    assert (label in stream.getvalue()) == watched
    assert watched or stream.getvalue() == ""


def test_what_is_quick_shows_none(monkeypatch):
    monkeypatch.setattr("sys.stderr", Screen())
    with progress.bar(2, "Quick") as steps:
        steps.update(2)
        shown = steps.fp.getvalue()
    assert shown == ""


def test_a_kernel_is_watched_though_its_streams_are_no_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert not progress.watched()
    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    assert progress.watched()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert not progress.watched()


@pytest.mark.slow
@pytest.mark.parametrize("watched", [True, False])
def test_a_notebook_shows_a_bar_unless_it_is_told_that_nobody_watches(watched):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    code = (
        f"import os; os.environ['TQDM_DISABLE'] = '{int(not watched)}'\n"
        "from alpaca_analysis import from_counts, bradley_terry, win_rate\n"
        "from alpaca_analysis.foundations import progress\n"
        "progress.PATIENCE = 0\n"
        "with progress.bar(3, 'Reading') as steps:\n"
        "    steps.update(3)\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown = [
        output for output in notebook.cells[0].outputs if "Reading" in str(output) or "widget" in str(output)
    ]
    assert bool(shown) == watched
