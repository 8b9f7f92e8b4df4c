"""The decoding loop: choose a token for every row, feed it with all that the form forces behind it, until all
rows are done.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ..answers.grammar import FreeState, GrammarState
from ..answers.vocabulary import Vocabulary
from ..question import Question
from .base import Progress
from .session import Mark, Session


@dataclass
class Row:
    """One answer being written.

    `session` has read the prompt and `ids` without `pending`; it may be dropped and read again.
    """

    question: Question
    state: GrammarState | FreeState
    generator: torch.Generator | None = (
        # For sampling: one a row, so that its answer does not depend on its neighbours.
        None
    )
    session: Session | None = None
    # Where the session had read the question, and nothing of the answer.
    prompt: Mark | None = None
    ids: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    confidence: dict[str, float] = field(default_factory=dict)

    def behind(self, question: Question) -> Row:
        """The same answer so far, behind another question."""
        return replace(
            self,
            question=question,
            state=copy.copy(self.state),
            session=None,
            prompt=None,
            ids=list(self.ids),
            pending=list(self.pending),
            confidence=dict(self.confidence),
        )

    def take(self, tokens: Sequence[int]) -> None:
        """Write tokens; they are fed with the next step."""
        self.ids += tokens
        self.pending += tokens

    def flush(self) -> list[int]:
        """The tokens to feed now."""
        tokens, self.pending = self.pending, []
        return tokens


def write(
    rows: Sequence[Row],
    vocabulary: Vocabulary,
    temperature: float,
    progress: Progress,
    answered: int = 0,
    total: int = 0,
) -> None:
    """Write every row to the end of its state. Each row brings its session, and has it again afterwards.

    `answered` of `total` questions are already done; they only count for the progress that `progress` is
    told.
    """
    rows, total = list(rows), total or len(rows)
    for row in rows:
        row.take(row.state.forced())
    session = None
    while True:
        going = [i for i, row in enumerate(rows) if not row.state.done]
        if session is not None and len(going) < len(rows):
            for i, row in enumerate(rows):
                if row.state.done:
                    row.session = session.select([i])
            session = session.select(going) if going else None
        answered += len(rows) - len(going)
        rows = [rows[i] for i in going]
        if not rows:
            return
        if session is None:
            session = Session.join([_give(row) for row in rows])
        progress.check()
        session.feed([row.flush() for row in rows])
        for row, token in zip(rows, _choose(session.logits, rows, vocabulary, temperature), strict=True):
            row.take(row.state.push(token))
            row.take(row.state.forced())
        tail = vocabulary.decode(rows[0].ids[-64:])
        done = sum(_share(row) for row in rows)
        progress.update(answered + done, total, rows[0].state.section, tail)


def _give(row: Row) -> Session:
    session, row.session = row.session, None
    assert session is not None
    return session


def _share(row: Row) -> float:
    """How much of its answer a row has written, 0..1."""
    state = row.state
    return (
        state.at / max(1, state.end)
        if isinstance(state, GrammarState)
        else state.written / max(1, state.limit)
    )


def _choose(
    logits: torch.Tensor, rows: Sequence[Row], vocabulary: Vocabulary, temperature: float
) -> list[int]:
    """The next token of every row, from `logits` [B, V]; the mass of what was chosen is noted where it is a
    score.
    """
    allowed = [row.state.allowed() for row in rows]
    free = logits
    if any(choice is not None for choice in allowed):
        banned = vocabulary.masks[[choice if isinstance(choice, int) else 0 for choice in allowed]]
        for index, choice in enumerate(allowed):
            if isinstance(choice, list):
                banned[index] = True
                banned[index, choice] = False
        logits = logits.masked_fill(banned, float("-inf"))
    if temperature > 0:
        tokens = [_sample(logits[i], temperature, row.generator) for i, row in enumerate(rows)]
    else:
        tokens = logits.argmax(-1).tolist()
    for index, row in enumerate(rows):
        if row.state.choosing:
            probability = float(free[index].log_softmax(-1)[tokens[index]].exp())
            row.confidence[row.state.section] = row.confidence.get(row.state.section, 1.0) * probability
    return tokens


def _sample(logits: torch.Tensor, temperature: float, generator: torch.Generator | None) -> int:
    # On the CPU, so that one seed gives one answer on every device.
    return int(torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=generator))
