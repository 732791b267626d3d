"""Models compared and ranked as people would have it, from a judge's verdicts and a few human ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import coverage_notes
from alpaca_analysis.inference.results import Note, Reason, finish
from alpaca_analysis.people.calibration import few
from alpaca_analysis.people.pilots import Pilot, best_weight, pilots
from alpaca_analysis.table.groups import select_models
from alpaca_analysis.win_rates.joint import JointEstimates, difference_error
from alpaca_analysis.win_rates.ranks import joint_rank_sets
from alpaca_analysis.win_rates.two_models import holm, verdict_of

MANY = 300  # degrees of freedom from which t is taken for normal
_DIFFERENCES = ("difference", "judge_difference", "human_difference", "human_standard_error")
TOO_FEW = "fewer than two instructions with labels, or one without"


@dataclass(frozen=True)
class Calibrated:
    """Pilots of several models, and how their means vary together.

    Attributes
    ----------
    models : list of str
        Names, in order.
    pilots : list of Pilot
        Of each model.
    deviations : ndarray of shape (n_units, n_models, 2)
        What `Pilot.deviations` has, on instructions that are the same for all models.
    """

    models: list[str]
    pilots: list[Pilot]
    deviations: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Return people's mean and the judge's gap, of shape (n_models, 2)."""
        return np.array([pilot.means for pilot in self.pilots])

    @property
    def effective_units(self) -> np.ndarray:
        """Return how many equal instructions those with labels are worth, by model."""
        return np.array([pilot.effective_units for pilot in self.pilots])

    def shared(self, labelled: bool) -> np.ndarray:
        """Return how many instructions each two models share: all of them, or those with labels of both."""
        units = [_instructions(pilot, labelled) for pilot in self.pilots]
        return np.array([[len(a & b) for b in units] for a in units], dtype=float)


def _instructions(pilot: Pilot, labelled: bool = True) -> set[str]:
    """Return the instructions of a model, or those with labels; none where pairs have no ids."""
    if pilot.ids is None:
        return set()
    return set(pilot.ids[pilot.labelled] if labelled else pilot.ids)


def together(models: Sequence[str], found: Sequence[Pilot]) -> Calibrated:
    """Return the pilots of several models on instructions that they share; apart where there are no ids."""
    each = [pilot.deviations * np.sqrt(pilot.units.counts)[:, None] for pilot in found]
    known = [pilot.ids for pilot in found if pilot.ids is not None]
    if len(known) == len(found):
        ids = np.unique(np.concatenate(known))
        places, size = [np.searchsorted(ids, own) for own in known], len(ids)
    else:
        ends = np.cumsum([len(deviation) for deviation in each])
        places, size = np.split(np.arange(ends[-1]), ends[:-1]), int(ends[-1])
    out = np.zeros((size, len(found), 2))
    for k, (place, deviation) in enumerate(zip(places, each, strict=True)):
        out[place, k] = deviation
    return Calibrated(list(models), list(found), out)


def _calibrated(table, humans, on) -> tuple[dict, Calibrated]:
    said, found = pilots(table, humans, ["model"], on)
    for (model,), pilot in found:
        if not pilot.n_labelled:
            expected = "a judged pair with a label of each model"
            raise AnnotationError(expected, source="humans", column="model", found=f"none of {model!r}")
    return said, together([str(model) for (model,), _ in found], [pilot for _, pilot in found])


