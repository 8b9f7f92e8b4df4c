"""Preference pairs of pictures that the generator made: they have faults that no painter has.

Nobody is asked which one is better: the reader knows what is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from PIL import Image

from ...models.engines.base import Progress
from ...preferences.pairs import PreferencePair, Preferred
from ..preference_pairs import better, save_picture
from ..prompts import phrased
from ..randomness import stream
from ..scene import Request
from ..sentences import PictureCase
from .autoencoder import Decoder
from .data import any_request
from .files import SHIPPED, read_decoder, read_facts, read_generator
from .reader import read, scene_of
from .sampling import Generator, sample

# Who chose.
BY = "reader of generated pictures"
# Without guidance pictures are worse, and there is more to see.
GUIDANCES = (1.0, 1.0, 3.0)
# Share of the ties that stay: most are of two pictures without a flaw.
TIES = 0.2
# Steps in which a picture is sampled, as few as it takes: sampling is what takes the time here.
STEPS = 10
# Pairs that are painted at once.
PORTION = 32


@dataclass(frozen=True)
class GeneratedPair:
    """Two pictures for one prompt, as the reader reads them."""

    id: str
    prompt: str
    a: PictureCase
    b: PictureCase
    files: tuple[Path, Path]

    @property
    def preferred(self) -> Preferred:
        """The picture with the higher mean score."""
        return better(self.a, self.b)

    def pair(self) -> PreferencePair:
        """The pair as every phase of PARROT takes it."""
        return PreferencePair(self.id, self.prompt, *self.files, self.preferred, None, BY)


def generated_pairs(
    folder: Path, seed: int, number: int, file: Path = SHIPPED, progress: Progress = Progress()
) -> list[GeneratedPair]:
    """`number` pairs of the generator in `file`, their pictures in `folder`; those that are there already are
    not painted again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator, decoder, level = read_generator(file), read_decoder(file), read_facts(file)["level"]
    found: list[GeneratedPair] = []
    numbers = count()
    while len(found) < number:
        progress.check()
        asked = [Asked.of(folder, seed, level, one) for one in islice(numbers, PORTION)]
        _paint(asked, generator, decoder)
        found += [pair for one in asked if (pair := one.read())]
        progress.update(min(len(found), number), number, "generated pairs", "")
    return found[:number]


@dataclass(frozen=True)
class Asked:
    """A pair that is to be painted, made from its number alone: `seeds` are those of the two pictures'
    noise.
    """

    id: str
    request: Request
    prompt: str
    guidance: float
    seeds: tuple[int, int]
    files: tuple[Path, Path]
    # Whether it stays where neither picture is better.
    may_tie: bool

    @classmethod
    def of(cls, folder: Path, seed: int, level: str, number: int) -> Asked:
        """The pair of that number."""
        rng = stream(seed, "generated", level, number)
        request, _ = any_request(level, rng)
        id = f"generated-{seed}-{number}"
        return cls(
            id,
            request,
            phrased(request, rng),
            rng.choice(GUIDANCES),
            (rng.getrandbits(32), rng.getrandbits(32)),
            (folder / f"{id}-a.png", folder / f"{id}-b.png"),
            rng.random() < TIES,
        )

    def read(self) -> GeneratedPair | None:
        """The pair, once it is painted; None where it is of no use."""
        scenes = []
        for file in self.files:
            with Image.open(file) as image:
                scenes.append(scene_of(self.request, read(image, self.request)))
        a, b = scenes
        if a is None or b is None:
            return None
        cases = PictureCase(self.request, a), PictureCase(self.request, b)
        pair = GeneratedPair(self.id, self.prompt, *cases, self.files)
        return pair if self.may_tie or pair.preferred != "tie" else None


def _paint(asked: Sequence[Asked], generator: Generator, decoder: Decoder) -> None:
    """Paint what is not there."""
    for guidance in sorted(set(GUIDANCES)):
        part = [one for one in asked if one.guidance == guidance and not all(map(Path.exists, one.files))]
        if not part:
            continue
        prompts = [one.prompt for one in part for _ in one.seeds]
        seeds = [seed for one in part for seed in one.seeds]
        pictures = decoder.pictures(sample(generator, prompts, seeds, STEPS, guidance))
        files = [file for one in part for file in one.files]
        for file, picture in zip(files, pictures, strict=True):
            save_picture(picture, file)
