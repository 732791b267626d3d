"""What a length-control analysis returns: coefficients, win rates, and any model against any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import expit

from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.inference.slices import Part
from alpaca_analysis.length.control.one_model import interval
from alpaca_analysis.length.control.pairs import FittedModel, pair_error
from alpaca_analysis.table.groups import select_models

TRANSITIVE = "assumes that mean preferences are transitive (see cycles); nobody judged the pair"


@dataclass(frozen=True, repr=False)
class LengthControl:
    """Length-controlled win rates of several models against one reference.

    Attributes
    ----------
    models : DataFrame
        What `to_frame` returns: one row per model, best first.
    difficulty, weight : ndarray of shape (n_points,)
        The distribution of difficulties over which `win_rate` averages; weights sum to 1.
    settings : mapping
        Judge, reference, specification, method, and what is known of the error.
    resamples : DataFrame, optional
        Length-controlled win rates refitted on each bootstrap resample, one column a model; each row
        drew the same instructions for all models.
    fits : mapping of str to FittedModel
        The regressions of the models whose errors come from the data alone.
    remarks : mapping of str to Reason
        What any number of a model has to say of it, such as that its coefficients come from shifted rows.
    parts : mapping of str to Part
        What instructions contribute to the length-controlled win rate of each model that was fitted.
    """

    models: pd.DataFrame
    difficulty: np.ndarray
    weight: np.ndarray
    settings: Mapping = field(default_factory=dict)
    resamples: pd.DataFrame | None = None
    fits: Mapping[str, FittedModel] = field(default_factory=dict)
    remarks: Mapping[str, Reason] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per model with win rates as fractions, best length-controlled win rate first."""
        frame = self.models.copy()
        frame.attrs = dict(self.settings)
        return frame

    def win_rate(self, a: str, b: str) -> pd.DataFrame:
        """Return the length-controlled win rate of model `a` against model `b`.

        It is the mean over difficulties of sigmoid((theta_a - theta_b) + (psi_a - psi_b) difficulty):
        what the two models' coefficients against their common reference imply of each other if
        preferences are transitive on the logit scale. Nobody judged the pair itself.

        Parameters
        ----------
        a, b : str
            Names in the ``model`` column. The reference is one of them.

        Returns
        -------
        DataFrame
            One row, as that of `Ratings.win_rate`: ``model_a``, ``model_b``, ``win_rate`` (a fraction; 0.5
            for a model against itself, and the two directions sum to 1), ``standard_error``, ``ci_low``,
            ``ci_high``, ``reason``, ``note``. Errors include both fits; they are NaN with a reason where
            only coefficients are known, or a fit holds a prior.

        Raises
        ------
        AnnotationError
            An unknown model.

        See Also
        --------
        cycles : How often preferences on single instructions go round in a circle.
        """
        theta, psi = np.subtract(self._coefficients(a), self._coefficients(b))
        # sigmoid(x) = (1 + tanh(x/2)) / 2, whose odd part makes the two directions sum to 1 exactly
        rate = float(0.5 + np.tanh((theta + psi * self.difficulty) / 2) @ self.weight / 2)
        error, note = self._error(a, b)
        level = self.settings.get("confidence_level") or 0.95
        low, high = interval(rate, error, level) if error > 0 else (rate + 0 * error,) * 2
        row = {"model_a": a, "model_b": b, "win_rate": rate, "standard_error": error}
        return finish(
            pd.DataFrame([row | {"ci_low": low, "ci_high": high}]),
            estimate="win_rate",
            fractions=["win_rate"],
            method="difference of coefficients at equal length",
            interval=None if np.isnan(error) else "logit wald",
            unit=self.settings.get("unit"),
            confidence_level=None if np.isnan(error) else level,
            notes=[[note, *self._remarks(a, b), TRANSITIVE] if a != b else note],
            settings={k: self.settings.get(k) for k in ("reference", "annotator", "difficulty")},
        )

    def _error(self, a, b):
        """Return the standard error of a pair, and why it is NaN."""
        if a == b:
            return 0.0, Reason("same_model", "a model against itself: 0.5 by definition")
        reference = self.settings.get("reference")
        lacking = [m for m in (a, b) if m != reference and m not in self.fits]
        if lacking:
            text = "error undefined: only coefficients are known of " + ", ".join(lacking)
            return np.nan, Reason("coefficients_only", text)
        return pair_error(self.fits.get(a), self.fits.get(b)), ""

    def _remarks(self, *models):
        """Return what is said of the models of a pair, each by its name."""
        return [
            Reason(self.remarks[m].code, f"{m}: {self.remarks[m].text}") for m in models if m in self.remarks
        ]

    def _coefficients(self, model):
        """Return theta and psi; the reference's are 0."""
        if model == self.settings.get("reference"):
            return 0.0, 0.0
        place = np.flatnonzero(self.models["model"].to_numpy() == model)
        if len(place) == 0:
            select_models(self.models, [model], source="length control")
        return tuple(self.models[c].to_numpy()[place[0]] for c in ("theta", "psi"))

    def __repr__(self):
        lines = [f"Length-controlled win rates of {len(self.models)} models"]
        lines += [f"  {key}: {value}" for key, value in self.settings.items() if value is not None]
        return "\n".join([*lines, self._shown(8).to_string(index=False)])

    def _repr_html_(self):
        from html import escape

        head = "; ".join(f"{k}: {v}" for k, v in self.settings.items() if v is not None)
        return f"<p>{escape(head)}</p>" + self._shown(20).to_html(index=False, border=0)

    def _shown(self, rows):
        """Return the first rows as a person reads them: percent, one digit more than the error's first."""
        shown = self.models.head(rows).copy()
        for column in ("win_rate", "lc_win_rate", "standard_error", "ci_low", "ci_high"):
            shown[column] = [("" if np.isnan(v) else f"{100 * v:.2f}") for v in shown[column]]
        for column in ("phi", "psi", "theta"):
            shown[column] = [("" if np.isnan(v) else f"{v:.3f}") for v in shown[column]]
        return shown.rename(columns={c: f"{c} (%)" for c in ("win_rate", "lc_win_rate")})


def mean_sigmoid(theta, psi, difficulty, weight) -> np.ndarray:
    """Return the weighted mean over difficulties of sigmoid(theta + psi difficulty) for each model."""
    theta, psi = np.atleast_1d(theta)[:, None], np.atleast_1d(psi)[:, None]
    return expit(theta + psi * difficulty) @ weight
