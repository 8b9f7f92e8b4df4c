"""`best`: the best of several images of one prompt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..models.best_of import BestOf, best_of
from ..models.errors import QuestionError
from ..models.files import user_path
from ..models.images import open_image
from .inputs import JudgedFile, image_files
from .judge import critic_for
from .options import add_judging, number, sampling, whole_number
from .output import check_targets, complain, deliver, progress_on

if TYPE_CHECKING:
    from PIL import Image

    from ..models.critic import Critic

FAILED = 1


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `best`."""
    parser = commands.add_parser("best", help="the best of several images of one prompt")
    parser.add_argument("images", nargs="+", help="image files, folders, or patterns such as '*.png'")
    add_judging(parser)
    parser.add_argument(
        "--method",
        choices=["score", "tournament"],
        default="score",
        help="score judges each image by itself, tournament compares them two at a time; default: score",
    )
    parser.add_argument(
        "--keep-top",
        type=whole_number(1),
        default=1,
        metavar="NUMBER",
        help="how many of the best pass; default: 1",
    )
    parser.add_argument(
        "--threshold",
        type=number(0, 1),
        default=0.0,
        metavar="SCORE",
        help="images that score below this do not pass, 0 to 1; the exit code is 1 if none does; default: 0",
    )
    parser.set_defaults(run=best)


def best(options: argparse.Namespace) -> int:
    """`best`: one line an image, best first; those that pass are marked."""
    files = image_files(options.prompt, options.images)
    check_targets({"--json": options.json}, [file.path for file in files])
    critic = critic_for(options, files)
    images = _opened(files, critic)
    judged = [file for file in files if not file.error]
    if not judged:
        raise QuestionError(files[-1].error)
    found = best_of(
        critic,
        images,
        [file.prompt for file in judged],
        [open_image(str(user_path(options.source)))] if options.source else None,
        method=options.method,
        keep_top=options.keep_top,
        threshold=options.threshold,
        rubric=options.rubric,
        progress=progress_on(quiet=options.quiet),
        **sampling(options),
    )
    for file in files:
        if file.error:
            complain(file.error if file.path in file.error else f"{file.path}: {file.error}")
    deliver(options.json, _lines(found, judged), _data(found, judged, files, critic))
    if not found.kept:
        complain(f"No image reaches the threshold of {options.threshold:g}, so none was chosen.")
    return FAILED if not found.kept or len(judged) < len(files) else 0


def _opened(files: Sequence[JudgedFile], critic: Critic) -> list[Image.Image]:
    """The images of all files that can be judged, as the critic reads them; what cannot be opened has
    failed.
    """
    images = []
    for file in files:
        if file.error:
            continue
        try:
            images.append(critic.engine.prepare(open_image(file.path)))
        except QuestionError as error:
            file.error = str(error)
    return images


def _lines(found: BestOf, judged: Sequence[JudgedFile]) -> str:
    """The ranking, one line an image."""
    return "\n".join(
        f"{'not read' if one.score is None else f'{one.score:.3f}'}  "
        f"{'kept    ' if one.kept else 'rejected'}  {judged[one.index].path}"
        for one in found.ranking
    )


def _data(
    found: BestOf, judged: Sequence[JudgedFile], files: Sequence[JudgedFile], critic: Critic
) -> dict[str, Any]:
    """The same for the JSON, with what is said about each image."""
    images: list[dict[str, Any]] = [
        {
            "image": judged[one.index].path,
            "prompt": judged[one.index].prompt,
            "kept": one.kept,
            **one.judgement.to_dict(),
        }
        for one in found.ranking
    ]
    failed = [{"image": file.path, "error": file.error} for file in files if file.error]
    return {
        "critic": critic.name,
        "best": [judged[one.index].path for one in found.kept],
        "comparisons": found.comparisons,
        "failed": len(failed),
        "images": [*images, *failed],
    }
