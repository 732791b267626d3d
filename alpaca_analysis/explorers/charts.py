"""Rows of estimates as HTML: drawn at once, in the theme's colours; numbers neither wrap nor clip."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import numpy as np

from alpaca_analysis.present.rendering import ABSENT, decimals, format_number, printable


@dataclass(frozen=True)
class Mark:
    """One estimate of a row, in the units of its axis; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Chart:
    """Rows of estimates with their intervals.

    Attributes
    ----------
    label : str
        What stands at the axis, its unit included.
    rows : tuple of (str, tuple of Mark)
        Name and one mark a series, top to bottom.
    series : tuple of str
        Names of the series; one that needs no name is "".
    rule : float or None
        Where "no difference" or "no preference" lies.
    sign : bool
        Whether positive numbers get a plus.
    whole : bool
        Whether numbers are whole, as ranks are.
    """

    label: str
    rows: tuple[tuple[str, tuple[Mark, ...]], ...]
    series: tuple[str, ...] = ("",)
    rule: float | None = None
    sign: bool = False
    whole: bool = False

    def to_html(self) -> str:
        """Return the chart; no text in it can run."""
        low, high, ticks = self._axis()
        places = self._places()

        def at(value):
            return f"{100 * (value - low) / (high - low):.2f}%"

        lines = []
        for name, marks in self.rows:
            drawn, texts, step = [], [], 15 if len(self.series) > 1 else 18
            for k, mark in enumerate(marks):
                middle = step * k + step / 2
                if math.isfinite(mark.low) and math.isfinite(mark.high):
                    wide = f"{100 * (mark.high - mark.low) / (high - low):.2f}%"
                    place = f"left:{at(mark.low)};width:{wide};top:{middle - 1:g}px"
                    drawn.append(f'<i class="line s{k}" style="{place}"></i>')
                if math.isfinite(mark.value):
                    drawn.append(
                        f'<i class="point s{k}" style="left:{at(mark.value)};top:{middle - 1:g}px"></i>'
                    )
                texts.append(self._text(mark, places))
            if self.rule is not None and low < self.rule < high:
                drawn.insert(0, f'<i class="rule" style="left:{at(self.rule)}"></i>')
            cells = "".join(
                f'<td class="number">{"<br>".join(part)}</td>' for part in zip(*texts, strict=True)
            )
            plot = f'<span class="plot" style="height:{step * len(marks)}px">{"".join(drawn)}</span>'
            lines.append(
                f'<tr><th scope="row">{html.escape(printable(name))}</th><td>{plot}</td>{cells}</tr>'
            )
        axis = "".join(
            f'<span style="left:{at(t)}">{self._number(t, self._tick_places(ticks))}</span>' for t in ticks
        )
        foot = f'<tr><td></td><td><span class="plot axis">{axis}</span></td><td></td><td></td></tr>'
        keys = [
            f'<i class="key point s{k}"></i><span>{html.escape(printable(name))}</span>'
            for k, name in enumerate(self.series)
            if name
        ]
        head = f"<p><strong>{html.escape(self.label)}</strong></p>"
        legend = f"<p>{''.join(keys)}</p>" if keys else ""
        body = f"<table><tbody>{''.join(lines)}</tbody><tfoot>{foot}</tfoot></table>"
        return f'<div class="aa-chart">{head}{legend}<div class="scroll">{body}</div></div>'

    def _numbers(self):
        marks = [mark for _, marks in self.rows for mark in marks]
        every = np.array([(m.value, m.low, m.high) for m in marks], dtype=float).ravel()
        return every[np.isfinite(every)]

    def _axis(self):
        """Return the ends of the axis, and the ticks."""
        numbers = self._numbers()
        if not len(numbers):
            return 0.0, 1.0, []
        low, high = float(numbers.min()), float(numbers.max())
        if high - low < 1e-9:
            low, high = low - 1, high + 1
        span = high - low
        step = 10 ** math.floor(math.log10(span / 2))
        step = next(step * k for k in (1, 2, 5, 10) if span / (step * k) <= 5)
        if self.whole:
            step = max(1.0, step)
        low, high = low - 0.04 * span, high + 0.04 * span
        ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
        return low, high, ticks.tolist()

    def _places(self):
        widths = [mark.high - mark.low for _, marks in self.rows for mark in marks]
        widths = [width for width in widths if math.isfinite(width) and width > 0]
        return 0 if self.whole else decimals(min(widths) / 4) if widths else 2

    def _tick_places(self, ticks):
        steps = np.diff(ticks)
        return max(0, -math.floor(math.log10(steps[0]) + 1e-9)) if len(steps) else 0

    def _number(self, value, places):
        if not math.isfinite(value):
            return ABSENT
        return ("+" if self.sign and value > 0 else "") + format_number(value, places)

    def _text(self, mark, places):
        value = self._number(mark.value, places)
        if not (math.isfinite(mark.low) and math.isfinite(mark.high)):
            return value, "no interval" if math.isfinite(mark.value) else ""
        return value, f"{self._number(mark.low, places)} to {self._number(mark.high, places)}"


def chart(frame, names, value, *, label, low="ci_low", high="ci_high", factor=100.0, **look) -> Chart:
    """Return a chart of one series from the columns of a frame."""
    numbers = factor * frame[[value, low, high]].to_numpy(dtype=float)
    rows = tuple((str(name), (Mark(*row),)) for name, row in zip(names, numbers.tolist(), strict=True))
    return Chart(label, rows, **look)
