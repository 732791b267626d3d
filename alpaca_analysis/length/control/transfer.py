"""Length control where only totals are published: carry other models' response to length over."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import Reason, best_first, finish, has_reason
from alpaca_analysis.length.control.difficulty import difficulty_of
from alpaca_analysis.length.control.fitting import fit_length_control
from alpaca_analysis.length.scales import length_feature
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import select_models
from alpaca_analysis.win_rates.estimates import win_rate

OUTSIDE = Reason("extrapolated", "longer or shorter than any donor: extrapolated")


def transfer_length_control(
    table: pd.DataFrame,
    counts: pd.DataFrame,
    lengths: pd.DataFrame,
    *,
    difficulty="published",
    baselines: options.Baselines | None = "auto",
    n_donors: int = 12,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Estimate length-controlled win rates of models whose win rate and lengths are known, but no judgement.

    Each donor, a model with judgements, lends its response to length and difficulty (phi, psi). The
    model's own constant theta then solves mean_i sigmoid(theta + phi x_i + psi d_i) = its win rate over
    its own length features x_i, and mean_i sigmoid(theta + psi d_i) is what its LC win rate would be
    with that response. The estimate is the mean over donors on the logit scale. Donors are the models
    nearest in win rate (logit) and mean length feature, both scaled to sd 1.

    Parameters
    ----------
    table : DataFrame
        Judgements (or cells) of the donors.
    counts : DataFrame
        Judgements without instructions of the models wanted, as from `from_counts`.
    lengths : DataFrame
        Rows of the models wanted: ``model`` and ``length_feature``, or ``length_model`` and
        ``length_reference``; ``difficulty`` or ``instruction_id``; optional ``n``. Outcomes are ignored.
    difficulty : "published", None or Series
        AlpacaEval's difficulties as rebuilt for its 805 instructions, none, or one's own by instruction id.
    baselines : {"auto", "published", None}
        Whether AlpacaEval's two gamed baselines take part in each fit. "auto": with difficulty "published"
        only.
    n_donors : int
        How many donors, at least 3.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``model``, ``win_rate``, ``lc_win_rate``, ``standard_error``, ``ci_low``, ``ci_high``, ``phi`` (mean
        over donors), ``phi_low``, ``phi_high`` (donors' range), ``lc_low``, ``lc_high`` (range over donors),
        ``mean_length_feature``, ``donors``, ``note``; fractions, best first. ``.attrs`` holds the error
        found by `validate_transfer` on the same donors.

    Notes
    -----
    The interval is a prediction interval on the logit scale, by Student's t over donors: the spread of
    donors (their own estimation error is part of it), the choice of donors (that spread / n_donors) and
    the sampling error of the win rate. It assumes that the model responds to length as one drawn from
    these donors would.

    Raises
    ------
    AnnotationError
        A model without lengths, too few donors, or a win rate of 0 or 1.

    Examples
    --------
    >>> from alpaca_analysis import from_counts, load
    >>> cells = load("alpaca_eval_v1_cells")
    >>> wanted = cells[cells["model"] == "gpt4"]  # as if only its totals were known
    >>> counts = from_counts({"model": ["gpt4"], "n_wins": [761], "n_losses": [32], "n_draws": [12]})
    >>> result = transfer_length_control(cells[cells["model"] != "gpt4"], counts, wanted)
    >>> result[["win_rate", "lc_win_rate"]].round(2).values.tolist()
    [[0.95, 0.87]]
    """
    options.level("confidence_level", confidence_level)
    options.whole("n_donors", n_donors)
    donors, features = _donors(table, difficulty, baselines)
    wanted = _features(lengths, difficulty)
    totals = win_rate(counts, method="t").set_index("model")
    select_models(pd.DataFrame({"model": list(wanted)}), list(totals.index), source="lengths")
    records = [
        _transfer(name, row, wanted[name], donors, n_donors, confidence_level)
        for name, row in totals.iterrows()
    ]
    return finish(
        best_first(pd.DataFrame(records), "lc_win_rate", ["model"]),
        estimate="lc_win_rate",
        fractions=["win_rate", "lc_win_rate", "lc_low", "lc_high"],
        higher_is_better=["win_rate", "lc_win_rate"],
        method=f"length response of the {n_donors} nearest of {len(donors)} donors",
        interval="prediction, t on the logit scale",
        unit="donor",
        confidence_level=confidence_level,
        settings=_summary(_validated(donors, features, n_donors, confidence_level)),
    )


