"""`python -m rational_rewards`, or `rational-rewards` where it is installed: judge images from the shell.

Exit codes: 0 all done, 1 something failed, 2 the command cannot be meant like that, 130 cancelled.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..models.errors import RationalRewardsError
from . import best, checkpoints, demo, evaluate, judge, parrot, rank, rubrics
from .output import UsageError, complain, show

FAILED, USAGE, CANCELLED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one sentence on stderr."""
    parsed = build_parser().parse_args(arguments)
    try:
        _check_current_folder()
        return parsed.run(parsed)
    except UsageError as error:
        complain(error)
        return USAGE
    except RationalRewardsError as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt:
        complain("cancelled")
        return CANCELLED


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except OSError:
        raise UsageError("The current folder does not exist any more: change to another one.") from None


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="A critic that explains, scores, compares and rewrites prompts.",
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="command")
    judge.add_commands(commands)
    best.add_command(commands)
    rank.add_command(commands)
    evaluate.add_command(commands)
    rubrics.add_command(commands)
    checkpoints.add_command(commands)
    parrot.add_command(commands)
    demo.add_command(commands)
    return parser


def _program() -> str:
    """How the command was called, for the help."""
    name = Path(sys.argv[0]).stem
    return name if name == "rational-rewards" else "python -m rational_rewards"


class _Version(argparse.Action):
    """Print the version, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..models.version import pack_version

        show(f"rational-rewards {pack_version()}")
        parser.exit()
