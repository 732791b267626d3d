"""The length-controlled win rate: from published coefficients, or fitted with honest errors.

Per model, a logistic regression of the outcome on [tanh(D/s), difficulty, 1] with coefficients
(phi, psi, theta), where D = length_reference - length_model in characters and s its standard deviation
(ddof = 1) over all of the model's rows. The length-controlled (LC) win rate is the mean over
instructions of sigmoid(theta + psi difficulty): the win rate had both outputs been equally long. The
higher the "difficulty", the more often models win.

References
----------
Dubois, Y., Galambosi, B., Liang, P., Hashimoto, T. B. (2024). Length-controlled AlpacaEval: a simple
way to debias automatic evaluators. arXiv:2404.04475.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference import logistic as _logistic
from alpaca_analysis.inference.results import Reason, best_first, finish, unit_of
from alpaca_analysis.inference.slices import Part, Slices
from alpaca_analysis.length.control import one_model as _length_fit
from alpaca_analysis.length.control.difficulty import difficulty_of
from alpaca_analysis.length.control.pairs import FittedModel
from alpaca_analysis.length.control.result import LengthControl, mean_sigmoid
from alpaca_analysis.length.control.slices import fit_in_slices
from alpaca_analysis.length.scales import length_feature
from alpaca_analysis.sources.catalogue import load
from alpaca_analysis.table.checks import check
from alpaca_analysis.table.groups import all_identified, refuse_mixed
from alpaca_analysis.table.style_pairs import feature_names, scaled_differences

PUBLISHED_JUDGE = "weighted_alpaca_eval_gpt4_turbo"
PUBLISHED_REFERENCE = "gpt4_1106_preview"
COLUMNS = (
    "model",
    "win_rate",
    "lc_win_rate",
    "standard_error",
    "ci_low",
    "ci_high",
    "phi",
    "psi",
    "theta",
    "note",
)
FRACTIONS = ("win_rate", "lc_win_rate", "near_equal")
BASELINE_WEIGHT = 0.1


def fit_length_control(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    difficulty="published",
    baselines: options.Baselines | None = "auto",
    features: str | Sequence[str] = ("length",),
    feature: options.Feature = "tanh",
    penalty: float = 0.0,
    method: options.LengthControlInterval = "sandwich",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    rng=0,
) -> LengthControl | Slices:
    """Fit win rates at equal length, or at equal length and style, with errors that include the fit.

    Per model a logistic regression of the outcome on [features, difficulty, 1]; the controlled win rate is
    the mean over all of the model's rows, unjudged ones included, of the prediction at no difference in the
    features.

    Parameters
    ----------
    table : DataFrame
        Judgements with lengths, of models against one reference by one annotator. Rows may also be cells
        without instruction ids: then ``length_feature`` (tanh(D/s)), ``difficulty`` and ``n`` are taken
        from the table.
    by : str or sequence of str, optional
        Columns that cut the table into slices, such as "category": each is fitted alone. All intervals of all
        slices then hold at once (max-t on the logit scale), and one clustered test says whether the
        controlled win rate of every model is the same in all slices.
    difficulty : {"published", "joint"}, None or Series
        "published": AlpacaEval's, as rebuilt by `rebuild_difficulty`, for its 805 instructions.
        "joint": estimated from the table itself by marginal likelihood, with mean 0, sd 1 and a positive
        sum of psi; warns below 20 models, and takes no baselines, penalty or other method. None: no such
        term. A Series gives it by ``instruction_id``.
    baselines : {"auto", "published", None}
        Whether AlpacaEval's two gamed baselines (2 x 805 pseudo-judgements, weight 0.1, without the
        constant) take part in each fit. "auto": with difficulty "published" only, and length alone.
    features : str or sequence of str
        What is controlled: "length", "style" (headers, bold, list items, code blocks, opening phrases and
        refusals) or any of `style_features`. Differences in style are relative, (a - b)/(a + b), divided by
        their standard deviation over the model's rows; they need the columns of `add_features`.
    feature : {"tanh", "clip", "log_ratio"}
        How length enters; see `alpaca_analysis.length.scales.length_feature`.
    penalty : float
        Strength of an L1 penalty, the inverse of the C of scikit-learn; 0 for none. Errors then hold for
        the terms it keeps.
    method : {"sandwich", "bca", "percentile"}
        Interval: M-estimation with leverage-corrected (HC3) residuals on the logit scale; or a bootstrap
        over instructions that refits each resample, length features and baselines as they are.
    confidence_level : float
        Coverage in (0, 1).
    n_resamples : int
        Bootstrap resamples; ignored by "sandwich" without `by`.
    rng : int, Generator or SeedSequence
        Seed of the bootstrap.

    Returns
    -------
    LengthControl, or Slices of them where `by` is given
        ``.to_frame()`` has (`by` columns first) ``model``, ``win_rate`` (raw), ``lc_win_rate``,
        ``standard_error``, ``ci_low``, ``ci_high``, ``phi``, ``psi``, ``theta``, ``note`` and ``near_equal``
        (share of instructions with ``abs(D/s) <= 0.25``, and style as near where it is controlled),
        fractions, best first; ``phi_<feature>`` for each feature of style; ``.win_rate(a, b)`` compares any
        two. Slices hold the result of each by its name (``found["art"]``), and the test in ``.equality``.

    Raises
    ------
    AnnotationError
        Several references or annotators, no lengths, or an instruction whose difficulty is unknown.
    ValueError
        Difficulty "joint" with options that it does not take.

    Warns
    -----
    UserWarning
        Difficulty "joint" with fewer than 20 models.
    UndefinedWarning
        Where a value, an error or an interval is not defined.

    Notes
    -----
    The error is conditional on the difficulties, on s and on the baselines. Baselines pull phi towards their
    own: errors are smaller with them than without, and what they pull is bias that no interval here
    shows (see `specification_curve`). AlpacaEval's own ``lc_standard_error`` is the
    standard error of the mean prediction and leaves the fit out. Where a model always wins, or its
    lengths and wins separate, no finite maximum exists: a log-F(1, 1) prior on each coefficient then
    gives a finite value and ``note`` says so; refits of resamples would show that prior alone, so a
    bootstrap leaves the error NaN. Where length is collinear with the other terms (all differences are
    one and the same, but not 0) nothing says what happens at equal length, and the value is NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"model": "m", "length_model": rng.integers(100, 1500, 400),
    ...                       "length_reference": rng.integers(100, 900, 400)})
    >>> longer, coin = table["length_model"] > table["length_reference"], rng.random(400)
    >>> table["outcome"] = longer.where(coin < 0.5, coin < 0.75).astype(float)
    >>> result = fit_length_control(table, difficulty=None).to_frame()
    >>> result[["model", "win_rate", "lc_win_rate", "standard_error"]].round(3)
      model  win_rate  lc_win_rate  standard_error
    0     m     0.652        0.538            0.03
    """
    options.check_options(confidence_level, n_resamples)
    by = None if by is None else options.groups(by, (*COLUMNS, "reason", "near_equal"))
    options.one_of("feature", feature, options.Feature)
    _check_options(baselines, method, penalty)
    joint = isinstance(difficulty, str) and difficulty == "joint"
    names = feature_names(features)
    style = [name for name in names if name != "length"]
    if joint:
        _refuse_with_joint(baselines, method, penalty)
    if style and (joint or baselines == "published"):
        raise ValueError(
            f"features: found {features!r}, expected 'length' alone with difficulty 'joint' or published "
            "baselines, whose style is not known"
        )
    if by is not None:
        how = {"difficulty": difficulty, "baselines": baselines, "features": features, "feature": feature}
        how |= {"penalty": penalty, "method": method, "confidence_level": confidence_level}
        fit: Callable[..., Any] = partial(fit_length_control, **how, n_resamples=n_resamples)
        return fit_in_slices(
            table, by, fit, confidence_level=confidence_level, n_resamples=n_resamples, rng=rng
        )
    table = prepared(table, feature)
    if joint:
        from alpaca_analysis.length.control.joint import fit_joint

        return fit_joint(table, confidence_level=confidence_level, settings=_settings(table))
    if difficulty is not None:
        table = table.assign(d=difficulty_of(table, difficulty))
    if baselines == "auto":
        baselines = "published" if isinstance(difficulty, str) and names == ["length"] else None
    fixed = None if baselines is None else gamed_baselines(difficulty, feature)
    rows, ids = model_rows(table, feature, names)
    frame, resamples, fits, parts = _estimates(
        rows, ids, fixed, penalty, method, confidence_level, n_resamples, rng
    )
    settings = _settings(table) | {
        "difficulty": difficulty if isinstance(difficulty, str) or difficulty is None else "given",
        "baselines": baselines,
        "features": names,
        "feature": feature,
        "penalty": penalty,
    }
    frame = finish(
        frame,
        estimate="lc_win_rate",
        fractions=FRACTIONS,
        higher_is_better=["win_rate", "lc_win_rate"],
        method="logistic regression at equal length, M-estimation",
        interval="logit wald" if method == "sandwich" else method,
        confidence_level=confidence_level,
        unit=unit_of(table["instruction_id"].notna().any()),
        n_resamples=None if method == "sandwich" else n_resamples,
        rng=rng,
        undefined=["model"],
        settings=settings,
    )
    d = table["d"].to_numpy() if "d" in table else np.zeros(len(table))
    points, code = np.unique(d, return_inverse=True)
    weight = np.bincount(code, table["n"])
    return LengthControl(
        frame,
        points,
        weight / weight.sum(),
        dict(frame.attrs),
        resamples,
        {} if penalty else fits,
        parts=parts,
    )


def _check_options(baselines, method, penalty):
    options.one_of("baselines", baselines, ("auto", "published", None))
    options.one_of("method", method, options.LengthControlInterval)
    options.number("penalty", penalty, 0)
    if penalty > 0 and method != "sandwich":
        raise ValueError("penalty: refits are not penalised; use method='sandwich'")


def _refuse_with_joint(baselines, method, penalty):
    """Raise where an option is given that the joint fit has no use for."""
    given = {
        "baselines": baselines not in ("auto", None),
        "method": method != "sandwich",
        "penalty": penalty > 0,
    }
    if any(given.values()):
        names = ", ".join(name for name, is_given in given.items() if is_given)
        raise ValueError(f"difficulty: 'joint' has a fit and an error of its own, which take no {names}")


def prepared(table, feature):
    """Return the checked table with the length feature in column ``x``."""
    table = check(table)
    table.attrs = {}  # pandas copies them at every step
    refuse_mixed(table)
    all_identified(table["instruction_id"], table[["model"]])
    table = table.assign(x=length_feature(table, kind=feature))
    usable = (table["x"].notna() & table["outcome"].notna()).groupby(table["model"], observed=True).any()
    if not usable.all():
        found = f"no judged row with lengths of {usable.index[~usable][0]!r}"
        raise AnnotationError("outcomes and lengths of both outputs", column="length_model", found=found)
    return table


def gamed_baselines(difficulty, feature):
    """Return the pseudo-judgements of AlpacaEval's two gamed baselines."""
    pairs, x = _baseline_lengths(feature)
    d = difficulty_of(pairs, difficulty if isinstance(difficulty, pd.Series) else "published")
    y = expit(pairs["theta"] + pairs["phi"] * pairs["tanh"] + pairs["psi"] * d).to_numpy()
    X = _length_fit.design(x, None if difficulty is None else d, constant=0.0)
    return _logistic.Fixed(X, y, np.full(len(y), BASELINE_WEIGHT))


