"""What runs a workflow for its picture where its image model cannot be had: the demo's painter in place of
the sampler, or the demo's generator in place of a checkpoint that is trained; the demo's critic in place of a
large one, and a prompt that all of them know.

The workflow's file is not concerned, only the picture of it.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from PIL import ImageChops
from workflow_models import SHAPES_PROMPT, SHAPES_SAMPLING, shapes_generator
from workflow_parts import Workflow, sampler

from rational_rewards.demo.edits import edited, random_edit
from rational_rewards.demo.painter import paint
from rational_rewards.demo.render import render

ASKED = "two small blue squares on the left and a red star on a pink background with the word SUN"
# Of a painting with a flaw that shows, and of an edit that went wrong.
SEED, EDIT_SEED = 49, 21
BEFORE, AFTER, PAINTED = "shapes to edit.png", "shapes edited.png", "shapes.png"
CRITIC = {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
EDIT_ENCODER, TRAINER = "TextEncodeQwenImageEditPlus", "TrainLoraNode"


def write_pictures(folder: Path) -> None:
    """The pictures that workflows load: one to edit, what became of it, and one with a mask over its flaw."""
    edit = random_edit(EDIT_SEED)
    render(edit.before, EDIT_SEED).save(folder / BEFORE)
    render(edited(edit, EDIT_SEED, 1.0), EDIT_SEED).save(folder / AFTER)
    # Transparent is what is masked: where the two differ by more than 8 of 255.
    painted, better = paint(ASKED, SEED).image, paint(ASKED, SEED, flaws=0).image
    mask = ImageChops.difference(painted, better).convert("L").point([255] * 9 + [0] * 247)
    painted.putalpha(mask)
    painted.save(folder / PAINTED)


def values_for_picture(workflow: Workflow) -> dict[str, dict[str, Any]]:
    """Widget values of the workflow's nodes for its picture, by the nodes' names; none where it is of the
    demo's world already.
    """
    found: dict[str, dict[str, Any]] = {}
    if any(node.values.get("checkpoint") == CRITIC["checkpoint"] for node in workflow.nodes.values()):
        return found
    edits = any(node.type == EDIT_ENCODER for node in workflow.nodes.values())
    trains = any(node.type == TRAINER for node in workflow.nodes.values())
    asked = random_edit(EDIT_SEED).instruction if edits else SHAPES_PROMPT if trains else ASKED
    for name, node in workflow.nodes.items():
        if node.type == "RationalRewardsLoadCritic":
            found[name] = CRITIC
        elif node.type == "PrimitiveStringMultiline":
            found[name] = {"value": asked}
        elif node.type == "RationalRewardsLoopStart":
            found[name] = {"prompt": asked, "seed": SEED}
        elif node.type == "KSampler":
            found[name] = sampler(*SHAPES_SAMPLING).values if trains else {"seed": SEED}
        elif node.type == "EmptyLatentImage" and trains:
            side = shapes_generator()["latent"].values["width"]
            found[name] = {"width": side, "height": side}
        elif node.type == "LoadImage":
            found[name] = {"image": BEFORE if edits else PAINTED}
    return found


def with_stand_ins(prompt: dict[str, Any]) -> dict[str, Any]:
    """An API workflow whose every decoded latent is painted: with the sampler's prompt and seed, and as many
    images as the latent has. An edit is the picture of the edit that went wrong, and what is made from its
    refined instruction is left out. Where a model is trained, the generator is trained, which is one.
    """
    standing = dict(prompt)
    if any(node["class_type"] == TRAINER for node in prompt.values()):
        loaders = [id for id, node in prompt.items() if node["class_type"] == "CheckpointLoaderSimple"]
        return standing | {id: _node("RationalRewardsLoadShapesGenerator") for id in loaders}
    painted: list[Any] = []
    left_out: set[str] = set()
    for id, node in prompt.items():
        if node["class_type"] != "VAEDecode":
            continue
        sampling = prompt[node["inputs"]["samples"][0]]["inputs"]
        encoder = prompt[sampling["positive"][0]]
        if encoder["class_type"] == EDIT_ENCODER:
            if prompt[encoder["inputs"]["prompt"][0]]["class_type"] == "PrimitiveStringMultiline":
                standing[id] = _node("LoadImage", image=AFTER)
            else:
                left_out.add(id)
            continue
        text = encoder["inputs"]["text"]
        # Two samplers with one prompt and one seed would paint one picture.
        seed = (
            sampling["seed"] + painted.count(text) if isinstance(sampling["seed"], int) else sampling["seed"]
        )
        painted.append(text)
        size = prompt[sampling["latent_image"][0]]["inputs"].get("batch_size", 1)
        standing |= _paintings(id, text, seed, size)
    return {
        id: node
        for id, node in standing.items()
        if id not in left_out and not any(_is_from(value, left_out) for value in node["inputs"].values())
    }


def _is_from(value: Any, ids: set[str]) -> bool:
    """Whether an input is a link from one of these nodes."""
    return isinstance(value, list) and len(value) == 2 and value[0] in ids


def _paintings(id: str, text: Any, seed: Any, size: int) -> dict[str, Any]:
    """Nodes that paint a batch; the one with that id gives it."""
    if size == 1:
        return {id: _painter(text, seed)}
    nodes = {f"{id}.{number}": _painter(text, seed + number) for number in range(size)}
    batch = f"{id}.0"
    for number in range(1, size):
        joined = id if number == size - 1 else uuid.uuid4().hex
        nodes[joined] = _node("ImageBatch", image1=[batch, 0], image2=[f"{id}.{number}", 0])
        batch = joined
    return nodes


def _painter(text: Any, seed: Any) -> dict[str, Any]:
    return _node("RationalRewardsShapesPainter", prompt=text, seed=seed, flaws=0.5)


def _node(type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": type, "inputs": inputs}
