"""`python -m benchmarks engine`, `gpu`, `memory`, `shapes`, `ablation`, `best`, `rank`, `loop`: speed, memory
and quality, measured here and now.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rational_rewards.models.checkpoints.discovery import EMBEDDED

from . import ablation, best, engine, gpu, loop, memory, rank, shapes


def main() -> None:
    """Run one benchmark and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure speed, memory and quality on this machine."
    )
    commands = parser.add_subparsers(required=True, dest="benchmark")
    one = commands.add_parser(
        "engine", help="one reading for many questions, both orders, loops and batches against the plain way"
    )
    one.add_argument(
        "--shape", choices=sorted(engine.SHAPES), default="half-billion", help="random weights of this size"
    )
    one.add_argument("--quantization", choices=["nf4", "int8", "none"], default="none")
    one.add_argument("--device", default="auto", help="auto, cuda, mps, cpu")
    one.add_argument("--tokens", type=int, default=350, help="free-text tokens of a whole answer")
    one.add_argument("--repeat", type=int, default=3, help="runs; medians are printed")
    one.add_argument("--images", type=int, default=8, help="size of the batch")
    one.add_argument(
        "--folder", type=Path, help="keep the random checkpoint there (default: a temporary folder)"
    )
    one.add_argument("--pairs", nargs="+", choices=engine.PAIRS, default=engine.PAIRS, help="what to measure")
    one.add_argument("--json", type=Path, help="also write the figures to this file")
    card = commands.add_parser(
        "gpu", help="all that needs a graphics card, in nine minutes at most, as one Markdown page"
    )
    card.add_argument("--tiny", action="store_true", help="a tiny model instead of the 8B shape")
    card.add_argument("--device", default="cuda", help="cuda, or cpu with --tiny to try the command")
    card.add_argument("--output", type=Path, default=Path("benchmarks/gpu.md"), help="the page to write")
    card.add_argument("--minutes", type=float, default=gpu.MINUTES, help="when the last part is stopped")
    card.add_argument("--part", choices=list(gpu.PARTS), help=argparse.SUPPRESS)
    card.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    commands.add_parser("memory", help="what the 8B critic needs, computed")
    seen = commands.add_parser(
        "shapes", help="how well a critic judges the shapes world, and whether its refined prompts help"
    )
    seen.add_argument("--checkpoint", default="shapes demo (CPU)", help="folder or name of the critic")
    seen.add_argument("--pairs", type=int, default=600)
    seen.add_argument(
        "--each", type=int, default=200, help="pairs for each dimension in which alone they differ"
    )
    seen.add_argument("--prompts", type=int, default=200)
    seen.add_argument(
        "--check",
        action="store_true",
        help="fail where a figure is below what the embedded critic has to reach",
    )
    seen.add_argument("--json", type=Path, help="also write the figures to this file")
    less = commands.add_parser(
        "ablation", help="PARROT against anchored only and plain distillation, in the shapes world"
    )
    less.add_argument(
        "--work", type=Path, required=True, help="a folder for what is made on the way; runs go on there"
    )
    less.add_argument("--student", type=Path, default=EMBEDDED, help="folder of the critic that learns")
    less.add_argument("--seeds", type=int, default=3)
    less.add_argument("--pairs", type=int, default=600)
    less.add_argument("--rows", type=int, default=600)
    less.add_argument("--test", type=int, default=150)
    less.add_argument("--misreads", type=float, default=0.15)
    less.add_argument("--json", type=Path, help="also write the figures to this file")
    picked = commands.add_parser(
        "best", help="ties with and without expected scores, and whether a tournament finds the best of 16"
    )
    picked.add_argument("--checkpoint", default="shapes demo (CPU)", help="folder or name of the critic")
    picked.add_argument("--pairs", type=int, default=600, help="pairs judged one by one; 0: none")
    picked.add_argument("--compared", type=int, default=200, help="pairs compared side by side; 0: none")
    picked.add_argument("--groups", type=int, default=40, help="tournaments of 16 images; 0: none")
    picked.add_argument("--first", type=int, default=0, help="number of the first tournament")
    picked.add_argument("--simulated", type=int, default=400, help="tournaments a size and noise; 0: none")
    picked.add_argument("--json", type=Path, help="also write the figures to this file")
    order = commands.add_parser(
        "rank", help="a folder of painted images ranked: the order against the truth, kills, memory"
    )
    order.add_argument("--checkpoint", default="shapes demo (CPU)", help="folder or name of the critic")
    order.add_argument("--images", type=int, default=300)
    order.add_argument("--kills", type=int, default=4)
    order.add_argument("--seed", type=int, default=0)
    order.add_argument("--folder", type=Path, help="keep images and results there (default: nowhere)")
    order.add_argument("--check", action="store_true", help="fail where a figure is not what is wanted")
    order.add_argument("--json", type=Path, help="also write the figures to this file")
    again = commands.add_parser(
        "loop", help="what a refine loop wins, by ways of rewriting or through a real ComfyUI"
    )
    again.add_argument("--prompts", type=int, default=96, help="loops of each way (24 with --server)")
    again.add_argument(
        "--server", type=Path, help="a ComfyUI checkout: run the loops there, in each cache mode"
    )
    again.add_argument("--memory", action="store_true", help="with --server: its memory after 5 loops and 50")
    again.add_argument("--json", type=Path, help="also write the figures to this file")
    parsed = parser.parse_args()
    if parsed.benchmark == "best":
        figures = best.run(
            parsed.checkpoint, parsed.pairs, parsed.groups, parsed.first, parsed.compared, parsed.simulated
        )
        print(best.table(figures))
        if parsed.json:
            parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        return
    if parsed.benchmark == "rank":
        figures = rank.run(parsed.checkpoint, parsed.images, parsed.kills, parsed.seed, parsed.folder)
        print(rank.table(figures))
        if parsed.json:
            parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        if parsed.check and (short := rank.missed(figures)):
            raise SystemExit("\n".join(short))
        return
    if parsed.benchmark == "loop":
        figures = run_loop(parsed.prompts, parsed.server, parsed.memory)
        if parsed.json:
            parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        return
    if parsed.benchmark in ("shapes", "ablation"):
        if parsed.benchmark == "shapes":
            figures = shapes.run(parsed.checkpoint, parsed.pairs, parsed.each, parsed.prompts)
            print(shapes.table(figures))
        else:
            figures = ablation.run(
                parsed.student,
                parsed.work,
                parsed.pairs,
                parsed.rows,
                parsed.seeds,
                parsed.misreads,
                parsed.test,
            )
            print(ablation.table(figures))
        if parsed.json:
            parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        if parsed.benchmark == "shapes" and parsed.check and (short := shapes.missed(figures)):
            raise SystemExit("\n".join(short))
        return
    if parsed.benchmark == "gpu":
        if parsed.part:
            gpu.measure_part(parsed.part, parsed.work, parsed.tiny, parsed.device)
        else:
            raise SystemExit(gpu.run(parsed.tiny, parsed.device, parsed.output, parsed.minutes))
        return
    if parsed.benchmark == "memory":
        print(memory.table())
        return
    figures = engine.run(
        parsed.shape,
        parsed.quantization,
        parsed.device,
        parsed.tokens,
        parsed.repeat,
        parsed.images,
        parsed.folder,
        parsed.pairs,
    )
    print(engine.table(figures))
    if parsed.json:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def run_loop(prompts: int, server: Path | None, memory_only: bool) -> Any:
    """The loop's figures, printed as they come."""
    if server and memory_only:
        grown = loop.memory(server)
        print(
            f"{grown['few']:.0f} MB after {loop.WARM} loops, {grown['many']:.0f} MB after {loop.QUEUED}: "
            f"{grown['grown']:+.1%}"
        )
        return grown
    if server:
        print(loop.head("cache", returned=False))
        return loop.in_comfyui(server, min(prompts, loop.SERVED))
    print(loop.head("rewritten from", "flaws", "seeds"))
    return loop.ways(prompts)


if __name__ == "__main__":
    main()
