"""How many instructions a comparison needs, and what difference a number of instructions can show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, warn
from alpaca_analysis.inference import ratios
from alpaca_analysis.inference.results import Note, Reason, finish, unit_of
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import select_models
from alpaca_analysis.win_rates.estimates import win_rate
from alpaca_analysis.win_rates.joint import joint_win_rates
from alpaca_analysis.win_rates.ranks import best_order, simultaneous_critical_value
from alpaca_analysis.win_rates.two_models import compare, pair_of


def outcome_sd(win_rate: float, *, draw_rate: float = 0.0) -> float:
    """Return the standard deviation of one outcome in {0, 0.5, 1}: sqrt(m - d / 4 - m^2).

    Parameters
    ----------
    win_rate : float
        m, draws counted half, in [0, 1].
    draw_rate : float
        d, the share of draws; at most 2 min(m, 1 - m).

    Returns
    -------
    float

    Examples
    --------
    >>> outcome_sd(0.5), outcome_sd(0.5, draw_rate=1)
    (0.5, 0.0)
    """
    options.fraction("win_rate", win_rate)
    most = 2 * min(win_rate, 1 - win_rate)
    if isinstance(draw_rate, bool) or not ties.equal(draw_rate, most):
        options.number("draw_rate", draw_rate, 0, most)
    return math.sqrt(max(win_rate - draw_rate / 4 - win_rate**2, 0.0))


def minimum_detectable_difference(
    n: int,
    *,
    win_rate: float = 0.5,
    draw_rate: float = 0.0,
    standard_deviation: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """Compute the smallest difference that a two-sided test of n units finds with the given power.

    It is (z_{1 - alpha / 2} + z_power) * sd / sqrt(n), normal approximation.

    Parameters
    ----------
    n : int
        Instructions.
    win_rate, draw_rate : float
        What the standard deviation of one outcome follows from; `outcome_sd`.
    standard_deviation : float, optional
        Standard deviation per instruction, in place of the two above: for a paired comparison that of
        the difference of the two outcomes, as `plan_comparison` reports it.
    power : float
        Probability in (0, 1) of finding it.
    alpha : float
        Level in (0, 1) of the two-sided test.

    Returns
    -------
    float
        A fraction.

    Examples
    --------
    >>> round(100 * minimum_detectable_difference(805), 3)
    4.937
    """
    if n < 1:
        raise ValueError(f"n: found {n!r}, expected at least 1")
    sd = _sd(win_rate, draw_rate, standard_deviation)
    return _z(power, alpha) * sd / math.sqrt(n)


def instructions_needed(
    difference: float,
    *,
    win_rate: float = 0.5,
    draw_rate: float = 0.0,
    standard_deviation: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Compute how many instructions show a difference with the given power: ((z + z) sd / difference)^2.

    Parameters
    ----------
    difference : float
        A fraction other than 0.
    win_rate, draw_rate : float
        What the standard deviation of one outcome follows from; `outcome_sd`.
    standard_deviation : float, optional
        Standard deviation per instruction, in place of the two above: for a paired comparison that
        of the difference of the two outcomes, as `plan_comparison` reports it.
    power : float
        Probability in (0, 1) of finding it.
    alpha : float
        Level in (0, 1) of the two-sided test.

    Returns
    -------
    int
        Rounded up.

    Examples
    --------
    >>> instructions_needed(0.05)
    785
    """
    options.number("difference", difference, -1, 1)
    if not abs(difference) > 0:
        raise ValueError(f"difference: found {difference!r}, expected a number other than 0")
    sd = _sd(win_rate, draw_rate, standard_deviation)
    return max(1, math.ceil((_z(power, alpha) * sd / difference) ** 2))


def _sd(win_rate, draw_rate, standard_deviation):
    if standard_deviation is None:
        return outcome_sd(win_rate, draw_rate=draw_rate)
    return options.fraction("standard_deviation", standard_deviation)


def _z(power, alpha):
    options.level("power", power)
    options.level("alpha", alpha)
    return float(special.ndtri(1 - alpha / 2) + special.ndtri(power))


