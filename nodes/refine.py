"""Refine Prompt and Critique Card."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.critique import Critique
from ..models.images import pil_to_tensor, tensor_to_pil
from ..models.refine import refine_prompts
from . import host, panel
from .schema import CATEGORY, CritiqueType, schema


class RefinePrompt(io.ComfyNode):
    """The critic's rewritten prompt, for the next sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRefinePrompt",
            display_name="Refine Prompt",
            category=f"{CATEGORY}/critic",
            description="Rewrites the prompt so that the next picture mends what the critique found. Weights, embeddings, LoRA tags, wildcards and "
            "everything in keep survive.",
            search_aliases=["improve prompt", "rewrite prompt", "prompt enhancer", "better prompt", "refine"],
            inputs=[
                CritiqueType.Input("critique", tooltip="The critique of the first picture, from Critique."),
                io.Float.Input(
                    "refine_below",
                    default=4.0,
                    min=1.0,
                    max=4.0,
                    step=0.1,
                    optional=True,
                    tooltip="The prompt is rewritten when any dimension scores below this. 4 rewrites all but perfect pictures; the paper used 3.",
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
        phrases = [line.strip() for line in keep.splitlines() if line.strip()]
        refined = refine_prompts(critique, refine_below, phrases, host.progress(cls.hidden))
        prompts = [one.prompt for one in refined]
        pairs = zip(critique.items, refined, strict=True)
        pages = [panel.refinement_page(item.question.prompt, one) for item, one in pairs]
        texts = [
            f"{page['after']}\n\nBefore: {page['before']}\n\n{page['comments']}".strip() for page in pages
        ]
        ui = panel.ui(pages, texts, "prompt", critique.critic.name, host.workflow_id(cls.hidden))
        return io.NodeOutput(
            prompts, [one.comments for one in refined], [one.changed for one in refined], ui=ui
        )


class CritiqueCard(io.ComfyNode):
    """A picture to share: the image, its scores, the reasons and the refined prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsCritiqueCard",
            display_name="Critique Card",
            category=f"{CATEGORY}/critic",
            description="Draws a card to share: the image, a bar for each dimension, the reasons and the refined prompt.",
            search_aliases=["report card", "annotate", "scorecard", "critique image", "share"],
            inputs=[
                CritiqueType.Input("critique", tooltip="The critique from Critique."),
                io.Image.Input("image", tooltip="The images that were judged, in the same order."),
            ],
            outputs=[io.Image.Output("card", tooltip="One card per image, as a batch.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, critique: Critique, image: torch.Tensor) -> io.NodeOutput:
        from ..models.cards.layout import draw_cards

        pictures = tensor_to_pil(image)
        items = critique.of(len(pictures))
        prompts = [item.question.prompt for item in items]
        cards = draw_cards(pictures, critique.refined(progress=host.progress()), prompts)
        card = pil_to_tensor(*cards)
        return io.NodeOutput(card, ui=host.preview(cls, card))
