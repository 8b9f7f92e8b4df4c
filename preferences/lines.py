"""A preference as a line of a dataset's file: made from two images, and read back."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..models.errors import PreferenceError
from ..models.images import open_image
from .pairs import PREFERRED, Preferred

_HASH = re.compile(r"[0-9a-f]{64}")


def image_hash(image: Image.Image) -> str:
    """SHA-256 of the size and the pixels of an RGB image, whatever file it came from; 64 hexadecimal
    digits.
    """
    return hashlib.sha256(b"%dx%d\n" % image.size + image.tobytes()).hexdigest()


def pair_id(prompt: str, image_a: str, image_b: str, source: str | None) -> str:
    """The id of a pair, from its prompt and the hashes of its images; 20 hexadecimal digits.

    It does not depend on which image is called A, so that a pair shown the other way round is the same
    pair.
    """
    content = json.dumps([prompt, *sorted((image_a, image_b)), source])
    return hashlib.sha256(content.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Line:
    """A preference as the file has it; images are hashes."""

    id: str
    prompt: str
    image_a: str
    image_b: str
    preferred: Preferred
    source: str | None
    chosen_by: str

    @property
    def better(self) -> str:
        """The hash of the preferred image, or "" for a tie."""
        return {"A": self.image_a, "B": self.image_b}.get(self.preferred, "")


def new_line(
    image_a: Any, image_b: Any, prompt: str, preferred: Preferred, source: Any, chosen_by: str
) -> tuple[Line, dict[str, Image.Image]]:
    """A preference and its images by their hashes. Raises PreferenceError for what cannot be recorded."""
    if preferred not in PREFERRED:
        raise PreferenceError(f'"{preferred}" is no preference: choose A, B or tie.')
    # Half a surrogate pair, which files cannot hold, becomes "?".
    prompt = prompt.encode("utf-8", "replace").decode()
    if not prompt.strip():
        raise PreferenceError(
            "The prompt is empty: a preference needs the prompt that both images were made from."
        )
    a, b = open_image(image_a), open_image(image_b)
    hash_a, hash_b = image_hash(a), image_hash(b)
    if hash_a == hash_b and preferred != "tie":
        raise PreferenceError(
            "Image A and image B are the same image, so neither can be preferred: connect two images."
        )
    images = {hash_a: a, hash_b: b}
    hash_source = None
    if source is not None:
        opened = open_image(source)
        hash_source = image_hash(opened)
        images[hash_source] = opened
    identity = pair_id(prompt, hash_a, hash_b, hash_source)
    by = chosen_by.strip() or "human"
    return Line(identity, prompt, hash_a, hash_b, preferred, hash_source, by), images


def parse_line(values: dict[str, Any]) -> Line:
    """A line, checked; without `chosen_by` a human chose. Raises KeyError, TypeError or ValueError."""
    line = Line(
        id=values["id"],
        prompt=values["prompt"],
        image_a=values["image_a"],
        image_b=values["image_b"],
        preferred=values["preferred"],
        source=values["source"],
        chosen_by=values.get("chosen_by", "human"),
    )
    if not all(isinstance(text, str) and text for text in (line.id, line.prompt, line.chosen_by)):
        raise ValueError("id, prompt and chosen_by must be texts")
    if line.preferred not in PREFERRED:
        raise ValueError("preferred must be A, B or tie")
    for image in (line.image_a, line.image_b, *([] if line.source is None else [line.source])):
        if not _HASH.fullmatch(image):
            raise ValueError("an image must be named by its 64 hexadecimal digits")
    return line


def is_complete(text: bytes) -> bool:
    """Is this a line that lacks nothing but its end?"""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
