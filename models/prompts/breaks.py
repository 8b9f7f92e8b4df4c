"""Putting `BREAK` back: where a prompt was split into sections, the refined prompt is split at the places
that fit them best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .syntax import enclosed

BREAK = re.compile(r"\bBREAK\b")
WORD = re.compile(r"\w{3,}")


def restore_breaks(original: str, refined: str, keep: Sequence[str] = ()) -> str:
    """`refined` with as many `BREAK`s as `original` has, outside syntax and the phrases of `keep`.

    Each goes to the end of a clause, so that the clauses of a section share as many words as possible with
    the original's section; where they share none, in proportion. A text that has them all stays as it is.
    """
    sections = _sections(original)
    if len(sections) <= len(_sections(refined, keep)):
        return refined
    text = " ".join(part.strip() for part in _sections(refined, keep)).strip()
    ends = _clause_ends(text, len(sections) - 1, keep)
    parts = _split(text, _best(text, ends, sections))
    return " ".join([*" BREAK ".join(parts).split(" "), *["BREAK"] * (len(sections) - len(parts))])


def _sections(text: str, keep: Sequence[str] = ()) -> list[str]:
    inside = enclosed(text, keep)
    sections, start = [], 0
    for match in BREAK.finditer(text):
        if not inside[match.start()]:
            sections.append(text[start : match.start()])
            start = match.end()
    return [*sections, text[start:]]


def _clause_ends(text: str, wanted: int, keep: Sequence[str]) -> list[int]:
    """Positions outside syntax and locked phrases where a section may end: behind clauses, or behind words
    where there are too few.
    """
    inside = enclosed(text, keep)
    for pattern in (r"[,.;:!?](?= )", r"\S(?= )"):
        ends = [match.end() for match in re.finditer(pattern, text) if not inside[match.start()]]
        if len(ends) >= wanted:
            break
    return ends


def _best(text: str, ends: list[int], sections: list[str]) -> list[int]:
    """The ends of all sections but the last that share the most words with their sections, in order."""
    breaks = min(len(sections) - 1, len(ends))
    if not breaks:
        return []
    words = [{word.casefold() for word in WORD.findall(section)} for section in sections]
    spans = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    lengths = [
        sum(len(section) for section in sections[: i + 1]) / max(1, sum(map(len, sections)))
        for i in range(len(sections))
    ]
    # shared[i][k]: words of the first k clauses that section i has too
    shared = [[0.0] for _ in words]
    for span in spans:
        spoken = [word.casefold() for word in WORD.findall(span)]
        for row, known in zip(shared, words, strict=True):
            row.append(row[-1] + sum(word in known for word in spoken))
    value = [shared[0][k + 1] for k in range(len(ends))]
    choice: list[list[int]] = []
    for i in range(1, breaks + 1):
        # value[k]: the best so far when section i - 1 ends behind clause k; a slight pull to the proportional
        # place breaks ties
        value = [v - abs(end / len(text) - lengths[i - 1]) * 0.5 for v, end in zip(value, ends, strict=True)]
        if i == breaks:
            break
        best, came, row, following = float("-inf"), 0, [], []
        for k in range(len(ends)):
            following.append(best + shared[i][k + 1])
            row.append(came)
            if value[k] - shared[i][k + 1] > best:
                best, came = value[k] - shared[i][k + 1], k
        choice.append(row)
        value = following
    last = [v + shared[breaks][-1] - shared[breaks][k + 1] for k, v in enumerate(value)]
    at = max(range(len(ends)), key=last.__getitem__)
    chosen = [at]
    for row in reversed(choice):
        chosen.append(row[chosen[-1]])
    return [ends[k] for k in sorted(chosen)]


def _split(text: str, ends: list[int]) -> list[str]:
    return [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
