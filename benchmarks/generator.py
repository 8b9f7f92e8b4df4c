"""What the critic does for a generator that makes mistakes of its own: by rewriting its prompts, by training
it, and by both. The truth is read from every picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from PIL import Image

from rational_rewards.demo.generator.data import requests
from rational_rewards.demo.generator.files import SHIPPED, read_decoder, read_facts, read_generator
from rational_rewards.demo.generator.lora import read_lora, with_lora
from rational_rewards.demo.generator.reader import facts
from rational_rewards.demo.generator.sampling import Generator, sample
from rational_rewards.demo.prompts import prompt_of
from rational_rewards.demo.rounds import shapes_critic
from rational_rewards.demo.scene import Request
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.base import SamplingParams
from rational_rewards.models.loop import LoopStart, Round, Rounds, SeedMode, StopRules, next_prompt

from .command import add_json, write_json

ROUNDS = 4
STOP_AT = 0.9
# Pictures that are painted and judged at once.
PORTION = 50
# Noise that is measured with, for a generator without a LoRA.
SEEDS = 3
# Between the seeds of two noises, so that no round of one meets one of another.
APART = 1000
SAMPLING = SamplingParams(max_new_tokens=2048)
WAYS = ("as it is", "refined once", f"loop of {ROUNDS}")


@dataclass
class Played:
    """One prompt in a loop: what is right in the picture of each round, as (right facts, facts)."""

    request: Request
    rounds: Rounds
    right: list[tuple[int, int]] = field(default_factory=list)
    over: bool = False

    def of(self, way: str) -> tuple[int, int]:
        """What is right in the picture that one ends up with."""
        if way == WAYS[0]:
            return self.right[0]
        if way == WAYS[1]:
            return self.right[min(1, len(self.right) - 1)]
        return self.right[self.rounds.best or 0]


class Painter:
    """A generator from a file, with a LoRA or without: pictures in 16 steps without guidance, as it was
    trained by its rewards.
    """

    def __init__(self, file: Path, lora: Path | None = None):
        self.decoder = read_decoder(file)
        generator: Generator = read_generator(file)
        self.generator = with_lora(generator, read_lora(lora)) if lora else generator

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        return self.decoder.pictures(sample(self.generator, list(prompts), list(seeds), guidance=1.0))


def play(
    critic: Critic, painter: Painter, level: str, prompts: int, noise: int, mode: SeedMode
) -> list[Played]:
    """Loops over prompts that nothing was trained on, up to four rounds each; `noise` chooses other seeds for
    all of them.
    """
    rules = StopRules(STOP_AT)
    loops = [
        Played(request, Rounds(LoopStart(prompt_of(request), ROUNDS, (seed + APART * noise) % 2**32, mode)))
        for request, seed in requests(level, 1, prompts)
    ]
    nexts = {id(one): one.rounds.start.prompt for one in loops}
    for number in range(ROUNDS):
        for start in range(0, prompts, PORTION):
            if going := [one for one in loops[start : start + PORTION] if not one.over]:
                _round(critic, painter, going, nexts, number, rules)
    return loops


def _round(
    critic: Critic,
    painter: Painter,
    loops: Sequence[Played],
    prompts: dict[int, str],
    number: int,
    rules: StopRules,
) -> None:
    seeds = [one.rounds.start.seed_of(number) for one in loops]
    pictures = painter([prompts[id(one)] for one in loops], seeds)
    critique = critic.critique(pictures, [one.rounds.start.prompt for one in loops], max_new_tokens=2048)
    for one, seed, picture, judgement in zip(loops, seeds, pictures, critique.judgements, strict=True):
        one.rounds = one.rounds.plus(Round(prompts[id(one)], seed, judgement))
        found = [right for rights in facts(one.request, picture).values() for right in rights]
        one.right.append((sum(found), len(found)))
        one.over = bool(one.rounds.why_stop(rules))
    weak = [(one, item) for one, item in zip(loops, critique.items, strict=True) if not one.over]
    if weak:
        # At once, and remembered.
        critic.refine([item for _, item in weak], SAMPLING)
    for one, item in weak:
        prompts[id(one)] = next_prompt(critic, item, prompts[id(one)], sampling=SAMPLING).prompt
        one.over = one.rounds.is_repeat(prompts[id(one)])


def share(loops: Sequence[Played], way: str) -> float:
    """Share of facts that are right, 0..1."""
    found = [one.of(way) for one in loops]
    return sum(right for right, _ in found) / sum(number for _, number in found)


def measure(
    level: str, file: Path, loras: Sequence[Path | None], prompts: int, mode: SeedMode, critic: Path | None
) -> list[dict[str, Any]]:
    """The shares of each way, for each LoRA with noise of its own."""
    found = []
    for noise, lora in enumerate(loras):
        # A new one, which remembers nothing.
        loops = play(shapes_critic(critic), Painter(file, lora), level, prompts, noise, mode)
        shares = {way: share(loops, way) for way in WAYS}
        found.append({"lora": str(lora or ""), "noise": noise, "shares": shares})
        print(f"{lora or 'no LoRA'}, noise {noise}: {shares}", flush=True)
    return found


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each generator and way: mean and spread over the seeds."""
    lines = ["| Generator | Picture | Right facts | Each seed |", "|---|---|---|---|"]
    for name, runs in measured.items():
        for way in WAYS:
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
        "--critic", type=Path, metavar="FOLDER", help="the critic in the loops; default: the pack's"
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