@cache
def _baseline_lengths(feature):
    pairs = load("length_control_baselines").assign(n=1)
    b = load("length_control_coefficients").set_index("model").set_axis(["phi", "psi", "theta"], axis=1)
    pairs[b.columns] = b.loc[pairs["model"]].to_numpy()
    return pairs.assign(tanh=length_feature(pairs)), length_feature(pairs, kind=feature).to_numpy()


def model_rows(
    table: pd.DataFrame, feature: options.Feature = "tanh", features: Sequence[str] = ("length",)
) -> tuple[list[_length_fit.Rows], pd.Index]:
    """Return each model's arrays, and the instructions that their codes count."""
    style = [name for name in features if name != "length"]
    differs = scaled_differences(table, style, by="model").to_numpy() if style else None
    ordered = (*(["length"] if "length" in features else []), *style)
    codes, ids = pd.factorize(table["instruction_id"], sort=True)  # the order of rows moves no resample
    near = {"tanh": np.tanh(_length_fit.NEAR), "clip": _length_fit.NEAR}.get(feature)
    x, y, n = (table[c].to_numpy(float) for c in ("x", "outcome", "n"))
    d = table["d"].to_numpy() if "d" in table else None
    out = []
    for model, members in sorted(table.groupby("model", observed=True).indices.items()):
        k = np.asarray(members)
        if not len(ids):
            k = k[np.lexsort((n[k], y[k], x[k], *([] if d is None else [d[k]])))]
        known, close = ~np.isnan(x[k]), np.abs(x[k]) <= near if near else None
        if differs is not None:
            known &= ~np.isnan(differs[k]).any(axis=1)
            close = close & (np.abs(differs[k]) <= _length_fit.NEAR).all(axis=1) if near else None
        judged = known & ~np.isnan(y[k])
        same = bool((x[k][judged] == 0).all() and (y[k][judged] == 0.5).all())
        out.append(
            _length_fit.Rows(
                str(model),
                np.nan_to_num(x[k]),
                None if d is None else d[k],
                np.nan_to_num(y[k]),
                n[k],
                judged,
                codes[k] if len(ids) else None,
                float((n[k] * close).sum() / n[k][known].sum()) if near else np.nan,
                same or model == table["reference"].iloc[k[0]],
                ordered,
                None if differs is None else np.nan_to_num(differs[k]),
            )
        )
    return out, pd.Index(ids)


