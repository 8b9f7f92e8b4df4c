"""`critique`, `score` and `compare`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..models.critic import Critic
from ..models.critique import Critique
from ..models.engines.base import Progress
from ..models.errors import QuestionError
from ..models.judgement import Judgement
from .inputs import expand, prompt_for
from .options import add_judging, load_critic, sampling
from .output import check_json_target, complain, emit, file_target, numbered, progress, save_image

# Images that are judged side by side; only as many are open at once.
PORTION = 8
Result = TypeVar("Result")


def add_commands(commands: Any) -> None:
    """Add the commands that judge images."""
    critique = commands.add_parser("critique", help="judge images in words and scores")
    critique.add_argument("images", nargs="+", help="image files, folders or patterns")
    add_judging(critique)
    critique.add_argument("--refine", action="store_true", help="also rewrite the prompt")
    critique.add_argument(
        "--refine-below",
        type=float,
        default=4.0,
        metavar="SCORE",
        help="rewrite only when a dimension scores below this (1 to 4); default: 4",
    )
    critique.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PHRASE",
        help="words that must stay in the rewritten prompt",
    )
    critique.add_argument("--card", metavar="FILE", help="also draw a card to share (.png, .jpg or .webp)")
    critique.set_defaults(run=run_critique)

    score = commands.add_parser("score", help="scores alone, one line an image")
    score.add_argument("images", nargs="+", help="image files, folders or patterns")
    add_judging(score)
    score.add_argument(
        "--fast", action="store_true", help="read scores without reasoning: quick, but not calibrated"
    )
    score.set_defaults(run=run_score)

    compare = commands.add_parser("compare", help="which of two images is better")
    compare.add_argument("image_a", help="image file A")
    compare.add_argument("image_b", help="image file B")
    add_judging(compare)
    compare.add_argument("--one-order", action="store_true", help="judge only A before B")
    compare.set_defaults(run=run_compare)


@dataclass
class _Asked:
    """Images with their prompts, and the sentences of those that cannot be judged."""

    images: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def fail(self, image: str, error: QuestionError) -> None:
        self.failed[image] = str(error)
        complain(str(error))

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0

    def data(self) -> list[dict[str, str]]:
        return [{"image": image, "error": sentence} for image, sentence in self.failed.items()]


def run_critique(parsed: argparse.Namespace) -> int:
    """`critique`: reports, JSON, and on request refined prompts and cards."""
    from ..models.refine import refine_prompts, with_refined

    check_json_target(parsed)
    card = file_target(parsed.card, ".png", ".jpg", ".jpeg", ".webp")
    asked = _asked(parsed)
    critic, watched = load_critic(parsed), progress(parsed)

    def judge(images: Sequence[str], prompts: Sequence[str], inner: Progress) -> list[Critique]:
        critique = critic.critique(
            list(images),
            list(prompts),
            parsed.source,
            rubric=parsed.rubric,
            progress=inner,
            **sampling(parsed),
        )
        return [Critique([item], critic, critique.sampling) for item in critique.items]

    reports, entries, cards = [], [], []
    for image, prompt, critique in _in_portions(asked, judge, watched):
        report = critique.judgements[0].to_markdown()
        entry: dict[str, Any] = {"image": image, "prompt": prompt, **critique.judgements[0].to_dict()}
        if parsed.refine or card:
            refined = refine_prompts(critique, parsed.refine_below, parsed.keep, watched)[0]
            if parsed.refine:
                entry |= {"refined_prompt": refined.prompt, "changed": refined.changed}
                report += f"\n\n**Refined prompt.** {refined.prompt}\n\n{refined.comments}"
            if card:
                from ..models.cards.layout import draw_card
                from ..models.images import open_image

                judgement = with_refined(critique.judgements[0], refined)
                cards.append(draw_card(open_image(image), judgement, prompt))
        reports.append(f"## {image}\n\n{report}")
        entries.append(entry)
    if len(reports) == 1:
        reports = [reports[0].split("\n\n", 1)[1]]
    emit(
        "\n\n".join([*reports, f"*Judged by {critic.name}.*"]),
        {"critic": critic.name, "images": [*entries, *asked.data()]},
        parsed.json,
    )
    if card:
        for drawn, target in zip(cards, numbered(card, len(cards)), strict=True):
            save_image(drawn, target)
    return asked.exit_code


def run_score(parsed: argparse.Namespace) -> int:
    """`score`: one line an image."""
    check_json_target(parsed)
    asked = _asked(parsed)
    critic = load_critic(parsed)
    if parsed.fast:
        critic.require("expected_scores")
    judge = _fast_judge(critic, parsed) if parsed.fast else _score_judge(critic, parsed)
    lines, entries = [], []
    for image, prompt, judgement in _in_portions(asked, judge, progress(parsed)):
        shown = "not read" if judgement.score is None else f"{judgement.score:.3f}"
        lines.append(f"{shown}  {image}")
        entries.append({"image": image, "prompt": prompt, **judgement.to_dict()})
    data = {"critic": critic.name, "images": [*entries, *asked.data()]}
    emit("\n".join(lines), data, parsed.json)
    return asked.exit_code


def _score_judge(critic: Critic, parsed: argparse.Namespace) -> Judge[Judgement]:
    def judge(images: Sequence[str], prompts: Sequence[str], inner: Progress) -> list[Judgement]:
        critique = critic.critique(
            list(images),
            list(prompts),
            parsed.source,
            rubric=parsed.rubric,
            until="scores",
            progress=inner,
            **sampling(parsed),
        )
        return critique.judgements

    return judge


def _fast_judge(critic: Critic, parsed: argparse.Namespace) -> Judge[Judgement]:
    def judge(images: Sequence[str], prompts: Sequence[str], inner: Progress) -> list[Judgement]:
        return critic.fast_score(
            list(images), list(prompts), parsed.source, rubric=parsed.rubric, progress=inner
        )

    return judge


def run_compare(parsed: argparse.Namespace) -> int:
    """`compare`: the winner and why."""
    check_json_target(parsed)
    (image_a,), (image_b,) = expand([parsed.image_a]), expand([parsed.image_b])
    prompt = prompt_for(image_a, parsed.prompt)
    critic = load_critic(parsed)
    comparison = critic.compare(
        image_a,
        image_b,
        prompt,
        parsed.source,
        both_orders=not parsed.one_order,
        rubric=parsed.rubric,
        progress=progress(parsed),
        **sampling(parsed),
    )[0]
    data = {
        "critic": critic.name,
        "image_a": image_a,
        "image_b": image_b,
        "prompt": prompt,
        **comparison.to_dict(),
    }
    emit(f"{comparison.to_markdown()}\n\n*Judged by {critic.name}.*", data, parsed.json)
    return 0


def _asked(parsed: argparse.Namespace) -> _Asked:
    """The images with their prompts. Raises QuestionError where not one of them can be judged."""
    asked = _Asked()
    named = expand(parsed.images)
    for image in named:
        try:
            prompt = prompt_for(image, parsed.prompt)
        except QuestionError as error:
            if len(named) == 1:
                raise
            asked.fail(image, error)
        else:
            asked.images.append(image)
            asked.prompts.append(prompt)
    if not asked.images:
        raise QuestionError("Not one of the images can be judged.")
    return asked


Judge = Callable[[Sequence[str], Sequence[str], Progress], list[Result]]


def _in_portions(asked: _Asked, judge: Judge[Result], watched: Progress) -> list[tuple[str, str, Result]]:
    """(image, prompt, result) of every image that can be judged.

    A bad image costs only itself; its sentence is kept.

    Raises QuestionError where it is the only one.
    """
    results: list[tuple[str, str, Result]] = []
    total = len(asked.images)
    for start in range(0, total, PORTION):
        images = asked.images[start : start + PORTION]
        prompts = asked.prompts[start : start + PORTION]
        try:
            judged = judge(images, prompts, watched.within(start, len(images), total))
            results += zip(images, prompts, judged, strict=True)
            continue
        except QuestionError:
            if total == 1:
                raise
        # One of them is at fault; the others are not asked again where they were answered.
        for index, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            try:
                judged = judge([image], [prompt], watched.within(start + index, 1, total))
                results += zip([image], [prompt], judged, strict=True)
            except QuestionError as error:
                asked.fail(image, error)
    return results
