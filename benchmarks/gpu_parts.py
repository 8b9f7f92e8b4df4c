"""The measurements of `python -m benchmarks gpu`, each in a process of its own.

A part notes every figure as soon as it has it, so that what was measured before a failure is not lost.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rational_rewards.demo.checkpoint import EIGHT_BILLION, TINY, build_checkpoint
from rational_rewards.models.checkpoints.layers import memory
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.models.critic import Critic
from rational_rewards.models.device_memory import give_back
from rational_rewards.models.engines.session import Session
from rational_rewards.models.engines.transformers_engine import TransformersEngine
from rational_rewards.models.residency import ComfyResidency, ResidentCritic, device_of, move

from .engine import PROMPT, Bench, decode_speed, noise, timed
from .machine import machine

ROOT = Path(__file__).parent.parent
ROWS = (1, 2, 4, 8, 16, 32)
# What making the 8B shape in bf16 needs.
MAKING_BYTES = 20e9
# Free-text tokens of the answers: what they say does not matter here.
SHORT = 64


@dataclass(frozen=True)
class Setting:
    """What a part measures on. `note(**figures)` keeps figures."""

    work: Path
    tiny: bool
    device: str
    note: Callable[..., None]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint with random weights that the first part writes."""
        return self.work / "checkpoint"

    @property
    def card(self) -> torch.device:
        """The device that is measured: never equal to "cpu", so that moves are real."""
        return torch.device(self.device, 0)

    def allocated(self) -> int:
        """Bytes of tensors on the card; 0 without one."""
        return torch.cuda.memory_allocated() if self.device == "cuda" else 0

    def peak(self) -> int:
        """The most that was allocated since the last call; 0 without a card."""
        if self.device != "cuda":
            return 0
        most = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return most


def checkpoint(setting: Setting) -> None:
    """Random weights of the shape, made on the card where they fit, because a processor takes minutes."""
    shape = TINY if setting.tiny else EIGHT_BILLION
    large = setting.device == "cuda" and torch.cuda.mem_get_info()[0] > MAKING_BYTES
    with torch.device(setting.card if large else "cpu"):
        _, seconds = timed(
            lambda: build_checkpoint(setting.checkpoint, shape, dtype="bfloat16", shards="4GB"),
            setting.device,
        )
    size = sum(file.stat().st_size for file in setting.checkpoint.glob("*.safetensors"))
    setting.note(
        machine=machine(setting.device),
        torch=torch.__version__,
        transformers=__import__("transformers").__version__,
        bitsandbytes=__import__("bitsandbytes").__version__,
        seconds=seconds,
        bytes=size,
    )


def weights(quantization: str) -> Callable[[Setting], None]:
    """The part that measures one way to hold the weights."""

    def measure(setting: Setting) -> None:
        setting.peak()
        loaded, seconds = timed(
            lambda: load(setting.checkpoint, quantization, setting.device), setting.device
        )
        setting.note(load_seconds=seconds, load_peak=setting.peak(), resting=setting.allocated())
        setting.note(weight_bytes=loaded.bytes)
        bench = Bench(loaded, SHORT)
        inputs = bench.inputs(bench.question(noise(1)[0], PROMPT))
        moves(setting, loaded, inputs, quantization)
        decoding(setting, loaded, inputs)
        answers(setting, bench)

    return measure


def moves(setting: Setting, loaded: Any, inputs: dict[str, torch.Tensor], quantization: str) -> None:
    """To host memory and back, and whether the logits are the same afterwards."""
    # bitsandbytes repacks 4-bit weights for a processor at their first use, and they never move again.
    if setting.device == "cpu":
        other = load(setting.checkpoint, quantization, "cpu")
        before = Session.prefill(other.model, inputs).logits
    else:
        before = Session.prefill(loaded.model, inputs).logits
    host = torch.device("cpu")
    _, away = timed(lambda: move(loaded.model, host), setting.device)
    give_back()
    left = setting.allocated()
    _, back = timed(lambda: move(loaded.model, setting.card), setting.device)
    after = Session.prefill(loaded.model, {k: tensor.to(setting.card) for k, tensor in inputs.items()}).logits
    setting.note(
        to_host_seconds=away,
        to_card_seconds=back,
        left=left,
        equal=bool(torch.equal(before, after.to(before))),
    )


