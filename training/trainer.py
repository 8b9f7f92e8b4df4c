"""Training with transformers' Trainer: full weights for a tiny critic, adapters (peft) for a large one.

Resumes where it was killed.
"""

from __future__ import annotations

import json
import logging
import math
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from ..models.engines.base import Progress
from ..models.errors import ParrotError
from ..models.libraries import without_kernel_downloads
from .collate import IGNORED, Batches
from .optimizer import MuonAdamW

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How to train: peak learning rate, warmed up over `warmup` (a share of all steps), then a cosine down to
    a hundredth.

    `muon`: see `optimizer`; for whole models only. Where torch is too old for it, AdamW is used, which takes
    longer.
    """

    learning_rate: float = 1e-5
    warmup: float = 0.05
    weight_decay: float = 1e-6
    clip: float = 1.0
    seed: int = 0
    # Steps between two states to resume from.
    save_every: int = 200
    muon: bool = False


@dataclass
class Trained:
    """What a training run tells: mean loss between two reports, by step."""

    steps: int
    losses: list[tuple[int, float]] = field(default_factory=list)


def train(
    model: Any,
    batches: Batches,
    folder: Path,
    schedule: Schedule,
    progress: Progress = Progress(),
    say: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train the parameters of `model` that require a gradient, one pass over `batches`, states to resume from
    in `folder`.

    A run that was killed goes on at its last state and ends with the same weights. `progress.update` counts
    steps; `progress.check` may raise to cancel between two steps. `say(step, loss)` is told the loss now and
    then. Raises ParrotError where the weights are no numbers any more.
    """
    # Trainer imports bitsandbytes where that is installed.
    with without_kernel_downloads():
        from transformers import Trainer, TrainingArguments

    device = next(model.parameters()).device
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        # One item of `batches` is a whole batch.
        per_device_train_batch_size=1,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.01},
        warmup_steps=max(1, math.ceil(schedule.warmup * len(batches))),
        weight_decay=schedule.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=schedule.clip,
        bf16=_has_bfloat16(device),
        use_cpu=device.type == "cpu",
        logging_steps=max(1, min(50, len(batches) // 50)),
        save_strategy="steps",
        save_steps=schedule.save_every,
        save_total_limit=1,
        # What numpy takes.
        seed=schedule.seed % 2**32,
        data_seed=schedule.seed % 2**32,
        # It would report the mean so far where the loss is no number.
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    optimizer = None
    if schedule.muon and hasattr(torch.optim, "Muon"):
        optimizer = MuonAdamW(model, schedule.learning_rate, schedule.weight_decay)
    with _own_chance():
        trainer = _answer_trainer(Trainer)(
            model=model,
            args=arguments,
            train_dataset=batches,
            data_collator=_only,
            optimizers=(optimizer, None),
            callbacks=[_callback(progress, len(batches), say)],
        )
        trainer.pop_callback(_printer())
        model.train()
        trainer.train(resume_from_checkpoint=latest_state(folder))
    model.eval()
    if not all(weight.isfinite().all() for weight in model.parameters() if weight.requires_grad):
        # Or the next attempt would go on from there.
        shutil.rmtree(folder, ignore_errors=True)
        raise ParrotError(
            "The training went astray, its weights are no numbers any more: lower learning_rate and train "
            "again."
        )
    losses = [
        (int(entry["step"]), float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry
    ]
    return Trained(trainer.state.global_step, losses)


def _answer_trainer(Trainer: Any) -> Any:
    class AnswerTrainer(Trainer):
        """A Trainer that computes logits for the answers only: with a large vocabulary those of the questions
        would fill the GPU. A state that cannot be saved does not end the training.
        """

        def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
            try:
                super()._save_checkpoint(*arguments, **options)
            except Exception:
                state = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
                log.warning("%s could not be saved, training continues without it.", state, exc_info=True)
                # Half of a state is of no use, and may be what fills the disk.
                shutil.rmtree(state, ignore_errors=True)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            inputs = dict(inputs)
            labels = inputs.pop("labels")
            # A token is predicted where the one before it stands.
            first = int((labels != IGNORED).any(0).nonzero()[0])
            logits = model(**inputs, logits_to_keep=labels.shape[1] - first + 1).logits
            return torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, first:].flatten(), ignore_index=IGNORED
            )

    return AnswerTrainer


@contextmanager
def _own_chance() -> Iterator[None]:
    """Trainer seeds the whole process; whoever else throws dice in it gets its own back."""
    cards = list(range(torch.cuda.device_count()))
    before = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=cards):
            yield
    finally:
        random.setstate(before[0])
        numpy.random.set_state(before[1])


def _only(items: list[Any]) -> Any:
    return items[0]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu"


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def latest_state(folder: Path) -> str | None:
    """The last state in `folder` that was written completely; None where there is none."""
    states = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True
    )
    for state in states:
        try:
            # Written last.
            json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(state)
    return None


def _callback(progress: Progress, total: int, say: Callable[[int, float], None] | None) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            progress.check()

        def on_step_end(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            progress.update(state.global_step, total, "training", "")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **words: Any) -> None:
            if say and logs and "loss" in logs:
                say(state.global_step, float(logs["loss"]))

    return Progress()
