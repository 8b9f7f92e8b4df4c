"""The reward for TRL (github.com/huggingface/trl), for `GRPOTrainer(reward_funcs=...)`.

TRL trains models that write: one that writes better prompts for an image generator, or one that generates
images itself.

Silent zeros: TRL turns None into NaN and leaves the completion out, where no other reward has a value for it.
That was so in 1.10.0.dev0; where a release sums NaN up as 0 (look for `unscorable_mask` in its
`grpo_trainer.py`), set `unread="raise"`. A failed judgement is counted in the metric
`rational_rewards/failed`, where TRL hands over `log_metric`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..models.critic import Critic
from .completions import column_of, image_of, text_of, user_text
from .reward import CriticReward

RewardFunction = Callable[..., list[float | None]]


def make_reward(
    critic: Critic | str | Path,
    render: Callable[[list[str]], Sequence[Any]] | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    source_column: str | None = None,
    unread: Literal["none", "raise"] = "none",
    **options: Any,
) -> RewardFunction:
    """A reward function for TRL.

    Args:
        critic: a checkpoint's folder, loaded once a process, or a loaded critic.
        render: makes the images of a batch of completions' texts, where a model that writes prompts is
            trained; None: images are in `image_column`, or image parts of the completions.
        image_column: the column with the generated images, as a `rollout_func` returns it.
        prompt_column: the column with the prompt to judge by; None: the last user message.
        source_column: for edits, the column with the images before the edit.
        unread: what becomes of a judgement that cannot be read: "none" lets TRL skip the completion, "raise"
            ends the run.
        **options: as for `CriticReward.load`.

    Returns:
        `rational_rewards(prompts, completions, completion_ids, trainer_state, **columns)`, which returns N
        floats 0..1, or None for a completion to be skipped. It raises QuestionError where images or columns
        are missing, and what the critic raises.

    Example:

    ```python
    pipe = DiffusionPipeline.from_pretrained("black-forest-labs/FLUX.1-dev").to("cuda")
    reward = make_reward("models/RationalRewards-8B-T2I", render=lambda texts: pipe(texts).images)
    GRPOTrainer(model="Qwen/Qwen3-4B", reward_funcs=[reward], train_dataset=dataset)
    ```
    """
    reward = CriticReward.load(critic, **options)

    def rational_rewards(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Any = None,
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        if render is not None:
            images = render([text_of(completion) for completion in completions])
        elif image_column is not None:
            images = column_of(columns, image_column)
        else:
            images = [image_of(completion, index) for index, completion in enumerate(completions)]
        asked = [user_text(prompt) for prompt in prompts]
        judged_by = asked if prompt_column is None else column_of(columns, prompt_column)
        sources = None if source_column is None else column_of(columns, source_column)
        if unread == "raise":
            return [one.combined for one in reward(images, judged_by, sources)]
        rewards = reward.attempt(images, judged_by, sources)
        if log_metric is not None:
            log_metric("rational_rewards/failed", float(rewards.count(None)))
        return [None if one is None else one.combined for one in rewards]

    return rational_rewards
