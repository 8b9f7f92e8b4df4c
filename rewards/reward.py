"""The critic as a reward: each image's scores as numbers from 0 to 1."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..models.critic import Critic
from ..models.errors import QuestionError, RewardError
from ..models.inputs import Prompts
from ..models.judgement import Judgement
from ..models.rubrics.rubric import load_rubric
from .images import as_images
from .shared import asking, shared_critic
from .weights import checked_weights, weighted_mean

Mode = Literal["reasoned", "fast"]
NOTHING_APPLIES = "no dimension with a weight applies, so give one that does a weight"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reward:
    """What one image earned.

    `dimensions` has each dimension's reward, 0..1, in the order of the rubric; None where it does not apply.
    `combined` is their weighted mean, 0..1, over those that apply. `judgement` has the critic's reasons; None
    for rewards that come from comparisons.
    """

    dimensions: dict[str, float | None]
    combined: float
    judgement: Judgement | None = None

    @property
    def columns(self) -> dict[str, float]:
        """A number for every dimension, for loggers that need one: where it does not apply, `combined`, which
        leaves averages unmoved.
        """
        return {name: self.combined if value is None else value for name, value in self.dimensions.items()}


class CriticReward:
    """Rewards of images, one by one, by a critic.

    Example:

    ```python
    reward = CriticReward.load("models/RationalRewards-8B-T2I", weights={"text_faithfulness": 2.0})
    for one in reward(images, prompts):
        print(one.combined, one.dimensions)
    ```
    """

    def __init__(
        self,
        critic: Critic,
        weights: Mapping[str, float] | None = None,
        mode: Mode = "reasoned",
        rubric: str = "auto",
        **sampling: Any,
    ):
        """
        Args:
            critic: any critic, over any engine.
            weights: how much each dimension counts in `combined`, from 0 up; 1 where it is not named.
            mode: "reasoned" writes the justifications before the scores, as the critic was trained to;
                "fast" reads scores without them, where the critic can.
            rubric: as for `Critic.critique`.
            **sampling: `answer`, `temperature`, `seed`, `max_new_tokens`, as for `Critic.critique`.

        Raises:
            QuestionError: for weights or a mode that do not exist.
            CapabilityError: for "fast" where this critic's scores mean nothing without reasoning.
        """
        if mode not in get_args(Mode):
            raise QuestionError(f'There is no mode "{mode}": use "reasoned" or "fast".')
        if mode == "fast":
            critic.require("expected_scores")
            if sampling:
                raise QuestionError(
                    f"Fast scores are not sampled: leave out {', '.join(sampling)}, or use the mode reasoned."
                )
        self.critic = critic
        self.mode = mode
        self.rubric = rubric
        self.sampling = sampling
        self.weights = checked_weights(weights, dimensions_of(critic, rubric))
        # Images that were judged, and how many of them gave no reward.
        self.judged = 0
        self.failed = 0

    @classmethod
    def load(
        cls,
        critic: Critic | str | Path,
        weights: Mapping[str, float] | None = None,
        mode: Mode = "reasoned",
        rubric: str = "auto",
        sampling: Mapping[str, Any] | None = None,
        **loading: Any,
    ) -> CriticReward:
        """The reward by a checkpoint, which is loaded once a process; a critic is taken as it is.

        `loading` as for `Critic.load` (`quantization`, `device`, ...). Raises CheckpointError, too.
        """
        return cls(shared_critic(critic, **loading), weights, mode, rubric, **dict(sampling or {}))

    def __call__(self, images: Any, prompts: Prompts, sources: Any = None) -> list[Reward]:
        """The reward of each image.

        Args:
            images: what `as_images` reads: tensors, arrays, PIL images or paths.
            prompts: one an image, or one for all.
            sources: for edits, the image before the edit: one an image, or one for all.

        Returns:
            One `Reward` an image, in order.

        Raises:
            RewardError: where a judgement could not be read. There is no reward then, not a reward of 0.
            QuestionError, OutOfMemoryError: as `Critic.critique`.
        """
        rewards, failures = self._judge(images, prompts, sources)
        if failures:
            raise _failed(failures, len(rewards))
        return [reward for reward in rewards if reward is not None]

    def attempt(self, images: Any, prompts: Prompts, sources: Any = None) -> list[Reward | None]:
        """The same for trainers that can skip an image: None where a judgement could not be read."""
        rewards, failures = self._judge(images, prompts, sources)
        if failures:
            log.warning("%s", _failed(failures, len(rewards)))
        return rewards

    def _judge(
        self, images: Any, prompts: Prompts, sources: Any
    ) -> tuple[list[Reward | None], dict[int, str]]:
        """Rewards, and why there is none, by the image's index."""
        asked = as_images(images)
        before = None if sources is None else as_images(sources, "sources")
        # A tuple of prompts is what data loaders make.
        prompts = prompts if isinstance(prompts, str) else list(prompts)
        with asking(self.critic):
            judgements = self._judgements(asked, prompts, before)
            rewards = [self._reward(judgement) for judgement in judgements]
            failures = {
                index: _reason(judgement)
                for index, (judgement, reward) in enumerate(zip(judgements, rewards, strict=True))
                if reward is None
            }
            self.judged += len(rewards)
            self.failed += len(failures)
        return rewards, failures

    def _judgements(self, images: Any, prompts: Prompts, sources: Any) -> list[Judgement]:
        if self.mode == "fast":
            return self.critic.fast_score(images, prompts, sources, rubric=self.rubric)
        # All reasons stand before the last score; what would be written behind it cannot change the reward.
        return self.critic.critique(
            images, prompts, sources, rubric=self.rubric, until="scores", **self.sampling
        ).judgements

    def _reward(self, judgement: Judgement) -> Reward | None:
        if not judgement.complete:
            return None
        dimensions = {
            name: None if one.score is None else (one.score - 1) / 3
            for name, one in judgement.dimensions.items()
        }
        combined = weighted_mean(dimensions, self.weights)
        return None if combined is None else Reward(dimensions, combined, judgement)


def dimensions_of(critic: Critic, rubric: str = "auto", pair: bool = False) -> list[str]:
    """The keys of all dimensions that a rubric asks about; for "auto" of text-to-image and edits together.

    Raises RubricError where there is no such rubric.
    """
    if rubric == "auto":
        rubrics = [critic.rubric("auto", edit, pair) for edit in (False, True)]
    else:
        rubrics = [load_rubric(rubric, (*critic.rubric_folders, *critic.own_rubrics))]
    return list(dict.fromkeys(spec.key for one in rubrics for spec in one.dimensions))


def _reason(judgement: Judgement) -> str:
    if judgement.complete:
        return NOTHING_APPLIES
    return (
        judgement.notes[-1].rstrip(".")
        if judgement.notes
        else 'a score could not be read, so use answer="locked"'
    )


def _failed(failures: Mapping[int, str], count: int) -> RewardError:
    images: Sequence[str] = [str(index + 1) for index in failures]
    return RewardError(
        f"{len(failures)} of {count} images got no reward (image {', '.join(images)}), first because: "
        f"{next(iter(failures.values()))}."
    )
