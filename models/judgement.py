"""What comes back: a Judgement of one image, a Comparison of two, and how their numbers are put together.

Scale (paper section 2 and equation 13): a dimension's score is 1 (worst) to 4 (best); the overall score is
the mean of the dimensions that apply, mapped to 0..1 by (mean - 1) / 3. What could not be read is None, never
a number.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .answers.parsing import read_answer
from .answers.scores import read_score
from .answers.unwrapping import unwrapped
from .characters import whole_characters
from .markdown import table_cell
from .rubrics.rubric import Rubric, rubric_for

Winner = Literal["A", "B", "tie"]


@dataclass
class Dimension:
    """One dimension of a judgement. `score` is 1..4, or None where it does not apply or could not be read."""

    name: str
    score: float | None = None
    applicable: bool = True
    justification: str = ""
    # Probability mass (0..1) that the model put on the score it gave.
    confidence: float | None = None
    # Expectation (1..4) over all scores it could have given, or None where the engine does not know.
    expected: float | None = None


@dataclass
class Judgement:
    """What the critic says about one image. `raw` is the model's own text, always kept."""

    dimensions: dict[str, Dimension]
    analysis: str = ""
    summary: str = ""
    comments: str = ""
    refined_request: str = ""
    raw: str = ""
    # What the reader should know, such as that the answer was cut off.
    notes: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, task: str = "t2i", rubric: Rubric | None = None) -> Judgement:
        """Read any answer in the published format, however damaged.

        Never raises on the text; missing stays None.
        """
        rubric = rubric or rubric_for(task, pair=False)
        return cls.from_parts(read_answer(text, rubric), rubric, raw=text)

    @classmethod
    def from_parts(
        cls,
        parts: Mapping[str, str],
        rubric: Rubric,
        raw: str = "",
        confidence: Mapping[str, float] = {},
        expected: Mapping[str, float] = {},
    ) -> Judgement:
        """From the texts of the answer by key ("summary", "text_faithfulness.score", ...), as the grammar or
        the parser gives them; `confidence` and `expected` by the keys of the scores.
        """
        dimensions = {}
        for spec in rubric.dimensions:
            score, applicable = read_score(parts.get(f"{spec.key}.score", ""))
            justification = parts.get(f"{spec.key}.justification", "").strip()
            key = f"{spec.key}.score"
            dimensions[spec.key] = Dimension(
                spec.name, score, applicable, justification, confidence.get(key), expected.get(key)
            )
        return cls(
            dimensions,
            analysis=parts.get("analysis", "").strip(),
            summary=parts.get("summary", "").strip(),
            comments=parts.get("comments", "").strip(),
            refined_request=unwrapped(parts.get("refined_request", "")),
            raw=raw,
        )

    @property
    def mean(self) -> float | None:
        """Mean of the scores that were given, 1..4, or None where there is none."""
        return mean([d.score for d in self.dimensions.values()])

    @property
    def score(self) -> float | None:
        """Overall score 0..1, or None where nothing could be read."""
        return None if self.mean is None else (self.mean - 1) / 3

    @property
    def expected_score(self) -> float | None:
        """Overall expected score 0..1, over the dimensions that were scored; None unless each of them has
        one.
        """
        scored = [d.expected for d in self.dimensions.values() if d.score is not None]
        expected = None if None in scored else mean(scored)
        return None if expected is None else (expected - 1) / 3

    @property
    def confidence(self) -> float | None:
        """Mean confidence (0..1) over the dimensions that have one, or None."""
        return mean([d.confidence for d in self.dimensions.values()])

    @property
    def complete(self) -> bool:
        """Whether every dimension that applies has a score."""
        return bool(self.dimensions) and all(
            d.score is not None for d in self.dimensions.values() if d.applicable
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data: everything above, ready for JSON."""
        return {
            "score": self.score,
            "confidence": self.confidence,
            "complete": self.complete,
            **dataclasses.asdict(self),
        }

    def to_json(self) -> str:
        """JSON text, one object."""
        return whole_characters(json.dumps(self.to_dict(), ensure_ascii=False, indent=2))

    def to_markdown(self) -> str:
        """A report to read."""
        sure = "" if self.confidence is None else f", confidence {self.confidence:.2f}"
        lines = [
            f"**Score {_show(self.score, 2)}** (mean {_show(self.mean, 2)} of 4{sure})",
            "",
            "| Dimension | Score | Why |",
            "|---|---|---|",
        ]
        for d in self.dimensions.values():
            lines.append(
                f"| {d.name} | {_show(d.score, 1) if d.applicable else 'N/A'} | "
                f"{table_cell(d.justification)} |"
            )
        for title, text in (
            ("Summary", self.summary),
            ("Comments", self.comments),
            ("Refined prompt", self.refined_request),
        ):
            if text:
                lines += ["", f"**{title}.** {text}"]
        lines += [f"\n*{note}*" for note in self.notes]
        return whole_characters("\n".join(lines))


@dataclass
class ComparedDimension:
    """One dimension of a comparison; both scores 1..4, or None where it does not apply or could not be
    read.
    """

    name: str
    score_a: float | None = None
    score_b: float | None = None
    applicable: bool = True
    justification: str = ""
    confidence: float | None = None
    # Expectations (1..4) over all scores that could have been given, or None where the engine does not know.
    expected_a: float | None = None
    expected_b: float | None = None


@dataclass
class Comparison:
    """What the critic says about two images of one prompt.

    Totals decide the winner, as in the published evaluation.
    """

    dimensions: dict[str, ComparedDimension]
    # Did both orders agree; None: only one order was asked.
    consistent: bool | None = None
    analysis: str = ""
    summary: str = ""
    raw: str = ""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, task: str = "t2i", rubric: Rubric | None = None) -> Comparison:
        """Read any pairwise answer in the published format, however damaged. Never raises on the text."""
        rubric = rubric or rubric_for(task, pair=True)
        return cls.from_parts(read_answer(text, rubric), rubric, raw=text)

    @classmethod
    def from_parts(
        cls,
        parts: Mapping[str, str],
        rubric: Rubric,
        raw: str = "",
        confidence: Mapping[str, float] = {},
        expected: Mapping[str, float] = {},
    ) -> Comparison:
        """From the texts of the answer by key ("text_faithfulness.score_a", ...)."""
        dimensions = {}
        for spec in rubric.dimensions:
            score_a, applies_a = read_score(parts.get(f"{spec.key}.score_a", ""))
            score_b, applies_b = read_score(parts.get(f"{spec.key}.score_b", ""))
            # A dimension that is N/A for either image cannot compare them.
            expected_a, expected_b = (expected.get(f"{spec.key}.score_{side}") for side in "ab")
            if not (applies_a and applies_b):
                score_a = score_b = expected_a = expected_b = None
            sure = mean([confidence.get(f"{spec.key}.score_a"), confidence.get(f"{spec.key}.score_b")])
            justification = parts.get(f"{spec.key}.justification", "").strip()
            dimensions[spec.key] = ComparedDimension(
                spec.name,
                score_a,
                score_b,
                applies_a and applies_b,
                justification,
                sure,
                expected_a,
                expected_b,
            )
        return cls(
            dimensions,
            analysis=parts.get("analysis", "").strip(),
            summary=parts.get("summary", "").strip(),
            raw=raw,
        )

    @classmethod
    def both_orders(cls, first: Comparison, swapped: Comparison) -> Comparison:
        """One comparison from an A-B answer and a B-A answer: the second is mapped back, scores are
        averaged.

        A dimension that is N/A in one order is N/A: the other order alone would favour a position.
        """
        second = swapped.swap()
        dimensions = {}
        for key, one in first.dimensions.items():
            two = second.dimensions[key]
            scores = (one.score_a, one.score_b, two.score_a, two.score_b)
            # Where one order's score could not be read, the other alone would favour a position, too.
            both = None not in scores
            expected = (one.expected_a, one.expected_b, two.expected_a, two.expected_b)
            known = both and None not in expected
            dimensions[key] = ComparedDimension(
                one.name,
                mean([one.score_a, two.score_a]) if both else None,
                mean([one.score_b, two.score_b]) if both else None,
                one.applicable and two.applicable,
                one.justification or two.justification,
                mean([one.confidence, two.confidence]),
                mean([one.expected_a, two.expected_a]) if known else None,
                mean([one.expected_b, two.expected_b]) if known else None,
            )
        agree = first.winner == second.winner if first.complete and second.complete else None
        notes = [*first.notes, *(note for note in swapped.notes if note not in first.notes)]
        if agree is False:
            notes.append(
                f"The two orders disagree: {WINS[first.winner]} when A came first, {WINS[second.winner]} "
                f"when B came first."
            )
        # What was said with A first is no summary of both where the other order says otherwise.
        summary = f"With A first: {first.summary}" if agree is False and first.summary else first.summary
        raw = f"{first.raw}\n\n----- B shown first -----\n\n{swapped.raw}"
        return cls(dimensions, agree, first.analysis, summary, raw, notes)

    def swap(self) -> Comparison:
        """The same comparison with A and B swapped (the texts stay as they are)."""
        swapped = {
            k: dataclasses.replace(
                d, score_a=d.score_b, score_b=d.score_a, expected_a=d.expected_b, expected_b=d.expected_a
            )
            for k, d in self.dimensions.items()
        }
        return dataclasses.replace(self, dimensions=swapped)

    @property
    def totals(self) -> tuple[float, float] | None:
        """Mean scores (1..4) of A and B over the dimensions where both have one, or None where there is
        none.
        """
        both = [
            (d.score_a, d.score_b)
            for d in self.dimensions.values()
            if d.score_a is not None and d.score_b is not None
        ]
        return (sum(a for a, _ in both) / len(both), sum(b for _, b in both) / len(both)) if both else None

    @property
    def margin(self) -> float | None:
        """How much better A is, -1..1 (difference of the overall scores), or None where nothing could be
        read.
        """
        return None if self.totals is None else (self.totals[0] - self.totals[1]) / 3

    @property
    def expected_margin(self) -> float | None:
        """The margin by the expected scores, -1..1, which hardly ever ties; None unless every dimension that
        was compared has them.
        """
        compared = [d for d in self.dimensions.values() if d.score_a is not None and d.score_b is not None]
        margins = [
            None if d.expected_a is None or d.expected_b is None else d.expected_a - d.expected_b
            for d in compared
        ]
        expected = None if None in margins else mean(margins)
        return None if expected is None else expected / 3

    @property
    def winner(self) -> Winner | None:
        """The image with the higher total; None where nothing could be read."""
        if self.margin is None:
            return None
        if abs(self.margin) < 1e-9:
            return "tie"
        return "A" if self.margin > 0 else "B"

    @property
    def complete(self) -> bool:
        """Whether every dimension that applies has both scores."""
        return bool(self.dimensions) and all(
            d.score_a is not None and d.score_b is not None for d in self.dimensions.values() if d.applicable
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "winner": self.winner,
            "margin": self.margin,
            "complete": self.complete,
            **dataclasses.asdict(self),
        }

    def to_json(self) -> str:
        """JSON text, one object."""
        return whole_characters(json.dumps(self.to_dict(), ensure_ascii=False, indent=2))

    def to_markdown(self) -> str:
        """A report to read."""
        a, b = self.totals or (None, None)
        lines = [
            f"**{_name(self.winner)}** (A {_show(a, 2)}, B {_show(b, 2)} of 4)",
            "",
            "| Dimension | A | B | Why |",
            "|---|---|---|---|",
        ]
        for d in self.dimensions.values():
            scores = (_show(d.score_a, 1), _show(d.score_b, 1)) if d.applicable else ("N/A", "N/A")
            lines.append(f"| {d.name} | {scores[0]} | {scores[1]} | {table_cell(d.justification)} |")
        if self.summary:
            lines += ["", f"**Summary.** {self.summary}"]
        lines += [f"\n*{note}*" for note in self.notes]
        return whole_characters("\n".join(lines))


def report(results: Sequence[Judgement | Comparison], judge: str) -> str:
    """The reports of a batch, one below the other, and who judged."""
    parts = [result.to_markdown() for result in results]
    if len(parts) > 1:
        kind = "Pair" if isinstance(results[0], Comparison) else "Image"
        parts = [f"## {kind} {number}\n\n{part}" for number, part in enumerate(parts, 1)]
    return "\n\n".join([*parts, f"*Judged by {judge}.*"])


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None where there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _show(value: float | None, digits: int) -> str:
    return "not read" if value is None else f"{value:.{digits}f}"


# Within a sentence.
WINS: dict[Winner | None, str] = {"A": "A wins", "B": "B wins", "tie": "neither wins", None: "nobody wins"}


def _name(winner: Winner | None) -> str:
    return {"A": "A wins", "B": "B wins", "tie": "A tie", None: "No winner could be read"}[winner]
