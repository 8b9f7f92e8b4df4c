"""The folder in which a long training keeps everything on its way."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..models.errors import ParrotError
from ..models.files import write_text


def own(folder: Path, plan: Any) -> None:
    """Note a plan, a dataclass, in its folder: what is there already must be of the same one.

    Raises ParrotError where it is of another.
    """
    file, text = folder / "plan.json", json.dumps(asdict(plan), indent=2) + "\n"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    elif file.read_text(encoding="utf-8") != text:
        raise ParrotError(f"{folder} was begun with another plan: choose another name or delete it.")
