"""Checkpoints on disk: which are there, and whether one is whole. Reads headers only; never the network, never transformers."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from .. import paths
from ..engines.base import Capabilities
from ..errors import CheckpointError

# Mixture-of-experts and Qwen2-VL siblings are left out: the former's experts stay 16-bit under bitsandbytes (NF4 in name only),
# and no critic was trained on the latter.
MODEL_TYPES = ("qwen3_vl", "qwen2_5_vl")
DEPTH = 3  # folders below a root that are searched: organisation/model, at most one group above them
ADAPTERS = "adapters"  # folder of a root that holds adapters, which are no checkpoints even where they bring a config.json
COPY_PREFIX = "rational_rewards-"  # a folder in a checkpoint: its weights saved quantized
# What a critic says of itself; see `Checkpoint.capabilities`.
CRITIC = "critic.json"
RECORD = "rational_rewards.json"  # what was downloaded: revision, names, sizes, digests
MARKER = "rational_rewards.downloading.json"  # the same while the download runs
HASHED = 32 * 2**20  # bytes; recorded files up to this size are compared by content, larger ones by size
# Tensors that belong to quantized weights; without them those would be read as numbers that they are not.
SCALES = (
    ".weight_scale",
    ".weight_scale_inv",
    ".scale_weight",
    ".weight.quant_state.bitsandbytes__nf4",
    ".qweight",
)
HEADER_LIMIT = 100 * 2**20  # bytes; the limit that the safetensors library sets for a header


@dataclass(frozen=True)
class Official:
    """A checkpoint that may be downloaded. `bytes` is approximate: the exact size is asked before the download."""

    repo: str
    bytes: int = 17_500_000_000

    @property
    def name(self) -> str:
        """The folder that it is downloaded into."""
        return self.repo.rpartition("/")[2]

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.repo}"


EMBEDDED_NAME = "shapes demo (CPU)"  # the tiny critic that lies inside the pack
EMBEDDED = paths.PACK / "demo" / "critic"
# The only repositories that this pack downloads from.
OFFICIAL = (Official("TIGER-Lab/RationalRewards-8B-T2I"), Official("TIGER-Lab/RationalRewards-8B-Edit"))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk. `name` is its path below a root, with "/"; `bytes` is the size of its weight files.

    `quantized` is what the weights are already stored as: "", "nf4", "fp4", "int8", or the method's name ("fp8", "awq", "gptq",
    "compressed-tensors").
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
        """What the checkpoint says of itself in `critic.json`, by field of `Capabilities`; empty without that file.

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
        """About how many bytes the weights take when they are loaded as "nf4", "int8" or "none" (shares of the 8B model's shape)."""
        return (
            self.bytes
            if self.quantized
            else int(self.bytes * {"nf4": 0.42, "int8": 0.62}.get(quantization, 1.0))
        )


def find_checkpoints(roots: Iterable[Path]) -> list[Checkpoint]:
    """Every folder up to three levels below the roots whose config.json names a supported model, sorted by name.

    Of equal names the earlier root's is kept. Folders that cannot be read, parts of diffusers pipelines, quantized copies
    and unfinished downloads are passed over. Nothing but config.json and the index of the shards is opened.
    """
    found: dict[str, Checkpoint] = {}
    for root in roots:
        for checkpoint in _scan(Path(root), ""):
            found.setdefault(os.path.normcase(checkpoint.name), checkpoint)
    return sorted(found.values(), key=lambda checkpoint: (checkpoint.name.casefold(), checkpoint.name))


