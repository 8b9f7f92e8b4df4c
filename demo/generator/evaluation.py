"""How many facts a generator gets right, for plain and for insisting prompts, read from its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ...models.critic import Critic
from ...models.engines.base import Progress
from ...models.judgement import Dimension
from ..measure import spearman
from ..prompts import insisting, prompt_of
from ..scene import TEXT_FAITHFULNESS, Request
from .autoencoder import Decoder
from .data import requests
from .files import read_decoder, read_facts, read_generator
from .lora import read_lora, with_lora
from .reader import facts
from .sampling import Generator, sample

FORMS = ("plain", "insisting")
# Prompts that are sampled before the next report of progress.
PORTION = 20


@dataclass(frozen=True)
class Facts:
    """What was right in pictures: for each form and prompt, all facts by kind."""

    level: str
    steps: int
    guidance: float
    found: dict[str, list[dict[str, list[bool]]]]
    # The critic's text faithfulness (1..4) of the same pictures, None where it gave none, and the expected
    # scores behind it; empty without a critic.
    judged: dict[str, list[float | None]] = field(default_factory=dict)
    expected: dict[str, list[float | None]] = field(default_factory=dict)
    # Name of the LoRA's file.
    lora: str = ""

    def share(self, form: str, kind: str | None = None) -> float:
        """Share (0..1) of facts that are right, of one kind or of all; NaN where there is none."""
        rights = [
            right
            for picture in self.found[form]
            for name, found in picture.items()
            if kind in (None, name)
            for right in found
        ]
        return sum(rights) / len(rights) if rights else math.nan

    def perfect(self, form: str) -> float:
        """Share (0..1) of pictures without a wrong fact."""
        pictures = self.found[form]
        return sum(all(map(all, picture.values())) for picture in pictures) / len(pictures)

    def better(self) -> tuple[int, int, float]:
        """Pairs in which the insisting prompt has fewer wrong facts, those in which it has more, and how
        likely as uneven a result is by chance (two-sided sign test).
        """
        wrong = [[_wrong(picture) for picture in self.found[form]] for form in FORMS]
        more = sum(plain > insists for plain, insists in zip(*wrong, strict=True))
        fewer = sum(plain < insists for plain, insists in zip(*wrong, strict=True))
        return more, fewer, sign_test(more, fewer)

    def agreement(self, expected: bool = False) -> tuple[float, int]:
        """How the critic's text faithfulness, or its `expected` one, follows the number of wrong facts, those
        of the word left out: Spearman's rank correlation (1: it always does), and the number of pictures that
        it gave a score.
        """
        pairs = [
            (score, -_wrong({kind: found for kind, found in picture.items() if kind != "word"}))
            for form, scores in (self.expected if expected else self.judged).items()
            for score, picture in zip(scores, self.found[form], strict=True)
            if score is not None
        ]
        return (spearman(*zip(*pairs, strict=True)) if pairs else math.nan), len(pairs)

    def to_markdown(self) -> str:
        """A table of shares, and sentences on the pairs and the critic."""
        kinds = sorted({kind for picture in self.found["plain"] for kind in picture})
        rows = [(kind, *(self.share(form, kind) for form in FORMS)) for kind in kinds]
        rows.append(("all facts", *(self.share(form) for form in FORMS)))
        rows.append(("whole pictures", *(self.perfect(form) for form in FORMS)))
        lines = [f"| {name} | {plain:.3f} | {insists:.3f} |" for name, plain, insists in rows]
        lora = f", LoRA {self.lora}" if self.lora else ""
        more, fewer, chance = self.better()
        number = len(self.found["plain"])
        sentences = [f"\nInsisting is better in {more} pairs and worse in {fewer} (p = {chance:.2g})."]
        if self.judged:
            rank, judged = self.agreement()
            sentences.append(
                f"The critic's text faithfulness against the number of right facts, {judged} of {2 * number} "
                f"pictures: Spearman {rank:.3f} ({self.agreement(expected=True)[0]:.3f} by expected scores)."
            )
        return "\n".join(
            [
                f"Level {self.level} after {self.steps} steps, {number} prompts, each plain and insisting "
                f"with the same noise, guidance {self.guidance:g}{lora}.\n",
                "| Right | Plain | Insisting |",
                "|---|---|---|",
                *lines,
                *sentences,
            ]
        )


def _wrong(picture: dict[str, list[bool]]) -> int:
    return sum(not right for found in picture.values() for right in found)


def sign_test(more: int, fewer: int) -> float:
    """How likely a split as uneven as this is where both sides are equally likely, two-sided, 0..1.

    >>> sign_test(8, 2), sign_test(0, 0)
    (0.109375, 1.0)
    """
    number = more + fewer
    tail = sum(math.comb(number, count) for count in range(max(more, fewer), number + 1)) / 2**number
    return min(1.0, 2 * tail)


def evaluate_generator(
    file: Path,
    level: str | None = None,
    prompts: int = 200,
    guidance: float = 3.0,
    critic: Critic | None = None,
    lora: Path | None = None,
    progress: Progress = Progress(),
) -> Facts:
    """Read the facts of `prompts` pictures of each form from a generator's file, at `level` or the one it was
    trained on. Pictures are sampled in 16 steps; a `guidance` of 1 is none. A `critic`
    judges them, too; `lora` is the file of one that is put into the generator before. Raises CheckpointError.
    """
    about = read_facts(file)
    generator, decoder = read_generator(file), read_decoder(file)
    if lora:
        generator = with_lora(generator, read_lora(lora))
    level = level or about["level"]
    asked = list(requests(level, 1, prompts))
    found: dict[str, list[dict[str, list[bool]]]] = {form: [] for form in FORMS}
    judged, expected = (
        {form: list[float | None]() for form in FORMS} if critic else {} for _ in ("written", "expected")
    )
    for number, form in enumerate(FORMS):
        for start in range(0, prompts, PORTION):
            progress.check()
            part = asked[start : start + PORTION]
            wanted = [insisting(request) if form == "insisting" else request for request, _ in part]
            pictures = paint(generator, decoder, wanted, [seed for _, seed in part], guidance)
            found[form] += [facts(one, picture) for one, picture in zip(wanted, pictures, strict=True)]
            if critic:
                scores = _faithfulness(critic, pictures, wanted)
                judged[form] += [one.score for one in scores]
                expected[form] += [one.expected for one in scores]
            progress.update(number * prompts + start + len(part), len(FORMS) * prompts, "pictures", "")
    return Facts(level, int(about["steps"]), guidance, found, judged, expected, lora.name if lora else "")


def _faithfulness(
    critic: Critic, pictures: Sequence[Image.Image], wanted: Sequence[Request]
) -> list[Dimension]:
    critique = critic.critique(pictures, [prompt_of(request) for request in wanted])
    return [judgement.dimensions[TEXT_FAITHFULNESS] for judgement in critique.judgements]


def paint(
    generator: Generator,
    decoder: Decoder,
    wanted: Sequence[Request],
    seeds: Sequence[int],
    guidance: float = 3.0,
) -> list[Image.Image]:
    """A picture of 128 x 128 pixels for each request in its plain words, with a seed for its noise."""
    prompts = [prompt_of(request) for request in wanted]
    return decoder.pictures(sample(generator, prompts, list(seeds), guidance=guidance))
