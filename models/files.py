"""Paths as people paste them, and files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ABANDONED_SECONDS = 3600.0


def user_path(text: str | Path) -> Path:
    """A path as people paste it: with spaces or quotes around it, with `~`, or as a file:// address."""
    if isinstance(text, Path):
        return text
    text = text.strip().replace("\0", "")
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if text.lower().startswith("file://"):
        address = urllib.parse.urlsplit(text)
        host = f"//{address.netloc}" if address.netloc not in ("", "localhost") else ""
        text = urllib.request.url2pathname(host + address.path)
        # "file:///C:/images" on a system where that is no drive.
        text = re.sub(r"^[\\/](?=[A-Za-z]:)", "", text)
    # Not `Path.expanduser`, which fails for a user that does not exist.
    return Path(os.path.expanduser(text))


def is_stream(target: Path) -> bool:
    """Whether this is a pipe or a device, which can be written to but not replaced."""
    return target.exists() and not target.is_file() and not target.is_dir()


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A scratch path beside `target`, with its suffix, that takes its place when the block ends without an
    error.

    The block creates a file (or a folder, where `target` does not exist yet) at that path. Missing parent
    folders are made. After an error nothing is left behind and `target` is as it was; what a killed process
    left is removed by the next write to the same target an hour later. A link stays, and what it leads to is
    replaced; a pipe or a device is written to. Raises OSError.
    """
    if is_stream(target):
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder, "scratch").with_suffix(target.suffix)
            yield scratch
            with scratch.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        return
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    scratch = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield scratch
        if scratch.is_file():
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(scratch, target)
        _sync_folder(target.parent)
    finally:
        _remove(scratch)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a file in one step. Raises OSError."""
    with replacing(target) as scratch:
        scratch.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 file with Unix line endings in one step. Half of a surrogate pair is written as "?".

    Raises OSError.
    """
    write_bytes(target, text.encode("utf-8", "replace"))


def write_json(target: Path, data: Any) -> None:
    """Write data as indented JSON in one step. Raises OSError, and TypeError for what JSON does not know."""
    write_text(target, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def _remove_abandoned(target: Path) -> None:
    oldest = time.time() - ABANDONED_SECONDS
    prefix, suffix = f".{target.stem}.", f".part{target.suffix}"
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            if path.name.startswith(prefix) and path.name.endswith(suffix) and path.stat().st_mtime < oldest:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename is on disk only when its folder is; Windows cannot open folders and needs no such call.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
