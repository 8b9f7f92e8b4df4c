"""Loops in a real ComfyUI: graphs around a painter and a critic that take no time, or around the shapes
painter and the embedded critic; and nodes that a test can count and hold.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from comfyui_server import Server
from PIL import Image

from rational_rewards.demo.painter import paint

# Painted badly by the shapes painter with seed 3, and much better when the critic has rewritten it once.
PROMPT = "two red squares, a black star and a large blue circle with the word HAT"
SEED, FLAWS = 3, 0.9
# A node pack for tests.
PACK = """
import hashlib
import os
import sys
import time
import comfy.model_management
import torch
from comfy_execution.graph import ExecutionBlocker

HOLD = os.environ["TEST_HOLD"]

class Any(str):
    def __ne__(self, other):
        return False

ANY = Any("*")

class Test:
    RETURN_TYPES, FUNCTION, CATEGORY = (ANY,), "run", "test"

class Noise(Test):
    "Another image for every prompt and seed."
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"prompt": ("STRING", {"forceInput": True}),
                             "seed": ("INT", {"default": 0, "max": 2**64})}}
    def run(self, prompt, seed):
        digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
        return (torch.tensor(list(digest)[:27]).reshape(1, 3, 3, 3).repeat(1, 32, 32, 1).float() / 255,)

class Opinions:
    "A critic that scores an image by its pixels, never as perfect, and always has something to add."
    name = "test critic"

    def __init__(self):
        found = [name for name in sys.modules if name.endswith(".models.critique")]
        self.models = found[0].removesuffix("critique")

    def of(self, module):
        return sys.modules[self.models + module]

    def critique(self, images, prompt, source=None, *, rubric="auto", progress=None, **options):
        rubric = self.of("rubrics.rubric").rubric_for("t2i" if source is None else "edit", False)
        items = []
        for image in images:
            digest = hashlib.sha256(image.tobytes()).digest()
            judgement = self.of("judgement").Judgement({
                spec.key: self.of("judgement").Dimension(spec.name, 1 + digest[number] % 25 / 10)
                for number, spec in enumerate(rubric.dimensions)
            }, raw=str(int.from_bytes(digest[:4], "big")))
            sources = {} if source is None else {"source": source[0]}
            asked = self.of("question").Question(rubric, prompt, {"image": image, **sources})
            items.append(self.of("critique").JudgedImage(asked, judgement))
        return self.of("critique").Critique(items, self, self.of("engines.base").SamplingParams())

    def refine(self, items, sampling, progress):
        import dataclasses
        return [dataclasses.replace(item.judgement, comments="More.",
                                    refined_request=f"{item.question.prompt}, v{item.judgement.raw}")
                for item in items]

class Critic(Test):
    "Such a critic."
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}
    def run(self):
        return (Opinions(),)

class Counted(Test):
    "Passes a value on, and says that it ran."
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (ANY, {}), "name": ("STRING", {})},
                "optional": {"plus": ("INT", {"default": 0}), "hold_from": ("INT", {"default": -1}),
                             "round": ("INT", {"forceInput": True})}}
    def run(self, value, name, plus=0, hold_from=-1, round=0):
        print("ran:", name, flush=True)
        while 0 <= hold_from <= round and os.path.exists(HOLD):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.02)
        return (value + plus if plus else value,)

class Grown(Test):
    "An image that is larger in each round."
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "round": ("INT", {"forceInput": True})}}
    def run(self, image, round):
        return (torch.nn.functional.pad(image, (0, 0, 0, 32 * round), value=1.0),)

class Listed(Test):
    "A list of the same value."
    OUTPUT_IS_LIST = (True,)
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (ANY, {})}}
    def run(self, value):
        return ([value] * 2,)

class Blocked(Test):
    "A value until a round, then nothing more."
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (ANY, {}), "round": ("INT", {"forceInput": True}),
                             "first": ("INT", {})}}
    def run(self, value, round, first):
        return (ExecutionBlocker(None) if round >= first else value,)

