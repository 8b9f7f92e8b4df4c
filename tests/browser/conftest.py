"""A real ComfyUI for the tests in its page."""

from __future__ import annotations

from collections.abc import Iterator

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import Server
from panel_page import GRAPH, SHOWN, wait


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


@pytest.fixture(scope="module")
def shots(server):
    """Takes pictures of the page: `shots(canvas, name)`."""
    return lambda canvas, name: canvas.picture(comfyui_page.artifact(server, name))


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request, server):
    """The page with the graph, not yet run."""
    server.post("/api/settings/Comfy.ColorPalette", "dark").raise_for_status()
    with comfyui_page.canvas(server, 2400, 1200) as opened:
        opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened.name = "nodes-2" if request.param else "classic"  # type: ignore[attr-defined]
        opened.open(nodes_2=request.param)
        opened.ids = opened.build(GRAPH)  # type: ignore[attr-defined]
        yield opened


@pytest.fixture(scope="module")
def ran(canvas, server):
    """The page after one run; `outputs` by title."""
    outputs = server.result(canvas.queue())
    canvas.outputs = {title: outputs[canvas.ids[title]] for title in SHOWN}
    wait(canvas, "Refine Prompt", "Prompt")
    yield canvas
    assert canvas.errors == []
