"""Checkpoints on disk: of one that is not whole it is said what is wrong with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rational_rewards.models.checkpoints.discovery import (
    OFFICIAL,
    inspect_checkpoint,
)
from rational_rewards.models.checkpoints.inspection import MARKER, RECORD
from rational_rewards.models.checkpoints.weights import check_safetensors, sha256
from rational_rewards.models.errors import CheckpointError

T2I = OFFICIAL[0].repo


@pytest.fixture
def critic(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a whole tiny checkpoint, at <root>/my-critic, free to be damaged."""
    return Path(shutil.copytree(checkpoint_folder(), tmp_path / "LLM" / "my-critic"))


def shard(folder: Path) -> None:
    """Split the weights of a checkpoint into two files and an index."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = {
        "model-00001-of-00002.safetensors": sorted(weights)[::2],
        "model-00002-of-00002.safetensors": sorted(weights)[1::2],
    }
    for file, tensors in halves.items():
        save_file({name: weights[name] for name in tensors}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, tensors in halves.items() for name in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def wrong(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        inspect_checkpoint(folder)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_a_whole_checkpoint_is_described(checkpoint_folder: Callable[..., Path], family: str) -> None:
    found = inspect_checkpoint(checkpoint_folder(family))
    assert (found.model_type, found.quantized) == (family, "")
    assert found.bytes > 1_000_000


def test_a_whole_sharded_checkpoint_is_described(critic: Path) -> None:
    whole = inspect_checkpoint(critic).bytes
    shard(critic)
    assert inspect_checkpoint(critic).bytes == pytest.approx(whole, rel=0.01)


def test_no_such_folder(tmp_path: Path) -> None:
    assert wrong(tmp_path / "gone") == f"There is no folder {tmp_path / 'gone'}: choose another checkpoint."


def test_no_config(critic: Path) -> None:
    (critic / "config.json").unlink()
    assert "has no config.json" in wrong(critic)
    (critic / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert "holds an adapter" in wrong(critic)


def test_a_config_that_cannot_be_read(critic: Path) -> None:
    (critic / "config.json").write_text("[1]", encoding="utf-8")
    assert "config.json cannot be read" in wrong(critic)


@pytest.mark.parametrize("model_type", ["mistral", "qwen3_vl_moe", None])
def test_another_model(critic: Path, model_type: str | None) -> None:
    (critic / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    assert f'model of type "{model_type}"' in wrong(critic)


def test_pickled_weights(critic: Path) -> None:
    (critic / "model.safetensors").rename(critic / "pytorch_model.bin")
    assert "pickled weights only (pytorch_model.bin), and opening a pickle can run foreign code" in wrong(
        critic
    )


def test_no_weights(critic: Path) -> None:
    (critic / "model.safetensors").unlink()
    assert "has no weights" in wrong(critic)


def test_a_missing_shard(critic: Path) -> None:
    shard(critic)
    (critic / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is missing" in wrong(critic)


def test_shards_that_were_swapped(critic: Path) -> None:
    shard(critic)
    shutil.copy(critic / "model-00001-of-00002.safetensors", critic / "model-00002-of-00002.safetensors")
    assert "model-00002-of-00002.safetensors lacks" in wrong(critic)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "C:\\x.safetensors"])
def test_an_index_that_points_elsewhere(critic: Path, name: str) -> None:
    shard(critic)
    (critic / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"lm_head.weight": name}}), encoding="utf-8"
    )
    assert "index.json is damaged" in wrong(critic)


def damage(file: Path, data: bytes) -> str:
    file.write_bytes(data)
    return wrong(file.parent)


def test_damaged_weights(critic: Path) -> None:
    file = critic / "model.safetensors"
    whole = file.read_bytes()
    assert f"{file} is cut off ({len(whole) // 2:,} of {len(whole):,} bytes)" in damage(
        file, whole[: len(whole) // 2]
    )
    assert f"{file} is cut off" in damage(file, whole[:-1])
    assert f"{file} is cut off" in damage(file, whole[:100])
    assert f"{file} is empty" in damage(file, b"")
    assert f"{file} is damaged" in damage(file, whole + b"x")
    assert f"{file} is only a git-lfs pointer" in damage(
        file, b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 17\n"
    )
    assert f"{file} is damaged" in damage(file, b"PK\x03\x04" + bytes(100))
    assert f"{file} is damaged" in damage(file, b"\x02\0\0\0\0\0\0\0[]")
    assert f"{file} is damaged" in damage(file, b"\x10\0\0\0\0\0\0\0" + b'{"a": {"x": 12}}')
    file.write_bytes(whole)
    assert "lm_head.weight" in check_safetensors(file)


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (["tokenizer.json", "vocab.json"], "tokenizer.json"),
        (["tokenizer_config.json"], "tokenizer_config.json"),
        (["preprocessor_config.json", "processor_config.json"], "preprocessor_config.json"),
        (["chat_template.jinja"], "chat_template.jinja"),
    ],
)
def test_missing_processor_files_are_named(critic: Path, removed: list[str], named: str) -> None:
    for name in removed:
        (critic / name).unlink(missing_ok=True)
    assert f"lacks {named}:" in wrong(critic)


def test_an_unfinished_download(critic: Path) -> None:
    (critic / MARKER).write_text("{}", encoding="utf-8")
    assert "is not finished" in wrong(critic)


def test_a_downloaded_checkpoint_is_compared_with_its_record(critic: Path) -> None:
    files = {file.name: {"size": file.stat().st_size, "sha256": sha256(file)} for file in critic.iterdir()}
    (critic / RECORD).write_text(
        json.dumps({"repo": T2I, "revision": "0" * 40, "files": files}), encoding="utf-8"
    )
    assert inspect_checkpoint(critic).name == "my-critic"

    template = critic / "chat_template.jinja"
    template.write_text(
        template.read_text(encoding="utf-8").replace("user", "USER").replace("image", "imagE"),
        encoding="utf-8",
    )
    assert f"{template} has changed since it was downloaded" in wrong(critic)
    template.unlink()
    assert f"{template} is missing" in wrong(critic)
    (critic / RECORD).write_text('{"files": {"../x": {"size": 1, "sha256": ""}}}', encoding="utf-8")
    assert "the record of the download, is damaged" in wrong(critic)


def test_inspecting_reads_headers_only(critic: Path) -> None:
    with (critic / "model.safetensors").open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["big"] = {"dtype": "U8", "shape": [8 * 10**9], "data_offsets": [0, 8 * 10**9]}
        data = json.dumps(header).encode()
        file.seek(0)
        file.write(len(data).to_bytes(8, "little") + data)
        # 8 GB that take no room on the disk.
        file.truncate(8 + len(data) + 8 * 10**9)
    started = time.perf_counter()
    assert inspect_checkpoint(critic).bytes > 8 * 10**9
    assert time.perf_counter() - started < 0.5


def test_listing_imports_no_transformers() -> None:
    code = (
        "import sys, rational_rewards.models.checkpoints.discovery as c; c.choices([]);"
        "assert not {'transformers', 'torch', 'huggingface_hub', 'bitsandbytes'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
