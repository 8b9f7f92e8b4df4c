"""A question to the critic: one prompt and its pictures under one rubric."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from .errors import QuestionError
from .rubrics.rubric import Rubric

LONGEST_PROMPT = 100_000  # characters; far above any prompt, far below what would fill the model's memory


@dataclass(frozen=True)
class Question:
    """`images` are RGB pictures by the names the rubric asks for ("image", "source", "a", "b")."""

    rubric: Rubric
    prompt: str
    images: Mapping[str, Image.Image]

    def __post_init__(self) -> None:
        if set(self.images) != set(self.rubric.images):
            wanted, given = ", ".join(self.rubric.images), ", ".join(self.images)
            raise QuestionError(
                f'The rubric "{self.rubric.name}" judges {wanted}, but it was given {given}: choose another rubric.'
            )
        if len(self.prompt) > LONGEST_PROMPT:
            raise QuestionError(
                f"The prompt has {len(self.prompt):,} characters: shorten it to {LONGEST_PROMPT:,} or fewer."
            )

    @functools.cached_property
    def digest(self) -> str:
        """The same for equal pixels, prompt and rubric, and only for those."""
        found = hashlib.sha256(repr((self.rubric, self.prompt)).encode("utf-8", "surrogatepass"))
        for name in sorted(self.images):
            image = self.images[name]
            found.update(f"{name} {image.size}".encode())
            found.update(image.tobytes())
        return found.hexdigest()
