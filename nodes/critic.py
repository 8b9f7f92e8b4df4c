"""Load Critic."""

from __future__ import annotations

import contextlib
from typing import Any

from comfy_api.latest import io

from ..models.checkpoints import adapters, discovery
from ..models.critic import Attention, Quantization
from ..models.errors import CheckpointError
from ..models.images import LIMIT_PIXELS, MAX_PIXELS
from . import host
from .critic_loader import CriticRequest, load_critic
from .schema import CATEGORY, CriticType, advanced, schema


class LoadCritic(io.ComfyNode):
    """Load a Qwen3-VL or Qwen2.5-VL critic, quantized, from the models folder; official checkpoints are
    downloaded when chosen.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        entries = discovery.listed(host.model_roots())
        return schema(
            node_id="RationalRewardsLoadCritic",
            display_name="Load Critic",
            category=f"{CATEGORY}/critic",
            description="Loads the vision-language model that judges images. Folders under "
            "models/rationalrewards and models/LLM are "
            "listed first; an official RationalRewards checkpoint that is not there is downloaded (17.5 "
            "GB) after you have queued twice.",
            search_aliases=["reward model", "critic loader", "VLM", "Qwen3-VL", "judge", "RationalRewards"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=[entry.name for entry in entries],
                    extra_dict={"rational_rewards_states": {entry.name: entry.state for entry in entries}},
                    tooltip="RationalRewards-8B-T2I judges text to image, -Edit image edits; either is "
                    "downloaded once, and asked for first. shapes demo (CPU) needs no "
                    "download and knows coloured shapes only.",
                ),
                io.Combo.Input(
                    "quantization",
                    options=["nf4", "int8", "none"],
                    default="nf4",
                    tooltip="nf4 needs about 7 GB for the weights of an 8B model, int8 about 11 GB, none "
                    "about 18 GB. "
                    "A checkpoint that is already quantized is loaded as it is.",
                ),
                advanced(
                    io.Combo,
                    "adapter",
                    options=adapters.adapter_choices(host.model_roots()),
                    default=adapters.NONE,
                    tooltip="A taste learned by Train Critic Adapter; it fits only the checkpoint it was "
                    "trained on. "
                    "Adapters lie in models/rationalrewards/adapters.",
                ),
                advanced(
                    io.Combo,
                    "attention",
                    options=["auto", "sdpa", "flash_attention_2"],
                    default="auto",
                    tooltip="How attention is computed. auto is right for almost everyone.",
                ),
                advanced(
                    io.Int,
                    "max_pixels",
                    default=MAX_PIXELS,
                    min=32 * 32,
                    max=LIMIT_PIXELS,
                    step=32 * 32,
                    tooltip="Larger images are shrunk to this many pixels before they are judged. 802816 "
                    "(896 x 896) is what the checkpoints "
                    "were trained at; more costs memory and time.",
                ),
                advanced(
                    io.Boolean,
                    "save_quantized",
                    default=False,
                    tooltip=(
                        "Saves the quantized weights beside the original once, so that the next start "
                        "reads 7 GB (nf4) or 11 GB (int8) in place of 17.5."
                    ),
                ),
            ],
            outputs=[CriticType.Output("critic", tooltip="The critic, for every node with an input critic.")],
        )

    @classmethod
    def validate_inputs(cls, checkpoint: str = "", adapter: str = adapters.NONE) -> bool:
        # A name that is not in this machine's list (a shared workflow) is explained on the node when it runs.
        return True

    @classmethod
    def fingerprint_inputs(
        cls, checkpoint: str | None = "", adapter: str | None = adapters.NONE, **others: Any
    ) -> Any:
        # A changed file on disk is a changed model.
        roots = host.model_roots()
        stamps: list[Any] = []
        # Told when the node runs.
        with contextlib.suppress(CheckpointError, OSError):
            resolved = discovery.resolve(checkpoint or "", roots)
            local = isinstance(resolved, discovery.Checkpoint)
            stamps.append(discovery.stamp(resolved.folder) if local else None)
        with contextlib.suppress(CheckpointError, OSError):
            chosen = adapters.resolve_adapter(adapter or adapters.NONE, roots)
            stamps.append(chosen.stamp if chosen else None)
        return [checkpoint, adapter, stamps, sorted(others.items())]

    @classmethod
    def execute(
        cls,
        checkpoint: str,
        quantization: Quantization = "nf4",
        adapter: str = adapters.NONE,
        attention: Attention = "auto",
        max_pixels: int = MAX_PIXELS,
        save_quantized: bool = False,
    ) -> io.NodeOutput:
        request = CriticRequest(checkpoint, quantization, adapter, attention, max_pixels, save_quantized)
        return io.NodeOutput(load_critic(request))
