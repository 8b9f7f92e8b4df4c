"""How much the engine saves against the plain way, one `generate` a question, on random weights of a
realistic shape.

Random weights write nonsense, but every token costs what it costs: the form fixes how many tokens each text
has (a model that never ends a text uses its whole budget), and `generate` is made to write exactly as many.
Each pair of measurements runs side by side, ours and the plain way in turn, so that whatever else the machine
does meets both.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rational_rewards.demo.checkpoint import (
    EIGHT_BILLION,
    HALF_BILLION,
    HUNDRED_MILLION,
    TINY,
    build_checkpoint,
)
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.models.critic import Critic
from rational_rewards.models.devices import pick_device
from rational_rewards.models.engines.session import Session
from rational_rewards.models.engines.transformers_engine import TransformersEngine
from rational_rewards.models.question import Question

from .command import add_json, report
from .machine import counts_processor_time, machine, precision

SHAPES = {"tiny": TINY, "hundred-million": HUNDRED_MILLION, "half-billion": HALF_BILLION, "8b": EIGHT_BILLION}
PROMPT = "A red fox reads a newspaper on a wooden bench in a snowy park, morning light, photograph"
ROUNDS = 4
PAIRS = ("one", "orders", "loop", "fast", "batch")
FAST_SCORE = "fast score"
# What ours has to reach, as a ratio of the plain way's seconds.
WANTED = {
    "critique, score and refine": 3.4,
    "compare in both orders": 1.3,
    "a loop of four rounds": 3.0,
    FAST_SCORE: 12.0,
}


@dataclass
class Pair:
    """One comparison: the same work in our way and the plain way, and the seconds that each run took."""

    name: str
    ours: Callable[[], Any]
    plain: Callable[[], Any]
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Medians of the seconds, and the median of the ratios of runs that stood side by side."""
        ours, plain = zip(*self.seconds, strict=True)
        return {
            "ours_seconds": statistics.median(ours),
            "plain_seconds": statistics.median(plain),
            "ratio": statistics.median(p / o for o, p in self.seconds),
            "runs": len(self.seconds),
        }


class Bench:
    """A loaded model and its questions. `tokens` is the limit of the free text of a whole answer.

    The plain way ends with the last token that its question needs, or, where `whole`, with the answer: the
    published prompt asks for all of it, and nothing stops `generate` sooner.
    """

    def __init__(self, loaded: Any, tokens: int, whole: bool = False):
        self.loaded = loaded
        self.whole = whole
        self.sampling: dict[str, Any] = {"max_new_tokens": tokens}
        # Made once, as when a checkpoint is loaded.
        self.engine = TransformersEngine(loaded.model, loaded.processor)

    def critic(self, rows: int = 8) -> Critic:
        """A critic that has seen nothing yet."""
        self.engine.release()
        self.engine.seen.kept.clear()
        self.engine.prepared.clear()
        self.engine.rows = rows
        return Critic(self.engine, "benchmark")

    def ask(self, critic: Critic, image: Image.Image, prompt: str) -> None:
        """The three questions about one image."""
        critique = critic.critique(image, prompt, **self.sampling)
        critic.score(image, prompt, **self.sampling)
        critique.refined()

    def answer_tokens(self, image: Image.Image, prompt: str) -> dict[str, int]:
        """Tokens of an answer up to the end of each part."""
        critic, counts = self.critic(), {}
        for until in ("scores", "judgement", "refinement"):
            critic.critique(image, prompt, until=until, **self.sampling)  # type: ignore[arg-type]
            counts[until] = next(iter(critic.answering.cache.values.values())).tokens
        return counts

    def written(self, counts: dict[str, int], part: str) -> int:
        """Tokens that the plain way writes for a part of the answer."""
        return counts["refinement" if self.whole else part]

    def inputs(self, question: Question) -> dict[str, torch.Tensor]:
        """A question as `generate` takes it."""
        return self.engine.encoder.encode(question, self.engine.device)

    def question(self, image: Image.Image, prompt: str) -> Question:
        """The question about one image."""
        return self.critic().questions({"image": image}, prompt)[0]

    def generate(self, inputs: dict[str, torch.Tensor], count: int) -> None:
        """`generate`, made to write exactly `count` tokens."""
        model = self.loaded.model
        known = inspect.signature(model.forward).parameters
        given = {key: value for key, value in inputs.items() if key in known}
        mask = torch.ones_like(inputs["input_ids"])
        with never_ending(model):
            model.generate(
                **given, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=False
            )


