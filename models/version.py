"""This pack's version."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path


def pack_version() -> str:
    """The version: in ComfyUI the pack is a folder with a pyproject.toml, elsewhere it may be an installed package."""
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    if pyproject.is_file():
        line = re.search(r'^version = "(.+)"', pyproject.read_text(encoding="utf-8"), re.MULTILINE)
        if line:
            return line[1]
    try:
        return importlib.metadata.version("rational-rewards")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
