"""Whether a judge prefers outputs of its own family, beyond what judges of other families, or people, do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alpaca_analysis.biases.panels import votes_of
from alpaca_analysis.biases.sides import named_judges, require_ids
from alpaca_analysis.foundations import options, ties
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.inference import coverage_notes, intervals
from alpaca_analysis.inference.ratios import Units, covariance, influence
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.people.votes import match, matching_columns, mean_of_known
from alpaca_analysis.sources.catalogue import load
from alpaca_analysis.table.checks import check

EQUAL = ("equal_length", "equal_length_error", "equal_length_low", "equal_length_high")
NOTES = {
    "no_family": "undefined: the judge's family is not known",
    "no_own_pairs": "undefined: no pair of an own and another family's output that others judged as well",
    "few_instructions": "undefined: fewer than two instructions",
}


def model_families(names: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
    """Say which family each model and judge belongs to, and how that is known.

    Parameters
    ----------
    names : DataFrame or iterable of str
        A table of judgements, whose models, references and annotators are looked up, or names.

    Returns
    -------
    DataFrame
        ``name``, ``family`` (who made the model; NaN where not known) and ``source``: "models.csv", where the
        bundled table lists the very name, "name", where exactly one family of ``model_families.csv`` fits it,
        else "unknown" or "ambiguous". Change what is wrong and hand it to `self_preference`.

    Examples
    --------
    >>> found = model_families(["gpt4", "my_gpt-4o_judge", "claude2-alpaca-13b"]).set_index("name")
    >>> found["source"].to_dict()
    {'claude2-alpaca-13b': 'ambiguous', 'gpt4': 'models.csv', 'my_gpt-4o_judge': 'name'}
    >>> found.loc["my_gpt-4o_judge", "family"]
    'openai'
    """
    if isinstance(names, pd.DataFrame):
        table = check(names)
        names = pd.concat([table[c] for c in ("model", "reference", "annotator")]).dropna().unique()
    elif isinstance(names, str):
        raise ValueError(f"names: found {names!r}, expected a table or a sequence of names")
    known = load("models").set_index("model")["family"]
    patterns = load("model_families")
    rows = []
    for name in sorted(map(str, names)):
        fits = {
            f
            for p, f in zip(patterns["pattern"], patterns["family"], strict=True)
            if re.search(p, name, re.I)
        }
        if name in known.index:
            rows.append((name, known[name], "models.csv"))
        elif len(fits) == 1:
            rows.append((name, fits.pop(), "name"))
        else:
            rows.append((name, np.nan, "ambiguous" if fits else "unknown"))
    return pd.DataFrame(rows, columns=["name", "family", "source"]).astype({"family": object})


def self_preference(
    table: pd.DataFrame,
    *,
    families: Mapping[str, str] | pd.Series | pd.DataFrame | None = None,
    humans: pd.DataFrame | None = None,
    on: Sequence[str] | None = None,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Estimate how much more a judge prefers outputs of its own family than others do on the same pairs.

    Of every pair with one output of the judge's family and one of another, the outcome of its own output
    by this judge, less the mean of those by judges of neither family, or by people: a difference within
    the pair, in which the outputs' quality cancels. Pairs where both or neither output is its own, or where
    the family of one is not known, are left out, and so are pairs that nobody else judged.

    Parameters
    ----------
    table : DataFrame
        Judgements of the same pairs by several judges, or by one if there are `humans`.
    families : mapping, Series or DataFrame, optional
        Family of each model and judge by name; a frame has ``name`` and ``family``. Names that it lacks have
        no known family. By default `model_families`, and the note says which names were read how.
    humans : DataFrame, optional
        Judgements of the same pairs by people: the judge is compared with them and not with other judges.
    on : sequence of str, optional
        Columns that tell comparisons of one pair apart, as of `human_agreement`.
    confidence_level : float
        Coverage in (0, 1).

    Returns
    -------
    DataFrame
        ``annotator``, ``family``, ``estimate`` (a difference of win rates: 0 is no preference for its own),
        ``standard_error`` (clustered by instruction), ``ci_low``, ``ci_high``, ``pvalue`` (Student's t),
        ``n`` (pairs), ``n_instructions``, ``own`` and ``others`` (win rate of its own outputs by this judge
        and by the others), and ``equal_length`` with ``equal_length_error``, ``equal_length_low`` and
        ``equal_length_high``: the estimate where the two outputs are equally long, by least squares on
        tanh(difference / spread); NaN without lengths. Largest estimate first.

    Raises
    ------
    AnnotationError
        One judge and no people, or no family known of any judge.

    Notes
    -----
    What is its own family's may also be to the judge's taste for other reasons, such as length or style:
    ``equal_length`` answers for length alone.

    References
    ----------
    Panickssery, A., Bowman, S. R., Feng, S. (2024). LLM evaluators recognize and favor their own generations.
    arXiv:2404.13076.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"instruction_id": list("abcd"), "model": "gpt4", "reference": "claude",
    ...                       "annotator": "gpt4_judge", "outcome": [1, 1, 1, 0]})
    >>> families = {"gpt4": "openai", "claude": "anthropic", "gpt4_judge": "openai"}
    >>> people = table.assign(annotator="anne", outcome=[1, 0, 1, 0])
    >>> self_preference(table, families=families, humans=people)[["annotator", "estimate", "n"]]
        annotator  estimate  n
    0  gpt4_judge      0.25  4
    """
    options.level("confidence_level", confidence_level)
    on = matching_columns(on)
    given = None if families is None else given_families(families)
    checked = named_judges(check(table))
    require_ids(checked)
    judges = sorted(checked["annotator"].unique())
    if len(judges) < 2 and humans is None:
        found = Verbatim(f"one: {judges[0]}")
        raise AnnotationError(
            "judgements by two or more annotators, or people (humans)", column="annotator", found=found
        )
    bundled = None
    if given is None:
        bundled = model_families(checked)
        given = bundled.set_index("name")["family"]
    own = given.reindex(judges)
    if own.isna().all():
        expected = "a judge of known family; families={'judge': 'family', ...} says which"
        raise AnnotationError(expected, column="annotator", found=Verbatim(", ".join(judges)))
    items, outcomes, people = _outcomes(checked, humans, judges, on)
    sides = np.stack(
        [given.reindex(items[c].astype(str)).to_numpy(dtype=object) for c in ("model", "reference")]
    )
    rows, notes = [], []
    for k, judge in enumerate(judges):
        numbers, note = _of_judge(k, own, items, outcomes, people, sides, confidence_level)
        rows.append({"annotator": judge, "family": own.iloc[k]} | numbers)
        notes.append([note, *(_read_as(bundled, judge) if bundled is not None else [])])
    result = pd.DataFrame(rows)
    order = result.assign(_size=-ties.tied(result["estimate"])).sort_values(["_size", "annotator"]).index
    return finish(
        result.loc[order],
        estimate="estimate",
        method="outcome of its own family's output, less that by "
        + ("people" if humans is not None else "others"),
        interval="t",
        unit="instruction",
        confidence_level=confidence_level,
        fractions=["own", "others"],
        differences=["estimate", *EQUAL],
        notes=[notes[k] for k in order],
        undefined=["annotator"] if result["estimate"].isna().all() else [],
        settings={"families": "given" if bundled is None else "bundled"},
    )


