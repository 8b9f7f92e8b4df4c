"""The workflows that come with the pack, in ComfyUI's real page: they load whole, and one is run from
there.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time

import comfyui_checkouts
import comfyui_page
import pytest
import requests
from comfyui_server import NAME, Failed, Server
from make_workflows import FOLDER, LARGEST, models, prepare
from PIL import Image
from workflow_designs import MAKERS

pytestmark = pytest.mark.comfyui
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
with_comfyui = pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
with_browser = pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(
    scope="module",
    params=comfyui_checkouts.checkouts(),
    ids=lambda path: f"ComfyUI-{comfyui_checkouts.version(path)}",
)
def server(request, tmp_path_factory, checkpoint_folder, photos):
    """A running ComfyUI with a tiny critic, two photographs, and a file of the right name for every model."""
    folder = tmp_path_factory.mktemp("comfyui")
    prepare(folder, request.param, [model for name in NAMES for model in models(read(name))])
    shutil.copytree(checkpoint_folder(), folder / "models" / "LLM" / "tiny critic")
    for name, photo in zip(("a.png", "b.png"), photos, strict=False):
        photo.resize((256, 192)).save(folder / "input" / name)
    running = Server(request.param, folder)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def page(server):
    """ComfyUI's page in a browser, with nodes drawn on the classic canvas."""
    with comfyui_page.canvas(server, 2400, 1200) as opened:
        opened.open()
        yield opened


def values(node):
    """A saved node's widget values."""
    return list(node.get("widgets_values") or [])


def wires(workflow):
    """A saved workflow's links: (node, output, node, input), by names, for their places differ between
    versions.
    """
    nodes = {str(node["id"]): node for node in workflow["nodes"]}
    found = set()
    for link, origin, output, target, place, _ in workflow["links"]:
        source, sink = nodes[str(origin)]["outputs"][output], nodes[str(target)]["inputs"][place]
        assert sink["link"] == link
        assert link in source["links"]
        assert source["type"] == sink["type"] or "*" in (source["type"], sink["type"]), (
            f"{source['name']} into {sink['name']}"
        )
        found.add((str(origin), source["name"], str(target), sink["name"]))
    return found


def overlaps(boxes):
    """Pairs of nodes that cover each other by more than a pixel."""
    return [
        (a[0], b[0])
        for a, b in itertools.combinations(boxes, 2)
        if min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]) > 1
        and min(a[2] + a[4], b[2] + b[4]) - max(a[2], b[2]) > 1
    ]


# ---------------------------------------------------------------- the files


def test_every_workflow_has_a_picture_and_can_be_made_again():
    assert {maker.__name__.replace("_", "-") for maker in MAKERS} == set(NAMES)
    for name in NAMES:
        picture = FOLDER / f"{name}.jpg"
        assert picture.stat().st_size < LARGEST
        assert Image.open(picture).width >= 1200


@pytest.mark.parametrize("name", NAMES)
def test_loaders_say_where_their_files_come_from(name):
    for node in read(name)["nodes"]:
        files = [value for value in values(node) if str(value).endswith(".safetensors")]
        offered = node["properties"].get("models", [])
        assert [model["name"] for model in offered] == files, node["type"]
        for model in offered:
            assert model["url"].startswith("https://huggingface.co/")
            assert model["url"].endswith(f"/{model['name']}")


@with_comfyui
def test_the_workflows_are_listed_as_templates_with_their_pictures(server):
    assert sorted(server.get("/api/workflow_templates")[NAME]) == NAMES
    for name in NAMES:
        assert server.get(f"/api/workflow_templates/{NAME}/{name}.json") == read(name)
        picture = requests.get(f"{server.url}/api/workflow_templates/{NAME}/{name}.jpg", timeout=10)
        assert picture.headers["Content-Type"] == "image/jpeg"
        assert picture.content == (FOLDER / f"{name}.jpg").read_bytes()


# ---------------------------------------------------------------- in the page


