"""How figures look, and how they are saved: one style sheet, roles for colours, the same bytes each time."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import FuncFormatter

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.errors import AnnotationError, Verbatim
from alpaca_analysis.foundations.files import replacing
from alpaca_analysis.present.rendering import format_number, printable

LONGEST = 200  # characters of a name: to measure and set longer ones takes minutes
SHEET = Path(__file__).with_name("paper.mplstyle")
COLUMN, PAGE = 3.25, 6.75  # widths in inches: one column of a paper, and both
ROW = 0.135  # height in inches that one row of 7 point text takes

# Okabe and Ito's colours, told apart by people who see no red or no green.
COLOURS = {
    "estimate": "#0072B2",
    "highlight": "#D55E00",
    "published": "#000000",
    "human": "#009E73",
    "judge": "#0072B2",
    "second": "#CC79A7",
    "third": "#E69F00",
    "rule": "0.55",
    "band": "0.955",
}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
FORMATS = ("pdf", "svg", "png")

_MADE: WeakSet[Figure] = WeakSet()  # figures whose size is ours to choose
_NEEDED: WeakKeyDictionary[Figure, dict[int, float]] = WeakKeyDictionary()  # inches of each row of panels
Share = bool | Literal["none", "all", "row", "col"]
_P = ParamSpec("_P")
_R = TypeVar("_R")


@functools.cache
def _sheet():
    return mpl.rc_params_from_file(SHEET, use_default_template=False)


@contextmanager
def context() -> Iterator[None]:
    """Draw in the paper style inside a ``with`` block, with matplotlib and seaborn alike.

    Axes made inside keep fonts, spines and ticks when a figure of this package is drawn on them later;
    `panels` makes them in one line.

    Examples
    --------
    >>> import matplotlib as mpl
    >>> with context():
    ...     mpl.rcParams["pdf.fonttype"]
    42
    """
    with mpl.rc_context(_sheet()):
        yield
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)  # a notebook's backend may have started inside, and switched it on


def use() -> None:
    """Draw everything from here on in the paper style, as ``matplotlib.style.use`` does."""
    mpl.rcParams.update(_sheet())


def styled(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function draw in the paper style whatever the style around it."""

    @functools.wraps(draw)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with context():
            return draw(*args, **kwargs)

    return wrapper


ALWAYS_FRACTIONS = ("win_rate", "lc_win_rate", "agreement", "probability", "low", "high")


def need(frame, columns: Sequence[str], *, figure: str, of: str) -> None:
    """Raise where what is to be drawn is no frame that has `columns`.

    Parameters
    ----------
    frame : object
        What was given.
    columns : sequence of str
        What the figure draws.
    figure, of : str
        Which figure it is, and what makes such frames, for the message.

    Raises
    ------
    AnnotationError
        No frame, no rows, or a column that is not there.
    ValueError
        Percent where the result says, or its name, that a column holds fractions.

    Examples
    --------
    >>> import pandas as pd
    >>> need(pd.DataFrame({"model": ["a"]}), ["win_rate"], figure="forest", of="win_rate")
    Traceback (most recent call last):
    ...
    alpaca_analysis.foundations.errors.AnnotationError: figures.forest: found the columns model, expected a \
column 'win_rate', as win_rate returns it
    """
    source = f"figures.{figure}"
    if not isinstance(frame, pd.DataFrame):
        raise AnnotationError(f"a frame as {of} returns it", source=source, found=frame)
    if not len(frame):
        raise AnnotationError(f"rows, as {of} returns them", source=source, found=Verbatim("an empty frame"))
    for column in columns:
        if column not in frame:
            found = Verbatim("the columns " + ", ".join(map(str, frame.columns)))
            raise AnnotationError(f"a column {column!r}, as {of} returns it", source=source, found=found)
    said = frame.attrs.get("fractions", ())
    for column in dict.fromkeys([*said, *(c for c in columns if c in ALWAYS_FRACTIONS)]):
        if column in frame and pd.api.types.is_numeric_dtype(frame[column]):
            refuse_percent(frame[column], column)