def _estimates(all_rows, ids, fixed, penalty, method, confidence_level, n_resamples, rng):
    """Return the result's frame, the refits of a bootstrap, the fits that have an error, contributions."""
    found = _length_fit.estimates(
        all_rows, fixed, penalty=penalty, method=method, confidence_level=confidence_level
    )
    records = []
    for rows, estimate in zip(all_rows, found, strict=True):
        raw = np.average(rows.y[rows.judged], weights=rows.n[rows.judged])
        records.append({"model": rows.model, "win_rate": raw, **estimate.record, "near_equal": rows.near})
    resamples = None
    if method != "sandwich":
        drawn = _length_fit.resample(all_rows, found, fixed, len(ids), n_resamples=n_resamples, rng=rng)
        for k, (rows, estimate) in enumerate(zip(all_rows, found, strict=True)):
            if estimate.resampled:
                records[k] |= _length_fit.bootstrap_interval(
                    rows, estimate, drawn[:, k], method, confidence_level
                )
        resamples = pd.DataFrame(drawn, columns=[rows.model for rows in all_rows])
    frame = best_first(pd.DataFrame(records), "lc_win_rate", ["model"])
    fits = {
        rows.model: FittedModel(rows, estimate.coefficients, estimate.information)
        for rows, estimate in zip(all_rows, found, strict=True)
        if estimate.coefficients is not None and estimate.information is not None
    }
    more = [c for c in frame if c not in COLUMNS and c != "near_equal"]
    parts = {
        rows.model: _part(rows, estimate.contribution, ids)
        for rows, estimate in zip(all_rows, found, strict=True)
        if estimate.contribution is not None
    }
    return frame[[*COLUMNS, "near_equal", *more]], resamples, fits, parts


