"""Kill the data phases at any moment: started again until they are done, they leave what an undisturbed run
leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted_teacher import run_all

from rational_rewards.models.engines.base import Progress
from rational_rewards.parrot.resumable import resume, split, stream

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
PAIRS = 32
# `make kills` asks for fifty.
KILLS = int(os.environ.get("RR_PHASE_KILLS", "10"))
PHASES = ("rationales", "consistent", "alone", "rows")
# Seconds from the first write to a kill.
LONGEST = {
    "rationales": 0.1,
    "consistent": 0.08,
    "alone": 0.15,
    "rows": 0.02,
}


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        # What a killed writer leaves beside its target goes with a later write (models/files.py).
        if file.is_file() and not (file.name.startswith(".") and ".part" in file.name)
    }


@pytest.fixture
def starter():
    """A process that starts children for us (see `scripted_teacher`)."""
    paths = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(HELPERS / "scripted_teacher.py")]
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def written(folder):
    """Bytes in the folder so far; changes as soon as a child has begun to work."""
    found = 0
    for file in folder.glob("*/*.jsonl"):
        # A phase that has just ended takes its work file away.
        with contextlib.suppress(FileNotFoundError):
            found += file.stat().st_size
    return found


def run_and_kill(starter, folder, seconds):
    """Start the phases and kill them `seconds` (None: never) after they began to write; True if they were
    done before.
    """
    before = written(folder)
    starter.stdin.write(json.dumps([str(folder), PAIRS, 0.003]).encode() + b"\n")
    child = int(starter.stdout.readline())
    while written(folder) == before and not done(starter):
        time.sleep(0.002)
    if seconds is not None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(int(starter.stdout.readline())) == 0


def done(starter):
    """Whether the child is gone: then its status waits to be read."""
    return bool(select.select([starter.stdout], [], [], 0)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_killed_again_and_again_leaves_the_same_files(phase, tmp_path, starter):
    whole = tmp_path / "undisturbed"
    run_all(whole, PAIRS, 0.0)
    chance, kills, rounds = random.Random(phase), 0, 0
    while kills < KILLS:
        folder = tmp_path / f"killed{rounds}"
        for earlier in PHASES[: PHASES.index(phase)]:
            shutil.copytree(whole / earlier, folder / earlier)
        # Ends on a slow machine, too.
        plan = [
            *(chance.uniform(0.0, LONGEST[phase]) for _ in range(min(7, KILLS - kills))),
            None,
        ]
        while not run_and_kill(starter, folder, plan.pop(0)):
            # Else it died in another one.
            kills += (folder / phase / "work.jsonl").exists()
        assert contents(folder) == contents(whole)
        rounds += 1
    print(f"{kills} kills in {rounds} runs")


def outputs(batch, progress):
    """Two records an input, and one of them in another file."""
    return [
        {
            "kept.jsonl": [{"id": n, "text": "ü" * 5}, {"id": n, "text": "more"}],
            "dropped.jsonl": [{"id": n, "reason": "odd"}] * (n % 2),
        }
        for n in batch
    ]


def run(work, items):
    stream(items, len(items), str, outputs, work, 4, "test")
    return split(work, work.parent, ["kept.jsonl", "dropped.jsonl"])


def test_a_file_cut_at_any_byte_is_completed_to_the_same_bytes(tmp_path):
    """Also inside a character, inside a line, and between two lines of one batch."""
    work = tmp_path / "work.jsonl"
    counts = run(work, range(10))
    assert counts == ({"kept.jsonl": 20, "dropped.jsonl": 5}, {"odd": 5})
    whole = contents(tmp_path)
    for length in range(0, len(whole["work.jsonl"]), 7):
        work.write_bytes(whole["work.jsonl"][:length])
        assert run(work, range(10)) == counts
        assert contents(tmp_path) == whole, length


def test_after_a_damaged_line_everything_is_done_again(tmp_path):
    work = tmp_path / "work.jsonl"
    run(work, range(10))
    whole = work.read_bytes()
    work.write_bytes(whole[:-40] + b"\0" * 39 + b"\n")
    assert len(resume(work, 4)) == 8
    run(work, range(10))
    assert work.read_bytes() == whole


def test_what_is_done_is_not_asked_again_and_batches_stay_the_same(tmp_path):
    asked = []

    def worker(batch, progress):
        asked.append(list(batch))
        return [{"kept.jsonl": [{"id": n}]} for n in batch]

    work = tmp_path / "work.jsonl"
    stream(range(10), 10, str, worker, work, 4, "test")
    assert asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    # Killed in the second batch.
    work.write_bytes(b"".join(work.read_bytes().splitlines(keepends=True)[:6]))
    asked.clear()
    stream(range(10), 10, str, worker, work, 4, "test")
    assert asked == [[4, 5, 6, 7], [8, 9]]


def test_cancelled_runs_go_on_where_they_stopped(tmp_path):
    run_all(tmp_path / "undisturbed", PAIRS, 0.0)

    class Stop(Exception):
        pass

    stops = 0
    for limit in [3, 17, 42, 61, 90, 10**9]:
        calls = 0

        def check(limit=limit):
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Stop

        try:
            run_all(tmp_path / "cancelled", PAIRS, 0.0, Progress(check))
        except Stop:
            stops += 1
    assert stops >= 4
    assert contents(tmp_path / "cancelled") == contents(tmp_path / "undisturbed")


def test_manifests_say_finished_and_hold_no_times(tmp_path):
    run_all(tmp_path / "run", 12, 0.0)
    for file in (tmp_path / "run").rglob("manifest.json"):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        assert manifest["finished"]
        assert manifest["versions"]["python"]
        assert not [key for key in manifest if "time" in key or "date" in key]
