"""Save with Scores."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import io, ui
from PIL.PngImagePlugin import PngInfo

from ..models.characters import whole_characters
from ..models.critique import Critique, JudgedImage
from ..models.errors import RationalRewardsError
from ..models.files import replacing
from ..models.images import tensor_to_pil_with_alpha
from . import host, panel
from .schema import CATEGORY, CritiqueType, schema

# Name of the PNG text chunk.
KEY = "rational_rewards"


@contextlib.contextmanager
def _explained(prefix: str) -> Iterator[None]:
    """Turns what the file system says about a file that cannot be written into one sentence."""
    try:
        yield
    except OSError as error:
        shown = prefix if len(prefix) <= 60 else f"{prefix[:60]}…"
        remedy = (
            "choose a shorter filename_prefix"
            if error.errno == errno.ENAMETOOLONG
            else "make room there, or choose another filename_prefix"
        )
        raise RationalRewardsError(
            f'The images could not be saved as "{shown}" ({error.strerror or error}): {remedy}.'
        ) from error


class SaveWithScores(io.ComfyNode):
    """Save images as PNG, each with its own judgement in the metadata."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsSaveWithScores",
            display_name="Save with Scores",
            category=f"{CATEGORY}/critic",
            description="Saves the images like Save Image, and writes each one's scores and reasons into "
            "the PNG's metadata.",
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
            outputs=[io.Image.Output("image", tooltip="The images, as they came.")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, critique: Critique, filename_prefix: str = "RationalRewards"
    ) -> io.NodeOutput:
        # Saved as they came: the critic judges on white, a transparent image stays transparent.
        images = tensor_to_pil_with_alpha(image)
        items = critique.of(len(images))
        results: list[ui.SavedResult] = []
        with _explained(filename_prefix):
            folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
                filename_prefix, folder_paths.get_output_directory(), *images[0].size
            )
            for number, (pixels, item) in enumerate(zip(images, items, strict=True)):
                file = f"{name.replace('%batch_num%', str(number))}_{counter + number:05}_.png"
                with replacing(Path(folder) / file) as scratch:
                    pixels.save(scratch, pnginfo=cls._metadata(critique, item))
                results.append(ui.SavedResult(file, subfolder, io.FolderType.output))
        return io.NodeOutput(image, ui={"images": results})

    @classmethod
    def _metadata(cls, critique: Critique, item: JudgedImage) -> PngInfo | None:
        # The user wants no metadata, and the judgement quotes the prompt.
        if args.disable_metadata:
            return None
        info = PngInfo()
        judgement = {
            "critic": critique.critic.name,
            "prompt": item.question.prompt,
            **item.judgement.to_dict(),
        }
        info.add_text(KEY, whole_characters(json.dumps(judgement, ensure_ascii=False)))
        if cls.hidden.prompt:
            info.add_text("prompt", json.dumps(cls.hidden.prompt))
        for key, value in (cls.hidden.extra_pnginfo or {}).items():
            if key == "workflow":
                value = cls._with_own_page(value, critique, item)
            info.add_text(key, json.dumps(value))
        return info

    @classmethod
    def _with_own_page(cls, workflow: Any, critique: Critique, item: JudgedImage) -> Any:
        """The workflow with this image's own judgement on the node that the critique comes from, even an
        unchanged one. A loop that has just run holds more: all its rounds.
        """
        node = (cls.hidden.prompt or {}).get(str(cls.hidden.unique_id), {})
        source = node.get("inputs", {}).get("critique")
        if not isinstance(source, list) or not host.settings().keep_results:
            return workflow
        if panel.has_rounds(workflow, str(source[0])):
            return workflow
        own = copy.deepcopy(workflow)
        page = panel.judgement_page(item.judgement)
        panel.replace_pages(own, str(source[0]), panel.payload([page], "image", critique.critic.name))
        return own
