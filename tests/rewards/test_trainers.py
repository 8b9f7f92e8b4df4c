"""Every adapter, called as the training script of its trainer calls it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from colour_engine import UNREADABLE, colour_critic, picture

from rational_rewards.models.errors import QuestionError
from rational_rewards.rewards import RewardError, diffusion_nft, flow_grpo, ms_swift, trl, verl_omni

PROMPTS = ("a red fox", "a blue fox")
IMAGES = [picture(0.8, 0.4), picture(0.2, 0.4, 0.6)]


def nchw(images: list[Any]) -> torch.Tensor:
    """What a pipeline returns for output_type="pt"."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 255


# ---------------------------------------------------------------- flow_grpo and DiffusionNFT


@pytest.mark.parametrize("trainer", [flow_grpo, diffusion_nft])
def test_multi_score_is_submitted_to_a_thread_pool(trainer: ModuleType) -> None:
    reward_fn = trainer.make_multi_score(colour_critic())(torch.device("cpu"), {"rational_rewards": 1.0})
    with ThreadPoolExecutor(max_workers=8) as executor:
        future = executor.submit(reward_fn, nchw(IMAGES), PROMPTS, ({}, {}), only_strict=True)
        rewards, metadata = future.result()
        failing = executor.submit(
            reward_fn, nchw([*IMAGES, UNREADABLE]), "a fox", [{}] * 3, only_strict=False
        )
        with pytest.raises(RewardError, match="image 3"):
            failing.result()
    assert metadata == {}
    tensors = {key: torch.as_tensor(value).float() for key, value in rewards.items()}
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == dict.fromkeys(
        ["text_faithfulness", "physical_quality", "text_rendering", "avg"], (2,)
    )
    assert tensors["avg"].tolist() == pytest.approx([0.6, 0.4])
    # A logger takes the mean of the column: no NaN, and no zero, where there are no letters.
    assert tensors["text_rendering"].tolist() == pytest.approx([0.6, 0.6])


def test_flow_grpo_hands_over_the_sources_of_edits_by_position() -> None:
    weights = {"image_faithfulness": 2.0, "text_faithfulness": 1.0, "physical_quality": 0.0}
    reward_fn = flow_grpo.make_multi_score(colour_critic())("cuda:0", weights)
    sources = [picture(0.2, 1), picture(0.4, 1)]
    details, _ = reward_fn(nchw(IMAGES), PROMPTS, ({}, {}), sources, only_strict=False)
    assert details["image_faithfulness"] == pytest.approx([0.2, 0.4])
    assert details["avg"] == pytest.approx([(2 * 0.2 + 0.8) / 3, (2 * 0.4 + 0.2 + 0.6) / 4])


def test_flow_grpo_takes_a_scorer_into_its_own_table() -> None:
    factory = flow_grpo.make_score(colour_critic())
    # So the trainer finds out whether a scorer wants the device.
    assert "device" in factory.__code__.co_varnames
    scores, _ = factory(torch.device("cpu"))(np.stack([np.asarray(one) for one in IMAGES]), PROMPTS, [{}, {}])
    assert [0.5 * score for score in scores] == pytest.approx([0.3, 0.2])


# ---------------------------------------------------------------- Flow-Factory


@pytest.fixture
def flow_factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The adapter, imported beside a package with Flow-Factory's names, base classes and constructor."""

    class BaseRewardModel:
        def __init__(self, config: Any, accelerator: Any):
            self.config, self.accelerator = config, accelerator
            self.device = accelerator.device if config.device == torch.device("cuda") else config.device

    rewards: Any = ModuleType("flow_factory.rewards")
    rewards.PointwiseRewardModel = type("PointwiseRewardModel", (BaseRewardModel,), {})
    rewards.GroupwiseRewardModel = type("GroupwiseRewardModel", (BaseRewardModel,), {})
    rewards.RewardModelOutput = SimpleNamespace
    monkeypatch.setitem(sys.modules, "flow_factory", ModuleType("flow_factory"))
    monkeypatch.setitem(sys.modules, "flow_factory.rewards", rewards)
    name = "rational_rewards.rewards.flow_factory"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def flow_factory_config(**extra: Any) -> SimpleNamespace:
    """A reward's entry in the YAML, as Flow-Factory reads it."""
    return SimpleNamespace(name="critic", device=torch.device("cpu"), batch_size=2, extra_kwargs=extra)


