"""What a command prints and writes: reports, JSON, progress, and the check of every file before the work
begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from ..models import files
from ..models.engines.base import Progress
from ..models.errors import RationalRewardsError
from ..models.files import user_path
from .wording import in_shell_words

PREFIX = "rational_rewards: "
# Seconds between two reports of progress: on a terminal, where the line is overwritten, and in a file or
# pipe.
TERMINAL_SECONDS, PLAIN_SECONDS = 0.2, 5.0


class UsageError(RationalRewardsError):
    """An option cannot be meant as it was given; the exit code is 2."""


class OutputError(RationalRewardsError):
    """A result could not be printed or written."""


def printable(text: str, encoding: str) -> str:
    """The text with "?" for what the encoding does not have, such as half of a surrogate pair in UTF-8."""
    return text.encode(encoding, "replace").decode(encoding)


def readable(text: str) -> str:
    """A name or prompt as Unicode text: bytes of a file name that are no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if _escaped(text) else text


def _escaped(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def show(text: str, to_stderr: bool = False) -> None:
    """Print a line.

    A reader that has closed the pipe is no error; raises OutputError where nothing can be written.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is None:
        # Started without a console, as pythonw does.
        return
    try:
        stream.write(printable(text, stream.encoding or "utf-8") + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise OutputError(
            f"The report could not be printed ({error.strerror}): print it elsewhere."
        ) from error


def _silence(stream: TextIO) -> None:
    # What is still in the buffer would be written once more when Python ends, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(sentence: object) -> None:
    """Print an error or a warning on stderr, in the words of the shell."""
    show(PREFIX + readable(in_shell_words(str(sentence))), to_stderr=True)


def json_text(data: Any, encoding: str = "utf-8") -> str:
    """Indented JSON; only ASCII where the console does not print all characters."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    return text if printable(text, encoding) == text else json.dumps(data, indent=2)


def readable_data(data: Any) -> Any:
    """The same data with every text `readable` and in Unicode that each JSON reader accepts."""
    if isinstance(data, str):
        return printable(readable(data), "utf-8")
    if isinstance(data, dict):
        return {readable_data(key): readable_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [readable_data(value) for value in data]
    return data


def deliver(json_target: str | None, report: str, data: Any) -> None:
    """Print the report and write the JSON where it was asked for: whichever of them fails, the other one is
    done.

    `json_target` "-" prints the JSON instead of the report. Raises OutputError.
    """
    data = readable_data(data)
    if json_target == "-":
        show(json_text(data, sys.stdout.encoding or "utf-8"))
        return
    problem = None
    if json_target:
        try:
            files.write_json(user_path(json_target), data)
        except OSError as error:
            problem = not_written(json_target, error)
    show(readable(report))
    if problem:
        raise problem


def not_written(target: str | Path, error: OSError) -> OutputError:
    """The error for a file that cannot be written."""
    reason = error.strerror or str(error)
    return OutputError(f"{target} could not be written ({reason}): make room there, or name another file.")


def check_folder(option: str, folder: Path | None) -> None:
    """Raise UsageError where something else than a folder has that name."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{option} {folder} is a file: name a folder.")


def check_targets(targets: dict[str, str | None], inputs: Iterable[str] = ()) -> None:
    """Check before the work that each file can be written; `targets` by option, None and "-" are nothing to
    check. `inputs` are names of images.

    Raises UsageError for what is no name of a file, or is an input or another target; OutputError where the
    folder cannot be written to. Nothing is left behind.
    """
    wanted = {option: given for option, given in targets.items() if given is not None and given != "-"}
    taken = {_identity(user_path(name)): f"the image {name}" for name in inputs} if wanted else {}
    for option, given in wanted.items():
        target = user_path(given)
        if target.is_dir() or given.rstrip("\"'").endswith(("/", os.sep)) or not target.name:
            raise UsageError(f"{option} {given} is a folder: name a file in it.")
        other = taken.get(_identity(target))
        if other:
            raise UsageError(f"{option} {given} would overwrite {other}: name another file.")
        taken[_identity(target)] = f"what {option} writes"
        _try_folder(option, target)


def check_image_target(option: str, given: str | None) -> None:
    """Check that a file name ends as an image's does. Raises UsageError."""
    if given is None:
        return
    from PIL import Image

    endings = Image.registered_extensions()
    suffix = user_path(given).suffix.lower()
    if endings.get(suffix) not in ("PNG", "JPEG", "WEBP"):
        raise UsageError(f"{option} {given} does not end as an image's name: end it in .png, .jpg or .webp.")


def _identity(path: Path) -> str:
    """The same for all names of a file, through whatever links they lead."""
    return os.path.normcase(os.path.realpath(path))


def _try_folder(option: str, target: Path) -> None:
    """Write and remove a file where the target will be, and the folders that had to be made for it."""
    if files.is_stream(target):
        return
    folder = Path(os.path.realpath(target)).parent
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{option} {target} cannot be written ({reason}): name another folder.") from error
    finally:
        for path in missing:
            if path.is_dir():
                path.rmdir()


def quiet_libraries(quiet: bool = False) -> None:
    """Turn off the progress bars of transformers and huggingface_hub where nobody watches: on a stderr that
    is no terminal, or if quiet.
    """
    if sys.stderr is not None and sys.stderr.isatty() and not quiet:
        return
    # Where it is missing, loading the critic says so.
    with contextlib.suppress(ImportError):
        from transformers.utils import logging

        # Also those of huggingface_hub.
        logging.disable_progress_bar()


def progress_on(quiet: bool = False) -> Progress:
    """Progress on stderr: one line that is overwritten on a terminal, else a line every few seconds; none if
    quiet.
    """
    stream = sys.stderr
    if quiet or stream is None:
        return Progress()
    terminal = stream.isatty()
    seconds = TERMINAL_SECONDS if terminal else PLAIN_SECONDS
    # A piped command that ends at once says nothing.
    last = [time.monotonic()]

    def update(done: float, total: int, section: str, tail: str) -> None:
        if time.monotonic() - last[0] < seconds:
            return
        last[0] = time.monotonic()
        line = printable(f"{done:.1f} of {total} {section}", stream.encoding or "utf-8")
        stream.write(f"\r\x1b[K{line}\r" if terminal else f"{line}\n")
        stream.flush()

    return Progress(update=update)
