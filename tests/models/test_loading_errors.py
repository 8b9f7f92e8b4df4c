"""Loading what cannot be loaded, or not as it was asked: each time one sentence that says what to do."""

from __future__ import annotations

import gc
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_tools import V5, change_weights, edit, logits, pretend, refused
from safetensors.torch import load_file, save_file

from rational_rewards.demo.checkpoint import build_checkpoint
from rational_rewards.models.checkpoints import loading
from rational_rewards.models.checkpoints.loading import load, save_quantized
from rational_rewards.models.errors import CheckpointError

# Checkpoints that are stored quantized


def stored_as(folder: Path, **config: Any) -> Path:
    edit(folder / "config.json", quantization_config=config)
    return folder


def test_a_checkpoint_stored_as_nf4_is_loaded_as_it_is(copy_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy_of()
    first = load(folder, "nf4")
    saved = Path(shutil.move(save_quantized(first), tmp_path / "nf4-critic"))
    # Someone's own upload: the quantized weights, with a processor.
    for file in folder.iterdir():
        if not (saved / file.name).exists() and file.suffix != ".safetensors":
            shutil.copy(file, saved)
    loaded = load(saved, "int8")
    assert loaded.quantization == "as stored (nf4)"
    assert loaded.notes == ['nf4-critic is stored as nf4, so quantization "int8" was not applied.']
    assert load(saved, "nf4").notes == []
    assert torch.equal(logits(loaded), logits(first))
    with pytest.raises(CheckpointError, match=r"only nf4 and int8 can be saved"):
        save_quantized(loaded)


def test_a_vision_tower_that_is_stored_quantized_is_told(
    copy_of: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    folder = copy_of()
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForImageTextToText.from_pretrained(
        str(folder), quantization_config=config, dtype=torch.bfloat16
    )
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    loaded = load(folder, "nf4")
    assert loaded.quantization == "as stored (nf4)"
    assert loaded.notes == [
        "The vision tower or lm_head of my critic is stored quantized: fine flaws may be missed."
    ]


def test_fp8_weights(tmp_path: Path) -> None:
    folder = build_checkpoint(tmp_path / "fp8-critic", dtype="bfloat16")
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "language_model" in name and name.endswith("_proj.weight")]:
        rows, columns = weights[name].shape
        blocks = weights[name].float().reshape(rows // 32, 32, columns // 32, 32)
        scale = blocks.abs().amax((1, 3)) / 448
        weights[name] = (blocks / scale[:, None, :, None]).reshape(rows, columns).to(torch.float8_e4m3fn)
        weights[name + "_scale_inv"] = scale
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    stored_as(
        folder,
        quant_method="fp8",
        weight_block_size=[32, 32],
        modules_to_not_convert=["model.visual", "lm_head"],
    )
    # Unpacks what the device cannot multiply.
    if V5:
        loaded = load(folder, "nf4")
        assert loaded.quantization == "none (bf16)"
        assert loaded.notes[0] == 'fp8-critic is stored as fp8, so quantization "nf4" was not applied.'
        assert loaded.notes[1].startswith("The fp8 weights were unpacked to bf16 here")
        assert logits(loaded).isfinite().all()
    else:
        assert refused(folder).startswith(
            "fp8-critic is stored as fp8, which could not be read on cpu (RuntimeError: No GPU"
        )


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({"quant_method": "compressed-tensors", "config_groups": {}}, '"compressed-tensors>=0.15"'),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "gptqmodel" if V5 else "autoawq"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptqmodel optimum"),
    ],
)
def test_a_missing_package_is_named_with_the_command(
    copy_of: Callable[..., Path], config: dict[str, Any], package: str
) -> None:
    message = refused(stored_as(copy_of(), **config))
    assert f"is stored as {config['quant_method']} and needs a package" in message
    assert f"-m pip install -U {package} and start again." in message


# What is missing here


@pytest.mark.parametrize(
    ("package", "version", "sentence"),
    [
        (
            "transformers",
            "4.56.2",
            'transformers 4.56 is too old: run {python} -m pip install -U "transformers>=4.57"',
        ),
        (
            "transformers",
            None,
            'transformers is not installed: run {python} -m pip install -U "transformers>=4.57"',
        ),
        ("accelerate", None, 'accelerate is not installed: run {python} -m pip install -U "accelerate>=1.0"'),
        (
            "bitsandbytes",
            "0.49.1",
            'bitsandbytes 0.49 is too old: run {python} -m pip install -U "bitsandbytes>=0.50"',
        ),
        (
            "bitsandbytes",
            None,
            'bitsandbytes is not installed: run {python} -m pip install -U "bitsandbytes>=0.50"',
        ),
    ],
)
def test_a_library_that_is_missing_or_old(
    checkpoint_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    version: str | None,
    sentence: str,
) -> None:
    pretend(monkeypatch, package, version)
    message = refused(checkpoint_folder(), "nf4")
    assert message.startswith(sentence.format(python=sys.executable) + " and start again")
    if package == "bitsandbytes":
        assert message.endswith(", or choose quantization = none.")
        assert load(checkpoint_folder(), "none").quantization == "none (fp32)"


