"""The reward for DiffusionNFT (github.com/NVlabs/DiffusionNFT), called from its thread pool.

Silent zeros: DiffusionNFT has no setting for them and needs none. An exception of the reward comes out of
`rewards_future.result()` in the training script and ends the run. Do not catch RewardError around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..models.critic import Critic
from .flow_grpo import Scores
from .flow_grpo import make_multi_score as make_multi_score_with_sources


def make_multi_score(critic: Critic | str | Path, **options: Any) -> Callable[..., Callable[..., Scores]]:
    """A `multi_score(device, score_dict)` that takes the place of DiffusionNFT's own.

    Args:
        critic: a checkpoint's folder, loaded once a process onto `device`, or a loaded critic.
        **options: as for `CriticReward.load`; `device` puts the critic elsewhere than the trainer says.

    Returns:
        `multi_score(device, score_dict)`, which returns
        `fn(images, prompts, metadata, only_strict=True)`. `score_dict`, the config's `reward_fn`, is
        `{"rational_rewards": 1.0}`, or a weight a dimension. `images` is a tensor `[N, C, H, W]`, 0..1. It
        returns `({dimension: [N floats], ..., "avg": [N floats]}, {})`, all 0..1. It raises RewardError for a
        judgement that cannot be read. Forks of DiffusionNFT that train edits hand over `ref_images` as
        flow_grpo does: they take `flow_grpo.make_multi_score`.

    Example:

    ```python
    # the last lines of flow_grpo/rewards.py in DiffusionNFT's repository
    from rational_rewards.rewards.diffusion_nft import make_multi_score
    multi_score = make_multi_score("models/RationalRewards-8B-T2I", quantization="none")
    ```
    """
    with_sources = make_multi_score_with_sources(critic, **options)

    def multi_score(device: Any, score_dict: Mapping[str, float]) -> Callable[..., Scores]:
        score = with_sources(device, score_dict)

        def score_without_sources(
            images: Any, prompts: Any, metadata: Any, only_strict: bool = True
        ) -> Scores:
            return score(images, prompts, metadata, only_strict=only_strict)

        return score_without_sources

    return multi_score
