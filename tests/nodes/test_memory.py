"""Cancelling, freeing and going on in a real ComfyUI: the queue keeps working, and memory comes back."""

from __future__ import annotations

import json
import random
import shutil
import time

import psutil
import pytest
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Failed, Server
from PIL import Image

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
CANCELS, RUNS, WARM = 20, 100, 5
STREAM = "rational_rewards.stream"
# Seconds from the beginning of a phase to a cancel.
LONGEST = {"load": 0.3, "read": 0.02, "write": 0.5}
# A custom node pack that notes, whenever a critic's weights are read, how many critics there are already.
COUNTER = """
import gc
from transformers import Qwen3VLForConditionalGeneration as Critic

NODE_CLASS_MAPPINGS = {}
read = Critic.from_pretrained.__func__

@classmethod
def counted(cls, *args, **kwargs):
    print("critics before loading:", sum(type(found) is Critic for found in gc.get_objects()), flush=True)
    return read(cls, *args, **kwargs)

Critic.from_pretrained = counted
"""


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory, checkpoint_folder):
    """A running ComfyUI with two tiny critics and a picture."""
    folder = tmp_path_factory.mktemp("comfyui")
    for name, seed in (("t2i", 0), ("edit", 1)):
        shutil.copytree(checkpoint_folder(seed=seed), folder / "models" / "LLM" / name)
    (folder / "input").mkdir()
    (folder / "custom_nodes").mkdir()
    (folder / "custom_nodes" / "counter.py").write_text(COUNTER, encoding="utf-8")
    Image.effect_mandelbrot((192, 128), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(
        folder / "input" / "a.png"
    )
    running = Server(request.param, folder)
    yield running
    running.stop()


def asking(prompt, checkpoint="t2i", edit=False, tokens=64, quantization="nf4"):
    """A workflow that asks one critic for one critique."""
    inputs = {"critic": ["critic", 0], "image": ["image", 0], "prompt": prompt, "max_new_tokens": tokens}
    return {
        "critic": {
            "class_type": "RationalRewardsLoadCritic",
            "inputs": {"checkpoint": checkpoint, "quantization": quantization, "max_pixels": 32 * 32 * 16},
        },
        "image": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "critique": {
            "class_type": "RationalRewardsCritique",
            "inputs": inputs | ({"source_image": ["image", 0]} if edit else {}),
        },
    }


def outcome(server, prompt):
    """How a queued prompt ended: "", or the kind of its failure."""
    try:
        server.result(prompt)
    except Failed as failure:
        return failure.kind
    return ""


def resident(server):
    """Bytes of the server's memory."""
    return psutil.Process(server.process.pid).memory_info().rss


@pytest.mark.long
def test_runs_that_alternate_critics_do_not_grow(server):
    sizes = []
    for number in range(RUNS):
        edit = number % 2 == 1
        server.run(asking(f"picture {number}", "edit" if edit else "t2i", edit))
        sizes.append(resident(server))
    assert abs(sizes[-1] - sizes[WARM - 1]) <= 0.03 * sizes[WARM - 1], [
        size // 2**20 for size in sizes[:: RUNS // 10]
    ]


def wait_for(socket, phase):
    """Return when the node of that phase is at it."""
    while True:
        said = socket.recv()
        message = json.loads(said) if isinstance(said, str) else {}
        kind, data = message.get("type"), message.get("data", {})
        if phase == "load" and kind == "executing" and data.get("node") == "critic":
            return
        if kind == STREAM and (phase == "read" or (phase == "write" and data["section"])):
            return


def test_a_cancel_at_any_moment_leaves_a_working_queue(server):
    rng = random.Random(4)
    server.run(asking("the first use is slower", tokens=512))
    before, cancelled = resident(server), dict.fromkeys(LONGEST, 0)
    for number in range(CANCELS):
        phase = list(LONGEST)[number % len(LONGEST)]
        server.free()
        socket = server.listen()
        prompt = server.queue(asking(f"cancelled {number}", tokens=2048))
        wait_for(socket, phase)
        socket.close()
        time.sleep(rng.uniform(0, LONGEST[phase]))
        server.post("/interrupt", {})
        cancelled[phase] += outcome(server, prompt) == "execution_interrupted"
        assert "Text Faithfulness" in server.run(asking(f"after {number}"))["critique"]["text"][0]
        assert resident(server) <= 1.03 * before, (number, phase)
    assert min(cancelled.values()) >= CANCELS // 4, cancelled


def test_a_changed_setting_frees_the_critic_before_the_next_is_loaded(server):
    server.free()
    server.run(asking("first"))
    for quantization in ("int8", "none", "nf4"):
        server.run(asking("second", quantization=quantization))
    counted = [
        int(line.rpartition(" ")[2])
        for line in server.text().splitlines()
        if "critics before loading" in line
    ]
    assert counted[-3:] == [0, 0, 0]


def test_two_loaders_share_a_critic_and_freeing_drops_it(server):
    server.free()
    nodes = asking("shared") | {f"second {name}": node for name, node in asking("shared too").items()}
    nodes["second critique"]["inputs"] |= {"critic": ["second critic", 0], "image": ["second image", 0]}
    loads = server.text().count("Requested to load RationalRewardsCritic")
    server.run(nodes)
    assert server.text().count("Requested to load RationalRewardsCritic") == loads + 1
    server.free()
    server.run(asking("again"))
    assert server.text().count("Requested to load RationalRewardsCritic") == loads + 2
