"""Who writes the rationales: any critic, or whoever else can do these three things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..models.engines.base import Progress
from ..preferences.pairs import PreferencePair, Preferred


@dataclass(frozen=True)
class Reference:
    """A validated pairwise rationale, shown to the teacher as a comment when it judges one image of the pair
    alone.
    """

    rationale: str
    # What the image was called in it: "A" or "B".
    letter: str


class Teacher(Protocol):
    """The three questions of PARROT.

    Answers come in order, one a pair; equal questions and seeds give equal answers.

    `name` identifies the teacher in manifests (checkpoint, quantization, adapter).
    """

    name: str

    def rationalize(
        self, pairs: Sequence[PreferencePair], seeds: Sequence[int], anchored: bool, progress: Progress
    ) -> list[str]:
        """Pairwise judgements in the published format.

        `anchored`: the preference is shown as one hint line.
        """
        ...

    def predict(
        self, prompts: Sequence[str], rationales: Sequence[str], progress: Progress
    ) -> list[Preferred | None]:
        """The preference that follows from request and rationale alone, without label or images; None where
        none does.
        """
        ...

    def project(
        self,
        pairs: Sequence[PreferencePair],
        references: Sequence[Reference],
        seeds: Sequence[int],
        progress: Progress,
    ) -> list[str]:
        """Judgements of the one image that each reference's letter names, written as the teacher's own, with
        a refined request.
        """
        ...
