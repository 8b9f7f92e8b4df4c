"""Reading an answer in a rubric's format, however damaged: its parts by key, and the scores in them.

Everything is derived from `Rubric.answer`. A heading is known by its words at the start of a line; marks around them (#, bold,
brackets, bullets, a number, a colon) may be there or not. What counts where the answer repeats or contradicts itself:

- A heading of a dimension ("Score") counts only below the heading of that dimension, and a dimension's heading only behind the
  one that opens the judgement ("Detailed Judgement"), where the answer has that. So a prompt quoted in the analysis gives no score.
- A text that stands twice: the first that is not empty and not the placeholder of the answer format.
- Two different scores for one dimension, in one section or in two: no score, because nothing says which one counts.
- A second pair of justification and score below one dimension's heading belongs to a section that lost its heading: left out.
- An unknown dimension ends the known one above it. What stands in front of the first heading is left out.
- A whole number at the very end of an answer that should go on is left out, because it may be the start of "3.5".
- A thinking block is left out; one that never ends holds no answer. A code fence around the answer is taken off.
- The last text ends at a horizontal rule, at the fence's end, or at an unknown heading of its own level; a closing remark without
  any of these cannot be told from the text and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .rubric import AnswerItem, Rubric

SPACE = r" \t\r\f\v\u00a0\u2000-\u200a\u202f\u205f\u3000"
UNSEEN = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"  # zero-width and direction marks
BLANK = SPACE + UNSEEN

# ---------------------------------------------------------------- scores

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}  # full-width forms; no other digit is converted
_OPEN = rf"[{BLANK}*_`\"'“‘\[{{【「(]{{0,40}}"
_CLOSE = rf"[{BLANK}*_`\"'”’\]}}】」)]{{0,40}}"
# An explanation may follow a score behind a bracket, a dash or a stop, unless it goes on with a number, a range or another scale.
_REASON = (
    rf"(?:[{SPACE}]*[\[(]|[{SPACE}]+[-–—][{SPACE}]+|[{SPACE}]*—|[;,][{SPACE}]+|(?P<stop>\.)[{SPACE}]+)"
    rf"(?![{BLANK}]*(?:[-+.,/]?[0-9]|(?:or|to|and|of|out|from|n/?a|maybe|perhaps|between)\b))"
)
_SCORE = re.compile(
    rf"(?P<open>{_OPEN})(?P<whole>[0-9])(?:(?:\.(?P<point>[0-9]{{1,6}})|,(?P<comma>[0-9]{{1,2}}))(?![0-9]))?"
    rf"(?P<close>{_CLOSE})"
    rf"(?P<scale>(?:\(?(?:/|out[{SPACE}]+of|(?P<of>of))[{SPACE}]*4(?:[.,]0{{1,2}})?|分|points?(?![^\W_]))(?![.,]?[0-9])(?P<shut>{_CLOSE}))?"
    rf"(?:(?P<end>[.。]?[{BLANK}]*\Z)|(?P<reason>{_REASON}))",
    re.IGNORECASE,
)
_NOT_APPLICABLE = re.compile(
    rf"{_OPEN}(?:n[{SPACE}]?[/\\][{SPACE}]?a\.?|n\.[{SPACE}]?a\.?|na(?=[{BLANK}]*(?:\Z|[^\w{BLANK}]))|not[{SPACE}-]+applicable)(?![^\W_])"
    rf"(?!{_CLOSE}[{BLANK},;:.(/-]*(?:[0-9]|or\b|to\b))",
    re.IGNORECASE,
)
_CUT_NUMBER = re.compile(rf"[^\n]*(?<![0-9.,])[0-9][{BLANK}]*\Z")


def read_score(text: str) -> tuple[float | None, bool]:
    """The score 1..4 that stands in the text behind a score's heading, or None; and whether the dimension applies at all.

    The first line must be the number, alone or with its scale ("3.5/4") or an explanation behind it ("3.5 (two small slips)").
    Not taken, because the number would be a guess: a range or choice ("1-4", "3 or 4"), a sign ("-3"), another scale ("7/10"), a count
    ("3 of 4 criteria"), a list number ("3. ..."), anything outside 1..4 (never clamped), or a further line that says something else.
    """
    said = {one for line in text.translate(_WIDE).split("\n") if line.strip() for one in [_read_line(line)]}
    first = next((_read_line(line) for line in text.translate(_WIDE).split("\n") if line.strip()), _UNREAD)
    return first if said <= {first, _UNREAD} else _UNREAD


_UNREAD = (None, True)


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


# ---------------------------------------------------------------- headings


@dataclass
class _Line:
    """A line that is, or may be, a heading. Offsets are those of the whole text."""

    start: int
    body: int  # where the text behind the heading starts
    end: int
    items: tuple[AnswerItem, ...] = ()  # the rubric's items with this heading; empty: a heading the rubric does not know
    kind: str = "other"  # "section", "dimension" (opens one), "inner" (below every dimension) or "other"
    level: int = 0
    marked: bool = False
    colon: bool = False
    number: int = 0
    inline: bool = False  # text follows on the same line
    leads_to: str = ""  # the inner heading on the next line that is not blank
    holds: bool = False  # an inner heading comes before the next section or dimension

    @property
    def item(self) -> AnswerItem:
        return self.items[0]


class _Headings:
    """The headings of a rubric's answer, by their words."""

    def __init__(self, rubric: Rubric):
        self.rubric = rubric
        self.order = {id(item): place for place, item in enumerate(rubric.answer)}
        self.items: dict[str, list[AnswerItem]] = {}
        for item in rubric.answer:
            self.items.setdefault(_words(item.heading), []).append(item)
        self.first = {}  # dimension key -> its first item
        for item in rubric.answer:
            if item.dimension:
                self.first.setdefault(item.dimension.key, item)
        self.start = min((self.order[id(item)] for item in self.first.values()), default=len(rubric.answer))
        self.pattern = _heading_pattern(self.items)

    def kind(self, items: list[AnswerItem]) -> str:
        item = items[0]
        if item.dimension is None:
            return "section"
        shared = len({one.dimension.key for one in items if one.dimension}) > 1
        own = len(self.first) > 1 or item is self.first[item.dimension.key] and item.kind == "heading"
        return "dimension" if not shared and (own or item.dimension.name.casefold() in _words(item.heading)) else "inner"

    def ends_answer(self, item: AnswerItem) -> bool:
        return item is self.rubric.answer[-1]


