"""A critic beside a diffusion model on a simulated card, facts as JSON on the last line.

`simulated_card.py CHECKOUT CHECKPOINT GIGABYTES ROUNDS [OPTION]`; OPTION is one of ComfyUI's command line for memory, such as --lowvram, or
`dynamic`: then the sampler is loaded by dynamic VRAM, as newer versions do.

ComfyUI's memory manager, bitsandbytes and the critic are real. The card is torch's device "cpu:0": copies to it are real copies, but what
is free on it is computed from what the manager lists, and both models declare the sizes that real ones have.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

CHECKOUT, CHECKPOINT, CARD, ROUNDS = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
OPTION = "".join(sys.argv[5:])
GIGABYTE = 2**30
CRITIC, SAMPLER = 6.9, 6.5
sys.argv = [sys.argv[0], "--cpu"]
sys.path[0] = CHECKOUT

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as manager  # noqa: E402
import comfy.model_patcher  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from rational_rewards.models.engines.session import Session  # noqa: E402
from rational_rewards.models.errors import OutOfMemoryError  # noqa: E402
from rational_rewards.models.residency import ComfyResidency, ResidentCritic  # noqa: E402

card, host = torch.device("cpu", 0), torch.device("cpu")


def used() -> int:
    """Bytes of the models that lie on the card."""
    return sum(
        entry.model.loaded_size()
        for entry in manager.current_loaded_models
        if entry.model and entry.device == card
    )


def free(device: Any = None, torch_free_too: bool = False) -> Any:
    left = int(CARD * GIGABYTE) - used()
    return (left, 0) if torch_free_too else left


def pretend_a_card() -> None:
    """Replace the questions that the manager asks the driver, and nothing else."""
    manager.get_free_memory = free
    manager.get_total_memory = lambda *args, **kwargs: int(CARD * GIGABYTE)
    manager.get_torch_device = lambda: card
    manager.soft_empty_cache = lambda force=False: None
    state = {"--lowvram": "LOW_VRAM", "--novram": "NO_VRAM", "--highvram": "HIGH_VRAM"}.get(
        OPTION, "NORMAL_VRAM"
    )
    manager.vram_state = manager.VRAMState[
        state
    ]  # what the options come to at the start, where there is a card
    manager.DISABLE_SMART_MEMORY = OPTION == "--disable-smart-memory"
    manager.is_device_cpu = lambda device: device == host
    manager.get_all_torch_devices = lambda *args, **kwargs: [card]


def sampler() -> Any:
    """A diffusion model of a sampler's size: ComfyUI's own patcher around one layer, which is loaded and unloaded in part."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 8)
            self.device = host
            self.loaded = 0

    class Patcher(comfy.model_patcher.ModelPatcher):
        def is_dynamic(self) -> bool:
            return OPTION == "dynamic"

        def loaded_ram_size(self) -> int:
            return self.size - self.model.loaded

        def unregister_inactive_pins(self, *args: Any, **kwargs: Any) -> int:
            return 0

        def loaded_size(self) -> int:
            return self.model.loaded

        def partially_load(
            self, device_to: Any, extra_memory: float = 0, force_patch_weights: bool = False
        ) -> int:
            self.model.device = device_to
            before = self.model.loaded
            self.model.loaded = int(min(self.size, before + max(extra_memory, 0)))
            return self.model.loaded - before

        def partially_unload(
            self, device_to: Any, memory_to_free: float = 0, force_patch_weights: bool = False
        ) -> int:
            freed = int(min(memory_to_free, self.model.loaded))
            self.model.loaded -= freed
            return freed

        def detach(self, unpatch_all: bool = True) -> Any:
            if unpatch_all:
                self.model.device, self.model.loaded = host, 0
            return self.model

    return Patcher(Model(), load_device=card, offload_device=host, size=int(SAMPLER * GIGABYTE))


def tensors() -> int:
    """Bytes of all tensors that are alive."""
    gc.collect()
    found = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    alive = {
        one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
        for one in found
        if one.device.type != "meta"
    }
    return sum(alive.values())


def run_out(critic: Any, residency: ComfyResidency, diffusion: Any, picture: Image.Image) -> dict[str, Any]:
    """Memory runs out once while an answer is written, with a sampler on the card; then at every step."""
    feed, failures = Session.feed, [1]

    def failing(session: Session, tokens: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        feed(session, tokens)

    manager.load_models_gpu([diffusion], memory_required=GIGABYTE)
    with patch.object(Session, "feed", failing):
        once = critic.critique(picture, "a green square", max_new_tokens=64).judgements[0].complete
        alone = {"critic": residency.patcher.loaded_size() > 0, "sampler": diffusion.loaded_size()}
        failures[0] = 1000
        try:
            critic.critique(picture, "a blue square", max_new_tokens=64)
            said = ""
        except OutOfMemoryError as error:
            said = str(error)
    kept = len(critic.engine.kept)
    again = critic.critique(picture, "a blue square", max_new_tokens=64).judgements[0].complete
    return {"once": once, "alone": alone, "said": said, "kept": kept, "again": again}


def main() -> None:
    pretend_a_card()
    critic = ResidentCritic.load(
        CHECKPOINT, "int8", "cpu", max_pixels=64 * 64, residency=lambda model: ComfyResidency(model, card)
    )
    residency, patcher = critic.engine.residency, critic.patcher
    assert isinstance(residency, ComfyResidency)
    patcher.size = int(CRITIC * GIGABYTE)
    patcher.model.device = host
    diffusion = sampler()
    picture = Image.new("RGB", (64, 64), "red")
    facts: dict[str, Any] = {"rounds": [], "most": 0.0}
    for number in range(ROUNDS):
        critic.answering.cache.clear()
        critic.engine.release()  # type: ignore[attr-defined]
        judged = critic.critique(picture, f"a red square, {number % 2}", max_new_tokens=64).judgements[0]
        facts["most"] = max(facts["most"], used() / GIGABYTE)
        judging = {"critic": patcher.loaded_size() > 0, "sampler": diffusion.loaded_size() / GIGABYTE}
        manager.load_models_gpu([diffusion], memory_required=GIGABYTE)
        facts["most"] = max(facts["most"], used() / GIGABYTE)
        facts["rounds"].append(
            {
                "judging": judging,
                "sampling": {
                    "critic": patcher.loaded_size() > 0,
                    "sampler": diffusion.loaded_size() / GIGABYTE,
                },
                "listed": len(manager.current_loaded_models),
                "answer": judged.raw,
                "bytes": tensors(),
            }
        )
    facts["out of memory"] = run_out(critic, residency, diffusion, picture)
    residency.ready()
    manager.unload_all_models()
    facts["after unload"] = {"critic": patcher.loaded_size(), "listed": len(manager.current_loaded_models)}
    residency.ready()
    facts["back"] = patcher.loaded_size() > 0
    del critic, residency, patcher
    gc.collect()
    manager.cleanup_models_gc()
    facts["left"] = sum(
        entry.model is None or entry.model.model is None for entry in manager.current_loaded_models
    )
    facts["listed at last"] = len(manager.current_loaded_models)
    print(json.dumps(facts))


main()
