"""`python -m rational_rewards`: judge pictures from the shell."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from ..models import paths
from ..models.errors import RationalRewardsError
from .parrot import add_commands as add_parrot


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (0, or 1 with one sentence on stderr)."""
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except RationalRewardsError as error:
        print(f"rational_rewards: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rational_rewards: cancelled", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m rational_rewards",
        description="A critic that explains, scores, compares and rewrites prompts.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    one = commands.add_parser("critique", help="judge pictures in words and scores")
    one.add_argument("images", nargs="+", help="picture files")
    _judging(one)
    one.add_argument("--refine", action="store_true", help="also rewrite the prompt")
    one.add_argument(
        "--refine-below",
        type=float,
        default=4.0,
        metavar="SCORE",
        help="rewrite only when a dimension scores below this (1 to 4)",
    )
    one.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PHRASE",
        help="words that must stay in the rewritten prompt",
    )
    one.add_argument("--card", metavar="FILE", help="also draw a card to share (PNG)")
    one.set_defaults(run=critique)

    score = commands.add_parser("score", help="scores alone, one line a picture")
    score.add_argument("images", nargs="+", help="picture files")
    _judging(score)
    score.add_argument(
        "--fast", action="store_true", help="read scores without reasoning: quick, but not calibrated"
    )
    score.set_defaults(run=score_images)

    pair = commands.add_parser("compare", help="which of two pictures is better")
    pair.add_argument("image_a", help="picture file A")
    pair.add_argument("image_b", help="picture file B")
    _judging(pair)
    pair.add_argument("--one-order", action="store_true", help="judge only A before B")
    pair.set_defaults(run=compare)

    taste = commands.add_parser(
        "evaluate", help="how often a critic chooses as somebody did, over a dataset of preferences"
    )
    taste.add_argument(
        "--dataset",
        required=True,
        metavar="FOLDER_OR_NAME",
        help="dataset that Record Preference has written",
    )
    _result(taste)
    taste.add_argument("--one-order", action="store_true", help="judge only A before B")
    taste.set_defaults(run=evaluate_critic)

    rubrics = commands.add_parser("rubric", help="list, show or add rubrics").add_subparsers(
        required=True, metavar="action"
    )
    rubrics.add_parser("list", help="names of all rubrics").set_defaults(run=rubric_list)
    show = rubrics.add_parser("show", help="what a rubric asks")
    show.add_argument("name")
    show.set_defaults(run=rubric_show)
    add = rubrics.add_parser(
        "add", help="validate a rubric file (YAML, or a text with somebody's exact wording) and add it"
    )
    add.add_argument("file", type=Path)
    add.add_argument("--name", help="name in the list; default: the file's")
    add.add_argument("--task", choices=["t2i", "edit"], help="default: worked out from the text")
    add.set_defaults(run=rubric_add)

    demo = commands.add_parser(
        "demo", help="two minutes without a download: shapes are painted, judged, and painted again"
    )
    demo.add_argument(
        "--out", default="demo.html", metavar="FILE", help="the page that is written; default: demo.html"
    )
    demo.add_argument(
        "--seed", type=int, default=0, help="of the first picture; each further prompt has the next one"
    )
    demo.add_argument(
        "--prompt",
        action="append",
        metavar="PROMPT",
        help="paint this instead of the demo's prompts; may be repeated",
    )
    demo.set_defaults(run=shapes_demo)

    actions = add_parrot(commands, _critic, _answer, load_critic, _progress)
    made = actions.add_parser(
        "demo", help="train the embedded critic from nothing: a good two hours on two CPU cores"
    )
    made.add_argument(
        "--work",
        type=Path,
        default=Path("parrot-demo"),
        help="folder for everything on the way; goes on there",
    )
    made.add_argument(
        "--courses",
        type=int,
        nargs="+",
        help="preference pairs of the first, second, ... course, and no course after these; for a try",
    )
    made.add_argument("--base-steps", type=int, help="fewer steps of the base, for a try")
    made.set_defaults(run=make_shapes_critic)

    listing = commands.add_parser(
        "checkpoints", help="list the critics on this computer and those that can be downloaded"
    )
    listing.set_defaults(run=checkpoint_list)
    return parser


def _judging(parser: argparse.ArgumentParser) -> None:
    """Options of every command that judges the pictures of one prompt."""
    parser.add_argument("--prompt", required=True, help="the prompt the pictures were made from")
    parser.add_argument("--source", metavar="FILE", help="for image edits: the picture before the edit")
    _result(parser)


