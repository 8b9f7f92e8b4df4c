"""The Parquet columns of the published preference sets, and how they write an image, a prompt and a label."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from ..models.errors import PreferenceError
from ..models.images import open_image
from .pairs import Preferred


@dataclass(frozen=True)
class Layout:
    """Column names of one published set, with its spelling of the three labels.

    `source` is None where it holds no edits.
    """

    name: str
    prompt: str
    image_a: str
    image_b: str
    label: str
    spelling: dict[Preferred, str]
    # Who made A and B: unknown here, written empty.
    models: tuple[str, str]
    source: str | None = None
    # Image cells are lists; an empty list of sources is text to image.
    lists: bool = False
    id: str | None = None
    # Further texts that readers of this layout look for.
    empty: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a file in this layout must have, apart from the label."""
        source = (self.source,) if self.source and not self.lists else ()
        return (self.prompt, self.image_a, self.image_b, *source)

    @property
    def images(self) -> tuple[str, ...]:
        """The columns with images."""
        return (*((self.source,) if self.source else ()), self.image_a, self.image_b)

    def holds(self, task: str) -> bool:
        """Is there room for a "t2i" or "edit" pair?"""
        return self.lists or (task == "edit") == (self.source is not None)


VOTES: dict[Preferred, str] = {"A": "leftvote", "B": "rightvote", "tie": "tievote"}
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "mmrb2",
            "prompt_text",
            "response_a_images",
            "response_b_images",
            "chosen",
            {"A": "A", "B": "B", "tie": "tie"},
            ("response_a_model", "response_b_model"),
            source="prompt_images",
            lists=True,
            id="pair_id",
        ),
        Layout(
            "genai-t2i",
            "prompt",
            "left_image",
            "right_image",
            "vote_type",
            VOTES,
            ("left_model", "right_model"),
        ),
        Layout(
            "genai-edit",
            "instruct_prompt",
            "left_output_image",
            "right_output_image",
            "vote_type",
            VOTES,
            ("left_model", "right_model"),
            source="source_image",
            empty=("source_prompt", "target_prompt"),
        ),
        Layout(
            "editreward",
            "instruction",
            "candidate_1",
            "candidate_2",
            "ranking",
            {"A": "A>B", "B": "B>A", "tie": "A=B"},
            ("model_1", "model_2"),
            source="source_image",
        ),
    )
}
# Our own column beside the published ones.
CHOSEN_BY = "chosen_by"
# Of any layout: some tools rename them.
LABELS = ("chosen", "vote_type", "ranking")

_SPELLINGS: dict[Preferred, tuple[str, ...]] = {
    "A": ("a", "left", "leftvote", "model_1", "model_a", "image_a", "imagea", "a>b", "b<a"),
    "B": ("b", "right", "rightvote", "model_2", "model_b", "image_b", "imageb", "b>a", "a<b"),
    "tie": (
        *("tie", "draw", "equal", "tievote", "bothbad_vote", "both_bad", "both_good"),
        *("a=b", "b=a", "a=b=good", "a=b=bad"),
    ),
}
_LABELS: dict[str, Preferred] = {word: preferred for preferred, words in _SPELLINGS.items() for word in words}


class Unreadable(Exception):
    """Why a row cannot be read, in words that are the same for all rows with that trouble."""


def recognise(columns: Iterable[str], layout: str = "auto") -> tuple[Layout, str]:
    """The layout of a file with these columns, and the name of its label column.

    Raises PreferenceError when it is none that is known, or not the one that was asked for.
    """
    present = set(columns)
    candidates = list(LAYOUTS.values()) if layout == "auto" else [layout_named(layout)]
    recognised = next((candidate for candidate in candidates if present.issuperset(candidate.required)), None)
    if recognised is None:
        if layout != "auto":
            missing = ", ".join(sorted(set(candidates[0].required) - present))
            raise PreferenceError(
                f"This is no file in the {layout} layout, because it lacks the columns {missing}: try auto."
            )
        shown = ", ".join(sorted(present)[:12]) or "none"
        raise PreferenceError(
            f"The columns of this file ({shown}) are those of no known preference set: rename them as in "
            f"one of {', '.join(LAYOUTS)}."
        )
    label = next((name for name in (recognised.label, *LABELS) if name in present), None)
    if label is None:
        raise PreferenceError(
            f"This {recognised.name} file has no column `{recognised.label}`: without it nobody's "
            f"preference is known."
        )
    return recognised, label


def layout_named(name: str) -> Layout:
    """The layout of that name. Raises PreferenceError."""
    if name not in LAYOUTS:
        raise PreferenceError(f'"{name}" is no layout: choose {", ".join(LAYOUTS)}.')
    return LAYOUTS[name]


def read_label(value: Any, names: Sequence[str] = ()) -> Preferred:
    """A label in any of the published spellings. Raises Unreadable.

    A number is one of the classes in `names`, counted from 0. Without names it is not read: whether 1 is the
    first image or the second differs from file to file, and a wrong guess would turn every preference round.
    """
    if value is None or value != value or str(value).strip() == "":
        raise Unreadable("there is no label")
    if isinstance(value, (bool, int, float)):
        if not names:
            raise Unreadable("the label is a number, and the file does not say what it stands for")
        # Infinite ones have no integer: the range comes first.
        if isinstance(value, bool) or not 0 <= value < len(names) or value != int(value):
            raise Unreadable(f"the label {value} is none of the file's {len(names)} classes")
        value = names[int(value)]
    word = "".join(str(value).lower().split())
    if re.fullmatch(r"[+-]?[0-9.]+", word):
        raise Unreadable("the label is a number, and the file does not say what it stands for")
    if word not in _LABELS:
        raise Unreadable(f'the label "{str(value)[:40]}" is not known')
    return _LABELS[word]


def read_text(value: Any) -> str:
    """A prompt. Raises Unreadable."""
    if not isinstance(value, str) or not value.strip():
        raise Unreadable("there is no prompt")
    return value


def read_image(cell: Any, what: str, folder: Path) -> Image.Image | None:
    """An image from a cell: bytes, {"bytes", "path"}, or a list of at most one of them.

    None for an empty cell.

    A path without bytes counts only if it leads to a file inside `folder`. Raises Unreadable.
    """
    if isinstance(cell, (list, tuple)):
        if len(cell) > 1:
            raise Unreadable(f"{what} is {len(cell)} images where there can be one")
        cell = cell[0] if cell else None
    data = cell
    if isinstance(cell, dict):
        data = cell.get("bytes") or _file(cell.get("path"), what, folder)
    if not data:
        return None
    if not isinstance(data, (bytes, bytearray)):
        raise Unreadable(f"{what} is not bytes but {type(data).__name__}")
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return open_image(ImageOps.exif_transpose(opened))
    except Exception as error:
        # Pillow's decoders raise many kinds for broken files.
        raise Unreadable(f"{what} is not an image that can be read") from error


def _file(path: Any, what: str, folder: Path) -> bytes | None:
    if not path or not isinstance(path, str):
        return None
    try:
        found = (folder / path).resolve()
        if found.is_relative_to(folder.resolve()) and found.is_file():
            return found.read_bytes()
    except (OSError, ValueError) as error:
        # A name that is too long, or holds a zero byte; a file without the right to read it.
        raise Unreadable(f"{what} is only a path, and that file cannot be read") from error
    raise Unreadable(f"{what} is only a path, and that file is not beside the Parquet file")
