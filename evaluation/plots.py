"""An evaluation as a chart."""

from __future__ import annotations

from PIL import Image

from ..models.cards.chart import BAR, BODY, FINE, SMALL, STRONG, TITLE, WIDTH, Canvas
from ..models.cards.layout import HAIRLINE, INK, MUTED
from ..models.cards.typesetting import wrap
from .metrics import Evaluation, Rate
from .report import TASKS, between, percent


def evaluation_plot(evaluation: Evaluation, title: str = "") -> Image.Image:
    """Accuracy, order agreement, every dimension alone and every task as bars with their 95 % intervals; as tall as it needs."""
    groups = _groups(evaluation)
    height = 150 + sum(52 + 46 * len(rows) for _, rows in groups)
    canvas = Canvas(height)
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


def _bar(canvas: Canvas, middle: float, name: str, rate: Rate, left: float, right: float) -> None:
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
