"""Checkpoints as they are found in the wild: other names, other dtypes, several templates.

They load, or one sentence says what to do.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rational_rewards.models.checkpoints.adapters import model_name
from rational_rewards.models.checkpoints.discovery import (
    CRITIC,
    EMBEDDED,
    OFFICIAL,
    inspect_checkpoint,
    listed,
)
from rational_rewards.models.checkpoints.downloads import AGREED, ask_once, cost_of
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import CheckpointError, DownloadError

Change = Callable[[Path], None]


@pytest.fixture
def changed(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Callable[[Change], Path]:
    """`changed(change)`: a copy of the tiny checkpoint after `change(folder)`."""

    def copy(change: Change) -> Path:
        folder = tmp_path / "checkpoint"
        shutil.copytree(checkpoint_folder(), folder)
        change(folder)
        return folder

    return copy


def judge(folder: Path, quantization: Any = "none") -> bool:
    """Load and judge once; whether the answer is complete."""
    critic = Critic.load(folder, quantization, "cpu", max_pixels=64 * 64)
    image = Image.new("RGB", (64, 64), "teal")
    return critic.critique(image, "a fox", max_new_tokens=64).judgements[0].complete


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# Chat templates


def more_templates(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")


def listed_templates(name: str) -> Change:
    def change(folder: Path) -> None:
        template = (folder / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").unlink()
        templates = [{"name": name, "template": template}, {"name": "rag", "template": "x"}]
        edit(folder / "tokenizer_config.json", chat_template=templates)

    return change


def templates_in_json(folder: Path) -> None:
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(
        json.dumps({"chat_template": {"default": template, "rag": "x"}})
    )


@pytest.mark.parametrize("change", [more_templates, listed_templates("default"), templates_in_json])
def test_of_several_chat_templates_the_default_one_is_used(
    changed: Callable[[Change], Path], change: Change
) -> None:
    assert judge(changed(change))


def test_several_chat_templates_without_a_default_are_named(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(CheckpointError, match=r"several chat templates \(mine, rag\), and none is named"):
        judge(changed(listed_templates("mine")))


# Image processors


@pytest.mark.parametrize(
    "name", ["Qwen2_5_VLImageProcessor", "Qwen2_5_VLImageProcessorFast", "NoSuchImageProcessor"]
)
def test_an_image_processor_by_an_unknown_name_says_which_line_to_change(
    changed: Callable[[Change], Path], name: str
) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "processor_config.json").read_text())["image_processor"]
        (folder / "preprocessor_config.json").write_text(json.dumps({**config, "image_processor_type": name}))
        (folder / "processor_config.json").unlink()

    with pytest.raises(
        CheckpointError, match=f'preprocessor_config.json names the image processor "{name}".*change'
    ):
        judge(changed(change))


def test_an_image_processor_by_its_older_name_is_read(changed: Callable[[Change], Path]) -> None:
    def change(folder: Path) -> None:
        config = json.loads((folder / "processor_config.json").read_text())
        config["image_processor"]["image_processor_type"] = "Qwen2VLImageProcessorFast"
        (folder / "processor_config.json").write_text(json.dumps(config))

    assert judge(changed(change))


# Weights


def with_dtypes(*dtypes: torch.dtype) -> Change:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        mixed = {name: w.to(dtypes[i % len(dtypes)]) for i, (name, w) in enumerate(weights.items())}
        save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})

    return change


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("stated", [True, False])
def test_weights_of_several_dtypes_are_judged_with(
    changed: Callable[[Change], Path], quantization: str, stated: bool
) -> None:
    def change(folder: Path) -> None:
        with_dtypes(torch.float16, torch.bfloat16, torch.float32)(folder)
        if not stated:
            config = json.loads((folder / "config.json").read_text())
            for part in (config, config["text_config"], config["vision_config"]):
                part.pop("dtype", None)
            (folder / "config.json").write_text(json.dumps(config))

    assert judge(changed(change), quantization)


def test_quantized_weights_without_a_word_about_it_are_refused(changed: Callable[[Change], Path]) -> None:
    """Read as they are, they would be numbers that they are not, and the critic would judge at random."""

    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("q_proj.weight"))
        weights[name] = weights[name].to(torch.float8_e4m3fn)
        weights[f"{name}_scale_inv"] = torch.ones(1)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(CheckpointError, match=r"stored quantized, but config\.json does not say how"):
        judge(changed(change))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["model-00001-of-00002.safetensors"],
            r"not model\.safetensors\.index\.json, which says what is in them",
        ),
        (["critic.safetensors"], r"no model\.safetensors, but critic\.safetensors: rename that file"),
        (["a.safetensors", "b.safetensors"], r"of a\.safetensors, b\.safetensors none is named"),
        ([], "has no weights .*download it again"),
    ],
)
def test_what_is_missing_is_named(changed: Callable[[Change], Path], names: list[str], says: str) -> None:
    def change(folder: Path) -> None:
        for name in names:
            shutil.copy(folder / "model.safetensors", folder / name)
        (folder / "model.safetensors").unlink()

    with pytest.raises(CheckpointError, match=says):
        inspect_checkpoint(changed(change))


# Names of a base model


@pytest.mark.parametrize(
    "spelling",
    [
        "TIGER-Lab/RationalRewards-8B-v1.5",
        "/home/me/models/RationalRewards-8B-v1.5/",
        "C:\\models\\RationalRewards-8B-v1.5\\",
        "rationalrewards-8b-V1.5",
        "/cache/models--TIGER-Lab--RationalRewards-8B-v1.5/snapshots/0123456789abcdef",
        "/mirror/TIGER-Lab/RationalRewards-8B-v1___5",
    ],
)
def test_a_base_is_the_same_however_its_path_is_spelled(spelling: str) -> None:
    assert model_name(spelling) == "rationalrewards-8b-v1.5"


def test_other_bases_are_other_names() -> None:
    names = ["a/Model-8B", "a/Model-8B-Edit", "/x/models--a--Model-4B/snapshots/1", ""]
    assert len({model_name(name) for name in names}) == 4


# What a checkpoint says of itself


def test_the_embedded_critic_says_that_it_cannot_score_fast() -> None:
    assert inspect_checkpoint(EMBEDDED).capabilities == {"expected_scores": False}


def test_a_damaged_description_is_named(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda folder: (folder / CRITIC).write_text('{"capabilities": 3}') and None)
    with pytest.raises(CheckpointError, match=r"critic\.json is damaged"):
        judge(folder)


# Downloads are asked for


def test_a_download_is_announced_once_with_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rational_rewards.models.checkpoints.downloads._announced", set())
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "RATIONAL_REWARDS_OFFLINE", AGREED):
        monkeypatch.delenv(variable, raising=False)
    official = OFFICIAL[0]
    with pytest.raises(DownloadError, match=r"17\.5 GB would be downloaded into .*Queue again to start"):
        ask_once(official, tmp_path)
    ask_once(official, tmp_path)
    with pytest.raises(DownloadError):
        ask_once(OFFICIAL[1], tmp_path)
    monkeypatch.setattr("rational_rewards.models.checkpoints.downloads._announced", set())
    monkeypatch.setenv(AGREED, "1")
    ask_once(official, tmp_path)
    assert str(tmp_path) in cost_of(official, tmp_path)


def test_the_list_says_what_is_here_and_what_a_download_costs(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda folder: None)
    states = {entry.name: entry.state for entry in listed([folder.parent])}
    assert states["checkpoint"].startswith("on disk, ")
    assert states[OFFICIAL[0].repo] == "not on disk, 17.5 GB to download"
    assert "coloured shapes only" in states["shapes demo (CPU)"]


# Packages that come while the program runs


def test_a_package_that_came_after_transformers_had_looked_is_noticed_before_training() -> None:
    code = """
        import importlib.util, sys
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "peft" else real(name, *rest)
        from transformers.utils import is_peft_available
        assert not is_peft_available()
        importlib.util.find_spec = real
        from rational_rewards.models.checkpoints.adapters import require_peft
        try:
            require_peft()
        except Exception as error:
            print(type(error).__name__, error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(
        "CheckpointError peft was installed while ComfyUI was running: restart ComfyUI"
    )
