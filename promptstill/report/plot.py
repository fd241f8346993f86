"""Parts of a chart, as inline SVG without scripts: axes with round ticks, marks, a legend.

Sizes are CSS pixels, so that text can still be read where a phone shrinks a figure. A colour is a name in PALETTE, and
the page chooses its shade, light or dark. Text stays text: it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

PALETTE = {
    "fg": "#1c2430",
    "soft": "#5b6675",
    "line": "#d8dee6",
    "card": "#f6f8fa",
    "baseline": "#7b8794",
    "dspy": "#b5651d",
    "winner": "#0b6bcb",
    "good": "#1a7f37",
    "bad": "#c6282f",
}
WIDTH = 470
FONT = 11
CHARACTER = 6.3  # the width of one at that size, in the mean
TICKS = 7  # at most, on an axis
LEGEND_ROW = 17
Mark = Literal["dot", "ring", "line", "bar"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """A rectangle of the figure, and the data at its edges: `x` at left and right, `y` at bottom and top."""

    left: float
    right: float
    top: float
    bottom: float
    x: Range
    y: Range

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where data lie in the figure."""
        return (
            self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left),
            self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top),
        )


def figure(height: float, *parts: str) -> Markup:
    """The SVG of all parts, the later ones above the earlier."""
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height:g}" aria-hidden="true">{"".join(parts)}</svg>')


def element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """An SVG element. `content` is text; numbers are written to a tenth of a pixel or finer."""
    written = [f'{key.replace("_", "-")}="{escape(shorten(value))}"' for key, value in attributes.items()]
    return f"<{name} {' '.join(written)}>{escape(content)}</{name}>"


def shorten(value: str | float) -> str:
    """A number with as many digits as a screen shows."""
    return value if isinstance(value, str) else f"{value:.4g}"


def paint(colour: str) -> str:
    """A colour of PALETTE as the page has it."""
    return f"var(--{colour})"


def line(places: Sequence[tuple[float, float]], colour: str, width: float, **attributes: str | float) -> str:
    """Straight lines from place to place."""
    points = " ".join(f"{shorten(x)},{shorten(y)}" for x, y in places)
    return element("polyline", points=points, fill="none", stroke=paint(colour), stroke_width=width, **attributes)


def dot(place: tuple[float, float], colour: str, radius: float) -> str:
    return element("circle", cx=place[0], cy=place[1], r=radius, fill=paint(colour))


def ring(place: tuple[float, float], colour: str, radius: float, width: float = 1.0) -> str:
    return element("circle", cx=place[0], cy=place[1], r=radius, fill="none", stroke=paint(colour), stroke_width=width)


def bar(one: tuple[float, float], other: tuple[float, float], colour: str) -> str:
    """The rectangle between two corners."""
    (left, right), (top, bottom) = sorted([one[0], other[0]]), sorted([one[1], other[1]])
    return element("rect", x=left, y=top, width=right - left, height=bottom - top, fill=paint(colour))


def text(
    place: tuple[float, float], words: str, anchor: str = "middle", colour: str = "soft", **attributes: str | float
) -> str:
    """Words whose baseline is at the place; `anchor` is their start, middle or end."""
    size: dict[str, str | float] = {"font_size": FONT, "text_anchor": anchor, "fill": paint(colour)}
    return element("text", words, x=place[0], y=place[1], **size, **attributes)


def ticks(span: Range, *, whole: bool = False) -> list[float]:
    """Round values inside the range, TICKS at most; `whole` ones only."""
    low, high = span
    least = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    step = max(1.0, step) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 10) + 0.0 for n in range(first, last + 1)]


def x_axis(axes: Axes, label: str, *, whole: bool = False, grid: bool = True) -> str:
    """Ticks below the axes, their lines across it, and what they count."""
    parts = [] if grid else [line([(axes.left, axes.bottom), (axes.right, axes.bottom)], "line", 1)]
    for value in ticks(axes.x, whole=whole):
        x, _ = axes.place(value, axes.y[0])
        parts += [line([(x, axes.top), (x, axes.bottom)], "line", 0.6)] if grid else []
        parts.append(text((x, axes.bottom + 15), f"{value:,.10g}"))
    return "".join([*parts, text(((axes.left + axes.right) / 2, axes.bottom + 33), label)])


def y_axis(axes: Axes, label: str) -> str:
    """Ticks left of the axes, their lines across it, and what they count."""
    parts = []
    for value in ticks(axes.y):
        _, y = axes.place(axes.x[0], value)
        parts.append(line([(axes.left, y), (axes.right, y)], "line", 0.6))
        parts.append(text((axes.left - 6, y + 4), f"{value:,.10g}", "end"))
    middle = (axes.top + axes.bottom) / 2
    return "".join([*parts, text((12, middle), label, transform=f"rotate(-90 12 {middle:g})")])


def name_rows(axes: Axes, names: Sequence[str]) -> str:
    """A name left of each row: row 0 is at y = 0."""
    places = [axes.place(axes.x[0], row) for row in range(len(names))]
    return "".join(text((x - 8, y + 4), name, "end", "fg") for (x, y), name in zip(places, names, strict=True))


def name_width(names: Sequence[str]) -> float:
    """The room that `name_rows` takes."""
    return min(0.5 * WIDTH, 12 + CHARACTER * max(map(len, names), default=0))


def legend(left: float, top: float, entries: Sequence[tuple[Mark, str, str]]) -> str:
    """What the marks mean, in two columns: the mark, its colour, the words."""
    second = left + 32 + CHARACTER * max(len(words) for _, _, words in entries)
    parts = []
    for number, (mark, colour, words) in enumerate(entries):
        x, y = second if number % 2 else left, top + LEGEND_ROW * (number // 2 + 0.5)
        drawn = {
            "dot": dot((x + 8, y), colour, 3.5),
            "ring": ring((x + 8, y), colour, 4, 1.5),
            "line": line([(x, y), (x + 16, y)], colour, 1.5),
            "bar": bar((x + 2, y - 4), (x + 14, y + 4), colour),
        }
        parts.append(drawn[mark] + text((x + 22, y + 4), words, "start", "fg"))
    return "".join(parts)


def padded(values: Sequence[float], share: float = 0.05) -> Range:
    """The range of the values, and a share of it on both sides."""
    low, high = min(values), max(values)
    pad = share * (high - low) or 1.0
    return low - pad, high + pad
