"""Differences in length: both names for them, in plain numpy."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import alpaca_analysis as aa
from alpaca_analysis.length.scales import length_difference, length_feature


@pytest.fixture
def cells():
    """Return judgements of two models, some of which stand for several."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "model": np.repeat(["a", "b"], 40),
            "outcome": rng.integers(0, 2, 80) * 1.0,
            "length_model": rng.integers(100, 900, 80).astype(float),
            "length_reference": rng.integers(100, 900, 80).astype(float),
            "n": rng.integers(1, 6, 80),
        }
    )


@pytest.mark.parametrize("by", [[], ["model"]])
def test_frequencies_weigh_the_spread(cells, by):
    rows = cells.loc[cells.index.repeat(cells["n"])].reset_index(drop=True)
    gap = rows["length_model"] - rows["length_reference"]
    spread = gap.groupby(rows["model"]).transform("std") if by else gap.std()
    expected = np.tanh(gap / spread)
    for table in (rows.drop(columns="n"), rows.assign(n=1), cells):
        found = length_difference(table, scale="tanh", by=by)
        found = found if len(found) == len(rows) else found.repeat(cells["n"])
        assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("scale", ["tanh", "log_ratio"])
def test_the_feature_is_minus_the_difference(cells, scale):
    difference = length_difference(cells, scale=scale, by=["model"])
    assert_allclose(length_feature(cells, kind=scale), -difference, rtol=1e-12)


@pytest.mark.parametrize(("ours", "sign"), [(150, 1.0), (100, 0.0), (50, -1.0)])
@pytest.mark.parametrize("size", [1, 5])
def test_differences_that_do_not_vary_keep_their_sign(ours, sign, size):
    table = pd.DataFrame({"model": ["m"] * size, "length_model": ours, "length_reference": 100, "n": 1})
    assert (length_difference(table, scale="tanh") == sign).all()
    for kind in ("tanh", "clip"):
        assert (length_feature(table, kind=kind) == -sign).all()


def test_regressions_on_counts_are_those_on_rows(cells):
    rows = cells.loc[cells.index.repeat(cells["n"])].assign(n=1)
    one, two = (aa.length_regression(t) for t in (cells, rows))
    pd.testing.assert_frame_equal(one, two, rtol=1e-9)


def test_bad_scales_are_named(cells):
    with pytest.raises(ValueError, match="scale: found 'clip', expected one of characters"):
        length_difference(cells, scale="clip")
    with pytest.raises(ValueError, match="feature: found 'characters', expected one of tanh"):
        length_feature(cells, kind="characters")
