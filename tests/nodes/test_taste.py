"""An artist's way with a taste of their own, on the canvas: record preferences, rationalize, train, choose
the adapter, see it judge.
"""

from __future__ import annotations

import dataclasses

import pytest
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Server

from rational_rewards.demo.painter import perfect
from rational_rewards.demo.prompts import prompt_of, random_request
from rational_rewards.demo.randomness import stream
from rational_rewards.demo.render import render
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not checkouts(), reason=HINT),
]
RECORDED, HELD_OUT = 40, 30


@pytest.fixture(scope="module")
def pairs():
    """(prompt, clean picture, blurred picture): the critic prefers the clean one, this artist the blurred
    one.
    """
    found = []
    for number in range(RECORDED + HELD_OUT):
        request = random_request(stream(number, "a taste for blur"))
        scene = perfect(request, number)
        blurred = dataclasses.replace(scene, quality=("blur",))
        found.append((prompt_of(request), render(scene, number), render(blurred, number)))
    return found


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory, pairs):
    """A running ComfyUI with the pictures in its input folder."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "input").mkdir()
    for number, (_, clean, blurred) in enumerate(pairs):
        clean.save(folder / "input" / f"clean-{number}.png")
        blurred.save(folder / "input" / f"blurred-{number}.png")
    running = Server(request.param, folder)
    yield running
    running.stop()


def recording(number, prompt, dataset):
    """A workflow that records one preference for the blurred picture, as A or as B."""
    first, second = ("blurred", "clean") if number % 2 else ("clean", "blurred")
    return {
        "a": {"class_type": "LoadImage", "inputs": {"image": f"{first}-{number}.png"}},
        "b": {"class_type": "LoadImage", "inputs": {"image": f"{second}-{number}.png"}},
        "record": {
            "class_type": "RationalRewardsRecordPreference",
            "inputs": {
                "image_a": ["a", 0],
                "image_b": ["b", 0],
                "prompt": prompt,
                "preferred": "A" if number % 2 else "B",
                "dataset": dataset,
            },
        },
    }


def critic(adapter="none"):
    return {
        "class_type": "RationalRewardsLoadCritic",
        "inputs": {"checkpoint": EMBEDDED_NAME, "quantization": "nf4", "adapter": adapter},
    }


def accuracy(server, adapter):
    """What Evaluate Critic says on the held-out pairs."""
    outputs = server.run(
        {
            "critic": critic(adapter),
            "evaluate": {
                "class_type": "RationalRewardsEvaluateCritic",
                "inputs": {"critic": ["critic", 0], "dataset": "held-out"},
            },
            "show": {"class_type": "PreviewAny", "inputs": {"source": ["evaluate", 0]}},
            "plot": {
                "class_type": "SaveImage",
                "inputs": {"images": ["evaluate", 2], "filename_prefix": "plot"},
            },
        },
        seconds=900,
    )
    return float(outputs["show"]["text"][0])


@pytest.mark.long
def test_forty_preferences_teach_the_critic_a_taste_for_blur(server, pairs):
    for number, (prompt, _, _) in enumerate(pairs):
        server.run(recording(number, prompt, "blur" if number < RECORDED else "held-out"))
    assert accuracy(server, "none") < 0.2

    outputs = server.run(
        {
            "critic": critic(),
            "rationalize": {
                "class_type": "RationalRewardsRationalize",
                "inputs": {"critic": ["critic", 0], "dataset": "blur"},
            },
            "train": {
                "class_type": "RationalRewardsTrainAdapter",
                "inputs": {
                    "critic": ["critic", 0],
                    "dataset": ["rationalize", 0],
                    "name": "loves blur",
                    "epochs": 20,
                    "learning_rate": 2e-3,
                },
            },
            "plot": {
                "class_type": "SaveImage",
                "inputs": {"images": ["train", 2], "filename_prefix": "loss"},
            },
        },
        seconds=1500,
    )
    assert "| kept |" in outputs["rationalize"]["text"][0]
    assert "Loss" in outputs["train"]["text"][0]

    known = server.get("/object_info/RationalRewardsLoadCritic")["RationalRewardsLoadCritic"]["input"][
        "optional"
    ]["adapter"]
    assert "loves blur" in str(known)
    assert accuracy(server, "loves blur") > 0.8