NODE_CLASS_MAPPINGS = {f"Test{cls.__name__}": cls for cls in (Noise, Critic, Counted, Grown, Listed, Blocked)}
"""


def start_server(checkout: Path, folder: Path, *options: str) -> Server:
    """A running ComfyUI with the test nodes."""
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "custom_nodes" / "test_pack.py").write_text(PACK, encoding="utf-8")
    return Server(checkout, folder, *options, environment={"TEST_HOLD": str(folder / "hold")})


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node of an API workflow; the names of the pack and of the test nodes are short."""
    ours = {"LoadCritic", "LoopStart", "LoopEnd", "ShapesPainter", "Critique", "SaveWithScores"}
    return {"class_type": f"RationalRewards{kind}" if kind in ours else kind, "inputs": inputs}


def loop_graph(
    prompt: Any = PROMPT, seed: Any = SEED, rounds: int = 4, mode: str = "same", **end: Any
) -> dict[str, Any]:
    """A loop with previews of everything that End gives back; `end` are inputs of End."""
    return {
        "critic": node("TestCritic"),
        "start": node("LoopStart", prompt=prompt, max_rounds=rounds, seed=seed, seed_mode=mode),
        "paint": node("TestNoise", prompt=["start", 1], seed=["start", 3]),
        "end": node(
            "LoopEnd",
            **{"loop": ["start", 0], "critic": ["critic", 0], "image": ["paint", 0], "stop_at": 1.0, **end},
        ),
        "best": node("PreviewImage", images=["end", 0]),
        "best prompt": node("PreviewAny", source=["end", 1]),
        "best score": node("PreviewAny", source=["end", 2]),
        "images": node("PreviewImage", images=["end", 3]),
        "history": node("PreviewAny", source=["end", 4]),
    }


def shapes_graph(**loop: Any) -> dict[str, Any]:
    """As `loop_graph`, with the shapes painter and the embedded critic."""
    return loop_graph(**loop) | {
        "critic": node("LoadCritic", checkpoint="shapes demo (CPU)", quantization="none"),
        "paint": node("ShapesPainter", prompt=["start", 1], seed=["start", 3], flaws=FLAWS),
    }


def text(outputs: dict[str, Any], name: str) -> str:
    """What a PreviewAny shows."""
    return outputs[name]["text"][0]


def rounds_of(outputs: dict[str, Any], end: str = "end") -> list[dict[str, Any]]:
    """The pages of the rounds on a loop's end, as the canvas has them in the end."""
    return outputs[end]["rational_rewards"][0]["rounds"]


def shown_on(outputs: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """What a node and its copies have shown, in order."""
    return [value for id, value in outputs.items() if id == name or id.endswith(f".{name}")]


def pictures(server: Server, output: dict[str, Any]) -> list[np.ndarray]:
    """The images of an output."""
    found = []
    for one in output["images"]:
        answer = requests.get(f"{server.url}/view", params=one, timeout=60)
        answer.raise_for_status()
        found.append(np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")))
    return found


def painting(prompt: str, seed: int) -> np.ndarray:
    """What the shapes painter paints."""
    return np.asarray(paint(prompt, seed, flaws=FLAWS).image.convert("RGB"))


def noise(prompt: str, seed: int) -> np.ndarray:
    """What the test painter paints."""
    digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
    return np.tile(np.frombuffer(digest[:27], np.uint8).reshape(3, 3, 3), (32, 32, 1))


def equal(first: Any, second: Any) -> bool:
    """Whether images are the same, but for how ComfyUI rounds when it saves."""
    first, second = np.asarray(first, int), np.asarray(second, int)
    return first.shape == second.shape and bool((abs(first - second) <= 1).all())


def times(server: Server, name: str) -> int:
    """How often a counted node has run."""
    return server.text().count(f"ran: {name}\n")


@contextmanager
def held(server: Server) -> Iterator[Path]:
    """While this lasts, counted nodes with `hold_from` wait; removing the file lets them go on."""
    hold = server.folder / "hold"
    hold.touch()
    try:
        yield hold
    finally:
        hold.unlink(missing_ok=True)
