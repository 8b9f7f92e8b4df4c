"""The memory of devices: giving it back, and noticing that it ran out."""

from __future__ import annotations

import gc
import traceback

import torch


def give_back() -> None:
    """Drop what only garbage holds, and return torch's unused reserve to the device."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        torch.xpu.empty_cache()


def forget_frames(error: BaseException) -> None:
    """Empty the frames that an exception, and those it came from, hold: half a model may lie in their
    variables.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        traceback.clear_frames(found.__traceback__)
        found = found.__context__


def free_bytes(device: torch.device) -> int:
    """Memory of a CUDA card that can still be allocated, torch's own unused reserve included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any kind of device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = (
        "out of memory",
        "can't allocate memory",
        "cannot allocate memory",
        "not enough memory",
        "failed to allocate",
    )
    return isinstance(error, (RuntimeError, OSError)) and any(word in str(error).lower() for word in words)
