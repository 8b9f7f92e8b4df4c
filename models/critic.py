"""The critic: critique, score, compare and refine, over an engine that writes the answers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from .answering import UNMEANT, Answering
from .critique import Critique, JudgedImage
from .devices import pick_device
from .engines.base import (
    Answer,
    AnswerFormat,
    Capabilities,
    Engine,
    Progress,
    Residency,
    SamplingParams,
    Until,
)
from .errors import CapabilityError, CheckpointError
from .images import MAX_PIXELS, open_image
from .inputs import Images, Prompts, broadcast, check_count, list_images, list_prompts
from .judgement import Comparison, Dimension, Judgement
from .question import Question
from .rubrics.rubric import Rubric, chosen_rubric

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .checkpoints.loading import Loaded

Quantization = Literal["nf4", "int8", "none"]
Attention = Literal["auto", "sdpa", "flash_attention_2"]

# Folder of a checkpoint that brings its own wording.
OWN_RUBRICS = "rubrics"
# The rubric for an image whose prompt is not known, and what every judgement by it says.
QUALITY = "quality"
QUALITY_ALONE = "Judged for quality alone, without a prompt."
# Names of images in questions as the canvas names the inputs.
INPUT_NAMES = {"image": "image", "a": "image_a", "b": "image_b", "source": "source_image"}
UNABLE = {
    "expected_scores": "cannot score without reasoning: choose mode = reasoned on Score",
    "training": "cannot be trained here: connect a critic from Load Critic",
    "choose": "cannot predict a preference from words: choose another critic on Load Critic",
    "locked": "cannot hold its answers to a format: set answer to free",
    "confidence": "does not say how sure it is: use another critic where confidence is needed",
    "resume": "cannot continue an answer: raise max_new_tokens",
}

log = logging.getLogger(__name__)


class SamplingOptions(TypedDict, total=False):
    """How a critic answers, as keywords: see `SamplingParams`."""

    answer: AnswerFormat
    temperature: float
    seed: int
    max_new_tokens: int


class Critic:
    """Judges images with an engine.

    `name` says in reports who judged; `rubric_folders` hold the user's own rubrics.

    `own_rubrics` is a folder with the wording that the checkpoint was trained on; it replaces the built-in
    rubrics. `adapter` is the name of the adapter that judges; `fingerprint` tells weights apart that share a
    name; `loaded` is what `load` loaded, for saving.
    """

    def __init__(
        self,
        engine: Engine,
        name: str = "critic",
        rubric_folders: Sequence[Path] = (),
        own_rubrics: Path | None = None,
        adapter: str = "",
        fingerprint: str = "",
        loaded: Loaded | None = None,
    ):
        self.engine = engine
        self.name = name
        self.rubric_folders = tuple(rubric_folders)
        self.own_rubrics = (own_rubrics,) if own_rubrics else ()
        self.adapter = adapter
        self.fingerprint = fingerprint
        self.loaded = loaded
        self.answering = Answering(engine)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        quantization: Quantization = "nf4",
        device: str = "auto",
        attention: Attention = "auto",
        max_pixels: int = MAX_PIXELS,
        rubric_folders: Sequence[Path] = (),
        save_quantized: bool = False,
        adapter: str | Path = "none",
        residency: Callable[[Any], Residency] | None = None,
        on_progress: Callable[[float, int], None] | None = None,
    ) -> Self:
        """The critic of a checkpoint folder, or of the embedded checkpoint's name.

        `device` is "auto", "cuda", "mps", "xpu" or "cpu". `save_quantized` saves the quantized weights beside
        the original, once, so that the next load reads those. `adapter` is the folder of a LoRA adapter, its
        name in the model folders, or "none". `residency` makes the keeper of the loaded model, where a host
        moves models; `on_progress(done, total)` is called while weights are read and may raise to cancel.
        Raises CheckpointError.
        """
        from .checkpoints import adapters, discovery, loading
        from .engines.transformers_engine import TransformersEngine

        device = pick_device(device)
        folder = discovery.EMBEDDED if checkpoint == discovery.EMBEDDED_NAME else Path(checkpoint)
        lora = adapters.given_adapter(adapter)
        if lora:
            # All that can be wrong with it is said before the model is loaded.
            adapters.require_peft()
            adapters.check_fits(lora, discovery.inspect_checkpoint(folder))
        loaded = loading.load(folder, quantization, device, attention, on_progress=on_progress)
        for note in loaded.notes:
            log.info("%s", note)
        if save_quantized:
            try:
                loading.save_quantized(loaded)
            except CheckpointError as error:
                # The critic itself is fine: it is only read more slowly next time.
                log.warning("%s", error)
        source = loaded.checkpoint
        name = source.name if source.embedded else f"{source.name} ({loaded.quantization})"
        if lora:
            # After the quantized copy was saved, which must not hold it.
            adapters.attach(loaded.model, lora.folder)
            name += f" + {lora.name}"
        engine = TransformersEngine(
            loaded.model,
            loaded.processor,
            max_pixels,
            capabilities=Capabilities(**source.capabilities),
            residency=residency(loaded.model) if residency else None,
        )
        own_rubrics = source.folder / OWN_RUBRICS
        return cls(
            engine,
            name,
            rubric_folders,
            own_rubrics if own_rubrics.is_dir() else None,
            lora.name if lora else "",
            adapters.fingerprint(source, lora),
            loaded,
        )

    def require(self, capability: str) -> None:
        """Raise CapabilityError, with what to do, where the engine lacks a capability (a field of
        `Capabilities`).
        """
        if not getattr(self.engine.capabilities, capability):
            raise unable(self.name, capability)

    def critique(
        self,
        images: Images,
        prompt: Prompts,
        source: Images | None = None,
        *,
        rubric: str = "auto",
        until: Until = "judgement",
        progress: Progress = Progress(),
        **sampling: Unpack[SamplingOptions],
    ) -> Critique:
        """Judge every image.

        `prompt` and `source` are one for all images, or one an image; a source makes it an edit.

        `until`: "scores" stops behind the last score, "judgement" behind the summary, "refinement" also
        rewrites the prompt. `sampling`: `answer` ("locked" or "free"), `temperature`, `seed`,
        `max_new_tokens`. Raises QuestionError and OutOfMemoryError.
        """
        questions = self.questions({"image": images}, prompt, source, rubric)
        params = SamplingParams(until=until, **sampling)
        judgements = self.judge(questions, params, progress)
        items = [JudgedImage(q, j) for q, j in zip(questions, judgements, strict=True)]
        return Critique(items, self, params)

    def score(
        self,
        images: Images,
        prompt: Prompts,
        source: Images | None = None,
        *,
        rubric: str = "auto",
        progress: Progress = Progress(),
        **sampling: Unpack[SamplingOptions],
    ) -> list[float | None]:
        """Overall scores, 0..1, one an image; None where none could be read. Arguments as `critique`."""
        critique = self.critique(
            images, prompt, source, rubric=rubric, until="scores", progress=progress, **sampling
        )
        return critique.scores

    def fast_score(
        self,
        images: Images,
        prompt: Prompts,
        source: Images | None = None,
        *,
        rubric: str = "auto",
        progress: Progress = Progress(),
    ) -> list[Judgement]:
        """Judgements with expected scores and no words, from one reading of each image.

        They rank; they are not calibrated.

        Raises CapabilityError where this critic's scores mean nothing without reasoning.
        """
        self.require("expected_scores")
        questions = self.questions({"image": images}, prompt, source, rubric)
        judgements = []
        for done, question in enumerate(questions):
            progress.update(done, len(questions), "scores", "")
            expected = self.engine.expected_scores(question, progress)
            dimensions = {
                spec.key: Dimension(
                    spec.name,
                    expected[spec.key].score,
                    applicable=expected[spec.key].applicable,
                    confidence=expected[spec.key].confidence,
                    expected=expected[spec.key].score,
                )
                for spec in question.rubric.dimensions
            }
            notes = ["Fast scores are read without reasoning and are not calibrated."]
            judgement = Judgement(dimensions, notes=[*notes, *_without_prompt(question)])
            if not judgement.complete:
                judgement.notes.append(UNMEANT)
            judgements.append(judgement)
        return judgements

    def compare(
        self,
        a: Images,
        b: Images,
        prompt: Prompts,
        source: Images | None = None,
        *,
        both_orders: bool = True,
        rubric: str = "auto",
        until: Until = "judgement",
        progress: Progress = Progress(),
        **sampling: Unpack[SamplingOptions],
    ) -> list[Comparison]:
        """Compare images pair by pair; a single image on one side meets every image of the other.

        With `both_orders` each pair is judged twice, the second time with B first, and the answers are
        averaged. `until` "scores" leaves out the summary.
        """
        questions = self.questions({"a": a, "b": b}, prompt, source, rubric)
        if both_orders:
            questions = [ordered for question in questions for ordered in (question, swapped(question))]
        params = SamplingParams(until=until, **sampling)
        comparisons = self.answering.read(Comparison, questions, params, progress)
        if not both_orders:
            return comparisons
        orders = zip(comparisons[::2], comparisons[1::2], strict=True)
        return [Comparison.both_orders(first, second) for first, second in orders]

    def judge(
        self, questions: Sequence[Question], sampling: SamplingParams, progress: Progress = Progress()
    ) -> list[Judgement]:
        """Judgements of single-image questions, in order."""
        judgements = self.answering.read(Judgement, questions, sampling, progress)
        for question, judgement in zip(questions, judgements, strict=True):
            judgement.notes += _without_prompt(question)
        return judgements

    def refine(
        self, judged: Sequence[JudgedImage], sampling: SamplingParams, progress: Progress = Progress()
    ) -> list[Judgement]:
        """The same judgements with refined prompts: the answers continue where they stopped.

        Where a rubric has no refinement, the built-in one of its task is asked for it.
        """
        return self._refine(
            judged, [self._with_refinement(item.question) for item in judged], sampling, progress
        )

    def refine_from(
        self, prompt: str, judged: JudgedImage, sampling: SamplingParams, progress: Progress = Progress()
    ) -> Judgement:
        """The same judgement with a rewrite of `prompt`, the one that the image was made from, where it was
        judged by another.
        """
        question = dataclasses.replace(self._with_refinement(judged.question), prompt=prompt)
        judgement = self.answering.cached(judged.question, sampling)
        # What another rubric asks for cannot continue this answer.
        earlier = judgement if question.rubric == judged.question.rubric else None
        return self._refine([judged], [question], sampling, progress, [earlier])[0]

    def _refine(
        self,
        judged: Sequence[JudgedImage],
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> list[Judgement]:
        params = dataclasses.replace(sampling, until="refinement")
        answers = self.answering.read(Judgement, questions, params, progress, earlier)
        empty = [i for i, answer in enumerate(answers) if not answer.refined_request]
        if empty and sampling.answer == "free":
            # Left out of a free answer: the locked format asks for it.
            locked = dataclasses.replace(params, answer="locked")
            again = self.judge([questions[i] for i in empty], locked, progress)
            for i, answer in zip(empty, again, strict=True):
                answers[i] = answer
        return [_refined(item.judgement, answer) for item, answer in zip(judged, answers, strict=True)]

    def questions(
        self,
        images: Mapping[str, Images],
        prompt: Prompts,
        source: Images | None = None,
        rubric: str = "auto",
    ) -> list[Question]:
        """One question an image (`images` has "image") or a pair ("a" and "b"); what is given once is used
        for all.

        Each image is opened and shrunk before the next one. Raises QuestionError where the numbers do not
        fit, RubricError where the rubric does not exist.
        """
        columns = {name: list_images(value, INPUT_NAMES[name]) for name, value in images.items()}
        count = max(map(len, columns.values()))
        if source is not None:
            columns["source"] = list_images(source, INPUT_NAMES["source"])
        for name, column in columns.items():
            check_count(len(column), count, INPUT_NAMES[name])
        prompts = list_prompts(prompt)
        check_count(len(prompts), count, "prompt")
        chosen = self.rubric(rubric, edit=source is not None, pair="a" in images)
        prepared = {
            name: [self.engine.prepare(open_image(image)) for image in column]
            for name, column in columns.items()
        }
        return [
            Question(
                chosen,
                broadcast(prompts, index),
                {name: broadcast(column, index) for name, column in prepared.items()},
            )
            for index in range(count)
        ]

    def rubric(self, name: str, edit: bool, pair: bool = False) -> Rubric:
        """The rubric of that name; for "auto" the checkpoint's own, or the built-in one, of the task.

        Raises RubricError and QuestionError.
        """
        return chosen_rubric(name, edit, pair, self.rubric_folders, self.own_rubrics)

    def _with_refinement(self, question: Question) -> Question:
        if question.rubric.has_refinement:
            return question
        return dataclasses.replace(question, rubric=self.rubric("auto", edit=question.rubric.task == "edit"))


def swapped(question: Question) -> Question:
    """The same pair with A and B swapped."""
    images = dict(question.images)
    images["a"], images["b"] = images["b"], images["a"]
    return dataclasses.replace(question, images=images)


def unable(name: str, capability: str) -> CapabilityError:
    """The error for a critic that lacks a capability, with what to do."""
    return CapabilityError(f"{name} {UNABLE[capability]}.")


def _without_prompt(question: Question) -> list[str]:
    return [] if question.rubric.shows_prompt else [QUALITY_ALONE]


def _refined(judgement: Judgement, answer: Judgement) -> Judgement:
    """The judgement with the refinement of an answer; `raw` holds all that was written."""
    raw = answer.raw if answer.raw.startswith(judgement.raw) else f"{judgement.raw}\n\n{answer.raw}"
    return dataclasses.replace(
        judgement, comments=answer.comments, refined_request=answer.refined_request, raw=raw
    )
