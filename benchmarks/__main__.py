"""`python -m benchmarks`: speed, memory and quality, measured here and now."""

from __future__ import annotations

import argparse

from . import ablation, best, engine, generator, gpu, loop, memory, rank, shapes


def main() -> None:
    """Run one benchmark and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure speed, memory and quality on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for benchmark in (engine, gpu, memory, shapes, ablation, best, rank, loop, generator):
        benchmark.add_command(commands)
    parsed = parser.parse_args()
    parsed.run(parsed)


if __name__ == "__main__":
    main()
