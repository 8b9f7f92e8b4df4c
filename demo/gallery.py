"""A folder of painted images with their prompts in three styles, and the truth about each: what `rank` is
measured on.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .painter import imagine
from .prompts import prompt_of, random_request
from .randomness import stream
from .render import render
from .scene import Request, flaws_of, weight_of

# Each prompt asks for as many facts, so that the number that is right can be compared.
FACTS = 14
# EXIF tags.
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286


def facts_asked(request: Request) -> int:
    """How many facts can be right or wrong: count, colour and shape of each thing, size, place and background
    where they are asked for, each letter, and clean rendering.
    """
    things = sum(3 + bool(wish.size) + bool(wish.place) for wish in request.wishes)
    return things + bool(request.background) + len(request.word) + 1


def requests(seed: int) -> Iterator[Request]:
    """Requests of `FACTS` facts, a word among them."""
    for number in itertools.count():
        request = random_request(stream(seed, "gallery", number))
        if request.word and facts_asked(request) == FACTS:
            yield request


def write_gallery(folder: Path, count: int, seed: int = 0) -> dict[str, int]:
    """Paint `count` images into a folder; how many facts are right in each, by its file name.

    Prompts are in turn in a ComfyUI graph, in AUTOMATIC1111's parameters (PNG, JPEG and WebP), and in a text
    file beside the image. Each has another image's prompt as its negative prompt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = requests(seed)
    truth: dict[str, int] = {}
    negative = prompt_of(next(asked))
    for number, request in enumerate(itertools.islice(asked, count)):
        rng = stream(seed, "strength", number)
        scene = imagine(request, rng.getrandbits(32), flaws=rng.random())
        prompt = prompt_of(request)
        name = _write(folder, number, render(scene, number), prompt, negative, rng)
        truth[name] = FACTS - weight_of(flaws_of(request, scene))
        negative = prompt
    return truth


def _write(
    folder: Path, number: int, image: Image.Image, prompt: str, negative: str, rng: random.Random
) -> str:
    style = number % 3
    stem = folder / f"image-{number:04}"
    if style == 0:
        info = PngInfo()
        info.add_text("prompt", json.dumps(comfyui_graph(prompt, negative)))
        image.save(file := stem.with_suffix(".png"), pnginfo=info)
    elif style == 1:
        file = _with_parameters(stem, image, prompt, negative, rng.choice((".png", ".jpg", ".webp")))
    else:
        image.save(file := stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(prompt + "\n", encoding="utf-8")
    return file.name


def _with_parameters(stem: Path, image: Image.Image, prompt: str, negative: str, ending: str) -> Path:
    parameters = f"{prompt}\nNegative prompt: {negative}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"
    file = stem.with_suffix(ending)
    if ending == ".png":
        info = PngInfo()
        info.add_text("parameters", parameters)
        image.save(file, pnginfo=info)
        return file
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + parameters.encode("utf-16-be")
    lossless: dict[str, Any] = {"quality": 98, "subsampling": 0} if ending == ".jpg" else {"lossless": True}
    image.save(file, exif=exif, **lossless)
    return file


def comfyui_graph(prompt: str, negative: str) -> dict[str, Any]:
    """ComfyUI's text-to-image graph, as its images hold it; the prompt is typed inside a subgraph."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="model.safetensors"),
        "10:2": node("PrimitiveStringMultiline", value=prompt),
        "10:6": node("CLIPTextEncode", text=["10:2", 0], clip=["4", 1]),
        "7": node("CLIPTextEncode", text=negative, clip=["4", 1]),
        "3": node("KSampler", seed=1, model=["4", 0], positive=["10:6", 0], negative=["7", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }
