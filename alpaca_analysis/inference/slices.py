"""A statistic in slices of the table: intervals that hold for all slices at once, a test that all are equal.

Every statistic gives its estimates in each slice and what every unit (an instruction, or a judgement without
one) contributes to them. Both answers follow from these contributions alone, whether slices share
instructions or not:

* the largest |t| over all estimates of all slices, in a bootstrap that weighs each instruction with all that
  it contributes to any slice (`Shares.max_t`);
* a Wald test that the estimates are the same in all slices (`Shares.equality`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse, special, stats

from alpaca_analysis.foundations.errors import AnnotationError, UndefinedWarning, warn
from alpaca_analysis.inference.max_t import MaxT

TEST = "Wald test that all slices are equal, clustered; F of the approximate Hotelling T-squared"
BOOTSTRAP = "max-t over all intervals of all slices, multiplier bootstrap over units"
BLOCK = 1000  # resamples drawn at once
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

    def name(self, k: int) -> Any:
        """Return what names a slice: the value of one column, a tuple of several."""
        key = tuple(value.item() if isinstance(value, np.generic) else value for value in self.key(k))
        return key[0] if len(key) == 1 else key

    def glued(
        self, frames: Sequence[pd.DataFrame], absent: Sequence[pd.DataFrame] | None = None
    ) -> pd.DataFrame:
        """Return the frames of all slices as one, the columns that name the slice first.

        Parameters
        ----------
        frames : sequence of DataFrame
            One for each slice.
        absent : sequence of DataFrame, optional
            Rows to add to each, of what it says nothing of; their other columns are NaN.
        """
        if absent is not None and any(map(len, absent)):
            columns = next(frame.columns for frame in frames if len(frame.columns))
            whole = {c for frame in frames for c in frame if pd.api.types.is_integer_dtype(frame[c])}
            frames = [frame.astype({c: "Int64" for c in whole if c in frame}) for frame in frames]
            frames = [
                pd.concat([frame, rows.reindex(columns=columns)]) if len(rows) else frame
                for frame, rows in zip(frames, absent, strict=True)
            ]
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


Result = TypeVar("Result")


def each(
    table: pd.DataFrame, found: Cut, statistic: Callable[[pd.DataFrame], Result]
) -> tuple[dict[int, Result], dict[int, str]]:
    """Return the results of the slices that allow one, and why the others do not.

    Parameters
    ----------
    table : DataFrame
        Checked judgements.
    found : Cut
        Its slices.
    statistic : callable
        Takes the rows of a slice.

    Raises
    ------
    AnnotationError
        No slice allows a result: what the first says.
    """
    results: dict[int, Result] = {}
    undefined: dict[int, AnnotationError] = {}
    for k in range(len(found)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedWarning)  # the whole warns once
            try:
                results[k] = statistic(found.part(table, k))
            except AnnotationError as error:
                undefined[k] = error
    if not results:
        raise undefined[0]
    said = {k: str(error).removeprefix("table, ").removeprefix("table: ") for k, error in undefined.items()}
    return results, said


@dataclass(frozen=True, repr=False)
class Slices(Mapping[Any, Any]):
    """Results of every slice of a table, by the value that names the slice (a tuple of several columns).

    Attributes
    ----------
    results : mapping
        The result of each slice that allows one, as of its rows alone.
    undefined : mapping
        Why others allow none.
    frame : DataFrame
        What `to_frame` returns.

    Examples
    --------
    >>> from alpaca_analysis import bradley_terry
    >>> battles = pd.DataFrame({"model": "a", "reference": "b", "outcome": [1, 0, 1, 0],
    ...                         "n": [30, 20, 25, 25], "topic": ["art", "art", "law", "law"]})
    >>> found = bradley_terry(battles, by="topic", n_resamples=99)
    >>> list(found), found["art"].to_frame()["model"].tolist()
    (['art', 'law'], ['a', 'b'])
    """

    results: Mapping[Any, Any]
    undefined: Mapping[Any, str]
    frame: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the rows of all slices, the columns that name the slice first.

        Intervals hold for all of them at once, those of one slice's own result for that slice alone. What
        ``.attrs["slices"]`` says is in `equality`.
        """
        frame = self.frame.copy()
        frame.attrs = dict(self.frame.attrs)
        return frame

    @property
    def equality(self) -> Mapping[str, Any]:
        """What is said of all slices: level and number of intervals, and the test that they are equal."""
        return self.frame.attrs["slices"]

    def __getitem__(self, key: Any) -> Any:
        if key in self.undefined:
            raise KeyError(f"{key!r} is undefined: {self.undefined[key]}")
        return self.results[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.results))
        return f"{len(self)} slices by {'/'.join(self.equality['by'])}: {names}\n{self.equality['note']}"


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

    def on_logit_scale(self) -> Shares:
        """Return the log odds of estimates that are fractions; 0 and 1 have none.

        Tests of equal fractions keep their level there: near 0 and 1 the Wald test rejects up to 8 % on the
        scale of fractions (slices of 20 to 250, .8 and .9), and no more than 4.5 % on this one.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = 1 / (self.estimate * (1 - self.estimate))
            error, estimate = self.error * slope, special.logit(self.estimate)
        slope = np.where(np.isfinite(slope), slope, 0.0)
        return replace(self, values=self.values * slope, estimate=estimate, error=error)

    def max_t(self, *, n_resamples: int, rng: Any) -> MaxT:
        """Return the law of the largest |t| over all estimates, by the multiplier bootstrap.

        A resample multiplies each unit, with all that it contributes to any slice, by a standard normal.
        Every t then has the law of the normal, and their correlations are those of the contributions, also
        where few units carry an estimate, whose multinomial resamples would be all of one kind.

        References
        ----------
        Chernozhukov, V., Chetverikov, D., Kato, K. (2013). Gaussian approximations and multiplier bootstrap
        for maxima of sums of high-dimensional random vectors. Annals of Statistics 41(6), 2786-2819.
        """
        largest, rng = np.zeros(n_resamples), np.random.default_rng(rng)
        for rows, columns in self._apart():
            t = self.values[np.ix_(rows, columns)] * np.sqrt(self.counts[rows])[:, None] / self.error[columns]
            if len(rows) > len(columns):  # the same law from fewer draws
                t = np.linalg.qr(t, mode="r")
            for start in range(0, n_resamples, BLOCK):
                inside = slice(start, start + BLOCK)
                drawn = rng.standard_normal((len(largest[inside]), len(t))) @ t
                largest[inside] = np.maximum(largest[inside], np.abs(drawn).max(axis=1))
        return MaxT(largest)

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
    shares = shares.on_logit_scale() if logit else shares
    law = shares.max_t(n_resamples=n_resamples, rng=rng)
    critical = law.critical(confidence_level)
    half = np.where(shares.known, law.of_t(critical, shares.df) * shares.error, np.nan)
    low, high = shares.estimate - half, shares.estimate + half
    return (special.expit(low), special.expit(high), critical) if logit else (low, high, critical)


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