def decoding(setting: Setting, loaded: Any, inputs: dict[str, torch.Tensor]) -> None:
    """Tokens a second for 1 to 32 rows, and the share of the memory's bandwidth that one row uses."""
    given = {key: tensor.to(setting.card) for key, tensor in inputs.items()}
    # The first calls choose and compile kernels.
    decode_speed(loaded, given, setting.device, steps=4)
    speeds: dict[str, float] = {}
    for rows in ROWS:
        figures = decode_speed(loaded, given, setting.device, rows)
        speeds[str(rows)] = figures["tokens_per_second"]
        setting.note(tokens_per_second=speeds)
        if rows == 1:
            # Only questions need these.
            unread = memory(loaded.model.model.visual) + loaded.model.get_input_embeddings().weight.nbytes
            read = loaded.bytes - unread + figures["cache_bytes"]
            speed = bandwidth(setting)
            setting.note(bandwidth=speed, bandwidth_share=read * speeds["1"] / speed)
        give_back()


def answers(setting: Setting, bench: Bench) -> None:
    """Seconds and peak memory of a critique of one image and of eight."""
    for name, count in (("one", 1), ("eight", 8)):
        setting.peak()
        images = noise(count)
        work = lambda: bench.critic().critique(images, PROMPT, **bench.sampling)  # noqa: B023, E731
        setting.note(**{f"{name}_seconds": timed(work, setting.device)[1], f"{name}_peak": setting.peak()})
        give_back()


def bandwidth(setting: Setting, repeat: int = 10) -> float:
    """Bytes a second that the device reads and writes when it copies a large tensor."""
    size = 2**24 if setting.tiny else 2**31
    source = torch.empty(size, dtype=torch.uint8, device=setting.card)
    target = torch.empty_like(source)
    target.copy_(source)
    _, seconds = timed(lambda: [target.copy_(source) for _ in range(repeat)], setting.device)
    return 2 * size * repeat / seconds


def qlora(setting: Setting) -> None:
    """One step of QLoRA on one row, as training makes it."""
    from rational_rewards.training.distillation import Recipe, distill

    loaded = load(setting.checkpoint, "nf4", setting.device)
    noise(1)[0].save(setting.work / "row.png")
    row = {
        "id": "0",
        "images": ["row.png"],
        "messages": [
            {"role": "user", "content": f"<image>\n{PROMPT}"},
            {"role": "assistant", "content": "It asks for a red fox. " * 60},
        ],
    }
    rows = setting.work / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n", encoding="utf-8")
    setting.note(resting=setting.allocated())
    setting.peak()
    states = setting.work / "states"
    recipe = Recipe(epochs=1)
    trained, seconds = timed(
        lambda: distill(rows, states, loaded.model, loaded.processor, recipe), setting.device
    )
    setting.note(seconds=seconds, steps=trained.steps, peak=setting.peak())


def comfyui(setting: Setting) -> None:
    """Evicted by a real ComfyUI's memory manager, and asked again."""
    sys.path.append(str(ROOT / "scripts"))
    from comfyui_checkouts import HINT, checkouts, version

    if not (found := checkouts()):
        setting.note(skipped=HINT)
        return
    sys.argv = [sys.argv[0], *(["--cpu"] if setting.device == "cpu" else [])]
    sys.path.insert(0, str(found[0]))
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.model_management as manager

    setting.note(version=version(found[0]))
    critic = ResidentCritic.load(
        setting.checkpoint,
        "int8" if setting.tiny else "nf4",
        setting.device,
        residency=lambda model: ComfyResidency(model, setting.card),
    )
    image = noise(1)[0]
    answer, seconds = timed(lambda: _asked(critic, image), setting.device)
    setting.note(first_seconds=seconds, resting=setting.allocated())
    _, seconds = timed(lambda: manager.free_memory(1e30, setting.card), setting.device)
    model: Any = critic.engine
    where = device_of(model.model)
    give_back()
    setting.note(eviction_seconds=seconds, evicted=where == torch.device("cpu"), left=setting.allocated())
    again, seconds = timed(lambda: _asked(critic, image), setting.device)
    setting.note(again_seconds=seconds, back=device_of(model.model) == setting.card, equal=again == answer)


def _asked(critic: Critic, image: Any) -> str:
    """A critique that nothing is remembered of."""
    critic.answering.cache.clear()
    engine: Any = critic.engine
    assert isinstance(engine, TransformersEngine)
    engine.release()
    engine.seen.kept.clear()
    return critic.critique(image, PROMPT, max_new_tokens=SHORT).judgements[0].raw


def kept(file: Path) -> Callable[..., None]:
    """A `note` that keeps all figures in a file."""
    from rational_rewards.models.files import write_json

    figures: dict[str, Any] = {}

    def note(**more: Any) -> None:
        figures.update(more)
        write_json(file, figures)

    note(started=time.time())
    return note
