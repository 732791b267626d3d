"""What the explorer shows for a choice: result, chart, figure and code, and what it cannot say."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from alpaca_analysis.explorers.charts import Chart, Mark, chart
from alpaca_analysis.explorers.window.parts import NEVER

VIEWS = ("leaderboard", "ranks", "head-to-head", "length response", "people", "style")
METHODS = ("bca", "percentile", "t", "wilson")
RAW = "as judged"
CONTROLS: dict[str, dict] = {
    RAW: {},
    "and at equal length: AlpacaEval's fit": {"difficulty": "published"},
    "and at equal length: no difficulties": {"difficulty": None},
    "and at equal length: log ratio": {"difficulty": None, "feature": "log_ratio"},
}
MOST_SLICES = 20  # values of a column that cuts into slices
AT_FIRST = 12  # models chosen when data are opened
N_RESAMPLES = 1999  # so that nobody waits; the caption says so
N_BINS = 8
WIDTH = 4.9  # inches of the figure on a page without a kernel
# The controls that each view reads; the others are disabled.
USED = {
    "leaderboard": {"models", "source", "method", "level", "control"},
    "ranks": {"models", "source", "level", "by"},
    "head-to-head": {"a", "b", "source", "method", "level", "by"},
    "length response": {"models", "source", "method", "level"},
    "people": {"method", "level", "by"},
    "style": {"models", "source", "method", "level"},
}


class ViewError(Exception):
    """A view that the chosen judgements cannot fill; says why and what would."""


@dataclass(frozen=True)
class Choice:
    """Values of all controls."""

    data: str
    judge: tuple[str | None, str | None]
    source: str
    view: str
    models: tuple[str, ...]
    a: str
    b: str
    method: str
    level: float
    control: str
    by: str = ""


@dataclass(frozen=True)
class Answer:
    """A result, its chart, how it is drawn, the lines that compute it, and a sentence.

    Without a result the sentence says why there is none.
    """

    result: pd.DataFrame | None
    message: str
    chart: Chart | None = None
    draw: Callable | None = None
    code: str = ""
    pairs: dict = field(default_factory=dict)

    @cached_property
    def picture(self) -> bytes:
        """The figure as PNG, drawn when first asked for; empty where there is none."""
        return _png(self.draw) if self.draw is not None else b""


def judges(table: pd.DataFrame) -> list[tuple[str, tuple]]:
    """Return labels and names of each annotator with each reference."""
    from alpaca_analysis.present.rendering import printable

    known = table[["annotator", "reference"]].astype(object).drop_duplicates()
    pairs = [tuple(None if pd.isna(v) else v for v in row) for row in known.to_numpy()]
    named = [["unknown" if v is None else printable(v) for v in pair] for pair in pairs]
    labels = [("judge " if names[0] == "unknown" else "") + " against ".join(names) for names in named]
    return sorted(zip(labels, pairs, strict=True))


def judged_by(table: pd.DataFrame, judge: tuple) -> pd.DataFrame:
    """Return the judgements of one annotator against one reference."""
    keep = pd.Series(True, index=table.index)
    for column, name in zip(("annotator", "reference"), judge, strict=True):
        keep &= table[column].isna() if name is None else table[column] == name
    return table[keep]


def slice_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that can cut the table into slices: with few values, and not of what is measured."""
    never = {*NEVER, "model", "reference", "annotator"}
    found = []
    for column in table.columns:
        values = table[column].dropna()
        if column in never or pd.api.types.is_float_dtype(values):
            continue
        try:
            levels = values.nunique()
        except TypeError:  # lists and the like
            continue
        if 1 < levels <= MOST_SLICES:
            found.append(column)
    return found


def _in_slices(result: pd.DataFrame, by: str, name: str) -> tuple[pd.DataFrame, list[str], str]:
    """Return a result in slices as figures take it, the names of its rows, and what is said of its slices."""
    if not by:
        return result, [str(value) for value in result[name]], ""
    names = [f"{value}: {one}" for value, one in zip(result[by], result[name], strict=True)]
    said = result.attrs["slices"]["note"]
    return result.assign(**{name: names}), names, said[:1].upper() + said[1:] + "."


def best_first(table: pd.DataFrame) -> list[str]:
    """Return models by win rate."""
    sums = pd.DataFrame(
        {"model": table["model"].astype(str), "y": table["outcome"] * table["n"], "n": table["n"]}
    )[table["outcome"].notna()]
    sums = sums.groupby("model").sum()
    return (sums["y"] / sums["n"]).sort_values(ascending=False, kind="stable").index.tolist()


