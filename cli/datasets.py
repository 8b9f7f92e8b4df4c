"""Datasets of preferences as they are named on the command line."""

from __future__ import annotations

from pathlib import Path

from ..models import paths
from ..models.errors import PreferenceError
from ..models.files import user_path
from .checkpoints import did_you_mean


def dataset_at(given: str) -> Path:
    """The folder of a dataset, named by itself or by its name under the user's preferences."""
    from ..preferences.dataset import LINES, dataset_folder

    folder = user_path(given)
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
