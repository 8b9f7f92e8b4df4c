"""Finding the headings of a rubric's answer in a text, whatever stands around their words.

A heading is known by its words at the start of a line. Marks (#, bold, brackets, bullets), a number and a colon may be there or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..rubrics.rubric import AnswerItem, Rubric

SPACE = r" \t\r\f\v\u00a0\u2000-\u200a\u202f\u205f\u3000"
UNSEEN = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"  # zero-width and direction marks
BLANK = SPACE + UNSEEN

_LEAD = rf"[{BLANK}#*_`\[【•·+–—-]{{0,80}}"
_NUMBER = rf"[(（]?[0-9]{{1,3}}[.)）、][{BLANK}*_`\[【]{{0,40}}"
_DECORATION = re.compile(rf"(?:{_LEAD})(?:{_NUMBER})?")
# A heading that the rubric does not know: with #, a number, all in bold, or a short line that ends in a colon.
_OTHER = (
    rf"(?=[{BLANK}]{{0,20}}(?:\#{{1,6}}[{SPACE}]|(?:\*\*|__)?[(（]?[0-9]{{1,3}}[.)）、]|\*\*[^*\n]{{1,100}}\*\*[{BLANK}:：]{{0,4}}$"
    rf"|[^\n]{{1,100}}[:：][{BLANK}*_]{{0,8}}$))"
)
_OTHER_PARTS = re.compile(
    rf"[{BLANK}]*(?P<hashes>#{{1,6}}(?=[{SPACE}]))?[{BLANK}]*(?P<bold>\*\*|__)?[(（]?(?:(?P<number>[0-9]{{1,3}})[.)）、])?"
)
_CLOSERS = {"**": "**", "__": "__", "`": "`", "[": "]", "【": "】", "*": "*", "_": "_"}
_BEGINS_SCORE = re.compile(rf"[{BLANK}*_`\[(]{{0,40}}(?:[0-9]|n/?a\b)", re.IGNORECASE)


@dataclass
class HeadingLine:
    """A line that is, or may be, a heading. `start`, `body` (behind the heading) and `end` are offsets in the whole text.

    `kind`: "section" (of the whole answer), "dimension" (opens one), "inner" (the same below every dimension) or "other"
    (looks like a heading, but the rubric does not know it; then `items` is empty).
    """

    start: int
    body: int
    end: int
    items: tuple[AnswerItem, ...] = ()
    kind: str = "other"
    level: int = 0  # number of # (of the rubric's heading, where the line has none)
    marked: bool = False
    colon: bool = False
    number: int = 0
    inline: bool = False  # text follows on the same line
    leads_to: str = ""  # name of the inner heading on the next line that is not blank
    holds: bool = False  # an inner heading comes before the next section or dimension

    @property
    def item(self) -> AnswerItem:
        """The rubric's item with this heading; for "inner" one of several, one a dimension."""
        return self.items[0]

    @property
    def name(self) -> str:
        """What stands below the heading, without the dimension: "text.justification", "score.score"."""
        return f"{self.item.kind}.{self.item.key.rpartition('.')[2]}"


class Headings:
    """The headings of a rubric's answer, by their words."""

    def __init__(self, rubric: Rubric):
        self.answer = rubric.answer
        self.first: dict[str, AnswerItem] = {}  # dimension -> its first item
        items: dict[str, list[AnswerItem]] = {}
        for item in rubric.answer:
            if words := heading_words(item.heading):
                items.setdefault(words, []).append(item)
            if item.dimension:
                self.first.setdefault(item.dimension.key, item)
        self.items = {words: (tuple(found), self._kind(words, found)) for words, found in items.items()}
        self.pattern = _pattern(self.items)

    def position(self, item: AnswerItem) -> int:
        """Where an item stands in the answer, counted from 0."""
        return next(index for index, other in enumerate(self.answer) if other is item)

    @property
    def dimensions_from(self) -> int:
        """Position of the first item that belongs to a dimension."""
        return next((index for index, item in enumerate(self.answer) if item.dimension), len(self.answer))

    def _kind(self, words: str, items: list[AnswerItem]) -> str:
        item = items[0]
        if item.dimension is None:
            return "section"
        if len({one.dimension.key for one in items if one.dimension}) > 1:
            return "inner"
        alone = len(self.first) == 1  # then what is the same for every dimension cannot be told by comparing
        first = item.kind == "heading" and item is self.first[item.dimension.key]
        return "dimension" if not alone or first or _fold(item.dimension.name) in words else "inner"


