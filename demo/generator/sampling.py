"""The generator as one model, and pictures from it: Euler's method along the rectified flow, as ComfyUI
samples.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .mmdit import CHANNELS, HEAD_WIDTH, MMDiT
from .text import TextEncoder, padded

# How far SD3 shifts sampling towards noise, here and in ComfyUI.
SHIFT = 3.0


class Generator(nn.Module):
    """Text encoder and denoiser."""

    def __init__(self, depth: int = 3):
        super().__init__()
        self.text = TextEncoder(HEAD_WIDTH * depth, depth)
        self.denoiser = MMDiT(depth)

    def forward(self, latents: Tensor, sigmas: Tensor, tokens: Tensor, empty: Tensor) -> Tensor:
        """What the denoiser says of noisy `latents` [batch, 16, height, width] for prompts `tokens` [batch,
        length].

        Where `empty` [batch] is true, the prompt is the empty one, repeated as often as it has to be: that is
        what ComfyUI does when it runs both sides of the guidance in one batch.
        """
        nothing = self.nothing().repeat(1, tokens.shape[1] // len(padded("")), 1)
        context = torch.where(empty[:, None, None], nothing, self.text(tokens))
        return self.denoiser(latents, sigmas, context)

    def nothing(self) -> Tensor:
        """The empty prompt's [1, 8, width]."""
        device = self.text.shared.weight.device
        return self.text(torch.tensor([padded("")], device=device))


def shifted(times: Tensor) -> Tensor:
    """Shares of noise, 0..1, of evenly spaced times."""
    return SHIFT * times / (1 + (SHIFT - 1) * times)


@torch.no_grad()
def sample(
    generator: Generator,
    prompts: list[str],
    seeds: list[int],
    steps: int = 16,
    guidance: float = 3.0,
    sides: tuple[int, int] = (16, 16),
) -> Tensor:
    """Latents [number, 16, height, width] for prompts, one seed each; prompts equally long share a batch.

    `sides`: height and width of the latents, both even. `guidance` 1 is none.
    """
    tokens = [padded(prompt) for prompt in prompts]
    latents = torch.empty(len(prompts), CHANNELS, *sides)
    for length in {len(numbers) for numbers in tokens}:
        places = [place for place, numbers in enumerate(tokens) if len(numbers) == length]
        noise = [
            torch.randn(CHANNELS, *sides, generator=torch.Generator().manual_seed(seeds[place]))
            for place in places
        ]
        context = generator.text(torch.tensor([tokens[place] for place in places]))
        latents[places] = _flow(generator, torch.stack(noise), context, steps, guidance)
    return latents


def _flow(generator: Generator, latents: Tensor, context: Tensor, steps: int, guidance: float) -> Tensor:
    sigmas = shifted(torch.linspace(1, 0, steps + 1))
    nothing = generator.nothing().expand(len(latents), -1, -1)
    for now, after in pairwise(sigmas):
        times = now.expand(len(latents))
        velocity = generator.denoiser(latents, times, context)
        if guidance != 1:
            without = generator.denoiser(latents, times, nothing)
            velocity = without + guidance * (velocity - without)
        latents = latents + (after - now) * velocity
    return latents
