"""Rewards for flow_grpo (github.com/yifan123/flow_grpo), called from its thread pool.

Silent zeros: flow_grpo has no setting for them and needs none. An exception of the reward comes out of the
future's `result()` in the training script and ends the run; its own scorers that answer 0.0 for what they
cannot read are not used here. Do not catch RewardError around these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..models.critic import Critic
from .reward import CriticReward, Reward

# In `config.reward_fn`: all dimensions count the same.
NAME = "rational_rewards"

Scores = tuple[dict[str, list[float]], dict[str, Any]]
ScoreFunction = Callable[..., Scores]


def make_multi_score(critic: Critic | str | Path, **options: Any) -> Callable[..., ScoreFunction]:
    """A `multi_score(device, score_dict)` that takes the place of flow_grpo's own. For prompts and for edits.

    Args:
        critic: a checkpoint's folder, loaded once a process onto `device`, or a loaded critic.
        **options: as for `CriticReward.load`; `device` puts the critic elsewhere than the trainer says.

    Returns:
        `multi_score(device, score_dict)`, which returns the function that the training scripts call:
        `fn(images, prompts, metadata, ref_images=None, only_strict=True)`. `score_dict`, the config's
        `reward_fn`, is `{"rational_rewards": 1.0}`, or a weight a dimension. `images` is a tensor
        `[N, C, H, W]`, 0..1, or an array `[N, H, W, C]`, uint8; `ref_images` the images before an edit. It
        returns `({dimension: [N floats], ..., "avg": [N floats]}, {})`, all 0..1; a dimension that does not
        apply to an image carries that image's "avg". It raises RewardError for a judgement that cannot be
        read.

    Example:

    ```python
    # the last lines of flow_grpo/rewards.py
    from rational_rewards.rewards.flow_grpo import make_multi_score
    multi_score = make_multi_score("models/RationalRewards-8B-T2I", quantization="none")
    ```
    """

    def multi_score(device: Any, score_dict: Mapping[str, float]) -> ScoreFunction:
        weights = None if set(score_dict) == {NAME} else score_dict
        reward = CriticReward.load(critic, weights=weights, **{"device": str(device), **options})

        def score(
            images: Any, prompts: Any, metadata: Any, ref_images: Any = None, only_strict: bool = True
        ) -> Scores:
            return score_columns(reward(images, prompts, ref_images)), {}

        return score

    return multi_score


def make_score(critic: Critic | str | Path, **options: Any) -> Callable[..., Callable[..., Any]]:
    """A scorer to stand beside flow_grpo's own ones in the table of its `multi_score`.

    flow_grpo hands no source images to scorers of that table: take `make_multi_score` for edits.

    Args:
        critic: a checkpoint's folder, or a loaded critic.
        **options: as for `CriticReward.load`.

    Returns:
        A factory `rational_rewards(device)`, which returns `fn(images, prompts, metadata)`, which returns
        `(scores, {})`, N floats 0..1. It raises RewardError for a judgement that cannot be read.

    Example:

    ```python
    # in multi_score of flow_grpo/rewards.py
    score_functions = {
        "rational_rewards": make_score("models/RationalRewards-8B-T2I", quantization="none"),
        ...
    }
    ```
    """

    # flow_grpo hands over the device only to a plain function that names it.
    def rational_rewards(device: Any) -> Callable[..., Any]:
        reward = CriticReward.load(critic, **{"device": str(device), **options})

        def score(images: Any, prompts: Any, metadata: Any) -> tuple[list[float], dict[str, Any]]:
            return [one.combined for one in reward(images, prompts)], {}

        return score

    return rational_rewards


def score_columns(rewards: list[Reward]) -> dict[str, list[float]]:
    """A list of N floats by dimension, and "avg", which the trainers optimize."""
    names = rewards[0].dimensions
    columns = {name: [one.columns[name] for one in rewards] for name in names}
    return {**columns, "avg": [one.combined for one in rewards]}
