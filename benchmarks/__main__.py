"""`python -m benchmarks engine`: speed and memory, measured here and now."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import engine, memory


def main() -> None:
    """Run one benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and memory on this machine.")
    commands = parser.add_subparsers(required=True, dest="benchmark")
    one = commands.add_parser("engine", help="one judgement for many questions, batches, load time and memory")
    one.add_argument("--shape", choices=sorted(engine.SHAPES), default="half-billion", help="random weights of this size")
    one.add_argument("--quantization", choices=["nf4", "int8", "none"], default="none")
    one.add_argument("--device", default="auto", help="auto, cuda, mps, cpu")
    one.add_argument("--tokens", type=int, default=350, help="free-text tokens of a whole answer")
    one.add_argument("--repeat", type=int, default=3, help="runs; medians are printed")
    one.add_argument("--images", type=int, default=8, help="size of the batch")
    one.add_argument("--folder", type=Path, help="keep the random checkpoint there (default: a temporary folder)")
    one.add_argument("--json", type=Path, help="also write the figures to this file")
    commands.add_parser("memory", help="what the 8B critic needs, computed")
    parsed = parser.parse_args()
    if parsed.benchmark == "memory":
        print(memory.table())
        return
    figures = engine.run(
        parsed.shape, parsed.quantization, parsed.device, parsed.tokens, parsed.repeat, parsed.images, parsed.folder
    )
    print(engine.table(figures))
    if parsed.json:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
