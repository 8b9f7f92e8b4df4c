"""Rewards within a group, the images of one prompt: by comparing them, and as advantages over the group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..models.critic import Critic
from ..models.errors import QuestionError, RewardError
from ..models.judgement import Comparison, mean
from .images import as_images
from .reward import Reward, dimensions_of
from .shared import asking, shared_critic
from .weights import checked_weights, weighted_mean

Pair = tuple[int, int]

# Advantages beyond this many standard deviations are clipped, and a spread below this counts as none.
LIMIT = 5.0
SMALLEST_SPREAD = 1e-4


class GroupReward:
    """Rewards of a group by comparing its images two at a time, each pair in both orders.

    An image's reward against one opponent is (1 + margin) / 2: 0.5 for a tie, 1 for a win by the whole scale.
    Its reward is the mean over its opponents, so that a group's mean is 0.5 where everybody meets everybody.

    Example:

    ```python
    reward = GroupReward.load("models/RationalRewards-8B-T2I", opponents=2)
    best = max(reward(images, "a red fox on a bench"), key=lambda one: one.combined)
    ```
    """

    def __init__(
        self,
        critic: Critic,
        weights: Mapping[str, float] | None = None,
        opponents: int | None = None,
        rubric: str = "auto",
        **sampling: Any,
    ):
        """
        Args:
            critic: any critic, over any engine.
            weights: how much each dimension counts in `combined`, from 0 up; 1 where it is not named.
            opponents: each image is compared with this many behind it, around the group, so that it meets
                twice as many: N images take N x `opponents` comparisons of two answers. None: everybody meets
                everybody, in N x (N - 1) / 2 comparisons.
            rubric: a pairwise one, as for `Critic.compare`.
            **sampling: `answer`, `temperature`, `seed`, `max_new_tokens`, as for `Critic.compare`.

        Raises:
            QuestionError: for weights or a number of opponents that cannot be.
        """
        if opponents is not None and opponents < 1:
            raise QuestionError("`opponents` must be at least 1, or None for everybody.")
        self.critic = critic
        self.opponents = opponents
        self.rubric = rubric
        self.sampling = sampling
        self.weights = checked_weights(weights, dimensions_of(critic, rubric, pair=True))
        # Comparisons that were asked for, and how many of them could not be read.
        self.judged = 0
        self.failed = 0

    @classmethod
    def load(
        cls,
        critic: Critic | str | Path,
        weights: Mapping[str, float] | None = None,
        opponents: int | None = None,
        rubric: str = "auto",
        sampling: Mapping[str, Any] | None = None,
        **loading: Any,
    ) -> GroupReward:
        """The reward by a checkpoint, which is loaded once a process; a critic is taken as it is.

        `loading` as for `Critic.load`. Raises CheckpointError, too.
        """
        return cls(shared_critic(critic, **loading), weights, opponents, rubric, **dict(sampling or {}))

    def __call__(self, images: Any, prompt: str, source: Any = None) -> list[Reward]:
        """The reward of each image of a group.

        Args:
            images: two or more, as `as_images` reads them.
            prompt: the one that all were made from.
            source: for edits, the one image before the edit.

        Returns:
            One `Reward` an image, in order. A dimension that applies in none of its comparisons is None.

        Raises:
            RewardError: where a comparison could not be read.
            QuestionError, OutOfMemoryError: as `Critic.compare`.
        """
        group = as_images(images)
        if len(group) < 2:
            raise QuestionError(
                "A group needs at least two images to compare: raise the trainer's group size."
            )
        pairs = ring(len(group), self.opponents)
        with asking(self.critic):
            comparisons = self.critic.compare(
                [group[a] for a, _ in pairs],
                [group[b] for _, b in pairs],
                prompt,
                None if source is None else as_images(source, "source"),
                rubric=self.rubric,
                until="scores",
                **self.sampling,
            )
            unread = [pair for pair, one in zip(pairs, comparisons, strict=True) if not one.complete]
            self.judged += len(pairs)
            self.failed += len(unread)
        if unread:
            a, b = unread[0]
            raise RewardError(
                f"{len(unread)} of {len(pairs)} comparisons could not be read, first that of images {a + 1} "
                f'and {b + 1}, so the group has no rewards: use answer="locked", or raise max_new_tokens.'
            )
        return [self._reward(index, pairs, comparisons) for index in range(len(group))]

    def _reward(self, index: int, pairs: Sequence[Pair], comparisons: Sequence[Comparison]) -> Reward:
        met = [
            _shares(one if pair[0] == index else one.swap())
            for pair, one in zip(pairs, comparisons, strict=True)
            if index in pair
        ]
        dimensions = {name: mean([shares[name] for shares in met]) for name in met[0]}
        combined = mean([weighted_mean(shares, self.weights) for shares in met])
        if combined is None:
            raise RewardError(
                f"Image {index + 1} got no reward: no dimension with a weight applies to it, so give "
                "one that does a weight."
            )
        return Reward(dimensions, combined)


def ring(count: int, opponents: int | None = None) -> list[Pair]:
    """Who is compared with whom: each with the next `opponents` around the group, no pair twice.

    >>> ring(4, 1)
    [(0, 1), (0, 3), (1, 2), (2, 3)]
    """
    steps = count // 2 if opponents is None else min(opponents, count // 2)
    met = {(i, (i + step) % count) for i in range(count) for step in range(1, steps + 1)}
    return sorted({(min(pair), max(pair)) for pair in met})


def group_advantages(rewards: Sequence[Reward], weights: Mapping[str, float] | None = None) -> list[float]:
    """How much better than its group each image is: every dimension is standardized by its own mean and
    spread within the group, then combined by weight.

    A dimension with a narrow spread counts as much as one with a wide spread this way. An image to which a
    dimension does not apply takes no part in that dimension's mean and spread, and gets nothing from it.

    Args:
        rewards: those of the images of one prompt.
        weights: as for `CriticReward`.

    Returns:
        One advantage an image, in standard deviations, clipped to -5..5; 0 where nothing tells them apart.
    """
    if not rewards:
        return []
    checked = checked_weights(weights, rewards[0].dimensions)
    columns = {name: _standardized([one.dimensions[name] for one in rewards]) for name in checked}
    rows = [{name: column[index] for name, column in columns.items()} for index in range(len(rewards))]
    combined = [weighted_mean(row, checked) for row in rows]
    return [0.0 if value is None else max(-LIMIT, min(LIMIT, value)) for value in combined]


def _shares(comparison: Comparison) -> dict[str, float | None]:
    """A's reward by dimension, 0..1; None where it does not apply."""
    return {
        name: None
        if one.score_a is None or one.score_b is None
        else (1 + (one.score_a - one.score_b) / 3) / 2
        for name, one in comparison.dimensions.items()
    }


def _standardized(values: Sequence[float | None]) -> list[float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return list(values)
    centre = sum(known) / len(known)
    spread = math.sqrt(sum((value - centre) ** 2 for value in known) / len(known))
    if spread < SMALLEST_SPREAD:
        return [None if value is None else 0.0 for value in values]
    return [None if value is None else (value - centre) / spread for value in values]
