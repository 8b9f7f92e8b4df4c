"""`rational-rewards`, or `python -m rational_rewards`: the nodes' jobs from a shell.

Exit codes: 0 done, 1 failed (or parts of it: each is named on standard error), 2 usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..models.errors import RationalRewardsError
from . import checkpoints, demo, evaluate, judge, parrot, rubrics
from .output import complain, print_safely


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    print_safely()
    parsed = build_parser().parse_args(arguments)
    try:
        code = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except RationalRewardsError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("cancelled")
        return 130
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does; nothing more can be printed, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="rational-rewards", description="A critic that explains, scores, compares and rewrites prompts."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in (judge, evaluate, rubrics, checkpoints, demo, parrot):
        module.add_commands(commands)
    return parser


class _Version(argparse.Action):
    """Prints the pack's version, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..models.version import pack_version

        print(f"rational-rewards {pack_version()}")
        parser.exit()
