"""The order: best first, images of equal scores sharing a rank, and what can be compared by itself.

An image that was judged for its quality alone cannot lose points for what was asked, so its score is not
comparable with the others: such images follow behind, with ranks of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..models.errors import QuestionError

Item = TypeVar("Item")
# Differences below this are noise of the arithmetic.
EQUAL = 1e-9
OVERALL = "score"


@dataclass(frozen=True)
class Placed(Generic[Item]):
    """An item in its place; `rank` counts from 1 within its group, None where it has no value to go by."""

    item: Item
    rank: int | None


def in_order(
    items: Iterable[Item], value: Callable[[Item], float | None], group: Callable[[Item], Hashable]
) -> list[Placed[Item]]:
    """Best first within each group; the groups in ascending order, those without a value at their ends.

    Items of equal value keep their order and share a rank.
    """
    groups: dict[Hashable, list[tuple[Item, float | None]]] = {}
    for item in items:
        groups.setdefault(group(item), []).append((item, value(item)))
    placed: list[Placed[Item]] = []
    for name in sorted(groups):  # type: ignore[type-var]
        known = [(item, number) for item, number in groups[name] if number is not None]
        known.sort(key=lambda pair: -pair[1])
        placed += _ranked(known)
        placed += [Placed(item, None) for item, number in groups[name] if number is None]
    return placed


def _ranked(known: Sequence[tuple[Item, float]]) -> list[Placed[Item]]:
    placed: list[Placed[Item]] = []
    rank, last = 0, float("inf")
    for place, (item, number) in enumerate(known, 1):
        if last - number > EQUAL:
            rank, last = place, number
        placed.append(Placed(item, rank))
    return placed


def check_by(by: str, known: Iterable[str]) -> None:
    """Raise QuestionError where no image was scored in the dimension `by`."""
    names = [OVERALL, *dict.fromkeys(known)]
    if by not in names:
        raise QuestionError(f'No image has a score "{by}": choose {", ".join(names)}.')