_LEAD = rf"[{BLANK}#*_`\[【•·+–—-]{{0,80}}"
_NUMBER = rf"[(（]?[0-9]{{1,3}}[.)）、][{BLANK}*_`\[【]{{0,40}}"
_DECORATION = re.compile(rf"(?:{_LEAD})(?:{_NUMBER})?")
# What a heading of the answer looks like that the rubric does not know: #, a number, bold, or a short line that ends in a colon.
_OTHER = (
    rf"(?=[{BLANK}]{{0,20}}(?:\#{{1,6}}[{SPACE}]|(?:\*\*|__)?[(（]?[0-9]{{1,3}}[.)）、]|\*\*[^*\n]{{1,100}}\*\*[{BLANK}:：]{{0,4}}$"
    rf"|[^\n]{{1,100}}[:：][{BLANK}*_]{{0,8}}$))"
)
_OTHER_PARTS = re.compile(rf"[{BLANK}]*(?P<hashes>#*)[{BLANK}]*(?:\*\*|__)?[(（]?(?:(?P<number>[0-9]{{1,3}})[.)）、])?")
_CLOSERS = {"**": "**", "__": "__", "`": "`", "[": "]", "【": "】", "*": "*", "_": "_"}


def _heading_pattern(words: Iterable[str]) -> re.Pattern[str]:
    one_of = "|".join(rf"[{SPACE}]{{1,8}}".join(map(re.escape, w.split())) for w in sorted(words, key=len, reverse=True))
    one_of = re.sub("judge?ment", "judge?ment", one_of)  # both spellings
    # The lookahead with a back-reference takes all decoration at once, so that a line of a million stars costs one attempt.
    return re.compile(
        rf"^(?:(?=(?P<lead>{_LEAD}))(?P=lead)(?:(?=(?P<number>{_NUMBER}))(?P=number))?(?P<words>{one_of})(?![^\W_])"
        rf"(?P<tail>[{BLANK}*_`\]】]{{0,40}})(?:[(（][^()（）\n]{{0,60}}[)）][{BLANK}*_]{{0,8}}(?=[:：]))?"
        rf"(?P<colon>[:：=]|(?<=[{SPACE}])[-–—](?=[{SPACE}]))?|{_OTHER})",
        re.IGNORECASE | re.MULTILINE,
    )


