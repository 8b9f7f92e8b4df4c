"""What a refine loop wins in the shapes world, which way of rewriting wins most, and what a real ComfyUI
makes of it: everything against the true scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from PIL import Image

from rational_rewards.demo.measure import HELD_OUT
from rational_rewards.demo.painter import Painting, paint
from rational_rewards.demo.prompts import parse_request, prompt_of, random_request
from rational_rewards.demo.randomness import stream
from rational_rewards.demo.rounds import aligned
from rational_rewards.demo.scene import TEXT_FAITHFULNESS, flaws_of, score_of
from rational_rewards.models.critic import Critic
from rational_rewards.models.critique import JudgedImage
from rational_rewards.models.loop import LoopStart, SeedMode
from rational_rewards.models.prompts.merge import merge_refined

from .command import add_json, write_json
from .played import PORTION, ROUNDS, SAMPLING, STOP_AT, Way, joined, play

CACHES: dict[str, tuple[str, ...]] = {
    "default": (),
    "--cache-classic": ("--cache-classic",),
    "--cache-lru 3": ("--cache-lru", "3"),
    "--cache-none": ("--cache-none",),
    "--cache-ram": ("--cache-ram",),
}
# Queued loops between which memory is compared.
WARM, QUEUED = 5, 50
# Prompts of a run in ComfyUI.
SERVED = 24


def from_the_artists(critic: Critic, judged: JudgedImage, made_from: str) -> str:
    """Rewrite the artist's prompt each round, whatever the image was made from."""
    answer = critic.refine([judged], SAMPLING)[0]
    return merge_refined(judged.question.prompt, answer.refined_request).prompt


def from_the_current(critic: Critic, judged: JudgedImage, made_from: str) -> str:
    """Rewrite the prompt that the image was made from."""
    answer = critic.refine_from(made_from, judged, SAMPLING)
    return merge_refined(made_from, answer.refined_request).prompt


WAYS: dict[str, Way] = {
    "the artist's prompt": from_the_artists,
    "the current prompt": from_the_current,
    "joined (the loop)": joined,
}


def held_out_prompts(count: int) -> list[str]:
    """Prompts that nothing is trained on."""
    return [prompt_of(random_request(stream(HELD_OUT, "loop", number))) for number in range(count)]


def faithfulness(prompt: str, painting: Painting) -> float:
    """The true one, 1..4, by the artist's prompt."""
    request = parse_request(prompt)
    flaws = flaws_of(request, aligned(request, painting))
    return score_of(flaw for flaw in flaws if flaw.dimension == TEXT_FAITHFULNESS)


