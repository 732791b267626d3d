"""Models that meet each other without a common reference: Bradley-Terry ratings, jointly resampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, warn
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.results import Reason, best_first, finish, seed_of, unit_of
from alpaca_analysis.inference.slices import Slices
from alpaca_analysis.table.style_pairs import STYLE
from alpaca_analysis.win_rates.bradley_terry_battles import rated_battles
from alpaca_analysis.win_rates.bradley_terry_fits import battle_units, fit_choix, fit_regression
from alpaca_analysis.win_rates.joint import JointEstimates, difference_error
from alpaca_analysis.win_rates.ranks import joint_rank_sets

ELO = 400 / np.log(10)  # points of an Elo scale per unit of log odds
UNMOVED = 1e-6  # log odds: a standard error below is what the solver leaves, not what data say


@dataclass(frozen=True)
class Ratings:
    """Bradley-Terry ratings of models, in log odds around a mean of 0.

    Attributes
    ----------
    joint : JointEstimates
        Ratings with their joint resamples; only models whose rating is finite.
    separated : dict of str to str
        Models without a finite rating, and why.
    battles : Series
        Usable judgements of each model, indexed by its name.
    coefficients : DataFrame
        ``covariate``, ``coefficient``, ``standard_error``, ``ci_low``, ``ci_high``; empty without
        covariates.
    settings : dict
        Method, unit, level, resamples, seed, what was left out.
    """

    joint: JointEstimates
    separated: dict[str, str]
    battles: pd.Series
    coefficients: pd.DataFrame
    settings: dict = field(repr=False)

    def to_frame(self, *, scale: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
        """Return ratings with intervals and rank sets, best first.

        Parameters
        ----------
        scale, offset : float
            Ratings are shown as offset + scale * rating; ``ratings.ELO`` and 1000 give Elo points.

        Returns
        -------
        DataFrame
            ``model``, ``rating``, ``standard_error``, ``ci_low``, ``ci_high`` (percentile),
            ``n_battles``, ``rank``, ``rank_low``, ``rank_high``, ``simultaneous_low``,
            ``simultaneous_high``, ``tier``, ``note``. Models without a finite rating come last,
            with NaN, and have no rank.
        """
        level = self.settings["confidence_level"]
        ranks, _ = joint_rank_sets(self.joint, confidence_level=level)
        return _finished(
            self.rows(ranks, scale=scale, offset=offset),
            self.settings,
            estimate="rating",
            more={"scale": scale, "offset": offset, "n_tiers": ranks.attrs["n_tiers"]},
        )

    def rows(self, ranks: pd.DataFrame, *, scale: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
        """Return the rows of `to_frame` with the rank sets `ranks`, as of `rank_sets_of`."""
        level = self.settings["confidence_level"]
        low, high = intervals.percentile_interval(self.joint.resamples.T, confidence_level=level)
        out = pd.DataFrame(
            {
                "model": self.joint.models,
                "rating": offset + scale * self.joint.estimate,
                "standard_error": scale * self.joint.resamples.std(axis=1, ddof=1),
                "ci_low": offset + scale * low,
                "ci_high": offset + scale * high,
            }
        )
        out["n_battles"] = out["model"].map(self.battles)
        out.loc[self.joint.untested != "", ["standard_error", "ci_low", "ci_high"]] = np.nan
        out = out.merge(ranks.drop(columns="estimate"), on="model")
        if self.separated:
            counts = ["rank", "rank_low", "rank_high", "simultaneous_low", "simultaneous_high", "tier"]
            out = out.astype(dict.fromkeys(counts, "Int64"))
            notes = [Reason("separated", why) for why in self.separated.values()]
            lost = pd.DataFrame({"model": list(self.separated), "note": notes})
            lost["n_battles"] = lost["model"].map(self.battles)
            out = out.astype({"note": object})  # which holds reasons, not texts
            out = pd.concat([out, lost.reindex(columns=out.columns).astype(out.dtypes)])
        return best_first(out.reset_index(drop=True), "rating", ["model"])

    def win_rate(self, a: str, b: str) -> pd.DataFrame:
        """Return the expected outcome of `a` against `b`: sigmoid of the difference of their ratings.

        Returns
        -------
        DataFrame
            One row: ``model_a``, ``model_b``, ``win_rate``, ``ci_low``, ``ci_high``, ``reason``, ``note``;
            with covariates at equal position, length and style.

        See Also
        --------
        cycles : How often preferences on single instructions go round in a circle.
        """
        for model in (a, b):
            if model not in self.joint.models:
                reason = self.separated.get(model, f"one of {', '.join(self.joint.models[:5])}...")
                raise AnnotationError(f"a model with a finite rating ({reason})", column="model", found=model)
        i, j = self.joint.models.index(a), self.joint.models.index(b)
        draws = special.expit(self.joint.resamples[i] - self.joint.resamples[j])[:, None]
        level = self.settings["confidence_level"]
        low, high = intervals.percentile_interval(draws, confidence_level=level)
        unmoved = self.joint.untested[i]
        if unmoved:
            low, high = np.full((2, 1), np.nan)
        row = {"model_a": a, "model_b": b, "win_rate": special.expit(self.joint.difference[i, j])}
        note = Reason("no_variation", f"interval undefined: {unmoved}") if unmoved else ""
        frame = pd.DataFrame([{**row, "ci_low": low[0], "ci_high": high[0], "note": note}])
        return _finished(frame, self.settings, estimate="win_rate", fractions=["win_rate"])


def _finished(frame, settings, *, estimate, fractions=(), more=None):
    """Return a frame of ratings with the settings of the fit."""
    own = ("method", "unit", "confidence_level", "n_resamples")
    return finish(
        frame,
        estimate=estimate,
        interval="percentile",
        fractions=fractions,
        higher_is_better=["rating"],
        **{name: settings[name] for name in own},
        settings={**{k: v for k, v in settings.items() if k not in own}, **(more or {})},
    )


_COLUMNS = (
    *("model", "reference", "rating", "standard_error", "ci_low", "ci_high", "n_battles", "rank"),
    *("rank_low", "rank_high", "simultaneous_low", "simultaneous_high", "tier", "reason", "note"),
)


def bradley_terry(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    confidence_level: float = 0.95,
    n_resamples: int = 999,
    rng=0,
) -> Ratings | Slices:
    """Rate models by the battles between them.

    The expected outcome of i against j is sigmoid(rating_i - rating_j + x b); a draw counts half for
    each side, so this is a quasi-likelihood for the outcome's mean and needs no model of draws.
    Without covariates each joint resample of instructions is fitted anew. With covariates the fit is
    a logistic regression with a column per model, and resamples move it by its linearised
    influence (the cluster sandwich).

    Parameters
    ----------
    table : DataFrame
        Battles of one annotator: ``model`` against ``reference``, either side any model.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "language": each is rated alone. All intervals, and
        all simultaneous rank sets, of all slices then hold at once (max-t), and one clustered test says
        whether the differences between models are the same in all slices.
    covariates : sequence of str
        "position" (1 where the model was shown first, -1 where second), "length" ((l_model -
        l_reference) / (l_model + l_reference)), "style" (headers, bold, list items, code blocks, opening
        phrases, refusals) or any of `style_features` (relative differences like that of length, divided by
        their standard deviation over all rows), or any numeric column that is a difference, model minus
        reference. Rows without a value are left out and counted in the settings.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    Ratings, or Slices of them where `by` is given
        With ``.to_frame()``, ``.win_rate(a, b)`` and ``.coefficients``. Slices hold the result of each by its
        name (``found["German"]``), the rows of all in ``.to_frame()``, and the test in ``.equality``.

    Raises
    ------
    AnnotationError
        Several annotators, an unnamed side, instruction ids on some rows only, models in halves that
        never met (no common scale), or covariates that cannot be told apart from each other or from
        the models.

    Warns
    -----
    UndefinedWarning
        Where nothing varies between resamples: a single instruction, or draws alone.
        Where models won or lost every battle against the others: their ratings are infinite, hence
        NaN, and they say nothing about the rest. Also where more than 1 % of resamples were so.

    References
    ----------
    Bradley, R. A., Terry, M. E. (1952). Biometrika 39, 324-345. Ford, L. R. (1957), American
    Mathematical Monthly 64(8), for when finite ratings exist.

    Maystre, L., Grossglauser, M. (2015). Fast and accurate inference of Plackett-Luce models,
    NeurIPS; the solver is choix's iterative Luce spectral ranking.

    Examples
    --------
    >>> import pandas as pd
    >>> battles = pd.DataFrame({"model": ["a", "b", "c", "a"], "reference": ["b", "c", "a", "c"],
    ...                         "outcome": [1, 1, 0, 0], "n": [60, 60, 70, 30]})
    >>> battles = pd.concat([battles, battles.assign(outcome=1 - battles["outcome"], n=30)])
    >>> bradley_terry(battles, n_resamples=99).to_frame()["model"].tolist()
    ['a', 'b', 'c']
    """
    options.check_options(confidence_level, n_resamples)
    by = None if by is None else options.groups(by, _COLUMNS)
    covariates = options.groups(covariates, name="covariates") if covariates else []
    if by is not None:
        from alpaca_analysis.win_rates.sliced_ratings import rate_in_slices

        fit: Callable[..., Any] = partial(bradley_terry, covariates=covariates, n_resamples=n_resamples)
        fit = partial(fit, confidence_level=confidence_level)
        return rate_in_slices(
            table, by, fit, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng
        )
    if "style" not in table:
        covariates = [one for name in covariates for one in (STYLE if name == "style" else (name,))]
    battles = rated_battles(table, covariates)
    names, wins, rated, separated = battles.names, battles.wins, battles.rated, battles.separated
    rows, first, second, left_out = battles.rows, battles.first, battles.second, battles.left_out
    fit = fit_regression if covariates else fit_choix
    units = battle_units(rows, first, second, covariates)
    estimate, draws, failed = fit(units, len(rated), list(covariates), n_resamples, rng)
    p = len(rated)
    covariance = np.cov(draws[:p])
    variance = np.diag(covariance)
    unmoved = _unmoved(units, variance)
    error = difference_error(covariance)
    joint = JointEstimates(
        models=[names[k] for k in rated],
        estimate=estimate[:p],
        resamples=draws[:p],
        difference_error=error if not unmoved else np.full((p, p), np.nan),
        df=np.full((p, p), np.inf),
        shared=np.full((p, p), units.unit.max() + 1.0),  # all are fitted to each resample
        n=wins.sum(axis=1)[rated] + wins.sum(axis=0)[rated],
        untested=np.full(p, unmoved, dtype=object),
    )
    common = {
        "method": "Bradley-Terry, " + ("linearised" if covariates else "refitted") + " joint bootstrap",
        "unit": unit_of(not units.anonymous),
        "confidence_level": confidence_level,
        "n_resamples": draws.shape[1],
        "rng": seed_of(rng),
    }
    settings = common | {"n_resamples_separated": failed, "covariates": list(covariates), **left_out}
    n_battles = pd.Series((wins.sum(axis=1) + wins.sum(axis=0)).round().astype(np.int64), index=names)
    effects = _effects(list(covariates), estimate[p:], draws[p:], confidence_level)
    if unmoved:
        effects[["standard_error", "ci_low", "ci_high"]] = np.nan
        warn(f"intervals of ratings: {unmoved}", UndefinedWarning)
    _warn(separated, failed, n_resamples)
    return Ratings(joint, separated, n_battles, effects, settings)


def _unmoved(units, variance):
    """Return why no resample differs from the data, so that there is neither error nor rank; or ""."""
    total = len(np.unique(units.unit)) if units.multiplicity is None else units.multiplicity.sum()
    if total < 2:
        return "a single instruction"
    return "all outcomes are draws" if variance.max() < UNMOVED**2 else ""


def _effects(covariates, estimate, draws, confidence_level):
    columns = ["covariate", "coefficient", "standard_error", "ci_low", "ci_high"]
    if not covariates:
        return pd.DataFrame(columns=columns)
    low, high = intervals.percentile_interval(draws.T, confidence_level=confidence_level)
    values = [covariates, estimate, draws.std(axis=1, ddof=1), low, high]
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def _warn(separated, failed, n_resamples):
    if separated:
        name, reason = next(iter(separated.items()))
        more = f" (and {len(separated) - 1} more models)" if len(separated) > 1 else ""
        warn(f"{name}{more}: {reason}", UndefinedWarning)
    if failed > 0.01 * n_resamples:
        text = f"{failed} of {n_resamples} resamples had no finite ratings and were left out"
        warn(f"{text}: errors are too small", UndefinedWarning)
