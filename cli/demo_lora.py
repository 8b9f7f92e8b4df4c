"""`demo train-lora`: the shapes generator learns from a judge of its own pictures. `demo train-scalar`: the
judge without words.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_quiet, named_path, number, whole_number
from .output import UsageError, check_folder, progress_on, quiet_libraries, readable, show

if TYPE_CHECKING:
    from ..demo.generator.judges import Judge

# Of a shapes critic.
WEIGHTS = "model.safetensors"
REWARDS = ("critic", "scalar", "truth")
# As in demo/generator/data.py, which needs torch.
GENERATOR_LEVELS = ("one", "two", "three", "words")


def add_lora(actions: argparse._SubParsersAction) -> None:
    """Add `demo train-lora`."""
    parser = actions.add_parser(
        "train-lora", help="the shapes generator learns from the critic's judgement of its own pictures"
    )
    parser.add_argument(
        "--folder",
        type=named_path,
        default=Path("shapes-lora"),
        metavar="FOLDER",
        help="for everything on the way; a run that was stopped resumes there; default: shapes-lora",
    )
    parser.add_argument(
        "--generator",
        type=named_path,
        metavar="FILE",
        help="the generator that learns; default: the one in the pack",
    )
    parser.add_argument(
        "--reward",
        choices=REWARDS,
        default="critic",
        help="who judges: a critic, a reward without words, or the exact reader of facts; default: critic",
    )
    parser.add_argument(
        "--critic",
        type=named_path,
        metavar="FOLDER",
        help="the critic, which `parrot demo` made; default: the one in the pack that knows generated "
        "pictures",
    )
    parser.add_argument(
        "--scalar",
        type=named_path,
        metavar="FILE",
        help="the reward without words, which `demo train-scalar` wrote; for --reward scalar",
    )
    parser.add_argument(
        "--iterations",
        type=whole_number(1),
        default=300,
        metavar="NUMBER",
        help="in all, those of earlier runs in the folder counted; default: 300",
    )
    parser.add_argument(
        "--prompts",
        type=whole_number(1),
        default=4,
        metavar="NUMBER",
        help="of an iteration, eight pictures each; default: 4",
    )
    parser.add_argument(
        "--level", choices=GENERATOR_LEVELS, help="of the prompts; default: what it was trained on"
    )
    parser.add_argument("--hours", type=number(0), metavar="HOURS", help="stop after this long")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="of prompts, noise and the LoRA; default: 0"
    )
    add_quiet(parser)
    parser.set_defaults(run=train_shapes_lora)


def train_shapes_lora(options: argparse.Namespace) -> int:
    """`demo train-lora`: a LoRA, its journal, curves and pages of samples."""
    from ..demo.generator.files import SHIPPED, read_facts
    from ..demo.generator.reinforcement import JOURNAL, Plan, train_lora
    from ..demo.generator.reinforcement_report import Journal, describe

    generator = options.generator or SHIPPED
    check_folder("--folder", options.folder)
    if not generator.is_file():
        raise UsageError(f"--generator {generator} is no file: name one that `demo train-generator` wrote.")
    if (options.reward == "scalar") != bool(options.scalar):
        raise UsageError(
            "--reward scalar needs --scalar FILE, which `demo train-scalar` wrote, and only that."
        )
    if options.critic:
        if options.reward != "critic":
            raise UsageError("--critic is for --reward critic only: leave one of them out.")
        _check_critic(options.critic)
    quiet_libraries(options.quiet)
    name, judge = _judge(options)
    file = train_lora(
        options.folder,
        generator,
        Plan(
            reward=name,
            level=options.level or read_facts(generator)["level"],
            seed=options.seed,
            prompts=options.prompts,
        ),
        judge,
        options.iterations,
        options.hours,
        progress_on(quiet=options.quiet),
        say=show,
    )
    show(describe(Journal.read(options.folder / JOURNAL)))
    show(readable(f"The LoRA is in {file}: copied to ComfyUI's models/loras, Load LoRA takes it."))
    return 0


def _judge(options: argparse.Namespace) -> tuple[str, Judge]:
    """Who judges, and its name: a folder is gone on with by the same judge only."""
    from ..demo.generator.judges import CriticJudge, generated_critic, truth
    from ..demo.generator.scalar import ScalarJudge, read_scalar
    from ..parrot.resumable import digest

    if options.reward == "truth":
        return "truth", truth
    if options.reward == "critic":
        name = f"critic {digest(options.critic / WEIGHTS)}" if options.critic else "critic"
        return name, CriticJudge(generated_critic(options.critic))
    judge = ScalarJudge(read_scalar(options.scalar))
    return f"scalar {digest(options.scalar)}", judge


def _check_critic(folder: Path) -> None:
    if not (folder / WEIGHTS).is_file():
        raise UsageError(f"--critic {folder} has no {WEIGHTS}: name the folder of a shapes critic.")


def add_scalar(actions: argparse._SubParsersAction) -> None:
    """Add `demo train-scalar`."""
    parser = actions.add_parser(
        "train-scalar",
        help="a reward without words, taught by the course on generated pictures: the control of train-lora",
    )
    parser.add_argument(
        "--folder",
        type=named_path,
        default=Path("shapes-scalar"),
        metavar="FOLDER",
        help="for everything on the way; a run that was stopped resumes there; default: shapes-scalar",
    )
    parser.add_argument(
        "--critic",
        type=named_path,
        metavar="FOLDER",
        help="the critic whose weights it begins with, default: the one in the pack",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="of the preferences and their order; default: 0"
    )
    add_quiet(parser)
    parser.set_defaults(run=train_shapes_scalar)


def train_shapes_scalar(options: argparse.Namespace) -> int:
    """`demo train-scalar`: pictures, preferences, one file."""
    from ..demo.generator.scalar import Plan, train_scalar
    from ..demo.train import GENERATED
    from ..models.checkpoints.discovery import EMBEDDED

    critic = options.critic or EMBEDDED
    check_folder("--folder", options.folder)
    _check_critic(critic)
    quiet_libraries(options.quiet)
    file = train_scalar(
        options.folder, Plan(GENERATED, seed=options.seed), critic, progress_on(quiet=options.quiet), show
    )
    show(readable(f"The scalar reward is in {file}: `demo train-lora --reward scalar --scalar` takes it."))
    return 0
