"""`critique`, `score` and `compare`: image files in, reports and JSON out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.characters import whole_characters
from ..models.engines.base import Progress
from ..models.errors import OutOfMemoryError, QuestionError, RationalRewardsError
from ..models.files import user_path
from ..models.images import open_image
from ..models.refine import refine_prompts, with_refined
from .checkpoints import check_critic, load_critic
from .inputs import JudgedFile, expanded, image_files, pair_prompt
from .options import add_judging, named, number, sampling, text
from .output import check_image_target, check_targets, complain, deliver, not_written, progress_on

if TYPE_CHECKING:
    from ..models.critic import Critic

# Images that are judged side by side and held in memory together.
PORTION = 8
CANCELLED = 130

Portion = Callable[[Sequence[JudgedFile], Progress], None]


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `critique`, `score` and `compare`."""
    _add_critique(commands)
    score = commands.add_parser("score", help="scores alone, one line an image")
    score.add_argument("images", nargs="+", help="image files, folders, or patterns such as '*.png'")
    add_judging(score)
    score.add_argument(
        "--fast", action="store_true", help="read scores without reasoning: quick, but not calibrated"
    )
    score.set_defaults(run=score_images)

    pair = commands.add_parser("compare", help="which of two images is better")
    pair.add_argument("image_a", type=named, help="image file A")
    pair.add_argument("image_b", type=named, help="image file B")
    add_judging(pair)
    pair.add_argument("--one-order", action="store_true", help="judge A before B only")
    pair.set_defaults(run=compare)