def plan_comparison(
    table: pd.DataFrame,
    a: str,
    b: str | None = None,
    *,
    difference: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Plan a comparison of two models, or of one with its reference, from what was observed.

    The standard deviation per instruction comes from the observed outcomes: with shared instructions
    from their differences, so that draws and agreement between the two models count; without, from
    both models' own spread, as for two independent samples of n instructions each.

    Parameters
    ----------
    table : DataFrame
        Judgements of both models against one reference by one annotator.
    a, b : str
        Names in the ``model`` column; without `b`, the win rate of `a` is compared with one half.
    difference : float, optional
        The difference that one hopes to see, a fraction; by default the observed one.
    power : float
        Probability in (0, 1) of finding it.
    alpha : float
        Level in (0, 1) of the two-sided test.

    Returns
    -------
    DataFrame
        One row: ``model_a``, ``model_b``, ``difference``, ``standard_deviation`` (per instruction),
        ``discordance`` (share of shared instructions with different outcomes; NaN if unpaired), ``n``
        (instructions now, the smaller number if unpaired), ``minimum_detectable_difference`` at that
        n, ``n_needed`` for the difference (inf where it is 0), ``paired``, ``note``. Without `b`,
        ``model_b`` is the reference.

    Raises
    ------
    AnnotationError
        No usable judgement of one of the two, or several references or annotators.

    Notes
    -----
    The observed difference stands in for the true one. A gap that was small by chance asks for
    too many instructions, one that was selected because it was large for too few.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["xwinlm-70b-v0.1", "gpt4"], "n_wins": [765, 761],
    ...                      "n_losses": [35, 32], "n_draws": [1, 12]})
    >>> plan_comparison(table, "xwinlm-70b-v0.1", "gpt4").loc[0, "n_needed"].item()
    78625.0
    """
    z = _z(power, alpha)
    if difference is not None:
        options.number("difference", difference, -1, 1, hint=_meant(difference))
    if b is None:
        return _against_half(table, a, difference, z, {"power": power, "alpha": alpha})
    observed = compare(table, a, b, method="t").iloc[0]
    pair = pair_of(table, a, b)
    units, used = pair.units, pair.units.m > 0
    if pair.paired:
        means = units.y / units.m
        discordance = float(np.average(~ties.equal(means[:, 0], means[:, 1]), weights=units.counts))
        n, sd = pair.n, observed["standard_error"] * math.sqrt(pair.n)
    else:
        sizes = units.counts @ used
        discordance, n = np.nan, int(sizes.min())
        sd = math.sqrt(sizes @ ratios.standard_error(units) ** 2)
    row = {
        "model_a": a,
        "model_b": b,
        "difference": float(observed["difference"]) if difference is None else difference,
        "standard_deviation": sd,
        "discordance": discordance,
        "n": n,
        "minimum_detectable_difference": z * observed["standard_error"],
        "paired": bool(observed["paired"]),
    }
    settings = {"power": power, "alpha": alpha}
    return _planned(row, z, unit=pair.unit, notes=[pair.notes], settings=settings)


def _meant(difference):
    percent = isinstance(difference, int | float) and 1 < abs(difference) <= 100
    return f"; did you mean {difference / 100:g}?" if percent else ""


def _against_half(table, a, difference, z, settings):
    """Return the plan of one model against its reference, whose win rate is one half by definition."""
    table = check(table)
    select_models(table, [a])
    rows = table[(table["model"] == a) & table["outcome"].notna()]
    found = win_rate(rows, method="t").iloc[0]
    unit = unit_of(rows["instruction_id"].notna().any())
    n = int(rows["instruction_id"].nunique() if unit == "instruction" else rows["n"].sum())
    row = {
        "model_a": a,
        "model_b": rows["reference"].iloc[0],
        "difference": float(found["win_rate"]) - 0.5 if difference is None else difference,
        "standard_deviation": found["standard_error"] * math.sqrt(n),
        "discordance": np.nan,
        "n": n,
        "minimum_detectable_difference": z * found["standard_error"],
        "paired": True,
    }
    return _planned(row, z, unit=unit, notes=None, settings=settings)


def _planned(row, z, *, unit, notes, settings):
    """Return the plan with the number of units that the difference needs."""
    difference, sd = row["difference"], row["standard_deviation"]
    needed = float(math.ceil((z * sd / difference) ** 2)) if difference else math.inf
    frame = pd.DataFrame([row])
    frame.insert(frame.columns.get_loc("paired"), "n_needed", needed)
    return finish(
        frame,
        estimate=None,
        method="normal approximation",
        unit=unit,
        differences=["difference", "minimum_detectable_difference"],
        fractions=["discordance"],
        notes=notes,
        settings=settings,
    )


@dataclass(frozen=True)
class OrderPlan:
    """How many instructions it would take to show the whole observed order.

    Attributes
    ----------
    n_needed : float
        Instructions at which all neighbouring pairs are shown to differ, all at once, with
        probability `power`; inf where two models are tied, NaN where one has too few judgements.
    n : int
        Instructions now.
    n_neighbours_ordered : int
        Neighbouring pairs that are shown to differ now, by the same single-step test.
    critical_value : float
        Of the largest absolute t over all pairs.
    power, confidence_level : float
        What the plan is for.
    pairs : DataFrame
        One row per neighbouring pair, best first: ``model_a``, ``model_b``, ``difference``,
        ``standard_error``, ``n_needed`` (this pair alone with the simultaneous critical value),
        ``n_needed_alone`` (were it the only comparison ever made), ``note``.
    settings : dict
        Method, unit, level, resamples, seed; also the ``.attrs`` of the pairs.
    """

    n_needed: float
    n: int
    n_neighbours_ordered: int
    critical_value: float
    power: float
    confidence_level: float
    pairs: pd.DataFrame
    settings: dict = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return the neighbouring pairs."""
        return self.pairs.copy()

    def __str__(self):
        needed = "no number of" if math.isinf(self.n_needed) else f"{self.n_needed:,.0f}"
        return (
            f"{needed} instructions for the whole order of {len(self.pairs) + 1} models "
            f"({self.n:,} now, {self.n_neighbours_ordered} of {len(self.pairs)} neighbours ordered); "
            f"power {self.power:g}, level {self.confidence_level:g} for all pairs at once"
        )


