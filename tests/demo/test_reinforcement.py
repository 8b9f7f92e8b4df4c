"""The shapes generator learns from a judge: the loss, failed judgements, resuming, the file, the commands."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from killed_training import kill_and_finish
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from rational_rewards.cli.main import main
from rational_rewards.demo.generator import data, files, reinforcement
from rational_rewards.demo.generator.autoencoder import Components, Decoder
from rational_rewards.demo.generator.judges import CriticJudge, optimalities, truth
from rational_rewards.demo.generator.lora import LoRA, read_lora, with_lora, write_lora
from rational_rewards.demo.generator.reinforcement import (
    JOURNAL,
    LORA,
    Batch,
    Plan,
    Run,
    asked,
    nft_losses,
    train_lora,
)
from rational_rewards.demo.generator.reinforcement_report import Iteration, Journal, curves, describe
from rational_rewards.demo.generator.sampling import Generator
from rational_rewards.demo.painter import perfect
from rational_rewards.demo.prompts import prompt_of
from rational_rewards.demo.render import render
from rational_rewards.demo.rounds import embedded_critic
from rational_rewards.demo.scene import TEXT_FAITHFULNESS, TEXT_RENDERING, Request, Wish
from rational_rewards.models.errors import CheckpointError, ParrotError
from rational_rewards.rewards import Reward

# Small enough that an iteration takes no time.
TINY = Plan(rank=4, prompts=2, steps=3, side=4, updates=2, learning_rate=0.02)


def awake(depth: int = 1) -> Generator:
    """A generator in which nothing is zero any more, as in one that was trained."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        generator = Generator(depth)
        for weight in generator.denoiser.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return generator.eval()


class Grey(Decoder):
    """Pictures as bright as the first number of their latents."""

    def pictures(self, latents: Tensor) -> list[Image.Image]:
        values = ((latents[:, 0] + 2) / 4).clamp(0, 1) * 255
        return [Image.fromarray(one.to(torch.uint8).numpy()).convert("RGB") for one in values]


def brightness(
    prompts: Sequence[str], requests: Sequence[Request], pictures: Sequence[Image.Image]
) -> list[Reward | None]:
    shares = [float(numpy.asarray(picture).mean()) / 255 for picture in pictures]
    return [Reward({"brightness": share}, share) for share in shares]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    components = Components.of(data.pixels([data.example("one", 0, number).image for number in range(50)]))
    target = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    files.write_generator(target, awake(), Decoder(), components, "one", 7)
    return target


# ---------------------------------------------------------------- what is learned


def test_a_made_up_reward_rises(monkeypatch):
    # There are no facts to read in these pictures, and reading takes the longest.
    monkeypatch.setattr(reinforcement, "truth", brightness)
    run = Run(TINY, awake(), Grey())
    notes = [run.iterate(brightness) for _ in range(16)]
    rewards = [note.dimensions["brightness"] or 0.0 for note in notes]
    assert numpy.mean(rewards[-3:]) > numpy.mean(rewards[:3]) + 0.1
    assert [note.number for note in notes] == list(range(1, 17))
    assert notes[0].reward == notes[0].dimensions["brightness"]


def test_the_loss_draws_to_what_is_good_and_away_from_what_is_bad():
    chance = torch.Generator().manual_seed(0)
    noise, latents, old = (torch.randn(3, 16, 4, 4, generator=chance) for _ in range(3))
    sigmas = torch.tensor([0.3, 0.6, 0.9])
    share = sigmas[:, None, None, None]
    noisy = share * noise + (1 - share) * latents
    velocity = old.clone().requires_grad_()
    batch = Batch(latents, torch.zeros(3, 8, 64), torch.tensor([1.0, 0.5, 0.0]))
    losses = nft_losses(velocity, old, noisy, sigmas, batch, 1.0)
    error = noisy - share * old - latents
    expected = error.square().mean((1, 2, 3)) / error.abs().mean((1, 2, 3))
    torch.testing.assert_close(losses.detach(), expected)
    (gradient,) = torch.autograd.grad(losses.sum(), velocity)
    towards = ((noise - latents - old) * -gradient).sum((1, 2, 3))
    assert towards[0] > 0
    assert gradient[1].abs().max() < 1e-6
    assert towards[2] < 0


def test_pictures_are_compared_within_their_group():
    low, high = (Reward({"a": value, "b": None}, value) for value in (0.25, 0.5))
    best = Reward({"a": 1.0, "b": None}, 1.0)
    found = optimalities([low, high, best, best, best, best], 2, 1.0)
    assert found[:4] == [0.0, 1.0, None, None]
    assert optimalities([low, high], 2, 2.0) == [0.25, 0.75]


# ---------------------------------------------------------------- failed judgements


def test_failed_judgements_take_no_part():
    low, high = (Reward({"a": value}, value) for value in (0.25, 0.5))
    assert optimalities([None, low, None, high], 4, 1.0) == [None, 0.0, None, 1.0]
    assert optimalities([None, low], 2, 1.0) == [None, None]


