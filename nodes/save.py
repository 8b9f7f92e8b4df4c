"""Save with Scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import io, ui
from PIL.PngImagePlugin import PngInfo

from ..models.critique import Critique
from ..models.images import tensor_to_pil
from .schema import CATEGORY, CritiqueType, schema

KEY = "rational_rewards"  # name of the PNG text chunk


class SaveWithScores(io.ComfyNode):
    """Save images as PNG, each with its own judgement in the metadata."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsSaveWithScores",
            display_name="Save with Scores",
            category=f"{CATEGORY}/critic",
            description="Saves the images like Save Image, and writes each one's scores and reasons into the PNG's metadata.",
            search_aliases=["save image", "metadata", "export scores", "png info"],
            inputs=[
                io.Image.Input("image", tooltip="The images that were judged, in the same order."),
                CritiqueType.Input("critique", tooltip="The critique from Critique."),
                io.String.Input(
                    "filename_prefix",
                    default="RationalRewards",
                    optional=True,
                    tooltip="As in Save Image; may name a subfolder.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, critique: Critique, filename_prefix: str = "RationalRewards"
    ) -> io.NodeOutput:
        pictures = tensor_to_pil(image)
        items = critique.of(len(pictures))
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), *pictures[0].size
        )
        saved: list[Any] = []
        for number, (picture, item) in enumerate(zip(pictures, items, strict=True)):
            file = f"{name.replace('%batch_num%', str(number))}_{counter + number:05}_.png"
            picture.save(
                Path(folder) / file,
                pnginfo=cls._metadata(critique, item.judgement.to_dict(), item.question.prompt),
            )
            saved.append(ui.SavedResult(file, subfolder, io.FolderType.output))
        return io.NodeOutput(ui={"images": saved})

    @classmethod
    def _metadata(cls, critique: Critique, judgement: dict[str, Any], prompt: str) -> PngInfo:
        info = PngInfo()
        info.add_text(
            KEY,
            json.dumps({"critic": critique.critic.name, "prompt": prompt, **judgement}, ensure_ascii=False),
        )
        if not args.disable_metadata:
            if cls.hidden.prompt:
                info.add_text("prompt", json.dumps(cls.hidden.prompt))
            for key, value in (cls.hidden.extra_pnginfo or {}).items():
                info.add_text(key, json.dumps(value))
        return info
