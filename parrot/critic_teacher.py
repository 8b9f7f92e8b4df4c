"""Any critic as the teacher of PARROT."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..models.answers.writing import format_score, normal_parts, with_winners, write_answer
from ..models.critic import Critic
from ..models.engines.base import AnswerFormat, Progress, SamplingParams
from ..models.errors import AnswerError
from ..models.images import open_image
from ..models.judgement import Comparison
from ..models.question import Question
from ..models.rubrics.rubric import Rubric, fill, read_yaml, rubric_for
from ..preferences.pairs import PREFERRED, PreferencePair, Preferred
from .manifest import Rubrics
from .teacher import Reference

WORDING = Path(__file__).parent / "wording" / "teacher.yaml"
ANSWER = "{{answer}}"
INSISTING = (
    "This critic knows its own questions only and cannot follow a hint: its scores were set by your "
    "choice, so that the filter below "
    "had nothing to check."
)


class CriticTeacher:
    """A teacher that asks a critic's engine.

    Greedy by default; with a `temperature`, each answer is sampled from its own seed.

    `rubrics` are those it judges with; `answer` is "locked" (every rationale is complete) or "free", as in
    `SamplingParams`.

    A critic that brings its own rubrics has learned those questions and no others: it cannot follow a hint,
    read a reference or answer without pictures. With `insist` its words stay as it saw things, and its scores
    are those that the preference asks for.
    """

    def __init__(
        self,
        critic: Critic,
        *,
        temperature: float = 0.0,
        answer: AnswerFormat = "locked",
        max_new_tokens: int = 2048,
        rubrics: Rubrics = rubric_for,
        insist: bool = False,
    ):
        self.critic = critic
        self.insist = insist
        self.rubrics = rubrics
        self.sampling = SamplingParams(answer=answer, temperature=temperature, max_new_tokens=max_new_tokens)
        digest = hashlib.sha256(WORDING.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:8]
        weights = f" ({critic.fingerprint})" if critic.fingerprint else ""
        self.name = (
            f"{critic.name}{weights}, {answer}, temperature {temperature:g}, {max_new_tokens} "
            f"tokens, wording {digest}"
        )
        # An engine on another computer decides for itself, and says 0.
        if critic.engine.max_pixels:
            self.name += f", {critic.engine.max_pixels} pixels"
        if insist:
            self.name += ", insisting"
        self.note = INSISTING if insist else ""

    @classmethod
    def of(cls, critic: Critic, **options: Any) -> CriticTeacher:
        """A teacher that asks the critic what Critique and Compare ask it."""

        def rubrics(task: str, pair: bool) -> Rubric:
            return critic.rubric("auto", edit=task == "edit", pair=pair)

        return cls(critic, rubrics=rubrics, insist=bool(critic.own_rubrics), **options)

    def rationalize(
        self, pairs: Sequence[PreferencePair], seeds: Sequence[int], anchored: bool, progress: Progress
    ) -> list[str]:
        """Pairwise judgements; `anchored` puts one line with the preference between the rubric and the format
        of the answer.
        """
        questions = []
        for pair in pairs:
            rubric = self.rubrics(pair.task, True)
            hint = wording()["hint"][pair.preferred]
            hinted = anchored and not self.insist
            questions.append(
                self._question(with_note(rubric, hint) if hinted else rubric, pair.prompt, pair.images)
            )
        texts = self._answers(
            questions, seeds, dataclasses.replace(self.sampling, until="judgement"), progress
        )
        if not (anchored and self.insist):
            return texts
        return [
            insisted(text, self.rubrics(pair.task, True), pair.preferred)
            for text, pair in zip(texts, pairs, strict=True)
        ]

    def predict(
        self, prompts: Sequence[str], rationales: Sequence[str], progress: Progress
    ) -> list[Preferred | None]:
        """The preference that the critic reads from request and rationale, as one of three answers.

        An engine that cannot choose between answers without images leaves it to the rationale's own scores.
        """
        predicted: list[Preferred | None] = []
        for done, (prompt, rationale) in enumerate(zip(prompts, rationales, strict=True)):
            progress.check()
            if self.critic.engine.capabilities.choose and not self.insist:
                predicted.append(self._choose(prompt, rationale))
            else:
                # The rubric for edits has the dimensions of both tasks.
                predicted.append(Comparison.parse(rationale, rubric=self.rubrics("edit", True)).winner)
            progress.update(done + 1, len(prompts), "consistency", "")
        return predicted

    def project(
        self,
        pairs: Sequence[PreferencePair],
        references: Sequence[Reference],
        seeds: Sequence[int],
        progress: Progress,
    ) -> list[str]:
        """Judgements of single images with a refined request; a reference without a rationale shows no
        comment.
        """
        questions = []
        for pair, reference in zip(pairs, references, strict=True):
            rubric = self.rubrics(pair.task, False)
            if reference.rationale and not self.insist:
                slots = {"letter": reference.letter, "rationale": reference.rationale}
                rubric = with_note(rubric, fill(wording()["reference"].strip(), slots))
            images = {"image": pair.images[reference.letter.lower()]} | (
                {"source": pair.source} if pair.source else {}
            )
            questions.append(self._question(rubric, pair.prompt, images))
        texts = self._answers(
            questions, seeds, dataclasses.replace(self.sampling, until="refinement"), progress
        )
        if not self.insist:
            return texts
        return [
            self._scored_as(text, pair, reference)
            for text, pair, reference in zip(texts, pairs, references, strict=True)
        ]

    def _scored_as(self, text: str, pair: PreferencePair, reference: Reference) -> str:
        """The judgement with the scores that its image has in the reference; where one changes, the request
        is left as it is.
        """
        rubric = self.rubrics(pair.task, False)
        parts = normal_parts(text, rubric)
        given = normal_parts(reference.rationale, self.rubrics(pair.task, True))
        scores = {
            f"{spec.key}.score": given.get(f"{spec.key}.score_{reference.letter.lower()}")
            for spec in rubric.dimensions
        }
        changed = {key: score for key, score in scores.items() if score and score != parts.get(key)}
        # It followed from scores that do not stand any more.
        if changed and "refined_request" in parts:
            parts |= {"comments": wording()["unchanged"], "refined_request": pair.prompt}
        return _written(rubric, {**parts, **changed}, text)

    def _question(self, rubric: Rubric, prompt: str, images: dict[str, Path]) -> Question:
        return Question(
            rubric,
            prompt,
            {name: self.critic.engine.prepare(open_image(path)) for name, path in images.items()},
        )

    def _answers(
        self,
        questions: Sequence[Question],
        seeds: Sequence[int],
        sampling: SamplingParams,
        progress: Progress,
    ) -> list[str]:
        engine = self.critic.engine
        if not questions:
            return []
        if sampling.temperature == 0:
            return [
                answer.text
                for answer in engine.answer(questions, sampling, progress, [None] * len(questions))
            ]
        texts: list[str] = []
        # The engine takes one seed a call.
        for question, seed in zip(questions, seeds, strict=True):
            seeded = dataclasses.replace(sampling, seed=seed)
            texts.append(
                engine.answer([question], seeded, progress.within(len(texts), 1, len(questions)), [None])[
                    0
                ].text
            )
        return texts

    def _choose(self, prompt: str, rationale: str) -> Preferred:
        consistency = wording()["consistency"]
        question = fill(consistency["question"].strip(), {"prompt": prompt, "rationale": rationale})
        index, _ = self.critic.engine.choose(question, consistency["answers"])
        return PREFERRED[index]


def insisted(text: str, rubric: Rubric, preferred: Preferred) -> str:
    """A comparison with its scores exchanged wherever the image that was not preferred is ahead; for a tie,
    both get the mean.

    A summary that came to another result gives way to one that says the preference. What cannot be read stays
    as it is.
    """
    parts = normal_parts(text, rubric)
    if parts.get("summary") and Comparison.from_parts(parts, rubric).winner != preferred:
        parts["summary"] = "It's a tie." if preferred == "tie" else f"Image {preferred} is better."
    for spec in rubric.dimensions:
        keys = [f"{spec.key}.score_a", f"{spec.key}.score_b"]
        if any(parts.get(key, "N/A") == "N/A" for key in keys):
            continue
        a, b = (float(parts[key]) for key in keys)
        low, high = sorted((a, b))
        scores = {"A": (high, low), "B": (low, high), "tie": ((a + b) / 2, (a + b) / 2)}[preferred]
        parts |= {key: format_score(score) for key, score in zip(keys, scores, strict=True)}
    return _written(rubric, with_winners(parts, rubric), text)


def _written(rubric: Rubric, parts: dict[str, str], text: str) -> str:
    """The answer of these parts; where some are missing, `text` as it is, which the filters find
    unreadable.
    """
    try:
        return write_answer(rubric, parts)
    except AnswerError:
        return text


@functools.lru_cache(maxsize=1)
def wording() -> dict[str, Any]:
    """What the teacher is told besides the rubric, from the data file."""
    return read_yaml(WORDING)


def with_note(rubric: Rubric, note: str) -> Rubric:
    """The rubric with a paragraph in front of the sentence that introduces the format of the answer.

    Braces in the note are text. A rubric that does not show the format gets the note at the end of its
    question.
    """
    note = note.replace("{{", "{{open_braces}}")
    user = list(rubric.user)
    place = next(
        (i for i, (kind, text) in enumerate(user) if kind == "text" and ANSWER in text.replace(" ", "")), None
    )
    if place is None:
        user.append(("text", f"\n\n{note}"))
    else:
        user[place] = ("text", _inserted(user[place][1], note))
    return dataclasses.replace(rubric, user=tuple(user))


def _inserted(text: str, note: str) -> str:
    paragraphs = text.split("\n\n")
    at = next(i for i, paragraph in enumerate(paragraphs) if ANSWER in paragraph.replace(" ", ""))
    alone = paragraphs[at].replace(" ", "").strip() == ANSWER
    # The sentence that introduces the format.
    if alone and at > 0 and "{{" not in paragraphs[at - 1]:
        at -= 1
    return "\n\n".join([*paragraphs[:at], note, *paragraphs[at:]])