def need_own_interval(frame: pd.DataFrame, value: str, *, figure: str, of: str) -> None:
    """Raise where ``ci_low`` and ``ci_high`` belong to another column than `value`.

    A result says which they belong to; of a frame that does not, such as one read from a file, most values
    must lie within.

    Raises
    ------
    AnnotationError
        The interval is that of another estimate.

    Examples
    --------
    >>> frame = pd.DataFrame({"lc_win_rate": [0.6], "moved": [-0.1], "ci_low": [-0.2], "ci_high": [0.0]})
    >>> need_own_interval(frame, "lc_win_rate", figure="length_control", of="fit_length_control")
    Traceback (most recent call last):
    ...
    alpaca_analysis.foundations.errors.AnnotationError: figures.length_control: found intervals of another \
estimate, expected those of 'lc_win_rate', as fit_length_control returns them
    """
    if "interval" in frame.attrs:
        own = frame.attrs.get("estimate") == value
    else:
        known = frame.dropna(subset=[value, "ci_low", "ci_high"])
        inside = known[value].between(known["ci_low"] - 1e-9, known["ci_high"] + 1e-9)
        own = inside.mean() >= 0.5 if len(known) else True
    if not own:
        found = Verbatim("intervals of another estimate")
        raise AnnotationError(
            f"those of {value!r}, as {of} returns them", source=f"figures.{figure}", found=found
        )


def refuse_percent(values, name: str) -> None:
    """Raise where a number that should be a fraction exceeds 1."""
    if np.nanmax(np.asarray(values, dtype=float), initial=0) > 1:
        raise ValueError(f"{name}: found {np.nanmax(values):g}, expected fractions; divide percent by 100")


def axes(ax: Axes | None, *, width: float = COLUMN, height: float | None = None) -> Axes:
    """Return `ax`, or new Axes of `width` by `height` inches; ticks are set in the paper style.

    Parameters
    ----------
    ax : Axes or None
        Axes to draw on; then `width` is not used, and `height` only where the Axes come from `panels`:
        their row of panels grows to it.
    width, height : float
        Size of the figure in inches; the height is 0.7 of the width, at most 3.2, by default.
    """
    if ax is not None and height is not None:
        _reserve(ax, height)
    if ax is None:
        height = min(0.7 * width, 3.2) if height is None else height
        figure = plt.figure(figsize=(width, height), layout="constrained")
        _MADE.add(figure)
        ax = figure.add_subplot()
    # Ticks may be made later, when the style around is another: what they look like is fixed here.
    look: dict = dict(mpl.rcParams)
    for side in ("x", "y"):
        kind = {k: look[f"{side}tick.{k}"] for k in ("labelsize", "color", "labelcolor")}
        major = {k: look[f"{side}tick.major.{k}"] for k in ("size", "width", "pad")}
        ax.tick_params(axis=side, length=major.pop("size"), **kind, **major)
    return ax


def panels(
    rows: int = 1,
    columns: int = 2,
    *,
    width: float = PAGE,
    height: float | None = None,
    sharex: Share = False,
    sharey: Share = False,
    letters: bool = True,
) -> tuple[Figure, np.ndarray]:
    """Make Axes side by side in the paper style, for the ``ax=`` of the figures.

    Parameters
    ----------
    rows, columns : int
        Number of panels.
    width : float
        Width of the whole figure in inches.
    height : float, optional
        Height of the whole figure; by default 0.75 of a panel's width a row, and where rows of names are
        drawn, as high as these need.
    sharex, sharey : bool, "row" or "col"
        As in `matplotlib.pyplot.subplots`. Rows of names on a shared axis stand at the same height in all
        panels, in the order of the one drawn first.
    letters : bool
        Write a, b, c, ... over the panels.

    Returns
    -------
    (Figure, ndarray of Axes)
        One Axes for a single panel, a row or column of them, or a grid of shape (rows, columns).

    Examples
    --------
    >>> from alpaca_analysis import figures, fit_length_control, load, win_rate
    >>> cells = load("alpaca_eval_v1_cells").query("model in ['gpt4', 'claude-2', 'vicuna-13b', 'alpaca-7b']")
    >>> figure, (left, right) = figures.panels(sharey=True)
    >>> ax = figures.forest(win_rate(cells, method="t"), ax=left, numbers=True)
    >>> ax = figures.forest(fit_length_control(cells), ax=right, numbers=True)
    """
    rows, columns = options.whole("rows", rows), options.whole("columns", columns)
    with context():
        figure = plt.figure(
            figsize=(width, height or rows * 0.75 * width / columns + 0.2), layout="constrained"
        )
        grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        for k, ax in enumerate(grid.flat):
            axes(ax)
            if letters and grid.size > 1:
                look: dict = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
                ax.annotate(
                    chr(ord("a") + k),
                    (0, 1),
                    xytext=(-4, 4),
                    ha="right",
                    fontweight="bold",
                    fontsize=8,
                    **look,
                )
    if height is None:
        _MADE.add(figure)
        _NEEDED[figure] = {}
    if grid.size == 1:
        return figure, grid[0, 0]
    return figure, grid[:, 0] if columns == 1 else grid[0] if rows == 1 else grid


