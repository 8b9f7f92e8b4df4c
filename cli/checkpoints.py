"""Choose, download and load the critic that a command judges with; and the `checkpoints` command."""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..models import paths
from ..models.errors import CheckpointError
from ..models.files import user_path
from .output import PLAIN_SECONDS, TERMINAL_SECONDS, UsageError, quiet_libraries, readable, show

if TYPE_CHECKING:
    from ..models.checkpoints.discovery import Checkpoint, Official
    from ..models.critic import Critic


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `checkpoints`."""
    listing = commands.add_parser(
        "checkpoints", help="list the critics on this computer and those that can be downloaded"
    )
    listing.set_defaults(run=checkpoint_list)


def checkpoint_list(options: argparse.Namespace) -> int:
    """`checkpoints`."""
    from ..models.checkpoints.discovery import listed

    roots = paths.model_roots()
    show(readable(f"Looking in {' and '.join(str(root) for root in roots)}"))
    for entry in listed(roots):
        show(readable(f"{entry.name:40}  {entry.state}"))
    return 0


def load_critic(options: argparse.Namespace) -> Critic:
    """The critic that the options ask for.

    Raises CheckpointError, and UsageError for a download without a yes.
    """
    from ..models.critic import Critic
    from ..models.images import MAX_PIXELS

    quiet_libraries(options.quiet)
    folder = checkpoint_folder(options)
    given = user_path(options.adapter)
    return Critic.load(
        folder,
        options.quantization,
        options.device,
        max_pixels=options.max_pixels or MAX_PIXELS,
        rubric_folders=paths.rubric_folders(),
        adapter=given if given.is_dir() else options.adapter,
    )


def check_critic(
    options: argparse.Namespace, *, edits: Iterable[bool] = (), pair: bool = False, needs: str = ""
) -> None:
    """Check, before the critic is loaded, all that can be known without its weights.

    `edits` says for which tasks (image edits or not) its rubric is used, `pair` whether for two images, and
    `needs` names a capability. Raises CheckpointError, RubricError, QuestionError and CapabilityError; what
    is wrong with the checkpoint itself is left to `load_critic`.
    """
    from ..models.critic import OWN_RUBRICS, unable
    from ..models.devices import pick_device
    from ..models.rubrics.rubric import chosen_rubric

    pick_device(options.device)
    checkpoint = _on_disk(options)
    own = [checkpoint.folder / OWN_RUBRICS] if checkpoint else []
    own = [folder for folder in own if folder.is_dir()]
    for edit in edits:
        chosen_rubric(options.rubric, edit, pair, paths.rubric_folders(), own)
    if needs and checkpoint and not checkpoint.capabilities.get(needs, True):
        raise unable(checkpoint.name, needs)


def _on_disk(options: argparse.Namespace) -> Checkpoint | None:
    """The checkpoint that the options name, where it is on this computer and whole."""
    from ..models.checkpoints.discovery import Checkpoint, find_checkpoints, inspect_checkpoint, resolve

    roots = paths.model_roots()
    try:
        if options.checkpoint is None:
            return next(iter(find_checkpoints(roots)), None)
        folder = user_path(options.checkpoint)
        chosen = inspect_checkpoint(folder) if folder.is_dir() else resolve(options.checkpoint, roots)
    except CheckpointError:
        return None
    return chosen if isinstance(chosen, Checkpoint) else None


def checkpoint_folder(options: argparse.Namespace) -> Path:
    """The folder of the checkpoint that the options name; downloaded where it has to be."""
    from ..models.checkpoints.discovery import Checkpoint, resolve

    roots = paths.model_roots()
    if options.checkpoint is None:
        return _first(roots, options.quiet).folder
    folder = user_path(options.checkpoint)
    if folder.is_dir():
        return folder
    try:
        chosen = resolve(options.checkpoint, roots)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_meant(options.checkpoint, roots)}") from None
    return chosen.folder if isinstance(chosen, Checkpoint) else _downloaded(chosen, roots[0], options)


def _first(roots: Sequence[Path], quiet: bool) -> Checkpoint:
    """The first checkpoint on this computer; a note names the others."""
    from ..models.checkpoints.discovery import EMBEDDED_NAME, OFFICIAL, find_checkpoints

    local = find_checkpoints(roots)
    if not local:
        official = OFFICIAL[0]
        raise CheckpointError(
            f"There is no checkpoint in {roots[0]}: download one with --checkpoint {official.repo} "
            f"({official.bytes / 1e9:.1f} GB), or try the demo's critic, which judges coloured shapes only, "
            f'with --checkpoint "{EMBEDDED_NAME}".'
        )
    if not quiet:
        others = ", ".join([*(checkpoint.name for checkpoint in local[1:]), EMBEDDED_NAME])
        show(f"The critic is {local[0].name}; --checkpoint chooses another: {others}.", to_stderr=True)
    return local[0]


def _meant(name: str, roots: Sequence[Path]) -> str:
    """A question to put behind an error: the nearest name there is."""
    from ..models.checkpoints.discovery import choices

    return did_you_mean(name, choices(roots))


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """' Did you mean "..."?' with the nearest of the known names, or "" where none is near."""
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f' Did you mean "{by_folded[near[0]]}"?' if near else ""


def _downloaded(official: Official, root: Path, options: argparse.Namespace) -> Path:
    from ..models.checkpoints.downloads import cost_of, download

    offline = paths.settings().offline
    # Where nothing may be downloaded, `download` says so itself.
    if not (options.yes or offline):
        _ask(cost_of(official, root))
    return download(official, root, _byte_progress(options.quiet), offline=offline)


def _ask(question: str) -> None:
    """Ask once on a terminal. Raises UsageError without a yes, and where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} Add --yes to download it.")
    show(f"{question} Go on? [y/N]", to_stderr=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was downloaded: choose another checkpoint with --checkpoint.")


def _byte_progress(quiet: bool) -> Callable[[int, int], None]:
    terminal = sys.stderr.isatty()
    seconds = TERMINAL_SECONDS if terminal else PLAIN_SECONDS
    last = [0.0]

    def report(done: int, total: int) -> None:
        if quiet or (time.monotonic() - last[0] < seconds and done < total):
            return
        last[0] = time.monotonic()
        line = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB"
        end = "\r" if terminal and done < total else "\n"
        sys.stderr.write(f"{line}{end}")
        sys.stderr.flush()

    return report
