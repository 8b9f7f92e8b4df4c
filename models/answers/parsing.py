"""Reading an answer in a rubric's format, however damaged: its parts by key, and the scores in them.

Everything is derived from `Rubric.answer`. What counts where an answer is damaged, repeats or contradicts itself:

- A heading such as "Score" counts only below the heading of a dimension, and a dimension's heading only behind the heading that
  opens the judgement ("Detailed Judgement"), where the answer has that. So a prompt quoted in the analysis gives no score.
- A text that stands twice: the first that is neither empty nor the placeholder of the answer's format.
- Two different scores for one dimension, below one heading or below two: no score, because nothing says which one counts.
- A second justification with a score below one dimension's heading belongs to a section that lost its heading: left out.
- The complete answer written twice: the first one counts.
- An unknown dimension ends the known one above it. What stands in front of the first heading is left out.
- A whole number at the very end of an answer that should go on is left out, because it may be the start of "3.5".
- A thinking block is left out; one that never ends holds no answer. A code fence around the answer is taken off.
- The last text ends at a horizontal rule, at the fence's end, or at an unknown heading of its own level. A closing remark without
  any of these cannot be told from the text and stays in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..rubrics.rubric import AnswerItem, Rubric
from .headings import SPACE, UNSEEN, HeadingLine, Headings, find_headings

# ---------------------------------------------------------------- scores

_UNREAD = (None, True)
# Full-width forms become plain and invisible characters go; no other digit is converted ("3.5²" is no 3.52).
_WIDE = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | {0x3000: " "}
    | dict.fromkeys(
        [
            0xAD,
            *range(0x200B, 0x2010),
            *range(0x202A, 0x202F),
            *range(0x2060, 0x2065),
            *range(0x2066, 0x206A),
            0xFEFF,
        ]
    )
)
_OPEN = rf"[{SPACE}*_`\"'“‘\[{{【「(]{{0,40}}"
_CLOSE = rf"[{SPACE}*_`\"'”’\]}}】」)]{{0,40}}"
# An explanation may follow a score behind a bracket, a dash or a stop, unless it goes on with a number, a range or another scale.
_REASON = (
    rf"(?:[{SPACE}]*[\[(]|[{SPACE}]+[-–—][{SPACE}]+|[{SPACE}]*—|[;,][{SPACE}]+|(?P<stop>\.)[{SPACE}]+)"
    rf"(?![{SPACE}]*(?:[-+.,/]?[0-9]|(?:or|to|and|of|out|from|n/?a|maybe|perhaps|between)\b))"
)
# A score may be called approximate; the number is what it says all the same.
_ABOUT = rf"(?:(?:[~≈∼]|(?:approximately|approx\.?|about|around|roughly|circa|ca\.)(?=[{SPACE}*_`]))[{SPACE}]*{_OPEN})?"
_SCORE = re.compile(
    rf"(?P<open>{_OPEN}{_ABOUT})(?P<whole>[0-9])(?:(?:\.(?P<point>[0-9]{{1,6}})|,(?P<comma>[0-9]{{1,2}}))(?![0-9]))?(?P<close>{_CLOSE})"
    rf"(?P<scale>(?:\(?(?:/|out[{SPACE}]+of|(?P<of>of))[{SPACE}]*4(?:[.,]0{{1,2}})?|分|points?(?![^\W_]))(?![.,]?[0-9]){_CLOSE})?"
    rf"(?:(?P<end>[.。]?[{SPACE}]*\Z)|(?P<reason>{_REASON}))",
    re.IGNORECASE,
)
_NOT_APPLICABLE = re.compile(
    rf"{_OPEN}(?:n[{SPACE}]?[/\\][{SPACE}]?a\.?|n\.[{SPACE}]?a\.?|na(?=[{SPACE}]*(?:\Z|[^\w{SPACE}]))|not[{SPACE}-]+applicable)"
    rf"(?![^\W_])(?!{_CLOSE}[{SPACE},;:.(/-]*(?:[0-9]|or\b|to\b))",
    re.IGNORECASE,
)
_CUT_HEADING = re.compile(r"(?<=[^\s])\n+[0-9]{1,2}\Z")  # the number of the next dimension, and nothing more
_CUT_NUMBER = re.compile(rf"\s*{_OPEN}[0-9][{SPACE}]*\Z")


def read_score(text: str) -> tuple[float | None, bool]:
    """The score 1..4 that stands in the text behind a score's heading, or None; and whether the dimension applies at all.

    The first line must be the number, alone or with its scale ("3.5/4") or an explanation behind it ("3.5 (two small slips)").
    Not taken, because the number would be a guess: a range or choice ("1-4", "3 or 4"), a sign ("-3"), another scale ("7/10"), a count
    ("3 of 4 criteria"), a list number ("3. ..."), anything outside 1..4 (never clamped), or a further line that says something else.
    """
    lines = dict.fromkeys(line for line in text.translate(_WIDE).split("\n") if line.strip())
    read = [_read_line(line) for line in lines]
    return read[0] if read and all(one in (read[0], _UNREAD) for one in read) else _UNREAD


def _read_line(line: str) -> tuple[float | None, bool]:
    if _NOT_APPLICABLE.match(line):
        return None, False
    found = _SCORE.match(line)
    if found is None:
        return _UNREAD
    decimals, scale = found["point"] or found["comma"], found["scale"]
    if not decimals and not scale and (found["stop"] or (found["end"] or "").startswith((".", "。"))):
        return _UNREAD  # "3." may be a list number, or a number that lost its decimals
    if ")" in found["close"] and "(" not in found["open"]:
        return _UNREAD  # "3)" is a list number
    if found["of"] and found["reason"]:
        return _UNREAD  # "3 of 4 (criteria met)" counts something
    value = float(f"{found['whole']}.{decimals or 0}")
    return (value, True) if 1 <= value <= 4 else _UNREAD


# ---------------------------------------------------------------- the answer


def read_answer(text: str, rubric: Rubric) -> dict[str, str]:
    """The parts of an answer by key, as the rubric's `answer` names them ("summary", "text_faithfulness.score", ...).

    Missing parts are absent. Any string is read, in linear time; what is read from a damaged one is said at the top of this file.
    """
    headings = Headings(rubric)
    text = _without_thoughts(text.replace("\r\n", "\n"), headings)
    lines = find_headings(text, headings)
    again = _second_start(lines, headings)
    if again:
        first = _read(text[:again], find_headings(text[:again], headings), headings, rubric)
        if _is_complete(first, rubric):
            return first
    return _read(text, lines, headings, rubric)


def _read(text: str, lines: list[HeadingLine], headings: Headings, rubric: Rubric) -> dict[str, str]:
    end = _answer_end(text, lines)
    reader = _Reader(text, headings, _judgement_start(lines, headings))
    for line in lines:
        if line.start < end:
            reader.take(line)
    reader.close(end)
    parts = {key: chosen for key, texts in reader.texts.items() if (chosen := _first(texts))}
    for key, blocks in reader.blocks.items():
        reason = next(
            (i.key for i in rubric.answer if i.kind == "text" and i.dimension and i.dimension.key == key), ""
        )
        parts |= _dimension_parts(blocks, reason)
    return {item.key: parts[item.key] for item in rubric.answer if item.key and item.key in parts}


def _second_start(lines: list[HeadingLine], headings: Headings) -> int:
    """Offset of the heading that opens an answer for the second time, or 0."""
    opening = [
        line.start
        for line in lines
        if line.kind == "section" and line.marked and line.item is headings.answer[0]
    ]
    return opening[1] if len(opening) > 1 else 0


def _is_complete(parts: dict[str, str], rubric: Rubric) -> bool:
    """Whether every text is there and every score can be read."""
    for item in rubric.answer:
        if item.kind == "score" and read_score(parts.get(item.key, "")) == _UNREAD:
            return False
        if item.kind == "text" and not parts.get(item.key):
            return False
    return True


def _without_thoughts(text: str, headings: Headings) -> str:
    if opened := re.match(rf"[\s{UNSEEN}]*<think(?:ing)?>", text, re.IGNORECASE):
        if closed := re.compile("</think(?:ing)?>", re.IGNORECASE).search(text, opened.end()):
            return text[closed.end() :]
        rest = text[opened.end() :].lstrip()
        begins = headings.pattern.match(rest)  # a block that was opened and never filled
        return rest if begins and begins["words"] and begins["lead"].startswith("#") else ""
    closed = re.search("</think(?:ing)?>[ \t]*$", text, re.IGNORECASE | re.MULTILINE)
    if closed and any(line.kind == "inner" for line in find_headings(text[closed.end() :], headings)):
        return text[closed.end() :]
    return text


def _answer_end(text: str, lines: list[HeadingLine]) -> int:
    """The last code fence, if that closes one around the whole answer; else the end of the text."""
    first = next((line.start for line in lines if line.kind in ("section", "dimension")), len(text))
    fences = [found.start() for found in re.finditer("^[ \t]*```", text, re.MULTILINE)]
    before = sum(start < first for start in fences)
    if (len(fences) - before) % 2 and (before % 2 or not text[fences[-1] :].strip(" \t\n`")):
        return fences[-1]
    return len(text)


def _judgement_start(lines: list[HeadingLine], headings: Headings) -> int:
    """Offset of the heading that opens the judgement, if a dimension follows it; else 0."""
    for index, line in enumerate(lines):
        if line.kind == "section" and line.marked:
            if headings.position(line.item) > headings.dimensions_from:
                return 0
            if line.item.kind == "heading":
                return (
                    line.start
                    if any(later.kind == "dimension" and later.holds for later in lines[index:])
                    else 0
                )
    return 0


@dataclass
class _Block:
    """What stands below one heading of a dimension: texts with their items, in order; `loose` stands below no inner heading."""

    sections: list[tuple[AnswerItem, str]] = field(default_factory=list)
    loose: str = ""


@dataclass
class _Reader:
    """How far the answer is read: the open section and, in the judgement, the open block."""

    text: str
    headings: Headings
    judgement_start: int
    item: AnswerItem | None = None
    block: _Block | None = None
    dimension: str = ""
    body: int = 0
    level: int = 0
    # Number of the last line of a numbered list in the open section.
    listed: int = 0
    # Names of the inner headings in the open block.
    seen: set[str] = field(default_factory=set)
    texts: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, list[_Block]] = field(default_factory=dict)

    def take(self, line: HeadingLine) -> None:
        """Take the next line that looks like a heading."""
        if line.kind == "other":
            self._take_other(line)
        elif self._accepts(line):
            self.close(line.start)
            if line.kind == "section":
                self.block = None
            elif line.kind == "dimension":
                self._open_block(line.item)
            if line.item.kind != "heading":
                self.seen.add(line.name)
            item = next(
                (one for one in line.items if one.dimension and one.dimension.key == self.dimension),
                line.item,
            )
            self.item, self.body, self.listed = item, line.body, 0
            self.level = 6 if item.kind == "heading" else line.level
        else:
            self.listed = line.number or self.listed

    def close(self, end: int) -> None:
        """End the open section at an offset and keep its text."""
        item, self.item = self.item, None
        if item is None:
            return
        text = self.text[self.body : end]
        last = item is self.headings.answer[-1]
        if item.kind == "score" and end == len(self.text) and not last:
            text = _CUT_HEADING.sub("", text)
            if _CUT_NUMBER.fullmatch(text):
                return
        text = _clean(text, item, last)
        if self.block is None:
            self.texts.setdefault(item.key, []).append(text)
        elif item.kind == "heading":
            self.block.loose = self.block.loose or text
        else:
            self.block.sections.append((item, text))

    def _open_block(self, item: AnswerItem) -> None:
        assert item.dimension is not None
        blocks = self.blocks.setdefault(item.dimension.key, [])
        if item is self.headings.first[item.dimension.key] or not blocks or self.block is not blocks[-1]:
            blocks.append(_Block())
            self.seen = set()
        self.block, self.dimension = blocks[-1], item.dimension.key

    @property
    def _scored(self) -> bool:
        return any(name.startswith("score") for name in self.seen)

    def _accepts(self, line: HeadingLine) -> bool:
        alone = not line.inline and bool(line.colon or line.marked or line.leads_to)
        if line.kind == "inner":
            return self.block is not None and (line.inline or alone)
        if line.kind == "section":
            if line.marked or not line.colon:
                return line.marked
            if self.block is not None:  # "Summary: ..." inside a justification is text
                return self._scored or not line.inline
            return self.item is None or self.headings.position(line.item) > self.headings.position(self.item)
        if line.start < self.judgement_start or not (line.marked or line.number or alone):
            return False
        if self.block is None:  # a list of the dimensions inside a text
            return self.item is None or self.item.kind != "text" or line.holds
        lists = (
            line.inline and line.item.kind == "heading" and any(name.startswith("text") for name in self.seen)
        )
        return not lists or bool(line.leads_to) or self._scored

    def _take_other(self, line: HeadingLine) -> None:
        """A heading that the rubric does not know: it ends the open dimension, or the open text, or is part of a text."""
        ends_text = 0 < line.level <= self.level
        ends_dimension = self.block is not None and (
            (bool(line.leads_to) and line.leads_to in self.seen)
            or (line.level > 0 and bool(line.number or line.leads_to))
            or (ends_text and self._scored)
            or (line.number > 0 and line.colon and bool(line.leads_to))
            or (line.number > 1 and line.colon and line.number != self.listed + 1)  # else a line of a list
        )
        if ends_dimension or ends_text:
            self.close(line.start)
        if ends_dimension:
            self.block, self.seen = _Block(), set()  # of the unknown dimension; kept nowhere
        self.listed = line.number or self.listed


def _clean(text: str, item: AnswerItem, last: bool) -> str:
    rows = text.strip().split("\n")
    if last and item.kind == "text":
        rows = rows[: next((i for i, row in enumerate(rows) if i and _is_rule(row)), len(rows))]
    while rows and (not rows[-1].strip("# \t\r") or _is_rule(rows[-1])):
        rows.pop()
    text = "\n".join(rows).strip()
    if (
        item.hint and text[: len(item.hint)].casefold() == item.hint.casefold()
    ):  # the placeholder of the answer's format
        behind = text[len(item.hint) :]
        return behind.strip() if behind[:1] in ("", "\n") else text
    return text


def _is_rule(row: str) -> bool:
    row = row.strip()
    return len(row) >= 3 and row[0] in "-*_" and row == row[0] * len(row)


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty; one in square brackets, like a placeholder, only if there is no other."""
    there = [text for text in texts if text]
    return next(
        (text for text in there if not (text.startswith("[") and text.endswith("]"))),
        there[0] if there else "",
    )


