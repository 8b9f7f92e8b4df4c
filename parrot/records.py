"""The records that PARROT's phases hand on to each other, one JSON object a line.

They stay plain dicts, so that a folder of an earlier version resumes byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from ..preferences.pairs import Preferred

Record = Mapping[str, Any]
Letter = Literal["A", "B"]


class RationaleRecord(TypedDict):
    """A pair with the rationale of its preference (phase 1), as it was or filtered (phase 2).

    `images` are paths by name ("a", "b", "source"), relative to the dataset's folder where they are below it.
    """

    id: str
    prompt: str
    images: dict[str, str]
    preferred: Preferred
    chosen_by: str
    rationale: str
    samples: int


class JudgementRecord(TypedDict):
    """One image of a pair judged alone (the pointwise projection).

    Means are 1..4, None where none was read.
    """

    id: str
    letter: Letter
    prompt: str
    images: dict[str, str]
    preferred: Preferred
    judgement: str
    mean: float | None
    pairwise_mean: float | None


class ChatMessage(TypedDict):
    """A turn of a training row, in the published layout."""

    role: str
    content: str


class TrainingRow(TypedDict):
    """A chat with the images that its marks stand for, as paths.

    Rows carry more beside it, which is not shown.
    """

    messages: list[ChatMessage]
    images: list[str]
