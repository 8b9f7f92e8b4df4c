"""The critic: critique, score, compare and refine, over an engine that writes the answers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .critique import Critique, JudgedImage
from .engines.base import Answer, Engine, Progress, SamplingParams
from .errors import CheckpointError, QuestionError
from .images import MAX_PIXELS, open_image
from .judgement import Comparison, Dimension, Judgement
from .lru_cache import LRUCache
from .question import Question
from .rubrics.rubric import PARTS, Rubric, load_rubric, rubric_for

if TYPE_CHECKING:
    from .checkpoints.loading import Loaded

Picture = Image.Image | str | Path
OWN_RUBRICS = "rubrics"  # folder of a checkpoint that brings its own wording
CUT_OFF = "The answer was cut off twice: raise max_new_tokens."
ASKED_AGAIN = "The first answer left the format, so the question was asked once more in the locked format."


log = logging.getLogger(__name__)


class Critic:
    """Judges pictures with an engine. `name` says in reports who judged; `rubric_folders` hold the user's own rubrics.

    `own_rubrics` is a folder with the wording that the checkpoint was trained on; it takes the place of the built-in rubrics.
    """

    def __init__(
        self,
        engine: Engine,
        name: str = "critic",
        rubric_folders: Sequence[Path] = (),
        own_rubrics: Path | None = None,
    ):
        self.engine = engine
        self.name = name
        self.rubric_folders = tuple(rubric_folders)
        self.own_rubrics = (own_rubrics,) if own_rubrics else ()
        self.loaded: Loaded | None = None  # what `load` loaded, for training on it
        self.adapter = ""  # name of the adapter that judges
        self.fingerprint = ""  # of checkpoint and adapter: names may come to stand for other weights
        self.patcher: Any = None  # ComfyUI's handle of the model; it looks for it on what goes over a wire
        self.answers: LRUCache[Answer] = LRUCache()

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        quantization: str = "nf4",
        device: str = "auto",
        attention: str = "auto",
        max_pixels: int = MAX_PIXELS,
        rubric_folders: Sequence[Path] = (),
        save_quantized: bool = False,
        adapter: str | Path = "none",
        **options: Any,
    ) -> Critic:
        """The critic of a checkpoint folder, or of the embedded checkpoint's name. `quantization`: "nf4", "int8" or "none"; `device`: "auto", "cuda", "cpu", ...

        `save_quantized` saves the quantized weights beside the original, once, so that the next load reads those.
        `adapter` is the folder of a LoRA adapter, its name in the model folders, or "none".
        `options` go on to `loading.load`. Raises CheckpointError.
        """
        from .checkpoints import adapters, discovery, loading
        from .engines.transformers_engine import TransformersEngine

        folder = discovery.EMBEDDED if checkpoint == discovery.EMBEDDED_NAME else Path(checkpoint)
        chosen = adapters.given_adapter(adapter)
        if chosen:  # all that can be wrong with it is told before the model is loaded
            adapters.require_peft()
            adapters.check_fits(chosen, discovery.inspect_checkpoint(folder))
        loaded = loading.load(folder, quantization, pick_device(device), attention, **options)
        for note in loaded.notes:
            log.info("%s", note)
        if save_quantized:
            try:
                loading.save_quantized(loaded)
            except (
                CheckpointError
            ) as error:  # the critic itself is fine: it is only read more slowly next time
                log.warning("%s", error)
        name = (
            loaded.checkpoint.name
            if loaded.checkpoint.embedded
            else f"{loaded.checkpoint.name} ({loaded.quantization})"
        )
        if chosen:  # after the copy was saved, which must not hold it
            adapters.attach(loaded.model, chosen.folder)
            name += f" + {chosen.name}"
        engine = TransformersEngine(loaded.model, loaded.processor, max_pixels)
        own = loaded.checkpoint.folder / OWN_RUBRICS
        critic = cls(engine, name, rubric_folders, own if own.is_dir() else None)
        critic.loaded, critic.adapter = loaded, chosen.name if chosen else ""
        critic.fingerprint = adapters.fingerprint(loaded.checkpoint, chosen)
        return critic

    def critique(
        self,
        images: Picture | Sequence[Picture],
        prompt: str | Sequence[str],
        source: Picture | Sequence[Picture] | None = None,
        *,
        rubric: str = "auto",
        until: str = "judgement",
        progress: Progress = Progress(),
        **settings: Any,
    ) -> Critique:
        """Judge every image. `prompt` and `source` are one for all images, or one an image; a source makes it an image-edit judgement.

        `until`: "scores" stops behind the last score, "judgement" behind the summary, "refinement" also rewrites the prompt.
        `settings`: `answer` ("locked" or "free"), `temperature`, `seed`, `max_new_tokens`. Raises QuestionError and OutOfMemoryError.
        """
        questions = self.questions({"image": images}, prompt, source, rubric)
        asked = SamplingParams(until=until, **settings)
        return Critique(
            [
                JudgedImage(q, j)
                for q, j in zip(questions, self.judge(questions, asked, progress), strict=True)
            ],
            self,
            asked,
        )

    def score(self, images: Any, prompt: Any, source: Any = None, **options: Any) -> list[float | None]:
        """Overall scores, 0..1, one an image; None where none could be read. Options as `critique`."""
        return [j.score for j in self.critique(images, prompt, source, until="scores", **options).judgements]

    def fast_score(
        self,
        images: Any,
        prompt: Any,
        source: Any = None,
        *,
        rubric: str = "auto",
        progress: Progress = Progress(),
    ) -> list[Judgement]:
        """Judgements with expected scores and no words, from one reading of each image. They rank; they are not calibrated."""
        questions = self.questions({"image": images}, prompt, source, rubric)
        judgements = []
        for done, question in enumerate(questions):
            progress.update(done, len(questions), "scores", "")
            expected = self.engine.expected_scores(question, progress)
            names = {spec.key: spec.name for spec in question.rubric.dimensions}
            found = {
                k: Dimension(names[k], e.score, e.score is not None, "", e.confidence)
                for k, e in expected.items()
            }
            judgements.append(
                Judgement(found, notes=["Fast scores are read without reasoning and are not calibrated."])
            )
        return judgements

    def compare(
        self,
        a: Picture | Sequence[Picture],
        b: Picture | Sequence[Picture],
        prompt: str | Sequence[str],
        source: Picture | Sequence[Picture] | None = None,
        *,
        both_orders: bool = True,
        rubric: str = "auto",
        progress: Progress = Progress(),
        **settings: Any,
    ) -> list[Comparison]:
        """Compare images pair by pair; a single image on one side meets every image of the other.

        With `both_orders` each pair is judged twice, the second time with B first, and the answers are averaged.
        """
        questions = self.questions({"a": a, "b": b}, prompt, source, rubric)
        if both_orders:
            questions = [ordered for question in questions for ordered in (question, swapped(question))]
        found = self._read(questions, SamplingParams(until="judgement", **settings), progress, Comparison)
        if not both_orders:
            return found
        return [Comparison.both_orders(one, two) for one, two in zip(found[::2], found[1::2], strict=True)]

    def judge(
        self, questions: Sequence[Question], settings: SamplingParams, progress: Progress = Progress()
    ) -> list[Judgement]:
        """Judgements of single-image questions, in order."""
        return self._read(questions, settings, progress, Judgement)

    def refine(
        self, judged: Sequence[JudgedImage], settings: SamplingParams, progress: Progress = Progress()
    ) -> list[Judgement]:
        """The same judgements with refined requests: the answers go on where they stopped.

        Where a rubric has no refinement, the built-in one of its task is asked for it.
        """
        wanted = dataclasses.replace(settings, until="refinement")
        questions = [self._with_refinement(one.question) for one in judged]
        found = self.judge(questions, wanted, progress)
        empty = [i for i, one in enumerate(found) if not one.refined_request]
        if empty and settings.answer == "free":  # written freely and left out: the form asks for it
            locked = dataclasses.replace(wanted, answer="locked")
            for i, one in zip(
                empty, self.judge([questions[i] for i in empty], locked, progress), strict=True
            ):
                found[i] = one
        return [_refined(one.judgement, new) for one, new in zip(judged, found, strict=True)]

    def questions(
        self, images: dict[str, Any], prompt: str | Sequence[str], source: Any = None, rubric: str = "auto"
    ) -> list[Question]:
        """One question an image (`images` has "image") or a pair of images ("a" and "b"); what is given once is used for all.

        Raises QuestionError where the numbers do not fit, RubricError where the rubric does not exist.
        """
        given = {name: _pictures(value, name) for name, value in images.items()}
        count = max(map(len, given.values()))
        if source is not None:
            given["source"] = _pictures(source, "source_image")
        columns = {name: _one_each(value, count, _INPUTS[name]) for name, value in given.items()}
        prompts = _one_each([prompt] if isinstance(prompt, str) else list(prompt), count, "prompt")
        chosen = self.rubric(rubric, edit=source is not None, pair="a" in images)
        prepared = {
            name: [self.engine.prepare(picture) for picture in column] for name, column in columns.items()
        }
        return [
            Question(chosen, prompts[i], {name: column[i] for name, column in prepared.items()})
            for i in range(count)
        ]

    def rubric(self, name: str, edit: bool, pair: bool = False) -> Rubric:
        """The rubric of that name; for "auto" the checkpoint's own, or the built-in one, of the task. Raises RubricError and QuestionError."""
        if name == "auto":
            return rubric_for("edit" if edit else "t2i", pair, self.own_rubrics)
        chosen = load_rubric(name, (*self.rubric_folders, *self.own_rubrics))
        if chosen.pair != pair:
            raise QuestionError(
                f'The rubric "{name}" is for {"two images" if chosen.pair else "one image"}: choose another, or "auto".'
            )
        if (chosen.task == "edit") != edit:
            hint = "connect source_image" if chosen.task == "edit" else "disconnect source_image"
            raise QuestionError(
                f'The rubric "{name}" is for {_task_name(chosen.task)}: {hint}, or choose "auto".'
            )
        return chosen

    def _with_refinement(self, question: Question) -> Question:
        if question.rubric.has_refinement:
            return question
        return dataclasses.replace(question, rubric=self.rubric("auto", edit=question.rubric.task == "edit"))

    def _read(
        self, questions: Sequence[Question], settings: SamplingParams, progress: Progress, kind: type
    ) -> list[Any]:
        """The answers read as Judgement or Comparison. What left the format is asked once more, never guessed."""
        answers = self._answer(questions, settings, progress)
        if settings.answer == "free":
            cut = [
                i
                for i, answer in enumerate(answers)
                if answer.cut_off and answer.tokens <= settings.max_new_tokens
            ]
            self._again(answers, cut, questions, settings, progress)
        found = [self._parse(q, a, kind) for q, a in zip(questions, answers, strict=True)]
        if settings.answer == "free" and (bad := [i for i, one in enumerate(found) if not one.complete]):
            locked = dataclasses.replace(settings, answer="locked")
            self._again(answers, bad, questions, locked, progress)
            for i in bad:
                found[i] = dataclasses.replace(
                    self._parse(questions[i], answers[i], kind), notes=[ASKED_AGAIN]
                )
        for one, answer in zip(found, answers, strict=True):
            if answer.cut_off and CUT_OFF not in one.notes:
                one.notes.append(CUT_OFF)
        return found

    @staticmethod
    def _parse(question: Question, answer: Answer, kind: type) -> Any:
        if answer.parts is None:
            return kind.parse(answer.text, rubric=question.rubric)
        return kind.from_parts(answer.parts, question.rubric, answer.text, answer.confidence)

    def _again(
        self,
        answers: list[Answer],
        which: list[int],
        questions: Sequence[Question],
        settings: SamplingParams,
        progress: Progress,
    ) -> None:
        if not which:
            return
        going_on = [answers[i] if answers[i].cut_off and settings.answer == "free" else None for i in which]
        again = self._answer([questions[i] for i in which], settings, progress, going_on)
        for i, answer in zip(which, again, strict=True):
            answers[i] = answer

    def _answer(
        self,
        questions: Sequence[Question],
        settings: SamplingParams,
        progress: Progress,
        going_on: Sequence[Answer | None] = (),
    ) -> list[Answer]:
        """Answers from the memo where they reach far enough; the rest from the engine, equal questions once."""
        keys = [self._key(question, settings) for question in questions]
        found: dict[
            Any, Answer
        ] = {}  # not looked up twice: with many questions the memo forgets the first before the last is answered
        wanted: dict[Any, tuple[Question, Answer | None]] = {}
        for i, (key, question) in enumerate(zip(keys, questions, strict=True)):
            earlier = going_on[i] if going_on else None
            known = self.answers.get(key)
            if earlier is None and known is not None and _reach(known) >= _reach(settings):
                found[key] = known
            else:
                wanted[key] = (question, earlier or known)
        if wanted:
            asked = [question for question, _ in wanted.values()]
            written = self.engine.answer(
                asked, settings, progress, [earlier for _, earlier in wanted.values()]
            )
            for key, answer in zip(wanted, written, strict=True):
                self.answers.put(key, answer)
                found[key] = answer
        return [found[key] for key in keys]

    @staticmethod
    def _key(question: Question, settings: SamplingParams) -> tuple[Any, ...]:
        sampling = (settings.temperature, settings.seed) if settings.temperature > 0 else ()
        return (question.digest, settings.answer, settings.max_new_tokens, sampling)


