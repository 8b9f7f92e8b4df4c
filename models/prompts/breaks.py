"""Putting `BREAK` back: where a prompt was split into sections, the refined prompt is split at the positions
that fit them best.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

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
    places = [end / len(text) for end in ends]
    proportional = _proportional_ends(sections)

    def ending(section: int, before: Iterable[float]) -> list[float]:
        """For each clause, the best total when the section ends behind it; `before` is the best so far."""
        # A slight pull to the proportional position breaks ties.
        aim, found = proportional[section], shared[section][1:-1]
        return [
            best + words - abs(place - aim) * 0.5
            for best, words, place in zip(before, found, places, strict=True)
        ]

    scores = ending(0, itertools.repeat(0.0, len(ends)))
    # starts[i][k]: the best total when section i + 1 starts behind clause k; the words before do not count.
    starts: list[list[float]] = []
    for section in range(1, breaks):
        start = [score - words for score, words in zip(scores, shared[section][1:-1], strict=True)]
        starts.append(start)
        scores = ending(section, [float("-inf"), *itertools.accumulate(start[:-1], max)])
    last = shared[breaks]
    totals = [score + last[-1] - words for score, words in zip(scores, last[1:-1], strict=True)]
    chosen = [totals.index(max(totals))]
    for start in reversed(starts):
        earlier = start[: chosen[-1]] or start[:1]
        chosen.append(earlier.index(max(earlier)))
    return [ends[k] for k in reversed(chosen)]


def _shared_words(text: str, ends: list[int], sections: list[str]) -> list[list[int]]:
    """For each section, how many words of the first 0, 1, 2, ... clauses it has too."""
    known = [frozenset(_words(section)) for section in sections]
    # Sections with the same words share their counts.
    counts = {words: [0] for words in known}
    for clause in _split(text, ends):
        words = _words(clause)
        for section, row in counts.items():
            row.append(row[-1] + sum(1 for word in words if word in section))
    return [counts[words] for words in known]


def _proportional_ends(sections: list[str]) -> list[float]:
    """Where each section ends in the original, 0 to 1."""
    lengths = list(itertools.accumulate(len(section) for section in sections))
    return [length / max(1, lengths[-1]) for length in lengths]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text)]


def _split(text: str, ends: list[int]) -> list[str]:
    return [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
