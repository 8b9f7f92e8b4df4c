"""Small charts drawn with Pillow: the loss of a training run, and an evaluation. All are RGB pictures, 960 pixels wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from ..models.cards.layout import ACCENT, HAIRLINE, INK, MUTED, PAPER
from ..models.cards.typesetting import Line, Style, draw_line, measure, wrap
from .report import TASKS, between, percent

if TYPE_CHECKING:
    from .evaluate import Evaluation, Rate

WIDTH = 960
FINE = 2  # drawn this many times larger and then reduced, so that letters and lines are smooth
BAR = (112, 140, 222)  # at least 3 to 1 on the paper, and light enough for lines to stand out on it
TITLE, BODY, SMALL = Style(26 * FINE, INK, bold=True), Style(18 * FINE, INK), Style(16 * FINE, MUTED)
STRONG = Style(18 * FINE, INK, bold=True)


class _Canvas:
    """A sheet of paper whose lengths are pixels of the finished picture."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, baseline: float, text: str, style: Style, align: float = 0.0, width: float = WIDTH
    ) -> None:
        """One line; `align` 0 starts at `x`, 0.5 is centred on it, 1 ends there. Longer than `width` ends in an ellipsis."""
        for line in wrap(text, style, width * FINE, 1):
            draw_line(self.draw, x * FINE - align * measure(line.text, line.style), baseline * FINE, line)

    def paragraph(self, x: float, middle: float, lines: Sequence[Line]) -> None:
        """Lines below each other, their block centred on the height `middle`."""
        for number, line in enumerate(lines):
            baseline = (
                middle
                + (number - (len(lines) - 1) / 2) * line.style.size * 1.2 / FINE
                + line.style.size * 0.36 / FINE
            )
            draw_line(self.draw, x * FINE, baseline * FINE, line)

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
        """The picture."""
        return self.image.reduce(FINE)


