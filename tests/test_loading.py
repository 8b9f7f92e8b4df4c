"""Loading: what is quantized and what is not, what is refused, and the quantized copy that makes the next start quick."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from rational_rewards.demo.checkpoint import Shape, build_checkpoint
from rational_rewards.models.checkpoints import choices, find_checkpoints
from rational_rewards.models.errors import CheckpointError
from rational_rewards.models.layers import PatchProjection, assert_kept_precise, assert_quantized, replace_patch_convolution
from rational_rewards.models.loading import Loaded, load, save_quantized

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
V5 = int(importlib.metadata.version("transformers").split(".")[0]) >= 5


@pytest.fixture
def copy_of(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`copy_of(family, **shape)`: a tiny checkpoint of one's own, with a red herring of a name."""
    return lambda *args, **shape: Path(shutil.copytree(checkpoint_folder(*args, **shape), tmp_path / "my critic"))


def logits(loaded: Loaded) -> torch.Tensor:
    """What the model answers to a fixed picture and text, [1, tokens, vocabulary]."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a red cat on a sofa"}]}]
    text = loaded.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = loaded.processor(text=[text], images=[Image.fromarray(pixels)], return_tensors="pt")
    with torch.inference_mode():
        return loaded.model(**inputs).logits.float()


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refused(folder: Path, *args: Any, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder, *args, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# What comes out


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_language_model_is_quantized_and_nothing_else(
    checkpoint_folder: Callable[..., Path], family: str, quantization: str, tied: bool
) -> None:
    loaded = load(checkpoint_folder(family, tied=tied), quantization)
    assert loaded.quantization == quantization
    kinds = {"nf4": torch.uint8, "int8": torch.int8}
    for name, parameter in loaded.model.named_parameters():
        if "language_model" in name and name.endswith("_proj.weight"):
            assert parameter.dtype == kinds[quantization], name
        else:
            assert parameter.dtype == torch.bfloat16, name
    assert sum("_proj.weight" in name for name, _ in loaded.model.named_parameters()) >= 14
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    answer = logits(loaded)
    assert answer.isfinite().all()
    assert answer.std() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_quantized_models_answer_almost_as_the_original(checkpoint_folder: Callable[..., Path], family: str) -> None:
    folder = checkpoint_folder(family)
    exact = logits(load(folder, "none"))
    int8, nf4 = ((logits(load(folder, way, dtype=torch.float32)) - exact).std() / exact.std() for way in ("int8", "nf4"))
    assert 0 < int8 < nf4 / 2
    assert nf4 < 0.15  # of random weights; 0.06 and 0.08 were seen


@pytest.mark.parametrize(("stored", "short"), [("float32", "fp32"), ("bfloat16", "bf16")])
def test_without_quantization_weights_are_as_stored(tmp_path: Path, stored: str, short: str) -> None:
    folder = build_checkpoint(tmp_path / "critic", dtype=stored)
    loaded = load(folder, "none")
    assert loaded.quantization == f"none ({short})"
    saved = load_file(folder / "model.safetensors")
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, saved[name]), name
    assert load(folder, "none", dtype=torch.float32).quantization == "none (fp32)"


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_memory_told_is_that_of_the_weights(tmp_path: Path, quantization: str, tied: bool) -> None:
    folder = build_checkpoint(tmp_path / "critic", Shape(hidden=256, mlp=512, tied=tied), dtype="bfloat16")
    loaded = load(folder, quantization)
    saved = save_quantized(loaded) if quantization != "none" else folder
    on_disk = sum(file.stat().st_size for file in saved.glob("*.safetensors"))  # another count of the same: with headers
    assert loaded.bytes == pytest.approx(on_disk, rel=0.02)
    before = loaded.bytes
    logits(loaded)
    from rational_rewards.models.layers import memory

    assert memory(loaded.model) == pytest.approx(before, rel=0.02)


def test_the_processor_comes_along(checkpoint_folder: Callable[..., Path]) -> None:
    processor = load(checkpoint_folder(), "none").processor
    assert type(processor).__name__ == "Qwen3VLProcessor"
    assert processor.chat_template


def test_progress_is_told_and_may_cancel(checkpoint_folder: Callable[..., Path]) -> None:
    class Cancelled(Exception):
        pass

    told: list[tuple[int, int]] = []
    load(checkpoint_folder(), "none", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def cancel(done: int, total: int) -> None:
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        load(checkpoint_folder(), "none", on_progress=cancel)


def test_a_host_in_inference_mode_gets_plain_tensors(checkpoint_folder: Callable[..., Path]) -> None:
    with torch.inference_mode():
        loaded = load(checkpoint_folder(), "nf4")
    assert not any(parameter.is_inference() for parameter in loaded.model.parameters())


def test_int8_does_not_fill_the_log(checkpoint_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    logits(load(checkpoint_folder(), "int8"))
    assert "inputs will be cast" not in caplog.text


def test_nothing_local_needs_the_network(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: refuse(None, args))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    tried.clear()

    folder = Path(shutil.copytree(checkpoint_folder(), tmp_path / "critic"))
    assert find_checkpoints([tmp_path])[0].name == "critic"
    assert choices([tmp_path])[0] == "critic"
    for quantization in ("nf4", "int8", "none"):
        assert logits(load(folder, quantization)).isfinite().all()
    save_quantized(load(folder, "nf4"))
    assert load(folder, "nf4").copied_from
    assert tried == []


def test_even_the_first_import_of_the_libraries_needs_no_network(checkpoint_folder: Callable[..., Path]) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): print('TRIED', args[1:]); raise OSError\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from rational_rewards.models.loading import load\n"
        "assert 'transformers' not in sys.modules and 'bitsandbytes' not in sys.modules\n"
        f"print(load({str(checkpoint_folder())!r}, 'nf4').quantization)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nf4"]
    assert "gemm_4bit_forward" not in done.stderr


def test_code_beside_the_weights_is_not_run(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    (folder / "evil.py").write_text("open('ran', 'w').close()\nclass Evil: pass\n", encoding="utf-8")
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            auto = ("AutoModelForImageTextToText", "AutoConfig", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor")
            edit(folder / name, auto_map={kind: "evil.Evil" for kind in auto})
    load(folder, "none")
    assert not Path("ran").exists()


# The two guards


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_vision_tower_is_noticed(checkpoint_folder: Callable[..., Path], family: str) -> None:
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["nothing"])
    model = AutoModelForImageTextToText.from_pretrained(str(checkpoint_folder(family)), quantization_config=config)
    with pytest.raises(CheckpointError, match=r"visual\.blocks\.0\..*weight was quantized although it must stay precise"):
        assert_kept_precise(model)
    del model.model.visual
    with pytest.raises(CheckpointError, match=r"lm_head where they are expected"):
        assert_kept_precise(model)


def test_an_unquantized_language_model_is_noticed(checkpoint_folder: Callable[..., Path]) -> None:
    model = load(checkpoint_folder(), "none").model
    assert_kept_precise(model)
    with pytest.raises(CheckpointError, match=r"language_model\.layers\.0\.self_attn\.q_proj was not quantized"):
        assert_quantized(model)


# The patch embedding


@pytest.mark.parametrize("bias", [True, False])
def test_a_patch_projection_equals_the_convolution(bias: bool) -> None:
    convolution = nn.Conv3d(3, 32, kernel_size=(2, 14, 14), stride=(2, 14, 14), bias=bias)
    model = nn.ModuleDict({"proj": convolution})
    names = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert replace_patch_convolution(model) == 1
    product = model["proj"]
    assert isinstance(product, PatchProjection)
    for shape in ((7, 3, 2, 14, 14), (2, 3, 4, 28, 42)):  # single patches, and whole pictures
        pixels = torch.randn(shape)
        assert torch.allclose(product(pixels), convolution(pixels), atol=1e-5)
    assert model.state_dict().keys() == names.keys()
    assert all(torch.equal(tensor, names[name]) for name, tensor in model.state_dict().items())


def test_a_convolution_with_overlap_is_left_alone() -> None:
    model = nn.Sequential(
        nn.Conv3d(3, 8, 3, stride=1), nn.Conv3d(3, 8, 2, stride=2, padding=1), nn.Conv3d(4, 8, 2, 2, groups=2)
    )
    assert replace_patch_convolution(model) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vision_tower_sees_the_same(checkpoint_folder: Callable[..., Path], family: str) -> None:
    from transformers import AutoModelForImageTextToText

    folder = checkpoint_folder(family)
    ours = load(folder, "none", dtype=torch.float32)
    assert [type(module) for module in ours.model.modules() if isinstance(module, nn.Conv3d)] == [PatchProjection]
    plain = AutoModelForImageTextToText.from_pretrained(str(folder), dtype=torch.float32).eval()
    assert [type(module) for module in plain.modules() if isinstance(module, nn.Conv3d)] == [nn.Conv3d]
    other = Loaded(plain, ours.processor, ours.checkpoint, "", 0)
    assert torch.allclose(logits(ours), logits(other), atol=1e-5)


# Checkpoints that are stored quantized


def stored_as(folder: Path, **config: Any) -> Path:
    edit(folder / "config.json", quantization_config=config)
    return folder


def test_a_checkpoint_stored_as_nf4_is_loaded_as_it_is(copy_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy_of()
    first = load(folder, "nf4")
    saved = Path(shutil.move(save_quantized(first), tmp_path / "nf4-critic"))
    for file in folder.iterdir():  # someone's own upload: the quantized weights, with a processor
        if not (saved / file.name).exists() and file.suffix != ".safetensors":
            shutil.copy(file, saved)
    loaded = load(saved, "int8")
    assert loaded.quantization == "as stored (nf4)"
    assert loaded.notes == ['nf4-critic is stored as nf4, so quantization "int8" was not applied.']
    assert load(saved, "nf4").notes == []
    assert torch.equal(logits(loaded), logits(first))
    with pytest.raises(CheckpointError, match=r"only nf4 and int8 can be saved"):
        save_quantized(loaded)


def test_a_vision_tower_that_is_stored_quantized_is_told(copy_of: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    folder = copy_of()
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForImageTextToText.from_pretrained(str(folder), quantization_config=config, dtype=torch.bfloat16)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    loaded = load(folder, "nf4")
    assert loaded.quantization == "as stored (nf4)"
    assert loaded.notes == ["The vision tower or lm_head of my critic is stored quantized: fine flaws may be missed."]


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
    stored_as(folder, quant_method="fp8", weight_block_size=[32, 32], modules_to_not_convert=["model.visual", "lm_head"])
    if V5:  # unpacks what the device cannot multiply
        loaded = load(folder, "nf4")
        assert loaded.quantization == "none (bf16)"
        assert loaded.notes[0] == 'fp8-critic is stored as fp8, so quantization "nf4" was not applied.'
        assert loaded.notes[1].startswith("The fp8 weights were unpacked to bf16 here")
        assert logits(loaded).isfinite().all()
    else:
        assert refused(folder).startswith("fp8-critic is stored as fp8, which could not be read on cpu (RuntimeError: No GPU")


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


def pretend(monkeypatch: pytest.MonkeyPatch, package: str, version: str | None) -> None:
    real = importlib.metadata.version

    def fake(name: str) -> str:
        if name == package:
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", fake)


@pytest.mark.parametrize(
    ("package", "version", "sentence"),
    [
        ("transformers", "4.56.2", 'transformers 4.56 is too old: run {python} -m pip install -U "transformers>=4.57"'),
        ("transformers", None, 'transformers is not installed: run {python} -m pip install -U "transformers>=4.57"'),
        ("accelerate", None, 'accelerate is not installed: run {python} -m pip install -U "accelerate>=1.0"'),
        ("bitsandbytes", "0.49.1", 'bitsandbytes 0.49 is too old: run {python} -m pip install -U "bitsandbytes>=0.50"'),
        ("bitsandbytes", None, 'bitsandbytes is not installed: run {python} -m pip install -U "bitsandbytes>=0.50"'),
    ],
)
def test_a_library_that_is_missing_or_old(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, package: str, version: str | None, sentence: str
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


@pytest.mark.parametrize(("quantization", "function"), [("nf4", "quantize_4bit"), ("int8", "int8_vectorwise_quant")])
def test_bitsandbytes_that_does_not_work_here(
    checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, quantization: str, function: str
) -> None:
    import bitsandbytes.functional

    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("Native library not available.")

    monkeypatch.setattr(bitsandbytes.functional, function, broken)
    assert refused(checkpoint_folder(), quantization).startswith(
        "bitsandbytes does not work on cpu here (RuntimeError: Native library not available): choose quantization = none, or run "
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


def test_a_config_of_transformers_5_is_not_misread_by_4(copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of("qwen2_5_vl")
    text = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]
    text.pop("rope_scaling", None)
    edit(folder / "config.json", text_config=text | {"rope_parameters": {"rope_theta": 5e6}})
    pretend(monkeypatch, "transformers", "4.57.6")
    assert "was saved by transformers 5, and the installed version 4 would misread it" in refused(folder, "none")


# What is wrong with the weights


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
@pytest.mark.parametrize(
    "missing", ["model.language_model.layers.1.mlp.up_proj.weight", "lm_head.weight", "model.visual.patch_embed.proj.weight"]
)
def test_missing_weights_are_never_made_up(copy_of: Callable[..., Path], quantization: str, missing: str) -> None:
    folder = change_weights(copy_of(), lambda weights: weights.pop(missing))
    message = refused(folder, quantization)
    if V5 or quantization == "none" or "language_model" not in missing:
        assert f"lack {missing} (1 missing in all)" in message
    else:  # 4.57 itself stops at a quantized layer without weights
        assert "could not be loaded (AttributeError" in message


def test_another_models_weights_are_refused(copy_of: Callable[..., Path], checkpoint_folder: Callable[..., Path]) -> None:
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


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), MemoryError()])
def test_too_little_memory(checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from transformers import AutoModelForImageTextToText

    def full(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", full)
    assert "does not fit into the memory of cpu" in refused(checkpoint_folder(), "none")


def test_a_failed_load_leaves_no_model_behind(copy_of: Callable[..., Path]) -> None:
    def models() -> int:
        return sum(type(thing).__name__ == "Qwen3VLForConditionalGeneration" for thing in gc.get_objects())

    folder = change_weights(copy_of(), lambda weights: weights.pop("lm_head.weight"))
    gc.collect()
    before = models()
    gc.disable()  # only what `load` itself has let go counts
    try:
        with pytest.raises(CheckpointError) as caught:
            load(folder, "nf4")
        assert models() == before
        assert caught.value.__context__ is None
    finally:
        gc.enable()


# The quantized copy


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_copy_answers_identically(copy_of: Callable[..., Path], family: str, quantization: str, tied: bool) -> None:
    folder = copy_of(family, tied=tied)
    first = load(folder, quantization)
    copy = save_quantized(first)
    assert copy == folder / f"rational_rewards-{quantization}"
    again = load(folder, quantization)
    assert again.copied_from == copy
    assert again.notes == [f"Read from the quantized copy {copy}."]
    assert (again.quantization, again.bytes) == (first.quantization, first.bytes)
    assert torch.equal(logits(again), logits(first))
    assert save_quantized(again) == copy
    assert [checkpoint.name for checkpoint in find_checkpoints([folder.parent])] == ["my critic"]


def test_the_copy_is_about_a_third_of_the_original(tmp_path: Path) -> None:
    # The 8B's embedding and head are 14 % of its weights; here 12 %, and the vision tower is as small.
    shape = Shape(hidden=512, layers=4, heads=8, kv_heads=2, head_dim=64, mlp=2048, vocabulary=2048)
    folder = build_checkpoint(tmp_path / "critic", shape, dtype="bfloat16")
    copy = save_quantized(load(folder, "nf4"))
    original = (folder / "model.safetensors").stat().st_size
    assert 0.3 < sum(file.stat().st_size for file in copy.glob("*.safetensors")) / original < 0.4


def test_the_copy_is_not_used_for_changed_weights(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    change_weights(folder, lambda weights: weights["lm_head.weight"].mul_(2))
    os.utime(folder / "model.safetensors", (time.time() + 5, time.time() + 5))
    changed = load(folder, "nf4")
    assert changed.copied_from is None
    assert changed.notes == [
        f"The quantized copy {folder / 'rational_rewards-nf4'} was made of other files or versions, so the original was read."
    ]
    save_quantized(changed)  # takes the place of the stale one
    assert torch.equal(logits(load(folder, "nf4")), logits(changed))
    assert sorted(file.name for file in folder.iterdir() if file.is_dir()) == ["rational_rewards-nf4"]


@pytest.mark.parametrize(("package", "version"), [("bitsandbytes", "0.51.0"), ("transformers", "6.0.0")])
def test_the_copy_is_not_used_by_other_libraries(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    pretend(monkeypatch, package, version)
    assert load(folder, "nf4").copied_from is None


def test_the_copy_is_not_used_for_another_precision(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    save_quantized(load(folder, "nf4"))
    other = load(folder, "nf4", dtype=torch.float32)
    assert other.copied_from is None
    assert other.model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("damage", ["cut", "gone", "record", "weight"])
def test_a_damaged_copy_is_not_used(copy_of: Callable[..., Path], damage: str) -> None:
    folder = copy_of()
    first = load(folder, "nf4")
    copy = save_quantized(first)
    weights = copy / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "gone":
        weights.unlink()
    elif damage == "record":
        (copy / "source.json").write_text("{", encoding="utf-8")
    else:
        change_weights(copy, lambda tensors: tensors.pop("lm_head.weight"))
    loaded = load(folder, "nf4")
    assert loaded.copied_from is None
    assert "cannot be used" in loaded.notes[0]
    assert torch.equal(logits(loaded), logits(first))


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_model_that_has_been_used_is_not_saved(copy_of: Callable[..., Path], quantization: str) -> None:
    folder = copy_of()
    loaded = load(folder, quantization)
    logits(loaded)
    with pytest.raises(CheckpointError, match="has been used already"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_an_unquantized_model_has_no_copy(checkpoint_folder: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=re.escape("was loaded as none (fp32), and only nf4 and int8 can be saved")):
        save_quantized(load(checkpoint_folder(), "none"))


def test_no_room_for_the_copy(copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of()
    loaded = load(folder, "nf4")
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"needs 0\.1 GB in .*, where 0\.0 GB are free"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_a_save_that_fails_leaves_nothing_and_keeps_the_old_copy(
    copy_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of()
    loaded = load(folder, "nf4")

    def fill(target: Path, **options: Any) -> None:
        (Path(target) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loaded.model, "save_pretrained", fill)
    with pytest.raises(CheckpointError, match=r"could not be saved in .*No space left on device"):
        save_quantized(loaded)
    assert not list(folder.glob("*rational_rewards*"))


def test_what_a_killed_save_has_left_is_cleared_away(copy_of: Callable[..., Path]) -> None:
    folder = copy_of()
    for name, age in (("old", 2 * 86400), ("running", 60)):
        left = folder / f".rational_rewards-nf4-{name}"
        left.mkdir()
        os.utime(left, (time.time() - age, time.time() - age))
    save_quantized(load(folder, "nf4"))
    assert sorted(path.name for path in folder.glob(".rational*")) == [".rational_rewards-nf4-running"]
