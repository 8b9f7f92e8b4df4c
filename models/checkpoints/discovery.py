"""Checkpoints on disk: which are there, and what a name in the list stands for.

Never the network, never transformers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from .. import paths
from ..engines.base import Capabilities
from ..errors import CheckpointError
from .inspection import MARKER, check_processor, check_record, check_weights, read_config, stored_as
from .weights import read_json, weight_files

# Mixture-of-experts and Qwen2-VL siblings are left out: the former's experts stay 16-bit under bitsandbytes
# (NF4 in name only), and no critic was trained on the latter.
MODEL_TYPES = ("qwen3_vl", "qwen2_5_vl")
# Folders below a root that are searched: organisation/model, at most one group above them.
DEPTH = 3
# Folder of a root that holds adapters, which are no checkpoints even where they bring a config.json.
ADAPTERS = "adapters"
# A folder in a checkpoint: its weights saved quantized.
COPY_PREFIX = "rational_rewards-"
# What a critic says of itself; see `Checkpoint.capabilities`.
CRITIC = "critic.json"


@dataclass(frozen=True)
class Official:
    """A checkpoint that may be downloaded.

    `bytes` is approximate: the exact size is asked before the download.
    """

    repo: str
    bytes: int = 17_500_000_000

    @property
    def name(self) -> str:
        """The folder that it is downloaded into."""
        return self.repo.rpartition("/")[2]

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.repo}"


# The tiny critic that lies inside the pack.
EMBEDDED_NAME = "shapes demo (CPU)"
EMBEDDED = paths.PACK / "demo" / "critic"
# The only repositories that this pack downloads from.
OFFICIAL = (Official("TIGER-Lab/RationalRewards-8B-T2I"), Official("TIGER-Lab/RationalRewards-8B-Edit"))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    `name` is its path below a root, with "/"; `bytes` is the size of its weight files.

    `quantized` is what the weights are already stored as: "", "nf4", "fp4", "int8", or the method's name
    ("fp8", "awq", "gptq", "compressed-tensors").
    """

    name: str
    folder: Path
    model_type: str
    quantized: str
    bytes: int

    @property
    def embedded(self) -> bool:
        """Whether it is the critic inside the pack, which always runs as it is on the CPU."""
        return self.folder.resolve() == EMBEDDED.resolve()

    @property
    def capabilities(self) -> dict[str, bool]:
        """What the checkpoint says of itself in `critic.json`, by field of `Capabilities`; empty without that
        file.

        Raises CheckpointError for a file that cannot be read.
        """
        path = self.folder / CRITIC
        if not path.is_file():
            return {}
        try:
            stated = read_json(path)["capabilities"]
            return {
                field.name: bool(stated[field.name]) for field in fields(Capabilities) if field.name in stated
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged: copy it again, or delete it.") from error

    def bytes_loaded(self, quantization: str) -> int:
        """About how many bytes the weights take when they are loaded as "nf4", "int8" or "none" (shares of
        the 8B model's shape).
        """
        return (
            self.bytes
            if self.quantized
            else int(self.bytes * {"nf4": 0.42, "int8": 0.62}.get(quantization, 1.0))
        )


def find_checkpoints(roots: Iterable[Path]) -> list[Checkpoint]:
    """Every folder up to three levels below the roots whose config.json names a supported model, sorted by
    name.

    Of equal names the earlier root's is kept. Folders that cannot be read, parts of diffusers pipelines,
    quantized copies and unfinished downloads are passed over. Nothing but config.json and the index of the
    shards is opened.
    """
    found: dict[str, Checkpoint] = {}
    for root in roots:
        for checkpoint in _scan(Path(root), ""):
            found.setdefault(os.path.normcase(checkpoint.name), checkpoint)
    return sorted(found.values(), key=lambda checkpoint: (checkpoint.name.casefold(), checkpoint.name))


def choices(roots: Iterable[Path]) -> list[str]:
    """What a list offers: the names of the checkpoints on disk, then the official repositories, then the
    embedded critic.

    Official ones stay in the list when they are on disk, so that a workflow made before the download shows a
    name that is known.
    """
    names = [checkpoint.name for checkpoint in find_checkpoints(roots)]
    names += [official.repo for official in OFFICIAL if official.repo not in names]
    embedded = (EMBEDDED / "config.json").is_file() and EMBEDDED_NAME not in names
    return [*names, EMBEDDED_NAME] if embedded else names


@dataclass(frozen=True)
class Listed:
    """A name of the list, and in words whether it is on disk and how large it is or would be."""

    name: str
    state: str


def listed(roots: Iterable[Path]) -> list[Listed]:
    """The names of `choices`, each with its state."""
    roots = list(roots)
    local = {checkpoint.name: checkpoint for checkpoint in find_checkpoints(roots)}
    entries = []
    for name in choices(roots):
        if name == EMBEDDED_NAME:
            state = "inside the pack, knows coloured shapes only"
        elif name in local:
            state = f"on disk, {local[name].bytes / 1e9:.1f} GB"
        else:
            official = next(official for official in OFFICIAL if official.repo == name)
            here = any(known.rpartition("/")[2].casefold() == official.name.casefold() for known in local)
            state = "on disk" if here else f"not on disk, {official.bytes / 1e9:.1f} GB to download"
        entries.append(Listed(name, state))
    return entries


def resolve(name: str, roots: Iterable[Path]) -> Checkpoint | Official:
    """The checkpoint of that name, inspected; the official one to download if it is not (wholly) on disk.

    An official checkpoint is found by its repository as well as by its folder's name, so that a workflow made
    before the download, or on another computer, still loads. Raises CheckpointError for names outside the
    roots and unknown names.
    """
    if name == EMBEDDED_NAME and (EMBEDDED / "config.json").is_file():
        return inspect_checkpoint(EMBEDDED)
    roots = [Path(root) for root in roots]
    parts = _parts_below(name)
    official = next((known for known in OFFICIAL if name in (known.repo, known.name)), None)
    candidates = [root.joinpath(*parts) for root in roots]
    if official:
        candidates += [root / path for root in roots for path in (official.name, official.repo)]
        candidates += [
            found.folder
            for found in find_checkpoints(roots)
            if found.folder.name.casefold() == official.name.casefold()
        ]
    for folder in candidates:
        if (folder / "config.json").is_file() and not (official and (folder / MARKER).is_file()):
            below = next(root for root in roots if folder.is_relative_to(root))
            return replace(inspect_checkpoint(folder), name=folder.relative_to(below).as_posix())
    if official:
        return official
    places = ", ".join(str(root) for root in roots) or "there are none"
    raise CheckpointError(
        f'The checkpoint "{name}" is not in the model folders ({places}): choose one from the list or put '
        f"it there."
    )


def inspect_checkpoint(folder: Path) -> Checkpoint:
    """Check that a folder holds a whole checkpoint of a supported model.

    Raises CheckpointError that names what is wrong.

    Weights are checked by their headers against the file sizes; after a download by us, names and sizes (and
    the contents of small files) are compared with what was recorded.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}: choose another checkpoint.")
    if (folder / MARKER).is_file():
        raise CheckpointError(
            f"The download into {folder} is not finished: choose the repository in the list again to go on "
            f"with it."
        )
    config = read_config(folder)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f'{folder} holds a model of type "{model_type}", which cannot be a critic here: '
            f"choose a checkpoint of type {' or '.join(MODEL_TYPES)}."
        )
    check_record(folder)
    check_weights(folder, config)
    check_processor(folder)
    found = _describe(folder, folder.name, config)
    return replace(found, name=EMBEDDED_NAME) if found.embedded else found


def stamp(folder: Path) -> dict[str, list[int]]:
    """Size in bytes and time of change in nanoseconds of config.json and every weight file: equal stamps,
    equal models.

    Raises CheckpointError where there are no weights.
    """
    stats = {name: (folder / name).stat() for name in ("config.json", *weight_files(folder))}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _scan(folder: Path, name: str, depth: int = 0) -> Iterator[Checkpoint]:
    try:
        with os.scandir(folder) as listing:
            entries = {entry.name: entry for entry in listing}
        if "model_index.json" in entries or (depth and MARKER in entries):
            return
        if depth and "config.json" in entries:
            try:
                config = read_json(folder / "config.json")
            except (OSError, ValueError):
                return
            if config.get("model_type") in MODEL_TYPES:
                yield _describe(folder, name, config)
                return
    except OSError:
        return
    if depth == DEPTH:
        return
    for entry in entries.values():
        if (
            entry.name.startswith((".", COPY_PREFIX))
            or (not depth and entry.name == ADAPTERS)
            or not _is_folder(entry)
        ):
            continue
        yield from _scan(folder / entry.name, f"{name}/{entry.name}" if name else entry.name, depth + 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _describe(folder: Path, name: str, config: dict[str, Any]) -> Checkpoint:
    try:
        size = sum(
            (folder / file).stat().st_size for file in weight_files(folder) if (folder / file).is_file()
        )
    except (CheckpointError, OSError):
        # It is listed all the same: choosing it says what is wrong.
        size = 0
    return Checkpoint(name, folder, config["model_type"], stored_as(config), size)


def _parts_below(name: str) -> list[str]:
    # Read as a Windows path everywhere: that also knows drives, shares and backslashes, so no name means more
    # on one system.
    path = PureWindowsPath(name)
    if not path.parts or path.drive or path.root or ".." in path.parts:
        raise CheckpointError(
            f'The checkpoint "{name}" is not a name below the model folders: choose one from the list.'
        )
    return list(path.parts)
