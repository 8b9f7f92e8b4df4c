"""Train Generator with Critic: reinforcement learning on the canvas, of a model that is small enough."""

from __future__ import annotations

import shutil
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..models.critic import Critic
from ..models.errors import ParrotError
from ..models.files import replacing
from ..models.images import open_image, pil_to_tensor
from ..training.adapter import clean_name
from . import host
from .schema import CATEGORY, critic_input, schema, seed_input

# Below the user's folder: one folder a training.
WORK = Path("rational_rewards", "generator-training")


class TrainGenerator(io.ComfyNode):
    """The shapes generator learns from a critic's judgement of its own pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsTrainGenerator",
            display_name="Train Generator with Critic (demo)",
            category=f"{CATEGORY}/demo",
            description="Reinforcement learning in miniature: the shapes generator paints, the critic judges "
            "every picture, and a LoRA learns what the better ones have in common. Load LoRA takes it "
            "afterwards. Stopped, it goes on where it was.",
            search_aliases=[
                "RL",
                "reinforcement learning",
                "DiffusionNFT",
                "GRPO",
                "reward",
                "train LoRA",
                "demo",
            ],
            inputs=[
                critic_input(),
                io.String.Input(
                    "name",
                    default="shapes-taught",
                    tooltip="What the LoRA is called in Load LoRA's list. The same name goes on with the "
                    "same training.",
                ),
                io.Int.Input(
                    "iterations",
                    default=40,
                    min=1,
                    max=1000,
                    tooltip="How often it paints 32 pictures and learns from their scores, those of earlier "
                    "runs counted. One takes some 20 seconds on a laptop.",
                ),
                seed_input("Of prompts and pictures. Another seed needs another name.", optional=True),
            ],
            outputs=[
                io.String.Output("lora", tooltip="The LoRA's name in Load LoRA's list."),
                io.String.Output(
                    "report", tooltip="How far the critic's scores rose, and the truth with them."
                ),
                io.Image.Output("curves", tooltip="Rewards and truth by iteration."),
                io.Image.Output("samples", tooltip="Pictures of the trained generator with their prompts."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, critic: Critic, name: str, iterations: int, seed: int = 0) -> io.NodeOutput:
        from ..demo.generator.files import SHIPPED, read_facts
        from ..demo.generator.judges import CriticJudge
        from ..demo.generator.reinforcement import CURVES, JOURNAL, Plan, newest_samples, train_lora
        from ..demo.generator.reinforcement_report import Journal, describe

        name = clean_name(name, "a LoRA")
        folder = Path(folder_paths.get_user_directory()) / WORK / name
        target = Path(folder_paths.get_folder_paths("loras")[0]) / f"{name}.safetensors"
        if target.exists() and not folder.exists():
            raise ParrotError(f"There is another LoRA called {name} already: choose another name.")
        plan = Plan(reward=critic.name, level=read_facts()["level"], seed=seed)
        made = train_lora(folder, SHIPPED, plan, CriticJudge(critic), iterations, progress=host.progress())
        with replacing(target) as scratch:
            shutil.copyfile(made, scratch)
        report = describe(Journal.read(folder / JOURNAL))
        pictures = [folder / CURVES, newest_samples(folder)]
        curves, samples = (pil_to_tensor(open_image(file)) for file in pictures)
        return io.NodeOutput(target.name, report, curves, samples, ui=host.preview(cls, curves, report))
