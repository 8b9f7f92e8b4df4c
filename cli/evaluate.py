"""`evaluate`: how often a critic chooses as somebody did."""

from __future__ import annotations

import argparse
from typing import Any

from .datasets import existing_dataset
from .options import add_critic, add_json, add_rubric, add_sampling, load_critic, sampling
from .output import check_json_target, complain, emit, progress


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate", help="how often a critic chooses as somebody did, over a dataset of preferences"
    )
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="FOLDER_OR_NAME",
        help="dataset that Record Preference has written",
    )
    add_critic(parser)
    add_sampling(parser)
    add_rubric(parser)
    add_json(parser)
    parser.add_argument("--one-order", action="store_true", help="judge only A before B")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Accuracy on a dataset, and what it is made of; 1 where pairs could not be judged."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.report import report
    from ..preferences.dataset import pairs_in

    check_json_target(parsed)
    # Before the critic is loaded, which takes longer.
    pairs = pairs_in(existing_dataset(parsed.dataset))
    evaluation = evaluate(
        load_critic(parsed),
        pairs,
        not parsed.one_order,
        progress=progress(parsed),
        rubric=parsed.rubric,
        sampling=sampling(parsed),
    )
    emit(report(evaluation), evaluation.to_dict(), parsed.json)
    for id, sentence in evaluation.failed.items():
        complain(f"Pair {id}: {sentence}")
    return 1 if evaluation.failed else 0
