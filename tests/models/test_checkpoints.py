"""Checkpoints on disk: the list shows what is there, and choosing one that is not whole says what is wrong
with it.
"""

from __future__ import annotations

import json
import ntpath
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rational_rewards.models.checkpoints.discovery import (
    EMBEDDED_NAME,
    OFFICIAL,
    Checkpoint,
    choices,
    find_checkpoints,
    inspect_checkpoint,
    resolve,
)
from rational_rewards.models.checkpoints.inspection import MARKER, RECORD
from rational_rewards.models.checkpoints.weights import check_safetensors, sha256
from rational_rewards.models.errors import CheckpointError

T2I, EDIT = (official.repo for official in OFFICIAL)


@pytest.fixture
def critic(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a whole tiny checkpoint, at <root>/my-critic, free to be damaged."""
    return Path(shutil.copytree(checkpoint_folder(), tmp_path / "LLM" / "my-critic"))


def small(folder: Path, **config: Any) -> Path:
    """A folder that only the list takes for a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"} | config), encoding="utf-8")
    return folder


def names(*roots: Path) -> list[str]:
    return [checkpoint.name for checkpoint in find_checkpoints(roots)]


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


# The list


def test_list_shows_folders_of_the_supported_types(tmp_path: Path) -> None:
    small(tmp_path / "flat")
    small(tmp_path / "TIGER-Lab" / "RationalRewards-8B-Edit", model_type="qwen2_5_vl")
    small(tmp_path / "group" / "org" / "deep")
    small(tmp_path / "a" / "b" / "c" / "too-deep")
    small(tmp_path / "mistral", model_type="mistral")
    small(tmp_path / ".hidden")
    (tmp_path / "not-json").mkdir()
    (tmp_path / "not-json" / "config.json").write_text("{", encoding="utf-8")
    assert names(tmp_path) == ["flat", "group/org/deep", "TIGER-Lab/RationalRewards-8B-Edit"]


def test_list_leaves_out_what_is_no_critic_of_its_own(tmp_path: Path) -> None:
    small(tmp_path / "critic")
    # Our quantized copy.
    small(tmp_path / "critic" / "rational_rewards-nf4")
    small(tmp_path / "unfinished")
    (tmp_path / "unfinished" / MARKER).write_text("{}", encoding="utf-8")
    # A part of a pipeline.
    small(tmp_path / "Qwen-Image" / "text_encoder", model_type="qwen2_5_vl")
    (tmp_path / "Qwen-Image" / "model_index.json").write_text("{}", encoding="utf-8")
    assert names(tmp_path) == ["critic"]


def test_the_root_itself_is_never_listed(critic: Path) -> None:
    assert names(critic) == []
    assert names(critic.parent) == ["my-critic"]


def test_earlier_roots_win(tmp_path: Path) -> None:
    for root in ("first", "second"):
        small(tmp_path / root / "critic")
    found = find_checkpoints([tmp_path / "nowhere", tmp_path / "first", tmp_path / "second"])
    assert [checkpoint.folder for checkpoint in found] == [tmp_path / "first" / "critic"]


def test_on_windows_names_differ_by_more_than_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path / "first" / "Critic")
    small(tmp_path / "second" / "critic")
    roots = tmp_path / "first", tmp_path / "second"
    assert names(*roots) == ["Critic", "critic"]
    monkeypatch.setattr(os.path, "normcase", ntpath.normcase)
    assert names(*roots) == ["Critic"]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_links_are_followed_and_may_form_a_ring(tmp_path: Path) -> None:
    small(tmp_path / "disk" / "critic")
    root = tmp_path / "LLM"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "disk" / "critic")
    (root / "ring").symlink_to(root)
    (root / "broken").symlink_to(tmp_path / "gone")
    assert "linked" in names(root)
    assert resolve_error("broken", root).startswith('The checkpoint "broken" is not in the model folders')


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path / "critic")
    small(tmp_path / "secret" / "critic")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path) == ["critic"]


