"""Training rows in the published layout (ShareGPT): what the student is asked, and the answer it should give.

Questions come from the student's own rubric, so no row holds a preference, a hint or a reference. Answers are
written exactly as the locked form writes them. `<image>` marks where the pictures of `images` stand; the same
mark in a prompt or an answer is text and is written `< image >`, so that it cannot shift them.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.answers.writing import normal_parts, with_winners, write_answer
from ..models.engines.base import Progress
from ..models.errors import AnswerError, ParrotError
from ..models.rubrics.rubric import Rubric, rubric_for
from .anchored import task_of
from .manifest import Manifest, Rubrics, rubric_digests, run_phase
from .order_swap import swap_letters
from .records import JudgementRecord, RationaleRecord, Record
from .resumable import Outputs, count_lines, digest, read_records

ROWS, DROPPED = "rows.jsonl", "dropped.jsonl"
IMAGE_MARK = "<image>"
INCOMPLETE = "incomplete"
NOT_SWAPPED = "cannot be mirrored safely"
# What trainers replace by media.
_MARK = re.compile(r"<(image|video|audio)>", re.IGNORECASE)


@dataclass
class RowsReport:
    """How many rows were written, and what was left out and why.

    A pair that cannot be mirrored still has its row in one order.
    """

    pairwise: int
    pointwise: int
    dropped: dict[str, int]

    def to_markdown(self) -> str:
        """A table to read."""
        lines = [
            "| Training rows | Number |",
            "|---|---|",
            f"| pairwise | {self.pairwise:,} |",
            f"| pointwise | {self.pointwise:,} |",
        ]
        return "\n".join(
            [*lines, *(f"| left out: {reason} | {count:,} |" for reason, count in self.dropped.items())]
        )


def build_rows(
    pairs: Path,
    judgements: Path | None,
    folder: Path,
    *,
    base: Path,
    rubrics: Rubrics = rubric_for,
    written_in: Rubrics | None = None,
    both_orders: bool = True,
    batch_size: int = 64,
    progress: Progress = Progress(),
) -> RowsReport:
    """Write `rows.jsonl`, the pairwise rows first, and `dropped.jsonl` (with a `reason`) into the folder.

    `pairs` are records with a rationale (`consistent.jsonl`, or `rationales.jsonl` for the ablation),
    `judgements` is `pointwise.jsonl` of the projection, or None for pairwise rows only. `rubrics` are the
    student's; `written_in` are the teacher's, where they differ. `base` is where the records' images are
    found from; the rows find them from `folder`. Called again, it resumes. Raises ParrotError.
    """
    files = [pairs] if judgements is None else [pairs, judgements]
    read = written_in or rubrics
    settings: dict[str, Any] = {
        "both_orders": both_orders,
        "pointwise": judgements is not None,
        "batch_size": batch_size,
    }
    settings |= {"rubrics": rubric_digests(rubrics), "written_in": rubric_digests(read)}
    wanted = Manifest("rows", digest(*files), settings=settings)

    def work(batch: list[RationaleRecord | JudgementRecord], inner: Progress) -> list[Outputs]:
        return [rows_of(record) for record in batch]

    def rows_of(record: RationaleRecord | JudgementRecord) -> Outputs:
        images = _moved(record["images"], base, folder)
        if "judgement" in record:
            return _pointwise({**record, "images": images}, rubrics, read)
        return _pairwise({**record, "images": images}, rubrics, read, both_orders)

    def report(manifest: Manifest) -> dict[str, Any]:
        kinds = {"pairwise": 0, "pointwise": 0}
        for row in read_records(folder / ROWS):
            kinds[row["kind"]] += 1
        return kinds

    rationales = read_records(pairs, RationaleRecord)
    judged = read_records(judgements, JudgementRecord) if judgements else ()
    records = itertools.chain(rationales, judged)
    total = sum(map(count_lines, files))
    names = [ROWS, DROPPED]
    done = run_phase(folder, wanted, records, total, _key, work, names, batch_size, progress, report)
    return RowsReport(done.report["pairwise"], done.report["pointwise"], done.dropped)


def _key(record: Record) -> str:
    return f"{record.get('letter', 'pair')}:{record['id']}"


def _moved(images: Mapping[str, str], base: Path, folder: Path) -> dict[str, str]:
    """Relative paths as seen from another folder; absolute ones as they are."""
    moved = {}
    for name, path in images.items():
        try:
            moved[name] = (
                path if Path(path).is_absolute() else Path(os.path.relpath(base / path, folder)).as_posix()
            )
        except ValueError:
            # On another drive of Windows.
            moved[name] = Path(os.path.abspath(base / path)).as_posix()
    return moved


# ---------------------------------------------------------------- one row


def make_row(
    rubric: Rubric, prompt: str, images: Mapping[str, str], answer: str, **about: Any
) -> dict[str, Any]:
    """One row: the rubric's question with `images` (paths by name), and the answer.

    `about` is kept beside it and not shown.
    """
    messages: list[dict[str, Any]] = []
    paths: list[str] = []
    for message in rubric.messages(prompt):
        content = ""
        for part in message["content"]:
            if part["type"] == "image":
                paths.append(images[part["image"]])
            content += neutral(part["text"]) if part["type"] == "text" else IMAGE_MARK
        messages.append({"role": message["role"], "content": content})
    messages.append({"role": "assistant", "content": neutral(answer)})
    return {"messages": messages, "images": paths, **about}


def row_messages(row: Record) -> list[dict[str, Any]]:
    """The row's messages with their parts, as chat templates take them: {"type": "text", "text"} or {"type":

    "image", "image": path}.

    Raises ParrotError where the marks and the pictures do not come out even.
    """
    paths: Iterator[str] = iter(row["images"])
    messages: list[dict[str, Any]] = []
    for message in row["messages"]:
        parts: list[dict[str, Any]] = []
        for index, text in enumerate(message["content"].split(IMAGE_MARK)):
            if index:
                parts.append({"type": "image", "image": next(paths, None)})
            if text:
                parts.append({"type": "text", "text": text})
        messages.append({"role": message["role"], "content": parts})
    marks = sum(part["type"] == "image" for message in messages for part in message["content"])
    if marks != len(row["images"]):
        raise ParrotError(
            f"The row {row.get('id', '')} has {marks} marks for {len(row['images'])} pictures: build the "
            f"rows again."
        )
    return messages


def neutral(text: str) -> str:
    """The text with marks such as <image> written so that no trainer takes them for a picture."""
    return _MARK.sub(r"< \1 >", text)


def swapped_parts(parts: Mapping[str, str], rubric: Rubric, prompt: str) -> dict[str, str] | None:
    """The parts of a comparison with A and B exchanged, in scores, winners and words; None where the words do
    not allow it.
    """
    found = dict(parts)
    for spec in rubric.dimensions:
        a, b = f"{spec.key}.score_a", f"{spec.key}.score_b"
        for here, there in ((a, b), (b, a)):
            if there in parts:
                found[here] = parts[there]
    for item in rubric.answer:
        if item.kind == "text" and item.key in parts:
            swapped = swap_letters(parts[item.key], prompt)
            if swapped is None:
                return None
            found[item.key] = swapped
    return with_winners(found, rubric)


# ---------------------------------------------------------------- rows of a record


def _pairwise(record: RationaleRecord, rubrics: Rubrics, read: Rubrics, both_orders: bool) -> Outputs:
    task = task_of(record)
    rubric, about = rubrics(task, True), {"id": record["id"], "kind": "pairwise", "task": task}
    parts = normal_parts(record["rationale"], read(task, True))
    images = record["images"]
    try:
        answer = write_answer(rubric, parts).rstrip("\n")
    except AnswerError as error:
        return _left_out(about, INCOMPLETE, str(error))
    out: Outputs = {ROWS: [make_row(rubric, record["prompt"], images, answer, **about, shown="AB")]}
    if both_orders:
        mirrored = swapped_parts(parts, read(task, True), record["prompt"])
        if mirrored is None:
            return out | _left_out(about, NOT_SWAPPED)
        exchanged = {**images, "a": images["b"], "b": images["a"]}
        answer = write_answer(rubric, mirrored).rstrip("\n")
        out[ROWS].append(make_row(rubric, record["prompt"], exchanged, answer, **about, shown="BA"))
    return out


def _pointwise(record: JudgementRecord, rubrics: Rubrics, read: Rubrics) -> Outputs:
    task = task_of(record)
    rubric, about = rubrics(task, False), {"id": record["id"], "kind": "pointwise", "task": task}
    try:
        answer = write_answer(rubric, normal_parts(record["judgement"], read(task, False))).rstrip("\n")
    except AnswerError as error:
        return _left_out(about, INCOMPLETE, str(error))
    return {
        ROWS: [make_row(rubric, record["prompt"], record["images"], answer, **about, shown=record["letter"])]
    }


def _left_out(about: Record, reason: str, detail: str = "") -> Outputs:
    return {DROPPED: [{**about, "reason": reason, **({"detail": detail} if detail else {})}]}
