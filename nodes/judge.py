"""Critique, Score and Compare. `sampling` are the inputs that go to the critic under their own names: seed,
temperature, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from comfy_api.latest import io

from ..models.answering import UNMEANT
from ..models.critic import Critic, SamplingOptions
from ..models.errors import QuestionError
from ..models.images import tensor_to_pil
from ..models.judgement import Comparison, Judgement, Winner, report
from ..models.rubrics.rubric import list_rubrics
from . import host, panel
from .schema import (
    CATEGORY,
    ComparisonType,
    CritiqueType,
    question_inputs,
    schema,
)

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Unpack

DIMENSIONS = ("text_faithfulness", "image_faithfulness", "physical_quality", "text_rendering")
# The output `winner`, which Record Preference reads.
WINNERS: dict[Winner, int] = {"A": 1, "B": 2, "tie": 0}
UNREAD = (
    "The critic's answer to {what} {number} could not be read, so there is no score to pass on: set answer "
    "to locked, or raise max_new_tokens."
)
NO_SCORE_MEANT = (
    "The critic found no score for {what} {number}, and what the locked format made it write is none: "
    "shorten or reword the prompt, or choose another critic on Load Critic."
)


class JudgingNode(io.ComfyNode):
    """A node that asks a critic by a rubric."""

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        # An edited rubric is another question.
        return host.rubrics_changed()


def _sources(source_image: torch.Tensor | None) -> list[Image.Image] | None:
    return None if source_image is None else tensor_to_pil(source_image, "source_image")


def _scores(judgements: list[Judgement]) -> list[float]:
    """Overall scores as numbers; an answer that could not be read is an error, never a zero."""
    numbers = []
    for number, judgement in enumerate(judgements, 1):
        if judgement.score is None or not judgement.complete:
            raise _unread(judgement, "image", number)
        numbers.append(judgement.score)
    return numbers


def _unread(result: Judgement | Comparison, what: str, number: int) -> QuestionError:
    """The error that says why an answer has no score."""
    message = NO_SCORE_MEANT if UNMEANT in result.notes else UNREAD
    return QuestionError(message.format(what=what, number=number))


def _dimension(judgement: Judgement, key: str) -> float:
    """A dimension's score 1..4; where it does not apply, the mean of those that do, so that averages stay
    unmoved.
    """
    dimension = judgement.dimensions.get(key)
    score = dimension.score if dimension else None
    return score if score is not None else judgement.mean  # type: ignore[return-value]


class Critique(JudgingNode):
    """Judge every image of a batch, in words and scores."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsCritique",
            display_name="Critique",
            category=f"{CATEGORY}/critic",
            description="Says in words what is wrong with each image in every dimension, then scores it "
            "from 1 to 4.",
            search_aliases=[
                "judge",
                "review",
                "rating",
                "rate image",
                "evaluate",
                "quality",
                "VLM critic",
                "feedback",
            ],
            inputs=question_inputs(
                io.Image.Input("image", tooltip="The image, or a batch; every image of it is judged."),
                rubrics=list_rubrics(host.rubric_folders()),
            ),
            outputs=[
                CritiqueType.Output(
                    "critique",
                    tooltip="All judgements of the batch, for Refine Prompt, Critique Card and Save with "
                    "Scores.",
                ),
                io.Float.Output(
                    "score", is_output_list=True, tooltip="Overall score from 0 to 1, one per image."
                ),
                io.String.Output("report", tooltip="The whole critique to read, as markdown."),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        critic: Critic,
        image: torch.Tensor,
        prompt: str,
        source_image: torch.Tensor | None = None,
        rubric: str = "auto",
        **sampling: Unpack[SamplingOptions],
    ) -> io.NodeOutput:
        critique = critic.critique(
            tensor_to_pil(image),
            prompt,
            _sources(source_image),
            rubric=rubric,
            progress=host.progress(cls.hidden),
            **sampling,
        )
        words = critique.to_markdown()
        scores = _scores(critique.judgements)
        pages = [panel.judgement_page(judgement) for judgement in critique.judgements]
        ui = host.show(cls.hidden, pages, [words], "image", critic.name)
        return io.NodeOutput(critique, scores, words, ui=ui)


