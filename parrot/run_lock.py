"""One program at a time where a phase or a training works for hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..models.errors import ParrotError


@contextmanager
def exclusive(folder: Path, doing: str) -> Iterator[None]:
    """Keep other programs out of the folder, which need not exist yet.

    Raises ParrotError where one is there already: it is `doing` that.
    """
    # Comes with huggingface_hub.
    import filelock

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, so that the folder can go.
    lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0)
    try:
        # The operating system drops it when its holder dies.
        lock.acquire()
    except filelock.Timeout:
        raise ParrotError(f"Another program is {doing} already: wait until it is done, or end it.") from None
    try:
        yield
    finally:
        lock.release()
