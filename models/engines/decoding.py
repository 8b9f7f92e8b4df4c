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
from .written_score import WrittenScore

# A score less likely than this, beside what the model would rather have written, is none: a locked answer
# makes a model that has lost the thread write some number all the same. A trained critic is at 1, random
# weights, which prefer nothing, near it.
LEAST_LIKELY = 1e-3


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
    expectations: dict[str, WrittenScore] = field(default_factory=dict)
    # By key of a score: how likely a score was at all, beside what the model would rather have written, 0..1.
    likelihood: dict[str, float] = field(default_factory=dict)
    # By key of a score: where it starts in `ids`.
    starts: dict[str, int] = field(default_factory=dict)

    @property
    def unmeant(self) -> frozenset[str]:
        """Keys of the scores that the model would not have written of itself."""
        return frozenset(key for key, value in self.likelihood.items() if value < LEAST_LIKELY)

    def weigh(
        self, log_probabilities: torch.Tensor, allowed: Sequence[int], token: int, words: Vocabulary
    ) -> None:
        """Note how sure the model is of a token of a score, out of `allowed`."""
        key = self.state.section
        if key not in self.confidence and isinstance(self.state, GrammarState):
            self.starts[key] = len(self.ids) - len(self.state.ids.get(key, ()))
        self.confidence[key] = self.confidence.get(key, 1.0) * float(log_probabilities[token].exp())
        self.likelihood[key] = self.likelihood.get(key, 1.0) * likelihood(log_probabilities, allowed, words)
        masses = dict(zip(allowed, log_probabilities[list(allowed)].exp().tolist(), strict=True))
        before = self.state.ids.get(key, []) if isinstance(self.state, GrammarState) else []
        spelled = {choice: words.decode([*before, choice]) for choice in allowed}
        self.expectations.setdefault(key, WrittenScore()).choose(token, masses, spelled)

    def text(self, vocabulary: Vocabulary) -> str:
        """What was written, without the scores that the model did not mean: nobody shall read them later."""
        tokens: list[int | None] = list(self.ids)
        if isinstance(self.state, GrammarState):
            for key in self.unmeant:
                start, length = self.starts[key], len(self.state.ids[key])
                # The last one ends the line.
                tokens[start : start + length - 1] = [None] * (length - 1)
        return vocabulary.decode([t for t in tokens if t is not None and t not in vocabulary.stop_ids])

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
            expectations=dict(self.expectations),
            likelihood=dict(self.likelihood),
            starts=dict(self.starts),
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
    """The next token of every row, from `logits` [B, V]; where it belongs to a score, the mass of what was
    chosen and the expectation over what could have been are noted.
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
    for row, token, choice, all_logits in zip(rows, tokens, allowed, free, strict=True):
        if row.state.choosing and isinstance(choice, list):
            row.weigh(all_logits.log_softmax(-1), choice, token, vocabulary)
    return tokens


def likelihood(log_probabilities: torch.Tensor, allowed: Sequence[int], vocabulary: Vocabulary) -> float:
    """How likely the allowed tokens are together, beside the likeliest of all, 0..1, as min-p sampling weighs
    a token (arXiv 2407.01082).

    Where a number may end, it also ends with a bracket, a blank or the end of the turn.
    """
    wanted = int(log_probabilities.argmax())
    if wanted in allowed:
        return 1.0
    text = vocabulary.bytes[wanted]
    ends = wanted in vocabulary.stop_ids or (text is not None and not text.strip()[:1].isalnum())
    if ends and any((vocabulary.bytes[token] or b"").startswith(b"\n") for token in allowed):
        return 1.0
    together = log_probabilities[list(allowed)].logsumexp(0) - log_probabilities[wanted]
    return min(1.0, float(together.exp()))


def _sample(logits: torch.Tensor, temperature: float, generator: torch.Generator | None) -> int:
    # On the CPU, so that one seed gives one answer on every device.
    return int(torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=generator))
