"""A question in words alone, answered with one of a few given texts: no picture, no writing, one forward or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .session import GrowingLayer, Session
from .transformers_engine import TransformersEngine


@torch.inference_mode()
def choose(engine: TransformersEngine, question: str, choices: Sequence[str]) -> tuple[int, float]:
    """(index, probability 0..1) of the likeliest of `choices` as the answer to `question`, under the checkpoint's chat template.

    Probabilities are those of decoding locked to the choices: where they branch, only the tokens that one of them goes on with count.
    No choice may begin with another one.
    """
    vocabulary = engine.vocabulary
    found = vocabulary.encode_all(list(choices))
    if any(
        one == other[: len(one)] for i, one in enumerate(found) for j, other in enumerate(found) if i != j
    ):
        raise ValueError("one choice is the beginning of another")
    session = _read(engine, question, sum(map(len, found)))
    branches = [(-1, ids[:-1]) for ids in found if len(ids) > 1]
    behind = iter(session.probe(branches)) if any(_branches_late(ids, found) for ids in found) else iter(())
    late = {index: next(behind, None) for index, ids in enumerate(found) if len(ids) > 1}
    scores = []
    for index, ids in enumerate(found):
        score = 0.0
        for depth, token in enumerate(ids):
            nexts = sorted({other[depth] for other in found if other[:depth] == ids[:depth]})
            if len(nexts) > 1:
                rest = late.get(index)
                logits = session.logits[0] if depth == 0 or rest is None else rest[depth - 1]
                score += float(logits[nexts].log_softmax(-1)[nexts.index(token)])
        scores.append(score)
    best = max(range(len(scores)), key=scores.__getitem__)
    return best, math.exp(scores[best])


def _branches_late(ids: Sequence[int], all_ids: Sequence[Sequence[int]]) -> bool:
    """Whether a choice shares its beginning with another one."""
    return sum(other[0] == ids[0] for other in all_ids) > 1


def _read(engine: TransformersEngine, question: str, new: int) -> Session:
    """A session that has read the question, on a model with room for `new` tokens more: a text's M-RoPE positions simply count, so it is fed as any tokens are."""
    ids, _ = engine.encoder.prompt_ids(
        [{"role": "user", "content": [{"type": "text", "text": question}]}], {}
    )
    engine.ready(len(ids), new)
    layers = [GrowingLayer() for _ in range(engine.model.config.get_text_config().num_hidden_layers)]
    mask = torch.ones(1, 0, dtype=torch.long, device=engine.device)
    positions = torch.zeros(1, dtype=torch.long, device=engine.device)
    session = Session(engine.model, layers, mask, positions, torch.empty(1, 0, device=engine.device))
    session.feed([ids])
    return session
