"""A plain text with somebody's exact wording of the question, read as a rubric.

In the text, `<image>` marks the position of each image (the source first; then the image, or A and B),
`{prompt}`, `{instruction}`, `{request}`, `{user_request}`, `{caption}` or `{{prompt}}` that of the user's
prompt, and the lines `[system]` and `[user]` separate the two messages. The dimensions and the headings of
the answer are read from the output format that the text shows:

    1. Text Faithfulness:
    ## Justification: [...]
    ## Score: [...]

All other characters of the wording reach the critic as they are, except blank lines at both ends of a
message.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import unicodedata
from typing import Any

from ..errors import RubricError
from .definition import IMAGES, SLOT
from .output_format import Block, Heading, find_blocks, find_headings

IMAGE = "<image>"
_PROMPT_POSITION = re.compile(
    SLOT.pattern + r"|(?<!\{)\{(prompt|instruction|request|user_request|caption)\}(?!\})"
)
_ROLE_LINE = re.compile(r"^\[(system|user)\][ \t]*$", re.MULTILINE | re.IGNORECASE)
_OPTIONAL = re.compile(r"(?<![a-z])n/a(?![a-z])|not applicable", re.IGNORECASE)
# As in the built-in rubrics; all other texts have 256, and 320 where two images are compared.
_TOKENS = {"refined_request": 512}
# Names of the published dimensions that are not their keys.
_KEYS = {"physical_and_visual_quality": "physical_quality"}
# Apply, even if every score is shown with "or N/A".
_ALWAYS = ("text_faithfulness", "image_faithfulness", "physical_quality")
_BEFORE_SCORES = ("analysis", "judgement")
_AFTER_SCORES = ("summary", "refinement", "comments", "refined_request")


def rubric_from_text(
    text: str, name: str, task: str | None = None, pair: bool | None = None
) -> dict[str, Any]:
    """The data of a rubric from a plain text, as described at the top of this file.

    `name` is the file's, for the error. Raises RubricError with all that is missing in one sentence.
    """
    missing: list[str] = []
    system, user = _messages(text.replace("\r\n", "\n"), missing)
    pieces = user.split(IMAGE)
    headings = find_headings(user)
    task, pair = _layout(len(pieces) - 1, headings, task, pair, missing)
    dimensions, answer = _answer(headings, pair, bool(_OPTIONAL.search(user)), missing)
    _check_prompt_position(system + user, missing)
    if IMAGE in system:
        missing.append(f"{IMAGE} must stand behind the line [user]")
    if missing:
        raise RubricError(f"{name} cannot be used as a rubric: {'; '.join(missing)}.")
    data: dict[str, Any] = {"task": task, "pair": pair, "dimensions": dimensions}
    if system:
        data["system"] = _as_template(system)
    return data | {"user": _user_parts(pieces, IMAGES[task, pair]), "answer": answer}


def _messages(text: str, missing: list[str]) -> tuple[str, str]:
    """System and user message; all of the text is the user's where no line separates them."""
    lines = list(_ROLE_LINE.finditer(text))
    if not lines:
        return "", text.strip("\n")
    roles = [line[1].lower() for line in lines]
    if roles not in (["system", "user"], ["user"]) or text[: lines[0].start()].strip():
        missing.append(
            "the lines [system] and [user] must stand once each, in this order, with nothing above them"
        )
    ends = [*(line.start() for line in lines[1:]), len(text)]
    messages = {
        role: text[line.end() : end].strip("\n") for role, line, end in zip(roles, lines, ends, strict=True)
    }
    return messages.get("system", ""), messages.get("user", "")


def _layout(
    count: int, headings: list[Heading], task: str | None, pair: bool | None, missing: list[str]
) -> tuple[str, bool]:
    """Task and pair that `count` images and the headings stand for, where they are not given."""
    two_scores = any(heading.kind == "score_a" for heading in headings)
    allowed = {
        layout: len(images)
        for layout, images in IMAGES.items()
        if task in (None, layout[0]) and pair in (None, layout[1])
    }
    fitting = [layout for layout, images in allowed.items() if images == count]
    if not fitting:
        counts = " or ".join(str(number) for number in sorted(set(allowed.values())))
        missing.append(f"it shows {IMAGE} {count} times instead of {counts}")
        return task or "t2i", two_scores if pair is None else pair
    return next((layout for layout in fitting if layout[1] == two_scores), fitting[0])


def _check_prompt_position(text: str, missing: list[str]) -> None:
    marks = {mark[0] for mark in _PROMPT_POSITION.finditer(text) if mark[2] or mark[1] == "prompt"}
    if not marks:
        missing.append("it does not say where the prompt stands: write {prompt} there")
    elif len(marks) > 1:
        missing.append(f"it marks the prompt in different ways ({', '.join(sorted(marks))}): use one of them")


def _user_parts(pieces: list[str], images: tuple[str, ...]) -> list[dict[str, str]]:
    """The entries of `user`: the texts, with an image between each two."""
    parts: list[dict[str, str]] = []
    for piece, image in itertools.zip_longest(pieces, images):
        if piece:
            # A block of YAML loses its last line end, so one that matters is doubled.
            parts.append({"text": _as_template(piece) + ("\n" if piece.endswith("\n") else "")})
        if image:
            parts.append({"image": image})
    return parts


def _as_template(text: str) -> str:
    """The wording with the slot {{prompt}}; what only looks like a slot stays text."""

    def replace(mark: re.Match[str]) -> str:
        return "{{prompt}}" if mark[2] or mark[1] == "prompt" else "{{open_braces}}" + mark[0][2:]

    return _PROMPT_POSITION.sub(replace, text)