def compare_calibrated(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    a: str | None = None,
    b: str | None = None,
    *,
    margin: float | None = None,
    weight: float | None = None,
    confidence_level: float = 0.95,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Compare models as people would, from a judge's verdicts on all pairs and people's on some.

    With f the judge's outcome and y the people's mean outcome, the difference of models a and b is

        lambda mean_unlabelled(f_a - f_b) + mean_labelled[(y_a - y_b) - lambda (f_a - f_b)],

    each model's means over its own pairs, with the lambda in [0, 1] of least variance. As
    `calibrated_win_rate` it is right on average whatever the judge is worth, also where the judge favours
    one of the two.

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs, against one reference.
    humans : DataFrame
        Judgements by one or more people of some of the pairs, of each model; paired where both models are
        labelled on the same instructions. A column ``probability`` is that of each pair to be drawn.
    a, b : str, optional
        Names in the ``model`` column. With `b` alone, every other model is compared with it (the baseline);
        with `a` alone, it with every other; without both, every pair, the better model first.
    margin : float, optional
        Difference, a fraction, that would not matter; verdicts may then be "equivalent" or "not worse".
    weight : float, optional
        A lambda in [0, 1] chosen beforehand; by default the one of least variance, for each difference.
    confidence_level : float
        Coverage in (0, 1), of all intervals at once.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        One row per comparison: ``model_a``, ``model_b``, ``difference`` (a fraction), ``standard_error``
        (jackknife over instructions, CR3), ``ci_low``, ``ci_high`` (Student's t, with one degree of freedom
        less than the instructions with labels are worth in equal ones), ``pvalue`` (of several,
        ``pvalue_adjusted`` by Holm beside it, and intervals at Bonferroni's level), ``verdict`` (as
        `compare` has it), ``weight`` (lambda), ``judge_difference`` (over all pairs), ``human_difference``
        and ``human_standard_error`` (labelled pairs alone), ``n_labelled`` (instructions with labels of
        either), ``n_shared`` (of both), ``reason`` and ``note``. With a margin also ``equivalence_low``,
        ``equivalence_high``, ``not_worse`` and ``equivalent``.

    Raises
    ------
    AnnotationError
        An unknown model, a model without labels, several judges or references.

    Warns
    -----
    UndefinedWarning
        A difference that does not vary, or fewer than two instructions with labels.

    See Also
    --------
    calibrated_rank_sets : Which of many models are ordered, for people.
    compare : The same for the judge.

    References
    ----------
    Angelopoulos, A. N., Duchi, J. C., Zrnic, T. (2023). PPI++, arXiv:2311.01453.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ids = np.tile(np.arange(300), 2).astype(str)
    >>> models = np.repeat(["a", "b"], 300)
    >>> people = (rng.random(600) < np.where(models == "a", 0.7, 0.5)).astype(float)
    >>> judge = np.where(rng.random(600) < 0.8, people, 1 - people)
    >>> rows = pd.DataFrame({"instruction_id": ids, "model": models, "reference": "r"})
    >>> some = rows["instruction_id"].astype(int) < 100
    >>> found = compare_calibrated(rows.assign(annotator="judge", outcome=judge),
    ...                            rows.assign(annotator="p", outcome=people)[some], "a", "b")
    >>> found[["difference", "standard_error", "weight", "human_standard_error"]].round(3)
       difference  standard_error  weight  human_standard_error
    0       0.117           0.058    0.41                 0.069
    """
    options.check_options(confidence_level)
    if margin is not None:
        options.fraction("margin", margin, closed="neither")
    if weight is not None:
        options.fraction("weight", weight)
    said, joint = _calibrated(table, humans, on)
    pairs = _asked(joint, a, b, weight)
    level = 1 - (1 - confidence_level) / len(pairs)
    found = [compared(joint, j, k, margin, weight, level) for j, k in pairs]
    frame = pd.DataFrame([row for row, _ in found])
    if len(pairs) > 1:
        frame.insert(frame.columns.get_loc("pvalue") + 1, "pvalue_adjusted", holm(frame["pvalue"]))
    settings = said["settings"] | {"margin": margin, "weight": "least variance" if weight is None else weight}
    return finish(
        frame,
        estimate="difference",
        method="prediction-powered difference of win rates",
        interval="t" if len(pairs) == 1 else "t, Bonferroni's level",
        unit=said["unit"],
        confidence_level=confidence_level,
        differences=[*_DIFFERENCES, "equivalence_low", "equivalence_high"],
        notes=[note for _, note in found],
        undefined=["model_a", "model_b"],
        settings=settings,
    )


def _asked(joint, a, b, weight):
    """Return the places of the models that are compared, the better one first where nobody says."""
    select_models(pd.DataFrame({"model": joint.models}), [name for name in (a, b) if name is not None])
    place = {model: k for k, model in enumerate(joint.models)}
    if len(place) < 2:
        raise AnnotationError("two or more models", column="model", found=joint.models)
    rate = ties.tied(_estimates(joint, weight)[0])
    order = sorted(range(len(place)), key=lambda k: (-rate[k], joint.models[k]))
    if a is not None and b is not None:
        return [(place[a], place[b])]
    if b is not None:
        return [(k, place[b]) for k in order if k != place[b]]
    if a is not None:
        return [(place[a], k) for k in order if k != place[a]]
    return list(itertools.combinations(order, 2))


def _estimates(joint: Calibrated, weight):
    """Return calibrated win rates, each as `calibrated_win_rate` has it, and their deviations."""
    rates, shares = np.empty(len(joint.models)), np.empty(joint.deviations.shape[:2])
    for k, mean in enumerate(joint.means):
        own = joint.deviations[:, k]
        best = best_weight(own.T @ own) if weight is None else weight
        best = 0.0 if np.isnan(best) else best
        rates[k] = mean[0] + best * mean[1]
        shares[:, k] = own[:, 0] + best * own[:, 1]
    return rates, shares


def compared(joint, j, k, margin, weight, level):
    """Return the row of the models at two places, as `compare_calibrated` has it, and its note."""
    deviations = joint.deviations[:, j] - joint.deviations[:, k]
    people, gap = joint.means[j] - joint.means[k]
    covariance = deviations.T @ deviations
    best = best_weight(covariance) if weight is None else weight
    shares = deviations @ [1.0, best]
    difference = float(ties.difference(people + np.nan_to_num(best) * gap, 0.0))
    error = float(ties.standard_error(np.sqrt(shares @ shares)))
    one, two = joint.pilots[j], joint.pilots[k]
    df = min(one.effective_units, two.effective_units) - 1

    def interval(at):
        half = stats.t.ppf((1 + at) / 2, df) * error if error > 0 else np.nan
        return difference - half, difference + half

    low, high = interval(level)
    row = {
        "model_a": joint.models[j],
        "model_b": joint.models[k],
        "difference": difference,
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "pvalue": 2 * stats.t.sf(abs(difference) / error, df) if error > 0 else np.nan,
    }
    if margin is not None:
        low, high = interval(1 - 2 * (1 - level))
        row |= {"equivalence_low": low, "equivalence_high": high, "not_worse": bool(low > -margin)}
        row["equivalent"] = row["not_worse"] and bool(high < margin)
    units = [_instructions(pilot) for pilot in (one, two)]
    row |= {
        "verdict": verdict_of(row),
        "weight": best,
        "judge_difference": one.judge - two.judge,
        "human_difference": float(people),
        "human_standard_error": float(ties.standard_error(np.sqrt(covariance[0, 0]))),
        "n_labelled": len(units[0] | units[1]) or one.n_units + two.n_units,
        "n_shared": len(units[0] & units[1]),
    }
    return row, _note(one, two, shares, error)


def _note(one, two, shares, error) -> Note:
    if np.isnan(error):
        return Reason("too_few_units", f"interval undefined: {TOO_FEW}")
    if error == 0:
        return Reason("no_variation", "interval undefined: no variation")
    size = min(one.n_units, two.n_units)
    if note := coverage_notes.of_shares(shares, np.ones(len(shares)), size):
        return note
    worst = min(one, two, key=lambda pilot: pilot.effective_units)
    worth, size = worst.effective_units, worst.n_units
    if worth < coverage_notes.EQUAL * size and worth < coverage_notes.FEWEST_EFFECTIVE:
        return Reason("unequal_units", coverage_notes.UNEQUAL.format(size, worth, ""))
    return ""


def calibrated_rank_sets(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compute confidence sets for the ranks that people would give, from a judge and a few human verdicts.

    `rank_sets` of a judge's table hold for the judge: with enough instructions they are narrow, and wrong for
    people wherever the judge favours a model. Here the differences are those of calibrated win rates, whose
    errors know how few labels there are.

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs of two or more models, against one reference.
    humans : DataFrame
        Judgements by one or more people of some of the pairs, of each model.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples: of the joint law of all estimates, by normal multipliers of each instruction.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        The columns of `rank_sets`, with ``win_rate`` as `calibrated_win_rate` has it, ``judge_win_rate`` and
        ``judge_rank`` beside it; best first.

    Raises
    ------
    AnnotationError
        Fewer than two models, a model without labels, several judges or references.

    Notes
    -----
    Each instruction's part in all estimates (jackknife, CR3) is multiplied by one normal number in each
    resample, so that models keep their pairing. Differences are held against Student's t with the degrees of
    freedom that the labelled instructions leave.

    See Also
    --------
    compare_calibrated : Differences of two models, with their intervals.

    References
    ----------
    Chatzi, I., Straitouri, E., Thejaswi, S., Gomez Rodriguez, M. (2024). Prediction-powered ranking of large
    language models, arXiv:2402.17826.

    Chernozhukov, V., Chetverikov, D., Kato, K. (2013). Gaussian approximations and multiplier bootstrap for
    maxima of sums of high-dimensional random vectors. Annals of Statistics 41(6), for the resamples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ids, models = np.tile(np.arange(300), 3).astype(str), np.repeat(["a", "b", "c"], 300)
    >>> rate = np.select([models == "a", models == "b"], [0.9, 0.5], 0.5)
    >>> people = (rng.random(900) < rate).astype(float)
    >>> judge = np.where(rng.random(900) < 0.8, people, 1 - people)
    >>> judge[models == "c"] = 1.0  # whom the judge favours
    >>> rows = pd.DataFrame({"instruction_id": ids, "model": models, "reference": "r"})
    >>> some = rows["instruction_id"].astype(int) < 100
    >>> found = calibrated_rank_sets(rows.assign(annotator="judge", outcome=judge),
    ...                              rows.assign(annotator="p", outcome=people)[some])
    >>> found[["model", "rank", "rank_low", "rank_high", "judge_rank"]]
      model  rank  rank_low  rank_high  judge_rank
    0     a     1         1          1           2
    1     c     2         2          3           1
    2     b     3         2          3           3
    """
    options.check_options(confidence_level, n_resamples)
    said, joint = _calibrated(table, humans, on)
    estimates = joint_estimates(joint, n_resamples=n_resamples, rng=rng)
    out, critical = joint_rank_sets(estimates, confidence_level=confidence_level)
    counts = {name: out.attrs[name] for name in ("n_tiers", "n_pairs_ordered", "n_pairs")}
    judge = pd.Series([pilot.judge for pilot in joint.pilots], joint.models)
    notes = {
        model: few(pilot, best_weight(pilot.covariance()))
        for k, (model, pilot) in enumerate(zip(joint.models, joint.pilots, strict=True))
        if not estimates.untested[k]
    }
    out["note"] = [
        (note, notes.get(model, "")) for model, note in zip(out["model"], out["note"], strict=True)
    ]
    out = out.rename(columns={"estimate": "win_rate"})
    out.insert(out.columns.get_loc("note"), "judge_win_rate", judge.reindex(out["model"]).to_numpy())
    rank = pd.Series(ties.tied(judge.to_numpy()), judge.index).rank(method="min", ascending=False)
    out.insert(out.columns.get_loc("note"), "judge_rank", rank[out["model"]].to_numpy().astype(np.int64))
    return finish(
        out,
        estimate=None,
        method="max-t step-down on the joint law of prediction-powered win rates",
        interval="max-t",
        unit=said["unit"],
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=rng,
        fractions=["win_rate", "judge_win_rate"],
        higher_is_better=["win_rate", "judge_win_rate"],
        settings=said["settings"] | {"critical_value": critical, **counts},
    )


def joint_estimates(joint: Calibrated, *, n_resamples: int, rng, weight=None) -> JointEstimates:
    """Return calibrated win rates with joint resamples, as `joint_rank_sets` takes them.

    Parameters
    ----------
    joint : Calibrated
        Pilots of all models.
    n_resamples : int
        Number of resamples.
    rng : int, Generator or SeedSequence
        Seed.
    weight : float, optional
        A lambda for all; by default each model has its own.
    """
    rates, shares = _estimates(joint, weight)
    lost = np.isnan(shares).any(axis=0) | ~(joint.effective_units > 1)
    shares = np.where(lost, 0.0, shares)
    generator = np.random.default_rng(rng)
    moved = np.empty((n_resamples, len(rates)))
    for start in range(0, n_resamples, 500):
        part = moved[start : start + 500]
        part[:] = generator.standard_normal((len(part), len(shares))) @ shares
    error = difference_error(shares.T @ shares)
    error[lost[:, None] | lost] = np.nan
    df = np.minimum(joint.effective_units[:, None], joint.effective_units) - 1
    own = None
    if (df[~lost][:, ~lost] < MANY).any():
        own = np.ones((len(rates), len(rates), n_resamples), dtype=np.float32)
        for j, k in itertools.combinations(np.flatnonzero(~lost), 2):
            own[j, k] = own[k, j] = np.sqrt(df[j, k] / generator.chisquare(df[j, k], n_resamples))
    return JointEstimates(
        models=joint.models,
        estimate=rates,
        resamples=rates[:, None] + moved.T,
        difference_error=error,
        df=df,
        shared=joint.shared(labelled=False),
        n=np.array([pilot.n_units for pilot in joint.pilots]),
        untested=np.where(lost, TOO_FEW, "").astype(object),
        own_scale=own,
    )
