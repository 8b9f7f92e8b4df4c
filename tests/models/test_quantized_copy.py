"""The quantized copy beside a checkpoint, which makes the next start quick."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_tools import FAMILIES, change_weights, logits, pretend

from rational_rewards.demo.checkpoint import Shape, build_checkpoint
from rational_rewards.models.checkpoints.discovery import find_checkpoints
from rational_rewards.models.checkpoints.loading import load, save_quantized
from rational_rewards.models.errors import CheckpointError


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_copy_answers_identically(
    copy_of: Callable[..., Path], family: str, quantization: str, tied: bool
) -> None:
    folder = copy_of(family, tied=tied)
    first = load(folder, quantization)
    copy = save_quantized(first)
    assert copy == folder / f"rational_rewards-{quantization}"
    again = load(folder, quantization)
    assert again.copied_from == copy
    assert again.notes == [f"Read from the quantized copy {copy}."]
    assert (again.quantization, again.bytes) == (first.quantization, first.bytes)
    assert torch.equal(logits(again), logits(first))
    assert save_quantized(again) == copy
    assert [checkpoint.name for checkpoint in find_checkpoints([folder.parent])] == ["my critic"]


def test_the_copy_is_about_a_third_of_the_original(tmp_path: Path) -> None:
    # The 8B's embedding and head are 14 % of its weights, here 12 %; its vision tower is 7 %, here under 2 %.
    shape = Shape(hidden=512, layers=4, heads=8, kv_heads=2, head_dim=64, mlp=2048, vocabulary=2048)
    folder = build_checkpoint(tmp_path / "critic", shape, dtype="bfloat16")
    copy = save_quantized(load(folder, "nf4"))
    original = (folder / "model.safetensors").stat().st_size
    assert 0.3 < sum(file.stat().st_size for file in copy.glob("*.safetensors")) / original < 0.4


def test_the_copy_is_not_used_for_changed_weights(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    change_weights(folder, lambda weights: weights["lm_head.weight"].mul_(2))
    os.utime(folder / "model.safetensors", (time.time() + 5, time.time() + 5))
    changed = load(folder, "nf4")
    assert changed.copied_from is None
    assert changed.notes == [
        (
            f"The quantized copy {folder / 'rational_rewards-nf4'} was made of other files or versions, so "
            f"the "
            f"original was read."
        )
    ]
    # Takes the place of the stale one.
    save_quantized(changed)
    assert torch.equal(logits(load(folder, "nf4")), logits(changed))
    assert sorted(file.name for file in folder.iterdir() if file.is_dir()) == ["rational_rewards-nf4"]


@pytest.mark.parametrize(("package", "version"), [("bitsandbytes", "0.51.0"), ("transformers", "6.0.0")])
def test_the_copy_is_not_used_by_other_libraries(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    pretend(monkeypatch, package, version)
    assert load(folder, "nf4").copied_from is None


def test_the_copy_is_not_used_for_another_precision(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    other = load(folder, "nf4", dtype=torch.float32)
    assert other.copied_from is None
    assert other.model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("damage", ["cut", "gone", "record", "weight"])
def test_a_damaged_copy_is_not_used(copy_of: Callable[..., Path], damage: str) -> None:
    folder = copy_of()
    first = load(folder, "nf4")
    copy = save_quantized(first)
    weights = copy / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "gone":
        weights.unlink()
    elif damage == "record":
        (copy / "source.json").write_text("{", encoding="utf-8")
    else:
        change_weights(copy, lambda tensors: tensors.pop("lm_head.weight"))
    loaded = load(folder, "nf4")
    assert loaded.copied_from is None
    assert "cannot be used" in loaded.notes[0]
    assert torch.equal(logits(loaded), logits(first))


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_model_that_has_been_used_is_not_saved(copy_of: Callable[..., Path], quantization: str) -> None:
    folder = copy_of()
    loaded = load(folder, quantization)
    logits(loaded)
    with pytest.raises(CheckpointError, match="has been used already"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_an_unquantized_model_has_no_copy(checkpoint_folder: Callable[..., Path]) -> None:
    with pytest.raises(
        CheckpointError, match=re.escape("was loaded as none (fp32), and only nf4 and int8 can be saved")
    ):
        save_quantized(load(checkpoint_folder(), "none"))


def test_no_room_for_the_copy(copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of()
    loaded = load(folder, "nf4")
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"needs 0\.1 GB in .*, where 0\.0 GB are free"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_a_save_that_fails_leaves_nothing_and_keeps_the_old_copy(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of()
    loaded = load(folder, "nf4")

    def fill(target: Path, **options: Any) -> None:
        (Path(target) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loaded.model, "save_pretrained", fill)
    with pytest.raises(CheckpointError, match=r"could not be saved in .*No space left on device"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_what_a_killed_save_has_left_is_cleared_away(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    for name, age in (("old", 2 * 86400), ("running", 60)):
        left = folder / f".rational_rewards-nf4-{name}"
        left.mkdir()
        os.utime(left, (time.time() - age, time.time() - age))
    save_quantized(load(folder, "nf4"))
    assert sorted(path.name for path in folder.glob(".rational*")) == [".rational_rewards-nf4-running"]
