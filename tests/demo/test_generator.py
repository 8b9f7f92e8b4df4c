"""The shapes generator: tokens, pictures, autoencoder, training that resumes, and the file."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace

import numpy
import pytest
import torch
from killed_training import kill_and_finish
from PIL import Image, ImageDraw

from rational_rewards.demo.generator import data, files, text, training
from rational_rewards.demo.generator.autoencoder import Components, Decoder, decoder_of, taesd_weights
from rational_rewards.demo.generator.evaluation import Facts, sign_test
from rational_rewards.demo.generator.mmdit import MMDiT
from rational_rewards.demo.generator.reader import facts, read
from rational_rewards.demo.generator.sampling import Generator, sample
from rational_rewards.demo.painter import perfect
from rational_rewards.demo.prompts import insisting, phrased, random_request
from rational_rewards.demo.render import render
from rational_rewards.demo.scene import COLOURS, Request, Scene, Thing, Wish, flaws_of
from rational_rewards.models.errors import CheckpointError, ParrotError
from rational_rewards.parrot.run_lock import exclusive

# Small enough that a step takes no time.
STAGES = (training.Stage("one", True, 6), training.Stage("words", False, 12))
TINY = training.Plan(depth=1, batch=8, shards=1, stages=STAGES, decoder_steps=2, bfloat16=False)


@pytest.fixture(scope="module")
def components() -> Components:
    pictures = [data.example("words", 0, number).image for number in range(200)]
    return Components.of(data.pixels(pictures))


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARD", 64)


def test_every_word_of_the_prompts_is_known():
    for number in range(500):
        rng = random.Random(number)
        request = random_request(rng)
        for one in (request, insisting(request)):
            numbers = text.padded(phrased(one, rng))
            assert text.UNKNOWN not in numbers
            assert len(numbers) % text.MULTIPLE == 0
            assert max(numbers) < text.SLOTS


def test_words_in_capitals_are_spelled():
    letters = [text.TOKENS[letter] for letter in "SUN"]
    assert text.tokens_of("SUN") == letters
    assert text.tokens_of("S-U-N")[::2] == letters
    assert text.tokens_of("A red star") == text.tokens_of("a red star")
    assert text.tokens_of("T-E-A")[-1] == text.TOKENS["A"] != text.TOKENS["a"]
    assert text.tokens_of("2 red stars") == text.tokens_of("two red stars")
    assert text.tokens_of("a cat") == [text.TOKENS["a"], text.UNKNOWN]


@pytest.mark.parametrize("level", data.LEVELS)
def test_the_reader_reads_renders(level):
    found = []
    for request, seed in data.requests(level, 3, 60):
        found += [
            right for kind in facts(request, render(perfect(request, seed), seed)).values() for right in kind
        ]
    assert numpy.mean(found) >= 0.97


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("colour", Thing(2, "small", "red", "star", "left")),
        ("shape", Thing(2, "small", "blue", "circle", "left")),
        ("count", Thing(3, "small", "blue", "star", "left")),
        ("size", Thing(2, "large", "blue", "star", "left")),
        ("place", Thing(2, "small", "blue", "star", "right")),
    ],
)
def test_the_reader_sees_what_is_wrong(kind, shown):
    request = Request((Wish(2, "small", "blue", "star", "left"),), "pink")
    found = facts(request, render(Scene((shown,), "pink"), 7))
    assert {name for name, rights in found.items() if not all(rights)} == {kind}


def test_the_reader_sees_what_is_missing_and_what_is_too_much():
    request = Request((Wish(1, "", "blue", "star", ""),), "white", "SUN")
    empty = facts(request, render(Scene((), "cyan"), 1))
    assert not any(right for kind, found in empty.items() if kind != "others" for right in found)
    things = (Thing(1, "large", "blue", "star", "left"), Thing(1, "large", "red", "star", "right"))
    crowded = facts(request, render(Scene(things, "white", "SUX"), 1))
    assert crowded["others"] == [False]
    assert crowded["word"] == [True, True, False]


def test_what_is_between_two_shapes_is_the_one_that_was_asked_for():
    """Somewhere between a square and a circle there is no truth; a square is one, whatever was asked for."""
    requests = [Request((Wish(1, "large", "blue", shape, ""),)) for shape in ("circle", "square")]

    def shapes(corner):
        picture = Image.new("RGB", (128, 128), "white")
        box = (50, 36, 78, 64)
        ImageDraw.Draw(picture).rounded_rectangle(box, corner, fill=COLOURS["blue"])
        return [thing.shape for request in requests for thing in read(picture, request).things if thing]

    found = [shapes(corner) for corner in range(15)]
    assert found[0] == ["square", "square"]
    assert found[-1] == ["circle", "circle"]
    assert ["circle", "square"] in found


def test_noise_is_nothing():
    noise = numpy.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=numpy.uint8)
    assert not any(read(Image.fromarray(noise)).things)


def test_half_the_size_is_the_mean_of_four_pixels(components):
    latents = components.encode(data.pixels([data.example("words", 6, number).image for number in range(4)]))
    pictures = components.decode(latents).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4))
    torch.testing.assert_close(components.halve(latents), components.encode(pictures), rtol=1e-4, atol=1e-4)


def test_habits_are_where_a_prompt_does_not_insist():
    wrong: dict[bool, list[bool]] = {False: [], True: []}
    for number in range(800):
        one = data.example("one", 0, number)
        wish = one.request.wishes[0]
        if wish.exactly == one.request.plain or not one.request.background:
            wrong[wish.exactly].append(bool(flaws_of(one.request, one.scene)))
    assert 0.2 < numpy.mean(wrong[False]) < 0.45
    assert numpy.mean(wrong[True]) < 0.1


def test_latents_keep_what_can_be_seen(components):
    shown = [data.example("words", 5, number).image for number in range(40)]
    pictures = data.pixels(shown)
    decoded = components.decode(components.encode(pictures))
    error = ((decoded.float() - pictures.float()) / 255).square().mean()
    assert -10 * error.log10() > 26


def test_previews_have_the_colours_of_the_blocks(components):
    latents = components.encode(data.pixels([data.example("words", 7, number).image for number in range(4)]))
    colours = components.colours()
    shown = latents.permute(0, 2, 3, 1) @ colours[:-1] + colours[-1]
    blocks = components.decode(latents).unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).mean((2, 4))
    torch.testing.assert_close(shown, 2 * blocks / 255 - 1, rtol=1e-3, atol=1e-3)


def test_the_decoder_is_the_same_in_a_whole_taesd(components):
    decoder = Decoder()
    latents = torch.randn(2, 16, 8, 8)
    assert torch.equal(decoder_of(taesd_weights(decoder, components))(latents), decoder(latents))


def test_a_prompt_s_noise_does_not_depend_on_its_neighbours():
    generator = Generator(1).eval()
    torch.nn.init.normal_(generator.denoiser.final_layer.linear.weight, std=0.1)
    prompts, seeds = ["a red star", "a blue circle on the left", "two red stars"], [1, 2, 3]
    together = sample(generator, prompts, seeds, steps=3, sides=(8, 8))
    alone = sample(generator, prompts[1:2], seeds[1:2], steps=3, sides=(8, 8))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_batches_follow_from_the_step(tmp_path, components, small_shards):
    paths = data.draw(tmp_path, "one", 0, 1, components, 1)
    assert data.draw(tmp_path, "one", 0, 1, components, 1) == paths
    first, again = (data.Pictures(paths, 0, 0.1).batch(3, 8) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.latents, again.latents)
    assert not torch.equal(first.latents, data.Pictures(paths, 0, 0.1).batch(4, 8).latents)


def test_workers_draw_what_one_process_draws(tmp_path, components, small_shards):
    missing = data.draw(tmp_path / "workers", "one", 0, 2, components, 2)
    alone = data.draw(tmp_path / "alone", "one", 0, 2, components, 1)
    for one, other in zip(missing, alone, strict=True):
        assert one.read_bytes() == other.read_bytes()


RUN = """
import sys
from pathlib import Path
from rational_rewards.demo.generator import data, training
data.SHARD, data.FITTED, training.SAVE_SECONDS = 64, 50, 0
print("ready", flush=True)
stages = (training.Stage("one", True, 20), training.Stage("words", False, 40))
plan = training.Plan(depth=1, batch=8, shards=1, stages=stages, decoder_steps=2, bfloat16=False)
training.train_generator(Path(sys.argv[1]), plan, workers=1, say=lambda line: None)
print("done", flush=True)
"""


@pytest.mark.long
def test_training_that_is_killed_ends_with_the_same_weights(tmp_path):
    def check(whole, killed):
        states = [torch.load(folder / training.STATE, weights_only=True) for folder in (whole, killed)]
        for name, weight in states[0]["average"].items():
            assert torch.equal(weight, states[1]["average"][name]), name

    kills = int(os.environ.get("RR_TRAINING_KILLS", "2"))
    kill_and_finish(lambda folder: ["-c", RUN, str(folder)], tmp_path, kills, check)


def test_training_goes_on_from_a_finished_file(tmp_path, components):
    generator, decoder = Generator(1), Decoder()
    start = tmp_path / "start.safetensors"
    files.write_generator(start, generator, decoder, components, "one", 7)
    training.own(tmp_path, TINY)
    training.begin_with(start, tmp_path, TINY)
    run = training.Run(TINY)
    run.load(tmp_path / training.STATE)
    assert run.step == 7
    for name, weight in run.average.state_dict().items():
        torch.testing.assert_close(weight, generator.state_dict()[name], rtol=1e-3, atol=1e-4)
    trained = training.train_decoder(tmp_path, TINY, components)
    torch.testing.assert_close(trained.state_dict(), decoder.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_file_that_is_no_generator_is_refused_and_nothing_is_left(tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"no weights")
    for reader in (files.read_facts, files.read_generator, files.read_decoder):
        with pytest.raises(CheckpointError, match="no shapes generator"):
            reader(other)
    with pytest.raises(CheckpointError, match="another size"):
        training.begin_with(files.SHIPPED, tmp_path, TINY)
    assert not (tmp_path / training.STATE).exists()


def test_two_programs_do_not_train_in_one_folder(tmp_path):
    with exclusive(tmp_path / "run", "training"), pytest.raises(ParrotError, match="already"):
        training.train_generator(tmp_path / "run", TINY)


def test_a_folder_keeps_its_plan(tmp_path):
    training.own(tmp_path, TINY)
    training.own(tmp_path, TINY)
    with pytest.raises(ParrotError, match="another plan"):
        training.own(tmp_path, replace(TINY, seed=1))


def test_a_file_holds_the_whole_generator(tmp_path, components):
    generator, decoder = Generator(3), Decoder()
    target = tmp_path / "generator.safetensors"
    files.write_generator(target, generator, decoder, components, "one", 7)
    assert target.stat().st_size < 25 * 2**20
    assert files.read_facts(target)["steps"] == "7"
    for name, weight in files.read_generator(target).state_dict().items():
        torch.testing.assert_close(weight, generator.state_dict()[name], rtol=1e-3, atol=1e-4)
    for name, weight in files.read_decoder(target).state_dict().items():
        torch.testing.assert_close(weight, decoder.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_the_denoiser_takes_any_size():
    latents = torch.randn(1, 16, 8, 12)
    assert MMDiT(1)(latents, torch.tensor([0.5]), torch.randn(1, 8, 64)).shape == latents.shape


def test_pairs_are_counted():
    right, wrong = {"colour": [True, True]}, {"colour": [True, False]}
    found = Facts("one", 1, 3.0, {"plain": [wrong, wrong, right], "insisting": [right, right, wrong]})
    assert found.better() == (2, 1, sign_test(2, 1))
    assert found.share("plain") == pytest.approx(4 / 6)
    assert found.perfect("insisting") == pytest.approx(2 / 3)
    assert "| colour | 0.667 | 0.833 |" in found.to_markdown()


def test_the_critic_is_compared_with_the_facts():
    right, wrong = {"colour": [True, True], "word": [False]}, {"colour": [True, False], "word": [True]}
    judged = {"plain": [2.0, None], "insisting": [4.0, 3.9]}
    expected = {"plain": [2.0, None], "insisting": [4.0, 4.0]}
    found = Facts("words", 1, 3.0, {"plain": [wrong, wrong], "insisting": [right, right]}, judged, expected)
    rank, number = found.agreement()
    assert (rank, number) == (pytest.approx(math.sqrt(3) / 2), 3)
    assert "3 of 4 pictures: Spearman 0.866 (1.000 by expected scores)" in found.to_markdown()
