"""Load a checkpoint: quantize on the way in, check what came out, keep a quantized copy for the next start."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import torch
from torch import nn

from .checkpoints import COPY_PREFIX, Checkpoint, check_safetensors, inspect_checkpoint, read_json, weight_files
from .errors import CheckpointError

log = logging.getLogger(__name__)

QUANTIZATIONS = ("nf4", "int8", "none")
ATTENTIONS = ("auto", "sdpa", "flash_attention_2")
# Kept 16-bit: fine flaws are lost in a 4-bit vision tower, and lm_head decides the scores. Full names, because transformers 5
# matches from the start of a name, where 4.57 matches anywhere; without lm_head in the list it would be quantized.
KEPT = ("model.visual", "lm_head")
COPY_RECORD = "source.json"
STAGES = 3  # of `on_progress`: processor read, weights read (and quantized), checked
PRECISE = (torch.float32, torch.float16, torch.bfloat16)
# What reads weights that are stored quantized. bitsandbytes is checked before, by its version.
PACKAGES = {
    "awq": '"gptqmodel" (transformers 4: "autoawq")',
    "gptq": '"gptqmodel" "optimum"',
    "compressed-tensors": '"compressed-tensors>=0.15"',
    "torchao": '"torchao"',
    "hqq": '"hqq"',
    "quanto": '"optimum-quanto"',
    "auto-round": '"auto-round"',
}


@dataclass
class Loaded:
    """A model ready to be asked. `quantization` is what is really in effect ("nf4", "int8", "none (bf16)", "as stored (fp8)").

    `bytes` counts parameters, buffers and quantization states; `notes` are sentences for the user. `copy_key` identifies the
    quantized copy of these weights ({} where there is none to make); `copied_from` is the copy that was read, if one was.
    """

    model: Any
    processor: Any
    checkpoint: Checkpoint
    quantization: str
    bytes: int
    notes: list[str] = field(default_factory=list)
    copy_key: dict[str, Any] = field(default_factory=dict)
    copied_from: Path | None = None
    untouched: list[bool] = field(default_factory=lambda: [True], repr=False)  # emptied by the first forward


class PatchProjection(nn.Conv3d):
    """A Conv3d whose kernel equals its stride, as the matrix product that it is on single patches. Same parameters and names.

    PyTorch 2.9 with cuDNN 9.10-9.14 runs this convolution 10-20 times slower than the product (pytorch/pytorch#174051).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input` [N, C, T, H, W], one patch each, to [N, channels, 1, 1, 1]."""
        if input.shape[2:] != self.weight.shape[2:]:
            return super().forward(input)
        product = nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def load(
    folder: Path,
    quantization: str = "nf4",
    device: str | torch.device = "cpu",
    attention: str = "auto",
    dtype: torch.dtype | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Loaded:
    """Load a checkpoint from disk, whole on one device. Never goes to the network, never runs the checkpoint's own code.

    `quantization` is "nf4", "int8" or "none" (as stored); weights that are stored quantized are loaded as they are. `dtype` is
    that of what stays unquantized and of the computation; None is the right one for the device. `on_progress(done, total)` is
    called at each stage and may raise to cancel. Raises CheckpointError, with nothing left on the device.
    """
    try:
        with torch.inference_mode(False):
            return _load(Path(folder), quantization, torch.device(device), attention, dtype, on_progress or (lambda done, total: None))
    except CheckpointError as error:
        log.debug("Loading %s failed.", folder, exc_info=True)
        failure = CheckpointError(*error.args)
    # Out here no traceback holds the model any more, so that its memory really is free when the caller reads the error.
    _free_memory()
    raise failure


def _load(
    folder: Path,
    quantization: str,
    device: torch.device,
    attention: str,
    dtype: torch.dtype | None,
    report: Callable[[int, int], None],
) -> Loaded:
    if quantization not in QUANTIZATIONS:
        raise CheckpointError(f'"{quantization}" is no quantization: choose {", ".join(QUANTIZATIONS)}.')
    checkpoint = inspect_checkpoint(folder)
    ours = "" if checkpoint.quantized or quantization == "none" else quantization
    _check_libraries(checkpoint)
    if ours or checkpoint.quantized in ("nf4", "fp4", "int8"):
        _check_bitsandbytes(ours or checkpoint.quantized, device)
    attention = _attention(attention, device)

    notes: list[str] = []
    if checkpoint.quantized and quantization != checkpoint.quantized:
        notes.append(f'{checkpoint.name} is stored as {checkpoint.quantized}, so quantization "{quantization}" was not applied.')
    precision = dtype or _precision(checkpoint, ours, device)
    if precision == torch.float16 != dtype:
        notes.append("This graphics card has no bfloat16, so float16 is used, in which very large activations can overflow.")
    options = {"device_map": {"": device}, "attn_implementation": attention, "dtype": precision or "auto"}

    report(0, STAGES)
    processor = _read_processor(checkpoint)
    report(1, STAGES)
    model, copy, copy_key = None, None, {}
    if ours:
        copy_key = _copy_key(checkpoint, ours, str(precision))
        copy = checkpoint.folder / f"{COPY_PREFIX}{ours}"
        if copy.is_dir():
            model, note = _read_copy(copy, copy_key, checkpoint, options)
            notes.append(note)
    copied_from = copy if model is not None else None
    if model is None:
        config = {"quantization_config": _bitsandbytes_config(ours, precision)} if ours else {}
        model = _read_model(checkpoint.folder, checkpoint, options | config)
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
    """Save the quantized weights beside the original, for `load` to use from then on; returns the copy's folder.

    Must be called before the model's first forward: on some CPUs bitsandbytes repacks the weights in it, and the quantization
    states that would be saved then are wrong. Raises CheckpointError, also when there is no room; nothing partial is left.
    """
    folder, name = loaded.checkpoint.folder, loaded.checkpoint.name
    if not loaded.copy_key:
        raise CheckpointError(f"{name} was loaded as {loaded.quantization}, and only nf4 and int8 can be saved: load it as one of them.")
    if loaded.copied_from:
        return loaded.copied_from
    if not loaded.untouched:
        raise CheckpointError(f"{name} has been used already, and its weights may have been repacked: load it again, then save it.")
    copy = folder / f"{COPY_PREFIX}{loaded.quantization}"
    needed, free = loaded.bytes + 2**26, shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(
            f"The quantized copy of {name} needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free: make room there."
        )
    _remove_leftovers(folder)
    scratch = folder / f".{copy.name}-{os.getpid()}-{time.time_ns()}"
    try:
        scratch.mkdir()
        with torch.inference_mode(False):
            loaded.model.save_pretrained(scratch, max_shard_size="5GB")
        (scratch / COPY_RECORD).write_text(json.dumps(loaded.copy_key, indent=2), encoding="utf-8")
        if copy.exists():
            copy.rename(scratch.with_name(scratch.name + ".old"))
        scratch.rename(copy)
    except Exception as error:
        raise CheckpointError(f"The quantized copy of {name} could not be saved in {folder} ({_short(error)}).") from error
    finally:
        for leftover in (scratch, scratch.with_name(scratch.name + ".old")):
            shutil.rmtree(leftover, ignore_errors=True)
    return copy


def assert_kept_precise(model: nn.Module) -> None:
    """Raise CheckpointError unless the vision tower and lm_head have 16- or 32-bit weights."""
    quantized = _quantized_where(model, kept=True)
    if quantized is None:
        raise CheckpointError("The model has no vision tower or no lm_head where they are expected: update this pack.")
    if quantized:
        raise CheckpointError(f"{quantized[0]} was quantized although it must stay precise: update transformers or choose quantization none.")


def assert_quantized(model: nn.Module) -> None:
    """Raise CheckpointError unless every linear layer of the language model is quantized."""
    linears = _language_linears(model)
    plain = [name for name, module in linears if module.weight.dtype in PRECISE]
    if plain or not linears:
        raise CheckpointError(
            f"{plain[0] if plain else 'The language model'} was not quantized: update bitsandbytes and transformers, "
            "or choose quantization none."
        )


def replace_patch_convolution(model: nn.Module) -> int:
    """Put a PatchProjection in the place of every Conv3d that has no overlap; returns how many. Outputs stay equal."""
    found = 0
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Conv3d or module.kernel_size != module.stride or module.groups != 1:
            continue
        if any(module.padding) or set(module.dilation) != {1}:
            continue
        product = PatchProjection(
            module.in_channels, module.out_channels, module.kernel_size, module.stride, bias=module.bias is not None, device="meta"
        )
        product.weight, product.bias = module.weight, module.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, product.train(module.training))
        found += 1
    return found


def memory(model: nn.Module) -> int:
    """Bytes of parameters, buffers and quantization states; what shares its memory counts once."""
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        weight = getattr(module, "weight", None)
        for owner in (weight, getattr(module, "state", None)):  # bitsandbytes int8, before and after the first forward
            tensors += [getattr(owner, name, None) for name in ("CB", "SCB")]
        state = getattr(weight, "quant_state", None)  # bitsandbytes 4-bit; double quantization nests a second state
        while state is not None:
            tensors += [getattr(state, name, None) for name in ("absmax", "code", "offset")]
            state = getattr(state, "state2", None)
    return sum({(t.device, t.data_ptr()): t.nbytes for t in tensors if isinstance(t, torch.Tensor)}.values())


def pip_command(requirements: str) -> str:
    """The command that installs into the Python that runs this, portable builds and virtual environments included."""
    python = sys.executable or "python"
    return f'{f"{chr(34)}{python}{chr(34)}" if " " in python else python} -m pip install -U {requirements}'


def _check_libraries(checkpoint: Checkpoint) -> None:
    version = _version("transformers")
    if version < (4, 57):
        raise CheckpointError(_install("transformers", "4.57", version))
    if not _version("accelerate"):
        raise CheckpointError(_install("accelerate", "1.0", ()))
    text = _text_config(checkpoint.folder)
    if version < (5,) and "rope_parameters" in text and "rope_scaling" not in text:
        # 4.57 would fall back to its default positions without a word, and judge wrongly.
        raise CheckpointError(
            f"{checkpoint.name} was saved by transformers 5, and the installed version 4 would misread it: "
            f'run {pip_command(chr(34) + "transformers>=5" + chr(34))} and start again.'
        )


def _check_bitsandbytes(quantization: str, device: torch.device) -> None:
    version = _version("bitsandbytes")
    if version < (0, 50):
        raise CheckpointError(_install("bitsandbytes", "0.50", version, ", or choose quantization = none"))
    failure = ""
    try:
        with _without_kernel_downloads():
            import bitsandbytes.functional

        if quantization == "int8":
            bitsandbytes.functional.int8_vectorwise_quant(torch.zeros(16, 64, dtype=torch.float16, device=device))
        else:
            bitsandbytes.functional.quantize_4bit(torch.zeros(64, 64, dtype=torch.float16, device=device), quant_type="nf4")
    except Exception as error:
        log.warning("bitsandbytes does not work.", exc_info=True)
        failure = _short(error)
    if failure:
        raise CheckpointError(
            f"bitsandbytes does not work on {device} here ({failure}): choose quantization = none, "
            f'or run {pip_command(chr(34) + "bitsandbytes>=0.50" + chr(34))} and start again.'
        )
    # int8 casts the inputs of its products from bfloat16 to float16 and says so at every layer of every token.
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_no_cast_warning)
