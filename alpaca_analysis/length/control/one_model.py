"""One model's length-controlled win rate: regression, error, interval, refits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from alpaca_analysis.foundations import progress, ties
from alpaca_analysis.inference import intervals, ratios, resampling
from alpaca_analysis.inference import logistic as _logistic
from alpaca_analysis.inference.results import Reason

BLOCK = 500  # resamples refitted together
MOST_CELLS = 1_000_000  # rows of models fitted together
NEAR = 0.25  # |D/s| up to which lengths count as near equal
FEW_AT_EQUAL_LENGTH = 20  # losses or wins expected there, likewise
FEW = 10  # losses or wins below which intervals are known to be unreliable
SPARSE = 0.02  # share of instructions near equal length below which the value is an extrapolation
FLAT = 0.75  # standard error on the logit scale above which coverage was found to fall below 93.5 %
COLLINEAR = 1e-10  # share of the columns' variation below which a direction has none
TERMS = ("phi", "psi", "theta")


@dataclass(frozen=True)
class Rows:
    """The rows of one model as arrays."""

    model: str
    x: np.ndarray  # length feature, 0 where unknown
    d: np.ndarray | None  # difficulty
    y: np.ndarray  # outcome, 0 where unusable
    n: np.ndarray  # frequency weights of all rows
    judged: np.ndarray  # rows with outcome and lengths
    unit: np.ndarray | None  # codes of instructions; None: every judgement is a unit
    near: float  # share of instructions with |D/s| <= NEAR, NaN if unknown
    own: bool = False  # the reference against itself
    features: tuple[str, ...] = ("length",)  # what is controlled
    style: np.ndarray | None = None  # (n_rows, n_features) differences in style, 0 where unknown

    @property
    def controlled(self) -> np.ndarray:
        """Return the differences that are controlled, one column a feature."""
        columns = [self.x[:, None]] if "length" in self.features else []
        return np.hstack(columns if self.style is None else [*columns, self.style])

    @property
    def X(self) -> np.ndarray:
        """Return the columns of the regression: what is controlled, difficulty where used, constant."""
        return design(self.controlled, self.d)

    @property
    def X0(self) -> np.ndarray:
        """Return the columns at no difference."""
        return design(np.zeros((len(self.x), len(self.features))), self.d)

    @property
    def weight(self) -> np.ndarray:
        """Return the frequency weights of judged rows, 0 elsewhere."""
        return np.where(self.judged, self.n, 0.0)


def design(x, d, constant=1.0):
    """Return columns [x, d, constant], or [x, constant] without a difficulty; x is one column or several."""
    last = np.full(len(x), constant)
    return np.column_stack([x, last] if d is None else [x, d, last])


def interval(mean, error, confidence_level):
    """Return the interval that is symmetric on the logit scale."""
    z = special.ndtri((1 + confidence_level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = z * error / (mean * (1 - mean))
    return special.expit(special.logit(mean) - half), special.expit(special.logit(mean) + half)


def standard_error(contribution, n, unit=None):
    """Return the standard error from contributions of single judgements, rows of n of them.

    Contributions are summed within a unit; `contribution` is (n_batch, n_rows).
    """
    if unit is None:
        size = n.sum(axis=-1)
        squares = (n * contribution**2).sum(axis=-1)
    else:
        size = np.count_nonzero(np.bincount(unit))
        sums = np.stack([np.bincount(unit, n * row) for row in contribution])
        squares = (sums**2).sum(axis=1)
    return np.sqrt(squares * size / np.maximum(size - 1, 1))


def batches(all_rows: list[Rows]) -> Iterator[list[int]]:
    """Yield positions of models that are fitted together: of similar size, and not too many."""
    order = sorted((k for k, rows in enumerate(all_rows) if not rows.own), key=lambda k: len(all_rows[k].y))
    batch: list[int] = []
    for k in order:
        size = len(all_rows[k].y)
        if batch and (size > 1.2 * len(all_rows[batch[0]].y) or size * (len(batch) + 1) > MOST_CELLS):
            yield batch
            batch = []
        batch.append(k)
    if batch:
        yield batch


@dataclass(frozen=True)
class Estimate:
    """One model's row of the result, and what its resamples need."""

    record: dict
    coefficients: np.ndarray | None = None
    contribution: np.ndarray | None = None  # of each judgement
    information: np.ndarray | None = None  # of the fit; None where the error is undefined or holds a prior
    resampled: bool = False  # whether a bootstrap says anything of it


