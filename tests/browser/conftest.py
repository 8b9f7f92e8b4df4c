"""A real ComfyUI for the tests in its page."""

from __future__ import annotations

from collections.abc import Iterator

import comfyui_checkouts
import pytest
from comfyui_server import Server


@pytest.fixture(
    scope="module",
    params=comfyui_checkouts.checkouts(),
    ids=lambda path: f"ComfyUI-{comfyui_checkouts.version(path)}",
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running ComfyUI, one for each file of tests."""
    running = Server(request.param, tmp_path_factory.mktemp("comfyui"))
    yield running
    running.stop()