class HabitualPainter:
    """The shapes painter, with bad habits as strong as `flaws` (0..1) says; the truth about an image is its
    faithfulness.
    """

    def __init__(self, flaws: float):
        self.flaws = flaws

    def __call__(
        self, asked: Sequence[str], prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[tuple[Image.Image, float]]:
        paintings = [paint(*one, flaws=self.flaws) for one in zip(prompts, seeds, strict=True)]
        return [(one.image, faithfulness(prompt, one)) for prompt, one in zip(asked, paintings, strict=True)]


def figures_of(loops: Sequence[tuple[float, float, int]], returned: int | None = None) -> dict[str, Any]:
    """Of (true faithfulness before, after, rounds): the share of what was missing that was won, how many got
    worse, how many stopped before the last round.
    """
    missing = sum(4 - before for before, _, _ in loops)
    won = sum(after - before for before, after, _ in loops)
    return {
        "loops": len(loops),
        "missing": missing,
        "won": won / missing if missing else None,
        "worse": sum(after < before for before, after, _ in loops),
        "early": sum(count < ROUNDS for _, _, count in loops),
        "rounds": sum(count for _, _, count in loops) / len(loops),
        **({} if returned is None else {"returned": returned}),
    }


def ways(prompts: int, strengths: Sequence[float] = (0.5, 0.9)) -> list[dict[str, Any]]:
    """The ways of rewriting, with weak and strong bad habits of the painter, and both seed modes."""
    found = []
    for flaws in strengths:
        for mode in ("same", "next"):
            for name, way in WAYS.items():
                # A new one, which remembers nothing.
                critic = Critic.load("shapes demo (CPU)", "none", "cpu")
                critic.engine.rows = PORTION  # type: ignore[attr-defined]
                starts = [
                    LoopStart(prompt, ROUNDS, HELD_OUT + number, cast(SeedMode, mode))
                    for number, prompt in enumerate(held_out_prompts(prompts))
                ]
                loops = play(critic, HabitualPainter(flaws), starts, way, way is not from_the_current)
                counts = [(one.first, one.best, len(one.rounds.done)) for one in loops]
                figures = figures_of(counts, sum(one.returned > 0 for one in loops))
                found.append({"way": name, "flaws": flaws, "seeds": mode, **figures})
                print(row(found[-1], "way", "flaws", "seeds"), flush=True)
    return found


def row(figures: dict[str, Any], *names: str) -> str:
    """One line of a table."""
    loops = figures["loops"]
    won = "-" if figures["won"] is None else f"{figures['won']:.1%} of {figures['missing']:.0f}"
    cells = [
        *(str(figures[name]) for name in names),
        won,
        str(figures["worse"]),
        f"{figures['early']} of {loops}",
        f"{figures['rounds']:.2f}",
        *([str(figures["returned"])] if "returned" in figures else []),
    ]
    return f"| {' | '.join(cells)} |"


def head(*names: str, returned: bool = True) -> str:
    """The head of such a table."""
    titles = [
        *names,
        "missing faithfulness won",
        "worse",
        "stopped early",
        "rounds",
        *(["came back to a prompt"] if returned else []),
    ]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def graph(prompt: str, seed: int, flaws: float) -> dict[str, Any]:
    """A loop as an API workflow."""
    end = {"loop": ["start", 0], "critic": ["critic", 0], "image": ["paint", 0], "stop_at": STOP_AT}
    inputs = {
        "LoadCritic": ("critic", {"checkpoint": "shapes demo (CPU)", "quantization": "none"}),
        "LoopStart": ("start", {"prompt": prompt, "max_rounds": ROUNDS, "seed": seed}),
        "ShapesPainter": ("paint", {"prompt": ["start", 1], "seed": ["start", 3], "flaws": flaws}),
        "LoopEnd": ("end", end),
    }
    nodes = {
        id: {"class_type": f"RationalRewards{kind}", "inputs": given} for kind, (id, given) in inputs.items()
    }
    return {**nodes, "best": {"class_type": "PreviewImage", "inputs": {"images": ["end", 0]}}}


def start_server(checkout: Path, folder: Path, *options: str) -> Any:
    """A real ComfyUI."""
    scripts = str(Path(__file__).resolve().parent.parent / "scripts")
    if scripts not in sys.path:
        sys.path.append(scripts)
    from comfyui_server import Server  # type: ignore[import-not-found]

    return Server(checkout, folder, *options)


def in_comfyui(checkout: Path, prompts: int = SERVED, flaws: float = 0.9) -> list[dict[str, Any]]:
    """Loops through a real ComfyUI, in every cache mode that it has."""
    found = []
    for name, options in CACHES.items():
        with TemporaryDirectory() as folder:
            try:
                server = start_server(checkout, Path(folder), *options)
            except RuntimeError as error:
                if "unrecognized arguments" not in str(error):
                    raise
                continue
            try:
                loops = [
                    _played(
                        server.run(graph(prompt, HELD_OUT + number, flaws)), prompt, HELD_OUT + number, flaws
                    )
                    for number, prompt in enumerate(held_out_prompts(prompts))
                ]
            finally:
                server.stop()
        found.append({"cache": name, **figures_of(loops)})
        print(row(found[-1], "cache"), flush=True)
    return found


def _played(outputs: dict[str, Any], prompt: str, seed: int, flaws: float) -> tuple[float, float, int]:
    rounds = outputs["end"]["rational_rewards"][0]["rounds"]
    made_from = [one["after"] for one in rounds]
    best = next(one["after"] for one in rounds if one["best"])
    before, after = (faithfulness(prompt, paint(one, seed, flaws=flaws)) for one in (made_from[0], best))
    return before, after, len(rounds)


def memory(checkout: Path) -> dict[str, Any]:
    """Megabytes of the server after a few queued loops and after many."""
    import psutil

    with TemporaryDirectory() as folder:
        server = start_server(checkout, Path(folder))
        try:
            process = psutil.Process(server.process.pid)
            sizes = []
            for number, prompt in enumerate(held_out_prompts(QUEUED)):
                server.run(graph(prompt, HELD_OUT + number, 0.9))
                sizes.append(process.memory_info().rss / 2**20)
        finally:
            server.stop()
    few, many = sizes[WARM - 1], sizes[-1]
    return {"few": few, "many": many, "grown": many / few - 1, "sizes": sizes}


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "loop", help="what a refine loop wins, by ways of rewriting or through a real ComfyUI"
    )
    parser.add_argument("--prompts", type=int, default=96, help="loops of each way (24 with --server)")
    parser.add_argument(
        "--server", type=Path, help="a ComfyUI checkout: run the loops there, in each cache mode"
    )
    parser.add_argument(
        "--memory", action="store_true", help="with --server: its memory after 5 loops and 50"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    write_json(_printed(options.prompts, options.server, options.memory), options.json)


def _printed(prompts: int, server: Path | None, memory_only: bool) -> Any:
    """The figures, printed as they come."""
    if server and memory_only:
        grown = memory(server)
        print(
            f"{grown['few']:.0f} MB after {WARM} loops, {grown['many']:.0f} MB after {QUEUED}: "
            f"{grown['grown']:+.1%}"
        )
        return grown
    if server:
        print(head("cache", returned=False))
        return in_comfyui(server, min(prompts, SERVED))
    print(head("rewritten from", "flaws", "seeds"))
    return ways(prompts)
