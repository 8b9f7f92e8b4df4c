"""Datasets of preferences as they are named on the command line."""

from __future__ import annotations

import difflib
from pathlib import Path

from ..models import paths
from ..models.errors import PreferenceError
from ..models.files import user_path


def dataset_at(given: str) -> Path:
    """The folder of a dataset: a folder, or a name under the user's preferences. It need not exist."""
    from ..preferences.dataset import LINES, dataset_folder

    folder = user_path(given)
    if folder.name != given or (folder / LINES).is_file():
        return folder
    return dataset_folder(paths.preferences_root(), given)


def existing_dataset(given: str) -> Path:
    """The same for a dataset that must be there. Raises PreferenceError that names those that are."""
    from ..preferences.dataset import LINES

    folder = dataset_at(given)
    if (folder / LINES).is_file():
        return folder
    root = paths.preferences_root()
    names = sorted(path.parent.name for path in root.glob(f"*/{LINES}"))
    close = difflib.get_close_matches(given, names, 1)
    if close:
        raise PreferenceError(f'There is no dataset "{given}": did you mean {close[0]}?')
    if names:
        raise PreferenceError(f'There is no dataset "{given}": choose one of {", ".join(names)}.')
    raise PreferenceError(
        f'There is no dataset "{given}", and none in {root}: record or import preferences first.'
    )
