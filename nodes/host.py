"""What the nodes need of ComfyUI: folders, device, progress and cancel. The only place that asks the host for them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths

from ..models.engines.base import Watch

STEPS = 1000  # of a progress bar
log = logging.getLogger(__name__)


def register_model_folders() -> None:
    """Make `models/rationalrewards` and `models/LLM` known; folders from extra_model_paths.yaml stay in front."""
    for name in ("rationalrewards", "LLM"):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))


def model_roots() -> list[Path]:
    """Where checkpoints may lie, the download target first."""
    return [Path(path) for name in ("rationalrewards", "LLM") for path in folder_paths.get_folder_paths(name)]


def rubric_folders() -> list[Path]:
    """Where the user's own rubrics lie."""
    return [Path(folder_paths.get_user_directory()) / "rational_rewards" / "rubrics"]


def preferences_root() -> Path:
    """Where the user's preferences lie, one folder a dataset."""
    return Path(folder_paths.get_user_directory()) / "rational_rewards" / "preferences"


def device() -> Any:
    """The device that ComfyUI computes on."""
    return comfy.model_management.get_torch_device()


def make_room(size: int) -> None:
    """Ask ComfyUI to free `size` bytes on its device before something is loaded there."""
    target = device()
    if target.type != "cpu":
        comfy.model_management.free_memory(size, target)


def check_cancel() -> None:
    """Raise ComfyUI's own exception when the user has cancelled."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def say(node_id: str | None, text: str) -> None:
    """Show a short line of our own on a node, and in the log. Never for text that a model or a user wrote: old frontends run its HTML."""
    from server import PromptServer

    log.info(text)
    if node_id and getattr(PromptServer, "instance", None):
        PromptServer.instance.send_progress_text(text, node_id, PromptServer.instance.client_id)


def rubric_changed(name: str | None) -> float:
    """When the user's own rubric of that name was last changed, so that a node runs again after an edit; 0 for built-in ones."""
    files = [folder / f"{name}.yaml" for folder in rubric_folders()]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


class Bar:
    """A progress bar on the running node, in fractions."""

    def __init__(self) -> None:
        self.bar = comfy.utils.ProgressBar(STEPS)

    def show(self, done: float, total: float) -> None:
        """`done` of `total`, in any unit."""
        self.bar.update_absolute(min(STEPS, int(STEPS * done / total)) if total else 0, STEPS)


def watch() -> Watch:
    """Progress on the node, and cancel at every token."""
    bar = Bar()
    return Watch(check_cancel, lambda done, total, section, tail: bar.show(done, total))
