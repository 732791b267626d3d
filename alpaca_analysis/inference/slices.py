"""A statistic in slices of the table: intervals that hold for all slices at once, a test that all are equal.

Every statistic gives its estimates in each slice and what every unit (an instruction, or a judgement without
one) contributes to them. Both answers follow from these contributions alone, whether slices share
instructions or not:

* the largest |t| over all estimates of all slices, in a bootstrap that draws each instruction with all that
  it contributes to any slice (`Shares.max_t`);
* a Wald test that the estimates are the same in all slices (`Shares.equality`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse, special, stats

from alpaca_analysis.foundations.errors import AnnotationError, warn
from alpaca_analysis.inference import resampling
from alpaca_analysis.inference.max_t import MaxT
from alpaca_analysis.inference.ratios import Units

TEST = "Wald test that all slices are equal, clustered; F of the approximate Hotelling T-squared"
BOOTSTRAP = "max-t bootstrap over all intervals of all slices"
SAME = 1e-8  # share of the error, or variance, of independent estimates below which a contrast has none


@dataclass(frozen=True)
class Cut:
    """A table cut into slices.

    Attributes
    ----------
    by : list of str
        Columns that make a slice.
    keys : DataFrame
        Their values, one row per slice, in order.
    code : ndarray of int of shape (n_rows,)
        The slice of each row; -1 where a column has no value.
    n_unknown : int
        Judgements in no slice.
    """

    by: list[str]
    keys: pd.DataFrame
    code: np.ndarray
    n_unknown: int

    def __len__(self) -> int:
        return len(self.keys)

    def parts(self, table: pd.DataFrame) -> list[pd.DataFrame]:
        """Return the rows of each slice."""
        return [self.part(table, k) for k in range(len(self))]

    def part(self, table: pd.DataFrame, k: int) -> pd.DataFrame:
        """Return the rows of one slice."""
        return table[self.code == k].reset_index(drop=True)

    def key(self, k: int) -> tuple:
        """Return the values that name a slice."""
        return tuple(self.keys.iloc[k])

    def named(self, k: int) -> str:
        """Return the name of a slice as messages show it."""
        return "/".join(map(str, self.key(k)))

    def glued(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Return the frames of all slices as one, the columns that name the slice first."""
        sizes = [len(frame) for frame in frames]
        names = self.keys.loc[np.repeat(np.arange(len(self)), sizes)].reset_index(drop=True)
        kept = [frame for frame in frames if len(frame)]
        return pd.concat([names, pd.concat(kept, ignore_index=True)], axis=1)


def cut(table: pd.DataFrame, by: Sequence[str]) -> Cut:
    """Cut a checked table by the values of its columns; rows without a value are in no slice.

    Raises
    ------
    AnnotationError
        A column that holds lists and the like, or no value at all.

    Warns
    -----
    UserWarning
        Rows without a value.

    Examples
    --------
    >>> table = pd.DataFrame({"model": "m", "topic": ["b", "a", "b"], "n": 1})
    >>> found = cut(table, ["topic"])
    >>> found.keys["topic"].tolist(), found.code.tolist()
    (['a', 'b'], [1, 0, 1])
    """
    by = list(by)
    for column in by:
        strange = table[column].map(lambda value: not isinstance(value, Hashable)).to_numpy(dtype=bool)
        if strange.any():
            row = int(np.flatnonzero(strange)[0])
            found = table[column].iloc[row]
            raise AnnotationError("a text, a number or a flag to cut by", row=row, column=column, found=found)
    plain = pd.DataFrame({column: table[column].astype(object) for column in by})
    known = plain.notna().all(axis=1).to_numpy()
    if not known.any():
        raise AnnotationError("at least one known value to cut by, found none", column="/".join(by))
    keys = plain[known].drop_duplicates()
    try:
        keys = keys.sort_values(by)
    except TypeError:  # numbers and texts
        keys = keys.sort_values(by, key=lambda values: values.astype(str))
    keys = keys.reset_index(drop=True)
    place = {key: k for k, key in enumerate(keys.itertuples(index=False, name=None))}
    code = np.array([place.get(key, -1) for key in plain.itertuples(index=False, name=None)])
    code[~known] = -1
    n_unknown = int(table["n"].to_numpy()[~known].sum())
    if n_unknown:
        counted = "1 judgement is" if n_unknown == 1 else f"{n_unknown} judgements are"
        warn(f"{counted} in no slice: no value of {'/'.join(by)}")
    return Cut(by, keys.infer_objects(), code, n_unknown)


