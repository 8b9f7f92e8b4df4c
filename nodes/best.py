"""Best of Batch."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..models.best_of import BestOf, Method, RankedImage, best_of
from ..models.critic import Critic
from ..models.images import tensor_to_pil
from ..models.rubrics.rubric import list_rubrics
from . import host, panel
from .judge import JudgingNode
from .schema import CATEGORY, critic_input, prompt_input, rubric_input, schema, seed_input, source_input


class BestOfBatch(JudgingNode):
    """Pass on the best images of a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = host.rubric_folders()
        rubrics = list(dict.fromkeys([*list_rubrics(folders), *list_rubrics(folders, pair=True)]))
        return schema(
            node_id="RationalRewardsBestOf",
            display_name="Best of Batch",
            category=f"{CATEGORY}/critic",
            description="Judges every image of a batch and passes the best on, with a reason for each. Below "
            "a threshold nothing passes.",
            search_aliases=[
                "pick best", "best of n", "best image", "select best", "choose", "rating", "rank", "sort",
                "filter", "quality gate", "threshold", "tournament", "cull",
            ],
            inputs=_inputs(rubrics),
            outputs=[
                io.Image.Output("best_image", tooltip="The images that pass, one batch, best first."),
                io.Int.Output(
                    "index",
                    is_output_list=True,
                    tooltip="Where each image that passes stands in the batch, from 0: connect it to "
                    "batch_index of Latent From Batch or Get Image from Batch.",
                ),
                io.Float.Output(
                    "score",
                    is_output_list=True,
                    tooltip="Score of each image that passes, from 0 to 1, best first.",
                ),
                io.String.Output("report", tooltip="The ranking of all images and the reasons, as markdown."),
                io.Image.Output("rejected", tooltip="All other images, one batch, best first."),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        critic: Critic,
        image: torch.Tensor,
        prompt: str,
        source_image: torch.Tensor | None = None,
        method: Method = "score",
        keep_top: int = 1,
        rubric: str = "auto",
        seed: int = 0,
        threshold: float = 0.0,
    ) -> io.NodeOutput:
        best = best_of(
            critic,
            tensor_to_pil(image),
            prompt,
            None if source_image is None else tensor_to_pil(source_image, "source_image"),
            method=method,
            keep_top=keep_top,
            threshold=threshold,
            rubric=rubric,
            seed=seed,
            progress=host.progress(cls.hidden),
        )
        words = best.to_markdown()
        pages = [panel.ranked_page(one.judgement, one.index + 1, one.kept) for one in best.ranking]
        ui = host.show(cls.hidden, pages, [words], "place", critic.name)
        return io.NodeOutput(
            _batch(image, best.kept), *_columns(best), words, _batch(image, best.rejected), ui=ui
        )


def _inputs(rubrics: list[str]) -> list[io.Input]:
    return [
        critic_input(),
        io.Image.Input("image", tooltip="The batch to choose from; all its images are of one prompt."),
        prompt_input("the images were"),
        source_input(),
        io.Combo.Input(
            "method",
            options=["score", "tournament"],
            default="score",
            optional=True,
            tooltip="score judges every image by itself, all at once. tournament compares them two at a time "
            "and in both orders: finer where images are close, and slower (at most 40 comparisons for 16 "
            "images).",
        ),
        io.Int.Input(
            "keep_top",
            default=1,
            min=1,
            max=4096,
            optional=True,
            tooltip="How many of the best pass.",
        ),
        rubric_input(rubrics),
        seed_input("Draws who meets whom first in a tournament. Scores do not depend on it.", optional=True),
        io.Float.Input(
            "threshold",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Images that score below this do not pass. Where none does, what is connected to "
            "best_image, index and score does not run, without an error.",
        ),
    ]


def _columns(best: BestOf) -> tuple[Any, Any]:
    """`index` and `score`, one of each for each image that passes."""
    if not best.kept:
        return host.blocked(), host.blocked()
    return [one.index for one in best.kept], [one.score for one in best.kept]


def _batch(image: torch.Tensor, chosen: list[RankedImage]) -> Any:
    """These images of the batch, in this order. There is no empty batch: for none, the branch is blocked."""
    return image[[one.index for one in chosen]] if chosen else host.blocked()
