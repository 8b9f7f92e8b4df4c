"""Let a critic compare the images of preference pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..models.critic import Critic, SamplingOptions
from ..models.engines.base import Progress
from ..models.errors import ParrotError, PreferenceError, QuestionError
from ..models.judgement import Comparison, Winner
from ..preferences.pairs import PreferencePair
from .metrics import Evaluation, Outcome

# Scores that differ by less are equal.
TIE = 1e-9


def evaluate(
    critic: Critic,
    pairs: Sequence[PreferencePair],
    both_orders: bool = True,
    batch: int = 8,
    progress: Progress = Progress(),
    rubric: str = "auto",
    sampling: SamplingOptions | None = None,
) -> Evaluation:
    """Let the critic compare every pair, `batch` of them at a time.

    The result is the same for every `batch`, and only that many pairs' images and answers are in memory. A pair that cannot be
    judged, such as one with a missing or damaged image, is left out and named in `failed`. `progress.update` counts pairs;
    `progress.check` may raise to cancel at every token. Raises PreferenceError for no pairs, before anything is judged, and
    QuestionError where not one pair can be judged.
    """
    if batch < 1:
        raise ParrotError(f"`batch` is {batch}: make it 1 or more.")
    _check(pairs)
    if rubric != "auto":
        for task in sorted({pair.task for pair in pairs}):
            # Raises where it does not fit.
            critic.rubric(rubric, edit=task == "edit", pair=True)
    comparer = _Comparer(critic, both_orders, rubric, sampling or {})
    evaluation = Evaluation(critic.name, both_orders, [])
    for start in range(0, len(pairs), batch):
        portion = pairs[start : start + batch]
        compared: dict[str, list[Comparison]] = {}
        # Text to image and edits are other questions, so they cannot be asked together.
        for task in ("t2i", "edit"):
            same_task = [pair for pair in portion if pair.task == task]
            if same_task:
                done = start + len(compared)
                inner = progress.within(done, len(same_task), len(pairs), "evaluation")
                compared |= comparer.compare(same_task, inner, evaluation.failed)
        for pair in portion:
            if pair.id in compared:
                orders = compared[pair.id]
                evaluation.outcomes.append(_outcome(pair, orders))
                evaluation.names |= {key: d.name for key, d in orders[0].dimensions.items()}
        progress.update(min(start + batch, len(pairs)), len(pairs), "evaluation", "")
    if not evaluation.outcomes:
        raise QuestionError(
            f"Not one of {len(pairs)} pairs could be judged: {next(iter(evaluation.failed.values()))}"
        )
    return evaluation


def _check(pairs: Sequence[PreferencePair]) -> None:
    if not pairs:
        raise PreferenceError(
            "There are no preference pairs to evaluate on: record some with Record Preference first."
        )
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise PreferenceError(
                f'The id "{pair.id}" is used by two pairs: give every pair an id of its own.'
            )
        seen.add(pair.id)


class _Comparer:
    """Asks the critic about pairs of one task."""

    def __init__(self, critic: Critic, both_orders: bool, rubric: str, sampling: SamplingOptions):
        self.critic = critic
        self.both_orders = both_orders
        self.rubric = rubric
        self.sampling = sampling

    def compare(
        self, pairs: Sequence[PreferencePair], progress: Progress, failed: dict[str, str]
    ) -> dict[str, list[Comparison]]:
        """By id, each pair's comparisons as they were answered; the sentence of a pair that cannot be judged goes to `failed`."""
        try:
            return self._ask(pairs, progress)
        except QuestionError as error:
            if len(pairs) == 1:
                failed[pairs[0].id] = str(error)
                return {}
        # One of them is at fault; equal questions are not answered twice.
        compared: dict[str, list[Comparison]] = {}
        for index, pair in enumerate(pairs):
            compared |= self.compare([pair], progress.within(index, 1, len(pairs)), failed)
        return compared

    def _ask(self, pairs: Sequence[PreferencePair], progress: Progress) -> dict[str, list[Comparison]]:
        shown = [(pair, *images) for pair in pairs for images in _orders(pair, self.both_orders)]
        # Both orders of all pairs are asked here, side by side, to keep each order's own winner.
        comparisons = self.critic.compare(
            [first for _, first, _ in shown],
            [second for _, _, second in shown],
            [pair.prompt for pair, _, _ in shown],
            [pair.source for pair, _, _ in shown if pair.source] or None,
            both_orders=False,
            rubric=self.rubric,
            progress=progress,
            **self.sampling,
        )
        orders: dict[str, list[Comparison]] = {}
        for (pair, _, _), comparison in zip(shown, comparisons, strict=True):
            orders.setdefault(pair.id, []).append(comparison)
        return orders


def _orders(pair: PreferencePair, both_orders: bool) -> list[tuple[Path, Path]]:
    orders = [(pair.image_a, pair.image_b), (pair.image_b, pair.image_a)]
    return orders if both_orders else orders[:1]


def _outcome(pair: PreferencePair, orders: Sequence[Comparison]) -> Outcome:
    first = orders[0]
    overall = Comparison.both_orders(first, orders[1]) if len(orders) == 2 else first
    if overall.winner is None or not overall.complete:
        return Outcome(pair.id, pair.task, pair.chosen_by, pair.preferred)
    dimensions: dict[str, Winner] = {}
    for key, dimension in overall.dimensions.items():
        if dimension.score_a is not None and dimension.score_b is not None:
            dimensions[key] = _better(dimension.score_a, dimension.score_b)
    return Outcome(
        pair.id,
        pair.task,
        pair.chosen_by,
        pair.preferred,
        overall.winner,
        overall.margin,
        a_first=first.winner,
        b_first=orders[1].swap().winner if len(orders) == 2 else None,
        dimensions=dimensions,
    )


def _better(score_a: float, score_b: float) -> Winner:
    if abs(score_a - score_b) < TIE:
        return "tie"
    return "A" if score_a > score_b else "B"
