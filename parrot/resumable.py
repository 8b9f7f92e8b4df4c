"""One way for every data phase to work through its inputs: in order, in batches, onto disk, and on from where
it stopped.

What a worker makes of an input goes into a work file, one line an input: {"id": ..., "to": {"file.jsonl":
[records]}}. A line is there whole or it is cut off at the next start, so an input is never half done,
whatever killed the process. When the last input is done, `split` writes the final files from the work file. A
batch that was only partly written is done again as a whole: a batch then always holds the same inputs, and so
an engine gives the same answers as in an undisturbed run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from ..models.engines.base import Progress
from ..models.errors import ParrotError
from ..models.files import replacing
from .records import Record

Item = TypeVar("Item")
Kind = TypeVar("Kind")
# File name -> the records that an input adds to it.
Outputs = dict[str, list[Record]]
SYNC_EVERY = (
    # Batches between two fsyncs; a killed process loses nothing without them, a power cut up to this much.
    32
)


def stream(
    items: Iterable[Item],
    total: int,
    key: Callable[[Item], str],
    worker: Callable[[list[Item], Progress], Sequence[Outputs]],
    work: Path,
    batch_size: int,
    phase: str,
    progress: Progress = Progress(),
) -> None:
    """Work through all `items` (`total` of them, with unique keys) into the work file; what it holds already
    is skipped.

    `progress.check` is called at every item; `progress.update` gets items done, total and the phase's name.
    The worker gets a batch of at most `batch_size` items and a progress, and returns one `Outputs` an item.
    Raises ParrotError where a key comes twice, or where the work file was made from other items.
    """
    if batch_size < 1:
        raise ParrotError(f"`batch_size` is {batch_size}: make it 1 or more.")
    done = resume(work, batch_size)
    seen: set[str] = set()
    finished = 0
    rest = iter(items)
    with work.open("ab") as file:
        for number in itertools.count():
            batch: list[Item] = []
            for item in itertools.islice(rest, batch_size):
                progress.check()
                name = key(item)
                if name in seen:
                    raise ParrotError(
                        f'The id "{name}" stands twice in the input of {phase}: give every pair an id of '
                        f"its own."
                    )
                if finished + len(batch) < len(done) and done[finished + len(batch)] != name:
                    raise ParrotError(
                        f"{work} was made from another input: delete the folder {work.parent}, or choose "
                        f"another name."
                    )
                seen.add(name)
                batch.append(item)
            if not batch:
                break
            if finished >= len(done):
                found = worker(batch, progress.within(finished, len(batch), total, phase))
                if len(found) != len(batch):
                    raise ParrotError(
                        f"{phase} got {len(found)} answers to {len(batch)} questions: the teacher left "
                        f"some out."
                    )
                file.write(
                    b"".join(_line({"id": key(i), "to": out}) for i, out in zip(batch, found, strict=True))
                )
                file.flush()
                if number % SYNC_EVERY == SYNC_EVERY - 1:
                    os.fsync(file.fileno())
            finished += len(batch)
            progress.update(finished, total, phase, "")
        os.fsync(file.fileno())


def resume(work: Path, batch_size: int) -> list[str]:
    """The keys that are done, in order, after everything behind the last whole batch was cut off the work
    file.
    """
    if not work.exists():
        return []
    keys: list[str] = []
    ends = [0]
    with work.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
                keys.append(entry["id"])  # type: ignore[index]
            # The line that was being written, or what a power cut left.
            except (
                ValueError,
                KeyError,
                TypeError,
            ):
                break
            ends.append(ends[-1] + len(line))
    # The last batch may be a short one; it is done again if the process died before the phase was finished.
    whole = len(keys) - len(keys) % batch_size
    os.truncate(work, ends[whole])
    return keys[:whole]


def split(work: Path, folder: Path, names: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Write the final files from the work file, each replaced as a whole: (records a file, records a `reason`
    for dropping).
    """
    counts = dict.fromkeys(names, 0)
    reasons: dict[str, int] = {}
    with ExitStack() as opened:
        scratch = {name: opened.enter_context(replacing(folder / name)) for name in names}
        # Closed before they take their places.
        files = {name: opened.enter_context(path.open("wb")) for name, path in scratch.items()}
        for entry in read_records(work):
            for name, records in entry["to"].items():
                for record in records:
                    files[name].write(_line(record))
                    counts[name] += 1
                    if "reason" in record:
                        reasons[record["reason"]] = reasons.get(record["reason"], 0) + 1
    return counts, dict(sorted(reasons.items()))


def read_records(file: Path, kind: type[Kind] = dict[str, Any]) -> Iterator[Kind]:
    """The records of a JSONL file, one after the other.

    Raises ParrotError, with the line, for one that cannot be read.
    """
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    record = json.loads(line)
                except ValueError:
                    raise ParrotError(
                        f"Line {number} of {file} is damaged: run the phase that writes this file again."
                    ) from None
                yield record
    except OSError as error:
        raise ParrotError(
            f"{file} cannot be read ({error.strerror}): run the phase that writes it first."
        ) from error


def count_lines(file: Path) -> int:
    """Number of lines of a file. Raises ParrotError if it cannot be read."""
    try:
        with file.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError as error:
        raise ParrotError(
            f"{file} cannot be read ({error.strerror}): run the phase that writes it first."
        ) from error


def digest(*files: Path) -> str:
    """SHA-256 of what stands in the files, one after the other; 64 hexadecimal digits."""
    found = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    found.update(block)
        except OSError as error:
            raise ParrotError(
                f"{file} cannot be read ({error.strerror}): run the phase that writes it first."
            ) from error
        found.update(b"\0")
    return found.hexdigest()


def seed_for(seed: int, *what: object) -> int:
    """A seed of its own for every pair (and letter, and try), 0 to 2**63 - 1, that depends on nothing
    else.
    """
    return (
        int.from_bytes(
            hashlib.sha256(repr((seed, *what)).encode("utf-8", "surrogatepass")).digest()[:8], "big"
        )
        >> 1
    )


def _line(record: Record) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which UTF-8 cannot hold.
        return (json.dumps(record) + "\n").encode()