class Score(JudgingNode):
    """The numbers alone: overall and for each dimension."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = [
            ("text_faithfulness", "Does the image show what the prompt asks for? 1 to 4."),
            (
                "image_faithfulness",
                "For edits: did the rest stay as it was? 1 to 4; the mean of the others where it does not "
                "apply.",
            ),
            ("physical_quality", "Is the image convincing and clean? 1 to 4."),
            (
                "text_rendering",
                "Is the text in the image right? 1 to 4; the mean of the others where no text was asked for.",
            ),
        ]
        return schema(
            node_id="RationalRewardsScore",
            display_name="Score",
            category=f"{CATEGORY}/critic",
            description="Scores every image: overall from 0 to 1, and each dimension from 1 to 4.",
            search_aliases=[
                "rate",
                "rating",
                "reward",
                "rank",
                "aesthetic score",
                "quality score",
                "evaluate",
            ],
            inputs=[
                *question_inputs(
                    io.Image.Input("image", tooltip="The image, or a batch; every image of it is scored."),
                    rubrics=list_rubrics(host.rubric_folders()),
                ),
                io.Combo.Input(
                    "mode",
                    options=["reasoned", "fast"],
                    default="reasoned",
                    optional=True,
                    tooltip="reasoned explains before it scores. fast reads a score without reasoning: many "
                    "times quicker and good for a first "
                    "filter, but not calibrated; never mix the two. The demo critic cannot score fast.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "score", is_output_list=True, tooltip="Overall score from 0 to 1, one per image."
                ),
                *(io.Float.Output(id, is_output_list=True, tooltip=tooltip) for id, tooltip in numbers),
                io.Float.Output(
                    "confidence",
                    is_output_list=True,
                    tooltip="How sure the critic was of its scores, 0 to 1: the probability it gave to what "
                    "it answered. Not known (NaN) for free answers.",
                ),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        critic: Critic,
        image: torch.Tensor,
        prompt: str,
        source_image: torch.Tensor | None = None,
        rubric: str = "auto",
        mode: Literal["reasoned", "fast"] = "reasoned",
        **sampling: Unpack[SamplingOptions],
    ) -> io.NodeOutput:
        images, sources, progress = tensor_to_pil(image), _sources(source_image), host.progress(cls.hidden)
        if mode == "fast":
            judgements = critic.fast_score(images, prompt, sources, rubric=rubric, progress=progress)
        else:
            critique = critic.critique(
                images, prompt, sources, rubric=rubric, until="scores", progress=progress, **sampling
            )
            judgements = critique.judgements
        scores = _scores(judgements)
        columns = [[_dimension(judgement, key) for judgement in judgements] for key in DIMENSIONS]
        confidence = [float("nan") if j.confidence is None else j.confidence for j in judgements]
        pages = [panel.judgement_page(judgement) for judgement in judgements]
        texts = [report(judgements, critic.name)]
        ui = host.show(cls.hidden, pages, texts, "image", critic.name)
        return io.NodeOutput(scores, *columns, confidence, ui=ui)


class Compare(JudgingNode):
    """Which of two images is better, and why."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsCompare",
            display_name="Compare",
            category=f"{CATEGORY}/critic",
            description="Compares two images of the same prompt and passes the better one on. Judges both "
            "orders unless both_orders "
            "is off, so that neither position is favoured.",
            search_aliases=["A/B", "pairwise", "better image", "pick best", "winner", "preference", "versus"],
            inputs=question_inputs(
                io.Image.Input("image_a", tooltip="Image A, or a batch."),
                io.Image.Input(
                    "image_b",
                    tooltip="Image B, or a batch of the same length; a single image meets every image of "
                    "the other side.",
                ),
                of="both images were",
                more=[
                    io.Boolean.Input(
                        "both_orders",
                        default=True,
                        optional=True,
                        tooltip="Judge A before B and B before A, and average. Twice the work; the report "
                        "says when the two disagree.",
                    ),
                ],
                rubrics=list_rubrics(host.rubric_folders(), pair=True),
            ),
            outputs=[
                io.Image.Output(
                    "winner_image",
                    is_output_list=True,
                    tooltip="The better image of each pair; A where they tie.",
                ),
                io.Int.Output("winner", is_output_list=True, tooltip="1 for A, 2 for B, 0 for a tie."),
                io.Float.Output(
                    "margin",
                    is_output_list=True,
                    tooltip="How much better A is, from -1 to 1; below 0, B is better.",
                ),
                io.String.Output("report", tooltip="The whole comparison to read, as markdown."),
                ComparisonType.Output("comparison", tooltip="All comparisons of the batch."),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        critic: Critic,
        image_a: torch.Tensor,
        image_b: torch.Tensor,
        prompt: str,
        source_image: torch.Tensor | None = None,
        both_orders: bool = True,
        rubric: str = "auto",
        **sampling: Unpack[SamplingOptions],
    ) -> io.NodeOutput:
        comparisons = critic.compare(
            tensor_to_pil(image_a, "image_a"),
            tensor_to_pil(image_b, "image_b"),
            prompt,
            _sources(source_image),
            both_orders=both_orders,
            rubric=rubric,
            progress=host.progress(cls.hidden),
            **sampling,
        )
        for number, comparison in enumerate(comparisons, 1):
            if comparison.winner is None or not comparison.complete:
                raise _unread(comparison, "pair", number)
        images = [
            _single(image_b if comparison.winner == "B" else image_a, index)
            for index, comparison in enumerate(comparisons)
        ]
        winners = [WINNERS[comparison.winner] for comparison in comparisons if comparison.winner]
        words = report(comparisons, critic.name)
        margins = [comparison.margin for comparison in comparisons]
        pages = [panel.comparison_page(comparison) for comparison in comparisons]
        ui = host.show(cls.hidden, pages, [words], "pair", critic.name)
        return io.NodeOutput(images, winners, margins, words, comparisons, ui=ui)


def _single(batch: torch.Tensor, index: int) -> torch.Tensor:
    """One image of a batch (or the only one), as a batch of one."""
    start = index if len(batch) > 1 else 0
    return batch[start : start + 1]