def test_nothing_is_learned_from_a_picture_without_a_reward():
    learned = []
    for missing in (0.0, float("nan")):
        run = Run(replace(TINY, group=4), awake(), Grey())
        wanted = asked(run.plan, 0)
        latents = run.paint(wanted)
        rewards = brightness(wanted.prompts, wanted.requests, run.decoder.pictures(latents))
        rewards[1] = rewards[6] = None
        latents[[1, 6]] = missing
        run.learn(wanted, latents, rewards)
        learned.append(run.new.tensors)
    for name, matrix in learned[0].items():
        assert torch.equal(matrix, learned[1][name]), name
        assert matrix.isfinite().all()


def test_an_iteration_without_rewards_changes_nothing():
    run = Run(TINY, awake(), Grey())
    before = run.new.clone()
    note = run.iterate(lambda prompts, requests, pictures: [None for _ in pictures])
    assert (note.reward, note.loss, note.kl, note.judged, note.pictures) == (None, None, None, 0, 16)
    assert note.truth is not None
    for name, matrix in run.new.tensors.items():
        assert torch.equal(matrix, before.tensors[name])


# ---------------------------------------------------------------- judges


def test_both_judges_know_right_from_wrong():
    requests = [Request((Wish(1, "large", "red", "circle", "left"),), "cyan")] * 2
    other = Request((Wish(3, "small", "blue", "star", "right"),), "pink")
    pictures = [render(perfect(request, 1), 1) for request in (requests[0], other)]
    prompts = [prompt_of(request) for request in requests]
    for judge in (truth, CriticJudge(embedded_critic())):
        right, wrong = judge(prompts, requests, pictures)
        assert right
        assert wrong
        assert right.combined > wrong.combined + 0.2
        assert right.dimensions[TEXT_FAITHFULNESS] == 1.0
        # There is no word in the prompt.
        assert right.dimensions[TEXT_RENDERING] is None


def test_the_truth_counts_letters_apart():
    request = Request((Wish(1, "large", "red", "circle", "left"),), "cyan", "SUN")
    other = replace(request, word="SUX")
    (found,) = truth([prompt_of(request)], [request], [render(perfect(other, 1), 1)])
    assert found
    assert found.dimensions == {TEXT_FAITHFULNESS: 1.0, TEXT_RENDERING: pytest.approx(2 / 3)}
    assert found.combined == pytest.approx(9 / 10)


# ---------------------------------------------------------------- the file

# Of two blocks; the text is not written to any more in the last one.
LAYERS = [
    f"joint_blocks.{block}_block.{layer}"
    for block in ("0.context", "0.x", "1.x")
    for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
] + ["joint_blocks.1.context_block.attn.qkv"]


def changing(generator: Generator) -> LoRA:
    lora = LoRA.of(generator.denoiser, 4, 0)
    for matrix in lora.up.values():
        matrix.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return lora


def test_a_file_has_the_names_that_core_looks_for(tmp_path):
    write_lora(tmp_path / "lora.safetensors", LoRA.of(Generator(2).denoiser, 4, 0), 3)
    expected = {f"diffusion_model.{layer}.lora_{side}.weight" for layer in LAYERS for side in "AB"}
    found = load_file(tmp_path / "lora.safetensors")
    assert found.keys() == expected
    assert found["diffusion_model.joint_blocks.0.x_block.mlp.fc1.lora_A.weight"].shape == (4, 128)
    assert found["diffusion_model.joint_blocks.0.x_block.mlp.fc1.lora_B.weight"].shape == (512, 4)


def test_a_file_gives_what_the_trained_policy_gives(tmp_path):
    run = Run(TINY, awake(), Grey())
    for _ in range(2):
        run.iterate(brightness)
    write_lora(tmp_path / "lora.safetensors", run.old, run.iteration)
    generator = with_lora(awake(), read_lora(tmp_path / "lora.safetensors"))
    name = "joint_blocks.0.x_block.mlp.fc1"
    torch.testing.assert_close(
        generator.denoiser.get_parameter(f"{name}.weight"),
        awake().denoiser.get_parameter(f"{name}.weight") + run.old.up[name] @ run.old.down[name],
    )
    trained = run.paint(asked(run.plan, 9))
    assert torch.equal(Run(TINY, generator, Grey()).paint(asked(run.plan, 9)), trained)
    assert not torch.allclose(Run(TINY, awake(), Grey()).paint(asked(run.plan, 9)), trained, atol=1e-3)


def test_a_lora_that_changes_nothing_leaves_the_generator_as_it_is():
    generator = awake()
    before = {name: weight.clone() for name, weight in generator.state_dict().items()}
    same = with_lora(generator, LoRA.of(generator.denoiser, 4, 0)).state_dict()
    other = with_lora(generator, changing(generator)).state_dict()
    for name, weight in generator.state_dict().items():
        assert torch.equal(weight, before[name])
        assert torch.equal(weight, same[name])
    assert any(not torch.equal(weight, other[name]) for name, weight in before.items())


