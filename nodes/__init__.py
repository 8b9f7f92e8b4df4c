"""The nodes that artists drag. A node is a schema and a short `execute`; the work is done in `models/`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host
from .best import BestOfBatch
from .critic import LoadCritic
from .demo import ShapesPainter
from .evaluate import EvaluateCritic
from .generator import LoadShapesGenerator
from .judge import Compare, Critique, Score
from .loop import RefineLoopEnd, RefineLoopStart
from .preference import RecordPreference
from .rank import LoadFolder, Rank
from .refine import CritiqueCard, RefinePrompt
from .save import SaveWithScores
from .shown_pairs import shown_pairs
from .train import RationalizePreferences, TrainCriticAdapter
from .train_generator import TrainGenerator

host.register_model_folders()
host.listen_to_prompts(host.forget_results, shown_pairs.mark)


class RationalRewardsExtension(ComfyExtension):
    """All nodes of the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The node classes, in the order of the menu."""
        return [
            *(LoadCritic, Critique, Score, Compare, BestOfBatch, RefinePrompt, CritiqueCard, SaveWithScores),
            *(RefineLoopStart, RefineLoopEnd),
            *(RecordPreference, RationalizePreferences, TrainCriticAdapter, EvaluateCritic),
            *(LoadFolder, Rank),
            *(ShapesPainter, LoadShapesGenerator, TrainGenerator),
        ]