def _add_critique(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("critique", help="judge images in words and scores")
    parser.add_argument("images", nargs="+", help="image files, folders, or patterns such as '*.png'")
    add_judging(parser)
    parser.add_argument("--refine", action="store_true", help="also rewrite the prompt")
    parser.add_argument(
        "--refine-below",
        type=number(1, 4),
        default=4.0,
        metavar="SCORE",
        help="rewrite only when a dimension scores below this, 1 to 4; default: 4",
    )
    parser.add_argument(
        "--keep",
        action="append",
        type=text,
        default=[],
        metavar="PHRASE",
        help="words that must stay in the rewritten prompt; may be repeated",
    )
    parser.add_argument(
        "--card", type=named, metavar="FILE", help="also draw a card to share (.png, .jpg or .webp)"
    )
    parser.set_defaults(run=critique)


def critique(options: argparse.Namespace) -> int:
    """`critique`: reports, JSON, and on request refined prompts and cards."""
    check_image_target("--card", options.card)
    files = _files(options, options.card)
    critic = critic_for(options, files)
    cards = _card_paths(options.card, len(files)) if options.card else [None] * len(files)
    targets = {id(file): path for file, path in zip(files, cards, strict=True)}
    problems: list[RationalRewardsError] = []

    def judge(portion: Sequence[JudgedFile], progress: Progress) -> None:
        critique = critic.critique(
            [critic.engine.prepare(open_image(file.path)) for file in portion],
            [file.prompt for file in portion],
            _source(options),
            rubric=options.rubric,
            progress=progress,
            **sampling(options),
        )
        refined: Sequence[Any] = [None] * len(portion)
        if options.refine or options.card:
            refined = refine_prompts(critique, options.refine_below, options.keep, progress)
        for file, judgement, prompt in zip(portion, critique.judgements, refined, strict=True):
            file.judgement, file.refined = judgement, prompt
            path = targets[id(file)]
            if path and not problems:
                _draw_card(path, file, problems)

    cancelled = in_portions(files, judge, progress_on(quiet=options.quiet))
    entries = [_entry(file, options.refine) for file in files]
    _deliver(options, problems, _report(files, critic.name, options.refine), critic, entries)
    return _exit_code(files, cancelled, problems)


def score_images(options: argparse.Namespace) -> int:
    """`score`: one line an image."""
    files = _files(options)
    critic = critic_for(options, files, needs="expected_scores" if options.fast else "")

    def judge(portion: Sequence[JudgedFile], progress: Progress) -> None:
        images = [critic.engine.prepare(open_image(file.path)) for file in portion]
        prompts = [file.prompt for file in portion]
        common: dict[str, Any] = {"rubric": options.rubric, "progress": progress}
        if options.fast:
            judgements = critic.fast_score(images, prompts, _source(options), **common)
        else:
            judgements = critic.critique(
                images, prompts, _source(options), until="scores", **common, **sampling(options)
            ).judgements
        for file, judgement in zip(portion, judgements, strict=True):
            file.judgement = judgement

    cancelled = in_portions(files, judge, progress_on(quiet=options.quiet))
    lines = [_score_line(file) for file in files if file.judgement or file.error]
    problems: list[RationalRewardsError] = []
    _deliver(options, problems, "\n".join(lines), critic, [_entry(file) for file in files])
    return _exit_code(files, cancelled, problems)


def compare(options: argparse.Namespace) -> int:
    """`compare`: the winner and why."""
    image_a, image_b = (_single(name) for name in (options.image_a, options.image_b))
    check_targets({"--json": options.json}, [image_a, image_b])
    # Before the critic is loaded, which takes longer.
    opened = [open_image(image_a), open_image(image_b)]
    source = _source(options)
    prompt = pair_prompt(options.prompt, image_a, image_b)
    check_critic(options, edits=[source is not None], pair=True)
    critic = load_critic(options)
    comparison = critic.compare(
        opened[0],
        opened[1],
        prompt,
        source,
        both_orders=not options.one_order,
        rubric=options.rubric,
        progress=progress_on(quiet=options.quiet),
        **sampling(options),
    )[0]
    data = {"critic": critic.name, "image_a": image_a, "image_b": image_b, "prompt": prompt}
    text = f"{comparison.to_markdown()}\n\n*Judged by {critic.name}.*"
    deliver(options.json, text, {**data, **comparison.to_dict()})
    return 0


def in_portions(files: Sequence[JudgedFile], judge: Portion, progress: Progress) -> bool:
    """Judge all that has not failed yet, some at a time; whether it was cancelled.

    What `judge` cannot judge together it is asked to judge one by one, so that a bad file costs only itself.
    """
    waiting = [file for file in files if not file.error]
    try:
        for start in range(0, len(waiting), PORTION):
            portion = waiting[start : start + PORTION]
            try:
                judge(portion, progress.within(start, len(portion), len(waiting)))
            except (QuestionError, OutOfMemoryError):
                _one_by_one(portion, judge, progress.within(start, len(portion), len(waiting)))
    except KeyboardInterrupt:
        return True
    return False


def _one_by_one(portion: Sequence[JudgedFile], judge: Portion, progress: Progress) -> None:
    for position, file in enumerate(portion):
        try:
            judge([file], progress.within(position, 1, len(portion)))
        except (QuestionError, OutOfMemoryError) as error:
            file.error = str(error)


def _single(name: str) -> str:
    """The one image that a name stands for. Raises QuestionError for a folder or pattern of several."""
    paths = expanded([name])
    if len(paths) > 1:
        raise QuestionError(f"{name} stands for {len(paths)} images: name one.")
    return paths[0]


def _files(options: argparse.Namespace, card: str | None = None) -> list[JudgedFile]:
    """The images of a command; where its results go, and its cards, is checked with them."""
    files = image_files(options.prompt, options.images)
    names = [file.path for file in files]
    check_targets({"--json": options.json, "--card": card}, names)
    for path in _card_paths(card, len(files)) if card and len(files) > 1 else ():
        # Where there is nothing yet, nothing is lost.
        if path.exists():
            check_targets({"--json": options.json, "--card": str(path)}, names)
    return files


def _card_paths(card: str, number: int) -> list[Path]:
    """Where the cards of that many images go: with several, their positions go into the names."""
    path = user_path(card)
    if number == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{position}") for position in range(1, number + 1)]


def critic_for(options: argparse.Namespace, files: Sequence[JudgedFile], needs: str = "") -> Critic:
    """The critic, once it is sure that something can be judged, by that rubric, and with what it `needs`."""
    if all(file.error for file in files):
        for file in files[:-1]:
            complain(file.error)
        raise QuestionError(files[-1].error)
    # Whatever is wrong with the source is wrong for every image.
    edit = _source(options) is not None
    check_critic(options, edits=[edit], needs=needs)
    critic = load_critic(options)
    if needs:
        critic.require(needs)
    critic.rubric(options.rubric, edit=edit)
    return critic


def _source(options: argparse.Namespace) -> Any:
    return open_image(str(user_path(options.source))) if options.source else None


def _entry(file: JudgedFile, refine: bool = False) -> dict[str, Any]:
    """An image in the JSON."""
    entry: dict[str, Any] = {"image": file.path, "prompt": file.prompt}
    if file.error:
        return {**entry, "error": file.error}
    if file.judgement is None:
        return {**entry, "error": "It was not judged, because the command was cancelled."}
    entry |= file.judgement.to_dict()
    if refine and file.refined:
        entry |= {"refined_prompt": file.refined.prompt, "changed": file.refined.changed}
    return entry


def _report(files: Sequence[JudgedFile], critic: str, refine: bool) -> str:
    """The reports of all that were judged, each under the name of its file where there are several."""
    parts = []
    for file in files:
        if file.judgement is None:
            continue
        heading = [f"## {file.path}"] if len(files) > 1 else []
        parts += [*heading, file.judgement.to_markdown()]
        if refine and file.refined:
            parts += [f"**Refined prompt.** {file.refined.prompt}", file.refined.comments]
    return "\n\n".join([*(part for part in parts if part), f"*Judged by {critic}.*"])


def _score_line(file: JudgedFile) -> str:
    if file.judgement is None:
        return f"failed    {file.path}"
    score = file.judgement.score
    shown = "not read" if score is None else f"{score:.3f}"
    return f"{shown}  {file.path}"


def _draw_card(path: Path, file: JudgedFile, problems: list[RationalRewardsError]) -> None:
    """Draw and write the card of an image."""
    from ..models.cards.layout import draw_cards
    from ..models.files import replacing

    assert file.judgement is not None
    assert file.refined is not None
    shown = with_refined(file.judgement, file.refined)
    card = draw_cards([open_image(file.path)], [shown], [file.prompt])[0]
    try:
        with replacing(path) as scratch:
            card.save(scratch)
    except OSError as error:
        problems.append(not_written(path, error))


def _deliver(
    options: argparse.Namespace,
    problems: list[RationalRewardsError],
    report: str,
    critic: Critic,
    entries: list[dict[str, Any]],
) -> None:
    failed = sum("error" in entry for entry in entries)
    try:
        deliver(options.json, report, {"critic": critic.name, "failed": failed, "images": entries})
    except RationalRewardsError as error:
        problems.append(error)


def _exit_code(files: Sequence[JudgedFile], cancelled: bool, problems: Sequence[RationalRewardsError]) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    failed = [file for file in files if file.error]
    for file in failed:
        complain(file.error if whole_characters(file.path) in file.error else f"{file.path}: {file.error}")
    for problem in problems:
        complain(problem)
    if failed and len(files) > 1:
        complain(f"{len(failed)} of {len(files)} images failed.")
    if cancelled:
        done = sum(file.judgement is not None for file in files)
        complain(f"cancelled; {done} of {len(files)} images had been judged")
        return CANCELLED
    return 1 if failed or problems else 0
