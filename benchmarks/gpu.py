"""Everything that needs a graphics card, measured in one go: `python -m benchmarks gpu`.

Each part runs in a process of its own under a time budget of its own, so that the page is written whatever
happens to one of them. `--tiny --device cpu` tries the command without a card; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rational_rewards.models.files import write_text
from rational_rewards.models.libraries import short

from .gpu_parts import ROOT, ROWS, Setting, checkpoint, comfyui, kept, qlora, weights

MINUTES = 9.0
NO_CARD = (
    "There is no CUDA card here: run this on a computer that has one, or try it with --tiny --device cpu."
)
NOT_MEASURED = "not measured"
# Seconds at the end in which the page is written.
RESERVE = 3.0


@dataclass(frozen=True)
class Part:
    """One part: at most so many seconds."""

    title: str
    seconds: float
    measure: Callable[[Setting], None]


PARTS = {
    "checkpoint": Part("making the checkpoint", 100, checkpoint),
    "nf4": Part("NF4", 110, weights("nf4")),
    "int8": Part("int8", 100, weights("int8")),
    "none": Part("bf16", 80, weights("none")),
    "qlora": Part("one QLoRA step", 80, qlora),
    "comfyui": Part("eviction in ComfyUI", 60, comfyui),
}


def run(tiny: bool, device: str, output: Path, minutes: float = MINUTES) -> int:
    """Measure all parts and write the page. Returns the exit status: 2 without a card, 1 where a part
    failed.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print(NO_CARD)
        return 2
    if device == "cpu" and not tiny:
        print("The 8B shape takes hours on a processor: add --tiny.")
        return 2
    end, outcomes = time.monotonic() + 60 * minutes - RESERVE, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, part in PARTS.items():
            left = min(part.seconds, end - time.monotonic())
            print(f"{part.title}: at most {max(left, 0):.0f} s", flush=True)
            outcomes[name] = _measured(name, Path(scratch), tiny, device, left)
            write_text(output, page(outcomes, tiny))
    failed = [f"{PARTS[name].title}: {one['failed']}" for name, one in outcomes.items() if "failed" in one]
    print("\n".join([*failed, f"Written to {output}."]))
    return 1 if failed else 0


def _measured(name: str, work: Path, tiny: bool, device: str, seconds: float) -> dict[str, Any]:
    """The figures of a part, as far as it came; `failed` says why it came no further."""
    if seconds < RESERVE:
        return {"failed": "no time was left for it"}
    command = [sys.executable, "-m", "benchmarks", "gpu", "--part", name, "--work", str(work)]
    command += ["--device", device, *(["--tiny"] if tiny else [])]
    start, failed = time.monotonic(), ""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            failed = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        failed = f"it was stopped after {seconds:.0f} s"
    file = work / f"{name}.json"
    figures = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    figures["part_seconds"] = time.monotonic() - start
    return figures | ({"failed": failed} if failed else {})


def measure_part(name: str, work: Path, tiny: bool, device: str) -> None:
    """One part in this process; its figures go into a file in `work`. The last line of an error says what
    failed.
    """
    try:
        PARTS[name].measure(Setting(work, tiny, device, kept(work / f"{name}.json")))
    except Exception as error:
        print(short(error), file=sys.stderr)
        raise SystemExit(1) from None