_INPUTS = {
    "image": "image",
    "a": "image_a",
    "b": "image_b",
    "source": "source_image",
}  # names as on the canvas


def swapped(question: Question) -> Question:
    """The same pair with A and B exchanged."""
    images = dict(question.images)
    images["a"], images["b"] = images["b"], images["a"]
    return dataclasses.replace(question, images=images)


def pick_device(device: str = "auto") -> str:
    """The device for "auto": a CUDA card, Apple's GPU, an Intel GPU, or the CPU."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "xpu" if hasattr(torch, "xpu") and torch.xpu.is_available() else "cpu"


def _refined(judgement: Judgement, answer: Judgement) -> Judgement:
    """The judgement with the refinement of an answer; `raw` holds all that was written."""
    raw = answer.raw if answer.raw.startswith(judgement.raw) else f"{judgement.raw}\n\n{answer.raw}"
    return dataclasses.replace(
        judgement, comments=answer.comments, refined_request=answer.refined_request, raw=raw
    )


def _reach(what: Answer | SamplingParams) -> int:
    return PARTS.index(what.until)


def _pictures(images: Any, name: str) -> list[Image.Image]:
    listed = list(images) if isinstance(images, (list, tuple)) else [images]
    if not listed:
        raise QuestionError(f"`{name}` is empty: give at least one picture.")
    return [open_image(image) for image in listed]


def _one_each(values: list[Any], count: int, name: str) -> list[Any]:
    if len(values) == count:
        return values
    if len(values) == 1:
        return values * count
    raise QuestionError(
        f"`{name}` has {len(values)} entries for {count} pictures: give one for all, or one for each."
    )


def _task_name(task: str) -> str:
    return "image edits" if task == "edit" else "images without a source"