def _words(heading: str) -> str:
    found = _DECORATION.match(heading)
    words = " ".join(heading[found.end() if found else 0 :].split()).rstrip(" *_`]】:：=").casefold()
    return words.replace("judgment", "judgement")


def _scan(text: str, headings: _Headings) -> list[_Line]:
    lines = []
    for found in headings.pattern.finditer(text):
        end = text.find("\n", found.start())
        end = len(text) if end < 0 else end
        lines.append(_known(text, found, end, headings) or _unknown(text, found.start(), end))
    holds = False
    for line, following in zip(reversed(lines), [None, *reversed(lines)], strict=False):
        if following and following.kind == "inner" and not text[line.end : following.start].strip():
            line.leads_to = following.item.kind + following.item.key.rpartition(".")[2]
        line.holds = holds or (line.kind == "dimension" and line.item.kind in ("score", "winner"))
        holds = line.kind == "inner" or (holds and line.kind == "other")
    return lines


def _known(text: str, found: re.Match[str], end: int, headings: _Headings) -> _Line | None:
    if found["words"] is None:
        return None
    items = headings.items[_words(found["words"])]
    lead, number = found["lead"], found["number"] or ""
    body = found.end()
    for opener, closer in _CLOSERS.items():  # "**Score:** 3": the bold that was opened before the words ends behind the colon
        if opener in lead + number and closer not in found["tail"] and text.startswith(closer, body):
            body += len(closer)
            break
    inline = bool(text[body:end].strip())
    exact = text[found.start() : end].strip().casefold() == items[0].heading.casefold()
    marked = exact or any(mark in lead + number for mark in ("#", "**", "__", "[", "【"))
    scored = (
        items[0].kind == "score" and marked and re.match(rf"{_OPEN}(?:[0-9]|n/?a\b)", text[body : body + 60], re.IGNORECASE)
    )
    if inline and not found["colon"] and not scored:
        return None
    numbered = int(re.sub(r"\D", "", number)) if number else 0
    kind = headings.kind(items)
    level = lead.count("#") or items[0].heading.count("#")
    return _Line(found.start(), body, end, tuple(items), kind, level, marked, bool(found["colon"]), numbered, inline)


def _unknown(text: str, start: int, end: int) -> _Line:
    found = _OTHER_PARTS.match(text, start, min(end, start + 200))
    hashes, number = (len(found["hashes"]), int(found["number"] or 0)) if found else (0, 0)
    colon = end - start <= 110 and text[start:end].rstrip(" \t\r*_").endswith((":", "："))
    return _Line(start, end, end, level=hashes if hashes <= 6 else 0, colon=colon, number=number)


# ---------------------------------------------------------------- the answer


@dataclass
class _Block:
    """What stands below one heading of a dimension: texts by inner heading, in order; `loose` has no inner heading."""

    sections: list[tuple[AnswerItem, str]] = field(default_factory=list)
    loose: str = ""


