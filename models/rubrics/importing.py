"""Adding a rubric of the user's own: a rubric file, or a plain text that holds somebody's exact wording of
the question.

In a plain text `<image>` marks the place of each picture (the source first; then the image, or A and B),
`{prompt}`, `{instruction}`, `{request}`, `{user_request}`, `{caption}` or `{{prompt}}` the place of the
user's prompt, and the lines `[system]` and `[user]` separate the two messages. The dimensions and the
headings of the answer are read from the output format that the text shows:

    1. Text Faithfulness:
    ## Justification: [...]
    ## Score: [...]

All other characters of the wording reach the critic as they are, except blank lines at both ends of a
message.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RubricError
from .rubric import BUILT_IN, IMAGES, SLOT, expand, parse_rubric, read_yaml

IMAGE = "<image>"
_PLACES = re.compile(SLOT.pattern + r"|(?<!\{)\{(prompt|instruction|request|user_request|caption)\}(?!\})")
_OPTIONAL = re.compile(r"(?<![a-z])n/a(?![a-z])|not applicable", re.IGNORECASE)
# As in the built-in rubrics; all other texts have 256, and 320 where two images are compared.
_TOKENS = {"refined_request": 512}
# Names of the published dimensions that are not their keys.
_KEYS = {"physical_and_visual_quality": "physical_quality"}
# Apply, even if every score is shown with "or N/A".
_ALWAYS = (
    "text_faithfulness",
    "image_faithfulness",
    "physical_quality",
)
_KINDS = {
    "score_a": r"score (?:for |of )?(?:image )?a|image a score",
    "score_b": r"score (?:for |of )?(?:image )?b|image b score",
    "score": r"score|rating",
    "winner": r"winner",
    "justification": r"justification|reason|reasoning|rationale|explanation",
    "analysis": r"(?:user )?(?:request )?analysis",
    "judgement": r"(?:detailed )?judge?ment",
    "summary": r"(?:overall )?summary",
    "refinement": r"(?:user )?request refinement",
    "comments": r"(?:refinement )?comments",
    "refined_request": r"(?:refined|improved|rewritten) (?:user )?(?:request|prompt|instruction|caption)",
}
_INNER = ("score_a", "score_b", "score", "winner", "justification")
_AFTER = ("summary", "refinement", "comments", "refined_request")


def import_rubric(
    file: Path,
    target_folder: Path,
    name: str | None = None,
    task: str | None = None,
    pair: bool | None = None,
) -> Path:
    """Add a rubric file (.yaml) or a text with somebody's wording (.txt, .md) to a folder; returns the new
    file.

    `task` ("t2i" or "edit") and `pair` are worked out from a text where they are not given; a rubric file
    must agree with them. Raises RubricError with all that is missing in one sentence; then nothing is
    written.
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
        found, wanted = (
            _describe(rubric.task, rubric.pair),
            _describe(task or rubric.task, rubric.pair if pair is None else pair),
        )
        raise RubricError(
            f"{file.name} is a rubric for {found} and not for {wanted}: change `task` and `pair` in the file."
        )
    _write(target, text)
    return target


