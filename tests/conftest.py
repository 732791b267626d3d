"""What all tests share: the mirror of published rows, where there is one, and a quiet figure backend."""

import os
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Return the folder of published files, or skip the test."""
    folder = os.environ.get("ALPACA_ANALYSIS_DATA")
    if not folder:
        pytest.skip("needs published rows: set ALPACA_ANALYSIS_DATA to a folder that holds them")
    return Path(folder)


@pytest.fixture(scope="session")
def alpaca_eval_v1(mirror):
    """Return the rows of the 40 AlpacaEval 1 models."""
    from alpaca_analysis import read_annotations

    return read_annotations(mirror / "alpaca_eval" / "results" / "*" / "alpaca_eval_gpt4")


@pytest.fixture(scope="session")
def alpaca_eval_v2(mirror):
    """Return the rows of the 20 AlpacaEval 2 models."""
    from alpaca_analysis import read_annotations

    return read_annotations(mirror / "alpaca_eval" / "results" / "*" / "weighted_alpaca_eval_gpt4_turbo")


collect_ignore = ["fuzz", "mutation"]  # programs of their own, which need Atheris and cosmic-ray


# Run only where `-m` names them: they take long, or need more than a default installation has.
ON_REQUEST = ("slow", "simulation", "benchmark", "browser", "generate", "engines", "latex")


def pytest_collection_modifyitems(config, items):
    """Leave out tests that nobody asked for by name of their marker."""
    left_out = {marker for marker in ON_REQUEST if marker not in config.option.markexpr}
    deselected = [item for item in items if left_out & {mark.name for mark in item.iter_markers()}]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]
    if part := os.environ.get("PART"):  # such as 1/2: every second test, for machines with little time
        first, step = map(int, part.split("/"))
        config.hook.pytest_deselected(items=[item for k, item in enumerate(items) if k % step != first - 1])
        items[:] = items[first - 1 :: step]
    for item in items:  # they finish on a busy machine, too
        if item.get_closest_marker("simulation") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))
