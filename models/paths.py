"""Where files are when ComfyUI is not running: in the same folders that it uses.

ComfyUI's folders depend on its options (`--base-directory`, `--user-directory`, extra_model_paths.yaml), and
the pack may be linked into several of them. So the running pack notes them (`record_comfyui`), and the
command line reads that note.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from .files import user_path, write_json
from .user_settings import UserSettings, read_user_settings

PACK = Path(__file__).resolve().parent.parent
# Names a folder for the user's own files, instead of ComfyUI's.
HOME_VARIABLE = "RATIONAL_REWARDS_HOME"
# Names another file for the note, for tests and for homes that cannot be written.
RECORD_VARIABLE = "RATIONAL_REWARDS_RECORD"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComfyUIFolders:
    """A ComfyUI's `user` and `models` folders, and `roots`, where it looks for critics (without what the
    settings add).
    """

    user: Path
    models: Path
    roots: tuple[Path, ...]


def record_comfyui(folders: ComfyUIFolders) -> None:
    """Note the folders of the ComfyUI that has just loaded this pack.

    A note that cannot be written is only logged.
    """
    path = _record_file()
    try:
        notes = _read_notes(path)
        note = {
            "user": str(folders.user.absolute()),
            "models": str(folders.models.absolute()),
            "roots": [str(root.absolute()) for root in folders.roots],
        }
        if notes.get(str(PACK)) != note:
            write_json(path, {**notes, str(PACK): note})
    except OSError as error:
        log.info("The folders of this ComfyUI could not be noted for the command line (%s).", error)


def comfyui_folders() -> ComfyUIFolders | None:
    """The folders of the ComfyUI that loaded this pack last, or else of the one it is installed in; None
    without either.
    """
    note = _read_notes(_record_file()).get(str(PACK))
    if isinstance(note, dict):
        try:
            noted = ComfyUIFolders(
                Path(note["user"]), Path(note["models"]), tuple(Path(root) for root in note["roots"])
            )
        except (KeyError, TypeError):
            noted = None
        if noted and noted.user.is_dir():
            return noted
    for folder in PACK.parents:
        if (folder / "folder_paths.py").is_file():
            models = folder / "models"
            return ComfyUIFolders(folder / "user", models, (models / "rationalrewards", models / "LLM"))
    return None


def user_folder() -> Path:
    """The user's own files: RATIONAL_REWARDS_HOME, else ComfyUI's user folder, else a folder in the home
    directory.
    """
    if home := os.environ.get(HOME_VARIABLE):
        return user_path(home)
    folders = comfyui_folders()
    return folders.user / "rational_rewards" if folders else Path.home() / ".rational_rewards"


def settings() -> UserSettings:
    """What the user chose on the settings page of that ComfyUI."""
    folders = comfyui_folders()
    return read_user_settings(folders.user) if folders else UserSettings()


def model_roots() -> list[Path]:
    """Where checkpoints and adapters may be, the folder for new ones first: in RATIONAL_REWARDS_HOME where
    that is set, and what ComfyUI has is found as well.
    """
    folders, models = comfyui_folders(), user_folder() / "models"
    own = [models / "rationalrewards", models / "LLM"]
    if folders is None:
        return settings().roots(models, own)
    theirs = settings().roots(folders.models, list(folders.roots))
    return list(dict.fromkeys([*own, *theirs])) if os.environ.get(HOME_VARIABLE) else theirs


def rubric_folders() -> list[Path]:
    """Where the user's own rubrics are."""
    return [user_folder() / "rubrics"]


def preferences_root() -> Path:
    """Where the user's preferences are, one folder a dataset."""
    return user_folder() / "preferences"


def _record_file() -> Path:
    if named := os.environ.get(RECORD_VARIABLE):
        return Path(named)
    return Path(os.path.expanduser("~")) / ".rational_rewards" / "comfyui.json"


def _read_notes(path: Path) -> dict[str, object]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}
