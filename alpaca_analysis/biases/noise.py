"""How much a judge's verdict on one pair varies when it is asked again, and what asking again buys.

With r judgements of each of n pairs the variance of a win rate is s_I^2 / n + s_J^2 / (n r): the pairs'
component, which only more instructions reduce, and the judge's, which repeats reduce as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.biases.sides import different, named_judges, positions, require_ids, singly
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference import coverage_notes, intervals
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import refuse_mixed, require_judged, select_models

COMPONENTS = ("variance_instructions", "variance_repeats", "noise_share")
INTERVAL = ("standard_error", "ci_low", "ci_high")
FLIPS = ("flip_rate", "flip_low", "flip_high")
RESULT = (
    "win_rate",
    "difference",
    *INTERVAL,
    *COMPONENTS,
    *FLIPS,
    "n_instructions",
    "n_judgements",
    "repeats",
)
NOTES = {
    "no_repeats": "components undefined: nothing was judged twice",
    "too_few_units": "undefined: fewer than two instructions",
    "cut_at_zero": "the instructions' component came out below 0 and was set to 0",
    "few_units": f"intervals approximate: fewer than {coverage_notes.FEWEST_UNITS} instructions",
    "no_variation": "interval undefined: no variation",
}


def judge_noise(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    between: Sequence[str] | None = None,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Split the variance of judgements into that of the instructions and that of the judge asked again.

    Components are estimated by one-way analysis of variance, also where instructions have different numbers
    of repeats. Only judgements in the same order of presentation are repeats of each other.

    Parameters
    ----------
    table : DataFrame
        Judgements with ``instruction_id``, several of the same pair (``repeat``, or ``n`` equal ones).
    by : str or sequence of str
        Columns that make a group, which may not mix models, references, annotators or positions.
    between : sequence of two str, optional
        Two models; the components are those of the difference of their outcomes on an instruction, the first
        judgement of one beside the first of the other. "model" in `by` then has no effect.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        `by` columns (with `between`, ``model_a`` and ``model_b``); ``win_rate`` or ``difference``, the mean
        over instructions of their means, with ``standard_error`` (from the components), ``ci_low``,
        ``ci_high`` (Student's t over instructions); ``variance_instructions`` and ``variance_repeats``;
        ``noise_share``, the part of the squared standard error that repeats would remove; ``flip_rate``, how
        often two judgements of a pair give different verdicts, with ``flip_low`` and ``flip_high``;
        ``n_instructions`` and ``n_judgements``. NaN where nothing was judged twice.

    Raises
    ------
    AnnotationError
        A group that mixes models, references, annotators or positions, or rows without an instruction.

    See Also
    --------
    repeats_or_instructions : What more repeats or more instructions would buy.

    Notes
    -----
    With R judgements of n instructions, r_i of instruction i: s_J^2 = SSW / (R - n),
    r0 = (R - sum r_i^2 / R) / (n - 1), s_I^2 = max(0, (MSB - s_J^2) / r0), and the variance of the mean of
    the instructions' means is s_I^2 / n + (s_J^2 / n^2) sum 1 / r_i.

    References
    ----------
    Searle, S. R., Casella, G., McCulloch, C. E. (1992). Variance Components, chapter 3.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("aabbccdd"), "model": "m", "repeat": [0, 1] * 4,
    ...                       "outcome": [1, 1, 0, 0, 1, 0, 1, 1]})
    >>> judge_noise(table)[["win_rate", "variance_instructions", "variance_repeats", "flip_rate"]].round(3)
       win_rate  variance_instructions  variance_repeats  flip_rate
    0     0.625                  0.167             0.125       0.25
    """
    options.level("confidence_level", confidence_level)
    by = options.groups(by, RESULT)
    if between is not None:
        names = options.texts("between", between)
        if len(set(names)) != 2 or len(names) != 2:
            raise ValueError(f"between: found {between!r}, expected the names of two models")
        by = [column for column in by if column != "model"]
    rows = _rows(table, by, between)
    if between is not None:
        rows, by = _differences(rows, by, *between), [*by, "model_a", "model_b"]
    name = "win_rate" if between is None else "difference"
    found, notes = [], []
    for key, part in rows.groupby(by, observed=True, dropna=False):
        numbers, note = _components(part, name, confidence_level)
        found.append(dict(zip(by, key, strict=True)) | numbers)
        notes.append([Reason(code, NOTES[code]) for code in note])
    return finish(
        pd.DataFrame(found),
        estimate=name,
        method="components of variance by one-way analysis of variance",
        interval="t",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=["noise_share", "flip_rate", *([name] if between is None else [])],
        differences=[] if between is None else [name],
        notes=notes,
        undefined=by,
    )


