"""Images that are named on the command line: files, folders and patterns, with the prompts they were made
from.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from ..models.errors import QuestionError
from ..models.files import user_path
from ..models.image_metadata import prompt_of

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


def expand(given: Sequence[str]) -> list[str]:
    """The images that are meant, in order, each once: a folder stands for the images in it, a pattern for its
    matches.

    A file whose name holds pattern characters is that file. Shells on Windows do not expand patterns, and
    quoted ones come as they are anywhere. Raises QuestionError for a folder without images and a pattern
    without matches.
    """
    images: list[str] = []
    for name in given:
        path = user_path(name)
        if path.is_dir():
            listed = [str(file) for file in path.iterdir() if file.suffix.lower() in ENDINGS]
            if not listed:
                raise QuestionError(f"There is no image in the folder {name}.")
            images += sorted(listed, key=_natural)
        elif glob.has_magic(str(path)) and not path.exists():
            matches = [match for match in glob.glob(str(path), recursive=True) if Path(match).is_file()]
            if not matches:
                raise QuestionError(f"No file matches {name}.")
            images += sorted(matches, key=_natural)
        else:
            images.append(str(path))
    return list(dict.fromkeys(images))


def prompt_for(image: str, given: str | None) -> str:
    """The prompt that is given, or else the one in the image's own metadata.

    Raises QuestionError where there is none.
    """
    if given is not None:
        return given
    found = prompt_of(Path(image))
    if not found:
        raise QuestionError(f"{image} does not say which prompt it was made from: add --prompt.")
    return found


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts image-2 before image-10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
