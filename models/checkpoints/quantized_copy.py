"""The quantized copy of a checkpoint: a folder inside it that the next start reads instead."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..libraries import short, version
from .discovery import COPY_PREFIX, Checkpoint, stamp
from .layers import KEPT
from .reading import read_model
from .weights import check_safetensors, read_json, weight_files

COPY_RECORD = "source.json"


def copy_key_of(checkpoint: Checkpoint, quantization: str, precision: str) -> dict[str, Any]:
    """What the quantized copy depends on; equal keys, equal weights."""
    # 4 misreads a config.json that 5 has written.
    return {
        "files": stamp(checkpoint.folder),
        "quantization": quantization,
        "double_quantization": quantization == "nf4",
        "dtype": precision,
        "kept": list(KEPT),
        "bitsandbytes": list(version("bitsandbytes")),
        "transformers": version("transformers")[0],
    }


def read_copy(
    copy: Path, key: dict[str, Any], checkpoint: Checkpoint, options: dict[str, Any]
) -> tuple[Any, str]:
    """The model from the quantized copy, or None if the copy is stale or damaged; and a note on it."""
    try:
        if read_json(copy / COPY_RECORD) != key:
            return (
                None,
                f"The quantized copy {copy} was made of other files or versions, so the original was read.",
            )
        for name in weight_files(copy):
            check_safetensors(copy / name)
        return read_model(copy, checkpoint, options), f"Read from the quantized copy {copy}."
    except (OSError, ValueError, CheckpointError) as error:
        return None, f"The quantized copy {copy} cannot be used ({short(error)}), so the original was read."


def write_copy(model: Any, checkpoint: Checkpoint, quantization: str, size: int, key: dict[str, Any]) -> Path:
    """Save a model of `size` bytes in memory as the checkpoint's quantized copy; returns the copy's folder.

    Raises CheckpointError, also when there is no room; nothing partial is left, and a copy that was there
    stays until the new one is complete.
    """
    folder, name = checkpoint.folder, checkpoint.name
    copy = folder / f"{COPY_PREFIX}{quantization}"
    needed, free = size + 2**26, shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(
            f"The quantized copy of {name} needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} "
            f"GB are free: "
            "make room there."
        )
    _remove_leftovers(folder)
    scratch = folder / f".{copy.name}-{os.getpid()}-{time.time_ns()}"
    try:
        scratch.mkdir()
        with torch.inference_mode(False):
            model.save_pretrained(scratch, max_shard_size="5GB")
        (scratch / COPY_RECORD).write_text(json.dumps(key, indent=2), encoding="utf-8")
        if copy.exists():
            copy.rename(scratch.with_name(scratch.name + ".old"))
        scratch.rename(copy)
    except Exception as error:
        raise CheckpointError(
            f"The quantized copy of {name} could not be saved in {folder} ({short(error)})."
        ) from error
    finally:
        for leftover in (scratch, scratch.with_name(scratch.name + ".old")):
            shutil.rmtree(leftover, ignore_errors=True)
    return copy


def _remove_leftovers(folder: Path) -> None:
    """Delete what a save that was killed has left, but nothing that another process may be writing just
    now.
    """
    for leftover in folder.glob(f".{COPY_PREFIX}*"):
        if time.time() - leftover.stat().st_mtime > 86400:
            shutil.rmtree(leftover, ignore_errors=True)
