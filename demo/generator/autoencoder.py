"""Pictures to latents and back: linear both ways, and a small convolutional decoder in the shape of TAESD.

An 8 x 8 block of pixels becomes 16 numbers, its principal components. ComfyUI reads both directions as a
TAESD (github.com/madebyollin/taesd): the linear encoder is written as strided convolutions, the decoder's
channels are filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from .mmdit import CHANNELS

# Pixels of a block's side, and numbers in one.
BLOCK = 8
NUMBERS = 3 * BLOCK * BLOCK
# Channels of the decoder from latents to pixels; TAESD has 64 everywhere.
WIDTHS = (64, 48, 32, 16)
FULL_WIDTH = 64
# Where each of the three stages of TAESD's decoder begins: three blocks, an upsampling, a convolution.
STAGES = (3, 8, 13)
# TAESD squeezes latents into -3..3: they are made smaller before.
GAIN = 0.4
# SD3's own scaling of latents, which TAESD's must cancel.
SD3_SCALE, SD3_SHIFT = 1.5305, 0.0609


@dataclass(frozen=True)
class Components:
    """The linear autoencoder: `mean` [192] of all blocks, `basis` [192, 16] orthonormal, and what each of the
    16 components is multiplied by.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor

    @classmethod
    def of(cls, pictures: Tensor) -> Components:
        """Fit them to `pictures` [number, height, width, 3] of 0..255."""
        blocks = _blocks(pictures).reshape(-1, NUMBERS).double()
        mean = blocks.mean(0)
        values, vectors = torch.linalg.eigh((blocks - mean).T @ (blocks - mean) / len(blocks))
        # The largest come last.
        basis, spread = vectors[:, -CHANNELS:].flip(1), values[-CHANNELS:].flip(0).sqrt()
        # Halfway between equal and natural variances: colours and places are decided first, edges last.
        return cls(mean.float(), basis.float().contiguous(), (1.2 * spread**-0.5).float())

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [number, 16, height / 8, width / 8] of pictures [number, height, width, 3] of 0..255."""
        return ((_blocks(pictures) - self.mean) @ self.basis * self.scale).permute(0, 3, 1, 2).contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [number, height, width, 3] of 0..255, not rounded, without the decoder's refinements."""
        number, _, rows, columns = latents.shape
        blocks = (latents.permute(0, 2, 3, 1) / self.scale) @ self.basis.T + self.mean
        pixels = blocks.reshape(number, rows, columns, 3, BLOCK, BLOCK).permute(0, 1, 4, 2, 5, 3)
        return 255 * pixels.reshape(number, rows * BLOCK, columns * BLOCK, 3)

    def halve(self, latents: Tensor) -> Tensor:
        """Latents [number, 16, height / 2, width / 2] of the same pictures with half the pixels a side."""
        # Linear in the four latents that become one: what each number of them adds is all there is to know.
        single = torch.cat([torch.zeros(1, 4 * CHANNELS), torch.eye(4 * CHANNELS)])
        pictures = self.decode(single.reshape(-1, CHANNELS, 2, 2)).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        added = self.encode(pictures.mean((2, 4))).flatten(1)
        weight = (added[1:] - added[0]).T.reshape(CHANNELS, CHANNELS, 2, 2)
        return functional.conv2d(latents, weight, added[0], stride=2)

    def colours(self) -> Tensor:
        """[17, 3]: what each latent channel adds to a block's mean red, green and blue, and the mean itself,
        in -1..1.
        """
        means = (self.basis / self.scale).reshape(3, -1, CHANNELS).mean(1)
        return torch.cat([2 * means.T, 2 * self.mean.reshape(1, 3, -1).mean(2) - 1])


