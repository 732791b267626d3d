"""Several judges of the same pairs as one: their mean, their majority, or Dawid and Skene's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from alpaca_analysis.biases.sides import named_judges, one_side, require_ids, singly
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim, warn
from alpaca_analysis.inference.results import finish
from alpaca_analysis.people.votes import comparison_columns, matching_columns
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import require_judged

Rule = Literal["mean", "majority", "dawid_skene"]
PANEL = "panel"
VERDICTS = np.array(ties.VERDICTS)
SMALLEST = 1e-10  # probabilities of a verdict are no smaller, as in crowd-kit


@dataclass(frozen=True)
class Votes:
    """What each judge says of each pair, all of a pair seen from one side.

    Attributes
    ----------
    items : DataFrame
        One row per pair: the columns that are the same on all its rows.
    item, judge : ndarray of int of shape (n_votes,)
        The pair and the judge of each usable judgement.
    outcome : ndarray of shape (n_votes,)
        In [0, 1].
    judges : list of str
        Names.
    """

    items: pd.DataFrame
    item: np.ndarray
    judge: np.ndarray
    outcome: np.ndarray
    judges: list[str]

    def by_judge(self) -> np.ndarray:
        """Return each judge's mean outcome of each pair, of shape (n_items, n_judges), NaN without any."""
        shape = (len(self.items), len(self.judges))
        cell = self.item * shape[1] + self.judge
        counts = np.bincount(cell, minlength=shape[0] * shape[1])
        sums = np.bincount(cell, self.outcome, shape[0] * shape[1])
        with np.errstate(invalid="ignore"):
            return ties.verdicts((sums / counts).reshape(shape))

    def without(self, judge: int) -> Votes:
        """Return the votes of the other judges."""
        kept = self.judge != judge
        names = [name for k, name in enumerate(self.judges) if k != judge]
        others = self.judge[kept] - (self.judge[kept] > judge)
        return Votes(self.items, self.item[kept], others, self.outcome[kept], names)


@dataclass(frozen=True)
class DawidSkene:
    """Judges as noisy readings of a verdict that nobody sees.

    Attributes
    ----------
    prior : Series
        Probability of each true verdict (index ``outcome``: 0, 0.5, 1).
    confusion : DataFrame
        ``annotator``, ``truth``, ``said``, ``probability``: how often a judge says one where another is true.
    posterior : DataFrame
        One row per pair: its names, ``p_0``, ``p_half`` and ``p_1``, the probabilities of the true verdict,
        and ``n_votes``.
    log_likelihood : float
        Of the votes.
    n_iterations : int
        Until it changed by less than the tolerance.
    converged : bool
        Whether it did.
    """

    prior: pd.Series
    confusion: pd.DataFrame
    posterior: pd.DataFrame
    log_likelihood: float
    n_iterations: int
    converged: bool

    def to_frame(self) -> pd.DataFrame:
        """Return the confusion matrices of the judges."""
        return self.confusion.copy()

    def __repr__(self) -> str:
        shares = ", ".join(f"{value:g}: {share:.4f}" for value, share in self.prior.items())
        return f"DawidSkene({len(self.posterior)} pairs, {shares}, log likelihood {self.log_likelihood:.3f})"