def _dimension_parts(blocks: list[_Block], reason: str) -> dict[str, str]:
    """The parts of one dimension from all its blocks; `reason` is the key for a text without a heading of its own."""
    said: dict[str, dict[str, Any]] = {}  # heading of a score or winner -> what stands there -> how it reads
    texts: list[tuple[bool, dict[str, str]]] = []
    for block in blocks:
        first, *later = _rounds(block)
        again = [one for one in later if not any(item.kind == "text" for item, _ in one.values())]
        scored = False
        for item, values in (
            entry for one in (first, *again) for entry in one.values() if entry[0].kind != "text"
        ):
            read = {value: read_score(value) if item.kind == "score" else _winner(value) for value in values}
            said.setdefault(item.key, {}).update(read)
            scored = scored or (item.kind == "score" and set(read.values()) != {_UNREAD})
        texts.append((scored, _block_texts(block, first, reason)))
    parts = {key: chosen for key, values in said.items() if (chosen := _agreed(values))}
    for _, found in sorted(texts, key=lambda entry: not entry[0]):  # the text beside a score comes first
        parts = found | parts
    return parts


_Round = dict[str, tuple[AnswerItem, dict[str, None]]]  # key -> what was said below that heading, in order


def _rounds(block: _Block) -> Iterator[_Round]:
    """The sections of a block, split where its first heading comes again with another text."""
    current: _Round = {}
    for item, text in block.sections:
        if not text or (item.key in current and text in current[item.key][1]):
            continue
        if item.key == next(iter(current), None) and (len(current) > 1 or item.kind == "text"):
            yield current
            current = {}
        current.setdefault(item.key, (item, {}))[1][text] = None
    yield current


