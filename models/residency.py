"""Residency: to ComfyUI's memory manager the critic is a model like any other, moved and evicted with the rest.

The manager knows models by their patcher. Ours moves the critic as a whole, bitsandbytes weights included, and leaves everything
else to the manager: when a sampler needs the room it calls `detach`, and when the critic is asked again `ComfyResidency.ready` calls
the manager, which makes room and calls `partially_load`. Written for ComfyUI 0.8.0 to 0.33.0.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from .checkpoints.layers import memory
from .critic import Critic
from .engines.base import Residency


class RationalRewardsCritic(nn.Module):
    """What the manager sees as the model, and names in its log. It sets `device` itself, which transformers' models do not allow."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner
        self.device = device_of(inner)


class ResidentCritic(Critic):
    """A critic whose model ComfyUI moves. ComfyUI looks for `patcher` on what goes over a wire."""

    @property
    def patcher(self) -> Any:
        """The memory manager's handle of the model; None for one that stays on the CPU."""
        return getattr(self.engine.residency, "patcher", None)


class ComfyResidency(Residency):
    """A model under ComfyUI's memory manager, from the device where it is now. `patcher` is the manager's handle.

    Whoever owns the model must own this: the manager itself holds the patcher weakly. One ComfyResidency for a model, all its life.
    """

    def __init__(self, model: nn.Module, load_device: torch.device):
        held = RationalRewardsCritic(model)
        if load_device.index is None and held.device.type == load_device.type:
            held.device = load_device  # a weight's "mps:0" is not equal to the manager's "mps", and would be moved for nothing
        # Not `unet_offload_device()`: with --highvram that is the card itself, and the critic could never make room.
        host = torch.device("cpu")
        self.patcher = _patcher_class()(
            held, load_device=load_device, offload_device=host, size=max(1, memory(model))
        )

    def ready(self, working_bytes: int = 0) -> None:
        """Bring the model to the device on which it computes, with `working_bytes` free beside it. Costs next to nothing if it is there.

        The manager may evict other models for that, and ours at any time between two calls.
        """
        import comfy.model_management as manager

        manager.load_models_gpu([self.patcher], memory_required=working_bytes)

    def evict_others(self) -> None:
        """Evict everything else from the device: the last resort when memory ran out."""
        import comfy.model_management as manager

        ours = [entry for entry in manager.current_loaded_models if entry.model is self.patcher]
        if self.patcher.load_device != self.patcher.offload_device:
            manager.free_memory(1e30, self.patcher.load_device, ours)


def move(model: nn.Module, device: torch.device) -> None:
    """Move a model as a whole, also one that bitsandbytes quantized.

    `nn.Module.to`, because transformers' own `to` refuses some quantized models. Moving the module skips what int8 layers keep
    beside their weight (bitsandbytes#1332), so that is put right afterwards.
    """
    with torch.inference_mode(
        False
    ):  # the host runs nodes in it, and weights made there could never be trained
        nn.Module.to(model, device)
        for module in model.modules():
            for owner in (getattr(module, "weight", None), getattr(module, "state", None)):
                if isinstance(getattr(owner, "CB", None), torch.Tensor):
                    owner.CB = module.weight.data  # type: ignore[union-attr]
                if isinstance(getattr(owner, "SCB", None), torch.Tensor):
                    owner.SCB = owner.SCB.to(device)  # type: ignore[union-attr]


def device_of(model: nn.Module) -> torch.device:
    """The device that a model lies on as a whole."""
    return next(model.parameters()).device


@functools.cache
def _patcher_class() -> type:
    """The class, made when ComfyUI is there."""
    # Not CoreModelPatcher, which newer versions replace by one that loads and rewrites single layers.
    from comfy.model_patcher import ModelPatcher

    class CriticPatcher(ModelPatcher):
        """All or nothing: quantized layers cannot be loaded in parts."""

        def is_dynamic(self) -> bool:
            # Dynamic VRAM pages single weights in and out, which quantized ones do not bear.
            return False

        def model_dtype(self) -> None:
            # There is no one dtype, and the manager must cast nothing.
            return None

        def loaded_size(self) -> int:
            # What an eviction would give back.
            return self.model_size() if self.model.device == self.load_device else 0

        def current_loaded_device(self) -> torch.device:
            # Where it is the load device, the manager asks for no room.
            return self.model.device

        def partially_load(
            self, device_to: torch.device, extra_memory: float = 0, force_patch_weights: bool = False
        ) -> int:
            # `extra_memory` is a budget, and may be next to nothing on a small card; there is no smaller critic to load.
            before = self.loaded_size()
            try:
                self._move_to(device_to)
            except BaseException:
                # The manager does not list a model whose loading failed, so nobody else would ever move the half of it back.
                self._move_to(self.offload_device)
                raise
            return self.loaded_size() - before

        def partially_unload(
            self, device_to: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
        ) -> int:
            # Nothing was freed: whoever answers otherwise stays on the card and is believed to be gone.
            return 0

        def detach(self, unpatch_all: bool = True) -> Any:
            # False comes with every repeated request of the same model and from `__del__`, and must not move it.
            model = getattr(self, "model", None)  # not there if the constructor failed
            if unpatch_all and model is not None:
                self._move_to(self.offload_device)
            return model

        def patch_model(self, *args: Any, **kwargs: Any) -> Any:
            # No patches: adapters are put on when the critic is loaded.
            return self.model

        def unpatch_model(self, device_to: torch.device | None = None, unpatch_weights: bool = True) -> None:
            # Same, but the caller may still want it elsewhere.
            if device_to is not None and unpatch_weights:
                self._move_to(device_to)

        def load(self, device_to: torch.device | None = None, *args: Any, **kwargs: Any) -> None:
            # The part of `patch_model` that moves weights.
            if device_to is not None:
                self._move_to(device_to)

        def add_patches(self, *args: Any, **kwargs: Any) -> list[Any]:
            # LoRA loaders of diffusion models have no key in common with it.
            return []

        def clone(self, *args: Any, **kwargs: Any) -> Any:
            # Two patchers of one model would count it twice and move it behind each other's back.
            return self

        def unpin_all_weights(self) -> None:
            # Nothing is ever pinned.
            pass

        def _move_to(self, device: torch.device) -> None:
            if self.model.device != device:
                self.model.device = torch.device(
                    "meta"
                )  # nowhere as a whole: a move that fails half-way is made again
                move(self.model.inner, device)
                self.model.device = device

    return CriticPatcher
