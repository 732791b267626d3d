"""Where names go so that none covers another: beside points, and beside the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from .style import figure_of, on_one_line, text_width

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


def place(
    ax: Axes, x, y, names: Sequence[object], *, first: Sequence[object] = (), avoid=None, fontsize=6.5
) -> list[Annotation]:
    """Write names beside points, as many as fit without covering a point, a name or the frame.

    Call it last: the limits of `ax` must be what they stay.

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
    if avoid is not None:
        spots = ax.transData.transform(np.asarray(avoid, dtype=float)) * scale
        taken = np.vstack([taken, np.column_stack([spots - 0.5, spots + 0.5])])
    bold = set(first)
    placed = []
    order = {name: k - len(bold) for k, name in reversed(list(enumerate(first)))}
    for k in sorted(range(len(names)), key=lambda k: (order.get(names[k], 0), k)):
        name = on_one_line(names[k])
        weight = "bold" if names[k] in bold else "normal"
        width = 72 * text_width(name, fontsize) * (1.12 if weight == "bold" else 1.0) + 1.5  # hinting
        others = np.delete(taken, k, axis=0)
        for dx, dy, ha, va, way in _tries(names[k] in bold):
            box = _box(points[k] + (dx, dy), width, 1.15 * fontsize, ha, va)
            within = (box[:2] >= inside[:2]).all() and (box[2:] <= inside[2:]).all()
            reached = way or not _crosses(points, k, (dx, dy))
            if within and reached and not _meets(box, others).any():
                line = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2, "color": "0.3"}
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
                    arrowprops=line if max(abs(dx), abs(dy)) > 8 else None,
                )
                note.set_in_layout(False)
                placed.append(note)
                taken = np.vstack([taken, box])
                break
    return placed


def _tries(must):
    """Yield offset, anchoring, and whether the way to the name may pass other points."""
    for way in (False, True) if must else (False,):
        for ring in (1, 3, 5, 7, 10, 14, 18, 24) if must else (1,):
            for dx, dy, ha, va in DIRECTIONS if ring == 1 else (*DIRECTIONS, *STEEP):
                yield dx * ring, dy * ring, ha, va, way


def _crosses(points, k, offset):
    """Tell whether the way from point k to its name passes another point."""
    way = points[k] + np.linspace(0, 1, 12)[:, None] * offset
    gaps = np.abs(way[:, None, :] - np.delete(points, k, axis=0)).max(axis=2)
    return max(map(abs, offset)) > 8 and bool((gaps < 2.5).any())


def _box(anchor, width, height, ha, va):
    left = anchor[0] - {"left": 0, "center": width / 2, "right": width}[ha]
    bottom = anchor[1] - {"bottom": 0, "center": height / 2, "top": height}[va]
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
