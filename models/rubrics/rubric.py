"""Finding and loading rubrics.

A rubric is one YAML file with dimensions, wording, message layout and the headings of the answer.

The four built-in rubrics follow the published layout (arXiv 2604.11626; repository
TIGER-AI-Lab/RationalRewards), because the checkpoints were trained on it; the wording is ours. A rubric of
the user's own has the same keys and may inherit what it does not have with `extends: <name>`.
`README.md` beside this file describes every key.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import QuestionError, RubricError
from .definition import IMAGES, PARTS, SLOT, TASKS, WINNERS, AnswerItem, DimensionSpec, Rubric, fill
from .validation import parse_rubric

__all__ = [
    "BUILT_IN",
    "IMAGES",
    "PARTS",
    "SLOT",
    "TASKS",
    "WINNERS",
    "AnswerItem",
    "DimensionSpec",
    "Rubric",
    "chosen_rubric",
    "expand",
    "fill",
    "list_rubrics",
    "load_rubric",
    "parse_rubric",
    "read_yaml",
    "rubric_for",
]

BUILT_IN = Path(__file__).parent


def list_rubrics(folders: Iterable[Path] = (), pair: bool = False) -> list[str]:
    """Names of the rubrics for one image (or, with `pair`, for two): built-in ones first, then those in
    `folders`.

    A user's file with the name of a built-in rubric replaces it. A file that is not a valid rubric is left
    out here; loading it by name reports what is wrong with it.
    """
    folders = tuple(folders)
    names: list[str] = []
    for folder in (BUILT_IN, *folders):
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            try:
                if file.stem not in names and load_rubric(file.stem, folders).pair == pair:
                    names.append(file.stem)
            except RubricError:
                continue
    return names


def load_rubric(name: str, folders: Iterable[Path] = ()) -> Rubric:
    """The rubric of that name from `folders` or the built-in ones. Raises RubricError."""
    folders = tuple(folders)
    return _load_cached(_find(name, folders), folders, _stamps(folders))


def rubric_for(task: str, pair: bool, folders: Iterable[Path] = ()) -> Rubric:
    """The rubric for a task ("t2i" or "edit"), for one image or a pair: the built-in one, if none of the
    folders has its own.
    """
    if task not in TASKS:
        raise RubricError(f'The task "{task}" is unknown: use "t2i" (text to image) or "edit" (image edit).')
    return load_rubric(f"{task}-pair" if pair else task, folders)


def chosen_rubric(
    name: str, edit: bool, pair: bool = False, folders: Iterable[Path] = (), own: Iterable[Path] = ()
) -> Rubric:
    """The rubric of that name from the user's `folders`; for "auto" the checkpoint's `own`, or the built-in
    one, of the task.

    Raises RubricError, and QuestionError for one of another task.
    """
    if name == "auto":
        return rubric_for("edit" if edit else "t2i", pair, own)
    chosen = load_rubric(name, (*folders, *own))
    if chosen.pair != pair:
        images = "two images" if chosen.pair else "one image"
        raise QuestionError(f'The rubric "{name}" is for {images}: choose another, or "auto".')
    if (chosen.task == "edit") != edit:
        if chosen.task == "edit":
            raise QuestionError(
                f'The rubric "{name}" is for image edits: connect source_image, or choose "auto".'
            )
        raise QuestionError(
            f'The rubric "{name}" is for images without a source: disconnect source_image, or choose "auto".'
        )
    return chosen


def _find(name: str, folders: Iterable[Path]) -> Path:
    folders = [*folders, BUILT_IN]
    if name and len(name) <= 100 and Path(name).name == name:
        for folder in folders:
            if (file := folder / f"{name}.yaml").is_file():
                return file
    known = sorted({file.stem for folder in folders if folder.is_dir() for file in folder.glob("*.yaml")})
    raise RubricError(f'There is no rubric "{name}"; there are: {", ".join(known)}.')


@functools.lru_cache(maxsize=64)
def _load_cached(file: Path, folders: tuple[Path, ...], stamps: tuple[tuple[str, int, int], ...]) -> Rubric:
    return parse_rubric(_read(file, folders), file.stem)


def _stamps(folders: tuple[Path, ...]) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every rubric file: a rubric changes with the file that it extends, too."""
    stats = [
        (file, file.stat())
        for folder in (*folders, BUILT_IN)
        for file in sorted(folder.glob("*.yaml"))
        if file.is_file()
    ]
    return tuple((str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats)


def _read(file: Path, folders: tuple[Path, ...], depth: int = 0) -> dict[str, Any]:
    # A built-in rubric extends built-in ones only, so that a user's "t2i" changes no other rubric.
    return expand(read_yaml(file), file.stem, () if file.parent == BUILT_IN else folders, depth)


def read_yaml(file: Path) -> Any:
    """The data of a YAML file. Raises RubricError, with the line where it stops being YAML."""
    import yaml

    try:
        # The compiled loader, where PyYAML has it: rubrics are read while ComfyUI starts.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(file.read_text(encoding="utf-8-sig"), loader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RubricError(f"The rubric file {file.name} is not valid YAML: {error.problem}{line}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RubricError(
            f"The rubric file {file.name} cannot be read as UTF-8 text: {_first_line(error)}."
        ) from error


def expand(data: Any, name: str, folders: Iterable[Path] = (), depth: int = 0) -> dict[str, Any]:
    """The rubric's data with everything it inherits from the rubric named by `extends`; `data` itself stays
    as it is.

    A rubric that extends its own name inherits from the built-in one of that name. Raises RubricError.
    """
    if not isinstance(data, dict):
        raise RubricError(
            f'The rubric "{name}" is not a table of keys: start from one of the files in {BUILT_IN}.'
        )
    if depth > 8:
        raise RubricError(
            f'The rubric "{name}" extends itself in a circle: name another rubric in `extends` or '
            f"`dimensions`."
        )
    data, folders = dict(data), tuple(folders)
    # The dimensions of another rubric, as they are.
    if isinstance(shared := data.get("dimensions"), str):
        data["dimensions"] = _base(shared, name, folders, depth).get("dimensions")
    if (base := data.pop("extends", None)) is not None:
        inherited = _base(str(base), name, folders, depth)
        # A title says which rubric it is.
        inherited.pop("title", None)
        data = _merge(inherited, data)
    return data


def _base(base: str, name: str, folders: tuple[Path, ...], depth: int) -> dict[str, Any]:
    folders = () if base == name else folders
    return _read(_find(base, folders), folders, depth + 1)


def _merge(base: Any, over: Any) -> Any:
    """`over` wins; tables merge key by key, in the order of `over` first; a key without a value takes that of
    the base.
    """
    if over is None:
        return base
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    merged = {key: _merge(base.get(key), value) if key in base else value for key, value in over.items()}
    return merged | {key: value for key, value in base.items() if key not in over}


def _first_line(error: Exception) -> str:
    message = str(error).strip()
    return message.splitlines()[0].rstrip(".") if message else type(error).__name__
