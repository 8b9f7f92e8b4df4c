"""Best of Batch on the canvas: a page for each image, best first, that says which image it is and whether it
passed.
"""

from __future__ import annotations

import comfyui_checkouts
import comfyui_page
import pytest
from playwright.sync_api import expect

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
PROMPT = "two small blue squares on the left and a red star on a pink background with the word SUN"
KIND = "RationalRewards{}".format


def node(type, x, y, values=None, **links):
    return {"type": type, "values": values or {}, "at": [x, y], "links": links}


def painter(y, seed, flaws):
    values = {"prompt": PROMPT, "seed": seed, "control_after_generate": "fixed", "flaws": flaws}
    return node(KIND("ShapesPainter"), 0, y, values)


GRAPH = {
    "Load Critic": node(
        KIND("LoadCritic"), 0, 0, {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
    ),
    "First": painter(320, 3, 1.0),
    "Second": painter(620, 1, 0.0),
    "Both": node("ImageBatch", 380, 320, image1="First", image2="Second"),
    "Best": node(KIND("BestOf"), 760, 0, {"prompt": PROMPT}, critic="Load Critic", image="Both"),
    "Kept": node("PreviewImage", 1260, 0, images="Best.best_image"),
    "Rejected": node("PreviewImage", 1260, 340, images="Best.rejected"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request, server):
    """The page after one run."""
    server.post("/api/settings/Comfy.ColorPalette", "dark").raise_for_status()
    with comfyui_page.canvas(server, 1700, 1000) as opened:
        opened.name = "nodes-2" if request.param else "classic"
        opened.open(nodes_2=request.param)
        opened.build(GRAPH)
        server.result(opened.queue())
        yield opened
        assert opened.errors == []


def test_pages_are_best_first_and_survive_a_reload(canvas, server):
    panel = canvas.panel("Best")
    expect(panel).to_contain_text("Image 2, kept", timeout=30_000)
    expect(panel).to_contain_text("1 / 2")
    canvas.picture(comfyui_page.artifact(server, f"{canvas.name}-best-of-batch"))
    panel.locator(".rr-next").click()
    expect(panel).to_contain_text("Image 1, rejected")
    canvas.reload()
    expect(canvas.panel("Best")).to_contain_text("Image 2, kept", timeout=30_000)
