"""What every phase starts from: two images for one prompt, and which of them somebody preferred."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Preferred = Literal["A", "B", "tie"]
PREFERRED: tuple[Preferred, ...] = ("A", "B", "tie")


@dataclass(frozen=True)
class PreferencePair:
    """One preference. `id` is unique in its dataset; the images are files; with a `source` it is about an image edit.

    `chosen_by` says who chose: "human", or the name of the critic.
    """

    id: str
    prompt: str
    image_a: Path
    image_b: Path
    preferred: Preferred
    source: Path | None = None
    chosen_by: str = "human"

    @property
    def task(self) -> str:
        """ "t2i" or "edit", as rubrics call it."""
        return "t2i" if self.source is None else "edit"

    @property
    def images(self) -> dict[str, Path]:
        """The images by the names that rubrics for two images use."""
        images = {"a": self.image_a, "b": self.image_b}
        return images if self.source is None else {"source": self.source, **images}


def swapped(preferred: Preferred) -> Preferred:
    """The same preference when A and B are swapped."""
    other: dict[Preferred, Preferred] = {"A": "B", "B": "A", "tie": "tie"}
    return other[preferred]