def test_flow_factory_calls_a_batch_by_keyword(flow_factory: ModuleType) -> None:
    config = flow_factory_config(checkpoint=colour_critic(), weights={"physical_quality": 0.0})
    model = flow_factory.RationalRewardsPointwise(config=config, accelerator=SimpleNamespace())
    assert isinstance(model, sys.modules["flow_factory.rewards"].PointwiseRewardModel)
    assert (model.required_fields, model.use_tensor_inputs) == (("prompt", "image"), False)
    # Every field of a sample arrives, since the class takes **kwargs.
    output = model(prompt=list(PROMPTS), image=IMAGES, all_latents=[torch.zeros(1)] * 2)
    assert torch.as_tensor(output.rewards).tolist() == pytest.approx([0.8, 0.4])
    assert output.extra_info["text_rendering"] == [None, pytest.approx(0.6)]
    with pytest.raises(RewardError):
        model(prompt=["a fox"], image=[UNREADABLE])
    with pytest.raises(QuestionError, match="not videos"):
        model(prompt=["a fox"], video=[IMAGES])


def test_flow_factory_edits_have_one_condition_image_each(flow_factory: ModuleType) -> None:
    config = flow_factory_config(checkpoint=colour_critic(), edit=True)
    model = flow_factory.RationalRewardsPointwise(config=config, accelerator=SimpleNamespace())
    assert model.required_fields == ("prompt", "image", "condition_images")
    sources = [[picture(0.2, 1)], [picture(0.4, 1)]]
    output = model(prompt=list(PROMPTS), image=IMAGES, condition_images=sources)
    assert output.extra_info["image_faithfulness"] == pytest.approx([0.2, 0.4])
    with pytest.raises(QuestionError, match="exactly one condition image"):
        model(prompt=["a fox"], image=IMAGES[:1], condition_images=[IMAGES])
    with pytest.raises(QuestionError, match="no condition images"):
        model(prompt=["a fox"], image=IMAGES[:1])


def test_flow_factory_calls_a_group(flow_factory: ModuleType) -> None:
    config = flow_factory_config(checkpoint=colour_critic(), opponents=1)
    model = flow_factory.RationalRewardsGroupwise(config=config, accelerator=SimpleNamespace())
    assert isinstance(model, sys.modules["flow_factory.rewards"].GroupwiseRewardModel)
    output = model(prompt=["a fox"] * 2, image=[picture(1.0, 0.4), picture(0.4, 0.4)])
    assert output.rewards == pytest.approx([0.65, 0.35])
    with pytest.raises(QuestionError, match="group_contiguous"):
        model(prompt=list(PROMPTS), image=IMAGES)


def test_without_flow_factory_its_classes_say_so() -> None:
    module = importlib.import_module("rational_rewards.rewards.flow_factory")
    with pytest.raises(RewardError, match="cannot be imported"):
        module.RationalRewardsPointwise(flow_factory_config(checkpoint=colour_critic()), SimpleNamespace())


# ---------------------------------------------------------------- verl-omni


