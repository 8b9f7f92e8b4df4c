"""From a critique to prompts for the next sampler."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from .critique import Critique
from .engines.base import Progress
from .judgement import Judgement
from .prompts.merge import merge_refined
from .question import is_blank

NO_PROMPT = "No prompt is known, so there is none to rewrite."


@dataclass(frozen=True)
class RefinedPrompt:
    """A prompt for the text encoder; `changed` is False where the original is passed on, and `comments` says
    why or what changed.
    """

    prompt: str
    comments: str
    changed: bool


def refine_prompts(
    critique: Critique, refine_below: float = 4.0, keep: Sequence[str] = (), progress: Progress = Progress()
) -> list[RefinedPrompt]:
    """One prompt an image: rewritten where any dimension that applies scores below `refine_below` (1..4),
    else the original.

    (Paper C.4 refines when any dimension is below 3.) `keep` are phrases that must survive.
    """
    weak = [
        i
        for i, item in enumerate(critique.items)
        if needs_refinement(item.judgement, refine_below) and not is_blank(item.question.prompt)
    ]
    refined = dict(zip(weak, critique.refined(weak, progress), strict=True))
    return [
        _merge(item.question.prompt, refined.get(i), refine_below, keep)
        for i, item in enumerate(critique.items)
    ]


def with_refined(judgement: Judgement, refined: RefinedPrompt) -> Judgement:
    """The judgement with the prompt as Refine Prompt gives it, or with none where nothing was to be
    rewritten.
    """
    return dataclasses.replace(judgement, refined_request=refined.prompt if refined.changed else "")


def needs_refinement(judgement: Judgement, refine_below: float) -> bool:
    """Whether a dimension that applies scores below the limit."""
    return any(d.score is not None and d.score < refine_below for d in judgement.dimensions.values())


def _merge(
    original: str, refined: Judgement | None, refine_below: float, keep: Sequence[str]
) -> RefinedPrompt:
    if is_blank(original):
        return RefinedPrompt(original, NO_PROMPT, False)
    if refined is None:
        return RefinedPrompt(
            original, f"Every dimension scores {refine_below:g} or more: the prompt stays as it is.", False
        )
    merged = merge_refined(original, refined.refined_request, keep)
    comments = " ".join([refined.comments, *merged.notes]).strip()
    return RefinedPrompt(merged.prompt, comments, merged.prompt != original)