def panel(
    table: pd.DataFrame,
    *,
    rule: Rule = "mean",
    on: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the judgements of several annotators as those of one, called "panel".

    Parameters
    ----------
    table : DataFrame
        Judgements of the same pairs by two or more annotators, with ``instruction_id``. Several judgements of
        a pair by one annotator, such as in both orders, are averaged first: each annotator has one vote.
    rule : {"mean", "majority", "dawid_skene"}
        Mean of the outcomes; the most frequent verdict, a draw where two or more are equally frequent; or
        the expected outcome under Dawid and Skene's model, which weighs annotators by how reliable they turn
        out to be (see `dawid_skene`). A weighted outcome enters the last two as the verdict it leans to.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as of `human_agreement`.

    Returns
    -------
    DataFrame
        A table with one row per pair: ``outcome`` of the panel, NaN where no annotator has a usable verdict,
        ``n_votes`` (annotators with one), and the columns that are the same on all rows of the pair.

    Raises
    ------
    AnnotationError
        Fewer than two annotators, or rows without an instruction.

    See Also
    --------
    effective_judges : How many independent judges a panel is worth.
    panel_without_each : What leaving one out changes.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("ababab"), "annotator": list("xxyyzz"),
    ...                       "model": "m", "reference": "r", "outcome": [1, 0, 1, 1, 0, 0.5]})
    >>> panel(table, rule="majority")[["instruction_id", "annotator", "outcome", "n_votes"]]
      instruction_id annotator  outcome  n_votes
    0              a     panel      1.0        3
    1              b     panel      0.5        3
    """
    options.one_of("rule", rule, Rule)
    return judged_by(votes_of(table, on), rule)


def judged_by(votes: Votes, rule: Rule) -> pd.DataFrame:
    """Return the table of a panel (see `panel`)."""
    each = votes.by_judge()
    known = ~np.isnan(each)
    n_votes = known.sum(axis=1)
    if rule == "mean":
        with np.errstate(invalid="ignore"):
            outcome = np.where(known, each, 0).sum(axis=1) / n_votes
    elif rule == "majority":
        counts = (_leaning(each)[:, :, None] == VERDICTS).sum(axis=1)
        top = counts == counts.max(axis=1, keepdims=True)
        outcome = np.where(top.sum(axis=1) == 1, VERDICTS[top.argmax(axis=1)], 0.5)
    else:
        posterior = _fitted(votes)[2]
        outcome = posterior @ VERDICTS
    outcome = np.where(n_votes > 0, outcome, np.nan)
    reference = votes.items["reference"].replace("", None)
    items = votes.items.assign(
        reference=reference, annotator=PANEL, outcome=ties.verdicts(outcome), n_votes=n_votes, n=1
    )
    return check(items)


def dawid_skene(
    table: pd.DataFrame,
    *,
    on: Sequence[str] | None = None,
    tol: float = 1e-5,
    max_iterations: int = 10_000,
) -> DawidSkene:
    """Estimate what is true of each pair and how reliable each annotator is, from their verdicts alone.

    Given the true verdict, which nobody sees, annotators are taken to answer independently, each by a
    confusion matrix of its own. Annotators that share their errors, such as models of one family, break
    this, and look more reliable than they are.

    Parameters
    ----------
    table : DataFrame
        Judgements of the same pairs by two or more annotators; unusable ones are left out, weighted ones
        enter as the verdict they lean to.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as of `human_agreement`.
    tol : float
        The fit has converged when the log likelihood rises by less.
    max_iterations : int
        Where it stops with a warning otherwise.

    Returns
    -------
    DawidSkene
        ``.prior``, ``.confusion``, ``.posterior``, ``.log_likelihood``; of the sides that the table has.

    Raises
    ------
    AnnotationError
        Fewer than two annotators, or rows without an instruction.

    References
    ----------
    Dawid, A. P., Skene, A. M. (1979). Maximum likelihood estimation of observer error-rates using the EM
    algorithm. Journal of the Royal Statistical Society C 28(1), 20-28.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("abcd") * 3, "annotator": list("xxxxyyyyzzzz"),
    ...                       "model": "m", "outcome": [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0]})
    >>> dawid_skene(table).posterior["p_1"].round(2).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    options.number("tol", tol, 0, closed="neither")
    options.whole("max_iterations", max_iterations)
    votes = votes_of(table, on)
    prior, errors, posterior, likelihood, steps, converged = _fitted(votes, tol, max_iterations)
    if not converged:
        warn(f"Dawid and Skene's fit has not converged after {steps} iterations; raise max_iterations")
    cells = pd.MultiIndex.from_product(
        [votes.judges, VERDICTS, VERDICTS], names=["annotator", "truth", "said"]
    ).to_frame(index=False)
    cells["probability"] = errors.transpose(0, 2, 1).ravel()
    names = [c for c in ("instruction_id", "dataset", "model", "reference") if c in votes.items]
    shares = pd.DataFrame(posterior, columns=["p_0", "p_half", "p_1"])
    n_votes = np.bincount(votes.item, minlength=len(votes.items))
    return DawidSkene(
        prior=pd.Series(prior, pd.Index(VERDICTS, name="outcome"), name="prior"),
        confusion=finish(
            cells,
            estimate=None,
            method="Dawid and Skene's model, expectation maximisation",
            fractions=["probability"],
            settings={"tol": tol, "log_likelihood": likelihood},
        ),
        posterior=pd.concat([votes.items[names], shares], axis=1).assign(n_votes=n_votes),
        log_likelihood=likelihood,
        n_iterations=steps,
        converged=converged,
    )


