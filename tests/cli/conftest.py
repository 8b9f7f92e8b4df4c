"""Images in a folder of their own, and the tiny critic, for commands of the shell."""

from __future__ import annotations

import pytest

from rational_rewards.cli import evaluate, judge, rank
from rational_rewards.cli.main import main


@pytest.fixture
def folder(tmp_path, pictures, monkeypatch):
    """The current folder, with the images a.png, b.png and c.png; the user's own files are kept in `home`."""
    for name, picture in zip("abc", pictures, strict=False):
        picture.resize((160, 128)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RATIONAL_REWARDS_RECORD", str(tmp_path / "none.json"))
    return tmp_path


@pytest.fixture
def ask(checkpoint_folder, folder):
    """`ask("critique", "a.png", ...)` runs a command with the tiny critic from its checkpoint."""
    options = ["--checkpoint", str(checkpoint_folder()), "--device", "cpu"]
    options += ["--max-new-tokens", "64", "--max-pixels", "16384"]

    def run(command, *arguments, judging=True):
        return main([command, *arguments, *(["--prompt", "a photo", *options] if judging else [])])

    return run


@pytest.fixture
def loads(make_critic, monkeypatch):
    """The critics that the commands have loaded: each time the tiny one, which is in memory already."""
    loaded = []

    def load(options):
        loaded.append(make_critic())
        return loaded[-1]

    monkeypatch.setattr(judge, "load_critic", load)
    monkeypatch.setattr(evaluate, "load_critic", load)
    monkeypatch.setattr(rank, "load_critic", load)
    return loaded


@pytest.fixture
def shell(folder, loads):
    """`shell("score", "a.png", ...)` runs a command in that folder and returns its exit code."""

    def run(*arguments):
        short = ["--max-new-tokens", "64"] if arguments[0] in ("critique", "score", "compare", "rank") else []
        return main([*arguments, *short])

    return run
