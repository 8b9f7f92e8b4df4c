"""What the commands of `python -m benchmarks` share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for a file with the figures."""
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def add_critic(parser: argparse.ArgumentParser) -> None:
    """The option for the critic that is measured."""
    parser.add_argument("--checkpoint", default="shapes demo (CPU)", help="folder or name of the critic")


def write_json(figures: Any, file: Path | None) -> None:
    """Write figures to a file, if there is one to write."""
    if file:
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def report(figures: Any, table: str, file: Path | None, missed: Sequence[str] = ()) -> None:
    """Print figures as a table and write them; ends with an error that names those that were missed."""
    print(table)
    write_json(figures, file)
    if missed:
        raise SystemExit("\n".join(missed))
