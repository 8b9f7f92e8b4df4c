"""What a critic's comparisons with recorded preferences add up to: accuracy, agreement and bias, with their
intervals.

An answer that could not be read is neither right nor wrong: it is left out of the accuracy, and the report
says how many there were. A tie of the critic where somebody had a preference counts half, as a toss of a coin
would on average; a second accuracy takes ties as a third answer, as published evaluations of datasets with
ties do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..models.judgement import Winner, mean
from ..preferences.pairs import Preferred

# The normal distribution has 95 % of its mass within this many standard deviations.
Z_95 = 1.959964


def wilson(successes: float, count: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a share, 0..1: Wilson's score interval, sensible for few pairs and for shares near 0
    and 1.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (158), 1927,
    pages 209-212. `successes` may hold halves (ties); the interval is then a little wider than it had to be.
    (0, 1) where `count` is 0.

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    if count == 0:
        return 0.0, 1.0
    share, spread = successes / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Rate:
    """A share of `count` cases; `successes` may hold halves."""

    successes: float
    count: int

    @property
    def share(self) -> float | None:
        """0..1, or None where there is no case."""
        return self.successes / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval, 0..1 (`wilson`), or None where there is no case."""
        return wilson(self.successes, self.count) if self.count else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "share": self.share,
            "interval": self.interval,
            "successes": self.successes,
            "count": self.count,
        }


@dataclass(frozen=True)
class Tally:
    """What an order of two images was worth: `right`, `tied` and `wrong` where there was a preference; where
    there was none, `both_tied` of `ties`.
    """

    right: int = 0
    tied: int = 0
    wrong: int = 0
    both_tied: int = 0
    ties: int = 0

    @classmethod
    def of(cls, orders: Iterable[tuple[Winner, Preferred]]) -> Tally:
        """Count (what the critic said, what was preferred)."""
        counts: dict[str, int] = dict.fromkeys(("right", "tied", "wrong", "both_tied", "ties"), 0)
        for said, preferred in orders:
            if preferred == "tie":
                counts["ties"] += 1
                counts["both_tied"] += said == "tie"
            else:
                counts[_verdict(said, preferred)] += 1
        return cls(**counts)

    @property
    def accuracy(self) -> Rate:
        """Over the cases with a preference; a tie of the critic counts half."""
        return Rate(self.right + self.tied / 2, self.right + self.tied + self.wrong)

    @property
    def accuracy_with_ties(self) -> Rate:
        """Over all cases, a tie being an answer of its own: right where what was said is what was
        preferred.
        """
        return Rate(self.right + self.both_tied, self.right + self.tied + self.wrong + self.ties)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        rates = {"accuracy": self.accuracy.to_dict(), "accuracy_with_ties": self.accuracy_with_ties.to_dict()}
        return {**rates, **asdict(self)}


@dataclass(frozen=True)
class Outcome:
    """What the critic made of one pair. All winners name the pair's own A and B, whichever was shown first.

    `winner` and `margin` (-1..1, A minus B) are None where the answer could not be read. `a_first` and
    `b_first` are the winners by the order in which the images were shown; `dimensions` has, by key, the
    better image in each dimension that applies.
    """

    id: str
    task: str
    chosen_by: str
    preferred: Preferred
    winner: Winner | None = None
    margin: float | None = None
    a_first: Winner | None = None
    b_first: Winner | None = None
    dimensions: dict[str, Winner] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """ "right", "tied" or "wrong" where there was a preference, else ""."""
        return _verdict(self.winner, self.preferred)


