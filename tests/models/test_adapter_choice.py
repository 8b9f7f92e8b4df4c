"""Which adapters are offered, which fit a checkpoint, and what is said of those that do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_tools import edit, pretend
from safetensors.torch import load_file, save_file

from rational_rewards.models.checkpoints import loading
from rational_rewards.models.checkpoints.adapters import (
    RECORD,
    adapter_choices,
    check_fits,
    describe_base,
    find_adapters,
    read_adapter,
    resolve_adapter,
)
from rational_rewards.models.checkpoints.discovery import find_checkpoints, inspect_checkpoint
from rational_rewards.models.checkpoints.weights import weight_files
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import CheckpointError


def refused(adapter: Path, checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_fits(read_adapter(adapter), inspect_checkpoint(checkpoint))
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# Which adapters there are


def test_adapters_are_listed_after_none_and_never_as_checkpoints(
    checkpoint_folder: Callable[..., Path], own: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(own, second / "adapters" / "anime")
    shutil.copytree(own, second / "adapters" / "none")
    shutil.copytree(checkpoint_folder(), second / "critics" / "tiny")
    # Some foreign adapters bring their base's.
    shutil.copy(checkpoint_folder() / "config.json", own)
    (tmp_path / "adapters" / "empty").mkdir()
    (tmp_path / "adapters" / "broken").mkdir()
    (tmp_path / "adapters" / "broken" / "adapter_config.json").write_text("{", encoding="utf-8")
    roots = [tmp_path, second, tmp_path / "nowhere"]
    assert adapter_choices(roots) == ["none", "anime", "soft light"]
    assert [checkpoint.name for checkpoint in find_checkpoints([second])] == ["critics/tiny"]
    assert find_checkpoints([tmp_path / "adapters" / ".."])[0].name == "second/critics/tiny"
    assert [adapter.base for adapter in find_adapters([second])] == ["tiny"]


def test_an_unknown_adapter_is_named(own: Path, tmp_path: Path) -> None:
    assert resolve_adapter("none", [tmp_path]) is None
    found = resolve_adapter("soft light", [tmp_path / "nowhere", tmp_path])
    assert found
    assert found.folder == own
    for name in ("hard light", "../adapters/soft light", str(own)):
        with pytest.raises(CheckpointError, match="not in the adapter folders"):
            resolve_adapter(name, [tmp_path])


def test_a_changed_file_is_another_adapter(own: Path) -> None:
    before = read_adapter(own).stamp
    assert before == read_adapter(own).stamp
    edit(own / "adapter_config.json", lora_alpha=16)
    assert read_adapter(own).stamp != before


def test_the_record_says_what_the_adapter_was_trained_on(own: Path) -> None:
    record = json.loads((own / RECORD).read_text(encoding="utf-8"))
    assert record["name"] == "soft light"
    assert record["base"]["name"] == "tiny"
    assert record["base"]["model_type"] == "qwen3_vl"
    assert (record["quantization"], record["rank"], record["rows"]) == ("nf4", 4, 40)
    assert {"peft", "transformers", "torch"} <= record["created_with"].keys()
    assert sorted(file.name for file in own.iterdir() if file.name.startswith(".")) == []


# Which checkpoint an adapter fits


def test_a_base_is_known_by_its_weights_and_not_by_its_name_or_shards(
    checkpoint_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from rational_rewards.demo.checkpoint import Shape, build_checkpoint

    one = describe_base(inspect_checkpoint(checkpoint_folder()))
    sharded = inspect_checkpoint(build_checkpoint(tmp_path / "other name", Shape(), shards="200KB"))
    assert len(weight_files(sharded.folder)) > 1
    two, third = describe_base(sharded), describe_base(inspect_checkpoint(checkpoint_folder(seed=1)))
    assert (one["shapes"], one["weights"]) == (two["shapes"], two["weights"])
    assert one["shapes"] == third["shapes"]
    assert one["weights"] != third["weights"]


def test_an_adapter_of_another_base_is_refused_before_anything_is_loaded(
    checkpoint_folder: Callable[..., Path], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(checkpoint_folder(seed=1), tmp_path / "other critic"))
    said = 'The adapter "soft light" was trained on tiny, not on '
    assert refused(own, other).startswith(said + "other critic: choose that checkpoint, or train it again")
    assert refused(own, checkpoint_folder(seed=1)).startswith(said + "the one that has this name now: ")
    assert refused(own, checkpoint_folder("qwen2_5_vl")).startswith(said)
    monkeypatch.setattr(loading, "load", lambda *args, **options: pytest.fail("the model was loaded"))
    with pytest.raises(CheckpointError, match="not on other critic"):
        Critic.load(other, "none", "cpu", adapter=own)


def test_a_foreign_adapter_fits_by_its_base_s_name_and_shapes(
    checkpoint_folder: Callable[..., Path], own: Path, tmp_path: Path
) -> None:
    (own / RECORD).unlink()
    edit(own / "adapter_config.json", base_model_name_or_path="somebody/Tiny")
    check_fits(read_adapter(own), inspect_checkpoint(checkpoint_folder()))
    assert Critic.load(checkpoint_folder(), "none", "cpu", adapter=own).name.endswith(" + soft light")
    spellings = (
        "C:\\critics\\tiny",
        "/cache/models--somebody--tiny/snapshots/0123456789abcdef",
        "/mirror/somebody/Tiny/",
    )
    for spelling in spellings:
        edit(own / "adapter_config.json", base_model_name_or_path=spelling)
        check_fits(read_adapter(own), inspect_checkpoint(checkpoint_folder()))
    assert "the one that has this name now" in refused(own, checkpoint_folder(hidden=96))
    edit(own / "adapter_config.json", base_model_name_or_path="somebody/large")
    assert "was trained on large, not on tiny" in refused(own, checkpoint_folder())
    edit(own / "adapter_config.json", base_model_name_or_path=None)
    assert "was trained on an unknown checkpoint, not on tiny" in refused(own, checkpoint_folder())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"peft_type": "IA3"}, "no plain LoRA (IA3)"),
        ({"modules_to_save": ["lm_head"]}, "no plain LoRA (modules_to_save)"),
        ({"use_dora": True}, "no plain LoRA (use_dora)"),
        ({"init_lora_weights": "pissa"}, "no plain LoRA (init_lora_weights=pissa)"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    checkpoint_folder: Callable[..., Path], own: Path, change: dict[str, Any], says: str
) -> None:
    edit(own / "adapter_config.json", **change)
    assert says in refused(own, checkpoint_folder())


def test_damaged_adapters_are_named(checkpoint_folder: Callable[..., Path], own: Path) -> None:
    weights = load_file(own / "adapter_model.safetensors")
    first = next(key for key in weights if "lora_A" in key)
    save_file(
        {key: tensor for key, tensor in weights.items() if key != first}, own / "adapter_model.safetensors"
    )
    assert "is not whole" in refused(own, checkpoint_folder())
    save_file(
        weights | {"base_model.model.x.lora_magnitude_vector": torch.ones(4)},
        own / "adapter_model.safetensors",
    )
    assert "no plain LoRA (it holds" in refused(own, checkpoint_folder())
    (own / "adapter_model.safetensors").write_bytes((own / "adapter_model.safetensors").read_bytes()[:-9])
    assert "cut off" in refused(own, checkpoint_folder())
    (own / "adapter_model.safetensors").unlink()
    assert "is missing" in refused(own, checkpoint_folder())
    (own / RECORD).write_text('{"base": {}}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not say on what it was trained"):
        read_adapter(own)


@pytest.mark.parametrize(
    ("installed", "says"), [(None, "peft is not installed"), ("0.9.0", "peft 0.9 is too old")]
)
def test_a_missing_peft_is_told_with_the_command(
    checkpoint_folder: Callable[..., Path],
    taste: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    installed: str | None,
    says: str,
) -> None:
    pretend(monkeypatch, "peft", installed)
    with pytest.raises(
        CheckpointError, match=rf"{says}: run .* -m pip install -U .peft>=0.18. and start again"
    ) as caught:
        Critic.load(checkpoint_folder(), "none", "cpu", adapter=taste())
    assert "or choose adapter = none." in str(caught.value)
    assert Critic.load(checkpoint_folder(), "none", "cpu").name == "tiny (none (fp32))", (
        "without an adapter it is not needed"
    )
