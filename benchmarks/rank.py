"""`rank` on painted images whose truth is known: the order, kills at random moments, and memory."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rational_rewards.demo.gallery import write_gallery
from rational_rewards.demo.measure import spearman
from rational_rewards.models.critic import Critic

from .command import add_critic, add_json, report

WANTED = 0.9
RESULTS = ("ranking.csv", "ranking.jsonl", "contact-sheet.html")
# Seconds between two looks at a running command.
PAUSE = 0.1


def run(checkpoint: str, count: int, kills: int, seed: int, folder: Path | None = None) -> dict[str, Any]:
    """Figures of ranking `count` images, once left alone and once killed `kills` times.

    The images and results stay in `folder`, where it is given.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as scratch:
            return run(checkpoint, count, kills, seed, Path(scratch))
    truth = write_gallery(folder / "images", count, seed)
    command = [sys.executable, "-m", "rational_rewards", "rank", str(folder / "images")]
    command += ["--checkpoint", checkpoint, "--device", "cpu", "--quiet", "--output"]
    start = time.monotonic()
    memory = _memory([*command, str(folder / "alone")], folder / "alone" / "journal.jsonl", count)
    seconds = time.monotonic() - start
    moments = sorted(random.Random(seed).sample(range(1, count), kills))
    stopped = _killed([*command, str(folder / "killed")], folder / "killed" / "journal.jsonl", moments)
    entries = [
        json.loads(line) for line in (folder / "alone" / "ranking.jsonl").read_text("utf-8").splitlines()
    ]
    right = [truth[entry["image"]] for entry in entries]
    alone, killed = ([(folder / way / name).read_bytes() for name in RESULTS] for way in ("alone", "killed"))
    return {
        "critic": checkpoint,
        "images": len(entries),
        "seconds": round(seconds, 1),
        "styles": dict(Counter(entry["prompt_from"] for entry in entries)),
        "spearman": spearman([entry["score"] for entry in entries], right),
        "quality_spearman": _quality_alone(checkpoint, folder / "images", entries),
        "killed_at": stopped,
        "equal": alone == killed,
        "memory": memory,
        "sheet_bytes": (folder / "alone" / "contact-sheet.html").stat().st_size,
    }


def _lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def _memory(command: list[str], journal: Path, count: int) -> dict[str, float]:
    """Run a command; its resident memory in MB when a third of the images and when all were judged.

    Linux only, elsewhere empty.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen: dict[str, float] = {}
    while process.poll() is None:
        lines = _lines(journal)
        status = Path(f"/proc/{process.pid}/status")
        if status.is_file() and lines >= count // 3:
            text = status.read_text()
            if "VmRSS:" in text:
                resident = int(text.split("VmRSS:")[1].split()[0]) / 1024
                seen.setdefault("third", resident)
                seen["all"] = resident
        time.sleep(PAUSE)
    if process.returncode:
        raise SystemExit(f"rank failed with exit code {process.returncode}.")
    return seen


def _killed(command: list[str], journal: Path, moments: list[int]) -> list[int]:
    """Run a command until it is done, killed when its journal has had so many lines, and a moment later; the
    lines that were in its journal then.
    """
    stopped = []
    for moment in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and _lines(journal) < moment:
            time.sleep(PAUSE)
        # Anywhere in the batch.
        time.sleep(random.random())
        process.kill()
        process.wait()
        stopped.append(_lines(journal))
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return stopped


def _quality_alone(checkpoint: str, folder: Path, entries: list[dict[str, Any]]) -> float:
    """Rank correlation of the quality score without the prompt and with it: what is lost without one."""
    critic = Critic.load(checkpoint, "none", "cpu")
    critique = critic.critique([folder / entry["image"] for entry in entries], "", rubric="quality")
    without = [judgement.dimensions["physical_quality"].score or 0.0 for judgement in critique.judgements]
    return spearman(without, [entry["dimensions"]["physical_quality"]["score"] for entry in entries])


def table(figures: dict[str, Any]) -> str:
    """The figures to read."""
    styles = ", ".join(f"{name} {count}" for name, count in sorted(figures["styles"].items()))
    rows = [
        ("prompts found in", styles),
        ("Spearman of score against facts that are right", f"{figures['spearman']:.3f}"),
        (
            "Spearman of quality judged without and with the prompt",
            f"{figures['quality_spearman']:.3f}",
        ),
        ("killed when the journal had", ", ".join(map(str, figures["killed_at"])) + " images"),
        ("results after that equal those of a run left alone", "yes" if figures["equal"] else "no"),
        ("contact sheet", f"{figures['sheet_bytes'] / 1e6:.1f} MB"),
    ]
    if figures["memory"]:
        memory = f"{figures['memory']['third']:.0f} MB, {figures['memory']['all']:.0f} MB"
        rows.insert(4, ("memory after a third of the images, at the end", memory))
    lines = [f"{figures['critic']}, {figures['images']} images, {figures['seconds']} s", ""]
    return "\n".join(
        [*lines, "| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    )


def missed(figures: dict[str, Any]) -> list[str]:
    """The figures that are not what is wanted, in words."""
    found = []
    if figures["spearman"] < WANTED:
        found.append(f"spearman is {figures['spearman']:.3f}, wanted {WANTED:.2f}")
    if not figures["equal"]:
        found.append("the results after kills are others than those of a run left alone")
    return found


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "rank", help="a folder of painted images ranked: the order against the truth, kills, memory"
    )
    add_critic(parser)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep images and results there (default: nowhere)")
    parser.add_argument("--check", action="store_true", help="fail where a figure is not what is wanted")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    figures = run(options.checkpoint, options.images, options.kills, options.seed, options.folder)
    report(figures, table(figures), options.json, missed(figures) if options.check else ())
