"""A critic whose way off the card fails half-way: `broken_eviction.py CHECKOUT CHECKPOINT`, facts as JSON on
the last line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CHECKOUT, CHECKPOINT = sys.argv[1], Path(sys.argv[2])
sys.argv = [sys.argv[0], "--cpu"]
sys.path[0] = CHECKOUT

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import torch  # noqa: E402

from rational_rewards.models import residency  # noqa: E402
from rational_rewards.models.checkpoints.loading import load  # noqa: E402

card, host = torch.device("cpu", 0), torch.device("cpu")
loaded = load(CHECKPOINT, "none", "cpu")
patcher = residency.ComfyResidency(loaded.model, card).patcher
patcher.partially_load(card)
whole = residency.move


def half(model: Any, device: Any) -> None:
    whole(model.model.visual, device)
    raise RuntimeError("not enough memory")


residency.move = half
try:
    patcher.detach()
    failed = False
except RuntimeError:
    failed = True
nowhere = patcher.loaded_size() == 0
moves: list[str] = []


def counted(model: Any, device: Any) -> None:
    moves.append(str(device))
    whole(model, device)


residency.move = counted
for _ in range(2):
    patcher.partially_load(card)
print(json.dumps({"failed": failed, "nowhere": nowhere, "moves": moves, "back": patcher.loaded_size() > 0}))
