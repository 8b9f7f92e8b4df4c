"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rational_rewards.models.errors import QuestionError
from rational_rewards.models.files import replacing, write_json, write_text


def break_half_way(target: Path) -> None:
    with replacing(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    write_json(target, {"score": 1})
    with pytest.raises(TypeError):
        write_json(target, object())
    with pytest.raises(RuntimeError):
        break_half_way(target)
    assert target.read_text() == '{\n  "score": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_missing_folders_are_made_and_other_people_may_read(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "text.md"
    write_text(target, "a\nb \ud83d")
    assert target.read_bytes() == b"a\nb ?"
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


def test_a_scratch_path_keeps_the_suffix_and_may_be_a_folder(tmp_path: Path) -> None:
    with replacing(tmp_path / "image.png") as scratch:
        assert scratch.suffix == ".png"
        scratch.touch()
    with replacing(tmp_path / "adapter") as scratch:
        scratch.mkdir()
        (scratch / "weights").touch()
    assert (tmp_path / "adapter" / "weights").exists()


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    code = (
        "import os, sys; from pathlib import Path; from rational_rewards.models.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as scratch: scratch.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    write_text(target, "whole")
    assert left.exists(), "it may still be written by somebody"
    os.utime(left, (0, 0))
    write_text(target, "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(Path("folder", "real.txt"))
    write_text(link, "first")
    write_text(link, "second")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "real.txt").read_text() == "second"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link.txt", "real.txt"]


def test_a_device_is_written_to_and_stays() -> None:
    null = Path(os.devnull)
    write_text(null, "text")
    assert not null.is_file()


def test_an_error_can_be_written_by_any_log() -> None:
    for text in ("half of an emoji \ud83d", os.fsdecode(b"caf\xe9.png")):
        assert str(QuestionError(f"There is no image {text}.")).encode()