def _reserve(ax, height):
    """Make the row of panels that `ax` stands in as high as it needs, where the height is ours to choose."""
    figure, spec = figure_of(ax), ax.get_subplotspec()
    if figure not in _NEEDED or spec is None or len(spec.rowspan) != 1:
        return
    grid, needed = spec.get_gridspec(), _NEEDED[figure]
    width = figure.get_size_inches()[0]
    row = spec.rowspan.start
    needed[row] = max(height, needed.get(row, 0))
    heights = [needed.get(k, 0.75 * width / grid.ncols) for k in range(grid.nrows)]
    grid.set_height_ratios(heights)
    figure.set_size_inches(width, sum(heights) + 0.2)


def size(ax: Axes) -> tuple[float, float]:
    """Return width and height in inches of the part of its figure that `ax` may take."""
    width, height = figure_of(ax).get_size_inches()
    spec = ax.get_subplotspec()
    if spec is None:
        return float(width), float(height)
    grid = spec.get_gridspec()
    across, down = (np.asarray(r, dtype=float) for r in (grid.get_width_ratios(), grid.get_height_ratios()))
    wide = across[list(spec.colspan)].sum() / across.sum()
    high = down[list(spec.rowspan)].sum() / down.sum()
    return float(width * wide), float(height * high)


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that `ax` is part of."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def percent_axis(ax: Axes, which: str = "x", *, points: bool = False) -> None:
    """Label an axis that holds fractions in percent, or in percentage points with a sign."""
    axis = ax.xaxis if which == "x" else ax.yaxis

    def text(value, _):
        number = f"{abs(100 * value):.6g}"
        if number == "0":
            return number
        sign = "−" if value < 0 else "+" if points else ""
        return sign + number

    axis.set_major_formatter(FuncFormatter(text))


def text_width(text: str, fontsize: float) -> float:
    """Return how wide `text` is set, in inches."""
    font = FontProperties(family=mpl.rcParams["font.family"], size=fontsize)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / 72


def shorten(names: Sequence[object], *, width: float, fontsize: float = 7.0) -> list[str]:
    """Return names that fit into `width` inches: what is too long loses its middle.

    Names that would look the same after that stay whole, up to `LONGEST` characters.

    Examples
    --------
    >>> shorten(["gpt4", "a-model-with-a-very-long-name-v0.1"], width=1.0)
    ['gpt4', 'a-model-…ame-v0.1']
    """
    whole = [on_one_line(name) for name in names]
    short = [_shortened(name, width, fontsize) for name in whole]
    return [s if short.count(s) == whole.count(w) else w for s, w in zip(short, whole, strict=True)]


def _shortened(name, width, fontsize):
    if text_width(name, fontsize) <= width:
        return name
    fits = bisect.bisect(range(2, len(name)), width, key=lambda keep: text_width(_cut(name, keep), fontsize))
    return _cut(name, fits + 1) if fits else name[:1] + "…"


