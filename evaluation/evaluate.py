"""How well a critic knows a taste: its comparisons against preference pairs.

An answer that could not be read is neither right nor wrong: it is left out of the accuracy, and the report says how many there were. A tie of the critic where somebody had a
preference counts half, as a toss of a coin would on average; a second accuracy takes ties as a third answer, as published evaluations
of datasets with ties do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.errors import ParrotError, PreferenceError
from ..models.judgement import Comparison, Winner, mean
from ..preferences.pairs import PreferencePair, Preferred

Z_95 = 1.959964  # the normal distribution has 95 % of its mass within this many standard deviations
TIE = 1e-9  # scores that differ by less are equal


def wilson(successes: float, count: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a share, 0..1: Wilson's score interval, which stays sensible for few pairs and for shares near 0 and 1.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (158), 1927, pages 209-212.
    `successes` may hold halves (ties); the interval is then a little wider than it had to be. (0, 1) where `count` is 0.

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
    """What an order of two pictures was worth: `right`, `tied` and `wrong` where there was a preference; where there was none,
    `both_tied` of `ties`."""

    right: int = 0
    tied: int = 0
    wrong: int = 0
    both_tied: int = 0
    ties: int = 0

    @classmethod
    def of(cls, orders: Iterable[tuple[Winner, Preferred]]) -> Tally:
        """Count (what the critic said, what was preferred)."""
        counts = dict.fromkeys(("right", "tied", "wrong", "both_tied", "ties"), 0)
        for said, preferred in orders:
            if preferred == "tie":
                counts["ties"] += 1
                counts["both_tied"] += said == "tie"
            else:
                counts["tied" if said == "tie" else "right" if said == preferred else "wrong"] += 1
        return cls(**counts)

    @property
    def accuracy(self) -> Rate:
        """Over the cases with a preference; a tie of the critic counts half."""
        return Rate(self.right + self.tied / 2, self.right + self.tied + self.wrong)

    @property
    def accuracy_with_ties(self) -> Rate:
        """Over all cases, a tie being an answer of its own: right where what was said is what was preferred."""
        return Rate(self.right + self.both_tied, self.right + self.tied + self.wrong + self.ties)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        rates = {"accuracy": self.accuracy.to_dict(), "accuracy_with_ties": self.accuracy_with_ties.to_dict()}
        return {**rates, **asdict(self)}


@dataclass(frozen=True)
class Outcome:
    """What the critic made of one pair. All winners name the pair's own A and B, whichever was shown first.

    `winner` and `margin` (-1..1, A minus B) are None where the answer could not be read. `a_first` and `b_first` are the winners by
    the order in which the pictures were shown; `dimensions` has, by key, the better picture in each dimension that applies.
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


