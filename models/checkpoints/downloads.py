"""Download the official checkpoints: the plan first, then file by file into a visible folder, resumable and
verified.

huggingface_hub lists the repository and provides the connection. The transfer itself is here, because its own
(from 1.0 on) starts a file of several gigabytes anew after every interruption.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, DownloadError
from ..files import write_json
from ..libraries import require, short
from .discovery import OFFICIAL, Official, inspect_checkpoint
from .inspection import MARKER, RECORD
from .weights import is_file_name, read_json, sha256

log = logging.getLogger(__name__)

# Never pickles, never code.
FETCHED = (".safetensors", ".json", ".txt", ".jinja", ".model")
# Agrees to downloads without a question, where nobody is there to answer it.
AGREED = "RATIONAL_REWARDS_DOWNLOAD"
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "RATIONAL_REWARDS_OFFLINE")
# Says nothing about the computer; public files need no token.
HEADERS = {"user-agent": "rational-rewards"}
# Bytes between two looks at cancel.
CHUNK = 2**18
# Seconds without a byte.
TIMEOUT = 20.0
# In a row without a byte.
ATTEMPTS = 5
# Seconds before the second attempt; doubles.
PAUSE = 1.0
# Bytes of the disk that are left alone.
SPARE = 10**8


@dataclass(frozen=True)
class RemoteFile:
    """A file of the repository.

    `digest` is "sha256:..." of large files, "git:..." (a git blob's) of small ones.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Plan:
    """What a download will do.

    `bytes` is the size of all files, `missing` what is still to come, `free` the disk's room.
    """

    official: Official
    revision: str
    target: Path
    files: tuple[RemoteFile, ...]
    bytes: int
    missing: int
    free: int

    def __str__(self) -> str:
        return (
            f"{self.official.repo} ({self.revision[:8]}): {self.missing / 1e9:.1f} of "
            f"{self.bytes / 1e9:.1f} GB to download "
            f"into {self.target}, where {self.free / 1e9:.1f} GB are free."
        )


def plan_download(
    official: Official, target_root: Path, endpoint: str | None = None, offline: bool = False
) -> Plan:
    """Ask the hub what is to be downloaded into `target_root`/<repository's name>; nothing is written yet.

    An unfinished download is planned on at the revision it began with. `endpoint` is the hub's address (None:
    the default); `offline` forbids to ask it, as the environment variables in OFFLINE do. Raises
    DownloadError: not an official repository, offline, not reachable, no room on the disk.
    """
    target = Path(target_root) / official.name
    _check_allowed(official, target, offline)
    unfinished = _read_marker(target, official)
    info = _list_repository(official, target, unfinished["revision"], endpoint) if unfinished else None
    info = info or _list_repository(official, target, "main", endpoint)
    files = tuple(sorted(_chosen(info), key=lambda file: (file.size, file.name)))
    names = {file.name for file in files}
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or "") or "config.json" not in names:
        raise _failure(official, target, "the hub's list of files is not complete")
    total = sum(file.size for file in files)
    missing = total - sum(_present(target, file) for file in files)
    free = _free_bytes(target)
    if missing + SPARE > free:
        raise DownloadError(
            f"{official.repo} needs {(missing + SPARE) / 1e9:.1f} GB in {target}, where {free / 1e9:.1f} "
            f"GB are free: "
            "make room, or add a model folder on another disk."
        )
    return Plan(official, info.sha, target, files, total, missing, free)


# Repositories whose download the user has been told about, in this process.
_announced: set[str] = set()


def ask_once(official: Official, target_root: Path, offline: bool = False) -> None:
    """Raise DownloadError with what a download would cost, the first time; queueing again is the answer.

    A download that has begun needs no second question, nor does one that RATIONAL_REWARDS_DOWNLOAD=1 agrees
    to.
    """
    target = Path(target_root) / official.name
    _check_allowed(official, target, offline)
    if official.repo in _announced or os.environ.get(AGREED) == "1" or (target / MARKER).is_file():
        return
    _announced.add(official.repo)
    raise DownloadError(f"{cost_of(official, target_root)} Queue again to start the download.")


def cost_of(official: Official, target_root: Path) -> str:
    """One sentence: what is not there, how much it is, where it goes and how much room there is."""
    target = Path(target_root) / official.name
    return (
        f"{official.repo} is not on this computer: {official.bytes / 1e9:.1f} GB would be downloaded into "
        f"{target}, "
        f"where {_free_bytes(target) / 1e9:.1f} GB are free."
    )


