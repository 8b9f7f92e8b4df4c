"""The shapes generator in a real ComfyUI server, with core's own nodes around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Failed, Server
from PIL import Image

from rational_rewards.demo.generator.files import SHIPPED, read_decoder, read_generator
from rational_rewards.demo.generator.lora import LoRA, with_lora, write_lora
from rational_rewards.demo.generator.sampling import sample
from rational_rewards.demo.render import render
from rational_rewards.demo.scene import Scene, Thing

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not checkouts(), reason=HINT),
]

PROMPT = "a large red circle on the left on a white background"


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory):
    """A running ComfyUI with a picture to change and a LoRA."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "input").mkdir()
    (folder / "models" / "loras").mkdir(parents=True)
    render(Scene((Thing(1, "large", "blue", "square", "right"),)), 1).save(folder / "input" / "square.png")
    write_lora(folder / "models" / "loras" / "random.safetensors", random_lora(), 0)
    running = Server(request.param, folder)
    yield running
    running.stop()


def random_lora() -> LoRA:
    """A LoRA that changes every picture."""
    lora = LoRA.of(read_generator().denoiser, 4, 3)
    chance = torch.Generator().manual_seed(3)
    for matrix in lora.up.values():
        matrix.normal_(std=1.0, generator=chance)
    return lora


def graph(seed: int = 1, **changes: dict) -> dict:
    """From the node to a saved picture; `changes` replace or add nodes by their ids."""
    nodes = {
        "load": {"class_type": "RationalRewardsLoadShapesGenerator", "inputs": {}},
        "positive": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["load", 1]}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["load", 1]}},
        "latent": {
            "class_type": "EmptySD3LatentImage",
            "inputs": {"width": 128, "height": 128, "batch_size": 1},
        },
        "sampler": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["load", 0],
                "positive": ["positive", 0],
                "negative": ["negative", 0],
                "latent_image": ["latent", 0],
                "seed": seed,
                "steps": 8,
                "cfg": 3.0,
                "sampler_name": "euler",
                "scheduler": "simple",
                "denoise": 1.0,
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["load", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "shapes"}},
    }
    for name, change in changes.items():
        old = nodes.get(name, {"inputs": {}})
        nodes[name] = {**old, **change, "inputs": {**old["inputs"], **change["inputs"]}}
    return nodes


def picture(server: Server, nodes: dict) -> np.ndarray:
    """The picture that a graph saves, [height, width, 3] of 0..255."""
    outputs = server.run(nodes)
    (saved,) = outputs["save"]["images"]
    return np.asarray(Image.open(server.folder / "output" / saved["filename"])).astype(np.float32)


def test_core_samples_as_plain_torch_does(server):
    """From the same noise: model, text, guidance and decoder are those that were trained."""
    found = picture(server, graph())
    generator, decoder = read_generator(), read_decoder()
    wanted = np.asarray(decoder.pictures(sample(generator, [PROMPT], [1], steps=8))[0]).astype(np.float32)
    assert np.abs(found - wanted).mean() < 2


def test_a_batch_at_another_size_and_a_weighted_prompt(server):
    nodes = graph(
        latent={"inputs": {"width": 192, "height": 128}},
        positive={"inputs": {"text": "a (red:1.4) circle and a blue square"}},
    )
    assert picture(server, nodes).shape == (128, 192, 3)


def test_image_to_image_keeps_what_was_there(server):
    nodes = graph(
        image={"class_type": "LoadImage", "inputs": {"image": "square.png"}},
        latent={"class_type": "VAEEncode", "inputs": {"pixels": ["image", 0], "vae": ["load", 2]}},
        sampler={"inputs": {"denoise": 0.3, "cfg": 1.0}},
    )
    nodes["latent"]["inputs"] = {"pixels": ["image", 0], "vae": ["load", 2]}
    before = np.asarray(Image.open(server.folder / "input" / "square.png")).astype(np.float32)
    after = picture(server, nodes)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.7


def test_core_puts_a_lora_in_as_training_does(server):
    """One step from the same noise, as without it."""
    lora = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["load", 0], "lora_name": "random.safetensors", "strength_model": 1.0},
    }
    found = picture(server, graph(lora=lora, sampler={"inputs": {"model": ["lora", 0], "steps": 1}}))
    generator, decoder = read_generator(), read_decoder()
    plain, wanted = (
        np.asarray(decoder.pictures(sample(one, [PROMPT], [1], steps=1))[0]).astype(np.float32)
        for one in (generator, with_lora(generator, random_lora()))
    )
    assert np.abs(found - wanted).mean() < 2
    assert np.abs(found - plain).mean() > 10
    log = server.log.read_text(encoding="utf-8")
    assert "NOT LOADED" not in log
    assert "lora key not loaded" not in log


def test_core_trains_a_lora_on_it_and_puts_it_in(server):
    """The node's other inputs are as this version has them."""
    definition = server.get("/object_info/TrainLoraNode")["TrainLoraNode"]
    inputs = {
        name: options["default"]
        for name, (_, options) in definition["input"]["required"].items()
        if "default" in options
    }
    inputs |= {"model": ["load", 0], "latents": ["sampler", 0], "positive": ["positive", 0]}
    inputs |= {"steps": 4, "learning_rate": 0.01}
    lora = ["train", definition["output_name"].index("lora")]
    nodes = graph(
        train={"class_type": "TrainLoraNode", "inputs": inputs},
        trained={
            "class_type": "LoraModelLoader",
            "inputs": {"model": ["load", 0], "lora": lora, "strength_model": 1.0, "bypass": False},
        },
        again={
            "class_type": "KSampler",
            "inputs": graph()["sampler"]["inputs"] | {"model": ["trained", 0]},
        },
        decode={"inputs": {"samples": ["again", 0]}},
    )
    assert np.abs(picture(server, nodes) - picture(server, graph())).mean() > 1


def teach(server: Server, iterations: int, **inputs: object) -> dict:
    """What Train Generator with Critic shows."""
    loader = {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
    taught = {"critic": ["critic", 0], "name": "taught", "iterations": iterations, **inputs}
    nodes = {
        "critic": {"class_type": "RationalRewardsLoadCritic", "inputs": loader},
        "teach": {"class_type": "RationalRewardsTrainGenerator", "inputs": taught},
        "curves": {"class_type": "PreviewImage", "inputs": {"images": ["teach", 2]}},
        "samples": {"class_type": "PreviewImage", "inputs": {"images": ["teach", 3]}},
    }
    outputs = server.run(nodes)
    assert outputs["samples"]["images"]
    return outputs["teach"]


def test_the_generator_is_taught_on_the_canvas_and_core_loads_the_lora(server):
    assert "too few iterations" in teach(server, 1)["text"][0]
    file = server.folder / "models" / "loras" / "taught.safetensors"
    once = file.read_bytes()
    assert "From the first iteration to the last of 2" in teach(server, 2)["text"][0]
    assert file.read_bytes() != once
    lora = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["load", 0], "lora_name": "taught.safetensors", "strength_model": 1.0},
    }
    picture(server, graph(lora=lora, sampler={"inputs": {"model": ["lora", 0]}}))
    with pytest.raises(Failed, match="choose another name"):
        teach(server, 2, seed=1)
    with pytest.raises(Failed, match="another LoRA called random"):
        teach(server, 1, name="random")


def test_the_log_complains_of_nothing(server):
    picture(server, graph(seed=9))
    log = server.log.read_text(encoding="utf-8")
    for complaint in ("unet unexpected", "unet missing", "left over keys", "clip missing", "clip unexpected"):
        assert complaint not in log
    assert SHIPPED.stat().st_size < 25 * 2**20
