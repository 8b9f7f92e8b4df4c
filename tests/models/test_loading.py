"""Loading: what is quantized and what is not, without the network and without running foreign code."""

from __future__ import annotations

import gc
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_tools import FAMILIES, V5, edit, logits
from safetensors.torch import load_file
from torch import nn

from rational_rewards.demo.checkpoint import Shape, build_checkpoint
from rational_rewards.models.checkpoints.discovery import choices, find_checkpoints, inspect_checkpoint
from rational_rewards.models.checkpoints.layers import (
    PatchProjection,
    assert_kept_precise,
    assert_quantized,
    memory,
    replace_patch_convolution,
)
from rational_rewards.models.checkpoints.loading import Loaded, choose_precision, load, save_quantized
from rational_rewards.models.errors import CheckpointError

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
def test_quantized_models_answer_almost_as_the_original(
    checkpoint_folder: Callable[..., Path], family: str
) -> None:
    folder = checkpoint_folder(family)
    exact = logits(load(folder, "none"))
    int8, nf4 = (
        (logits(load(folder, way, dtype=torch.float32)) - exact).std() / exact.std()
        for way in ("int8", "nf4")
    )
    assert 0 < int8 < nf4 / 2
    # Of random weights; 0.06 and 0.08 were seen.
    assert nf4 < 0.15


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
    # Another count of the same: with headers.
    on_disk = sum(file.stat().st_size for file in saved.glob("*.safetensors"))
    assert loaded.bytes == pytest.approx(on_disk, rel=0.02)
    before = loaded.bytes
    logits(loaded)
    assert memory(loaded.model) == pytest.approx(before, rel=0.02)


@pytest.mark.parametrize(
    ("stored", "quantization", "capability", "expected"),
    [
        ("bfloat16", "nf4", (8, 6), torch.bfloat16),
        ("bfloat16", "int8", (8, 6), torch.bfloat16),
        ("float32", "nf4", (8, 6), torch.bfloat16),
        ("bfloat16", "nf4", (7, 5), torch.float16),
        ("bfloat16", "", (7, 5), torch.float16),
        ("bfloat16", "", (8, 6), None),
        ("float32", "", (7, 5), None),
    ],
)
def test_float16_is_used_only_where_a_card_has_no_bfloat16(
    copy_of: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    stored: str,
    quantization: str,
    capability: tuple[int, int],
    expected: torch.dtype | None,
) -> None:
    folder = copy_of()
    edit(folder / "config.json", dtype=stored)
    # The card of this test.
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision(inspect_checkpoint(folder), quantization, torch.device("cuda")) == expected


def test_the_processor_comes_along(checkpoint_folder: Callable[..., Path]) -> None:
    processor = load(checkpoint_folder(), "none").processor
    assert type(processor).__name__ == "Qwen3VLProcessor"
    assert processor.chat_template


def test_progress_is_told_and_may_cancel(checkpoint_folder: Callable[..., Path]) -> None:
    class Cancelled(Exception):
        pass

    def models() -> int:
        return sum(type(found).__name__ == "Qwen3VLForConditionalGeneration" for found in gc.get_objects())

    told: list[float] = []
    load(checkpoint_folder(), "nf4", on_progress=lambda done, total: told.append(done / total))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    # Transformers 4 tells nothing between the stages.
    assert len(told) > 20 or not V5

    for moment in range(0, len(told), 7):
        left = iter(range(moment))

        def cancel(done: float, total: int, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Cancelled

        gc.collect()
        before = models()
        gc.disable()
        try:
            with pytest.raises(Cancelled):
                load(checkpoint_folder(), "nf4", on_progress=cancel)
            after = models()
        finally:
            gc.enable()
        assert after == before, "what was half loaded is gone at once"


def test_a_host_in_inference_mode_gets_plain_tensors(checkpoint_folder: Callable[..., Path]) -> None:
    with torch.inference_mode():
        loaded = load(checkpoint_folder(), "nf4")
    assert not any(parameter.is_inference() for parameter in loaded.model.parameters())


def test_int8_does_not_fill_the_log(
    checkpoint_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
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


def test_even_the_first_import_of_the_libraries_needs_no_network(
    checkpoint_folder: Callable[..., Path],
) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): print('TRIED', args[1:]); raise OSError\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from rational_rewards.models.checkpoints.loading import load\n"
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
            auto = (
                "AutoModelForImageTextToText",
                "AutoConfig",
                "AutoProcessor",
                "AutoTokenizer",
                "AutoImageProcessor",
            )
            edit(folder / name, auto_map={kind: "evil.Evil" for kind in auto})
    load(folder, "none")
    assert not Path("ran").exists()


# The two guards


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_vision_tower_is_noticed(checkpoint_folder: Callable[..., Path], family: str) -> None:
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["nothing"])
    model = AutoModelForImageTextToText.from_pretrained(
        str(checkpoint_folder(family)), quantization_config=config
    )
    with pytest.raises(
        CheckpointError, match=r"visual\.blocks\.0\..*weight was quantized although it must stay precise"
    ):
        assert_kept_precise(model)
    del model.model.visual
    with pytest.raises(CheckpointError, match=r"lm_head where they are expected"):
        assert_kept_precise(model)


def test_an_unquantized_language_model_is_noticed(checkpoint_folder: Callable[..., Path]) -> None:
    model = load(checkpoint_folder(), "none").model
    assert_kept_precise(model)
    with pytest.raises(
        CheckpointError, match=r"language_model\.layers\.0\.self_attn\.q_proj was not quantized"
    ):
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
    # Single patches, and whole pictures.
    for shape in ((7, 3, 2, 14, 14), (2, 3, 4, 28, 42)):
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
    assert [type(module) for module in ours.model.modules() if isinstance(module, nn.Conv3d)] == [
        PatchProjection
    ]
    plain = AutoModelForImageTextToText.from_pretrained(str(folder), dtype=torch.float32).eval()
    assert [type(module) for module in plain.modules() if isinstance(module, nn.Conv3d)] == [nn.Conv3d]
    other = Loaded(plain, ours.processor, ours.checkpoint, "", 0)
    assert torch.allclose(logits(ours), logits(other), atol=1e-5)
