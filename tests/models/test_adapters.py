"""Adapters at work: a taste on top of a critic."""

from __future__ import annotations

import gc
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading_tools import FAMILIES, logits
from PIL import Image
from safetensors.torch import load_file, save_file
from trained_adapters import train

from rational_rewards.cli.main import main
from rational_rewards.models.checkpoints import adapters, discovery, loading
from rational_rewards.models.checkpoints.adapters import (
    attach,
)
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import CheckpointError

SHORT = dict(max_new_tokens=64)
QUANTIZATIONS = ["none", "nf4", "int8"]


@pytest.fixture
def shots() -> list[Image.Image]:
    """Two small pictures."""
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def answers(critic: Any) -> torch.Tensor:
    class Both:
        model, processor = critic.engine.model, critic.engine.encoder.processor

    return logits(Both())  # type: ignore[arg-type]


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
