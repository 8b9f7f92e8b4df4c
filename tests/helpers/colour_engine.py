"""An engine that reads its scores off an image's colour, so that a reward shows which pixels arrived."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from PIL import Image

from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.base import Answer, Capabilities, ExpectedScore, Residency

# The channel whose brightness is the score, 1..4; for image_faithfulness that of the source.
CHANNELS = {"text_faithfulness": 0, "physical_quality": 1, "text_rendering": 2, "image_faithfulness": 0}


def colour(text: float, quality: float, rendering: float | None = None) -> tuple[int, int, int]:
    """The colour of an image with these rewards, 0..1 in steps of 0.2; None: there are no letters."""
    return (round(text * 255), round(quality * 255), 0 if rendering is None else round(rendering * 255))


def picture(text: float, quality: float, rendering: float | None = None) -> Image.Image:
    """An image of one colour, 64 x 32."""
    return Image.new("RGB", (64, 32), colour(text, quality, rendering))


# Nothing can be read of this one.
UNREADABLE = Image.new("RGB", (64, 32), "black")


class ColourEngine:
    """Answers at once.

    `asked` has the number of questions of each call, `released` how often memory was given back.
    """

    residency = Residency()
    max_pixels = 802_816

    def __init__(self, expected_scores: bool = True):
        self.capabilities = Capabilities(expected_scores=expected_scores)
        self.asked: list[int] = []
        self.busy = threading.Lock()
        self.released = 0

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def answer(
        self, questions: Sequence[Any], sampling: Any, progress: Any, earlier: Any = ()
    ) -> list[Answer]:
        assert self.busy.acquire(blocking=False), "two threads ask one critic at a time"
        try:
            self.asked.append(len(questions))
            return [Answer("", sampling.until, self.parts(question)) for question in questions]
        finally:
            self.busy.release()

    def expected_scores(self, question: Any, progress: Any) -> dict[str, ExpectedScore]:
        scores = {spec.key: self.score(question, spec.key, "image") for spec in question.rubric.dimensions}
        return {key: ExpectedScore(score, 1.0, score is not None) for key, score in scores.items()}

    def release(self) -> None:
        self.released += 1

    def parts(self, question: Any) -> dict[str, str]:
        names = {"a": "score_a", "b": "score_b"} if "a" in question.images else {"image": "score"}
        if any(question.images[name].getpixel((0, 0)) == (0, 0, 0) for name in names):
            return {}
        return {
            f"{spec.key}.{part}": "N/A" if score is None else f"{score:.6f}"
            for spec in question.rubric.dimensions
            for name, part in names.items()
            for score in [self.score(question, spec.key, name)]
        }

    def score(self, question: Any, key: str, name: str) -> float | None:
        image = question.images["source" if key == "image_faithfulness" else name]
        level = image.getpixel((image.width - 1, image.height - 1))[CHANNELS[key]]
        return None if key == "text_rendering" and level == 0 else 1 + 3 * level / 255


def colour_critic(**engine: Any) -> Critic:
    """A critic over a new `ColourEngine`."""
    return Critic(ColourEngine(**engine), "colours")  # type: ignore[arg-type]
