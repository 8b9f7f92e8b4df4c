"""Judge the images of a folder, batch by batch; only what is not in the journal yet."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..models.critic import QUALITY, Critic, SamplingOptions
from ..models.engines.base import Progress
from ..models.errors import OutOfMemoryError, QuestionError
from ..models.image_metadata import find_prompt
from ..models.images import open_image
from ..models.judgement import Judgement
from ..models.question import is_blank
from ..models.rubrics.rubric import Rubric
from .journal import Journal

# Pixels of a thumbnail's longer side.
THUMBNAIL = 192
UNREAD = "The critic's answer could not be read: set answer to locked, or raise max_new_tokens."


@dataclass(frozen=True)
class Options:
    """How to judge: `prompt` is one for all images, None for each image's own; `fast` asks for scores without
    reasons; `batch` images are opened and judged together.
    """

    prompt: str | None = None
    rubric: str = "auto"
    fast: bool = False
    batch: int = 8
    sampling: SamplingOptions = field(default_factory=SamplingOptions)


@dataclass
class Ranked:
    """An image file: `key` finds its judgement in the journal; `error` says in a sentence why there is none.

    `name` is the path below the folder, `source` says where the prompt comes from ("" where there is none).
    """

    path: Path
    name: str
    prompt: str = ""
    source: str = ""
    key: str = ""
    error: str = ""

    @property
    def quality_alone(self) -> bool:
        """Whether there was no prompt to judge it by."""
        return is_blank(self.prompt)


@dataclass
class _Opened:
    """An image that waits for its batch."""

    file: Ranked
    image: Image.Image
    thumbnail: str


class FolderJudge:
    """Judges with one critic into one journal. `judged` counts what this run has judged."""

    def __init__(self, critic: Critic, journal: Journal, options: Options):
        if options.fast:
            critic.require("expected_scores")
        self.critic, self.journal, self.options = critic, journal, options
        self.rubrics = {False: _rubric(critic, options.rubric), True: critic.rubric(QUALITY, edit=False)}
        self.judged = 0
        self.errors: dict[str, str] = {}

    def judge(
        self, folder: Path, paths: Sequence[Path], progress: Progress, failed: Callable[[Ranked], None]
    ) -> list[Ranked]:
        """Every file with the key of its judgement, or with its error, which `failed` is told at once.

        The journal holds a batch when the next one begins. Raises OSError where it cannot be written.
        """
        files: list[Ranked] = []
        waiting: dict[str, _Opened] = {}
        for path in paths:
            files.append(Ranked(path, path.relative_to(folder).as_posix()))
            self._identify(files[-1], waiting)
            if files[-1].error:
                failed(files[-1])
            if len(waiting) == self.options.batch:
                before = len(files) - len(waiting)
                self._batch(waiting, progress.within(before, len(waiting), len(paths)))
            progress.update(len(files), len(paths), "", "")
        self._batch(waiting, progress.within(len(files) - len(waiting), len(waiting), len(paths)))
        progress.update(len(files), len(paths), "", "")
        for file in files:
            if file.key and file.key not in self.journal:
                file.error = self.errors.get(file.key, UNREAD)
                failed(file)
        return files

    def _identify(self, file: Ranked, waiting: dict[str, _Opened]) -> None:
        """Find a file's prompt and key; open it where it has to be judged."""
        try:
            digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
            self._find_prompt(file)
            key = self._key(digest, file)
            if key not in self.journal and key not in waiting and key not in self.errors:
                image = open_image(file.path)
                # Shrunk at once: a batch of originals may not fit into memory.
                prepared = self.critic.engine.prepare(image)
                waiting[key] = _Opened(file, prepared, thumbnail(image))
            file.key = key
        except QuestionError as error:
            file.error = str(error)
        except OSError as error:
            file.error = f"The image {file.path} cannot be read ({error.strerror or error})."

    def _find_prompt(self, file: Ranked) -> None:
        if self.options.prompt is not None:
            file.prompt, file.source = self.options.prompt, "given"
            return
        found = find_prompt(file.path)
        if found and not is_blank(found.text):
            file.prompt, file.source = found.text, found.source

    def _key(self, digest: str, file: Ranked) -> str:
        """The same for equal images, prompts, critics and questions, and only for those."""
        sampling: dict[str, Any] = dict(self.options.sampling)
        critic = self.critic
        asked = [
            *(digest, file.prompt, repr(self.rubrics[file.quality_alone])),
            *(critic.name, critic.fingerprint, critic.engine.max_pixels),
            *(self.options.fast, sorted(sampling.items())),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _batch(self, waiting: dict[str, _Opened], progress: Progress) -> None:
        """Judge what waits, and add it to the journal."""
        done: list[tuple[str, dict[str, Any]]] = []
        before = 0
        for alone in (False, True):
            group = {key: one for key, one in waiting.items() if one.file.quality_alone == alone}
            if group:
                inner = progress.within(before, len(group), len(waiting))
                done += self._judged(group, alone, inner)
                before += len(group)
        self.journal.add(done)
        self.judged += len(done)
        waiting.clear()
        # Nobody will continue these answers: what is kept for that would grow with the folder.
        self.critic.answering.cache.clear()
        self.critic.engine.release()

    def _judged(
        self, group: dict[str, _Opened], alone: bool, progress: Progress
    ) -> list[tuple[str, dict[str, Any]]]:
        """The journal's lines of some images; what cannot be judged together is asked one by one."""
        try:
            judgements = self._ask(list(group.values()), alone, progress)
        except (QuestionError, OutOfMemoryError) as error:
            if len(group) == 1:
                self.errors[next(iter(group))] = str(error)
                return []
            lines = []
            for place, (key, one) in enumerate(group.items()):
                lines += self._judged({key: one}, alone, progress.within(place, 1, len(group)))
            return lines
        lines = []
        for (key, one), judgement in zip(group.items(), judgements, strict=True):
            if judgement.score is None or not judgement.complete:
                self.errors[key] = UNREAD
                continue
            values = {"quality_alone": alone, "prompt": one.file.prompt, "thumbnail": one.thumbnail}
            lines.append((key, {**values, "judgement": judgement.to_dict()}))
        return lines

    def _ask(self, opened: Sequence[_Opened], alone: bool, progress: Progress) -> list[Judgement]:
        images, prompts = [one.image for one in opened], [one.file.prompt for one in opened]
        rubric = QUALITY if alone else self.options.rubric
        if self.options.fast:
            return self.critic.fast_score(images, prompts, rubric=rubric, progress=progress)
        critique = self.critic.critique(
            images, prompts, rubric=rubric, progress=progress, **self.options.sampling
        )
        return critique.judgements


def _rubric(critic: Critic, name: str) -> Rubric:
    try:
        return critic.rubric(name, edit=False)
    except QuestionError:
        raise QuestionError(
            f'The rubric "{name}" asks about two images, and those of a folder are judged one by one: choose '
            'another, or "auto".'
        ) from None


def thumbnail(image: Image.Image) -> str:
    """A small JPEG of an RGB image, as base64; an image that is small already keeps its size."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=82)
    return base64.b64encode(data.getvalue()).decode("ascii")
