"""The nodes that artists drag. A node is a schema and a short `execute`; the work is done in `models/`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host
from .critic import LoadCritic
from .demo import ShapesPainter
from .evaluate import EvaluateCritic
from .judge import Compare, Critique, Score
from .loop import RefineLoopEnd, RefineLoopStart
from .preference import RecordPreference
from .refine import CritiqueCard, RefinePrompt
from .save import SaveWithScores
from .train import RationalizePreferences, TrainCriticAdapter

host.register_model_folders()
host.listen_to_prompts()


class RationalRewardsExtension(ComfyExtension):
    """All nodes of the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The node classes, in the order of the menu."""
        return [
            *(LoadCritic, Critique, Score, Compare, RefinePrompt, CritiqueCard, SaveWithScores),
            *(RefineLoopStart, RefineLoopEnd),
            *(RecordPreference, RationalizePreferences, TrainCriticAdapter, EvaluateCritic),
            ShapesPainter,
        ]
