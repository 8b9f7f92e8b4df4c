"""Checkpoints and adapters that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trained_adapters import train

from rational_rewards.models.checkpoints.adapters import (
    write_record,
)
from rational_rewards.models.checkpoints.discovery import inspect_checkpoint


@pytest.fixture
def copy_of(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`copy_of(family, **shape)`: a tiny checkpoint of one's own, to be changed."""
    return lambda *args, **shape: Path(
        shutil.copytree(checkpoint_folder(*args, **shape), tmp_path / "my critic")
    )


@pytest.fixture(scope="module")
def taste(
    checkpoint_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """`taste(family, strength)`: the folder of an adapter with our record, for the tiny checkpoint; made
    once.
    """
    made: dict[Any, Path] = {}

    def make(family: str = "qwen3_vl", strength: float = 0.5) -> Path:
        if (family, strength) not in made:
            base = checkpoint_folder(family)
            folder = train(base, tmp_path_factory.mktemp("root") / "adapters" / "soft light", strength)
            write_record(folder, inspect_checkpoint(base), "nf4", {"rank": 4, "rows": 40, "seed": 3})
            made[family, strength] = folder
        return made[family, strength]

    return make


@pytest.fixture
def own(taste: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the adapter, to be changed."""
    return Path(shutil.copytree(taste(), tmp_path / "adapters" / "soft light"))
