"""PARROT's data phases one after the other, for a dataset of recorded preferences: pairs, rationales, what
survives, training rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.errors import ParrotError
from ..models.files import write_text
from ..models.rubrics.rubric import rubric_for
from ..preferences.dataset import PreferenceDataset, check_exists
from ..preferences.pairs import PreferencePair
from .anchored import pairs_digest, rationalize
from .consistency import CONSISTENT, Survival, filter_consistent
from .export import export_llama_factory
from .manifest import Manifest, Rubrics, rubric_digests
from .projection import POINTWISE, ProjectionReport, project
from .rows import ROWS, RowsReport, build_rows
from .run_lock import exclusive
from .teacher import Teacher

# Folder in a dataset; one folder in it for each state of the preferences, teacher and seed.
RUNS = "rationalized"
CHANGED = (
    "The preferences have changed since they were rationalized: rationalize them again to learn from "
    "all of them."
)
# File in it that names the newest finished one.
LATEST = "latest"


@dataclass(frozen=True)
class Rationalized:
    """What the data phases made of a dataset.

    `note`: what the reader has to know about the teacher, or "".
    """

    folder: Path
    survival: Survival
    projection: ProjectionReport
    rows: RowsReport
    note: str = ""

    @property
    def file(self) -> Path:
        """The training rows."""
        return self.folder / "rows" / ROWS

    def to_markdown(self) -> str:
        """All reports, one below the other."""
        parts = [
            "## Rationales",
            self.note,
            self.survival.to_markdown(),
            "## Single images",
            self.projection.to_markdown(),
        ]
        return "\n\n".join(part for part in [*parts, "## Rows", self.rows.to_markdown()] if part)


def rationalize_pairs(
    pairs: Sequence[PreferencePair],
    dataset: Path,
    teacher: Teacher,
    *,
    rubrics: Rubrics = rubric_for,
    note: str = "",
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress = Progress(),
) -> Rationalized:
    """Run all data phases for the pairs of the dataset in the folder `dataset`; stopped and called again,
    they go on.

    With more preferences, another teacher or another seed they start afresh in a folder of their own. The
    rows, with a dataset entry and configurations for LLaMA-Factory beside them, are for `latest_rows`. `note`
    goes into the report. Raises ParrotError, also where another program is at it.
    """
    if not pairs:
        raise ParrotError(
            f'The dataset "{dataset.name}" has no preferences: record some with Record Preference first.'
        )
    state = json.dumps([pairs_digest(pairs, dataset), teacher.name, seed, rubric_digests(rubrics)])
    run = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    folder = dataset / RUNS / run
    common: dict[str, Any] = {"rubrics": rubrics, "batch_size": batch_size, "progress": progress}
    with exclusive(folder, f'rationalizing the dataset "{dataset.name}"'):
        rationales = rationalize(pairs, folder / "rationales", teacher, base=dataset, seed=seed, **common)
        survival = filter_consistent(rationales, folder / "consistency", teacher, **common)
        consistent = folder / "consistency" / CONSISTENT
        projection = project(consistent, folder / "projection", teacher, base=dataset, seed=seed, **common)
        rows = build_rows(
            consistent, folder / "projection" / POINTWISE, folder / "rows", base=dataset, **common
        )
        if rows.pairwise + rows.pointwise:
            export_llama_factory(folder / "rows")
        _remember(dataset, run)
    return Rationalized(folder, survival, projection, rows, note)


def has_changed(rows: Path, dataset: Path) -> bool:
    """Whether preferences were recorded or taken back since those rows were made from the dataset in the
    folder `dataset`.
    """
    made = Manifest.read(rows.parent.parent / "rationales")
    return made is not None and made.input != pairs_digest(PreferenceDataset(dataset).pairs(), dataset)


def latest_rows(dataset: Path) -> Path:
    """The training rows of the newest finished run.

    Raises ParrotError where there are none, and PreferenceError where there is no such dataset.
    """
    try:
        file = dataset / RUNS / (dataset / RUNS / LATEST).read_text(encoding="utf-8").strip() / "rows" / ROWS
    except OSError:
        file = dataset / RUNS / "none"
    if not file.is_file():
        check_exists(dataset)
        raise ParrotError(
            f'The preferences in "{dataset.name}" have no rationales yet: run Rationalize Preferences first.'
        )
    return file


def _remember(dataset: Path, run: str) -> None:
    write_text(dataset / RUNS / LATEST, run)
