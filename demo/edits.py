"""Edits in the shapes world: a source picture, an instruction, and what an editor makes of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .painter import perfect, spoil_background, spoil_quality
from .prompts import random_request, where
from .randomness import stream
from .scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    IMAGE_FAITHFULNESS,
    PHYSICAL_QUALITY,
    PLACES,
    SHAPES,
    SIZES,
    TEXT_FAITHFULNESS,
    Flaw,
    Scene,
    Thing,
    with_thing,
)

# The target of an edit that concerns no thing.
BACKGROUND = -1


@dataclass(frozen=True)
class Edit:
    """An instruction for a source scene and its perfect result.

    `target`: index of the thing concerned, or BACKGROUND.

    Both scenes have the same number of `things`; None where one is not (yet, or any more) there.
    """

    instruction: str
    before: Scene
    wanted: Scene
    target: int

    @property
    def name(self) -> str:
        """What is to be edited: "red circle", or "background"."""
        if self.target == BACKGROUND:
            return "background"
        thing = self.before.things[self.target] or self.wanted.things[self.target]
        return thing.name if thing else ""


def random_edit(seed: int) -> Edit:
    """A source scene without a flaw or a word, and something to change in it."""
    rng = stream(seed, "edit")
    request = replace(random_request(rng), word="", background="")
    before = perfect(request, seed)
    kind = rng.choice(("colour", "shape", "remove", "add", "background"))
    if kind == "add" and (
        free := [place for place in PLACES if place not in {t.place for t in before.things if t}]
    ):
        return _adding(before, rng, rng.choice(free))
    if kind in ("add", "background"):
        wanted = rng.choice([name for name in BACKGROUNDS if name != before.background])
        return Edit(f"make the background {wanted}", before, replace(before, background=wanted), BACKGROUND)
    target = rng.randrange(len(before.things))
    thing = before.things[target]
    assert thing is not None
    if kind == "remove":
        return Edit(f"remove the {thing.name}", before, with_thing(before, target, None), target)
    changed = _other_look(before, thing, kind, rng)
    how = (
        f"change the {thing.name} to {changed.colour}"
        if kind == "colour"
        else f"turn the {thing.name} into a {changed.shape}"
    )
    return Edit(how, before, with_thing(before, target, changed), target)


def _adding(before: Scene, rng: random.Random, place: str) -> Edit:
    names = {(thing.colour, thing.shape) for thing in before.things if thing}
    colour, shape = rng.choice([(c, s) for c in COLOURS for s in SHAPES if (c, s) not in names])
    new = Thing(1, rng.choice(SIZES), colour, shape, place)
    before = replace(before, things=(*before.things, None))
    instruction = f"add a {new.size} {new.name} {where(place)}"
    return Edit(instruction, before, with_thing(before, len(before.things) - 1, new), len(before.things) - 1)


def _other_look(scene: Scene, thing: Thing, kind: str, rng: random.Random) -> Thing:
    """The thing in another colour or shape that no thing of the scene has."""
    names = {(other.colour, other.shape) for other in scene.things if other}
    looks = (
        [replace(thing, colour=colour) for colour in COLOURS]
        if kind == "colour"
        else [replace(thing, shape=s) for s in SHAPES]
    )
    return rng.choice([look for look in looks if (look.colour, look.shape) not in names])


def edited(edit: Edit, seed: int, flaws: float = 0.5) -> Scene:
    """What an editor with habits makes of an edit. `flaws` (0..1) is how strong they are."""
    rng = stream(seed, "edited")
    scene = edit.wanted
    if rng.random() < 0.7 * flaws:
        scene = spoil_edit(edit, scene, rng)
    for index in range(len(scene.things)):
        if index != edit.target and rng.random() < 0.5 * flaws:
            scene = change_unasked(scene, index, rng)
    if edit.target != BACKGROUND and rng.random() < 0.3 * flaws:
        scene = spoil_background(scene, rng)
    return spoil_quality(scene, rng) if rng.random() < 0.4 * flaws else scene


def spoil_edit(edit: Edit, scene: Scene, rng: random.Random) -> Scene:
    """The scene with the edit not done, or done wrongly."""
    wanted = edit.wanted.things[edit.target] if edit.target >= 0 else None
    if rng.random() < 0.5 or (edit.target >= 0 and wanted is None):
        undone = edit.before.things[edit.target] if edit.target >= 0 else None
        return (
            with_thing(scene, edit.target, undone)
            if edit.target >= 0
            else replace(scene, background=edit.before.background)
        )
    if edit.target == BACKGROUND:
        others = [
            name for name in BACKGROUNDS if name not in (edit.before.background, edit.wanted.background)
        ]
        return replace(scene, background=rng.choice(others))
    assert wanted is not None
    wrong = _other_look(edit.before, wanted, rng.choice(("colour", "shape")), rng)
    while wrong == edit.before.things[edit.target]:
        wrong = _other_look(edit.before, wanted, rng.choice(("colour", "shape")), rng)
    return with_thing(scene, edit.target, wrong)


def change_unasked(scene: Scene, index: int, rng: random.Random) -> Scene:
    """The scene with one thing changed or gone, though nobody asked for it."""
    thing = scene.things[index]
    if thing is None:
        return scene
    kind = rng.choice(("colour", "colour", "shape", "count", "gone"))
    if kind == "gone":
        return with_thing(scene, index, None)
    if kind == "count":
        return with_thing(
            scene, index, replace(thing, count=rng.choice([n for n in COUNTS if n != thing.count]))
        )
    return with_thing(scene, index, _other_look(scene, thing, kind, rng))


def edit_flaws(edit: Edit, scene: Scene) -> list[Flaw]:
    """Every flaw of a scene as the result of an edit, in the order in which a judgement names them."""
    found = [
        Flaw(TEXT_FAITHFULNESS, kind, edit.target, 3 if kind == "not done" else 1)
        for kind in target_flaws(edit, scene)
    ]
    for index in kept(edit):
        if scene.things[index] != edit.before.things[index]:
            found.append(Flaw(IMAGE_FAITHFULNESS, "changed", index))
    if edit.target != BACKGROUND and scene.background != edit.before.background:
        found.append(Flaw(IMAGE_FAITHFULNESS, "changed"))
    return found + [Flaw(PHYSICAL_QUALITY, kind) for kind in scene.quality]


def kept(edit: Edit) -> list[int]:
    """Indices of the things that the edit should leave alone."""
    return [
        index for index, thing in enumerate(edit.before.things) if index != edit.target and thing is not None
    ]


def target_flaws(edit: Edit, scene: Scene) -> list[str]:
    """What is wrong with the edit itself: "not done", "missing", or some of "count", "size", "colour",
    "shape", "place", "background".
    """
    if edit.target == BACKGROUND:
        if scene.background == edit.wanted.background:
            return []
        return ["not done"] if scene.background == edit.before.background else ["background"]
    before, wanted, got = (one.things[edit.target] for one in (edit.before, edit.wanted, scene))
    if got == wanted:
        return []
    if got == before or wanted is None:
        return ["not done"]
    if got is None:
        return ["missing"]
    return [
        kind
        for kind in ("count", "size", "colour", "shape", "place")
        if getattr(got, kind) != getattr(wanted, kind)
    ]
