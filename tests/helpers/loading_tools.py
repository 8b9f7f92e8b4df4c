"""What the tests of loading share."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rational_rewards.models.checkpoints.loading import Loaded, load
from rational_rewards.models.errors import CheckpointError

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
V5 = int(importlib.metadata.version("transformers").split(".")[0]) >= 5


def logits(loaded: Loaded) -> torch.Tensor:
    """What the model answers to a fixed picture and text, [1, tokens, vocabulary]."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a red cat on a sofa"}]}
    ]
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


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, package: str, version: str | None) -> None:
    real = importlib.metadata.version

    def fake(name: str) -> str:
        if name == package:
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", fake)
