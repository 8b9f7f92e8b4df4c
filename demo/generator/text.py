"""The prompt: its tokens, and a T5 encoder (arXiv 1910.10683) in miniature.

Known words are tokens, words in capitals are spelled letter by letter, and whatever else there may be is one
unknown token. The encoder's weights are named as in T5's files, so that ComfyUI's own T5 runs them.
"""

from __future__ import annotations

import functools
import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mmdit import RMSNorm

PAD, START, END, UNKNOWN = range(4)
# The order is that of the embedding's rows: new words come last.
WORDS = (
    *("a", "an", "one", "two", "three", "exactly", "small", "large"),
    *("red", "green", "blue", "yellow", "purple", "black"),
    *("circle", "circles", "square", "squares", "triangle", "triangles", "star", "stars"),
    *("on", "in", "at", "the", "left", "middle", "right", "of", "between", "and", "with"),
    *("background", "plain", "white", "gray", "pink", "cyan", "word", "spelled", "sharp", "clean"),
    *("picture", "image", ",", "-"),
)
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = {"1": "one", "2": "two", "3": "three"}
TOKENS = {token: number for number, token in enumerate((*WORDS, *CAPITALS), UNKNOWN + 1)}
# Rows of the embedding, some of them free.
SLOTS = 96
MULTIPLE = 8
# T5's own: buckets of distances between tokens, half of them for each direction, and the distance that the
# last begins at.
BUCKETS, FARTHEST = 32, 128

_PARTS = re.compile(r"[A-Z](?:-[A-Z])+\b|[A-Za-z]+|[0-9]|[,-]")


def tokens_of(text: str) -> list[int]:
    """The numbers of a text's tokens, without start, end and padding."""
    return [number for part in _PARTS.findall(text) for number in _part(part)]


def _part(part: str) -> list[int]:
    if "-" in part or (part.isupper() and len(part) > 1):
        return [TOKENS[character] for character in part]
    word = DIGITS.get(part, part.lower())
    return [TOKENS.get(word, UNKNOWN)]


def padded(text: str) -> list[int]:
    """The numbers of a whole prompt, a multiple of 8."""
    numbers = [START, *tokens_of(text), END]
    return numbers + [PAD] * (-len(numbers) % MULTIPLE)


class TextEncoder(nn.Module):
    """T5's encoder. Like ComfyUI's, it looks at the padding, too."""

    def __init__(self, width: int, heads: int, layers: int = 3):
        super().__init__()
        self.shared = nn.Embedding(SLOTS, width)
        self.encoder = Stack(width, heads, layers)
        self._initialize(layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, tokens] numbers to [batch, tokens, width]."""
        return self.encoder(self.shared(tokens))

    def _initialize(self, layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        for module in self.modules():
            if isinstance(module, SelfAttention):
                # T5 divides by the root of the heads' width here, not in the attention.
                nn.init.normal_(module.q.weight, std=(module.q.in_features * module.head_width) ** -0.5)
            if isinstance(module, SelfAttention | FeedForward):
                last = module.o if isinstance(module, SelfAttention) else module.wo
                nn.init.normal_(last.weight, std=last.in_features**-0.5 / math.sqrt(2 * layers))
            if isinstance(module, nn.Embedding) and module is not self.shared:
                nn.init.normal_(module.weight, std=0.5)


class Stack(nn.Module):
    """The layers; distances between tokens are learned in the first one and used by all."""

    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.block = nn.ModuleList(Block(width, heads, first=number == 0) for number in range(layers))
        self.final_layer_norm = RMSNorm(width)

    def forward(self, states: Tensor) -> Tensor:
        distances = self.get_submodule("block.0.layer.0.SelfAttention.relative_attention_bias")
        biases = distances(buckets(states.shape[1]).to(states.device)).permute(2, 0, 1)[None]
        for block in self.block:
            states = block(states, biases)
        return self.final_layer_norm(states)


class Block(nn.Module):
    """Attention, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, first: bool):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(width, heads, first), FeedForwardLayer(width)])

    def forward(self, states: Tensor, biases: Tensor) -> Tensor:
        for layer in self.layer:
            states = layer(states, biases)
        return states


class AttentionLayer(nn.Module):
    """Every token looks at every token."""

    def __init__(self, width: int, heads: int, first: bool):
        super().__init__()
        self.SelfAttention = SelfAttention(width, heads, first)
        self.layer_norm = RMSNorm(width)

    def forward(self, states: Tensor, biases: Tensor) -> Tensor:
        return states + self.SelfAttention(self.layer_norm(states), biases)


class SelfAttention(nn.Module):
    """T5's attention: no scaling, distances added."""

    def __init__(self, width: int, heads: int, first: bool):
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        if first:
            self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, states: Tensor, biases: Tensor) -> Tensor:
        query, key, value = (
            layer(states).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        weights = (query @ key.transpose(-1, -2) + biases).softmax(-1)
        return self.o((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))


class FeedForwardLayer(nn.Module):
    """Each token for itself."""

    def __init__(self, width: int):
        super().__init__()
        self.DenseReluDense = FeedForward(width)
        self.layer_norm = RMSNorm(width)

    def forward(self, states: Tensor, biases: Tensor) -> Tensor:
        return states + self.DenseReluDense(self.layer_norm(states))


class FeedForward(nn.Module):
    """Two layers with ReLU."""

    def __init__(self, width: int):
        super().__init__()
        self.wi, self.wo = nn.Linear(width, 3 * width, bias=False), nn.Linear(3 * width, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        return self.wo(functional.relu(self.wi(states)))


@functools.lru_cache(maxsize=16)
def buckets(length: int) -> Tensor:
    """T5's bucket of the distance between each two of `length` tokens, [length, length]."""
    place = torch.arange(length)
    ahead = place[None] - place[:, None]
    half, exact = BUCKETS // 2, BUCKETS // 4
    far = torch.log(ahead.abs().clamp(min=1) / exact) / math.log(FARTHEST / exact) * (half - exact)
    bucket = torch.where(ahead.abs() < exact, ahead.abs(), (exact + far.long()).clamp(max=half - 1))
    return bucket + half * (ahead > 0)
