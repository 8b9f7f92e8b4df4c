"""What the critic needs of an engine, whoever writes the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from PIL import Image

from ..question import Question

if TYPE_CHECKING:
    from .encoding import Encoder

Until = Literal["scores", "judgement", "refinement"]
AnswerFormat = Literal["locked", "free"]


@dataclass(frozen=True)
class SamplingParams:
    """How to answer.

    `until` is the last part wanted. `answer` is "locked" to the rubric's format or "free". `temperature` 0 is
    greedy; `seed` is used only when sampling.
    """

    until: Until = "judgement"
    answer: AnswerFormat = "locked"
    temperature: float = 0.0
    seed: int = 0
    max_new_tokens: int = 2048


@dataclass
class Answer:
    """What the engine wrote. `parts` is None for a free answer, which has to be parsed.

    `confidence` has, by key, the probability mass (0..1) that the model put on each score it gave;
    `expected` the expectation (1..4) over all scores that it could have given there. Both are empty where the
    engine does not know. `unmeant` are the keys of scores that only the format made it write: it gave next to
    no probability to any score there. `shortened` says that `max_new_tokens` cut texts of a locked answer,
    `cut_off` that it was reached before the model ended a free one. `resume` is the engine's own handle to
    continue later.
    """

    text: str
    until: Until
    parts: dict[str, str] | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)
    unmeant: frozenset[str] = frozenset()
    shortened: bool = False
    cut_off: bool = False
    tokens: int = 0
    resume: Any = None


@dataclass(frozen=True)
class ExpectedScore:
    """A score read from the probabilities behind its heading, without reasoning.

    `score` is the expectation, 1..4, or None where the dimension does not apply, or where the model gave next
    to no probability to any score. `confidence` is the probability mass within half a point of it (or on
    N/A).
    """

    score: float | None
    confidence: float
    applicable: bool = True


@dataclass
class Progress:
    """Who watches while an answer is written.

    `check` is called at every token and may raise to cancel. `update(done, total, section, tail)` reports how
    many of the questions are answered (a fraction counts the one being answered), which part is being
    written, and the last words.
    """

    check: Callable[[], None] = lambda: None
    update: Callable[[float, int, str, str], None] = lambda done, total, section, tail: None

    def within(self, before: float, size: int, total: int, section: str = "") -> Progress:
        """The progress of a part of the work: the `size` of `total` after `before`.

        `section`, if any, names the part.
        """

        def update(done: float, questions: int, inner: str, tail: str) -> None:
            self.update(before + size * min(1.0, done / max(1, questions)), total, section or inner, tail)

        return Progress(self.check, update)


class Residency:
    """Where a model lives.

    This one stays where it is; a host that moves models has its own (see `residency`).
    """

    def ready(self, working_bytes: int = 0) -> None:
        """Called before the model is used: it must be on its device, with `working_bytes` free beside it."""

    def evict_others(self) -> None:
        """Called when memory ran out: evict whatever else can be evicted."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Who needs one asks `Critic.require`, which says in one sentence what is missing.

    `locked`: answers can be held to a rubric's format. `confidence`: the probability of each score that is
    written is known, and so its expectation.
    `expected_scores`: scores without reasoning mean something. `resume`: an answer can be continued where it
    stopped. `choose`: a question in words is answered with one of a few given texts. `training`: the weights
    can be trained here.
    """

    locked: bool = True
    confidence: bool = True
    expected_scores: bool = True
    resume: bool = True
    choose: bool = True
    training: bool = True


@dataclass(frozen=True)
class Trainable:
    """What training needs of an engine: the model and processor as transformers loads them, and the engine's
    encoder.
    """

    model: Any
    processor: Any
    encoder: Encoder


class Engine(Protocol):
    """Writes answers.

    `residency` is asked for the model before it is used; `max_pixels` is the largest image it reads.
    """

    capabilities: Capabilities
    residency: Residency
    max_pixels: int

    def prepare(self, image: Image.Image) -> Image.Image:
        """The image at the size the engine reads it; a prepared image stays as it is."""
        ...

    def answer(
        self,
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> list[Answer]:
        """One answer a question. An answer in `earlier` is continued where it stopped.

        Raises OutOfMemoryError.
        """
        ...

    def expected_scores(self, question: Question, progress: Progress) -> dict[str, ExpectedScore]:
        """Every dimension's expected score, without writing an answer."""
        ...

    def choose(self, question: str, choices: Sequence[str]) -> tuple[int, float]:
        """(index, probability 0..1) of the likeliest of `choices` as the answer to a question without
        images.
        """
        ...

    def release(self) -> None:
        """Give back memory that is kept for continuing answers."""
        ...

    def trainable(self) -> Trainable:
        """The model and what goes with it, for training."""
        ...
