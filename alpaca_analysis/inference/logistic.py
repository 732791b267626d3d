"""Many small logistic regressions at once: batched Newton, separation, sandwich errors.

Arrays carry a leading batch axis (data sets, models or resamples). The outcome may be any number in
[0, 1]; the fit maximises sum w (y log p + (1 - y) log(1 - p)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

MAX_STEP = 4.0  # largest change of any linear predictor in one step: Newton's overshooting ends there
SEPARATED = 1e-6  # information left, relative to that of even odds, below which no finite fit exists


@dataclass(frozen=True)
class Fixed:
    """Rows that are part of every fit and of no resample, such as AlpacaEval's gamed baselines."""

    X: np.ndarray  # (n_fixed, p)
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Fit:
    """Coefficients of each regression of the batch."""

    coefficients: np.ndarray  # (n_batch, p)
    information: np.ndarray  # (n_batch, p, p)
    separated: np.ndarray  # (n_batch,): no finite maximum; coefficients are of the penalised fit


def linear(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the linear predictors (n_batch, n) of X, which is (n, p) or (n_batch, n, p)."""
    if X.ndim == 2:
        return coefficients @ X.T
    return (X @ coefficients[:, :, None])[..., 0]


def _total(X: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values @ X if X.ndim == 2 else (values[:, None, :] @ X)[:, 0]


def _gram(X: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if X.ndim == 3:
        return np.swapaxes(X * weight[..., None], 1, 2) @ X
    if len(weight) == 1:
        return ((X.T * weight) @ X)[None]
    p = X.shape[1]
    products = np.stack([X[:, j] * X[:, k] for j in range(p) for k in range(p)], axis=1)
    return (weight @ products).reshape(-1, p, p)


def score_and_information(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient (n_batch, p) and negative Hessian (n_batch, p, p) of the log-likelihood."""
    p = expit(linear(X, coefficients))
    return _total(X, weight * (y - p)), _gram(X, weight * p * (1 - p))


def joined(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, fixed: Fixed | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return columns, outcomes and weights with the fixed rows appended."""
    if fixed is None:
        return X, y, weight
    batch = len(weight)
    if X.ndim == 2:
        X = np.vstack([X, fixed.X])
    else:
        X = np.concatenate([X, np.broadcast_to(fixed.X, (batch, *fixed.X.shape))], axis=1)
    more = np.broadcast_to(fixed.weight, (batch, len(fixed.weight)))
    y = np.concatenate([y, fixed.y if y.ndim == 1 else np.broadcast_to(fixed.y, more.shape)], axis=-1)
    return X, y, np.hstack([weight, more])


def fit(
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    *,
    fixed: Fixed | None = None,
    start: np.ndarray | None = None,
    max_iter: int = 60,
    tol: float = 1e-9,
) -> Fit:
    """Fit a batch of logistic regressions by Newton's method.

    Parameters
    ----------
    X : ndarray of shape (n, p) or (n_batch, n, p)
        Columns of the regression.
    y : ndarray of shape (n,) or (n_batch, n)
        Outcomes in [0, 1].
    weight : ndarray of shape (n_batch, n)
        Frequency weights; 0 leaves a row out.
    fixed : Fixed, optional
        Rows added to every regression.
    start : ndarray of shape (p,), optional
        Where to start.
    max_iter, tol : int, float
        Steps at most, and the largest step that counts as converged.

    Returns
    -------
    Fit
        Where the data are separated, or do not identify a coefficient, no finite maximum exists: the
        fit then carries a log-F(1, 1) prior on each coefficient and is flagged.

    References
    ----------
    Greenland, S., Mansournia, M. A. (2015). Penalization, bias reduction, and default priors in
    logistic and related categorical and survival regressions. Statistics in Medicine 34(23).
    """
    X, y, weight = joined(X, y, weight, fixed)
    p = X.shape[-1]
    b = np.zeros((len(weight), p)) if start is None else np.tile(np.asarray(start, float), (len(weight), 1))
    b, information, converged = _newton(X, y, weight, b, max_iter, tol)
    separated = ~converged | _lost(X, weight, information)
    if separated.any():
        prior = Fixed(np.eye(p), np.full(p, 0.5), np.ones(p))
        some = (X if X.ndim == 2 else X[separated], y if y.ndim == 1 else y[separated], weight[separated])
        X, y, weight = joined(*some, prior)
        b[separated], information[separated], _ = _newton(X, y, weight, np.zeros((len(weight), p)), 200, tol)
    return Fit(b, information, separated)


def _newton(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, b: np.ndarray, max_iter: int, tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coefficients, information there, and what converged; each batch row stops by itself."""
    b, information = b.copy(), np.empty((*b.shape, b.shape[1]))
    active, converged = np.arange(len(b)), np.zeros(len(b), dtype=bool)
    reach = np.abs(X).max(axis=-2)
    for _ in range(max_iter):
        some = len(active) < len(b)
        rows = (
            X[active] if some and X.ndim == 3 else X,
            y[active] if some and y.ndim == 2 else y,
            weight[active] if some else weight,
        )
        score, info = score_and_information(*rows, b[active])
        information[active] = info
        step = _solve(info, score)
        far = (np.abs(step) * (reach if reach.ndim == 1 else reach[active])).sum(axis=1)
        b[active] += step * np.minimum(1, MAX_STEP / np.maximum(far, MAX_STEP))[:, None]
        done = np.abs(step).max(axis=1) < tol
        converged[active[done]] = True
        active = active[~done]
        if len(active) == 0:
            break
    return b, information, converged


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return inverses of symmetric matrices, pseudo-inverses where one of them is singular."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(matrix, hermitian=True)


def _solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, vector[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return (np.linalg.pinv(matrix, hermitian=True) @ vector[..., None])[..., 0]


def _lost(X: np.ndarray, weight: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Return where some direction has next to no information left, compared with even odds."""
    even = _gram(X, weight / 4)
    scale = np.sqrt(np.maximum(np.diagonal(even, axis1=1, axis2=2), 1e-300))
    both = scale[:, :, None] * scale[:, None, :]
    even, information = even / both, information / both
    # All ratios are at most 1: a product that is not small leaves none of them small.
    lost = ~((np.linalg.det(information) > 1e-4 * np.linalg.det(even)) & (np.linalg.det(even) > 1e-9))
    for k in np.flatnonzero(lost):
        values, vectors = np.linalg.eigh(even[k])
        root = vectors / np.sqrt(np.maximum(values, 1e-12))
        ratio = np.linalg.eigvalsh(root.T @ information[k] @ root)[0]
        lost[k] = values[0] < 1e-10 or not ratio >= SEPARATED
    return lost


def fit_l1(
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    penalty: float,
    *,
    fixed: Fixed | None = None,
    max_iter: int = 200,
    tol: float = 1e-9,
) -> np.ndarray:
    """Return the coefficients (p,) that maximise log-likelihood - penalty * sum |coefficient|.

    One regression, by proximal Newton steps whose quadratic is minimised coordinate by coordinate.
    `penalty` is the inverse of the C of scikit-learn and liblinear.
    """
    X, y, weight = joined(X, y, weight[None], fixed)
    b = np.zeros(X.shape[1])
    for _ in range(max_iter):
        score, information = (v[0] for v in score_and_information(X, y, weight, b[None]))
        new = _soft_newton(b, score, information, penalty)
        step = new - b
        far = np.abs(X @ step).max()
        b = b + step * min(1.0, MAX_STEP / max(far, MAX_STEP))
        if np.abs(step).max() < tol:
            break
    return b


def _soft_newton(b: np.ndarray, score: np.ndarray, information: np.ndarray, penalty: float) -> np.ndarray:
    """Return the penalised minimum of the quadratic at b; in plain numbers, faster than arrays of three."""
    start, slope, curve = b.tolist(), score.tolist(), information.tolist()
    new, terms = list(start), range(len(start))
    for _ in range(500):
        moved = 0.0
        for k in terms:
            pull = slope[k] - sum(curve[k][j] * (new[j] - start[j]) for j in terms) + curve[k][k] * new[k]
            value = math.copysign(max(abs(pull) - penalty, 0.0), pull) / max(curve[k][k], 1e-12)
            moved, new[k] = max(moved, abs(value - new[k])), value
        if moved < 1e-12:
            break
    return np.array(new)


def mean_at(
    X0: np.ndarray, weight: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weighted mean over rows of sigmoid(X0 b), and its gradient by b, per batch row."""
    p = expit(linear(X0, coefficients))
    total = weight.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold no row of a model
        mean = (weight * p).sum(axis=-1) / total[..., 0]
        return mean, p, _total(X0, weight * p * (1 - p)) / total


def influence(
    X: np.ndarray,
    X0: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    asked: np.ndarray,
    fit: Fit,
    *,
    leverage: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of sigmoid(X0 b), and what each single judgement contributes to its error.

    The estimating equations of b and of the mean over instructions are stacked (M-estimation); a
    contribution is (p0_i - mean)/N + gradient' A^-1 x_i (y_i - p_i), A the information. With
    `leverage` residuals are divided by 1 - h_i, as in the HC3 estimator.

    Parameters
    ----------
    X, X0 : ndarray of shape (n, p) or (n_batch, n, p)
        Columns of the regression, and what they are at equal length.
    y : ndarray of shape (n,) or (n_batch, n)
        Outcomes; any number where `weight` is 0.
    weight, asked : ndarray of shape (n_batch, n)
        Frequency weights of judged rows (0 where unjudged) and of all rows.
    fit : Fit
        The fit.
    leverage : bool
        Correct residuals for leverage.

    Returns
    -------
    mean : ndarray of shape (n_batch,)
    contribution : ndarray of shape (n_batch, n)
        Of one judgement of the row; a row of weight n holds n of them.

    References
    ----------
    Stefanski, L. A., Boos, D. D. (2002). The calculus of M-estimation. American Statistician 56(1).
    MacKinnon, J. G., White, H. (1985), Journal of Econometrics 29(3), for HC3.
    """
    mean, p0, gradient = mean_at(X0, asked, fit.coefficients)
    cov = inverse(fit.information)
    p = expit(linear(X, fit.coefficients))
    residual = np.where(weight > 0, y - p, 0.0)
    if leverage:
        rows = np.broadcast_to(X, (len(weight), *X.shape[-2:]))
        h = p * (1 - p) * ((rows @ cov) * rows).sum(axis=-1)
        residual = residual / (1 - np.minimum(h, 0.99))
    direction = (cov @ gradient[..., None])[..., 0]
    centred = (p0 - mean[:, None]) / asked.sum(axis=-1, keepdims=True)
    return mean, centred + residual * linear(X, direction)
