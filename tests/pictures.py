"""What tests of figures share: widths, and whether texts overlap or leave the page."""

import matplotlib as mpl

from alpaca_analysis import figures

WIDTHS = [figures.COLUMN, figures.PAGE]


def boxes(ax, labels):
    renderer = ax.get_figure().canvas.get_renderer()
    return [t.get_window_extent(renderer) for t in labels if t.get_text() and t.get_visible()]


def assert_apart(ax, labels):
    """Fail where two texts overlap, or one leaves the page."""
    figure = ax.get_figure()
    figure.draw_without_rendering()
    found = boxes(ax, labels)
    page = figure.bbox
    for i, box in enumerate(found):
        assert page.x0 <= box.x0 and box.x1 <= page.x1, f"{labels[i].get_text()!r} leaves the page"  # noqa: PT018
        for j in range(i):
            shared = mpl.transforms.Bbox.intersection(box, found[j])
            # one point of shared height is the empty space above and below letters
            assert shared is None or shared.height < figure.dpi / 72 or shared.width < 1, (
                f"{labels[i].get_text()!r} overlaps {labels[j].get_text()!r}"
            )


def texts(ax):
    return [*ax.get_yticklabels(), *ax.texts]
