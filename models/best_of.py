"""The best of several images of one prompt: by one batched judgement, or by a tournament of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from . import tournament
from .engines.base import Progress
from .errors import QuestionError
from .images import open_image
from .judgement import Comparison, Dimension, Judgement, mean
from .markdown import table_cell
from .tournament import Pair

if TYPE_CHECKING:
    from PIL import Image

    from .critic import Critic
    from .inputs import ImageInput, Prompts

Method = Literal["score", "tournament"]

# What a tie that the expected scores break counts for: a little more than half a win.
NARROW_WIN = 0.6
# Scores this close are equal.
EQUAL = 1e-9
ALL_UNREAD = (
    "None of the critic's answers could be read, so there is no best image to pass on: choose another rubric "
    "or critic."
)


@dataclass(frozen=True)
class RankedImage:
    """One image of the batch. `index` counts from 0; `judgement` is what the ranking rests on: the image's
    own, or in a tournament all that its comparisons say about it.
    """

    index: int
    judgement: Judgement
    kept: bool = False

    @property
    def score(self) -> float | None:
        """Overall score 0..1, or None where the judgement could not be read completely."""
        return self.judgement.score if self.judgement.complete else None


@dataclass(frozen=True)
class BestOf:
    """A batch in order, best first; images whose judgement could not be read come last.

    `comparisons` is how many pairs were compared, each in both orders; 0 for the method "score".
    """

    ranking: list[RankedImage]
    critic: str
    comparisons: int = 0

    @property
    def kept(self) -> list[RankedImage]:
        """The images that pass, best first; none where all are below the threshold."""
        return [image for image in self.ranking if image.kept]

    @property
    def rejected(self) -> list[RankedImage]:
        """All others, best first."""
        return [image for image in self.ranking if not image.kept]

    def to_markdown(self, names: Sequence[str] = ()) -> str:
        """The ranking as a table, then what is said about each image; `names` by index, default "Image 1"."""
        named = [names[one.index] if names else f"Image {one.index + 1}" for one in self.ranking]
        lines = ["| Place | Image | Index | Score | |", "|---|---|---|---|---|"]
        for place, (name, one) in enumerate(zip(named, self.ranking, strict=True), 1):
            score = "not read" if one.score is None else f"{one.score:.3f}"
            verdict = "kept" if one.kept else "rejected"
            lines.append(f"| {place} | {table_cell(name)} | {one.index} | {score} | {verdict} |")
        parts = ["\n".join(lines)]
        if not self.kept:
            parts.append("No image reached the threshold, so nothing passes.")
        for name, one in zip(named, self.ranking, strict=True):
            parts += [f"## {name}", one.judgement.to_markdown()]
        how = f", {self.comparisons} comparisons in both orders" if self.comparisons else ""
        return "\n\n".join([*parts, f"*Judged by {self.critic}{how}.*"])


def best_of(
    critic: Critic,
    images: Sequence[ImageInput],
    prompt: Prompts,
    source: Sequence[ImageInput] | None = None,
    *,
    method: Method = "score",
    keep_top: int = 1,
    threshold: float = 0.0,
    rubric: str = "auto",
    seed: int = 0,
    progress: Progress = Progress(),
    **sampling: Any,
) -> BestOf:
    """Rank `images` and keep the `keep_top` best whose score (0..1) is not below `threshold`.

    "score" judges all in one batch. "tournament" compares them two at a time, in both orders, at most
    `tournament.most_comparisons` times; `seed` draws who meets whom at first. `prompt` and `source` are one
    for all, or one an image; a tournament needs them to be the same for all. `sampling` as for
    `Critic.critique`. Raises QuestionError, also where no answer could be read, and OutOfMemoryError.
    """
    prepared = [critic.engine.prepare(open_image(image)) for image in images]
    if method == "score" or len(prepared) < 2:
        judgements = critic.critique(
            prepared, prompt, source, rubric=rubric, seed=seed, progress=progress, **sampling
        ).judgements
        order, comparisons = order_by_score(judgements), 0
    else:
        held = _Tournament(
            critic, prepared, _same_prompt(prompt), _same_source(source),
            dict(rubric=rubric, seed=seed, **sampling), progress,
        )  # fmt: skip
        played = tournament.play(len(prepared), held.compare, seed, keep_top)
        order, comparisons = played.order, len(played.matches)
        judgements = [judgement_of(index, held.comparisons) for index in range(len(prepared))]
        order = sorted(order, key=lambda index: not judgements[index].complete)
    ranking = [RankedImage(index, judgements[index]) for index in order]
    if all(one.score is None for one in ranking):
        raise QuestionError(ALL_UNREAD)
    return BestOf(keep(ranking, keep_top, threshold), critic.name, comparisons)


def order_by_score(judgements: Sequence[Judgement]) -> list[int]:
    """Indices, best first: by the score, equal ones by the expected score, then as they came. What could not
    be read completely comes last.
    """

    def key(index: int) -> tuple[bool, float, float]:
        judgement = judgements[index]
        if judgement.score is None or not judgement.complete:
            return (True, 0.0, 0.0)
        expected = judgement.score if judgement.expected_score is None else judgement.expected_score
        return (False, -round(judgement.score, 9), -expected)

    return sorted(range(len(judgements)), key=key)


def keep(ranking: Sequence[RankedImage], keep_top: int, threshold: float) -> list[RankedImage]:
    """The same ranking with the first `keep_top` marked as kept that have a score, none below `threshold`."""
    passing = [one.index for one in ranking if one.score is not None and one.score >= threshold - EQUAL]
    kept = set(passing[:keep_top])
    return [RankedImage(one.index, one.judgement, one.index in kept) for one in ranking]


def share_of(comparison: Comparison) -> float | None:
    """How much of the win is A's, 0..1: a tie goes narrowly to whom the expected scores prefer. None where
    the comparison could not be read completely.
    """
    if comparison.winner is None or not comparison.complete:
        return None
    if comparison.winner != "tie":
        return 1.0 if comparison.winner == "A" else 0.0
    expected = comparison.expected_margin or 0.0
    return 0.5 if not expected else NARROW_WIN if expected > 0 else 1 - NARROW_WIN


def judgement_of(index: int, comparisons: dict[Pair, Comparison]) -> Judgement:
    """What all comparisons of an image say about it: the mean of its scores, and the words of the last one.

    A dimension without any score that could be read has none.
    """
    own = {
        pair: one if pair[0] == index else one.swap()
        for pair, one in comparisons.items()
        if index in pair and share_of(one) is not None
    }
    if not own:
        return Judgement({}, notes=["No comparison of this image could be read."])
    last_pair, last = list(own.items())[-1]
    dimensions = {}
    for key, said in last.dimensions.items():
        all_said = [one.dimensions[key] for one in own.values()]
        words = f"A is image {last_pair[0] + 1}, B is image {last_pair[1] + 1}: {said.justification}"
        dimensions[key] = Dimension(
            said.name,
            mean([one.score_a for one in all_said]),
            any(one.applicable for one in all_said),
            words if said.justification else "",
            mean([one.confidence for one in all_said]),
            mean([one.expected_a for one in all_said]),
        )
    return Judgement(dimensions, summary=_record(index, own), raw=last.raw)


def _record(index: int, own: dict[Pair, Comparison]) -> str:
    """Against whom the image won, tied and lost, in words; in `own` the image is A."""
    met: dict[str, list[int]] = {"won against": [], "tied with": [], "lost to": []}
    verdicts = {"A": "won against", "tie": "tied with", "B": "lost to"}
    for pair, one in own.items():
        other = pair[1] if pair[0] == index else pair[0]
        met[verdicts[one.winner or "tie"]].append(other + 1)
    parts = [
        f"{verdict} image{'s' * (len(others) > 1)} {', '.join(map(str, sorted(others)))}"
        for verdict, others in met.items()
        if others
    ]
    return f"{'; '.join(parts)}.".capitalize()


@dataclass
class _Tournament:
    """Asks the critic about pairs, and keeps what it said."""

    critic: Critic
    images: list[Image.Image]
    prompt: str
    source: Any
    options: dict[str, Any]
    progress: Progress
    comparisons: dict[Pair, Comparison] = field(default_factory=dict)

    def compare(self, pairs: Sequence[Pair]) -> list[float | None]:
        """The shares of one round, whose pairs are judged as one batch."""
        most = tournament.most_comparisons(len(self.images))
        said = self.critic.compare(
            [self.images[a] for a, _ in pairs],
            [self.images[b] for _, b in pairs],
            self.prompt,
            self.source,
            until="scores",
            progress=self.progress.within(len(self.comparisons), len(pairs), most),
            **self.options,
        )
        self.comparisons.update(zip(pairs, said, strict=True))
        return [share_of(one) for one in said]


def _same_prompt(prompt: Prompts) -> str:
    prompts = {prompt} if isinstance(prompt, str) else set(prompt)
    if len(prompts) > 1:
        raise QuestionError(
            "A tournament compares images of one prompt, and these were made from different ones: give one "
            "prompt for all, or choose method = score."
        )
    return prompts.pop()


def _same_source(source: Sequence[ImageInput] | None) -> Any:
    if source is None or isinstance(source, str) or not isinstance(source, Sequence):
        return source
    opened = [open_image(image) for image in source]
    if len({(image.size, image.tobytes()) for image in opened}) > 1:
        raise QuestionError(
            "A tournament compares edits of one image, and `source_image` has different ones: connect one "
            "for all, or choose method = score."
        )
    return opened[0]
