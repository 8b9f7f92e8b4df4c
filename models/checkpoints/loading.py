"""Load a checkpoint: quantize on the way in, check what came out, keep a quantized copy for the next
start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..device_memory import forget_frames, give_back
from ..errors import CheckpointError
from ..libraries import (
    attention_implementation,
    pip_command,
    require,
    require_bitsandbytes,
    require_known_to_transformers,
    version,
)
from .discovery import COPY_PREFIX, Checkpoint, inspect_checkpoint
from .layers import (
    KEPT,
    assert_kept_precise,
    assert_quantized,
    language_linears,
    memory,
    quantized_tensors,
    replace_patch_convolution,
)
from .loading_progress import weights_reported
from .quantized_copy import copy_key_of, read_copy, write_copy
from .reading import read_model, read_processor
from .weights import read_json

log = logging.getLogger(__name__)

QUANTIZATIONS = ("nf4", "int8", "none")
# Of `on_progress`: processor read, weights read (and quantized), checked.
STAGES = 3


@dataclass
class Loaded:
    """A model ready to be asked.

    `quantization` is what is really in effect ("nf4", "int8", "none (bf16)", "as stored (fp8)").

    `bytes` counts parameters, buffers and quantization states; `notes` are sentences for the user. `copy_key`
    identifies the quantized copy of these weights ({} where there is none to make); `copied_from` is the copy
    that was read, if one was.
    """

    model: Any
    processor: Any
    checkpoint: Checkpoint
    quantization: str
    bytes: int
    notes: list[str] = field(default_factory=list)
    copy_key: dict[str, Any] = field(default_factory=dict)
    copied_from: Path | None = None
    # Emptied by the first forward.
    untouched: list[bool] = field(default_factory=lambda: [True], repr=False)


def load(
    folder: Path,
    quantization: str = "nf4",
    device: str | torch.device = "cpu",
    attention: str = "auto",
    dtype: torch.dtype | None = None,
    on_progress: Callable[[float, int], None] | None = None,
) -> Loaded:
    """Load a checkpoint from disk, whole on one device.

    Never goes to the network, never runs the checkpoint's own code.

    `quantization` is "nf4", "int8" or "none" (as stored); weights that are stored quantized are loaded as
    they are. `dtype` is that of what stays unquantized and of the computation; None is the right one for the
    device. `on_progress(done, total)` is called at each stage and at each weight, and may raise to cancel.
    Raises CheckpointError. Whatever is raised, nothing is left on the device.
    """
    report = on_progress or (lambda done, total: None)
    try:
        with torch.inference_mode(False):
            loaded = _load(Path(folder), quantization, torch.device(device), attention, dtype, report)
    except BaseException as error:
        # A cancel, too.
        log.debug("Loading %s failed.", folder, exc_info=True)
        forget_frames(error)
        give_back()
        raise
    # Libraries leave cycles behind that hold this very frame, and with it the critic, until they are
    # collected.
    give_back()
    return loaded


def _load(
    folder: Path,
    quantization: str,
    device: torch.device,
    attention: str,
    dtype: torch.dtype | None,
    report: Callable[[float, int], None],
) -> Loaded:
    if quantization not in QUANTIZATIONS:
        raise CheckpointError(f'"{quantization}" is no quantization: choose {", ".join(QUANTIZATIONS)}.')
    checkpoint = inspect_checkpoint(folder)
    notes: list[str] = []
    if checkpoint.embedded:
        if quantization != "none" or device.type != "cpu":
            notes.append(f"{checkpoint.name} is small: it runs unquantized on the CPU, whatever was chosen.")
        quantization, device, dtype = "none", torch.device("cpu"), torch.float32
    ours = "" if checkpoint.quantized or quantization == "none" else quantization
    require("transformers", "4.57")
    require("accelerate", "1.0")
    require_known_to_transformers("accelerate")
    _check_config(checkpoint)
    if ours or checkpoint.quantized in ("nf4", "fp4", "int8"):
        require_bitsandbytes(ours or checkpoint.quantized, device)
    attention = attention_implementation(attention, device)

    if checkpoint.quantized and quantization != checkpoint.quantized:
        notes.append(
            f'{checkpoint.name} is stored as {checkpoint.quantized}, so quantization "{quantization}" was '
            f"not applied."
        )
    precision = dtype or choose_precision(checkpoint, ours, device)
    if precision == torch.float16 != dtype:
        notes.append(
            "This graphics card has no bfloat16, so float16 is used, in which very large activations can "
            "overflow."
        )
    options = {"device_map": {"": device}, "attn_implementation": attention, "dtype": precision or "auto"}

    def reading(share: float) -> None:
        report(1 + share, STAGES)

    report(0, STAGES)
    processor = read_processor(checkpoint)
    report(1, STAGES)
    model, copy, copy_key = None, None, {}
    if ours:
        copy_key = copy_key_of(checkpoint, ours, str(precision))
        copy = checkpoint.folder / f"{COPY_PREFIX}{ours}"
        if copy.is_dir():
            with weights_reported(reading):
                model, note = read_copy(copy, copy_key, checkpoint, options)
            notes.append(note)
    copied_from = copy if model is not None else None
    if model is None:
        config = {"quantization_config": _bitsandbytes_config(ours, precision)} if ours else {}
        with weights_reported(reading):
            model = read_model(checkpoint.folder, checkpoint, options | config)
    report(2, STAGES)

    replace_patch_convolution(model)
    model.eval().requires_grad_(False)
    if ours:
        assert_kept_precise(model)
        assert_quantized(model)
        effect = ours
    else:
        effect, more = _effect(model, checkpoint)
        notes += more
    loaded = Loaded(model, processor, checkpoint, effect, memory(model), notes, copy_key, copied_from)
    _watch_first_forward(model, loaded.untouched)
    report(STAGES, STAGES)
    return loaded


def save_quantized(loaded: Loaded) -> Path:
    """Save the quantized weights beside the original, for `load` to use from then on; returns the copy's
    folder.

    Must be called before the model's first forward: on some CPUs bitsandbytes repacks the weights in it, and
    the quantization states that would be saved then are wrong. Raises CheckpointError, also when there is no
    room; nothing partial is left.
    """
    name = loaded.checkpoint.name
    if not loaded.copy_key:
        raise CheckpointError(
            f"{name} was loaded as {loaded.quantization}, and only nf4 and int8 can be saved: load it as "
            f"one of them."
        )
    if loaded.copied_from:
        return loaded.copied_from
    if not loaded.untouched:
        raise CheckpointError(
            f"{name} has been used already, and its weights may have been repacked: load it again, then "
            f"save it."
        )
    return write_copy(loaded.model, loaded.checkpoint, loaded.quantization, loaded.bytes, loaded.copy_key)


def _bitsandbytes_config(quantization: str, precision: torch.dtype | None) -> Any:
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(KEPT))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
        llm_int8_skip_modules=list(KEPT),
    )


def choose_precision(checkpoint: Checkpoint, ours: str, device: torch.device) -> torch.dtype | None:
    """dtype of what stays unquantized; None for as stored.

    `ours` is what is quantized here ("nf4", "int8" or "").

    bfloat16, in which these models were trained, also for int8 (whose products run in float16) and on CPUs:
    float16 has no room for the large activations of Qwen models (huggingface/transformers#33294), float32
    doubles the memory.
    """
    config = read_json(checkpoint.folder / "config.json")
    stored = str(config.get("dtype") or config.get("torch_dtype") or "")
    lacks_bfloat16 = (
        device.type == "cuda" and not torch.version.hip and torch.cuda.get_device_capability(device)[0] < 8
    )
    if ours or (stored == "bfloat16" and not checkpoint.quantized and lacks_bfloat16):
        return torch.float16 if lacks_bfloat16 else torch.bfloat16
    return None


def _check_config(checkpoint: Checkpoint) -> None:
    config = read_json(checkpoint.folder / "config.json")
    config |= config.get("text_config") or {}
    if version("transformers") < (5,) and "rope_parameters" in config and "rope_scaling" not in config:
        # 4.57 would fall back to default positions without a word, and the critic would misjudge.
        raise CheckpointError(
            f"{checkpoint.name} was saved by transformers 5, and the installed version 4 would misread it: "
            f"run {pip_command('transformers>=5')} and start again."
        )


def _effect(model: nn.Module, checkpoint: Checkpoint) -> tuple[str, list[str]]:
    """What is in effect where nothing was quantized here, and notes on it."""
    linears = language_linears(model)
    names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
    name = names.get(linears[0][1].weight.dtype) if linears else None
    if not checkpoint.quantized:
        return f"none ({name})", []
    if name and not quantized_tensors(model, kept=False):
        return f"none ({name})", [
            (
                f"The {checkpoint.quantized} weights were unpacked to {name} here, and take as much memory "
                f"as "
                f"{name} does."
            )
        ]
    notes = []
    if quantized_tensors(model, kept=True):
        notes.append(
            f"The vision tower or lm_head of {checkpoint.name} is stored quantized: fine flaws may be missed."
        )
    return f"as stored ({checkpoint.quantized})", notes


def _watch_first_forward(model: nn.Module, untouched: list[bool]) -> None:
    def forward(*_: Any) -> None:
        untouched.clear()
        handle.remove()

    linears = language_linears(model)
    handle = (linears[0][1] if linears else model).register_forward_pre_hook(forward)
