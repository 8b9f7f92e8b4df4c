"""The shapes world: what can be asked for, what can be in a picture, and how the two differ.

A scene is known exactly, so a picture's true flaws are known exactly, and preference pairs can be made
without an annotator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 70),
    "blue": (50, 80, 220),
    "yellow": (240, 205, 40),
    "purple": (140, 60, 180),
    "black": (25, 25, 25),
}
SIZES = ("small", "large")
PLACES = ("left", "middle", "right")
BACKGROUNDS = {
    "white": (250, 250, 250),
    "gray": (200, 204, 208),
    "pink": (252, 205, 215),
    "cyan": (190, 238, 242),
}
COUNTS = {1: "one", 2: "two", 3: "three"}
# Legible at a few pixels, and enough for many words.
LETTERS = "ABCDEHIKLNOSTUXY"
QUALITY = ("blur", "noise", "seam", "smear", "broken outlines")
# A letter that cannot be read.
SCRIBBLE = "?"

TEXT_FAITHFULNESS, IMAGE_FAITHFULNESS = "text_faithfulness", "image_faithfulness"
PHYSICAL_QUALITY, TEXT_RENDERING = "physical_quality", "text_rendering"
DIMENSIONS = (TEXT_FAITHFULNESS, IMAGE_FAITHFULNESS, PHYSICAL_QUALITY, TEXT_RENDERING)


@dataclass(frozen=True)
class Thing:
    """One to three equal shapes, one above the other in a third of the picture."""

    count: int
    size: str
    colour: str
    shape: str
    place: str

    @property
    def name(self) -> str:
        """Colour and shape: "blue square"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """What is in a picture.

    `things` follow the request's order; None where one is missing. `word`: its letters, "?" for a scribble.
    """

    things: tuple[Thing | None, ...]
    background: str = "white"
    word: str = ""
    # What is wrong with the rendering.
    quality: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """A thing that is asked for; empty size or place: anything will do.

    `exactly`: the request insists on it.
    """

    count: int
    size: str
    colour: str
    shape: str
    place: str
    exactly: bool = False

    @property
    def name(self) -> str:
        """Colour and shape: "blue square"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Request:
    """A prompt of the shapes world.

    `plain`, `spelled` and `sharp` insist on background, letters and clean rendering.
    """

    wishes: tuple[Wish, ...]
    background: str = ""
    word: str = ""
    plain: bool = False
    spelled: bool = False
    sharp: bool = False


@dataclass(frozen=True)
class Flaw:
    """One difference between request and scene.

    `where`: index of the wish or the letter, where it has one; `weight`: how many points it costs.
    """

    dimension: str
    kind: str
    where: int = -1
    weight: int = 1


def flaws_of(request: Request, scene: Scene) -> list[Flaw]:
    """Every flaw of a scene as an answer to a request, in the order in which a judgement names them."""
    return [
        *_faithfulness(request, scene),
        *(Flaw(PHYSICAL_QUALITY, kind) for kind in scene.quality),
        *_writing(request, scene),
    ]


def differences(wish: Wish, thing: Thing | None) -> list[str]:
    """In which ways a thing is not what was wished for: "missing", or some of "count", "size", "colour",
    "shape", "place".
    """
    if thing is None:
        return ["missing"]
    pairs = {
        "count": (wish.count, thing.count),
        "size": (wish.size, thing.size),
        "colour": (wish.colour, thing.colour),
        "shape": (wish.shape, thing.shape),
        "place": (wish.place, thing.place),
    }
    return [kind for kind, (wanted, got) in pairs.items() if wanted and wanted != got]


def _faithfulness(request: Request, scene: Scene) -> Iterator[Flaw]:
    for index, (wish, thing) in enumerate(zip(request.wishes, scene.things, strict=True)):
        for kind in differences(wish, thing):
            yield Flaw(TEXT_FAITHFULNESS, kind, index)
    if request.background and scene.background != request.background:
        yield Flaw(TEXT_FAITHFULNESS, "background")


def _writing(request: Request, scene: Scene) -> Iterator[Flaw]:
    if request.word and not scene.word:
        yield Flaw(TEXT_RENDERING, "no text", weight=3)
        return
    for index, wanted in enumerate(request.word):
        got = scene.word[index : index + 1]
        if got != wanted:
            yield Flaw(TEXT_RENDERING, "letter", index)


def weight_of(flaws: Iterable[Flaw]) -> int:
    """The number of flaws, grave ones counted as several."""
    return sum(flaw.weight for flaw in flaws)


def score_of(flaws: Iterable[Flaw]) -> float:
    """A dimension's score: 4 without a flaw, one less for each, never below 1."""
    return max(1.0, 4.0 - weight_of(flaws))


def with_thing(scene: Scene, index: int, thing: Thing | None) -> Scene:
    """The scene with one thing exchanged."""
    return replace(scene, things=(*scene.things[:index], thing, *scene.things[index + 1 :]))
