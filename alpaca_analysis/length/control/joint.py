"""Length control with difficulties estimated from the table itself, by marginal likelihood.

A difficulty of its own for each instruction cannot be plugged in as if it were known: with few models
it is mostly noise, and intervals that ignore this cover far less than they say. Here difficulties are
integrated out: d ~ N(0, 1) fixes their mean and spread, and a positive sum of psi their sign.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import optimize, sparse
from scipy.special import expit

from alpaca_analysis.foundations import progress
from alpaca_analysis.foundations.errors import AnnotationError, warn
from alpaca_analysis.inference.results import Reason, best_first, finish
from alpaca_analysis.inference.slices import Part
from alpaca_analysis.length.control.one_model import TERMS, interval, reference_row
from alpaca_analysis.length.control.result import LengthControl

FEWEST, ENOUGH = 3, 20  # models: below the first nothing is identified, below the second it is unreliable
NODES = np.linspace(-4.5, 4.5, 31)
NODE_WEIGHT = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def fit_joint(table: pd.DataFrame, *, confidence_level: float, settings: dict) -> LengthControl:
    """Fit all models' coefficients at once, difficulties integrated out.

    Maximises sum_i log sum_q w_q prod_m p_miq^y_mi (1 - p_miq)^(1 - y_mi) over a grid of
    difficulties z_q, with p_miq = sigmoid(theta_m + phi_m x_mi + psi_m z_q). The LC win rate is the
    mean of sigmoid(theta + psi z) over N(0, 1); its error comes from the sandwich of the
    instructions' scores.

    Parameters
    ----------
    table : DataFrame
        Checked judgements with instruction ids and the length feature in ``x``.
    confidence_level : float
        Coverage in (0, 1).
    settings : dict
        Reference and annotator.

    Returns
    -------
    LengthControl
        The result of `fit_length_control`.

    References
    ----------
    Bock, R. D., Aitkin, M. (1981). Marginal maximum likelihood estimation of item parameters.
    Psychometrika 46(4). Louis, T. A. (1982), JRSS B 44(2), for the information.
    """
    rows, own = usable(table)
    model = Marginal(rows)
    note = _enough(len(model.names), model.n_instructions)
    b = model.maximise()
    influence = model.influence(b).reshape(model.n_instructions, len(b), 3)
    p = expit(b[:, 2, None] + b[:, 1, None] * NODES)
    mean = p @ NODE_WEIGHT
    slope = (p * (1 - p) * NODE_WEIGHT) @ np.column_stack([np.zeros(len(NODES)), NODES, np.ones(len(NODES))])
    shares = np.einsum("imj,mj->im", influence, slope)
    error = np.sqrt((shares**2).sum(axis=0) * model.n_instructions / (model.n_instructions - 1))
    low, high = interval(mean, error, confidence_level)
    raw = rows["won"].groupby(rows["code"]).sum() / rows["n"].groupby(rows["code"]).sum()
    frame = pd.DataFrame(
        {"model": model.names, "win_rate": raw.to_numpy(), "lc_win_rate": mean, "standard_error": error}
        | {"ci_low": low, "ci_high": high, **dict(zip(TERMS, b.T, strict=True)), "note": [note] * len(mean)}
    )
    references = [{"model": name, "win_rate": 0.5, **reference_row()} for name in own]
    frame = pd.concat([frame, pd.DataFrame(references)]) if own else frame
    frame = finish(
        best_first(frame.reset_index(drop=True), "lc_win_rate", ["model"]),
        estimate="lc_win_rate",
        fractions=["win_rate", "lc_win_rate"],
        higher_is_better=["win_rate", "lc_win_rate"],
        method="marginal likelihood, sandwich over instructions",
        interval="logit wald",
        unit="instruction",
        confidence_level=confidence_level,
        settings=settings | {"difficulty": "joint: integrated out over N(0, 1)"},
    )
    parts = {name: Part(shares[:, [k]], [0], list(model.ids)) for k, name in enumerate(model.names)}
    return LengthControl(frame, NODES, NODE_WEIGHT, dict(frame.attrs), parts=parts)


def usable(table):
    """Return judged rows of models other than the reference, and the reference's names."""
    if table["instruction_id"].isna().any():
        raise AnnotationError("instruction ids for difficulty='joint'", column="instruction_id", found="none")
    rows = table[table["outcome"].notna() & table["x"].notna()]
    own = [str(m) for m in rows["model"].unique() if m == table["reference"].iloc[0]]
    rows = rows[~rows["model"].isin(own)]
    code, names = pd.factorize(rows["model"].astype(str), sort=True)
    rows = rows.assign(code=code, won=rows["n"] * rows["outcome"])
    rate = rows.groupby("code")["outcome"].mean()
    certain = rate[(rate == 0) | (rate == 1)]
    if len(certain):
        raise AnnotationError(
            "wins and losses of each model for difficulty='joint'; leave it out, or give a difficulty",
            column="outcome",
            found=f"only one of them for {names[certain.index[0]]!r}",
        )
    rows.attrs["names"] = list(names)
    return rows, own


