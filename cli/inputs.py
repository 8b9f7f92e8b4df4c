"""The images that a command names, and the prompts they were made from."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.errors import QuestionError
from ..models.files import user_path
from ..models.image_files import images_in, natural_order
from ..models.image_metadata import prompt_of
from ..models.images import open_image
from ..models.judgement import Judgement
from ..models.refine import RefinedPrompt
from .options import is_blank


@dataclass
class JudgedFile:
    """An image file on its way: its prompt, then what the critic says, or the sentence that says why it
    failed.
    """

    path: str
    prompt: str = ""
    error: str = ""
    judgement: Judgement | None = None
    refined: RefinedPrompt | None = None


def image_files(prompt: str | None, given: Sequence[str]) -> list[JudgedFile]:
    """Every image with its prompt: `prompt`, or the one in its own metadata.

    A name that stands for no image, and an image without a prompt, is failed already.
    """
    listed: dict[str, JudgedFile] = {}
    for name in given:
        try:
            named = [JudgedFile(path) for path in _named(name)]
        except QuestionError as error:
            named = [JudgedFile(name, error=str(error))]
        for file in named:
            listed.setdefault(file.path, file)
    for file in listed.values():
        if file.error:
            continue
        try:
            file.prompt = prompt if prompt is not None else own_prompt(file.path)
        except QuestionError as error:
            file.error = str(error)
    return list(listed.values())


def own_prompt(path: str) -> str:
    """The prompt in an image's metadata. Raises QuestionError where there is none."""
    prompt = prompt_of(path)
    if prompt is None:
        # What is no image at all says so itself.
        open_image(path)
        raise QuestionError(f"{path} does not tell which prompt it was made from: give it with --prompt.")
    return prompt


def pair_prompt(prompt: str | None, image_a: str, image_b: str) -> str:
    """The prompt of two images: `prompt`, or the one that their metadata agree on. Raises QuestionError."""
    if prompt is not None:
        return prompt
    own = {found for found in (prompt_of(image_a), prompt_of(image_b)) if found}
    if len(own) == 2:
        raise QuestionError(
            f"{image_a} and {image_b} were made from different prompts: choose one with --prompt."
        )
    return own.pop() if own else own_prompt(image_a)


def expanded(given: Sequence[str]) -> list[str]:
    """The files that are named: themselves, the images in a folder, or what a pattern such as *.png stands
    for.

    Each file is named once. Raises QuestionError for a name without files: a missing image, a folder without
    images, a pattern that nothing matches.
    """
    return list(dict.fromkeys(path for name in given for path in _named(name)))


def _named(name: str) -> list[str]:
    """The files that a single name stands for. Raises QuestionError where there is none."""
    if is_blank(name):
        raise QuestionError("A name of an image is empty: name an image file, a folder or a pattern.")
    path = user_path(name)
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.is_file() and glob.has_magic(str(path)):
            return _matching(str(path))
        if not path.is_file():
            raise QuestionError(f"There is no image {path}.")
    except OSError as error:
        # Older Pythons ask the system about a name that is too long, or in a folder without rights.
        raise QuestionError(
            f"{path} cannot be read ({error.strerror or error}): check its name and who may read it."
        ) from error
    return [str(path)]


def _in_folder(folder: Path) -> list[str]:
    names = [str(path) for path in images_in(folder)]
    if not names:
        raise QuestionError(f"There is no image in the folder {folder}: name another one.")
    return names


def _matching(pattern: str) -> list[str]:
    # Brackets are a part of many real names; "?" and "*" hardly of any.
    found = glob.glob(pattern, recursive=True) or glob.glob(pattern.replace("[", "[[]"), recursive=True)
    names = [path for path in found if Path(path).is_file()]
    if not names:
        if "*" in pattern or "?" in pattern:
            raise QuestionError(f"No file matches {pattern}: check the folder and the ending.")
        raise QuestionError(f"There is no image {pattern}.")
    return sorted(names, key=natural_order)
