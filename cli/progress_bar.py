"""A progress bar with the time left: one line that is overwritten on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ..models.engines.base import Progress
from .output import PLAIN_SECONDS, TERMINAL_SECONDS, printable

WIDTH = 24


class ProgressBar:
    """Counts `done` of `total` images. `worked()` says how many were really worked on in this run: what is
    known already takes no time, and says nothing about the time left.
    """

    def __init__(self, worked: Callable[[], int], quiet: bool = False):
        self.stream = None if quiet else sys.stderr
        self.worked = worked
        self.terminal = bool(self.stream and self.stream.isatty())
        self.start = self.last = time.monotonic()
        self.done = False

    def progress(self) -> Progress:
        """What a critic reports to."""
        return Progress(update=lambda done, total, section, tail: self.show(done, total))

    def show(self, done: float, total: int) -> None:
        """Show how far it is; what comes too soon after the last is left out."""
        now = time.monotonic()
        seconds = TERMINAL_SECONDS if self.terminal else PLAIN_SECONDS
        if self.stream is None or self.done or (now - self.last < seconds and done < total):
            return
        self.done = done >= total
        # A piped command that ends at once says nothing.
        if not self.terminal and now - self.start < PLAIN_SECONDS:
            return
        self.last = now
        self._write(line(done, total, self._left(done, total, now), self.terminal))

    def clear(self) -> None:
        """Make room on the terminal for another line."""
        if self.stream is not None and self.terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def _left(self, done: float, total: int, now: float) -> float | None:
        """Seconds, or None where nothing has been worked on yet."""
        worked = self.worked()
        return (now - self.start) / worked * (total - done) if worked else None

    def _write(self, text: str) -> None:
        assert self.stream is not None
        text = printable(text, self.stream.encoding or "utf-8")
        self.stream.write(f"\r\x1b[K{text}\r" if self.terminal else f"{text}\n")
        self.stream.flush()


def line(done: float, total: int, left: float | None, bar: bool) -> str:
    """What is shown.

    >>> line(75, 300, 200.0, bar=True)
    '[######------------------]  75 of 300 images, 3 min 20 s left'
    """
    filled = int(WIDTH * done / max(1, total))
    start = f"[{'#' * filled}{'-' * (WIDTH - filled)}]  " if bar else ""
    end = f", {duration(left)} left" if left is not None and done < total else ""
    return f"{start}{int(done)} of {total} images{end}"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(59), duration(200), duration(7300)
    ('59 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
