"""PARROT, phase 3: distillation.

Rows become a critic: full training for a tiny one, LoRA on 16-bit weights, QLoRA on quantized ones.

The student sees request, pictures and rubric, never the label or the reference (arXiv 2604.11626, 2.1 and
appendix B).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..models.checkpoints.adapters import WEIGHTS, require_peft
from ..models.checkpoints.layers import language_linears, replace_patch_convolution
from ..models.engines.base import Progress
from ..models.engines.encoding import Encoder, encoder_of
from ..models.errors import ParrotError
from ..models.images import MAX_PIXELS, fit, fitted_size, open_image
from ..models.libraries import short
from ..parrot.records import Record
from ..parrot.resumable import read_records
from ..parrot.rows import row_messages
from .collate import Batches, Example, answer_ids, by_length
from .trainer import Schedule, Trained, latest_state, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How to distill. `method`:

    "full" (everything is trained) or "lora" (vision tower, projector and output layer stay as they are).

    `tokens` is the size of a batch with its padding; `learning_rate`, `warmup` and `weight_decay` as in the
    paper's configuration, for LoRA ten times the rate (Hu et al. 2021 and common practice).
    """

    method: str = "lora"
    epochs: int = 3
    learning_rate: float = 1e-4
    warmup: float = 0.05
    weight_decay: float = 1e-6
    rank: int = 16
    tokens: int = 4096
    seed: int = 0
    save_every: int = 100

    @property
    def schedule(self) -> Schedule:
        """The part of the recipe that the trainer needs."""
        muon = self.method == "full"
        return Schedule(
            self.learning_rate, self.warmup, self.weight_decay, 1.0, self.seed, self.save_every, muon
        )


class Rows:
    """The rows of a file in the published layout; pictures, found from the file's folder, are opened when
    they are asked for.
    """

    def __init__(self, file: Path, encoder: Encoder, max_pixels: int = MAX_PIXELS):
        self.folder = file.parent
        self.encoder = encoder
        self.max_pixels = max_pixels
        self.rows: list[Record] = list(read_records(file))
        if not self.rows:
            raise ParrotError(
                "There is nothing to learn from: no rationale survived. Record more preferences and "
                "rationalize them first."
            )

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int) -> Example:
        """Row number `index`, its pictures at the size that the critic reads."""
        row = self.rows[index]
        images = {
            path: fit(open_image(self.folder / path), self.max_pixels, self.encoder.multiple)
            for path in row["images"]
        }
        return Example(row_messages(row)[:-1], images, answer_of(row))

    def length(self, index: int) -> int:
        """Tokens of row number `index`; of its pictures only the headers are read."""
        row = self.rows[index]
        sizes = {}
        for path in row["images"]:
            with Image.open(self.folder / path) as picture:
                width, height = picture.size
                sizes[path] = fitted_size(width, height, self.max_pixels, self.encoder.multiple)
        asked, _ = self.encoder.prompt_ids(row_messages(row)[:-1], sizes)
        return len(asked) + len(answer_ids(self.encoder, answer_of(row)))


def answer_of(row: Record) -> str:
    """What the student should answer."""
    return row["messages"][-1]["content"]


def distill(
    file: Path,
    folder: Path,
    model: Any,
    processor: Any,
    recipe: Recipe = Recipe(),
    progress: Progress = Progress(),
    say: Any = None,
    max_pixels: int = MAX_PIXELS,
) -> Trained:
    """Train `model` on the rows of `file`, states to resume from in `folder`.

    With "lora" the adapter lies in `folder`/adapter afterwards and the model is again what it was; with
    "full" the model itself has changed. Raises ParrotError.
    """
    # Hosts run their nodes without gradients.
    with torch.inference_mode(False), torch.enable_grad():
        encoder = encoder_of(model, processor)
        largest = dict(getattr(processor.image_processor, "size", None) or {}).get("longest_edge", max_pixels)
        rows = Rows(file, encoder, min(max_pixels, largest))
        lengths = []
        for index in range(len(rows)):
            progress.check()
            lengths.append(rows.length(index))
        batches = Batches(
            encoder, rows.example, by_length(lengths, recipe.tokens, recipe.seed, recipe.epochs)
        )
        replace_patch_convolution(model)
        if recipe.method == "full":
            model.requires_grad_(True)
            trained = train(model, batches, folder, recipe.schedule, progress, say)
            model.requires_grad_(False)
            return trained
        return _adapt(model, batches, folder, recipe, progress, say)


def _adapt(
    model: Any, batches: Batches, folder: Path, recipe: Recipe, progress: Progress, say: Any
) -> Trained:
    peft = require_peft()
    config = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        lora_dropout=0.0,
        target_modules=targets(model),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
        # Peft asks transformers 5 by the old name; nobody here can change that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        torch.manual_seed(recipe.seed)
        student = peft.get_peft_model(model, config)
    try:
        # The activations of long questions with images would fill the GPU.
        if model.device.type == "cuda":
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        for weight in student.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        trained = train(student, batches, folder, recipe.schedule, progress, say)
        _save_adapter(peft, student, folder / "adapter")
    finally:
        if model.device.type == "cuda":
            model.gradient_checkpointing_disable()
            model.disable_input_require_grads()
        student.unload()
        model.requires_grad_(False).eval()
    return trained


def _save_adapter(peft: Any, student: Any, folder: Path) -> None:
    """Save the trained LoRA; by hand where peft's own way fails, so that hours of training are not lost to
    it.
    """
    try:
        student.save_pretrained(folder)
        return
    except Exception as error:
        log.warning("peft could not save the adapter.", exc_info=True)
        failure = short(error)
    try:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        weights = peft.get_peft_model_state_dict(student)
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in weights.items()}, folder / WEIGHTS
        )
        student.peft_config["default"].save_pretrained(folder)
    except Exception as error:
        resumes = ", which resumes at the last saved step" if latest_state(folder.parent) else ""
        raise ParrotError(
            f"The trained adapter could not be saved in {folder} ({failure}; {short(error)}): "
            f"make room there and train again{resumes}."
        ) from error


def targets(model: Any) -> list[str]:
    """Names of the language model's linear layers, the ones that LoRA is put on."""
    return [name for name, _ in language_linears(model)]
