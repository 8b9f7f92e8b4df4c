"""`demo` and `parrot demo`: the shapes world from the shell."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from ..models.errors import QuestionError
from ..models.files import user_path
from .demo_lora import GENERATOR_LEVELS, add_lora, add_scalar
from .options import add_quiet, named, named_path, number, text, whole_number
from .output import UsageError, check_folder, check_targets, progress_on, quiet_libraries, readable, show


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `demo`."""
    parser = commands.add_parser(
        "demo", help="two minutes without a download: shapes are painted, judged, and painted again"
    )
    parser.add_argument(
        "--out",
        type=named,
        default="demo.html",
        metavar="FILE",
        help="the page that is written; default: demo.html",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        help="of the first image; each further prompt has the next one; default: the demo's own",
    )
    parser.add_argument(
        "--prompt",
        action="append",
        type=text,
        metavar="PROMPT",
        help="paint this instead of the demo's prompts; may be repeated",
    )
    add_quiet(parser)
    parser.set_defaults(run=shapes_demo)
    actions = parser.add_subparsers(metavar="action")
    add_generator(actions)
    add_scalar(actions)
    add_lora(actions)


def add_generator(actions: argparse._SubParsersAction) -> None:
    """Add `demo train-generator` and `demo evaluate-generator`."""
    parser = actions.add_parser("train-generator", help="train the shapes generator: hours on a CPU")
    parser.add_argument(
        "--folder",
        type=named_path,
        default=Path("shapes-generator"),
        metavar="FOLDER",
        help="for everything on the way; a run that was stopped resumes there; default: shapes-generator",
    )
    parser.add_argument(
        "--hours",
        type=number(0),
        metavar="HOURS",
        help="stop after this long, and write what there is by then",
    )
    parser.add_argument(
        "--level",
        choices=GENERATOR_LEVELS,
        default="words",
        help="the richest pictures: one to three things, or three and a word; default: words",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        metavar="NUMBER",
        help="processes that draw; default: one for each core",
    )
    parser.add_argument(
        "--start",
        type=named_path,
        metavar="FILE",
        help="begin with the weights of this finished generator instead of with none",
    )
    add_quiet(parser)
    parser.set_defaults(run=train_shapes_generator)
    parser = actions.add_parser(
        "evaluate-generator", help="how many facts of fresh prompts a generator gets right"
    )
    parser.add_argument(
        "file", type=named_path, nargs="?", metavar="FILE", help="default: the one in the pack"
    )
    parser.add_argument("--level", choices=GENERATOR_LEVELS, help="default: what it was trained on")
    parser.add_argument(
        "--prompts",
        type=whole_number(2),
        default=200,
        metavar="NUMBER",
        help="plain and insisting; default: 200",
    )
    parser.add_argument(
        "--guidance",
        type=number(0),
        default=3.0,
        metavar="SCALE",
        help="how strongly the prompt is followed, cfg in ComfyUI; 1: no guidance; default: 3",
    )
    parser.add_argument(
        "--lora", type=named_path, metavar="FILE", help="with this LoRA, which `demo train-lora` wrote"
    )
    parser.add_argument(
        "--judge", action="store_true", help="also by a critic, and whether it sees what is right"
    )
    parser.add_argument(
        "--critic",
        type=named_path,
        metavar="FOLDER",
        help="the one that judges, which `parrot demo` made; default: the one in the pack that knows "
        "generated pictures",
    )
    add_quiet(parser)
    parser.set_defaults(run=evaluate_shapes_generator)


def add_training(actions: argparse._SubParsersAction) -> None:
    """Add `parrot demo`."""
    parser = actions.add_parser(
        "demo", help="train the embedded critic from nothing: a good two hours on two CPU cores"
    )
    parser.add_argument(
        "--work",
        type=named_path,
        default=Path("parrot-demo"),
        metavar="FOLDER",
        help="folder for everything on the way; a run that was stopped resumes there; default: parrot-demo",
    )
    parser.add_argument(
        "--courses",
        type=whole_number(1),
        nargs="+",
        metavar="PAIRS",
        help="preference pairs of the first, second, ... course, and no course after these; for a try",
    )
    parser.add_argument(
        "--generated",
        action="store_true",
        help="and a last course on pictures of the shapes generator, preferences from the exact reader",
    )
    parser.add_argument(
        "--base-steps",
        type=whole_number(1),
        metavar="STEPS",
        help="training steps of the base; for a try, fewer than it needs",
    )
    add_quiet(parser)
    parser.set_defaults(run=make_shapes_critic)