def _blocks(pictures: Tensor) -> Tensor:
    """[number, rows, columns, 192] of 0..1; colour, then line, then column."""
    number, height, width, _ = pictures.shape
    cut = pictures.reshape(number, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).permute(0, 1, 3, 5, 2, 4)
    return cut.reshape(number, height // BLOCK, width // BLOCK, NUMBERS).float() / 255


def _convolution(channels: int, out: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, bias=bias)


class Residual(nn.Module):
    """TAESD's block: three convolutions beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Sequential(
            _convolution(width, width),
            nn.ReLU(),
            _convolution(width, width),
            nn.ReLU(),
            _convolution(width, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.conv(features) + features)


class Decoder(nn.Module):
    """TAESD's decoder with fewer channels, and one block where that has three."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _convolution(CHANNELS, WIDTHS[0])
        self.blocks = nn.ModuleList(Residual(width) for width in WIDTHS[:3])
        self.widen = nn.ModuleList(_convolution(width, out, bias=False) for width, out in pairwise(WIDTHS))
        self.last = _convolution(WIDTHS[3], 3)

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures [number, 3, height, width], about 0..1, of latents [number, 16, height / 8, width / 8]."""
        features = functional.relu(self.first(torch.tanh(GAIN * latents / 3) * 3))
        for block, widen in zip(self.blocks, self.widen, strict=True):
            features = widen(functional.interpolate(block(features), scale_factor=2.0))
        # The block behind the last widening adds nothing and cuts off what is negative.
        return self.last(functional.relu(features))

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> list[Image.Image]:
        """The pictures of latents."""
        values = (self(latents).clamp(0, 1) * 255).round().to(torch.uint8)
        return [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in values]


def taesd_weights(decoder: Decoder, components: Components) -> dict[str, Tensor]:
    """The weights of a whole TAESD that encodes and decodes as these do."""
    weights = {**_encoder_weights(components), **_decoder_weights(decoder)}
    # TAESD sees (latents / 1.5305 + 0.0609 - vae_shift) * vae_scale.
    weights["vae_scale"] = torch.tensor(SD3_SCALE * GAIN)
    weights["vae_shift"] = torch.tensor(SD3_SHIFT)
    return {name: weight.detach().float().contiguous() for name, weight in weights.items()}


def decoder_of(weights: dict[str, Tensor]) -> Decoder:
    """The decoder whose channels `taesd_weights` filled up."""
    decoder = Decoder()
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            full = weights[_taesd_name(name)]
            parameter.copy_(full[tuple(slice(size) for size in parameter.shape)])
    return decoder


def _taesd_name(name: str) -> str:
    """Where a weight of the decoder is in a TAESD."""
    part, _, rest = name.partition(".")
    if part in ("first", "last"):
        return f"taesd_decoder.{1 if part == 'first' else 19}.{rest}"
    number, _, rest = rest.partition(".")
    return f"taesd_decoder.{STAGES[int(number)] + (4 if part == 'widen' else 0)}.{rest}"


def _filled(weight: Tensor, *shape: int) -> Tensor:
    """`weight` in the corner of zeros."""
    full = torch.zeros(shape)
    full[tuple(slice(size) for size in weight.shape)] = weight
    return full


def _block_weights(name: str) -> dict[str, Tensor]:
    """A block of full width that adds nothing."""
    weights = {}
    for number in (0, 2, 4):
        weights[f"{name}.conv.{number}.weight"] = torch.zeros(FULL_WIDTH, FULL_WIDTH, 3, 3)
        weights[f"{name}.conv.{number}.bias"] = torch.zeros(FULL_WIDTH)
    return weights


def _decoder_weights(decoder: Decoder) -> dict[str, Tensor]:
    empty = [18, *(start + block for start in STAGES for block in range(3))]
    weights = {
        key: weight for number in empty for key, weight in _block_weights(f"taesd_decoder.{number}").items()
    }
    for name, parameter in decoder.named_parameters():
        key = _taesd_name(name)
        ins, outs = CHANNELS if key.endswith(".1.weight") else FULL_WIDTH, 3 if ".19." in key else FULL_WIDTH
        weights[key] = _filled(parameter, outs, *((ins, 3, 3) if parameter.ndim == 4 else ()))
    return weights


def _encoder_weights(components: Components) -> dict[str, Tensor]:
    """Three strided convolutions that gather 2 x 2, 4 x 4, then 8 x 8 pixels.

    A component may be negative and TAESD's blocks cut that off, so each goes through as two numbers, itself
    and its opposite.
    """
    name = "taesd_encoder"
    weights = {
        f"{name}.0.weight": _filled(_single(3), FULL_WIDTH, 3, 3, 3),
        f"{name}.0.bias": torch.zeros(FULL_WIDTH),
    }
    for number in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        weights |= _block_weights(f"{name}.{number}")
    for number, channels in ((2, 3), (6, 12)):
        weights[f"{name}.{number}.weight"] = _filled(_gathering(channels), FULL_WIDTH, FULL_WIDTH, 3, 3)
    scaled = components.basis * components.scale * GAIN
    projection = _projection(scaled)
    weights[f"{name}.10.weight"] = _filled(torch.cat([projection, -projection]), FULL_WIDTH, FULL_WIDTH, 3, 3)
    weights[f"{name}.14.weight"] = _filled(
        torch.cat([_single(CHANNELS), -_single(CHANNELS)], 1), CHANNELS, FULL_WIDTH, 3, 3
    )
    weights[f"{name}.14.bias"] = -(components.mean @ scaled)
    return weights


def _single(channels: int) -> Tensor:
    """A convolution that changes nothing, [channels, channels, 3, 3]."""
    weight = torch.zeros(channels, channels, 3, 3)
    weight[range(channels), range(channels), 1, 1] = 1
    return weight


def _gathering(channels: int) -> Tensor:
    """With a stride of 2: four neighbours beside each other, channel + channels * (2 * line + column)."""
    weight = torch.zeros(4 * channels, channels, 3, 3)
    for line in (0, 1):
        for column in (0, 1):
            start = channels * (2 * line + column)
            weight[range(start, start + channels), range(channels), 1 + line, 1 + column] = 1
    return weight


def _projection(scaled: Tensor) -> Tensor:
    """[16, 48, 3, 3]: gathers the last time, and projects `scaled` [192, 16] on the components."""
    # 192 is colour, then three bits each of line and column, the highest first.
    bits = scaled.T.reshape(CHANNELS, 3, 2, 2, 2, 2, 2, 2)
    # Now component, highest bits, then the channel as two gatherings left it: middle bits, lowest bits,
    # colour.
    order = bits.permute(0, 2, 5, 3, 6, 4, 7, 1).reshape(CHANNELS, 2, 2, 48)
    weight = torch.zeros(CHANNELS, 48, 3, 3)
    weight[:, :, 1:, 1:] = order.permute(0, 3, 1, 2)
    return weight
