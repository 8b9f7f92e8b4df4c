"""The reward for ms-swift (github.com/modelscope/ms-swift), for a plugin file of `swift rlhf`.

Silent zeros: ms-swift turns None into NaN and sums NaN up as 0 (`nansum` in `swift/rl_core`), so this reward
never returns None: it raises, and the run ends. There is nothing to set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..models.errors import QuestionError
from .completions import column_of, image_of, text_of, user_text
from .reward import CriticReward


class RationalRewardsORM:
    """The critic as an outcome reward. Subclass it in the plugin, and register the subclass.

    Attributes:
        checkpoint: the critic's folder, loaded once a process, or a loaded critic.
        options: as for `CriticReward.load`.
        prompt_column: the column with the prompt to judge by; None: the last user message.
        source_column: for edits, the column with the images before the edit.

    Args:
        args: the trainer's arguments; not used.

    Returns of a call:
        N floats, 0..1.

    Raises of a call:
        RewardError: for a judgement that cannot be read.
        QuestionError: where images or columns are missing.

    Example:

    ```python
    # plugin.py: swift rlhf --external_plugins plugin.py --reward_funcs rational_rewards
    from rational_rewards.rewards.ms_swift import RationalRewardsORM
    from swift.rewards import orms

    class PromptReward(RationalRewardsORM):
        checkpoint = "models/RationalRewards-8B-T2I"

        def render(self, texts, columns):
            return pipe(texts).images

    orms["rational_rewards"] = PromptReward
    ```
    """

    checkpoint: ClassVar[Any] = None
    options: ClassVar[Mapping[str, Any]] = {}
    prompt_column: ClassVar[str | None] = None
    source_column: ClassVar[str | None] = None

    def __init__(self, args: Any = None, **kwargs: Any):
        if self.checkpoint is None:
            raise QuestionError("The reward names no critic: set `checkpoint` in your subclass.")
        self.args = args
        self.reward = CriticReward.load(self.checkpoint, **self.options)

    def __call__(self, completions: Sequence[Any], **kwargs: Any) -> list[float]:
        """The rewards of a batch; `kwargs` has the columns of the data, `messages` among them."""
        images = self.render(
            [text_of(completion) for completion in completions], {**kwargs, "completions": completions}
        )
        if self.prompt_column is None:
            prompts = [user_text(messages) for messages in column_of(kwargs, "messages")]
        else:
            prompts = column_of(kwargs, self.prompt_column)
        sources = None if self.source_column is None else column_of(kwargs, self.source_column)
        return [one.combined for one in self.reward(images, prompts, sources)]

    def render(self, texts: list[str], columns: Mapping[str, Any]) -> Sequence[Any]:
        """The images to judge, one a completion. Override it to make them of the completions' texts; by
        itself it takes the images that completions hold.
        """
        return [image_of(completion, index) for index, completion in enumerate(columns["completions"])]
