"""Where files lie when ComfyUI is not running: the same folders that it uses, if the pack stands in its `custom_nodes`."""

from __future__ import annotations

import os
from pathlib import Path

from .user_settings import UserSettings, read_user_settings

PACK = Path(__file__).resolve().parent.parent


def comfyui_folder() -> Path | None:
    """The ComfyUI that this pack is installed in, or None."""
    for folder in PACK.parents:
        if (folder / "folder_paths.py").is_file():
            return folder
    return None


def user_folder() -> Path:
    """The user's own files: RATIONAL_REWARDS_HOME, else ComfyUI's user folder, else a folder in the home directory."""
    if home := os.environ.get("RATIONAL_REWARDS_HOME"):
        return Path(home)
    comfyui = comfyui_folder()
    return comfyui / "user" / "rational_rewards" if comfyui else Path.home() / ".rational_rewards"


def settings() -> UserSettings:
    """What the user chose on the settings page of that ComfyUI."""
    comfyui = comfyui_folder()
    return read_user_settings(comfyui / "user") if comfyui else UserSettings()


def model_roots() -> list[Path]:
    """Where checkpoints may lie, the download target first."""
    comfyui = comfyui_folder()
    models = comfyui / "models" if comfyui else user_folder() / "models"
    return settings().roots(models, [models / "rationalrewards", models / "LLM"])


def rubric_folders() -> list[Path]:
    """Where the user's own rubrics lie."""
    return [user_folder() / "rubrics"]


def preferences_root() -> Path:
    """Where the user's preferences lie, one folder a dataset."""
    return user_folder() / "preferences"