def _free_bytes(target: Path) -> int:
    existing = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(existing).free


def download(
    official: Official,
    target_root: Path,
    on_progress: Callable[[int, int], None] | None = None,
    check_cancel: Callable[[], None] | None = None,
    endpoint: str | None = None,
    offline: bool = False,
) -> Path:
    """Download an official checkpoint, or go on with it, and return its folder.

    `on_progress(done, total)` counts bytes. `check_cancel` may raise to stop; whatever stops a download, what
    has come is kept and the next call goes on from there. Every file's digest is compared with the hub's. A
    folder that has been downloaded and is whole is returned without asking the hub. Raises DownloadError.
    """
    target = Path(target_root) / official.name
    report, check = on_progress or (lambda done, total: None), check_cancel or (lambda: None)
    if (target / RECORD).is_file() and not (target / MARKER).is_file():
        # Damaged since: what is wrong is fetched again.
        with contextlib.suppress(CheckpointError):
            return inspect_checkpoint(target).folder
    elif (target / "config.json").is_file() and not (target / MARKER).is_file():
        raise DownloadError(
            f"{target} holds a checkpoint already: choose it from the list, or move it away to download "
            f"another."
        )
    plan = plan_download(official, target_root, endpoint, offline)
    log.info("Download: %s", plan)
    try:
        _download(plan, report, check, endpoint)
    except OSError as error:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else short(error)
        raise DownloadError(
            f"{official.repo} could not be written to {target} ({what}); what came is kept: mend that and "
            f"start it again."
        ) from error
    return inspect_checkpoint(target).folder


def _download(
    plan: Plan, report: Callable[[int, int], None], check: Callable[[], None], endpoint: str | None
) -> None:
    from huggingface_hub import hf_hub_url

    plan.target.mkdir(parents=True, exist_ok=True)
    state = {"repo": plan.official.repo, "revision": plan.revision, "files": {}}
    before = _read_marker(plan.target, plan.official)
    if before.get("revision") == plan.revision:
        state["files"] = before["files"]
    write_json(plan.target / MARKER, state)
    done = 0
    for file in plan.files:
        path, part = plan.target / file.name, plan.target / f"{file.name}.part"
        here = path.is_file() and path.stat().st_size == file.size
        if not here or (file.name not in state["files"] and _digest(path, file, check) != file.digest):
            url = hf_hub_url(plan.official.repo, file.name, revision=plan.revision, endpoint=endpoint)
            base = done
            _fetch(plan, file, url, part, lambda size, base=base: report(base + size, plan.bytes), check)
            if _digest(part, file, check) != file.digest:
                part.unlink()
                raise DownloadError(
                    f"{file.name} of {plan.official.repo} arrived damaged and was deleted: start it again."
                )
            os.replace(part, path)
        if file.name not in state["files"]:
            state["files"][file.name] = {"size": file.size, "sha256": sha256(path)}
            write_json(plan.target / MARKER, state)
        done += file.size
        report(done, plan.bytes)
    os.replace(plan.target / MARKER, plan.target / RECORD)


def _fetch(
    plan: Plan,
    file: RemoteFile,
    url: str,
    part: Path,
    report: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """Bring `part` to the file's size, from where it is."""
    failed, reason, final = 0, "it ended too soon", False
    part.touch()
    with part.open("r+b") as out:
        if out.seek(0, os.SEEK_END) > file.size:
            out.truncate(0)
        while (start := out.seek(0, os.SEEK_END)) < file.size:
            check()
            try:
                with contextlib.closing(_chunks(url, start)) as chunks:
                    for offset, chunk in chunks:
                        # The server does not resume: it sends all of it.
                        if offset != out.tell():
                            out.seek(offset)
                            out.truncate()
                        out.write(chunk[: file.size - offset])
                        report(out.tell())
                        check()
            except _Interrupted as error:
                reason, final = str(error), error.final
            if out.tell() == file.size:
                return
            failed = 1 if out.tell() > start else failed + 1
            if final or failed == ATTEMPTS:
                raise _failure(plan.official, plan.target, f"{file.name}: {reason}", "; what came is kept")
            _pause(PAUSE * 2 ** (failed - 1), check)


class _Interrupted(Exception):
    """The connection failed; `final`: trying again is of no use."""

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason)
        self.final = final