@dataclass
class _Reader:
    """How far the answer is read: the open section and the open dimension."""

    text: str
    headings: _Headings
    barrier: int  # no dimension counts before this offset
    item: AnswerItem | None = None
    block: _Block | None = None
    body: int = 0
    level: int = 0
    listed: int = 0  # number of the last line of a numbered list in the open section
    seen: set[str] = field(default_factory=set)  # inner headings of the open block
    texts: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, list[_Block]] = field(default_factory=dict)

    def take(self, line: _Line) -> None:
        """Go on to a line that looks like a heading."""
        if line.kind == "other":
            self._take_other(line)
        elif not self._accepts(line):
            self.listed = line.number or self.listed
        else:
            self.close(line.start)
            if line.kind == "section":
                self._open(line, line.item, None)
            elif line.kind == "dimension":
                self._open_dimension(line)
            else:
                self._open_inner(line, line.item)

    def close(self, end: int) -> None:
        """End the open section at an offset and keep its text."""
        if self.item is None:
            return
        text = self.text[self.body : end]
        ending = end == len(self.text) and not self.headings.ends_answer(self.item)
        if not (self.item.kind == "score" and ending and _CUT_NUMBER.fullmatch(text)):
            text = _clean(text, self.item, self.headings)
            if self.block is None:
                self.texts.setdefault(self.item.key, []).append(text)
            elif self.item.kind == "heading":
                self.block.loose = self.block.loose or text
            else:
                self.block.sections.append((self.item, text))
        self.item = None

    def _accepts(self, line: _Line) -> bool:
        bare = not line.inline and bool(line.colon or line.marked or line.leads_to)
        if line.kind == "inner":
            return self.block is not None and (line.inline or bare)
        explicit = any(name.startswith("text") for name in self.seen)
        if line.kind == "section":
            if line.marked:
                return True
            if self.block is not None:
                return line.colon and self._scored
            order = self.headings.order
            return line.colon and (self.item is None or order[id(line.item)] > order[id(self.item)])
        if line.start < self.barrier or not (line.marked or line.number or bare):
            return False
        if self.block is None and self.item is not None and self.item.kind == "text":
            return line.holds
        if self.block is not None and line.item.kind == "heading":
            return not line.inline or bool(line.leads_to) or self._scored or not explicit
        return True

    @property
    def _scored(self) -> bool:
        return any(name.startswith("score") for name in self.seen)

    def _take_other(self, line: _Line) -> None:
        """A heading that the rubric does not know: it ends the open dimension, or the open text, or is part of a text."""
        known = line.leads_to in self.seen and bool(line.leads_to)
        ends_text = 0 < line.level <= self.level
        ends_dimension = self.block is not None and (
            known
            or (line.level > 0 and bool(line.number or line.leads_to))
            or (ends_text and self._scored)
            or (line.number > 1 and line.colon and line.number != self.listed + 1)
            or (line.number > 0 and line.colon and bool(line.leads_to))
        )
        if ends_dimension:
            self.close(line.start)
            self.block = None
        elif ends_text:
            self.close(line.start)
        else:
            self.listed = line.number or self.listed

    def _open(self, line: _Line, item: AnswerItem, block: _Block | None) -> None:
        self.item, self.block, self.body, self.level, self.listed = item, block, line.body, line.level, 0

    def _open_dimension(self, line: _Line) -> None:
        assert line.item.dimension is not None
        key, first = line.item.dimension.key, self.headings.first[line.item.dimension.key]
        blocks = self.blocks.setdefault(key, [])
        if line.item is first or self.block is None or not blocks or self.block is not blocks[-1]:
            blocks.append(_Block())
            self.seen = set()
        self._open(line, line.item, blocks[-1])
        if line.item.kind != "heading":
            self.seen.add(line.item.kind + line.item.key.rpartition(".")[2])

    def _open_inner(self, line: _Line, item: AnswerItem) -> None:
        self._open(line, item, self.block)
        self.seen.add(item.kind + item.key.rpartition(".")[2])


def read_answer(text: str, rubric: Rubric) -> dict[str, str]:
    """The parts of an answer by key, as the rubric's `answer` names them ("summary", "text_faithfulness.score", ...).

    Missing parts are absent. Any string is read, in linear time; what is read from a damaged one is said at the top of this file.
    """
    headings = _Headings(rubric)
    text = _without_thoughts(text.replace("\r\n", "\n"), headings)
    lines = _scan(text, headings)
    end = _fence_end(text, lines)
    reader = _Reader(text, headings, _judgement_start(lines, headings))
    for line in lines:
        if line.start < end:
            reader.take(line)
    reader.close(end)
    parts = {key: chosen for key, texts in reader.texts.items() if key and (chosen := _first(texts))}
    for key, blocks in reader.blocks.items():
        parts |= _dimension_parts(key, blocks)
    return {item.key: parts[item.key] for item in rubric.answer if item.key in parts}


def _without_thoughts(text: str, headings: _Headings) -> str:
    opened = re.match(rf"[\s{UNSEEN}]*<think(?:ing)?>", text, re.IGNORECASE)
    if opened:
        closed = re.compile(r"</think(?:ing)?>", re.IGNORECASE).search(text, opened.end())
        if closed:
            return text[closed.end() :]
        rest = text[opened.end() :].lstrip()
        found = headings.pattern.match(rest)
        return rest if found and found["words"] and found["lead"].startswith("#") else ""
    closed = re.search(r"</think(?:ing)?>[ \t]*$", text, re.IGNORECASE | re.MULTILINE)
    if closed and any(line.kind == "inner" or line.kind == "dimension" for line in _scan(text[closed.end() :], headings)):
        return text[closed.end() :]
    return text


