"""What every phase starts from: two pictures for one request, and which of them somebody preferred."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Preferred = Literal["A", "B", "tie"]
PREFERRED: tuple[Preferred, ...] = ("A", "B", "tie")


@dataclass(frozen=True)
class PreferencePair:
    """One preference. `id` is unique in its dataset; the pictures are files; with a `source` it is about an image edit.

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
        """The pictures by the names that rubrics for two images use."""
        found = {"a": self.image_a, "b": self.image_b}
        return found if self.source is None else {"source": self.source, **found}


def mirrored(preferred: Preferred) -> Preferred:
    """The same preference when A and B change places."""
    swap: dict[Any, Preferred] = {"A": "B", "B": "A", "tie": "tie"}
    return swap[preferred]
