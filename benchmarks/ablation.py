"""The ablation of the paper in miniature: what the anchor and the filter are worth, with an imperfect teacher.

Three ways to make rows from the same preference pairs, equally many rows of each, the same student, recipe and held-out pairs:
PARROT (anchored and filtered), anchored only, and plain distillation of what the teacher says without knowing the preference.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from rational_rewards.demo.base import RUBRICS
from rational_rewards.demo.measure import held_out, measure_pairs, measure_singles
from rational_rewards.demo.oracle import Oracle
from rational_rewards.demo.train import BATCH, Plan, load, own_rubrics, paint_pairs
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.transformers_engine import TransformersEngine
from rational_rewards.models.rubric import rubric_for
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.consistency import CONSISTENT, filter_consistent
from rational_rewards.parrot.distill import Recipe, distill
from rational_rewards.parrot.pairs import PreferencePair
from rational_rewards.parrot.projection import POINTWISE, project
from rational_rewards.parrot.rows import ROWS, build_rows
from rational_rewards.parrot.stream import read_records

WAYS = ("PARROT", "anchored only", "plain distillation")


def run(
    base: Path, work: Path, pairs: int = 1600, rows: int = 2400, seeds: int = 3, misreads: float = 0.08, test: int = 200
) -> dict[str, Any]:
    """Accuracy (over all held-out pairs, and over those with a preference) and Spearman of every way and seed."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    survived: list[float] = []
    for seed in range(seeds):
        folder = work / f"seed-{seed}"
        painted = paint_pairs(folder, Plan(seed=100 + seed, pairs=pairs))
        for way in WAYS:
            file, survival = _rows(way, painted, folder, seed, misreads, rows)
            if survival is not None:
                survived.append(survival)
            results[way].append(_taught(base, file, folder / _slug(way) / "states", seed, test))
            print(way, seed, results[way][-1], flush=True)
    return {"pairs": pairs, "rows": rows, "misreads": misreads, "test": test, "survival": survived, "results": results}


def _rows(
    way: str, pairs: list[PreferencePair], folder: Path, seed: int, misreads: float, number: int
) -> tuple[Path, float | None]:
    """The first `number` training rows of a way, and the share of rationales that survived its filter."""
    oracle, here = Oracle(misreads), folder / _slug(way)
    common: dict[str, Any] = {"batch_size": BATCH}
    anchored = way != "plain distillation"
    records = rationalize(pairs, here / "rationales", oracle, base=folder, anchored=anchored, seed=seed, **common)
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


def _taught(base: Path, file: Path, states: Path, seed: int, test: int) -> dict[str, float]:
    """A student taught on the rows, and how well it judges."""
    model, processor = load(base)
    recipe = Recipe("full", 1, 1e-3, 0.05, 0.01, tokens=8192, seed=seed, save_every=10_000)
    distill(file, states, model, processor, recipe)
    critic = Critic(TransformersEngine(model, processor), "student", own_rubrics=RUBRICS)
    worlds = held_out(test)
    compared, single = measure_pairs(critic, worlds), measure_singles(critic, worlds)
    return {
        "accuracy": compared.all.right / compared.all.total,
        "decided": compared.decided.right / compared.decided.total,
        "spearman": single.spearman,
    }


def table(figures: dict[str, Any]) -> str:
    """Mean and standard deviation over the seeds."""
    lines = [
        f"{figures['rows']} rows each, teacher misreads {figures['misreads']:.0%} of facts, {figures['test']} held-out pairs; "
        f"survival of the filter {statistics.mean(figures['survival']):.1%}",
        "",
        "| way | accuracy, all pairs | accuracy, pairs with a preference | Spearman |",
        "|---|---|---|---|",
    ]
    for way, runs in figures["results"].items():
        cells = [_spread([one[name] for one in runs]) for name in ("accuracy", "decided", "spearman")]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def _slug(way: str) -> str:
    return way.replace(" ", "-").lower()