def votes_of(table: pd.DataFrame, on: Sequence[str] | None = None) -> Votes:
    """Return the usable judgements of a table by pair and judge (see `panel`)."""
    on = matching_columns(on)
    table = named_judges(check(table, require=on or ()))
    require_ids(table)
    require_judged(table)
    judges = sorted(table["annotator"].unique())
    if len(judges) < 2:
        found = Verbatim(f"one: {judges[0]}")
        raise AnnotationError("judgements by two or more annotators", column="annotator", found=found)
    rows = one_side(table).drop(columns="turned")
    if on is None:
        sided = rows.assign(side="humans", low=rows["model"], high=rows["reference"])
        on = comparison_columns(sided, [c for c in ("idx", "repeat") if c in rows])
    key = ["instruction_id", "model", "reference", *on]
    if "turn" in rows and "turn" not in key:
        key.append("turn")
    code = rows.groupby(key, observed=True, dropna=False, sort=True).ngroup().to_numpy()
    items = _constant(rows, code, {"annotator", "outcome", "n", "position", *({"repeat"} - {*on})})
    rows = singly(rows.assign(_item=code))
    rows = rows[rows["outcome"].notna()]
    judge = pd.Index(judges).get_indexer(rows["annotator"])
    return Votes(items, rows["_item"].to_numpy(), judge, rows["outcome"].to_numpy(), judges)


def _constant(rows, code, dropped):
    """Return one row per item with the columns that say the same on all its rows."""
    kept = [c for c in rows if c not in dropped]
    first = rows[kept].groupby(code, sort=True).first()
    extra = [c for c in kept if c not in ("instruction_id", "model", "reference", "dataset")]
    for column in extra:
        known = rows[column].notna().to_numpy()
        same = rows[column].to_numpy(dtype=object) == first[column].to_numpy(dtype=object)[code]
        if not same[known].all() and column not in ("length_model", "length_reference"):
            first = first.drop(columns=column)
    return first.reset_index(drop=True)


def _leaning(outcomes):
    with np.errstate(invalid="ignore"):
        return (np.sign(ties.difference(outcomes, 0.5)) + 1) / 2


def _fitted(votes, tol=1e-5, max_iterations=10_000):
    """Fit by expectation maximisation, from the shares of votes: prior, confusion, posterior, log likelihood.

    The confusion is of shape (judges, said, true).
    """
    said = np.searchsorted(VERDICTS, _leaning(votes.outcome))
    n_items, n_judges, k = len(votes.items), len(votes.judges), len(VERDICTS)
    counts = np.zeros((n_items, k))
    np.add.at(counts, (votes.item, said), 1.0)
    total = counts.sum(axis=1, keepdims=True)
    voted = total[:, 0] > 0
    posterior = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    cell = votes.judge * k + said
    order = np.argsort(votes.item, kind="stable")
    starts = np.flatnonzero(np.diff(votes.item[order], prepend=-1))
    likelihood, converged, steps = -np.inf, False, 0
    while not converged and steps < max_iterations:
        steps += 1
        prior, errors = _maximised(posterior, votes.item, cell, n_judges, k)
        log_joint = np.zeros((n_items, k))
        log_joint[voted] = np.add.reduceat(np.log(errors)[votes.judge, said][order], starts)
        log_joint += np.log(np.maximum(prior, SMALLEST))
        log_total = special.logsumexp(log_joint, axis=1)
        posterior = np.where(voted[:, None], np.exp(log_joint - log_total[:, None]), np.nan)
        new = float(log_total[voted].sum())
        converged, likelihood = new - likelihood < tol, new
    return prior, errors, posterior, likelihood, steps, converged


def _maximised(posterior, item, cell, n_judges, k):
    """Return the prior and the confusion matrices that fit the posterior best."""
    prior = np.nanmean(posterior, axis=0)
    sums = np.stack([np.bincount(cell, posterior[item, t], n_judges * k) for t in range(k)], axis=1)
    errors = np.maximum(sums.reshape(n_judges, k, k), SMALLEST)
    return prior, errors / errors.sum(axis=1, keepdims=True)
