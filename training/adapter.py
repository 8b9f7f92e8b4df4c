"""From training rows to an adapter in the model folder: QLoRA on the critic that is loaded, LoRA on one that
is not quantized.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..models.checkpoints.adapters import NONE, write_record
from ..models.checkpoints.discovery import ADAPTERS
from ..models.critic import Critic
from ..models.device_memory import forget_frames, give_back, is_out_of_memory
from ..models.engines.base import Progress
from ..models.errors import OutOfMemoryError, ParrotError
from ..parrot.manifest import Manifest, rubric_digests
from ..parrot.resumable import count_lines, digest
from ..parrot.run_lock import exclusive
from ..preferences.dataset import is_plain_name
from .distillation import Recipe, distill
from .plots import describe_losses
from .trainer import Trained

NO_ROOM = (
    "There is not enough memory to train this critic: load it as nf4, or lower max_pixels on Load "
    "Critic, and rationalize again."
)
# Folder beside the rows: states to resume from.
STATES = "training"


@dataclass(frozen=True)
class Learned:
    """An adapter that was trained. `name` is what Load Critic lists."""

    name: str
    folder: Path
    rows: int
    trained: Trained
    critic: str
    recipe: Recipe

    def to_markdown(self) -> str:
        """A short report."""
        return "\n".join(
            [
                f"## Adapter {self.name}",
                "",
                f"Trained on {self.critic} with {self.rows:,} rows, {self.recipe.epochs} times over, in "
                f"{self.trained.steps:,} steps "
                f"(rank {self.recipe.rank}, learning rate {self.recipe.learning_rate:g}, seed "
                f"{self.recipe.seed}).",
                "",
                describe_losses(self.trained.losses),
                "",
                "Choose it as `adapter` on Load Critic; press R if the list does not show it yet.",
            ]
        )


def learn(
    critic: Critic,
    rows: Path,
    name: str,
    root: Path,
    recipe: Recipe = Recipe(),
    progress: Progress = Progress(),
) -> Learned:
    """Train an adapter for the critic on `rows` and put it into `root`/adapters; the critic is afterwards
    what it was.

    A name that is taken gets a number behind it. Stopped and called again, it goes on. Raises ParrotError,
    also for rows that a critic with other rubrics wrote, and OutOfMemoryError.
    """
    critic.require("training")
    engine, loaded = critic.engine, critic.loaded
    if loaded is None:
        raise ParrotError("Only a critic from Load Critic can be trained: connect one.")
    trainable = engine.trainable()
    check_untrained(critic.adapter)
    name = clean_name(name)
    _check_wording(critic, rows)
    engine.release()
    state = json.dumps([digest(rows), critic.name, critic.fingerprint, engine.max_pixels, repr(recipe)])
    work = rows.parent / STATES / hashlib.sha256(state.encode()).hexdigest()[:12]
    with exclusive(work, "training on these rows"):
        try:
            engine.residency.ready(training_bytes(trainable.model, recipe))
            trained = distill(
                rows,
                work,
                trainable.model,
                trainable.processor,
                recipe,
                progress,
                max_pixels=engine.max_pixels,
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            forget_frames(error)
            give_back()
            raise OutOfMemoryError(NO_ROOM) from None
        number = count_lines(rows)
        made_with = {
            "rows": number,
            "rows_sha256": digest(rows),
            "max_pixels": engine.max_pixels,
            **asdict(recipe),
        }
        write_record(work / "adapter", loaded.checkpoint, loaded.quantization, made_with, name=name)
        folder = _publish(work / "adapter", root / ADAPTERS, name)
        shutil.rmtree(work, ignore_errors=True)
    return Learned(folder.name, folder, number, trained, critic.name, recipe)


def _check_wording(critic: Critic, rows: Path) -> None:
    """Rows ask in their teacher's rubrics, and a critic that is asked in others would learn another's
    words.
    """
    made = Manifest.read(rows.parent)
    asked = rubric_digests(lambda task, pair: critic.rubric("auto", edit=task == "edit", pair=pair))
    if made and made.settings.get("rubrics", asked) != asked:
        raise ParrotError(
            f"These explanations were written by a critic with other rubrics than {critic.name}: run "
            f"Rationalize Preferences with "
            "this critic first."
        )


def training_bytes(model: Any, recipe: Recipe) -> int:
    """About how much memory training needs besides the weights: a batch's logits and their gradient, and a
    layer's activations.
    """
    text = model.config.get_text_config()
    # bf16; between layers only checkpoints.
    layer = 16 * text.intermediate_size + 2 * text.num_hidden_layers * text.hidden_size
    return recipe.tokens * (8 * text.vocab_size + layer)


def check_untrained(adapter: str) -> None:
    """Raise ParrotError where a critic has an adapter, named here, already."""
    if adapter not in ("", NONE):
        raise ParrotError(
            f'This critic has the adapter "{adapter}" already: choose adapter = none on Load Critic to train '
            f"one."
        )


def clean_name(name: str, what: str = "an adapter") -> str:
    """A name that is a folder's name on every system. Raises ParrotError for one that cannot be."""
    if (
        not re.fullmatch(r"[\w][\w .-]{0,62}[\w]|[\w]", name)
        or name.casefold() == "none"
        or not is_plain_name(name)
    ):
        raise ParrotError(f'"{name}" cannot be {what}\'s name: use letters, digits, spaces, dots, - and _.')
    return name


def _publish(made: Path, adapters: Path, name: str) -> Path:
    """Move the finished adapter to its place, as a whole, under a name that is free."""
    adapters.mkdir(parents=True, exist_ok=True)
    scratch = adapters / f".{name}-{os.getpid()}-{time.time_ns()}"
    try:
        shutil.copytree(made, scratch)
        for number in range(1, 1000):
            target = adapters / (name if number == 1 else f"{name}-{number}")
            if not target.exists():
                scratch.rename(target)
                return target
    except OSError as error:
        raise ParrotError(
            f"The adapter could not be written to {adapters} ({error}): mend that and train again."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    raise ParrotError(f'There are too many adapters named "{name}": choose another name.')
