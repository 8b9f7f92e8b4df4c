"""How the embedded critic is made: a base that sees, preference pairs of the shapes world, and PARROT from
end to end.

Every stage goes on where it was stopped. Equal settings give an equal critic on the same kind of machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from ..models.checkpoints.discovery import CRITIC
from ..models.engines.base import Progress
from ..models.files import write_json
from ..models.libraries import versions
from ..models.rubrics.rubric import Rubric, rubric_for
from ..parrot.anchored import rationalize
from ..parrot.consistency import CONSISTENT, filter_consistent
from ..parrot.projection import POINTWISE, project
from ..parrot.rows import ROWS, build_rows
from ..preferences.pairs import PreferencePair
from ..training.distillation import Recipe, distill
from .base import RUBRICS, build_base, train_base
from .oracle import Oracle, Truth
from .preference_pairs import EDITS, is_edit, world, world_of
from .randomness import stream
from .work_folder import own

# Painted pairs from this number on are for the course on generated pictures.
UNSEEN = 1_000_000
# Pairs that a data phase works through between two writes.
BATCH = 64


@dataclass(frozen=True)
class Course:
    """One round of PARROT on fresh preference pairs, of which `edits` is the share of image edits, `EDITS` or
    more.

    With `averaged` its critic has the mean weights of the one that came and the one that was taught, which is
    better than either ("Model soups", arXiv 2203.05482).
    """

    pairs: int
    learning_rate: float
    edits: float = EDITS
    averaged: bool = False


@dataclass(frozen=True)
class GeneratedCourse:
    """A course on `pairs` of pictures that the shipped generator made, and so that nothing is forgotten,
    `painted` ones beside them, of which `edits` is the share of image edits.
    """

    pairs: int
    painted: int
    learning_rate: float
    edits: float = EDITS
    averaged: bool = False


# What the critic in demo/generator/critic has had beyond the embedded one.
GENERATED = GeneratedCourse(2_500, 1_000, 1e-3, edits=0.4)


@dataclass(frozen=True)
class Plan:
    """What the embedded critic is trained with.

    `base_steps` batches of 16 captions come first; then courses, each going on from the critic of the one
    before. The later ones have more edits, because the thing that an instruction means, and what should have
    stayed, are the hardest to find.
    """

    seed: int = 0
    base_steps: int = 1600
    courses: tuple[Course, ...] = (
        Course(12_000, 2e-3),
        Course(9_000, 1e-3),
        Course(8_000, 1e-3, edits=0.5, averaged=True),
        Course(8_000, 1e-3, edits=0.8, averaged=True),
    )
    generated: GeneratedCourse | None = None
    misreads: float = 0.02
    tokens: int = 4096
    epochs: int = 1


def own_rubrics(task: str, pair: bool) -> Rubric:
    """The embedded critic's own wording."""
    return rubric_for(task, pair, (RUBRICS,))


def make_critic(
    work: Path, plan: Plan = Plan(), progress: Progress = Progress(), say: Callable[[str], None] = print
) -> Path:
    """All stages, in the folder `work`; returns the finished checkpoint.

    Raises ParrotError for a folder of another plan.
    """
    own(work, plan)
    student, fresh = make_base(work, plan, progress, say), count()
    for number, course in enumerate(plan.courses, 1):
        folder = work / f"course-{number}"
        pairs = paint_pairs(folder, plan.seed, pick(plan.seed, fresh, course), progress)
        rows = make_rows(folder, pairs, plan, progress=progress, say=say)
        taught = teach(folder, student, rows, plan, course.learning_rate, progress, say)
        student = average((student, taught), folder / "mean", plan) if course.averaged else taught
    if plan.generated:
        student = learn_generated(work / "generated", student, plan, plan.generated, progress, say)
    finished = work / "critic"
    if not finished.exists():
        shutil.copytree(student, finished.with_suffix(".part"), dirs_exist_ok=True)
        os.replace(finished.with_suffix(".part"), finished)
    return finished