def heading_words(heading: str) -> str:
    """The words of a heading without marks, number and colon, in lower case."""
    found = _DECORATION.match(heading)
    return _fold(heading[found.end() if found else 0 :]).rstrip(" *_`]】:：=")


def find_headings(text: str, headings: Headings) -> list[HeadingLine]:
    """All lines that are or may be headings, in order. Lines end with \\n only. Linear in the text's length."""
    lines = []
    for found in headings.pattern.finditer(text):
        end = text.find("\n", found.start())
        end = len(text) if end < 0 else end
        if line := _known(text, found, end, headings) or _other(text, found.start(), end):
            lines.append(line)
    holds, following = False, None
    for line in reversed(lines):
        if following and following.kind == "inner" and not text[line.end : following.start].strip():
            line.leads_to = following.name
        line.holds = holds or (line.kind == "dimension" and line.item.kind in ("score", "winner"))
        holds = line.kind == "inner" or (holds and line.kind == "other")
        following = line
    return lines


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    one_of = (
        "|".join(rf"[{SPACE}]{{1,8}}".join(map(re.escape, entry.split())) for entry in longest_first)
        or r"(?!)"
    )
    one_of = one_of.replace("judgement", "judge?ment")
    # The lookaheads with a back-reference take all marks at once: a line of a million stars costs one attempt.
    return re.compile(
        rf"^(?:(?=(?P<lead>{_LEAD}))(?P=lead)(?:(?=(?P<number>{_NUMBER}))(?P=number))?(?P<words>{one_of})(?![^\W_])"
        rf"(?P<tail>[{BLANK}*_`\]】]{{0,40}})(?:[(（][^()（）\n]{{0,60}}[)）][{BLANK}*_]{{0,8}}(?=[:：]))?"
        rf"(?P<colon>[:：=]|(?<=[{SPACE}])[-–—](?=[{SPACE}]))?|{_OTHER})",
        re.IGNORECASE | re.MULTILINE,
    )


def _fold(words: str) -> str:
    return " ".join(words.split()).casefold().replace("judgment", "judgement")


def _known(text: str, found: re.Match[str], end: int, headings: Headings) -> HeadingLine | None:
    if found["words"] is None or (entry := headings.items.get(_fold(found["words"]))) is None:
        return None
    items, kind = entry
    marks, body = found["lead"] + (found["number"] or ""), found.end()
    for (
        opener,
        closer,
    ) in _CLOSERS.items():  # "**Score:** 3": the bold that was opened before the words ends behind the colon
        if opener in marks and closer not in found["tail"] and text.startswith(closer, body):
            body += len(closer)
            break
    inline = bool(text[body:end].strip())
    exact = not inline and text[found.start() : end].strip().casefold() == items[0].heading.casefold()
    marked = exact or any(mark in marks for mark in ("#", "**", "__", "[", "【"))
    scored = marked and items[0].kind == "score" and _BEGINS_SCORE.match(text, body, end)  # "## Score 3.5"
    if inline and not found["colon"] and not scored:
        return None
    number = int(re.sub("[^0-9]", "", found["number"] or "") or 0)
    level = found["lead"].count("#") or items[0].heading.count("#")
    return HeadingLine(
        found.start(), body, end, items, kind, level, marked, bool(found["colon"]), number, inline
    )


def _other(text: str, start: int, end: int) -> HeadingLine | None:
    found = _OTHER_PARTS.match(text, start, min(end, start + 200))
    level, number = (len(found["hashes"] or ""), int(found["number"] or 0)) if found else (0, 0)
    words = text[start:end].rstrip(" \t\r*_") if end - start <= 120 else ""
    colon, bold = words.endswith((":", "：")), bool(words and found and found["bold"])
    return (
        HeadingLine(start, end, end, level=level, colon=colon, number=number)
        if level or number or colon or bold
        else None
    )
