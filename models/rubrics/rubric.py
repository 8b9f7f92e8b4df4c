"""What is asked: a rubric is one YAML file with dimensions, wording, message layout and answer headings.

The four built-in rubrics follow the published layout (arXiv 2604.11626; repository
TIGER-AI-Lab/RationalRewards), because the checkpoints were trained on it; the wording is ours. A rubric of
the user's own has the same keys and may take what it does not say from another one with `extends: <name>`.
`rubrics/README.md` describes every key.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RubricError

BUILT_IN = Path(__file__).parent
TASKS = ("t2i", "edit")
PARTS = ("scores", "judgement", "refinement")
SLOT = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")

# Which images a rubric's layout must show, in any order, for (task, pair).
IMAGES = {
    ("t2i", False): ("image",),
    ("edit", False): ("source", "image"),
    ("t2i", True): ("a", "b"),
    ("edit", True): ("source", "a", "b"),
}
WINNERS = ("Image A", "Image B", "It's a tie")


@dataclass(frozen=True)
class DimensionSpec:
    """One dimension of a rubric: its key on the wires, its name in headings, and what each level means."""

    key: str
    name: str
    asks: str
    # (4, what it means), (3, ...), ...
    levels: tuple[tuple[int, str], ...]
    # When it does not apply; empty: it always applies.
    not_applicable: str = ""


@dataclass(frozen=True)
class AnswerItem:
    """One heading of the answer, and what stands behind it.

    `kind` is "heading" (nothing), "text" (free text of at most `tokens` tokens), "score" (1 to 4 or N/A) or
    "winner". `key` names what is written there ("summary", "text_faithfulness.score"); `part` is the earliest
    part of the answer that needs this item: "scores", "judgement" or "refinement".
    """

    heading: str
    kind: str
    key: str
    part: str
    hint: str = ""
    tokens: int = 0
    dimension: DimensionSpec | None = None


@dataclass(frozen=True)
class Rubric:
    """A complete, validated rubric. Build one with `load_rubric` or `parse_rubric`."""

    name: str
    title: str
    task: str
    pair: bool
    dimensions: tuple[DimensionSpec, ...]
    system: str
    # ("text", template) or ("image", "source" | "image" | "a" | "b").
    user: tuple[tuple[str, str], ...]
    answer: tuple[AnswerItem, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images that a question must bring, by name."""
        return IMAGES[self.task, self.pair]

    @property
    def has_refinement(self) -> bool:
        """Whether the answer holds a refined request."""
        return any(item.key == "refined_request" for item in self.answer)

    def dimension(self, key: str) -> DimensionSpec:
        """The dimension of that key; KeyError if there is none."""
        return {d.key: d for d in self.dimensions}[key]

    def messages(self, prompt: str) -> list[dict[str, Any]]:
        """The chat for one question, content parts in order: `{"type": "text", "text": ...}` or `{"type":

        "image", "image": name}`.

        Slots are filled in one pass, so that nothing inside `prompt` (braces, `<image>`, headings) is ever
        taken for a slot.
        """
        slots = {
            "prompt": prompt,
            "dimensions": self._dimensions_text(),
            "answer": self._answer_text(),
            "open_braces": "{{",
        }
        user: list[dict[str, Any]] = []
        for kind, value in self.user:
            if kind == "image":
                user.append({"type": "image", "image": value})
            else:
                user.append({"type": "text", "text": fill(value, slots)})
        system = (
            [{"role": "system", "content": [{"type": "text", "text": fill(self.system, slots)}]}]
            if self.system
            else []
        )
        return [*system, {"role": "user", "content": user}]

    def _dimensions_text(self) -> str:
        lines: list[str] = []
        for number, dimension in enumerate(self.dimensions, 1):
            lines.append(f"{number}. {dimension.name}: {dimension.asks}".rstrip())
            lines += [f"   - {level}: {text}" for level, text in dimension.levels]
            if dimension.not_applicable:
                lines.append(f"   - N/A: {dimension.not_applicable}")
        return "\n".join(lines)

    def _answer_text(self) -> str:
        lines = []
        for item in self.answer:
            inline = item.heading.endswith(":")
            lines.append(f"{item.heading} {item.hint}".rstrip() if inline else item.heading)
            if item.hint and not inline:
                lines.append(item.hint)
        return "\n".join(lines)


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Put each slot's text in its place, in one pass; slots that are not known stay as they are."""
    return SLOT.sub(lambda found: slots.get(found[1], found[0]), template)


# ---------------------------------------------------------------- finding and loading