def learn_generated(
    work: Path,
    student: Path,
    plan: Plan,
    course: GeneratedCourse,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Path:
    """The course on generated pictures."""
    pairs, truth_of = generated_and_painted(work, plan.seed, course, progress)
    rows = make_rows(work, pairs, plan, truth_of, progress, say)
    taught = teach(work, student, rows, plan, course.learning_rate, progress, say)
    return average((student, taught), work / "mean", plan) if course.averaged else taught


def generated_and_painted(
    work: Path, seed: int, course: GeneratedCourse, progress: Progress = Progress()
) -> tuple[list[PreferencePair], Callable[[str], Truth]]:
    """The pairs of the course on generated pictures, and what is true about the one of an id."""
    from .generator.pairs import generated_pairs

    made = generated_pairs(work / "generated", seed, course.pairs, progress=progress)
    painted = pick(seed, count(UNSEEN), Course(course.painted, course.learning_rate, course.edits))
    known = {one.id: one for one in made}
    pairs = [*paint_pairs(work, seed, painted, progress), *(one.pair() for one in made)]
    return pairs, lambda id: known.get(id) or world_of(id)


def pick(seed: int, numbers: Iterator[int], course: Course) -> list[int]:
    """The next numbers of pairs for the course; where it wants more edits, some others are left out."""
    # Share of the pairs without an edit that stay.
    kept = EDITS * (1 - course.edits) / (course.edits * (1 - EDITS))
    wanted = (n for n in numbers if is_edit(seed, n) or stream(seed, "course", n).random() < kept)
    return list(islice(wanted, course.pairs))


def make_base(
    work: Path, plan: Plan, progress: Progress = Progress(), say: Callable[[str], None] = print
) -> Path:
    """Stage 0: a model that names what it sees."""
    done = work / "base"
    if not done.exists():
        model, processor = build_base(plan.seed)
        train_base(
            model,
            processor,
            work / "base-states",
            plan.seed,
            plan.base_steps,
            progress=progress,
            say=_losses("base", say),
        )
        _save(model, processor, done)
    return done


def make_rows(
    work: Path,
    pairs: Sequence[PreferencePair],
    plan: Plan,
    truth_of: Callable[[str], Truth] = world_of,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Path:
    """A course's stages 1 to 3: rationales of pairs, what survives, single judgements, training rows."""
    oracle = Oracle(plan.misreads, truth_of)
    common: dict[str, Any] = {"batch_size": BATCH, "progress": progress}
    rationales = rationalize(pairs, work / "rationales", oracle, base=work, seed=plan.seed, **common)
    survival = filter_consistent(rationales, work / "consistency", oracle, **common)
    say(survival.to_markdown())
    consistent = work / "consistency" / CONSISTENT
    projection = project(consistent, work / "projection", oracle, base=work, seed=plan.seed, **common)
    say(projection.to_markdown())
    judgements = work / "projection" / POINTWISE
    report = build_rows(
        consistent,
        judgements,
        work / "rows",
        base=work,
        rubrics=own_rubrics,
        written_in=rubric_for,
        both_orders=False,
        **common,
    )
    say(report.to_markdown())
    return work / "rows" / ROWS


def paint_pairs(
    work: Path, seed: int, numbers: Sequence[int], progress: Progress = Progress()
) -> list[PreferencePair]:
    """The preference pairs of these numbers, their pictures in `work`/images."""
    folder = work / "images"
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in numbers:
        progress.check()
        pairs.append(world(seed, number).pair(folder))
        progress.update(len(pairs), len(numbers), "pairs", "")
    return pairs


def teach(
    work: Path,
    student: Path,
    rows: Path,
    plan: Plan,
    learning_rate: float,
    progress: Progress = Progress(),
    say: Callable[[str], None] = print,
) -> Path:
    """Stage 4: the student, a base or a critic, becomes a better critic."""
    done = work / "critic"
    if not done.exists():
        model, processor = load(student)
        recipe = Recipe("full", plan.epochs, learning_rate, 0.03, 0.01, tokens=plan.tokens, seed=plan.seed)
        distill(rows, work / "critic-states", model, processor, recipe, progress, _losses("critic", say))
        _save(model, processor, done, RUBRICS, plan)
    return done


def average(critics: Sequence[Path], done: Path, plan: Plan) -> Path:
    """A checkpoint with the mean of the critics' weights."""
    if not done.exists():
        model, processor = load(critics[0])
        states = [load(critic)[0].state_dict() for critic in critics]
        model.load_state_dict(
            {name: sum(state[name] for state in states) / len(states) for name in states[0]}
        )
        _save(model, processor, done, RUBRICS, plan)
    return done


def load(folder: Path) -> tuple[Any, Any]:
    """(model, processor) in fp32 on the best device."""
    import torch

    from ..models.checkpoints.loading import load as load_checkpoint
    from ..models.devices import pick_device

    loaded = load_checkpoint(folder, "none", pick_device(), dtype=torch.float32)
    return loaded.model, loaded.processor


def _save(
    model: Any, processor: Any, folder: Path, rubrics: Path | None = None, plan: Plan | None = None
) -> None:
    """The whole checkpoint in bf16, or nothing."""
    import torch

    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(scratch)
    processor.save_pretrained(scratch)
    if rubrics:
        shutil.copytree(rubrics, scratch / "rubrics")
        # It learned to score behind its reasons only.
        write_json(scratch / CRITIC, {"capabilities": {"expected_scores": False}})
    if plan:
        made_with = {**asdict(plan), "created_with": versions("transformers", "torch")}
        write_json(scratch / "made_with.json", made_with)
    os.replace(scratch, folder)


def _losses(stage: str, say: Callable[[str], None]) -> Callable[[int, float], None]:
    return lambda step, loss: say(f"{stage} step {step}: loss {loss:.4f}")
