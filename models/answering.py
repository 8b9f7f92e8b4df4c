"""From questions to answers that can be read: out of the cache or from the engine, and asked again where they
left the format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import TypeVar

from .engines.base import Answer, Engine, Progress, SamplingParams
from .judgement import Comparison, Judgement
from .lru_cache import LRUCache
from .question import Question
from .rubrics.rubric import PARTS

Result = TypeVar("Result", Judgement, Comparison)
CUT_OFF = "The answer was cut off twice: raise max_new_tokens."
ASKED_AGAIN = "The first answer left the format, so the question was asked once more in the locked format."

SHORTENED = "max_new_tokens cut what the critic had to say, and scores may be wrong for it: raise it."
UNMEANT = (
    "The critic gave next to no probability to any score where one was due, so what the format made it write "
    "was not read: shorten or reword the prompt, or choose another critic on Load Critic."
)


class Answering:
    """Asks one engine. Equal questions are answered once; `cache` holds the last answers."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.cache: LRUCache[Answer] = LRUCache()

    def read(
        self,
        kind: type[Result],
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> list[Result]:
        """The answers as judgements or comparisons; an answer in `earlier` is continued.

        What left the format is asked once more, never guessed.
        """
        answers = self._answers(questions, sampling, progress, earlier)
        free = sampling.answer == "free"
        if free:
            limit = sampling.max_new_tokens
            cut = [i for i, answer in enumerate(answers) if answer.cut_off and answer.tokens <= limit]
            earlier = [answers[i] for i in cut]
            self._replace(answers, cut, questions, sampling, progress, earlier)
        results = [parse(kind, q, a) for q, a in zip(questions, answers, strict=True)]
        if free:
            unread = [i for i, result in enumerate(results) if not result.complete]
            locked = dataclasses.replace(sampling, answer="locked")
            self._replace(answers, unread, questions, locked, progress)
            for i in unread:
                results[i] = parse(kind, questions[i], answers[i])
                results[i].notes.insert(0, ASKED_AGAIN)
        for result, answer in zip(results, answers, strict=True):
            if answer.cut_off:
                result.notes.append(CUT_OFF)
        return results

    def cached(self, question: Question, sampling: SamplingParams) -> Answer | None:
        """The answer to a question that was asked with these parameters, where it is still there."""
        return self.cache.get(_key(question, sampling))

    def _replace(
        self,
        answers: list[Answer],
        indices: Sequence[int],
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> None:
        """Ask some questions again; an answer in `earlier` is continued."""
        if not indices:
            return
        again = self._answers([questions[i] for i in indices], sampling, progress, earlier)
        for i, answer in zip(indices, again, strict=True):
            answers[i] = answer

    def _answers(
        self,
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> list[Answer]:
        """Cached answers where they reach far enough; the rest from the engine, equal questions once."""
        keys = [_key(question, sampling) for question in questions]
        # Kept here as well: with many questions the cache drops the first answer before the last one is
        # written.
        answered: dict[Hashable, Answer] = {}
        asked: dict[Hashable, tuple[Question, Answer | None]] = {}
        for i, (key, question) in enumerate(zip(keys, questions, strict=True)):
            resumed = earlier[i] if earlier else None
            cached = self.cache.get(key)
            if resumed is None and cached is not None and _reach(cached) >= _reach(sampling):
                answered[key] = cached
            else:
                asked[key] = (question, resumed or cached)
        if asked:
            written = self.engine.answer(
                [question for question, _ in asked.values()],
                sampling,
                progress,
                [resumed for _, resumed in asked.values()],
            )
            for key, answer in zip(asked, written, strict=True):
                self.cache.put(key, answer)
                answered[key] = answer
        return [answered[key] for key in keys]


def parse(kind: type[Result], question: Question, answer: Answer) -> Result:
    """A judgement or comparison from an answer; its parts are read as they are where the engine has split
    them.
    """
    if answer.parts is None:
        return kind.parse(answer.text, rubric=question.rubric)
    result = kind.from_parts(answer.parts, question.rubric, answer.text, answer.confidence, answer.expected)
    if answer.unmeant:
        result.notes.append(UNMEANT)
    if answer.shortened:
        result.notes.append(SHORTENED)
    return result


def _key(question: Question, sampling: SamplingParams) -> Hashable:
    random = (sampling.temperature, sampling.seed) if sampling.temperature > 0 else ()
    return (question.digest, sampling.answer, sampling.max_new_tokens, random)


def _reach(asked_or_answered: Answer | SamplingParams) -> int:
    return PARTS.index(asked_or_answered.until)
