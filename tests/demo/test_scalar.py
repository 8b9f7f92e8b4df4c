"""The reward without words: what it is taught, and that a training goes on where it was stopped."""

from __future__ import annotations

import dataclasses

import pytest
from safetensors.torch import load_file

from rational_rewards.cli.main import main
from rational_rewards.demo.generator import pairs, scalar
from rational_rewards.demo.painter import imagine
from rational_rewards.demo.prompts import prompt_of
from rational_rewards.demo.render import render
from rational_rewards.demo.scene import Request, Wish
from rational_rewards.demo.train import GeneratedCourse, paint_pairs
from rational_rewards.models.checkpoints.discovery import EMBEDDED
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import CheckpointError, ParrotError


class Cancelled(Exception):
    """As a host raises it."""


REQUEST = Request((Wish(2, "small", "blue", "star", "left"),), "pink")
PLAN = scalar.Plan(GeneratedCourse(6, 6, 1e-3), batch=4, saved=1)


def test_a_picture_earns_the_same_alone_and_among_others(monkeypatch):
    judge = scalar.ScalarJudge(scalar.beginning().eval())
    pictures = [render(imagine(REQUEST, seed, 1.0), seed) for seed in range(5)]
    prompts = [prompt_of(REQUEST), "a red star", *[prompt_of(REQUEST)] * 3]
    together = judge(prompts, [REQUEST] * 5, pictures)
    assert len({one.combined for one in together}) == 5
    monkeypatch.setattr(scalar, "PORTION", 1)
    for one, alone in zip(together, judge(prompts, [REQUEST] * 5, pictures), strict=True):
        assert 0 < one.combined < 1
        assert one.dimensions == {"overall": one.combined}
        assert one.combined == pytest.approx(alone.combined, abs=1e-5)


def test_it_learns_whom_people_prefer(tmp_path):
    run = scalar.Run(dataclasses.replace(PLAN, learning_rate=1e-3), EMBEDDED, 4 * 40)
    known = [one for one in paint_pairs(tmp_path, 3, range(12)) if one.preferred != "tie"][:4]
    losses = [run.learn(known) for _ in range(12)]
    assert losses[-1] < 0.1 < losses[0]


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "PORTION", 8)

    def train(name, stop=10**9):
        steps = []

        def check():
            # The pairs are painted first.
            if (tmp_path / name / "images").exists():
                steps.append(1)
            if len(steps) > stop:
                raise Cancelled

        return scalar.train_scalar(tmp_path / name, PLAN, progress=Progress(check), say=lambda line: None)

    with pytest.raises(Cancelled):
        train("stopped", stop=8)
    assert (tmp_path / "stopped" / scalar.STATE).exists()
    assert not (tmp_path / "stopped" / scalar.WEIGHTS).exists()
    assert train("stopped").read_bytes() == train("whole").read_bytes()
    assert load_file(tmp_path / "whole" / scalar.WEIGHTS)["head.weight"].abs().sum() > 0
    scalar.read_scalar(tmp_path / "whole" / scalar.WEIGHTS)
    with pytest.raises(ParrotError, match="another plan"):
        scalar.train_scalar(tmp_path / "whole", dataclasses.replace(PLAN, seed=1))


def test_a_file_that_is_none_is_refused(tmp_path, capsys):
    file = tmp_path / "notes.txt"
    file.write_text("no weights", encoding="utf-8")
    with pytest.raises(CheckpointError, match="no scalar reward"):
        scalar.read_scalar(file)
    folder = str(tmp_path / "lora")
    assert main(["demo", "train-lora", "--folder", folder, "--reward", "scalar"]) == 2
    assert "--scalar FILE" in capsys.readouterr().err
    assert main(["demo", "train-lora", "--folder", folder, "--critic", str(tmp_path)]) == 2
    assert "name the folder of a shapes critic" in capsys.readouterr().err
    assert main(["demo", "train-lora", "--folder", folder, "--reward", "scalar", "--scalar", str(file)]) == 1
    assert "no scalar reward" in capsys.readouterr().err
