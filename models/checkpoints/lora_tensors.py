"""The tensors of a LoRA adapter: which modules they change, and whether a checkpoint has those.

Only headers are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .discovery import Checkpoint
from .weights import check_safetensors, weight_files

# Other ways to start a LoRA also change the base, and would need that changed base here.
PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")
# Shapes of lora_A [rank, in] and lora_B [out, rank] by the bare name of the module.
Targets = dict[str, dict[str, tuple[int, int]]]


def read_targets(file: Path, config: dict[str, Any], name: str) -> Targets:
    """The modules that a LoRA changes, read from the header of its tensors and from peft's `config`.

    `name` is the adapter's, for errors. Raises CheckpointError unless plain LoRA.
    """
    name = f'The adapter "{name}"'
    asked = [key for key in ("modules_to_save", "use_dora", "lora_bias", "fan_in_fan_out") if config.get(key)]
    if config.get("peft_type", "LORA") != "LORA":
        asked.append(str(config["peft_type"]))
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        asked.append(f"init_lora_weights={config['init_lora_weights']}")
    if asked:
        raise CheckpointError(
            f"{name} is no plain LoRA ({asked[0]}), which alone can be used here: train it without that."
        )
    check_safetensors(file)
    targets: Targets = {}
    for key, entry in read_header(file)[1].items():
        module, side = module_and_side(key)
        if side not in ("lora_A", "lora_B") or len(entry["shape"]) != 2:
            raise CheckpointError(f"{name} is no plain LoRA (it holds {key}), which alone can be used here.")
        targets.setdefault(module, {})[side] = tuple(entry["shape"])
    halves = [m for m, sides in targets.items() if len(sides) < 2 or sides["lora_A"][0] != sides["lora_B"][1]]
    if halves or not targets:
        raise CheckpointError(
            f"{name} is not whole ({(halves or ['no weights'])[0]}): copy or train it again."
        )
    return targets


def shapes_fit(targets: Targets, checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has every module that is changed, with the right sides.

    Packed weights are compared by name only.
    """
    shapes: dict[str, list[int]] = {}
    for file in weight_files(checkpoint.folder):
        shapes |= {key: entry["shape"] for key, entry in read_header(checkpoint.folder / file)[1].items()}
    if checkpoint.quantized:
        return targets.keys() <= {bare_name(key.rpartition(".")[0]) for key in shapes}
    weights = {
        bare_name(key.removesuffix(".weight")): shape
        for key, shape in shapes.items()
        if key.endswith(".weight")
    }
    return all(
        weights.get(bare) == [sides["lora_B"][0], sides["lora_A"][1]] for bare, sides in targets.items()
    )


def module_and_side(key: str) -> tuple[str, str]:
    """The bare module name and the side ("lora_A", "lora_B", or something else) of a tensor of an adapter."""
    module, _, side = key.removesuffix(".weight").rpartition(".")
    return bare_name(module), side


def bare_name(name: str) -> str:
    """A module's name without the wrappers that peft and versions of transformers put around it."""
    return ".".join(part for part in name.split(".") if part not in ("base_model", "model", "language_model"))


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file starts, and its tensors' dtypes, shapes and offsets.

    Raises CheckpointError.
    """
    check_safetensors(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return 8 + length, {name: entry for name, entry in header.items() if name != "__metadata__"}