def page(outcomes: dict[str, dict[str, Any]], tiny: bool) -> str:
    """The Markdown page of what was measured so far."""
    made = outcomes.get("checkpoint", {})
    shape = "A tiny model, to try the command: these figures mean nothing" if tiny else "The 8B shape"
    lines = [
        "# On a graphics card",
        "",
        f"`python -m benchmarks gpu`. {shape}, random weights; {made.get('machine', 'unknown')}, torch "
        f"{made.get('torch', '?')}, transformers {made.get('transformers', '?')}, bitsandbytes "
        f"{made.get('bitsandbytes', '?')}. A gigabyte is 10^9 bytes.",
        "",
        *_weights_table(outcomes),
        *_rows_table(outcomes),
        *_others(outcomes),
        *_failures(outcomes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _weights_table(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    """A column for each way to hold the weights."""
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("load time", lambda one: f"{one['load_seconds']:.1f} s"),
        ("peak while loading", lambda one: _gigabytes(one["load_peak"])),
        ("resting", lambda one: _gigabytes(one["resting"])),
        ("to host memory", lambda one: f"{one['to_host_seconds']:.2f} s, {_gigabytes(one['left'])} left"),
        ("back to the card", lambda one: f"{one['to_card_seconds']:.2f} s"),
        ("logits afterwards", lambda one: "equal" if one["equal"] else "DIFFERENT"),
        ("tokens a second, one row", lambda one: f"{one['tokens_per_second']['1']:.1f}"),
        (
            "share of the memory's bandwidth",
            lambda one: f"{one['bandwidth_share']:.0%} of {one['bandwidth'] / 1e9:,.0f} GB/s",
        ),
        (
            "a short critique of one image",
            lambda one: f"{one['one_seconds']:.1f} s, peak {_gigabytes(one['one_peak'])}",
        ),
        (
            "the same of eight images",
            lambda one: f"{one['eight_seconds']:.1f} s, peak {_gigabytes(one['eight_peak'])}",
        ),
    ]
    lines = ["| | NF4 | int8 | bf16 |", "|---|---|---|---|"]
    for name, show in rows:
        cells = [_cell(outcomes.get(part, {}), show) for part in ("nf4", "int8", "none")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _rows_table(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| tokens a second, rows together | NF4 | int8 | bf16 |", "|---|---|---|---|"]
    for rows in map(str, ROWS):
        cells = [
            _cell(outcomes.get(part, {}), lambda one, rows=rows: f"{one['tokens_per_second'][rows]:,.1f}")
            for part in ("nf4", "int8", "none")
        ]
        lines.append(f"| {rows} | {' | '.join(cells)} |")
    return [*lines, ""]


def _others(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    made, step, host = (outcomes.get(part, {}) for part in ("checkpoint", "qlora", "comfyui"))
    sentences = [
        (made, lambda one: f"Checkpoint of {_gigabytes(one['bytes'])} made in {one['seconds']:.0f} s."),
        (
            step,
            lambda one: (
                f"QLoRA, {one['steps']} step with preparation: {one['seconds']:.1f} s, resting "
                f"{_gigabytes(one['resting'])}, peak {_gigabytes(one['peak'])}."
            ),
        ),
        (
            host,
            lambda one: (
                f"ComfyUI {one['version']}: first critique {one['first_seconds']:.1f} s, eviction "
                f"{one['eviction_seconds']:.2f} s ({'off' if one['evicted'] else 'STILL ON'} the card, "
                f"{_gigabytes(one['left'])} left), asked again {one['again_seconds']:.1f} s with "
                f"{'the same' if one['equal'] else 'ANOTHER'} answer."
            ),
        ),
        (host, lambda one: one["skipped"]),
    ]
    told = [_cell(one, show) for one, show in sentences]
    return [*(f"- {sentence}" for sentence in told if sentence != NOT_MEASURED), ""]


def _failures(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"- {PARTS[name].title}: {one['failed']}" for name, one in outcomes.items() if "failed" in one]
    return ["Not measured, or not to the end:", "", *lines] if lines else []


def _cell(figures: dict[str, Any], show: Callable[[dict[str, Any]], str]) -> str:
    try:
        return show(figures)
    except KeyError:
        return NOT_MEASURED


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "gpu", help="all that needs a graphics card, in nine minutes at most, as one Markdown page"
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model instead of the 8B shape")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --tiny to try the command")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/gpu.md"), help="the page to write")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="when the last part is stopped")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    if options.part:
        measure_part(options.part, options.work, options.tiny, options.device)
    else:
        raise SystemExit(run(options.tiny, options.device, options.output, options.minutes))
