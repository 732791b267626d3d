"""Length response carried over: against root finding by scipy, and against models whose rows are known."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit

from alpaca_analysis import (
    AnnotationError,
    fit_length_control,
    from_counts,
    load,
    transfer_length_control,
    validate_transfer,
)
from alpaca_analysis.length.control.transfer import carried_over


@pytest.fixture(scope="module")
def cells():
    return load("alpaca_eval_v1_cells")


@pytest.fixture(scope="module")
def xwin(cells):
    board = load("alpaca_eval_v1_leaderboard")
    wanted = load("xwin_transfer_cells")
    counts = from_counts(board[board["model"].isin(wanted["model"])])
    return transfer_length_control(cells, counts, wanted)


def test_ability_is_solved_from_the_win_rate():
    rng = np.random.default_rng(0)
    x, d, n = rng.uniform(-1, 0.5, 90), rng.normal(size=90), rng.integers(1, 9, 90).astype(float)
    lc, slope = carried_over(0.95, (x, d, n), np.array([-2.0, -1.0]), np.array([0.1, 0.9]))
    for k, (phi, psi) in enumerate([(-2.0, 0.1), (-1.0, 0.9)]):

        def solved(rate, phi=phi, psi=psi):
            theta = brentq(
                lambda t: np.average(expit(t + phi * x + psi * d), weights=n) - rate, -20, 20, xtol=1e-13
            )
            return np.average(expit(theta + psi * d), weights=n)

        assert lc[k] == pytest.approx(solved(0.95), abs=1e-10)
        assert slope[k] == pytest.approx((solved(0.9501) - solved(0.9499)) / 2e-4, rel=1e-5)


def test_own_response_gives_back_the_own_value(cells):
    """A model that is its own and only kind of donor gets its fitted value: the score of theta is zero."""
    row = fit_length_control(cells[cells["model"] == "gpt4"], baselines=None).to_frame().iloc[0]
    rows = cells[cells["model"] == "gpt4"]
    features = tuple(rows[c].to_numpy(float) for c in ("length_feature", "difficulty", "n"))
    lc, _ = carried_over(row["win_rate"], features, np.array([row["phi"]]), np.array([row["psi"]]))
    assert lc[0] == pytest.approx(row["lc_win_rate"], abs=1e-8)


@pytest.mark.slow
def test_validation_reports_the_error_of_models_with_rows(cells):
    found = validate_transfer(cells)
    assert len(found) == 39  # falcon-7b-instruct holds falcon-40b-instruct's judgements: one donor
    fitted = fit_length_control(cells).to_frame().set_index("model")["lc_win_rate"]
    np.testing.assert_allclose(found["fitted"], fitted[found["model"]], atol=1e-12)
    assert found.attrs["loo_mean_absolute_error"] == pytest.approx(found["error"].abs().mean())
    assert found.attrs["loo_mean_absolute_error"] < 0.03
    assert found["covered"].mean() >= 0.9
    raw = (found["win_rate"] - found["fitted"]).abs().mean()
    assert found["error"].abs().mean() < raw / 4  # far better than not controlling for length


@pytest.mark.slow
def test_published_value_of_the_one_xwin_model_that_has_one(xwin):
    row = xwin.set_index("model").loc["xwinlm-70b-v0.3"]
    assert row["ci_low"] < 0.9401522563893708 < row["ci_high"]
    assert row["lc_win_rate"] == pytest.approx(0.9402, abs=0.02)


@pytest.mark.slow
def test_xwin(xwin):
    frame = xwin.set_index("model")
    assert frame["win_rate"].round(4).to_dict() == {
        "xwinlm-70b-v0.3": 0.9764,
        "xwinlm-70b-v0.1": 0.9557,
        "xwinlm-13b-v0.1": 0.9176,
        "xwinlm-7b-v0.1": 0.8783,
    }
    assert (frame["lc_win_rate"] < frame["win_rate"]).all()
    assert ((frame["ci_low"] < frame["lc_low"]) & (frame["lc_high"] < frame["ci_high"])).all()
    assert xwin.attrs["loo_models"] == 39
    # the interval is at least as wide as the win rate's own error makes it
    own = 1.96 * 0.00725 / (0.95568 * (1 - 0.95568))
    assert (
        logit(frame.loc["xwinlm-70b-v0.1", "ci_high"]) - logit(frame.loc["xwinlm-70b-v0.1", "ci_low"]) > own
    )


@pytest.mark.slow
def test_bad_input_is_named(cells):
    cells = cells[cells["model"].isin(["gpt4", "gpt4_0314", "cohere", "claude-2", "phi-2"])]
    wanted = cells[cells["model"] == "gpt4"]
    counts = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    with pytest.raises(AnnotationError, match="between 3 and 5 donors"):
        transfer_length_control(cells, counts, wanted, n_donors=2)
    with pytest.raises(AnnotationError, match="gpt5"):
        transfer_length_control(cells, counts.assign(model="gpt5"), wanted)
    with pytest.raises(AnnotationError, match="within"):
        transfer_length_control(
            cells, from_counts({"model": ["gpt4"], "n_wins": [9], "n_losses": [0], "n_draws": [0]}), wanted
        )
    with pytest.raises(AnnotationError, match="length_feature"):
        transfer_length_control(cells, counts, wanted.drop(columns="length_feature"))