@dataclass
class Evaluation:
    """A critic's outcomes on all pairs, in their order, and what they add up to.

    `names` are the dimensions' names by key. `failed` has, by id, one sentence for each pair that could not
    be judged, such as one with a damaged image; such pairs have no outcome.
    """

    critic: str
    both_orders: bool
    outcomes: list[Outcome]
    names: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def read(self) -> list[Outcome]:
        """The outcomes whose answer could be read: all that is counted."""
        return [outcome for outcome in self.outcomes if outcome.winner is not None]

    @property
    def unreadable(self) -> list[str]:
        """Ids of the pairs whose answer could not be read; they count neither as right nor as wrong."""
        return [outcome.id for outcome in self.outcomes if outcome.winner is None]

    @property
    def tally(self) -> Tally:
        """All pairs."""
        return _tally(self.outcomes)

    @property
    def accuracy(self) -> Rate:
        """Over the pairs with a preference; a tie of the critic counts half."""
        return self.tally.accuracy

    @property
    def accuracy_with_ties(self) -> Rate:
        """Over all pairs, a tie being an answer of its own."""
        return self.tally.accuracy_with_ties

    @property
    def by_task(self) -> dict[str, Tally]:
        """Tallies by task, "t2i" and "edit"."""
        return _grouped(self.outcomes, lambda outcome: outcome.task)

    @property
    def by_chooser(self) -> dict[str, Tally]:
        """Tallies by who chose."""
        return _grouped(self.outcomes, lambda outcome: outcome.chosen_by)

    @property
    def by_dimension(self) -> dict[str, Tally]:
        """How often each dimension alone, by key, orders the images as preferred; only pairs where it
        applies.
        """
        keys = dict.fromkeys(key for outcome in self.read for key in outcome.dimensions)
        return {
            key: Tally.of(
                (outcome.dimensions[key], outcome.preferred)
                for outcome in self.read
                if key in outcome.dimensions
            )
            for key in keys
        }

    @property
    def order_agreement(self) -> Rate:
        """Share of the pairs with the same winner whichever was shown first; no case where only one order was
        asked.
        """
        both = [outcome for outcome in self.read if outcome.b_first is not None]
        return Rate(sum(outcome.a_first == outcome.b_first for outcome in both), len(both))

    @property
    def a_wins(self) -> Rate:
        """Share of A among the winners when A is shown first.

        Compare it with `a_preferred`: more is a bias for the first place.
        """
        return _share_of_a([outcome.a_first for outcome in self.read])

    @property
    def a_preferred(self) -> Rate:
        """Share of A among what was preferred, over the same pairs as everything else."""
        return _share_of_a([outcome.preferred for outcome in self.read])

    @property
    def shown_first_wins(self) -> Rate:
        """Share of the answers, in either order, that the image shown first won; half is no bias.

        No case for one order.

        The two answers about a pair depend on each other, so the interval of this one is only a rough guide.
        """
        both = [outcome for outcome in self.read if outcome.b_first is not None]
        won = sum((outcome.a_first == "A") + (outcome.b_first == "B") for outcome in both)
        return Rate(won, sum((outcome.a_first != "tie") + (outcome.b_first != "tie") for outcome in both))

    @property
    def margins(self) -> dict[str, float | None]:
        """Mean size of the margin (0..1) where the critic was "right" and where it was "wrong"; it should be
        larger where right.
        """
        return {
            "right": mean(
                [
                    abs(outcome.margin)
                    for outcome in self.read
                    if outcome.margin is not None and outcome.verdict == "right"
                ]
            ),
            "wrong": mean(
                [
                    abs(outcome.margin)
                    for outcome in self.read
                    if outcome.margin is not None and outcome.verdict == "wrong"
                ]
            ),
        }

    @property
    def wrong(self) -> list[str]:
        """Ids of the pairs where the critic chose the other image."""
        return [outcome.id for outcome in self.read if outcome.verdict == "wrong"]

    @property
    def tied(self) -> list[str]:
        """Ids of the pairs where there was a preference and the critic had none."""
        return [outcome.id for outcome in self.read if outcome.verdict == "tied"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the numbers, and the outcome of every pair."""
        return {
            "critic": self.critic,
            "both_orders": self.both_orders,
            "pairs": len(self.outcomes),
            "unreadable": self.unreadable,
            "failed": self.failed,
            **self.tally.to_dict(),
            "order_agreement": self.order_agreement.to_dict(),
            "a_wins": self.a_wins.to_dict(),
            "a_preferred": self.a_preferred.to_dict(),
            "shown_first_wins": self.shown_first_wins.to_dict(),
            "margins": self.margins,
            "by_dimension": {key: tally.to_dict() for key, tally in self.by_dimension.items()},
            "by_task": {task: tally.to_dict() for task, tally in self.by_task.items()},
            "by_chooser": {chooser: tally.to_dict() for chooser, tally in self.by_chooser.items()},
            "wrong_ids": self.wrong,
            "tied_ids": self.tied,
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }

    def to_json(self) -> str:
        """JSON text, one object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)


def _tally(outcomes: Iterable[Outcome]) -> Tally:
    return Tally.of((outcome.winner, outcome.preferred) for outcome in outcomes if outcome.winner is not None)


def _grouped(outcomes: Sequence[Outcome], group: Callable[[Outcome], str]) -> dict[str, Tally]:
    return {
        name: _tally(outcome for outcome in outcomes if group(outcome) == name)
        for name in sorted({group(outcome) for outcome in outcomes})
    }


def _share_of_a(winners: Sequence[Winner | None]) -> Rate:
    return Rate(sum(winner == "A" for winner in winners), sum(winner in ("A", "B") for winner in winners))


def _verdict(winner: Winner | None, preferred: Preferred) -> str:
    """ "right", "tied" or "wrong" where there was a preference, else ""."""
    if preferred == "tie":
        return ""
    if winner == "tie":
        return "tied"
    return "right" if winner == preferred else "wrong"
