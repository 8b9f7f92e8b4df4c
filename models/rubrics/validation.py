"""Checking a rubric: the data of a rubric file becomes a Rubric, or one sentence says all that is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import RubricError
from .definition import IMAGES, PARTS, PROMPT_SLOTS, SLOT, TASKS, AnswerItem, DimensionSpec, Rubric, fill


def parse_rubric(data: Mapping[str, Any], name: str) -> Rubric:
    """A Rubric from the data of a file.

    Raises RubricError with everything that is missing, in one sentence.
    """
    missing: list[str] = []
    known_keys = ("title", "task", "pair", "prompt", "dimensions", "system", "user", "answer")
    _known_keys(data, known_keys, "the rubric", missing)
    task, pair, prompt = data.get("task"), data.get("pair", False), data.get("prompt", True)
    if task not in TASKS:
        missing.append('`task` must be "t2i" or "edit"')
        task = "t2i"
    if not isinstance(pair, bool):
        missing.append("`pair` must be true or false")
    if not isinstance(prompt, bool):
        missing.append("`prompt` must be true or false")
    dimensions = _parse_dimensions(data.get("dimensions"), missing)
    user = _parse_user(data.get("user"), missing)
    title = _text(data.get("title"), "`title`", missing)
    system = _text(data.get("system"), "`system`", missing)
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
    if prompt and not slots & PROMPT_SLOTS:
        missing.append("`user` has no slot {{prompt}}")
    if prompt is False:
        missing += [
            f"`prompt` is false, but there is a slot {{{{{slot}}}}}" for slot in sorted(slots & PROMPT_SLOTS)
        ]
    known = PROMPT_SLOTS | {"dimensions", "answer", "open_braces"}
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
    dimensions: list[DimensionSpec] = []
    for key, value in data.items():
        if not isinstance(key, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            missing.append(f"the dimension key `{key}` must be lower-case letters, digits and underscores")
            continue
        value = value if isinstance(value, dict) else {}
        _known_keys(value, ("name", "asks", "levels", "not_applicable"), f"`{key}`", missing)
        name, asks, optional = (
            _text(value.get(field), f"`{field}` of `{key}`", missing).strip()
            for field in ("name", "asks", "not_applicable")
        )
        levels = value.get("levels") or {}
        if not re.search(r"[^\W\d_]", name) or re.search("[\n:：]", name):
            missing.append(f"the dimension `{key}` needs a `name` of one line without a colon")
        elif name.casefold() in [other.name.casefold() for other in dimensions]:
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
        ordered = tuple(sorted(meanings.items(), reverse=True))
        dimensions.append(DimensionSpec(key, name, asks, ordered, optional))
    return tuple(dimensions)


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
                for entry in inner:
                    items += _parse_item(entry, slots, dimension, missing)
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
                "`each_dimension` needs a heading with {{name}}, so that the dimensions can be distinguished"
            )
    for item, following in itertools.pairwise(items):
        # A heading starts with "#", so that a free text of several lines ends where nothing inside it can.
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
    kinds = [kind for kind in ("text", "score", "winner") if kind in row]
    kind = kinds[0] if kinds else "heading"
    key = str(row[kind]) if kinds else ""
    if len(kinds) > 1 or (kinds and not re.fullmatch(r"[a-z][a-z0-9_]*", key)):
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
    parts = [scores] * (last_score + 1)
    parts += [judgement] * (start - len(parts))
    parts += [refinement] * (len(items) - len(parts))
    return tuple(dataclasses.replace(item, part=part) for item, part in zip(items, parts, strict=True))
