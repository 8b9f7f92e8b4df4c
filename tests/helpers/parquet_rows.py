"""Rows of preference datasets, and the Parquet files that hold them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from rational_rewards.preferences.dataset import PreferenceDataset


def picture(number: int, size: tuple[int, int] = (20, 12)) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    )


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, format="PNG")
    return file.getvalue()


A, B = png(1), png(2)


def votes(*labels, a=A, b=B, **more):
    """The columns of a text-to-image file with a prompt of its own in every row."""
    count = len(labels)
    prompts = [f"prompt {number}" for number in range(count)]
    return {
        "prompt": prompts,
        "left_image": [a] * count,
        "right_image": [b] * count,
        "vote_type": list(labels),
        **more,
    }


def preferred(dataset: PreferenceDataset) -> list[str]:
    return [pair.preferred for pair in dataset]
