"""Phase 1, anchored generation: the teacher explains each preference, seeing it as a hint (paper section 2.1,
appendix C.1).

With `anchored=False` the teacher sees no preference and says what it thinks itself: the plain distillation of
the ablation.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.judgement import Comparison
from ..models.rubrics.rubric import rubric_for
from ..preferences.pairs import PreferencePair, Preferred
from .leaks import find_label
from .manifest import Manifest, Rubrics, rubric_digests, run_phase
from .records import JudgementRecord, RationaleRecord
from .resumable import Outputs, seed_for
from .teacher import Teacher

RATIONALES = "rationales.jsonl"
# On the scale of 1 to 4: how far apart two means may be where people saw a tie.
TIE_WIDTH = 1 / 3


def rationalize(
    pairs: Collection[PreferencePair],
    folder: Path,
    teacher: Teacher,
    *,
    base: Path,
    anchored: bool = True,
    samples: int = 1,
    rubrics: Rubrics = rubric_for,
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress = Progress(),
) -> Path:
    """Write `rationales.jsonl` into the phase's folder and return its path; called again, it resumes.

    One record a pair: id, prompt, images (by name, relative to `base` where they are below it), preferred,
    chosen_by, rationale, and samples, the number of tries. A teacher that samples may be asked up to
    `samples` times, until its answer is complete and, where it is anchored, its scores agree with the
    preference. Raises ParrotError.
    """
    settings: dict[str, Any] = {"anchored": anchored, "samples": samples, "batch_size": batch_size}
    wanted = Manifest(
        "rationales",
        pairs_digest(pairs, base),
        seed,
        teacher.name,
        settings | {"rubrics": rubric_digests(rubrics)},
    )

    def work(batch: list[PreferencePair], inner: Progress) -> list[Outputs]:
        texts = [""] * len(batch)
        tries = [0] * len(batch)
        open_ones = list(range(len(batch)))
        for attempt in range(max(1, samples)):
            asked = [batch[i] for i in open_ones]
            seeds = [seed_for(seed, "rationale", pair.id, attempt) for pair in asked]
            for i, text in zip(open_ones, teacher.rationalize(asked, seeds, anchored, inner), strict=True):
                texts[i], tries[i] = text, attempt + 1
            open_ones = [i for i in open_ones if not _usable(texts[i], batch[i], rubrics, anchored)]
            if not open_ones:
                break
        return [{RATIONALES: [_record(*entry, base)]} for entry in zip(batch, texts, tries, strict=True)]

    run_phase(
        folder, wanted, pairs, len(pairs), lambda pair: pair.id, work, [RATIONALES], batch_size, progress
    )
    return folder / RATIONALES


def agrees(comparison: Comparison, preferred: Preferred) -> bool:
    """Whether a comparison's own scores give the preference; for a tie, their means may differ by a third of
    a point.
    """
    if comparison.totals is None:
        return False
    if preferred == "tie":
        return abs(comparison.totals[0] - comparison.totals[1]) <= TIE_WIDTH + 1e-9
    return comparison.winner == preferred


def pairs_digest(pairs: Iterable[PreferencePair], base: Path) -> str:
    """SHA-256 of what the pairs say and of where their images are; 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for pair in pairs:
        entry = [pair.id, pair.prompt, relative_images(pair.images, base), pair.preferred, pair.chosen_by]
        sha256.update(json.dumps(entry).encode() + b"\n")
    return sha256.hexdigest()


def relative_images(images: dict[str, Path], base: Path) -> dict[str, str]:
    """Paths of images relative to `base` where they are below it, else absolute; with forward slashes."""
    return {name: relative(path, base) for name, path in images.items()}


def relative(path: Path, base: Path) -> str:
    """One path relative to `base` where it is below it, else absolute; with forward slashes."""
    absolute, root = Path(os.path.abspath(path)), Path(os.path.abspath(base))
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


def pair_of(record: RationaleRecord, base: Path) -> PreferencePair:
    """The pair that a record is about, its images found from `base`."""
    images = {name: base / path for name, path in record["images"].items()}
    return PreferencePair(
        record["id"],
        record["prompt"],
        images["a"],
        images["b"],
        record["preferred"],
        images.get("source"),
        record.get("chosen_by") or "human",
    )


def task_of(record: RationaleRecord | JudgementRecord) -> str:
    """ "t2i" or "edit"."""
    return "edit" if "source" in record["images"] else "t2i"


def _usable(text: str, pair: PreferencePair, rubrics: Rubrics, anchored: bool) -> bool:
    comparison = Comparison.parse(text, rubric=rubrics(pair.task, True))
    return comparison.complete and (
        not anchored or (agrees(comparison, pair.preferred) and not find_label(text, pair.prompt))
    )


def _record(pair: PreferencePair, rationale: str, samples: int, base: Path) -> RationaleRecord:
    return {
        "id": pair.id,
        "prompt": pair.prompt,
        "images": relative_images(pair.images, base),
        "preferred": pair.preferred,
        "chosen_by": pair.chosen_by,
        "rationale": rationale,
        "samples": samples,
    }