@dataclass(frozen=True)
class Part:
    """What units contribute to some of the estimates.

    Attributes
    ----------
    share : ndarray of shape (n_units, n_columns)
        Linearised contributions, which sum to 0 over units.
    columns : array of int
        Which estimates these are.
    ids : sequence, optional
        What each unit is: parts that hold the same id share the unit. Without, no other part holds them.
    counts : ndarray of shape (n_units,), optional
        How many equal units each row stands for; 1 by default.
    member : ndarray of bool of shape (n_units, n_columns), optional
        Which units belong to an estimate; by default all.
    """

    share: np.ndarray
    columns: ArrayLike
    ids: Sequence[Any] | None = None
    counts: np.ndarray | None = None
    member: np.ndarray | None = None


@dataclass(frozen=True)
class Shares:
    """What every unit contributes to every estimate of every slice.

    Attributes
    ----------
    values : ndarray of shape (n_units, n_estimates)
        Contributions, scaled so that their squares sum to the squared standard error.
    member : ndarray of bool of the same shape
        Which units belong to an estimate.
    counts, strata : ndarray of shape (n_units,)
        Equal units each row stands for; what is drawn together.
    slices, labels : ndarray of int of shape (n_estimates,)
        The slice of each estimate, and what it is the estimate of.
    estimate, error, df : ndarray of shape (n_estimates,)
        Estimates with their standard errors, NaN or 0 where undefined, and the degrees of freedom of these.
    """

    values: np.ndarray
    member: np.ndarray
    counts: np.ndarray
    strata: np.ndarray
    slices: np.ndarray
    labels: np.ndarray
    estimate: np.ndarray
    error: np.ndarray
    df: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Return which estimates have an error."""
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.estimate) & (self.error > 0) & self.values.any(axis=0)

    def only(self, columns: ArrayLike) -> Shares:
        """Return some of the estimates."""
        k = np.asarray(columns, dtype=np.int64)
        parts = (self.slices, self.labels, self.estimate, self.error, self.df)
        return Shares(self.values[:, k], self.member[:, k], self.counts, self.strata, *(v[k] for v in parts))

    def max_t(self, *, n_resamples: int, rng: Any) -> MaxT:
        """Return the law of the largest |t| over all estimates, each unit drawn with all it contributes."""
        largest, rng = np.zeros(n_resamples, dtype=np.float32), np.random.default_rng(rng)
        for rows, columns in self._apart():
            t = (self.values[np.ix_(rows, columns)] / self.error[columns]).astype(np.float32)
            counts, strata = self.counts[rows], np.unique(self.strata[rows], return_inverse=True)[1]
            multiplicity = None if (counts == 1).all() else counts
            units = Units(t, t, multiplicity, strata if strata.any() else None)
            start = 0
            for weights in resampling.draw_weights(units, n_resamples=n_resamples, rng=rng, dtype=np.float32):
                inside = slice(start, start + len(weights))
                largest[inside] = np.maximum(largest[inside], np.abs(weights @ t).max(axis=1))
                start += len(weights)
        return MaxT(largest.astype(float))

    def _apart(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows and columns of estimates that share no unit with any others."""
        columns = np.flatnonzero(self.known)
        n_strata = self.strata.max(initial=-1) + 1
        used = np.array([self.values[self.strata == s][:, columns].any(axis=0) for s in range(n_strata)])
        used = used.reshape(n_strata, len(columns)).astype(float)
        groups = sparse.csgraph.connected_components(used.T @ used, directed=False)[1]
        for group in range(groups.max(initial=-1) + 1):
            inside = groups == group
            strata = np.flatnonzero(used[:, inside].any(axis=1))
            yield np.flatnonzero(np.isin(self.strata, strata)), columns[inside]

    def equality(self, *, relative: bool = False) -> dict[str, Any]:
        """Test that the estimates of each label are the same in all slices.

        The statistic is d' V^-1 d for the differences d of the estimates between slices and their covariance
        V over units. It is referred to F as an approximate Hotelling T-squared, whose degrees of freedom are
        matched to the variance of V: with the units of each set of slices taken for alike, eta is
        q (q + 1) / sum_p (tr(A_p)^2 + tr(A_p^2)) / (n_p - 1), A_p the part of V of the n_p units that are
        in the slices p, in units of V. Two slices that share no unit give Welch's t, slices that share all
        give Hotelling's T-squared.

        Parameters
        ----------
        relative : bool
            Whether estimates have a zero of their own in each slice, so that only their differences within it
            can be compared: then these are the same in all slices.

        Returns
        -------
        dict
            ``test``, ``statistic`` (F), ``df`` (two numbers), ``pvalue``, ``n_compared`` (slices),
            ``n_labels`` (what is compared between them: models, pairs, annotators) and ``why_undefined``, ""
            where it is defined.

        References
        ----------
        Pustejovsky, J. E., Tipton, E. (2018). Small-sample methods for cluster-robust variance estimation and
        hypothesis testing in fixed effects models. Journal of Business & Economic Statistics 36(4), 672-683.

        Zhang, J.-T. (2013). Tests of linear hypotheses in the ANOVA under heteroscedasticity. International
        Journal of Advanced Statistics and Probability 1(2), 9-24.
        """
        contrast, n_compared, n_labels = self._contrasts(relative)
        out = {"test": TEST, "statistic": np.nan, "df": (np.nan, np.nan), "pvalue": np.nan}
        out |= {"n_compared": n_compared, "n_labels": n_labels, "why_undefined": ""}
        if not len(contrast):
            return out | {"why_undefined": "fewer than two slices with an estimate and an error"}
        d, z = contrast @ np.nan_to_num(self.estimate), self.values @ contrast.T
        spread = np.sqrt(self.counts @ z**2)
        moving = spread > SAME * np.sqrt(contrast**2 @ np.nan_to_num(self.error) ** 2)
        if not moving.any():
            return out | {"why_undefined": "no variation in the differences between slices"}
        z, d = z[:, moving] / spread[moving], d[moving] / spread[moving]
        root, vectors = np.linalg.eigh((z.T * self.counts) @ z)
        kept = root > SAME * root[-1]
        turn = vectors[:, kept] / np.sqrt(root[kept])
        q, eta = int(kept.sum()), self._eta(z @ turn)
        if not eta - q + 1 > 0:
            text = f"too few units for a test of {q} differences at once: they are worth {eta:.0f}"
            return out | {"why_undefined": text}
        squared = float(((d @ turn) ** 2).sum())
        f, df = float(squared * (eta - q + 1) / (eta * q)), (q, float(eta - q + 1))
        return out | {"statistic": f, "df": df, "pvalue": float(stats.f.sf(f, *df))}

    def _eta(self, z: np.ndarray) -> float:
        """Return the degrees of freedom of the covariance of standardised contributions."""
        n_slices = self.slices.max() + 1
        inside = np.zeros((len(z), n_slices), dtype=bool)
        for k in np.flatnonzero(self.known):
            inside[:, self.slices[k]] |= self.member[:, k]
        pattern = np.unique(inside, axis=0, return_inverse=True)[1].ravel()
        lost = 0.0
        for p in np.unique(pattern):
            units = pattern == p
            a = (z[units].T * self.counts[units]) @ z[units]
            lost += (np.trace(a) ** 2 + (a**2).sum()) / max(self.counts[units].sum() - 1, 1)
        q = z.shape[1]
        return q * (q + 1) / lost

    def _contrasts(self, relative: bool) -> tuple[np.ndarray, int, int]:
        """Return the differences between slices, one row each; how many slices and labels they compare."""
        known, rows, used = self.known, [], set()
        at = {(self.slices[k], self.labels[k]): k for k in np.flatnonzero(known)}
        compared = set()
        labels = list(dict.fromkeys(self.labels.tolist()))
        if relative:
            slices = sorted({s for s, _ in at})
            labels = [label for label in labels if all((s, label) in at for s in slices)]
        for label in labels[1:] if relative else labels:
            inside = sorted(s for s, other in at if other == label)
            compared |= set(inside) if len(inside) > 1 else set()
            used |= {label, *(labels[:1] if relative else ())} if len(inside) > 1 else set()
            for s in inside[1:]:
                row = np.zeros(len(known))
                for one, sign in ((s, 1.0), (inside[0], -1.0)):
                    row[at[one, label]] += sign
                    if relative:
                        row[at[one, labels[0]]] -= sign
                rows.append(row)
        return np.array(rows), len(compared), len(used)


