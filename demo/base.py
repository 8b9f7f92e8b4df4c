"""The embedded critic before it is a critic: a tiny Qwen3-VL that has learned to name what is in a picture,
never to judge it.

PARROT starts from a model that can see. For the 8B critic that is Qwen3-VL-8B-Instruct; here it is this one.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..models.checkpoints.layers import replace_patch_convolution
from ..models.engines.base import Progress
from ..models.engines.encoding import encoder_of
from ..models.rubrics.rubric import load_rubric
from ..training.collate import Batches, Example
from ..training.trainer import Schedule, Trained, train
from .checkpoint import Shape, build_model, build_processor
from .edits import edited, random_edit
from .painter import imagine
from .prompts import phrased, random_request
from .randomness import stream
from .render import SIZE, render
from .scene import LETTERS, Request
from .sentences import Case, EditCase, PictureCase, comparison_parts, judgement_parts

ASKED = "Describe the picture."
RUBRICS = Path(__file__).parent / "rubrics"
# About 2.5 million parameters, of which the vision tower has half a million; 64 visual tokens a picture.
EMBEDDED = Shape(
    hidden=160,
    layers=4,
    heads=5,
    kv_heads=5,
    head_dim=32,
    mlp=480,
    vision_hidden=96,
    vision_layers=4,
    vision_heads=3,
    vision_mlp=288,
    deepstack=(1, 2),
    vocabulary=1024,
    tied=True,
    patch=8,
    vision_positions=256,
    rope_theta=10_000.0,
    context=4096,
    pixels=(SIZE * SIZE, SIZE * SIZE),
)
SCHEDULE = Schedule(learning_rate=2e-3, warmup=0.03, weight_decay=0.01, muon=True)


def caption_example(number: int, seed: int) -> Example:
    """A picture of the shapes world and its caption."""
    rng = stream(seed, "caption", number)
    request = random_request(rng)
    # Reading is the hard part; any letters, so that each is read for itself.
    if rng.random() < 0.7:
        request = _with_word(request, rng)
    scene = imagine(request, rng.getrandbits(32))
    messages = [
        {"role": "user", "content": [{"type": "image", "image": "image"}, {"type": "text", "text": ASKED}]}
    ]
    return Example(
        messages, {"image": render(scene, rng.getrandbits(32))}, PictureCase(request, scene).caption()
    )


def _with_word(request: Request, rng: random.Random) -> Request:
    return replace(request, word="".join(rng.choice(LETTERS) for _ in range(3)))


def corpus(seed: int, size: int = 3000) -> list[str]:
    """Texts of the shapes world to train the tokenizer on; words are random letters, so that it keeps letters
    apart.
    """
    texts = []
    for number in range(size):
        rng = stream(seed, "corpus", number)
        request = _with_word(random_request(rng), rng)
        one, two = (PictureCase(request, imagine(request, rng.getrandbits(32))) for _ in range(2))
        texts += [phrased(request, rng), one.caption(), *_texts(one, two)]
        if number % 3 == 0:
            edit = random_edit(number)
            texts += _texts(EditCase(edit, edited(edit, 1)), EditCase(edit, edited(edit, 2)))
    for name in ("t2i", "edit", "t2i-pair", "edit-pair"):
        rubric = load_rubric(name, (RUBRICS,))
        asked = [
            part["text"]
            for message in rubric.messages("")
            for part in message["content"]
            if part["type"] == "text"
        ]
        texts += [*asked, *(f"{item.heading}\n" for item in rubric.answer)] * size
    return [*texts, *[ASKED] * size]


def _texts(one: Case, two: Case) -> list[str]:
    return [
        *(f" {text}\n" for text in judgement_parts(one).values()),
        *(f" {text}\n" for text in comparison_parts(one, two).values()),
    ]


def build_base(seed: int) -> tuple[Any, Any]:
    """(model, processor) of the embedded critic's shape with random weights."""
    import torch

    processor = build_processor(EMBEDDED, corpus(seed), at_least=1000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(EMBEDDED, processor.tokenizer)
    return model, processor


def train_base(
    model: Any,
    processor: Any,
    folder: Path,
    seed: int,
    steps: int,
    batch: int = 16,
    progress: Progress = Progress(),
    say: Any = None,
) -> Trained:
    """Teach the model to name what it sees, `steps` batches of fresh pictures."""
    batches = [range(step * batch, (step + 1) * batch) for step in range(steps)]
    replace_patch_convolution(model)
    made = Batches(encoder_of(model, processor), lambda number: caption_example(number, seed), batches)
    return train(model, made, folder, SCHEDULE, progress, say)