def _critic(parser: argparse.ArgumentParser) -> None:
    """Options of every command that loads a critic."""
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="folder of the critic, or its name in `checkpoints`; default: the first one there",
    )
    parser.add_argument("--quantization", choices=["nf4", "int8", "none"], default="nf4")
    parser.add_argument(
        "--adapter",
        default="none",
        metavar="FOLDER",
        help="folder of an adapter, or its name in the model folders",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps, cpu")
    parser.add_argument("--max-pixels", type=int, default=None, help="pixel budget; default: 802816")
    parser.add_argument("--seed", type=int, default=0)


def _answer(parser: argparse.ArgumentParser) -> None:
    """Options of every command that lets a critic write."""
    parser.add_argument("--answer", choices=["locked", "free"], default="locked")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-new-tokens", type=int, default=2048)


def _result(parser: argparse.ArgumentParser) -> None:
    """Options of every command that judges: in which words it asks, and where the result goes."""
    _critic(parser)
    _answer(parser)
    parser.add_argument("--rubric", default="auto", help="name of a rubric")
    parser.add_argument(
        "--json", metavar="FILE", help="write the result as JSON (- for standard output, without the report)"
    )


def load_critic(parsed: argparse.Namespace) -> Any:
    """The critic that the options ask for."""
    from ..models.checkpoints.discovery import Checkpoint, find_checkpoints, resolve
    from ..models.critic import Critic
    from ..models.errors import CheckpointError
    from ..models.images import MAX_PIXELS

    roots = paths.model_roots()
    if parsed.checkpoint is None:
        found = find_checkpoints(roots)
        if not found:
            raise CheckpointError(
                f"There is no checkpoint in {roots[0]}: put one there, or name its folder with --checkpoint."
            )
        folder = found[0].folder
    elif Path(parsed.checkpoint).is_dir():
        folder = Path(parsed.checkpoint)
    else:
        chosen = resolve(parsed.checkpoint, roots)
        folder = chosen.folder if isinstance(chosen, Checkpoint) else _download(chosen, roots[0])
    return Critic.load(
        folder,
        parsed.quantization,
        parsed.device,
        max_pixels=parsed.max_pixels or MAX_PIXELS,
        rubric_folders=paths.rubric_folders(),
        adapter=parsed.adapter,
    )


def _download(official: Any, root: Path) -> Path:
    from ..models.checkpoints.downloads import download

    return download(official, root, _show_bytes, offline=paths.settings().offline)


def _show_bytes(done: float, total: float) -> None:
    print(
        f"\r{done / 1e9:.2f} of {total / 1e9:.2f} GB",
        end="\n" if done >= total else "",
        file=sys.stderr,
        flush=True,
    )


def _progress() -> Any:
    """Progress on stderr, where it is a terminal."""
    from ..models.engines.base import Progress

    if not sys.stderr.isatty():
        return Progress()
    shown = [0.0]

    def update(done: float, total: int, section: str, tail: str) -> None:
        if time.monotonic() - shown[0] > 0.2:
            shown[0] = time.monotonic()
            print(f"\r\x1b[K{done:.1f} of {total} {section}", end="\r", file=sys.stderr, flush=True)

    return Progress(update=update)


def _settings(parsed: argparse.Namespace) -> dict[str, Any]:
    return dict(
        answer=parsed.answer,
        temperature=parsed.temperature,
        seed=parsed.seed,
        max_new_tokens=parsed.max_new_tokens,
    )


def _out(parsed: argparse.Namespace, report: str, data: Any) -> None:
    """Print the report and write the JSON where it was asked for."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if parsed.json == "-":
        print(text)
        return
    print(report)
    if parsed.json:
        Path(parsed.json).write_text(text + "\n", encoding="utf-8")


def critique(parsed: argparse.Namespace) -> None:
    """`critique`: reports, JSON, and on request refined prompts and cards."""
    from ..models.refine import refine_prompts

    critic, progress = load_critic(parsed), _progress()
    found = critic.critique(
        parsed.images,
        parsed.prompt,
        parsed.source,
        rubric=parsed.rubric,
        progress=progress,
        **_settings(parsed),
    )
    data = [
        {"image": image, "prompt": parsed.prompt, **j.to_dict()}
        for image, j in zip(parsed.images, found.judgements, strict=True)
    ]
    report = found.to_markdown()
    if parsed.refine:
        for entry, refined in zip(
            data, refine_prompts(found, parsed.refine_below, parsed.keep, progress), strict=True
        ):
            entry["refined_prompt"], entry["changed"] = refined.prompt, refined.changed
            report += f"\n\n**Refined prompt.** {refined.prompt}\n\n{refined.comments}"
    if parsed.card:
        from ..models.cards.layout import draw_cards
        from ..models.images import open_image

        cards = draw_cards(
            [open_image(i) for i in parsed.images],
            found.refined(progress=progress),
            [parsed.prompt] * len(parsed.images),
        )
        for number, card in enumerate(cards, 1):
            target = Path(parsed.card)
            card.save(target if len(cards) == 1 else target.with_stem(f"{target.stem}-{number}"))
    _out(parsed, report, {"critic": critic.name, "images": data})


def score_images(parsed: argparse.Namespace) -> None:
    """`score`: one line a picture."""
    critic = load_critic(parsed)
    if parsed.fast:
        judgements = critic.fast_score(
            parsed.images, parsed.prompt, parsed.source, rubric=parsed.rubric, progress=_progress()
        )
    else:
        options = dict(rubric=parsed.rubric, until="scores", progress=_progress(), **_settings(parsed))
        judgements = critic.critique(parsed.images, parsed.prompt, parsed.source, **options).judgements
    lines = [
        f"{'not read' if j.score is None else f'{j.score:.3f}'}  {image}"
        for image, j in zip(parsed.images, judgements, strict=True)
    ]
    data = [
        {"image": image, "prompt": parsed.prompt, **j.to_dict()}
        for image, j in zip(parsed.images, judgements, strict=True)
    ]
    _out(parsed, "\n".join(lines), {"critic": critic.name, "images": data})


def compare(parsed: argparse.Namespace) -> None:
    """`compare`: the winner and why."""
    critic = load_critic(parsed)
    options = dict(
        both_orders=not parsed.one_order, rubric=parsed.rubric, progress=_progress(), **_settings(parsed)
    )
    found = critic.compare(parsed.image_a, parsed.image_b, parsed.prompt, parsed.source, **options)[0]
    data = {
        "critic": critic.name,
        "image_a": parsed.image_a,
        "image_b": parsed.image_b,
        "prompt": parsed.prompt,
        **found.to_dict(),
    }
    _out(parsed, f"{found.to_markdown()}\n\n*Judged by {critic.name}.*", data)


def evaluate_critic(parsed: argparse.Namespace) -> None:
    """`evaluate`: accuracy on a dataset of preferences, and what it is made of."""
    from ..evaluation.evaluate import evaluate
    from ..preferences.dataset import pairs_in
    from .parrot import dataset_at

    pairs = pairs_in(dataset_at(parsed.dataset))  # before the critic is loaded, which takes longer
    options = dict(rubric=parsed.rubric, progress=_progress(), **_settings(parsed))
    found = evaluate(load_critic(parsed), pairs, not parsed.one_order, **options)
    _out(parsed, found.to_markdown(), found.to_dict())


def rubric_list(parsed: argparse.Namespace) -> None:
    """`rubric list`."""
    from ..models.rubrics.rubric import list_rubrics, load_rubric

    folders = paths.rubric_folders()
    for name in (*list_rubrics(folders), *list_rubrics(folders, pair=True)):
        print(f"{name:24} {load_rubric(name, folders).title}")


def rubric_show(parsed: argparse.Namespace) -> None:
    """`rubric show NAME`: the messages as the critic gets them."""
    from ..models.rubrics.rubric import load_rubric

    for message in load_rubric(parsed.name, paths.rubric_folders()).messages("{prompt}"):
        print(f"[{message['role']}]")
        for part in message["content"]:
            print(part["text"] if part["type"] == "text" else f"<{part['image']}>")


def rubric_add(parsed: argparse.Namespace) -> None:
    """`rubric add FILE`."""
    from ..models.rubrics.importing import import_rubric

    target = import_rubric(parsed.file, paths.rubric_folders()[0], parsed.name, parsed.task)
    print(f"Added as {target}")


def shapes_demo(parsed: argparse.Namespace) -> None:
    """`demo`: a table, and a page that shows everything."""
    from ..demo.page import write_page
    from ..demo.rounds import PROMPTS, embedded_critic, facts, play, table

    start = time.monotonic()
    critic = embedded_critic()
    rounds = play(critic, parsed.prompt or PROMPTS, parsed.seed, progress=_progress())
    known = facts(critic, rounds, time.monotonic() - start)
    page = write_page(rounds, parsed.out, "Shapes, judged and painted again", known)
    print(table(rounds))
    print("\n" + "\n".join(f"{name}: {fact}." for name, fact in known.items()))
    print(f"\nSee every picture in {page}")


def make_shapes_critic(parsed: argparse.Namespace) -> None:
    """`parrot demo`: base, pairs, rationales, rows, critic."""
    import dataclasses

    from ..demo.train import Plan, make_critic

    plan = Plan()
    if parsed.base_steps is not None:
        plan = dataclasses.replace(plan, base_steps=parsed.base_steps)
    if parsed.courses:
        courses = zip(plan.courses, parsed.courses, strict=False)
        plan = dataclasses.replace(
            plan, courses=tuple(dataclasses.replace(course, pairs=pairs) for course, pairs in courses)
        )
    print(
        f"The critic is in {make_critic(parsed.work, plan, _progress())}. Copied to demo/critic, it is `shapes demo (CPU)`."
    )


def checkpoint_list(parsed: argparse.Namespace) -> None:
    """`checkpoints`."""
    from ..models.checkpoints.discovery import choices

    roots = paths.model_roots()
    print(f"Looking in {' and '.join(str(root) for root in roots)}")
    for name in choices(roots):
        print(name)
