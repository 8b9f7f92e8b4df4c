"""The denoiser: Stable Diffusion 3's multimodal transformer (MMDiT, arXiv 2403.03206) in miniature, in plain
torch.

Its weights are named as in SD3's files, and so are read by ComfyUI's core loader: depth d means d blocks of d
heads, 64 wide each. Positions are computed, so that any size of picture will do.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_WIDTH = 64
CHANNELS = 16
PATCH = 2
# Width of the sines and cosines of a time.
TIME_WIDTH = 256
EPSILON = 1e-6


class MMDiT(nn.Module):
    """Predicts the velocity of a rectified flow, noise minus latents."""

    def __init__(self, depth: int = 3, context: int | None = None):
        """`depth`: blocks, and heads of each; `context`: the text's width, by default the transformer's."""
        super().__init__()
        width = HEAD_WIDTH * depth
        self.width = width
        self.x_embedder = Patches(width)
        self.t_embedder = TimeEmbedder(width)
        self.context_embedder = nn.Linear(context or width, width)
        self.joint_blocks = nn.ModuleList(
            JointBlock(width, depth, last=number == depth - 1) for number in range(depth)
        )
        self.final_layer = FinalLayer(width)
        self._initialize()

    def forward(self, latents: Tensor, sigmas: Tensor, context: Tensor) -> Tensor:
        """Velocity [batch, 16, height, width] of `latents` of that shape, both sides even.

        `sigmas` [batch] is the share of noise, 0..1; `context` [batch, tokens, width] the text.
        """
        height, width = (side // PATCH for side in latents.shape[-2:])
        image = self.x_embedder(latents) + positions(self.width, height, width).to(latents)
        time, context = self.t_embedder(sigmas, latents.dtype), self.context_embedder(context)
        for block in self.joint_blocks:
            context, image = block(context, image, time)
        patches = self.final_layer(image, time).unflatten(2, (PATCH, PATCH, CHANNELS))
        patches = patches.unflatten(1, (height, width)).permute(0, 5, 1, 3, 2, 4)
        return patches.reshape(latents.shape)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))
        # Every block starts as the identity (adaLN-Zero, arXiv 2212.09748), the whole as zero.
        for module in self.modules():
            if isinstance(module, Modulation):
                nn.init.zeros_(module.get_parameter("1.weight"))
        nn.init.zeros_(self.final_layer.linear.weight)


class Patches(nn.Module):
    """Latents in tokens of 2 x 2."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, width, PATCH, PATCH)

    def forward(self, latents: Tensor) -> Tensor:
        return self.proj(latents).flatten(2).transpose(1, 2)


class TimeEmbedder(nn.Module):
    """A vector for each share of noise."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_WIDTH, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigmas: Tensor, dtype: torch.dtype) -> Tensor:
        half = TIME_WIDTH // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, device=sigmas.device) / half)
        # SD3 counts time from 0 to 1000.
        angles = 1000 * sigmas.float()[:, None] * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1).to(dtype))


class Modulation(nn.Sequential):
    """Shifts, scales and gates from the time, `parts` of them."""

    def __init__(self, width: int, parts: int):
        super().__init__(nn.SiLU(), nn.Linear(width, parts * width))
        self.parts = parts

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        return super().forward(time)[:, None].chunk(self.parts, -1)


class RMSNorm(nn.Module):
    """Root mean square norm with a learned scale."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, values: Tensor) -> Tensor:
        return functional.rms_norm(values, self.weight.shape, self.weight, EPSILON)


class Attention(nn.Module):
    """Queries, keys and values of one stream; `closed` streams are not written to any more."""

    def __init__(self, width: int, heads: int, closed: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        if not closed:
            self.proj = nn.Linear(width, width)
        self.ln_q, self.ln_k = RMSNorm(width // heads), RMSNorm(width // heads)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, [batch, heads, tokens, 64] each."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.ln_q(query), self.ln_k(key), value


class MLP(nn.Module):
    """Two layers with GELU."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens), approximate="tanh"))


class Stream(nn.Module):
    """A block's half for text or image; the text's last one only gives keys and values."""

    def __init__(self, width: int, heads: int, closed: bool = False):
        super().__init__()
        self.closed = closed
        self.attn = Attention(width, heads, closed)
        if not closed:
            self.mlp = MLP(width)
        self.adaLN_modulation = Modulation(width, 2 if closed else 6)

    def before(self, tokens: Tensor, modulation: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """What goes into the attention."""
        return self.attn(modulated(tokens, modulation[0], modulation[1]))

    def after(self, attended: Tensor, tokens: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """The tokens with what the attention and the layers behind it add."""
        tokens = torch.addcmul(tokens, modulation[2], self.attn.proj(attended))
        return torch.addcmul(tokens, modulation[5], self.mlp(modulated(tokens, modulation[3], modulation[4])))


class JointBlock(nn.Module):
    """Text and image attend to each other, each with weights of its own."""

    def __init__(self, width: int, heads: int, last: bool):
        super().__init__()
        self.context_block = Stream(width, heads, closed=last)
        self.x_block = Stream(width, heads)

    def forward(self, context: Tensor, image: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        for_context = self.context_block.adaLN_modulation(time)
        for_image = self.x_block.adaLN_modulation(time)
        streams = zip(
            self.context_block.before(context, for_context),
            self.x_block.before(image, for_image),
            strict=True,
        )
        query, key, value = (torch.cat(pair, 2) for pair in streams)
        # So few tokens are attended to faster on a CPU, backwards above all, without the fused kernel.
        weights = (query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5).softmax(-1)
        attended = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        words = context.shape[1]
        if not self.context_block.closed:
            context = self.context_block.after(attended[:, :words], context, for_context)
        return context, self.x_block.after(attended[:, words:], image, for_image)


class FinalLayer(nn.Module):
    """From tokens back to patches of latents."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, PATCH * PATCH * CHANNELS)
        self.adaLN_modulation = Modulation(width, 2)

    def forward(self, tokens: Tensor, time: Tensor) -> Tensor:
        return self.linear(modulated(tokens, *self.adaLN_modulation(time)))


def modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm, then scale and shift of the time."""
    return torch.addcmul(shift, functional.layer_norm(tokens, tokens.shape[-1:], eps=EPSILON), 1 + scale)


@functools.lru_cache(maxsize=8)
def positions(width: int, rows: int, columns: int) -> Tensor:
    """Sines and cosines of the places of `rows` x `columns` tokens, [1, tokens, width].

    The shorter side always runs from 0 to 15, as in ComfyUI's SD3.
    """
    shorter, middle = min(rows, columns), 7.5
    down, right = (
        torch.linspace(middle - side / shorter * middle, middle + side / shorter * middle, side)
        for side in (rows, columns)
    )
    y, x = torch.meshgrid(down, right, indexing="ij")
    rates = 1 / 10_000 ** (torch.arange(width // 4) / (width / 4))
    parts = [wave(axis.reshape(-1, 1) * rates) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, 1)[None]