def choices(roots: Iterable[Path]) -> list[str]:
    """What a list offers: the names of the checkpoints on disk, then the official repositories, then the embedded critic.

    Official ones stay in the list when they are on disk, so that a workflow made before the download shows a name that is known.
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

    An official checkpoint is found by its repository as well as by its folder's name, so that a workflow made before the
    download, or on another computer, still loads. Raises CheckpointError for names outside the roots and unknown names.
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
        f'The checkpoint "{name}" is not in the model folders ({places}): choose one from the list or put it there.'
    )


def inspect_checkpoint(folder: Path) -> Checkpoint:
    """Check that a folder holds a whole checkpoint of a supported model. Raises CheckpointError that names what is wrong.

    Weights are checked by their headers against the file sizes; after a download by us, names and sizes (and the contents of
    small files) are compared with what was recorded.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}: choose another checkpoint.")
    if (folder / MARKER).is_file():
        raise CheckpointError(
            f"The download into {folder} is not finished: choose the repository in the list again to go on with it."
        )
    config = _config(folder)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f'{folder} holds a model of type "{model_type}", which cannot be a critic here: '
            f"choose a checkpoint of type {' or '.join(MODEL_TYPES)}."
        )
    _check_record(folder)
    _check_weights(folder, config)
    _check_processor(folder)
    found = _describe(folder, folder.name, config)
    return replace(found, name=EMBEDDED_NAME) if found.embedded else found


def weight_files(folder: Path) -> list[str]:
    """Names of the weight files as transformers picks them: model.safetensors, or the shards that the index names.

    Raises CheckpointError if there are neither, or if the index cannot be read.
    """
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    return sorted(set(_weight_map(folder).values()))


def stamp(folder: Path) -> dict[str, list[int]]:
    """Size in bytes and time of change in nanoseconds of config.json and every weight file: equal stamps, equal models.

    Raises CheckpointError where there are no weights.
    """
    stats = {name: (folder / name).stat() for name in ("config.json", *weight_files(folder))}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def check_safetensors(path: Path) -> set[str]:
    """Names of the tensors in a safetensors file, after its header has been checked against its size.

    Raises CheckpointError for a file that is missing, empty, cut off or not safetensors at all.
    """
    if not path.is_file():
        raise CheckpointError(f"The weight file {path} is missing: download or copy it again.")
    again = "download or copy it again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            if not size:
                raise CheckpointError(f"The weight file {path} is empty: {again}.")
            if start == b"version h":
                raise CheckpointError(
                    f"The weight file {path} is only a git-lfs pointer: run git lfs pull, or download the file."
                )
            if start[8:] != b"{" or length > HEADER_LIMIT:
                raise CheckpointError(f"The weight file {path} is damaged (no safetensors header): {again}.")
            if size < 8 + length:
                raise CheckpointError(f"The weight file {path} is cut off ({size:,} bytes): {again}.")
            file.seek(8)
            header = json.loads(file.read(length))
        ends = {name: entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"}
        expected = 8 + length + max(ends.values(), default=0)
    except OSError as error:
        raise CheckpointError(
            f"The weight file {path} cannot be read ({error.strerror}): check its permissions."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"The weight file {path} is damaged (its header cannot be read): {again}."
        ) from error
    if size != expected:
        what = "cut off" if size < expected else "damaged"
        raise CheckpointError(f"The weight file {path} is {what} ({size:,} of {expected:,} bytes): {again}.")
    return set(ends)


def sha256(path: Path) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises OSError or ValueError."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no object")
    return data


