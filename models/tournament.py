"""The best of many by comparing two at a time, with far fewer comparisons than there are pairs. Pure logic:
who compares is handed in.

First a knockout in which an image goes out with its second loss, so that one wrong comparison costs nobody
the title. Then the strongest who have not met yet compare with each other. What is known after each round is
put together by the model of Bradley and Terry (1952): image i wins against j with probability
p_i / (p_i + p_j). It is fitted with the MM algorithm of Hunter (2004), "MM algorithms for generalized
Bradley-Terry models", Annals of Statistics 32(1), equation 3, with part of a draw against a dummy of strength
1, so that whoever won or lost everything keeps a finite strength. A judge makes mistakes that have nothing to
do with strength: each comparison counts by the probability that it is none, as expectation-maximization
weighs a mixture (Dempster, Laird and Rubin 1977), so that a single absurd loss does not outweigh the rest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]
# Asks about pairs; the share of each win that goes to the first of the pair: 1 won, 0 lost, 0.5 a tie, None
# where it could not be read.
Compare = Callable[[Sequence[Pair]], Sequence[float | None]]

# Losses that put an image out of the knockout.
LOSSES = 2
# Of a draw against the dummy, with which everybody starts.
PRIOR = 0.2
# Share of comparisons that say nothing, as if a coin were tossed.
MISTAKES = 0.1
# Iterations of a fit, and the relative change of strength at which it stops.
MOST_STEPS, SMALLEST_STEP = 200, 1e-6


@dataclass(frozen=True)
class Match:
    """One comparison of images `a` and `b`; `share` (0..1) of the win is a's, None where it is not known."""

    a: int
    b: int
    share: float | None


@dataclass(frozen=True)
class Tournament:
    """All that came of a tournament.

    `order` has every image once, best first; `strengths` the Bradley-Terry strength of each image (their
    geometric mean is about 1), None where no comparison of it could be read; those come last.
    """

    order: list[int]
    strengths: list[float | None]
    matches: list[Match]


def most_comparisons(count: int) -> int:
    """The largest number of comparisons of a tournament of `count` images: 5/8 N log2 N, and fewer than all
    pairs where there are more than one.

    >>> [most_comparisons(count) for count in (1, 2, 3, 4, 8, 16, 64)]
    [0, 1, 2, 5, 15, 40, 240]
    """
    pairs = count * (count - 1) // 2
    if pairs < 2:
        return pairs
    return min(pairs - 1, math.floor(0.625 * count * math.log2(count)))


def play(count: int, compare: Compare, seed: int = 0, top: int = 1) -> Tournament:
    """A tournament of `count` images. `compare` is asked for a whole round at once; no pair meets twice, and
    at most `most_comparisons` are read.

    `seed` draws who meets whom at first: the same seed and answers give the same tournament. `top` is how
    many of the best are wanted in the right order.
    """
    draw = list(range(count))
    random.Random(seed).shuffle(draw)
    matches: list[Match] = []
    left = most_comparisons(count)

    def ask(pairs: Sequence[Pair]) -> None:
        nonlocal left
        answers = compare(pairs)
        matches.extend(Match(a, b, share) for (a, b), share in zip(pairs, answers, strict=True))
        # What could not be read has told nothing, and is made up for.
        left -= sum(share is not None for share in answers)

    while left:
        pairs = _neighbours(_still_in(draw, matches), matches)
        if not pairs:
            break
        ask(pairs[:left])
    # The title is decided among these; in a bigger field more of them are close.
    contenders = max(top, math.ceil(math.log2(max(count, 2)))) + 1
    while left:
        pairs = _unmet(_ranked(draw, matches)[:contenders], matches)
        if not pairs:
            break
        ask(pairs[: min(left, contenders)])
    return Tournament(_ranked(draw, matches), _known_strengths(count, matches), matches)


def bradley_terry(count: int, matches: Sequence[Match]) -> list[float]:
    """The strength of each image, above 0, from all matches that could be read."""
    known = [(match.a, match.b, match.share) for match in matches if match.share is not None]
    strengths, weights = [1.0] * count, [1.0] * len(known)
    for _ in range(MOST_STEPS):
        before = strengths
        wins, met = [PRIOR / 2] * count, [PRIOR / (strength + 1) for strength in strengths]
        for (a, b, share), weight in zip(known, weights, strict=True):
            both = weight / (strengths[a] + strengths[b])
            wins[a] += weight * share
            wins[b] += weight * (1 - share)
            met[a] += both
            met[b] += both
        strengths = [won / total for won, total in zip(wins, met, strict=True)]
        weights = [_trust(strengths[a], strengths[b], share) for a, b, share in known]
        change = max((abs(new / old - 1) for new, old in zip(strengths, before, strict=True)), default=0.0)
        if change < SMALLEST_STEP:
            break
    return strengths


def _trust(a: float, b: float, share: float) -> float:
    """The probability (0..1) that a result follows the strengths and is no mistake (see MISTAKES)."""
    likely = (1 - MISTAKES) * (a / (a + b)) ** share * (b / (a + b)) ** (1 - share)
    return likely / (likely + MISTAKES / 2)


def _still_in(draw: Sequence[int], matches: Sequence[Match]) -> list[int]:
    """The images that the knockout has not put out, those with the fewest losses first; a tie is half a
    loss.
    """
    lost = dict.fromkeys(draw, 0.0)
    for match in matches:
        share = 0.5 if match.share is None else match.share
        lost[match.a] += 1 - share
        lost[match.b] += share
    ranked = [image for image in _ranked(draw, matches) if lost[image] < LOSSES]
    return sorted(ranked, key=lambda image: lost[image])


def _ranked(draw: Sequence[int], matches: Sequence[Match]) -> list[int]:
    """All images, the strongest first; equal ones by the draw, those of which nothing is known last."""
    strengths = _known_strengths(len(draw), matches)

    def place(image: int) -> tuple[bool, float]:
        strength = strengths[image]
        # Rounded, so that the last digits of a fit do not decide.
        return strength is None, 0.0 if strength is None else -round(math.log(strength), 4)

    return sorted(draw, key=place)


def _known_strengths(count: int, matches: Sequence[Match]) -> list[float | None]:
    known = {image for match in matches if match.share is not None for image in (match.a, match.b)}
    fitted = bradley_terry(count, matches)
    # Before the first match everybody is as good as the other.
    return [strength if image in known or not matches else None for image, strength in enumerate(fitted)]


def _neighbours(ranked: Sequence[int], matches: Sequence[Match]) -> list[Pair]:
    """Disjoint pairs, each image with the next one that it has not met."""
    met = _met(matches)
    waiting, pairs = list(ranked), []
    while waiting:
        one = waiting.pop(0)
        other = next((image for image in waiting if frozenset((one, image)) not in met), None)
        if other is not None:
            waiting.remove(other)
            pairs.append((one, other))
    return pairs


def _unmet(ranked: Sequence[int], matches: Sequence[Match]) -> list[Pair]:
    """Pairs that have not met, those nearest to the top first."""
    met = _met(matches)
    places = [(i, j) for j in range(len(ranked)) for i in range(j)]
    places.sort(key=lambda pair: (sum(pair), pair))
    pairs = [(ranked[i], ranked[j]) for i, j in places]
    return [pair for pair in pairs if frozenset(pair) not in met]


def _met(matches: Sequence[Match]) -> set[frozenset[int]]:
    return {frozenset((match.a, match.b)) for match in matches}
