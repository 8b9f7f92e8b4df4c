"""Who says how good a picture is while the generator learns from it: the critic, or the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from ...models.critic import Critic
from ...models.judgement import mean
from ...rewards import CriticReward, Reward, group_advantages
from ..scene import TEXT_FAITHFULNESS, TEXT_RENDERING, Request
from .reader import facts

# The embedded critic, which knows painted pictures only, after a course on generated ones.
GENERATED_CRITIC = Path(__file__).parent / "critic"


class Judge(Protocol):
    """Rewards of pictures: one for each, in order, each dimension 0..1, or None where it does not apply.

    A picture that could not be judged has no reward at all, which is None, not 0.
    """

    def __call__(
        self, prompts: Sequence[str], requests: Sequence[Request], pictures: Sequence[Image.Image]
    ) -> list[Reward | None]:
        """`prompts` are what the pictures were made from, `requests` what these ask for."""
        ...


def generated_critic(folder: Path | None = None) -> Critic:
    """The critic in a folder, on the CPU: by default the embedded one after a course on generated pictures
    (`GENERATED` in demo/train.py). Raises CheckpointError.
    """
    return Critic.load(str(folder or GENERATED_CRITIC), "none", "cpu")


class CriticJudge:
    """A critic with its full critiques: it sees prompts and pictures, and nothing of the truth."""

    def __init__(self, critic: Critic):
        self.reward = CriticReward(critic)

    def __call__(
        self, prompts: Sequence[str], requests: Sequence[Request], pictures: Sequence[Image.Image]
    ) -> list[Reward | None]:
        return self.reward.attempt(list(pictures), list(prompts))


def truth(
    prompts: Sequence[str], requests: Sequence[Request], pictures: Sequence[Image.Image]
) -> list[Reward | None]:
    """The share of facts that are right, as the reader reads them; letters are a dimension apart."""
    return [_true(request, picture) for request, picture in zip(requests, pictures, strict=True)]


def _true(request: Request, picture: Image.Image) -> Reward:
    found = facts(request, picture)
    letters = [float(right) for right in found.pop("word", [])]
    rest = [float(right) for rights in found.values() for right in rights]
    dimensions = {TEXT_FAITHFULNESS: mean(rest), TEXT_RENDERING: mean(letters) if letters else None}
    return Reward(dimensions, sum(rest + letters) / len(rest + letters))


def optimalities(rewards: Sequence[Reward | None], group: int, clip: float) -> list[float | None]:
    """How likely each picture is one of the better ones of its group, 0..1; `group` pictures in a row are of
    one prompt.

    A picture `clip` standard deviations above its group's mean, or more, has 1. Pictures without a reward
    have None and do not count; nor does a whole group in which nothing tells the pictures apart.
    """
    found: list[float | None] = [None] * len(rewards)
    for start in range(0, len(rewards), group):
        judged = [
            (place, reward)
            for place, reward in enumerate(rewards[start : start + group], start)
            if reward is not None
        ]
        advantages = group_advantages([reward for _, reward in judged])
        if any(advantages):
            for (place, _), advantage in zip(judged, advantages, strict=True):
                found[place] = 0.5 + max(-1.0, min(1.0, advantage / clip)) / 2
    return found
