"""The demo: paint, judge, refine, paint again with the same seed, judge again; and what was true all along.

The critic sees pictures and prompts only. The truth comes from the scenes, so what the critic says can be
held against it.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ..models.checkpoints.discovery import EMBEDDED, EMBEDDED_NAME
from ..models.critic import Critic
from ..models.engines.base import Progress
from ..models.errors import CheckpointError, QuestionError
from ..models.judgement import Judgement, mean
from ..models.refine import refine_prompts
from .painter import Painting, paint
from .prompts import parse_request
from .render import SIZE
from .scene import TEXT_FAITHFULNESS, TEXT_RENDERING, Flaw, Request, Scene, Thing, flaws_of, score_of

# How strong the painter's bad habits are.
FLAWS = 0.5
# Seed of the first image: the critic is right about that one. How often it is wrong, the benchmarks measure.
FIRST_SEED = 0
# One of each kind: one to three things, sizes, counts, places, relations, backgrounds, words, and nearly
# nothing said.
PROMPTS = (
    "a red circle",
    "a large yellow star on a pink background",
    "two small blue squares on the left and a green triangle on the right",
    "a black triangle left of a purple square on a cyan background",
    "a picture of three small green circles with the word SUN",
    "a red star between a blue circle and a yellow square",
    "an image with a purple star and two large black circles on a gray background with the word HAT",
    "a small green square, two yellow triangles and a large blue star with the word BED",
)


@dataclass(frozen=True)
class Look:
    """One image: RGB, what the critic says about it, and its true flaws for the first prompt."""

    image: Image.Image
    judgement: Judgement
    flaws: list[Flaw]


@dataclass(frozen=True)
class Round:
    """A prompt before and after the critic rewrote it; both pictures have the same seed."""

    prompt: str
    seed: int
    first: Look
    refined_prompt: str
    second: Look

    @property
    def agreement(self) -> tuple[int, int]:
        """How many of the critic's scores for both pictures are the true ones, and how many there are."""
        request = parse_request(self.prompt)
        found = [
            _right(look, key)
            for look in (self.first, self.second)
            for key in _applying(request, look.judgement)
        ]
        return sum(found), len(found)


def is_paintable(request: Request) -> bool:
    """Whether a prompt asks for anything that the painter knows."""
    return bool(request.wishes or request.background or request.word)


def painted(prompt: str, seed: int, size: int = SIZE, flaws: float = FLAWS) -> Painting:
    """As `paint`, for a prompt that somebody wrote: raises QuestionError where it asks for nothing that the
    painter knows.
    """
    if not is_paintable(parse_request(prompt)):
        raise QuestionError(
            "The shapes painter found nothing that it can paint in the prompt: ask for one to three "
            'coloured shapes, such as "two small blue squares on the left and a red star on a pink '
            'background with the word SUN".'
        )
    return paint(prompt, seed, size, flaws)


def play(
    critic: Critic,
    prompts: Sequence[str],
    seed: int = 0,
    flaws: float = FLAWS,
    progress: Progress = Progress(),
) -> list[Round]:
    """One round a prompt; the first prompt is painted with `seed`, the next with `seed + 1`, and so on.

    `flaws` (0..1) is how strong the painter's bad habits are. All pictures of one turn are judged in one
    batch. Raises QuestionError where a prompt asks for nothing that can be painted, or there is no prompt.
    """
    seeds = range(seed, seed + len(prompts))
    first = [painted(prompt, number, flaws=flaws) for prompt, number in zip(prompts, seeds, strict=True)]
    critique = critic.critique([one.image for one in first], list(prompts), progress=progress)
    refined = [one.prompt for one in refine_prompts(critique, progress=progress)]
    second = [paint(prompt, number, flaws=flaws) for prompt, number in zip(refined, seeds, strict=True)]
    # Judged by the first prompt: that is what was wanted; the refined one only helps the painter.
    again = critic.critique([one.image for one in second], list(prompts), progress=progress)
    return [
        Round(
            prompt,
            number,
            Look(before.image, judged, flaws_of(before.request, before.scene)),
            better,
            Look(after.image, judged_again, flaws_of(before.request, aligned(before.request, after))),
        )
        for prompt, number, before, judged, better, after, judged_again in zip(
            prompts, seeds, first, critique.judgements, refined, second, again.judgements, strict=True
        )
    ]


