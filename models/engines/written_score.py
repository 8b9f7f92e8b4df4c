"""The expected score of a dimension, read from the logits while a reasoned answer writes its score.

The expectation over the score tokens is G-Eval's weighting (arXiv 2303.16634), here over the rubric's numbers
from 1 to 4 and behind the reasoning. Nothing is computed for it: a score is written token by token, and each
step already knows the probability of every digit that could stand there. What was not written stays at the
digits known by then ("3" without its decimals).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NUMBER = re.compile(r"\s*([1-4](?:\.[0-9]*)?)")


@dataclass
class WrittenScore:
    """The expectation so far: `settled` is the part of it that was decided against, `open` the probability
    mass (0..1) of what is still being written.
    """

    settled: float = 0.0
    open: float = 1.0

    def choose(self, token: int, masses: Mapping[int, float], spelled: Mapping[int, str]) -> None:
        """Take the written `token`, given the mass of every token that was allowed there and what the score
        would read with it. What does not read as a number (N/A) counts for nothing.
        """
        values = {choice: number(spelled[choice]) for choice in masses if choice != token}
        others = {choice: value for choice, value in values.items() if value is not None}
        whole = masses[token] + sum(masses[choice] for choice in others)
        if whole <= 0:
            return
        self.settled += self.open * sum(masses[choice] * value for choice, value in others.items()) / whole
        self.open *= masses[token] / whole

    def expected(self, written: str) -> float | None:
        """The expected score, 1..4, once the score reads `written`; None where that is no number."""
        value = number(written)
        return None if value is None else self.settled + self.open * value


def number(text: str) -> float | None:
    """The score that a text begins with, however many of its decimals are there yet.

    >>> number(" 3."), number(" 3.5"), number(" N/A"), number(" ")
    (3.0, 3.5, None, None)
    """
    found = NUMBER.match(text)
    return float(found[1]) if found else None
