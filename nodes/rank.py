"""A folder ranked on the canvas: Load Folder with Prompts, Critique, Rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import folder_paths
import torch
from comfy_api.latest import io

from ..models.critic import QUALITY
from ..models.critique import Critique, JudgedImage
from ..models.errors import QuestionError
from ..models.image_files import images_in, natural_order
from ..models.image_metadata import find_prompt
from ..models.images import open_image, pil_to_tensor, tensor_to_pil
from ..models.markdown import table_cell
from ..models.question import is_blank
from ..ranking.judging import thumbnail
from ..ranking.order import Placed, in_order
from ..ranking.sheet import Entry, write_sheet
from . import host, panel
from .schema import CATEGORY, CritiqueType, schema

ALONE, LEAVE_OUT = "quality alone", "leave out"
WithoutPrompt = Literal["quality alone", "leave out"]


class LoadFolder(io.ComfyNode):
    """The images of a folder, each with the prompt in its own metadata."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsLoadFolder",
            display_name="Load Folder with Prompts",
            category=f"{CATEGORY}/critic",
            description="Loads the images of a folder as a list, each with the prompt it was made from: out "
            "of a ComfyUI graph, the parameters of other programs, or a text file beside the image.",
            search_aliases=[
                "load images from folder",
                "load directory",
                "batch load",
                "read prompt",
                "image metadata",
                "png info",
                "rank folder",
            ],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=host.image_folders(),
                    tooltip="A folder in ComfyUI's output or input folder. Press R to see new ones.",
                ),
                io.Combo.Input(
                    "without_prompt",
                    options=[ALONE, LEAVE_OUT],
                    default=ALONE,
                    optional=True,
                    tooltip="What to do with images that tell no prompt: have Critique judge their quality "
                    "alone (connect rubric), or leave them out.",
                ),
                io.Int.Input(
                    "skip",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="Images to pass over, in the order of their names: a large folder in parts.",
                ),
                io.Int.Input(
                    "limit",
                    default=100,
                    min=1,
                    max=10_000,
                    optional=True,
                    tooltip="Most images to load. All of them are in memory together; for thousands use "
                    "`python -m rational_rewards rank`.",
                ),
            ],
            outputs=[
                io.Image.Output("image", is_output_list=True, tooltip="The images, one by one."),
                io.String.Output(
                    "prompt",
                    is_output_list=True,
                    tooltip="The prompt each image was made from; empty where it tells none.",
                ),
                io.String.Output("name", is_output_list=True, tooltip="The images' file names."),
                io.Combo.Output(
                    "rubric",
                    is_output_list=True,
                    tooltip="For Critique: auto where there is a prompt, quality where there is none.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, **inputs: Any) -> Any:
        # What lies in the folder, text files beside the images included.
        place = host.image_folder(folder)
        files = sorted(place.iterdir()) if place.is_dir() else []
        return [(file.name, file.stat().st_mtime_ns) for file in files if file.is_file()]

    @classmethod
    def execute(
        cls, folder: str, without_prompt: WithoutPrompt = "quality alone", skip: int = 0, limit: int = 100
    ) -> io.NodeOutput:
        paths = _images(host.image_folder(folder), folder)[skip : skip + limit]
        images: list[torch.Tensor] = []
        prompts: list[str] = []
        names: list[str] = []
        bar = host.Bar()
        for done, path in enumerate(paths):
            host.check_cancel()
            bar.show(done, len(paths))
            found = find_prompt(path)
            prompt = found.text if found else ""
            if is_blank(prompt) and without_prompt == LEAVE_OUT:
                continue
            images.append(pil_to_tensor(open_image(path)))
            prompts.append(prompt)
            names.append(path.name)
        if not images:
            raise QuestionError(
                f"No image is left to load from {folder}: lower skip, or set without_prompt to {ALONE}."
            )
        rubrics = [QUALITY if is_blank(prompt) else "auto" for prompt in prompts]
        return io.NodeOutput(images, prompts, names, rubrics)


def _images(place: Path, folder: str) -> list[Path]:
    try:
        paths = images_in(place)
    except OSError:
        raise QuestionError(f"The folder {folder} cannot be read: choose another one.") from None
    if not paths:
        raise QuestionError(f"There is no image in {folder}: choose another folder.")
    return paths


class Rank(io.ComfyNode):
    """Judged images, best first, and a contact sheet of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRank",
            display_name="Rank",
            category=f"{CATEGORY}/critic",
            description="Puts images that were judged in order, best first, and writes a contact sheet with "
            "bars and reasons into the output folder.",
            search_aliases=["sort images", "order by score", "best images", "top images", "contact sheet"],
            inputs=[
                io.Image.Input("image", tooltip="The images that were judged: a list, or a batch."),
                CritiqueType.Input("critique", tooltip="Their critiques, in the same order."),
                io.String.Input(
                    "name",
                    optional=True,
                    force_input=True,
                    tooltip="Their names, from Load Folder with Prompts. Without them they are numbered.",
                ),
                io.Int.Input(
                    "keep_top",
                    default=0,
                    min=0,
                    max=10_000,
                    optional=True,
                    tooltip="How many of the best are passed on; 0 passes on all. The sheet shows all.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="RationalRewards/ranking",
                    optional=True,
                    tooltip="Of the contact sheet, as in Save Image; may name a subfolder.",
                ),
            ],
            outputs=[
                io.Image.Output("image", is_output_list=True, tooltip="The images, best first."),
                io.String.Output("name", is_output_list=True, tooltip="Their names, in the same order."),
                io.Float.Output(
                    "score",
                    is_output_list=True,
                    tooltip="Their overall scores from 0 to 1, in the same order.",
                ),
                io.String.Output("report", tooltip="The whole order to read, as markdown."),
                io.String.Output("contact_sheet", tooltip="The path of the contact sheet, an HTML file."),
            ],
            hidden=host.HIDDEN,
            # Lists come whole: the order is that of all of them.
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        image: list[torch.Tensor],
        critique: list[Critique],
        name: list[str] | None = None,
        keep_top: list[int] = [0],
        filename_prefix: list[str] = ["RationalRewards/ranking"],
    ) -> io.NodeOutput:
        images = [batch[place : place + 1] for batch in image for place in range(len(batch))]
        items = [item for single in critique for item in single.items]
        if len(critique) == 1:
            items = critique[0].of(len(images))
        names = name or [f"image {number}" for number in range(1, len(images) + 1)]
        if not len(images) == len(items) == len(names):
            raise QuestionError(
                f"`image` has {len(images)} images, `critique` judges {len(items)} and `name` has "
                f"{len(names)} names: connect what belongs to the same list."
            )
        judged = [_Judged(*one) for one in zip(images, items, names, strict=True)]
        judged.sort(key=lambda one: natural_order(one.name))
        placed = in_order(judged, lambda one: one.item.judgement.score, lambda one: one.alone)
        critic = critique[0].critic.name
        sheet = _write(placed, critic, filename_prefix[0])
        words = _report(placed, critic, sheet)
        pages = [panel.judgement_page(one.item.item.judgement) for one in placed]
        ui = host.show(cls.hidden, pages, [words], "image", critic)
        best = [one.item for one in placed[: keep_top[0] or None]]
        scores = [_score(one) for one in best]
        pixels = [one.image for one in best]
        return io.NodeOutput(pixels, [one.name for one in best], scores, words, str(sheet), ui=ui)


class _Judged:
    """An image with its question, judgement and name."""

    def __init__(self, image: torch.Tensor, item: JudgedImage, name: str):
        self.image, self.item, self.name = image, item, name
        self.alone = not item.question.rubric.shows_prompt


def _score(one: _Judged) -> float:
    score = one.item.judgement.score
    if score is None:
        raise QuestionError(f"The critic's answer to {one.name} could not be read: set answer to locked.")
    return score


def _write(placed: list[Placed[_Judged]], critic: str, prefix: str) -> Path:
    folder, name, counter, _, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    target = Path(folder) / f"{name}_{counter:05}_.html"
    dimensions: dict[str, str] = {}
    for one in placed:
        for key, dimension in one.item.item.judgement.dimensions.items():
            dimensions.setdefault(key, dimension.name)
    facts = {"Critic": critic, "Images": str(len(placed))}
    if alone := sum(one.item.alone for one in placed):
        facts["Quality alone"] = f"{alone} without a prompt, ranked by themselves, behind the others."
    write_sheet(target, "Best first", facts, dimensions, map(_entry, placed))
    return target


def _entry(one: Placed[_Judged]) -> Entry:
    item, alone = one.item.item, one.item.alone
    small = thumbnail(tensor_to_pil(one.item.image)[0])
    prompt = "" if alone else item.question.prompt
    return Entry(one.rank, one.item.name, "", small, prompt, "the canvas", alone, item.judgement.to_dict())


def _report(placed: list[Placed[_Judged]], critic: str, sheet: Path) -> str:
    lines = ["| Rank | Image | Score | Why |", "|---|---|---|---|"]
    for one in placed:
        judgement = one.item.item.judgement
        score = "not read" if judgement.score is None else f"{judgement.score:.2f}"
        name = table_cell(one.item.name) + (" (quality alone)" if one.item.alone else "")
        reasons = (d.justification for d in judgement.dimensions.values() if d.justification)
        why = table_cell(judgement.summary or next(reasons, ""))
        lines.append(f"| {one.rank or '-'} | {name} | {score} | {why} |")
    return "\n".join([*lines, "", f"Contact sheet: {sheet}", "", f"*Judged by {critic}.*"])
