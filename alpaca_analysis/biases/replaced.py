"""One judge in terms of another, for a judge that is retired: win rates and orders of models."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from alpaca_analysis.biases.panels import votes_of
from alpaca_analysis.biases.sides import named_judges
from alpaca_analysis.correlations.coefficients import coefficient
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, Verbatim
from alpaca_analysis.inference import intervals
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.inference.results import Reason, best_first, finish
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed
from alpaca_analysis.win_rates.ranks import pairwise_differences

MODELS_FOR_A_LINE = 4  # two coefficients and a residual variance, and a model to leave out
ORDERS = ("same", "reversed", "only the old judge", "only the new judge", "neither")
PREDICTED = ("predicted", "predicted_low", "predicted_high")
NO_LINE = Reason("few_models", f"no prediction: fewer than {MODELS_FOR_A_LINE} other models judged by both")
NOT_SHARED = Reason("not_shared", "judged by the old judge alone: its win rate is that of all its judgements")


@dataclass(frozen=True)
class Equated:
    """What a new judge says in terms of what an old one said.

    Attributes
    ----------
    models : DataFrame
        One row per model, see `equate`.
    orders : DataFrame
        One row per pair of models that both judged: ``model_a``, ``model_b`` (a the better one by the old
        judge), ``difference_old``, ``difference_new``, ``pvalue_old``, ``pvalue_new`` (Holm, over all
        pairs of the judge), ``survives`` (the new judge has the same model in front) and ``shown``: which
        judges show an order at all (step-down test over all pairs): "same" and "reversed" where both do.
    intercept, slope : float
        Of logit(new) = intercept + slope logit(old) over models, least squares; NaN with too few models.
    mean_absolute_error : float
        Of the predictions of each model from the others, in fractions.
    kendall : float
        Kendall's tau-b between the two judges' win rates.
    """

    models: pd.DataFrame
    orders: pd.DataFrame
    intercept: float
    slope: float
    mean_absolute_error: float
    kendall: float

    def to_frame(self) -> pd.DataFrame:
        """Return the models."""
        return self.models.copy()

    def predict(self, win_rate: float) -> float:
        """Return the new judge's win rate of a model whose win rate by the old judge is known.

        Parameters
        ----------
        win_rate : float
            By the old judge, a fraction.

        Returns
        -------
        float
            NaN where there is no line.
        """
        options.fraction("win_rate", win_rate, closed="neither")
        return float(special.expit(self.intercept + self.slope * special.logit(win_rate)))

    def counts(self) -> pd.Series:
        """Return how many pairs of models there are of each kind of ``shown``."""
        return self.orders["shown"].value_counts().reindex(ORDERS, fill_value=0)

    def __repr__(self) -> str:
        n, kept, shown = len(self.orders), int(self.orders["survives"].sum()), self.counts()
        shared = int((self.models["n"] > 0).sum())
        return (
            f"Equated({shared} models judged by both, {kept} of {n} orders survive, "
            f"{shown['same']} shown by both judges, {shown['reversed']} shown reversed, "
            f"Kendall's tau {self.kendall:.3f})"
        )


def equate(
    table: pd.DataFrame,
    old: str,
    new: str,
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> Equated:
    """Put win rates of one judge in terms of another's, from the pairs that both judged.

    Parameters
    ----------
    table : DataFrame
        Judgements by both judges of models against one reference, with ``instruction_id``.
    old, new : str
        Annotators: the judge that is replaced, and the one that takes its place.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples, for the tests of all pairs of models at once.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    Equated
        ``.models``: ``model``, ``win_rate_old``, ``win_rate_new``, ``difference`` (new less old) with
        ``standard_error``, ``ci_low``, ``ci_high``, ``pvalue`` (paired over instructions, Student's t),
        ``rank_old``, ``rank_new``, ``n`` (shared pairs), and ``predicted`` with ``predicted_low`` and
        ``predicted_high``: the new judge's win rate as the line through the *other* models predicts it from
        the old judge's, with a prediction interval. Models that the old judge alone judged have nothing but
        ``win_rate_old`` and the prediction. ``.orders``: what becomes of the order of every two models.

    Raises
    ------
    AnnotationError
        A judge that the table lacks, several references, or no pair that both judged.

    Notes
    -----
    The line predicts the new judge's win rate of models like these on instructions like these. A model of
    another kind, such as one of the new judge's family, may be off it: the interval cannot know.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> quality = pd.DataFrame({"instruction_id": np.tile([f"i{k}" for k in range(200)], 5),
    ...                         "model": np.repeat(list("abcde"), 200), "reference": "r",
    ...                         "skill": np.repeat(np.arange(5) / 2, 200) + rng.normal(0, 1, 1000)})
    >>> says = lambda name, easier: quality.assign(annotator=name, outcome=(
    ...     quality["skill"] + rng.normal(0, 1, 1000) + easier > 1) * 1.0)
    >>> result = equate(pd.concat([says("gpt-4", 0), says("gpt-5", -0.3)]), "gpt-4", "gpt-5", n_resamples=499)
    >>> result
    Equated(5 models judged by both, 10 of 10 orders survive, ...)
    >>> round(result.predict(0.5), 1)
    0.4
    """
    options.check_options(confidence_level, n_resamples)
    table = named_judges(check(table))
    known = sorted(table["annotator"].unique())
    for judge in (old, new):
        if judge not in known:
            expected = f"one of {', '.join(known[:5])}"
            raise AnnotationError(expected, column="annotator", found=judge)
    if old == new:
        raise ValueError(f"new: found {new!r}, expected another judge than the old one")
    table = table[table["annotator"].isin([old, new])].reset_index(drop=True)
    refuse_mixed(table, columns=("reference",))
    votes = votes_of(table)
    items = votes.items[["instruction_id", "model", "reference"]].assign(repeat=np.arange(len(votes.items)))
    each = votes.by_judge()[:, [votes.judges.index(judge) for judge in (old, new)]]
    shared = ~np.isnan(each).any(axis=1)
    if not shared.any():
        raise AnnotationError(
            f"pairs judged by both {old} and {new}", column="outcome", found=Verbatim("none")
        )
    items = items.assign(old=each[:, 0], new=each[:, 1])
    models = _models(items[shared], confidence_level)
    models, line = _predicted(models, _alone(items, models["model"]), confidence_level)
    ranked = models.dropna(subset=["win_rate_new"])
    a, b = (ranked[c].to_numpy()[None, :] for c in ("win_rate_old", "win_rate_new"))
    return Equated(
        models=models,
        orders=_orders(items[shared], confidence_level, n_resamples, rng),
        intercept=line[0],
        slope=line[1],
        mean_absolute_error=float((ranked["predicted"] - ranked["win_rate_new"]).abs().mean()),
        kendall=float(coefficient(a, b, "kendall")[0]) if len(ranked) > 1 else np.nan,
    )


def _models(items, confidence_level):
    """Return win rates by both judges and their difference, on the pairs that both judged."""
    found = []
    for model, rows in items.groupby("model", observed=True, sort=True):
        code = pd.factorize(rows["instruction_id"], sort=True)[0]
        sizes = np.repeat(np.bincount(code)[:, None], 2, axis=1).astype(float)
        units = Units(np.stack([np.bincount(code, rows[c]) for c in ("old", "new")], axis=1), sizes)
        contrast = np.array([[-1.0], [1.0]])
        difference, error, low, high = (
            float(v[0])
            for v in intervals.interval(
                units, contrast=contrast, method="t", confidence_level=confidence_level
            )
        )
        pvalue = 2 * stats.t.sf(abs(difference) / error, len(sizes) - 1) if error > 0 else np.nan
        row = {"model": model, "win_rate_old": units.estimate[0], "win_rate_new": units.estimate[1]}
        row |= {"difference": difference, "standard_error": error, "ci_low": low, "ci_high": high}
        found.append(row | {"pvalue": pvalue, "n": len(rows)})
    return pd.DataFrame(found)


def _alone(items, shared):
    """Return the win rates of models that the old judge alone judged."""
    rows = items[~items["model"].isin(shared) & items["old"].notna()]
    rates = rows.groupby("model", observed=True)["old"].agg(["mean", "size"])
    return pd.DataFrame(
        {"model": rates.index, "win_rate_old": rates["mean"].to_numpy(), "_size": rates["size"].to_numpy()}
    )


def _predicted(models, alone, confidence_level):
    """Add what the line through the other models predicts, and return intercept and slope of all."""
    size = models["n"].to_numpy()
    x, y = (_logit(models[f"win_rate_{side}"].to_numpy(), size) for side in ("old", "new"))
    predicted = np.full((len(models), 3), np.nan)
    enough = len(models) > MODELS_FOR_A_LINE and np.ptp(x) > 0
    for k in range(len(models)) if enough else ():
        predicted[k] = _line_at(np.delete(x, k), np.delete(y, k), x[k], confidence_level)
    notes: list[Any] = ["" if enough else NO_LINE] * len(models)
    models = models.assign(**dict(zip(PREDICTED, predicted.T, strict=True)))
    line = (
        np.polyfit(x, y, 1)[::-1] if len(models) >= MODELS_FOR_A_LINE and np.ptp(x) > 0 else (np.nan, np.nan)
    )
    if len(alone):
        at = _logit(alone["win_rate_old"].to_numpy(), alone["_size"].to_numpy())
        known = not np.isnan(line[0])
        rows = [_line_at(x, y, v, confidence_level) if known else [np.nan] * 3 for v in at]
        alone = alone.drop(columns="_size").assign(**dict(zip(PREDICTED, np.array(rows).T, strict=True)), n=0)
        models = pd.concat([models, alone], ignore_index=True)
        notes += [[NOT_SHARED, "" if known else NO_LINE]] * len(alone)
    for side in ("old", "new"):
        ranks = pd.Series(-ties.tied(models[f"win_rate_{side}"].where(models["n"] > 0))).rank(method="min")
        models.insert(models.columns.get_loc("n"), f"rank_{side}", ranks.astype("Int64"))
    order = best_first(models.assign(_row=range(len(models))), "win_rate_old", ["model"])["_row"]
    finished = finish(
        models.iloc[order.to_numpy()],
        estimate="difference",
        method="win rates by two judges of the same pairs",
        interval="t",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=["win_rate_old", "win_rate_new", *PREDICTED],
        differences=["difference"],
        notes=[notes[k] for k in order],
    )
    return finished, (float(line[0]), float(line[1]))


def _logit(rates, sizes):
    """Return empirical logits, which are finite at 0 and 1."""
    return special.logit((rates * sizes + 0.5) / (sizes + 1))


def _line_at(x, y, at, confidence_level):
    """Return what the least-squares line predicts at a point, and the bounds of its prediction interval."""
    slope, intercept = np.polyfit(x, y, 1)
    left, df = y - intercept - slope * x, len(x) - 2
    spread = np.sqrt(
        (left @ left) / df * (1 + 1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    )
    half = stats.t.ppf((1 + confidence_level) / 2, df) * spread
    return special.expit(intercept + slope * at + half * np.array([0.0, -1.0, 1.0]))


def _orders(items, confidence_level, n_resamples, rng):
    """Return what each judge says of every two models, and whether both say the same."""
    sides = {}
    for side in ("old", "new"):
        rows = items.assign(outcome=items[side], annotator=side)
        if (rows["model"] != rows["model"].iloc[0]).any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndefinedWarning)  # such pairs are not shown: see below
                sides[side] = pairwise_differences(
                    rows, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng
                )
    columns = ["model_a", "model_b", "difference_old", "difference_new", "pvalue_old", "pvalue_new"]
    if not sides:
        return pd.DataFrame(columns=[*columns, "survives", "shown"])
    kept = ["model_a", "model_b", "difference", "pvalue_holm", "ordered"]
    names = {"difference": "difference", "pvalue_holm": "pvalue", "ordered": "ordered"}
    old, new = (
        sides[side][kept].rename(columns={c: f"{name}_{side}" for c, name in names.items()})
        for side in ("old", "new")
    )
    turned = new.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    turned = turned.assign(difference_new=-turned["difference_new"])
    both = old.merge(pd.concat([new, turned]), on=["model_a", "model_b"], how="left")
    gaps = [np.sign(ties.difference(both[f"difference_{side}"], 0)) for side in ("old", "new")]
    same, shown = (
        gaps[0] == gaps[1],
        [both[f"ordered_{side}"].to_numpy(dtype=bool) for side in ("old", "new")],
    )
    kinds = [
        shown[0] & shown[1] & same,
        shown[0] & shown[1] & ~same,
        shown[0] & ~shown[1],
        ~shown[0] & shown[1],
    ]
    both = both.assign(survives=same, shown=np.select(kinds, ORDERS[:4], ORDERS[4]))
    return finish(
        both[[*columns, "survives", "shown"]],
        estimate=None,
        method="step-down tests of all pairs of models, by each judge",
        unit="instruction",
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        differences=["difference_old", "difference_new"],
    )
