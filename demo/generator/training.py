"""How the shapes generator is trained: rectified flow on drawn pictures, from one thing in a picture to
several.

A run that was stopped, or killed, goes on where it was and ends with the same weights on the same machine: a
step's batch and noise follow from its number.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from ...models.engines.base import Progress
from ...models.errors import CheckpointError
from ...models.files import replacing
from ...parrot.run_lock import exclusive
from ...training.optimizer import MuonAdamW
from ..randomness import stream
from ..work_folder import own
from .autoencoder import Components, Decoder
from .data import LEVELS, Batch, Pictures, draw, example, fit_components, pixels
from .files import read_decoder, read_facts, read_generator, write_generator
from .sampling import Generator

STATE, COMPONENTS, DECODER, GENERATOR = (
    "state.pt",
    "components.safetensors",
    "decoder.pt",
    "generator.safetensors",
)
# Between two states to resume from, and steps between two lines of the log.
SAVE_SECONDS, LOG_STEPS = 60, 50


@dataclass(frozen=True)
class Stage:
    """Pictures of one level until a step.

    `small` ones have half the size, and so a quarter of the tokens: what belongs where is learned
    sooner there.
    """

    level: str
    small: bool
    until: int


@dataclass(frozen=True)
class Plan:
    """What the generator is trained with.

    The learning rate is constant after `warmup` steps, and what is kept is the running mean of the weights,
    over about 1 / (1 - `average`) steps.
    """

    seed: int = 0
    depth: int = 3
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 50
    average: float = 0.998
    # Share of empty prompts, for guidance.
    dropped: float = 0.1
    # Files of pictures a level, 4096 in each.
    shards: int = 16
    stages: tuple[Stage, ...] = (
        Stage("one", True, 800),
        Stage("three", True, 1_600),
        Stage("three", False, 8_000),
        Stage("words", False, 20_000),
    )
    decoder_steps: int = 3_000
    # None: whatever is faster here, measured once.
    bfloat16: bool | None = None

    @property
    def steps(self) -> int:
        """All of them."""
        return self.stages[-1].until

    def stage(self, step: int, richest: str = LEVELS[-1]) -> Stage:
        """The stage of a step, counted from 0, with no level above `richest`."""
        stage = next(stage for stage in self.stages if step < stage.until)
        return replace(stage, level=min(stage.level, richest, key=LEVELS.index))


def train_generator(
    folder: Path,
    plan: Plan = Plan(),
    level: str = LEVELS[-1],
    hours: float | None = None,
    workers: int | None = None,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
    start: Path | None = None,
) -> Path:
    """All stages, in `folder`; returns the finished file.

    `level` is the richest that is trained; `hours` is how long the denoiser may take in this call; `workers`
    processes draw, by default one for each core. A folder without a state begins with the weights of `start`,
    a finished file of an equal plan, and at its number of steps. Raises ParrotError for a folder of another
    plan or one in which another program trains, CheckpointError for a `start` that is no such file.
    """
    with exclusive(folder, f"training in {folder}"):
        own(folder, plan)
        if start and not (folder / STATE).exists():
            begin_with(start, folder, plan)
        components = stored_components(folder, plan)
        last = train_flow(folder, plan, components, level, hours, workers, progress, say)
        return export(folder, plan, train_decoder(folder, plan, components, progress, say), last)


def begin_with(start: Path, folder: Path, plan: Plan) -> None:
    """Make a finished file's weights the state to resume from; the optimizer starts anew."""
    run, generator = Run(plan), read_generator(start)
    if generator.denoiser.width != run.generator.denoiser.width:
        raise CheckpointError(f"{start} is of another size: start with a generator of depth {plan.depth}.")
    weights = generator.state_dict()
    run.generator.load_state_dict(weights)
    run.average.load_state_dict(weights)
    run.step = int(read_facts(start)["steps"])
    _write(read_decoder(start).state_dict(), folder / DECODER)
    run.save(folder / STATE)


def stored_components(folder: Path, plan: Plan) -> Components:
    """The autoencoder's components, made where they are missing."""
    file = folder / COMPONENTS
    if not file.exists():
        with replacing(file) as scratch:
            save_file(vars(fit_components(plan.seed)), scratch)
    return Components(**load_file(file))


