"""The generator learns from a judge of its own pictures: DiffusionNFT (arXiv 2509.16117) on a LoRA.

Each iteration the old policy paints groups of pictures, one prompt a group, and the judge rewards them. What
is better than its group is learned as in the first training, on the flow to that picture; what is worse is
learned by the mirror image of the change. No likelihoods, no gradients through the sampling.

A run that was stopped, or killed, goes on where it was and ends with the same weights on the same machine: an
iteration's prompts and noise follow from its number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from ...models.engines.base import Progress
from ...models.files import replacing
from ...models.judgement import mean
from ...parrot.resumable import digest
from ...parrot.run_lock import exclusive
from ...rewards import Reward
from ..prompts import phrased
from ..randomness import stream
from ..scene import Request
from ..work_folder import own
from .autoencoder import Decoder
from .data import plain_request
from .files import read_decoder, read_generator
from .judges import Judge, optimalities, truth
from .lora import LoRA, with_lora, write_lora
from .reinforcement_report import Iteration, Journal, draw_curves, draw_samples
from .sampling import Generator, sample, shifted
from .text import padded

STATE, LORA, JOURNAL, CURVES = "state.pt", "lora.safetensors", "journal.jsonl", "curves.png"
# Below this the errors of latents count as equal: no step may be endless.
SMALLEST_ERROR = 1e-5


@dataclass(frozen=True)
class Plan:
    """What a LoRA is trained with. The numbers are those of DiffusionNFT's paper and code, for a model this
    small with fewer pictures, a smaller rank and a higher learning rate.
    """

    # SHA-256 of the generator's file.
    generator: str = ""
    # The judge's name, and the level of the prompts.
    reward: str = "critic"
    level: str = "one"
    seed: int = 0
    rank: int = 16
    # Pictures of a prompt, prompts of an iteration, steps in which pictures are sampled.
    group: int = 8
    prompts: int = 4
    steps: int = 10
    # Height and width of the pictures' latents.
    side: int = 16
    # Steps of the optimizer in an iteration, each with other noise on all pictures.
    updates: int = 4
    learning_rate: float = 1e-3
    # How far the positive and the negative policy are from the old one, in changes that are learned.
    beta: float = 1.0
    # Standard deviations within the group that make a picture as good, or bad, as can be.
    clip: float = 2.0
    # What the distance from the generator without the LoRA costs.
    kl: float = 1e-4
    # The old policy's decay grows by this an iteration, up to `most_decay`.
    decay: float = 1e-3
    most_decay: float = 0.5
    # Iterations from one page of samples to the next.
    shown: int = 20


def train_lora(
    folder: Path,
    generator: Path,
    plan: Plan,
    judge: Judge,
    iterations: int = 300,
    hours: float | None = None,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Path:
    """Train a LoRA of the generator in a file for `iterations` in all, or as many as `hours` of this call
    allow, in `folder`; returns the LoRA's file.

    Beside it stand the journal, its curves and pages of samples. Raises ParrotError for a folder of another
    plan or one in which another program trains, CheckpointError for a `generator` that is none.
    """
    plan = replace(plan, generator=digest(generator))
    # Hosts run their nodes without gradients.
    with exclusive(folder, f"training in {folder}"), torch.inference_mode(False), torch.enable_grad():
        run = Run(plan, read_generator(generator), read_decoder(generator))
        own(folder, plan)
        if (folder / STATE).exists():
            run.load(folder / STATE)
        # A killed run may have noted an iteration that it did not finish.
        journal = Journal(folder / JOURNAL, run.iteration)
        start = time.monotonic()
        while run.iteration < iterations and not (
            hours is not None and time.monotonic() - start > 3600 * hours
        ):
            begun = time.monotonic()
            if run.iteration % plan.shown == 0:
                report(folder, run, journal)
            note = run.iterate(judge, progress)
            journal.append(note)
            run.save(folder / STATE)
            progress.update(run.iteration, iterations, "iterations", "")
            say(f"{note}, {time.monotonic() - begun:.1f} s")
        report(folder, run, journal)
        write_lora(folder / LORA, run.old, run.iteration)
        return folder / LORA


def report(folder: Path, run: Run, journal: Journal) -> None:
    """Write the curves so far, and a page of samples."""
    if journal.notes:
        draw_curves(folder / CURVES, journal.notes)
    decoder, policy = run.decoder, with_lora(run.generator, run.old)
    draw_samples(folder / f"samples-{run.iteration:04}.png", policy, decoder, run.plan.level)


def newest_samples(folder: Path) -> Path:
    """The last page of samples of a training that has ended or was stopped."""
    return max(folder.glob("samples-*.png"))


@dataclass(frozen=True)
class Asked:
    """What an iteration's pictures are of, one entry a picture: groups follow each other."""

    requests: list[Request]
    prompts: list[str]
    seeds: list[int]


