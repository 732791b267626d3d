"""Where names go so that none covers another: beside points, and beside the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from alpaca_analysis.figures.style import figure_of, on_one_line, text_width

# Directions to try in turn: offset in points, and how the text is anchored.
DIRECTIONS = (
    (4, 0, "left", "center"),
    (-4, 0, "right", "center"),
    (0, 4, "center", "bottom"),
    (0, -4, "center", "top"),
    (3, 3, "left", "bottom"),
    (3, -3, "left", "top"),
    (-3, 3, "right", "bottom"),
    (-3, -3, "right", "top"),
)
STEEP = (
    (1.5, 3.5, "left", "bottom"),
    (-1.5, 3.5, "right", "bottom"),
    (1.5, -3.5, "left", "top"),
    (-1.5, -3.5, "right", "top"),
)
NEARER = 2.5  # points by which a name is nearer to its own point than to any other
CLEAR = 4.0  # points between a name with a line and points that are not its own
FEW = 30  # points up to which a name without room beside its point may stand off with a line
ALONE = 6.0  # points between a point and the next one where such a line can end at only one of them
SHARE = {"left": 0, "bottom": 0, "center": 0.5, "right": 1, "top": 1}  # of a text's size, up to its anchor
WAY = np.linspace(0, 1, 25)[:, None]
BETWEEN = np.array([-3.0, 0.0, 3.0, 0.0])  # points to leave beside a name, so that two do not read as one


def place(
    ax: Axes, x, y, names: Sequence[object], *, first: Sequence[object] = (), avoid=None, fontsize=6.5
) -> list[Annotation]:
    """Write names beside points, as many as fit and leave no doubt which point they name.

    A name covers no point, no other name and not the frame, it touches no other name, and unless a
    line leads to its point it stands clearly nearer to it than to any other. What finds no such place
    is left out. Call it last: the limits of `ax` must be what they stay.

    Parameters
    ----------
    ax : Axes
        Where the points are.
    x, y : array-like of shape (n,)
        The points in data coordinates.
    names : sequence of shape (n,)
        Their names.
    first : sequence, optional
        Names that are placed before the others and in this order, in bold, and if need be farther
        off with a line.
    avoid : array-like of shape (m, 2), optional
        Further points that no name may cover, such as those of a line.
    fontsize : float
        Points.

    Returns
    -------
    list of Annotation
        The names that found a place.
    """
    figure = figure_of(ax)
    figure.draw_without_rendering()  # settles the layout, and with it where points are on the page
    scale = 72 / figure.dpi
    points = ax.transData.transform(np.column_stack([x, y]).astype(float)) * scale
    frame = ax.get_window_extent()
    inside = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) * scale
    taken = np.column_stack([points - 2.2, points + 2.2])
    bare = np.empty((0, 4))  # no name may cover these, but a line to a name may pass them
    if avoid is not None:
        spots = ax.transData.transform(np.asarray(avoid, dtype=float)) * scale
        bare = np.column_stack([spots - 0.5, spots + 0.5])
    bold = set(first)
    placed = []
    order = {name: k - len(bold) for k, name in reversed(list(enumerate(first)))}
    ranked = sorted(range(len(names)), key=lambda k: (order.get(names[k], 0), k))
    turns = [(k, _tries(names[k] in bold)) for k in ranked]
    if len(names) <= FEW:
        alone = _nearest(points) >= ALONE
        turns += [(k, _led_tries()) for k in ranked if alone[k] and names[k] not in bold]
    done = set()
    for k, tries in turns:
        if k in done:
            continue
        name = on_one_line(names[k])
        weight = "bold" if names[k] in bold else "normal"
        width = 72 * text_width(name, fontsize) * (1.12 if weight == "bold" else 1.0) + 1.5  # hinting
        others = np.delete(taken, k, axis=0)
        for dx, dy, ha, va, way in tries:
            box = _box(points[k] + (dx, dy), width, 1.15 * fontsize, ha, va)
            within = (box[:2] >= inside[:2]).all() and (box[2:] <= inside[2:]).all()
            led = max(abs(dx), abs(dy)) > 8
            reached = way or not led or not _crosses(points[k], (dx, dy), others)
            free = not (_meets(box, others).any() or _meets(box, bare).any())
            if within and reached and free and _told(box, points, k, led):
                line = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2, "color": "0.3"}
                line["relpos"] = (SHARE[ha], SHARE[va])
                note = ax.annotate(
                    name,
                    (x[k], y[k]),
                    xytext=(dx, dy),
                    textcoords="offset points",
                    ha=ha,
                    va=va,
                    fontsize=fontsize,
                    fontweight=weight,
                    parse_math=False,
                    arrowprops=line if led else None,
                )
                note.set_in_layout(False)
                placed.append(note)
                taken = np.vstack([taken, box + BETWEEN])
                if led:  # nothing may be written over the line
                    spots = points[k] + WAY * (dx, dy)
                    taken = np.vstack([taken, np.column_stack([spots - 1, spots + 1])])
                done.add(k)
                break
    return placed


def _tries(must):
    """Yield offset, anchoring, and whether the way to the name may pass other points."""
    for way in (False, True) if must else (False,):
        for ring in (1, 3, 5, 7, 10, 14, 18, 24) if must else (1,):
            for dx, dy, ha, va in DIRECTIONS if ring == 1 else (*DIRECTIONS, *STEEP):
                yield dx * ring, dy * ring, ha, va, way


def _led_tries():
    """Yield offset and anchoring of names at the end of a short line."""
    for ring in (3, 5):
        for dx, dy, ha, va in (*DIRECTIONS, *STEEP):
            yield dx * ring, dy * ring, ha, va, False


def _crosses(point, offset, others):
    """Tell whether the way from a point to its name passes another point or name."""
    spots = point + WAY[1:] * offset
    return any(_meets(np.concatenate([spot - 1, spot + 1]), others).any() for spot in spots)


def _nearest(points):
    """Return how far each point is from the nearest other one."""
    gaps = np.hypot(*(points[:, None, :] - points).T)
    np.fill_diagonal(gaps, np.inf)
    return gaps.min(axis=1)


def _told(box, points, k, led):
    """Tell whether a name in `box` can only be read as that of point k."""
    across, up = np.maximum(0, np.maximum(box[:2] - points, points - box[2:])).T
    gaps = np.hypot(across / 2, up)  # the eye goes along the line: a point before a name seems to have it
    nearest = np.delete(gaps, k).min(initial=np.inf)
    return nearest >= (CLEAR if led else gaps[k] + NEARER)


def _box(anchor, width, height, ha, va):
    left, bottom = anchor[0] - SHARE[ha] * width, anchor[1] - SHARE[va] * height
    return np.array([left, bottom, left + width, bottom + height])


def _meets(box, others):
    return (
        (box[0] < others[:, 2]) & (others[:, 0] < box[2]) & (box[1] < others[:, 3]) & (others[:, 1] < box[3])
    )


def spread(positions, gap: float) -> np.ndarray:
    """Move positions as little as possible until neighbours are at least `gap` apart, order kept.

    Least squares under the order, by pooling neighbours that would come too close.

    Examples
    --------
    >>> spread([0.0, 0.1, 5.0], 1.0).round(2).tolist()
    [-0.45, 0.55, 5.0]
    """
    positions = np.asarray(positions, dtype=float)
    order = np.argsort(positions, kind="stable")
    blocks: list[tuple[float, int]] = []  # mean of position minus what the order alone demands, and size
    for rank, value in enumerate(positions[order]):
        mean, size = value - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, size = (mean * size + before * many) / (size + many), size + many
        blocks.append((mean, size))
    moved = np.empty(len(positions))
    base = [mean for mean, size in blocks for _ in range(size)]
    moved[order] = np.array(base) + gap * np.arange(len(positions))
    return moved