def _part(rows, contribution, ids):
    """Return what each instruction, or each judgement without one, contributes to a win rate."""
    if rows.unit is None:
        return Part(contribution[:, None], [0], counts=rows.n)
    used = np.unique(rows.unit)
    sums = np.bincount(rows.unit, rows.n * contribution)[used]
    return Part(sums[:, None], [0], list(ids[used]))


def _settings(table):
    names = {c: table[c].iloc[0] for c in ("reference", "annotator")}
    return {k: None if pd.isna(v) else str(v) for k, v in names.items()}


def published_length_control() -> LengthControl:
    """Return the length-controlled win rates that AlpacaEval's published coefficients imply, offline.

    AlpacaEval publishes three coefficients a model, fitted against ``gpt4_1106_preview`` with the judge
    ``weighted_alpaca_eval_gpt4_turbo``. With the distribution of difficulties over its 805
    instructions they give the LC win rate of any model against any other. That distribution enters
    as eight weighted atoms, fitted to the published LC win rates of 100 models; they are a quadrature,
    not difficulties of instructions. ``.settings`` states the error on the 98 models left out of the fit.

    Returns
    -------
    LengthControl
        198 models and the reference. ``win_rate`` is the published raw win rate, ``lc_win_rate``
        what the coefficients imply. Errors are NaN: coefficients are published without. Entries whose
        coefficients come, or possibly come, from other instructions' difficulties say so in ``note``, and
        so does every pair with one of them (see ``load("length_control_corrected")``).

    Notes
    -----
    Any model against any other assumes that preferences are transitive on the logit scale, and speaks of
    this judge only. The publisher's placeholder row ``example`` is left out.

    Examples
    --------
    >>> published = published_length_control()
    >>> published.win_rate("xwinlm-70b-v0.1", "gpt4")[["model_a", "model_b", "win_rate"]].round(4)
               model_a model_b  win_rate
    0  xwinlm-70b-v0.1    gpt4    0.2726
    """
    atoms = load("difficulty_quadrature")
    difficulty, weight = atoms["difficulty"].to_numpy(), atoms["weight"].to_numpy()
    coefficients = load("length_control_coefficients").set_index("model").drop(index="example")
    coefficients.columns = ["phi", "psi", "theta"]
    board = load("alpaca_eval_v2_leaderboard").set_index("model")
    models = coefficients.reset_index()
    models["win_rate"] = board["win_rate"].reindex(models["model"]).to_numpy() / 100
    models["lc_win_rate"] = mean_sigmoid(models["theta"], models["psi"], difficulty, weight)
    models["standard_error"] = models["ci_low"] = models["ci_high"] = np.nan
    unknown = Reason("coefficients_only", "error undefined: coefficients are published without errors")
    remarks = _shifted_entries()
    models["note"] = [[unknown, remarks[m]] if m in remarks else unknown for m in models["model"]]
    reference = models["model"] == PUBLISHED_REFERENCE
    models.loc[reference, ["lc_win_rate", "ci_low", "ci_high"]] = 0.5
    models.loc[reference, "standard_error"] = 0.0
    itself = Reason("reference", "the reference against itself: 0.5 by definition")
    models.loc[reference, "note"] = pd.Series([itself] * int(reference.sum()), models.index[reference])
    models = finish(
        best_first(models, "lc_win_rate", ["model"])[list(COLUMNS)],
        estimate="lc_win_rate",
        fractions=FRACTIONS,
        higher_is_better=["win_rate", "lc_win_rate"],
        method="published coefficients over eight weighted atoms in place of 805 difficulties",
        unit="instruction",
        settings=_published_settings(),
    )
    return LengthControl(models, difficulty, weight, dict(models.attrs), remarks=remarks)