def aligned(request: Request, painting: Painting) -> Scene:
    """The painting's scene with its things in the order of another request, where a rewritten prompt moved or
    lost some.
    """
    left = list(zip(painting.request.wishes, painting.scene.things, strict=True))
    things: list[Thing | None] = [None] * len(request.wishes)
    unmet = []
    for index, wish in enumerate(request.wishes):
        same = next((pair for pair in left if pair[0].name == wish.name), None)
        if same is None:
            unmet.append(index)
        else:
            things[index] = same[1]
            left.remove(same)
    # Asked for under another name: that is what stands in its position.
    for index, (_, thing) in zip(unmet, left, strict=False):
        things[index] = thing
    return replace(painting.scene, things=tuple(things))


def embedded_critic() -> Critic:
    """The tiny critic that comes with the pack, on the CPU. Raises CheckpointError where it is not there."""
    if not (EMBEDDED / "config.json").is_file():
        raise CheckpointError(
            "The demo's own critic is not in demo/critic: get the whole repository again, or train one with "
            "`python -m rational_rewards parrot demo` and copy parrot-demo/critic there."
        )
    return Critic.load(EMBEDDED_NAME, "none", "cpu")


def facts(critic: Critic, rounds: Sequence[Round], seconds: float) -> dict[str, str]:
    """What a reader should know about a demo, by title: who judged, where, in how many seconds, and how often
    it was right.
    """
    import torch

    parameters = list(critic.engine.model.parameters())  # type: ignore[attr-defined]  # the embedded critic's engine has one
    number, size = sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
    place = parameters[0].device.type
    where = f"CPU, {torch.get_num_threads()} threads" if place == "cpu" else place.upper()
    right, asked = (sum(numbers) for numbers in zip(*(one.agreement for one in rounds), strict=True))
    seeds = f"{rounds[0].seed} to {rounds[-1].seed}" if len(rounds) > 1 else f"{rounds[0].seed}"
    return {
        "Critic": f"{critic.name}, {number / 1e6:.1f} million parameters, {size / 1e6:.1f} MB in memory",
        "Judged on": where,
        "Time": f"{seconds:.0f} seconds for {2 * len(rounds)} images, loading and painting included",
        "Images": f"{SIZE} × {SIZE} pixels, as the critic saw them; "
        f"seeds {seeds}, one a prompt, the same for both images",
        "Checked against the truth": f"{right} of {asked} scores are exactly right",
    }


def table(rounds: Sequence[Round]) -> str:
    """The rounds as a table for the shell: prompt, score 0..1, what the critic named in the first picture,
    true flaws.
    """
    room = max(80, min(120, shutil.get_terminal_size((100, 0)).columns)) - 40
    wide, named = room * 55 // 100, room - room * 55 // 100
    lines = [f"{'prompt':{wide}}  {'score':12}  {'the critic named':{named}}  true flaws"]
    for one in rounds:
        scores = f"{shown(one.first.judgement.score)} -> {shown(one.second.judgement.score)}"
        flaws = f"{len(one.first.flaws)} -> {len(one.second.flaws)}"
        prompt, says = (
            textwrap.shorten(text, width, placeholder="...")
            for text, width in ((one.prompt, wide), (one.first.judgement.summary, named))
        )
        lines.append(f"{prompt:{wide}}  {scores:12}  {says:{named}}  {flaws}")
    before, after = totals(rounds)
    flaws = f"{before[1]} -> {after[1]}"
    scores = f"{shown(before[0])} -> {shown(after[0])}"
    lines.append(f"{'all: mean score, true flaws':{wide}}  {scores}  {'':{named}}  {flaws}")
    return "\n".join(lines)


def totals(rounds: Sequence[Round]) -> tuple[tuple[float | None, int], tuple[float | None, int]]:
    """Mean score (0..1) and number of true flaws of all first pictures, and of all second ones."""
    looks = ([one.first for one in rounds], [one.second for one in rounds])
    first, second = (
        (mean([one.judgement.score for one in side]), sum(len(one.flaws) for one in side)) for side in looks
    )
    return first, second


def shown(score: float | None) -> str:
    """A score from 0 to 1 as it is written."""
    return "none" if score is None else f"{score:.2f}"


def _applying(request: Request, judgement: Judgement) -> list[str]:
    """The dimensions on which a picture for this request has a true score."""
    never = {TEXT_RENDERING} if not request.word else set()
    never |= {TEXT_FAITHFULNESS} if not (request.wishes or request.background) else set()
    return [key for key in judgement.dimensions if key not in never]


def _right(look: Look, key: str) -> bool:
    return look.judgement.dimensions[key].score == score_of(
        flaw for flaw in look.flaws if flaw.dimension == key
    )
