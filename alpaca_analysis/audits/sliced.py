"""The audit of a judge in every slice of its judgements: each alone, their tests taken together."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special, stats

from alpaca_analysis.audits.checks import adjusted
from alpaca_analysis.foundations.files import write_json, write_text
from alpaca_analysis.inference.results import finish
from alpaca_analysis.inference.slices import Cut, Part, cut, each
from alpaca_analysis.inference.slices import shares as shares_of
from alpaca_analysis.present.rendering import printable, records
from alpaca_analysis.present.tables import show
from alpaca_analysis.table.checks import check

if TYPE_CHECKING:
    from alpaca_analysis.audits.auditing import Audit

LEVEL = 0.95
NUMBERS = {  # what a check tests: its section and column
    "length preference": ("length_preference", "probability"),
    "position": ("first_position", "probability"),
    "lists": ("lists", "probability"),
    "order": ("order", "consistent"),
    "agreement": ("agreement_difference", "difference"),
    "beyond people": ("beyond_people", "estimate"),
    "own family": ("own_family", "estimate"),
}
SHARE = ("probability", "consistent")  # fractions, whose intervals and tests are made on the logit scale
SHARED = "slices share instructions, and what their numbers have in common is not known"


@dataclass(frozen=True, repr=False)
class AuditSlices(Mapping[Any, Any]):
    """What `audit` found in every slice.

    Attributes
    ----------
    audits : mapping
        The audit of each slice, by the value that names it (a tuple of several columns).
    undefined : mapping
        Slices that could not be audited, and why.
    numbers : DataFrame
        What the checks that test one number found in all slices; see `checks`.
    equality : DataFrame
        For each of these checks the test that its number is the same in all slices: ``check``, ``statistic``
        (F), ``df``, ``df_within``, ``pvalue``, ``pvalue_holm`` (among these tests), ``n_slices``, ``note``.
    by : list of str
        Columns that make a slice.
    """

    audits: Mapping[Any, Audit]
    undefined: Mapping[Any, str]
    numbers: pd.DataFrame
    equality: pd.DataFrame
    by: list[str]

    def to_frame(self) -> pd.DataFrame:
        """Return the findings of all slices, each by itself, the columns that name the slice first."""
        frames = [self._named(name, one.to_frame()) for name, one in self.audits.items()]
        return pd.concat(frames, ignore_index=True)

    def checks(self) -> pd.DataFrame:
        """Return the checks that test one number, in all slices.

        Returns
        -------
        DataFrame
            `by` columns, ``check``, ``estimate``, ``standard_error``, ``ci_low``, ``ci_high`` (which hold for
            a check in all slices at once, by Bonferroni), ``pvalue``, ``pvalue_holm`` (adjusted for all tests
            of all slices), ``reason``, ``note``.
        """
        frame = self.numbers.copy()
        frame.attrs = dict(self.numbers.attrs)
        return frame

    def to_json(self, path) -> Path:
        """Write findings, checks and tests as JSON; undefined numbers are null."""
        content = {
            "by": self.by,
            "findings": records(self.to_frame()),
            "checks": records(self.numbers),
            "equality": records(self.equality),
            "undefined": {str(name): why for name, why in self.undefined.items()},
        }
        return write_json(path, content)

    def to_html(self, path) -> Path:
        """Write one self-contained page of what all slices say; that of one slice is its audit's."""
        title = html.escape(printable(f"Audit in {len(self)} slices by {', '.join(self.by)}"))
        tables = (
            ("All slices equal?", show(self.equality)),
            ("Checks in every slice", show(self.numbers)),
            ("Findings in every slice", show(self.to_frame())),
        )
        body = "".join(f"<h2>{name}</h2>\n{table.to_html()}\n" for name, table in tables)
        policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        said = html.escape(printable(self._said()))
        return write_text(
            path,
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>{title}</title>\n'
            "<style>body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem; } "
            "th, td { padding: .2rem .6rem; text-align: left; }</style>\n</head>\n"
            f"<body>\n<h1>{title}</h1>\n<p>{said}</p>\n{body}</body>\n</html>\n",
        )

    def __getitem__(self, key: Any) -> Audit:
        if key in self.undefined:
            raise KeyError(f"{key!r} was not audited: {self.undefined[key]}")
        return self.audits[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.audits)

    def __len__(self) -> int:
        return len(self.audits)

    def _said(self):
        differing = self.equality[self.equality["pvalue_holm"] < 1 - LEVEL]
        if len(differing):
            return "Slices differ in " + ", ".join(differing["check"]) + "."
        tested = int(self.equality["pvalue"].notna().sum())
        if not tested:
            return "Whether slices differ could not be tested."
        return f"No difference between slices is shown ({tested} test{'s' * (tested != 1)})."

    def __repr__(self) -> str:
        head = f"Audit in {len(self)} slices by {', '.join(self.by)}. {self._said()}"
        lines = [str(show(frame)) for frame in (self.equality, self.numbers) if len(frame)]
        lines += [f"{name}: {printable(one.summary)}" for name, one in self.audits.items()]
        return "\n\n".join([printable(head), *lines])

    def _named(self, name, frame):
        values = name if isinstance(name, tuple) else (name,)
        for place, (column, value) in enumerate(zip(self.by, values, strict=True)):
            frame.insert(place, column, value)
        return frame