def _enough(n_models, n_instructions):
    if n_models < FEWEST:
        raise AnnotationError(
            f"at least {FEWEST} models for difficulty='joint': fewer do not identify it; use difficulty=None",
            column="model",
            found=n_models,
        )
    found = []
    if n_models < ENOUGH:
        text = f"difficulty from only {n_models} models: below {ENOUGH} it is unreliable"
        found.append(Reason("few_models", text))
    if n_instructions < 15 * n_models:
        text = f"{3 * n_models} coefficients from {n_instructions} instructions: errors are too small"
        found.append(Reason("few_units", text))
    if found:
        warn("; ".join(reason.text for reason in found))
    return found


class Marginal:
    """The marginal likelihood of all models, with its gradient and information."""

    def __init__(self, rows):
        self.names = rows.attrs["names"]
        self.m = rows["code"].to_numpy()
        unit, self.ids = pd.factorize(rows["instruction_id"])
        ids, self.n_instructions = self.ids, len(self.ids)
        self.x, self.y, self.n = (rows[c].to_numpy(float) for c in ("x", "outcome", "n"))
        shape = (len(ids), len(rows))
        self.to_instruction = sparse.csr_array((np.ones(len(rows)), (unit, np.arange(len(rows)))), shape)
        self.to_model = sparse.csr_array(
            (np.ones(len(rows)), (self.m, np.arange(len(rows)))), (len(self.names), len(rows))
        )
        self.unit = unit

    def posterior(self, b):
        """Return log-likelihood, fitted p (rows, nodes) and the nodes' weights (instructions, nodes)."""
        linear = (b[self.m, 2] + b[self.m, 0] * self.x)[:, None] + b[self.m, 1, None] * NODES
        e = np.exp(-np.abs(linear))  # the one exponential serves p and log(1 + exp(linear))
        p = np.where(linear >= 0, 1.0, e) / (1 + e)
        log = self.n[:, None] * (self.y[:, None] * linear - np.maximum(linear, 0) - np.log1p(e))
        joint = self.to_instruction @ log + np.log(NODE_WEIGHT)
        top = joint.max(axis=1, keepdims=True)
        above = np.exp(joint - top)
        total = above.sum(axis=1, keepdims=True)
        return (top + np.log(total)).sum(), p, above / total

    def negative(self, flat):
        """Return the negative log-likelihood and its gradient, per instruction."""
        b = flat.reshape(-1, 3)
        value, p, posterior = self.posterior(b)
        residual = self.n[:, None] * (self.y[:, None] - p) * posterior[self.unit]
        by_row = residual.sum(axis=1)
        gradient = self.to_model @ np.column_stack([by_row * self.x, residual @ NODES, by_row])
        return -value / self.n_instructions, -gradient.ravel() / self.n_instructions

    def start(self):
        """Return coefficients by which the likelihood is near its maximum: no length, some difficulty."""
        rate = (self.to_model @ (self.n * self.y) + 0.5) / (self.to_model @ self.n + 1)
        return np.column_stack([np.zeros(len(rate)), np.full(len(rate), 0.7), np.log(rate / (1 - rate))])

    def maximise(self):
        """Return the coefficients (n_models, 3)."""
        with progress.bar(None, "Joint difficulties") as steps:
            found = optimize.minimize(
                self.negative,
                self.start().ravel(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 1000, "maxfun": 2000, "ftol": 1e-13, "gtol": 1e-7},
                callback=lambda _: steps.update(),
            )
        b = found.x.reshape(-1, 3)
        return b * np.array([1, np.sign(b[:, 1].sum()) or 1, 1])

    def covariance(self, b):
        """Return the sandwich covariance of all coefficients, summing scores within instructions."""
        influence, n = self.influence(b), self.n_instructions
        return influence.T @ influence * n / (n - 1)

    def influence(self, b):
        """Return what each instruction contributes to all coefficients: (n_instructions, 3 n_models)."""
        _, p, posterior = self.posterior(b)
        size, scores = 3 * len(b), np.zeros((self.n_instructions, 3 * len(b)))
        information, between = np.zeros((size, size)), np.zeros((size, size))
        place = (size * self.unit[:, None] + 3 * self.m[:, None] + np.arange(3)).ravel()
        for q, z in enumerate(NODES):  # Louis: complete information less the posterior spread of scores
            X = np.column_stack([self.x, np.full(len(self.x), z), np.ones(len(self.x))])
            weight = posterior[:, q]
            by_row = X * (self.n * (self.y - p[:, q]))[:, None]
            one = np.bincount(place, by_row.ravel(), scores.size).reshape(scores.shape)
            scores += weight[:, None] * one
            between += (one.T * weight) @ one
            curvature = self.n * p[:, q] * (1 - p[:, q]) * weight[self.unit]
            for j in range(3):
                for k in range(3):
                    total = self.to_model @ (curvature * X[:, j] * X[:, k])
                    information[np.arange(j, size, 3), np.arange(k, size, 3)] += total
        information -= between - scores.T @ scores
        return scores @ np.linalg.pinv(information, hermitian=True)
