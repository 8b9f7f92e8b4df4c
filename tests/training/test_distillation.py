"""Distillation: rows become a critic or an adapter, and a run that was stopped ends as if nothing had
happened.
"""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from killed_training import kill_and_finish
from PIL import Image
from scripted_teacher import ScriptedTeacher

from rational_rewards.demo.oracle import Oracle
from rational_rewards.demo.preference_pairs import world
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.engines.encoding import encoder_of
from rational_rewards.models.errors import ParrotError
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.pipeline import has_changed, latest_rows, rationalize_pairs
from rational_rewards.parrot.projection import project
from rational_rewards.preferences.dataset import LINES, PreferenceDataset
from rational_rewards.training.adapter import clean_name, learn
from rational_rewards.training.collate import IGNORED, by_length, collate
from rational_rewards.training.distillation import Recipe, Rows, distill

PIXELS = 64 * 64
KILLS = int(os.environ.get("RR_TRAINING_KILLS", "2"))
RECIPE = Recipe(epochs=2, learning_rate=1e-3, rank=4, tokens=6000, save_every=2)


class Cancelled(Exception):
    """What a host raises when its user cancels."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of the shapes world, rationalized by an oracle."""
    folder = tmp_path_factory.mktemp("dataset")
    pairs = [world(11, number).pair(folder) for number in range(8)]
    rationalize_pairs(pairs, folder, Oracle(0.0))
    return folder


@pytest.fixture
def student(checkpoint_folder: Callable[..., Path]) -> Callable[[str], Any]:
    """A fresh tiny model, so that no test trains another one's."""
    return lambda quantization="none": load(checkpoint_folder(), quantization, "cpu", dtype=torch.float32)


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_only_the_answer_is_learned_and_padding_is_not(dataset: Path, student: Callable[..., Any]) -> None:
    found = student()
    encoder = encoder_of(found.model, found.processor)
    rows = Rows(latest_rows(dataset), encoder, PIXELS)
    batch = collate(encoder, [rows.example(0), rows.example(len(rows) - 1)])
    for index, row in enumerate((0, len(rows) - 1)):
        learned = batch["labels"][index][batch["labels"][index] != IGNORED].tolist()
        answer = rows.rows[row]["messages"][-1]["content"]
        assert found.processor.tokenizer.decode(learned) == answer + "<|im_end|>"
    assert batch["input_ids"].shape[1] == max(rows.length(0), rows.length(len(rows) - 1))


def test_the_student_sees_neither_the_preference_nor_a_reference(
    dataset: Path, student: Callable[..., Any]
) -> None:
    found = student()
    rows = Rows(latest_rows(dataset), encoder_of(found.model, found.processor), PIXELS)
    for row in rows.rows:
        asked = " ".join(message["content"] for message in row["messages"][:-1]).lower()
        assert "known beforehand" not in asked
        assert "remarks" not in asked
        assert "preferred" not in asked


def test_batches_hold_every_example_once_an_epoch_within_the_budget() -> None:
    lengths = [random.Random(i).randrange(100, 900) for i in range(300)]
    batches = by_length(lengths, 4000, 0, epochs=2)
    assert sorted(i for batch in batches for i in batch) == sorted([*range(300)] * 2)
    assert all(len(batch) * max(lengths[i] for i in batch) <= 4000 for batch in batches)


