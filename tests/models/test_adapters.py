"""Adapters: a taste on top of a critic, on the checkpoint it was trained on and on no other."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading_tools import FAMILIES, edit, logits, pretend
from PIL import Image
from safetensors.torch import load_file, save_file

from rational_rewards.cli.main import main
from rational_rewards.models.checkpoints import adapters, discovery, loading
from rational_rewards.models.checkpoints.adapters import (
    RECORD,
    adapter_choices,
    attach,
    check_fits,
    describe_base,
    find_adapters,
    read_adapter,
    resolve_adapter,
    write_record,
)
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME, find_checkpoints, inspect_checkpoint
from rational_rewards.models.checkpoints.weights import weight_files
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import CheckpointError

SHORT = dict(max_new_tokens=64)
QUANTIZATIONS = ["none", "nf4", "int8"]
LANGUAGE = r".*language_model.*\.(q_proj|v_proj|down_proj)"


def train(base: Path, folder: Path, strength: float = 0.5, **config: Any) -> Path:
    """An adapter as peft saves it, with random weights of that strength (0: one that changes nothing)."""
    import peft

    model = loading.load(base, "none").model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tuned = peft.get_peft_model(
            model, peft.LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": LANGUAGE, **config})
        )
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=strength) if strength else parameter.data.zero_()
    tuned.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def taste(
    checkpoint_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """`taste(family, strength)`: the folder of an adapter with our record, for the tiny checkpoint; made
    once.
    """
    made: dict[Any, Path] = {}

    def make(family: str = "qwen3_vl", strength: float = 0.5) -> Path:
        if (family, strength) not in made:
            base = checkpoint_folder(family)
            folder = train(base, tmp_path_factory.mktemp("root") / "adapters" / "soft light", strength)
            write_record(folder, inspect_checkpoint(base), "nf4", {"rank": 4, "rows": 40, "seed": 3})
            made[family, strength] = folder
        return made[family, strength]

    return make


@pytest.fixture
def own(taste: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the adapter, to be changed."""
    return Path(shutil.copytree(taste(), tmp_path / "adapters" / "soft light"))


@pytest.fixture
def shots() -> list[Image.Image]:
    """Two small pictures."""
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def answers(critic: Any) -> torch.Tensor:
    class Both:
        model, processor = critic.engine.model, critic.engine.encoder.processor

    return logits(Both())  # type: ignore[arg-type]


def refused(adapter: Path, checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_fits(read_adapter(adapter), inspect_checkpoint(checkpoint))
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# An adapter at work


@pytest.mark.parametrize(
    ("family", "quantization"), [*((FAMILIES[0], way) for way in QUANTIZATIONS), (FAMILIES[1], "nf4")]
)
def test_an_adapter_changes_the_answers_on_every_quantization(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path], family: str, quantization: str
) -> None:
    base, changed, unchanged = (
        Critic.load(checkpoint_folder(family), quantization, "cpu", adapter=adapter)
        for adapter in ("none", taste(family), taste(family, 0.0))
    )
    assert type(changed.engine.model) is type(base.engine.model)
    plain = answers(base)
    assert (answers(changed) - plain).abs().max() > 0.1 * plain.std()
    assert torch.equal(answers(unchanged), plain)
    assert not changed.engine.model.training
    assert not any(parameter.requires_grad for parameter in changed.engine.model.parameters())


def test_the_answers_are_those_of_peft_itself(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> None:
    from peft import PeftModel

    patterns = {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 1}, "use_rslora": True}
    folder = train(checkpoint_folder(), tmp_path / "patterns", **patterns)
    loaded = loading.load(checkpoint_folder(), "none")
    ours = loading.load(checkpoint_folder(), "none")
    attach(ours.model, folder)
    plain = logits(loaded)
    loaded.model = PeftModel.from_pretrained(loaded.model, str(folder)).eval()
    torch.testing.assert_close(logits(ours), logits(loaded))
    assert not torch.allclose(logits(ours), plain)


def test_an_adapter_of_the_vision_tower_is_attached_too(
    checkpoint_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = train(checkpoint_folder(), tmp_path / "tiny eyes", target_modules=r".*visual.*\.qkv")
    changed = Critic.load(checkpoint_folder(), "nf4", "cpu", adapter=folder)
    assert not torch.equal(answers(changed), answers(Critic.load(checkpoint_folder(), "nf4", "cpu")))


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_batches_refinements_and_fast_scores_work_with_an_adapter(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path], shots: list[Any], quantization: str
) -> None:
    def load(adapter: Any) -> Critic:
        return Critic.load(checkpoint_folder(), quantization, "cpu", max_pixels=128 * 128, adapter=adapter)

    critic, plain = load(taste()), load("none")
    critique = critic.critique(shots, "a photo", **SHORT)
    assert all(judgement.complete for judgement in critique.judgements)
    assert critique.refined_prompt
    pairs = [
        [score.dimensions["text_faithfulness"].score for score in one.fast_score(shots, "a photo")]
        for one in (critic, plain)
    ]
    assert pairs[0] != pairs[1]
    # Int8 and nf4 products on a CPU may differ in the last bit with the number of rows.
    if quantization == "none":
        single = load(taste()).critique(shots[1], "a photo", **SHORT)
        assert single.judgements[0].raw == critique.judgements[1].raw


