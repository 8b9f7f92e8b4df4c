"""What is in a picture of the shapes world, read from its pixels without a model.

Every third of the picture holds a stack of one to three equal shapes, so a third is compared with all 24
stacks that there are; letters are compared with all 16. What fits none of them well is not read as anything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..render import SIZE, render
from ..scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    LETTERS,
    PLACES,
    SCRIBBLE,
    SHAPES,
    SIZES,
    Request,
    Scene,
    Thing,
    Wish,
)

Mask = NDArray[numpy.bool_]
Numbers = NDArray[Any]

# Lines above these belong to things, those from there on to the writing.
THINGS_END = 97
# How far from the background, in RGB, something is that stands before it.
BEFORE = 70
# Fewer pixels are no thing, and no letter.
FEWEST = 60
# Overlap over union of a stack, or a letter, and what it is read as, at least.
STACK_FITS, LETTER_FITS = 0.6, 0.5
# Where two stacks' overlaps differ by less, what a generator painted is neither the one nor the other.
DOUBT = 0.02
# Share of a thing's pixels that have its colour, at least.
ONE_COLOUR = 0.6
# Half the room of a letter; lines and columns of the field that masks are compared in.
ROOM, FIELD = 16, (112, 56)
# Drawn with these seeds, equal things are a little larger or smaller.
DRAWN = range(6)


@dataclass(frozen=True)
class Reading:
    """What was read: a thing, or None where something cannot be read, for every third that is not empty; the
    background; the word's letters, "?" for those that cannot be read.
    """

    things: tuple[Thing | None, ...]
    background: str
    word: str = ""


def read(image: Image.Image, request: Request = Request(())) -> Reading:
    """Read a picture, RGB, as 128 x 128 pixels, which was made for a request: where things cannot be told
    apart, they are as it asks.
    """
    pixels = numpy.asarray(image.convert("RGB").resize((SIZE, SIZE))).astype(numpy.float32)
    background = numpy.median(numpy.concatenate([pixels[:4], pixels[-2:]]).reshape(-1, 3), axis=0)
    distance = numpy.linalg.norm(pixels - background, axis=2)
    edges = [round(SIZE * third / 3) for third in range(4)]
    things = []
    for place, left, right in zip(PLACES, edges, edges[1:], strict=False):
        part = distance[:THINGS_END, left:right]
        if (part > BEFORE).sum() >= FEWEST:
            things.append(_read_thing(part, pixels[:THINGS_END, left:right], place, request.wishes))
    word = _read_word(distance, len(request.word))
    return Reading(tuple(things), _nearest(background, BACKGROUNDS), word)


def _read_thing(distance: Numbers, pixels: Numbers, place: str, wishes: tuple[Wish, ...]) -> Thing | None:
    stacks, fits = _fits(_mask(distance), _stacks())
    fit = fits.max()
    likely = [
        (_asked(stack, wishes), one, stack)
        for stack, one in zip(stacks, fits, strict=True)
        if one > fit - DOUBT
    ]
    *_, (count, size, shape) = max(likely, key=lambda one: one[:2])
    # Edges are mixed with the background.
    inside = distance >= numpy.median(distance[_mask(distance)])
    names = [_nearest(pixel, COLOURS) for pixel in pixels[inside]]
    colour = max(COLOURS, key=names.count)
    if fit < STACK_FITS or names.count(colour) < ONE_COLOUR * len(names):
        return None
    return Thing(count, size, colour, shape, place)


def _read_word(distance: Numbers, letters: int) -> str:
    word = ""
    step = min(32.0, 120 / max(1, letters))
    for index in range(letters):
        middle = round(SIZE / 2 + (index - (letters - 1) / 2) * step)
        part = distance[THINGS_END:, max(0, middle - ROOM) : middle + ROOM]
        if (part > BEFORE).sum() < FEWEST:
            word += SCRIBBLE
            continue
        known, fits = _fits(_mask(part), _letters())
        word += known[int(fits.argmax())] if fits.max() >= LETTER_FITS else SCRIBBLE
    return word.rstrip(SCRIBBLE)


def _nearest(colour: Numbers, names: dict[str, tuple[int, int, int]]) -> str:
    return min(names, key=lambda name: float(((colour - numpy.asarray(names[name])) ** 2).sum()))


def _mask(distance: Numbers) -> Mask:
    """What stands before the background: its edge is halfway between the two."""
    return distance > max(BEFORE, float(numpy.percentile(distance[distance > BEFORE], 90)) / 2)


def _fits(mask: Mask, templates: tuple[list[Any], Numbers]) -> tuple[list[Any], Numbers]:
    """The templates' names, and how much a mask overlaps each of them, over their union."""
    names, fields = templates
    field = _centred(mask).ravel()
    both = fields @ field
    return names, both / (fields.sum(1) + field.sum() - both)