def answer(
    table: pd.DataFrame,
    choice: Choice,
    *,
    cells: pd.DataFrame | None = None,
    humans: pd.DataFrame | None = None,
    made_by: str = "",
) -> Answer:
    """Compute one view.

    Parameters
    ----------
    table : DataFrame
        Judgements of all judges and sources.
    choice : Choice
        What is asked.
    cells : DataFrame, optional
        The same judgements in cells of length, where `table` holds no lengths.
    humans : DataFrame, optional
        Judgements of the same pairs by people.
    made_by : str
        The lines that make the table, for the code; "" where it was given.

    Returns
    -------
    Answer

    Raises
    ------
    ViewError
        The judgements cannot answer it; the message says what would.
    AnnotationError
        Nor can the statistic behind it.
    """
    view = {
        "leaderboard": _leaderboard,
        "ranks": _ranks,
        "head-to-head": _head_to_head,
        "length response": _response,
        "people": _people,
        "style": _style,
    }[choice.view]
    rows = judged_by(table, choice.judge)
    if choice.source and "source" in USED[choice.view]:
        rows = rows[rows["dataset"] == choice.source]
    rows = rows.reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # notes in the result say the same
        return view(rows, choice, _Data(cells, humans, made_by))


@dataclass(frozen=True)
class _Data:
    cells: pd.DataFrame | None
    humans: pd.DataFrame | None
    made_by: str


