"""What a benchmark runs on, and how time is counted there."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def precision(quantization: str, device: str) -> torch.dtype | None:
    """float32 for unquantized weights on a processor that computes bfloat16 in pieces; None: the loader's
    choice.
    """
    flags = next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("flags")), "")
    slow = device == "cpu" and quantization == "none" and not {"avx512_bf16", "amx_bf16"} & set(flags.split())
    return torch.float32 if slow else None


def counts_processor_time(device: str) -> bool:
    """Whether `timed` counts the processor's seconds; threads that wait for each other would count twice."""
    return device == "cpu" and torch.get_num_threads() == 1


def machine(device: str) -> str:
    """What this was measured on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    if counts_processor_time(device):
        return f"{name}, one thread, seconds of the processor"
    return f"{name}, {torch.get_num_threads()} threads"


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