def _fence_end(text: str, lines: list[_Line]) -> int:
    """Where the answer ends: at the last fence, if that closes one around the whole answer; else at the end of the text."""
    first = next((line.start for line in lines if line.kind in ("section", "dimension")), len(text))
    fences = [found.start() for found in re.finditer(r"^[ \t]*```", text, re.MULTILINE)]
    before = sum(start < first for start in fences)
    inside = len(fences) - before
    if inside % 2 and (before % 2 or not text[fences[-1] :].strip(" \t\n`")):
        return fences[-1]
    return len(text)


def _judgement_start(lines: list[_Line], headings: _Headings) -> int:
    """Offset of the heading that opens the judgement, if a dimension follows it; before it no dimension counts."""
    for place, line in enumerate(lines):
        if line.kind == "section" and line.marked:
            if headings.order[id(line.item)] > headings.start:
                return 0
            if line.item.kind == "heading":
                return line.start if any(later.kind == "dimension" and later.holds for later in lines[place:]) else 0
    return 0


def _clean(text: str, item: AnswerItem, headings: _Headings) -> str:
    rows = text.split("\n")
    if headings.ends_answer(item) and item.kind == "text":
        rows = rows[: next((i for i, row in enumerate(rows) if i and _is_rule(row)), len(rows))]
    while rows and (not rows[-1].strip() or _is_rule(rows[-1])):
        rows.pop()
    text = "\n".join(rows).strip()
    if item.hint and text[: len(item.hint)].casefold() == item.hint.casefold():  # the placeholder of the answer format
        text = text[len(item.hint) :].strip() if text[len(item.hint) :][:1] in ("", "\n") else text
    return text


def _is_rule(row: str) -> bool:
    row = row.strip()
    return len(row) >= 3 and row[0] in "-*_=" and row == row[0] * len(row)


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty; one in square brackets is taken only if there is no other."""
    there = [text for text in texts if text]
    return next((text for text in there if not (text.startswith("[") and text.endswith("]"))), there[0] if there else "")


def _dimension_parts(key: str, blocks: list[_Block]) -> dict[str, str]:
    said: dict[str, dict[str, None]] = {}  # score or winner -> what was said, in order
    texts: list[tuple[bool, dict[str, str]]] = []
    for block in blocks:
        rounds = list(_rounds(block))
        counted = [rounds[0], *(later for later in rounds[1:] if not any(item.kind == "text" for item in later))]
        scored = False
        for item, values in ((item, values) for one in counted for item, values in one.items() if item.kind != "text"):
            said.setdefault(item.key, {}).update(values)
            scored = scored or (item.kind == "score" and any(read_score(value) != _UNREAD for value in values))
        texts.append((scored, _block_texts(block, rounds[0])))
    parts = {name: chosen for name, values in said.items() if (chosen := _agreed(list(values), name))}
    texts.sort(key=lambda one: not one[0])  # the justification stands beside the score that was taken
    for _, found in texts:
        for name, text in found.items():
            parts.setdefault(name or f"{key}.justification", text)
    return parts


def _rounds(block: _Block) -> Iterator[dict[AnswerItem, dict[str, None]]]:
    """The sections of a block, split where its first heading comes again with another text."""
    current: dict[AnswerItem, dict[str, None]] = {}
    first: AnswerItem | None = None
    for item, text in block.sections:
        if not text or text in current.get(item, ()):
            continue
        if item == first and (len(current) > 1 or item.kind == "text"):
            yield current
            current = {}
        first = item if not current else first
        current.setdefault(item, {})[text] = None
    yield current


def _block_texts(block: _Block, sections: dict[AnswerItem, dict[str, None]]) -> dict[str, str]:
    texts = {item.key: _first(values) for item, values in sections.items() if item.kind == "text"}
    if texts:
        return texts
    behind = (next(iter(values)).partition("\n")[2].strip() for item, values in sections.items() if item.kind == "score")
    loose = block.loose or _first(behind)
    return {"": loose} if loose else {}


def _agreed(values: list[str], key: str) -> str:
    """What was said of a score or a winner, if all that can be read says the same; else nothing."""
    if key.endswith(".winner"):
        read = [value.strip(" *_`[]\"'.").casefold() for value in values]
        return values[0] if len(set(read)) == 1 else ""
    readable = [value for value in values if read_score(value) != _UNREAD]
    if len({read_score(value) for value in readable}) > 1:
        return ""
    return (readable or values)[0]
