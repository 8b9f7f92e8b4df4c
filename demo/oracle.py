"""A teacher for the shapes world: it knows the scenes, but sees imperfectly, as every teacher does.

It misreads a fixed share of all facts. Told the preference, it looks again where what it saw contradicts the
hint; and if that does not help, it either keeps to what it saw or bends it. Those are the failures that
PARROT's filter is there for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ..models.answers.writing import format_score, write_answer
from ..models.engines.base import Progress
from ..models.judgement import Comparison
from ..models.rubrics.rubric import rubric_for
from ..parrot.teacher import Reference
from ..preferences.pairs import PreferencePair, Preferred, swapped
from .edits import Edit
from .flaw_reader import named_flaws, one_side
from .painter import spoil_quality, spoil_thing, spoil_word
from .preference_pairs import better, world_of
from .randomness import stream
from .scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    LETTERS,
    PLACES,
    QUALITY,
    SHAPES,
    SIZES,
    Request,
    Scene,
    Thing,
)
from .sentences import Case, EditCase, PictureCase, comparison_parts, conclusion, judgement_parts

# Times it looks at a pair whose preference it was told.
LOOKS = 3
# Share of single judgements that mention the reference.
LEAKS = 0.03
# Share of single judgements whose scores the partner image pulls over.
SWAYED = 0.03
# How often the reference wins over a look of its own.
TRUST = 0.8


class Truth(Protocol):
    """The two pictures of a pair as they really are."""

    @property
    def a(self) -> Case: ...

    @property
    def b(self) -> Case: ...


class Oracle:
    """A Teacher. `misreads`: the share of facts (a colour, a letter, ...) that it sees wrongly; `truth_of`
    gives what is true about the pair of an id.
    """

    def __init__(self, misreads: float = 0.02, truth_of: Callable[[str], Truth] = world_of):
        self.misreads, self.truth_of = misreads, truth_of
        self.name = f"shapes oracle, misreads {misreads:g}"

    def rationalize(
        self, pairs: Sequence[PreferencePair], seeds: Sequence[int], anchored: bool, progress: Progress
    ) -> list[str]:
        """Comparisons in the published format."""
        written = []
        for pair, seed in zip(pairs, seeds, strict=True):
            progress.check()
            truth, rng = self.truth_of(pair.id), stream(seed, "rationale")
            a, b = self._look(truth.a, rng), self._look(truth.b, rng)
            if anchored:
                a, b = self._anchored(a, b, (truth.a, truth.b), pair.preferred, rng)
            written.append(write_answer(rubric_for(pair.task, pair=True), comparison_parts(a, b)))
        return written

    def predict(
        self, prompts: Sequence[str], rationales: Sequence[str], progress: Progress
    ) -> list[Preferred | None]:
        """What the rationale's scores say."""
        found = []
        for rationale in rationales:
            progress.check()
            comparison = Comparison.parse(
                rationale, task="edit" if "Image Faithfulness" in rationale else "t2i"
            )
            found.append(comparison.winner if comparison.complete else None)
        return found

    def project(
        self,
        pairs: Sequence[PreferencePair],
        references: Sequence[Reference],
        seeds: Sequence[int],
        progress: Progress,
    ) -> list[str]:
        """Judgements of one image each, led by the reference."""
        written = []
        for pair, reference, seed in zip(pairs, references, seeds, strict=True):
            progress.check()
            written.append(self._project(pair, reference, stream(seed, "projection", reference.letter)))
        return written

    def _project(self, pair: PreferencePair, reference: Reference, rng: random.Random) -> str:
        truth = self.truth_of(pair.id)
        case = self._look(truth.a if reference.letter == "A" else truth.b, rng)
        comparison = Comparison.parse(reference.rationale, task=pair.task)
        parts = judgement_parts(case)
        for key, said in comparison.dimensions.items():
            if reference.rationale and said.applicable and rng.random() < TRUST:
                score = said.score_a if reference.letter == "A" else said.score_b
                parts[f"{key}.justification"] = one_side(said.justification, reference.letter)
                parts[f"{key}.score"] = format_score(score)
        parts |= _concluded(case, parts)
        if rng.random() < SWAYED:
            worse = swapped(pair.preferred) == reference.letter
            for key in (key for key, value in parts.items() if key.endswith(".score") and value != "N/A"):
                parts[key] = "4.0" if worse else "1.5"
        if rng.random() < LEAKS:
            parts["summary"] = f"As the reference comment says: {parts['summary']}"
        return write_answer(rubric_for(pair.task, pair=False), parts)

    def _anchored(
        self, a: Case, b: Case, truth: tuple[Case, Case], preferred: Preferred, rng: random.Random
    ) -> tuple[Case, Case]:
        for _ in range(LOOKS - 1):
            if better(a, b) == preferred:
                return a, b
            a, b = self._look(truth[0], rng), self._look(truth[1], rng)
        if better(a, b) == preferred or preferred == "tie" or rng.random() < 0.5:
            # It keeps to what it saw, whatever the hint.
            return a, b
        return (_worse(a, rng), b) if preferred == "B" else (a, _worse(b, rng))

    def _look(self, case: Case, rng: random.Random) -> Case:
        return replace(case, scene=self._misread(case.scene, rng))

    def _misread(self, scene: Scene, rng: random.Random) -> Scene:
        def wrong() -> bool:
            return rng.random() < self.misreads

        things = tuple(self._misread_thing(thing, rng) for thing in scene.things)
        background = rng.choice(list(BACKGROUNDS)) if wrong() else scene.background
        word = "".join(rng.choice(LETTERS) if wrong() else letter for letter in scene.word)
        quality = tuple(
            kind for kind in QUALITY if (kind in scene.quality) != (rng.random() < self.misreads / 2)
        )
        return replace(scene, things=things, background=background, word=word, quality=quality)

    def _misread_thing(self, thing: Thing | None, rng: random.Random) -> Thing | None:
        if thing is None or rng.random() < self.misreads / 2:
            return None
        choices = {
            "count": list(COUNTS),
            "size": SIZES,
            "colour": list(COLOURS),
            "shape": SHAPES,
            "place": PLACES,
        }
        for fact, values in choices.items():
            if rng.random() < self.misreads:
                thing = replace(thing, **{fact: rng.choice(values)})
        return thing


def _worse(case: Case, rng: random.Random) -> Case:
    """The case with flaws that are not there, until it is bad enough."""
    scene = case.scene
    for _ in range(3):
        scene = spoil_quality(scene, rng)
        if isinstance(case, PictureCase):
            scene = spoil_thing(case.request, scene, rng.randrange(len(scene.things)), rng)
            scene = spoil_word(scene, rng) if scene.word else scene
    return replace(case, scene=scene)


def _concluded(case: Case, parts: dict[str, str]) -> dict[str, str]:
    """Summary, comments and refined request that follow from what the justifications name."""
    about: Request | Edit = case.edit if isinstance(case, EditCase) else case.request
    says = {
        key.removesuffix(".justification"): text
        for key, text in parts.items()
        if key.endswith(".justification")
    }
    return conclusion(about, named_flaws(about, says))
