"""Pictures on their way to the critic: from tensors or files to RGB, and down to the pixel budget."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from .errors import QuestionError

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 802_816  # the size the checkpoints were trained at: 896 x 896, or 784 visual tokens
LIMIT_PIXELS = 16_777_216  # Qwen3-VL's own upper limit: 16,384 visual tokens


def tensor_to_pil(batch: torch.Tensor, what: str = "image") -> list[Image.Image]:
    """ComfyUI's IMAGE `[B, H, W, C]` (or `[H, W, C]`), float 0..1, 1 to 4 channels, to RGB pictures.

    Values outside 0..1 are clipped, alpha is laid on white. Raises QuestionError for an empty batch and for NaN pixels.
    """
    import torch

    if batch.ndim == 3:
        batch = batch[None]
    if batch.ndim != 4 or batch.shape[-1] not in (1, 2, 3, 4):
        raise QuestionError(
            f"`{what}` is not a picture: its shape is {list(batch.shape)}, where [batch, height, width, 1 to 4] is needed."
        )
    if 0 in batch.shape:
        raise QuestionError(f"`{what}` is an empty batch: connect at least one picture.")
    if not torch.isfinite(batch).all():
        raise QuestionError(
            f"`{what}` has pixels that are not numbers (NaN): the sampler or VAE before it failed; try a VAE in fp32."
        )
    pixels = (batch.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    return [as_rgb(Image.fromarray(p[..., 0] if mode == "L" else p, mode)) for p in pixels]


def pil_to_tensor(*images: Image.Image) -> torch.Tensor:
    """Pictures of one size to ComfyUI's IMAGE `[B, H, W, 3]`, float 0..1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([np.asarray(as_rgb(image), dtype=np.float32) / 255 for image in images]))


def open_image(image: Any) -> Image.Image:
    """A path or a PIL image of any mode as an upright RGB picture. Raises QuestionError when it cannot be read."""
    if isinstance(image, Image.Image):
        return as_rgb(image)
    if isinstance(image, (str, Path)):
        try:
            with Image.open(image) as opened:
                return as_rgb(ImageOps.exif_transpose(opened))
        except FileNotFoundError:
            raise QuestionError(f"There is no picture {image}.") from None
        except Exception as error:
            raise QuestionError(
                f"The picture {image} cannot be read ({error}): save it again as PNG or JPEG."
            ) from error
    raise QuestionError(f"A picture must be a PIL image or a path, not {type(image).__name__}.")


def as_rgb(image: Image.Image) -> Image.Image:
    """The same picture as RGB, transparent parts laid on white."""
    if image.mode == "RGB":
        return image
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode.startswith("I"):  # 16 bit: Pillow would clip where it should scale
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    return image.convert("RGB")


def fitted_size(width: int, height: int, max_pixels: int = MAX_PIXELS, multiple: int = 32) -> tuple[int, int]:
    """Width and height in multiples of `multiple` within `max_pixels`; never larger than the picture, save for the minimum of one multiple.

    >>> fitted_size(1024, 1024)
    (896, 896)
    """
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    sides = [max(multiple, int(side * scale) // multiple * multiple) for side in (width, height)]
    # A very long picture keeps its short side at the minimum; then only the long side can give way.
    long = 0 if sides[0] >= sides[1] else 1
    other = sides[1 - long]
    sides[long] = max(multiple, min(sides[long], max_pixels // other // multiple * multiple))
    return sides[0], sides[1]


def fit(image: Image.Image, max_pixels: int = MAX_PIXELS, multiple: int = 32) -> Image.Image:
    """The picture at `fitted_size`, antialiased."""
    size = fitted_size(*image.size, max_pixels, multiple)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
