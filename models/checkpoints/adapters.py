"""LoRA adapters of critics: a taste trained on top of one checkpoint.

Found on disk, checked against the checkpoint, attached.

An adapter is a folder as peft saves it (adapter_config.json, adapter_model.safetensors). Those that were
trained here also have a record of what they were trained on. Nothing of peft is imported until an adapter is
attached.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import torch
from torch import nn

from .. import paths
from ..errors import CheckpointError
from ..files import write_json
from ..libraries import (
    pip_command,
    require,
    require_known_to_transformers,
    short,
    versions,
    without_kernel_downloads,
)
from .discovery import ADAPTERS, Checkpoint
from .lora_tensors import Targets, bare_name, module_and_side, read_header, read_targets, shapes_fit
from .weights import is_file_name, read_json, weight_files

log = logging.getLogger(__name__)

# What lists offer for no adapter.
NONE = "none"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# What it was trained on; foreign adapters have none.
RECORD = "critic_adapter.json"
# The first that works with transformers 5.
PEFT = "0.18"
# Bytes at the start of every tensor that tell one base's weights from another's.
SAMPLE = 1024


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk.

    `name` is its folder's; `config` is peft's; `record` is ours, {} for a foreign adapter.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    record: dict[str, Any]

    @property
    def base(self) -> str:
        """Name of the checkpoint that it was trained on, as far as it is told."""
        named = self.record["base"]["name"] if self.record else self.config.get("base_model_name_or_path")
        return _last_part(str(named)) if named else "an unknown checkpoint"

    @property
    def stamp(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of its files: equal stamps, equal adapters."""
        stats = {
            name: (self.folder / name).stat()
            for name in (CONFIG, WEIGHTS, RECORD)
            if (self.folder / name).is_file()
        }
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]


def find_adapters(roots: Iterable[Path]) -> list[Adapter]:
    """The adapters in the folder `adapters` of every root, sorted by name; of equal names the earlier root's.

    Folders that cannot be read are passed over.
    """
    found: dict[str, Adapter] = {}
    for root in roots:
        try:
            folders = [
                folder for folder in (Path(root) / ADAPTERS).iterdir() if not folder.name.startswith(".")
            ]
        except OSError:
            continue
        for folder in folders:
            try:
                adapter = read_adapter(folder)
            except CheckpointError:
                continue
            if adapter.name != NONE:
                found.setdefault(os.path.normcase(adapter.name), adapter)
    return sorted(found.values(), key=lambda adapter: (adapter.name.casefold(), adapter.name))


def adapter_choices(roots: Iterable[Path]) -> list[str]:
    """What a list offers: "none", then the names of the adapters."""
    return [NONE, *(adapter.name for adapter in find_adapters(roots))]


def resolve_adapter(name: str, roots: Iterable[Path]) -> Adapter | None:
    """The adapter of that name, or None for "none".

    Raises CheckpointError for unknown names and unreadable adapters.
    """
    if name in (NONE, ""):
        return None
    folders = [Path(root) / ADAPTERS for root in roots]
    for folder in folders:
        if is_file_name(name) and (folder / name / CONFIG).is_file():
            return read_adapter(folder / name)
    where = ", ".join(str(folder) for folder in folders) or "there are none"
    raise CheckpointError(
        f'The adapter "{name}" is not in the adapter folders ({where}): choose another one, or "none", or '
        f"put it there."
    )


