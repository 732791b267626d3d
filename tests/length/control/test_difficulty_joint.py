"""Joint difficulties: the marginal likelihood against numerical integration and differences."""

import numpy as np
import pandas as pd
import pytest
from judgements import columns, made_up
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.special import expit
from scipy.stats import norm

from alpaca_analysis import AnnotationError, fit_length_control
from alpaca_analysis.length.control.fitting import prepared
from alpaca_analysis.length.control.joint import Marginal, usable

MODELS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def small():
    return made_up(60, models=MODELS)


@pytest.fixture(scope="module")
def marginal(small):
    return Marginal(usable(prepared(small[0], "tanh"))[0])


@pytest.fixture(scope="module")
def point():
    return np.random.default_rng(4).normal(0.3, 0.5, (4, 3))


@pytest.mark.slow
def test_likelihood_is_the_integral(small, point):
    table, difficulty = small
    table = table[table["instruction_id"] < "0012"]
    marginal = Marginal(usable(prepared(table, "tanh"))[0])
    rows = {m: r.reset_index(drop=True) for m, r in table.groupby("model")}
    x = {m: columns(r, difficulty)[:, 0] for m, r in rows.items()}
    total = 0.0
    for i in range(12):

        def integrand(z, i=i):
            value = norm.pdf(z)
            for (phi, psi, theta), m in zip(point, MODELS, strict=True):
                p, y = expit(theta + phi * x[m][i] + psi * z), rows[m]["outcome"][i]
                value *= p**y * (1 - p) ** (1 - y)
            return value

        total += np.log(quad(integrand, -8, 8)[0])
    assert marginal.posterior(point)[0] == pytest.approx(total, rel=1e-5)


def test_gradient_and_information_by_differences(marginal, point):
    flat = point.ravel()
    assert check_grad(lambda v: marginal.negative(v)[0], lambda v: marginal.negative(v)[1], flat) < 1e-6
    b = marginal.maximise()
    h = 1e-5
    hessian = np.array(
        [
            (marginal.negative(b.ravel() + e)[1] - marginal.negative(b.ravel() - e)[1]) / (2 * h)
            for e in h * np.eye(12)
        ]
    )
    scores = _scores(marginal, b)
    bread = np.linalg.inv(hessian * 60)
    np.testing.assert_allclose(
        marginal.covariance(b), bread @ scores.T @ scores @ bread * 60 / 59, rtol=1e-3, atol=1e-6
    )


def _scores(marginal, b):
    """Return each instruction's score by leaving the others out of the likelihood."""
    keep = []
    for i in range(marginal.n_instructions):
        n = marginal.n.copy()
        marginal.n = np.where(marginal.unit == i, n, 0.0)
        keep.append(-marginal.negative(b.ravel())[1] * marginal.n_instructions)
        marginal.n = n
    return np.array(keep)


def test_truth_is_found_with_many_models():
    table, _ = made_up(300, models=[f"m{k:02d}" for k in range(20)], seed=8)
    frame = fit_length_control(table, difficulty="joint").to_frame()
    z = np.linspace(-8, 8, 4001)
    truth = np.average(expit(0.4 + 0.8 * z), weights=norm.pdf(z))
    truth = 0.5 / 17 + truth * 16 / 17  # every seventeenth outcome was made a draw
    assert frame["lc_win_rate"].mean() == pytest.approx(truth, abs=0.03)
    inside = (frame["ci_low"] <= truth) & (truth <= frame["ci_high"])
    assert inside.mean() >= 0.75
    assert (frame["psi"] > 0.4).all()
    assert (frame["note"] == "").all()


def test_few_models_are_warned_of(small):
    with pytest.warns(UserWarning, match="only 4 models"):
        result = fit_length_control(small[0], difficulty="joint")
    assert result.to_frame()["note"].str.contains("unreliable").all()
    both = [result.win_rate(*pair).loc[0, "win_rate"] for pair in ("ab", "ba")]
    assert sum(both) == pytest.approx(1, abs=1e-15)


def test_what_is_not_identified_is_declined(small):
    table, _ = small
    with pytest.raises(AnnotationError, match="at least 3 models"):
        fit_length_control(table[table["model"].isin(["a", "b"])], difficulty="joint")
    with pytest.raises(AnnotationError, match="only one of them for 'b'"):
        fit_length_control(
            table.assign(outcome=table["outcome"].where(table["model"] != "b", 1.0)), difficulty="joint"
        )
    with pytest.raises(AnnotationError, match="instruction ids"):
        fit_length_control(table.drop(columns="instruction_id"), difficulty="joint")
    same = pd.concat([table, table[table["model"] == "a"].assign(model="r", outcome=0.5)])
    with pytest.warns(UserWarning, match="unreliable"):
        frame = fit_length_control(same, difficulty="joint").to_frame().set_index("model")
    assert frame.loc["r", ["lc_win_rate", "standard_error"]].tolist() == [0.5, 0]
