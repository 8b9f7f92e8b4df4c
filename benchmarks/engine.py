"""How much the engine saves against one `generate` a question, on random weights of a realistic shape.

Random weights write nonsense, but every token costs what it costs: the form fixes how many tokens each text
has (a model that never ends a text uses its whole budget), and `generate` is made to write exactly as many.
"""

from __future__ import annotations

import inspect
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rational_rewards.demo.checkpoint import EIGHT_BILLION, HALF_BILLION, TINY, build_checkpoint
from rational_rewards.models.checkpoints.layers import memory
from rational_rewards.models.checkpoints.loading import load
from rational_rewards.models.critic import Critic, pick_device
from rational_rewards.models.engines.session import Session
from rational_rewards.models.engines.transformers_engine import TransformersEngine

SHAPES = {"tiny": TINY, "half-billion": HALF_BILLION, "8b": EIGHT_BILLION}
PROMPT = "A red fox reads a newspaper on a wooden bench in a snowy park, morning light, photograph"


def run(
    shape: str, quantization: str, device: str, tokens: int, repeat: int, images: int, folder: Path | None
) -> dict[str, Any]:
    """All figures of one shape on one device: seconds (medians), ratios, bytes."""
    device = pick_device(device)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = folder or Path(scratch) / shape
        if not (checkpoint / "config.json").is_file():
            build_checkpoint(checkpoint, SHAPES[shape], dtype="bfloat16", shards="2GB")
        start = time.perf_counter()
        loaded = load(checkpoint, quantization, device)
        figures: dict[str, Any] = {
            "machine": machine(device),
            "torch": torch.__version__,
            "transformers": __import__("transformers").__version__,
            "shape": shape,
            "quantization": loaded.quantization,
            "parameters": SHAPES[shape].__dict__,
            "load_seconds": time.perf_counter() - start,
            "weight_bytes": loaded.bytes,
        }
        _never_stop(loaded.model)
        figures |= measure(loaded, device, tokens, repeat, images)
    return figures


def measure(loaded: Any, device: str, tokens: int, repeat: int, images: int) -> dict[str, Any]:
    """The three comparisons, each the median of `repeat` runs, ours and the reference in turn."""
    pictures = noise(images)
    settings = dict(max_new_tokens=tokens)

    def fresh(rows: int = 8) -> Critic:
        return Critic(TransformersEngine(loaded.model, loaded.processor, rows=rows), "benchmark")

    critic = fresh()
    scores = critic.critique(pictures[0], PROMPT, until="scores", **settings)
    key = next(iter(critic.answers.values))
    counts = {"scores": critic.answers.values[key].tokens}
    scores = critic.critique(pictures[0], PROMPT, **settings)
    counts["judgement"] = critic.answers.values[key].tokens
    scores.refined()
    counts["refinement"] = critic.answers.values[key].tokens
    inputs = critic.engine.encoder.encode(scores.items[0].question, critic.engine.device)

    def ours() -> None:
        critic = fresh()
        critique = critic.critique(pictures[0], PROMPT, **settings)
        critic.score(pictures[0], PROMPT, **settings)
        critique.refined()

    def reference() -> None:
        for part in ("judgement", "scores", "refinement"):
            generate(loaded.model, inputs, counts[part])

    def batch() -> None:
        fresh().critique(pictures, PROMPT, **settings)

    def singles() -> None:
        critic = fresh(rows=1)
        for picture in pictures:
            critic.critique(picture, PROMPT, **settings)

    # The first call of anything is slow.
    generate(loaded.model, inputs, 4)
    one = medians({"ours": ours, "reference": reference}, repeat, device)
    figures: dict[str, Any] = {"prompt_tokens": inputs["input_ids"].shape[1], "answer_tokens": counts}
    figures["one_image_seconds"] = one
    figures["one_image_ratio"] = one["reference"] / one["ours"]
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        # Alone: `generate` has a peak of its own.
        ours()
        figures["peak_bytes_one_image"] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    many = medians({"batch": batch, "singles": singles}, repeat, device)
    figures["images"] = images
    figures["batch_seconds"] = many
    figures["batch_ratio"] = many["singles"] / many["batch"]
    if device == "cuda":
        figures["peak_bytes_batch"] = torch.cuda.max_memory_allocated()
    figures |= second_question(fresh(), pictures[0], settings, device)
    figures |= decode_speed(loaded, inputs, device)
    return figures


def second_question(
    critic: Critic, picture: Image.Image, settings: dict[str, Any], device: str
) -> dict[str, Any]:
    """How many prompts are read, and what a second question about the same image and prompt costs."""
    read: list[float] = []
    original = Session.prefill.__func__  # type: ignore[attr-defined]

    def counted(cls: Any, *arguments: Any) -> Session:
        found, seconds = timed(lambda: original(cls, *arguments), device)
        read.append(seconds)
        return found

    Session.prefill = classmethod(counted)  # type: ignore[assignment]
    try:
        critic.critique(picture, PROMPT, until="scores", **settings)
        first = len(read)
        _, seconds = timed(lambda: critic.fast_score(picture, PROMPT), device)
        critic.critique(picture, PROMPT, temperature=0.7, seed=1, until="scores", **settings)
    finally:
        Session.prefill = classmethod(original)  # type: ignore[assignment]
    return {
        "prefill_seconds": read[0],
        "fast_score_after_critique_seconds": seconds,
        "prompts_read_first_question": first,
        "prompts_read_two_more_questions": len(read) - first,
    }


