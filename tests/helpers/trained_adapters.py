"""Adapters as peft trains and saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rational_rewards.models.checkpoints import loading

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