def _cut(name, keep):
    """Return the `keep` outer characters of a name, with a sign of the rest."""
    return name[: (keep + 1) // 2] + "…" + name[len(name) - keep // 2 :]


def on_one_line(name) -> str:
    """Return a name as a figure can show it: printable, and of at most `LONGEST` characters."""
    text = printable(name)
    return text if len(text) <= LONGEST else _cut(text, LONGEST - 1)


def name_ticks(ax: Axes, positions, names: Sequence[object], *, which: str = "y", width: float) -> None:
    """Put names, which may come from anybody, beside ticks; `width` is what they may take, in inches.

    A tuple of names is set in several lines.
    """
    axis = ax.yaxis if which == "y" else ax.xaxis
    fontsize = mpl.rcParams["xtick.labelsize"]
    lines = [[str(part) for part in (name if isinstance(name, tuple) else (name,))] for name in names]
    short = iter(shorten([part for parts in lines for part in parts], width=width, fontsize=fontsize))
    axis.set_ticks(positions, labels=["\n".join(next(short) for _ in parts) for parts in lines])
    for label in axis.get_ticklabels():
        label.set_parse_math(False)  # an Axes made elsewhere may take "$" for mathematics
    axis.set_tick_params(length=0)


def heatmap(values: np.ndarray, *, ax: Axes, words=None, lines: float = 0.5, vmax=None, square=False):
    """Draw cells darker where their value is larger, with seaborn, and return what a colour bar takes.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        From 0 up; NaN stays blank.
    ax : Axes
        Where to draw.
    words : ndarray of str of the same shape, optional
        What stands in the cells; dark cells get white letters.
    lines : float
        Width of the white lines between cells in points.
    vmax : float, optional
        The value of the darkest colour.
    square : bool
        Whether cells are as wide as high.
    """
    import seaborn as sns

    shades = sns.blend_palette(["#E9F1F8", "#6AAED6", "#08306B"], as_cmap=True)
    given: dict = {"annot": words, "fmt": "", "annot_kws": {"fontsize": 6.5 if len(values) > 3 else 7}}
    if words is None or not any(np.ravel(words)):
        given = {}
    if vmax is None and not np.isfinite(values).any():
        vmax = 1.0
    look = {
        "cmap": shades,
        "vmin": 0,
        "vmax": vmax,
        "cbar": False,
        "xticklabels": False,
        "yticklabels": False,
        "linewidths": lines,
        "linecolor": "white",
    }
    sns.heatmap(values, ax=ax, mask=~np.isfinite(values), square=square, zorder=2, **look, **given)
    for text in ax.texts:
        text.set(parse_math=False, va="center_baseline", zorder=4)
    return ax.collections[0]


def bands(ax: Axes, positions) -> None:
    """Shade every other row, to lead the eye from a name to its point."""
    for y in np.asarray(positions)[1::2]:
        ax.axhspan(y - 0.5, y + 0.5, color=COLOURS["band"], linewidth=0, zorder=0)


def legend_above(ax: Axes, **look):
    """Put the legend over the Axes, where it hides no data; over the whole figure where `ax` is alone.

    It takes as many columns as fit, and a figure made here grows by what it takes. Where nothing has
    a label there is no legend.
    """
    figure = figure_of(ax)
    texts = look.get("labels") or ax.get_legend_handles_labels()[1]
    fontsize = float(mpl.rcParams["legend.fontsize"])
    entry = max((text_width(text, fontsize) for text in texts), default=0) + 0.42
    columns = max(1, min(len(texts), int(figure.get_size_inches()[0] / entry)))
    if not texts:
        return None
    if len(figure.axes) > 1 or not figure.get_constrained_layout():
        columns = max(1, min(len(texts), int(size(ax)[0] / entry)))
        return ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **look)
    if figure in _MADE:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.05 + 0.142 * -(-len(texts) // columns))
    return figure.legend(loc="outside upper left", ncols=columns, **look)


def name_below(ax: Axes, text: str) -> None:
    """Name the x axis of rows: a long name ends where the Axes end, so that it stays on the page."""
    long = text_width(text, mpl.rcParams["axes.labelsize"]) > 0.36 * size(ax)[0]
    ax.set_xlabel(text, loc="right" if long else "center")


def count_axis(ax: Axes) -> None:
    """Write the numbers of the x axis with commas between thousands."""
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value, 0)))


@styled
def save(figure: Axes | Figure, path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Save a figure as PDF, SVG and PNG: the same figure gives the same bytes on every run.

    Parameters
    ----------
    figure : Axes or Figure
        What to save, at its size in inches; PNG has 300 dots an inch.
    path : path
        Without a suffix, or with one of `formats`, which is then the only one written.
    formats : sequence of str
        Suffixes of the files.

    Returns
    -------
    list of Path
        The files written. Each is complete or absent: it is written beside and then renamed.
    """
    whole = figure_of(figure) if isinstance(figure, Axes) else figure
    path = Path(path)
    if path.suffix[1:] in FORMATS:
        path, formats = path.with_suffix(""), (path.suffix[1:],)
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    written = []
    for suffix in formats:
        if suffix not in dates:
            raise ValueError(f"formats: found {suffix!r}, expected some of {', '.join(FORMATS)}")
        target = path.with_name(f"{path.name}.{suffix}")
        with replacing(target) as temporary:
            whole.savefig(temporary, format=suffix, metadata=dates[suffix])
        written.append(target)
    return written
