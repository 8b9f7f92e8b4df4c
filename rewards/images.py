"""Images as trainers hand them over, to the PIL images that the critic is asked about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..models.errors import QuestionError
from ..models.images import tensor_to_pil
from ..models.inputs import ImageInput

if TYPE_CHECKING:
    import torch

CHANNELS = (1, 3, 4)
# Decoders and bf16 overshoot by this much; more means that the values are on another scale.
OVERSHOOT = 0.02


def as_images(images: Any, name: str = "images") -> list[ImageInput]:
    """A batch from a trainer as a list of PIL images (or paths, which are passed on).

    Args:
        images: a tensor `[N, C, H, W]` or `[C, H, W]`, an array `[N, H, W, C]` or `[H, W, C]`, one PIL image
            or path, or a list of any of these for single images. Float pixels are 0..1, uint8 pixels 0..255;
            1, 3 or 4 channels. The other order of axes is recognised by the number of channels.
        name: what the batch is called in errors.

    Raises:
        QuestionError: for an empty batch, another shape, NaN pixels, and float pixels that are not 0..1: a
            batch in -1..1 or 0..255 would be judged as a washed-out or a burnt image.
    """
    if isinstance(images, (str, Image.Image)) or hasattr(images, "__fspath__"):
        return [images]
    if hasattr(images, "shape"):
        return [*_pixels_to_pil(images, name)]
    if not isinstance(images, Iterable):
        raise QuestionError(f"`{name}` must be images, not {type(images).__name__}.")
    listed: list[ImageInput] = []
    for image in images:
        converted = as_images(image, name)
        if len(converted) != 1:
            raise QuestionError(
                f"`{name}` holds {len(converted)} images in the place of one: the critic looks at one image "
                f"for each prompt, so videos and several condition images cannot be judged."
            )
        listed += converted
    if not listed:
        raise QuestionError(f"`{name}` is empty: give at least one image.")
    return listed


def _pixels_to_pil(pixels: Any, name: str) -> list[Image.Image]:
    import torch

    # Tensors have their channels first and arrays last, wherever both could be meant.
    channels_first = isinstance(pixels, torch.Tensor)
    tensor = torch.as_tensor(pixels).detach()
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4:
        raise QuestionError(
            f"`{name}` has the shape {list(tensor.shape)}, where [images, channels, height, width] is needed."
        )
    first, last = tensor.shape[1] in CHANNELS, tensor.shape[-1] in CHANNELS
    if first and (channels_first or not last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor_to_pil(_unit_range(tensor, name), name)


def _unit_range(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The pixels as floats 0..1."""
    import torch

    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    if not tensor.dtype.is_floating_point:
        raise QuestionError(f"`{name}` has pixels of {tensor.dtype}: give uint8, or floats from 0 to 1.")
    tensor = tensor.float()
    # NaN passes here, and is named by `tensor_to_pil`.
    if tensor.numel() and (tensor.min() < -OVERSHOOT or tensor.max() > 1 + OVERSHOOT):
        raise QuestionError(
            f"`{name}` has pixels from {tensor.min():.2f} to {tensor.max():.2f}, where 0 to 1 is needed: "
            f"postprocess the decoder's output first."
        )
    return tensor