def train_flow(
    folder: Path,
    plan: Plan,
    components: Components,
    level: str = LEVELS[-1],
    hours: float | None = None,
    workers: int | None = None,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> str:
    """Train text encoder and denoiser, and return the last level. States to resume from are in `folder`."""
    run = Run(plan)
    if (folder / STATE).exists():
        run.load(folder / STATE)
    start = saved = time.monotonic()
    now, pictures, log = None, None, Log(plan, say)
    while run.step < plan.steps and not (hours is not None and time.monotonic() - start > 3600 * hours):
        progress.check()
        stage = plan.stage(run.step, level)
        if pictures is None or stage != now:
            now, pictures = stage, drawn(folder, plan, components, stage, workers, say)
            log.restart()
        log.note(run.step, stage, run.train(pictures.batch(run.step, plan.batch)))
        progress.update(run.step, plan.steps, "training", "")
        if time.monotonic() - saved > SAVE_SECONDS:
            run.save(folder / STATE)
            saved = time.monotonic()
    run.save(folder / STATE)
    return plan.stage(max(0, run.step - 1), level).level


def drawn(
    folder: Path,
    plan: Plan,
    components: Components,
    stage: Stage,
    workers: int | None,
    say: Callable[[str], None],
) -> Pictures:
    """The pictures of a stage, those that are missing drawn now."""
    done = partial(_say_done, say, stage.level, plan.shards)
    workers = workers or os.cpu_count() or 1
    files = draw(folder / "pictures", stage.level, plan.seed, plan.shards, components, workers, done)
    return Pictures(files, plan.seed, plan.dropped, components if stage.small else None)


def _say_done(say: Callable[[str], None], level: str, shards: int, done: int) -> None:
    say(f"pictures of level {level}: {done} of {shards} files")


class Log:
    """A line now and then: the mean loss since the last, and the pace."""

    def __init__(self, plan: Plan, say: Callable[[str], None]):
        self.plan, self.say = plan, say
        self.restart()

    def restart(self) -> None:
        """Forget what came before, such as the time that drawing took."""
        self.losses: list[float] = []
        self.last = time.monotonic()

    def note(self, step: int, stage: Stage, loss: float) -> None:
        """Note the loss of the step that was number `step`, counted from 0."""
        self.losses.append(loss)
        if (step + 1) % LOG_STEPS:
            return
        pace = (time.monotonic() - self.last) / len(self.losses)
        mean = sum(self.losses) / len(self.losses)
        kind = f"{stage.level}, small" if stage.small else stage.level
        self.say(f"step {step + 1} of {self.plan.steps} ({kind}): loss {mean:.4f}, {pace:.2f} s a step")
        self.restart()


class Run:
    """A training between two steps: weights, their running mean, optimizer and the number of steps done."""

    def __init__(self, plan: Plan):
        self.plan, self.step = plan, 0
        with own_chance(plan.seed):
            self.generator, self.average = Generator(plan.depth), Generator(plan.depth)
        self.average.load_state_dict(self.generator.state_dict())
        self.optimizer = make_optimizer(self.generator, plan)
        # Decided once, so that a resumed run ends with the same weights.
        self.bfloat16 = plan.bfloat16

    def save(self, file: Path) -> None:
        """Write everything to resume from in one step."""
        state = {
            "step": self.step,
            "bfloat16": self.bfloat16,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        _write(state, file)

    def load(self, file: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        self.step, self.bfloat16 = state["step"], state["bfloat16"]
        self.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def train(self, batch: Batch) -> float:
        """One step; returns its loss."""
        noise, sigmas = dice(batch.latents, self.plan.seed, self.step)
        if self.bfloat16 is None:
            self.bfloat16 = self._is_faster(batch, noise, sigmas)
        rate = self.plan.learning_rate * min(1.0, (self.step + 1) / self.plan.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch, noise, sigmas, self.bfloat16)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        kept = min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.generator.parameters(), strict=True)
            for mean, weight in pairs:
                mean.lerp_(weight, 1 - kept)
        return float(loss.detach())

    def _loss(self, batch: Batch, noise: Tensor, sigmas: Tensor, bfloat16: bool) -> Tensor:
        share = sigmas[:, None, None, None]
        noisy = share * noise + (1 - share) * batch.latents
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        # The weights themselves stay in 32 bits; that takes less time than autocast, which changes to and
        # fro.
        weights = {name: weight.to(dtype) for name, weight in self.generator.named_parameters()}
        given = noisy.to(dtype), sigmas, batch.tokens, batch.empty
        velocity = functional_call(self.generator, weights, given)
        return functional.mse_loss(velocity.float(), noise - batch.latents)

    def _is_faster(self, batch: Batch, noise: Tensor, sigmas: Tensor) -> bool:
        """Whether a step takes less time in bfloat16: where the processor has no units for it, it takes far
        more.
        """
        seconds = {}
        for bfloat16 in (False, True):
            times = []
            for _ in range(3):
                start = time.perf_counter()
                self._loss(batch, noise, sigmas, bfloat16).backward()
                times.append(time.perf_counter() - start)
            seconds[bfloat16] = min(times)
        return seconds[True] < seconds[False]


def dice(latents: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """A step's noise, as `latents`, and its shares of noise [batch], 0..1.

    Logit-normal as in SD3, towards noise, where it is decided what comes where; a tenth of them even. Twice
    the side, twice the shift, because more latents say the same (SD3 shifts by the size, too).
    """
    towards_noise = 0.6 + math.log(latents.shape[-1] / 8)
    chance = torch.Generator().manual_seed(stream(seed, "noise", step).getrandbits(62))
    noise = torch.randn(latents.shape, generator=chance)
    sigmas = torch.sigmoid(torch.randn(len(latents), generator=chance) + towards_noise)
    even = torch.rand(len(latents), generator=chance)
    return noise, torch.where(torch.rand(len(latents), generator=chance) < 0.1, even, sigmas)


def make_optimizer(generator: Generator, plan: Plan) -> Any:
    """Muon for matrices where torch has it, else AdamW for all."""
    if hasattr(torch.optim, "Muon"):
        return MuonAdamW(generator, plan.learning_rate, 0.01)
    return torch.optim.AdamW(generator.parameters(), plan.learning_rate, (0.9, 0.95), weight_decay=0.01)


@contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Weights by chance from `seed`; the process's own dice stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def train_decoder(
    folder: Path,
    plan: Plan,
    components: Components,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Decoder:
    """The decoder from latents to pictures; one that is finished is read."""
    file = folder / DECODER
    with own_chance(plan.seed):
        decoder = Decoder()
    if file.exists():
        decoder.load_state_dict(torch.load(file, weights_only=True))
        return decoder
    decoder = decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(decoder.parameters(), 3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, plan.decoder_steps, pct_start=0.05)
    for step in range(plan.decoder_steps):
        progress.check()
        latents, wanted = _crops(plan.seed, step, components)
        made = decoder(latents.to(memory_format=torch.channels_last))
        error = made - wanted
        loss = 4 * error.square().mean() + error.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.update(step + 1, plan.decoder_steps, "decoder", "")
        if (step + 1) % 50 == 0:
            decibels = -10 * float(error.detach().square().mean().log10())
            say(f"decoder step {step + 1} of {plan.decoder_steps}: {decibels:.1f} dB")
    _write(decoder.state_dict(), file)
    return decoder


def _write(state: dict[str, Any], file: Path) -> None:
    with replacing(file) as scratch:
        torch.save(state, scratch)


def _crops(seed: int, step: int, components: Components, size: int = 16) -> tuple[Tensor, Tensor]:
    """Latents [size, 16, 8, 8] of a quarter of each of `size` fresh pictures, with a little noise as samples
    have it, and its pixels [size, 3, 64, 64] of 0..1.
    """
    rng = stream(seed, "crops", step)
    pictures = pixels([example("words", seed + 1, step * size + index).image for index in range(size)])
    latents = components.encode(pictures)
    top, left = (rng.randrange(latents.shape[-1] - 7) for _ in range(2))
    wanted = (
        pictures.permute(0, 3, 1, 2).float()[:, :, 8 * top : 8 * top + 64, 8 * left : 8 * left + 64] / 255
    )
    chance = torch.Generator().manual_seed(rng.getrandbits(62))
    strength = 0.1 * torch.rand(size, 1, 1, 1, generator=chance)
    quarter = latents[:, :, top : top + 8, left : left + 8]
    return quarter + strength * torch.randn(quarter.shape, generator=chance), wanted


def export(folder: Path, plan: Plan, decoder: Decoder, level: str) -> Path:
    """Write the one file that ComfyUI loads, with the mean weights; `level` is the last one trained."""
    run = Run(plan)
    run.load(folder / STATE)
    target = folder / GENERATOR
    write_generator(target, run.average, decoder, stored_components(folder, plan), level, run.step)
    return target
