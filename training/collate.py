"""From chat rows with pictures to batches of tensors, through the same encoder that the critic uses."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..models.engines.encoding import Encoder

IGNORED = -100  # label of a token that is not learned, as in torch


@dataclass(frozen=True)
class Example:
    """A chat with its answer. `messages` have the form of `Rubric.messages`; their image parts name the pictures in `images`."""

    messages: Sequence[Mapping[str, Any]]
    images: Mapping[str, Image.Image]
    answer: str


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Batch number i of a training run, made when it is asked for; equal numbers give equal batches.

    `example(index)` makes the example of that number; `batches` lists which examples stand together.
    """

    def __init__(self, encoder: Encoder, example: Callable[[int], Example], batches: Sequence[Sequence[int]]):
        self.encoder = encoder
        self.example = example
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return collate(self.encoder, [self.example(number) for number in self.batches[index]])


def collate(encoder: Encoder, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """`input_ids`, `labels`, `mm_token_type_ids` [B, N], and the pictures of the whole batch.

    Only the answer and the mark that ends it are learned. Padding stands behind each row, where nothing attends to it, so that no
    attention mask is needed, and attention computes its causal half only.
    """
    rows: list[tuple[list[int], int]] = []
    pictures: list[Image.Image] = []
    for example in examples:
        asked, names = encoder.prompt_ids(
            example.messages, {name: image.size for name, image in example.images.items()}
        )
        rows.append((asked + answer_ids(encoder, example.answer), len(asked)))
        pictures += [example.images[name] for name in names]
    width = max(len(ids) for ids, _ in rows)
    padding = encoder.processor.tokenizer.pad_token_id
    input_ids = torch.full((len(rows), width), padding)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (ids, start) in enumerate(rows):
        tokens = torch.tensor(ids)
        input_ids[row, : len(ids)] = tokens
        labels[row, start : len(ids)] = tokens[start:]
    batch = {
        "input_ids": input_ids,
        "labels": labels,
        "mm_token_type_ids": (input_ids == encoder.image_token).long(),
    }
    return batch | (encoder.pixels(pictures) if pictures else {})


def answer_ids(encoder: Encoder, answer: str) -> list[int]:
    """Tokens of an answer and of the mark that ends the turn."""
    return [*encoder.vocabulary.encode(answer), encoder.processor.tokenizer.eos_token_id]


def by_length(lengths: Sequence[int], tokens: int, seed: int, epochs: int = 1) -> list[list[int]]:
    """Batches of examples of similar length, each of at most `tokens` tokens with its padding; every epoch has its own mixture."""
    rng = random.Random(seed)
    batches: list[list[int]] = []
    for _ in range(epochs):
        order = sorted(range(len(lengths)), key=lambda i: (lengths[i] + rng.randrange(32), rng.random()))
        epoch: list[list[int]] = []
        for index in order:
            if not epoch or (len(epoch[-1]) + 1) * max(lengths[i] for i in (*epoch[-1], index)) > tokens:
                epoch.append([])
            epoch[-1].append(index)
        rng.shuffle(epoch)
        batches += epoch
    return batches
