"""The image files in a folder, in the order in which people count."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

# Pillow also opens what is no image that somebody would judge.
NO_IMAGES = {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf"}


def natural_order(path: str) -> list[tuple[int, int, str]]:
    """A key that sorts image_2 before image_10.

    >>> sorted(["b10", "b2", "a"], key=natural_order)
    ['a', 'b2', 'b10']
    """
    parts = re.split(r"([0-9]+)", path.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def image_endings() -> set[str]:
    """Lower-case endings, with their dots, of the files that are opened as images."""
    from PIL import Image

    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return endings - NO_IMAGES


def images_in(folder: Path, recursive: bool = False, leave_out: Collection[Path] = ()) -> list[Path]:
    """The images in a folder, and with `recursive` in the folders below it, in natural order.

    Hidden files and folders and those of `leave_out` are passed over, links to folders are not followed.
    Raises OSError where the folder cannot be read.
    """
    endings, hidden = image_endings(), {path.resolve() for path in leave_out}
    found = [path for path in _files(folder, recursive, hidden) if path.suffix.lower() in endings]
    return sorted(found, key=lambda path: natural_order(str(path)))


def _files(folder: Path, recursive: bool, leave_out: set[Path]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if _is_file(entry):
            yield path
        elif recursive and entry.is_dir(follow_symlinks=False) and path.resolve() not in leave_out:
            yield from _files(path, recursive, leave_out)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Links that lead nowhere, or round in a circle, count: opening one says what is wrong with it."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