def test_reports_say_which_adapter_judged(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path], shots: list[Any]
) -> None:
    critic = Critic.load(checkpoint_folder(), "nf4", "cpu", max_pixels=128 * 128, adapter=taste())
    assert critic.name == "tiny (nf4) + soft light"
    assert "Judged by tiny (nf4) + soft light." in critic.critique(shots[0], "a photo", **SHORT).to_markdown()


def test_the_shell_takes_an_adapter_and_names_it_in_every_report(
    checkpoint_folder: Callable[..., Path],
    taste: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shots: list[Any],
) -> None:
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path))
    shutil.copytree(taste(), tmp_path / "models" / "rationalrewards" / "adapters" / "soft light")
    for name, photo in zip("ab", shots, strict=False):
        photo.save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    options = [
        "--prompt",
        "a photo",
        "--checkpoint",
        str(checkpoint_folder()),
        "--quantization",
        "none",
        "--device",
        "cpu",
    ]
    options += ["--max-new-tokens", "64", "--max-pixels", "16384", "--adapter"]
    for command in ("critique", "compare"):
        assert main([command, *files, *options, "soft light"]) == 0
        assert "Judged by tiny (none (fp32)) + soft light." in capsys.readouterr().out
    assert main(["score", files[0], *options, "hard light"]) == 1
    assert 'The adapter "hard light" is not in' in capsys.readouterr().err


def test_a_saved_quantized_copy_does_not_hold_the_adapter(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint_folder(), tmp_path / "tiny"))
    changed = Critic.load(folder, "nf4", "cpu", adapter=taste(), save_quantized=True)
    assert (folder / "rational_rewards-nf4").is_dir()
    again = Critic.load(folder, "nf4", "cpu", adapter=taste())
    assert torch.equal(answers(again), answers(changed))
    assert torch.equal(
        answers(Critic.load(folder, "nf4", "cpu")), answers(Critic.load(checkpoint_folder(), "nf4", "cpu"))
    )


def test_attaching_works_inside_inference_mode_and_leaves_the_random_state_alone(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path]
) -> None:
    loaded = loading.load(checkpoint_folder(), "none")
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        attach(loaded.model, taste())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(parameter.is_inference() for parameter in loaded.model.parameters())


def test_a_dropped_critic_with_an_adapter_leaves_nothing_behind(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path]
) -> None:
    critic = Critic.load(checkpoint_folder(), "none", "cpu", adapter=taste())
    model = weakref.ref(critic.engine.model)
    del critic
    gc.collect()
    assert model() is None


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
    edit(own / "adapter_config.json", base_model_name_or_path="C:\\critics\\tiny")
    check_fits(read_adapter(own), inspect_checkpoint(checkpoint_folder()))
    assert "the one that has this name now" in refused(own, checkpoint_folder(hidden=96))
    edit(own / "adapter_config.json", base_model_name_or_path="somebody/large")
    assert "was trained on large, not on tiny" in refused(own, checkpoint_folder())
    edit(own / "adapter_config.json", base_model_name_or_path=None)
    assert "was trained on an unknown checkpoint, not on tiny" in refused(own, checkpoint_folder())


def test_an_adapter_with_the_module_names_of_older_libraries_is_attached(
    checkpoint_folder: Callable[..., Path], own: Path
) -> None:
    weights = load_file(own / "adapter_model.safetensors")
    old = {
        key.replace("model.language_model.layers", "model.layers"): tensor for key, tensor in weights.items()
    }
    assert old.keys() != weights.keys()
    save_file(old, own / "adapter_model.safetensors")
    before = answers(Critic.load(checkpoint_folder(), "none", "cpu"))
    assert not torch.equal(answers(Critic.load(checkpoint_folder(), "none", "cpu", adapter=own)), before)


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


def test_a_broken_peft_is_told(taste: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(CheckpointError, match=r"peft cannot be imported .*pip install"):
        adapters.require_peft()


def test_the_embedded_critic_takes_adapters(
    checkpoint_folder: Callable[..., Path], taste: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "EMBEDDED", checkpoint_folder())
    critic = Critic.load(EMBEDDED_NAME, adapter=taste())
    assert critic.name == f"{EMBEDDED_NAME} + soft light"