def rubric_from_text(
    text: str, name: str, task: str | None = None, pair: bool | None = None
) -> dict[str, Any]:
    """The data of a rubric from a plain text, as described at the top of this file. Raises RubricError."""
    missing: list[str] = []
    system, user = _messages(text.replace("\r\n", "\n"), missing)
    pieces = user.split(IMAGE)
    headings = _headings(user)
    task, pair = _layout(len(pieces) - 1, headings, task, pair, missing)
    dimensions, answer = _answer(headings, pair, bool(_OPTIONAL.search(user)), missing)
    places = {found[0] for found in _PLACES.finditer(system + user) if found[2] or found[1] == "prompt"}
    if not places:
        missing.append("it has no place for the prompt: write {prompt} there")
    elif len(places) > 1:
        missing.append(
            f"it marks the place of the prompt in different ways ({', '.join(sorted(places))}): use one of "
            f"them"
        )
    if IMAGE in system:
        missing.append(f"{IMAGE} must stand behind the line [user]")
    if missing:
        raise RubricError(f"{name} cannot be used as a rubric: {'; '.join(missing)}.")
    parts: list[dict[str, str]] = []
    for piece, image in zip(pieces, [*IMAGES[task, pair], ""], strict=True):
        parts += [{"text": _with_slots(piece) + ("\n" if piece.endswith("\n") else "")}] if piece else []
        parts += [{"image": image}] if image else []
    head = {"task": task, "pair": pair, "dimensions": dimensions}
    return head | ({"system": _with_slots(system)} if system else {}) | {"user": parts, "answer": answer}


def _describe(task: str, pair: bool) -> str:
    return f"{'two' if pair else 'one'} {'edited ' if task == 'edit' else ''}{'images' if pair else 'image'}"


def _checked_name(file: Path, name: str | None) -> str:
    chosen = name or file.stem
    if not re.fullmatch(r"\w[\w .+-]{0,79}(?<![ .])", chosen):
        raise RubricError(
            f'"{chosen}" cannot be the name of a rubric: use letters, digits, spaces, dots and hyphens.'
        )
    if not name and (BUILT_IN / f"{chosen}.yaml").exists():
        raise RubricError(
            f'"{chosen}" is a built-in rubric: give yours another name, or this one to use yours instead '
            f"of it."
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


def _messages(text: str, missing: list[str]) -> tuple[str, str]:
    """System and user message; all of the text is the user's where no line separates them."""
    found = list(re.finditer(r"^\[(system|user)\][ \t]*$", text, re.MULTILINE | re.IGNORECASE))
    if not found:
        return "", text.strip("\n")
    if [one[1].lower() for one in found] not in (["system", "user"], ["user"]) or text[
        : found[0].start()
    ].strip():
        missing.append(
            "the lines [system] and [user] must stand once each, in this order, with nothing above them"
        )
    ends = [*(one.start() for one in found[1:]), len(text)]
    parts = {one[1].lower(): text[one.end() : end].strip("\n") for one, end in zip(found, ends, strict=True)}
    return parts.get("system", ""), parts.get("user", "")


def _with_slots(text: str) -> str:
    """The wording as a template: the prompt's place becomes a slot, and what only looks like a slot is kept
    from being one.
    """

    def replace(found: re.Match[str]) -> str:
        return "{{prompt}}" if found[2] or found[1] == "prompt" else "{{open_braces}}" + found[0][2:]

    return _PLACES.sub(replace, text)


# ---------------------------------------------------------------- the output format


@dataclass(frozen=True)
class _Heading:
    """A heading in the wording: what it stands for ("" if not known), its marks, number and words, and the
    hint behind it.
    """

    kind: str
    marks: str
    number: int
    # What stands between number and words.
    dot: str
    words: str
    colon: str
    hint: str

    @property
    def text(self) -> str:
        return f"{self.marks}{self.number or ''}{self.dot}{self.words}{self.colon}"


_LINE = re.compile(
    r"[ \t]*(?:[-•][ \t]+)?(?P<marks>#{1,6})?[ \t]*(?P<bold>\*\*)?(?:(?P<number>[0-9]{1,2})(?P<dot>[.)、][ "
    r"\t]*))?(?P<bold2>\*\*)?"
    r"(?P<words>[^\s:：*#\[<][^:：*#\[<\n]{0,79}?)[ \t]*(?:\*\*)?[ \t]*(?:(?P<colon>[:：])[ "
    r"\t]*(?:\*\*)?|(?=[\[<]|$))[ \t]*(?P<hint>.*)"
)


def _headings(text: str) -> list[_Heading]:
    lines = text.split("\n")
    found = []
    for place, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        words = match["words"].strip()
        kind = next(
            (kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, words, re.IGNORECASE)), ""
        )
        bold = match["bold"] or match["bold2"]
        if not (match["marks"] or match["number"] or bold or (kind and match["colon"])):
            continue
        below = next((row.strip() for row in lines[place + 1 :] if row.strip()), "")
        hint = match["hint"].strip() or (below if below[:1] in "[<(" else "")
        marks = f"{match['marks']} " if match["marks"] else ""
        found.append(
            _Heading(
                kind, marks, int(match["number"] or 0), match["dot"] or "", words, match["colon"] or "", hint
            )
        )
    return found


