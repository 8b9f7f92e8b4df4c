"""A question in words alone, answered with one of a few given texts: no image, no writing, one forward or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..answers.vocabulary import Vocabulary
from .session import Session


def choose(session: Session, vocabulary: Vocabulary, choices: Sequence[str]) -> tuple[int, float]:
    """(index, probability 0..1) of the likeliest of `choices` as what follows in a session that has read the question.

    Probabilities are those of decoding locked to the choices: where they branch, only the tokens that continue one of
    them count. Raises ValueError where one choice is the beginning of another.
    """
    encoded = vocabulary.encode_all(list(choices))
    for i, ids in enumerate(encoded):
        if any(ids == other[: len(ids)] for j, other in enumerate(encoded) if i != j):
            raise ValueError("one choice is the beginning of another")
    logits = _logits_along(session, encoded)
    scores = []
    for ids, along in zip(encoded, logits, strict=True):
        score = 0.0
        for depth, token in enumerate(ids):
            branches = sorted({other[depth] for other in encoded if other[:depth] == ids[:depth]})
            if len(branches) > 1:
                score += float(along[depth][branches].log_softmax(-1)[branches.index(token)])
        scores.append(score)
    best = max(range(len(scores)), key=scores.__getitem__)
    return best, math.exp(scores[best])


def _logits_along(session: Session, encoded: Sequence[Sequence[int]]) -> list[list[torch.Tensor]]:
    """For each choice, the logits [V] in front of each of its tokens, as far as it shares a beginning with another one."""
    first = session.logits[0]
    firsts = [ids[0] for ids in encoded]
    if len(set(firsts)) == len(firsts):
        # They part at the first token; nothing more has to be computed.
        return [[first] for _ in encoded]
    longer = [ids for ids in encoded if len(ids) > 1]
    behind = iter(session.probe([(-1, ids[:-1]) for ids in longer]))
    return [[first, *next(behind)] if len(ids) > 1 else [first] for ids in encoded]
