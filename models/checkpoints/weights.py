"""The files of a checkpoint: which of them hold the weights, and whether each is complete.

Reads headers only.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

# Bytes; the limit that the safetensors library sets for a header.
HEADER_LIMIT = 100 * 2**20


def weight_files(folder: Path) -> list[str]:
    """Names of the weight files as transformers picks them: model.safetensors, or the shards that the index
    names.

    Raises CheckpointError if there are neither, or if the index cannot be read.
    """
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    return sorted(set(weight_map(folder).values()))


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
                    f"The weight file {path} is only a git-lfs pointer: run git lfs pull, or download the "
                    f"file."
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


def weight_map(folder: Path) -> dict[str, str]:
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth"))
        if pickled:
            raise CheckpointError(
                f"{folder} has pickled weights only ({pickled[0]}), and opening a pickle can run foreign "
                f"code: "
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
            f"{folder} has {len(shards)} weight files ({shards[0]}, ...) but not "
            f"model.safetensors.index.json, which says "
            "what is in them: copy that file from the repository that the weights came from."
        )
    if len(weights) == 1:
        return f"{folder} has no model.safetensors, but {weights[0]}: rename that file to model.safetensors."
    if weights:
        return (
            f"{folder} has no model.safetensors, and of {', '.join(weights)} none is named as its weights: "
            f"copy "
            "model.safetensors, or its shards with model.safetensors.index.json, there."
        )
    return f"{folder} has no weights (model.safetensors, or its shards and their index): download it again."
