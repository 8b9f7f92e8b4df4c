"""What a phase leaves when the disk refuses a file: the file as it was, and nothing beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rational_rewards.parrot import pipeline
from rational_rewards.parrot.export import export_llama_factory
from rational_rewards.parrot.manifest import MANIFEST, Manifest
from rational_rewards.parrot.resumable import split
from rational_rewards.parrot.rows import ROWS


def write_manifest(folder: Path) -> Path:
    made = Manifest(**dict.fromkeys(Manifest.__dataclass_fields__, None))
    made.write(folder)
    return folder / MANIFEST


def remember(folder: Path) -> Path:
    (folder / pipeline.RUNS).mkdir(exist_ok=True)
    pipeline._remember(folder, "run")
    return folder / pipeline.RUNS / pipeline.LATEST


def export(folder: Path) -> Path:
    (folder / ROWS).write_text("{}\n")
    return export_llama_factory(folder)[0]


def divide(folder: Path) -> Path:
    line = {"id": "1", "to": {"kept.jsonl": [{"a": 1}], "dropped.jsonl": []}}
    (folder / "work").write_text(json.dumps(line) + "\n")
    assert split(folder / "work", folder, ["kept.jsonl", "dropped.jsonl"])[0] == {
        "kept.jsonl": 1,
        "dropped.jsonl": 0,
    }
    return folder / "kept.jsonl"


@pytest.mark.parametrize("write", [write_manifest, remember, export, divide])
def test_a_refused_file_leaves_nothing_half_done(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write(tmp_path)
    assert target.is_file()
    target.write_text("as it was")
    there = sorted(tmp_path.rglob("*"))

    def refuse(source: object, target: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk is full"):
        write(tmp_path)
    assert target.read_text() == "as it was"
    assert sorted(tmp_path.rglob("*")) == there
