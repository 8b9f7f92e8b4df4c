"""Where a phrase is in a text, in any case of letters, and putting something else there."""

from __future__ import annotations

import re


def replaced(text: str, phrase: str, mark: str, every: bool = False) -> str:
    """The text with the first occurrence (or every one) of the phrase, in any case of letters, replaced by
    the mark.
    """
    folded, sought = fold(text), fold(phrase)
    start = place_of(folded, sought)
    while start >= 0:
        end = start + len(phrase)
        text = text[:start] + mark + text[end:]
        folded = folded[:start] + mark + folded[end:]
        start = place_of(folded, sought, start + len(mark)) if every else -1
    return text


def place_of(folded: str, sought: str, start: int = 0) -> int:
    """Where the phrase is in the text and cuts no word, or -1.

    Scripts that join words without spaces have no such edges. A position in front of `:9` does not count,
    because that would become a weight.
    """
    position = folded.find(sought, start)
    while position >= 0:
        end = position + len(sought)
        joined = _joined(folded[position - 1 : position], sought[:1]) or _joined(
            sought[-1:], folded[end : end + 1]
        )
        if not joined and not re.match(r":\s*[\d.]", folded[end : end + 8]):
            return position
        position = folded.find(sought, position + 1)
    return -1


def _joined(left: str, right: str) -> bool:
    return all(c and c < "\u0590" and (c.isalnum() or c == "_") for c in (left, right))


def fold(text: str) -> str:
    """Lower case of the same length, so that positions stay the same."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
