"""The loss of a training run as a chart and in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from ..models.cards.chart import BAR, BODY, SMALL, TITLE, WIDTH, Canvas, short, ticks
from ..models.cards.layout import ACCENT, HAIRLINE, MUTED

Losses = Sequence[tuple[int, float]]


def smoothed(losses: Losses) -> list[tuple[int, float]]:
    """The losses as a moving average with a window of a tenth of them (at least 5), centred; what is no
    number is left out.

    Single batches differ so much that neither the first nor the last loss says where training stands.
    """
    known = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    reach = max(5, len(known) // 10) // 2
    averages = []
    for index, (step, _) in enumerate(known):
        # Narrower at both ends, so that the window stays centred.
        side = min(reach, index, len(known) - 1 - index)
        window = [loss for _, loss in known[index - side : index + side + 1]]
        averages.append((step, sum(window) / len(window)))
    return averages


def ends(losses: Losses) -> tuple[float, float, int] | None:
    """(mean of the first losses, mean of the last ones, how many each): a tenth of them; None for fewer than
    two.
    """
    known = [loss for _, loss in losses if math.isfinite(loss)]
    if len(known) < 2:
        return None
    count = max(1, len(known) // 10)
    return sum(known[:count]) / count, sum(known[-count:]) / count, count


def describe_losses(losses: Losses) -> str:
    """One sentence with the loss at the start and at the end; empty where there is too little to say."""
    means = ends(losses)
    if means is None:
        return ""
    first, last, count = means
    if count == 1:
        return f"Loss {first:.3f} in the first report, {last:.3f} in the last."
    return (
        f"Loss {first:.3f} in the mean of the first {count} reports, {last:.3f} in the mean of the last "
        f"{count}."
    )


def loss_plot(losses: Losses, title: str = "Training loss") -> Image.Image:
    """The loss by step, 960 x 540 pixels: every report as a dot, the moving average as a line.

    Losses that are no numbers leave a gap and are counted; a run without any says so.
    """
    canvas = Canvas(540)
    canvas.text(32, 54, title, TITLE, width=WIDTH - 64)
    known = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if not known:
        canvas.text(WIDTH / 2, 290, "No loss was reported yet.", BODY, 0.5)
        return canvas.finish()
    note = describe_losses(losses) or f"Loss {short(known[0][1])} at step {known[0][0]}."
    lost = len(losses) - len(known)
    if lost:
        note += f" Not numbers: {lost} of {len(losses)} values."
    canvas.text(32, 92, note, SMALL, width=WIDTH - 64)

    left, right, top, bottom = 116, WIDTH - 40, 122, 460
    x_ticks = ticks(min(step for step, _ in known), max(step for step, _ in known), integers=True)
    y_ticks = ticks(min(loss for _, loss in known), max(loss for _, loss in known))

    def point(step: float, loss: float) -> tuple[float, float]:
        across = (step - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (loss - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    for tick in y_ticks:
        y = point(x_ticks[0], tick)[1]
        canvas.line([(left, y), (right, y)], HAIRLINE)
        canvas.text(left - 12, y + 8, short(tick), SMALL, 1.0)
    for tick in x_ticks:
        canvas.text(point(tick, y_ticks[0])[0], bottom + 32, short(tick), SMALL, 0.5)
    canvas.line([(left, bottom), (right, bottom)], MUTED)
    canvas.text((left + right) / 2, bottom + 66, "step", SMALL, 0.5)
    for step, loss in known:
        canvas.dot(*point(step, loss), 3, BAR)
    for piece in _pieces(losses):
        line = [point(step, loss) for step, loss in smoothed(piece)]
        if len(line) > 1:
            canvas.line(line, ACCENT, 3)
        else:
            canvas.dot(*line[0], 4, ACCENT)
    return canvas.finish()


def _pieces(losses: Losses) -> list[list[tuple[int, float]]]:
    """The losses in pieces without a gap."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for step, loss in losses:
        if math.isfinite(loss):
            pieces[-1].append((step, loss))
        else:
            pieces.append([])
    return [piece for piece in pieces if piece]
