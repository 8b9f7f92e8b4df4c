"""What the vision tower says of an image, kept so that no image is encoded twice: not for a second question,
and not for the other order of a comparison.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

# Host memory for images that were seen: about twenty for the 8B critic.
SEEN_BYTES = 512 * 1024**2
HOST = torch.device("cpu")


@dataclass(frozen=True)
class ImageFeatures:
    """One image as the language model reads it: `embeddings` [T, hidden], and `deepstack` features of the
    same shape for its first layers (Qwen3-VL; none for Qwen2.5-VL).

    `grid` is [1, 3]: frames, rows and columns of patches.
    """

    embeddings: torch.Tensor
    deepstack: tuple[torch.Tensor, ...]
    grid: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return sum(tensor.nbytes for tensor in (self.embeddings, *self.deepstack))

    def to(self, device: torch.device) -> ImageFeatures:
        """The same on another device."""
        deepstack = tuple(tensor.to(device) for tensor in self.deepstack)
        return ImageFeatures(self.embeddings.to(device), deepstack, self.grid.to(device))


@torch.inference_mode()
def encode_image(model: Any, pixel_values: torch.Tensor, grid: torch.Tensor) -> ImageFeatures:
    """The features of one image from its patches [patches, width] and grid [1, 3]."""
    visual = model.model.visual
    output = visual(pixel_values.to(visual.dtype), grid_thw=grid)
    if isinstance(output, torch.Tensor):
        # Qwen2.5-VL before transformers 5.
        embeddings, deepstack = output, ()
    elif isinstance(output, tuple):
        # Qwen3-VL before transformers 5.
        embeddings, deepstack = output
    else:
        embeddings, deepstack = output.pooler_output, getattr(output, "deepstack_features", None) or ()
    return ImageFeatures(embeddings, tuple(deepstack), grid)


def encode_images(model: Any, inputs: dict[str, torch.Tensor]) -> list[ImageFeatures]:
    """The features of every image in a processor's tensors, each encoded alone, so that they are the same
    whatever stands beside it.
    """
    if "pixel_values" not in inputs:
        return []
    grids = inputs["image_grid_thw"]
    patches = inputs["pixel_values"].split(grids.prod(-1).tolist())
    return [encode_image(model, one, grid) for one, grid in zip(patches, grids.split(1), strict=True)]


def embed(model: Any, input_ids: torch.Tensor, features: Sequence[ImageFeatures]) -> dict[str, Any]:
    """What the language model takes for a prompt [1, N] with its images in order: `inputs_embeds` and, where
    the tower has them, the deepstack features and where they belong.
    """
    embeds = model.get_input_embeddings()(input_ids)
    if not features:
        return {"inputs_embeds": embeds}
    visual = input_ids == model.config.image_token_id
    images = torch.cat([one.embeddings for one in features]).to(embeds.dtype)
    given: dict[str, Any] = {"inputs_embeds": embeds.masked_scatter(visual[..., None], images)}
    if features[0].deepstack:
        layers = zip(*(one.deepstack for one in features), strict=True)
        given["visual_pos_masks"] = visual
        given["deepstack_visual_embeds"] = [torch.cat(layer) for layer in layers]
    return given


class SeenImages:
    """The features of the images that were seen last, in host memory, at most `size` bytes of them."""

    def __init__(self, size: int = SEEN_BYTES):
        self.size = size
        self.kept: OrderedDict[str, ImageFeatures] = OrderedDict()

    def get(self, image: Image.Image, encode: Callable[[Image.Image], ImageFeatures]) -> ImageFeatures:
        """The features of an image: kept ones, or what `encode` says."""
        key = digest(image)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        features = encode(image)
        self.kept[key] = features.to(HOST)
        while sum(one.nbytes for one in self.kept.values()) > self.size:
            self.kept.popitem(last=False)
        return features


def digest(image: Image.Image) -> str:
    """The same for equal pixels, and only for those."""
    found = hashlib.sha256(f"{image.mode} {image.size}".encode())
    found.update(image.tobytes())
    return found.hexdigest()
