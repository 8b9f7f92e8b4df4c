"""A critique: the judgements of a whole batch with their questions, as it travels on one wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .engines.base import Progress, SamplingParams
from .errors import QuestionError
from .judgement import Judgement, report
from .question import Question


@dataclass(frozen=True)
class JudgedImage:
    """One image's question (with the image as the critic saw it) and judgement."""

    question: Question
    judgement: Judgement


class Refiner(Protocol):
    """Who can be asked for the refinement of a judgement: a `Critic`."""

    name: str

    def refine(
        self, judged: Sequence[JudgedImage], sampling: SamplingParams, progress: Progress
    ) -> list[Judgement]:
        """The same judgements with refined prompts."""
        ...


@dataclass
class Critique:
    """Judgements in the order of the images, and the critic that can be asked for more."""

    items: list[JudgedImage]
    critic: Refiner
    sampling: SamplingParams

    def of(self, images: int) -> list[JudgedImage]:
        """The items for a batch of that many images. Raises QuestionError where it cannot be the batch that was judged."""
        if images != len(self.items):
            raise QuestionError(
                f"`image` has {images} images and `critique` judges {len(self.items)}: connect the same batch to both."
            )
        return self.items

    @property
    def judgements(self) -> list[Judgement]:
        """One judgement an image."""
        return [item.judgement for item in self.items]

    @property
    def scores(self) -> list[float | None]:
        """Overall scores, 0..1; None where none could be read."""
        return [judgement.score for judgement in self.judgements]

    def refined(
        self, indices: Sequence[int] | None = None, progress: Progress = Progress()
    ) -> list[Judgement]:
        """The judgements of some images (default: all) with refined prompts; asked for now where they have none yet."""
        items = self.items if indices is None else [self.items[index] for index in indices]
        missing = [item for item in items if not item.judgement.refined_request]
        written = iter(self.critic.refine(missing, self.sampling, progress) if missing else [])
        return [item.judgement if item.judgement.refined_request else next(written) for item in items]

    @property
    def refined_prompt(self) -> str:
        """The critic's rewritten prompt for the first image."""
        return self.refined([0])[0].refined_request

    def to_markdown(self) -> str:
        """The report of the whole batch."""
        return report(self.judgements, self.critic.name)
