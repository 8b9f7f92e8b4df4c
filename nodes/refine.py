"""Refine Prompt and Critique Card."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..models.critique import Critique
from ..models.errors import QuestionError
from ..models.images import pil_to_tensor, tensor_to_pil
from ..models.refine import RefinedPrompt, refine_prompts, with_refined
from . import host, panel
from .schema import CATEGORY, CritiqueType, phrases, schema


class RefinePrompt(io.ComfyNode):
    """The critic's rewritten prompt, for the next sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRefinePrompt",
            display_name="Refine Prompt",
            category=f"{CATEGORY}/critic",
            description="Rewrites the prompt so that the next image mends what the critique found. Weights, "
            "embeddings, LoRA tags, wildcards and "
            "everything in keep survive.",
            search_aliases=["improve prompt", "rewrite prompt", "prompt enhancer", "better prompt", "refine"],
            inputs=[
                CritiqueType.Input("critique", tooltip="The critique of the first image, from Critique."),
                io.Float.Input(
                    "refine_below",
                    default=4.0,
                    min=1.0,
                    max=4.0,
                    step=0.1,
                    optional=True,
                    tooltip="The prompt is rewritten when any dimension scores below this. 4 rewrites all "
                    "but perfect images; the paper used 3.",
                ),
                io.String.Input(
                    "keep",
                    multiline=True,
                    default="",
                    optional=True,
                    tooltip="Words that must stay in the prompt, one phrase per line.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "refined_prompt",
                    is_output_list=True,
                    tooltip="The prompt for the next text encoder, one per image.",
                ),
                io.String.Output("comments", is_output_list=True, tooltip="What was changed and why."),
                io.Boolean.Output(
                    "changed", is_output_list=True, tooltip="Whether the prompt was rewritten."
                ),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
        )

    @classmethod
    def execute(cls, critique: Critique, refine_below: float = 4.0, keep: str = "") -> io.NodeOutput:
        refined = refine_prompts(critique, refine_below, phrases(keep), host.progress(cls.hidden))
        prompts = [one.prompt for one in refined]
        pairs = zip(critique.items, refined, strict=True)
        pages = [panel.refinement_page(item.question.prompt, one) for item, one in pairs]
        texts = [
            f"{page['after']}\n\nBefore: {page['before']}\n\n{page['comments']}".strip() for page in pages
        ]
        ui = host.show(cls.hidden, pages, texts, "prompt", critique.critic.name)
        return io.NodeOutput(
            prompts, [one.comments for one in refined], [one.changed for one in refined], ui=ui
        )


class CritiqueCard(io.ComfyNode):
    """An image to share: the image, its scores, the reasons and the refined prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsCritiqueCard",
            display_name="Critique Card",
            category=f"{CATEGORY}/critic",
            description="Draws a card to share: the image, a bar for each dimension, the reasons and the "
            "refined prompt.",
            search_aliases=["report card", "annotate", "scorecard", "critique image", "share"],
            inputs=[
                CritiqueType.Input("critique", tooltip="The critique from Critique."),
                io.Image.Input("image", tooltip="The images that were judged, in the same order."),
                io.String.Input(
                    "refined_prompt",
                    optional=True,
                    force_input=True,
                    tooltip="From Refine Prompt, to show the prompt as it rewrites it. Without it the card "
                    "rewrites what is not "
                    "perfect, with nothing kept on purpose.",
                ),
            ],
            outputs=[io.Image.Output("card", tooltip="One card per image, as a batch.")],
            # Lists come whole, so that a list of prompts meets the images that it is about.
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        critique: list[Critique],
        image: list[torch.Tensor],
        refined_prompt: list[str] | None = None,
    ) -> io.NodeOutput:
        from ..models.cards.layout import draw_cards

        images = [pixels for batch in image for pixels in tensor_to_pil(batch)]
        items = [item for single in critique for item in single.items]
        if len(critique) == 1:
            items = critique[0].of(len(images))
        if refined_prompt is None:
            refined = [new for single in critique for new in refine_prompts(single, progress=host.progress())]
        else:
            refined = [RefinedPrompt(new, "", changed=True) for new in refined_prompt]
        if not len(images) == len(items) == len(refined):
            raise QuestionError(
                f"`image` has {len(images)} images, `critique` judges {len(items)} and `refined_prompt` has "
                f"{len(refined)} "
                "prompts: connect what belongs to the same batch."
            )
        prompts = [item.question.prompt for item in items]
        judgements = [
            with_refined(
                item.judgement, replace(new, changed=new.changed and new.prompt != item.question.prompt)
            )
            for item, new in zip(items, refined, strict=True)
        ]
        card = pil_to_tensor(*draw_cards(images, judgements, prompts))
        return io.NodeOutput(card, ui=host.preview(cls, card))
