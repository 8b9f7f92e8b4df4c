"""Which libraries are installed and usable, and the command that mends it where one is not."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import platform
import re
import sys
from collections.abc import Iterator

import torch

from .errors import CheckpointError
from .version import pack_version

log = logging.getLogger(__name__)

ATTENTIONS = ("auto", "sdpa", "flash_attention_2")
# What reads weights that are stored quantized. bitsandbytes is checked apart, by its version.
PACKAGES = {
    "gptq": ("gptqmodel", "optimum"),
    "compressed-tensors": ("compressed-tensors>=0.15",),
    "torchao": ("torchao",),
    "hqq": ("hqq",),
    "quanto": ("optimum-quanto",),
    "auto-round": ("auto-round",),
}


def pip_command(*packages: str) -> str:
    """The command that installs into the Python that runs this, be it a portable build or a virtual environment."""
    words = [
        f'"{word}"' if set(word) & set(" <>=") else word for word in (sys.executable or "python", *packages)
    ]
    return f"{words[0]} -m pip install -U {' '.join(words[1:])}"


def packages_for(method: str) -> tuple[str, ...]:
    """What to install to read weights that are stored quantized by this method; () if nothing would help."""
    if method == "awq":
        return ("gptqmodel",) if version("transformers") >= (5,) else ("autoawq",)
    return PACKAGES.get(method, ())


def version(package: str) -> tuple[int, ...]:
    """(major, minor) of an installed package; () if it is not installed."""
    try:
        found = re.match(r"(\d+)\.(\d+)", importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in found.groups()) if found else (0, 0)


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python, this pack and the packages, by name; a package that is not installed is left out."""
    numbers = {"python": platform.python_version(), "rational_rewards": pack_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            numbers[package] = importlib.metadata.version(package)
    return numbers


def require(package: str, minimum: str, otherwise: str = "") -> None:
    """Raise CheckpointError, with the command that mends it, unless a package has at least version `minimum` ("4.57")."""
    installed = version(package)
    if installed < tuple(int(part) for part in minimum.split(".")):
        what = (
            f"{package} {'.'.join(map(str, installed))} is too old"
            if installed
            else f"{package} is not installed"
        )
        raise CheckpointError(
            f"{what}: run {pip_command(f'{package}>={minimum}')} and start again{otherwise}."
        )


def require_known_to_transformers(package: str, otherwise: str = "") -> None:
    """Raise CheckpointError where a package was installed after transformers had looked for it.

    transformers asks once in a process which packages there are; what comes later half works, and fails at the end of a
    training at the latest.
    """
    from transformers.utils import import_utils

    is_available = getattr(import_utils, f"is_{package}_available", None)
    if is_available and not is_available():
        raise CheckpointError(
            f"{package} was installed while ComfyUI was running: restart ComfyUI (or this program){otherwise}."
        )


def require_bitsandbytes(quantization: str, device: torch.device) -> None:
    """Raise CheckpointError unless bitsandbytes is there and quantizes a small tensor on `device`."""
    require("bitsandbytes", "0.50", ", or choose quantization = none")
    require_known_to_transformers("bitsandbytes", ", or choose quantization = none")
    failure = ""
    try:
        with without_kernel_downloads():
            import bitsandbytes.functional
        if quantization == "int8":
            bitsandbytes.functional.int8_vectorwise_quant(
                torch.zeros(16, 64, dtype=torch.float16, device=device)
            )
        else:
            bitsandbytes.functional.quantize_4bit(
                torch.zeros(64, 64, dtype=torch.float16, device=device), quant_type="nf4"
            )
    except Exception as error:
        log.warning("bitsandbytes does not work.", exc_info=True)
        failure = short(error)
    if failure:
        raise CheckpointError(
            f"bitsandbytes does not work on {device} here ({failure}): choose quantization = none, "
            f"or run {pip_command('bitsandbytes>=0.50')} and start again."
        )
    # int8 casts bfloat16 inputs of its products to float16, and would log that for every layer at every token.
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_is_news)


def attention_implementation(attention: str, device: torch.device) -> str:
    """transformers' name of the attention to use. Raises CheckpointError if it cannot run here."""
    if attention not in ATTENTIONS:
        raise CheckpointError(f'"{attention}" is no attention: choose {", ".join(ATTENTIONS)}.')
    if attention != "flash_attention_2":
        return "sdpa"
    if device.type != "cuda":
        raise CheckpointError(
            f"flash_attention_2 runs on CUDA devices only, not on {device}: choose attention = auto."
        )
    if importlib.util.find_spec("flash_attn") is None:
        raise CheckpointError(
            f"flash-attn is not installed: choose attention = auto, or run {pip_command('flash-attn')}."
        )
    return attention


def short(error: BaseException) -> str:
    """An exception in a few words, without its final full stop."""
    text = " ".join(str(error).split())[:200].rstrip(". ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(
        ("MatMul8bitLt: inputs will be cast", "Failed to load CPU gemm_4bit_forward")
    )


@contextlib.contextmanager
def without_kernel_downloads() -> Iterator[None]:
    """Hide `kernels` from bitsandbytes, which would fetch compiled code from the hub while it is imported on some CPUs."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_news)
    hidden = sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["kernels"]
        if hidden is not None:
            sys.modules["kernels"] = hidden