def given_families(families: Any) -> pd.Series:
    """Return the family by name from what a user gave, or raise (see `self_preference`).

    Examples
    --------
    >>> given_families({"gpt4": "openai"}).to_dict()
    {'gpt4': 'openai'}
    """
    if isinstance(families, pd.DataFrame):
        if not {"name", "family"} <= set(families.columns):
            raise ValueError(f"families: found columns {list(families.columns)}, expected name and family")
        families = families.set_index("name")["family"]
    if not isinstance(families, Mapping | pd.Series):
        raise ValueError(f"families: found {families!r}, expected a mapping of names to families")
    by_name = pd.Series(families, dtype=object)
    twice = by_name.index[by_name.index.duplicated()]
    if len(twice):
        raise ValueError(f"families: found {twice[0]!r} twice, expected each name once")
    return by_name


def _read_as(bundled, judge):
    """Return notes on where families come from: the judge's own, and how many models have none."""
    family = bundled.set_index("name").loc[judge]
    texts = [f"family by {family['source']}: {family['family']}"] if family["source"] == "name" else []
    missing = bundled.loc[bundled["family"].isna(), "name"].tolist()
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        texts.append(f"family not known, pairs left out: {shown}")
    return [Reason("bundled_families", text) for text in texts]


def _outcomes(table, humans, judges, on):
    """Return pairs, each judge's mean outcome of them, and people's, or None without people."""
    if humans is None:
        votes = votes_of(table, on)
        return votes.items, votes.by_judge(), None
    pairs = match(table, humans, on=on)
    outcomes = np.stack([mean_of_known(pairs.judges[judge]) for judge in judges], axis=1)
    return pairs.items, outcomes, mean_of_known(pairs.voters.to_numpy())


