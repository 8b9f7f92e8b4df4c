"""The output format inside somebody's wording: its headings, and which of them belong to a dimension."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
# Kinds of headings below a dimension.
_INNER = ("score_a", "score_b", "score", "winner", "justification")
_LINE = re.compile(
    r"[ \t]*(?:[-•][ \t]+)?(?P<marks>#{1,6})?[ \t]*(?P<bold>\*\*)?"
    r"(?:(?P<number>[0-9]{1,2})(?P<dot>[.)、][ \t]*))?(?P<bold2>\*\*)?"
    r"(?P<words>[^\s:：*#\[<][^:：*#\[<\n]{0,79}?)[ \t]*(?:\*\*)?[ \t]*"
    r"(?:(?P<colon>[:：])[ \t]*(?:\*\*)?|(?=[\[<]|$))[ \t]*(?P<hint>.*)"
)


@dataclass(frozen=True)
class Heading:
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
        """The heading as it is written, without its hint."""
        return f"{self.marks}{self.number or ''}{self.dot}{self.words}{self.colon}"


@dataclass(frozen=True)
class Block:
    """A dimension of the output format: its heading, that heading's position among all headings, and the
    headings below it.
    """

    position: int
    heading: Heading
    inner: list[Heading]

    @property
    def end(self) -> int:
        """Position of the first heading that is not part of the block."""
        return self.position + 1 + len(self.inner)

    @property
    def kinds(self) -> set[str]:
        """What the headings below stand for."""
        return {heading.kind for heading in self.inner}

    @property
    def shape(self) -> list[tuple[str, str]]:
        """Kind and text of each heading below, which all dimensions have in common."""
        return [(heading.kind, heading.text) for heading in self.inner]

    @property
    def has_score(self) -> bool:
        """Whether one of the headings below asks for a score."""
        return any(kind.startswith("score") for kind in self.kinds)


def find_headings(text: str) -> list[Heading]:
    """Every line that looks like a heading: with marks, a number or bold, or a known name and a colon."""
    lines = text.split("\n")
    headings = []
    for index, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        words = match["words"].strip()
        kind = _kind(words)
        bold = match["bold"] or match["bold2"]
        if not (match["marks"] or match["number"] or bold or (kind and match["colon"])):
            continue
        below = next((row.strip() for row in lines[index + 1 :] if row.strip()), "")
        hint = match["hint"].strip() or (below if below[:1] in ("[", "<", "(") else "")
        marks = f"{match['marks']} " if match["marks"] else ""
        number, dot, colon = int(match["number"] or 0), match["dot"] or "", match["colon"] or ""
        headings.append(Heading(kind, marks, number, dot, words, colon, hint))
    return headings


def _kind(words: str) -> str:
    for kind, pattern in _KINDS.items():
        if re.fullmatch(pattern, words, re.IGNORECASE):
            return kind
    return ""


def find_blocks(headings: list[Heading]) -> list[Block]:
    """The dimensions of the output format, in order; one without a score may be among them.

    They are the headings that look like the first one with a score below it. Where a name stands twice, the
    last one counts: an explanation may come before the format.
    """
    blocks = _unknown_headings(headings)
    scored = [block for block in blocks if block.has_score]
    if not scored:
        return []
    look = (scored[0].heading.marks, bool(scored[0].heading.number))
    alike = {
        index: block
        for index, block in enumerate(blocks)
        if (block.heading.marks, bool(block.heading.number)) == look
    }
    with_inner = [index for index, block in alike.items() if block.inner]
    first, last = with_inner[0], with_inner[-1]
    # In a numbered list, one that lost all its headings.
    while look[1] and last + 1 in alike and alike[last + 1].position == alike[last].end:
        last += 1
    by_name = {block.heading.words: block for index, block in alike.items() if first <= index <= last}
    return sorted(by_name.values(), key=lambda block: block.position)


def _unknown_headings(headings: list[Heading]) -> list[Block]:
    """Headings that stand for nothing known, each with the headings of a dimension that follow it."""
    blocks = []
    for position, heading in enumerate(headings):
        if heading.kind or not heading.words:
            continue
        inner: list[Heading] = []
        for below in headings[position + 1 :]:
            if below.kind not in _INNER:
                break
            inner.append(below)
        blocks.append(Block(position, heading, inner))
    return blocks
