"""The reward for verl-omni (github.com/verl-project/verl-omni): a function that its reward managers call
sample by sample.

Silent zeros: `MultiVisualRewardManager` turns an exception of a reward into 0.0 unless its entry says
`required: true`, so set that. `VisualRewardManager` lets exceptions through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from ..models.errors import QuestionError, RewardError
from .images import as_images
from .reward import CriticReward, Reward

# Arguments that the managers add by themselves, and which have nothing to do with the critic.
FROM_MANAGER = ("reward_router_address", "reward_model_tokenizer", "model_name")


async def compute_score(
    data_source: str,
    solution_image: Any,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    checkpoint: Any = None,
    source_key: str | None = None,
    **options: Any,
) -> dict[str, float]:
    """The reward of one image.

    Samples that arrive while the critic is busy are judged together, as one batch.

    Args:
        data_source: the name of the data set; not used.
        solution_image: one tensor `[C, H, W]`, uint8 or float 0..1.
        ground_truth: the prompt.
        extra_info: columns of the sample.
        checkpoint: the critic's folder, or a loaded critic; loaded once a process.
        source_key: for edits, the key in `extra_info` under which the path of the image before the edit is.
        **options: as for `CriticReward.load`.

    Returns:
        `{"score": 0..1, dimension: 0..1, ...}`; a dimension that does not apply carries the score.

    Raises:
        RewardError: for a judgement that cannot be read.
        QuestionError: where there is no checkpoint, source or image.

    Example:

    ```
    reward.num_workers=1
    reward.reward_manager.name=MultiVisualRewardManager
    +reward.reward_functions.critic.path=pkg://rational_rewards.rewards.verl_omni
    +reward.reward_functions.critic.name=compute_score
    +reward.reward_functions.critic.required=true
    +reward.reward_functions.critic.checkpoint=models/RationalRewards-8B-T2I
    +reward.reward_functions.critic.quantization=none
    ```
    """
    if checkpoint is None:
        raise QuestionError("The reward names no critic: add `checkpoint`, a folder, to its entry.")
    settings = {key: value for key, value in options.items() if key not in FROM_MANAGER}
    source = None
    if source_key is not None:
        source = (extra_info or {}).get(source_key)
        if source is None:
            raise QuestionError(
                f"`extra_info` of the sample has no {source_key}: name the column of the source."
            )
    images = as_images(solution_image, "solution_image")
    if len(images) != 1:
        raise QuestionError(f"The critic judges images, and this sample has {len(images)} frames.")
    reward = await _batcher(checkpoint, source_key, settings).ask(images[0], ground_truth, source)
    return {"score": reward.combined, **reward.columns}


class _Batcher:
    """Judges in one batch what was asked while the critic was busy."""

    def __init__(self, reward: CriticReward):
        self.reward = reward
        self.waiting: list[tuple[Any, str, Any, asyncio.Future[Reward]]] = []
        self.running: asyncio.Task[None] | None = None

    async def ask(self, image: Any, prompt: str, source: Any) -> Reward:
        answer: asyncio.Future[Reward] = asyncio.get_running_loop().create_future()
        self.waiting.append((image, prompt, source, answer))
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        # Everything that is ready in this turn of the loop asks before the first batch is taken.
        await asyncio.sleep(0)
        while self.waiting:
            batch, self.waiting = self.waiting, []
            images, prompts, sources, answers = map(list, zip(*batch, strict=True))
            before = None if sources[0] is None else sources
            try:
                rewards = await asyncio.to_thread(self.reward.attempt, images, prompts, before)
            except Exception as error:
                rewards = [error] * len(answers)
            for answer, reward in zip(answers, rewards, strict=True):
                if answer.cancelled():
                    continue
                if isinstance(reward, Reward):
                    answer.set_result(reward)
                else:
                    answer.set_exception(
                        reward or RewardError("A judgement could not be read; the log says why.")
                    )


_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Batcher]] = WeakKeyDictionary()


def _batcher(checkpoint: Any, source_key: str | None, settings: Mapping[str, Any]) -> _Batcher:
    """The batcher of this event loop for these settings: of prompts only, or of edits only."""
    known = _batchers.setdefault(asyncio.get_running_loop(), {})
    key = repr((checkpoint, source_key, sorted(settings.items())))
    if key not in known:
        known[key] = _Batcher(CriticReward.load(checkpoint, **settings))
    return known[key]
