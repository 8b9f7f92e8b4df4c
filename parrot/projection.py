"""The pointwise projection: each image of a consistent pair is judged alone, the rationale at hand (paper
section 2.1, appendix C.3).

A judgement that speaks of that reference, or a pair of judgements that order the pair differently, is dropped
and counted. How far the scores of an image alone drift from its scores in the pair is measured.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.answers.parsing import read_answer
from ..models.engines.base import Progress
from ..models.judgement import Comparison, Judgement
from ..models.rubrics.rubric import Rubric, rubric_for
from .anchored import TIE_WIDTH, pair_of, relative_images, task_of
from .leaks import find_mention
from .manifest import Manifest, Rubrics, rubric_digests, run_phase, share_row
from .records import JudgementRecord, Letter, RationaleRecord
from .resumable import Outputs, count_lines, digest, read_records, seed_for
from .teacher import Reference, Teacher

LETTERS: tuple[Letter, Letter] = ("A", "B")
POINTWISE, DROPPED = "pointwise.jsonl", "dropped.jsonl"
UNREADABLE = "unreadable"
MENTIONS = "mentions the reference"
CONTRADICTS = "contradicts the pair's order"


@dataclass
class ProjectionReport:
    """How many images were judged alone, how many judgements were kept, and why the rest was dropped.

    `order_checked` pairs had two readable judgements; `drift` is the mean distance (scale of 1 to 4) between
    an image's mean score alone and in the pair, over all readable ones, and `shift` the same with its sign:
    above 0 where images alone score higher.
    """

    total: int
    kept: int
    dropped: dict[str, int]
    order_checked: int
    order_contradicted: int
    drift: float | None
    shift: float | None

    def to_markdown(self) -> str:
        """A table to read."""
        lines = [
            "| Images judged alone | Number | Share |",
            "|---|---|---|",
            share_row("kept", self.kept, self.total),
        ]
        lines += [
            share_row(f"dropped: {reason}", count, self.total) for reason, count in self.dropped.items()
        ]
        lines.append(share_row("all", self.total, self.total))
        lines += [
            "",
            f"{self.order_contradicted:,} of {self.order_checked:,} pairs were ordered differently by the "
            "two judgements.",
        ]
        if self.drift is not None and self.shift is not None:
            lines.append(
                f"Calibration drift against the pair's scores: {self.drift:.3f} of 3 points "
                f"({self.shift:+.3f} with its sign)."
            )
        return "\n".join(lines)


def project(
    consistent: Path,
    folder: Path,
    teacher: Teacher,
    *,
    base: Path,
    rubrics: Rubrics = rubric_for,
    referenced: bool = True,
    check_order: bool = True,
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress = Progress(),
) -> ProjectionReport:
    """Write `pointwise.jsonl` and `dropped.jsonl` (with a `reason`) into the phase's folder, one record an
    image.

    A record: id, letter, prompt, images (image, and source for an edit), preferred, judgement, mean (alone,
    1..4), pairwise_mean, ordered (whether both judgements order the pair as preferred; None where one has no
    score). For plain distillation, `referenced=False` gives references without a rationale and
    `check_order=False` ignores the preference. Called again, it resumes. Raises ParrotError.
    """
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "referenced": referenced,
        "check_order": check_order,
    }
    wanted = Manifest(
        "projection", digest(consistent), seed, teacher.name, settings | {"rubrics": rubric_digests(rubrics)}
    )

    def work(batch: list[RationaleRecord], inner: Progress) -> list[Outputs]:
        entries: list[tuple[RationaleRecord, Letter]] = [(r, letter) for r in batch for letter in LETTERS]
        texts = teacher.project(
            [pair_of(record, base) for record, _ in entries],
            [Reference(record["rationale"] if referenced else "", letter) for record, letter in entries],
            [seed_for(seed, "projection", record["id"], letter) for record, letter in entries],
            inner,
        )
        judged = [
            _judged(record, letter, text, rubrics, base)
            for (record, letter), text in zip(entries, texts, strict=True)
        ]
        return [_sorted_out(judged[i : i + 2], check_order) for i in range(0, len(judged), 2)]

    def report(manifest: Manifest) -> dict[str, Any]:
        return dataclasses.asdict(_measure(folder, manifest))

    total = count_lines(consistent)
    records = read_records(consistent, RationaleRecord)
    files = [POINTWISE, DROPPED]
    done = run_phase(
        folder, wanted, records, total, lambda record: record["id"], work, files, batch_size, progress, report
    )
    return ProjectionReport(**done.report)


@dataclass(frozen=True)
class _Judged:
    """An image's record, and what one reading of its judgement found: whether it can be used, and a phrase
    that gives away what only the teacher saw.
    """

    record: JudgementRecord
    usable: bool
    phrase: str


def is_usable(judgement: Judgement, rubric: Rubric) -> bool:
    """Whether a judgement has every score and, where the rubric asks for it, the refined prompt."""
    refined = bool(judgement.refined_request) or not rubric.has_refinement
    return judgement.complete and judgement.mean is not None and refined


def _judged(record: RationaleRecord, letter: Letter, text: str, rubrics: Rubrics, base: Path) -> _Judged:
    task = task_of(record)
    rubric = rubrics(task, False)
    parts = read_answer(text, rubric)
    judgement = Judgement.from_parts(parts, rubric, text)
    words = [parts.get(item.key, "") for item in rubric.answer if item.kind == "text"]
    pair = pair_of(record, base)
    images = {"image": pair.images[letter.lower()]}
    if pair.source:
        images["source"] = pair.source
    totals = Comparison.parse(record["rationale"], rubric=rubrics(task, True)).totals
    judged: JudgementRecord = {
        "id": record["id"],
        "letter": letter,
        "prompt": record["prompt"],
        "images": relative_images(images, base),
        "preferred": record["preferred"],
        "judgement": text,
        "mean": judgement.mean,
        "pairwise_mean": totals["AB".index(letter)] if totals else None,
    }
    phrase = find_mention("\n\n".join(words), record["prompt"], task)
    return _Judged(judged, is_usable(judgement, rubric), phrase)


def _sorted_out(both: list[_Judged], check_order: bool) -> Outputs:
    """The two judgements of a pair, kept or dropped with a reason."""
    ordered = orders([judged.record for judged in both])
    out: Outputs = {}
    for judged in both:
        record = {**judged.record, "ordered": ordered}
        if not judged.usable:
            dropped = {**record, "reason": UNREADABLE}
        elif judged.phrase:
            dropped = {**record, "phrase": judged.phrase, "reason": MENTIONS}
        elif check_order and ordered is False:
            dropped = {**record, "reason": CONTRADICTS}
        else:
            out.setdefault(POINTWISE, []).append(record)
            continue
        out.setdefault(DROPPED, []).append(dropped)
    return out


def orders(both: list[JudgementRecord]) -> bool | None:
    """Whether the means of A and B alone order the pair as the preference does; None where one could not be
    read.
    """
    a, b = both[0]["mean"], both[1]["mean"]
    if a is None or b is None:
        return None
    preferred = both[0]["preferred"]
    if preferred == "tie":
        return abs(a - b) <= TIE_WIDTH + 1e-9
    return a - b > 1e-9 if preferred == "A" else b - a > 1e-9


def _measure(folder: Path, manifest: Manifest) -> ProjectionReport:
    """The report of a finished phase, from its files; nothing but sums is kept in memory."""
    distance = shift = 0.0
    readable = checked = contradicted = 0
    for file in (POINTWISE, DROPPED):
        for record in read_records(folder / file):
            if (
                record["mean"] is not None
                and record["pairwise_mean"] is not None
                and record.get("reason") != UNREADABLE
            ):
                distance += abs(record["mean"] - record["pairwise_mean"])
                shift += record["mean"] - record["pairwise_mean"]
                readable += 1
            # Once a pair.
            if record["letter"] == "A" and record["ordered"] is not None:
                checked += 1
                contradicted += not record["ordered"]
    return ProjectionReport(
        manifest.counts[POINTWISE] + manifest.counts[DROPPED],
        manifest.counts[POINTWISE],
        manifest.dropped,
        checked,
        contradicted,
        distance / readable if readable else None,
        shift / readable if readable else None,
    )
