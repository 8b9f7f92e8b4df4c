"""Options that several commands share, and the critic they ask for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..models import paths
from ..models.checkpoints import discovery
from ..models.critic import Critic, SamplingOptions
from ..models.errors import CheckpointError
from ..models.files import user_path
from ..models.images import MAX_PIXELS


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Options of every command that judges images of a prompt."""
    parser.add_argument(
        "--prompt", help="the prompt the images were made from; default: read from each image"
    )
    parser.add_argument("--source", metavar="FILE", help="for image edits: the image before the edit")
    add_critic(parser)
    add_sampling(parser)
    add_rubric(parser)
    add_json(parser)


def add_critic(parser: argparse.ArgumentParser) -> None:
    """Options of every command that loads a critic."""
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="folder of the critic, or its name in `checkpoints`; default: the first one there",
    )
    parser.add_argument(
        "--quantization",
        choices=["nf4", "int8", "none"],
        default="nf4",
        help="nf4 needs about 7 GB for an 8B model, int8 about 11, none about 18; default: nf4",
    )
    parser.add_argument(
        "--adapter",
        default="none",
        metavar="FOLDER",
        help="folder of an adapter, or its name in the model folders; default: none",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps, xpu or cpu; default: auto")
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        help=f"larger images are shrunk to this many pixels; default: {MAX_PIXELS}",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="used only with a temperature above 0, and in training; default: 0",
    )
    parser.add_argument("--yes", action="store_true", help="download the checkpoint without asking")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Options of every command that lets a critic write."""
    parser.add_argument(
        "--answer",
        choices=["locked", "free"],
        default="locked",
        help="locked keeps the critic to the headings and scores of its format; default: locked",
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="0 gives the likeliest answer; default: 0"
    )
    parser.add_argument("--max-new-tokens", type=int, default=2048, help="longest answer; default: 2048")


def add_rubric(parser: argparse.ArgumentParser) -> None:
    """Which questions are asked."""
    parser.add_argument(
        "--rubric", default="auto", help="name of a rubric (see `rubric list`); default: auto"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Where the result goes as data."""
    parser.add_argument(
        "--json", metavar="FILE", help="write the result as JSON (- for standard output, without the report)"
    )


def sampling(parsed: argparse.Namespace) -> SamplingOptions:
    """How the critic shall answer."""
    return {
        "answer": parsed.answer,
        "temperature": parsed.temperature,
        "seed": parsed.seed,
        "max_new_tokens": parsed.max_new_tokens,
    }


def load_critic(parsed: argparse.Namespace) -> Critic:
    """The critic that the options ask for. Raises CheckpointError."""
    roots = paths.model_roots()
    return Critic.load(
        _folder(parsed, roots),
        parsed.quantization,
        parsed.device,
        max_pixels=parsed.max_pixels,
        rubric_folders=paths.rubric_folders(),
        adapter=_adapter(parsed.adapter),
    )


def _adapter(given: str) -> str | Path:
    folder = user_path(given)
    return folder if folder.is_dir() else given


def _folder(parsed: argparse.Namespace, roots: list[Path]) -> Path:
    if parsed.checkpoint is None:
        return _default_folder(parsed, roots)
    folder = user_path(parsed.checkpoint)
    if folder.is_dir():
        return folder
    checkpoint = discovery.resolve(parsed.checkpoint, roots)
    if isinstance(checkpoint, discovery.Checkpoint):
        return checkpoint.folder
    return _download(checkpoint, roots[0], parsed.yes)


def _default_folder(parsed: argparse.Namespace, roots: list[Path]) -> Path:
    local = discovery.find_checkpoints(roots)
    if not local:
        official = " or ".join(official.repo for official in discovery.OFFICIAL)
        raise CheckpointError(
            f"There is no checkpoint in {roots[0]}: add --checkpoint with a folder, with {official} to "
            f"download it, "
            f'or with "{discovery.EMBEDDED_NAME}" to try it on coloured shapes.'
        )
    others = [*(checkpoint.name for checkpoint in local[1:]), discovery.EMBEDDED_NAME]
    if not parsed.quiet:
        listed = ", ".join(f'"{name}"' for name in others)
        print(f"Using {local[0].name}. --checkpoint chooses another: {listed}.", file=sys.stderr)
    return local[0].folder


def _download(official: discovery.Official, root: Path, agreed: bool) -> Path:
    from ..models.checkpoints.downloads import cost_of, download

    offline = paths.settings().offline
    if not offline and not agreed:
        question = cost_of(official, root)
        if not sys.stdin.isatty():
            raise CheckpointError(f"{question} Add --yes to start the download.")
        print(f"{question} Start the download? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            raise CheckpointError("Nothing was downloaded.")
    return download(official, root, _show_bytes, offline=offline)


def _show_bytes(done: float, total: float) -> None:
    end = "\n" if done >= total else ""
    print(f"\r{done / 1e9:.2f} of {total / 1e9:.2f} GB", end=end, file=sys.stderr, flush=True)
