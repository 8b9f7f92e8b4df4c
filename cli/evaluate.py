"""`evaluate`: how often a critic chooses as somebody did."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models.engines.base import Progress
from ..models.errors import OutOfMemoryError, PreferenceError, QuestionError
from ..models.images import open_image
from .checkpoints import check_critic, load_critic
from .datasets import existing_dataset
from .options import add_result, named, sampling
from .output import check_targets, complain, deliver, progress_on

if TYPE_CHECKING:
    from ..evaluation.metrics import Evaluation
    from ..models.critic import Critic
    from ..preferences.pairs import PreferencePair

PORTION = 8
# What can be wrong with one pair and leaves the others as they are.
OF_ONE_PAIR = (QuestionError, PreferenceError, OutOfMemoryError)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `evaluate`."""
    parser = commands.add_parser(
        "evaluate", help="how often a critic chooses as somebody did, over a dataset of preferences"
    )
    parser.add_argument(
        "--dataset", required=True, type=named, metavar="NAME", help="name of the dataset, or its folder"
    )
    add_result(parser)
    parser.add_argument("--one-order", action="store_true", help="judge A before B only")
    parser.set_defaults(run=evaluate_critic)


def evaluate_critic(options: argparse.Namespace) -> int:
    """`evaluate`: accuracy on a dataset of preferences, and what it is made of."""
    from ..evaluation.report import report
    from ..preferences.dataset import pairs_in

    pairs = pairs_in(existing_dataset(options.dataset))
    check_targets({"--json": options.json})
    # Before the critic is loaded, which takes longer.
    failed = {pair.id: sentence for pair in pairs if (sentence := _unusable(pair))}
    usable = [pair for pair in pairs if pair.id not in failed]
    if not usable:
        raise PreferenceError(next(iter(failed.values())))
    check_critic(options, edits={pair.task == "edit" for pair in usable}, pair=True)
    critic = load_critic(options)
    evaluation, cancelled = _evaluated(critic, usable, options, failed)
    if evaluation is not None:
        failed |= evaluation.failed
        evaluation.failed = failed
    for identity, sentence in failed.items():
        complain(f"pair {identity}: {sentence}")
    if failed:
        complain(f"{len(failed)} of {len(pairs)} pairs failed and are not counted.")
    if evaluation is None:
        return 130 if cancelled else 1
    deliver(options.json, report(evaluation), evaluation.to_dict())
    if cancelled:
        complain(f"cancelled; {len(evaluation.outcomes)} of {len(pairs)} pairs had been judged")
        return 130
    return 1 if failed else 0


def _unusable(pair: PreferencePair) -> str:
    """What is wrong with a pair's images, or ""."""
    for image in pair.images.values():
        try:
            open_image(image)
        except QuestionError as error:
            return str(error)
    return ""


def _evaluated(
    critic: Critic, pairs: Sequence[PreferencePair], options: argparse.Namespace, failed: dict[str, str]
) -> tuple[Evaluation | None, bool]:
    """The evaluation of all pairs that can be judged (None: not one), and whether it was cancelled."""
    progress = progress_on(quiet=options.quiet)
    parts: list[Evaluation] = []
    try:
        for start in range(0, len(pairs), PORTION):
            portion = pairs[start : start + PORTION]
            inner = progress.within(start, len(portion), len(pairs), "evaluation")
            parts += _portion(critic, portion, options, inner, failed)
    except KeyboardInterrupt:
        return _joined(parts), True
    return _joined(parts), False


def _portion(
    critic: Critic,
    pairs: Sequence[PreferencePair],
    options: argparse.Namespace,
    progress: Progress,
    failed: dict[str, str],
) -> list[Evaluation]:
    """The pairs judged together; where that fails, one by one, and the bad ones go into `failed`."""
    try:
        return [_evaluate(critic, pairs, options, progress)]
    except OF_ONE_PAIR as error:
        if len(pairs) == 1:
            failed[pairs[0].id] = str(error)
            return []
    parts: list[Evaluation] = []
    for position, pair in enumerate(pairs):
        parts += _portion(critic, [pair], options, progress.within(position, 1, len(pairs)), failed)
    return parts


def _evaluate(
    critic: Critic, pairs: Sequence[PreferencePair], options: argparse.Namespace, progress: Progress
) -> Evaluation:
    from ..evaluation.evaluate import evaluate

    return evaluate(
        critic,
        pairs,
        not options.one_order,
        batch=PORTION,
        progress=progress,
        rubric=options.rubric,
        sampling=sampling(options),
    )


def _joined(parts: Sequence[Evaluation]) -> Evaluation | None:
    """One evaluation of all the portions."""
    if not parts:
        return None
    joined = parts[0]
    for part in parts[1:]:
        joined.outcomes += part.outcomes
        joined.names |= part.names
        joined.failed |= part.failed
    return joined