@with_comfyui
@with_browser
@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_loads_whole_and_is_saved_as_it_was(page, server, name):
    workflow = read(name)
    assert page.load(workflow) == []
    shown = {node["id"]: node for node in page.nodes()}
    assert [node["title"] for node in shown.values() if node["faulty"]] == []
    for node in workflow["nodes"]:
        widgets = [widget for widget in shown[str(node["id"])]["widgets"] if widget["saved"]]
        assert [widget["value"] for widget in widgets][: len(values(node))] == values(node)
        # Some versions of Preview as Text save how they show it; nothing else may have values that the file
        # lacks.
        assert [widget["name"] for widget in widgets[len(values(node)) :]] in ([], ["previewMode"])
    assert overlaps(page.boxes()) == []
    saved = page.serialize()
    assert len(shown) == len(workflow["nodes"]) == len(saved["nodes"])
    assert wires(saved) == wires(workflow)
    kept = {str(node["id"]): node for node in saved["nodes"]}
    for node in workflow["nodes"]:
        assert (
            values(kept[str(node["id"])])[: len(values(node))] == values(node) or node["type"] == "PreviewAny"
        )
    assert [group["title"] for group in saved["groups"]] == [group["title"] for group in workflow["groups"]]
    assert page.errors == []
    # The server takes it: every value is one that its node allows. Nothing of it has to run here.
    queued = server.queue(page.prompt())
    server.post("/queue", {"clear": True})
    server.post("/interrupt", {})
    deadline = time.monotonic() + 60
    while server.get("/queue")["queue_running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert queued
    assert not server.get("/queue")["queue_running"]


@with_comfyui
@with_browser
def test_seeds_of_the_critic_do_not_change_by_themselves(page):
    page.load(read("score-a-batch"))
    named = {node["type"]: [widget["name"] for widget in node["widgets"]] for node in page.nodes()}
    assert "control_after_generate" in named["KSampler"]
    for type in ("RationalRewardsCritique", "RationalRewardsScore"):
        assert "seed" in named[type]
        assert "control_after_generate" not in named[type]
    page.load(read("compare-two-samplers"))
    compare = next(node for node in page.nodes() if node["type"] == "RationalRewardsCompare")
    assert "control_after_generate" not in [widget["name"] for widget in compare["widgets"]]


@with_comfyui
@with_browser
def test_a_picture_is_judged_from_the_page(page, server):
    page.load(read("judge-a-picture"))
    page.set("Load Critic", "checkpoint", "tiny critic")
    page.set("Load Critic", "max_pixels", 32 * 32 * 16)
    page.set("Your picture", "image", "a.png")
    page.set("Another picture", "image", "b.png")
    for title in ("Critique", "Score", "Compare"):
        page.set(title, "max_new_tokens", 64)
    ids = {node["title"]: node["id"] for node in page.nodes()}

    def settings():
        ours = (node for node in page.nodes() if node["type"].startswith("RationalRewards"))
        return {node["id"]: [widget for widget in node["widgets"] if widget["saved"]] for node in ours}

    before = settings()
    outputs = server.result(page.queue())

    assert "Text Faithfulness" in outputs[ids["Critique"]]["text"][0]
    assert outputs[ids["Refine Prompt"]]["text"][0].strip()
    assert outputs[ids["Refine Prompt"]]["text"][0].startswith(outputs[ids["Refined prompt"]]["text"][0])
    assert 0 <= float(outputs[ids["Overall score, 0 to 1"]]["text"][0]) <= 1
    assert "Judged by" in outputs[ids["Which is better, and why"]]["text"][0]
    card = Image.open(server.folder / "output" / outputs[ids["Save the card"]]["images"][0]["filename"])
    assert card.width >= 512

    # What the artist sees: the critique on the canvas, and every setting as it was.
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        texts = {node["title"]: [str(widget["value"]) for widget in node["widgets"]] for node in page.nodes()}
        if any("Text Faithfulness" in text for text in texts["What the critic says"]):
            break
        time.sleep(0.2)
    assert any("Text Faithfulness" in text for text in texts["What the critic says"])
    assert settings() == before
    page.picture(comfyui_page.artifact(server, "judge-a-picture"))
    assert page.errors == []


@with_comfyui
@with_browser
def test_a_failure_is_shown_on_the_page(page, server):
    page.load(read("judge-a-picture"))
    page.set("Load Critic", "checkpoint", "not here")
    with pytest.raises(Failed) as caught:
        server.result(page.queue())
    assert "not here" in str(caught.value)
    ids = {node["id"]: node["title"] for node in page.nodes()}
    assert ids[caught.value.node] == "Load Critic"
    page.page.keyboard.press("Escape")
    assert page.errors == []


@with_comfyui
@with_browser
def test_nothing_overlaps_in_nodes_2(page):
    page.open(nodes_2=True)
    for name in NAMES:
        assert page.load(read(name)) == []
        assert overlaps(page.boxes()) == [], name
    assert page.errors == []