def test_full_training_changes_the_model_and_lowers_the_loss(
    dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    found = student()
    before = _weights(found.model)
    recipe = Recipe("full", 6, 3e-3, tokens=6000)
    trained = distill(latest_rows(dataset), tmp_path, found.model, found.processor, recipe, max_pixels=PIXELS)
    assert trained.losses[-1][1] < 0.7 * trained.losses[0][1]
    assert all(
        (weight != before[name]).any() for name, weight in found.model.named_parameters() if "merger" in name
    )
    assert not any(weight.requires_grad for weight in found.model.parameters())


# Nobody who trains can do anything about what one library thinks of another.
@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_an_adapter_leaves_the_model_as_it_was(
    quantization: str, dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    found = student(quantization)
    names = [name for name, _ in found.model.named_modules()]
    before = _weights(found.model)
    trained = distill(latest_rows(dataset), tmp_path, found.model, found.processor, RECIPE, max_pixels=PIXELS)
    assert trained.steps > 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert [name for name, _ in found.model.named_modules()] == names
    assert all(torch.equal(weight, before[name]) for name, weight in found.model.named_parameters())


def test_an_adapter_that_peft_cannot_save_is_saved_all_the_same(
    dataset: Path, student: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft
    from safetensors.torch import load_file

    rows, found = latest_rows(dataset), student()
    distill(rows, tmp_path / "usual", found.model, found.processor, RECIPE, max_pixels=PIXELS)

    def fail(*arguments: Any, **options: Any) -> None:
        raise ImportError("cannot import name 'x' from 'peft.utils'")

    monkeypatch.setattr(peft.PeftModel, "save_pretrained", fail)
    found = student()
    distill(rows, tmp_path / "by hand", found.model, found.processor, RECIPE, max_pixels=PIXELS)
    usual, by_hand = tmp_path / "usual" / "adapter", tmp_path / "by hand" / "adapter"
    expected = load_file(usual / "adapter_model.safetensors")
    saved = load_file(by_hand / "adapter_model.safetensors")
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in expected)
    settings = json.loads((by_hand / "adapter_config.json").read_text(encoding="utf-8"))
    usual_settings = json.loads((usual / "adapter_config.json").read_text(encoding="utf-8"))
    assert sorted(settings.pop("target_modules")) == sorted(usual_settings.pop("target_modules"))
    assert settings["r"] == usual_settings["r"] == RECIPE.rank
    assert settings["lora_alpha"] == usual_settings["lora_alpha"]

    reloaded = peft.PeftModel.from_pretrained(student().model, str(by_hand))
    assert peft.get_peft_model_state_dict(reloaded).keys() == expected.keys()


def test_a_full_disk_at_saving_names_the_folder_and_training_resumes_at_its_last_step(
    dataset: Path, student: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft

    rows = latest_rows(dataset)
    found = student()
    usual = distill(rows, tmp_path / "usual", found.model, found.processor, RECIPE, max_pixels=PIXELS)

    save = peft.PeftModel.save_pretrained

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    def full_at_the_end(self: Any, where: Any, **options: Any) -> None:
        if Path(where).name == "adapter":
            full()
        save(self, where, **options)

    folder = tmp_path / "full"
    with monkeypatch.context() as patch:
        patch.setattr(peft.PeftModel, "save_pretrained", full_at_the_end)
        patch.setattr("safetensors.torch.save_file", full)
        found = student()
        with pytest.raises(ParrotError, match="No space left") as caught:
            distill(rows, folder, found.model, found.processor, RECIPE, max_pixels=PIXELS)
    assert str(folder) in str(caught.value)
    assert "resumes" in str(caught.value)

    steps: list[int] = []
    progress = Progress(update=lambda done, *rest: steps.append(done))
    found = student()
    again = distill(rows, folder, found.model, found.processor, RECIPE, progress, max_pixels=PIXELS)
    assert again.losses == usual.losses
    assert len(steps) < usual.steps
    name = "adapter/adapter_model.safetensors"
    assert (folder / name).read_bytes() == (tmp_path / "usual" / name).read_bytes()


def test_an_adapter_touches_neither_vision_tower_nor_output_layer(
    dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    from safetensors import safe_open

    found = student()
    distill(latest_rows(dataset), tmp_path, found.model, found.processor, RECIPE, max_pixels=PIXELS)
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    assert not [name for name in names if "visual" in name or "lm_head" in name]


def test_training_leaves_everybody_else_s_dice_alone(
    dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    found = student()

    def dice() -> bytes:
        return pickle.dumps(
            (random.getstate(), numpy.random.get_state(), torch.random.get_rng_state().tolist())
        )

    before = dice()
    distill(
        latest_rows(dataset),
        tmp_path,
        found.model,
        found.processor,
        Recipe(epochs=1, tokens=6000),
        max_pixels=PIXELS,
    )
    assert dice() == before


def test_training_that_went_astray_is_an_error_and_leaves_nothing_to_go_on_from(
    dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    found = student()
    wild = Recipe(epochs=2, learning_rate=1e30, tokens=6000, save_every=1)
    with pytest.raises(ParrotError, match="lower learning_rate"):
        distill(
            latest_rows(dataset), tmp_path / "wild", found.model, found.processor, wild, max_pixels=PIXELS
        )
    assert not (tmp_path / "wild").exists()
    assert not [module for module, _ in found.model.named_modules() if "lora" in module]


def test_rows_in_another_critic_s_words_are_refused(dataset: Path, tmp_path: Path) -> None:
    critic = Critic.load("shapes demo (CPU)")
    with pytest.raises(
        ParrotError, match=r"other rubrics than .*: run Rationalize Preferences with this critic first"
    ):
        learn(critic, latest_rows(dataset), "taste", tmp_path)


@pytest.mark.parametrize("name", ["", "none", "a/b", "..", "con", "nul", "COM1", ".hidden", "x" * 80])
def test_a_name_that_is_no_folder_s_name_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ParrotError, match="cannot be an adapter's name"):
        clean_name(name)


def test_plain_distillation_judges_without_a_reference(tmp_path: Path) -> None:
    pairs = [world(12, number).pair(tmp_path) for number in range(4)]
    oracle = Oracle(0.1)
    records = rationalize(pairs, tmp_path / "rationales", oracle, base=tmp_path, anchored=False)
    report = project(
        records, tmp_path / "projection", oracle, base=tmp_path, referenced=False, check_order=False
    )
    assert report.kept == 8


def test_rows_know_when_preferences_were_recorded_since(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    preferences = PreferenceDataset(tmp_path)
    preferences.record(pictures[0], pictures[1], "red", "A")
    rationalize_pairs(preferences.pairs(), tmp_path, ScriptedTeacher())
    rows = latest_rows(tmp_path)
    assert not has_changed(rows, tmp_path)
    preferences.record(pictures[0], pictures[2], "red", "A")
    assert has_changed(rows, tmp_path)


def test_training_that_was_cancelled_goes_on_and_ends_the_same(
    dataset: Path, student: Callable[..., Any], tmp_path: Path
) -> None:
    rows, ends = latest_rows(dataset), []
    for name, stops in (("whole", []), ("stopped", [3, 5])):
        for stop in [*stops, 10**9]:
            found, count = student(), [0]

            def check(count: list[int] = count, stop: int = stop) -> None:
                count[0] += 1
                # The rows are measured first, with one check each.
                if count[0] > stop + 16:
                    raise Cancelled

            try:
                distill(
                    rows,
                    tmp_path / name,
                    found.model,
                    found.processor,
                    RECIPE,
                    Progress(check),
                    max_pixels=PIXELS,
                )
            except Cancelled:
                assert not [module for module, _ in found.model.named_modules() if "lora" in module]
        ends.append((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes())
    assert ends[0] == ends[1]


CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.preferences.dataset import PreferenceDataset
from rational_rewards.training.distillation import Recipe, distill
found = load(Path(sys.argv[1]), "none", "cpu", dtype=torch.float32)
print("ready", flush=True)
distill(Path(sys.argv[2]), Path(sys.argv[3]), found.model, found.processor,
        Recipe(epochs=4, learning_rate=1e-3, rank=4, tokens=3000, save_every=2), max_pixels=4096)
print("done", flush=True)
"""


@pytest.mark.long
def test_training_that_was_killed_ends_with_the_same_adapter(
    dataset: Path, checkpoint_folder: Callable[..., Path], tmp_path: Path
) -> None:
    def command(folder: Path) -> list[str]:
        return ["-c", CHILD, str(checkpoint_folder()), str(latest_rows(dataset)), str(folder)]

    def check(whole: Path, killed: Path) -> None:
        first, second = (folder / "adapter" / "adapter_model.safetensors" for folder in (whole, killed))
        assert first.read_bytes() == second.read_bytes()

    kill_and_finish(command, tmp_path, KILLS, check)


def test_a_learned_taste_is_listed_and_judges(
    dataset: Path, checkpoint_folder: Callable[..., Path], tmp_path: Path
) -> None:
    critic = Critic.load(checkpoint_folder(), "none", "cpu", max_pixels=PIXELS)
    learned = learn(critic, latest_rows(dataset), "my taste", tmp_path, RECIPE)
    again = learn(critic, latest_rows(dataset), "my taste", tmp_path, RECIPE)
    assert (learned.name, again.name) == ("my taste", "my taste-2")
    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == ["my taste", "my taste-2"]
    tasteful = Critic.load(checkpoint_folder(), "none", "cpu", max_pixels=PIXELS, adapter=learned.folder)
    assert tasteful.name.endswith("+ my taste")
    with pytest.raises(ParrotError, match="adapter = none"):
        learn(tasteful, latest_rows(dataset), "another", tmp_path, RECIPE)


@pytest.mark.parametrize("name", ["../x", "", "none", "a/b", " x", "x" * 80])
def test_an_adapter_needs_a_name_that_is_one(
    name: str, dataset: Path, checkpoint_folder: Callable[..., Path], tmp_path: Path
) -> None:
    critic = Critic.load(checkpoint_folder(), "none", "cpu", max_pixels=PIXELS)
    with pytest.raises(ParrotError, match="cannot be an adapter's name"):
        learn(critic, latest_rows(dataset), name, tmp_path, RECIPE)


def test_without_rationales_it_says_what_to_run_first(tmp_path: Path) -> None:
    (tmp_path / LINES).touch()
    with pytest.raises(ParrotError, match="run Rationalize Preferences first"):
        latest_rows(tmp_path)
    with pytest.raises(ParrotError, match="record some with Record Preference first"):
        rationalize_pairs([], tmp_path, Oracle(0.0))