def _block_texts(block: _Block, sections: _Round, reason: str) -> dict[str, str]:
    texts = {key: _first(values) for key, (item, values) in sections.items() if item.kind == "text"}
    if texts:
        return texts
    behind = (
        next(iter(values)).partition("\n")[2].strip()
        for item, values in sections.values()
        if item.kind == "score"
    )
    loose = block.loose or _first(behind)
    return {reason: loose} if loose else {}


def _agreed(said: dict[str, Any]) -> str:
    """What was said of a score or a winner, if all that can be read says the same; else nothing."""
    readable = [value for value, read in said.items() if read != _UNREAD]
    return (readable or list(said))[0] if len({said[value] for value in readable}) <= 1 else ""


def _winner(text: str) -> str:
    return text.strip(" *_`[]\"'.").casefold()


def unwrapped(text: str) -> str:
    """A text without the quotation marks, brackets or code marks that enclose all of it."""
    text = text.strip()
    while len(text) > 1 and _encloses(text, _WRAPPERS.get(text[0], "")):
        text = text[1:-1].strip()
    return text


_WRAPPERS = {
    '"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』", "‘": "’", "'": "'", "`": "`", "[": "]", "【": "】",
}  # fmt: skip


def _encloses(text: str, closing: str) -> bool:
    """Whether the first character opens what only the last one closes."""
    opening, inside = text[0], text[1:-1]
    if not closing or text[-1] != closing or not inside.strip():
        return False
    if opening == closing:
        return opening not in inside
    depth = 0
    for char in inside:
        depth += int(char == opening) - int(char == closing)
        if depth < 0:
            return False
    return depth == 0
