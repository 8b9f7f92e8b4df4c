"""What was judged, on disk: one line of JSON an image, only ever added to, so that a killed run goes on.

A line is found by its key, which stands for the image, the prompt, the critic and the question. What a killed
run left of a line is cut off at the next start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kept:
    """Of a line, what the order needs; the rest stays on disk.

    `score` is 0..1; `dimensions` has, by key, the dimension's name and its score 1..4, None where it does not
    apply.
    """

    start: int
    score: float
    confidence: float | None
    dimensions: Mapping[str, tuple[str, float | None]]


class Journal:
    """An open journal. Raises OSError where the file cannot be read or written."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.kept: dict[str, Kept] = {}
        # Not "a+": after a failed write the file is cut back to its last whole line.
        self.file = path.open("r+b" if path.exists() else "w+b")
        self.end = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            self._keep(line)
            self.end += len(line)
        self.file.truncate(self.end)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __contains__(self, key: str) -> bool:
        return key in self.kept

    def read(self, key: str) -> dict[str, Any]:
        """The whole line of a key. Raises KeyError."""
        self.file.seek(self.kept[key].start)
        return json.loads(self.file.readline())

    def add(self, lines: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Add lines, each with its key, and have them on disk before this returns."""
        encoded = [
            json.dumps({"key": key, **values}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            for key, values in lines
        ]
        self.file.seek(self.end)
        try:
            # In one piece: a batch is there whole, or it is judged again whole.
            self.file.write(b"".join(encoded))
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError:
            self.file.truncate(self.end)
            raise
        for line in encoded:
            self._keep(line)
            self.end += len(line)

    def _keep(self, line: bytes) -> None:
        """Remember where a line is; one that is none, after a disk went bad, is passed over."""
        try:
            data = json.loads(line)
            judgement = data["judgement"]
            dimensions = {
                key: (one["name"], one["score"] if one["applicable"] else None)
                for key, one in judgement["dimensions"].items()
            }
            kept = Kept(self.end, float(judgement["score"]), judgement["confidence"], dimensions)
            self.kept[data["key"]] = kept
        except (ValueError, KeyError, TypeError, AttributeError):
            return