def asked(plan: Plan, iteration: int) -> Asked:
    """The prompts of an iteration, counted from 0, as somebody might phrase them."""
    rng = stream(plan.seed, "reinforcement", iteration)
    requests = [plain_request(plan.level, rng) for _ in range(plan.prompts)]
    prompts = [phrased(request, rng) for request in requests]
    each = [number for number in range(plan.prompts) for _ in range(plan.group)]
    seeds = [rng.getrandbits(32) for _ in each]
    return Asked([requests[number] for number in each], [prompts[number] for number in each], seeds)


class Run:
    """A training between two iterations: the LoRA that is trained, the old policy's, optimizer and the number
    of iterations done.
    """

    def __init__(self, plan: Plan, generator: Generator, decoder: Decoder):
        self.plan, self.iteration = plan, 0
        self.generator, self.decoder = generator.requires_grad_(False), decoder
        self.take(LoRA.of(generator.denoiser, plan.rank, plan.seed))
        self.old = self.new.clone()

    def take(self, lora: LoRA) -> None:
        """Train this LoRA from now on."""
        self.new = lora
        self.matrices = [matrix.requires_grad_() for matrix in lora.tensors.values()]
        self.optimizer = torch.optim.AdamW(self.matrices, self.plan.learning_rate, weight_decay=0.0)

    def save(self, file: Path) -> None:
        """Write everything to resume from in one step."""
        state = {
            "iteration": self.iteration,
            "new": self.new.clone().tensors,
            "old": self.old.tensors,
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(file) as scratch:
            torch.save(state, scratch)

    def load(self, file: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        self.iteration = state["iteration"]
        self.take(LoRA.from_tensors(state["new"]))
        self.old = LoRA.from_tensors(state["old"])
        self.optimizer.load_state_dict(state["optimizer"])

    def iterate(self, judge: Judge, progress: Progress = Progress()) -> Iteration:
        """Paint, have it judged, learn from that; returns what there is to note."""
        progress.check()
        wanted = asked(self.plan, self.iteration)
        latents = self.paint(wanted)
        pictures = self.decoder.pictures(latents)
        progress.check()
        rewards = judge(wanted.prompts, wanted.requests, pictures)
        progress.check()
        loss, distance = self.learn(wanted, latents, rewards)
        self._follow()
        self.iteration += 1
        # Read once where the truth is the judge.
        right = rewards if judge is truth else truth(wanted.prompts, wanted.requests, pictures)
        return _note(self.iteration, rewards, right, loss, distance)

    def paint(self, wanted: Asked) -> Tensor:
        """Latents [pictures, 16, side, side] by the old policy, without guidance."""
        policy = with_lora(self.generator, self.old)
        sides = (self.plan.side, self.plan.side)
        return sample(policy, wanted.prompts, wanted.seeds, self.plan.steps, 1.0, sides)

    def learn(
        self, wanted: Asked, latents: Tensor, rewards: Sequence[Reward | None]
    ) -> tuple[float | None, float | None]:
        """Take the iteration's steps; returns the mean loss and the mean distance from the generator without
        the LoRA, None where the rewards tell no pictures apart.
        """
        found = optimalities(rewards, self.plan.group, self.plan.clip)
        batches = [self._batch(wanted, latents, found, places) for places in _equally_long(wanted, found)]
        if not batches:
            return None, None
        chance = torch.Generator().manual_seed(
            stream(self.plan.seed, "noise", self.iteration).getrandbits(62)
        )
        steps = [self._step(batches, chance) for _ in range(self.plan.updates)]
        losses, distances = zip(*steps, strict=True)
        return mean(losses), mean(distances)

    def _batch(
        self, wanted: Asked, latents: Tensor, found: Sequence[float | None], places: list[int]
    ) -> Batch:
        tokens = torch.tensor([padded(wanted.prompts[place]) for place in places])
        optimality = torch.tensor([found[place] for place in places])
        return Batch(latents[places], self.generator.text(tokens), optimality)

    def _step(self, batches: Sequence[Batch], chance: torch.Generator) -> tuple[float, float]:
        """One step of the optimizer on all pictures; returns its loss and the distance."""
        number = sum(len(batch.latents) for batch in batches)
        old = self.old.weights(self.generator.denoiser)
        total, distance = 0.0, 0.0
        self.optimizer.zero_grad()
        for batch in batches:
            changed = self.new.weights(self.generator.denoiser)
            sigmas = shifted(torch.rand(len(batch.latents), generator=chance))
            noise = torch.randn(batch.latents.shape, generator=chance)
            share = sigmas[:, None, None, None]
            noisy = share * noise + (1 - share) * batch.latents
            given = noisy, sigmas, batch.context
            with torch.no_grad():
                before = functional_call(self.generator.denoiser, old, given)
                base = self.generator.denoiser(*given)
            velocity = functional_call(self.generator.denoiser, changed, given)
            losses = nft_losses(velocity, before, noisy, sigmas, batch, self.plan.beta)
            distances = (velocity - base).square().mean((1, 2, 3))
            ((losses + self.plan.kl * distances).sum() / number).backward()
            total += float(losses.detach().sum()) / number
            distance += float(distances.detach().sum()) / number
        torch.nn.utils.clip_grad_norm_(self.matrices, 1.0)
        self.optimizer.step()
        return total, distance

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the old policy towards the trained one."""
        kept = min(self.plan.decay * self.iteration, self.plan.most_decay)
        for name, matrix in self.new.tensors.items():
            self.old.tensors[name].lerp_(matrix, 1 - kept)


@dataclass(frozen=True)
class Batch:
    """Latents [batch, 16, side, side] that were painted, the text [batch, tokens, width] they were painted
    for, and how likely each is one of the better ones [batch], 0..1.
    """

    latents: Tensor
    context: Tensor
    optimality: Tensor


def _note(
    number: int,
    rewards: Sequence[Reward | None],
    right: Sequence[Reward | None],
    loss: float | None,
    distance: float | None,
) -> Iteration:
    given = [reward for reward in rewards if reward]
    names = dict.fromkeys(name for reward in given for name in reward.dimensions)
    return Iteration(
        number=number,
        reward=mean([reward.combined for reward in given]),
        dimensions={name: mean([reward.dimensions.get(name) for reward in given]) for name in names},
        truth=mean([one.combined for one in right if one]),
        judged=len(given),
        pictures=len(rewards),
        loss=loss,
        kl=distance,
    )


def _equally_long(wanted: Asked, found: Sequence[float | None]) -> list[list[int]]:
    """The places of pictures to learn from, those whose prompts are equally long together."""
    lengths: dict[int, list[int]] = {}
    for place, prompt in enumerate(wanted.prompts):
        if found[place] is not None:
            lengths.setdefault(len(padded(prompt)), []).append(place)
    return [lengths[length] for length in sorted(lengths)]


def nft_losses(
    velocity: Tensor, old: Tensor, noisy: Tensor, sigmas: Tensor, batch: Batch, beta: float
) -> Tensor:
    """DiffusionNFT's loss of each picture, [batch].

    `velocity` and `old` are what the trained and the old policy say of `noisy` latents, all [batch, 16, side,
    side], with the shares of noise `sigmas` [batch]. The positive policy lies `beta` times the change from
    the old one, the negative policy as far on the other side; what a picture's errors under both count
    follows from its optimality. Errors are those of the predicted latents, divided by their mean size, so
    that all shares of noise count alike.
    """
    share = sigmas[:, None, None, None]

    def error(policy: Tensor) -> Tensor:
        missed = noisy - share * policy - batch.latents
        size = missed.detach().abs().mean((1, 2, 3), keepdim=True).clamp(min=SMALLEST_ERROR)
        return (missed.square() / size).mean((1, 2, 3))

    positive, negative = (old + sign * beta * (velocity - old) for sign in (1, -1))
    better = batch.optimality
    return (better * error(positive) + (1 - better) * error(negative)) / beta
