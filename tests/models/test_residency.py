"""The critic under ComfyUI's memory manager: moved as a whole, evicted when a sampler needs the room, back
when it is asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui_checkouts import HINT, checkouts, version
from loading_tools import logits

from rational_rewards.models.checkpoints.layers import tensors_of
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.models.residency import move

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
# Not equal to "cpu", so that torch really copies.
CARD = torch.device("cpu", 0)


# Not nf4 after use: a forward on a CPU repacks the weights for that CPU, and a model that computes there is
# never moved.
@pytest.mark.parametrize(
    ("quantization", "used"), [("nf4", False), ("int8", False), ("int8", True), ("none", True)]
)
def test_a_model_moves_as_a_whole_and_answers_as_before(
    checkpoint_folder: Callable[..., Path], quantization: str, used: bool
) -> None:
    expected = logits(load(checkpoint_folder(), quantization, "cpu"))
    loaded = load(checkpoint_folder(), quantization, "cpu")
    if used:
        logits(loaded)
    for _ in range(2):
        # Held, so that no address comes twice.
        before = [tensor.untyped_storage() for tensor in tensors_of(loaded.model)]
        move(loaded.model, CARD)
        after = [tensor.untyped_storage() for tensor in tensors_of(loaded.model) if tensor.numel()]
        left_behind = {storage.data_ptr() for storage in before} & {storage.data_ptr() for storage in after}
        assert not left_behind
        assert not any(tensor.is_inference() for tensor in tensors_of(loaded.model))
    assert torch.equal(logits(loaded), expected)


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
def test_an_eviction_that_failed_half_way_is_made_good_at_the_next_use(
    checkpoint_folder: Callable[..., Path],
) -> None:
    script = HELPERS / "broken_eviction.py"
    command = [sys.executable, str(script), str(checkouts()[0]), str(checkpoint_folder())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "failed": True,
        "nowhere": True,
        "moves": ["cpu:0"],
        "back": True,
    }


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def simulate(
    request: pytest.FixtureRequest, checkpoint_folder: Callable[..., Path]
) -> Callable[..., dict[str, Any]]:
    """`simulate(gigabytes, rounds, option)`: what happens on a card of that size (see
    `simulated_card.py`).
    """

    def run(gigabytes: int, rounds: int, *option: str) -> dict[str, Any]:
        script = HELPERS / "simulated_card.py"
        command = [
            sys.executable,
            str(script),
            str(request.param),
            str(checkpoint_folder()),
            str(gigabytes),
            str(rounds),
            *option,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
@pytest.mark.parametrize("gigabytes", [pytest.param(8, marks=pytest.mark.long), 12, 24])
def test_critic_and_sampler_share_a_card(simulate: Callable[..., dict[str, Any]], gigabytes: int) -> None:
    found = simulate(gigabytes, 8)
    both_fit = gigabytes == 24
    for one in found["rounds"]:
        assert one["judging"]["critic"]
        assert one["sampling"]["sampler"] > 4
        assert one["sampling"]["critic"] is both_fit
    assert all(one["judging"]["sampler"] > 6 for one in found["rounds"][1:]) is both_fit
    # Never two copies, never more than there is.
    assert found["most"] <= gigabytes

    rounds = found["rounds"]
    assert {one["listed"] for one in rounds} == {2 if both_fit else 1}
    assert len({one["answer"] for one in rounds[::2]}) == len({one["answer"] for one in rounds[1::2]}) == 1
    # No growth.
    assert rounds[-1]["bytes"] <= 1.01 * rounds[4]["bytes"]

    out = found["out of memory"]
    assert out["once"], "tried again with nothing else on the card"
    assert out["alone"] == {"critic": True, "sampler": 0}
    assert "lower max_pixels" in out["said"]
    assert (out["kept"], out["again"]) == (0, True)

    assert found["after unload"] == {"critic": 0, "listed": 0}
    assert found["back"]
    assert found["left"] == 0
    assert found["listed at last"] == 0


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
@pytest.mark.parametrize("gigabytes", [12, pytest.param(24, marks=pytest.mark.long)])
def test_a_sampler_in_dynamic_vram_shares_the_card_too(
    simulate: Callable[..., dict[str, Any]], gigabytes: int
) -> None:
    found = simulate(gigabytes, 6, "dynamic")
    for one in found["rounds"]:
        assert one["judging"]["critic"]
        assert one["sampling"]["sampler"] > 4
        assert one["sampling"]["critic"] is (gigabytes == 24)
    assert len({one["answer"] for one in found["rounds"][::2]}) == 1
    assert found["most"] <= gigabytes
    assert found["after unload"]["critic"] == 0
    assert found["back"]


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
@pytest.mark.parametrize(
    ("gigabytes", "option"),
    [
        pytest.param(12, "--lowvram", marks=pytest.mark.long),
        (12, "--novram"),
        pytest.param(12, "--highvram", marks=pytest.mark.long),
        (24, "--disable-smart-memory"),
    ],
)
def test_options_of_the_command_line_are_heeded(
    simulate: Callable[..., dict[str, Any]], gigabytes: int, option: str
) -> None:
    found = simulate(gigabytes, 4, option)
    for one in found["rounds"]:
        assert one["judging"]["critic"], "whole or not at all, also where other models are loaded in parts"
        assert not one["sampling"]["critic"]
    assert len({one["answer"] for one in found["rounds"][::2]}) == 1
    assert found["most"] <= gigabytes
    assert found["after unload"] == {"critic": 0, "listed": 0}
    assert found["back"]
    assert found["listed at last"] == 0
