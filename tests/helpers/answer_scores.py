"""Scores as the tests of reading answers ask for them."""

from __future__ import annotations

from rational_rewards.models.judgement import Judgement

RUBRICS = ["t2i", "edit", "t2i-pair", "edit-pair"]


def scores(text: str, task: str = "t2i") -> list[float | None]:
    """Scores of the dimensions in order."""
    return [d.score for d in Judgement.parse(text, task).dimensions.values()]