def estimates(all_rows: list[Rows], fixed, *, penalty, method, confidence_level) -> list[Estimate]:
    """Return the estimate of each model."""
    out = [Estimate(reference_row())] * len(all_rows)
    for batch in batches(all_rows):
        together = [all_rows[k] for k in batch]
        X, X0 = _stacked([rows.X for rows in together]), _stacked([rows.X0 for rows in together])
        y, weight, asked = (_stacked([getattr(r, a) for r in together]) for a in ("y", "weight", "n"))
        fit = _logistic.fit(X, y, weight, fixed=fixed)
        spaces = [_estimable(rows, fixed) for rows in together]
        if penalty > 0:
            fit = _penalised(together, fixed, penalty)
        else:
            for place, (rows, (basis, _)) in enumerate(zip(together, spaces, strict=True)):
                _refit_within(fit, place, rows, fixed, basis)
        mean, contribution = _logistic.influence(X, X0, y, weight, asked, fit)
        gradient = _logistic.mean_at(X0, asked, fit.coefficients)[2]
        for place, (k, rows) in enumerate(zip(batch, together, strict=True)):
            shares, separated = contribution[place, : len(rows.y)], fit.separated[place]
            error = standard_error(shares[None], rows.n, rows.unit)[0]
            if separated:  # residuals say nothing then; the information, prior included, does
                g = gradient[place]
                error = np.hypot(error, np.sqrt(g @ _logistic.inverse(fit.information[place]) @ g))
            low, high = interval(mean[place], error, confidence_level)
            unsure = unreliable(rows.weight[None], rows.y, mean[place], error)[0]
            basis, identified = spaces[place]
            undefined, why = _undefined(rows, separated, identified, method)
            collinear = len(basis) > basis.shape[1]
            record = {
                "lc_win_rate": mean[place],
                "standard_error": error,
                "ci_low": low,
                "ci_high": high,
                **_named(fit.coefficients[place], rows),
                **dict.fromkeys(undefined, np.nan),
                "note": notes(rows, separated, unsure and not undefined, collinear and identified, why),
            }
            information = None if undefined or separated else fit.information[place]
            out[k] = Estimate(record, fit.coefficients[place], shares, information, not undefined)
    return out


def _estimable(rows, fixed):
    """Return a basis of what the columns span, and whether the value at equal length lies within it."""
    X, _, weight = _logistic.joined(rows.X, rows.y, rows.weight[None], fixed)
    values, vectors = np.linalg.eigh((X.T * weight[0]) @ X / weight.sum())
    inside = values > COLLINEAR * values[-1]
    return vectors[:, inside], bool(np.abs(rows.X0 @ vectors[:, ~inside]).max(initial=0) < 1e-4)


def _refit_within(fit, place, rows, fixed, basis):
    """Fit collinear columns again within their span, where no prior is needed to tell them apart."""
    if len(basis) == basis.shape[1]:
        return
    outside = np.linalg.svd(basis)[0][:, basis.shape[1] :]
    within = _logistic.fit(rows.X @ basis, rows.y, rows.weight[None], fixed=_within(fixed, basis))
    fit.coefficients[place] = basis @ within.coefficients[0]
    fit.information[place] = basis @ within.information[0] @ basis.T + outside @ outside.T
    fit.separated[place] = within.separated[0]


def _within(fixed, basis):
    return None if fixed is None else _logistic.Fixed(fixed.X @ basis, fixed.y, fixed.weight)


