"""Pictures of scenes: drawn with Pillow from a seed, equal for equal scene, seed and size."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .randomness import chance
from .scene import BACKGROUNDS, COLOURS, PLACES, SCRIBBLE, Scene, Thing

# Of a picture, in pixels; all measures below are in 128ths of the side.
SIZE = 128
COLUMN = 128 / 3
# Between equal shapes, one above the other.
SPACING = 30
# Of the space for things; the writing stands below.
MIDDLE = 48
# The letters' middle.
WRITING = 111
FONT = Path(__file__).parent.parent / "models" / "cards" / "fonts" / "NotoSans-Bold.woff"
OVERSAMPLING = 2


def render(scene: Scene, seed: int, size: int = SIZE) -> Image.Image:
    """An RGB picture of `size` x `size` pixels. `seed` moves everything a little and tints the colours."""
    scale = size * OVERSAMPLING / SIZE
    image = Image.new("RGB", (size * OVERSAMPLING, size * OVERSAMPLING), BACKGROUNDS[scene.background])
    draw = ImageDraw.Draw(image)
    for index, thing in enumerate(scene.things):
        if thing is not None:
            _draw_thing(draw, thing, seed, index, scale)
    if "broken outlines" in scene.quality:
        _cut(draw, BACKGROUNDS[scene.background], seed, scale)
    _write(image, scene.word, seed, scale)
    return _spoil(image.reduce(OVERSAMPLING), scene.quality, seed)


def _jitter(seed: int, width: float, *names: object) -> float:
    return (2 * chance(seed, *names) - 1) * width


def _draw_thing(draw: ImageDraw.ImageDraw, thing: Thing, seed: int, index: int, scale: float) -> None:
    x = COLUMN * (PLACES.index(thing.place) + 0.5) + _jitter(seed, 3, "x", index)
    y = MIDDLE + _jitter(seed, 3 if thing.count == 3 else 8, "y", index)
    base = 8.5 if thing.size == "small" else 14.5
    tint = [_jitter(seed, 10, "tint", index, channel) for channel in range(3)]
    colour = tuple(
        min(255, max(0, round(value + t))) for value, t in zip(COLOURS[thing.colour], tint, strict=True)
    )
    for place in range(thing.count):
        down = (place - (thing.count - 1) / 2) * SPACING
        radius = base + _jitter(seed, 0.7, "radius", index, place)
        _draw_shape(draw, thing.shape, x * scale, (y + down) * scale, radius * scale, colour)


def _draw_shape(
    draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, colour: Any
) -> None:
    if shape == "circle":
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    elif shape == "square":
        side = radius * 0.9
        draw.rectangle([x - side, y - side, x + side, y + side], fill=colour)
    elif shape == "triangle":
        draw.polygon(
            [(x, y - radius), (x - radius, y + radius * 0.85), (x + radius, y + radius * 0.85)], fill=colour
        )
    else:
        tips = [(radius * (1.1 if i % 2 == 0 else 0.45), i * math.pi / 5) for i in range(10)]
        draw.polygon([(x + r * math.sin(angle), y - r * math.cos(angle)) for r, angle in tips], fill=colour)


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)


def _write(image: Image.Image, word: str, seed: int, scale: float) -> None:
    """The word's letters side by side; a scribble where a letter cannot be read."""
    draw = ImageDraw.Draw(image)
    step = min(32.0, 120 / max(1, len(word)))
    for index, letter in enumerate(word):
        x = 64 + (index - (len(word) - 1) / 2) * step + _jitter(seed, 2, "letter", index)
        y = WRITING + _jitter(seed, 2, "line")
        if letter == SCRIBBLE:
            _scribble(draw, x, y, seed, index, scale)
        else:
            size = round(36 * scale * min(1.0, step / 32))
            draw.text((x * scale, y * scale), letter, fill=(30, 30, 30), font=_font(size), anchor="mm")


def _scribble(draw: ImageDraw.ImageDraw, x: float, y: float, seed: int, index: int, scale: float) -> None:
    points = [
        ((x + _jitter(seed, 10, "sx", index, i)) * scale, (y + _jitter(seed, 12, "sy", index, i)) * scale)
        for i in range(9)
    ]
    draw.line(points, fill=(30, 30, 30), width=round(2.5 * scale))


def _cut(draw: ImageDraw.ImageDraw, background: Any, seed: int, scale: float) -> None:
    """Thin slanting cuts through all things."""
    start = chance(seed, "cut") * 11
    for i in range(-6, 14):
        x = (start + i * 11) * scale
        draw.line([(x, 0), (x + 50 * scale, 94 * scale)], fill=background, width=round(2.2 * scale))


def _spoil(image: Image.Image, quality: tuple[str, ...], seed: int) -> Image.Image:
    scale = image.width / SIZE
    if "smear" in quality:
        image = _smear(image, seed, scale)
    if "seam" in quality:
        image = _seam(image, seed, scale)
    if "blur" in quality:
        image = image.filter(ImageFilter.GaussianBlur((1.8 + 0.8 * chance(seed, "blur")) * scale))
    if "noise" in quality:
        image = _noise(image, seed, scale)
    return image


def _smear(image: Image.Image, seed: int, scale: float) -> Image.Image:
    """Bands of the things' space are dragged sideways, as with a finger; every thing is in the way of one."""
    array = np.asarray(image, dtype=np.float32).copy()
    height = round(9 * scale)
    for band in range(4):
        top = round((6 + 21 * band + 5 * chance(seed, "smear", band)) * scale)
        rows = array[top : top + height]
        width = round(22 * scale)
        total = np.cumsum(np.concatenate([rows[:, :1].repeat(width, axis=1), rows], axis=1), axis=1)
        array[top : top + height] = (total[:, width:] - total[:, :-width]) / width
    return Image.fromarray(array.round().astype(np.uint8))


def _seam(image: Image.Image, seed: int, scale: float) -> Image.Image:
    """The right part slips down or up along a visible line."""
    at = round((44 + 40 * chance(seed, "seam")) * scale)
    slip = round((7 + 3 * chance(seed, "slip")) * (1 if chance(seed, "way") < 0.5 else -1) * scale)
    right = ImageChops.offset(image.crop((at, 0, image.width, image.height)), 0, slip)
    joined = image.copy()
    joined.paste(right, (at, 0))
    ImageDraw.Draw(joined).line(
        [(at, 0), (at, image.height)], fill=(110, 110, 110), width=max(1, round(2 * scale))
    )
    return joined


def _noise(image: Image.Image, seed: int, scale: float) -> Image.Image:
    """Coloured grain, as coarse in a large picture as in a small one."""
    rng = np.random.default_rng(int(chance(seed, "noise") * 2**32))
    grain = rng.integers(-48, 49, (SIZE, SIZE, 3), dtype=np.int16)
    if scale != 1:
        rows = np.minimum((np.arange(image.height) / scale).astype(int), SIZE - 1)
        grain = grain[rows][:, rows]
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + grain, 0, 255).astype(np.uint8))
