"""For tests and examples alike: figures are drawn without a screen, and closed after each."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