def _asked(stack: tuple[int, str, str], wishes: tuple[Wish, ...]) -> int:
    """How much of count, size and shape is as the wish asks for that it is nearest to."""
    asked = [(wish.count, wish.size, wish.shape) for wish in wishes]
    return max((sum(a == b for a, b in zip(stack, one, strict=True)) for one in asked), default=0)


def _centred(mask: Mask, down: int = 0, right: int = 0) -> Numbers:
    """A mask with its centre of mass in the middle of a field, or beside it."""
    lines, columns = numpy.nonzero(mask)
    height, width = FIELD
    y = lines - round(lines.mean()) + height // 2 + down
    x = columns - round(columns.mean()) + width // 2 + right
    field = numpy.zeros(FIELD, dtype=numpy.float32)
    field[y.clip(0, height - 1), x.clip(0, width - 1)] = 1
    return field


@functools.lru_cache(maxsize=1)
def _stacks() -> tuple[list[Any], Numbers]:
    """Count, size and shape of all stacks, and their masks."""
    kinds = [(count, size, shape) for count in COUNTS for size in SIZES for shape in SHAPES]
    scenes = [Scene((Thing(count, size, "black", shape, "middle"),)) for count, size, shape in kinds]
    return _templates(kinds, scenes)


@functools.lru_cache(maxsize=1)
def _letters() -> tuple[list[Any], Numbers]:
    return _templates(list(LETTERS), [Scene((), word=letter) for letter in LETTERS])


def _templates(names: list[Any], scenes: list[Scene]) -> tuple[list[Any], Numbers]:
    """The scenes' masks as rows, each in its place and a pixel beside in every direction."""
    near = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    named = [
        (name, _mask(_distance(scene, seed)))
        for name, scene in zip(names, scenes, strict=True)
        for seed in DRAWN
    ]
    rows = [(name, _centred(mask, down, right).ravel()) for name, mask in named for down, right in near]
    return [name for name, _ in rows], numpy.stack([row for _, row in rows])


def _distance(scene: Scene, seed: int) -> Numbers:
    pixels = numpy.asarray(render(scene, seed)).astype(numpy.float32)
    return numpy.linalg.norm(pixels - numpy.asarray(BACKGROUNDS[scene.background]), axis=2)


def facts(request: Request, image: Image.Image) -> dict[str, list[bool]]:
    """Whether a picture has what is asked for, by kind of fact: "count", "size", "colour", "shape" and
    "place" of each thing where they are asked for, "others" (nothing else is there), "background", and "word"
    for each letter.
    """
    reading = read(image, request)
    found: dict[str, list[bool]] = {}
    for wish, thing in _paired(request.wishes, reading.things):
        for kind, right in _thing_facts(wish, thing):
            found.setdefault(kind, []).append(right)
    found["others"] = [len(reading.things) <= len(request.wishes)]
    if request.background:
        found["background"] = [reading.background == request.background]
    if request.word:
        found["word"] = [
            reading.word[index : index + 1] == letter for index, letter in enumerate(request.word)
        ]
    return found


def scene_of(request: Request, reading: Reading) -> Scene | None:
    """What was read as a scene made for a request; None where more things are there than were asked for,
    which no scene has.

    A thing that cannot be read is missing, and what is there instead is a smear.
    """
    if len(reading.things) > len(request.wishes):
        return None
    things = tuple(thing for _, thing in _paired(request.wishes, reading.things))
    return Scene(things, reading.background, reading.word, ("smear",) if None in reading.things else ())


def _thing_facts(wish: Wish, thing: Thing | None) -> Iterator[tuple[str, bool]]:
    for kind in ("count", "size", "colour", "shape", "place"):
        if wanted := getattr(wish, kind):
            yield kind, thing is not None and getattr(thing, kind) == wanted


def _paired(wishes: tuple[Wish, ...], things: tuple[Thing | None, ...]) -> list[tuple[Wish, Thing | None]]:
    """Each wish with a thing of its own, or None, so that most facts are right."""
    there: list[Thing | None] = [*things, *[None] * len(wishes)]
    ways = [list(zip(wishes, way, strict=True)) for way in permutations(there, len(wishes))]
    return max(
        ways, key=lambda way: sum(right for wish, thing in way for _, right in _thing_facts(wish, thing))
    )