def shares(
    parts: Iterable[Part],
    *,
    slices: ArrayLike,
    labels: ArrayLike,
    estimate: ArrayLike,
    error: ArrayLike,
    df: ArrayLike | None = None,
) -> Shares:
    """Bring the contributions of all parts together, units by their ids.

    Parameters
    ----------
    parts : iterable of Part
        Contributions to the estimates.
    slices, labels, estimate, error, df
        Of every estimate, as `Shares` has them; without `df` the units behind it, less one.

    Examples
    --------
    >>> parts = [Part(np.array([[0.5], [-0.5]]), [0], ["i", "j"]),
    ...          Part(np.array([[1.0], [-1.0]]), [1], ["j", "k"])]
    >>> found = shares(parts, slices=[0, 1], labels=[0, 0], estimate=[0.5, 0.7], error=[0.1, 0.2])
    >>> found.values.round(3).tolist()
    [[0.071, 0.0], [-0.071, 0.141], [0.0, -0.141]]
    """
    parts = list(parts)
    error = np.asarray(error, dtype=float)
    ids: dict[Any, int] = {}
    places: list[np.ndarray] = []
    for k, part in enumerate(parts):
        own = part.ids if part.ids is not None else [(k, "own", i) for i in range(len(part.share))]
        places.append(np.array([ids.setdefault(one, len(ids)) for one in own], dtype=np.int64))
    values, counts = np.zeros((len(ids), len(error))), np.ones(len(ids), dtype=np.int64)
    member = np.zeros(values.shape, dtype=bool)
    for part, place in zip(parts, places, strict=True):
        cells = np.ix_(place, np.asarray(part.columns))
        values[cells] += part.share
        member[cells] |= True if part.member is None else part.member
        if part.counts is not None:
            counts[place] = part.counts
    plain = np.sqrt(counts @ values**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.nan_to_num(values * np.where(plain > 0, error / plain, 0.0))
    links = sparse.coo_array(
        (
            np.ones(sum(map(len, places))),
            (np.concatenate(places), np.repeat(np.arange(len(parts)), [len(place) for place in places])),
        ),
        shape=(len(ids), len(parts)),
    )
    joined = sparse.csgraph.connected_components(links.T @ links, directed=False)[1]
    strata = np.zeros(len(ids), dtype=np.int64)
    for part, place in zip(joined, places, strict=True):
        strata[place] = part
    return Shares(
        values,
        member,
        counts,
        strata,
        np.asarray(slices, dtype=np.int64),
        np.asarray(labels, dtype=np.int64),
        np.asarray(estimate, dtype=float),
        error,
        np.maximum(counts @ member - 1, 1).astype(float) if df is None else np.asarray(df, dtype=float),
    )


def bounds(estimate: np.ndarray, half: np.ndarray, *, logit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals estimate -+ half; of fractions on the logit scale, between 0 and 1.

    Examples
    --------
    >>> [x.round(3).tolist() for x in bounds(np.array([0.9]), np.array([0.1]), logit=True)]
    [[0.748], [0.965]]
    """
    if not logit:
        return estimate - half, estimate + half
    with np.errstate(invalid="ignore", divide="ignore"):
        wide, middle = half / (estimate * (1 - estimate)), special.logit(estimate)
        return special.expit(middle - wide), special.expit(middle + wide)


def simultaneous(
    shares: Shares, *, confidence_level: float, n_resamples: int, rng: Any, logit: bool = False
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return intervals of all estimates that hold at once, and the critical value of the largest |t|.

    Parameters
    ----------
    shares : Shares
        Estimates with their errors and contributions.
    confidence_level, n_resamples, rng
        Of the intervals.
    logit : bool
        Whether estimates are fractions, whose intervals are made on the logit scale.

    Returns
    -------
    low, high : ndarray of shape (n_estimates,)
        NaN where an estimate has no error.
    critical : float
    """
    law = shares.max_t(n_resamples=n_resamples, rng=rng)
    critical = law.critical(confidence_level)
    half = np.where(shares.known, law.of_t(critical, shares.df) * shares.error, np.nan)
    return *bounds(shares.estimate, half, logit=logit), critical


def said(
    cut: Cut,
    equality: Mapping[str, Any],
    *,
    confidence_level: float,
    n_intervals: int,
    critical_value: float,
) -> dict[str, Any]:
    """Return what a result says of its slices: intervals, their level and number, and the test of equality.

    Returns
    -------
    dict
        ``by``, ``n_slices``, ``n_unknown`` (judgements in no slice), ``interval``, ``confidence_level``,
        ``n_intervals``, ``critical_value``; what `Shares.equality` gives, and ``note``, the same in a
        sentence.
    """
    return {
        "by": cut.by,
        "n_slices": len(cut),
        "n_unknown": cut.n_unknown,
        "interval": BOOTSTRAP,
        "confidence_level": confidence_level,
        "n_intervals": n_intervals,
        "critical_value": critical_value,
        **{name: value for name, value in equality.items() if name != "why_undefined"},
        "note": _sentence(len(cut), n_intervals, confidence_level, equality),
    }


def _sentence(n_slices: int, n_intervals: int, confidence_level: float, equality: Mapping[str, Any]) -> str:
    level = f"{100 * confidence_level:.4g} %"
    first = f"the {n_intervals} intervals of {n_slices} slices hold at once at {level}"
    if equality["why_undefined"]:
        return f"{first}; that all slices are equal is not tested: {equality['why_undefined']}"
    q, left = equality["df"]
    pvalue = equality["pvalue"]
    shown = "p < 0.0001" if pvalue < 1e-4 else f"p = {pvalue:.2g}"
    return (
        f"{first}; test that all slices are equal: F({q}, {left:.1f}) = {equality['statistic']:.3g}, {shown}"
    )