def repeats_or_instructions(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] = "model",
    between: Sequence[str] | None = None,
    repeats: Sequence[int] = (1, 2, 3, 5, 10),
    instruction_cost: float = 0.0,
) -> pd.DataFrame:
    """Say what more repeats buy, and what the same money buys in instructions.

    Parameters
    ----------
    table : DataFrame
        Judgements as `judge_noise` takes them: the components come from it.
    by : str or sequence of str
        Columns that make a group, as of `judge_noise`.
    between : sequence of two str, optional
        Two models, whose difference is planned for.
    repeats : sequence of int
        Numbers of judgements of a pair.
    instruction_cost : float
        What a further instruction costs before it is judged (writing it, generating the output), in units of
        one judgement. At 0 more instructions are always at least as good as more repeats.

    Returns
    -------
    DataFrame
        `by` columns and ``repeats``; ``standard_error`` with so many judgements of each of the table's
        instructions; ``same_cost_instructions``, for how many instructions the cost of the table's judged
        once would be enough, and ``same_cost_error`` there; ``best_repeats``, which number makes the error
        smallest at a given cost, sqrt(instruction_cost s_J^2 / s_I^2), at least 1 (infinite where only the
        judge's noise varies).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("aabbccdd"), "model": "m", "repeat": [0, 1] * 4,
    ...                       "outcome": [1, 1, 0, 0, 1, 0, 1, 1]})
    >>> plan = repeats_or_instructions(table, repeats=[1, 4], instruction_cost=2)
    >>> plan[["repeats", "standard_error", "same_cost_instructions", "same_cost_error"]].round(3)
       repeats  standard_error  same_cost_instructions  same_cost_error
    0        1           0.270                     4.0            0.270
    1        4           0.222                     2.0            0.315
    """
    repeats = options.wholes("repeats", repeats)
    cost = options.number("instruction_cost", instruction_cost, 0, closed="left")
    noise = judge_noise(table, by=by, between=between)
    keys = list(noise.columns[: list(noise.columns).index(noise.attrs["estimate"])])
    plan = noise[[*keys, "variance_instructions", "variance_repeats", "n_instructions"]].merge(
        pd.DataFrame({"repeats": repeats}), how="cross"
    )
    pairs, judge, n, r = (plan[c] for c in (*COMPONENTS[:2], "n_instructions", "repeats"))
    one = pairs + judge / r
    known, paid = judge.notna(), (judge > 0) & (cost > 0)  # without a price a repeat is never the better buy
    with np.errstate(invalid="ignore", divide="ignore"):
        best = np.sqrt(cost * judge / pairs).where(paid, 1.0).where(known)
    affordable = n * (1 + cost) / (r + cost)
    result = plan[[*keys, "repeats"]].assign(
        standard_error=np.sqrt(one / n),
        same_cost_instructions=affordable,
        same_cost_error=np.sqrt(one / affordable),
        best_repeats=np.maximum(best, 1.0),
    )
    codes = noise.set_index(keys)[["reason", "note"]].rename(columns=lambda c: f"_{c}")
    said = plan[keys].join(codes, on=keys)
    return finish(
        result,
        estimate=None,
        method="standard errors from components of variance",
        unit="instruction",
        notes=[Reason(c, n) if c else "" for c, n in zip(said["_reason"], said["_note"], strict=True)],
        settings={"instruction_cost": cost},
    )


