"""`demo train-lora`: the shapes generator learns from a judge of its own pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_quiet, named_path, number, whole_number
from .output import UsageError, check_folder, progress_on, quiet_libraries, readable, show

REWARDS = ("critic", "truth")
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
        help="who judges: the embedded critic, or the exact reader of facts; default: critic",
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
    from ..demo.generator.judges import CriticJudge, truth
    from ..demo.generator.reinforcement import Plan, train_lora
    from ..demo.rounds import embedded_critic

    generator = options.generator or SHIPPED
    check_folder("--folder", options.folder)
    if not generator.is_file():
        raise UsageError(f"--generator {generator} is no file: name one that `demo train-generator` wrote.")
    quiet_libraries(options.quiet)
    file = train_lora(
        options.folder,
        generator,
        Plan(
            reward=options.reward,
            level=options.level or read_facts(generator)["level"],
            seed=options.seed,
            prompts=options.prompts,
        ),
        truth if options.reward == "truth" else CriticJudge(embedded_critic()),
        options.iterations,
        options.hours,
        progress_on(quiet=options.quiet),
        say=show,
    )
    show(readable(f"The LoRA is in {file}: copied to ComfyUI's models/loras, Load LoRA takes it."))
    return 0
