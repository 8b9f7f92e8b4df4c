"""The control of the experiment: a reward without words.

The same model as the embedded critic, begun with a critic's weights and taught the preferences of its course
on generated pictures, but by a number alone (Bradley and Terry 1952): it never says what it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...models.checkpoints.discovery import EMBEDDED
from ...models.checkpoints.layers import replace_patch_convolution
from ...models.engines.base import Progress
from ...models.engines.encoding import Encoder, encoder_of
from ...models.errors import CheckpointError
from ...models.files import replacing
from ...models.images import fit, open_image
from ...parrot.resumable import digest
from ...parrot.run_lock import exclusive
from ...preferences.pairs import PreferencePair
from ...rewards import Reward
from ...training.collate import IGNORED, Example, collate
from ...training.optimizer import MuonAdamW
from ..randomness import stream
from ..scene import Request
from ..train import GeneratedCourse, generated_and_painted, load
from ..work_folder import own

STATE, WEIGHTS = "state.pt", "scalar.safetensors"
# Name of the one dimension of its rewards.
OVERALL = "overall"
# What the first image of a pair is worth by the label: the chance that it is the better one.
LABELS = {"A": 1.0, "B": 0.0, "tie": 0.5}
# Pictures that are rewarded at once.
PORTION = 32


@dataclass(frozen=True)
class Plan:
    """What the scalar reward is trained with: the preferences of a course, once."""

    course: GeneratedCourse
    # SHA-256 of the weights that it begins with.
    critic: str = ""
    seed: int = 0
    # Pairs in a step, and the peak learning rate, warmed up over a share of all steps, then a cosine.
    batch: int = 8
    learning_rate: float = 5e-4
    warmup: float = 0.05
    # Steps between two states to resume from.
    saved: int = 50


class ScalarReward(nn.Module):
    """A Qwen3-VL that ends in a number for each picture."""

    def __init__(self, model: Any, encoder: Encoder, seed: int = 0):
        super().__init__()
        self.backbone, self.encoder = model.model, encoder
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        chance = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=self.head.in_features**-0.5, generator=chance)
        nn.init.zeros_(self.head.bias)

    def forward(self, prompts: Sequence[str], pictures: Sequence[dict[str, Image.Image]]) -> Tensor:
        """[pictures]: any number, more is better. A picture is "image", with "source" where it is an edit."""
        rows = zip(prompts, pictures, strict=True)
        batch = collate(self.encoder, [self._example(prompt, images) for prompt, images in rows])
        # The mark that ends the turn.
        ends = (batch.pop("labels") != IGNORED).long().argmax(1)
        states = self.backbone(**batch).last_hidden_state
        return self.head(states[torch.arange(len(ends)), ends])[:, 0]

    def _example(self, prompt: str, images: dict[str, Image.Image]) -> Example:
        content = [*({"type": "image", "image": name} for name in images), {"type": "text", "text": prompt}]
        most = self.encoder.processor.image_processor.size["longest_edge"]
        fitted = {name: fit(image, most, self.encoder.multiple) for name, image in images.items()}
        return Example([{"role": "user", "content": content}], fitted, "")


def beginning(critic: Path = EMBEDDED, seed: int = 0) -> ScalarReward:
    """A scalar reward that begins with a critic's weights; its numbers mean nothing yet."""
    model, processor = load(critic)
    replace_patch_convolution(model)
    return ScalarReward(model, encoder_of(model, processor), seed)


def read_scalar(file: Path) -> ScalarReward:
    """One that was trained. Raises CheckpointError."""
    scalar = beginning()
    try:
        scalar.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError):
        raise CheckpointError(
            f"{file} is no scalar reward: name one that `demo train-scalar` wrote."
        ) from None
    return scalar.eval()


def train_scalar(
    folder: Path,
    plan: Plan,
    critic: Path = EMBEDDED,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Path:
    """Train a scalar reward in `folder` that begins with the weights of `critic`; returns its file. A run
    that was stopped goes on there.

    Raises ParrotError for a folder of another plan or one in which another program trains.
    """
    plan = replace(plan, critic=digest(critic / "model.safetensors"))
    with exclusive(folder, f"training in {folder}"):
        own(folder, plan)
        pairs, _ = generated_and_painted(folder, plan.seed, plan.course, progress)
        run = Run(plan, critic, len(pairs))
        if (folder / STATE).exists():
            run.load(folder / STATE)
        total = 0.0
        while run.step < run.steps:
            progress.check()
            total += run.learn([pairs[place] for place in run.chosen(len(pairs))])
            if run.step % plan.saved == 0 or run.step == run.steps:
                run.save(folder / STATE)
                done = (run.step - 1) % plan.saved + 1
                say(f"scalar step {run.step}: loss {total / done:.4f}")
                total = 0.0
            progress.update(run.step, run.steps, "training", "")
        with replacing(folder / WEIGHTS) as scratch:
            save_file({name: weight.half() for name, weight in run.reward.state_dict().items()}, scratch)
        return folder / WEIGHTS


class Run:
    """A training between two steps."""

    def __init__(self, plan: Plan, critic: Path, pairs: int):
        self.plan, self.step, self.steps = plan, 0, pairs // plan.batch
        self.reward = beginning(critic, plan.seed).requires_grad_(True).train()
        self.optimizer = MuonAdamW(self.reward, plan.learning_rate, 0.01)
        warmed = max(1, round(plan.warmup * self.steps))
        self.schedule = torch.optim.lr_scheduler.SequentialLR(
            self.optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(self.optimizer, 1 / warmed, 1.0, warmed),
                torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(1, self.steps - warmed)),
            ],
            [warmed],
        )

    def chosen(self, pairs: int) -> list[int]:
        """The places of this step's pairs: every pair once."""
        order = list(range(pairs))
        stream(self.plan.seed, "scalar").shuffle(order)
        return order[self.step * self.plan.batch : (self.step + 1) * self.plan.batch]

    def learn(self, pairs: Sequence[PreferencePair]) -> float:
        """Take a step; returns its loss."""
        prompts = [pair.prompt for pair in pairs for _ in "AB"]
        pictures = [_pictures(pair, file) for pair in pairs for file in (pair.image_a, pair.image_b)]
        rewards = self.reward(prompts, pictures)
        labels = torch.tensor([LABELS[pair.preferred] for pair in pairs])
        loss = nn.functional.binary_cross_entropy_with_logits(rewards[::2] - rewards[1::2], labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.reward.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach())

    def save(self, file: Path) -> None:
        """Write everything to resume from in one step."""
        state = {
            "step": self.step,
            "weights": self.reward.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with replacing(file) as scratch:
            torch.save(state, scratch)

    def load(self, file: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        self.step = state["step"]
        self.reward.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def _pictures(pair: PreferencePair, file: Path) -> dict[str, Image.Image]:
    files = {"source": pair.source, "image": file} if pair.source else {"image": file}
    return {name: open_image(path) for name, path in files.items()}


class ScalarJudge:
    """A scalar reward as the judge of a training: 0..1, the logistic function of its number."""

    def __init__(self, reward: ScalarReward):
        self.reward = reward

    @torch.no_grad()
    def __call__(
        self, prompts: Sequence[str], requests: Sequence[Request], pictures: Sequence[Image.Image]
    ) -> list[Reward | None]:
        rewards: list[Reward | None] = []
        for start in range(0, len(prompts), PORTION):
            images = [{"image": picture} for picture in pictures[start : start + PORTION]]
            for number in self.reward(prompts[start : start + PORTION], images).sigmoid().tolist():
                rewards.append(Reward({OVERALL: number}, number))
        return rewards
