"""What a critic is given: images and prompts, one for all or one for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .errors import QuestionError

ImageInput = Image.Image | str | Path
Images = ImageInput | Sequence[ImageInput]
Prompts = str | Sequence[str]


def list_images(images: Images, name: str) -> list[ImageInput]:
    """One image, or several, as a list; `name` is that of the argument. Raises QuestionError."""
    if isinstance(images, (str, Path, Image.Image)):
        return [images]
    if isinstance(images, (bytes, bytearray)) or not isinstance(images, Iterable):
        raise QuestionError(
            f"`{name}` must be an image or a list of images, not {type(images).__name__}: give PIL images or "
            f"paths."
        )
    listed: list[ImageInput] = list(images)
    if not listed:
        raise QuestionError(f"`{name}` is empty: give at least one image.")
    return listed


def list_prompts(prompt: Prompts) -> list[str]:
    """One prompt, or several, as a list. Raises QuestionError."""
    prompts = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
    for one in prompts:
        if not isinstance(one, str):
            raise QuestionError(
                f"`prompt` must be a text or a list of texts, not {type(one).__name__}: give the prompt the "
                f"image was made from."
            )
    return prompts


def check_count(given: int, count: int, name: str) -> None:
    """Raise QuestionError unless one is given for all, or one for each."""
    if given not in (1, count):
        images = "1 image" if count == 1 else f"{count} images"
        raise QuestionError(f"`{name}` has {given} entries for {images}: give one for all, or one for each.")


def broadcast(column: Sequence[Any], index: int) -> Any:
    """The entry for one image: its own, or the one that is for all."""
    return column[index] if len(column) > 1 else column[0]
