"""A critique: the judgements of a whole batch with their questions, as it travels on one wire."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .engines.base import Settings, Watch
from .judgement import Judgement
from .question import Question

if TYPE_CHECKING:
    from .critic import Critic


@dataclass(frozen=True)
class Judged:
    """One image's question (with the picture as the critic saw it) and judgement."""

    question: Question
    judgement: Judgement


@dataclass
class Critique:
    """Judgements in the order of the images, and the critic that can be asked for more."""

    items: list[Judged]
    critic: Critic
    settings: Settings

    @property
    def judgements(self) -> list[Judgement]:
        """One judgement an image."""
        return [item.judgement for item in self.items]

    @property
    def scores(self) -> list[float | None]:
        """Overall scores, 0..1; None where none could be read."""
        return [judgement.score for judgement in self.judgements]

    def refine(self, which: list[int] | None = None, watch: Watch = Watch()) -> None:
        """Ask for the refined requests of some images (default: all) that have none yet."""
        for done, index in enumerate(which if which is not None else range(len(self.items))):
            item = self.items[index]
            if not item.judgement.refined_request:
                refined = self.critic.refine(item, self.settings, watch)
                self.items[index] = dataclasses.replace(item, judgement=refined)

    @property
    def refined_prompt(self) -> str:
        """The critic's rewritten prompt for the first image; written now if it has not been yet."""
        self.refine([0])
        return self.items[0].judgement.refined_request

    def to_markdown(self) -> str:
        """The report of the whole batch."""
        if len(self.items) == 1:
            return f"{self.items[0].judgement.to_markdown()}\n\n*Judged by {self.critic.name}.*"
        parts = [f"## Image {number}\n\n{item.judgement.to_markdown()}" for number, item in enumerate(self.items, 1)]
        return "\n\n".join([*parts, f"*Judged by {self.critic.name}.*"])
