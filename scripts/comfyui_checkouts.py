"""Finding real ComfyUI checkouts for the tests that need one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

HINT = (
    "real-server tests are skipped: no ComfyUI found (set COMFYUI_PATH to one or more checkouts, or "
    "install one at ~/comfy/ComfyUI)"
)


def checkouts() -> list[Path]:
    """COMFYUI_PATH (several, separated as in PATH), else the ComfyUI this pack is installed in, else
    comfy-cli's default workspace.
    """
    if given := os.environ.get("COMFYUI_PATH"):
        found = [Path(path) for path in given.split(os.pathsep) if path]
        if missing := [path for path in found if not (path / "main.py").is_file()]:
            raise SystemExit(f"COMFYUI_PATH names {missing[0]}, which is no ComfyUI checkout")
        return found
    repository = Path(__file__).resolve().parent.parent
    nearby = [repository.parent.parent] if repository.parent.name == "custom_nodes" else []
    workspaces = [Path.home() / "comfy" / "ComfyUI", Path.home() / "Documents" / "comfy" / "ComfyUI"]
    return [path for path in (*nearby, *workspaces) if (path / "main.py").is_file()][:1]


def version(checkout: Path) -> str:
    """A checkout's version, such as 0.33.0."""
    text = (checkout / "comfyui_version.py").read_text(encoding="utf-8")
    found = re.search(r'"([0-9.]+)"', text)
    return found[1] if found else "unknown"


def chromium() -> str | None:
    """A Chromium or Chrome on this computer for the browser tests, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


def describe_checkouts() -> list[str]:
    """Lines for the head of the test report."""
    return [f"ComfyUI {version(path)} at {path}" for path in checkouts()] or [HINT]
