"""Adding a rubric of the user's own: a rubric file, or a plain text with somebody's exact wording of the
question (`wording.py` says how it is read).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import RubricError
from ..files import write_text
from .rubric import BUILT_IN, expand, parse_rubric, read_yaml
from .wording import rubric_from_text


def import_rubric(
    file: Path,
    target_folder: Path,
    name: str | None = None,
    task: str | None = None,
    pair: bool | None = None,
) -> Path:
    """Add a rubric file (.yaml) or a text with somebody's wording (.txt, .md) to a folder; returns the new
    file.

    `name` replaces that of the file. `task` ("t2i" or "edit") and `pair` are read from a text where they are
    None; a rubric file must agree with them. Raises RubricError with all that is missing in one sentence;
    then nothing is written.
    """
    target = target_folder / f"{_checked_name(file, name)}.yaml"
    if target.exists():
        raise RubricError(
            f'There already is a rubric "{target.stem}" in {target_folder}: delete it or choose another name.'
        )
    text = _read(file)
    if file.suffix.lower() in (".yaml", ".yml"):
        data = read_yaml(file)
    else:
        data = rubric_from_text(text, file.name, task, pair)
        text = _to_yaml(data)
    rubric = parse_rubric(expand(data, target.stem, [target_folder]), target.stem)
    if task not in (None, rubric.task) or pair not in (None, rubric.pair):
        actual = _describe(rubric.task, rubric.pair)
        wanted = _describe(task or rubric.task, rubric.pair if pair is None else pair)
        raise RubricError(
            f"{file.name} is a rubric for {actual} and not for {wanted}: change `task` and `pair` in the "
            f"file."
        )
    try:
        write_text(target, text)
    except OSError as error:
        raise RubricError(f"The rubric cannot be written to {target_folder}: {error.strerror}.") from error
    return target


def _describe(task: str, pair: bool) -> str:
    edited = "edited " if task == "edit" else ""
    return f"two {edited}images" if pair else f"one {edited}image"


def _checked_name(file: Path, name: str | None) -> str:
    chosen = name or file.stem
    if not re.fullmatch(r"\w[\w .+-]{0,79}(?<![ .])", chosen):
        raise RubricError(
            f'"{chosen}" cannot be the name of a rubric: use letters, digits, spaces, dots and hyphens.'
        )
    if not name and (BUILT_IN / f"{chosen}.yaml").exists():
        raise RubricError(
            f'"{chosen}" is a built-in rubric: choose another name, or this one on purpose to replace it.'
        )
    return chosen


def _read(file: Path) -> str:
    if file.suffix.lower() not in (".yaml", ".yml", ".txt", ".md"):
        raise RubricError(f"{file.name} is neither a rubric (.yaml) nor a text (.txt, .md).")
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RubricError(f"There is no file {file}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RubricError(f"{file.name} cannot be read: save it as UTF-8 text.") from error


def _to_yaml(data: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, as a person would."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100_000)