def _png(draw: Callable) -> bytes:
    """Draw once: `savefig` would lay out, measure and draw every text twice."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(width=WIDTH).figure
    try:
        figure.set_dpi(130)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        buffer = io.BytesIO()
        plt.imsave(buffer, canvas.buffer_rgba(), format="png", metadata={"Software": None})
    finally:
        plt.close(figure)
    return buffer.getvalue()


def _options(choice, *, wilson=True) -> dict:
    method = "t" if choice.method == "wilson" and not wilson else choice.method
    return {"method": method, "confidence_level": choice.level, "n_resamples": N_RESAMPLES}


def _said(choice):
    return "" if choice.method != "wilson" else "Wilson's interval is for one win rate; Student's t is shown."


def _only(rows, models):
    return rows[rows["model"].isin(list(models))].reset_index(drop=True)


def _chosen(rows, choice):
    if not choice.models:
        raise ViewError("Choose at least one model.")
    return _only(rows, choice.models)


def _written(options) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _code(data, choice, *lines, models=None) -> str:
    """Return lines that compute the same from the same judgements."""
    judge, reference = choice.judge
    keep = [
        f'table["{column}"].isna()' if name is None else f'(table["{column}"] == {name!r})'
        for column, name in (("annotator", judge), ("reference", reference))
    ]
    if choice.source and "source" in USED[choice.view]:
        keep.append(f'(table["dataset"] == {choice.source!r})')
    if models:
        keep.append(f'table["model"].isin({list(models)!r})')
    head = ["import alpaca_analysis as aa", "from alpaca_analysis import figures", ""]
    head.append(data.made_by or "# table: the judgements given to explore()")
    return "\n".join([*head, f"table = table[{' & '.join(keep)}]", *lines])


def _leaderboard(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.estimates import win_rate

    part, options = _chosen(rows, choice), _options(choice)
    raw = win_rate(part, **options)
    pairs = {"models": choice.models, "sort": "surprise"}
    call = f"raw = aa.win_rate(table, {_written(options)})"
    if choice.control == RAW:
        drawn = chart(raw, raw["model"], "win_rate", label="Win rate (%)", rule=50.0)
        code = _code(data, choice, call, "ax = figures.forest(raw)", models=choice.models)
        return Answer(raw, "", drawn, lambda width: figures.forest(raw, width=width), code, pairs)
    controlled, made = _at_equal_length(part, choice, data)
    by_model = controlled.set_index("model")
    marks = tuple(
        (
            str(model),
            (
                Mark(*(100 * raw.loc[k, ["win_rate", "ci_low", "ci_high"]].astype(float))),
                Mark(*(100 * by_model.loc[model, ["lc_win_rate", "ci_low", "ci_high"]].astype(float))),
            ),
        )
        for k, model in enumerate(raw["model"])
        if model in by_model.index
    )
    series = ("raw", "at equal length")
    both = {"raw": raw, "at equal length": controlled}
    spans = raw.set_index("model")[["ci_low", "ci_high"]].add_prefix("raw_").reindex(by_model.index)
    result = by_model.join(spans).reset_index()
    said = controlled.attrs
    result.attrs = {**said, "fractions": [*said["fractions"], "raw_ci_low", "raw_ci_high"]}
    code = _code(
        data,
        choice,
        call,
        *made,
        'ax = figures.forest({"raw": raw, "at equal length": controlled})',
        models=choice.models,
    )
    message = (
        "At equal length the interval includes the fit (sandwich); the choice of interval is for the raw."
    )
    drawn = Chart("Win rate (%), raw and at equal length", marks, series, 50.0)
    return Answer(result, message, drawn, lambda width: figures.forest(both, width=width), code, pairs)


def _at_equal_length(part, choice, data):
    from alpaca_analysis.length.control.fitting import fit_length_control

    options = CONTROLS[choice.control]
    made = []
    if part["length_model"].isna().all():
        if data.cells is None or choice.source or "feature" in options:
            raise ViewError(
                "These judgements hold no lengths, and the bundled cells of length answer for all sources "
                "together and the published measure of length only."
            )
        part = _only(judged_by(data.cells, choice.judge), choice.models)
        made = [
            'cells = aa.load("alpaca_eval_v1_cells")',
            f'table = cells[cells["model"].isin({list(choice.models)!r})]',
        ]
    fit = fit_length_control(part, confidence_level=choice.level, **options).to_frame()
    keep = ["model", "win_rate", "lc_win_rate", "standard_error", "ci_low", "ci_high", "reason", "note"]
    options = {"confidence_level": choice.level, **options}
    made.append(f"controlled = aa.fit_length_control(table, {_written(options)})")
    return fit[[column for column in keep if column in fit]], made


def _ranks(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.ranks import rank_sets

    part = _chosen(rows, choice)
    if part["model"].nunique() < 2:
        raise ViewError("Choose at least two models.")
    options = {"confidence_level": choice.level, "n_resamples": 499} | (
        {"by": choice.by} if choice.by else {}
    )
    result = rank_sets(part, **options)
    shown, names, said = _in_slices(result.dropna(subset=["rank"]), choice.by, "model")
    ends = ("simultaneous_low", "simultaneous_high") if choice.by else ("rank_low", "rank_high")
    drawn = chart(
        shown,
        names,
        "rank",
        low=ends[0],
        high=ends[1],
        factor=1.0,
        label=f"Rank among the {part['model'].nunique()} chosen, and the ranks each may have",
        whole=True,
    )
    code = _code(
        data,
        choice,
        f"result = aa.rank_sets(table, {_written(options)})",
        "ax = figures.rank_sets(result)",
        models=choice.models,
    )
    pairs = {"models": choice.models, "sort": "surprise"}
    return Answer(result, said, drawn, lambda width: figures.rank_sets(shown, width=width), code, pairs)


def _head_to_head(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.two_models import compare

    if choice.a == choice.b:
        raise ViewError("Choose two different models.")
    pair = _only(rows, (choice.a, choice.b))
    options = _options(choice, wilson=False)
    if choice.by:
        return _head_to_head_in_slices(pair, choice, data, options)
    parts = {"all instructions" if not choice.source else choice.source: pair}
    if not choice.source and pair["dataset"].notna().all():
        parts |= {str(name): part for name, part in pair.groupby("dataset", observed=True)}
    results = {
        name: compare(part, choice.a, choice.b, **options)
        for name, part in parts.items()
        if part["model"].nunique() == 2
    }
    result = pd.concat(list(results.values()), ignore_index=True)
    attrs = dict(next(iter(results.values())).attrs)
    result.insert(0, "instructions", list(results))
    result.attrs = attrs
    drawn = chart(
        result,
        result["instructions"],
        "difference",
        label=f"Difference of win rates (points), {choice.a} less {choice.b}",
        rule=0.0,
        sign=True,
    )
    whole = next(iter(results.values()))
    code = _code(
        data,
        choice,
        f"result = aa.compare(table, {choice.a!r}, {choice.b!r}, {_written(options)})",
        "ax = figures.difference(result)",
        models=(choice.a, choice.b),
    )
    pairs = {"models": (choice.a, choice.b), "sort": "surprise"}
    return Answer(
        result, _said(choice), drawn, lambda width: figures.difference(whole, width=width), code, pairs
    )


def _head_to_head_in_slices(pair, choice, data, options):
    from alpaca_analysis import figures
    from alpaca_analysis.win_rates.two_models import compare

    options = {"by": choice.by, **options}
    result = compare(pair, choice.a, choice.b, **options)
    shown, _, said = _in_slices(result, choice.by, "model_a")
    label = f"Difference of win rates (points), {choice.a} less {choice.b}"
    drawn = chart(result, result[choice.by], "difference", label=label, rule=0.0, sign=True)
    call = f"result = aa.compare(table, {choice.a!r}, {choice.b!r}, {_written(options)})"
    code = _code(data, choice, call, models=(choice.a, choice.b))
    pairs = {"models": (choice.a, choice.b), "sort": "surprise"}
    return Answer(result, said, drawn, lambda width: figures.difference(shown, width=width), code, pairs)


def _response(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.length.preferences import response_curve

    part = _chosen(rows, choice)
    _needs_lengths(part)
    part["annotator"] = part["annotator"].astype(object).fillna("the judge")
    measured = part[["outcome", "length_model", "length_reference"]].notna().all(axis=1).sum()
    options = {"n_bins": int(min(N_BINS, max(1, measured))), **_options(choice, wilson=False)}
    result = response_curve(part, **options)
    ends = zip(result["difference_low"], result["difference_high"], strict=True)
    names = [f"{_signed(low)} to {_signed(high)} characters" for low, high in ends]
    drawn = chart(
        result, names, "outcome", label="Win rate (%) by how much longer the model's output is", rule=50.0
    )
    message = f"All chosen models together. Longer outputs may also be better ones. {_said(choice)}".strip()
    code = _code(
        data,
        choice,
        f"result = aa.response_curve(table, {_written(options)})",
        "ax = figures.length_response(result)",
        models=choice.models,
    )
    pairs = {"models": choice.models, "sort": "length_difference"}
    draw = lambda width: figures.length_response(result, width=width)  # noqa: E731
    return Answer(result, message, drawn, draw, code, pairs)


def _signed(value):
    text = f"{abs(value):,.0f}"
    return text if text == "0" else ("+" if value > 0 else "−") + text


def _needs_lengths(part):
    if (part["length_model"] - part["length_reference"]).isna().all():
        raise ViewError(
            "These judgements hold no lengths. Choose published rows where they are at hand, or add a file "
            "of your own."
        )


def _people(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.people.agreement import human_agreement

    if data.humans is None:
        raise ViewError(
            "No people judged these pairs. PandaLM's counts hold three people's verdicts; explore(table, "
            "humans=...) takes your own."
        )
    options = _options(choice, wilson=False)
    rows = rows.assign(annotator=rows["annotator"].astype(object).fillna("the judge"))
    options |= {"by": choice.by} if choice.by else {}
    result = human_agreement(rows, data.humans, remaining=True, **options)
    shown, names, said = _in_slices(result, choice.by, "annotator")
    drawn = chart(result, names, "agreement", label="Agreement with the remaining people (%)")
    code = _code(
        data,
        choice,
        f"result = aa.human_agreement(table, humans, remaining=True, {_written(options)})",
        "ax = figures.agreement(result)",
    )
    pairs = {"models": None, "sort": "disagreement"}
    draw = lambda width: figures.agreement(shown, width=width)  # noqa: E731
    return Answer(result, said or _said(choice), drawn, draw, code, pairs)


def _style(rows, choice, data):
    from alpaca_analysis import figures
    from alpaca_analysis.explorers.window.parts import features
    from alpaca_analysis.length.preferences import prefer_longer

    part = _chosen(rows, choice)
    part["annotator"] = part["annotator"].astype(object).fillna("the judge")
    found = [("characters", "length_model", "length_reference"), *features(part)]
    options = _options(choice, wilson=False)
    results, calls = [], []
    for name, a, b in found:
        ours, theirs = (pd.to_numeric(part[c], errors="coerce").astype(float) for c in (a, b))
        if not (ours - theirs).replace(0, np.nan).notna().any():
            continue
        seen = part.assign(length_model=ours, length_reference=theirs)
        results.append(prefer_longer(seen, min_difference=0, **options).assign(more=name))
        calls.append(
            f'aa.prefer_longer(table.assign(length_model=table["{a}"], length_reference=table["{b}"]), '
            f"min_difference=0, {_written(options)})"
        )
    if not results:
        raise ViewError(
            "These judgements hold no lengths, and no features of both outputs: columns such as words_model "
            "and words_reference."
        )
    attrs = dict(results[0].attrs)
    result = pd.concat(results, ignore_index=True)
    result = result[["more", *result.columns.drop("more")]]
    result.attrs = attrs
    names = [f"more {name}" for name in result["more"]]
    drawn = chart(result, names, "probability", label="Prefers the output with (%)", rule=50.0)
    code = _code(
        data,
        choice,
        "import pandas as pd",
        f"results = [{', '.join(calls)}]",
        "result = pd.concat(results, ignore_index=True)",
        models=choice.models,
    )
    message = f"What goes with a verdict need not be its reason. {_said(choice)}".strip()
    pairs = {"models": choice.models, "sort": "length_difference"}
    named = result.assign(annotator=names).drop(columns="more")
    draw = lambda width: figures.preferences(named, what="the output with", width=width)  # noqa: E731
    return Answer(result, message, drawn, draw, code, pairs)
