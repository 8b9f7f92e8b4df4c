"""The critic inside the pack: offered last, always as it is, on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from rational_rewards.cli.main import main
from rational_rewards.demo.checkpoint import build_checkpoint
from rational_rewards.models.checkpoints import discovery, loading
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME, choices, resolve
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import CheckpointError


@pytest.fixture
def embedded(checkpoint_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny checkpoint in the place of the embedded one."""
    folder = tmp_path / "pack" / "demo" / "critic"
    shutil.copytree(checkpoint_folder(), folder)
    monkeypatch.setattr(discovery, "EMBEDDED", folder)
    return folder


def test_the_embedded_critic_is_offered_last_and_only_where_it_is(embedded: Path, tmp_path: Path) -> None:
    official = [known.repo for known in discovery.OFFICIAL]
    assert choices([tmp_path / "nowhere"]) == [*official, EMBEDDED_NAME]
    found = resolve(EMBEDDED_NAME, [])
    assert isinstance(found, discovery.Checkpoint)
    assert (found.name, found.folder, found.embedded) == (EMBEDDED_NAME, embedded, True)
    shutil.rmtree(embedded)
    assert choices([tmp_path / "nowhere"]) == official
    with pytest.raises(CheckpointError, match="not in the model folders"):
        resolve(EMBEDDED_NAME, [tmp_path])


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_the_embedded_critic_runs_unquantized_on_the_cpu_whatever_is_chosen(
    embedded: Path, quantization: str
) -> None:
    shutil.rmtree(embedded)
    build_checkpoint(embedded, dtype="bfloat16")
    loaded = loading.load(embedded, quantization, "meta" if quantization == "nf4" else "cpu")
    assert {(p.dtype, p.device.type) for p in loaded.model.parameters()} == {(torch.float32, "cpu")}
    assert any("whatever was chosen" in note for note in loaded.notes) == (quantization != "none")
    critic = Critic.load(EMBEDDED_NAME, quantization)
    assert critic.name == EMBEDDED_NAME
    assert critic.engine.device.type == "cpu"


def test_the_shell_lists_the_embedded_critic_and_asks_it(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "a.png")
    assert main(["checkpoints"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(EMBEDDED_NAME)
    options = ["--max-new-tokens", "64", "--max-pixels", "16384"]
    assert (
        main(["critique", str(tmp_path / "a.png"), "--prompt", "a", "--checkpoint", EMBEDDED_NAME, *options])
        == 0
    )
    assert f"Judged by {EMBEDDED_NAME}." in capsys.readouterr().out


def test_a_prompt_of_several_lines_is_judged_whole() -> None:
    """The critic in the pack has learned from prompts of one line."""
    critic = Critic.load(EMBEDDED_NAME, "none", "cpu")
    image = Image.new("RGB", (128, 128), "white")
    prompts = ["a red circle and a blue square", "a red circle\n\nand a blue square"]
    one, two = critic.critique([image] * 2, prompts).judgements
    assert one.raw == two.raw
    assert "blue square" in one.raw
