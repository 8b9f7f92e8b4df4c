"""A folder ranked on the canvas: loaded with the prompts in its images, judged, put in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Failed, Server
from PIL import Image

from rational_rewards.demo.gallery import write_gallery
from rational_rewards.demo.measure import spearman
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
COUNT = 18


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory):
    """A running ComfyUI with a gallery in output/gallery, one of whose images tells no prompt."""
    folder = tmp_path_factory.mktemp("comfyui")
    gallery = folder / "output" / "gallery"
    running = Server(request.param, folder)
    running.truth = write_gallery(gallery, COUNT)
    Image.open(gallery / "image-0000.png").save(gallery / "untold <b>.png")
    yield running
    running.stop()


def ranking(**load):
    return {
        "critic": {
            "class_type": "RationalRewardsLoadCritic",
            "inputs": {"checkpoint": EMBEDDED_NAME, "quantization": "nf4"},
        },
        "load": {"class_type": "RationalRewardsLoadFolder", "inputs": {"folder": "output/gallery", **load}},
        "critique": {
            "class_type": "RationalRewardsCritique",
            "inputs": {
                **{"critic": ["critic", 0], "image": ["load", 0], "prompt": ["load", 1]},
                "rubric": ["load", 3],
            },
        },
        "rank": {
            "class_type": "RationalRewardsRank",
            "inputs": {
                **{"image": ["load", 0], "critique": ["critique", 0], "name": ["load", 2]},
                **{"keep_top": 5, "filename_prefix": "sheets/mine"},
            },
        },
        "names": {"class_type": "PreviewAny", "inputs": {"source": ["rank", 1]}},
        "best": {"class_type": "SaveImage", "inputs": {"images": ["rank", 0], "filename_prefix": "best"}},
        "sheet": {"class_type": "PreviewAny", "inputs": {"source": ["rank", 4]}},
    }


def test_a_folder_is_loaded_judged_and_ranked(server):
    outputs = server.run(ranking(), seconds=600)
    report = outputs["rank"]["text"][0]
    rows = [line.split(" | ") for line in report.splitlines() if line.startswith("| ")][1:]
    names, scores = [row[1] for row in rows], [float(row[2]) for row in rows]
    assert len(rows) == COUNT + 1
    assert names[-1].endswith("(quality alone)"), "what tells no prompt comes last, and says so"
    assert spearman(scores[:-1], [server.truth[name] for name in names[:-1]]) > 0.9
    assert len(outputs["best"]["images"]) == 5
    shown = outputs["rank"]["rational_rewards"]
    assert len(shown) == COUNT + 1
    assert shown[-1]["notes"] == ["Judged for quality alone, without a prompt."]

    sheet = Path(outputs["sheet"]["text"][0])
    assert sheet.name == "mine_00001_.html"
    assert sheet.parent.name == "sheets"
    page = sheet.read_text(encoding="utf-8")
    assert page.count("<tbody") == COUNT + 1
    assert "untold &lt;b&gt;.png" in page
    assert "<b>" not in page


def test_images_without_a_prompt_may_be_left_out_and_a_large_folder_is_done_in_parts(server):
    nodes = ranking(without_prompt="leave out", skip=COUNT - 2, limit=5)
    report = server.run(nodes, seconds=600)["rank"]["text"][0]
    assert "untold" not in report
    assert report.count(".png") + report.count(".jpg") + report.count(".webp") == 2


def test_folders_are_listed_and_nothing_outside_them_is_read(server):
    spec = server.get("/object_info/RationalRewardsLoadFolder")["RationalRewardsLoadFolder"]["input"]
    folders = str(spec["required"]["folder"])
    assert "output/gallery" in folders
    assert "'input'" in folders
    for folder in ("output/../..", "output//etc", "/etc", "models"):
        with pytest.raises(Failed):
            server.run(ranking(folder=folder))