def _layout(
    count: int, headings: list[_Heading], task: str | None, pair: bool | None, missing: list[str]
) -> tuple[str, bool]:
    two_scores = any(heading.kind == "score_a" for heading in headings)
    fitting = [
        key
        for key, images in IMAGES.items()
        if len(images) == count and task in (None, key[0]) and pair in (None, key[1])
    ]
    if not fitting:
        wanted = {
            len(images) for key, images in IMAGES.items() if task in (None, key[0]) and pair in (None, key[1])
        }
        missing.append(f"it shows {IMAGE} {count} times instead of {' or '.join(map(str, sorted(wanted)))}")
        return task or "t2i", two_scores if pair is None else pair
    return next((key for key in fitting if key[1] == two_scores), fitting[0])


def _answer(
    headings: list[_Heading], pair: bool, optional: bool, missing: list[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Dimensions and answer of the rubric, from the headings of the output format."""
    blocks = _blocks(headings)
    if not blocks:
        missing.append(
            'it shows no output format with the headings of each dimension, such as "1. Text '
            'Faithfulness:" and "## Score:"'
        )
        return {}, []
    start, end = blocks[0][0], blocks[-1][0] + 1 + len(blocks[-1][2])
    dimensions: dict[str, Any] = {}
    may_not_apply = [any(_OPTIONAL.search(one.hint) for one in inner) for _, _, inner in blocks]
    for (_, heading, _), own in zip(blocks, may_not_apply, strict=True):
        key = _key(heading.words, len(dimensions) + 1)
        if key in dimensions:
            missing.append(f'"{heading.words}" is not told apart from another dimension')
        dimensions[key] = {"name": heading.words}
        if (own and not (all(may_not_apply) and key in _ALWAYS)) or (optional and key == "text_rendering"):
            dimensions[key]["not_applicable"] = "as the wording says"
    _check_blocks([(heading, inner) for _, heading, inner in blocks], pair, missing)
    _, first, inner = blocks[0]
    number = "{{number}}" if first.number else ""
    each = [{"heading": f"{first.marks}{number}{first.dot}{{{{name}}}}{first.colon}"}]
    for place, one in enumerate(inner):
        hints = {
            below[place].hint.replace(h.words, "{{dimension}}")
            for _, h, below in blocks
            if len(below) > place
        }
        hint = hints.pop() if len(hints) == 1 else ""
        each.append(_item(dataclasses.replace(one, hint=hint), pair))
    before = start
    while before and headings[before - 1].kind in ("analysis", "judgement"):
        before -= 1
    known = [place for place in range(end, len(headings)) if headings[place].kind in _AFTER]
    after = headings[end : known[-1] + 1] if known else []
    answer = [*(_item(one, pair) for one in headings[before:start]), {"each_dimension": each}]
    answer += [_item(one, pair, refined=any(h.kind == "refined_request" for h in after)) for one in after]
    return dimensions, _with_marks(answer)


def _blocks(headings: list[_Heading]) -> list[tuple[int, _Heading, list[_Heading]]]:
    """The dimensions of the output format: place, heading, and the headings below it.

    One without a score may be among them.
    """
    blocks = []
    for place, heading in enumerate(headings):
        inner: list[_Heading] = []
        for below in headings[place + 1 :]:
            if below.kind not in _INNER:
                break
            inner.append(below)
        if not heading.kind and heading.words:
            blocks.append((place, heading, inner))
    scored = [
        at for at, (_, _, inner) in enumerate(blocks) if any(one.kind.startswith("score") for one in inner)
    ]
    if not scored:
        return []
    form = blocks[scored[0]][1]
    alike = [
        at
        for at, (_, h, _) in enumerate(blocks)
        if h.marks == form.marks and bool(h.number) == bool(form.number)
    ]
    with_inner = [at for at in alike if blocks[at][2]]
    last = with_inner[-1]
    while (
        form.number
        and last + 1 in alike
        and blocks[last + 1][0] == blocks[last][0] + len(blocks[last][2]) + 1
    ):
        # One that lost all its headings.
        last += 1
    names = {blocks[at][1].words: blocks[at] for at in alike if with_inner[0] <= at <= last}
    # The last of each name: an explanation may come before the format.
    return sorted(names.values(), key=lambda block: block[0])


def _check_blocks(blocks: Sequence[tuple[_Heading, list[_Heading]]], pair: bool, missing: list[str]) -> None:
    wanted = ("score_a", "score_b") if pair else ("score",)
    first = next((inner for _, inner in blocks if {one.kind for one in inner} >= set(wanted)), blocks[0][1])
    for place, (heading, inner) in enumerate(blocks, 1):
        lost = [
            score.replace("_", " ").title() for score in wanted if score not in [one.kind for one in inner]
        ]
        missing += [f'"{heading.words}" has no heading "{score}:"' for score in lost]
        if not lost and [(one.kind, one.text) for one in inner] != [(one.kind, one.text) for one in first]:
            missing.append(f'the headings below "{heading.words}" are not those below the other dimensions')
        if heading.number and heading.number != place:
            missing.append(f'"{heading.words}" is number {heading.number} instead of {place}')


def _item(heading: _Heading, pair: bool, refined: bool = True) -> dict[str, Any]:
    """One entry of `answer`."""
    kind = heading.kind
    if kind == "refinement" and not refined:
        kind = "refined_request"
    item: dict[str, Any] = {"heading": heading.text}
    if kind.startswith("score"):
        item["score"] = kind
    elif kind == "winner":
        item["winner"] = kind
    elif kind not in ("judgement", "refinement"):
        item |= {
            "text": kind or _key(heading.words, 0),
            "tokens": _TOKENS.get(kind, 320 if pair and kind == "justification" else 256),
        }
    return item | ({"hint": heading.hint} if kind and _literal(heading.hint) else {})


def _literal(hint: str) -> bool:
    return bool(hint) and "{{" not in hint.replace("{{dimension}}", "")


def _with_marks(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Headings that follow a free text get a # where the wording has none: a locked answer needs it to see
    the text's end.
    """
    each = next(row["each_dimension"] for row in answer if "each_dimension" in row)
    rows = [one for row in answer for one in (row.get("each_dimension") or [row])]
    for row, following in [*itertools.pairwise(rows), (each[-1], each[0])]:
        if "text" in row and not following["heading"].startswith("#"):
            following["heading"] = f"## {following['heading']}"
    return answer


def _key(words: str, number: int) -> str:
    words = re.sub(r"\(.*?\)", "", words)
    plain = (
        unicodedata.normalize("NFKD", words.replace("&", "and")).encode("ascii", "ignore").decode().lower()
    )
    key = re.sub("[^a-z0-9]+", "_", plain).strip("_")
    key = key if re.match("[a-z]", key) else f"dimension_{number}"
    return _KEYS.get(key, key)


# ---------------------------------------------------------------- the file


def _to_yaml(data: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, as a person would."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100_000)


def _write(target: Path, text: str) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RubricError(f"The rubric cannot be written to {target.parent}: {error.strerror}.") from error
