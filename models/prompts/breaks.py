"""Putting `BREAK` back: where a prompt was split into sections, the refined prompt is split at the positions
that fit them best.
"""

from __future__ import annotations

import itertools
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
    # What is too short for so many sections has empty ones at its end.
    broken = " BREAK ".join(parts)
    return broken + " BREAK" * (len(sections) - len(parts))


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
    """The ends of all sections but the last that share the most words with their sections, in order.

    Computed clause by clause: the best way to end a section behind a clause adds the section's own shared
    words to the best way to end the section before it behind an earlier clause.
    """
    breaks = min(len(sections) - 1, len(ends))
    if not breaks:
        return []
    shared = _shared_words(text, ends, sections)
    proportional = _proportional_ends(sections)

    def pull(section: int, clause: int) -> float:
        # A slight pull to the proportional position breaks ties.
        return abs(ends[clause] / len(text) - proportional[section]) * 0.5

    # scores[k]: the best total when the current section ends behind clause k
    scores = [shared[0][k + 1] - pull(0, k) for k in range(len(ends))]
    # came_from[i][k]: behind which clause section i ends when section i + 1 ends behind clause k
    came_from: list[list[int]] = []
    for section in range(1, breaks):
        best, origin = float("-inf"), 0
        following: list[float] = []
        origins: list[int] = []
        for k, score in enumerate(scores):
            following.append(best + shared[section][k + 1] - pull(section, k))
            origins.append(origin)
            # The section starts behind clause k: the words before it do not count.
            start = score - shared[section][k + 1]
            if start > best:
                best, origin = start, k
        scores = following
        came_from.append(origins)
    totals = [score + shared[breaks][-1] - shared[breaks][k + 1] for k, score in enumerate(scores)]
    chosen = [totals.index(max(totals))]
    for origins in reversed(came_from):
        chosen.append(origins[chosen[-1]])
    return [ends[k] for k in reversed(chosen)]


def _shared_words(text: str, ends: list[int], sections: list[str]) -> list[list[int]]:
    """For each section, how many words of the first 0, 1, 2, ... clauses it has too."""
    known = [set(_words(section)) for section in sections]
    counts = [[0] for _ in sections]
    for clause in _split(text, ends):
        words = _words(clause)
        for row, section in zip(counts, known, strict=True):
            row.append(row[-1] + sum(1 for word in words if word in section))
    return counts


def _proportional_ends(sections: list[str]) -> list[float]:
    """Where each section ends in the original, 0 to 1."""
    lengths = list(itertools.accumulate(len(section) for section in sections))
    return [length / max(1, lengths[-1]) for length in lengths]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text)]


def _split(text: str, ends: list[int]) -> list[str]:
    return [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
