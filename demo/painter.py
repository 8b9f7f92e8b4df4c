"""The painter: a generator with habits.

It tends to drop what a prompt leaves implicit, and does what a prompt insists on.

So a refined prompt really helps, as it does with real generators. Each fact has a luck of its own for a seed:
insisting on one thing changes that thing only, and never for the worse.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from PIL import Image

from .prompts import parse_request
from .randomness import chance, stream
from .render import SIZE, render
from .scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    LETTERS,
    PLACES,
    QUALITY,
    SCRIBBLE,
    SHAPES,
    SIZES,
    Request,
    Scene,
    Thing,
    with_thing,
)

# Share of its habit that is left where a prompt insists.
INSISTED = 0.12
# Chance of a flaw, at `flaws` = 1.
HABITS = {"thing": 0.7, "background": 0.4, "word": 0.9, "quality": 0.8}


@dataclass(frozen=True)
class Painting:
    """A picture and the truth about it."""

    image: Image.Image
    request: Request
    scene: Scene


def paint(prompt: str, seed: int, size: int = SIZE, flaws: float = 0.5) -> Painting:
    """Paint a prompt of the shapes world.

    `flaws` (0..1) is how strong the painter's bad habits are. RGB, `size` x `size` pixels.
    """
    request = parse_request(prompt)
    scene = imagine(request, seed, flaws)
    return Painting(render(scene, seed, size), request, scene)


def imagine(request: Request, seed: int, flaws: float = 0.5) -> Scene:
    """What the painter makes of a request, habits included."""

    def slips(fact: str, insisted: bool, *name: object) -> bool:
        return chance(seed, fact, *name) < flaws * HABITS[fact] * (INSISTED if insisted else 1.0)

    scene = perfect(request, seed)
    for index, wish in enumerate(request.wishes):
        if slips("thing", wish.exactly, index):
            scene = spoil_thing(request, scene, index, stream(seed, "thing flaw", index))
    if request.background and slips("background", request.plain):
        scene = spoil_background(scene, stream(seed, "background flaw"))
    if request.word and slips("word", request.spelled):
        scene = spoil_word(scene, stream(seed, "word flaw"))
    if slips("quality", request.sharp):
        scene = spoil_quality(scene, stream(seed, "quality flaw"))
    return scene


def perfect(request: Request, seed: int) -> Scene:
    """A scene without a flaw. What the request leaves open is chosen by the seed."""
    free = {
        1: [(place,) for place in PLACES],
        2: [("left", "right"), ("left", "middle"), ("middle", "right")],
    }
    number = len(request.wishes)
    default = stream(seed, "places").choice(free.get(number, [PLACES[:number]]))
    things: list[Thing] = []
    for index, wish in enumerate(request.wishes):
        size = wish.size or stream(seed, "size", index).choice(SIZES)
        things.append(Thing(wish.count, size, wish.colour, wish.shape, wish.place or default[index]))
    # Where places are given in part, everything gets a place of its own.
    if len({thing.place for thing in things}) < number:
        taken = [wish.place for wish in request.wishes if wish.place]
        left = [place for place in PLACES if place not in taken]
        things = [
            thing if wish.place or not left else replace(thing, place=left.pop(0))
            for wish, thing in zip(request.wishes, things, strict=True)
        ]
    background = request.background or stream(seed, "background").choice(list(BACKGROUNDS))
    return Scene(tuple(things), background, request.word)


def spoil_thing(request: Request, scene: Scene, index: int, rng: random.Random) -> Scene:
    """The scene with one flaw in one thing: colour, shape, count, size, place, or it is missing."""
    wish, thing = request.wishes[index], scene.things[index]
    if thing is None:
        return scene
    free = [place for place in PLACES if place not in {other.place for other in scene.things if other}]
    kinds = ["colour"] * 5 + ["shape"] * 4 + ["missing"] * 3 + ["count"] * 3
    kinds += ["size"] * 2 * bool(wish.size) + ["place"] * 2 * bool(wish.place and free)
    kind = rng.choice(kinds)
    if kind == "missing":
        return with_thing(scene, index, None)
    names = {(other.colour, other.shape) for other in request.wishes}
    if kind in ("colour", "shape"):
        named = (
            [(colour, thing.shape) for colour in COLOURS]
            if kind == "colour"
            else [(thing.colour, s) for s in SHAPES]
        )
        colour, shape = rng.choice([name for name in named if name not in names])
        return with_thing(scene, index, replace(thing, colour=colour, shape=shape))
    if kind == "count":
        return with_thing(
            scene, index, replace(thing, count=rng.choice([n for n in COUNTS if n != wish.count]))
        )
    if kind == "size":
        return with_thing(scene, index, replace(thing, size=SIZES[1 - SIZES.index(wish.size)]))
    return with_thing(scene, index, replace(thing, place=rng.choice(free)))


def spoil_background(scene: Scene, rng: random.Random) -> Scene:
    """The scene on another background."""
    return replace(
        scene, background=rng.choice([other for other in BACKGROUNDS if other != scene.background])
    )


def spoil_word(scene: Scene, rng: random.Random) -> Scene:
    """The scene with its word gone, scribbled, or with one or two wrong letters."""
    kind = rng.choice(("letter",) * 6 + ("letters",) * 2 + ("scribble", "missing"))
    if kind == "missing":
        return replace(scene, word="")
    letters = list(scene.word)
    for index in rng.sample(range(len(letters)), min(len(letters), 2 if kind == "letters" else 1)):
        letters[index] = (
            SCRIBBLE if kind == "scribble" else rng.choice([one for one in LETTERS if one != letters[index]])
        )
    return replace(scene, word="".join(letters))


def spoil_quality(scene: Scene, rng: random.Random) -> Scene:
    """The scene with one rendering flaw more, at times two; of those that can be seen where there is
    something to see.
    """
    visible = [kind for kind in QUALITY if any(scene.things) or kind not in ("smear", "broken outlines")]
    left = [kind for kind in visible if kind not in scene.quality]
    more = rng.sample(left, min(len(left), 2 if rng.random() < 0.15 else 1))
    return replace(scene, quality=tuple(kind for kind in QUALITY if kind in (*scene.quality, *more)))
