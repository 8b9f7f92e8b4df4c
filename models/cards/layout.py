"""Critique Card: the image, its scores, what the critic says, the prompt and the refined prompt on one
clean image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image, ImageDraw

from ..errors import QuestionError
from ..images import as_rgb
from ..judgement import Dimension, Judgement
from .typesetting import Line, Style, draw_line, measure, wrap

# Pixels: where the text stays readable, and where more pixels show nothing more.
SMALLEST, WIDEST = 512, 2048
# Images narrower than this (width / height) stand beside the scores instead of above them.
BESIDE = 0.8
# Height of an image beside the scores, in card widths.
TALLEST = 1.2

# Every text colour has a contrast of at least 4.5 to 1 on the paper, every bar at least 3 to 1 (WCAG 2.2,
# level AA).
PAPER = (255, 255, 255)
INK = (27, 31, 36)
MUTED = (89, 97, 107)
HAIRLINE = (222, 226, 230)
TRACK = (233, 236, 239)
ACCENT = (47, 84, 197)
# A bar's colour by the nearest level.
LEVELS = {
    1: (190, 38, 38),
    2: (184, 98, 10),
    3: (92, 128, 20),
    4: (22, 122, 72),
}

# The most lines of each text; a card is as tall as its texts need, up to here.
SUMMARY_LINES, PROMPT_LINES, REFINED_LINES, NOTE_LINES = 12, 14, 24, 3
# All dimensions together.
JUSTIFICATION_LINES = 32


@dataclass
class _Sheet:
    """Drawing steps, and how far down they reach; nothing is drawn before the height is known.

    Lengths are in pixels of a canvas that is `fine` times as large as the card: small letters set at twice
    their size and then reduced keep their spacing, which Pillow otherwise rounds to whole pixels.
    """

    card_width: int
    y: int = 0
    steps: list[Callable[[ImageDraw.ImageDraw], None]] = field(default_factory=list)
    images: list[tuple[Image.Image, int, int]] = field(default_factory=list)

    @property
    def fine(self) -> int:
        """Canvas pixels per card pixel."""
        return 2 if self.card_width < 1600 else 1

    @property
    def width(self) -> int:
        """Width of the canvas."""
        return self.card_width * self.fine

    def px(self, at_1024: float, least: int = 1) -> int:
        """A length of the design, which is 1024 wide, on this canvas: a round number of card pixels, at least
        `least`.
        """
        return self.fine * max(least, round(at_1024 * self.card_width / 1024))

    def style(
        self, at_1024: float, least: int, color: tuple[int, int, int] = INK, bold: bool = False
    ) -> Style:
        """A text style whose size grows with the card and stays readable on a small one."""
        return Style(self.px(at_1024, least), color, bold)

    def text(self, x: int, lines: Sequence[Line], width: int = 0) -> None:
        """Lines below each other; with `width`, a right-to-left paragraph ends at its right edge."""
        for line in lines:
            baseline = self.y + round(line.style.size * 1.12)
            left = x + (width - measure(line.text, line.style) if line.rtl and width else 0)
            self.steps.append(lambda draw, at=(left, baseline), line=line: draw_line(draw, *at, line))
            self.y += line.style.line_height

    def box(self, x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        """A filled rectangle with sharp edges."""
        left, top, right, bottom = (self.fine * round(v / self.fine) for v in (x, y, x + width, y + height))
        if left < right and top < bottom:
            self.steps.append(lambda draw: draw.rectangle((left, top, right - 1, bottom - 1), fill=color))

    def image(self, image: Image.Image, x: int, width: int, height: int) -> tuple[int, int]:
        """The uncut image at `x` and the current height, as large as fits.

        Returns its width and height on the canvas.
        """
        shown = _fitted(image, width // self.fine, height // self.fine)
        self.images.append((shown, x // self.fine, self.y // self.fine))
        return shown.width * self.fine, shown.height * self.fine

    def finish(self, height: int) -> Image.Image:
        """The card on paper, `height` canvas pixels high."""
        canvas = Image.new("RGB", (self.width, height), PAPER)
        draw = ImageDraw.Draw(canvas)
        for step in self.steps:
            step(draw)
        card = canvas.reduce(self.fine) if self.fine > 1 else canvas
        for image, x, y in self.images:
            card.paste(image, (x, y))
        return card


def draw_card(image: Image.Image, judgement: Judgement, prompt: str, size: int | None = None) -> Image.Image:
    """One card as an RGB image, `size` pixels wide and as tall as its texts need.

    `size` is brought into 512..2048; without it the image's own width decides. The image is not cropped and
    keeps its aspect ratio. Scores are 1..4 per dimension and 0..1 over all; what does not apply says N/A,
    what could not be read says so, and neither is drawn as a score. Texts too long for a card end in an
    ellipsis.
    """
    return draw_cards([image], [judgement], [prompt], size)[0]


def draw_cards(
    images: Sequence[Image.Image],
    judgements: Sequence[Judgement],
    prompts: Sequence[str],
    size: int | None = None,
) -> list[Image.Image]:
    """One card per image, all of one width and padded to the tallest, so that they can be one batch.

    See `draw_card`.

    Raises QuestionError where the three do not have the same number.
    """
    if not len(images) == len(judgements) == len(prompts):
        counts = f"{len(images)} images, {len(judgements)} judgements and {len(prompts)} prompts"
        raise QuestionError(f"A card needs one judgement and one prompt per image, but there are {counts}.")
    wanted = size if size is not None else max((image.width for image in images), default=SMALLEST)
    width = min(max(wanted, SMALLEST), WIDEST)
    sheets = [_sheet(width, *each) for each in zip(images, judgements, prompts, strict=True)]
    height = max((sheet.y for sheet in sheets), default=0)
    return [sheet.finish(height) for sheet in sheets]


def _sheet(width: int, image: Image.Image, judgement: Judgement, prompt: str) -> _Sheet:
    sheet = _Sheet(width)
    margin, gap = sheet.px(48), sheet.px(40)
    inner = sheet.width - 2 * margin
    if image.width / image.height < BESIDE:
        sheet.y = margin
        shown_width, shown_height = sheet.image(
            image, margin, round(inner * 0.46), round(TALLEST * sheet.width)
        )
        bottom = margin + shown_height
        left = margin + shown_width + gap
        column = sheet.width - margin - left
        _overall(sheet, judgement, left)
        _dimensions(sheet, judgement, left, column)
        # Beside a very tall image there is room for everything; otherwise the texts take the full width
        # below it.
        steps, y = len(sheet.steps), sheet.y
        _texts(sheet, judgement, prompt, left, column)
        if sheet.y > bottom:
            del sheet.steps[steps:]
            sheet.y = max(y, bottom + sheet.px(28))
            _texts(sheet, judgement, prompt, margin, inner)
        sheet.y = max(sheet.y, bottom)
    else:
        _, shown_height = sheet.image(image, 0, sheet.width, round(sheet.width / BESIDE))
        sheet.y = shown_height + sheet.px(36)
        _overall(sheet, judgement, margin)
        _dimensions(sheet, judgement, margin, inner)
        _texts(sheet, judgement, prompt, margin, inner)
    # The canvas is reduced `fine` times: its height is a multiple of that.
    height = sheet.y + margin - sheet.px(18)
    sheet.y = math.ceil(height / sheet.fine) * sheet.fine
    return sheet


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """The uncut image in RGB, as large as fits; what is transparent becomes paper."""
    scale = min(width / image.width, height / image.height)
    target = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = as_rgb(image)
    # Enlarged many times, soft pixels look like a fault of the image; reducing_gap makes shrinking fast.
    kind = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.LANCZOS
    return image.resize(target, kind, reducing_gap=1.5 if scale < 1 else None)


def _overall(sheet: _Sheet, judgement: Judgement, x: int) -> None:
    number = sheet.style(68, 38, bold=True)
    title, detail = sheet.style(22, 14, bold=True), sheet.style(19, 12, MUTED)
    shown = "–" if judgement.score is None else f"{judgement.score:.2f}"
    top = sheet.y
    # Capitals start at the top edge, not the line.
    sheet.y = top - round(number.size * 0.38)
    sheet.text(x, [Line(shown, number)])
    beside = x + round(measure(shown, number)) + sheet.px(24)
    sheet.y = top - round(title.size * 0.2)
    sheet.text(beside, [Line("Overall score", title)])
    sheet.text(beside, [Line(_reading(judgement), detail)])
    sheet.y = top + round(number.size * 0.75) + sheet.px(30, least=18)


def _reading(judgement: Judgement) -> str:
    if judgement.mean is None:
        return "No score could be read"
    unread = sum(d.applicable and d.score is None for d in judgement.dimensions.values())
    return f"0 to 1, mean {judgement.mean:.1f} of 4" + (f", {unread} not read" if unread else "")


def _dimensions(sheet: _Sheet, judgement: Judgement, x: int, width: int) -> None:
    most = max(2, JUSTIFICATION_LINES // max(1, len(judgement.dimensions)))
    why = sheet.style(20, 13, MUTED)
    for dimension in judgement.dimensions.values():
        _bar(sheet, dimension, x, width)
        sheet.text(x, wrap(dimension.justification, why, width, most), width)
        sheet.y += sheet.px(22, least=14)


def score_in_words(dimension: Dimension) -> str:
    """A dimension's score as it is shown: "3.5", "N/A", or "not read"."""
    if not dimension.applicable:
        return "N/A"
    return "not read" if dimension.score is None else f"{dimension.score:.1f}"


