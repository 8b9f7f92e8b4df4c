"""Scores without reasoning: the probabilities behind every score heading, from one forward over a tree of
tokens.

The expectation over the digits is G-Eval's weighting (arXiv 2303.16634) on the rubric's own scale. The model
was trained to give evidence first, so these scores rank quickly but are not calibrated; never mix them with
reasoned ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..answers.vocabulary import Vocabulary
from ..errors import QuestionError
from ..rubrics.rubric import Rubric
from .base import ExpectedScore
from .decoding import LEAST_LIKELY, likelihood

Branch = tuple[int, list[int]]


@dataclass(frozen=True)
class Reader:
    """Where one dimension's probabilities stand in the tree."""

    # Branch that ends behind the heading and a space.
    heading: int
    # Branches "1.", "2.", "3.".
    wholes: tuple[int, ...]
    # Ids of "0" to "9".
    digits: tuple[int, ...]
    space: int
    # First token of " N/A", where the dimension may not apply.
    not_applicable: int | None


def score_tree(rubric: Rubric, vocabulary: Vocabulary) -> tuple[list[Branch], dict[str, Reader]]:
    """The branches to probe and how to read them, by dimension key.

    Raises QuestionError for a vocabulary or rubric that has no such tree.
    """
    if rubric.pair:
        raise QuestionError("The fast mode scores single images: use Compare without it for pairs.")
    digits = [vocabulary.encode(str(digit)) for digit in range(10)]
    space, dot, missing = vocabulary.encode(" "), vocabulary.encode("."), vocabulary.encode(" N/A")
    if any(len(ids) != 1 for ids in (*digits, space, dot)) or vocabulary.encode(" 3.5") != [
        *space,
        *digits[3],
        *dot,
        *digits[5],
    ]:
        raise QuestionError(
            "This checkpoint writes numbers in larger pieces, which the fast mode cannot read: use the "
            "reasoned mode."
        )
    digit_ids = tuple(ids[0] for ids in digits)
    branches: list[Branch] = []
    readers: dict[str, Reader] = {}
    # Headings without text, such as "# Detailed Judgement".
    above = ""
    for item in rubric.answer:
        if item.dimension is None:
            above = f"{above}{item.heading}\n" if item.kind == "heading" else ""
        elif item.kind == "heading" and item.dimension.key not in readers:
            title = f"{item.heading}\n"
        elif item.kind == "score":
            branches.append((-1, vocabulary.encode(f"{above}{title}{item.heading}") + space))
            parent = len(branches) - 1
            wholes = []
            for whole in (1, 2, 3):
                wholes.append(len(branches))
                branches.append((parent, [digit_ids[whole], dot[0]]))
            optional = missing[0] if item.dimension.not_applicable and missing[0] != space[0] else None
            readers[item.dimension.key] = Reader(parent, tuple(wholes), digit_ids, space[0], optional)
    return branches, readers


def expected_score(logits: Sequence[torch.Tensor], reader: Reader, vocabulary: Vocabulary) -> ExpectedScore:
    """One dimension's expectation, from the logits along the branches (`Session.probe`)."""
    before, behind = logits[reader.heading][-2], logits[reader.heading][-1]
    likely = 1.0
    if reader.not_applicable is not None:
        starts = (reader.space, reader.not_applicable)
        likely = likelihood(before.log_softmax(-1), starts, vocabulary)
        if before[reader.not_applicable] > before[reader.space] and likely >= LEAST_LIKELY:
            return ExpectedScore(None, float(before.softmax(-1)[reader.not_applicable]), applicable=False)
    if likely * likelihood(behind.log_softmax(-1), reader.digits[1:5], vocabulary) < LEAST_LIKELY:
        return ExpectedScore(None, 0.0)
    first = behind.softmax(-1)[list(reader.digits[1:5])]
    values, masses = [4.0], [first[3]]
    for whole, branch in enumerate(reader.wholes, 1):
        second = logits[branch][-1].softmax(-1)[list(reader.digits)]
        # Which decimal, given that one follows.
        second = second / second.sum()
        values += [whole + digit / 10 for digit in range(10)]
        masses += list(first[whole - 1] * second)
    value, mass = torch.tensor(values), torch.stack(masses).cpu()
    score = float((value * mass).sum() / mass.sum())
    return ExpectedScore(score, float(mass[(value - score).abs() <= 0.5].sum()))