@contextmanager
def never_ending(model: Any) -> Iterator[None]:
    """Without the tokens that end a turn: random weights may write one at any place."""
    before = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = None
    try:
        yield
    finally:
        model.generation_config.eos_token_id = before


def run(
    shape: str,
    quantization: str,
    device: str,
    tokens: int,
    repeat: int,
    images: int,
    folder: Path | None,
    pairs: Sequence[str] = PAIRS,
    whole: bool = False,
) -> dict[str, Any]:
    """The figures of one shape on one device: seconds and ratios (medians), bytes."""
    device = pick_device(device)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = folder or Path(scratch) / shape
        if not (checkpoint / "config.json").is_file():
            build_checkpoint(checkpoint, SHAPES[shape], dtype="bfloat16", shards="2GB")
        start = time.perf_counter()
        loaded = load(checkpoint, quantization, device, dtype=precision(quantization, device))
        figures: dict[str, Any] = {
            "machine": machine(device),
            "torch": torch.__version__,
            "transformers": __import__("transformers").__version__,
            "shape": shape,
            "quantization": loaded.quantization,
            "whole": whole,
            "dtype": str(loaded.model.dtype).removeprefix("torch."),
            "parameters": SHAPES[shape].__dict__,
            "load_seconds": time.perf_counter() - start,
            "weight_bytes": loaded.bytes,
        }
        return figures | measure(Bench(loaded, tokens, whole), device, repeat, images, pairs)


def measure(bench: Bench, device: str, repeat: int, images: int, names: Sequence[str]) -> dict[str, Any]:
    """The pairs of these names `repeat` times, ours and the plain way in turn; each is printed at once."""
    pictures = noise(max(images, ROUNDS))
    question = bench.question(pictures[0], PROMPT)
    inputs, counts = bench.inputs(question), bench.answer_tokens(pictures[0], PROMPT)
    # The first call of anything is slow.
    bench.generate(inputs, 4)
    makers: dict[str, Callable[[], Pair]] = {
        "one": lambda: one_image(bench, pictures[0], inputs, counts),
        "orders": lambda: both_orders(bench, pictures[0], pictures[1]),
        "loop": lambda: loop(bench, pictures[:ROUNDS]),
        "fast": lambda: fast_score(bench, pictures[0], inputs, counts),
        "batch": lambda: batch(bench, pictures[:images]),
    }
    pairs = [makers[name]() for name in names]
    for pair in pairs:
        if pair.name == FAST_SCORE:
            # Short enough for its first call to count.
            pair.ours()
    for number in range(repeat):
        for pair in pairs:
            pair.seconds.append((timed(pair.ours, device)[1], timed(pair.plain, device)[1]))
            ours, plain = pair.seconds[-1]
            print(
                f"run {number + 1}, {pair.name}: {plain / ours:.2f} ({ours:.1f} s, {plain:.1f} s)", flush=True
            )
    figures: dict[str, Any] = {
        "prompt_tokens": inputs["input_ids"].shape[1],
        "answer_tokens": counts,
        "pairs": {pair.name: pair.figures() for pair in pairs},
    }
    return figures | decode_speed(bench.loaded, inputs, device)


def one_image(bench: Bench, image: Image.Image, inputs: Any, counts: dict[str, int]) -> Pair:
    """Three questions about one image, as three nodes ask them."""

    def plain() -> None:
        for part in ("judgement", "scores", "refinement"):
            bench.generate(inputs, bench.written(counts, part))

    return Pair("critique, score and refine", lambda: bench.ask(bench.critic(), image, PROMPT), plain)


def both_orders(bench: Bench, a: Image.Image, b: Image.Image) -> Pair:
    """A pair of images, each shown first once."""
    critic = bench.critic()
    critic.compare(a, b, PROMPT, **bench.sampling)
    asked = [bench.inputs(answer.resume.question) for answer in critic.answering.cache.values.values()]
    tokens = [answer.tokens for answer in critic.answering.cache.values.values()]

    def plain() -> None:
        for inputs, count in zip(asked, tokens, strict=True):
            bench.generate(inputs, count)

    return Pair(
        "compare in both orders", lambda: bench.critic().compare(a, b, PROMPT, **bench.sampling), plain
    )