def verl_omni_score(critic: Any, image: Any, extra_info: Any = None, **settings: Any) -> Any:
    """A sample as the reward manager hands it over: by keyword, with its own additions, pixels as uint8."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return verl_omni.compute_score(
        data_source="prompts", solution_image=pixels, ground_truth="a red fox", extra_info=extra_info or {},
        reward_router_address="127.0.0.1:1", reward_model_tokenizer=None, model_name=None,
        checkpoint=critic, **settings,
    )  # fmt: skip


def test_verl_omni_awaits_sample_by_sample_and_the_critic_sees_a_batch() -> None:
    critic = colour_critic()
    assert inspect.iscoroutinefunction(verl_omni.compute_score)

    async def loop() -> list[Any]:
        images = [picture(0.2 * n, 0.4) for n in range(5)]
        asked = [verl_omni_score(critic, image) for image in [*images, UNREADABLE]]
        return await asyncio.gather(*asked, return_exceptions=True)

    *found, failure = asyncio.run(loop())
    assert [one["score"] for one in found] == pytest.approx([(0.2 * n + 0.4) / 2 for n in range(5)])
    assert all(isinstance(value, float) for one in found for value in one.values())
    assert isinstance(failure, RewardError)
    assert critic.engine.asked == [6]


def test_verl_omni_finds_the_source_in_the_sample() -> None:
    critic = colour_critic()
    sample = {"source_image": picture(0.2, 1), "num_turns": None}
    found = asyncio.run(verl_omni_score(critic, picture(0.8, 0.4), sample, source_key="source_image"))
    assert found["image_faithfulness"] == pytest.approx(0.2)
    with pytest.raises(QuestionError, match="no before"):
        asyncio.run(verl_omni_score(critic, picture(0.8, 0.4), sample, source_key="before"))
    with pytest.raises(QuestionError, match="names no critic"):
        asyncio.run(verl_omni_score(None, picture(0.8, 0.4)))


# ---------------------------------------------------------------- TRL and ms-swift

SYSTEM = {"role": "system", "content": "Write a prompt."}
CONVERSATIONS = [[SYSTEM, {"role": "user", "content": prompt}] for prompt in PROMPTS]


def test_trl_skips_what_could_not_be_read() -> None:
    shown, metrics = [], {}
    pictures = {"a red fox, sharp": IMAGES[0], "noise": UNREADABLE}

    def render(texts: list[str]) -> list[Any]:
        shown.extend(texts)
        return [pictures[text] for text in texts]

    arguments = dict(
        prompts=CONVERSATIONS,
        completions=[[{"role": "assistant", "content": text}] for text in pictures],
        completion_ids=[[1], [2]],
        trainer_state=SimpleNamespace(global_step=3),
        log_extra=lambda column, values: None,
        log_metric=metrics.__setitem__,
        difficulty=["easy", "hard"],
    )
    reward = trl.make_reward(colour_critic(), render=render)
    assert reward.__name__ == "rational_rewards"
    assert reward(**arguments) == [pytest.approx(0.6), None]
    assert shown == ["a red fox, sharp", "noise"]
    assert metrics == {"rational_rewards/failed": 1.0}
    with pytest.raises(RewardError):
        trl.make_reward(colour_critic(), render=render, unread="raise")(**arguments)


def test_trl_finds_images_in_completions_or_columns() -> None:
    completions = [
        [{"role": "assistant", "content": [{"type": "image", "image": image}]}] for image in IMAGES
    ]
    arguments = dict(prompts=list(PROMPTS), completion_ids=[[1], [2]], trainer_state=None)
    reward = trl.make_reward(colour_critic())
    assert reward(completions=completions, **arguments) == pytest.approx([0.6, 0.4])
    with pytest.raises(QuestionError, match="Completion 1 holds no image"):
        reward(completions=["text", "text"], **arguments)
    columns = dict(rendered=IMAGES, before=[picture(0.6, 1), picture(0.4, 1)], completions=["", ""])
    edits = trl.make_reward(colour_critic(), image_column="rendered", source_column="before")
    assert edits(**arguments, **columns) == pytest.approx([0.6, 0.4])
    with pytest.raises(QuestionError, match="no column rendered"):
        edits(completions=["", ""], **arguments)


def test_ms_swift_registers_a_class_and_calls_it_with_columns() -> None:
    class PromptReward(ms_swift.RationalRewardsORM):
        checkpoint = colour_critic()

        def render(self, texts: list[str], columns: Any) -> list[Any]:
            assert texts == ["sharp", "noise"]
            return columns["painted"]

    reward = PromptReward(args=SimpleNamespace())
    messages = [[*asked, {"role": "assistant", "content": "sharp"}] for asked in CONVERSATIONS]
    columns = dict(trainer_state=None, messages=messages, painted=IMAGES)
    assert reward(["sharp", "noise"], **columns) == pytest.approx([0.6, 0.4])
    # None would be summed up as a zero.
    with pytest.raises(RewardError):
        reward(["sharp", "noise"], **{**columns, "painted": [IMAGES[0], UNREADABLE]})
    with pytest.raises(QuestionError, match="set `checkpoint`"):
        ms_swift.RationalRewardsORM()
