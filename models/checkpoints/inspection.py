"""What a folder must hold to be a checkpoint: config.json, weights, tokenizer and image processor, and the
files as they were downloaded.

Each check raises CheckpointError that names what is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .weights import check_safetensors, is_file_name, read_json, sha256, weight_files, weight_map

# What was downloaded: revision, names, sizes, digests.
RECORD = "rational_rewards.json"
# The same while the download runs.
MARKER = "rational_rewards.downloading.json"
# Bytes; recorded files up to this size are compared by content, larger ones by size.
HASHED = 32 * 2**20
# Tensors that belong to quantized weights; without them those would be read as numbers that they are not.
SCALES = (
    ".weight_scale",
    ".weight_scale_inv",
    ".scale_weight",
    ".weight.quant_state.bitsandbytes__nf4",
    ".qweight",
)


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            raise CheckpointError(
                f"{folder} holds an adapter, not a checkpoint: choose a checkpoint here and the adapter as "
                f"adapter."
            )
        raise CheckpointError(
            f"{folder} is no checkpoint, it has no config.json: choose another folder or download it again."
        )
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download or copy it again.") from error


def stored_as(config: dict[str, Any]) -> str:
    stored = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(stored, dict):
        return ""
    # Transformers' reading of old configs without a method.
    method = str(stored.get("quant_method") or "bitsandbytes")
    if method == "bitsandbytes":
        return str(stored.get("bnb_4bit_quant_type") or "fp4") if stored.get("load_in_4bit") else "int8"
    return method


def check_record(folder: Path) -> None:
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


def check_weights(folder: Path, config: dict[str, Any]) -> None:
    files = weight_files(folder)
    tensors = {file: check_safetensors(folder / file) for file in files}
    if not stored_as(config):
        for file, names in tensors.items():
            scale = next((name for name in sorted(names) if name.endswith(SCALES)), None)
            if scale:
                raise CheckpointError(
                    f"{folder / file} holds {scale}, so its weights are stored quantized, but config.json "
                    f"does not say how: "
                    "copy config.json from the repository that the weights came from."
                )
    if files == ["model.safetensors"]:
        return
    for tensor, file in weight_map(folder).items():
        if tensor not in tensors[file]:
            raise CheckpointError(
                f"The weight file {folder / file} lacks {tensor}, which the index promises: download it "
                f"again."
            )


def check_processor(folder: Path) -> None:
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
