"""Preference pairs of the shapes world, each made from its number alone; the preference is exact, because the
scenes are known.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from ..preferences.pairs import PreferencePair, Preferred
from .edits import BACKGROUND, Edit, change_unasked, edited, random_edit, spoil_edit
from .painter import imagine, perfect, spoil_background, spoil_quality, spoil_thing, spoil_word
from .prompts import phrased, random_request
from .randomness import stream
from .render import render
from .scene import IMAGE_FAITHFULNESS, PHYSICAL_QUALITY, TEXT_FAITHFULNESS, TEXT_RENDERING, Request, Scene
from .sentences import Case, EditCase, PictureCase, total

# Share of image edits.
EDITS = 0.2
# Share of pairs that differ in one dimension only.
ALIKE = 0.5
# Who chose.
BY = "shapes world"


@dataclass(frozen=True)
class World:
    """Two pictures for one request, and the truth about both.

    `differs`: the one dimension in which they differ, if it is one.
    """

    id: str
    prompt: str
    a: Case
    b: Case
    # Seeds that the two pictures are drawn from.
    looks: tuple[int, int]
    differs: str = ""

    @cached_property
    def preferred(self) -> Preferred:
        """The picture with the higher mean score."""
        return better(self.a, self.b)

    @property
    def pictures(self) -> dict[str, Image.Image]:
        """The pictures by the names that rubrics for two images use."""
        found = {"a": render(self.a.scene, self.looks[0]), "b": render(self.b.scene, self.looks[1])}
        if isinstance(self.a, EditCase):
            found = {"source": render(self.a.edit.before, self.looks[0]), **found}
        return found

    def pair(self, folder: Path) -> PreferencePair:
        """The pair as every phase of PARROT takes it, with its pictures written into `folder`."""
        names = ("source", "a", "b") if isinstance(self.a, EditCase) else ("a", "b")
        files = {name: folder / f"{self.id}-{name}.png" for name in names}
        if not all(file.exists() for file in files.values()):
            for name, picture in self.pictures.items():
                save_picture(picture, files[name])
        return PreferencePair(
            self.id, self.prompt, files["a"], files["b"], self.preferred, files.get("source"), BY
        )


def better(a: Case, b: Case) -> Preferred:
    """The picture with the higher mean score."""
    score_a, score_b = total(a.remarks()), total(b.remarks())
    if score_a == score_b:
        return "tie"
    return "A" if score_a > score_b else "B"


def save_picture(picture: Image.Image, file: Path) -> None:
    """Write a picture as PNG, or nothing; one of thousands, so without waiting for the disk."""
    scratch = file.with_suffix(".part")
    picture.save(scratch, "PNG", compress_level=1)
    scratch.replace(file)


def world(seed: int, number: int) -> World:
    """Pair number `number` of a series."""
    made = (_edit_world if is_edit(seed, number) else _picture_world)(seed, number)
    return made if _changed(made) == {made.differs} else replace(made, differs="")


def is_edit(seed: int, number: int) -> bool:
    """Whether that pair is of two edits of a source picture."""
    return stream(seed, "kind", number).random() < EDITS


def _changed(made: World) -> set[str]:
    """The dimensions in which the two pictures have different flaws."""
    return {flaw.dimension for flaw in {*made.a.flaws} ^ {*made.b.flaws}}


def world_of(id: str) -> World:
    """The pair of that id."""
    _, seed, number = id.split("-")
    return world(int(seed), int(number))


def _picture_world(seed: int, number: int) -> World:
    rng = stream(seed, "pair", number)
    request = random_request(rng)
    prompt = phrased(request, rng)
    look_a, look_b = rng.getrandbits(32), rng.getrandbits(32)
    habits = rng.uniform(0.2, 0.9)
    if rng.random() >= ALIKE:
        a, b, differs = imagine(request, look_a, habits), imagine(request, look_b, habits), ""
    else:
        a = imagine(request, look_a, habits * 0.6)
        differs = rng.choice([TEXT_FAITHFULNESS, PHYSICAL_QUALITY] + [TEXT_RENDERING] * bool(request.word))
        b = one_flaw_more(request, a, differs, rng)
        look_b = look_a
    one, two = PictureCase(request, a), PictureCase(request, b)
    if rng.random() < 0.5:
        one, two, look_a, look_b = two, one, look_b, look_a
    return World(f"shapes-{seed}-{number}", prompt, one, two, (look_a, look_b), differs)


def one_flaw_more(request: Request, scene: Scene, dimension: str, rng: random.Random) -> Scene:
    """The scene with another flaw in that dimension; where it has one already, it may be mended instead."""
    if dimension == PHYSICAL_QUALITY:
        return (
            replace(scene, quality=()) if scene.quality and rng.random() < 0.5 else spoil_quality(scene, rng)
        )
    if dimension == TEXT_RENDERING:
        return spoil_word(scene, rng) if scene.word == request.word else replace(scene, word=request.word)
    whole = perfect(request, 0)
    good = [
        i
        for i, (thing, wish) in enumerate(zip(scene.things, request.wishes, strict=True))
        if thing and _as_wished(thing, wish)
    ]
    if request.background == scene.background and rng.random() < 0.25:
        return spoil_background(scene, rng)
    if good:
        return spoil_thing(request, scene, rng.choice(good), rng)
    # Everything is wrong: one thing is mended.
    index = rng.randrange(len(scene.things))
    return replace(
        scene, things=tuple(whole.things[i] if i == index else t for i, t in enumerate(scene.things))
    )


def _as_wished(thing: object, wish: object) -> bool:
    return all(
        getattr(wish, k) in ("", getattr(thing, k)) for k in ("colour", "shape", "count", "size", "place")
    )


def _edit_world(seed: int, number: int) -> World:
    rng = stream(seed, "pair", number)
    edit = random_edit(rng.getrandbits(32))
    # An edit keeps the source's look.
    look = rng.getrandbits(32)
    habits = rng.uniform(0.2, 0.9)
    differs = ""
    if rng.random() >= ALIKE:
        a, b = edited(edit, rng.getrandbits(32), habits), edited(edit, rng.getrandbits(32), habits)
    else:
        a = edited(edit, rng.getrandbits(32), habits * 0.5)
        differs = rng.choice([TEXT_FAITHFULNESS, IMAGE_FAITHFULNESS, PHYSICAL_QUALITY])
        b = _one_edit_flaw_more(edit, a, differs, rng)
    if rng.random() < 0.5:
        a, b = b, a
    return World(
        f"shapes-{seed}-{number}",
        edit.instruction,
        EditCase(edit, a),
        EditCase(edit, b),
        (look, look),
        differs,
    )


def _one_edit_flaw_more(edit: Edit, scene: Scene, dimension: str, rng: random.Random) -> Scene:
    if dimension == PHYSICAL_QUALITY:
        return spoil_quality(scene, rng)
    if dimension == TEXT_FAITHFULNESS:
        done = _same_target(edit, scene)
        return spoil_edit(edit, scene, rng) if done else _with_target(edit, scene)
    kept = [
        i
        for i, thing in enumerate(scene.things)
        if i != edit.target and thing and thing == edit.before.things[i]
    ]
    return change_unasked(scene, rng.choice(kept), rng) if kept else _background_back(edit, scene, rng)


def _same_target(edit: Edit, scene: Scene) -> bool:
    if edit.target == BACKGROUND:
        return scene.background == edit.wanted.background
    return scene.things[edit.target] == edit.wanted.things[edit.target]


def _with_target(edit: Edit, scene: Scene) -> Scene:
    if edit.target == BACKGROUND:
        return replace(scene, background=edit.wanted.background)
    things = [edit.wanted.things[i] if i == edit.target else thing for i, thing in enumerate(scene.things)]
    return replace(scene, things=tuple(things))


def _background_back(edit: Edit, scene: Scene, rng: random.Random) -> Scene:
    if edit.target != BACKGROUND and scene.background == edit.before.background:
        return spoil_background(scene, rng)
    return replace(scene, things=tuple(edit.wanted.things))