def _rows(table, by, between):
    required = sorted({*by} - {"annotator"})
    rows = named_judges(check(table, require=required))
    require_ids(rows)
    require_judged(rows)
    if between is not None:
        select_models(rows, between)
        rows = rows[rows["model"].isin(list(between))].reset_index(drop=True)
    refuse_mixed(
        rows,
        by,
        columns=("model", "reference", "annotator") if between is None else ("reference", "annotator"),
    )
    if "position" in rows:
        rows = rows.assign(position=positions(rows))
        if "position" not in by:
            refuse_mixed(rows, [*by, *(["model"] if between else [])], columns=("position",))
    return singly(rows[rows["outcome"].notna()].reset_index(drop=True))


def _differences(rows, by, a, b):
    """Return the outcome of a less that of b, the k-th judgement beside the k-th."""
    key = [*by, "instruction_id"]
    order = [*key, *(["repeat"] if "repeat" in rows else [])]
    rows = rows.sort_values(order, kind="stable")
    rows = rows.assign(turn=rows.groupby([*key, "model"], observed=True, dropna=False).cumcount())
    one, two = (rows.loc[rows["model"] == m, [*key, "turn", "outcome"]] for m in (a, b))
    both = one.merge(two, on=[*key, "turn"], suffixes=("_a", "_b"))
    if both.empty:
        found = Verbatim("none")
        raise AnnotationError(
            "instructions on which both models were judged", column="instruction_id", found=found
        )
    return both.assign(model_a=a, model_b=b, outcome=both["outcome_a"] - both["outcome_b"])


def _components(part, name, confidence_level):
    code, ids = pd.factorize(part["instruction_id"], sort=True)
    y, n, total = part["outcome"].to_numpy(), len(ids), len(part)
    r = np.bincount(code, minlength=n)
    means = np.bincount(code, y, n) / np.maximum(r, 1)
    numbers = {name: means.mean(), **dict.fromkeys((*INTERVAL, *COMPONENTS, *FLIPS), np.nan)}
    numbers |= {"n_instructions": n, "n_judgements": total}
    if n < 2:
        return numbers, ["too_few_units"]
    error, codes = means.std(ddof=1) / np.sqrt(n), []
    if total == n:
        codes.append("no_repeats")
    else:
        judge = ((y - means[code]) ** 2).sum() / (total - n)
        mean_square = (r * (means - y.mean()) ** 2).sum() / (n - 1)
        raw = (mean_square - judge) / ((total - (r**2).sum() / total) / (n - 1))
        raw, judge = float(ties.difference(raw, 0)), float(ties.difference(judge, 0))
        pairs, noise = max(0.0, raw), judge / n**2 * (1 / r).sum()
        error = np.sqrt(pairs / n + noise)
        share = noise / error**2 if error > 0 else np.nan
        numbers |= dict(zip(COMPONENTS, (pairs, judge, share), strict=True))
        verdict = (np.sign(ties.difference(y, 0.5 if name == "win_rate" else 0)) + 1) / 2
        numbers |= _flips(part.assign(verdict=verdict), confidence_level)
        codes += ["cut_at_zero"] if raw < 0 else []
    error = float(ties.standard_error(error))
    if error > 0:
        half = stats.t.ppf((1 + confidence_level) / 2, n - 1) * error
        numbers |= {"ci_low": numbers[name] - half, "ci_high": numbers[name] + half}
    else:
        codes.append("no_variation")
    if n < coverage_notes.FEWEST_UNITS and error > 0:
        codes.append("few_units")
    return numbers | {"standard_error": error}, codes


def _flips(rows, confidence_level):
    shares = different(rows, ["instruction_id"]).dropna().to_numpy()[:, None]
    units = Units(shares, np.ones_like(shares))
    values = intervals.interval(units, method="t", confidence_level=confidence_level)
    return dict(zip(FLIPS, (float(values[k][0]) for k in (0, 2, 3)), strict=True))
