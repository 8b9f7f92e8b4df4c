"""`checkpoints`: which critics are on this computer, and which can be downloaded."""

from __future__ import annotations

import argparse
from typing import Any

from ..models import paths


def add_commands(commands: Any) -> None:
    """Add the command."""
    listing = commands.add_parser(
        "checkpoints", help="list the critics on this computer and those that can be downloaded"
    )
    listing.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Name, state and size of every critic."""
    from ..models.checkpoints.discovery import listed

    roots = paths.model_roots()
    print(f"Looking in {' and '.join(str(root) for root in roots)}")
    for entry in listed(roots):
        print(f"{entry.name:40} {entry.state}")
    return 0
