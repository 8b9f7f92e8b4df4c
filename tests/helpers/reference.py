"""What transformers itself says, to compare with."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def reference_tokens(model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> list[int]:
    """The tokens that `generate` writes greedily behind a prompt."""
    # Older versions know no token types.
    known = inspect.signature(model.forward).parameters
    given = {key: value for key, value in inputs.items() if key in known}
    output = model.generate(
        **given, attention_mask=torch.ones_like(inputs["input_ids"]), do_sample=False, **options
    )
    return output[0, inputs["input_ids"].shape[1] :].tolist()
