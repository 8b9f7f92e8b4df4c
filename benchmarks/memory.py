"""What the 8B critic needs, computed from its shape (no weights are made): the README's VRAM table."""

from __future__ import annotations

from typing import Any

import torch

from rational_rewards.demo.checkpoint import EIGHT_BILLION, build_model, build_processor
from rational_rewards.models.checkpoints.layers import is_kept
from rational_rewards.models.images import MAX_PIXELS

# Bytes a weight of a quantized linear layer. NF4 with double quantization: half a byte, one byte a block of
# 64 for its scale, and
# 4 bytes for every 256 of those scales (QLoRA, arXiv 2305.14314, section 3). int8: one byte; its row scales
# are negligible.
BYTES = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0, "none (bf16)": 2.0}
# The rubric with a prompt, and a whole answer at the default max_new_tokens.
TEXT_TOKENS = 1100 + 2200


def table() -> str:
    """Weights and cache of one image and of a comparison, in GB (10^9 bytes), by quantization."""
    with torch.device("meta"):
        model = build_model(EIGHT_BILLION, build_processor(EIGHT_BILLION).tokenizer, "bfloat16")
    linear = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not is_kept(name)
    )
    total = sum(parameter.numel() for parameter in model.parameters())
    shape = EIGHT_BILLION
    token = 2 * shape.layers * shape.kv_heads * shape.head_dim * 2
    images = MAX_PIXELS // (32 * 32)
    one, two = (token * (TEXT_TOKENS + count * images) for count in (1, 2))
    lines = [
        f"{total / 1e9:.3f} billion parameters, {linear / 1e9:.3f} in quantized layers; "
        f"{token / 1e3:.0f} kB of cache a token",
        "",
        "| quantization | weights | cache, one image | cache, both orders of a comparison |",
        "|---|---|---|---|",
    ]
    for name, width in BYTES.items():
        weights = linear * width + (total - linear) * 2
        lines.append(f"| {name} | {weights / 1e9:.1f} GB | {one / 1e9:.1f} GB | {2 * two / 1e9:.1f} GB |")
    return "\n".join(lines)


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser("memory", help="what the 8B critic needs, computed")
    parser.set_defaults(run=lambda options: print(table()))
