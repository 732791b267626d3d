"""Win rates and differences looked at while judging goes on: confidence sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference import betting
from alpaca_analysis.inference.results import Note, Reason, best_first, finish, seed_of
from alpaca_analysis.table.checks import SEQUENCE, STOPPED, check
from alpaca_analysis.table.groups import all_identified, in_order, refuse_mixed, select_models
from alpaca_analysis.win_rates.two_models import verdict_of


def confidence_sequence(
    table: pd.DataFrame,
    a: str | None = None,
    b: str | None = None,
    *,
    margin: float | None = None,
    population: int | None = None,
    looks: options.Looks = "last",
    confidence_level: float = 0.95,
    rng=0,
) -> pd.DataFrame:
    """Compute intervals that hold however often one looks, and whenever one stops.

    A confidence interval covers at a number of instructions that was fixed beforehand. Who looks again and
    again, and stops when 0 is outside, finds a difference between equal models far more often than in 5 % of
    cases. A confidence sequence covers at all looks at once, so that judging can stop as soon as it decides.

    Parameters
    ----------
    table : DataFrame
        Judgements against one reference by one annotator, with instruction ids.
    a, b : str, optional
        Names in the ``model`` column. With both, the difference of their win rates on the instructions that
        they share; with `a` alone, its win rate; without, that of every model, each by itself.
    margin : float, optional
        Difference from 0, or of a win rate from 1/2, that would not matter, a fraction; verdicts may then be
        "equivalent" or "not worse".
    population : int, optional
        Number of instructions in the fixed set that is being judged, drawn without replacement: the interval
        is for that set alone, narrower, and ends as its exact value. By default instructions are a sample of
        all such instructions, and the interval is for these.
    looks : {"last", "all"}
        One row for all instructions judged so far, or one for every instruction that came in.
    confidence_level : float
        Probability in (0, 1) that the interval covers at all looks.
    rng : int, Generator or SeedSequence
        Seed of the random order of instructions, which decides what each look sees. A column ``sequence``,
        as `judge` writes it with ``stop_when``, is the order in which they were asked and goes before.

    Returns
    -------
    DataFrame
        ``model_a``, ``model_b`` and ``difference``, or ``model`` and ``win_rate`` (a fraction, the middle of
        the interval); ``ci_low``, ``ci_high``; with a margin also ``equivalence_low``, ``equivalence_high``
        (the sequence at level 1 - 2 (1 - confidence_level), from the same bets); ``verdict``; ``n``
        (instructions); ``n_decided`` (after how many the verdict was first "better", "worse" or
        "equivalent"); ``n_left_out`` (instructions without a verdict, or of one model alone); ``note``.
        ``.attrs`` has ``sampling``, ``order`` and ``population``.

    Raises
    ------
    AnnotationError
        An unknown model, no instruction ids, several references or annotators, judgements that were stopped
        early without their order, or a population smaller than what was judged.

    Notes
    -----
    One unit is one instruction, with the mean of its judgements; differences d enter as (d + 1) / 2. The
    sequence is that of hedged capital with predictable plug-in bets, running intersection included. Verdicts
    are those of `compare`: "better" or "worse" where models are equal, at any look, in at most
    1 - `confidence_level` of cases; "equivalent" or "not worse" at a difference as large as the margin
    likewise. The price is width: at a fixed number of instructions `compare` is the narrower one.

    The middle of the interval is no unbiased estimate; neither is the plain mean after stopping, which lies
    further from the truth. The set of `population` holds the instructions that can be judged: those without a
    verdict are taken off it.

    References
    ----------
    Waudby-Smith, I., Ramdas, A. (2024). Estimating means of bounded random variables by betting. Journal of
    the Royal Statistical Society, Series B 86(1), 1-27.

    See Also
    --------
    compare : At a number of instructions that was fixed beforehand.
    judge : ``stop_when`` stops asking when this decides.

    Examples
    --------
    >>> rows = pd.DataFrame({"instruction_id": [f"i{k}" for k in range(100)] * 2,
    ...                      "model": ["a"] * 100 + ["b"] * 100,
    ...                      "outcome": [1, 1, 1, 0] * 25 + [0, 0, 1, 0] * 25})
    >>> found = confidence_sequence(rows, "a", "b")
    >>> found[["ci_low", "ci_high", "verdict", "n", "n_decided"]].round(3)
       ci_low  ci_high verdict    n  n_decided
    0   0.361    0.655  better  100         18
    """
    options.check_options(confidence_level)
    options.one_of("looks", looks, options.Looks)
    if margin is not None:
        options.fraction("margin", margin, closed="neither")
    if population is not None:
        options.whole("population", population)
    if a is None and b is not None:
        raise ValueError(f"b: found {b!r} alone, expected a, or both of a and b")
    table = check(table, at_any_time=True)
    select_models(table, [name for name in (a, b) if name is not None])
    alpha = 1 - confidence_level
    models = [a] if a else [str(m) for m in in_order(pd.Index(table["model"].unique()))]
    asked = [(a, b)] if a and b else [(model, None) for model in models]
    units = [units_of(table, *pair, rng=rng) for pair in asked]
    parts = [_rows(one, alpha, margin, population, looks) for one in units]
    frame = pd.concat(parts, ignore_index=True)
    frame["n_decided"] = frame["n_decided"].astype("Int64")
    estimate, inner = "difference" if b else "win_rate", ("equivalence_low", "equivalence_high")
    fixed = f"without replacement from a fixed set of {population}"
    sampling = fixed if population else "with replacement: a sample of all such instructions"
    if looks == "last":
        frame = best_first(frame, estimate, ["model_a" if b else "model"])
    return finish(
        frame,
        estimate=estimate,
        method=f"betting (hedged capital, predictable plug-in bets) {sampling}",
        interval="confidence sequence",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=[] if b else ["win_rate", *inner],
        differences=["difference", *inner] if b else [],
        settings={
            "sampling": sampling,
            "population": population,
            "order": "as asked" if units[0].as_asked else "random",
            "rng": None if units[0].as_asked else seed_of(rng),
            "margin": margin,
        },
    )


@dataclass(frozen=True)
class Units:
    """Instructions of a comparison in the order in which they are looked at.

    Attributes
    ----------
    a, b : str
        The models; b is None where a is held against its reference.
    ids : ndarray of str
        Instructions, in their order.
    x : ndarray of shape (n,)
        Mean outcome of each, or (difference + 1) / 2.
    n_left_out : int
        Instructions that one model alone has, or without a verdict.
    n_missing : int
        Those without a verdict.
    as_asked : bool
        Whether the order is that in which they were asked.
    stopped : str
        Why judging ended early, "" where it did not.
    """

    a: str
    b: str | None
    ids: np.ndarray
    x: np.ndarray
    n_left_out: int
    n_missing: int
    as_asked: bool
    stopped: str

    @property
    def span(self) -> float:
        """Return how far apart the ends of the scale are: of a win rate 1, of a difference 2."""
        return 2.0 if self.b else 1.0


def units_of(table: pd.DataFrame, a: str, b: str | None = None, *, rng=0) -> Units:
    """Return the instructions of one or two models of a checked table, in their order of looking."""
    sides = [table[table["model"] == model] for model in ((a, b) if b else (a,))]
    rows = pd.concat(sides)
    refuse_mixed(rows)
    if not all_identified(rows["instruction_id"], rows[["model"]]):
        expected = "instruction ids: a sequence looks at one instruction after the other"
        raise AnnotationError(expected, column="instruction_id", found=Verbatim("none"))
    means = [instruction_means(side) for side in sides]
    joined = pd.concat(means, axis=1, join="inner").dropna()
    if joined.empty:
        who = f"instructions that {a!r} and {b!r} share" if b else f"a usable judgement of {a!r}"
        raise AnnotationError(who, column="outcome", found="none")
    missing = set().union(*(m.index[m.isna()] for m in means))
    everything = set().union(*(m.index for m in means))
    order = _asked_order(sides, joined.index)
    stopped = next(iter(_stops(rows)), "")
    if order is None and stopped:
        expected = f"a column {SEQUENCE!r} with the order in which instructions were asked, for {stopped}"
        raise AnnotationError(expected, column=SEQUENCE, found=Verbatim("none that all rows agree on"))
    place = order if order is not None else np.random.default_rng(rng).permutation(len(joined))
    joined = joined.sort_index().iloc[np.argsort(place, kind="stable")]
    y = joined.to_numpy(float)
    return Units(
        a=a,
        b=b,
        ids=joined.index.to_numpy(dtype=object),
        x=(y[:, 0] - y[:, 1] + 1) / 2 if b else y[:, 0],
        n_left_out=len(everything) - len(joined),
        n_missing=len(missing),
        as_asked=order is not None,
        stopped=stopped,
    )


def instruction_means(side: pd.DataFrame) -> pd.Series:
    """Return the mean outcome of each instruction by its id, NaN where no judgement of it is usable."""
    known = side["n"].where(side["outcome"].notna(), 0)
    sums = pd.DataFrame({"y": side["outcome"].fillna(0) * side["n"], "n": known})
    sums = sums.groupby(side["instruction_id"].astype(str)).sum()
    return sums["y"] / sums["n"].where(sums["n"] > 0)


def _stops(rows):
    return rows[STOPPED].dropna().astype(str).unique() if STOPPED in rows else []


def _asked_order(sides, ids):
    """Return the place of each instruction, in the order of their ids, where all sides that tell it agree."""
    told = []
    for side in sides:
        if SEQUENCE in side and side[SEQUENCE].notna().any():
            places = side.groupby(side["instruction_id"].astype(str))[SEQUENCE].min().reindex(sorted(ids))
            told.append(places.rank(method="first").to_numpy())
    if not told or np.isnan(told).any() or any((one != told[0]).any() for one in told):
        return None
    return told[0]


def _rows(units, alpha, margin, population, looks) -> pd.DataFrame:
    """Return one row per look."""
    x, span = units.x, units.span
    of_set = None if population is None else population - units.n_missing
    if of_set is not None and of_set < len(x):
        expected = f"a population of at least the {len(x) + units.n_missing} instructions asked"
        raise AnnotationError(expected, source="population", found=population)
    at = np.arange(1, len(x) + 1) if looks == "all" else np.array([len(x)])
    low, high = (_scaled(end, span) for end in betting.sequence(x, at, alpha=alpha, population=of_set))
    null = 0.0 if units.b else 0.5
    names = {"model_a": units.a, "model_b": units.b} if units.b else {"model": units.a}
    out = pd.DataFrame({**names, "difference" if units.b else "win_rate": (low + high) / 2}, index=at)
    out["ci_low"], out["ci_high"] = low, high
    above = below = np.zeros(len(at), dtype=bool)
    if margin is not None:
        inner = betting.sequence(x, at, alpha=alpha, reaching=2 * alpha, population=of_set)
        out["equivalence_low"], out["equivalence_high"] = (_scaled(end, span) for end in inner)
        above = (out["equivalence_low"] > null - margin).to_numpy()
        below = (out["equivalence_high"] < null + margin).to_numpy()
    ends = zip(low - null, high - null, above, above & below, strict=True)
    keys = ("ci_low", "ci_high", "not_worse", "equivalent")
    out["verdict"] = [verdict_of(dict(zip(keys, row, strict=True))) for row in ends]
    out["n"] = at
    decided = first_decided(x, span=span, alpha=alpha, margin=margin, population=of_set)
    out["n_decided"] = decided and decided[0]
    out["n_left_out"] = units.n_left_out
    note: Note = Reason("stopped_early", f"judging stopped early: {units.stopped}") if units.stopped else ""
    out["note"] = [note] * len(out)
    return out


def _scaled(x, span):
    return x if span == 1 else 2 * x - 1


def first_decided(
    x: np.ndarray,
    *,
    span: float,
    alpha: float,
    margin: float | None = None,
    population: int | None = None,
) -> tuple[int, str] | None:
    """Return after how many instructions the sequence first decided, and what; None where it has not.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Outcomes, or (difference + 1) / 2, in their order; 1/2 where models are equal.
    span : float
        How far apart the ends of the scale are: 1 of win rates, 2 of differences.
    alpha : float
        1 - the confidence level.
    margin : float, optional
        As of `confidence_sequence`.
    population : int, optional
        Number of instructions in a fixed set, without those that have no verdict.

    Examples
    --------
    >>> first_decided(np.ones(20), span=1, alpha=0.05)
    (10, 'better')
    """

    def beyond(side: np.ndarray, m: float, reaching: float) -> float:
        found = betting.first_beyond(side, m, alpha=alpha, reaching=reaching, population=population)
        return np.inf if found is None else found

    found = {"better": beyond(x, 0.5, alpha), "worse": beyond(1 - x, 0.5, alpha)}
    if margin is not None:
        lower = 0.5 - margin / span
        found["equivalent"] = max(beyond(x, lower, 2 * alpha), beyond(1 - x, lower, 2 * alpha))
    verdict = min(found, key=lambda name: found[name])
    return (int(found[verdict]), verdict) if found[verdict] < np.inf else None
