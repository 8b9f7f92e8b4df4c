"""What can be seen of a generator that learns from a judge: a journal, its curves, and pages of samples."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from PIL import Image

from ...models.cards.chart import FINE, SMALL, STRONG, TITLE, WIDTH, Canvas, short, ticks
from ...models.cards.layout import ACCENT, HAIRLINE, INK, MUTED
from ...models.cards.typesetting import Style, wrap
from ...models.files import replacing, write_text
from ...training.plots import smoothed
from ..prompts import prompt_of
from .autoencoder import Decoder
from .data import requests
from .sampling import Generator, sample

# Curves of dimensions, in the order of the rubric; legible on paper, and each apart from the others.
COLOURS = ((200, 80, 30), (20, 130, 90), (150, 60, 170), (110, 115, 20))
# Rows and columns of a page, and pixels of a picture's side there.
ROWS, COLUMNS, SHOWN = 3, 4, 208
CAPTION = Style(15 * FINE, MUTED)
# Iterations at both ends of a training that are compared.
ENDS = 10
# Seed of the requests on a page: others than those that are measured.
PAGE = 2


@dataclass(frozen=True)
class Iteration:
    """What an iteration says: means over its pictures, 0..1, of the combined reward, of each dimension's and
    of the share of right facts; how many of them were judged; loss, and the squared distance of velocities
    from those without the LoRA.

    None is what there is no number for.
    """

    number: int
    reward: float | None
    dimensions: dict[str, float | None]
    truth: float | None
    judged: int
    pictures: int
    loss: float | None
    kl: float | None

    def __str__(self) -> str:
        known = (("reward", self.reward), ("truth", self.truth), ("distance", self.kl))
        numbers = [f"{name} {value:.4f}" for name, value in known if value is not None]
        return f"iteration {self.number}: {', '.join(numbers)}"


class Journal:
    """The iterations so far, one JSON object a line."""

    def __init__(self, file: Path, iterations: int):
        """Keep the first `iterations` of the file, and none after them."""
        self.file = file
        self.notes = self.read(file, iterations) if file.exists() else []
        write_text(file, "".join(f"{json.dumps(asdict(note))}\n" for note in self.notes))

    @staticmethod
    def read(file: Path, most: int | None = None) -> list[Iteration]:
        """The iterations in a file, or the first of them."""
        lines = file.read_text(encoding="utf-8").splitlines()[:most]
        return [Iteration(**json.loads(line)) for line in lines]

    def append(self, note: Iteration) -> None:
        """Add an iteration."""
        self.notes.append(note)
        with self.file.open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(json.dumps(asdict(note)) + "\n")
            opened.flush()
            # On disk before the state that counts it.
            os.fsync(opened.fileno())


def describe(notes: Sequence[Iteration]) -> str:
    """What came of a training: how far reward and truth rose, and which of them rose further.

    A reward that rises without the truth has been cheated.
    """
    known = [
        (note.reward, note.truth) for note in notes if note.reward is not None and note.truth is not None
    ]
    ends = min(ENDS, len(known) // 2)
    if not ends:
        return "There are too few iterations to say what came of them."
    (reward, truth), (later_reward, later_truth) = (
        [mean(column) for column in zip(*part, strict=True)] for part in (known[:ends], known[-ends:])
    )
    ahead = (later_reward - reward) - (later_truth - truth)
    between = f"the first {ends} iterations to the last {ends} of {len(notes)}"
    if ends == 1:
        between = f"the first iteration to the last of {len(notes)}"
    return (
        f"From {between} the reward went from "
        f"{reward:.3f} to {later_reward:.3f} and the truth from {truth:.3f} to {later_truth:.3f}: the reward "
        f"rose {abs(ahead):.3f} {'more' if ahead > 0 else 'less'} than the truth."
    )


def draw_curves(target: Path, notes: Sequence[Iteration]) -> None:
    """Write `curves` to a file."""
    with replacing(target) as scratch:
        curves(notes).save(scratch)


def curves(notes: Sequence[Iteration]) -> Image.Image:
    """Rewards and truth by iteration in one chart, 960 x 600 pixels: moving averages, the iterations
    themselves as dots where they are the combined reward or the truth.

    A reward that rises while the truth does not is one that is cheated.
    """
    series = _series(notes)
    canvas = Canvas(600)
    canvas.text(32, 54, "Reward and truth", TITLE, width=WIDTH - 64)
    note = f"{notes[-1].number} iterations of {notes[-1].pictures} pictures; lines are moving averages"
    canvas.text(32, 92, note, SMALL, width=WIDTH - 64)
    if not series:
        canvas.text(WIDTH / 2, 320, "No picture was judged yet.", SMALL, 0.5)
        return canvas.finish()
    left, right, top, bottom = 84, WIDTH - 290, 122, 520
    shown = [value for _, points, _ in series for _, value in points]
    x_ticks = ticks(notes[0].number, notes[-1].number, integers=True)
    y_ticks = ticks(min(shown), max(shown))

    def place(number: float, value: float) -> tuple[float, float]:
        across = (number - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    for tick in y_ticks:
        y = place(x_ticks[0], tick)[1]
        canvas.line([(left, y), (right, y)], HAIRLINE)
        canvas.text(left - 12, y + 8, short(tick), SMALL, 1.0)
    for tick in x_ticks:
        canvas.text(place(tick, y_ticks[0])[0], bottom + 32, short(tick), SMALL, 0.5)
    canvas.text((left + right) / 2, bottom + 66, "iteration", SMALL, 0.5)
    for index, (name, points, colour) in enumerate(series):
        whole = index < 2
        if whole:
            for number, value in points:
                canvas.dot(*place(number, value), 2, colour)
        line = [place(number, value) for number, value in smoothed(points)]
        canvas.line(line, colour, 4 if whole else 2)
        y = top + 24 + 44 * index
        canvas.line([(right + 24, y - 8), (right + 52, y - 8)], colour, 4 if whole else 2)
        canvas.text(right + 64, y, name, STRONG if whole else SMALL, width=WIDTH - right - 76)
    return canvas.finish()


def _series(
    notes: Sequence[Iteration],
) -> list[tuple[str, list[tuple[int, float]], tuple[int, int, int]]]:
    """Name, points and colour of each curve: truth, reward, then the dimensions."""
    names = list(dict.fromkeys(name for note in notes for name in note.dimensions))
    columns = [
        ("Truth", [note.truth for note in notes], INK),
        ("Reward", [note.reward for note in notes], ACCENT),
    ]
    for name, colour in zip(names, COLOURS, strict=False):
        values = [note.dimensions.get(name) for note in notes]
        columns.append((name.replace("_", " ").capitalize(), values, colour))
    found = []
    for name, values, colour in columns:
        points = [
            (note.number, value) for note, value in zip(notes, values, strict=True) if value is not None
        ]
        if points:
            found.append((name, points, colour))
    return found


def draw_samples(target: Path, policy: Generator, decoder: Decoder, level: str) -> None:
    """Write a page of `policy`'s pictures without guidance, each above its prompt; prompts and noise are the
    same on every page of a level.
    """
    wanted = list(requests(level, PAGE, ROWS * COLUMNS))
    prompts, seeds = [prompt_of(request) for request, _ in wanted], [seed for _, seed in wanted]
    pictures = decoder.pictures(sample(policy, prompts, seeds, guidance=1.0))
    with replacing(target) as scratch:
        page(pictures, prompts).save(scratch)


def page(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> Image.Image:
    """Pictures in rows, each above its prompt; 960 pixels wide."""
    across, down = WIDTH // COLUMNS, SHOWN + 100
    canvas = Canvas(16 + down * -(-len(pictures) // COLUMNS))
    for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = number % COLUMNS * across + 16, number // COLUMNS * down + 16
        size = (SHOWN * FINE, SHOWN * FINE)
        canvas.image.paste(picture.resize(size, Image.Resampling.NEAREST), (left * FINE, top * FINE))
        lines = wrap(prompt, CAPTION, SHOWN * FINE, 3)
        # Nine pixels are half a line: the first lines of a row are at one height.
        canvas.paragraph(left, top + SHOWN + 12 + 9 * len(lines), lines)
    return canvas.finish()
