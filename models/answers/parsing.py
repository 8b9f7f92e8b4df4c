"""Reading an answer in a rubric's format, however damaged: its parts by key, and the scores in them.

Everything is derived from `Rubric.answer`. What counts where an answer is damaged, repeats or contradicts
itself:

- A heading such as "Score" counts only below the heading of a dimension, and a dimension's heading only
  behind the heading that opens the judgement ("Detailed Judgement"), where the answer has that. So a prompt
  quoted in the analysis gives no score.
- A text that stands twice: the first that is neither empty nor the placeholder of the answer's format.
- Two different scores for one dimension, below one heading or below two: no score, because nothing says which
  one counts.
- A second justification with a score below one dimension's heading belongs to a section that lost its
  heading: left out.
- The complete answer written twice: the first one counts. One that is not complete does not give way to a
  second: nothing says which one counts.
- An unknown dimension ends the known one above it. What stands in front of the first heading is left out.
- A whole number at the very end of an answer that should go on is left out, because it may be the start of
  "3.5".
- A thinking block is left out; one that never ends holds no answer. A code fence around the answer is taken
  off.
- The last text ends at a horizontal rule, at the fence's end, or at an unknown heading of its own level. A
  closing remark without any of these cannot be told from the text and stays in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..rubrics.rubric import AnswerItem, Rubric
from .headings import SPACE, UNSEEN, HeadingLine, Headings, find_headings
from .scores import OPENING, UNREAD, read_score

# The number of the next dimension, and nothing more.
_CUT_HEADING = re.compile(r"(?<=[^\s])\n+[0-9]{1,2}\Z")
# The fences that end one answer and open the next.
_FENCES_AT_END = re.compile(r"\n[ \t]*```[a-z]*[ \t]*(?:\n\s*(?:```[a-z]*[ \t]*)?)?\Z", re.IGNORECASE)
_CUT_NUMBER = re.compile(rf"\s*{OPENING}[0-9][{SPACE}]*\Z")


def read_answer(text: str, rubric: Rubric) -> dict[str, str]:
    """The parts of an answer by key, as the rubric's `answer` names them ("summary",
    "text_faithfulness.score", ...).

    Missing parts are absent. Any string is read, in linear time; what is read from a damaged one is said at
    the top of this file.
    """
    headings = Headings(rubric)
    text = _without_thoughts(text.replace("\r\n", "\n"), headings)
    lines = find_headings(text, headings)
    if first := _first_answer(text, lines, headings):
        parts = _read(first, find_headings(first, headings), headings, rubric)
        if _is_complete(parts, rubric):
            return parts
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


def _first_answer(text: str, lines: list[HeadingLine], headings: Headings) -> str:
    """The text up to where its answer begins for the second time, without the fences between the two; empty
    where it begins only once.
    """
    opening = [
        line.start
        for line in lines
        if line.kind == "section" and line.marked and line.item is headings.answer[0]
    ]
    return _FENCES_AT_END.sub("\n", text[: opening[1]]) if len(opening) > 1 else ""


def _is_complete(parts: dict[str, str], rubric: Rubric) -> bool:
    """Whether every text is there and every score can be read."""
    for item in rubric.answer:
        if item.kind == "score" and read_score(parts.get(item.key, "")) == UNREAD:
            return False
        if item.kind == "text" and not parts.get(item.key):
            return False
    return True


def _without_thoughts(text: str, headings: Headings) -> str:
    if opened := re.match(rf"[\s{UNSEEN}]*<think(?:ing)?>", text, re.IGNORECASE):
        if closed := re.compile("</think(?:ing)?>", re.IGNORECASE).search(text, opened.end()):
            return text[closed.end() :]
        rest = text[opened.end() :].lstrip()
        # A block that was opened and never filled.
        begins = headings.pattern.match(rest)
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
    """What stands below one heading of a dimension: texts with their items, in order; `loose` stands below no
    inner heading.
    """

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
            # "Summary: ..." inside a justification is text.
            if self.block is not None:
                return self._scored or not line.inline
            return self.item is None or self.headings.position(line.item) > self.headings.position(self.item)
        if line.start < self.judgement_start or not (line.marked or line.number or alone):
            return False
        # A list of the dimensions inside a text.
        if self.block is None:
            return self.item is None or self.item.kind != "text" or line.holds
        lists = (
            line.inline and line.item.kind == "heading" and any(name.startswith("text") for name in self.seen)
        )
        return not lists or bool(line.leads_to) or self._scored

    def _take_other(self, line: HeadingLine) -> None:
        """A heading that the rubric does not know: it ends the open dimension, or the open text, or is part
        of a text.
        """
        ends_text = 0 < line.level <= self.level
        # Else a line of a list.
        ends_dimension = self.block is not None and (
            (bool(line.leads_to) and line.leads_to in self.seen)
            or (line.level > 0 and bool(line.number or line.leads_to))
            or (ends_text and self._scored)
            or (line.number > 0 and line.colon and bool(line.leads_to))
            or (line.number > 1 and line.colon and line.number != self.listed + 1)
        )
        if ends_dimension or ends_text:
            self.close(line.start)
        if ends_dimension:
            # Of the unknown dimension; kept nowhere.
            self.block, self.seen = _Block(), set()
        self.listed = line.number or self.listed


def _clean(text: str, item: AnswerItem, last: bool) -> str:
    rows = text.strip().split("\n")
    if last and item.kind == "text":
        rows = rows[: next((i for i, row in enumerate(rows) if i and _is_rule(row)), len(rows))]
    while rows and (not rows[-1].strip("# \t\r") or _is_rule(rows[-1])):
        rows.pop()
    text = "\n".join(rows).strip()
    # The placeholder of the answer's format.
    if item.hint and text[: len(item.hint)].casefold() == item.hint.casefold():
        behind = text[len(item.hint) :]
        return behind.strip() if behind[:1] in ("", "\n") else text
    return text


def _is_rule(row: str) -> bool:
    row = row.strip()
    return len(row) >= 3 and row[0] in "-*_" and row == row[0] * len(row)


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty; one in square brackets, like a placeholder, only if there is no
    other.
    """
    there = [text for text in texts if text]
    return next(
        (text for text in there if not (text.startswith("[") and text.endswith("]"))),
        there[0] if there else "",
    )


def _dimension_parts(blocks: list[_Block], reason: str) -> dict[str, str]:
    """The parts of one dimension from all its blocks; `reason` is the key for a text without a heading of its
    own.
    """
    # Heading of a score or winner -> what stands there -> how it reads.
    said: dict[str, dict[str, Any]] = {}
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
            scored = scored or (item.kind == "score" and set(read.values()) != {UNREAD})
        texts.append((scored, _block_texts(block, first, reason)))
    parts = {key: chosen for key, values in said.items() if (chosen := _agreed(values))}
    # The text beside a score comes first.
    for _, found in sorted(texts, key=lambda entry: not entry[0]):
        parts = found | parts
    return parts


# Key -> what was said below that heading, in order.
_Round = dict[str, tuple[AnswerItem, dict[str, None]]]


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
    readable = [value for value, read in said.items() if read != UNREAD]
    return (readable or list(said))[0] if len({said[value] for value in readable}) <= 1 else ""


def _winner(text: str) -> str:
    return text.strip(" *_`[]\"'.").casefold()
