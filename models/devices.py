"""The device that a critic computes on."""

from __future__ import annotations

from .errors import CheckpointError


def pick_device(device: str = "auto") -> str:
    """The device for "auto": a CUDA GPU, Apple's GPU, an Intel GPU, or the CPU.

    Raises CheckpointError for a device that this computer does not have.
    """
    import torch

    if device != "auto":
        _check_device(device)
        return device
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "xpu" if hasattr(torch, "xpu") and torch.xpu.is_available() else "cpu"


def _check_device(device: str) -> None:
    """Raise CheckpointError for a device that is not there."""
    import torch

    try:
        wanted = torch.device(device)
        backend = getattr(torch, wanted.type, None) if wanted.type in ("cuda", "xpu") else None
        there = wanted.type != "mps" or torch.backends.mps.is_available()
        if wanted.type in ("cuda", "xpu"):
            there = backend is not None and (wanted.index or 0) < backend.device_count()
    except RuntimeError:
        # No kind of device that torch knows.
        there = False
    if not there:
        raise CheckpointError(
            f'There is no device "{device}" on this computer: choose another one, or "auto" for the best.'
        )