def test_a_big_tree_is_listed_quickly(tmp_path: Path) -> None:
    for group in range(20):
        for folder in range(20):
            (tmp_path / f"g{group}" / f"m{folder}" / "a" / "b" / "c").mkdir(parents=True)
    small(tmp_path / "g3" / "critic")
    started = time.perf_counter()
    assert names(tmp_path) == ["g3/critic"]
    # 2,000 folders; 20 ms on a quick disk.
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        ({"load_in_8bit": True}, "int8"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq"}, "gptq"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        (None, ""),
    ],
)
def test_list_knows_how_weights_are_stored(tmp_path: Path, stored: Any, expected: str) -> None:
    small(tmp_path / "critic", quantization_config=stored)
    assert find_checkpoints([tmp_path])[0].quantized == expected


def test_choices_offer_what_is_on_disk_and_then_the_official_ones(tmp_path: Path) -> None:
    assert choices([tmp_path]) == [T2I, EDIT, EMBEDDED_NAME]
    small(tmp_path / "my-critic")
    small(tmp_path / "judges" / "RationalRewards-8B-Edit")
    assert choices([tmp_path]) == ["judges/RationalRewards-8B-Edit", "my-critic", T2I, EDIT, EMBEDDED_NAME]
    small(tmp_path / "TIGER-Lab" / "RationalRewards-8B-T2I")
    assert sorted(choices([tmp_path])).count(T2I) == 1


# Choosing


def resolve_error(name: str, *roots: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        resolve(name, roots)
    return str(caught.value)


def test_a_listed_checkpoint_resolves(critic: Path) -> None:
    found = resolve("my-critic", [critic.parent])
    assert found == Checkpoint(
        "my-critic", critic, "qwen3_vl", "", (critic / "model.safetensors").stat().st_size
    )
    assert found == find_checkpoints([critic.parent])[0]


def test_a_name_saved_on_windows_resolves_everywhere(critic: Path) -> None:
    assert resolve("LLM\\my-critic", [critic.parent.parent]).name == "LLM/my-critic"


@pytest.mark.parametrize(
    "name",
    ["../my-critic", "a/../../my-critic", "/etc", "C:\\critic", "C:critic", "\\\\host\\share\\critic", ""],
)
def test_names_that_leave_the_roots_are_refused(critic: Path, name: str) -> None:
    (critic.parent / "a").mkdir()
    assert "not a name below the model folders" in resolve_error(name, critic.parent / "a", critic.parent)


def test_an_official_checkpoint_resolves_to_a_download_until_it_is_there(critic: Path) -> None:
    root = critic.parent
    assert resolve(T2I, [root]) is OFFICIAL[0]
    # From a workflow of a computer that has it.
    assert resolve("RationalRewards-8B-T2I", [root]) is OFFICIAL[0]
    critic.rename(root / "RationalRewards-8B-T2I")
    assert resolve(T2I, [root]).name == "RationalRewards-8B-T2I"
    (root / "RationalRewards-8B-T2I" / MARKER).write_text("{}", encoding="utf-8")
    # Unfinished: to be gone on with.
    assert resolve(T2I, [root]) is OFFICIAL[0]
    assert choices([root]) == [T2I, EDIT, EMBEDDED_NAME]
    second = root.parent / "second" / T2I
    shutil.copytree(root / "RationalRewards-8B-T2I", second, ignore=shutil.ignore_patterns(MARKER))
    # A whole one elsewhere is better.
    assert resolve(T2I, [root, root.parent / "second"]).name == T2I


@pytest.mark.parametrize("place", [T2I, "judges/RationalRewards-8B-T2I"])
def test_an_official_checkpoint_is_found_wherever_the_list_shows_it(critic: Path, place: str) -> None:
    (critic.parent / place).parent.mkdir()
    critic.rename(critic.parent / place)
    assert resolve(T2I, [critic.parent]).name == place
    assert {place, T2I} <= set(choices([critic.parent]))


def test_an_unknown_name_says_where_it_was_looked_for(tmp_path: Path) -> None:
    assert str(tmp_path) in resolve_error("gone", tmp_path)


# What is wrong with it


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
