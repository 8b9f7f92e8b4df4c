"""Pictures with prompts to train the generator on: drawn once, kept as latents.

Prompts are plain, precise (everything is named) or insisting. Where a prompt does not insist, pictures show
the painter's habits, so that the generator has habits of its own: it does what a prompt insists on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...models.files import replacing
from ..painter import imagine, perfect
from ..prompts import insisting, phrased, random_request
from ..randomness import stream
from ..render import render
from ..scene import Request, Scene, Wish
from .autoencoder import Components
from .text import padded

# What a picture may show; each level has the ones before in it.
LEVELS = ("one", "two", "three", "words")
# Things in a picture, by level, as often as they are named here.
THINGS = {"one": (1,), "two": (1, 2, 2), "three": (1, 2, 2, 3), "words": (1, 2, 2, 3)}
# How strong the painter's habits are: about three in ten plain prompts are not followed.
HABITS = 0.4
# Pictures in a file, and those that the autoencoder is fitted to.
SHARD, FITTED = 4096, 1500


@dataclass(frozen=True)
class Example:
    """A prompt, what it asks for, and a picture of `scene`, which may differ from that."""

    prompt: str
    request: Request
    scene: Scene
    image: Image.Image


def plain_request(level: str, rng: random.Random) -> Request:
    """A request of `level` that insists on nothing and leaves things open."""
    request = random_request(rng)
    things = rng.choice(THINGS[level])
    while len(request.wishes) < things:
        request = random_request(rng)
    word = request.word if level == "words" else ""
    return replace(request, wishes=request.wishes[:things], word=word)


def precise(request: Request, seed: int) -> Request:
    """The request with everything named that it left open."""
    scene = perfect(request, seed)
    wishes = tuple(
        Wish(thing.count, thing.size, thing.colour, thing.shape, thing.place)
        for thing in scene.things
        if thing
    )
    return replace(request, wishes=wishes, background=scene.background)


def example(level: str, seed: int, number: int) -> Example:
    """The picture of a number; equal for equal level, seed and number."""
    rng = stream(seed, "generator", level, number)
    request, chosen = any_request(level, rng)
    # The painter's flaws of rendering are no habits to learn.
    scene = replace(imagine(request, chosen, HABITS), quality=())
    return Example(phrased(request, rng), request, scene, render(scene, rng.getrandbits(32)))


def any_request(level: str, rng: random.Random) -> tuple[Request, int]:
    """A request of `level` in any of the forms, and the seed of what it left open."""
    request = plain_request(level, rng)
    chosen = rng.getrandbits(32)
    if rng.random() < 0.5:
        request = precise(request, chosen)
    form = rng.choice(("as it is", "insisting", "partly"))
    if form == "insisting":
        request = insisting(request)
    elif form == "partly":
        request = _insisting_partly(request, rng)
    return request, chosen


def _insisting_partly(request: Request, rng: random.Random) -> Request:
    """As after a critique: insisting on what went wrong only."""
    whole = insisting(request)
    wishes = tuple(rng.choice(pair) for pair in zip(request.wishes, whole.wishes, strict=True))
    plain, spelled, sharp = (rng.random() < 0.5 for _ in range(3))
    return replace(
        request, wishes=wishes, plain=plain and whole.plain, spelled=spelled and whole.spelled, sharp=sharp
    )


def pixels(images: list[Image.Image]) -> Tensor:
    """[number, height, width, 3] of 0..255."""
    return torch.from_numpy(numpy.stack([numpy.asarray(image) for image in images]))


def fit_components(seed: int) -> Components:
    """The autoencoder's components for pictures of all levels."""
    return Components.of(pixels([example("words", seed, index).image for index in range(FITTED)]))