@dataclass
class Evaluation:
    """A critic's outcomes on all pairs, in their order, and what they add up to. `names` are the dimensions' names by key."""

    critic: str
    both_orders: bool
    outcomes: list[Outcome]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def read(self) -> list[Outcome]:
        """The outcomes whose answer could be read: all that is counted."""
        return [one for one in self.outcomes if one.winner is not None]

    @property
    def unreadable(self) -> list[str]:
        """Ids of the pairs whose answer could not be read; they count neither as right nor as wrong."""
        return [one.id for one in self.outcomes if one.winner is None]

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
        return _grouped(self.outcomes, lambda one: one.task)

    @property
    def by_chooser(self) -> dict[str, Tally]:
        """Tallies by who chose."""
        return _grouped(self.outcomes, lambda one: one.chosen_by)

    @property
    def by_dimension(self) -> dict[str, Tally]:
        """How often each dimension alone, by key, puts the pictures in the preferred order; only pairs where it applies."""
        keys = dict.fromkeys(key for one in self.read for key in one.dimensions)
        return {
            key: Tally.of((one.dimensions[key], one.preferred) for one in self.read if key in one.dimensions)
            for key in keys
        }

    @property
    def order_agreement(self) -> Rate:
        """Share of the pairs with the same winner whichever was shown first; no case where only one order was asked."""
        both = [one for one in self.read if one.b_first is not None]
        return Rate(sum(one.a_first == one.b_first for one in both), len(both))

    @property
    def a_wins(self) -> Rate:
        """Share of A among the winners when A is shown first. Compare it with `a_preferred`: more is a bias for the first place."""
        return _share_of_a([one.a_first for one in self.read])

    @property
    def a_preferred(self) -> Rate:
        """Share of A among what was preferred, over the same pairs as everything else."""
        return _share_of_a([one.preferred for one in self.read])

    @property
    def shown_first_wins(self) -> Rate:
        """Share of the answers, in either order, that the picture shown first won; half is no bias. No case for one order.

        The two answers about a pair depend on each other, so the interval of this one is only a rough guide.
        """
        both = [one for one in self.read if one.b_first is not None]
        won = sum((one.a_first == "A") + (one.b_first == "B") for one in both)
        return Rate(won, sum((one.a_first != "tie") + (one.b_first != "tie") for one in both))

    @property
    def margins(self) -> dict[str, float | None]:
        """Mean size of the margin (0..1) where the critic was "right" and where it was "wrong"; it should be larger where right."""
        return {
            "right": mean(
                [abs(one.margin) for one in self.read if one.margin is not None and _said(one) == "right"]
            ),
            "wrong": mean(
                [abs(one.margin) for one in self.read if one.margin is not None and _said(one) == "wrong"]
            ),
        }

    @property
    def wrong(self) -> list[str]:
        """Ids of the pairs where the critic chose the other picture."""
        return [one.id for one in self.read if _said(one) == "wrong"]

    @property
    def tied(self) -> list[str]:
        """Ids of the pairs where there was a preference and the critic had none."""
        return [one.id for one in self.read if _said(one) == "tied"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the numbers, and the outcome of every pair."""
        return {
            "critic": self.critic,
            "both_orders": self.both_orders,
            "pairs": len(self.outcomes),
            "unreadable": self.unreadable,
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
            "outcomes": [asdict(one) for one in self.outcomes],
        }

    def to_json(self) -> str:
        """JSON text, one object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_markdown(self) -> str:
        """A report to read."""
        from .report import report

        return report(self)


def evaluate(
    critic: Any,
    pairs: Sequence[PreferencePair],
    both_orders: bool = True,
    batch: int = 8,
    progress: Progress = Progress(),
    **settings: Any,
) -> Evaluation:
    """Let `critic` (anything with `Critic.compare` and `name`) compare every pair, `batch` of them at a time; the result is the same
    for every `batch`, and only that many pairs' pictures and answers are in memory.

    `progress.update` counts pairs; `progress.check` may raise to cancel at every token. `settings` go on to `compare` (`rubric`,
    `answer`, `max_new_tokens`, ...). Raises PreferenceError for no pairs or a missing picture, before anything is judged.
    """
    if batch < 1:
        raise ParrotError(f"`batch` is {batch}: make it 1 or more.")
    _check(pairs, progress)
    if (rubric := settings.get("rubric", "auto")) != "auto":
        for task in {pair.task for pair in pairs}:
            critic.rubric(rubric, edit=task == "edit", pair=True)  # raises where it does not fit
    result = Evaluation(critic.name, both_orders, [])
    for start in range(0, len(pairs), batch):
        portion = pairs[start : start + batch]
        outcomes: dict[str, Outcome] = {}
        for task in ("t2i", "edit"):  # other questions, so they cannot be asked together
            if chosen := [pair for pair in portion if pair.task == task]:
                inner = progress.within(start + len(outcomes), len(chosen), len(pairs), "evaluation")
                for pair, orders in zip(
                    chosen, _compare(critic, chosen, both_orders, inner, settings), strict=True
                ):
                    outcomes[pair.id] = _outcome(pair, orders)
                    result.names |= {key: dimension.name for key, dimension in orders[0].dimensions.items()}
        result.outcomes += [outcomes[pair.id] for pair in portion]
        progress.update(len(result.outcomes), len(pairs), "evaluation", "")
    return result


def _check(pairs: Sequence[PreferencePair], progress: Progress) -> None:
    """What would stop an evaluation halfway is found before it starts."""
    if not pairs:
        raise PreferenceError(
            "There are no preference pairs to evaluate on: record some with Record Preference first."
        )
    seen: set[str] = set()
    for pair in pairs:
        progress.check()
        if pair.id in seen:
            raise PreferenceError(
                f'The id "{pair.id}" stands twice among the pairs: give every pair an id of its own.'
            )
        seen.add(pair.id)
        for picture in pair.images.values():
            if not picture.is_file():
                raise PreferenceError(
                    f"The picture {picture} of the pair {pair.id} is missing: put it back, or leave the pair out."
                )


def _compare(
    critic: Any,
    pairs: Sequence[PreferencePair],
    both_orders: bool,
    progress: Progress,
    settings: dict[str, Any],
) -> list[list[Comparison]]:
    """Each pair's comparisons as they were answered: A shown first and, on demand, B shown first."""
    shown = [(pair, *images) for pair in pairs for images in _orders(pair, both_orders)]
    sources = [pair.source for pair, _, _ in shown] if pairs[0].source else None
    found = critic.compare(
        [first for _, first, _ in shown],
        [second for _, _, second in shown],
        [pair.prompt for pair, _, _ in shown],
        sources,
        both_orders=False,  # both orders of all pairs are asked here, side by side, to keep each order's own winner
        progress=progress,
        **settings,
    )
    each = 2 if both_orders else 1
    return [found[i : i + each] for i in range(0, len(found), each)]


def _orders(pair: PreferencePair, both_orders: bool) -> list[tuple[Path, Path]]:
    orders = [(pair.image_a, pair.image_b), (pair.image_b, pair.image_a)]
    return orders if both_orders else orders[:1]


def _outcome(pair: PreferencePair, orders: list[Comparison]) -> Outcome:
    whole = Comparison.both_orders(*orders) if len(orders) == 2 else orders[0]
    if whole.winner is None or not whole.complete:
        return Outcome(pair.id, pair.task, pair.chosen_by, pair.preferred)
    dimensions: dict[str, Winner] = {}
    for key, one in whole.dimensions.items():
        if one.score_a is not None and one.score_b is not None:
            difference = one.score_a - one.score_b
            dimensions[key] = "tie" if abs(difference) < TIE else "A" if difference > 0 else "B"
    b_first = orders[1].swap().winner if len(orders) == 2 else None
    return Outcome(
        pair.id,
        pair.task,
        pair.chosen_by,
        pair.preferred,
        whole.winner,
        whole.margin,
        orders[0].winner,
        b_first,
        dimensions,
    )


def _tally(outcomes: Iterable[Outcome]) -> Tally:
    return Tally.of((one.winner, one.preferred) for one in outcomes if one.winner is not None)


def _grouped(outcomes: Sequence[Outcome], group: Callable[[Outcome], str]) -> dict[str, Tally]:
    return {
        name: _tally(one for one in outcomes if group(one) == name)
        for name in sorted({group(one) for one in outcomes})
    }


def _share_of_a(winners: Sequence[Winner | None]) -> Rate:
    return Rate(sum(one == "A" for one in winners), sum(one in ("A", "B") for one in winners))


def _said(one: Outcome) -> str:
    """ "right", "tied" or "wrong" where there was a preference, else ""."""
    if one.preferred == "tie":
        return ""
    return "tied" if one.winner == "tie" else "right" if one.winner == one.preferred else "wrong"
