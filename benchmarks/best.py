"""Picking the best of a batch: what expected scores are worth, and how often a tournament finds the best of
16. The critic is held against the true scenes, the tournament alone against judges of known accuracy.

A comparison in both orders counts as one.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from rational_rewards.demo.measure import HELD_OUT, PORTION, Share, held_out
from rational_rewards.demo.painter import imagine
from rational_rewards.demo.preference_pairs import World
from rational_rewards.demo.prompts import phrased, random_request
from rational_rewards.demo.randomness import stream
from rational_rewards.demo.render import render
from rational_rewards.demo.sentences import PictureCase, total
from rational_rewards.models import tournament
from rational_rewards.models.best_of import best_of, order_by_score
from rational_rewards.models.critic import Critic

from .command import add_critic, add_json, report
from .shapes import SIDE_BY_SIDE

# Images of one group, and how strong the painter's habits are: several flaws each, so that images differ.
GROUP, HABITS = 16, 0.9
# Differences of overall scores that are a tie.
EQUAL = 1e-9
# Share of comparisons that the simulated judges get wrong.
NOISE = (0.0, 0.05, 0.1, 0.2)
SIZES = (4, 8, 16, 32)


def run(
    checkpoint: str, pairs: int, groups: int, first: int, compared: int, simulated: int
) -> dict[str, Any]:
    """All figures: `pairs` held-out pairs judged one by one, the first `compared` of them also side by side,
    `groups` tournaments from number `first` on, and `simulated` tournaments for each size and noise.
    """
    figures: dict[str, Any] = {"pairs": pairs, "compared": compared, "groups": groups, "simulated": simulated}
    figures["simulation"] = [
        simulate(size, noise, simulated) for size, noise in itertools.product(SIZES, NOISE) if simulated
    ]
    if pairs or compared or groups:
        critic = Critic.load(checkpoint, "none", "cpu")
        critic.engine.rows = SIDE_BY_SIDE  # type: ignore[attr-defined]
        figures["critic"] = critic.name
        start = time.monotonic()
        figures["single"] = measure_single(critic, held_out(pairs)) if pairs else None
        figures["side_by_side"] = measure_compared(critic, held_out(compared)) if compared else None
        figures["tournament"] = measure_tournament(critic, range(first, first + groups)) if groups else None
        figures["seconds"] = round(time.monotonic() - start)
    return figures


def measure_single(critic: Critic, worlds: Sequence[World]) -> dict[str, Any]:
    """Both pictures of every pair judged alone: ties, and who is right where there is a preference."""
    scores: list[tuple[World, list[tuple[float, float]]]] = []
    for portion in _portions(worlds):
        pictures = [one.pictures for one in portion]
        sources = [each["source"] for each in pictures] if "source" in pictures[0] else None
        sides = [
            critic.critique(
                [each[side] for each in pictures], [one.prompt for one in portion], sources, until="scores"
            ).judgements
            for side in "ab"
        ]
        for one, *both in zip(portion, *sides, strict=True):
            scores.append((one, [(j.score or 0.0, j.expected_score or 0.0) for j in both]))
    return _figures([(one, a[0] - b[0], a[1] - b[1]) for one, (a, b) in scores])


def measure_compared(critic: Critic, worlds: Sequence[World]) -> dict[str, Any]:
    """The same by comparisons in both orders."""
    margins = []
    for portion in _portions(worlds):
        pictures = [one.pictures for one in portion]
        sources = [each["source"] for each in pictures] if "source" in pictures[0] else None
        said = critic.compare(
            [each["a"] for each in pictures],
            [each["b"] for each in pictures],
            [one.prompt for one in portion],
            sources,
            until="scores",
        )
        for one, comparison in zip(portion, said, strict=True):
            margins.append((one, comparison.margin or 0.0, comparison.expected_margin or 0.0))
    return _figures(margins)


def _portions(worlds: Sequence[World]) -> Iterator[list[World]]:
    for task in ("t2i", "edit"):
        chosen = [one for one in worlds if one.a.task == task]
        yield from (chosen[start : start + PORTION // 2] for start in range(0, len(chosen), PORTION // 2))


def _figures(margins: Sequence[tuple[World, float, float]]) -> dict[str, Any]:
    """From (pair, margin by written scores, margin by expected scores), A minus B."""
    ties = {name: Share() for name in ("written", "expected")}
    # Pairs of one and the same picture are no test of who is better; they tie, and have to.
    same = Share()
    # A tie is wrong where there is a preference; "broken": expected scores decide the ties alone.
    right = {name: Share() for name in ("written", "expected", "broken")}
    for one, written, expected in margins:
        found = {"written": written, "expected": expected}
        found["broken"] = written if abs(written) > EQUAL else expected
        pictures = one.pictures
        equal = pictures["a"].tobytes() == pictures["b"].tobytes()
        for name, share in ties.items():
            if not equal:
                share.add(abs(found[name]) <= EQUAL)
        if equal:
            same.add(abs(expected) <= EQUAL)
        if one.preferred != "tie":
            sign = 1 if one.preferred == "A" else -1
            for name, share in right.items():
                share.add(sign * found[name] > EQUAL)
    return {
        "same": vars(same),
        "ties": {name: vars(share) for name, share in ties.items()},
        "right": {name: vars(share) for name, share in right.items()},
    }


def group(number: int) -> tuple[str, list[Image.Image], int]:
    """A held-out prompt, 16 images of it, and the index of the one that is truly the best: groups without a
    single best are passed over.
    """
    for attempt in itertools.count():
        rng = stream(HELD_OUT, "group", number, attempt)
        request = random_request(rng)
        prompt = phrased(request, rng)
        looks = [rng.getrandbits(32) for _ in range(GROUP)]
        scenes = [imagine(request, look, HABITS) for look in looks]
        truth = [total(PictureCase(request, scene).remarks()) for scene in scenes]
        if truth.count(max(truth)) == 1:
            images = [render(scene, look) for scene, look in zip(scenes, looks, strict=True)]
            return prompt, images, truth.index(max(truth))
    raise AssertionError


def measure_tournament(critic: Critic, groups: Sequence[int]) -> dict[str, Any]:
    """How often the true best of 16 comes first by a tournament, and by scores with and without expected
    ones.
    """
    found, scored, first, comparisons = Share(), Share(), Share(), []
    for number in groups:
        prompt, images, truth = group(number)
        best = best_of(critic, images, prompt, method="tournament", seed=number)
        comparisons.append(best.comparisons)
        found.add(best.ranking[0].index == truth)
        judgements = critic.critique(images, prompt, until="scores").judgements
        scored.add(order_by_score(judgements)[0] == truth)
        first.add(max(range(GROUP), key=lambda index: judgements[index].score or 0.0) == truth)
        print(f"{number}: {best.comparisons} comparisons; found {found}; by scores {scored}", flush=True)
    return {
        "found": vars(found),
        "by_score": vars(scored),
        "by_score_first_of_equals": vars(first),
        "comparisons": comparisons,
    }


def simulate(size: int, noise: float, runs: int) -> dict[str, Any]:
    """Tournaments of `size` images in a strict order, with a judge who gets each comparison wrong with
    probability `noise`.
    """
    found, places, comparisons = Share(), [], []
    for number in range(runs):
        rng = random.Random(repr((size, noise, number)))
        quality = rng.sample(range(size), size)

        played = tournament.play(size, _noisy_judge(quality, noise, rng), number)
        found.add(quality[played.order[0]] == size - 1)
        places.append(size - quality[played.order[0]])
        comparisons.append(len(played.matches))
    return {
        "size": size,
        "noise": noise,
        "found": vars(found),
        "mean_place": statistics.mean(places),
        "comparisons": comparisons,
    }


def _noisy_judge(quality: Sequence[int], noise: float, rng: random.Random) -> tournament.Compare:
    def compare(pairs: Sequence[tournament.Pair]) -> list[float | None]:
        return [float((quality[a] > quality[b]) != (rng.random() < noise)) for a, b in pairs]

    return compare


def table(figures: dict[str, Any]) -> str:
    """The figures to read."""
    lines: list[str] = []
    if figures.get("critic"):
        lines += [f"{figures['critic']}, {figures['seconds']} s", ""]
    for key, title in (("single", "judged one by one"), ("side_by_side", "compared in both orders")):
        if found := figures.get(key):
            lines += [f"| pairs {title} | written scores | expected scores | expected break ties |"]
            lines += ["|---|---|---|---|", _row("ties", found["ties"]), _row("right", found["right"])]
            lines += [f"| pairs of one picture that tie | | {Share(**found['same'])} | |", ""]
    if found := figures.get("tournament"):
        lines += ["| the true best of 16 comes first | | comparisons |", "|---|---|---|"]
        played = found["comparisons"]
        spent = f"{statistics.mean(played):.1f}, at most {max(played)}"
        lines += [f"| tournament | {Share(**found['found'])} | {spent} |"]
        lines += [f"| scores, ties by expected scores | {Share(**found['by_score'])} | 0 |"]
        lines += [f"| scores, the first of equals | {Share(**found['by_score_first_of_equals'])} | 0 |", ""]
    lines += [
        "| simulated judge: wrong | images | the best comes first | mean place of the first | comparisons |",
        "|---|---|---|---|---|",
    ]
    for one in figures["simulation"]:
        played, pairs = one["comparisons"], one["size"] * (one["size"] - 1) // 2
        lines.append(
            f"| {one['noise']:.0%} | {one['size']} | {Share(**one['found'])} | {one['mean_place']:.2f} | "
            f"{statistics.mean(played):.1f}, at most {max(played)} of {pairs} |"
        )
    return "\n".join(lines)


def _row(name: str, shares: dict[str, dict[str, int]]) -> str:
    title = {
        "ties": "ties, of the pairs whose pictures differ",
        "right": "right, of the pairs with a preference",
    }[name]
    cells = [str(Share(**shares[key])) if key in shares else "" for key in ("written", "expected", "broken")]
    return f"| {title} | {' | '.join(cells)} |"


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "best", help="ties with and without expected scores, and whether a tournament finds the best of 16"
    )
    add_critic(parser)
    parser.add_argument("--pairs", type=int, default=600, help="pairs judged one by one; 0: none")
    parser.add_argument("--compared", type=int, default=200, help="pairs compared side by side; 0: none")
    parser.add_argument("--groups", type=int, default=40, help="tournaments of 16 images; 0: none")
    parser.add_argument("--first", type=int, default=0, help="number of the first tournament")
    parser.add_argument("--simulated", type=int, default=400, help="tournaments a size and noise; 0: none")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    figures = run(
        options.checkpoint,
        options.pairs,
        options.groups,
        options.first,
        options.compared,
        options.simulated,
    )
    report(figures, table(figures), options.json)