def is_file_name(name: Any) -> bool:
    """Whether `name` is a plain file name on every system, without a way out of its folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|\0')


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
        size = 0  # it is listed all the same: choosing it says what is wrong
    return Checkpoint(name, folder, config["model_type"], _quantized(config), size)


def _quantized(config: dict[str, Any]) -> str:
    stored = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(stored, dict):
        return ""
    method = str(
        stored.get("quant_method") or "bitsandbytes"
    )  # transformers' reading of old configs without a method
    if method == "bitsandbytes":
        return str(stored.get("bnb_4bit_quant_type") or "fp4") if stored.get("load_in_4bit") else "int8"
    return method


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            raise CheckpointError(
                f"{folder} holds an adapter, not a checkpoint: choose a checkpoint here and the adapter as adapter."
            )
        raise CheckpointError(
            f"{folder} is no checkpoint, it has no config.json: choose another folder or download it again."
        )
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download or copy it again.") from error


def _weight_map(folder: Path) -> dict[str, str]:
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth"))
        if pickled:
            raise CheckpointError(
                f"{folder} has pickled weights only ({pickled[0]}), and opening a pickle can run foreign code: "
                "get this checkpoint as safetensors."
            )
        raise CheckpointError(_missing_weights(folder))
    try:
        weight_map = read_json(path)["weight_map"]
        if not weight_map or not all(is_file_name(file) for file in weight_map.values()):
            raise ValueError("a shard's name is no file name")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: download or copy it again.") from error
    return weight_map


def _missing_weights(folder: Path) -> str:
    """What is missing in a folder without model.safetensors and without an index, by name."""
    weights = sorted(file.name for file in folder.iterdir() if file.suffix == ".safetensors")
    shards = [name for name in weights if re.search(r"-\d{5}-of-\d{5}\.safetensors$", name)]
    if shards:
        return (
            f"{folder} has {len(shards)} weight files ({shards[0]}, ...) but not model.safetensors.index.json, which says "
            "what is in them: copy that file from the repository that the weights came from."
        )
    if len(weights) == 1:
        return f"{folder} has no model.safetensors, but {weights[0]}: rename that file to model.safetensors."
    if weights:
        return (
            f"{folder} has no model.safetensors, and of {', '.join(weights)} none is named as its weights: copy "
            "model.safetensors, or its shards with model.safetensors.index.json, there."
        )
    return f"{folder} has no weights (model.safetensors, or its shards and their index): download it again."


def _check_weights(folder: Path, config: dict[str, Any]) -> None:
    files = weight_files(folder)
    tensors = {file: check_safetensors(folder / file) for file in files}
    if not _quantized(config):
        for file, names in tensors.items():
            scale = next((name for name in sorted(names) if name.endswith(SCALES)), None)
            if scale:
                raise CheckpointError(
                    f"{folder / file} holds {scale}, so its weights are stored quantized, but config.json does not say how: "
                    "copy config.json from the repository that the weights came from."
                )
    if files == ["model.safetensors"]:
        return
    for tensor, file in _weight_map(folder).items():
        if tensor not in tensors[file]:
            raise CheckpointError(
                f"The weight file {folder / file} lacks {tensor}, which the index promises: download it again."
            )


def _check_processor(folder: Path) -> None:
    def has(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    missing = []
    if not (has("tokenizer.json") or (has("vocab.json") and has("merges.txt"))):
        missing.append("tokenizer.json")
    if not has("tokenizer_config.json"):
        missing.append("tokenizer_config.json")
    if not has("preprocessor_config.json", "processor_config.json"):
        missing.append("preprocessor_config.json")
    if not has("chat_template.jinja", "chat_template.json") and "tokenizer_config.json" not in missing:
        try:
            template = read_json(folder / "tokenizer_config.json").get("chat_template")
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{folder / 'tokenizer_config.json'} cannot be read: download or copy it again."
            ) from error
        if not template:
            missing.append("chat_template.jinja")
    if missing:
        raise CheckpointError(
            f"{folder} lacks {' and '.join(missing)}: copy it from the repository that the weights came from."
        )


def _check_record(folder: Path) -> None:
    path = folder / RECORD
    if not path.is_file():
        return
    mend = f"download it again into an empty folder, or delete {RECORD} there to use the folder as it is"
    try:
        files = {
            name: (int(entry["size"]), str(entry["sha256"]))
            for name, entry in read_json(path)["files"].items()
        }
        if not all(is_file_name(name) for name in files):
            raise ValueError("a name is no file name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}, the record of the download, is damaged: {mend}.") from error
    for name, (size, digest) in files.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing: {mend}.")
        if file.stat().st_size != size or (size <= HASHED and sha256(file) != digest):
            raise CheckpointError(f"{file} has changed since it was downloaded: {mend}.")


def _parts_below(name: str) -> list[str]:
    # Read as a Windows path everywhere: that also knows drives, shares and backslashes, so no name means more on one system.
    path = PureWindowsPath(name)
    if not path.parts or path.drive or path.root or ".." in path.parts:
        raise CheckpointError(
            f'The checkpoint "{name}" is not a name below the model folders: choose one from the list.'
        )
    return list(path.parts)
