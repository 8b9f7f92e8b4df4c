"""A folder ranked in the page: wired by hand, run, and looked at on the node."""

from __future__ import annotations

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_page import artifact

from rational_rewards.demo.gallery import write_gallery
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
LOADER = "Load Folder with Prompts"
GRAPH = {
    "Critic": {
        "type": "RationalRewardsLoadCritic",
        "values": {"checkpoint": EMBEDDED_NAME},
        "at": [0, 0],
        "links": {},
    },
    LOADER: {
        "type": "RationalRewardsLoadFolder",
        "values": {"folder": "input/gallery"},
        "at": [0, 300],
        "links": {},
    },
    "Critique": {
        "type": "RationalRewardsCritique",
        "values": {},
        "at": [450, 0],
        "links": {
            **{"critic": "Critic", "image": LOADER, "prompt": f"{LOADER}.prompt"},
            "rubric": f"{LOADER}.rubric",
        },
    },
    "Rank": {
        "type": "RationalRewardsRank",
        "values": {},
        "at": [950, 0],
        "links": {"image": LOADER, "critique": "Critique", "name": f"{LOADER}.name"},
    },
    "Best": {"type": "PreviewImage", "values": {}, "at": [1450, 0], "links": {"images": "Rank"}},
}


def test_the_pair_is_wired_with_critique_between_and_shows_the_order(server):
    gallery = server.folder / "input" / "gallery"
    write_gallery(gallery, 6)
    (gallery / "image-0002.txt").unlink()
    with comfyui_page.canvas(server) as canvas:
        canvas.open()
        ids = canvas.build(GRAPH)
        inputs = canvas.prompt()[ids["Critique"]]["inputs"]
        assert inputs["rubric"] == [ids[LOADER], 3]
        server.result(canvas.queue(), seconds=300)
        panel = canvas.panel("Rank")
        panel.get_by_text("1.00").first.wait_for()
        canvas.picture(artifact(server, "rank-a-folder"))
        assert canvas.errors == []
