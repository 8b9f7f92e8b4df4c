"""What Load Critic does: find or download the checkpoint, make room, load, and share one critic between equal loaders."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.checkpoints import adapters, discovery
from ..models.critic import Attention, Quantization
from ..models.images import MAX_PIXELS
from . import host

if TYPE_CHECKING:
    from ..models.residency import ResidentCritic

# Critics that are on a wire now, by what was asked for. Weak, so that this keeps nothing alive.
in_use: weakref.WeakValueDictionary[Hashable, ResidentCritic] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class CriticRequest:
    """The inputs of Load Critic."""

    checkpoint: str
    quantization: Quantization = "nf4"
    adapter: str = adapters.NONE
    attention: Attention = "auto"
    max_pixels: int = MAX_PIXELS
    save_quantized: bool = False


def load_critic(request: CriticRequest) -> ResidentCritic:
    """The critic that is asked for: the one on a wire already where it is the same, else a new one. Raises CheckpointError."""
    from ..models.residency import ComfyResidency, ResidentCritic

    roots, bar = host.model_roots(), host.Bar()
    adapter = adapters.resolve_adapter(request.adapter, roots)
    folder = _folder(request.checkpoint, roots, bar.show)
    # With save_quantized: a critic that has been used can no longer be saved, so that it is loaded anew.
    key = (
        folder,
        str(discovery.stamp(folder)),
        (adapter.folder, *adapter.stamp) if adapter else (),
        request.quantization,
        request.attention,
        request.max_pixels,
        request.save_quantized,
    )
    critic = in_use.get(key)
    if critic is not None:
        return critic
    if in_use:
        host.forget_earlier_runs()
    checkpoint = discovery.inspect_checkpoint(folder)
    # The embedded critic stays off the GPU.
    on_device = not checkpoint.embedded
    if on_device:
        host.make_room(checkpoint.bytes_loaded(request.quantization))

    def on_progress(done: float, total: int) -> None:
        host.check_cancel()
        bar.show(done, total)

    critic = ResidentCritic.load(
        folder,
        request.quantization,
        str(host.device()),
        request.attention,
        request.max_pixels,
        host.rubric_folders(),
        save_quantized=request.save_quantized,
        adapter=adapter.folder if adapter else adapters.NONE,
        residency=(lambda model: ComfyResidency(model, host.device())) if on_device else None,
        on_progress=on_progress,
    )
    critic.engine.residency.ready()
    in_use[key] = critic
    return critic


def _folder(name: str, roots: list[Path], show: Callable[[float, float], None]) -> Path:
    """The folder of the checkpoint, downloaded where it is an official one that is not there and the user has agreed."""
    from ..models.checkpoints import downloads

    checkpoint = discovery.resolve(name, roots)
    if isinstance(checkpoint, discovery.Checkpoint):
        return checkpoint.folder
    offline = host.settings().offline
    downloads.ask_once(checkpoint, roots[0], offline)
    return downloads.download(checkpoint, roots[0], show, host.check_cancel, offline=offline)
