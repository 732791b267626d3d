"""Printed numbers against recomputed ones.

A claim gets one of four verdicts and never more: "reproduced", "differs", "impossible as printed"
or "cannot be tested with open data". Printed numbers are text: 87.50 and 87.5 claim different things.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference.results import Note, Reason, finish
from alpaca_analysis.table.checks import check, columns_once
from alpaca_analysis.table.groups import refuse_mixed, select_models
from alpaca_analysis.win_rates.dropping import few_between
from alpaca_analysis.win_rates.estimates import win_rate, win_rate_bounds
from alpaca_analysis.win_rates.two_models import compare

REPRODUCED = "reproduced"
DIFFERS = "differs"
IMPOSSIBLE = "impossible as printed"
UNTESTABLE = "cannot be tested with open data"
VERDICTS = (REPRODUCED, DIFFERS, IMPOSSIBLE, UNTESTABLE)

N_RANGE = (780, 805)
FEW_DECIDE = 0.01  # share of shared instructions that carry a first place up to which it is said


def possible_n(printed: str, *, n_range: tuple[int, int] = N_RANGE) -> list[int]:
    """List the numbers of judgements for which a printed win rate is possible.

    A win rate of x percent with r decimals is possible for n judgements if some number of wins k in
    {0, 0.5, ..., n}, a draw counting half, has 100 k / n rounding to x. Both ways of rounding a half
    are accepted; the arithmetic is exact.

    Parameters
    ----------
    printed : str
        The win rate in percent, as printed.
    n_range : (int, int)
        First and last n to try.

    Returns
    -------
    list of int
        Every possible n in the range; empty if there is none.

    See Also
    --------
    chance_possible : How often a random number would pass.

    Examples
    --------
    >>> possible_n("60.61", n_range=(780, 805))
    [782, 787, 792, 801]
    >>> possible_n("87.35", n_range=(780, 805))
    []
    """
    low, high = _check_range(n_range)
    units, decimals = _parse(printed)
    scale = 100 * 10**decimals
    # h half-wins of 2 n are printed as `units` if |100 10^r h / (2 n) - units| <= 1/2
    return [
        n for n in range(low, high + 1) if -((n - 2 * n * units) // scale) <= (2 * n * units + n) // scale
    ]


def chance_possible(decimals: int, *, n_range: tuple[int, int] = N_RANGE) -> float:
    """Return the share of all printable percentages that are possible for some n in a range.

    The rate at which a random number between 0 and 100 would pass `possible_n`: what a passed check
    is worth.

    Parameters
    ----------
    decimals : int
        Printed decimals.
    n_range : (int, int)
        First and last n.

    Returns
    -------
    float
        A fraction.

    See Also
    --------
    possible_n : For which numbers of judgements a printed value is possible.

    Examples
    --------
    >>> round(chance_possible(2, n_range=(805, 805)), 2), round(chance_possible(2, n_range=(780, 805)), 2)
    (0.16, 0.95)
    """
    low, high = _check_range(n_range)
    options.whole("decimals", decimals, 0)
    top = 100 * 10**decimals
    passed = np.zeros(top + 1, dtype=bool)
    for n in range(low, high + 1):
        half_wins = np.arange(2 * n + 1)
        passed[(2 * top * half_wins + 2 * n) // (4 * n)] = True  # halves up
        passed[-((2 * n - 2 * top * half_wins) // (4 * n))] = True  # halves down
    return float(passed.mean())


def _parse(printed):
    """Return a printed percentage as whole units of its last decimal, and the number of decimals."""
    expected = "a printed percentage as text, such as '60.61' (read the file with dtype=str)"
    if not isinstance(printed, str):
        raise AnnotationError(expected, source="claims", column="printed", found=printed)
    match = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,12}))?", printed.strip().removesuffix("%").strip(), re.ASCII)
    if not match or float(match[0]) > 100:
        raise AnnotationError(expected, source="claims", column="printed", found=printed)
    decimals = match[2] or ""
    return int(match[1] + decimals), len(decimals)


def _check_range(n_range):
    bounds = options.wholes("n_range", n_range)
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise ValueError(f"n_range: found {n_range!r}, expected first and last n, 1 <= first <= last")
    return bounds[0], bounds[1]


def rounds_to(value: Fraction, printed: Decimal) -> bool:
    """Tell whether a value is printed so, whichever way a half is rounded; exact arithmetic.

    Examples
    --------
    >>> rounds_to(Fraction(1, 8), Decimal("0.12")), rounds_to(Fraction(1, 8), Decimal("0.13"))
    (True, True)
    """
    return abs(value - Fraction(printed)) <= Fraction(10) ** int(printed.as_tuple().exponent) / 2


def _truncates_to(half_wins, n, printed):
    units, decimals = _parse(printed)
    return 100 * 10**decimals * half_wins // (2 * n) == units


def check_claims(
    claims: pd.DataFrame,
    table: pd.DataFrame,
    *,
    n_range: tuple[int, int] = N_RANGE,
    method: options.WinRateInterval = "bca",
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    rng=0,
) -> pd.DataFrame:
    """Check printed win rates against the table, and for being possible at all.

    Parameters
    ----------
    claims : DataFrame
        ``model``, ``reference`` and ``printed`` (percent, as text); other columns pass through.
    table : DataFrame
        Judgements by one annotator, as `read_annotations` or `from_counts` return them. Where it
        names no reference, the model all of whose judgements are draws is taken for it: that is the
        row a leaderboard keeps for its own reference.
    n_range : (int, int)
        Numbers of judgements to try for claims that the table cannot answer.
    method : {"bca", "percentile", "t", "wilson"}
        Interval of the recomputed win rate; "wilson" takes verdicts without draws only.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "t" and "wilson".
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        The claims with ``recomputed``, ``standard_error``, ``ci_low``, ``ci_high`` (fractions),
        ``n`` (judgements), ``possible_n`` (every n in the range for which the value is possible),
        ``chance`` (the rate at which a random number would be possible somewhere in the range),
        ``verdict``, ``reason`` ("cut_off", "no_judgements", "against_itself", "impossible") and ``note``.

    See Also
    --------
    possible_n : For which numbers of judgements a printed value is possible.
    check_first : The claim to be first.

    Notes
    -----
    A claim the table has judgements for is "reproduced" if they round to what is printed. If not, it
    is "impossible as printed" where no n in the range could give the printed value, else "differs".
    Without judgements it is "impossible as printed" or "cannot be tested with open data".

    Examples
    --------
    >>> import pandas as pd
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["m"], "n_wins": [703], "n_losses": [97], "n_draws": [1]},
    ...                     reference="ref")
    >>> claims = pd.DataFrame({"model": "m", "reference": "ref", "printed": ["87.83", "87.82", "87.35"]})
    >>> check_claims(claims, table)[["printed", "verdict"]]
      printed                verdict
    0   87.83             reproduced
    1   87.82                differs
    2   87.35  impossible as printed
    """
    options.check_options(confidence_level, n_resamples)
    options.one_of("method", method, options.WinRateInterval)
    _check_range(n_range)
    for column in ("model", "reference", "printed"):
        if column not in claims:
            raise AnnotationError(f"a column {column!r}", source="claims", found=list(claims.columns))
    columns_once(claims, source="claims")
    table = check(table)
    rates = _rates(claims, table, method, confidence_level, n_resamples, rng)
    names = {what: table[what].dropna().unique().astype(str) for what in ("model", "reference")}
    rows = pd.DataFrame([_check_one(claim, rates, names, n_range) for claim in claims.to_dict("records")])
    if clash := set(claims) & {*rows, "reason"}:
        expected = "no column of the result among the claims; rename or drop it"
        raise AnnotationError(expected, source="claims", found=Verbatim(f"a column {min(map(str, clash))!r}"))
    said = {name: rates.attrs.get(name) for name in ("unit", "n_resamples", "rng")}
    return finish(
        pd.concat([claims.reset_index(drop=True), rows.drop(columns="note")], axis=1),
        estimate="recomputed",
        method="printed value against wins and draws",
        interval=method,
        confidence_level=confidence_level,
        fractions=["recomputed", "chance"],
        notes=rows["note"],
        settings={"n_range": tuple(n_range), "decimals_of": {"recomputed": "printed"}},
        **said,
    )


def _rates(claims, table, method, confidence_level, n_resamples, rng):
    table = table.assign(reference=_reference(table))
    own = table["model"].astype(object) == table["reference"].astype(object)
    concerned = table["model"].isin(claims["model"]) | table["reference"].isin(claims["model"])
    asked = table[concerned & ~own]
    if asked.empty:
        return pd.DataFrame(columns=["model", "reference"])
    weighted = asked["outcome"].notna() & ~asked["outcome"].isin(ties.VERDICTS)
    if weighted.any():
        raise AnnotationError(
            "wins, losses and draws, as printed win rates of verdicts have them",
            column="outcome",
            found=f"weighted outcomes of {asked.loc[weighted, 'model'].iloc[0]!r}",
        )
    said = {"confidence_level": confidence_level, "n_resamples": n_resamples, "rng": rng}
    rates = win_rate(asked, by=["model", "reference"], method=method, **said)
    rates["half_wins"] = 2 * rates["n_wins"] + rates["n_draws"]
    return rates


def _reference(table):
    """Return the reference of each row, inferring the one of a leaderboard that does not name it."""
    if table["reference"].notna().any() or table["model"].nunique() < 2:
        return table["reference"]
    decided = table["outcome"].ne(0.5).groupby(table["model"], observed=True).any()
    own = decided.index[~decided]
    return pd.Categorical([own[0] if len(own) == 1 else None] * len(table))


def _check_one(claim, rates, names, n_range):
    printed = claim["printed"]
    possible = possible_n(printed, n_range=n_range)
    chance = chance_possible(_parse(printed)[1], n_range=n_range)
    known = rates[(rates["model"] == claim["model"]) & (rates["reference"] == claim["reference"])]
    span = f"{n_range[0]} to {n_range[1]}"
    row = dict.fromkeys(("recomputed", "standard_error", "ci_low", "ci_high"), np.nan) | {"n": pd.NA}
    if len(known):
        found = known.iloc[0]
        row |= {"recomputed": found["win_rate"], "n": int(found["n_total"])}
        row |= {c: found[c] for c in ("standard_error", "ci_low", "ci_high")}
        verdict, note = _judge(int(found["half_wins"]), int(found["n_total"]), printed, possible, span)
    elif claim["model"] == claim["reference"]:
        text = "a model against itself is 50 by definition; there is nothing to judge"
        verdict, note = UNTESTABLE, Reason("against_itself", text)
    elif not possible:
        text = f"no number of wins and draws gives {printed} at any n from {span}"
        verdict, note = IMPOSSIBLE, Reason("impossible", text)
    else:
        text = f"no open judgements; possible for {len(possible)} of n = {span} ({_listed(possible)})"
        verdict, note = UNTESTABLE, Reason("no_judgements", text + _misspelt(claim, names))
    return row | {"possible_n": possible, "chance": chance, "verdict": verdict, "note": note}


def _misspelt(claim, names):
    """Say which names of the judgements a claim may have meant: alike, and with the same digits."""
    meant = []
    for what, known in names.items():
        said = str(claim[what])
        alike = [name for name in known if re.sub(r"\D", "", name) == re.sub(r"\D", "", said)]
        near = difflib.get_close_matches(said, alike, 1, 0.85)
        meant += [f"{what} {str(name)!r}" for name in near if name != said]
    return f"; the judgements name a {' and a '.join(meant)}" if meant else ""


def _judge(half_wins, n, printed, possible, span) -> tuple[str, Note]:
    units, decimals = _parse(printed)
    if rounds_to(Fraction(50 * half_wins, n), Decimal(units).scaleb(-decimals)):
        return REPRODUCED, ""
    value = f"the judgements give {100 * half_wins / (2 * n):.4f} from {half_wins / 2:g} of {n}"
    if not possible:
        text = f"no number of wins and draws gives {printed} at any n from {span}; {value}"
        return IMPOSSIBLE, Reason("impossible", text)
    if _truncates_to(half_wins, n, printed):
        return DIFFERS, Reason("cut_off", f"{value}, cut off instead of rounded")
    return DIFFERS, value


def _listed(numbers, limit=6):
    text = ", ".join(map(str, numbers[:limit]))
    return text + (", ..." if len(numbers) > limit else "")


def check_first(
    table: pd.DataFrame, model: str, *, among: Sequence[str] | None = None, confidence_level: float = 0.95
) -> pd.DataFrame:
    """Check the claim that a model has the highest win rate among some.

    The verdict is about the order of the recomputed win rates. Whether that order is more than noise
    is said by the difference to the runner-up (or to the leader, if another model leads) and its interval.
    Win rates and ranks rest on all judgements of each model; the difference, as in `compare`, on the
    instructions that both share, and ``note`` says how many were left out.

    Parameters
    ----------
    table : DataFrame
        Judgements against one reference by one annotator.
    model : str
        The model said to be first.
    among : sequence of str, optional
        The models it is compared with; None for all in the table.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        One row: ``model``, ``rank``, ``n_models``, ``rival`` (best of the others; of several that tie the
        first by name), ``difference``, ``standard_error``, ``ci_low``, ``ci_high`` (Student's t),
        ``pvalue``, ``paired``, ``n_to_reverse`` (where the model is first: how few of the shared instructions
        put the rival above it when left out; missing without instruction ids), ``verdict``, ``reason``
        ("not_established" where no order is shown, "few_decide" where 1 % of the instructions or fewer carry
        it) and ``note``.

    See Also
    --------
    dropped_to_reverse : Which instructions carry the order.
    rank_sets : Statements about the ranks of many models.
    compare : Two models named beforehand.

    Notes
    -----
    The rival is chosen by the data, so the interval is for this pair alone; a statement about ranks
    among many models is `rank_sets`.

    Examples
    --------
    >>> from alpaca_analysis import from_counts
    >>> table = from_counts({"model": ["a", "b"], "n_wins": [765, 761], "n_losses": [35, 32],
    ...                      "n_draws": [1, 12]})
    >>> check_first(table, "a")[["rank", "rival", "verdict"]]
       rank rival     verdict
    0     1     b  reproduced
    """
    options.check_options(confidence_level)
    table = check(table)
    others = [m for m in (table["model"].dropna().unique() if among is None else among) if m != model]
    if not others:
        raise AnnotationError("at least one model to compare with", column="model", found=f"only {model!r}")
    select_models(table, [model, *others])
    asked = table[table["model"].isin([model, *others])]
    refuse_mixed(asked)
    rates = win_rate_bounds(asked).set_index("model")["win_rate"].sort_index()
    rates = pd.Series(ties.tied(rates), rates.index)
    rival = str(rates.drop(model).idxmax())
    row = compare(table, model, rival, confidence_level=confidence_level)
    estimates = ["difference", "standard_error", "ci_low", "ci_high", "pvalue", "paired"]
    is_first = bool((rates.drop(model) < rates[model]).all())
    few = few_between(asked, model, rival) if is_first else None
    out = pd.DataFrame(
        {
            "model": [model],
            "rank": int((rates > rates[model]).sum()) + 1,
            "n_models": len(others) + 1,
            "rival": rival,
            **row[estimates],
            "n_to_reverse": pd.array([few], dtype="Int64"),
            "verdict": REPRODUCED if is_first else DIFFERS,
        }
    )
    return finish(
        out,
        estimate="difference",
        method="rank by win rate; " + row.attrs["method"],
        interval="t",
        unit=row.attrs["unit"],
        confidence_level=confidence_level,
        differences=["difference"],
        notes=[[*_carried(few, row["n"].iloc[0]), *_doubt(row.iloc[0], rival)]],
    )


def _carried(few, n) -> list[Note]:
    """Return that few judgements carry the first place, where they do."""
    if not few or few > FEW_DECIDE * n:
        return []
    decide = "judgements decide" if few > 1 else "judgement decides"
    return [Reason("few_decide", f"first in the counts, but {few} {decide} it")]


def _doubt(compared, rival) -> list[Note]:
    """Return what keeps the order from being established, and what the difference rests on."""
    notes: list[Note] = []
    if np.isnan(compared["ci_low"]):
        text = f"the difference to {rival} has no interval: the order is not established"
        notes.append(Reason("not_established", text))
    elif (ties.difference(compared[["ci_low", "ci_high"]], 0) * [1, -1] <= 0).all():
        text = f"the interval of the difference to {rival} contains 0: the order is not established"
        notes.append(Reason("not_established", text))
    if left := compared["n_unshared"]:
        shared = f"difference on {compared['n']} shared instructions, rank on all"
        notes.append(Reason("unshared_left_out", f"{shared}: {left} of only one model left out"))
    return notes


def check_averages(
    frame: pd.DataFrame, columns: Sequence[str], printed: str, *, decimals: int = 1
) -> pd.DataFrame:
    """Check printed averages against the printed values they average.

    Parameters
    ----------
    frame : DataFrame
        One row per model, values as printed to `decimals` decimals.
    columns : sequence of str
        The columns that are averaged.
    printed : str
        The column that holds the printed average.
    decimals : int
        Printed decimals of values and average.

    Returns
    -------
    DataFrame
        ``model``, ``printed``, ``recomputed`` (mean of the printed values), ``low`` and ``high`` (the
        means that values rounding to the printed ones can have), ``verdict``, ``reason`` and ``note``;
        where a value or the average is missing they are NaN, and it cannot be tested.

    Raises
    ------
    AnnotationError
        A missing column.

    See Also
    --------
    check_claims : Printed win rates.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"model": ["m"], "a": [56.9], "b": [85.2], "mean": [71.1]})
    >>> check_averages(frame, ["a", "b"], "mean")[["recomputed", "verdict"]]
       recomputed     verdict
    0       71.05  reproduced
    """
    options.whole("decimals", decimals, 0)
    for column in ("model", *columns, printed):
        if column not in frame:
            raise AnnotationError(f"a column {column!r}", source="frame", found=list(frame.columns))
    unit = 10**decimals
    values = (frame[list(columns)].astype(float) * unit).round()
    stated = (frame[printed].astype(float) * unit).round()
    k = len(columns)
    total = values.sum(axis=1, skipna=False)
    excess = (2 * (total - k * stated)).abs()  # in units of 1 / (2 k)
    known = [excess.isna(), excess <= k, excess <= 2 * k]
    verdict = np.select(known, [UNTESTABLE, REPRODUCED, DIFFERS], IMPOSSIBLE)
    mean = total / (k * unit)
    bounds = {"low": mean - 0.5 / unit, "high": mean + 0.5 / unit}
    stated = {"model": frame["model"], "printed": frame[printed], "recomputed": mean}
    missing = Reason("missing", "a value or the average is missing")
    return finish(
        pd.DataFrame({**stated, **bounds, "verdict": verdict}),
        estimate=None,
        method="printed average against the mean of printed values",
        notes=[missing if unknown else "" for unknown in excess.isna()],
    )