def _shifted_entries() -> dict[str, Reason]:
    """Return what is known of the entries whose difficulties went by row number."""
    entries = load("length_control_corrected")
    size = entries["n_judged"].max()
    found = {}
    for entry in entries[entries["n_judged"] < size].to_dict("records"):
        if pd.isna(entry["n_rows"]):
            text = f"{entry['n_judged']} of {size} judged: its coefficients possibly come from shifted rows"
            found[entry["model"]] = Reason("possibly_shifted_rows", text)
        else:
            lacking = size - int(entry["n_rows"])
            text = f"its coefficients come from shifted rows (its file lacks {lacking} of {size})"
            found[entry["model"]] = Reason("shifted_rows", text)
    return found


def _published_settings():
    check = load("difficulty_quadrature_check")
    held_out = 100 * (check["predicted"] - check["published"]).abs()[check["role"] == "held out"]
    return {
        "reference": PUBLISHED_REFERENCE,
        "annotator": PUBLISHED_JUDGE,
        "n_held_out": len(held_out),
        "held_out_median_points": float(f"{held_out.median():.2g}"),
        "held_out_p95_points": float(f"{held_out.quantile(0.95):.2g}"),
        "held_out_max_points": float(f"{held_out.max():.2g}"),
        "assumes": "transitive preferences; this judge",
    }
