"""A question to the critic: one prompt and its images under one rubric."""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from .errors import QuestionError
from .rubrics.rubric import Rubric

# Characters; far above any prompt, far below what would fill the model's memory.
LONGEST_PROMPT = 100_000
EMPTY = {
    "t2i": (
        "The prompt is empty, so there is nothing to judge the image by: write what the image should show."
    ),
    "edit": "The prompt is empty, so there is nothing to judge the edit by: write what should have changed.",
}


@dataclass(frozen=True)
class Question:
    """`images` are RGB images by the names the rubric asks for ("image", "source", "a", "b").

    `prompt` may be empty where the rubric does not show it.
    """

    rubric: Rubric
    prompt: str
    images: Mapping[str, Image.Image]

    def __post_init__(self) -> None:
        if set(self.images) != set(self.rubric.images):
            wanted, given = ", ".join(self.rubric.images), ", ".join(self.images)
            raise QuestionError(
                f'The rubric "{self.rubric.name}" judges {wanted}, but it was given {given}: choose '
                f"another rubric."
            )
        if self.rubric.shows_prompt and is_blank(self.prompt):
            raise QuestionError(EMPTY[self.rubric.task])
        if len(self.prompt) > LONGEST_PROMPT:
            raise QuestionError(
                f"The prompt has {len(self.prompt):,} characters: shorten it to {LONGEST_PROMPT:,} or fewer."
            )

    @functools.cached_property
    def digest(self) -> str:
        """The same for equal pixels, prompt and rubric, and only for those."""
        digest = hashlib.sha256(repr((self.rubric, self.prompt)).encode("utf-8", "surrogatepass"))
        for name in sorted(self.images):
            image = self.images[name]
            digest.update(f"{name} {image.size}".encode())
            digest.update(image.tobytes())
        return digest.hexdigest()


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: spaces, control, format and half characters only."""
    return all(unicodedata.category(char)[0] in "ZC" for char in text)
