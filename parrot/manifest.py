"""What made the files of a phase's folder: settings, seed, teacher, versions, input and counts, in
`manifest.json`.

The frame of every data phase is here, too: open the folder, stream, split, finish. There are no times in it:
the same phase on the same input gives the same manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.errors import ParrotError, RationalRewardsError
from ..models.files import write_json
from ..models.libraries import versions
from ..models.rubrics.rubric import Rubric
from .resumable import Item, Outputs, split, stream

MANIFEST = "manifest.json"
WORK = "work.jsonl"
# What rows can depend on besides Python and this pack.
DEPENDS_ON = ("transformers", "torch")
# (task, pair) -> the rubric, as models.rubric.rubric_for.
Rubrics = Callable[[str, bool], Rubric]

log = logging.getLogger(__name__)


@dataclass
class Manifest:
    """The state of a phase's folder.

    `counts` are records by file, `dropped` by reason, `report` is the phase's own.
    """

    phase: str
    # SHA-256 of what the phase reads.
    input: str
    seed: int = 0
    teacher: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    # Other versions that it was continued with.
    also_ran_with: list[dict[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    started: bool = False
    finished: bool = False

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder, None where there is none.

        Raises ParrotError for one that cannot be read.
        """
        try:
            data = json.loads((folder / MANIFEST).read_bytes())
            return cls(**data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ParrotError(
                f"{folder / MANIFEST} cannot be read ({error}): delete the folder, or choose another name."
            ) from error

    def write(self, folder: Path) -> None:
        """Put the manifest into the folder, as a whole or not at all."""
        write_json(folder / MANIFEST, dataclasses.asdict(self))


def rubric_digests(rubrics: Rubrics) -> dict[str, str]:
    """A short digest of each rubric by "t2i", "t2i-pair", ...: another wording is another setting."""
    found = {}
    for task in ("t2i", "edit"):
        for pair in (False, True):
            try:
                text = repr(rubrics(task, pair))
            except (RationalRewardsError, LookupError):
                # A rubric of the user's own for one task only.
                continue
            found[f"{task}-pair" if pair else task] = hashlib.sha256(
                text.encode("utf-8", "surrogatepass")
            ).hexdigest()[:12]
    return found


def open_phase(folder: Path, wanted: Manifest) -> Manifest:
    """Begin a phase in a folder, or go on with it; raises ParrotError where the folder belongs to something
    else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = Manifest.read(folder)
    if there is None:
        if (folder / WORK).exists():
            raise ParrotError(
                f"{folder} has {WORK} but no {MANIFEST}: delete the folder, or choose another name."
            )
        there = dataclasses.replace(wanted, versions=versions(*DEPENDS_ON), started=True)
        there.write(folder)
        return there
    if differing := _differences(there, wanted):
        raise ParrotError(
            f"{folder} was made with other settings ({'; '.join(differing)}): choose another name, or "
            f"delete the folder."
        )
    now = versions(*DEPENDS_ON)
    if not there.finished and now != there.versions and now not in there.also_ran_with:
        log.warning("%s was begun with %s and goes on with %s.", folder, there.versions, now)
        there.also_ran_with.append(now)
        there.write(folder)
    return there


def run_phase(
    folder: Path,
    wanted: Manifest,
    items: Iterable[Item],
    total: int,
    key: Callable[[Item], str],
    worker: Callable[[list[Item], Progress], Sequence[Outputs]],
    files: Sequence[str],
    batch_size: int,
    progress: Progress,
    report: Callable[[Manifest], dict[str, Any]] = lambda manifest: {},
) -> Manifest:
    """One data phase from its first input to its final `files`; called again, it goes on where it stopped, or
    is done at once.

    `report` is called when the files are there, and what it returns goes into the manifest. Raises
    ParrotError.
    """
    manifest = open_phase(folder, wanted)
    if manifest.finished:
        if missing := [name for name in files if not (folder / name).exists()]:
            raise ParrotError(
                f"{folder} is finished, but {', '.join(missing)} is missing: delete the folder and run the "
                f"phase again."
            )
        # Left where the process died right behind the end.
        (folder / WORK).unlink(missing_ok=True)
        progress.update(total, total, wanted.phase, "")
        return manifest
    stream(items, total, key, worker, folder / WORK, batch_size, wanted.phase, progress)
    manifest.counts, manifest.dropped = split(folder / WORK, folder, files)
    manifest.report = report(manifest)
    manifest.finished = True
    manifest.write(folder)
    (folder / WORK).unlink(missing_ok=True)
    return manifest


def share_row(name: str, count: int, total: int) -> str:
    """A line of a report: how many of all, and their share."""
    return f"| {name} | {count:,} | {f'{count / total:.1%}' if total else '-'} |"


def _differences(there: Manifest, wanted: Manifest) -> list[str]:
    """What differs, in words: "seed is 0, now 1"."""
    found = [
        f"{name} is {_shown(getattr(there, name))}, now {_shown(getattr(wanted, name))}"
        for name in ("phase", "input", "seed", "teacher")
        if getattr(there, name) != getattr(wanted, name)
    ]
    # Tuples become lists.
    before, now = (
        json.loads(json.dumps(there.settings)),
        json.loads(json.dumps(wanted.settings)),
    )
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            found.append(f"{name} is {_shown(before.get(name))}, now {_shown(now.get(name))}")
    return found


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    if len(text) <= 60:
        return text
    # Of a digest its beginning is enough.
    return f"{text[:57]}..." if " " in text else f"{text[:12]}..."