def _undefined(rows, separated, identified, method):
    """Return the entries of a model that its data do not define, and why."""
    judged = rows.judged
    units = rows.n[judged].sum() if rows.unit is None else len(np.unique(rows.unit[judged]))
    error = ("standard_error", "ci_low", "ci_high")
    if not identified:
        what = "length" if rows.features == ("length",) else "length or style"
        text = f"undefined: {what} is collinear with the other terms: no estimate at equal length"
        return ("lc_win_rate", *error, *TERMS), Reason("undefined", text)
    if units < 2:
        return error, Reason("too_few_units", "error undefined: fewer than two units")
    if separated and method != "sandwich":
        text = (
            "error undefined: resamples of separated data show the prior, not the data; use method='sandwich'"
        )
        return error, Reason("error_undefined", text)
    if not separated and ties.equal(rows.y[judged], rows.y[judged][0]).all():
        return error[1:], Reason("all_alike", "interval undefined: all outcomes are equal")
    return (), None


def _stacked(arrays):
    """Return arrays of different length as one, padded with zeros."""
    out = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]))
    for k, values in enumerate(arrays):
        out[k, : len(values)] = values
    return out


def _penalised(together, fixed, penalty):
    found = []
    for rows in together:
        weight = rows.weight[None]
        b = _logistic.fit_l1(rows.X, rows.y, weight[0], penalty, fixed=fixed)[None]
        X, y, weight = _logistic.joined(rows.X, rows.y, weight, fixed)
        found.append((b[0], _logistic.score_and_information(X, y, weight, b)[1][0]))
    b, information = (np.stack(v) for v in zip(*found, strict=True))
    return _logistic.Fit(b, information, np.zeros(len(b), dtype=bool))


def _named(b, rows):
    """Return the coefficients by name: phi of length, psi of difficulty, theta; of style by feature."""
    found = dict(zip(rows.features, map(float, b), strict=False))
    psi = float(b[-2]) if rows.d is not None else 0.0
    named = {"phi": found.pop("length", 0.0), "psi": psi, "theta": float(b[-1])}
    return named | {f"phi_{feature}": value for feature, value in found.items()}


def unreliable(weight, y, mean, error):
    """Return where simulations found the interval to cover less than it says, per batch row.

    That is with fewer than 10 wins or losses, fewer than 20 expected at equal length, or a value so near
    0 or 1 for its error that the logit scale is no longer flat across the interval.
    """
    fewest = np.minimum(weight @ y, weight @ (1 - y))
    at_equal_length = weight.sum(axis=1) * np.minimum(mean, 1 - mean)  # wins or losses expected there
    return (fewest < FEW) | (at_equal_length < FEW_AT_EQUAL_LENGTH) | (error > FLAT * mean * (1 - mean))


def notes(
    rows: Rows, separated: bool, unsure: bool, collinear: bool, undefined: Reason | None
) -> list[Reason]:
    """Return what a reader of this model's row has to know."""
    found = [undefined] if undefined else []
    if separated and not (undefined and undefined.code == "undefined"):
        text = "separated: no finite fit exists, a log-F(1, 1) prior keeps it finite"
        found.append(Reason("separated", text))
    still = [f for f, x in zip(rows.features, rows.controlled.T, strict=True) if (x[rows.judged] == 0).all()]
    if "length" in still:
        text = "all outputs as long as the reference's: nothing to control"
        found.append(Reason("no_length_difference", text))
    if set(still) - {"length"}:
        text = f"no output differs in {', '.join(f for f in still if f != 'length')}: nothing to control"
        found.append(Reason("no_style_difference", text))
    if collinear and not still:
        text = "collinear: terms that the data do not tell apart share a coefficient"
        found.append(Reason("collinear", text))
    if unsure:
        text = "the interval may cover less than it says: too few wins or losses at equal length"
        found.append(Reason("few_units", text))
    if rows.near < SPARSE:
        what = "length" if rows.features == ("length",) else "length and style"
        text = f"extrapolated: {100 * rows.near:.1f} % of instructions near equal {what}"
        found.append(Reason("extrapolated", text))
    unknown = int(rows.n[~rows.judged].sum())
    if unknown:
        text = f"{unknown} unusable judgement{'s' * (unknown != 1)} left out"
        found.append(Reason("unusable_left_out", text))
    return found