def _of_judge(k, own, items, outcomes, people, sides, confidence_level):
    family = own.iloc[k]
    nothing = dict.fromkeys(("estimate", "standard_error", "ci_low", "ci_high", "pvalue"), np.nan)
    nothing |= {"n": 0, "n_instructions": 0, "own": np.nan, "others": np.nan} | dict.fromkeys(EQUAL, np.nan)
    if pd.isna(family):
        return nothing, Reason("no_family", NOTES["no_family"])
    ours = sides == family
    mixed = (ours[0] ^ ours[1]) & ~pd.isna(sides).any(axis=0)
    if people is None:
        known = own.notna().to_numpy()
        elsewhere = np.array([[f not in pair for f in own] for pair in sides.T]) & known
        others = mean_of_known(np.where(elsewhere, outcomes, np.nan))
    else:
        others = people
    used = mixed & ~np.isnan(outcomes[:, k]) & ~np.isnan(others)
    if not used.any():
        return nothing, Reason("no_own_pairs", NOTES["no_own_pairs"])
    turned = ours[1][used]
    mine, theirs = (np.where(turned, 1 - v[used], v[used]) for v in (outcomes[:, k], others))
    code, ids = pd.factorize(items["instruction_id"][used], sort=True)
    sizes = np.bincount(code).astype(float)[:, None]
    units = Units(np.bincount(code, mine - theirs)[:, None], sizes)
    (estimate,), (error,), (low,), (high,) = intervals.interval(
        units, method="t", confidence_level=confidence_level
    )
    found = nothing | {"estimate": estimate, "standard_error": error, "ci_low": low, "ci_high": high}
    found |= {"n": int(used.sum()), "n_instructions": len(ids), "own": mine.mean(), "others": theirs.mean()}
    if len(ids) < 2:
        return found, Reason("too_few_units", NOTES["few_instructions"])
    if not error > 0:
        return found, Reason("no_variation", "interval undefined: the same difference on every instruction")
    found["pvalue"] = 2 * stats.t.sf(abs(estimate) / error, len(ids) - 1)
    gap = (items["length_model"] - items["length_reference"]).to_numpy()[used]
    found |= _at_equal_length(mine - theirs, np.where(turned, -gap, gap), code, confidence_level)
    return found, coverage_notes.of_shares(influence(units)[:, 0], units.counts, len(ids))


def _at_equal_length(difference, gap, code, confidence_level):
    """Return the intercept of a regression on the tanh of the difference in length, errors clustered."""
    known = ~np.isnan(gap)
    y, gap, code = difference[known], gap[known], np.unique(code[known], return_inverse=True)[1]
    spread = np.sqrt(np.mean(gap**2)) if len(gap) else 0.0
    x = np.column_stack([np.ones(len(y)), np.tanh(gap / spread if spread > 0 else gap)])
    size = code.max(initial=-1) + 1
    if size < 3 or np.linalg.matrix_rank(x) < 2:
        return dict.fromkeys(EQUAL, np.nan)
    bread = np.linalg.inv(x.T @ x)
    scores = (x * (y - x @ (bread @ x.T @ y))[:, None]) @ bread[:, :1]
    shares = np.bincount(code, scores[:, 0], size)[:, None]
    value, error = float((bread @ x.T @ y)[0]), float(np.sqrt(covariance(shares, np.ones(size))[0, 0]))
    half = stats.t.ppf((1 + confidence_level) / 2, size - 2) * error
    return dict(zip(EQUAL, (value, error, value - half, value + half), strict=True))