def loss_plot(losses: Sequence[tuple[int, float]], title: str = "Training loss") -> Image.Image:
    """The loss by step as a line, 960 x 540 pixels. Losses that are not numbers leave a gap and are counted; none at all is said."""
    canvas = _Canvas(540)
    canvas.text(32, 48, title, TITLE, width=WIDTH - 64)
    known = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if not known:
        canvas.text(WIDTH / 2, 290, "No loss was reported yet.", BODY, 0.5)
        return canvas.finish()
    (first, start), (last, end) = known[0], known[-1]
    lost = len(losses) - len(known)
    note = f"{_short(start)} at step {first}" + (f", {_short(end)} at step {last}" if len(known) > 1 else "")
    note += f". Not numbers: {lost} of {len(losses)} values" if lost else ""
    canvas.text(32, 78, note, SMALL, width=WIDTH - 64)

    left, right, top, bottom = 100, WIDTH - 40, 112, 470
    x_ticks = ticks(min(step for step, _ in known), max(step for step, _ in known), whole=True)
    y_ticks = ticks(min(loss for _, loss in known), max(loss for _, loss in known))

    def place(step: float, loss: float) -> tuple[float, float]:
        across = (step - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (loss - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    for tick in y_ticks:
        y = place(x_ticks[0], tick)[1]
        canvas.line([(left, y), (right, y)], HAIRLINE)
        canvas.text(left - 12, y + 6, _short(tick), SMALL, 1.0)
    for tick in x_ticks:
        canvas.text(place(tick, y_ticks[0])[0], bottom + 26, _short(tick), SMALL, 0.5)
    canvas.line([(left, bottom), (right, bottom)], MUTED)
    canvas.text((left + right) / 2, bottom + 54, "step", SMALL, 0.5)
    for piece in _pieces(losses):
        points = [place(step, loss) for step, loss in piece]
        if len(points) > 1:
            canvas.line(points, ACCENT, 3)
        if len(points) == 1 or len(known) <= 60:
            for x, y in points:
                canvas.dot(x, y, 4, ACCENT)
    return canvas.finish()


def evaluation_plot(evaluation: Evaluation, title: str = "") -> Image.Image:
    """Accuracy, order agreement, every dimension alone and every task as bars with their 95 % intervals; as tall as it needs."""
    groups = _groups(evaluation)
    height = 150 + sum(52 + 46 * len(rows) for _, rows in groups)
    canvas = _Canvas(height)
    canvas.text(32, 48, title or f"Evaluation of {evaluation.critic}", TITLE, width=WIDTH - 64)
    note = f"Lines show 95 % intervals. Pairs: {len(evaluation.outcomes)}"
    note += f", of which not read: {len(evaluation.unreadable)}" if evaluation.unreadable else ""
    canvas.text(32, 78, note, SMALL, width=WIDTH - 64)

    left, right, top, bottom = 288, 688, 100, height - 44
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * (right - left)
        canvas.line([(x, top), (x, bottom)], MUTED if share == 0.5 else HAIRLINE)
        canvas.text(x, bottom + 24, f"{100 * share:.0f} %", SMALL, 0.5)
    y = top
    for heading, rows in groups:
        canvas.text(32, y + 32, heading, SMALL, width=left - 48)
        y += 52
        for name, rate in rows:
            _bar(canvas, y + 14, name, rate, left, right)
            y += 46
    return canvas.finish()


def ticks(low: float, high: float, whole: bool = False, most: int = 6) -> list[float]:
    """Round numbers in even steps, at least two, that enclose `low` to `high`; only whole numbers on demand."""
    if high - low < 1e-9 * max(1.0, abs(high)):  # a single value
        low, high = (
            (low - 1, high + 1) if whole else (low - abs(low) / 10 - 1e-3, high + abs(high) / 10 + 1e-3)
        )
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100):
        step = factor * power
        if whole and step != int(step):
            continue
        start, end = math.floor(low / step), math.ceil(high / step)
        if end - start <= most:
            return [number * step for number in range(start, end + 1)]
    return [low, high]


def _groups(evaluation: Evaluation) -> list[tuple[str, list[tuple[str, Rate]]]]:
    """Headings with their bars, for what there is."""
    whole = [("Accuracy", evaluation.accuracy), ("Ties as a third answer", evaluation.accuracy_with_ties)]
    if not evaluation.tally.ties:
        del whole[
            1
        ]  # where nobody chose a tie, it only says the same with the critic's ties counted as wrong
    if evaluation.both_orders:
        whole.append(("Both orders agree", evaluation.order_agreement))
    groups = [("All pairs", whole)]
    dimensions = [
        (evaluation.names.get(key, key), tally.accuracy) for key, tally in evaluation.by_dimension.items()
    ]
    if dimensions:
        groups.append(("Each dimension alone", dimensions))
    if len(evaluation.by_task) > 1:
        groups.append(
            (
                "Accuracy by task",
                [(TASKS[task], tally.accuracy) for task, tally in evaluation.by_task.items()],
            )
        )
    return groups


def _bar(canvas: _Canvas, middle: float, name: str, rate: Rate, left: float, right: float) -> None:
    """Name, bar with its interval, and the numbers, centred on the height `middle`."""
    canvas.paragraph(32, middle, wrap(name[:1].upper() + name[1:], BODY, (left - 48) * FINE, 2))
    if rate.share is None or rate.interval is None:
        canvas.text(left + 12, middle + 6, "no pair", SMALL)
        return
    low, end, high = (
        left + share * (right - left) for share in (rate.interval[0], rate.share, rate.interval[1])
    )
    canvas.box(left, middle - 12, end, middle + 12, BAR)
    canvas.line([(low, middle), (high, middle)], INK, 2)
    for x in (low, high):
        canvas.line([(x, middle - 6), (x, middle + 6)], INK, 2)
    canvas.text(right + 84, middle + 6, percent(rate), STRONG, 1.0)
    canvas.text(right + 96, middle + 6, f"{between(rate, 0)}, n = {rate.count}", SMALL)


def _pieces(losses: Sequence[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """The losses in pieces without a gap."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for step, loss in losses:
        if math.isfinite(loss):
            pieces[-1].append((step, loss))
        else:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _short(value: float) -> str:
    """A number with three or four digits: "0.125", "12.5", "1200"."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.3g}"
