"""Images on their way to the critic: from tensors or files to RGB, and down to the pixel budget."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from .errors import QuestionError
from .files import user_path

if TYPE_CHECKING:
    import torch

# The size the checkpoints were trained at: 896 x 896, or 784 visual tokens.
MAX_PIXELS = 802_816
# Qwen3-VL's own upper limit: 16,384 visual tokens.
LIMIT_PIXELS = 16_777_216


def tensor_to_pil(batch: torch.Tensor, name: str = "image") -> list[Image.Image]:
    """ComfyUI's IMAGE `[B, H, W, C]` (or `[H, W, C]`), float 0..1, 1 to 4 channels, to RGB images.

    Values outside 0..1 are clipped, alpha is composited on white. Raises QuestionError for an empty batch and
    for NaN pixels; `name` is the input's name on the canvas.
    """
    return [as_rgb(image) for image in tensor_to_pil_with_alpha(batch, name)]


def tensor_to_pil_with_alpha(batch: torch.Tensor, name: str = "image") -> list[Image.Image]:
    """The same with the channels as they are: L, LA, RGB or RGBA images."""
    import torch

    if batch.ndim == 3:
        batch = batch[None]
    if batch.ndim != 4 or batch.shape[-1] not in (1, 2, 3, 4):
        raise QuestionError(
            f"`{name}` is not an image: its shape is {list(batch.shape)}, where [batch, height, width, 1 "
            f"to 4] is needed."
        )
    if 0 in batch.shape:
        raise QuestionError(f"`{name}` is an empty batch: connect at least one image.")
    if not torch.isfinite(batch).all():
        raise QuestionError(
            f"`{name}` has pixels that are not numbers (NaN): the sampler or VAE before it failed; try a "
            f"VAE in fp32."
        )
    pixels = (batch.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    return [Image.fromarray(image[..., 0] if mode == "L" else image, mode) for image in pixels]


def pil_to_tensor(*images: Image.Image) -> torch.Tensor:
    """Images of one size to ComfyUI's IMAGE `[B, H, W, 3]`, float 0..1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([np.asarray(as_rgb(image), dtype=np.float32) / 255 for image in images]))


def open_image(image: Any) -> Image.Image:
    """A path or a PIL image of any mode as an upright RGB image.

    A path may be written as people paste it, with `~` or in quotes. Raises QuestionError when the image
    cannot be read.
    """
    if isinstance(image, Image.Image):
        return _upright_rgb(image, "The image")
    if not isinstance(image, (str, Path)):
        raise QuestionError(f"An image must be a PIL image or a path, not {type(image).__name__}.")
    name = f"The image {image}"
    try:
        path = Path(image) if Path(image).is_file() else user_path(image)
        if path.is_dir():
            raise QuestionError(f"{image} is a folder: name the image files in it.")
        with Image.open(path) as opened:
            return _upright_rgb(opened, name)
    except QuestionError:
        raise
    except FileNotFoundError:
        raise QuestionError(f"There is no image {image}.") from None
    except Exception as error:
        raise QuestionError(_unreadable(name, error)) from error


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        # Turned by its EXIF orientation, as every viewer shows it.
        return as_rgb(ImageOps.exif_transpose(image))
    except QuestionError:
        raise
    except Exception as error:
        raise QuestionError(_unreadable(name, error)) from error


def _unreadable(name: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{name} may not be read: give yourself the right to read it, or copy it elsewhere."
    if isinstance(error, (Image.DecompressionBombError, MemoryError)):
        return f"{name} has too many pixels to be opened: shrink it first."
    return f"{name} cannot be read ({error}): save it again as PNG or JPEG."


def as_rgb(image: Image.Image) -> Image.Image:
    """The same image as RGB, transparent parts on white, deep greys scaled to 8 bits.

    Raises QuestionError for NaN pixels.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        # Pillow converts premultiplied alpha only within its own kind.
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "LAB":
        # Pillow converts it through a colour profile only.
        from PIL import ImageCms

        transform = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None
        return converted
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """An image of mode I, I;16 or F as L.

    Pillow clips such values at 255. I;16 is 16 bits; I and F do not say what white is, so the smallest usual
    one that holds every pixel is taken: 1 (F only), 255, 65535, or the largest pixel itself.
    """
    import numpy as np

    pixels = np.asarray(image).astype(np.float64)
    if not np.isfinite(pixels).all():
        raise QuestionError("The image has pixels that are not numbers (NaN): save it again as PNG or JPEG.")
    brightest = float(pixels.max(initial=0.0))
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        white = next((value for value in usual if brightest <= value), brightest)
    return Image.fromarray((pixels / white * 255).clip(0, 255).round().astype(np.uint8), "L")


def fitted_size(width: int, height: int, max_pixels: int = MAX_PIXELS, multiple: int = 32) -> tuple[int, int]:
    """Width and height in multiples of `multiple` within `max_pixels`.

    Never larger than the image, except for the minimum of one multiple.

    >>> fitted_size(1024, 1024)
    (896, 896)
    """
    pixels = width * height
    sides = [
        # In whole numbers: rounding errors of a float would cost some images a row of patches.
        max(multiple, math.isqrt(side * side * max_pixels // max(pixels, max_pixels)) // multiple * multiple)
        for side in (width, height)
    ]
    # A very long image keeps its short side at the minimum; then only the long side can give way.
    long = 0 if sides[0] >= sides[1] else 1
    other = sides[1 - long]
    sides[long] = max(multiple, min(sides[long], max_pixels // other // multiple * multiple))
    return sides[0], sides[1]


def fit(image: Image.Image, max_pixels: int = MAX_PIXELS, multiple: int = 32) -> Image.Image:
    """The image at `fitted_size`, antialiased."""
    size = fitted_size(*image.size, max_pixels, multiple)
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
