"""Which critic a command judges with, and what a download asks first."""

from __future__ import annotations

import argparse
import io
import shutil
import sys

import pytest

from rational_rewards.cli import checkpoints
from rational_rewards.cli.main import main
from rational_rewards.cli.output import UsageError
from rational_rewards.models.checkpoints import downloads
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME, OFFICIAL

REPO = OFFICIAL[0].repo


def options(**changes):
    return argparse.Namespace(**{"checkpoint": None, "quiet": False, "yes": False, **changes})


def test_without_any_checkpoint_it_says_how_to_get_one(folder, capsys):
    assert main(["critique", "a.png", "--prompt", "a photo"]) == 1
    error = capsys.readouterr().err
    assert f"--checkpoint {REPO} (17.5 GB)" in error
    assert f'--checkpoint "{EMBEDDED_NAME}"' in error


def test_without_a_name_the_first_one_judges_and_the_others_are_named(folder, checkpoint_folder, capsys):
    models = folder / "home" / "models" / "rationalrewards"
    for name in ("second", "first"):
        shutil.copytree(checkpoint_folder(), models / name)
    assert checkpoints.checkpoint_folder(options()) == models / "first"
    note = capsys.readouterr().err
    assert "The critic is first" in note
    assert f"second, {EMBEDDED_NAME}" in note
    checkpoints.checkpoint_folder(options(quiet=True))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("terminal", "quiet", "bars"), [(False, [], 0), (True, ["--quiet"], 0), (True, [], 1)]
)
def test_bars_of_libraries_are_for_who_watches(ask, monkeypatch, capsys, terminal, quiet, bars):
    from transformers.utils import logging

    logging.enable_progress_bar()
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert ask("score", "a.png", *quiet) == 0
    assert min(1, capsys.readouterr().err.count("Loading weights")) == bars
    logging.enable_progress_bar()


def test_a_misspelt_name_is_recognised(folder, capsys):
    command = ["score", "a.png", "--prompt", "a photo", "--checkpoint"]
    assert main([*command, "Shapes demo"]) == 1
    assert f'Did you mean "{EMBEDDED_NAME}"?' in capsys.readouterr().err
    assert main([*command, "something else entirely"]) == 1
    assert "Did you mean" not in capsys.readouterr().err


def test_the_list_says_what_is_there_and_what_a_download_costs(folder, checkpoint_folder, capsys):
    shutil.copytree(checkpoint_folder(), folder / "home" / "models" / "rationalrewards" / "mine")
    assert main(["checkpoints"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mine  ") and "on disk" in line for line in lines)
    assert any(line.startswith(REPO) and "17.5 GB to download" in line for line in lines)
    assert any(line.startswith(EMBEDDED_NAME) for line in lines)


class Stream(io.StringIO):
    """A console, or a pipe."""

    terminal = True

    def isatty(self):
        return self.terminal


@pytest.fixture
def hub(folder, monkeypatch):
    """Folders that were downloaded, from a hub with one file of 17.5 GB."""
    fetched = []

    def download(official, root, *_, **__):
        fetched.append(official.repo)
        return root / official.name

    monkeypatch.setattr(downloads, "download", download)
    return fetched


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("", False)])
def test_a_download_asks_once_on_a_terminal(hub, monkeypatch, answer, goes_on):
    console = Stream()
    monkeypatch.setattr(sys, "stdin", Stream(answer))
    monkeypatch.setattr(sys, "stderr", console)
    if goes_on:
        checkpoints.checkpoint_folder(options(checkpoint=REPO))
    else:
        with pytest.raises(UsageError, match="Nothing was downloaded"):
            checkpoints.checkpoint_folder(options(checkpoint=REPO))
    assert hub == ([REPO] if goes_on else [])
    assert console.getvalue().count("17.5 GB would be downloaded") == 1


def test_a_download_in_a_pipe_needs_a_yes(hub, folder, monkeypatch, capsys):
    stream = Stream("y\n")
    stream.terminal = False
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["score", "a.png", "--prompt", "a photo", "--checkpoint", REPO]) == 2
    error = capsys.readouterr().err
    assert "17.5 GB would be downloaded" in error
    assert "--yes" in error
    assert not hub
    checkpoints.checkpoint_folder(options(checkpoint=REPO, yes=True))
    assert hub == [REPO]
