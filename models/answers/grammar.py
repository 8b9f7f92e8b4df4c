"""The answer's form: a rubric's headings in order, free text between them, and the state that locks decoding
to it.

Headings are fed, not sampled. A free text ends when the model opens a new heading, ends its turn, or has used
its tokens. A score is one of the numbers 1 to 4 with up to two decimals (or N/A, where the rubric allows it),
token by token. So every answer has every part, whatever the weights; and an answer that keeps to the format
by itself is not changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..rubrics.rubric import PARTS, WINNERS, AnswerItem, Rubric
from .vocabulary import Vocabulary

Trie = dict[int, Any]
SCORES = [
    *(
        f"{whole}{decimals}"
        for whole in "123"
        for decimals in ("", *(f".{d}" for d in range(10)), *(f".{d:02}" for d in range(100)))
    ),
    "4", "4.0", "4.00",
]  # fmt: skip
# Tokens that every free text may have, however small the limit for the whole answer.
SHORTEST = 8


@dataclass(frozen=True)
class Segment:
    """A piece of the form: forced tokens (`ids`), a choice (`trie` of token ids) or a free text of at most
    `tokens` tokens.
    """

    key: str
    part: str
    ids: tuple[int, ...] = ()
    trie: Trie | None = None
    tokens: int = 0
    # The text starts on the heading's own line.
    inline: bool = True


class AnswerGrammar:
    """The segments of one rubric's answer for one vocabulary.

    `limit` is the largest number of free-text tokens of the whole answer; longer texts are shortened in
    proportion.
    """

    def __init__(self, rubric: Rubric, vocabulary: Vocabulary, limit: int = 2048):
        self.vocabulary = vocabulary
        share = min(1.0, limit / max(1, sum(item.tokens for item in rubric.answer)))
        # Whether texts may be cut that the rubric itself would let go on.
        self.shortens = share < 1.0
        self.segments: list[Segment] = []
        heading = ""
        for item in rubric.answer:
            inline = item.kind != "heading" and item.heading.endswith(":")
            heading += item.heading + ("" if inline else "\n")
            if item.kind == "heading":
                # Joined with the headings that follow, so that their tokens are those of one text.
                continue
            self.segments.append(Segment("", item.part, tuple(vocabulary.encode(heading))))
            heading = ""
            if item.kind == "text":
                tokens = max(SHORTEST, int(item.tokens * share))
                self.segments.append(Segment(item.key, item.part, tokens=tokens, inline=inline))
            else:
                lead = " " if inline else ""
                self.segments.append(
                    Segment(item.key, item.part, trie=self._trie([f"{lead}{c}\n" for c in choices(item)]))
                )

    def end_of(self, part: str) -> int:
        """Number of segments up to the end of a part ("scores", "judgement", "refinement")."""
        wanted = PARTS[: PARTS.index(part) + 1]
        return sum(segment.part in wanted for segment in self.segments)

    def _trie(self, texts: Sequence[str]) -> Trie:
        root: Trie = {}
        for ids in self.vocabulary.encode_all(texts):
            node = root
            for token in ids:
                node = node.setdefault(token, {})
        return root


def choices(item: AnswerItem) -> list[str]:
    """What may stand behind a heading that asks for a score or a winner."""
    optional = item.dimension is not None and item.dimension.not_applicable
    return [*(SCORES if item.kind == "score" else WINNERS), *(["N/A"] if optional else [])]


class GrammarState:
    """How far one answer has come.

    `forced()` gives the tokens that follow by themselves; then one token is chosen under `allowed()` and
    handed to `push()`; and so on until `done`.
    """

    def __init__(self, form: AnswerGrammar, until: str):
        self.form = form
        self.vocabulary = form.vocabulary
        self.end = form.end_of(until)
        self.at = 0
        # What stands in each part.
        self.ids: dict[str, list[int]] = {}
        # Whether a text ended because its tokens were used, by a limit below the rubric's own.
        self.shortened = False
        self._start()

    def __copy__(self) -> GrammarState:
        copied = object.__new__(type(self))
        copied.__dict__ = {**self.__dict__, "ids": {key: list(ids) for key, ids in self.ids.items()}}
        return copied

    def extend(self, until: str) -> None:
        """Go on to the end of a later part."""
        self.end = max(self.end, self.form.end_of(until))

    @property
    def done(self) -> bool:
        return self.at >= self.end

    @property
    def section(self) -> str:
        """Key of the part that is being written; empty when done."""
        return "" if self.done else self.form.segments[self.at].key

    @property
    def choosing(self) -> bool:
        """Whether the next token is part of a score or another choice."""
        return not self.done and self.form.segments[self.at].trie is not None

    @property
    def parts(self) -> dict[str, str]:
        """The texts written so far, by key."""
        return {key: self.vocabulary.decode(ids).strip() for key, ids in self.ids.items()}

    def forced(self) -> list[int]:
        """All tokens that the form dictates from here.

        Call it before every choice, and feed what it returns.
        """
        out: list[int] = []
        while not self.done:
            segment = self.form.segments[self.at]
            if segment.ids:
                out += segment.ids
                self._next()
            elif segment.trie is not None:
                while self.node and len(self.node) == 1:
                    out.append(next(iter(self.node)))
                    self._step(out[-1])
                if self.node:
                    break
                self._next()
            elif self.written >= segment.tokens:
                self.shortened = self.shortened or self.form.shortens
                out += self._close()
            else:
                break
        return out

    def allowed(self) -> int | list[int]:
        """Which tokens may come: a row of `Vocabulary.masks`, or the ids themselves."""
        segment = self.form.segments[self.at]
        if segment.trie is not None:
            return list(self.node)
        if not self.written:
            return Vocabulary.INLINE if segment.inline else Vocabulary.BLOCK
        return Vocabulary.LINE if self.blank else Vocabulary.TEXT

    def push(self, token: int) -> list[int]:
        """Take the chosen token; returns what to feed for it (nothing, where it only ended a text), before
        `forced()`.
        """
        if self.form.segments[self.at].trie is not None:
            self._step(token)
            if not self.node:
                self._next()
            return [token]
        if token in self.vocabulary.stop_ids or (
            self.blank and self.written and self.vocabulary.starts_heading(token)
        ):
            return self._close()
        self.ids.setdefault(self.section, []).append(token)
        self.written += 1
        text = self.vocabulary.bytes[token] or b""
        self.blank = text.endswith(b"\n") or (self.blank and not text.strip())
        self.line_start = text.endswith(b"\n")
        return [token]

    def _step(self, token: int) -> None:
        self.ids.setdefault(self.section, []).append(token)
        self.node = self.node[token]

    def _close(self) -> list[int]:
        ends_line = [] if self.line_start else list(self.vocabulary.newline)
        self._next()
        return ends_line

    def _next(self) -> None:
        self.at += 1
        self._start()

    def _start(self) -> None:
        self.written = 0
        # Nothing but spaces stands on the current line of the text.
        self.blank = False
        self.line_start = False
        self.node = self.form.segments[self.at].trie or {} if self.at < len(self.form.segments) else {}


class FreeState:
    """The same interface without a form: any token, until the model ends its turn or `limit` tokens are
    written.
    """

    def __init__(self, stop_ids: Collection[int], limit: int):
        self.stop_ids = frozenset(stop_ids)
        self.limit = limit
        self.written = 0
        self.stopped = False
        self.section = "answer"
        self.choosing = False

    @property
    def done(self) -> bool:
        return self.stopped or self.written >= self.limit

    def forced(self) -> list[int]:
        return []

    def allowed(self) -> None:
        return None

    def push(self, token: int) -> list[int]:
        self.written += 1
        self.stopped = token in self.stop_ids
        return [token]
