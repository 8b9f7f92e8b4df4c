"""The ablation of the paper in miniature: what the anchor and the filter are worth, with an imperfect
teacher.

Three ways to make rows from the same preference pairs, equally many rows of each, the same student, recipe
and held-out pairs: PARROT (anchored and filtered), anchored only, and plain distillation of what the teacher
says without knowing the preference. The student is a critic that has learned the form already, the embedded
one unless another is given: from nothing, what a few thousand rows teach is the form alone, and that is the
same in all three.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

from rational_rewards.demo.base import RUBRICS
from rational_rewards.demo.measure import held_out, measure_pairs, measure_singles
from rational_rewards.demo.oracle import Oracle
from rational_rewards.demo.train import BATCH, load, own_rubrics, paint_pairs
from rational_rewards.models.checkpoints.discovery import EMBEDDED
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.transformers_engine import TransformersEngine
from rational_rewards.models.rubrics.rubric import rubric_for
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.consistency import CONSISTENT, filter_consistent
from rational_rewards.parrot.projection import POINTWISE, project
from rational_rewards.parrot.resumable import digest, read_records
from rational_rewards.parrot.rows import ROWS, build_rows
from rational_rewards.preferences.pairs import PreferencePair
from rational_rewards.training.distillation import Recipe, distill

from .command import add_json, report
from .shapes import SIDE_BY_SIDE

WAYS = ("PARROT", "anchored only", "plain distillation")


def run(
    student: Path, work: Path, pairs: int, rows: int, seeds: int, misreads: float, test: int
) -> dict[str, Any]:
    """Accuracy (over all held-out pairs, and over those with a preference) and Spearman of every way and
    seed.
    """
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    survived: list[float] = []
    for seed in range(seeds):
        folder = work / f"seed-{seed}"
        painted = paint_pairs(folder, 100 + seed, range(pairs))
        for way in WAYS:
            file, survival = _rows(way, painted, folder, seed, misreads, rows)
            if survival is not None:
                survived.append(survival)
            results[way].append(_taught(student, file, folder / _slug(way), seed, test))
            print(way, seed, results[way][-1], flush=True)
    before = _measured(student, work / "before", test)
    return {
        "before": before,
        "pairs": pairs,
        "rows": rows,
        "misreads": misreads,
        "test": test,
        "survival": survived,
        "results": results,
    }


def _rows(
    way: str, pairs: list[PreferencePair], folder: Path, seed: int, misreads: float, number: int
) -> tuple[Path, float | None]:
    """The first `number` training rows of a way, and the share of rationales that survived its filter."""
    oracle, here = Oracle(misreads), folder / _slug(way)
    common: dict[str, Any] = {"batch_size": BATCH}
    anchored = way != "plain distillation"
    records = rationalize(
        pairs, here / "rationales", oracle, base=folder, anchored=anchored, seed=seed, **common
    )
    survival = None
    if way == "PARROT":
        survival = filter_consistent(records, here / "consistency", oracle, **common).rate
        records = here / "consistency" / CONSISTENT
    project(
        records, here / "projection", oracle, base=folder, seed=seed,
        referenced=anchored, check_order=way == "PARROT", **common,
    )  # fmt: skip
    build_rows(
        records, here / "projection" / POINTWISE, here / "rows", base=folder,
        rubrics=own_rubrics, written_in=rubric_for, both_orders=False, **common,
    )  # fmt: skip
    return _mixed(here / "rows" / ROWS, number), survival


def _mixed(file: Path, number: int) -> Path:
    """`number` of the rows, a third of them pairwise, as in the whole."""
    rows = list(read_records(file))
    chosen = [row for row in rows if row["kind"] == "pairwise"][: number // 3]
    chosen += [row for row in rows if row["kind"] == "pointwise"][: number - len(chosen)]
    if len(chosen) < number:
        raise SystemExit(f"Only {len(chosen)} of {number} rows survived: raise --pairs.")
    target = file.with_name("chosen.jsonl")
    target.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return target


def _taught(student: Path, file: Path, folder: Path, seed: int, test: int) -> dict[str, float]:
    """The student taught on the rows, and how well it judges then."""
    return _measured(student, folder, test, file, Recipe("full", 1, 5e-4, 0.05, 0.01, seed=seed))


def _measured(
    student: Path, folder: Path, test: int, rows: Path | None = None, recipe: Recipe = Recipe("full")
) -> dict[str, float]:
    """How well the student judges, after learning from `rows` if there are any; kept in the folder, so that a
    run can go on.
    """
    known = [digest(student / "model.safetensors"), digest(rows) if rows else "", test, repr(recipe)]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    figures = folder / f"figures-{key}.json"
    if not figures.exists():
        model, processor = load(student)
        if rows:
            distill(rows, folder / f"states-{key}", model, processor, recipe)
        critic = Critic(
            TransformersEngine(model, processor, rows=SIDE_BY_SIDE), "student", own_rubrics=RUBRICS
        )
        worlds = held_out(test)
        compared, single = measure_pairs(critic, worlds), measure_singles(critic, worlds)
        found = {
            "accuracy": compared.all.right / compared.all.total,
            "decided": compared.decided.right / compared.decided.total,
            "spearman": single.spearman,
        }
        folder.mkdir(parents=True, exist_ok=True)
        figures.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(figures.read_text(encoding="utf-8"))


def table(figures: dict[str, Any]) -> str:
    """Mean and standard deviation over the seeds."""
    lines = [
        f"{figures['rows']} rows each, teacher misreads {figures['misreads']:.0%} of facts, "
        f"{figures['test']} held-out pairs; "
        f"survival of the filter {statistics.mean(figures['survival']):.1%}",
        "",
        "| way | accuracy, all pairs | accuracy, pairs with a preference | Spearman |",
        "|---|---|---|---|",
    ]
    before = figures["before"]
    cells = [f"{before[name]:.3f}" for name in ("accuracy", "decided", "spearman")]
    lines.append(f"| the student before | {' | '.join(cells)} |")
    for way, runs in figures["results"].items():
        cells = [_spread([one[name] for one in runs]) for name in ("accuracy", "decided", "spearman")]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def _slug(way: str) -> str:
    return way.replace(" ", "-").lower()


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "ablation", help="PARROT against anchored only and plain distillation, in the shapes world"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder for what is made on the way; runs go on there"
    )
    parser.add_argument("--student", type=Path, default=EMBEDDED, help="folder of the critic that learns")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--misreads", type=float, default=0.15)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    figures = run(
        options.student,
        options.work,
        options.pairs,
        options.rows,
        options.seeds,
        options.misreads,
        options.test,
    )
    report(figures, table(figures), options.json)
