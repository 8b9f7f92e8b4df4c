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
from .manifest import Manifest, Rubrics, rubric_digests, run_phase, share_row
from .mentions import find_mention
from .stream import Outputs, Record, count_lines, digest, read_records, seed_for
from .teacher import Reference, Teacher

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
            (
                f"{self.order_contradicted:,} of {self.order_checked:,} pairs were ordered differently by "
                f"the "
                f"two judgements."
            ),
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
    `check_order=False` ignores the preference. Called again, it goes on where it was stopped. Raises
    ParrotError.
    """
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "referenced": referenced,
        "check_order": check_order,
    }
    wanted = Manifest(
        "projection", digest(consistent), seed, teacher.name, settings | {"rubrics": rubric_digests(rubrics)}
    )

    def work(batch: list[Record], inner: Progress) -> list[Outputs]:
        entries = [(record, letter) for record in batch for letter in "AB"]
        texts = teacher.project(
            [pair_of(record, base) for record, _ in entries],
            [Reference(record["rationale"] if referenced else "", letter) for record, letter in entries],
            [seed_for(seed, "projection", record["id"], letter) for record, letter in entries],
            inner,
        )
        found = [
            _record(record, letter, text, rubrics, base)
            for (record, letter), text in zip(entries, texts, strict=True)
        ]
        return [_sorted_out(found[i : i + 2], rubrics, check_order) for i in range(0, len(found), 2)]

    def report(manifest: Manifest) -> dict[str, Any]:
        return dataclasses.asdict(_measure(folder, manifest))

    total = count_lines(consistent)
    records = read_records(consistent)
    files = [POINTWISE, DROPPED]
    done = run_phase(
        folder, wanted, records, total, lambda record: record["id"], work, files, batch_size, progress, report
    )
    return ProjectionReport(**done.report)


def unusable(text: str, rubric: Rubric) -> bool:
    """Whether an answer for one image lacks a score or, where the rubric has one, the refined request."""
    judgement = Judgement.parse(text, rubric=rubric)
    return (
        not judgement.complete
        or judgement.mean is None
        or (rubric.has_refinement and not judgement.refined_request)
    )


def _record(record: Record, letter: str, text: str, rubrics: Rubrics, base: Path) -> Record:
    task = task_of(record)
    pair = pair_of(record, base)
    images = {"image": pair.images[letter.lower()]} | ({"source": pair.source} if pair.source else {})
    totals = Comparison.parse(record["rationale"], rubric=rubrics(task, True)).totals
    return {
        "id": record["id"],
        "letter": letter,
        "prompt": record["prompt"],
        "images": relative_images(images, base),
        "preferred": record["preferred"],
        "judgement": text,
        "mean": Judgement.parse(text, rubric=rubrics(task, False)).mean,
        "pairwise_mean": totals["AB".index(letter)] if totals else None,
    }


def _sorted_out(both: list[Record], rubrics: Rubrics, check_order: bool) -> Outputs:
    """The two judgements of a pair, kept or dropped with a reason."""
    ordered = orders(both)
    out: Outputs = {}
    for record in both:
        task = task_of(record)
        record = {**record, "ordered": ordered}
        rubric = rubrics(task, False)
        if unusable(record["judgement"], rubric):
            reason = UNREADABLE
        elif phrase := _mention(record, rubric, task):
            reason, record = MENTIONS, {**record, "phrase": phrase}
        else:
            reason = CONTRADICTS if check_order and ordered is False else ""
        if reason:
            out.setdefault(DROPPED, []).append({**record, "reason": reason})
        else:
            out.setdefault(POINTWISE, []).append(record)
    return out


def orders(both: list[Record]) -> bool | None:
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


def _mention(record: Record, rubric: Rubric, task: str) -> str:
    texts = read_answer(record["judgement"], rubric)
    wanted = [item.key for item in rubric.answer if item.kind == "text"]
    return find_mention("\n\n".join(texts.get(key, "") for key in wanted), record["prompt"], task)


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
