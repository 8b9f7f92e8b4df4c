"""A dataset of preferences: a folder with a file of lines that only grows, and the images that the lines
name.

`preferences.jsonl` has one line for every preference ever recorded, and one for every undo; `images/` has
each image once, named by its content. A line is written completely or not at all, so a program that dies
while it writes loses that one preference at most.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ..models.errors import PreferenceError
from .lines import Line, is_complete, new_line, parse_line
from .pairs import PreferencePair, Preferred

# What recording a preference does: a new pair, another choice for a known one, or nothing.
Change = Literal["new", "changed", "same"]
LINES = "preferences.jsonl"
IMAGES = "images"
LOCK = "preferences.lock"
# Recording takes a fraction of a second: a lock that is held longer belongs to a program that hangs.
LOCK_SECONDS = 60.0

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
# By Windows, in any folder.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)


def dataset_folder(root: Path, name: str) -> Path:
    """The folder of the dataset `name` under `root`; it need not exist.

    Raises PreferenceError for a name that is not a plain folder name on Windows, Linux and macOS alike.
    """
    # Typed on macOS and on Linux, the same letters can be different bytes.
    plain = unicodedata.normalize("NFC", name.strip())
    if not is_plain_name(plain):
        raise PreferenceError(
            f'"{name}" cannot be the name of a dataset: choose a plain name such as my-taste, without / \\ '
            f': * ? " < > | '
            "or a dot at either end."
        )
    if len(plain.encode("utf-8", "replace")) > 150:
        raise PreferenceError(
            f'"{plain[:40]}..." is too long for the name of a dataset: choose a shorter one.'
        )
    return root / plain


def is_plain_name(name: str) -> bool:
    """Whether a name is a plain folder name on Windows, Linux and macOS alike."""
    return (
        bool(name)
        and "." not in (name[0], name[-1])
        and not _FORBIDDEN.search(name)
        and not _RESERVED.fullmatch(name)
    )


def pairs_in(folder: Path) -> list[PreferencePair]:
    """The current preferences of the dataset in `folder`. Raises PreferenceError where there are none."""
    check_exists(folder)
    pairs = PreferenceDataset(folder).pairs()
    if not pairs:
        raise PreferenceError(
            f'The dataset "{folder.name}" is empty: record preferences with Record Preference first.'
        )
    return pairs


def check_exists(folder: Path) -> None:
    """Raise PreferenceError, with the datasets there are, where `folder` holds none."""
    if not (folder / LINES).is_file():
        there = sorted(path.parent.name for path in folder.parent.glob(f"*/{LINES}"))
        hint = (
            f"choose one of {', '.join(there)}"
            if there
            else "record preferences with Record Preference first"
        )
        raise PreferenceError(f'There is no dataset "{folder.name}" in {folder.parent}: {hint}.')


class PreferenceDataset:
    """The preferences in `folder`, which is made when the first one is recorded.

    Safe for several threads and processes at once.

    What others write is seen at the next call. Every method raises PreferenceError when the folder cannot be
    read or written, and names the line when the file is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / LINES
        self._guard = threading.RLock()
        self._forget()

    # ---------------------------------------------------------------- reading

    def pairs(self) -> list[PreferencePair]:
        """The preferences that count, in the order they were recorded: not undone, and the latest of each
        pair.
        """
        with self._guard:
            self._read()
            latest: dict[str, Line] = {}
            for line in self._lines:
                # So that a pair whose preference changed moves to the end.
                latest.pop(line.id, None)
                latest[line.id] = line
            return [self._pair(line) for line in latest.values()]

    def __iter__(self) -> Iterator[PreferencePair]:
        return iter(self.pairs())

    def __len__(self) -> int:
        with self._guard:
            self._read()
            return len(self._current)

    def size(self) -> int:
        """Bytes in the file: it grows with everything that is recorded or undone."""
        with self._readable():
            return self.file.stat().st_size if self.file.exists() else 0

    # ---------------------------------------------------------------- writing

    def record(
        self,
        image_a: Image.Image | str | Path,
        image_b: Image.Image | str | Path,
        prompt: str,
        preferred: Preferred,
        source: Image.Image | str | Path | None = None,
        chosen_by: str = "human",
    ) -> PreferencePair:
        """Record a preference between two images (PIL or paths) for a prompt; on disk when this returns.

        The same pair again with another preference: the later one counts. With the same
        preference, nothing is written. Raises PreferenceError for what cannot be recorded, QuestionError for
        an image that cannot be read.
        """
        return self._record(image_a, image_b, prompt, preferred, source, chosen_by, again=True)[0]

    def put(
        self,
        image_a: Image.Image | str | Path,
        image_b: Image.Image | str | Path,
        prompt: str,
        preferred: Preferred,
        source: Image.Image | str | Path | None = None,
        chosen_by: str = "human",
    ) -> Change:
        """`record`, and what it did: "changed" where another choice, or somebody else's, counted before."""
        return self._record(image_a, image_b, prompt, preferred, source, chosen_by, again=True)[1]

    def check(
        self,
        image_a: Image.Image | str | Path,
        image_b: Image.Image | str | Path,
        prompt: str,
        preferred: Preferred,
        source: Image.Image | str | Path | None = None,
    ) -> None:
        """Raise what `record` would raise for these, and record nothing."""
        new_line(image_a, image_b, prompt, preferred, source, "")

    def add(
        self,
        image_a: Image.Image | str | Path,
        image_b: Image.Image | str | Path,
        prompt: str,
        preferred: Preferred,
        source: Image.Image | str | Path | None = None,
        chosen_by: str = "human",
    ) -> bool:
        """`record` for imports: False, and nothing written, if this pair was ever recorded with this
        preference.

        So the same file twice adds nothing, and an import never overrules a later choice or an undo.
        """
        return self._record(image_a, image_b, prompt, preferred, source, chosen_by, again=False)[1] != "same"

    def undo(self) -> PreferencePair | None:
        """Take back the last preference; one that it had replaced counts again.

        Returns it, or None if there is nothing to undo.
        """
        with self._guard:
            if not self.size():
                return None
            with self._writing():
                if not self._lines:
                    return None
                last = self._lines[-1]
                self._append({"undo": last.id, "at": _now()})
                return self._pair(last)

    # ---------------------------------------------------------------- inside

    def _record(
        self,
        image_a: Any,
        image_b: Any,
        prompt: str,
        preferred: Preferred,
        source: Any,
        chosen_by: str,
        again: bool,
    ) -> tuple[PreferencePair, Change]:
        line, images = new_line(image_a, image_b, prompt, preferred, source, chosen_by)
        with self._guard, self._writing():
            current = self._current.get(line.id)
            if again and current and (current.better, current.chosen_by) == (line.better, line.chosen_by):
                return self._pair(current), "same"
            if not again and (line.id, line.better) in self._ever:
                return self._pair(current or line), "same"
            for name, image in images.items():
                self._save(name, image)
            self._append({**asdict(line), "at": _now()})
            return self._pair(line), "changed" if current else "new"

    def _pair(self, line: Line) -> PreferencePair:
        source = None if line.source is None else self._image(line.source)
        a, b = self._image(line.image_a), self._image(line.image_b)
        return PreferencePair(line.id, line.prompt, a, b, line.preferred, source, line.chosen_by)

    def _image(self, name: str) -> Path:
        return self.folder / IMAGES / f"{name}.png"

    def _forget(self) -> None:
        # Preferences that are not undone, in the order of the file.
        self._lines: list[Line] = []
        # The latest of each pair among them.
        self._current: dict[str, Line] = {}
        # (id, better) of every preference in the file.
        self._ever: set[tuple[str, str]] = set()
        # Bytes of the file that have been read.
        self._offset = 0
        # Of the file.
        self._identity: tuple[int, int] | None = None
        # Of its last change.
        self._time = 0

    def _read(self) -> None:
        """Read what was appended since the last time."""
        with self._readable():
            if not self.file.exists():
                self._forget()
                return
            with self.file.open("rb") as file:
                state = os.fstat(file.fileno())
                identity = (state.st_dev, state.st_ino)
                touched = state.st_size == self._offset and state.st_mtime_ns != self._time
                # Edited by hand.
                if identity != self._identity or state.st_size < self._offset or touched:
                    self._forget()
                self._identity, self._time = identity, state.st_mtime_ns
                file.seek(self._offset)
                text = file.read()
        end = text.rfind(b"\n") + 1
        # Only its line end is missing.
        if is_complete(text[end:]):
            end = len(text)
        for line in text[:end].splitlines(keepends=True):
            try:
                self._take(line.strip(b"\xef\xbb\xbf \t\r\n"))
            except (ValueError, KeyError, TypeError) as error:
                with self._readable():
                    number = self.file.read_bytes()[: self._offset].count(b"\n") + 1
                # So that the next call finds the damage, too.
                self._forget()
                raise PreferenceError(
                    f"Line {number} of {self.file} is damaged ({type(error).__name__}: {error}): correct "
                    f"it, or delete that line."
                ) from error
            self._offset += len(line)

    def _take(self, text: bytes) -> None:
        """Apply one line of the file. Raises what `_line` raises when it is damaged."""
        if not text:
            return
        values = json.loads(text)
        if "undo" in values:
            if not self._lines or self._lines[-1].id != values["undo"]:
                raise ValueError("it undoes another preference than the last one")
            undone = self._lines.pop()
            earlier = next((line for line in reversed(self._lines) if line.id == undone.id), None)
            if earlier is None:
                del self._current[undone.id]
            else:
                self._current[undone.id] = earlier
            return
        line = parse_line(values)
        self._lines.append(line)
        self._current[line.id] = line
        self._ever.add((line.id, line.better))

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PreferenceError(
                f"The preferences in {self.folder} cannot be read ({error}): check the folder."
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the folder, with everything read and the file ready to be appended to."""
        # Comes with huggingface_hub.
        import filelock

        try:
            (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)
            # The operating system drops this lock when its holder dies.
            with filelock.FileLock(self.folder / LOCK, timeout=LOCK_SECONDS):
                self._read()
                self._repair()
                yield
        except filelock.Timeout:
            raise PreferenceError(
                f"Another program has been writing to {self.folder} for {LOCK_SECONDS:.0f} seconds: end "
                f"it, and try again."
            ) from None
        except OSError as error:
            raise PreferenceError(
                f"The preferences in {self.folder} cannot be written ({error}): check that the folder is "
                f"writable and the disk not full."
            ) from error

    def _repair(self) -> None:
        """Cut off a line that its writer did not finish, or end one that lacks only its line end."""
        if not self.file.exists():
            return
        with self.file.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, self._offset - 1))
            ended = not self._offset or file.read(1) == b"\n"
            if size == self._offset and ended:
                return
            file.truncate(self._offset)
            if not ended:
                file.seek(self._offset)
                file.write(b"\n")
            _sync(file)

    def _append(self, values: dict[str, Any]) -> None:
        """One line, in one write, on disk when this returns; then it is read like every other line."""
        line = json.dumps(values, ensure_ascii=False) + "\n"
        with self.file.open("ab", buffering=0) as file:
            data = line.encode("utf-8", "replace")
            if file.write(data) != len(data):
                # The next writer cuts the rest off.
                raise OSError("the disk is full")
            _sync(file)
        self._read()

    def _save(self, name: str, image: Image.Image) -> None:
        """Write an image unless it is there; a file with its final name is complete."""
        path = self._image(name)
        if path.exists():
            return
        # One writer at a time, so one name is enough; what a dead writer left under it is overwritten.
        unfinished = path.with_name("unfinished.tmp")
        try:
            with unfinished.open("wb") as file:
                image.save(file, format="PNG", compress_level=4)
                _sync(file)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
