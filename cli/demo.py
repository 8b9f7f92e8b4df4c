"""`demo`: shapes painted, judged, and painted again."""

from __future__ import annotations

import argparse
import time
from typing import Any

from .output import file_target, progress


def add_commands(commands: Any) -> None:
    """Add the command."""
    demo = commands.add_parser(
        "demo", help="two minutes without a download: shapes are painted, judged, and painted again"
    )
    demo.add_argument(
        "--out", default="demo.html", metavar="FILE", help="the page that is written; default: demo.html"
    )
    demo.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the first image; each further prompt has the next one; default: 0",
    )
    demo.add_argument(
        "--prompt",
        action="append",
        metavar="PROMPT",
        help="paint this instead of the demo's prompts; may be repeated",
    )
    demo.add_argument("--quiet", action="store_true", help="no progress on standard error")
    demo.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """A table, and a page that shows everything."""
    from ..demo.page import write_page
    from ..demo.rounds import PROMPTS, embedded_critic, facts, play, table

    target = file_target(parsed.out, ".html", ".htm")
    assert target is not None
    start = time.monotonic()
    critic = embedded_critic()
    rounds = play(critic, parsed.prompt or PROMPTS, parsed.seed, progress=progress(parsed))
    known = facts(critic, rounds, time.monotonic() - start)
    print(table(rounds))
    print("\n" + "\n".join(f"{name}: {fact}." for name, fact in known.items()), flush=True)
    page = write_page(rounds, target, "Shapes, judged and painted again", known)
    print(f"\nSee every image in {page}")
    return 0
