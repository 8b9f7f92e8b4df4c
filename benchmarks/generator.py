"""What the critic does for a generator that makes mistakes of its own: by rewriting its prompts, by training
it, and by both. The truth is read from every picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from PIL import Image

from rational_rewards.demo.generator.data import requests
from rational_rewards.demo.generator.files import SHIPPED, read_decoder, read_facts, read_generator
from rational_rewards.demo.generator.judges import generated_critic
from rational_rewards.demo.generator.lora import read_lora, with_lora
from rational_rewards.demo.generator.reader import facts
from rational_rewards.demo.generator.sampling import Generator, sample
from rational_rewards.demo.prompts import parse_request, prompt_of
from rational_rewards.models.loop import LoopStart, SeedMode

from .command import add_json, write_json
from .played import ROUNDS, Played, play

# Noise that is measured with, for a generator without a LoRA.
SEEDS = 3
# Between the seeds of two noises, so that no round of one meets one of another.
APART = 1000
# Right facts of a picture, and all of them.
Facts = tuple[int, int]
# What of a loop each way of using the critic ends up with.
TRUTH: dict[str, Callable[[Played[Facts]], Facts]] = {
    "as it is": lambda played: played.first,
    "refined once": lambda played: played.second,
    f"loop of {ROUNDS}": lambda played: played.best,
}


class GeneratorPainter:
    """A generator from a file, with a LoRA or without: pictures in 16 steps without guidance, as it was
    trained by its rewards. The truth about a picture is how many facts are right.
    """

    def __init__(self, file: Path, lora: Path | None = None):
        self.decoder = read_decoder(file)
        generator: Generator = read_generator(file)
        self.generator = with_lora(generator, read_lora(lora)) if lora else generator

    def __call__(
        self, asked: Sequence[str], prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[tuple[Image.Image, Facts]]:
        pictures = self.decoder.pictures(sample(self.generator, list(prompts), list(seeds), guidance=1.0))
        return [
            (picture, right_facts(prompt, picture)) for prompt, picture in zip(asked, pictures, strict=True)
        ]


def right_facts(prompt: str, picture: Image.Image) -> Facts:
    """How many facts of a prompt are right in a picture, and how many there are."""
    found = [right for rights in facts(parse_request(prompt), picture).values() for right in rights]
    return sum(found), len(found)


def held_out(level: str, prompts: int, noise: int, mode: SeedMode) -> list[LoopStart]:
    """Loops over prompts that nothing was trained on; `noise` chooses other seeds for all of them."""
    return [
        LoopStart(prompt_of(request), ROUNDS, (seed + APART * noise) % 2**32, mode)
        for request, seed in requests(level, 1, prompts)
    ]


def share(loops: Sequence[Played[Facts]], way: str) -> float:
    """Share of facts that are right in the pictures that one ends up with, 0..1."""
    found = [TRUTH[way](one) for one in loops]
    return sum(right for right, _ in found) / sum(number for _, number in found)


def measure(
    level: str, file: Path, loras: Sequence[Path | None], prompts: int, mode: SeedMode, critic: Path | None
) -> list[dict[str, Any]]:
    """The shares of each way, for each LoRA with noise of its own."""
    found = []
    for noise, lora in enumerate(loras):
        # A new one, which remembers nothing.
        starts = held_out(level, prompts, noise, mode)
        loops = play(generated_critic(critic), GeneratorPainter(file, lora), starts)
        shares = {way: share(loops, way) for way in TRUTH}
        found.append({"lora": str(lora or ""), "noise": noise, "shares": shares})
        print(f"{lora or 'no LoRA'}, noise {noise}: {shares}", flush=True)
    return found


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each generator and way: mean and spread over the seeds."""
    lines = ["| Generator | Picture | Right facts | Each seed |", "|---|---|---|---|"]
    for name, runs in measured.items():
        for way in TRUTH:
            shares = [run["shares"][way] for run in runs]
            spread = f" ± {stdev(shares):.3f}" if len(shares) > 1 else ""
            each = ", ".join(f"{value:.3f}" for value in shares)
            lines.append(f"| {name} | {way} | {mean(shares):.3f}{spread} | {each} |")
    return "\n".join(lines)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `generator`."""
    parser = commands.add_parser(
        "generator", help="right facts of the shapes generator: refined, in a loop, trained, and both"
    )
    parser.add_argument("--file", type=Path, default=SHIPPED, help="default: the generator in the pack")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument(
        "--critic-loras",
        type=Path,
        nargs="*",
        default=[],
        metavar="LORA",
        help="LoRAs that the critic trained",
    )
    parser.add_argument(
        "--scalar-loras", type=Path, nargs="*", default=[], metavar="LORA", help="those of a scalar reward"
    )
    parser.add_argument(
        "--seeds",
        choices=("same", "next"),
        default="same",
        help="of a loop's rounds, as on Refine Loop Start",
    )
    parser.add_argument(
        "--critic",
        type=Path,
        metavar="FOLDER",
        help="the critic in the loops; default: the one in the pack that knows generated pictures",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure and print the table."""
    level = read_facts(options.file)["level"]
    kinds = {"base": [None] * SEEDS, "RL, critic": options.critic_loras, "RL, scalar": options.scalar_loras}
    measured = {
        name: measure(level, options.file, loras, options.prompts, options.seeds, options.critic)
        for name, loras in kinds.items()
        if loras
    }
    print(f"\nLevel {level}, {options.prompts} prompts, {options.seeds} seeds.\n\n{table(measured)}")
    write_json(measured, options.json)
