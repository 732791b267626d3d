"""Human win rates from many judge verdicts and a few human ones: prediction-powered inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import clustered, coverage_notes, ratios
from alpaca_analysis.inference.results import Note, Reason, best_first, finish, warn_undefined
from alpaca_analysis.people.pilots import Pilot, best_weight, pilots

UNLABELLED = Reason("nothing_labelled", "undefined: no judged pair with a label")
TOO_FEW = Reason("too_few_units", "undefined: fewer than two instructions with labels")
ALL_EQUAL = Reason("all_alike", "undefined: all labels are equal")
NO_HELP = Reason("no_help", "correlation undefined: the judge says the same of every labelled pair; no help")
CONTRADICTS = Reason("no_help", "the judge contradicts people: no help")
WEIGHTED_PLAN = Reason(
    "weighted_draw", "labels were drawn with unequal probabilities: planned for more of such a draw"
)
ALL_LABELLED = Reason("all_labelled", "every judged pair has a label: the judge adds nothing")
# With fewer labels of the rarer kind the interval covered 58 to 92 % for 95 % in simulation.
FEW_LABELS = 5


def calibrated_win_rate(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    weight: float | None = None,
    confidence_level: float = 0.95,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Estimate the win rate that people would give from a judge's verdicts and a few human ones.

    With f the judge's outcome and y the people's mean outcome on a pair, a draw counting half, the
    prediction-powered estimate is

        theta = lambda mean_unlabelled(f) + mean_labelled(y - lambda f).

    It is right on average whatever the judge is worth, as long as the labelled pairs are a random part
    of all; the better the judge predicts people, the smaller its error. The lambda of least variance is
    estimated (power tuning); 0 ignores the judge, 1 trusts it fully.

    Where pairs were drawn to be labelled with unequal probabilities pi, which people's column
    ``probability`` holds (as `label` writes it), each label weighs 1 / pi (Hajek's estimator),

        theta = lambda mean_all(f) + sum_labelled((y - lambda f) / pi) / sum_labelled(1 / pi).

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs.
    humans : DataFrame
        Judgements by one or more people of some of the pairs. Pairs are matched by instruction and models,
        also where sides are flipped. A column ``probability`` is that of each pair to be drawn for labels.
    by : str or sequence of str
        Columns that make a group; one estimate each, NaN where nobody labelled any of it.
    weight : float, optional
        A lambda in [0, 1] chosen beforehand; by default the one of least variance.
    confidence_level : float
        Coverage in (0, 1).
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        `by` columns, ``win_rate``, ``standard_error`` (jackknife over instructions, CR3), ``ci_low``,
        ``ci_high`` (Student's t on the logit scale, with one degree of freedom less than the instructions
        with labels are worth in equal ones; no narrower than the exact interval of labels that are all
        alike), ``weight`` (lambda), ``judge_win_rate`` (over all pairs), ``human_win_rate`` and
        ``human_standard_error`` (labelled pairs alone), ``n_labelled``, ``n_judged`` (with or without a
        label), ``n_unjudged`` (labelled pairs that the judge did not judge, left out), ``reason`` and
        ``note`` (why an entry is NaN, or the interval approximate: people's labels are nearly all of one
        kind, or it is driven by few units, or by few large ones); best first, fractions.

    Raises
    ------
    AnnotationError
        Several judges or references in a group, no labelled pair at all, or probabilities that are none.

    Warns
    -----
    UndefinedWarning
        A group with fewer than two labelled instructions, or whose labels are all draws.

    See Also
    --------
    label_budget : How many labels are needed for which interval.
    compare_calibrated : Differences of models, for people.
    calibrated_rank_sets : Which of many models are ordered, for people.
    rogan_gladen_win_rate : The judge's errors taken out instead; wider where labels are of the same pairs.

    References
    ----------
    Angelopoulos, A. N., Bates, S., Fannjiang, C., Jordan, M. I., Zrnic, T. (2023). Prediction-powered
    inference. Science 382; Angelopoulos, A. N., Duchi, J. C., Zrnic, T. (2023). PPI++, arXiv:2311.01453,
    for the tuned lambda. Errors here are clustered, so that lambda is, too.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> people = (rng.random(400) < 0.6).astype(float)
    >>> judge = np.where(rng.random(400) < 0.8, people, 1 - people)
    >>> rows = pd.DataFrame({"instruction_id": np.arange(400).astype(str), "model": "m",
    ...                      "reference": "r"})
    >>> found = calibrated_win_rate(rows.assign(annotator="judge", outcome=judge),
    ...                             rows.assign(annotator="p", outcome=people).head(100))
    >>> found[["win_rate", "standard_error", "weight", "human_standard_error"]].round(3)
       win_rate  standard_error  weight  human_standard_error
    0     0.534           0.042   0.482                  0.05
    """
    options.check_options(confidence_level)
    by = options.groups(by, _COLUMNS)
    if weight is not None:
        options.fraction("weight", weight)
    said, found = pilots(table, humans, by, on)
    rows = [
        dict(zip(by, key, strict=True)) | calibrated(pilot, weight, confidence_level) for key, pilot in found
    ]
    said["settings"]["weight"] = "least variance" if weight is None else weight
    return finish(
        best_first(pd.DataFrame(rows), "win_rate", by),
        estimate="win_rate",
        method="prediction-powered mean",
        interval="t",
        confidence_level=confidence_level,
        fractions=["win_rate", "judge_win_rate", "human_win_rate", "human_standard_error"],
        higher_is_better=["win_rate"],
        undefined=by,
        **said,
    )


