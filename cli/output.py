"""What commands print and write. Targets are checked before hours of work, and a late error loses nothing."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..models.engines.base import Progress
from ..models.errors import RationalRewardsError
from ..models.files import replacing, user_path, write_text

# Seconds between two lines of progress where standard error is not a terminal.
LINE_SECONDS = 5.0
TERMINAL_SECONDS = 0.2

# Errors speak the canvas's language; these are the same things on the command line.
SHELL_WORDS = (
    (r" on Load Critic\b", ""),
    (r"choose mode = reasoned on Score", "leave out --fast"),
    (r"\bset answer to (locked|free)\b", r"use --answer \1"),
    (r"\b(quantization|adapter|attention) = (\w+)", r"--\1 \2"),
    (r"\ba smaller quantization\b", "a smaller --quantization"),
    (r"(?<!-)\bmax_pixels\b", "--max-pixels"),
    (r"(?<!-)\bmax_new_tokens\b", "--max-new-tokens"),
    (r"\bdisconnect source_image\b", "leave out --source"),
    (r"\bconnect source_image\b", "add --source"),
    (r"`source_image`", "--source"),
    (r"`image_a`", "image A"),
    (r"`image_b`", "image B"),
    (r"Queue again to start the download\.", "Add --yes to start the download."),
    (r"\brun Rationalize Preferences\b", "run `parrot rationalize`"),
    (r"\brecord some with Record Preference first\b", "record some in ComfyUI or with `parrot import` first"),
    (r"\bchoose one from the list\b", "choose one that `checkpoints` lists"),
    (r"\bconnect a critic from Load Critic\b", "choose another --checkpoint"),
    (r"\bchoose another critic\b", "choose another --checkpoint"),
)


def in_shell_words(sentence: str) -> str:
    """An error's sentence with options and commands where it names nodes and inputs."""
    for canvas, shell in SHELL_WORDS:
        sentence = re.sub(canvas, shell, sentence)
    return sentence


def print_safely() -> None:
    """Have what a console cannot show printed as "?" and not end the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")


def complain(sentence: str) -> None:
    """One sentence on standard error."""
    print(f"rational_rewards: {in_shell_words(sentence)}", file=sys.stderr)


def progress(parsed: argparse.Namespace) -> Progress:
    """Progress on standard error: one changing line on a terminal, a new line now and then elsewhere."""
    if parsed.quiet:
        return Progress()
    terminal = sys.stderr.isatty()
    pause = TERMINAL_SECONDS if terminal else LINE_SECONDS
    next_time = time.monotonic() + (0.0 if terminal else pause)

    def update(done: float, total: int, section: str, tail: str) -> None:
        nonlocal next_time
        if time.monotonic() < next_time:
            return
        next_time = time.monotonic() + pause
        line = f"{done:.1f} of {total} {section}".rstrip()
        if terminal:
            print(f"\r\x1b[K{line}", end="\r", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    return Progress(update=update)


def file_target(given: str | None, *endings: str) -> Path | None:
    """The file that an option names, checked to be one that can be written; its folder is made.

    None for no option.

    Raises RationalRewardsError for a folder, for another ending than `endings` (any, where there are none),
    and for a place that cannot be written.
    """
    if given is None:
        return None
    target = user_path(given)
    if not target.name or target.is_dir() or given.endswith(("/", os.sep)):
        raise RationalRewardsError(f"{given} is a folder: name a file in it.")
    if endings and target.suffix.lower() not in endings:
        raise RationalRewardsError(f"{given} must end in {' or '.join(endings)}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written for a moment: only then is it known that it can be.
        probe = target.with_name(f".{target.name}.{os.getpid()}.probe")
        probe.touch()
        probe.unlink()
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RationalRewardsError(f"{given} cannot be written ({reason}): choose another file.") from error
    return target


def save_image(image: Image.Image, target: Path) -> None:
    """Write an image completely or not at all. Raises RationalRewardsError."""
    try:
        with replacing(target) as scratch:
            image.save(scratch)
    except OSError as error:
        raise RationalRewardsError(
            f"{target} could not be written ({error.strerror or error}): make room there, or choose "
            f"another file."
        ) from error


def emit(report: str, data: Mapping[str, Any], json_option: str | None) -> None:
    """Print the report and write the data where `--json` says; the report is out before anything can fail."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if json_option == "-":
        print(text)
        return
    print(report, flush=True)
    if json_option:
        target = user_path(json_option)
        try:
            write_text(target, f"{text}\n")
        except OSError as error:
            raise RationalRewardsError(
                f"{target} could not be written ({error.strerror or error}): the result is printed above."
            ) from error


def check_json_target(parsed: argparse.Namespace) -> None:
    """Check where `--json` writes, before anything is judged."""
    if parsed.json != "-":
        file_target(parsed.json)


def numbered(target: Path, count: int) -> Sequence[Path]:
    """The target itself, or with -1, -2, ... before its ending where there are several."""
    if count == 1:
        return [target]
    return [target.with_stem(f"{target.stem}-{number}") for number in range(1, count + 1)]