def reference_row() -> dict:
    """Return the reference against itself: a half, without error, by definition."""
    note = Reason("reference", "the reference against itself: 0.5 by definition")
    half = dict.fromkeys(("lc_win_rate", "ci_low", "ci_high"), 0.5)
    return {**half, "standard_error": 0.0, **dict.fromkeys(TERMS, 0.0), "note": note}


def refit(rows: Rows, weights: np.ndarray, fixed, start) -> np.ndarray:
    """Return the win rate of every resample, refitted from `start` by batched Newton.

    `weights` (n_resamples, n_rows) says how many judgements of each row a resample holds.
    """
    out = np.empty(len(weights))
    basis, _ = _estimable(rows, fixed)
    X, X0 = rows.X, rows.X0
    if basis.shape[1] < len(basis):
        X, X0, start, fixed = X @ basis, X0 @ basis, start @ basis, _within(fixed, basis)
    for i in range(0, len(weights), BLOCK):
        part = weights[i : i + BLOCK]
        fit = _logistic.fit(X, rows.y, part * rows.judged, fixed=fixed, start=start, tol=1e-6)
        out[i : i + BLOCK] = _logistic.mean_at(X0, part, fit.coefficients)[0]
    return out


def resample(all_rows, found, fixed, n_units, *, n_resamples, rng) -> np.ndarray:
    """Return refitted win rates (n_resamples, n_models); instructions are drawn for all models at once."""
    rng = np.random.default_rng(rng)
    out = np.full((n_resamples, len(all_rows)), np.nan)
    out[:, [rows.own for rows in all_rows]] = 0.5
    refitted = [k for k, estimate in enumerate(found) if estimate.resampled]
    shared = [k for k in refitted if all_rows[k].unit is not None]
    if shared:
        units = ratios.Units(np.zeros((n_units, 1)), np.ones((n_units, 1)))
        done = 0
        with progress.bar(n_resamples * len(shared), "Refits") as fits:
            for block in resampling.draw_weights(units, n_resamples=n_resamples, rng=rng):
                for k in shared:
                    drawn = block[:, all_rows[k].unit] * all_rows[k].n
                    values = refit(all_rows[k], drawn, fixed, found[k].coefficients)
                    out[done : done + len(block), k] = values
                    fits.update(len(block))
                done += len(block)
    for k in refitted:
        rows = all_rows[k]
        if rows.unit is None:
            units = ratios.Units(rows.y[:, None], np.ones((len(rows.y), 1)), rows.n.astype(np.int64))
            drawn = np.concatenate(list(resampling.draw_weights(units, n_resamples=n_resamples, rng=rng)))
            out[:, k] = refit(rows, drawn, fixed, found[k].coefficients)
    return out


def bootstrap_interval(rows, estimate, resamples, method, confidence_level):
    """Return standard error and interval of one model from its refits."""
    mean, contribution = estimate.record["lc_win_rate"], estimate.contribution
    column = resamples[:, None]
    if method == "percentile":
        low, high = intervals.percentile_interval(column, confidence_level=confidence_level)
    else:
        shares, counts = (rows.n * contribution, None) if rows.unit is not None else (contribution, rows.n)
        if rows.unit is not None:
            shares = np.bincount(rows.unit, shares)[np.unique(rows.unit)]
        low, high = intervals.bca_interval(  # the acceleration from the infinitesimal jackknife
            np.array([mean]),
            column,
            (mean - shares)[:, None],
            counts=counts,
            confidence_level=confidence_level,
        )
    return {"standard_error": np.nanstd(resamples, ddof=1), "ci_low": low[0], "ci_high": high[0]}