def loop(bench: Bench, images: Sequence[Image.Image]) -> Pair:
    """Rounds of a refine loop, each with a new image and prompt and the same three questions; one critic for
    all of them. The painter costs nothing.
    """
    rounds = [(image, f"{PROMPT}, round {number}") for number, image in enumerate(images)]
    asked = [(bench.inputs(bench.question(*one)), bench.answer_tokens(*one)) for one in rounds]

    def ours() -> None:
        critic = bench.critic()
        for image, prompt in rounds:
            bench.ask(critic, image, prompt)

    def plain() -> None:
        for inputs, counts in asked:
            for part in ("judgement", "scores", "refinement"):
                bench.generate(inputs, bench.written(counts, part))

    return Pair("a loop of four rounds", ours, plain)


def fast_score(bench: Bench, image: Image.Image, inputs: Any, counts: dict[str, int]) -> Pair:
    """Scores of a new image without reasoning, against an answer up to its last score."""
    return Pair(
        FAST_SCORE,
        lambda: bench.critic().fast_score(image, PROMPT),
        lambda: bench.generate(inputs, bench.written(counts, "scores")),
    )


def batch(bench: Bench, images: Sequence[Image.Image]) -> Pair:
    """Critiques of several images: as a batch, against ours one after the other."""

    def singles() -> None:
        critic = bench.critic(rows=1)
        for image in images:
            critic.critique(image, PROMPT, **bench.sampling)

    together = f"{len(images)} images as a batch, against ours one by one"
    return Pair(together, lambda: bench.critic().critique(list(images), PROMPT, **bench.sampling), singles)


def decode_speed(
    loaded: Any, inputs: dict[str, torch.Tensor], device: str, rows: int = 1, steps: int = 32
) -> dict[str, Any]:
    """Tokens a second of `rows` rows together, token by token."""
    session = Session.prefill(loaded.model, inputs)
    if rows > 1:
        session = session.fork(rows)
    session.feed([[5]] * rows)

    def step_by_step() -> None:
        for _ in range(steps):
            session.feed([[token] for token in session.logits.argmax(-1).tolist()])

    _, seconds = timed(step_by_step, device)
    return {"tokens_per_second": rows * steps / seconds, "cache_bytes": session.nbytes}


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result of some work and the seconds it took, the device's queue included.

    On one thread of a processor these are the processor's seconds: what else it does then does not count.
    """
    clock = time.process_time if counts_processor_time(device) else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, clock() - start


def noise(count: int, size: int = 512) -> list[Image.Image]:
    """Different pictures of equal size."""
    random = np.random.default_rng(0)
    small = [random.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return [Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC) for pixels in small]


def table(figures: dict[str, Any]) -> str:
    """The figures to read, as Markdown."""
    counts = figures["answer_tokens"]
    plain = ", all of it in the plain way" if figures["whole"] else ""
    lines = [
        f"{figures['machine']}, torch {figures['torch']}, transformers {figures['transformers']}; "
        f"{figures['shape']}, {figures['quantization']}, {figures['dtype']}, "
        f"{figures['weight_bytes'] / 1e9:.2f} GB; prompt {figures['prompt_tokens']} tokens, answer "
        f"{counts['scores']} to the scores, {counts['judgement']} with summary, {counts['refinement']} with "
        f"refinement{plain}; {figures['tokens_per_second']:.1f} tokens/s in one row",
        "",
        "| what | ours | the plain way | ratio | wanted | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in figures["pairs"].items():
        wanted = f"{WANTED[name]:.1f}" if name in WANTED else ""
        lines.append(
            f"| {name} | {one['ours_seconds']:.1f} s | {one['plain_seconds']:.1f} s | {one['ratio']:.2f} "
            f"| {wanted} | {one['runs']} |"
        )
    return "\n".join(lines)


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "engine", help="one reading for many questions, both orders, loops and batches against the plain way"
    )
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), default="half-billion", help="random weights of this size"
    )
    parser.add_argument("--quantization", choices=["nf4", "int8", "none"], default="none")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps, cpu")
    parser.add_argument("--tokens", type=int, default=350, help="free-text tokens of a whole answer")
    parser.add_argument("--repeat", type=int, default=3, help="runs; medians are printed")
    parser.add_argument("--images", type=int, default=8, help="size of the batch")
    parser.add_argument(
        "--folder", type=Path, help="keep the random checkpoint there (default: a temporary folder)"
    )
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=PAIRS, help="what to measure")
    parser.add_argument(
        "--whole", action="store_true", help="the plain way writes the whole answer to each question"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    figures = run(
        options.shape,
        options.quantization,
        options.device,
        options.tokens,
        options.repeat,
        options.images,
        options.folder,
        options.pairs,
        options.whole,
    )
    report(figures, table(figures), options.json)
