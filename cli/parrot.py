"""`parrot ...`: preferences in and out, and PARROT's phases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..models import paths
from ..models.files import user_path
from .datasets import dataset_at, existing_dataset
from .options import add_critic, add_sampling, load_critic
from .output import file_target, progress, save_image


def add_commands(commands: Any) -> None:
    """Add `parrot` and its actions."""
    actions = commands.add_parser("parrot", help="teach a critic from preferences").add_subparsers(
        required=True, metavar="action"
    )
    import_ = actions.add_parser(
        "import", help="add the preferences of a Parquet file (MMRB2, GenAI-Bench, EditReward) to a dataset"
    )
    import_.add_argument("file", help="the Parquet file")
    _add_dataset(import_)
    import_.add_argument(
        "--layout",
        default="auto",
        help="mmrb2, genai-t2i, genai-edit, editreward; default: seen from the columns",
    )
    _add_quiet(import_)
    import_.set_defaults(run=run_import)

    export = actions.add_parser("export", help="write a dataset as a Parquet file")
    export.add_argument("file", help="the Parquet file")
    _add_dataset(export)
    export.add_argument(
        "--layout", default="mmrb2", help="mmrb2, genai-t2i, genai-edit, editreward; default: mmrb2"
    )
    _add_quiet(export)
    export.set_defaults(run=run_export)

    undo = actions.add_parser("undo", help="take the last preference of a dataset back")
    _add_dataset(undo)
    undo.set_defaults(run=run_undo)

    rationalize = actions.add_parser(
        "rationalize", help="let a critic explain the preferences, and keep what holds up"
    )
    _add_dataset(rationalize)
    add_critic(rationalize)
    add_sampling(rationalize)
    rationalize.set_defaults(run=run_rationalize)

    train = actions.add_parser("train", help="train an adapter on what `rationalize` made")
    _add_dataset(train)
    train.add_argument("--name", required=True, help="what the adapter is called")
    train.add_argument("--epochs", type=int, default=3, help="times over all rows; default: 3")
    train.add_argument("--rank", type=int, default=16, help="size of the adapter; default: 16")
    train.add_argument("--learning-rate", type=float, default=1e-4, help="default: 0.0001")
    train.add_argument("--plot", metavar="FILE", help="draw the loss (.png, .jpg or .webp)")
    add_critic(train)
    train.set_defaults(run=run_train)

    demo = actions.add_parser(
        "demo", help="train the embedded critic from nothing: a good two hours on two CPU cores"
    )
    demo.add_argument(
        "--work",
        type=user_path,
        default=Path("parrot-demo"),
        help="folder for everything on the way, from which it resumes; default: parrot-demo",
    )
    demo.add_argument(
        "--courses",
        type=int,
        nargs="+",
        help="preference pairs of the first, second, ... course, and no course after these; for a try",
    )
    demo.add_argument("--base-steps", type=int, help="fewer steps of the base, for a try")
    _add_quiet(demo)
    demo.set_defaults(run=run_demo)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="name of the dataset, or its folder")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run_import(parsed: argparse.Namespace) -> int:
    """`parrot import FILE`."""
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import import_parquet

    dataset = PreferenceDataset(dataset_at(parsed.dataset))
    print(import_parquet(user_path(parsed.file), dataset, parsed.layout, progress(parsed)).to_text())
    return 0


def run_export(parsed: argparse.Namespace) -> int:
    """`parrot export FILE`."""
    from ..preferences.dataset import PreferenceDataset
    from ..preferences.parquet import export_parquet

    dataset = PreferenceDataset(existing_dataset(parsed.dataset))
    target = file_target(parsed.file)
    assert target is not None
    number = export_parquet(dataset, target, parsed.layout, progress(parsed))
    print(f"{number} preferences written to {target}")
    return 0


def run_undo(parsed: argparse.Namespace) -> int:
    """`parrot undo`."""
    from ..preferences.dataset import PreferenceDataset

    dataset = PreferenceDataset(existing_dataset(parsed.dataset))
    undone = dataset.undo()
    if undone is None:
        print("There was nothing to take back.")
    else:
        print(f'Taken back: {undone.preferred} for "{undone.prompt}". {len(dataset)} left.')
    return 0


def run_rationalize(parsed: argparse.Namespace) -> int:
    """`parrot rationalize`: rationales, the filter, and training rows."""
    from ..parrot.critic_teacher import CriticTeacher
    from ..parrot.pipeline import rationalize_pairs
    from ..preferences.dataset import pairs_in

    folder = existing_dataset(parsed.dataset)
    # Before the critic is loaded, which takes longer.
    pairs = pairs_in(folder)
    teacher = CriticTeacher.of(
        load_critic(parsed),
        temperature=parsed.temperature,
        answer=parsed.answer,
        max_new_tokens=parsed.max_new_tokens,
    )
    rationalized = rationalize_pairs(
        pairs,
        folder,
        teacher,
        rubrics=teacher.rubrics,
        note=teacher.note,
        seed=parsed.seed,
        progress=progress(parsed),
    )
    print(f"{rationalized.to_markdown()}\n\nRows: {rationalized.file}")
    return 0


def run_train(parsed: argparse.Namespace) -> int:
    """`parrot train`: an adapter in the model folder."""
    from ..parrot.pipeline import CHANGED, has_changed, latest_rows
    from ..training.adapter import learn
    from ..training.distillation import Recipe
    from ..training.plots import loss_plot

    folder = existing_dataset(parsed.dataset)
    plot = file_target(parsed.plot, ".png", ".jpg", ".jpeg", ".webp")
    rows = latest_rows(folder)
    recipe = Recipe(
        epochs=parsed.epochs, rank=parsed.rank, learning_rate=parsed.learning_rate, seed=parsed.seed
    )
    root = paths.model_roots()[0]
    learned = learn(load_critic(parsed), rows, parsed.name, root, recipe, progress(parsed))
    print(learned.to_markdown(), flush=True)
    if has_changed(rows, folder):
        print(f"\n{CHANGED}")
    if plot:
        save_image(loss_plot(learned.trained.losses, f"Loss of {learned.name}"), plot)
    return 0


def run_demo(parsed: argparse.Namespace) -> int:
    """`parrot demo`: base, pairs, rationales, rows, critic."""
    import dataclasses

    from ..demo.train import Plan, make_critic

    plan = Plan()
    if parsed.base_steps is not None:
        plan = dataclasses.replace(plan, base_steps=parsed.base_steps)
    if parsed.courses:
        courses = zip(plan.courses, parsed.courses, strict=False)
        shorter = tuple(dataclasses.replace(course, pairs=pairs) for course, pairs in courses)
        plan = dataclasses.replace(plan, courses=shorter)
    made = make_critic(parsed.work, plan, progress(parsed))
    print(f"The critic is in {made}. Copied to demo/critic, it is `shapes demo (CPU)`.")
    return 0
