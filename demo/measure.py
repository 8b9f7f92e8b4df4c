"""How well a critic judges the shapes world: measured on pairs and prompts it has never seen, against the
true scenes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ..models.critic import Critic
from ..models.engines.base import Progress
from ..models.judgement import Comparison, Judgement
from ..models.refine import refine_prompts
from .edits import Edit
from .flaw_reader import named_flaws
from .painter import Painting, imagine, paint
from .preference_pairs import World, world
from .prompts import insistences, insisting, parse_request, prompt_of, random_request, refined
from .randomness import stream
from .scene import TEXT_FAITHFULNESS, Flaw, Request, flaws_of, score_of, weight_of
from .sentences import Case, EditCase

# Seed of the worlds that nothing is trained on.
HELD_OUT = 900_000_001
# Questions asked at once.
PORTION = 64


# Numbers from here on are for `held_out_apart`.
APART = 100_000


@dataclass
class Share:
    """How often something was right."""

    right: int = 0
    total: int = 0

    def add(self, right: bool) -> None:
        """Count one."""
        self.right += right
        self.total += 1

    def __str__(self) -> str:
        return f"{self.right / self.total:.1%} of {self.total:,}" if self.total else "none"


@dataclass
class PairMeasures:
    """Of comparisons: accuracy over all pairs, by the one dimension in which a pair differs, and agreement of
    both orders.
    """

    all: Share = field(default_factory=Share)
    # Pairs that are no true tie.
    decided: Share = field(default_factory=Share)
    by_dimension: dict[str, Share] = field(default_factory=dict)
    by_task: dict[str, Share] = field(default_factory=dict)
    agree: Share = field(default_factory=Share)


@dataclass
class SingleMeasures:
    """Of single judgements: how the scores follow the true number of flaws, and whether the named flaws are
    the true ones.

    A judgement that failed counts in `judged` and nowhere else.
    """

    judged: Share = field(default_factory=Share)
    spearman: float = 0.0
    # A flaw counts as many points as it costs: an edit that was not done, or a missing word, three.
    spearman_weighted: float = 0.0
    # Pictures with one flaw: exactly that one is named.
    one_flaw: Share = field(default_factory=Share)
    # True flaws that are named.
    flaws: Share = field(default_factory=Share)
    # Named flaws that are true.
    named: Share = field(default_factory=Share)
    # A dimension's score within a quarter of a point.
    scores: dict[str, Share] = field(default_factory=dict)


def held_out(count: int) -> list[World]:
    """Pairs that nothing is trained on."""
    return [world(HELD_OUT, number) for number in range(count)]


def held_out_apart(dimension: str, count: int) -> list[World]:
    """Pairs that nothing is trained on and that differ in that dimension only: some dimensions are rare among
    all pairs.
    """
    found = (world(HELD_OUT, number) for number in itertools.count(APART))
    return list(
        itertools.islice((one for one in found if one.differs == dimension and one.preferred != "tie"), count)
    )


def measure_pairs(critic: Critic, worlds: Sequence[World], progress: Progress = Progress()) -> PairMeasures:
    """Compare every pair in both orders."""
    found = PairMeasures()
    for portion, prompts, pictures in _portions(worlds):
        a, b, source = pictures["a"], pictures["b"], pictures.get("source")
        for one, answer in zip(
            portion, critic.compare(a, b, prompts, source, progress=progress), strict=True
        ):
            _count(found, one, answer)
    return found


def _portions(
    worlds: Sequence[World],
) -> Iterator[tuple[list[World], list[str], dict[str, list[Image.Image]]]]:
    """Worlds of one task to ask about at once, with their prompts and, by name, their pictures."""
    for task in ("t2i", "edit"):
        chosen = [one for one in worlds if one.a.task == task]
        for start in range(0, len(chosen), PORTION):
            portion = chosen[start : start + PORTION]
            pictures = [one.pictures for one in portion]
            yield (
                portion,
                [one.prompt for one in portion],
                {name: [each[name] for each in pictures] for name in pictures[0]},
            )


def _count(found: PairMeasures, one: World, answer: Comparison) -> None:
    right = answer.winner == one.preferred
    found.all.add(right)
    found.by_task.setdefault(one.a.task, Share()).add(right)
    found.agree.add(bool(answer.consistent))
    if one.preferred != "tie":
        found.decided.add(right)
        if one.differs:
            found.by_dimension.setdefault(one.differs, Share()).add(right)


def measure_singles(
    critic: Critic, worlds: Sequence[World], progress: Progress = Progress()
) -> SingleMeasures:
    """Judge the first picture of every pair by itself."""
    found = SingleMeasures()
    scores: list[float] = []
    numbers: list[int] = []
    weights: list[int] = []
    for portion, prompts, pictures in _portions(worlds):
        critique = critic.critique(pictures["a"], prompts, pictures.get("source"), progress=progress)
        for one, judgement in zip(portion, critique.judgements, strict=True):
            found.judged.add(judgement.score is not None)
            if judgement.score is not None:
                _look_up(found, one.a, judgement)
                scores.append(judgement.score)
                numbers.append(len(one.a.flaws))
                weights.append(weight_of(one.a.flaws))
    found.spearman = spearman(scores, [-number for number in numbers])
    found.spearman_weighted = spearman(scores, [-weight for weight in weights])
    return found


def _look_up(found: SingleMeasures, case: Case, judgement: Judgement) -> None:
    about: Request | Edit = case.edit if isinstance(case, EditCase) else case.request
    named = named_flaws(about, {key: one.justification for key, one in judgement.dimensions.items()})
    true = case.flaws
    for flaw in true:
        found.flaws.add(flaw in named)
    for flaw in named:
        found.named.add(flaw in true)
    if len(true) == 1:
        found.one_flaw.add(named == true)
    for key, one in judgement.dimensions.items():
        wanted = _true_score(case, key)
        found.scores.setdefault(key, Share()).add(
            one.score is None if wanted is None else one.score is not None and abs(one.score - wanted) < 0.25
        )


def _true_score(case: Case, dimension: str) -> float | None:
    return case.remarks()[dimension].score


@dataclass
class Refinement:
    """One prompt's way through the loop: true text-faithfulness scores (1..4) and the points that all true
    flaws cost, before and after.

    `insisted` counts what the refined prompt insists on, `needed` what it should because it went wrong, `hit`
    what is in both.
    """

    prompt: str
    refined: str
    before: float
    after: float
    lost_before: int
    lost_after: int
    insisted: int
    needed: int
    hit: int


def measure_refinement(critic: Critic, count: int, progress: Progress = Progress()) -> list[Refinement]:
    """Paint, critique, refine, paint again with the same seed; the truth is taken from the scenes, against
    the first prompt.
    """

    def rewrite(firsts: Sequence[Painting], prompts: Sequence[str]) -> list[str]:
        critique = critic.critique([first.image for first in firsts], prompts, progress=progress)
        return [one.prompt for one in refine_prompts(critique, progress=progress)]

    return _refined_by(rewrite, count)


def measure_blind_refinement(count: int) -> list[Refinement]:
    """The same with a rewriter that insists on everything and looks at nothing: what a critic's eyes have to
    be measured against.
    """
    return _refined_by(
        lambda firsts, prompts: [prompt_of(insisting(parse_request(prompt))) for prompt in prompts], count
    )


def _refined_by(
    rewrite: Callable[[Sequence[Painting], Sequence[str]], Sequence[str]], count: int
) -> list[Refinement]:
    prompts = [prompt_of(random_request(stream(HELD_OUT, "refine", number))) for number in range(count)]
    found: list[Refinement] = []
    for start in range(0, count, PORTION):
        portion = prompts[start : start + PORTION]
        firsts = [paint(prompt, HELD_OUT + start + i) for i, prompt in enumerate(portion)]
        for i, (prompt, better, first) in enumerate(
            zip(portion, rewrite(firsts, portion), firsts, strict=True)
        ):
            asked = parse_request(better)
            second = imagine(asked, HELD_OUT + start + i)
            before = flaws_of(first.request, first.scene)
            try:
                after = flaws_of(first.request, second)
            # The refined prompt asks for another number of things.
            except ValueError:
                after = [*before, Flaw(TEXT_FAITHFULNESS, "missing", weight=4)]
            insisted, needed = insistences(asked), insistences(refined(first.request, before))
            counts = len(insisted), len(needed), len(insisted & needed)
            found.append(
                Refinement(
                    prompt,
                    better,
                    _faithful(before),
                    _faithful(after),
                    weight_of(before),
                    weight_of(after),
                    *counts,
                )
            )
    return found


def _faithful(flaws: Sequence[Flaw]) -> float:
    return score_of(flaw for flaw in flaws if flaw.dimension == TEXT_FAITHFULNESS)


def spearman(one: Sequence[float], two: Sequence[float]) -> float:
    """Rank correlation, equal values sharing their ranks (Spearman 1904); 0 where one side does not vary."""
    import numpy as np

    ranks = [_ranks(np.asarray(values, dtype=float)) for values in (one, two)]
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values):  # type: ignore[no-untyped-def]
    import numpy as np

    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[places]