def list_rubrics(folders: Iterable[Path] = (), pair: bool = False) -> list[str]:
    """Names of the rubrics for one image (or, with `pair`, for two): built-in ones first, then those in
    `folders`.

    A user's file with the name of a built-in rubric takes its place. One that is not a valid rubric is left
    out here; asking for it by name says what is wrong with it.
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
    """The data of a YAML file. Raises RubricError, with the line where it ends to be YAML."""
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
    """The rubric's data with everything it takes from the rubric named by `extends`; `data` itself stays as
    it is.

    A rubric that extends its own name takes the built-in one of that name.
    """
    if not isinstance(data, dict):
        raise RubricError(
            f'The rubric "{name}" is not a table of keys: start from one of the files in {BUILT_IN.name}/.'
        )
    if depth > 8:
        raise RubricError(
            f'The rubric "{name}" takes from itself in a circle: name another one in `extends` or '
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
    """`over` wins; tables merge key by key, in the order of `over` first; a key with nothing behind it takes
    all of the base.
    """
    if over is None:
        return base
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    merged = {key: _merge(base.get(key), value) if key in base else value for key, value in over.items()}
    return merged | {key: value for key, value in base.items() if key not in over}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


# ---------------------------------------------------------------- validation


def parse_rubric(data: Mapping[str, Any], name: str) -> Rubric:
    """A Rubric from the data of a file.

    Raises RubricError with everything that is missing, in one sentence.
    """
    missing: list[str] = []
    _known_keys(
        data, ("title", "task", "pair", "dimensions", "system", "user", "answer"), "the rubric", missing
    )
    task, pair = data.get("task"), data.get("pair", False)
    if task not in TASKS:
        missing.append('`task` must be "t2i" or "edit"')
        task = "t2i"
    if not isinstance(pair, bool):
        missing.append("`pair` must be true or false")
    dimensions = _parse_dimensions(data.get("dimensions"), missing)
    user = _parse_user(data.get("user"), missing)
    title, system = (
        _text(data.get("title"), "`title`", missing),
        _text(data.get("system"), "`system`", missing),
    )
    answer = _parse_answer(data.get("answer"), dimensions, bool(pair), missing)

    wanted = IMAGES[task, bool(pair)]
    shown = [value for kind, value in user if kind == "image"]
    missing += [
        f"`user` must show the image `{image}` exactly once" for image in wanted if shown.count(image) != 1
    ]
    missing += [f"`user` shows an unknown image `{image}`" for image in shown if image not in wanted]
    slots = {
        slot for kind, text in (*user, ("text", system)) if kind == "text" for slot in SLOT.findall(text)
    }
    if "prompt" not in slots:
        missing.append("`user` has no slot {{prompt}}")
    known = {"prompt", "dimensions", "answer", "open_braces"}
    missing += [f"the slot {{{{{slot}}}}} is unknown" for slot in sorted(slots - known)]
    if missing:
        raise RubricError(f'The rubric "{name}" is not complete: {"; ".join(dict.fromkeys(missing))}.')
    return Rubric(
        name, title.strip() or name, task, bool(pair), dimensions, system.strip("\n"), tuple(user), answer
    )


def _known_keys(data: Mapping[Any, Any], known: Iterable[str], what: str, missing: list[str]) -> None:
    missing += [f"{what} has an unknown key `{key}`" for key in data if key not in known]


def _text(value: Any, what: str, missing: list[str]) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    # [1.0 to 4.0] is a list in YAML, and yes is true.
    if isinstance(value, (bool, list, dict)):
        missing.append(f"{what} must be text: put it in quotes")
        return ""
    return str(value)


def _parse_dimensions(data: Any, missing: list[str]) -> tuple[DimensionSpec, ...]:
    if not isinstance(data, dict) or not data:
        missing.append("`dimensions` must name at least one dimension")
        return ()
    found: list[DimensionSpec] = []
    for key, value in data.items():
        if not isinstance(key, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            missing.append(f"the dimension key `{key}` must be lower-case letters, digits and underscores")
            continue
        value = value if isinstance(value, dict) else {}
        _known_keys(value, ("name", "asks", "levels", "not_applicable"), f"`{key}`", missing)
        name, asks, optional = (
            _text(value.get(k), f"`{k}` of `{key}`", missing).strip()
            for k in ("name", "asks", "not_applicable")
        )
        levels = value.get("levels") or {}
        if not re.search(r"[^\W\d_]", name) or re.search("[\n:：]", name):
            missing.append(f"the dimension `{key}` needs a `name` of one line without a colon")
        elif name.casefold() in [other.name.casefold() for other in found]:
            missing.append(f'two dimensions have the name "{name}"')
        if not isinstance(levels, dict) or not all(
            type(level) is int and 1 <= level <= 4 for level in levels
        ):
            missing.append(
                f"the `levels` of `{key}` must be a table of the whole numbers 1 to 4, without quotes"
            )
            levels = {}
        meanings = {
            level: _text(levels[level], f"level {level} of `{key}`", missing).strip() for level in levels
        }
        missing += [
            f"level {level} of `{key}` is empty" for level, meaning in meanings.items() if not meaning
        ]
        found.append(DimensionSpec(key, name, asks, tuple(sorted(meanings.items(), reverse=True)), optional))
    return tuple(found)


def _parse_user(data: Any, missing: list[str]) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for part in data if isinstance(data, list) else []:
        kind, value = next(iter(part.items())) if isinstance(part, dict) and len(part) == 1 else ("", "")
        if kind not in ("text", "image") or not isinstance(value, str) or not value:
            missing.append("each entry of `user` must be `text: ...` or `image: ...`, with - in front")
            continue
        # The line end that a block of YAML always has.
        parts.append((kind, value.removesuffix("\n")))
    if not parts:
        missing.append("`user` must list the texts and images of the question")
    return parts


def _parse_answer(
    data: Any, dimensions: tuple[DimensionSpec, ...], pair: bool, missing: list[str]
) -> tuple[AnswerItem, ...]:
    items: list[AnswerItem] = []
    for row in data if isinstance(data, list) else []:
        if isinstance(row, dict) and "each_dimension" in row:
            _known_keys(row, ("each_dimension",), "the entry `each_dimension`", missing)
            inner = row["each_dimension"] if isinstance(row["each_dimension"], list) else [None]
            for number, dimension in enumerate(dimensions, 1):
                slots = {"number": str(number), "name": dimension.name}
                items += [item for one in inner for item in _parse_item(one, slots, dimension, missing)]
        else:
            items += _parse_item(row, {}, None, missing)
    if not items:
        missing.append("`answer` must list the headings of the answer")
        return ()
    wanted = ("score_a", "score_b") if pair else ("score",)
    keys = [item.key for item in items if item.key]
    missing += [f"`answer` asks twice for `{key}`" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    for spec in dimensions:
        missing += [
            f"`answer` asks for no `{score}` of {spec.name}"
            for score in wanted
            if f"{spec.key}.{score}" not in keys
        ]
        own = [item for item in items if item.dimension is spec]
        if own and not any(spec.name.casefold() in item.heading.casefold() for item in own):
            missing.append(
                "`each_dimension` needs a heading with {{name}}, so that the dimensions can be told apart"
            )
    for item, following in itertools.pairwise(items):
        # A heading starts with "#", so that a free text of several lines has an end that cannot stand inside
        # it.
        if item.kind == "text" and not following.heading.startswith("#"):
            missing.append(f'the heading "{following.heading}" follows a free text and must start with #')
    scores = [
        item.key for item in items if item.kind == "score" and item.key.rpartition(".")[2] not in wanted
    ]
    missing += [
        f"a score is called {' or '.join(f'`{name}`' for name in wanted)}, not `{key}`" for key in scores
    ]
    return _with_parts(items)


def _parse_item(
    row: Any, slots: dict[str, str], dimension: DimensionSpec | None, missing: list[str]
) -> list[AnswerItem]:
    heading = row.get("heading") if isinstance(row, dict) else None
    if not isinstance(heading, str) or not re.search(r"[^\W\d_]", heading) or "\n" in heading.strip():
        missing.append(
            "each entry of `answer` needs a `heading` of one line, in quotes because # starts a comment"
        )
        return []
    _known_keys(row, ("heading", "text", "score", "winner", "tokens", "hint"), f'"{heading}"', missing)
    given = [kind for kind in ("text", "score", "winner") if kind in row]
    kind = given[0] if given else "heading"
    key = str(row[kind]) if given else ""
    if len(given) > 1 or (given and not re.fullmatch(r"[a-z][a-z0-9_]*", key)):
        missing.append(
            f'the heading "{heading}" must be followed by one of `text`, `score`, `winner` with a short name'
        )
    if kind in ("score", "winner") and dimension is None:
        missing.append(f'the {kind} "{key}" must stand under `each_dimension`')
    if dimension is not None and key:
        key = f"{dimension.key}.{key}"
    tokens = row.get("tokens", 200)
    if kind == "text" and not (type(tokens) is int and 1 <= tokens <= 8192):
        missing.append(f'`tokens` of "{heading}" must be a whole number from 1 to 8192')
        tokens = 200
    missing += [
        f'"{heading}" has an unknown slot {{{{{slot}}}}}'
        for slot in SLOT.findall(heading)
        if slot not in slots
    ]
    hint = _text(row.get("hint"), f'the `hint` of "{heading}"', missing)
    hint = fill(hint, slots | ({"dimension": dimension.name} if dimension else {})).strip()
    return [
        AnswerItem(
            fill(heading.strip(), slots), kind, key, "", hint, tokens if kind == "text" else 0, dimension
        )
    ]


def _with_parts(items: list[AnswerItem]) -> tuple[AnswerItem, ...]:
    """Mark which part needs each item: all up to the last score, then all before the refinement, then the
    rest.
    """
    last_score = max((i for i, item in enumerate(items) if item.kind in ("score", "winner")), default=-1)
    refined = [i for i, item in enumerate(items) if item.key in ("comments", "refined_request")]
    start = min(refined, default=len(items))
    while start > last_score + 1 and items[start - 1].kind == "heading":
        # The headings above the refinement belong to it.
        start -= 1
    scores, judgement, refinement = PARTS
    sizes = (last_score + 1, start - last_score - 1, len(items) - start)
    parts = [scores] * sizes[0] + [judgement] * sizes[1] + [refinement] * sizes[2]
    return tuple(dataclasses.replace(item, part=part) for item, part in zip(items, parts, strict=True))
