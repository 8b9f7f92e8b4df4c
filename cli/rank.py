"""`rank`: the images of a folder, best first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.errors import QuestionError
from ..models.files import user_path
from ..models.image_files import images_in
from ..parrot.run_lock import exclusive
from .checkpoints import load_critic
from .options import add_answer, add_critic, sampling, text, whole_number
from .output import (
    OutputError,
    UsageError,
    check_folder,
    check_targets,
    complain,
    not_written,
    readable,
    show,
)
from .progress_bar import ProgressBar

if TYPE_CHECKING:
    from ..ranking.journal import Journal
    from ..ranking.judging import Options, Ranked

CANCELLED = 130
# Of the folder that is made inside the ranked one.
OUTPUT = "ranking"
PRINTED = 10


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `rank`."""
    parser = commands.add_parser(
        "rank", help="put a folder of images in order, with reasons; goes on where it was stopped"
    )
    parser.add_argument("folder", help="the folder with the images")
    parser.add_argument(
        "--prompt",
        type=text,
        help="what the images were made from; default: what each image's own metadata say, and quality alone "
        "where they say nothing",
    )
    parser.add_argument("--recursive", action="store_true", help="also the folders below it")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help=f"where the results go, and what was judged already; default: {OUTPUT} in the folder",
    )
    parser.add_argument(
        "--by",
        default="score",
        metavar="DIMENSION",
        help="rank by one dimension, such as physical_quality; default: score, the mean of all",
    )
    parser.add_argument("--top", type=whole_number(1), metavar="N", help="how many are printed, and copied")
    parser.add_argument(
        "--copy-to", metavar="DIR", help="copy the best --top images there; nothing is moved or overwritten"
    )
    parser.add_argument(
        "--batch", type=whole_number(1), default=8, metavar="N", help="images judged together; default: 8"
    )
    parser.add_argument(
        "--fast", action="store_true", help="read scores without reasons: quick, but not calibrated"
    )
    parser.add_argument("--rubric", default="auto", metavar="NAME", help="one that `rubric list` names")
    add_critic(parser)
    add_answer(parser)
    parser.set_defaults(run=rank_folder)


def rank_folder(options: argparse.Namespace) -> int:
    """`rank`: judge what is not judged yet, and write the order of all."""
    from ..ranking.journal import Journal
    from ..ranking.results import JOURNAL_NAME

    folder, output, copies = _folders(options)
    paths = _images(folder, options.recursive, [output, *([copies] if copies else [])])
    # Before the critic is loaded, which takes longer.
    check_targets({"--output": str(output / JOURNAL_NAME)})
    if copies:
        check_targets({"--copy-to": str(copies / JOURNAL_NAME)})
    place = output / JOURNAL_NAME
    with exclusive(place, f"ranking into {output}"):
        try:
            journal = Journal(place)
            try:
                return _rank(options, folder, output, copies, paths, journal)
            finally:
                journal.close()
        except OSError as error:
            raise not_written(error.filename or output, error) from error


def _rank(
    options: argparse.Namespace,
    folder: Path,
    output: Path,
    copies: Path | None,
    paths: Sequence[Path],
    journal: Journal,
) -> int:
    from ..ranking.judging import FolderJudge
    from ..ranking.results import SHEET_NAME, copy_best, rank, summary, write_results

    critic = load_critic(options)
    judge = FolderJudge(critic, journal, _judging(options))
    bar = ProgressBar(lambda: judge.judged, options.quiet)

    def failed(file: Ranked) -> None:
        bar.clear()
        complain(file.error if str(file.path) in file.error else f"{file.path}: {file.error}")

    try:
        files = judge.judge(folder, paths, bar.progress(), failed)
    except KeyboardInterrupt:
        bar.clear()
        complain(f"cancelled; {judge.judged} images were judged, and the same command goes on from there")
        return CANCELLED
    bar.clear()
    ranking = rank(files, journal, critic.name, options.by)
    write_results(ranking, journal, folder, output)
    show(readable(summary(ranking, journal, options.top or PRINTED)))
    if copies:
        copied = copy_best(ranking, options.top, copies)
        show(readable(f"Copied: the best {len(copied)} to {copies}"))
    show(readable(f"Contact sheet: {output / SHEET_NAME}"))
    if ranking.failed:
        complain(f"{len(ranking.failed)} of {len(files)} images failed and are not ranked.")
    return 1 if ranking.failed else 0


def _judging(options: argparse.Namespace) -> Options:
    from ..ranking.judging import Options

    return Options(options.prompt, options.rubric, options.fast, options.batch, sampling(options))


def _folders(options: argparse.Namespace) -> tuple[Path, Path, Path | None]:
    """The folder, where the results go, and where copies go. Raises UsageError and QuestionError."""
    folder = user_path(options.folder)
    if not folder.is_dir():
        raise QuestionError(f"There is no folder {folder}: name the folder with the images.")
    if options.copy_to and options.top is None:
        raise UsageError("--copy-to needs --top: say how many of the best are copied.")
    output = user_path(options.output) if options.output else folder / OUTPUT
    copies = user_path(options.copy_to) if options.copy_to else None
    for option, given in (("--output", output), ("--copy-to", copies)):
        check_folder(option, given)
    if copies and copies.resolve() == folder.resolve():
        raise UsageError(f"--copy-to {copies} is the folder that is ranked: name another one.")
    return folder, output, copies


def _images(folder: Path, recursive: bool, leave_out: Sequence[Path]) -> list[Path]:
    try:
        paths = images_in(folder, recursive, leave_out)
    except OSError as error:
        raise OutputError(f"{error.filename or folder} cannot be read ({error.strerror}).") from error
    if not paths:
        below = "" if recursive else ", or look into the folders below it with --recursive"
        raise QuestionError(f"There is no image in the folder {folder}: name another one{below}.")
    return paths
