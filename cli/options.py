"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.files import user_path

if TYPE_CHECKING:
    from ..models.critic import SamplingOptions


def text(value: str) -> str:
    """Words that somebody typed; half of a surrogate pair, which no file can hold, becomes "?"."""
    plain = value.encode("utf-8", "replace").decode("utf-8")
    if not plain.strip():
        raise argparse.ArgumentTypeError("it is empty: say what was asked for")
    return plain


def is_blank(name: str) -> bool:
    """Whether nothing is left of a name without the quotes and spaces around it; as a path it would mean the
    current folder.
    """
    return not name.strip(" \t\r\n\"'\0")


def named(value: str) -> str:
    """A type for argparse: the name of something, or its path; never empty."""
    if is_blank(value):
        raise argparse.ArgumentTypeError("the name is empty: give one")
    return value


def named_path(value: str) -> Path:
    """A type for argparse: a path as people paste it; never empty."""
    return user_path(named(value))


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number from `least` to `most`."""

    def parse(value: str) -> int:
        number = int(value)
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{number} is not {_range(least, most)}")
        return number

    parse.__name__ = "whole number"
    return parse


def number(least: float, most: float | None = None) -> Callable[[str], float]:
    """A type for argparse: a number from `least` to `most`; NaN is none."""

    def parse(value: str) -> float:
        result = float(value)
        if not least <= result <= (float("inf") if most is None else most):
            raise argparse.ArgumentTypeError(f"{value} is not {_range(least, most)}")
        return result

    parse.__name__ = "number"
    return parse


def _range(least: float, most: float | None) -> str:
    return f"{least} or more" if most is None else f"between {least} and {most}"


def device(value: str) -> str:
    """A type for argparse: a device as torch names it, or "auto"."""
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]+)?", value):
        raise argparse.ArgumentTypeError(f"{value} is no device: use auto, cuda, cuda:1, xpu, mps or cpu")
    return value


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """The option of every command that takes its time."""
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes on stderr")


def add_critic(parser: argparse.ArgumentParser) -> None:
    """Options of every command that loads a critic."""
    parser.add_argument(
        "--checkpoint",
        type=named,
        metavar="NAME",
        help="the critic: its name in `checkpoints`, or a folder; default: the first one on this computer",
    )
    parser.add_argument(
        "--quantization",
        choices=["nf4", "int8", "none"],
        default="nf4",
        help="how the weights are kept in memory: nf4 takes least, none most; default: nf4",
    )
    parser.add_argument(
        "--adapter",
        type=named,
        default="none",
        metavar="NAME",
        help="what `parrot train` made: its name in the model folders, or a folder; default: none",
    )
    parser.add_argument(
        "--device", type=device, default="auto", help="auto, cuda, cuda:1, xpu, mps or cpu; default: auto"
    )
    parser.add_argument(
        "--max-pixels",
        type=whole_number(1024),
        metavar="NUMBER",
        help="larger images are shrunk to this many pixels; default: 802816",
    )
    parser.add_argument(
        "--seed", type=whole_number(0, 2**64 - 1), default=0, help="of answers with a temperature; default: 0"
    )
    parser.add_argument("--yes", action="store_true", help="download the critic without asking")
    add_quiet(parser)


def add_answer(parser: argparse.ArgumentParser) -> None:
    """Options of every command that lets a critic write."""
    parser.add_argument(
        "--answer",
        choices=["locked", "free"],
        default="locked",
        help="locked keeps the critic to the rubric's format, free lets it write freely; default: locked",
    )
    parser.add_argument(
        "--temperature", type=number(0, 2), default=0.0, help="0 gives the likeliest answer; default: 0"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=whole_number(64),
        default=2048,
        metavar="NUMBER",
        help="longest answer, in tokens; default: 2048",
    )


def add_result(parser: argparse.ArgumentParser) -> None:
    """Options of every command that judges: by which critic and rubric, and where the result goes."""
    add_critic(parser)
    add_answer(parser)
    parser.add_argument(
        "--rubric", type=named, default="auto", metavar="NAME", help="one that `rubric list` names"
    )
    parser.add_argument(
        "--json",
        type=named,
        metavar="FILE",
        help="also write the result as JSON; - prints it instead of the report",
    )


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Options of every command that judges images named on the command line."""
    parser.add_argument(
        "--prompt",
        type=text,
        help="what the images were made from; default: what each image's own metadata say",
    )
    parser.add_argument(
        "--source", type=named, metavar="FILE", help="for image edits: the image before the edit"
    )
    add_result(parser)


def sampling(options: argparse.Namespace) -> SamplingOptions:
    """How the critic answers, as `Critic.critique` and `Critic.compare` take it."""
    return {
        "answer": options.answer,
        "temperature": options.temperature,
        "seed": options.seed,
        "max_new_tokens": options.max_new_tokens,
    }
