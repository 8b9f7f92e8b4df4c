"""Rewards for Flow-Factory (github.com/X-GenGroup/Flow-Factory): named by their path in the YAML of a run.

Silent zeros: Flow-Factory has no setting for them and needs none. An exception of the reward ends the run;
with `async_reward: true` it does when the rewards are collected. The rewards `rational_rewards_t2i` and
`rational_rewards_edit` that Flow-Factory brings along give 0.0 for an answer they cannot read: these here are
other classes, under another path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..models.errors import QuestionError, RewardError
from .groups import GroupReward
from .reward import CriticReward, Reward

missing: ImportError | None = None
if TYPE_CHECKING:
    PointwiseRewardModel: Any = object
    GroupwiseRewardModel: Any = object
    RewardModelOutput: Any = None
else:
    try:
        from flow_factory.rewards import GroupwiseRewardModel, PointwiseRewardModel, RewardModelOutput
    except ImportError as error:
        # This module can be imported anywhere; its classes are only of use inside Flow-Factory.
        PointwiseRewardModel = GroupwiseRewardModel = object
        RewardModelOutput = None
        missing = error

# Settings of a reward in the YAML that are not for loading the critic or for the core.
EDIT = "edit"


class RationalRewardsPointwise(PointwiseRewardModel):
    """Each image's reward by the critic, one by one. For prompts and for edits.

    Args:
        config: the entry of `rewards` in the YAML. What Flow-Factory does not know itself goes to
            `CriticReward.load`: `checkpoint` (required), `quantization`, `weights`, `mode`, `sampling`, ...;
            `edit: true` demands a condition image. `device` is where the critic runs; `batch_size` how many
            images it is asked about at once.
        accelerator: Accelerate's.

    Returns of a call:
        An output with `.rewards`, N floats 0..1, and the dimensions in `.extra_info`.

    Raises of a call:
        RewardError: for a judgement that cannot be read.
        QuestionError: for a batch without images, or with several condition images for one image.

    Example:

    ```yaml
    rewards:
      - name: critic
        reward_model: rational_rewards.rewards.flow_factory.RationalRewardsPointwise
        batch_size: 8
        checkpoint: models/RationalRewards-8B-T2I
        quantization: none
    ```
    """

    required_fields = ("prompt", "image")
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any):
        _require_trainer()
        super().__init__(config, accelerator)
        self.edit, settings = _settings(config, self.device)
        self.required_fields = _fields(self.edit)
        self.reward = CriticReward.load(**settings)

    def __call__(
        self,
        prompt: list[str],
        image: list[Any] | None = None,
        video: list[Any] | None = None,
        audio: list[Any] | None = None,
        condition_images: list[Any] | None = None,
        condition_videos: list[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The rewards of a batch of samples."""
        sources = _sources(condition_images, self.edit)
        return _output(self.reward(_images(image), prompt, sources))


class RationalRewardsGroupwise(GroupwiseRewardModel):
    """The rewards of a group, the images of one prompt, by comparing them with each other.

    Args:
        config: as for the point-wise class, with the settings of `GroupReward.load`: `opponents` bounds the
            comparisons. `batch_size` has no effect.
        accelerator: Accelerate's.

    Returns of a call:
        An output with `.rewards`, N floats 0..1 whose mean is 0.5 where everybody meets everybody.

    Raises of a call:
        RewardError: for a comparison that cannot be read.
        QuestionError: for a group whose samples do not share prompt and condition image.

    Example:

    ```yaml
    data:
      sampler_type: group_contiguous  # a group stays on its rank, with its prompt as it was written
    rewards:
      - name: critic_pairs
        reward_model: rational_rewards.rewards.flow_factory.RationalRewardsGroupwise
        checkpoint: models/RationalRewards-8B-T2I
        quantization: none
        opponents: 2
    ```
    """

    required_fields = ("prompt", "image")
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any):
        _require_trainer()
        super().__init__(config, accelerator)
        self.edit, settings = _settings(config, self.device)
        # Only these travel between ranks where a group is spread over several.
        self.required_fields = _fields(self.edit)
        self.reward = GroupReward.load(**settings)

    def __call__(
        self,
        prompt: list[str],
        image: list[Any] | None = None,
        video: list[Any] | None = None,
        audio: list[Any] | None = None,
        condition_images: list[Any] | None = None,
        condition_videos: list[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The rewards of one group of samples."""
        if len(set(prompt)) != 1:
            raise QuestionError("A group must share one prompt: set data.sampler_type to group_contiguous.")
        sources = _sources(condition_images, self.edit)
        return _output(self.reward(_images(image), prompt[0], sources and sources[0]))


def _require_trainer() -> None:
    # Without its base classes Flow-Factory would pass over a reward without a word.
    if RewardModelOutput is None:
        raise RewardError(f"This reward runs inside Flow-Factory, which cannot be imported: {missing}.")


def _settings(config: Any, device: Any) -> tuple[bool, dict[str, Any]]:
    """Whether edits are judged, and the arguments of `load`."""
    settings = dict(config.extra_kwargs)
    if "checkpoint" not in settings:
        raise QuestionError(f"The reward {config.name} names no critic: add `checkpoint`, a folder, to it.")
    edit = bool(settings.pop(EDIT, False))
    return edit, {"critic": settings.pop("checkpoint"), "device": str(device), **settings}


def _fields(edit: bool) -> tuple[str, ...]:
    return ("prompt", "image", "condition_images") if edit else ("prompt", "image")


def _images(image: list[Any] | None) -> list[Any]:
    if image is None:
        raise QuestionError("The samples have no images: the critic judges images, not videos or sounds.")
    return image


def _sources(condition_images: list[Any] | None, edit: bool) -> list[Any] | None:
    """The source of each image; None for text-to-image."""
    if not condition_images or not any(len(conditions) for conditions in condition_images):
        if edit:
            raise QuestionError(
                "The samples have no condition images: set `edit: false`, or train an editor."
            )
        return None
    if any(len(conditions) != 1 for conditions in condition_images):
        raise QuestionError(
            "The critic compares an edit with one source: use data with exactly one condition image a sample."
        )
    return [conditions[0] for conditions in condition_images]


def _output(rewards: list[Reward]) -> Any:
    columns = {name: [one.dimensions[name] for one in rewards] for name in rewards[0].dimensions}
    return RewardModelOutput(rewards=[one.combined for one in rewards], extra_info=columns)
