"""Datasets of preferences as they are named on the command line."""

from __future__ import annotations

from pathlib import Path

from ..models import paths
from ..models.errors import PreferenceError
from ..models.files import user_path
from .checkpoints import did_you_mean
from .options import is_blank


def dataset_at(given: str) -> Path:
    """The folder of a dataset, named by itself or by its name under the user's preferences.

    Raises PreferenceError for what is no name and not the folder of a dataset either: nothing at all, "." or
    "..", which would fill whatever folder the shell is in.
    """
    from ..preferences.dataset import LINES, dataset_folder

    folder = user_path(given)
    nameless = is_blank(given) or folder.name in ("", "..")
    if nameless and (is_blank(given) or not (folder / LINES).is_file()):
        return dataset_folder(paths.preferences_root(), given)
    if str(folder) != folder.name or (folder / LINES).is_file():
        return folder
    return dataset_folder(paths.preferences_root(), str(folder))


def existing_dataset(given: str) -> Path:
    """The folder of a dataset that is there.

    Raises PreferenceError for one that is not, with the nearest name.
    """
    from ..preferences.dataset import LINES

    folder = dataset_at(given)
    if (folder / LINES).is_file():
        return folder
    known = sorted(path.parent.name for path in folder.parent.glob(f"*/{LINES}"))
    there = f"there are {', '.join(known)}" if known else "make one with `parrot import`"
    meant = did_you_mean(folder.name, known)
    raise PreferenceError(f'There is no dataset "{folder.name}" in {folder.parent}: {there}.{meant}')
