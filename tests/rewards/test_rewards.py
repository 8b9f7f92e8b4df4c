"""The reward itself: numbers by dimension, weights, what does not apply, failures, batches and groups."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from colour_engine import UNREADABLE, colour, colour_critic, picture
from PIL import Image

from rational_rewards.demo.painter import paint
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME
from rational_rewards.models.errors import CapabilityError, QuestionError
from rational_rewards.rewards import CriticReward, GroupReward, Reward, RewardError, group_advantages
from rational_rewards.rewards.groups import ring
from rational_rewards.rewards.images import as_images


def test_the_embedded_critic_rewards_as_it_scores_and_is_loaded_once() -> None:
    prompt = "a red circle on a white background"
    image = paint(prompt, seed=1).image
    # Short reasons are enough to see where the numbers come from.
    short = dict(max_new_tokens=32)
    reward = CriticReward.load(EMBEDDED_NAME, quantization="none", sampling=short)
    (one,) = reward([image], [prompt])
    assert [one.combined] == pytest.approx(reward.critic.score([image], [prompt], **short))
    # Nobody asked for letters.
    assert one.dimensions["text_rendering"] is None
    assert all(d.justification for d in one.judgement.dimensions.values() if d.applicable)
    assert CriticReward.load(EMBEDDED_NAME, quantization="none").critic is reward.critic
    with pytest.raises(CapabilityError, match="without reasoning"):
        CriticReward.load(EMBEDDED_NAME, mode="fast", quantization="none")


def test_a_dimension_that_does_not_apply_takes_no_part() -> None:
    one, two = CriticReward(colour_critic())([picture(0.8, 0.4), picture(0.8, 0.4, 0.6)], "a red fox")
    assert one.dimensions == pytest.approx(
        {"text_faithfulness": 0.8, "physical_quality": 0.4, "text_rendering": None}
    )
    assert one.combined == pytest.approx(0.6)
    assert one.columns["text_rendering"] == one.combined
    assert two.combined == pytest.approx(0.6)
    assert two.columns["text_rendering"] == pytest.approx(0.6)


def test_weights_count_among_what_applies() -> None:
    reward = CriticReward(colour_critic(), weights={"text_faithfulness": 3, "text_rendering": 0})
    assert reward([picture(0.8, 0.4, 1.0)], "a red fox")[0].combined == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"sharpness": 1}, "no dimension here: use text_faithfulness, physical_quality"),
        ({"text_faithfulness": -1}, "from 0 up"),
        ({"text_faithfulness": float("nan")}, "from 0 up"),
        (
            dict.fromkeys(
                ("text_faithfulness", "physical_quality", "text_rendering", "image_faithfulness"), 0
            ),
            "All",
        ),
    ],
)
def test_weights_that_cannot_be_are_refused_at_once(weights: dict[str, float], says: str) -> None:
    with pytest.raises(QuestionError, match=says):
        CriticReward(colour_critic(), weights=weights)


def test_an_edit_is_compared_with_its_source() -> None:
    reward = CriticReward(colour_critic())
    for source in (picture(0.2, 1), [picture(0.2, 1)]):
        (one,) = reward([picture(0.8, 0.4)], "make it red", source)
        assert one.dimensions["image_faithfulness"] == pytest.approx(0.2)
        assert one.combined == pytest.approx((0.8 + 0.2 + 0.4) / 3)


def test_a_failed_judgement_is_counted_and_is_never_a_zero() -> None:
    reward = CriticReward(colour_critic())
    images = [picture(0.8, 0.4), UNREADABLE, picture(0.2, 0.2)]
    with pytest.raises(RewardError, match=r"1 of 3 images got no reward \(image 2\)"):
        reward(images, "a red fox")
    first, second, third = reward.attempt(images, "a red fox")
    assert second is None
    assert (first.combined, third.combined) == pytest.approx((0.6, 0.2))
    assert (reward.judged, reward.failed) == (6, 2)


def test_nothing_to_weigh_is_no_reward_either() -> None:
    letters = {"text_faithfulness": 0, "physical_quality": 0, "image_faithfulness": 0}
    reward = CriticReward(colour_critic(), weights=letters)
    with pytest.raises(RewardError, match="no dimension with a weight applies"):
        reward([picture(0.8, 0.4)], "a red fox")


def test_fast_scores_where_the_critic_can() -> None:
    reward = CriticReward(colour_critic(), mode="fast")
    assert reward([picture(0.8, 0.4)], "a red fox")[0].combined == pytest.approx(0.6)
    with pytest.raises(CapabilityError, match="without reasoning"):
        CriticReward(colour_critic(expected_scores=False), mode="fast")
    with pytest.raises(QuestionError, match="not sampled"):
        CriticReward(colour_critic(), mode="fast", temperature=1.0)


def test_threads_take_turns_and_a_batch_is_one_question() -> None:
    critic = colour_critic()
    rewards = [CriticReward(critic), CriticReward(critic)]
    with ThreadPoolExecutor(8) as pool:
        batches = [[picture(0.2 * (n % 5), 0.4), picture(0.2, 0.2 + n / 255)] for n in range(16)]
        futures = [pool.submit(rewards[n % 2], batch, "a fox") for n, batch in enumerate(batches)]
        found = [future.result()[0].combined for future in futures]
    assert found == pytest.approx([(0.2 * (n % 5) + 0.4) / 2 for n in range(16)])
    assert max(critic.engine.asked) == 2
    # The trainer gets the memory back before its next step.
    assert critic.engine.released == 16
    assert sum(reward.judged for reward in rewards) == 32


# ---------------------------------------------------------------- images as trainers give them

PIXELS = np.full((2, 32, 64, 3), colour(0.8, 0.4, 0.2), dtype=np.uint8)
FLOATS = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    "images",
    [
        FLOATS,
        FLOATS.bfloat16(),
        (FLOATS * 255).round().byte(),
        FLOATS.permute(0, 2, 3, 1),
        list(FLOATS),
        PIXELS,
        PIXELS.astype(np.float32) / 255,
        list(PIXELS),
        [Image.fromarray(pixels) for pixels in PIXELS],
        [[Image.fromarray(pixels)] for pixels in PIXELS],
    ],
    ids=[
        "NCHW",
        "bf16",
        "uint8 NCHW",
        "NHWC tensor",
        "CHW list",
        "NHWC",
        "float NHWC",
        "HWC list",
        "PIL",
        "nested",
    ],
)
def test_every_layout_arrives_as_the_same_image(images: object) -> None:
    for image in as_images(images):
        assert image.size == (64, 32)
        assert image.getpixel((5, 5)) == pytest.approx(colour(0.8, 0.4, 0.2), abs=1)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (FLOATS * 2 - 1, "from -0.60 to 0.60"),
        (FLOATS * 255, "0 to 1 is needed"),
        (FLOATS.log() * torch.nan, "NaN"),
        (FLOATS.long(), "give uint8"),
        (FLOATS[None], "shape"),
        ([FLOATS], "2 images in the place of one"),
        ([], "empty"),
    ],
)
def test_pixels_on_another_scale_are_refused(images: object, says: str) -> None:
    with pytest.raises(QuestionError, match=says):
        as_images(images)


# ---------------------------------------------------------------- groups


def test_a_group_is_compared_in_both_orders() -> None:
    critic = colour_critic()
    images = [picture(1.0, 0.4), picture(0.4, 0.4), picture(0.4, 0.4, 0.6)]
    rewards = GroupReward(critic)(images, "a red fox")
    assert critic.engine.asked == [6]
    assert [one.combined for one in rewards] == pytest.approx([0.65, 0.425, 0.425])
    # Only one of them has letters: there is nothing to compare them with.
    assert [one.dimensions["text_rendering"] for one in rewards] == [None] * 3
    assert sum(one.combined for one in rewards) == pytest.approx(1.5)
    weighted = GroupReward(critic, weights={"text_faithfulness": 3})(images, "a red fox")
    assert weighted[0].combined == pytest.approx(0.5 + 0.75 * 0.3)


def test_an_unread_comparison_takes_the_whole_group_with_it() -> None:
    reward = GroupReward(colour_critic())
    with pytest.raises(
        RewardError, match="2 of 3 comparisons could not be read, first that of images 1 and 2"
    ):
        reward([picture(1, 1), UNREADABLE, picture(0.2, 0.2)], "a red fox")
    assert (reward.judged, reward.failed) == (3, 2)
    with pytest.raises(QuestionError, match="at least two"):
        reward([picture(1, 1)], "a red fox")


@pytest.mark.parametrize(("count", "opponents"), [(2, None), (5, None), (8, 2), (8, 100), (3, 1), (2, 1)])
def test_everybody_meets_as_many(count: int, opponents: int | None) -> None:
    pairs = ring(count, opponents)
    met = [sum(index in pair for pair in pairs) for index in range(count)]
    assert met == [min(count - 1, 2 * (opponents or count))] * count
    assert len(set(pairs)) == len(pairs)


def test_advantages_leave_out_what_does_not_apply() -> None:
    def reward(text: float, rendering: float | None) -> Reward:
        return Reward({"text_faithfulness": text, "text_rendering": rendering}, text)

    same = [reward(0.5, 0.2), reward(0.5, 0.6), reward(0.5, None)]
    # The third image is neither better nor worse: a zero for its letters would make it the worst.
    assert group_advantages(same) == pytest.approx([-0.5, 0.5, 0.0])
    only_letters = {"text_faithfulness": 0.0, "text_rendering": 1.0}
    assert group_advantages(same, only_letters) == pytest.approx([-1.0, 1.0, 0.0])
    narrow = [reward(0.50, None), reward(0.52, None)]
    assert group_advantages(narrow) == pytest.approx([-1.0, 1.0])
    assert group_advantages([reward(0.5, None)] * 2) == [0.0, 0.0]