def decode_speed(
    loaded: Any, inputs: dict[str, torch.Tensor], device: str, steps: int = 32
) -> dict[str, Any]:
    """Tokens a second of one row, token by token, and the share of the GPU's bandwidth that this is."""
    session = Session.prefill(loaded.model, inputs)
    session.feed([[5]])

    def steps_of_one() -> None:
        for _ in range(steps):
            session.feed([[int(session.logits.argmax())]])

    _, seconds = timed(steps_of_one, device)
    figures: dict[str, Any] = {"tokens_per_second": steps / seconds}
    if device == "cuda":
        figures["bandwidth_bytes_per_second"] = bandwidth()
        # Only questions need these.
        unread = memory(loaded.model.model.visual) + loaded.model.get_input_embeddings().weight.nbytes
        read_per_token = loaded.bytes - unread + session.nbytes
        figures["bandwidth_share"] = read_per_token * steps / seconds / figures["bandwidth_bytes_per_second"]
    return figures


def bandwidth(size: int = 2 * 1024**3, repeat: int = 10) -> float:
    """Bytes a second that this card reads and writes when it copies a large tensor."""
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    _, seconds = timed(lambda: [target.copy_(source) for _ in range(repeat)], "cuda")
    return 2 * size * repeat / seconds


def generate(model: Any, inputs: dict[str, torch.Tensor], count: int) -> None:
    """`generate`, made to write exactly `count` tokens."""
    known = inspect.signature(model.forward).parameters
    given = {key: value for key, value in inputs.items() if key in known}
    mask = torch.ones_like(inputs["input_ids"])
    model.generate(**given, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=False)


def medians(work: dict[str, Callable[[], None]], repeat: int, device: str) -> dict[str, float]:
    """Median seconds of each piece of work, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeat):
        for name, one in work.items():
            seconds[name].append(timed(one, device)[1])
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result of some work and the seconds it took, the device's queue included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def noise(count: int, size: int = 512) -> list[Image.Image]:
    """Different pictures of equal size."""
    random = np.random.default_rng(0)
    small = [random.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return [Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC) for pixels in small]


def _never_stop(model: Any) -> None:
    """Random weights may end their turn at any token; for equal counts they must not."""
    model.generation_config.eos_token_id = None


def machine(device: str) -> str:
    """What this was measured on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def table(figures: dict[str, Any]) -> str:
    """The figures to read."""
    rows = [
        ("machine", figures["machine"]),
        ("versions", f"torch {figures['torch']}, transformers {figures['transformers']}"),
        *_model_rows(figures),
        *_speed_rows(figures),
    ]
    if "bandwidth_share" in figures:
        rows += _gpu_rows(figures)
    return "\n".join(f"{name:24} {value}" for name, value in rows)


def _model_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    counts = figures["answer_tokens"]
    model = (
        f"{figures['shape']}, {figures['quantization']}, {figures['weight_bytes'] / 1e9:.2f} GB, "
        f"loaded in {figures['load_seconds']:.1f} s"
    )
    tokens = (
        f"prompt {figures['prompt_tokens']}; answer {counts['scores']} to the scores, "
        f"{counts['judgement']} with summary, {counts['refinement']} with refinement"
    )
    return [("model", model), ("tokens", tokens)]


def _speed_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    one, many = figures["one_image_seconds"], figures["batch_seconds"]
    single = (
        f"{one['ours']:.1f} s against {one['reference']:.1f} s with one generate each: "
        f"{one['reference'] / one['ours']:.2f} times faster"
    )
    batch = (
        f"{many['batch']:.1f} s as a batch against {many['singles']:.1f} s one by one: "
        f"{figures['batch_ratio']:.2f} times faster"
    )
    second = (
        f"{figures['prompts_read_two_more_questions']} prompts read for two more questions; "
        f"fast score {figures['fast_score_after_critique_seconds']:.2f} s "
        f"(a prefill takes {figures['prefill_seconds']:.2f} s)"
    )
    return [
        ("critique, score, refine", single),
        (f"{figures['images']} images", batch),
        ("second question", second),
        ("decoding, one row", f"{figures['tokens_per_second']:.1f} tokens/s"),
    ]


def _gpu_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    bandwidth = (
        f"{figures['bandwidth_share']:.0%} of {figures['bandwidth_bytes_per_second'] / 1e9:.0f} GB/s "
        "while decoding"
    )
    peak = (
        f"{figures['peak_bytes_one_image'] / 1e9:.2f} GB for one image, "
        f"{figures['peak_bytes_batch'] / 1e9:.2f} GB for the batch"
    )
    return [("memory bandwidth", bandwidth), ("peak memory", peak)]
