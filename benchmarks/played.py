"""Refine loops side by side, without ComfyUI: each as Refine Loop plays it, with what is really true about
every image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from PIL import Image

from rational_rewards.models.critic import Critic
from rational_rewards.models.critique import JudgedImage
from rational_rewards.models.engines.base import SamplingParams
from rational_rewards.models.loop import LoopStart, Round, Rounds, StopRules, next_prompt

# The defaults of Refine Loop Start and End.
ROUNDS, STOP_AT = 4, 0.9
SAMPLING = SamplingParams(max_new_tokens=2048)
# Loops whose images are painted and judged at once.
PORTION = 64
# How a critic and a judged image, made from a prompt, make the next prompt.
Way = Callable[[Critic, JudgedImage, str], str]
T = TypeVar("T")


class Painter(Protocol[T]):
    """Makes images, and knows what is true about them."""

    def __call__(
        self, asked: Sequence[str], prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[tuple[Image.Image, T]]:
        """An image of each prompt and seed, and the truth about it, held against what the artist `asked`."""
        ...


@dataclass
class Played(Generic[T]):
    """One loop: its rounds, and the truth about each round's image. `returned` counts prompts that had been
    left and came back.
    """

    rounds: Rounds
    truth: list[T] = field(default_factory=list)
    returned: int = 0
    over: bool = False

    @property
    def first(self) -> T:
        """The truth about the first image."""
        return self.truth[0]

    @property
    def second(self) -> T:
        """The truth about the image of the prompt that was refined once, or of the only one."""
        return self.truth[min(1, len(self.truth) - 1)]

    @property
    def best(self) -> T:
        """The truth about the image that the loop gives back."""
        return self.truth[self.rounds.best or 0]


def joined(critic: Critic, judged: JudgedImage, made_from: str) -> str:
    """The way of Refine Loop."""
    return next_prompt(critic, judged, made_from, sampling=SAMPLING).prompt


def play(
    critic: Critic,
    painter: Painter[T],
    starts: Sequence[LoopStart],
    way: Way = joined,
    reads_artists_prompt: bool = True,
) -> list[Played[T]]:
    """Play loops of up to `ROUNDS` rounds each. A `way` that `reads_artists_prompt` has the critic refine it:
    then all that are weak are refined at once, and remembered.
    """
    loops = [Played[T](Rounds(start)) for start in starts]
    prompts = {id(one): one.rounds.start.prompt for one in loops}
    for number in range(ROUNDS):
        for start in range(0, len(loops), PORTION):
            if going := [one for one in loops[start : start + PORTION] if not one.over]:
                weak = _judge(critic, painter, going, prompts, number)
                if reads_artists_prompt and weak:
                    critic.refine([item for _, item in weak], SAMPLING)
                for one, item in weak:
                    _lead_on(one, way(critic, item, prompts[id(one)]), prompts)
    return loops


def _judge(
    critic: Critic, painter: Painter[T], loops: Sequence[Played[T]], prompts: dict[int, str], number: int
) -> list[tuple[Played[T], JudgedImage]]:
    """Play a round; returns the loops that are not over, with their images."""
    artists = [one.rounds.start.prompt for one in loops]
    made_from = [prompts[id(one)] for one in loops]
    seeds = [one.rounds.start.seed_of(number) for one in loops]
    shown = painter(artists, made_from, seeds)
    critique = critic.critique([image for image, _ in shown], artists, max_new_tokens=2048)
    rounds = [Round(*one) for one in zip(made_from, seeds, critique.judgements, strict=True)]
    for one, done, (_, truth) in zip(loops, rounds, shown, strict=True):
        one.rounds = one.rounds.plus(done)
        one.truth.append(truth)
        one.over = bool(one.rounds.why_stop(StopRules(STOP_AT)))
    return [(one, item) for one, item in zip(loops, critique.items, strict=True) if not one.over]


def _lead_on(loop: Played[T], following: str, prompts: dict[int, str]) -> None:
    """Note what the next image is made from."""
    tried = [done.prompt for done in loop.rounds.done]
    loop.returned += following in tried[:-1]
    loop.over = loop.rounds.is_repeat(following)
    prompts[id(loop)] = following