def test_other_files_are_refused(tmp_path):
    lora = LoRA.of(Generator(2).denoiser, 4, 0)
    with pytest.raises(CheckpointError, match="another model"):
        with_lora(awake(1), lora)
    tensors = {name: matrix.contiguous() for name, matrix in lora.tensors.items()}
    del tensors[next(iter(lora.tensors))]
    save_file(tensors, tmp_path / "half.safetensors")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights", encoding="utf-8")
    for name in ("half", "other", "text", "missing"):
        with pytest.raises(CheckpointError, match="train-lora"):
            read_lora(tmp_path / f"{name}.safetensors")


# ---------------------------------------------------------------- a run's folder

RUN = """
import sys
from pathlib import Path
import numpy
from rational_rewards.demo.generator import reinforcement
from rational_rewards.rewards import Reward

def brightness(prompts, requests, pictures):
    shares = [float(numpy.asarray(picture).mean()) / 255 for picture in pictures]
    return [Reward({"brightness": share}, share) for share in shares]

reinforcement.truth = brightness
plan = reinforcement.Plan(rank=4, prompts=2, steps=3, side=4, updates=2, learning_rate=0.02)
folder, generator = map(Path, sys.argv[1:])
print("ready", flush=True)
reinforcement.train_lora(folder, generator, plan, brightness, 12, say=lambda line: None)
print("done", flush=True)
"""


def test_a_run_that_is_killed_ends_with_the_same_weights(tmp_path, file):
    def check(whole: Path, killed: Path) -> None:
        assert (killed / JOURNAL).read_text() == (whole / JOURNAL).read_text()
        found, expected = (load_file(folder / LORA) for folder in (killed, whole))
        assert found.keys() == expected.keys()
        assert all(matrix.any() for matrix in expected.values())
        for name, matrix in expected.items():
            assert torch.equal(matrix, found[name]), name

    kills = int(os.environ.get("RR_TRAINING_KILLS", "1"))
    kill_and_finish(lambda folder: ["-c", RUN, str(folder), str(file)], tmp_path, kills, check)


def test_an_iteration_that_was_noted_but_not_kept_is_noted_once(tmp_path, file, monkeypatch):
    def train(iterations: int) -> None:
        train_lora(tmp_path / "run", file, TINY, brightness, iterations, say=lambda line: None)

    train(2)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", lambda run, target: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(4)
    assert len((tmp_path / "run" / JOURNAL).read_text().splitlines()) == 3
    train(4)
    lines = [json.loads(line) for line in (tmp_path / "run" / JOURNAL).read_text().splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4]
    assert {"reward", "dimensions", "truth", "loss", "kl"} <= lines[0].keys()
    for name in ("curves.png", "samples-0000.png", "samples-0004.png"):
        assert Image.open(tmp_path / "run" / name).width == 960


def test_a_folder_keeps_its_generator(tmp_path, file):
    train_lora(tmp_path / "run", file, TINY, brightness, 1, say=lambda line: None)
    with pytest.raises(ParrotError, match="another plan"):
        train_lora(tmp_path / "run", files.SHIPPED, TINY, brightness, 1)


def test_half_a_line_is_dropped(tmp_path):
    journal = Journal(tmp_path / JOURNAL, 0)
    note = Iteration(1, 0.5, {"a": 0.5}, 0.25, 8, 8, 0.1, 0.01)
    journal.append(note)
    with (tmp_path / JOURNAL).open("a") as opened:
        opened.write('{"number": 2, "rew')
    assert Journal(tmp_path / JOURNAL, 1).notes == [note]


def test_curves_can_be_drawn_of_whatever_there_is():
    notes = [Iteration(1, None, {}, None, 0, 8, None, None), Iteration(2, 0.5, {"a": None}, 0.5, 8, 8, 0, 0)]
    for number in (1, 2):
        assert curves(notes[:number]).size == (960, 600)


def test_the_commands_train_and_measure_a_lora(tmp_path, file, capsys):
    folder = tmp_path / "run"
    options = ["--generator", str(file), "--reward", "truth", "--iterations", "1", "--prompts", "1"]
    assert main(["demo", "train-lora", "--folder", str(folder), *options, "--quiet"]) == 0
    assert str(folder / LORA) in capsys.readouterr().out
    assert main(["demo", "train-lora", "--folder", str(folder), *options, "--seed", "1", "--quiet"]) == 1
    measured = ["demo", "evaluate-generator", str(file), "--prompts", "2", "--guidance", "1", "--quiet"]
    assert main([*measured, "--lora", str(folder / LORA)]) == 0
    assert "| all facts |" in capsys.readouterr().out
    assert main([*measured, "--lora", str(file)]) == 1
    assert "train-lora" in capsys.readouterr().err


def test_a_reward_that_is_cheated_is_said_to_rise_more_than_the_truth():
    notes = [Iteration(n, 0.5 + n / 100, {}, 0.7 + n / 400, 32, 32, None, None) for n in range(1, 41)]
    assert (
        "From the first 10 iterations to the last 10 of 40 the reward went from 0.555 to 0.855"
        in describe(notes)
    )
    assert describe(notes).endswith("rose 0.225 more than the truth.")
    honest = [Iteration(n, 0.5, {}, 0.7 + n / 400, 32, 32, None, None) for n in range(1, 41)]
    assert describe(honest).endswith("rose 0.075 less than the truth.")
    assert "too few" in describe(notes[:1])