def given_adapter(adapter: str | Path) -> Adapter | None:
    """The adapter of that folder, or of that name in the model folders; None for "none".

    Raises CheckpointError.
    """
    if adapter in (NONE, "") or not Path(adapter).is_dir():
        return resolve_adapter(str(adapter), paths.model_roots())
    return read_adapter(Path(adapter))


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder; its weights are not opened.

    Raises CheckpointError where its descriptions cannot be read.
    """
    folder = Path(folder)
    try:
        config = read_json(folder / CONFIG)
        record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
        if record and not {"name", "weights", "shapes"} <= record["base"].keys():
            raise ValueError(f"{RECORD} does not say on what it was trained")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} holds no adapter that can be read ({short(error)}): copy or train it again."
        ) from error
    return Adapter(folder.absolute().name, folder, config, record)


def describe_base(checkpoint: Checkpoint) -> dict[str, str]:
    """What identifies a checkpoint: name, model_type, and digests of all tensors' names and shapes and of a
    KiB of each.

    The same weights give the same digests under another name or in other shards. Reads under a megabyte of an
    8B model. Raises CheckpointError for weights that cannot be read.
    """
    shapes: dict[str, Any] = {}
    samples: dict[str, bytes] = {}
    for name in weight_files(checkpoint.folder):
        path = checkpoint.folder / name
        start, header = read_header(path)
        with path.open("rb") as file:
            for tensor, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                shapes[tensor] = [entry["dtype"], entry["shape"]]
                samples[tensor] = file.read(min(SAMPLE, end - begin))
    return {
        "name": checkpoint.name,
        "model_type": checkpoint.model_type,
        "shapes": hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest(),
        "weights": hashlib.sha256(b"".join(samples[tensor] for tensor in sorted(samples))).hexdigest(),
    }


def fingerprint(checkpoint: Checkpoint, adapter: Adapter | None = None) -> str:
    """Twelve hexadecimal digits that tell these weights from others, whatever their names are."""
    state = [describe_base(checkpoint)["weights"], adapter.stamp if adapter else []]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def write_record(
    folder: Path, checkpoint: Checkpoint, quantization: str, made_with: dict[str, Any], name: str = ""
) -> Path:
    """Write what the adapter in `folder` was trained on, and return the file.

    `quantization` is what was in effect ("nf4", "int8", "none"); `made_with` the number of rows, their digest
    and the recipe, seed included; `name` that of the folder where it differs (a scratch folder). Raises
    CheckpointError.
    """
    record = {
        "name": name or folder.name,
        "base": describe_base(checkpoint),
        "quantization": quantization,
        **made_with,
        "created_with": versions("peft", "transformers", "torch", "bitsandbytes"),
    }
    path = folder / RECORD
    try:
        write_json(path, record)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}): check its folder.") from error
    return path


def model_name(path: str) -> str:
    """What identifies a model in a path or repository name, whatever its spelling.

    The last part, without case; of a hub's cache the repository's name, not the snapshot's hash; with the
    dots that mirrors write as "___".

    >>> model_name("/cache/models--org--Model-v1.5/snapshots/0123abc/")
    'model-v1.5'
    >>> model_name("C:\\\\models\\\\Model-v1___5")
    'model-v1.5'
    """
    return _last_part(path).replace("___", ".").casefold()


def _last_part(path: str) -> str:
    # As on Windows, where both separators count.
    parts = PureWindowsPath(path.strip().rstrip("\\/")).parts
    for index, part in enumerate(parts):
        if part == "snapshots" and index and parts[index - 1].startswith("models--"):
            return parts[index - 1].split("--")[-1]
    return parts[-1] if parts else path


def check_fits(adapter: Adapter, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError unless the adapter was trained on this checkpoint, is plain LoRA, and is whole.

    With our record the weights are compared; a foreign adapter fits where its base has the checkpoint's name.
    All must have the right shapes. Only headers and samples are read, so that a wrong choice is told before
    anything is loaded.
    """
    if adapter.record:
        base, here = adapter.record["base"], describe_base(checkpoint)
        fits = base["weights"] == here["weights"] and base["shapes"] == here["shapes"]
    else:
        fits = model_name(adapter.base) in (model_name(str(checkpoint.folder)), model_name(checkpoint.name))
    if not shapes_fit(_targets(adapter), checkpoint) or not fits:
        alike = model_name(adapter.base) == model_name(checkpoint.name)
        this = "the one that has this name now" if alike else checkpoint.name
        raise CheckpointError(
            f'The adapter "{adapter.name}" was trained on {adapter.base}, not on {this}: '
            "choose that checkpoint, or train it again on this one."
        )


def require_peft() -> Any:
    """The module peft.

    Raises CheckpointError, with the command that mends it, where it is missing, too old or broken.
    """
    require("peft", PEFT, ", or choose adapter = none")
    try:
        # Peft imports bitsandbytes.
        with without_kernel_downloads():
            import peft
    except Exception as error:
        raise CheckpointError(
            f"peft cannot be imported ({short(error)}): run {pip_command('peft')} and start again, or "
            f"choose adapter = none."
        ) from error
    require_known_to_transformers("peft", ", or choose adapter = none")
    return peft


def attach(model: Any, folder: Path) -> Any:
    """Put the LoRA in `folder` into the model, in place, and return the model: the same object, of its own
    class.

    Works on 16- and 32-bit, NF4 and int8 weights alike; nothing is merged into them. The LoRA is kept in the
    model's dtype. Raises CheckpointError where the adapter does not match the model.
    """
    peft = require_peft()
    from safetensors.torch import load_file

    adapter = read_adapter(folder)
    targets = _targets(adapter)
    modules = {bare_name(name): name for name, _ in model.named_modules()}
    missing = sorted(targets.keys() - modules.keys())
    if missing:
        raise CheckpointError(
            f'The adapter "{adapter.name}" changes {missing[0]}, which this critic does not have: choose '
            f"the checkpoint that it "
            f"was trained on ({adapter.base})."
        )
    ranks = {modules[bare]: sides["lora_A"][0] for bare, sides in targets.items()}
    try:
        # Out of inference mode, in which nodes run; with the random state put back, which peft uses for
        # weights that are replaced.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            peft.inject_adapter_in_model(_plain_config(peft, adapter, ranks), model)
            for key, tensor in load_file(adapter.folder / WEIGHTS).items():
                bare, side = module_and_side(key)
                layer = getattr(model.get_submodule(modules[bare]), side)["default"]
                if layer.weight.shape != tensor.shape:
                    raise ValueError(
                        f"{key} has shape {tuple(tensor.shape)}, not {tuple(layer.weight.shape)}"
                    )
                layer.weight = nn.Parameter(tensor.to(layer.weight.device, model.dtype), requires_grad=False)
            return model.eval().requires_grad_(False)
    except Exception as error:
        log.warning("The adapter in %s could not be attached.", adapter.folder, exc_info=True)
        raise CheckpointError(
            f'The adapter "{adapter.name}" could not be attached ({short(error)}): choose another one, or '
            f"train it again."
        ) from error


def _plain_config(peft: Any, adapter: Adapter, ranks: dict[str, int]) -> Any:
    """A LoraConfig with what plain LoRA needs and nothing else that a foreign file may ask for; `ranks` by
    module name.
    """
    rank = max(ranks.values())
    return peft.LoraConfig(
        r=rank,
        lora_alpha=adapter.config.get("lora_alpha", 8),
        target_modules=sorted(ranks),
        rank_pattern={name: own for name, own in ranks.items() if own != rank},
        alpha_pattern=adapter.config.get("alpha_pattern") or {},
        use_rslora=bool(adapter.config.get("use_rslora")),
        lora_dropout=0.0,
        bias="none",
        inference_mode=True,
    )


def _targets(adapter: Adapter) -> Targets:
    return read_targets(adapter.folder / WEIGHTS, adapter.config, adapter.name)