def shapes_demo(options: argparse.Namespace) -> int:
    """`demo`: a table, and a page that shows everything."""
    from ..demo.page import write_page
    from ..demo.prompts import parse_request
    from ..demo.rounds import FIRST_SEED, PROMPTS, embedded_critic, facts, is_paintable, play, table

    check_targets({"--out": options.out})
    for prompt in options.prompt or ():
        if not is_paintable(parse_request(prompt)):
            raise QuestionError(
                f'The painter knows nothing in "{prompt}": ask for one to three coloured shapes.'
            )
    quiet_libraries(options.quiet)
    start = time.monotonic()
    critic = embedded_critic()
    seed = FIRST_SEED if options.seed is None else options.seed
    rounds = play(critic, options.prompt or PROMPTS, seed, progress=progress_on(quiet=options.quiet))
    known = facts(critic, rounds, time.monotonic() - start)
    show(table(rounds))
    show("\n" + "\n".join(f"{name}: {fact}." for name, fact in known.items()))
    page = write_page(rounds, user_path(options.out), "Shapes, judged and painted again", known)
    show(readable(f"\nSee every image in {page}"))
    return 0


def make_shapes_critic(options: argparse.Namespace) -> int:
    """`parrot demo`: base, pairs, rationales, rows, critic."""
    from ..demo.train import GENERATED, Plan, make_critic

    check_folder("--work", options.work)
    quiet_libraries(options.quiet)
    plan = Plan()
    if options.base_steps is not None:
        plan = dataclasses.replace(plan, base_steps=options.base_steps)
    if options.courses:
        chosen = zip(plan.courses, options.courses, strict=False)
        courses = tuple(dataclasses.replace(course, pairs=pairs) for course, pairs in chosen)
        plan = dataclasses.replace(plan, courses=courses)
    if options.generated:
        plan = dataclasses.replace(plan, generated=GENERATED)
    critic = make_critic(options.work, plan, progress_on(quiet=options.quiet), say=show)
    show(readable(f"The critic is in {critic}. Copied to demo/critic, it is `shapes demo (CPU)`."))
    return 0


def train_shapes_generator(options: argparse.Namespace) -> int:
    """`demo train-generator`: pictures, denoiser, decoder, one file."""
    from ..demo.generator.training import Plan, train_generator

    check_folder("--folder", options.folder)
    if options.start and not options.start.is_file():
        raise UsageError(f"--start {options.start} is no file: name one that `demo train-generator` wrote.")
    file = train_generator(
        options.folder,
        Plan(),
        options.level,
        options.hours,
        options.workers,
        progress_on(quiet=options.quiet),
        say=show,
        start=options.start,
    )
    show(
        readable(
            f"The generator is in {file}. Copied to demo/generator, it is what Load Shapes Generator loads."
        )
    )
    return 0


def evaluate_shapes_generator(options: argparse.Namespace) -> int:
    """`demo evaluate-generator`: a table by kind of fact."""
    from ..demo.generator.evaluation import evaluate_generator
    from ..demo.generator.files import SHIPPED
    from ..demo.generator.judges import generated_critic

    file = options.file or SHIPPED
    if not file.is_file():
        raise UsageError(f"{file} is no file: name one that `demo train-generator` wrote.")
    quiet_libraries(options.quiet)
    show(
        evaluate_generator(
            file,
            options.level,
            options.prompts,
            options.guidance,
            generated_critic(options.critic) if options.judge else None,
            options.lora,
            progress_on(quiet=options.quiet),
        ).to_markdown()
    )
    return 0