def plan_order(
    table: pd.DataFrame,
    *,
    power: float = 0.8,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> OrderPlan:
    """Plan how many instructions would show the observed order of all models.

    With f times the instructions the t of a neighbouring pair is about sqrt(f) difference / se + Z,
    where the Z of all pairs are jointly what the bootstrap draws. The whole order is shown when each
    exceeds the critical value c of the largest absolute t over all pairs; so f is the `power` quantile of
    max over pairs of ((c - Z) se / difference)^2.

    Parameters
    ----------
    table : DataFrame
        Judgements of two or more models against one reference by one annotator.
    power : float
        Probability in (0, 1) that the whole order is shown.
    confidence_level : float
        Coverage in (0, 1) of all pairs at once.
    n_resamples : int
        Bootstrap resamples.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    OrderPlan
        Prints as a sentence; ``.to_frame()`` gives the neighbouring pairs.

    Warns
    -----
    UndefinedWarning
        Where a model has too few judgements to be tested; the plan is then NaN.

    Notes
    -----
    The observed gaps stand in for the true ones, and the smallest gaps of a long list are small by
    luck as much as by truth: read the number as an order of magnitude.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b", "c"], "n_wins": [90, 52, 50],
    ...                      "n_losses": [10, 48, 50], "n_draws": [0, 0, 0]})
    >>> plan = plan_order(table)
    >>> plan.n, plan.n_neighbours_ordered, plan.n_needed > 10_000
    (100, 1, True)
    """
    options.check_options(confidence_level, n_resamples)
    z_power = float(special.ndtri(options.level("power", power)))
    joint = joint_win_rates(table, n_resamples=n_resamples, rng=rng)
    if len(joint.models) < 2:
        raise AnnotationError("at least two models", column="model", found=joint.models)
    critical = simultaneous_critical_value(joint, confidence_level=confidence_level)
    order = best_order(joint)
    first, second = order[:-1], order[1:]
    difference, error = joint.difference[first, second], joint.difference_error[first, second]
    needed = _factor(difference, error, critical + z_power)
    alone = _factor(difference, error, _z(power, 1 - confidence_level))
    n = int(joint.n.max())
    # NaN, where a difference is undefined, counts for more than inf, a tie
    factor = needed.max()
    if np.isfinite(needed).all():
        factor = _whole_order(joint, zip(first, second, strict=True), critical, power)
    names = np.array(joint.models, dtype=object)
    frame = pd.DataFrame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "difference": difference,
            "standard_error": error,
            "n_needed": np.ceil(n * needed),
            "n_needed_alone": np.ceil(n * alone),
        }
    )
    frame = finish(
        frame,
        estimate="difference",
        method="single-step max-t on the joint bootstrap",
        unit=unit_of(bool(joint.shared.any())),
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        differences=["difference"],
        notes=[_note(joint, j, k, f) for j, k, f in zip(first, second, needed, strict=True)],
        settings={"power": power},
    )
    if np.isnan(factor):
        unknown = frame[frame["n_needed"].isna()].iloc[0]
        warn(f"{unknown['model_a']} and {unknown['model_b']}: {unknown['note']}", UndefinedWarning)
    return OrderPlan(
        n_needed=float(np.ceil(n * factor)),
        n=n,
        n_neighbours_ordered=int((difference > critical * error).sum()),
        critical_value=critical,
        power=power,
        confidence_level=confidence_level,
        pairs=frame,
        settings=frame.attrs,
    )


def _note(joint, j, k, factor) -> Note:
    if np.isnan(factor):
        reasons = (f"{joint.models[i]}: {joint.untested[i]}" for i in (j, k) if joint.untested[i])
        return Reason("too_few_units", "undefined: " + "; ".join(reasons))
    return Reason("tied", "tied: no number of instructions shows an order") if np.isinf(factor) else ""


def _factor(difference, error, z):
    """Return how many times the present data make difference / error reach z."""
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where((difference > 0) & (error > 0), (z * error / difference) ** 2, np.inf)
        return np.where(np.isnan(error), np.nan, factor)


def _whole_order(joint, pairs, critical, power):
    largest = np.zeros(joint.resamples.shape[1])
    for j, k in pairs:
        difference, error = joint.difference[j, k], joint.difference_error[j, k]
        z = (joint.resamples[j] - joint.resamples[k] - difference) / error
        np.maximum(largest, (critical - z) * error / difference, out=largest)
    return float(np.quantile(largest, power, method="higher")) ** 2
