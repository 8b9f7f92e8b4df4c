"""What every test may use: tiny real checkpoints, real pictures, critics over them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from comfyui_checkouts import describe_checkouts
from PIL import Image

from rational_rewards.demo.checkpoint import Shape, build_checkpoint
from rational_rewards.models.images import open_image

# Time is for benchmarks, never for tests.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# Pixel budget of most tests: 16 visual tokens.
SMALL = 128 * 128
# What is tested first, the files that take longest: one that began last would leave the other processes idle.
FIRST = ("browser", "training", "demo", "nodes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the rooms."""
    rooms = [*FIRST, ""]
    items.sort(key=lambda item: rooms.index(item.path.parent.name if item.path.parent.name in FIRST else ""))


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`checkpoint_folder(family="qwen3_vl", **shape)`: a tiny checkpoint of that shape, built once."""
    built: dict[Any, Path] = {}

    def build(family: str = "qwen3_vl", seed: int = 0, **shape: Any) -> Path:
        key = (family, seed, *sorted(shape.items()))
        if key not in built:
            built[key] = build_checkpoint(
                tmp_path_factory.mktemp(family) / "tiny", Shape(family, **shape), seed
            )
        return built[key]

    return build


@pytest.fixture(scope="session")
def loaded(checkpoint_folder: Callable[..., Path]) -> Callable[..., Any]:
    """`loaded(family)`: (model, processor) of a tiny checkpoint in fp32 on the CPU, loaded once by the real
    loader.
    """
    from rational_rewards.models.checkpoints.loading import load

    done: dict[Any, Any] = {}

    def get(family: str = "qwen3_vl", seed: int = 0) -> Any:
        if (family, seed) not in done:
            done[family, seed] = load(checkpoint_folder(family, seed), "none", "cpu", dtype=torch.float32)
        return done[family, seed]

    return get


@pytest.fixture(scope="session")
def make_critic(loaded: Callable[..., Any]) -> Callable[..., Any]:
    """`make_critic(family, **engine)`: a new critic (with nothing remembered) over the shared tiny model."""
    from rational_rewards.models.critic import Critic
    from rational_rewards.models.engines.transformers_engine import TransformersEngine

    def make(family: str = "qwen3_vl", seed: int = 0, max_pixels: int = SMALL, **engine: Any) -> Critic:
        found = loaded(family, seed)
        return Critic(TransformersEngine(found.model, found.processor, max_pixels, **engine), "tiny")

    return make


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Eight photographs of different sizes from scikit-image."""
    from skimage import data

    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    images = [Image.fromarray(np.asarray(picture)[..., :3]) for picture in pictures]
    return images + [image.crop((40, 20, image.width - 60, image.height - 10)) for image in images]


def template_pictures(count: int = 8) -> list[Path]:
    """Generated pictures that ship inside ComfyUI's workflow-template package, where that is installed."""
    found = importlib.util.find_spec("comfyui_workflow_templates_media_image")
    if found is None or found.origin is None:
        return []
    return sorted((Path(found.origin).parent / "templates").glob("image_*-1.webp"))[:count]


@pytest.fixture(scope="session")
def pictures(photos: list[Image.Image]) -> list[Image.Image]:
    """Generated pictures where ComfyUI's template package is installed, otherwise photographs."""
    return [open_image(path) for path in template_pictures()] or photos


def pytest_report_header() -> list[str]:
    """Which ComfyUI the real-server tests will run on."""
    return [
        *describe_checkouts(),
        f"{len(template_pictures())} generated pictures from ComfyUI's template package",
    ]
