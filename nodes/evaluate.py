"""Evaluate Critic."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..models.critic import Critic
from ..models.errors import PreferenceError, QuestionError
from ..models.images import pil_to_tensor
from ..preferences.dataset import dataset_folder, pairs_in
from . import host
from .preference import dataset_changed, dataset_input
from .schema import CATEGORY, critic_input, schema

UNREAD = "None of the critic's answers could be read, so there is no accuracy: load another checkpoint on Load Critic."
ONLY_TIES = "Every pair in the dataset {name} is a tie, so there is no choice to agree with: record some where one image is better."


class EvaluateCritic(io.ComfyNode):
    """How often a critic chooses the image that was preferred."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsEvaluateCritic",
            display_name="Evaluate Critic",
            category=f"{CATEGORY}/preference",
            description="Lets a critic compare every pair of a preference dataset and says how often it chooses as you did, with the "
            "uncertainty of that number, how often both orders agree, and which dimension is closest to your taste.",
            search_aliases=[
                "accuracy",
                "benchmark",
                "test critic",
                "agreement",
                "preference accuracy",
                "measure",
                "taste",
            ],
            inputs=[
                critic_input(),
                dataset_input(),
                io.Boolean.Input(
                    "both_orders",
                    default=True,
                    optional=True,
                    tooltip="Judge A before B and B before A, and average. Twice the work; the report says how often the two agree.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "accuracy",
                    tooltip="How often the critic chose the preferred image, 0 to 1; a tie of the critic counts half. 0.5 is chance.",
                ),
                io.String.Output("report", tooltip="All numbers to read, as markdown."),
                io.Image.Output("plot", tooltip="Accuracy, agreement and every dimension as bars."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str | None = None, **others: Any) -> int:
        return dataset_changed(dataset)

    @classmethod
    def execute(cls, critic: Critic, dataset: str, both_orders: bool = True) -> io.NodeOutput:
        from ..evaluation.evaluate import evaluate
        from ..evaluation.plots import evaluation_plot
        from ..evaluation.report import report

        folder = dataset_folder(host.preferences_root(), dataset)
        pairs = pairs_in(folder)
        if all(pair.preferred == "tie" for pair in pairs):
            raise PreferenceError(ONLY_TIES.format(name=folder.name))
        evaluation = evaluate(critic, pairs, both_orders, progress=host.progress())
        if evaluation.accuracy.share is None:
            raise QuestionError(UNREAD)
        words = report(evaluation)
        plot = pil_to_tensor(evaluation_plot(evaluation))
        return io.NodeOutput(evaluation.accuracy.share, words, plot, ui=host.preview(cls, plot, words))