def _chunks(url: str, start: int) -> Generator[tuple[int, bytes], None, None]:
    """The bytes of a file from `start` on, each chunk with its place in the file."""
    try:
        with _open(
            url, HEADERS | {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
        ) as answer:
            status, headers, chunks = answer
            if status not in (200, 206):
                raise _Interrupted(
                    f"the server answered {status}", final=status < 500 and status not in (408, 416, 429)
                )
            # "bytes 100-199/200".
            place = int(re.split("[ -]", headers["content-range"])[1]) if status == 206 else 0
            for chunk in chunks:
                yield place, chunk
                place += len(chunk)
    except _Interrupted:
        raise
    except Exception as error:
        # Of requests or of httpx, as huggingface_hub has it.
        raise _Interrupted(short(error)) from error


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str]) -> Iterator[tuple[int, Any, Iterator[bytes]]]:
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    # Httpx, in huggingface_hub 1.
    if callable(getattr(session, "stream", None)):
        with session.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as response:
            yield response.status_code, response.headers, response.iter_bytes(CHUNK)
    else:
        # Requests, in huggingface_hub 0.
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            yield response.status_code, response.headers, response.iter_content(CHUNK)


def _list_repository(official: Official, target: Path, revision: str, endpoint: str | None) -> Any:
    """The hub's answer on a revision; None if that is gone."""
    require("huggingface_hub", "0.34")
    from huggingface_hub import HfApi
    from huggingface_hub.utils import RevisionNotFoundError

    try:
        api = HfApi(endpoint=endpoint, token=False, headers=HEADERS)
        return api.model_info(official.repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except Exception as error:
        # Of requests or of httpx, of the hub, of the offline mode.
        if isinstance(error, RevisionNotFoundError) and revision != "main":
            return None
        reason = short(error)
    raise _failure(official, target, reason)


def _chosen(info: Any) -> Iterator[RemoteFile]:
    for entry in info.siblings or ():
        name, lfs = entry.rfilename, entry.lfs
        if (
            is_file_name(name)
            and name.endswith(FETCHED)
            and name not in (RECORD, MARKER)
            and entry.size is not None
        ):
            yield RemoteFile(name, entry.size, f"sha256:{lfs.sha256}" if lfs else f"git:{entry.blob_id}")


def _present(target: Path, file: RemoteFile) -> int:
    for name in (file.name, f"{file.name}.part"):
        with contextlib.suppress(OSError):
            size = (target / name).stat().st_size
            if size == file.size or (name != file.name and size < file.size):
                return size
    return 0


def _digest(path: Path, file: RemoteFile, check: Callable[[], None]) -> str:
    kind = file.digest.partition(":")[0]
    digest = (
        hashlib.sha256()
        if kind == "sha256"
        else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    )
    with path.open("rb") as opened:
        while block := opened.read(2**20):
            check()
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def _read_marker(target: Path, official: Official) -> dict[str, Any]:
    """What an unfinished download has written; {} if there is none, or none that can be used."""
    try:
        state = read_json(target / MARKER)
        usable = (
            state["repo"] == official.repo
            and isinstance(state["revision"], str)
            and isinstance(state["files"], dict)
        )
        return state if usable else {}
    except (OSError, ValueError, KeyError):
        return {}


def _check_allowed(official: Official, target: Path, offline: bool) -> None:
    if official.repo not in [known.repo for known in OFFICIAL]:
        raise DownloadError(
            f"{official.repo} is not an official checkpoint, and only "
            f"{' and '.join(known.repo for known in OFFICIAL)} "
            f"are downloaded: put its files into {target} yourself."
        )
    if offline:
        raise _failure(official, target, "Settings > RationalRewards > Stay offline is on")
    for variable in OFFLINE:
        if os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on"):
            raise _failure(official, target, f"{variable} is set")


def _failure(official: Official, target: Path, reason: str, kept: str = "") -> DownloadError:
    again = "start it again to go on, or " if kept else ""
    return DownloadError(
        f"{official.repo} could not be downloaded ({reason}){kept}: {again}fetch it on any computer with "
        f'"hf download {official.repo} --local-dir {official.name}" and put the files into {target}.'
    )


def _pause(seconds: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(min(0.1, seconds))
