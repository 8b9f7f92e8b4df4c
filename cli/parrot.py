"""`parrot`: preferences in and out, and PARROT's phases."""

from __future__ import annotations

import argparse

from ..models import paths
from ..models.errors import PreferenceError
from ..models.files import user_path
from ..preferences.parquet_columns import LAYOUTS
from . import demo
from .checkpoints import check_critic, load_critic
from .datasets import dataset_at, existing_dataset
from .options import add_answer, add_critic, add_quiet, named, named_path, number, whole_number
from .output import check_image_target, check_targets, not_written, progress_on, readable, show
from .wording import in_shell_words


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `parrot` and its actions."""
    actions = commands.add_parser("parrot", help="teach a critic from preferences").add_subparsers(
        required=True, metavar="action"
    )
    _add_files(actions)
    undo = actions.add_parser("undo", help="take the last preference of a dataset back")
    _add_dataset(undo)
    undo.set_defaults(run=undo_preference)

    explain = actions.add_parser(
        "rationalize", help="let a critic explain the preferences, and keep what holds up"
    )
    _add_dataset(explain)
    add_critic(explain)
    add_answer(explain)
    explain.set_defaults(run=rationalize)
    _add_train(actions)
    demo.add_training(actions)


def _add_files(actions: argparse._SubParsersAction) -> None:
    bring = actions.add_parser(
        "import", help="add the preferences of a Parquet file (MMRB2, GenAI-Bench, EditReward) to a dataset"
    )
    bring.add_argument("file", type=named_path, help="the Parquet file, or a folder of its parts")
    _add_dataset(bring, "; a new name makes a new dataset")
    bring.add_argument(
        "--layout",
        choices=["auto", *LAYOUTS],
        default="auto",
        help="what the columns are; default: auto, seen from the columns",
    )
    add_quiet(bring)
    bring.set_defaults(run=import_preferences)

    out = actions.add_parser("export", help="write a dataset as a Parquet file")
    out.add_argument("file", type=named, help="the Parquet file to write")
    _add_dataset(out)
    out.add_argument(
        "--layout", choices=LAYOUTS, default="mmrb2", help="what the columns are; default: mmrb2"
    )
    add_quiet(out)
    out.set_defaults(run=export_preferences)


def _add_train(actions: argparse._SubParsersAction) -> None:
    train = actions.add_parser("train", help="train an adapter on what `rationalize` made")
    _add_dataset(train)
    train.add_argument("--name", required=True, type=named, help="what the adapter is called")
    train.add_argument(
        "--epochs", type=whole_number(1), default=3, help="how often each row is learned; default: 3"
    )
    train.add_argument(
        "--rank", type=whole_number(1), default=16, help="width of the adapter: more learns more; default: 16"
    )
    train.add_argument(
        "--learning-rate", type=number(0), default=1e-4, metavar="RATE", help="default: 0.0001"
    )
    train.add_argument("--plot", type=named, metavar="FILE", help="also draw the loss (.png, .jpg or .webp)")
    add_critic(train)
    train.set_defaults(run=train_adapter)


def _add_dataset(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "--dataset",
        required=True,
        type=named,
        metavar="NAME",
        help=f"name of the dataset, or its folder{more}",
    )


def import_preferences(options: argparse.Namespace) -> int:
    """`parrot import`."""
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import import_parquet

    if not options.file.exists():
        raise PreferenceError(f"There is no file {options.file}: check its name and folder.")
    dataset = PreferenceDataset(dataset_at(options.dataset))
    report = import_parquet(options.file, dataset, options.layout, progress_on(quiet=options.quiet))
    show(readable(report.to_text()))
    return 0


def export_preferences(options: argparse.Namespace) -> int:
    """`parrot export`."""
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import export_parquet

    dataset = PreferenceDataset(existing_dataset(options.dataset))
    check_targets({"file": options.file})
    target = user_path(options.file)
    count = export_parquet(dataset, target, options.layout, progress_on(quiet=options.quiet))
    show(readable(f"{count} preference{'' if count == 1 else 's'} written to {target}"))
    return 0


def undo_preference(options: argparse.Namespace) -> int:
    """`parrot undo`."""
    from ..preferences.dataset import PreferenceDataset

    dataset = PreferenceDataset(existing_dataset(options.dataset))
    taken = dataset.undo()
    if taken is None:
        show("There was nothing to take back.")
    else:
        show(readable(f'Taken back: {taken.preferred} for "{taken.prompt}". {len(dataset)} left.'))
    return 0


def rationalize(options: argparse.Namespace) -> int:
    """`parrot rationalize`."""
    from ..parrot.critic_teacher import CriticTeacher
    from ..parrot.pipeline import rationalize_pairs
    from ..preferences.dataset import pairs_in

    folder = existing_dataset(options.dataset)
    # Before the critic is loaded, which takes longer.
    pairs = pairs_in(folder)
    check_critic(options)
    teacher = CriticTeacher.of(
        load_critic(options),
        temperature=options.temperature,
        answer=options.answer,
        max_new_tokens=options.max_new_tokens,
    )
    result = rationalize_pairs(
        pairs,
        folder,
        teacher,
        rubrics=teacher.rubrics,
        note=teacher.note,
        seed=options.seed,
        progress=progress_on(quiet=options.quiet),
    )
    show(readable(f"{result.to_markdown()}\n\nRows: {result.file}"))
    return 0


def train_adapter(options: argparse.Namespace) -> int:
    """`parrot train`."""
    from ..models.files import replacing
    from ..parrot.pipeline import CHANGED, has_changed, latest_rows
    from ..training.adapter import check_untrained, clean_name, learn
    from ..training.distillation import Recipe
    from ..training.plots import loss_plot

    folder = existing_dataset(options.dataset)
    check_image_target("--plot", options.plot)
    check_targets({"--plot": options.plot})
    rows = latest_rows(folder)
    clean_name(options.name)
    check_untrained(options.adapter)
    check_critic(options, needs="training")
    recipe = Recipe(
        epochs=options.epochs, rank=options.rank, learning_rate=options.learning_rate, seed=options.seed
    )
    progress = progress_on(quiet=options.quiet)
    learned = learn(load_critic(options), rows, options.name, paths.model_roots()[0], recipe, progress)
    show(readable(in_shell_words(learned.to_markdown())))
    if has_changed(rows, folder):
        show(f"\n{CHANGED}")
    if options.plot:
        target = user_path(options.plot)
        try:
            with replacing(target) as scratch:
                loss_plot(learned.trained.losses, f"Loss of {learned.name}").save(scratch)
        except OSError as error:
            raise not_written(target, error) from error
    return 0
