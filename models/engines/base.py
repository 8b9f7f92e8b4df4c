"""What the critic needs of an engine, whoever writes the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from ..question import Question


@dataclass(frozen=True)
class SamplingParams:
    """How to answer. `until` is the last part wanted: "scores", "judgement" or "refinement"."""

    until: str = "judgement"
    answer: str = "locked"  # or "free"
    temperature: float = 0.0  # 0: greedy
    seed: int = 0  # used only when sampling
    max_new_tokens: int = 2048


@dataclass
class Answer:
    """What the engine wrote. `parts` is None for a free answer, which has to be parsed.

    `confidence` has, by key, the probability mass (0..1) that the model put on each score it gave. `resume` is the engine's own
    handle for going on later.
    """

    text: str
    until: str
    parts: dict[str, str] | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    cut_off: bool = False  # the limit was reached before the model ended
    tokens: int = 0
    resume: Any = None


@dataclass(frozen=True)
class ExpectedScore:
    """A score read from the probabilities behind its heading, without reasoning."""

    score: float | None  # expectation, 1..4; None: does not apply
    confidence: float  # probability mass within half a point of it (or on N/A)


@dataclass
class Progress:
    """Who looks on while an answer is written.

    `check` is called at every token and may raise to cancel; `update(done, total, section, tail)` reports how many of the
    questions are answered (a fraction counts the one in work), which part is being written, and the last words.
    """

    check: Callable[[], None] = lambda: None
    update: Callable[[float, int, str, str], None] = lambda done, total, section, tail: None

    def within(self, before: float, size: int, total: int, section: str = "") -> Progress:
        """A progress for a part of the work, the `size` of `total` that come after `before`. `section`, if any, names the part."""

        def update(done: float, questions: int, inner: str, tail: str) -> None:
            self.update(before + size * min(1.0, done / max(1, questions)), total, section or inner, tail)

        return Progress(self.check, update)


class Residency:
    """Where a model lives. This one stays where it is; a host that moves models has its own (see `residency`)."""

    def ready(self, working_bytes: int = 0) -> None:
        """Called before the model is used: it must be where it computes, with `working_bytes` free beside it."""

    def evict_others(self) -> None:
        """Called when memory ran out: evict whatever else can be evicted."""


class Engine(Protocol):
    """Writes answers. `residency` is asked for the model before it is used."""

    residency: Residency

    def prepare(self, image: Image.Image) -> Image.Image:
        """The picture at the size the engine reads it; what has been prepared stays as it is."""
        ...

    def answer(
        self,
        questions: Sequence[Question],
        settings: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None],
    ) -> list[Answer]:
        """One answer a question. An answer in `earlier` is continued where it stopped."""
        ...

    def expected_scores(self, question: Question, progress: Progress) -> dict[str, ExpectedScore]:
        """Every dimension's expected score, without writing an answer."""
        ...