def test_the_command_is_for_the_python_that_runs(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "bitsandbytes", None)
    monkeypatch.setattr(sys, "executable", r"D:\My ComfyUI\python_embeded\python.exe")
    message = refused(checkpoint_folder(), "nf4")
    assert r'run "D:\My ComfyUI\python_embeded\python.exe" -m pip install -U "bitsandbytes>=0.50"' in message


@pytest.mark.parametrize(
    ("quantization", "function"), [("nf4", "quantize_4bit"), ("int8", "int8_vectorwise_quant")]
)
def test_bitsandbytes_that_does_not_work_here(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, quantization: str, function: str
) -> None:
    import bitsandbytes.functional

    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("Native library not available.")

    monkeypatch.setattr(bitsandbytes.functional, function, broken)
    assert refused(checkpoint_folder(), quantization).startswith(
        "bitsandbytes does not work on cpu here (RuntimeError: Native library not available): choose "
        "quantization = none, or "
    )


def test_attention_that_cannot_run(checkpoint_folder: Callable[..., Path]) -> None:
    folder = checkpoint_folder()
    assert "runs on CUDA devices only" in refused(folder, "none", attention="flash_attention_2")
    assert '"eager" is no attention' in refused(folder, "none", attention="eager")
    assert load(folder, "none").model.config._attn_implementation == "sdpa"
    from rational_rewards.models.libraries import attention_implementation

    with pytest.raises(CheckpointError, match="flash-attn is not installed: choose attention = auto"):
        attention_implementation("flash_attention_2", torch.device("cuda"))


def test_an_unknown_quantization(checkpoint_folder: Callable[..., Path]) -> None:
    assert refused(checkpoint_folder(), "q4_k_m") == '"q4_k_m" is no quantization: choose nf4, int8, none.'


def test_a_config_of_transformers_5_is_not_misread_by_4(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of("qwen2_5_vl")
    text = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]
    text.pop("rope_scaling", None)
    edit(folder / "config.json", text_config=text | {"rope_parameters": {"rope_theta": 5e6}})
    pretend(monkeypatch, "transformers", "4.57.6")
    assert "was saved by transformers 5, and the installed version 4 would misread it" in refused(
        folder, "none"
    )


# What is wrong with the weights


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
@pytest.mark.parametrize(
    "missing",
    [
        "model.language_model.layers.1.mlp.up_proj.weight",
        "lm_head.weight",
        "model.visual.patch_embed.proj.weight",
    ],
)
def test_missing_weights_are_never_made_up(
    copy_of: Callable[..., Path], quantization: str, missing: str
) -> None:
    folder = change_weights(copy_of(), lambda weights: weights.pop(missing))
    message = refused(folder, quantization)
    if V5 or quantization == "none" or "language_model" not in missing:
        assert f"lack {missing} (1 missing in all)" in message
    else:
        # 4.57 itself stops at a quantized layer without weights.
        assert "could not be loaded (AttributeError" in message


def test_another_models_weights_are_refused(
    copy_of: Callable[..., Path], checkpoint_folder: Callable[..., Path]
) -> None:
    folder = copy_of()
    shutil.copy(checkpoint_folder("qwen2_5_vl") / "model.safetensors", folder)
    assert refused(folder, "none")


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
def test_weights_of_another_size_are_refused(
    copy_of: Callable[..., Path], checkpoint_folder: Callable[..., Path], quantization: str
) -> None:
    folder = copy_of()
    shutil.copy(checkpoint_folder(hidden=32, mlp=64) / "model.safetensors", folder)
    message = refused(folder, quantization)
    assert "could not be loaded" in message or "do not have the shapes that its config.json tells" in message


def test_a_tokenizer_that_cannot_be_read(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert "The tokenizer and image processor in" in refused(folder, "none")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), MemoryError()]
)
def test_too_little_memory(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from transformers import AutoModelForImageTextToText

    def full(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", full)
    assert "does not fit into the memory of cpu" in refused(checkpoint_folder(), "none")


@pytest.mark.parametrize("stage", ["weights", "guard"])
def test_a_failed_load_leaves_no_model_behind(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def models() -> int:
        return sum(type(thing).__name__ == "Qwen3VLForConditionalGeneration" for thing in gc.get_objects())

    def fail(model: Any) -> None:
        raise CheckpointError("The guard fails.")

    folder = copy_of()
    if stage == "weights":
        change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    else:
        monkeypatch.setattr(loading, "assert_kept_precise", fail)
    gc.collect()
    before = models()
    # Only what `load` itself has let go counts.
    gc.disable()
    try:
        with pytest.raises(CheckpointError) as caught:
            load(folder, "nf4")
        assert models() == before
        assert caught.value.__context__ is None
    finally:
        gc.enable()