_COLUMNS = (
    "win_rate", "standard_error", "ci_low", "ci_high", "weight", "judge_win_rate", "human_win_rate",
    "human_standard_error", "n_labelled", "n_judged", "n_unjudged", "reason", "note",
)  # fmt: skip
_PLAN_COLUMNS = (
    "n_labels", "standard_error", "half_width", "human_standard_error", "human_half_width",
    "equivalent_labels", "correlation", "n_pilot", "reason", "note",
)  # fmt: skip


def label_budget(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    n_labels: Sequence[int] | None = None,
    n_judged: int | None = None,
    confidence_level: float = 0.95,
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Plan how many human labels are needed for which interval of a calibrated win rate.

    From the labels at hand come the variance of one label and its correlation r with the judge, both
    clustered by instruction. With n labels among N judged pairs and the best lambda the variance is

        (s^2 / n) (1 - r^2 (1 - n / N)),

    against s^2 / n from people alone.

    Parameters
    ----------
    table : DataFrame
        Judgements by one judge of all pairs.
    humans : DataFrame
        Judgements by one or more people of some of the pairs, which serve as pilot. Pairs are matched by
        instruction and models, also where sides are flipped.
    by : str or sequence of str
        Columns that make a group.
    n_labels : sequence of int, optional
        Numbers of labelled pairs; by default 25, 50, 100, ... up to `n_judged`.
    n_judged : int, optional
        Pairs that the judge will have judged; by default those in `table`.
    confidence_level : float
        Coverage in (0, 1).
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both tables have it, and
        ``repeat`` where it numbers comparisons: each of its values belongs to one pair only, and several
        people share it. Tables of counts are matched by these alone. ``.attrs["on"]`` says which were
        taken.

    Returns
    -------
    DataFrame
        `by` columns, ``n_labels``, ``standard_error`` and ``half_width`` (normal quantile) with the judge's
        help, ``human_standard_error`` and ``human_half_width`` without, ``equivalent_labels`` (how many
        labels alone would do the same), ``correlation`` (r), ``n_pilot`` (labels at hand), ``reason`` and
        ``note`` (why a group has NaN: too few labels, or all equal; r below 0 gives no help). They are
        estimates: a pilot of 50 labels knows r to about 0.1.

    Raises
    ------
    AnnotationError
        More labels than judged pairs, or no labelled pair at all.

    Warns
    -----
    UndefinedWarning
        A group with fewer than two labelled instructions, or whose labels are all equal.

    See Also
    --------
    calibrated_win_rate : The estimate that the labels are for.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> people = (rng.random(400) < 0.6).astype(float)
    >>> judge = np.where(rng.random(400) < 0.9, people, 1 - people)
    >>> rows = pd.DataFrame({"instruction_id": np.arange(400).astype(str), "model": "m",
    ...                      "reference": "r"})
    >>> plan = label_budget(rows.assign(annotator="judge", outcome=judge),
    ...                     rows.assign(annotator="p", outcome=people).head(100), n_labels=[100, 200])
    >>> plan[["n_labels", "half_width", "human_half_width", "equivalent_labels"]].round(3)
       n_labels  half_width  human_half_width  equivalent_labels
    0       100       0.068             0.098            212.679
    1       200       0.056             0.070            309.217
    """
    options.check_options(confidence_level)
    by = options.groups(by, _PLAN_COLUMNS)
    if n_judged is not None:
        options.whole("n_judged", n_judged)
    if n_labels is not None:
        n_labels = options.wholes("n_labels", n_labels)
    z, parts = stats.norm.ppf((1 + confidence_level) / 2), []
    said, found = pilots(table, humans, by, on)
    for key, pilot in found:
        judged = pilot.n_judged if n_judged is None else n_judged
        wanted = _default_labels(judged) if n_labels is None else np.asarray(list(n_labels))
        if (wanted > judged).any():
            expected = f"from 1 to {judged} labels, as many as pairs are judged"
            raise AnnotationError(expected, column="n_labels", found=wanted.tolist())
        variance, r, note = _label_variance(pilot)
        alone = np.sqrt(variance / wanted)
        # A judge that contradicts people gets no weight, see `calibrated_win_rate`.
        helped = alone * np.sqrt(1 - np.nan_to_num(max(r, 0.0)) ** 2 * (1 - wanted / judged))
        parts.append(
            pd.DataFrame(
                {
                    **dict(zip(by, key, strict=True)),
                    "n_labels": wanted,
                    "standard_error": helped,
                    "half_width": z * helped,
                    "human_standard_error": alone,
                    "human_half_width": z * alone,
                    "equivalent_labels": wanted * alone**2 / np.where(helped > 0, helped**2, np.nan),
                    "correlation": r,
                    "n_pilot": pilot.n_labelled,
                    "note": [note] * len(wanted),
                }
            )
        )
    said["settings"]["weight"] = "least variance"
    result = finish(
        pd.concat(parts, ignore_index=True),
        estimate=None,
        method="prediction-powered mean",
        interval="normal",
        confidence_level=confidence_level,
        fractions=["standard_error", "half_width", "human_standard_error", "human_half_width"],
        **said,
    )
    warn_undefined(result.assign(ci_low=result["half_width"]).drop_duplicates(by), by)
    return result


def _default_labels(judged):
    grid = [n for n in 25 * 2 ** np.arange(12) if n < judged]
    return np.array([*grid, judged])


def _label_variance(pilot: Pilot) -> tuple[float, float, Note]:
    """Return the variance of one label, its correlation with the judge, clustered, and a note."""
    if not pilot.n_labelled:
        return np.nan, np.nan, UNLABELLED
    if pilot.n_units < 2:
        return np.nan, np.nan, TOO_FEW
    inside = pilot.labelled
    shares = ratios.influence(pilot.units)[inside][:, :2]
    spread = ratios.covariance(shares, pilot.units.counts[inside])
    people, judge = ties.standard_error(np.sqrt(np.diag(spread))) > 0
    if not people:
        return np.nan, np.nan, ALL_EQUAL
    r = spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1]) if judge else np.nan
    note = CONTRADICTS if r < 0 else NO_HELP if not judge else WEIGHTED_PLAN if pilot.weighted else ""
    return float(spread[0, 0] * pilot.n_labelled), float(r), note


def calibrated(pilot: Pilot, weight: float | None, confidence_level: float) -> dict:
    """Return the row of one group, as `calibrated_win_rate` has it."""
    row = {
        "win_rate": np.nan,
        "standard_error": np.nan,
        "ci_low": np.nan,
        "ci_high": np.nan,
        "weight": np.nan,
        "judge_win_rate": pilot.judge,
        "human_win_rate": np.nan,
        "human_standard_error": np.nan,
        "n_labelled": pilot.n_labelled,
        "n_judged": pilot.n_judged,
        "n_unjudged": pilot.n_unjudged,
    }
    if not pilot.n_labelled:
        return row | {"note": UNLABELLED}
    spread = pilot.covariance()
    if pilot.all_labelled:
        weight = 0.0
    weight = best_weight(spread) if weight is None else weight
    people, gap = pilot.means
    value = people if np.isnan(weight) else people + weight * gap
    variance = spread[0, 0] + 2 * weight * spread[0, 1] + weight**2 * spread[1, 1]
    error = float(ties.standard_error(np.sqrt(np.maximum(variance, 0))))
    low, high = clustered.rate_interval(
        value, error if error > 0 else np.nan, pilot.effective_units - 1, confidence_level
    )
    if not pilot.weighted and not np.isnan(error):
        ends = clustered.no_narrower_than_alike(pilot.labels, low, high, confidence_level=confidence_level)
        low, high = np.fmin(low, ends[0][0]), np.fmax(high, ends[1][0])
    return row | {
        "win_rate": float(value),
        "standard_error": error,
        "ci_low": float(low),
        "ci_high": float(high),
        "weight": weight,
        "human_win_rate": float(people),
        "human_standard_error": float(ratios.jackknife_error(pilot.labels)[0]),
        "note": _notes(pilot, weight, error, bool(np.isnan(low))),
    }


def _notes(pilot: Pilot, weight: float, error: float, undefined: bool) -> list[Note]:
    if np.isnan(error):
        text = "error undefined: fewer than two instructions with labels, or one without"
        return [Reason("too_few_units", text)]
    if undefined:
        return [Reason("all_alike", "interval undefined: all outcomes are equal")]
    if error == 0:
        return [Reason("all_alike", "all labels are equal: exact interval (Clopper-Pearson)")]
    first: list[Note] = [ALL_LABELLED] if pilot.all_labelled else []
    return [*first, few(pilot, weight)]


def few(pilot: Pilot, weight: float) -> Note:
    """Return a note if an interval is driven by few units, few large ones, or few labels of one kind."""
    deviations = pilot.deviations @ [1.0, weight]
    if note := coverage_notes.of_shares(deviations, pilot.units.counts, pilot.n_units):
        return note
    if note := coverage_notes.of_sizes(pilot.labels, "t")[0]:
        return note
    rarer = coverage_notes.far_end(pilot.labels)[0]
    if rarer <= FEW_LABELS:
        return Reason("few_labels", f"interval approximate: about {rarer:.0f} labels of the rarer kind")
    return ""