# ---------------------------------------------------------------- dimensions and answer


def _answer(
    headings: list[Heading], pair: bool, optional: bool, missing: list[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Dimensions and answer of the rubric, from the headings of the output format."""
    blocks = find_blocks(headings)
    if not blocks:
        missing.append(
            'it shows no output format with the headings of each dimension, such as "1. Text '
            'Faithfulness:" and "## Score:"'
        )
        return {}, []
    dimensions = _dimensions(blocks, optional, missing)
    _check_blocks(blocks, pair, missing)
    start = blocks[0].position
    while start and headings[start - 1].kind in _BEFORE_SCORES:
        start -= 1
    before = headings[start : blocks[0].position]
    after = headings[blocks[-1].end :]
    while after and after[-1].kind not in _AFTER_SCORES:
        after.pop()
    refined = any(heading.kind == "refined_request" for heading in after)
    answer: list[dict[str, Any]] = [_entry(heading, pair) for heading in before]
    answer.append({"each_dimension": _each_dimension(blocks, pair)})
    answer += [_entry(heading, pair, refined) for heading in after]
    return dimensions, _with_marks(answer)


def _dimensions(blocks: list[Block], optional: bool, missing: list[str]) -> dict[str, Any]:
    """The table of dimensions.

    Those whose hints say N/A may not apply; with `optional`, neither may text rendering.
    """
    dimensions: dict[str, Any] = {}
    says_so = [any(_OPTIONAL.search(heading.hint) for heading in block.inner) for block in blocks]
    for block, own in zip(blocks, says_so, strict=True):
        words = block.heading.words
        key = _key(words, len(dimensions) + 1)
        if key in dimensions:
            missing.append(f'"{words}" cannot be distinguished from another dimension')
        dimensions[key] = {"name": words}
        if all(says_so) and key in _ALWAYS:
            own = False
        if own or (optional and key == "text_rendering"):
            dimensions[key]["not_applicable"] = "as the wording says"
    return dimensions


def _check_blocks(blocks: list[Block], pair: bool, missing: list[str]) -> None:
    """Every dimension needs its scores, the headings of the first one, and its number in the list."""
    wanted = ("score_a", "score_b") if pair else ("score",)
    complete = [block for block in blocks if set(wanted) <= block.kinds]
    model = complete[0] if complete else blocks[0]
    for number, block in enumerate(blocks, 1):
        words = block.heading.words
        lost = [score.replace("_", " ").title() for score in wanted if score not in block.kinds]
        missing += [f'"{words}" has no heading "{score}:"' for score in lost]
        if not lost and block.shape != model.shape:
            missing.append(f'the headings below "{words}" are not those below the other dimensions')
        if block.heading.number and block.heading.number != number:
            missing.append(f'"{words}" is number {block.heading.number} instead of {number}')


def _each_dimension(blocks: list[Block], pair: bool) -> list[dict[str, Any]]:
    """The entries that are repeated for every dimension, as in the first one."""
    first = blocks[0].heading
    number = "{{number}}" if first.number else ""
    entries: list[dict[str, Any]] = [
        {"heading": f"{first.marks}{number}{first.dot}{{{{name}}}}{first.colon}"}
    ]
    for index, heading in enumerate(blocks[0].inner):
        # A hint counts where all dimensions have the same one.
        hints = {
            block.inner[index].hint.replace(block.heading.words, "{{dimension}}")
            for block in blocks
            if len(block.inner) > index
        }
        hint = hints.pop() if len(hints) == 1 else ""
        entries.append(_entry(dataclasses.replace(heading, hint=hint), pair))
    return entries


def _entry(heading: Heading, pair: bool, refined: bool = True) -> dict[str, Any]:
    """One entry of `answer`; without `refined` a text follows the heading of the refinement itself."""
    kind = heading.kind
    if kind == "refinement" and not refined:
        kind = "refined_request"
    entry: dict[str, Any] = {"heading": heading.text}
    if kind.startswith("score"):
        entry["score"] = kind
    elif kind == "winner":
        entry["winner"] = kind
    elif kind not in ("judgement", "refinement"):
        entry["text"] = kind or _key(heading.words, 0)
        entry["tokens"] = _TOKENS.get(kind, 320 if pair and kind == "justification" else 256)
    if kind and heading.hint and "{{" not in heading.hint.replace("{{dimension}}", ""):
        entry["hint"] = heading.hint
    return entry


def _with_marks(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Headings that follow a free text get a # where the wording has none: a locked answer needs it to see
    the text's end.
    """
    rows: list[dict[str, Any]] = []
    neighbours: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for row in answer:
        each = row.get("each_dimension") or [row]
        rows += each
        if "each_dimension" in row:
            # The next dimension begins where this one ends.
            neighbours.append((each[-1], each[0]))
    for row, following in [*itertools.pairwise(rows), *neighbours]:
        if "text" in row and not following["heading"].startswith("#"):
            following["heading"] = f"## {following['heading']}"
    return answer


def _key(words: str, number: int) -> str:
    """A dimension's key from its name; by its number where the name has no Latin letters."""
    words = re.sub(r"\(.*?\)", "", words).replace("&", "and")
    latin = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    key = re.sub("[^a-z0-9]+", "_", latin).strip("_")
    if not re.match("[a-z]", key):
        key = f"dimension_{number}"
    return _KEYS.get(key, key)
