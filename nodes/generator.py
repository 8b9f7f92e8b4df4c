"""Load Shapes Generator: a real diffusion model that is small enough to ship with the pack."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .schema import CATEGORY, schema


class LoadShapesGenerator(io.ComfyNode):
    """The shapes generator as ComfyUI's own model, text encoder and autoencoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsLoadShapesGenerator",
            display_name="Load Shapes Generator (demo)",
            category=f"{CATEGORY}/demo",
            description="Loads a diffusion model that paints coloured shapes within seconds on any computer, "
            "without a download. It is a Stable Diffusion 3 in miniature: CLIP Text Encode, KSampler, VAE "
            "Decode, VAE Encode and LoRA loaders work with it as with any model.",
            search_aliases=[
                "demo",
                "toy generator",
                "tiny model",
                "checkpoint",
                "load checkpoint",
                "sd3",
                "diffusion",
            ],
            inputs=[],
            outputs=[
                io.Model.Output(
                    "model", tooltip="For KSampler. Made for one thing on 128 x 128 pixels, a cfg of 1 to 3."
                ),
                io.Clip.Output(
                    "clip", tooltip="For CLIP Text Encode. It knows the words of the shapes only."
                ),
                io.Vae.Output("vae", tooltip="For VAE Decode and VAE Encode."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        from .generator_loader import load_generator

        parts: tuple[Any, Any, Any] = load_generator()
        return io.NodeOutput(*parts)
