"""Batches of logistic regressions: against scipy's optimiser, and what counts as separated."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from alpaca_analysis.inference import logistic as _logistic


def maximum(X, y, weight, *, prior=False, penalty=0.0):
    """Return the maximum of the weighted likelihood by BFGS, or with a penalty by coordinates split in signs."""
    p = X.shape[1]

    def loss(b):
        eta = X @ b
        return -(weight * (y * eta - np.logaddexp(0, eta))).sum() - prior * (b / 2 - np.logaddexp(0, b)).sum()

    def gradient(b):
        return -X.T @ (weight * (y - expit(X @ b))) - prior * (0.5 - expit(b))

    if not penalty:
        return minimize(loss, np.zeros(p), jac=gradient, method="BFGS", options={"gtol": 1e-9}).x
    found = minimize(
        lambda b: loss(b[:p] - b[p:]) + penalty * b.sum(),
        np.zeros(2 * p),
        jac=lambda b: np.concatenate([gradient(b[:p] - b[p:]), -gradient(b[:p] - b[p:])]) + penalty,
        bounds=[(0, None)] * (2 * p),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10_000},
    )
    return found.x[:p] - found.x[p:]


def data(n=2000, seed=3):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.normal(size=n), np.ones(n)])
    outcomes = {
        "ordinary": (rng.random(n) < expit(X @ [-1, 0.8, 0.4])).astype(float),
        "rare": np.isin(np.arange(n), [3, 8, 21, 40, 77, 130]).astype(float),  # six wins of 2,000
        "steep": (rng.random(n) < expit(X @ [-25, 9, 12])).astype(float),
        "separated": (X[:, 0] > 0.1).astype(float),
        "one-sided": np.ones(n),
    }
    return X, outcomes, rng.integers(0, 4, (len(outcomes), n)).astype(float)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_batch_equals_scipy_one_by_one(stacked):
    """Among them regressions on which a full Newton step overshoots, and two without a finite maximum."""
    X, outcomes, weight = data()
    weight[:, [3, 8, 21, 40, 77, 130]] = 1
    y = np.stack(list(outcomes.values()))
    fit = _logistic.fit(np.broadcast_to(X, (5, *X.shape)).copy() if stacked else X, y, weight)
    assert dict(zip(outcomes, fit.separated.tolist(), strict=True)) == {
        "ordinary": False, "rare": False, "steep": False, "separated": True, "one-sided": True
    }  # fmt: skip
    for k in range(5):
        expected = maximum(X, y[k], weight[k], prior=bool(fit.separated[k]))
        np.testing.assert_allclose(fit.coefficients[k], expected, rtol=1e-5, atol=1e-6)
        alone = _logistic.fit(X, y[k], weight[k : k + 1], start=[0.3, -0.2, 0.1])
        np.testing.assert_allclose(alone.coefficients[0], expected, rtol=1e-5, atol=1e-6)
        p = expit(X @ expected)
        information = (X.T * (weight[k] * p * (1 - p))) @ X
        information += fit.separated[k] * np.diag(expit(expected) * (1 - expit(expected)))
        np.testing.assert_allclose(fit.information[k], information, rtol=1e-4, atol=1e-4)


def test_a_coefficient_that_nothing_identifies():
    X, outcomes, weight = data(200)
    X[:, 1] = 2 * X[:, 0]
    fit = _logistic.fit(X, outcomes["ordinary"], weight[:1])
    assert fit.separated.tolist() == [True]
    expected = maximum(X, outcomes["ordinary"], weight[0], prior=True)
    np.testing.assert_allclose(fit.coefficients[0], expected, atol=1e-5)


@pytest.mark.parametrize(("share", "lost"), [(1.05e-6, False), (0.95e-6, True)])
def test_lost_is_a_direction_with_a_millionth_of_the_information(share, lost):
    """Compared with even odds, in whatever direction it lies; the others keep theirs."""
    X, _, weight = data(50)
    even = (X.T * weight[0] / 4) @ X
    root = np.linalg.cholesky(even)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    information = root @ turn @ np.diag([share, 0.5, 1.0]) @ turn.T @ root.T
    batch = np.stack([information, even, even * 1e-5])
    assert _logistic._lost(X, weight[[0, 0, 0]], batch).tolist() == [lost, False, False]


def test_columns_that_repeat_each_other_are_lost():
    """However much information is left in the others, and whichever way rounding falls."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(200, 30, 3))
    X[..., 1] = rng.uniform(-3, 3, (200, 1)) * X[..., 0]
    X[:100, :, 2] = 1
    even = np.swapaxes(X, 1, 2) @ X / 4
    assert _logistic._lost(X, np.ones((200, 30)), 0.9 * even).all()


@pytest.mark.parametrize("penalty", [0.5, 30.0, 1e4])
def test_l1_equals_scipy(penalty):
    X, outcomes, weight = data(400)
    for name in ("ordinary", "rare", "steep"):
        found = _logistic.fit_l1(X, outcomes[name], weight[0], penalty)
        expected = maximum(X, outcomes[name], weight[0], penalty=penalty)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert (found == 0).tolist() == (np.abs(expected) < 1e-7).tolist()