def audit_in_slices(
    table: pd.DataFrame, humans: pd.DataFrame | None, by: Sequence[str], one: Callable[..., Audit]
) -> AuditSlices:
    """Audit every slice alone, and take what they say together.

    Parameters
    ----------
    table : DataFrame
        Judgements.
    humans : DataFrame, optional
        Judgements by people; each slice takes those of its instructions.
    by : sequence of str
        Columns that make a slice.
    one : callable
        `audit` of the rows of a slice and the people's.
    """
    attrs = table.attrs
    table = check(table, require=by, at_any_time=True)
    table.attrs = {}
    found = cut(table, by)

    def audited(part: pd.DataFrame) -> Audit:
        part.attrs = dict(attrs)
        people = humans
        if humans is not None and part["instruction_id"].notna().all():
            theirs = check(humans, source="humans")
            people = theirs[theirs["instruction_id"].isin(part["instruction_id"])].reset_index(drop=True)
            people = people if len(people) else None
        return one(part, humans=people)

    results, undefined = each(table, found, audited)
    numbers = _numbers(found, results)
    return AuditSlices(
        {found.name(k): result for k, result in results.items()},
        {found.name(k): why for k, why in undefined.items()},
        numbers,
        _equality(numbers, found, table),
        list(by),
    )


def _numbers(found: Cut, results: Mapping[int, Audit]) -> pd.DataFrame:
    """Return the checks that test one number, with intervals for all slices at once."""
    frames = []
    quantile = stats.norm.isf((1 - LEVEL) / (2 * len(found)))
    for k in range(len(found)):
        rows = []
        checked = results[k].checks().set_index("check") if k in results else pd.DataFrame()
        for name, (section, column) in NUMBERS.items():
            if k not in results or section not in results[k].results:
                continue
            row = _row(results[k].results[section], name)
            if row is None or np.isnan(row[column]):
                continue
            estimate, error = float(row[column]), float(row.get("standard_error", np.nan))
            low, high = _bounds(estimate, quantile * error, column in SHARE)
            bounds = {"ci_low": low, "ci_high": high}
            rows.append(
                {"check": name, "estimate": estimate, "standard_error": error, **bounds}
                | {"pvalue": checked.loc[name, "pvalue"], "note": row.get("note", "")}
            )
        columns = ["check", "estimate", "standard_error", "ci_low", "ci_high", "pvalue", "note"]
        frames.append(pd.DataFrame(rows, columns=columns))
    if not any(map(len, frames)):
        empty = pd.DataFrame(columns=[*found.by, *frames[0].columns[:-1], "pvalue_holm", "note"])
        return finish(empty, estimate="estimate", method="checks in slices")
    out = found.glued(frames)
    out.insert(out.columns.get_loc("pvalue") + 1, "pvalue_holm", adjusted(out["pvalue"]))
    return finish(
        out,
        estimate="estimate",
        method="checks in slices",
        interval="wald, Bonferroni's level over slices",
        confidence_level=LEVEL,
        fractions=["estimate"],
        settings={"n_slices": len(found)},
    )


def _row(frame, name):
    if name == "beyond people":
        frame = frame[(frame["kind"] == "judge") & (frame["quantity"] == "at_equal_preference")]
    return None if frame.empty else frame.iloc[0]


def _bounds(estimate, half, share):
    """Return the interval of a number, NaN without an error."""
    if not half > 0:
        return np.nan, np.nan
    if not share:
        return estimate - half, estimate + half
    middle, wide = special.logit(estimate), half / (estimate * (1 - estimate))
    return special.expit(middle - wide), special.expit(middle + wide)


def _equality(numbers: pd.DataFrame, found: Cut, table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each check, the test that its number is the same in all slices.

    Slices that share no instruction have independent numbers, whose squared errors add; the degrees of
    freedom of each are its units less one.
    """
    ids = table["instruction_id"]
    shared = pd.Series(found.code[ids.notna()]).groupby(ids[ids.notna()].to_numpy()).nunique().gt(1).any()
    sizes = [_n_units(found.part(table, k)) for k in range(len(found))]
    keys = {found.key(k): k for k in range(len(found))}
    rows = []
    for name, (_, column) in NUMBERS.items():
        part = numbers[numbers["check"] == name]
        if part.empty:
            continue
        codes = [keys[key] for key in part[found.by].itertuples(index=False, name=None)]
        told = part[["estimate", "standard_error"]].to_numpy(dtype=float)
        test: dict[str, Any] = {"statistic": np.nan, "df": (np.nan, np.nan), "pvalue": np.nan}
        test |= {"n_compared": len(codes), "why_undefined": SHARED}
        if not shared:
            parts = [
                Part(_alternating(sizes[k])[:, None], [at], [(k, i) for i in range(sizes[k])])
                for at, k in enumerate(codes)
            ]
            independent = shares_of(
                parts, slices=codes, labels=[0] * len(codes), estimate=told[:, 0], error=told[:, 1]
            )
            test = (independent.on_logit_scale() if column in SHARE else independent).equality()
        q, left = test["df"]
        numbers_ = {"statistic": test["statistic"], "df": q, "df_within": left, "pvalue": test["pvalue"]}
        note = f"not tested: {test['why_undefined']}" if test["why_undefined"] else ""
        rows.append({"check": name, **numbers_, "n_slices": test["n_compared"], "note": note})
    columns = ["check", "statistic", "df", "df_within", "pvalue", "n_slices", "note"]
    out = pd.DataFrame(rows, columns=columns)
    out.insert(5, "pvalue_holm", adjusted(out["pvalue"].astype(float)))
    return finish(out, estimate=None, method="Wald test that all slices are equal, F")


def _alternating(size):
    """Return contributions of `size` units that sum to about 0; their scale is given by the error."""
    return np.where(np.arange(size) % 2, -1.0, 1.0)


def _n_units(part):
    """Return the number of instructions, or of judgements without one."""
    known = part["instruction_id"].notna()
    return max(int(part.loc[known, "instruction_id"].nunique() + part.loc[~known, "n"].sum()), 2)
