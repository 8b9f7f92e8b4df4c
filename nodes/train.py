"""Rationalize Preferences and Train Critic Adapter."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..models.critic import Critic
from ..models.errors import RationalRewardsError
from ..models.images import pil_to_tensor
from ..parrot.critic_teacher import CriticTeacher
from ..parrot.pipeline import CHANGED, has_changed, latest_rows, rationalize_pairs
from ..preferences.dataset import dataset_folder, pairs_in
from ..training.adapter import learn
from ..training.distillation import Recipe
from . import host
from .preference import dataset_changed, dataset_input
from .schema import CATEGORY, critic_input, schema, seed_input


class RationalizePreferences(io.ComfyNode):
    """Let the critic explain every recorded preference, and keep the explanations that hold up."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRationalize",
            display_name="Rationalize Preferences",
            category=f"{CATEGORY}/preference",
            description="The critic is told which image you preferred and explains why. An explanation from which the preference does not "
            "follow is dropped; from the rest come the rows that Train Critic Adapter learns from. Stopped, it goes on where it was.",
            search_aliases=[
                "PARROT",
                "rationale",
                "explain preferences",
                "training data",
                "fine-tune critic",
            ],
            inputs=[
                critic_input(),
                dataset_input(),
                seed_input(
                    "Leave it at 0: the critic always gives its likeliest answer here, and another seed starts all over.",
                    optional=True,
                ),
            ],
            outputs=[
                io.String.Output("dataset", tooltip="The name of the dataset, for Train Critic Adapter."),
                io.String.Output(
                    "report", tooltip="How many explanations survived, and why the others were dropped."
                ),
                io.Float.Output("survival", tooltip="Share of explanations that survived, 0 to 1."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str | None = None, **others: Any) -> Any:
        return dataset_changed(dataset)

    @classmethod
    def execute(cls, critic: Critic, dataset: str, seed: int = 0) -> io.NodeOutput:
        folder = dataset_folder(host.preferences_root(), dataset)
        pairs = pairs_in(folder)
        teacher = CriticTeacher.of(critic)
        rationalized = rationalize_pairs(
            pairs,
            folder,
            teacher,
            rubrics=teacher.rubrics,
            note=teacher.note,
            seed=seed,
            progress=host.progress(),
        )
        report = rationalized.to_markdown()
        return io.NodeOutput(dataset, report, rationalized.survival.rate or 0.0, ui={"text": [report]})


class TrainCriticAdapter(io.ComfyNode):
    """Teach the critic your taste: a LoRA adapter from your rationalized preferences."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        recipe = Recipe()
        return schema(
            node_id="RationalRewardsTrainAdapter",
            display_name="Train Critic Adapter",
            category=f"{CATEGORY}/preference",
            description="Trains a small adapter on what Rationalize Preferences made of your preferences. Load Critic lists it afterwards.",
            search_aliases=["LoRA", "QLoRA", "fine-tune", "taste", "PARROT", "train reward model"],
            inputs=[
                critic_input(),
                dataset_input(),
                io.String.Input(
                    "name",
                    default="my-taste",
                    tooltip="What the adapter is called in Load Critic's list. A name that is taken gets a number.",
                ),
                io.Int.Input(
                    "epochs",
                    default=recipe.epochs,
                    min=1,
                    max=100,
                    optional=True,
                    tooltip="How many times it goes through all training rows.",
                ),
                io.Int.Input(
                    "rank",
                    default=recipe.rank,
                    min=1,
                    max=256,
                    optional=True,
                    tooltip="Size of the adapter; 8 to 32 is usual.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=recipe.learning_rate,
                    min=1e-6,
                    max=0.1,
                    step=1e-6,
                    round=False,
                    optional=True,
                    tooltip="How fast it learns. Too fast forgets what the critic knew.",
                ),
                seed_input("Another seed gives a slightly different adapter.", optional=True),
            ],
            outputs=[
                io.String.Output("adapter", tooltip="The adapter's name in Load Critic's list."),
                io.String.Output("report", tooltip="What was trained, and how the loss fell."),
                io.Image.Output("loss_plot", tooltip="The loss by step."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str | None = None, **others: Any) -> str:
        try:
            return str(
                latest_rows(dataset_folder(host.preferences_root(), dataset or ""))
            )  # its folder names the run
        except RationalRewardsError:
            return ""  # explained when the node runs

    @classmethod
    def execute(
        cls,
        critic: Critic,
        dataset: str,
        name: str,
        epochs: int = Recipe.epochs,
        rank: int = Recipe.rank,
        learning_rate: float = Recipe.learning_rate,
        seed: int = 0,
    ) -> io.NodeOutput:
        from ..training.plots import loss_plot

        folder = dataset_folder(host.preferences_root(), dataset)
        rows = latest_rows(folder)
        recipe = Recipe(epochs=epochs, rank=rank, learning_rate=learning_rate, seed=seed)
        learned = learn(critic, rows, name, host.model_roots()[0], recipe, host.progress())
        report = learned.to_markdown()
        if has_changed(rows, folder):
            report += f"\n\n{CHANGED}"
        plot = pil_to_tensor(loss_plot(learned.trained.losses, f"Loss of {learned.name}"))
        return io.NodeOutput(learned.name, report, plot, ui=host.preview(cls, plot, report))
