"""Verdicts of several annotators on the same pairs, and majorities with ties in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.ratios import Units
from alpaca_analysis.table.checks import check, refuse

VERDICTS = np.array(ties.VERDICTS)


@dataclass(frozen=True)
class Votes:
    """Human votes and judges' verdicts on the same pairs, all seen from the same side.

    Attributes
    ----------
    items : DataFrame
        One row per pair with at least one human vote: ``instruction_id``, ``dataset``, ``model``,
        ``reference``, lengths and ``n``; further columns of the judges' table, where constant.
    voters : DataFrame of shape (n_items, n_voters)
        Outcome given by each human, NaN where there is none.
    judges : dict of str to ndarray of shape (n_items, n_repeats)
        Outcomes given by each judge, NaN where there is none.
    unmatched : dict of str to int
        Pairs that a judge judged and no human did.
    on : tuple of str
        Columns that told comparisons of one pair apart.
    place : ndarray of int of shape (n_rows of the judges' table,)
        Which of `items` each row is about; -1 where none is.
    turned : ndarray of bool of the same shape
        Whether the row has the sides the other way round.
    voted : ndarray of int of shape (n_rows of the people's table,)
        Which of `items` each of people's rows is about; -1 where none is.
    """

    items: pd.DataFrame
    voters: pd.DataFrame
    judges: dict[str, np.ndarray]
    unmatched: dict[str, int]
    on: tuple[str, ...]
    place: np.ndarray
    turned: np.ndarray
    voted: np.ndarray

    @property
    def unit(self) -> str:
        """Return what is resampled."""
        by_count = self.items["instruction_id"].isna().all()
        return "pair (no instruction ids)" if by_count else "instruction"

    @property
    def counts(self) -> np.ndarray:
        """Return the number of votes for each of `VERDICTS`, of shape (n_items, 3)."""
        return tally(self.voters.to_numpy())

    def units(self, scores: np.ndarray) -> Units:
        """Sum scores (n_items, n_columns; NaN where undefined) by instruction."""
        return clustered(self.items, scores)


def match(
    table: pd.DataFrame,
    humans: pd.DataFrame,
    *,
    on: Sequence[str] | None = None,
    unvoted: bool = False,
) -> Votes:
    """Bring the verdicts of judges and humans on the same pairs together.

    A pair is an instruction and two models, whichever of them is called the reference. Several
    judgements of a pair by one annotator (``repeat``, ``position``) stay several.

    Parameters
    ----------
    table : DataFrame
        Judgements by one or more judges.
    humans : DataFrame
        Judgements by one or more people; verdicts only (0, 0.5 or 1).
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart. By default ``idx`` where both
        tables have it, and ``repeat`` where both have it and it numbers comparisons, as PandaLM's does:
        each of its values belongs to one pair only, and several people share it. Values that come back
        from pair to pair (0, 1, ...) number the judgements of one annotator; where they number
        comparisons, say ``on=["repeat"]``. Rows left out change nothing of this. Where there are no
        instructions, as in tables of counts, these columns alone identify the pair, and ``n`` says how
        many pairs a row stands for.
    unvoted : bool
        Keep also the pairs that no person judged.

    Returns
    -------
    Votes
        What the statistics of agreement need.

    Raises
    ------
    AnnotationError
        Nothing to match by, no pair in common, or a human outcome that is not a verdict.
    """
    on = matching_columns(on)
    table, humans = check(table, source="table"), check(humans, source="humans")
    for column in on or ():
        check(table, source="table", require=[column])
        check(humans, source="humans", require=[column])
    _check_verdicts(humans)
    rows = _stack(table, humans)
    flipped = (rows["model"] > rows["reference"]).to_numpy()
    rows["low"] = rows["reference"].where(flipped, rows["model"])
    rows["high"] = rows["model"].where(flipped, rows["reference"])
    both = [c for c in ("idx", "repeat") if c in table and c in humans]
    on = comparison_columns(rows, both) if on is None else on
    by_count = rows["instruction_id"].isna().all()
    if by_count and not on:
        raise AnnotationError(
            "instruction ids in both tables, or a column that identifies pairs", column="instruction_id"
        )
    if rows["instruction_id"].isna().any() and not by_count:
        side = rows.loc[rows["instruction_id"].isna()].iloc[0]
        raise AnnotationError(
            "an instruction id on every row", source=side["side"], row=side["row"], column="instruction_id"
        )
    item = rows.groupby(["instruction_id", "low", "high", *on], dropna=False, sort=False).ngroup().to_numpy()
    first = np.unique(item, return_index=True)[1]
    turn = flipped != flipped[first][item]
    rows["outcome"] = np.where(turn, 1 - rows["outcome"], rows["outcome"])
    lengths = rows[["length_model", "length_reference"]].to_numpy()
    rows[["length_model", "length_reference"]] = np.where(turn[:, None], lengths[:, ::-1], lengths)
    return _align(rows, item, first, turn, tuple(on), unvoted)


def matching_columns(on: Sequence[str] | None) -> list[str] | None:
    """Return the columns that tell comparisons of one pair apart as a list, or raise; None where not said."""
    return on if on is None else [] if on in ([], ()) else options.groups(on, name="on")


def _check_verdicts(humans):
    strange = humans["outcome"].notna() & ~humans["outcome"].isin(VERDICTS)
    expected = "a verdict of a person: 0, 0.5 or 1"
    refuse(strange, expected, humans["outcome"], column="outcome", source="humans")


def comparison_columns(rows: pd.DataFrame, both: Sequence[str]) -> list[str]:
    """Return which of the columns `both` tell comparisons of the same pair apart (see `match`).

    Parameters
    ----------
    rows : DataFrame
        Judgements with ``instruction_id``, ``low`` and ``high`` (the names of a pair), ``side`` ("humans" for
        those among whom several share a comparison) and ``annotator``.
    both : sequence of str
        "idx" and "repeat", where there are.

    Returns
    -------
    list of str
    """
    found = ["idx"] if "idx" in both else []
    if "repeat" in both:
        pair = rows.groupby(["instruction_id", "low", "high", *found], dropna=False).ngroup()
        holders = pair.groupby(rows["repeat"], dropna=False).nunique()
        people = rows[rows["side"] == "humans"].groupby([pair, "repeat"], dropna=False)["annotator"]
        if (holders == 1).all() and people.nunique().max() > 1:
            found.append("repeat")
    return found


def _stack(table, humans):
    parts = []
    for side, frame in (("table", table), ("humans", humans)):
        names = {c: frame[c].astype(object).where(frame[c].notna(), "") for c in ("model", "reference")}
        annotator = frame["annotator"].astype(object).where(frame["annotator"].notna(), side.rstrip("s"))
        parts.append(frame.assign(**names, annotator=annotator, side=side, row=np.arange(len(frame))))
    shared = [c for c in parts[0].columns if c in parts[1].columns]
    extra = [c for c in parts[0].columns if c not in shared]
    return pd.concat([parts[0][shared + extra], parts[1][shared]], ignore_index=True)


def _align(rows, item, first, turn, on, unvoted):
    by_count = rows["instruction_id"].isna().all()
    human = (rows["side"] == "humans").to_numpy()
    voted = np.zeros(len(first), dtype=bool)
    voted[item[human & rows["outcome"].notna().to_numpy()]] = True
    judged = np.zeros(len(first), dtype=bool)
    judged[item[~human]] = True
    if not (voted & judged).any():
        raise AnnotationError(
            "pairs judged in both tables; compare their instruction_id, model and reference", source="humans"
        )
    kept = voted | judged if unvoted else voted
    code = np.where(kept, np.cumsum(kept) - 1, -1)[item]
    size = int(kept.sum())
    items = rows.iloc[first[kept]].drop(columns=["side", "row", "low", "high", "outcome", "annotator"])
    items = items.reset_index(drop=True)
    if not by_count:
        items["n"] = 1
    elif (items["n"].to_numpy()[code[code >= 0]] != rows["n"].to_numpy()[code >= 0]).any():
        raise AnnotationError("the same n on all rows of a pair", column="n", found="several")
    voters, judges, unmatched = {}, {}, {}
    for (side, name), members in rows.groupby(["side", "annotator"], sort=True).indices.items():
        columns = _columns(rows.iloc[members], code[members], size, by_count)
        if side == "table":
            judges[str(name)] = columns
            unmatched[str(name)] = len(np.unique(item[members][~voted[item[members]]]))
        elif columns.shape[1] == 1:
            voters[str(name)] = columns[:, 0]
        else:
            voters |= {f"{name} {k + 1}": columns[:, k] for k in range(columns.shape[1])}
    return Votes(items, pd.DataFrame(voters), judges, unmatched, on, code[~human], turn[~human], code[human])


def _columns(rows, code, size, by_count):
    """Return one annotator's outcomes: one row per pair, one column for each time that it was judged."""
    known = code >= 0
    code, outcome = code[known], rows["outcome"].to_numpy()[known]
    if not by_count:
        n = rows["n"].to_numpy()[known]
        code, outcome = np.repeat(code, n), np.repeat(outcome, n)
    order = np.argsort(code, kind="stable")
    code, outcome = code[order], outcome[order]
    times = np.arange(len(code)) - np.searchsorted(code, code)
    out = np.full((size, times.max(initial=0) + 1), np.nan)
    out[code, times] = outcome
    return out


def clustered(items: pd.DataFrame, scores: np.ndarray, weights: np.ndarray | None = None) -> Units:
    """Return the (weighted) sums of `scores` by instruction; pairs without one are units of their own."""
    scores = scores.reshape(len(items), -1)
    scored = ~np.isnan(scores)
    weights = scored.astype(float) if weights is None else np.where(scored, weights, 0.0)
    sums = [np.where(scored, scores, 0.0) * weights, weights]
    if items["instruction_id"].isna().all():
        counts = items["n"].to_numpy()
        # What a seed draws must not depend on the order of rows.
        order = np.lexsort([counts, *sums[0].T, *sums[1].T])
        keep = order[scored.any(axis=1)[order]]
        return Units(sums[0][keep], sums[1][keep], counts[keep])
    code, ids = pd.factorize(items["instruction_id"], sort=True)
    sums = [np.stack([np.bincount(code, s[:, k], len(ids)) for k in range(s.shape[1])], axis=1) for s in sums]
    keep = sums[1].any(axis=1)
    return Units(sums[0][keep], sums[1][keep])


def tally(outcomes: np.ndarray) -> np.ndarray:
    """Count each of `VERDICTS` along the rows of `outcomes`; NaN is no vote."""
    return (outcomes[:, :, None] == VERDICTS).sum(axis=1)


def majority(counts: np.ndarray, size: int | None = None) -> np.ndarray:
    """Return the probability of each verdict to be the majority, ties broken at random.

    Parameters
    ----------
    counts : ndarray of shape (n_items, 3)
        Votes for each of `VERDICTS`.
    size : int, optional
        Take the majority of so many votes drawn without replacement; by default of all.

    Returns
    -------
    ndarray of shape (n_items, 3)
        Rows sum to 1; NaN where there are no votes, or fewer than `size`.

    Examples
    --------
    >>> majority(np.array([[1, 0, 1], [0, 1, 2]])).tolist()
    [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
    >>> majority(np.array([[0, 1, 2]]), size=1).round(3).tolist()
    [[0.0, 0.333, 0.667]]
    """
    total = counts.sum(axis=1, keepdims=True)
    if size is None:
        top = ((counts == counts.max(axis=1, keepdims=True)) & (counts > 0)).astype(float)
        with np.errstate(invalid="ignore"):
            return top / top.sum(axis=1, keepdims=True)
    out = np.zeros(counts.shape)
    for drawn in panels(size):
        out += ways(counts, drawn)[:, None] * majority(drawn[None, :])
    choices = special.comb(total, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(choices > 0, out / choices, np.nan)


def ways(counts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return in how many ways the votes `drawn` can be picked from each row of `counts`."""
    return special.comb(counts, drawn).prod(axis=1)


def panels(size: int) -> Iterator[np.ndarray]:
    """Yield every way in which `size` votes can fall on the verdicts."""
    for a in range(size + 1):
        for b in range(size + 1 - a):
            yield np.array([a, b, size - a - b])


def leave_one_out(counts: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield, for each verdict, the share of voters who gave it and the votes without one of them."""
    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(total > 1, total, np.nan)
    for v in range(len(VERDICTS)):
        left = counts.copy()
        left[:, v] = np.maximum(left[:, v] - 1, 0)
        yield v, shares[:, v], left


def remaining_majority(counts: np.ndarray, size: int | None = None) -> np.ndarray:
    """Return the majority's probabilities as `majority` does, averaged over leaving one voter out."""
    out = np.zeros(counts.shape)
    for _, share, left in leave_one_out(counts):
        out += _times(share, majority(left, size))
    return out


def _times(share, probability):
    """Multiply, taking an impossible case (share 0) for 0 also where its majority is undefined."""
    return np.where(share[:, None] == 0, 0.0, share[:, None] * probability)


def score(outcomes: np.ndarray, target: np.ndarray, scoring: str) -> np.ndarray:
    """Return the expected score of outcomes against a random verdict.

    Parameters
    ----------
    outcomes : ndarray of shape (n_items,) or (n_items, n_repeats)
        What the annotator said; NaN where it said nothing. Repeats are averaged.
    target : ndarray of shape (n_items, 3)
        Probability of each of `VERDICTS`.
    scoring : {"zero_one", "absolute"}
        1 if equal else 0, or 1 - |difference|.

    Returns
    -------
    ndarray of shape (n_items,)
        NaN where outcome or target is undefined.
    """
    outcomes = outcomes.reshape(len(target), -1)
    apart = np.abs(outcomes[:, :, None] - VERDICTS)
    points = (apart == 0).astype(float) if scoring == "zero_one" else 1 - apart
    each = np.where(np.isnan(outcomes), np.nan, (points * target[:, None, :]).sum(axis=2))
    return mean_of_known(each)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row over its numbers, NaN where there are none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)


def voter_scores(counts: np.ndarray, scoring: str, size: int | None = None) -> np.ndarray:
    """Return the expected score of one voter against the majority of the others (or of `size` of them)."""
    out = np.zeros(len(counts))
    for v, share, left in leave_one_out(counts):
        points = score(np.full(len(counts), VERDICTS[v]), majority(left, size), scoring)
        out += np.where(share == 0, 0.0, share * points)
    return out
