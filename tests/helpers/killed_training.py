"""A training in a process of its own that is killed at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def train(command: Sequence[str], seconds: float | None = None) -> float | None:
    """Run a script that prints "ready" before it trains and "done" behind it, killed after `seconds` of
    training: how long that took, None if it did not finish.
    """
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        start = time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            child.kill()
        return time.monotonic() - start if "done" in child.stdout.read() else None


def kill_and_finish(
    command: Callable[[Path], Sequence[str]], folder: Path, kills: int, check: Callable[[Path, Path], None]
) -> None:
    """Train in `folder`/whole undisturbed, then in other folders of it, killed at random moments, `kills`
    times in all. `check` compares every folder with the undisturbed one, once it is finished.

    A training that got through in spite of it all is compared, and the next one begins.
    """
    chance, attempt = random.Random(0), 0
    length = train(command(folder / "whole"))
    assert length
    while kills:
        attempt += 1
        killed = folder / f"killed-{attempt}"
        while kills and train(command(killed), chance.uniform(0.05, 0.95) * length) is None:
            kills -= 1
        assert train(command(killed))
        check(folder / "whole", killed)
