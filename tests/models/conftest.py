"""Checkpoints that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copy_of(checkpoint_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`copy_of(family, **shape)`: a tiny checkpoint of one's own, to be changed."""
    return lambda *args, **shape: Path(
        shutil.copytree(checkpoint_folder(*args, **shape), tmp_path / "my critic")
    )
