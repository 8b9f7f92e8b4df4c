"""PARROT's data phases one after the other, for a dataset of recorded preferences: pairs, rationales, what survives, training rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.engines.base import Watch
from ..models.errors import ParrotError
from ..models.rubric import rubric_for
from .anchored import pairs_digest, rationalize
from .consistency import CONSISTENT, Survival, filter_consistent
from .export import export_llama_factory
from .manifest import Rubrics, rubric_digests
from .pairs import PreferencePair
from .projection import POINTWISE, ProjectionReport, project
from .rows import ROWS, RowsReport, build_rows
from .teacher import Teacher

RUNS = "rationalized"  # folder in a dataset; one folder in it for each state of the preferences, teacher and seed
LATEST = "latest"  # file in it that names the newest finished one


@dataclass(frozen=True)
class Rationalized:
    """What the data phases made of a dataset."""

    folder: Path
    survival: Survival
    projection: ProjectionReport
    rows: RowsReport

    @property
    def file(self) -> Path:
        """The training rows."""
        return self.folder / "rows" / ROWS

    def to_markdown(self) -> str:
        """All reports, one below the other."""
        return "\n\n".join(["## Rationales", self.survival.to_markdown(), "## Single images", self.projection.to_markdown(),
                            "## Rows", self.rows.to_markdown()])  # fmt: skip


def rationalize_pairs(
    pairs: Sequence[PreferencePair],
    dataset: Path,
    teacher: Teacher,
    *,
    rubrics: Rubrics = rubric_for,
    seed: int = 0,
    batch_size: int = 8,
    watch: Watch = Watch(),
) -> Rationalized:
    """Run all data phases for the pairs of the dataset in the folder `dataset`; stopped and called again, they go on.

    With more preferences, another teacher or another seed they start afresh in a folder of their own. The rows, with a dataset
    entry and configurations for LLaMA-Factory beside them, are for `latest_rows`. Raises ParrotError.
    """
    if not pairs:
        raise ParrotError(f'The dataset "{dataset.name}" has no preferences: record some with Record Preference first.')
    state = json.dumps([pairs_digest(pairs, dataset), teacher.name, seed, rubric_digests(rubrics)])
    run = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    folder = dataset / RUNS / run
    rationales = rationalize(
        pairs, folder / "rationales", teacher, base=dataset, rubrics=rubrics, seed=seed, batch_size=batch_size, watch=watch
    )
    survival = filter_consistent(
        rationales, folder / "consistency", teacher, rubrics=rubrics, batch_size=batch_size, watch=watch
    )
    consistent = folder / "consistency" / CONSISTENT
    projection = project(
        consistent, folder / "projection", teacher, base=dataset, rubrics=rubrics, seed=seed, batch_size=batch_size, watch=watch
    )
    judgements = folder / "projection" / POINTWISE
    rows = build_rows(
        consistent, judgements, folder / "rows", base=dataset, rubrics=rubrics, batch_size=batch_size, watch=watch
    )
    if rows.pairwise + rows.pointwise:
        export_llama_factory(folder / "rows")
    _remember(dataset, run)
    return Rationalized(folder, survival, projection, rows)


def latest_rows(dataset: Path) -> Path:
    """The training rows of the newest finished run. Raises ParrotError where there are none."""
    try:
        file = dataset / RUNS / (dataset / RUNS / LATEST).read_text(encoding="utf-8").strip() / "rows" / ROWS
    except OSError:
        file = dataset / RUNS / "none"
    if not file.is_file():
        raise ParrotError(f'The preferences in "{dataset.name}" have no rationales yet: run Rationalize Preferences first.')
    return file


def _remember(dataset: Path, run: str) -> None:
    scratch = dataset / RUNS / f"{LATEST}.tmp"
    scratch.write_text(run, encoding="utf-8")
    os.replace(scratch, dataset / RUNS / LATEST)