def _bar(sheet: _Sheet, dimension: Dimension, x: int, width: int) -> None:
    """Name and number, and below them four fields, filled up to the score.

    N/A has pale fields, what was not read has outlines.
    """
    quiet = not dimension.applicable or dimension.score is None
    name = sheet.style(21, 14, MUTED if quiet else INK, bold=True)
    number = replace(name, color=INK if not quiet else MUTED, bold=not quiet)
    shown = score_in_words(dimension)
    room = measure(shown, number)
    top = sheet.y
    sheet.text(round(x + width - room), [Line(shown, number)])
    below = sheet.y
    sheet.y = top
    sheet.text(x, wrap(dimension.name, name, width - room - sheet.px(20), 2))
    sheet.y = max(sheet.y, below) + sheet.px(6)

    height, space = sheet.px(12, least=6), sheet.px(4, least=2)
    step = (width - 3 * space) / 4
    for i in range(4):
        left = x + i * (step + space)
        sheet.box(left, sheet.y, step, height, HAIRLINE if shown == "not read" else TRACK)
        if shown == "not read":
            edge = sheet.px(2)
            sheet.box(left + edge, sheet.y + edge, step - 2 * edge, height - 2 * edge, PAPER)
        elif not quiet:
            score = min(max(dimension.score or 0.0, 0.0), 4.0)
            color = LEVELS[min(max(round(score), 1), 4)]
            sheet.box(left, sheet.y, step * min(max(score - i, 0.0), 1.0), height, color)
    sheet.y += height + sheet.px(10)


def _texts(sheet: _Sheet, judgement: Judgement, prompt: str, x: int, width: int) -> None:
    body, small = sheet.style(20, 13), sheet.style(17, 12, MUTED)
    for title, text, most, color in (
        ("Summary", judgement.summary, SUMMARY_LINES, None),
        ("Prompt", prompt, PROMPT_LINES, HAIRLINE),
        ("Refined prompt", judgement.refined_request, REFINED_LINES, ACCENT),
    ):
        if not text.strip():
            continue
        sheet.y += sheet.px(10)
        heading = sheet.style(18, 13, ACCENT if color == ACCENT else MUTED, bold=True)
        sheet.text(x, [Line(title, heading)])
        sheet.y += sheet.px(4)
        # Prompts are quoted: a rule at their side sets them apart from the critic's own words.
        indent = sheet.px(20) if color else 0
        top = sheet.y
        sheet.text(x + indent, wrap(text, body, width - indent, most), width - indent)
        if color:
            sheet.box(x, top, sheet.px(4, least=2), sheet.y - top, color)
        sheet.y += sheet.px(18)
    for note in judgement.notes:
        sheet.text(x, wrap(note, small, width, NOTE_LINES), width)
