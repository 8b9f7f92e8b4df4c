"""`python -m rational_rewards parrot ...`: preferences in and out, and PARROT's phases, from the shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models import paths
from ..models.engines.base import Progress

Options = Callable[[argparse.ArgumentParser], None]


def add_commands(
    commands: Any,
    critic_options: Options,
    answer_options: Options,
    load_critic: Callable[[Any], Any],
    progress: Any,
) -> Any:
    """Add `parrot` to the shell's commands and return its actions.

    The rest are the shell's own ways to name a critic, to say how it answers, to load it and to show progress.
    """
    parrot = commands.add_parser("parrot", help="teach a critic from preferences").add_subparsers(
        required=True, metavar="action"
    )

    bring = parrot.add_parser(
        "import", help="add the preferences of a Parquet file (MMRB2, GenAI-Bench, EditReward) to a dataset"
    )
    bring.add_argument("file", type=Path)
    _dataset(bring)
    bring.add_argument(
        "--layout",
        default="auto",
        help="mmrb2, genai-t2i, genai-edit, editreward; default: seen from the columns",
    )
    bring.set_defaults(run=lambda parsed: _import(parsed, progress()))

    out = parrot.add_parser("export", help="write a dataset as a Parquet file")
    out.add_argument("file", type=Path)
    _dataset(out)
    out.add_argument("--layout", default="mmrb2", help="mmrb2, genai-t2i, genai-edit, editreward")
    out.set_defaults(run=lambda parsed: _export(parsed, progress()))

    undo = parrot.add_parser("undo", help="take the last preference of a dataset back")
    _dataset(undo)
    undo.set_defaults(run=_undo)

    explain = parrot.add_parser(
        "rationalize", help="let a critic explain the preferences, and keep what holds up"
    )
    _dataset(explain)
    critic_options(explain)
    answer_options(explain)
    explain.set_defaults(run=lambda parsed: _rationalize(parsed, load_critic, progress()))

    train = parrot.add_parser("train", help="train an adapter on what `rationalize` made")
    _dataset(train)
    train.add_argument("--name", required=True, help="what the adapter is called")
    train.add_argument("--epochs", type=int, default=3)
    train.add_argument("--rank", type=int, default=16)
    train.add_argument("--learning-rate", type=float, default=1e-4)
    train.add_argument("--plot", metavar="FILE", help="draw the loss (PNG)")
    critic_options(train)
    train.set_defaults(run=lambda parsed: _train(parsed, load_critic, progress()))
    return parrot


def _dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="name of the dataset, or its folder")


def dataset_at(given: str) -> Path:
    """The folder of a dataset that is named on the command line: a folder, or a name under the user's preferences."""
    from ..preferences.dataset import LINES, dataset_folder

    folder = Path(given)
    if folder.name != given or (folder / LINES).is_file():
        return folder
    return dataset_folder(paths.preferences_root(), given)


def _import(parsed: argparse.Namespace, progress: Progress) -> None:
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import import_parquet

    print(
        import_parquet(
            parsed.file, PreferenceDataset(dataset_at(parsed.dataset)), parsed.layout, progress
        ).to_text()
    )


def _export(parsed: argparse.Namespace, progress: Progress) -> None:
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import export_parquet

    number = export_parquet(
        PreferenceDataset(dataset_at(parsed.dataset)), parsed.file, parsed.layout, progress
    )
    print(f"{number} preferences written to {parsed.file}")


def _undo(parsed: argparse.Namespace) -> None:
    from ..preferences.dataset import PreferenceDataset

    dataset = PreferenceDataset(dataset_at(parsed.dataset))
    taken = dataset.undo()
    print(
        f'Taken back: {taken.preferred} for "{taken.prompt}". {len(dataset)} left.'
        if taken
        else "There was nothing to take back."
    )


def _rationalize(parsed: argparse.Namespace, load_critic: Callable[[Any], Any], progress: Progress) -> None:
    from ..parrot.critic_teacher import CriticTeacher
    from ..parrot.pipeline import rationalize_pairs
    from ..preferences.dataset import pairs_in

    folder = dataset_at(parsed.dataset)
    pairs = pairs_in(folder)  # before the critic is loaded, which takes longer
    options = {
        "temperature": parsed.temperature,
        "answer": parsed.answer,
        "max_new_tokens": parsed.max_new_tokens,
    }
    teacher = CriticTeacher.of(load_critic(parsed), **options)
    found = rationalize_pairs(
        pairs,
        folder,
        teacher,
        rubrics=teacher.rubrics,
        note=teacher.note,
        seed=parsed.seed,
        progress=progress,
    )
    print(f"{found.to_markdown()}\n\nRows: {found.file}")


def _train(parsed: argparse.Namespace, load_critic: Callable[[Any], Any], progress: Progress) -> None:
    from ..evaluation.plots import loss_plot
    from ..parrot.pipeline import CHANGED, has_changed, latest_rows
    from ..training.adapter import learn
    from ..training.distillation import Recipe

    folder = dataset_at(parsed.dataset)
    rows = latest_rows(folder)
    recipe = Recipe(
        epochs=parsed.epochs, rank=parsed.rank, learning_rate=parsed.learning_rate, seed=parsed.seed
    )
    learned = learn(load_critic(parsed), rows, parsed.name, paths.model_roots()[0], recipe, progress)
    print(learned.to_markdown())
    if has_changed(rows, folder):
        print(f"\n{CHANGED}")
    if parsed.plot:
        loss_plot(learned.trained.losses, f"Loss of {learned.name}").save(parsed.plot)
