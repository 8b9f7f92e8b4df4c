"""Generate until it is good: when a loop stops, which round was the best, and what the next prompt is.

Every image is scored by the prompt as the artist wrote it. The next prompt starts from the one that the image
was made from, so that what an earlier round has won stays won.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .best_of import order_by_score
from .critic import Critic
from .critique import JudgedImage
from .engines.base import Progress, SamplingParams
from .judgement import Judgement
from .markdown import table_cell
from .prompts.edits import combined
from .prompts.merge import merge_refined
from .refine import RefinedPrompt

SeedMode = Literal["same", "next"]
StopRule = Literal["score", "paper"]
# Of every dimension that applies, 1..4 (paper, appendix C.4).
PAPER_LIMIT = 3.0
# Overall scores are means of a few numbers: nearer than this they are the same.
SAME_SCORE = 1e-6


@dataclass(frozen=True)
class LoopStart:
    """What a loop begins with. `prompt` is the artist's; `max_rounds` counts the first round, too."""

    prompt: str
    max_rounds: int = 3
    seed: int = 0
    seed_mode: SeedMode = "same"

    def seed_of(self, number: int) -> int:
        """The seed of a round, counted from 0."""
        return (self.seed + number) % 2**64 if self.seed_mode == "next" else self.seed


@dataclass(frozen=True)
class StopRules:
    """When enough is enough: at an overall score (0..1), or with the paper's rule."""

    stop_at: float = 0.9
    rule: StopRule = "score"

    def satisfied(self, judgement: Judgement) -> bool:
        """Whether an image is good enough."""
        if not judgement.complete or judgement.score is None:
            return False
        if self.rule == "paper":
            scores = [d.score for d in judgement.dimensions.values() if d.score is not None]
            return all(score >= PAPER_LIMIT for score in scores)
        return judgement.score >= self.stop_at - SAME_SCORE


@dataclass(frozen=True)
class Round:
    """One round: the prompt that its image was made from, and the judgement of its best candidate.

    `candidate` (from 0) of `candidates` is the image that counts. `comments` say what was rewritten and why.
    """

    prompt: str
    seed: int
    judgement: Judgement
    candidate: int = 0
    candidates: int = 1
    comments: str = ""


@dataclass(frozen=True)
class Rounds:
    """The rounds of a loop so far."""

    start: LoopStart
    done: tuple[Round, ...] = field(default=())

    def plus(self, one: Round) -> Rounds:
        """With one more."""
        return dataclasses.replace(self, done=(*self.done, one))

    @property
    def last(self) -> Round:
        """The newest."""
        return self.done[-1]

    @property
    def best(self) -> int | None:
        """Index of the best round (see `order_by_score`); None where no score could be read."""
        judgements = [one.judgement for one in self.done]
        first = next(iter(order_by_score(judgements)), None)
        return first if first is not None and judgements[first].complete else None

    def why_stop(self, rules: StopRules, finish: bool = False) -> str:
        """Why no further round is needed, as a sentence; empty where the prompt may be rewritten."""
        if self.last.judgement.score is None or not self.last.judgement.complete:
            return "Stopped: the critic's answer could not be read."
        if rules.satisfied(self.last.judgement):
            limit = "no dimension is below 3" if rules.rule == "paper" else f"{rules.stop_at:.2f} is reached"
            return f"Stopped: {limit}."
        if finish:
            return "Stopped by hand after this round."
        if len(self.done) >= self.start.max_rounds:
            return "Stopped after the last round."
        return ""

    def is_repeat(self, prompt: str) -> bool:
        """Whether a prompt would only make an image again that has been judged."""
        tried = [one.prompt for one in self.done]
        return prompt == tried[-1] or (self.start.seed_mode == "same" and prompt in tried)

    def to_markdown(self, why: str = "") -> str:
        """The history as a table, with `why` it stopped."""
        lines = ["| Round | Score | Prompt | What the critic says |", "|---|---|---|---|"]
        for number, one in enumerate(self.done):
            score = one.judgement.score
            shown = "not read" if score is None else f"{score:.2f}"
            marked = f"**{shown}**" if number == self.best else shown
            says = table_cell(one.judgement.summary)
            lines.append(f"| {number + 1} | {marked} | {table_cell(one.prompt)} | {says} |")
        if why:
            lines += ["", why]
        return "\n".join(lines)


def next_prompt(
    critic: Critic,
    judged: JudgedImage,
    made_from: str,
    keep: Sequence[str] = (),
    sampling: SamplingParams = SamplingParams(),
    progress: Progress = Progress(),
) -> RefinedPrompt:
    """The prompt of the next round.

    `judged` was judged by the artist's prompt, and its image was made from `made_from`. Where the critic only
    adds to the artist's words, what it adds now joins what earlier rounds added; where it writes another
    text, it is asked to rewrite `made_from`. (Asked to rewrite its own rewrites, a small critic loses what
    it had won: `python -m benchmarks loop` compares the ways.) `keep` are phrases that stay.
    """
    artists = judged.question.prompt
    answer = critic.refine([judged], sampling, progress)[0]
    base, rewritten, notes = artists, answer.refined_request, []
    if made_from != artists:
        # Without `keep`: what each round would put at the end would stand there twice.
        alone = merge_refined(artists, answer.refined_request)
        joined = combined(artists, made_from, alone.prompt)
        if joined is None:
            answer = critic.refine_from(made_from, judged, sampling, progress)
            base, rewritten = made_from, answer.refined_request
        else:
            rewritten, notes = joined, alone.notes
    merged = merge_refined(base, rewritten, keep)
    comments = " ".join([answer.comments, *notes, *merged.notes]).strip()
    return RefinedPrompt(merged.prompt, comments, changed=merged.prompt != made_from)
