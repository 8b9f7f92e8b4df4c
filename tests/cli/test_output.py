"""Finished work is never lost: targets are checked before, and whatever can be printed or written is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rational_rewards.cli import output
from rational_rewards.cli.main import main
from rational_rewards.models import files

PROMPT = ["--prompt", "a photo"]


# ---------------------------------------------------------------- before the work


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--card", "card.txt"], 2, "end it in .png"),
        (["--card", "card"], 2, "end it in .png"),
        (["--json", "there"], 2, "is a folder: name a file in it"),
        (["--json", "new/"], 2, "is a folder: name a file in it"),
        (["--card", "a.png"], 2, "would overwrite the image a.png"),
        (["--json", "x.png", "--card", "./x.png"], 2, "would overwrite what --"),
        (["--json", "a.png/x.json"], 1, "cannot be written"),
        (["--card", "a.png/deeper/x.png"], 1, "cannot be written"),
    ],
)
def test_a_wrong_target_is_told_before_a_critic_is_loaded(shell, loads, folder, capsys, options, code, says):
    (folder / "there").mkdir()
    before = sorted(folder.rglob("*"))
    assert shell("critique", "a.png", *PROMPT, *options) == code
    assert says in capsys.readouterr().err
    assert not loads
    assert sorted(folder.rglob("*")) == before


def test_no_name_of_an_image_is_a_target(shell, folder, loads, capsys):
    """Neither through links or folders, nor where cards are numbered."""
    (folder / "self").symlink_to(folder, target_is_directory=True)
    (folder / "below").mkdir()
    (folder / "k-1.png").write_bytes((folder / "a.png").read_bytes())
    for images, options in [
        (["a.png"], ["--json", "self/a.png"]),
        (["a.png"], ["--card", "below/../a.png"]),
        (["k-1.png", "a.png"], ["--card", "k.png"]),
    ]:
        before = [(folder / name).read_bytes() for name in images]
        assert shell("critique", *images, *PROMPT, *options) == 2
        assert "would overwrite the image" in capsys.readouterr().err
        assert [(folder / name).read_bytes() for name in images] == before
    assert not loads


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_gets_the_result(shell, folder):
    os.mkfifo("pipe")
    # Open on both sides, or the writer would wait for a reader.
    pipe = os.open("pipe", os.O_RDWR)
    try:
        assert shell("score", "a.png", *PROMPT, "--json", "pipe") == 0
        assert json.loads(os.read(pipe, 2**16))["failed"] == 0
    finally:
        os.close(pipe)
    assert not Path("pipe").is_file()


def test_a_current_folder_that_is_gone_is_one_sentence(folder, monkeypatch, capsys):
    (folder / "gone").mkdir()
    monkeypatch.chdir("gone")
    (folder / "gone").rmdir()
    assert main(["checkpoints"]) == 2
    assert "change to another one" in capsys.readouterr().err


def test_folders_are_made_for_results(shell, folder):
    options = ["--json", "new/deep/r.json", "--card", "new/cards/card.webp"]
    assert shell("critique", "a.png", "b.png", *PROMPT, *options) == 0
    assert (folder / "new/deep/r.json").is_file()
    assert sorted(path.name for path in (folder / "new/cards").iterdir()) == ["card-1.webp", "card-2.webp"]


def test_the_check_leaves_no_folder_behind(folder):
    output.check_targets({"--json": "new/deep/r.json"})
    assert not (folder / "new").exists()


def test_the_demo_checks_its_target_first(folder, monkeypatch, capsys):
    from rational_rewards.demo import rounds

    monkeypatch.setattr(rounds, "embedded_critic", lambda: pytest.fail("the critic is loaded for nothing"))
    assert main(["demo", "--out", "a.png/demo.html"]) == 1
    assert main(["demo", "--out", "."]) == 2
    assert main(["demo", "--prompt", "a cat on a sofa"]) == 1
    assert "coloured shapes" in capsys.readouterr().err


# ---------------------------------------------------------------- after the work


@pytest.mark.parametrize("failing", ["write_json", "replacing"])
def test_a_disk_that_is_full_loses_nothing_else(shell, folder, monkeypatch, capsys, failing):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, failing, full)
    options = ["--json", "r.json", "--card", "card.png"]
    assert shell("critique", "a.png", *PROMPT, *options) == 1
    captured = capsys.readouterr()
    assert "| Text Faithfulness |" in captured.out
    assert "could not be written (No space left on device)" in captured.err
    assert (folder / "card.png").is_file() == (failing == "write_json")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_console_prints_what_it_can(monkeypatch, encoding):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    output.show("plain, é, → and \ud83d")
    shown = console.buffer.getvalue().decode(encoding)
    assert shown.startswith("plain, ")
    assert shown.rstrip("\n").endswith("and ?")
    assert ("é" in shown) == (encoding != "ascii")
    assert ("→" in shown) == (encoding == "utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_whole_on_any_console(monkeypatch, encoding):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    output.deliver("-", "", {"prompt": "é → 🙂", "half": "\ud83d", os.fsdecode(b"caf\xe9"): 1})
    data = json.loads(console.buffer.getvalue().decode(encoding))
    assert data == {"prompt": "é → 🙂", "half": "?", "caf\ufffd": 1}


def rubric_show(encoding: str = "utf-8", **options: Any) -> Any:
    """`rubric show` in a process of its own; what it prints is more than a pipe holds."""
    command = [
        sys.executable,
        "-m",
        "rational_rewards",
        "rubric",
        "show",
        "edit",
        "--prompt",
        "é → x" * 12_000,
    ]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_whole_command_on_an_old_console(encoding):
    process = rubric_show(encoding, stdout=subprocess.PIPE)
    shown, error = process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert "[user]" in shown.decode(encoding)


def test_a_reader_that_has_seen_enough_is_no_error():
    process = rubric_show(stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_a_report_that_cannot_be_printed_is_one_sentence():
    with open("/dev/full", "wb") as full:
        process = rubric_show(stdout=full)
        _, error = process.communicate()
    assert process.returncode == 1
    assert error.decode().splitlines() == [
        "rational_rewards: The report could not be printed (No space left on device): print it elsewhere."
    ]


# ---------------------------------------------------------------- progress


class Console(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def reported(monkeypatch):
    """`reported(terminal, quiet)`: what stderr shows of thirty steps, one a second."""

    def run(terminal, quiet=False):
        seconds = iter(range(1000))
        console = Console(terminal)
        monkeypatch.setattr(sys, "stderr", console)
        monkeypatch.setattr(output.time, "monotonic", lambda: next(seconds))
        progress = output.progress_on(quiet)
        for done in range(30):
            progress.update(done, 30, "scores", "")
        return console.getvalue()

    return run


def test_progress_in_a_pipe_is_plain_lines(reported):
    shown = reported(terminal=False)
    assert "\r" not in shown
    assert "\x1b" not in shown
    assert 3 < len(shown.splitlines()) < 10
    assert shown.splitlines()[0].endswith("of 30 scores")


def test_progress_on_a_terminal_is_one_line(reported):
    shown = reported(terminal=True)
    assert "\n" not in shown
    assert "\r" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_none(reported, terminal):
    assert reported(terminal, quiet=True) == ""
