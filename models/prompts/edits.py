"""Two rewrites of one prompt, joined: what either added to the prompt stays, where they do not contradict."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

# A word or a sign, with the spaces in front of it.
TOKENS = re.compile(r"\s*(?:[\w'’-]+|[^\w\s])")
# Share of the prompt's words that a rewrite leaves as they are, for it to be an edit and not another text.
MOSTLY_KEPT = 0.7


@dataclass(frozen=True)
class Edit:
    """`words` replace the tokens `start` to `end` of a prompt; nothing is replaced where both are equal."""

    start: int
    end: int
    words: tuple[str, ...]

    def contains(self, other: Edit) -> bool:
        """Whether this one says all that the other one says, in the same place."""
        size = len(other.words)
        starts = range(len(self.words) - size + 1)
        same_place = (self.start, self.end) == (other.start, other.end)
        return same_place and any(self.words[at : at + size] == other.words for at in starts)

    def contradicts(self, other: Edit) -> bool:
        """Whether both change the same words in different ways."""
        if self.contains(other) or other.contains(self):
            return False
        if self.start == self.end or other.start == other.end:
            return self.start < other.end and other.start < self.end
        return max(self.start, other.start) < min(self.end, other.end)


def combined(prompt: str, earlier: str, later: str) -> str | None:
    """The prompt with the edits of both rewrites, or None where one of them is another text altogether or
    the two contradict each other. Where both add something in one place, the earlier one's stands first.
    """
    tokens = TOKENS.findall(prompt)
    if not tokens:
        return None
    both = [edits(tokens, TOKENS.findall(rewrite)) for rewrite in (earlier, later)]
    for one in both:
        if sum(edit.end - edit.start for edit in one) > (1 - MOSTLY_KEPT) * len(tokens):
            return None
    if any(one.contradicts(other) for one in both[0] for other in both[1]):
        return None
    # Not a set: its order is another one in each process.
    union = list(dict.fromkeys([*both[0], *both[1]]))
    said = [one for one in union if not any(other.contains(one) for other in union if other != one)]
    joined = sorted(said, key=_position)
    result, at = [], 0
    for edit in joined:
        result += [*tokens[at : edit.start], *edit.words]
        at = edit.end
    return "".join([*result, *tokens[at:]])


def edits(before: list[str], after: list[str]) -> list[Edit]:
    """The changes that make `after` of `before`, additions as early as they can stand: one and the same may
    be read in several places, as in "on the right on a hill".
    """
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changes: list[Edit] = []
    for kind, start, end, first, last in codes:
        if kind == "equal":
            continue
        words = tuple(after[first:last])
        free = changes[-1].end if changes else 0
        while start == end > free and words[-1] == before[start - 1]:
            words = (words[-1], *words[:-1])
            start = end = start - 1
        changes.append(Edit(start, end, words))
    return changes


def _position(edit: Edit) -> tuple[int, int, bool]:
    # Of two additions at one place, the one behind a comma is the looser.
    return edit.start, edit.end, bool(edit.words) and not edit.words[0].strip()[:1].isalnum()
