"""Which checkpoints a list shows, and what a name stands for."""

from __future__ import annotations

import json
import ntpath
import os
import shutil
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
    resolve,
)
from rational_rewards.models.checkpoints.inspection import MARKER
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