def validate_transfer(
    table: pd.DataFrame,
    *,
    difficulty="published",
    baselines: options.Baselines | None = "auto",
    n_donors: int = 12,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Transfer to each model whose judgements are known as if only its totals were, and report the error.

    Parameters
    ----------
    table : DataFrame
        Judgements (or cells) of the donors; every model is in turn left out of them.
    difficulty : "published", None or Series
        AlpacaEval's difficulties as rebuilt for its 805 instructions, none, or one's own by instruction id.
    baselines : {"auto", "published", None}
        Whether AlpacaEval's two gamed baselines take part in each fit. "auto": with difficulty "published"
        only.
    n_donors : int
        How many donors, at least 3.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``model``, ``win_rate``, ``fitted`` (LC win rate from its own judgements), ``lc_win_rate``
        (transferred), ``error`` (transferred - fitted), ``standard_error``, ``ci_low``, ``ci_high``,
        ``covered`` (the interval holds the fitted value). ``.attrs`` sums it up.

    Examples
    --------
    >>> from alpaca_analysis import load
    >>> found = validate_transfer(load("alpaca_eval_v1_cells"))
    >>> found.attrs["loo_mean_absolute_error"] < 0.04
    True
    """
    options.level("confidence_level", confidence_level)
    options.whole("n_donors", n_donors)
    donors, features = _donors(table, difficulty, baselines)
    return _validated(donors, features, n_donors, confidence_level)


def _donors(table, difficulty, baselines):
    """Return the fitted donors, apart from the reference itself, and each one's (x, d, n)."""
    if difficulty is not None and not isinstance(difficulty, pd.Series):
        options.one_of("difficulty", difficulty, ("published", None))
    fitted = fit_length_control(table, difficulty=difficulty, baselines=baselines).to_frame()
    fitted = fitted[(fitted["standard_error"] > 0) & ~has_reason(fitted, "separated")]
    # the same judgements under two names are one donor
    fitted = fitted.set_index("model").sort_index().drop_duplicates(["phi", "psi", "theta"])
    features = _features(table, difficulty)
    raw = win_rate(table, method="t").set_index("model")["standard_error"]
    return fitted.assign(
        raw_error=raw.reindex(fitted.index),
        mean_feature=[np.average(features[m][0], weights=features[m][2]) for m in fitted.index],
    ), features


def _features(lengths, difficulty):
    """Return length feature, difficulty and frequency of each model's rows."""
    table = lengths.assign(outcome=0.5)
    if "instruction_id" not in table:  # rows of the same cell and different outcome are no duplicates
        table = table.reset_index(drop=True)
    table = check(table, source="lengths")
    x = length_feature(table).to_numpy()
    if np.isnan(x).all():
        raise AnnotationError("lengths of both outputs, or 'length_feature'", source="lengths")
    d = np.zeros(len(table)) if difficulty is None else difficulty_of(table, difficulty)
    known = ~np.isnan(x)
    n = table["n"].to_numpy(float)
    return {
        str(model): (x[k][known[k]], d[k][known[k]], n[k][known[k]])
        for model, k in table.groupby("model", observed=True).indices.items()
    }


def _nearest(rate, feature, donors, n_donors):
    if not 3 <= n_donors <= len(donors):
        raise AnnotationError(f"between 3 and {len(donors)} donors", column="n_donors", found=n_donors)
    ability, mean = logit(donors["win_rate"]), donors["mean_feature"]
    distance = ((ability - logit(rate)) / ability.std()) ** 2 + ((mean - feature) / mean.std()) ** 2
    return donors.loc[distance.sort_values(kind="stable").index[:n_donors]]


def carried_over(rate, features, phi, psi) -> tuple[np.ndarray, np.ndarray]:
    """Return the LC win rate under each donor's response, and its derivative by the win rate.

    Parameters
    ----------
    rate : float
        The model's raw win rate in (0, 1).
    features : tuple of ndarray
        Length feature, difficulty and frequency of its rows.
    phi, psi : ndarray of shape (n_donors,)
        The donors' response.

    Returns
    -------
    lc, slope : ndarray of shape (n_donors,)
    """
    x, d, n = features
    weight = n / n.sum()
    known = phi[:, None] * x + psi[:, None] * d
    theta = logit(rate) - known @ weight
    for _ in range(100):
        p = expit(theta[:, None] + known)
        step = (rate - p @ weight) / ((p * (1 - p)) @ weight)
        theta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-12:
            break
    level = expit(theta[:, None] + psi[:, None] * d)
    return level @ weight, ((level * (1 - level)) @ weight) / ((p * (1 - p)) @ weight)


def _transfer(name, total, features, donors, n_donors, confidence_level):
    rate, rate_error = float(total["win_rate"]), float(total["standard_error"])
    if not 0 < rate < 1:
        raise AnnotationError(f"a win rate within (0, 1) of {name!r}", column="outcome", found=rate)
    x, _, n = features
    mean_feature = np.average(x, weights=n)
    chosen = _nearest(rate, mean_feature, donors, n_donors)
    lc, slope = carried_over(rate, features, chosen["phi"].to_numpy(), chosen["psi"].to_numpy())
    each = logit(lc)
    centre = each.mean()
    sampling = (rate_error * slope / (lc * (1 - lc))).mean()
    spread = np.sqrt(each.var(ddof=1) * (1 + 1 / n_donors) + sampling**2)
    half = stats.t.ppf((1 + confidence_level) / 2, n_donors - 1) * spread
    value = expit(centre)
    outside = mean_feature < donors["mean_feature"].min() or mean_feature > donors["mean_feature"].max()
    return {
        "model": name,
        "win_rate": rate,
        "lc_win_rate": value,
        "standard_error": spread * value * (1 - value),
        "ci_low": expit(centre - half),
        "ci_high": expit(centre + half),
        "phi": chosen["phi"].mean(),
        "phi_low": chosen["phi"].min(),
        "phi_high": chosen["phi"].max(),
        "lc_low": lc.min(),
        "lc_high": lc.max(),
        "mean_length_feature": mean_feature,
        "donors": ", ".join(chosen.index),
        "note": OUTSIDE if outside else "",
    }


def _validated(donors, features, n_donors, confidence_level):
    records = []
    for name, row in donors.iterrows():
        total = {"win_rate": row["win_rate"], "standard_error": row["raw_error"]}
        rest = donors.drop(index=name)
        found = _transfer(name, total, features[name], rest, n_donors, confidence_level)
        records.append(
            {
                "model": name,
                "win_rate": row["win_rate"],
                "fitted": row["lc_win_rate"],
                "lc_win_rate": found["lc_win_rate"],
                "error": found["lc_win_rate"] - row["lc_win_rate"],
                "standard_error": found["standard_error"],
                "ci_low": found["ci_low"],
                "ci_high": found["ci_high"],
                "covered": found["ci_low"] <= row["lc_win_rate"] <= found["ci_high"],
            }
        )
    result = pd.DataFrame(records)
    return finish(
        result,
        estimate="lc_win_rate",
        fractions=["win_rate", "fitted", "lc_win_rate"],
        differences=["error"],
        method="each donor in turn as if only its totals were known",
        interval="prediction, t on the logit scale",
        unit="donor",
        confidence_level=confidence_level,
        settings=_summary(result),
    )


def _summary(validated):
    """Return what leaving out each donor in turn found, for ``.attrs``."""
    error = validated["error"]
    return {
        "loo_models": len(validated),
        "loo_mean_absolute_error": float(error.abs().mean()),
        "loo_root_mean_square_error": float(np.sqrt((error**2).mean())),
        "loo_largest_error": float(error.abs().max()),
        "loo_coverage": float(validated["covered"].mean()),
    }
