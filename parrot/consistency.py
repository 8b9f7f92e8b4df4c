"""Phase 2, predictive consistency: a rationale is kept only if the preference follows from it (paper equation
2, appendix C.2).

The teacher reads the request and the rationale, without pictures and without the preference, and says which
picture is preferred. Before that, a rationale whose own scores say otherwise is out, and one that speaks of
the preference it was told: from that the preference would follow whatever the pictures show, and the student
would learn to cite what it never sees.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.judgement import Comparison
from ..models.rubrics.rubric import rubric_for
from ..preferences.pairs import Preferred
from .anchored import agrees, task_of
from .leaks import find_label
from .manifest import Manifest, Rubrics, rubric_digests, run_phase, share_row
from .records import RationaleRecord
from .resumable import Outputs, count_lines, digest, read_records
from .teacher import Teacher

CONSISTENT, DROPPED = "consistent.jsonl", "dropped.jsonl"
UNREADABLE = "unreadable"
LEAKS = "mentions the preference"
CONTRADICTS = "contradicts the preference"
UNDECIDED = "does not decide"
OTHER = "predicts the other"


@dataclass
class Survival:
    """How many rationales there were, how many were kept, and why the rest was dropped; also by preference
    ("A", "B", "tie").
    """

    total: int
    kept: int
    dropped: dict[str, int]
    # Preference -> [total, kept].
    by_preference: dict[str, list[int]]

    @property
    def rate(self) -> float | None:
        """Share that was kept, 0..1; None where there was nothing."""
        return self.kept / self.total if self.total else None

    def to_markdown(self) -> str:
        """A table to read."""
        lines = ["| Rationales | Number | Share |", "|---|---|---|", share_row("kept", self.kept, self.total)]
        lines += [
            share_row(f"dropped: {reason}", count, self.total) for reason, count in self.dropped.items()
        ]
        lines += [
            share_row(f"kept where the preference is {name}", kept, total)
            for name, (total, kept) in self.by_preference.items()
            if total
        ]
        return "\n".join([*lines, share_row("all", self.total, self.total)])


def filter_consistent(
    rationales: Path,
    folder: Path,
    teacher: Teacher,
    *,
    rubrics: Rubrics = rubric_for,
    batch_size: int = 8,
    progress: Progress = Progress(),
) -> Survival:
    """Write `consistent.jsonl` (the records that hold up, as they were) and `dropped.jsonl` (with a `reason`)
    into the folder.

    Called again, it resumes. `rubrics` are those that the rationales are written in.
    Raises ParrotError.
    """
    settings: dict[str, Any] = {"batch_size": batch_size, "rubrics": rubric_digests(rubrics)}
    wanted = Manifest("consistency", digest(rationales), 0, teacher.name, settings)

    def work(batch: list[RationaleRecord], inner: Progress) -> list[Outputs]:
        reasons = [_own_reason(record, rubrics) for record in batch]
        asked = [i for i, reason in enumerate(reasons) if not reason]
        if asked:
            prompts, texts = [batch[i]["prompt"] for i in asked], [batch[i]["rationale"] for i in asked]
            for i, predicted in zip(asked, teacher.predict(prompts, texts, inner), strict=True):
                reasons[i] = reason_of(predicted, batch[i]["preferred"])
        return [
            {DROPPED: [{**record, "reason": reason}]} if reason else {CONSISTENT: [record]}
            for record, reason in zip(batch, reasons, strict=True)
        ]

    def report(manifest: Manifest) -> dict[str, Any]:
        by_preference = {name: [0, 0] for name in ("A", "B", "tie")}
        for file in (CONSISTENT, DROPPED):
            for record in read_records(folder / file):
                by_preference[record["preferred"]][0] += 1
                by_preference[record["preferred"]][1] += file == CONSISTENT
        counts = manifest.counts
        found = Survival(
            counts[CONSISTENT] + counts[DROPPED], counts[CONSISTENT], manifest.dropped, by_preference
        )
        return dataclasses.asdict(found)

    total = count_lines(rationales)
    records = read_records(rationales, RationaleRecord)
    files = [CONSISTENT, DROPPED]
    done = run_phase(
        folder, wanted, records, total, lambda record: record["id"], work, files, batch_size, progress, report
    )
    return Survival(**done.report)


def reason_of(predicted: Preferred | None, preferred: Preferred) -> str:
    """Why a rationale is dropped from which `predicted` follows; empty where it gives back the preference."""
    if predicted == preferred:
        return ""
    return UNDECIDED if predicted in (None, "tie") else OTHER


def _own_reason(record: RationaleRecord, rubrics: Rubrics) -> str:
    comparison = Comparison.parse(record["rationale"], rubric=rubrics(task_of(record), True))
    if not comparison.complete or comparison.totals is None:
        return UNREADABLE
    if not agrees(comparison, record["preferred"]):
        return CONTRADICTS
    return LEAKS if find_label(record["rationale"], record["prompt"]) else ""