def draw_shard(file: Path, level: str, seed: int, numbers: range, components: Components) -> None:
    """Write the latents and prompts of the pictures of these numbers."""
    examples = [example(level, seed, index) for index in numbers]
    latents = torch.cat(
        [
            components.encode(pixels([one.image for one in examples[index : index + 256]]))
            for index in range(0, len(examples), 256)
        ]
    )
    with replacing(file) as scratch:
        prompts = json.dumps([one.prompt for one in examples])
        save_file({"latents": latents.half()}, scratch, metadata={"prompts": prompts})


def draw(
    folder: Path,
    level: str,
    seed: int,
    shards: int,
    components: Components,
    workers: int,
    done: Callable[[int], None] = lambda number: None,
) -> list[Path]:
    """All shards of a level, `workers` processes at work on those that are not there yet; `done` is told how
    many are.
    """
    files = [folder / f"{level}-{number:03}.safetensors" for number in range(shards)]
    missing = [
        (range(number * SHARD, (number + 1) * SHARD), file)
        for number, file in enumerate(files)
        if not file.exists()
    ]
    for count, _ in enumerate(_drawn(missing, level, seed, components, workers), shards - len(missing) + 1):
        done(count)
    return files


def _drawn(
    missing: list[tuple[range, Path]], level: str, seed: int, components: Components, workers: int
) -> Iterator[None]:
    """Draw the missing files; one step for each that is finished."""
    if workers == 1 or not missing:
        for numbers, file in missing:
            yield draw_shard(file, level, seed, numbers, components)
        return
    # Not forked: the parent's threads do not survive that.
    with ProcessPoolExecutor(min(workers, len(missing)), get_context("spawn")) as pool:
        waiting = [
            pool.submit(draw_shard, file, level, seed, numbers, components) for numbers, file in missing
        ]
        for future in waiting:
            yield future.result()


@dataclass(frozen=True)
class Batch:
    """`tokens` [batch, length] of prompts equally long, latents [batch, 16, 16, 16], and which prompts are to
    be left out, [batch].
    """

    tokens: Tensor
    latents: Tensor
    empty: Tensor


class Pictures:
    """A level's pictures in memory; batches of any step, equal for equal seed and step."""

    def __init__(self, files: list[Path], seed: int, dropped: float, halved_by: Components | None = None):
        """`dropped`: the share of prompts that are left out; with `halved_by` the pictures are 64 x 64."""
        self.seed, self.dropped = seed, dropped
        shards = [_read(file) for file in files]
        if halved_by:
            shards = [(_halved(latents, halved_by), prompts) for latents, prompts in shards]
        self.latents = torch.cat([latents for latents, _ in shards])
        numbers = [padded(prompt) for _, prompts in shards for prompt in prompts]
        self.places: dict[int, list[int]] = {}
        for place, tokens in enumerate(numbers):
            self.places.setdefault(len(tokens), []).append(place)
        self.tokens = {
            length: torch.tensor([numbers[place] for place in places], dtype=torch.uint8)
            for length, places in sorted(self.places.items())
        }

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step."""
        rng = stream(self.seed, "batch", step)
        lengths = list(self.tokens)
        (length,) = rng.choices(lengths, [len(self.tokens[length]) for length in lengths])
        rows = rng.choices(range(len(self.tokens[length])), k=size)
        places = [self.places[length][row] for row in rows]
        empty = torch.tensor([rng.random() < self.dropped for _ in rows])
        return Batch(self.tokens[length][rows].long(), self.latents[places].float(), empty)


def _read(file: Path) -> tuple[Tensor, list[str]]:
    with safe_open(file, "pt") as opened:
        return opened.get_tensor("latents"), json.loads(opened.metadata()["prompts"])


def _halved(latents: Tensor, components: Components) -> Tensor:
    return torch.cat([components.halve(part.float()).half() for part in latents.split(256)])


def requests(level: str, seed: int, number: int) -> Iterator[tuple[Request, int]]:
    """`number` requests that no picture was drawn of, each with a seed for its noise."""
    for index in range(number):
        rng = stream(seed, "held out", level, index)
        yield plain_request(level, rng), rng.getrandbits(32)
