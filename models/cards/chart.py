"""Small charts drawn with Pillow: RGB images, 960 pixels wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .layout import INK, MUTED, PAPER
from .typesetting import Line, Style, draw_line, measure, wrap

WIDTH = 960
# Drawn this many times larger and then reduced, so that letters and lines are smooth.
FINE = 2
# At least 3 to 1 on the paper, and light enough for lines to stand out on it.
BAR = (112, 140, 222)
# Legible where a node shows the chart at half its size.
TITLE, BODY, SMALL = Style(34 * FINE, INK, bold=True), Style(24 * FINE, INK), Style(22 * FINE, MUTED)
STRONG = Style(24 * FINE, INK, bold=True)


class Canvas:
    """A sheet of paper whose lengths are pixels of the finished image."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, baseline: float, text: str, style: Style, align: float = 0.0, width: float = WIDTH
    ) -> None:
        """One line; `align` 0 starts at `x`, 0.5 is centred on it, 1 ends there.

        Longer than `width` ends in an ellipsis.
        """
        for line in wrap(text, style, width * FINE, 1):
            draw_line(self.draw, x * FINE - align * measure(line.text, line.style), baseline * FINE, line)

    def paragraph(self, x: float, middle: float, lines: Sequence[Line]) -> None:
        """Lines below each other, their block centred on the height `middle`."""
        for number, line in enumerate(lines):
            size = line.style.size
            from_middle = (number - (len(lines) - 1) / 2) * 1.2 * size
            draw_line(self.draw, x * FINE, middle * FINE + from_middle + 0.36 * size, line)

    def line(
        self, points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: int = 1
    ) -> None:
        """A line through all points."""
        self.draw.line(
            [(x * FINE, y * FINE) for x, y in points], fill=color, width=width * FINE, joint="curve"
        )

    def box(self, left: float, top: float, right: float, bottom: float, color: tuple[int, int, int]) -> None:
        """A filled rectangle; nothing where it has no width."""
        edges = [round(edge * FINE) for edge in (left, top, right, bottom)]
        if edges[0] < edges[2] and edges[1] < edges[3]:
            self.draw.rectangle((edges[0], edges[1], edges[2] - 1, edges[3] - 1), fill=color)

    def dot(self, x: float, y: float, radius: float, color: tuple[int, int, int]) -> None:
        """A filled circle."""
        box = ((x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE)
        self.draw.ellipse(box, fill=color)

    def finish(self) -> Image.Image:
        """The image."""
        return self.image.reduce(FINE)


def ticks(low: float, high: float, integers: bool = False, most: int = 6) -> list[float]:
    """At least two round numbers in even steps that enclose `low` to `high`; with `integers` no fractions."""
    # A single value.
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = 1 if integers else abs(low) / 10 + 1e-3
        low, high = low - room, high + room
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100):
        step = factor * power
        if integers and step != int(step):
            continue
        start, end = math.floor(low / step), math.ceil(high / step)
        if end - start <= most:
            return [number * step for number in range(start, end + 1)]
    return [low, high]


def short(value: float) -> str:
    """A number with three or four digits: "0.125", "12.5", "1200"."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.3g}"
