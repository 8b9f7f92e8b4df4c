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
from comfyui_server import NAME, PACK, Failed, Server
from make_workflows import FOLDER, LARGEST, LAST_VALUE, models, prepare
from PIL import Image
from workflow_designs import MAKERS
from workflow_layout import COLUMN_GAP, NODE_GAP, TITLE

pytestmark = pytest.mark.comfyui
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
with_comfyui = pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
with_browser = pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)


# The templates as they were in version 0.1, which people have saved and shared.
EARLIER = PACK / "tests" / "data" / "workflows-0.1"
EARLIER_NAMES = sorted(path.stem for path in EARLIER.glob("*.json"))


def read(name, folder=FOLDER):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(
    scope="module",
    params=comfyui_checkouts.checkouts(),
    ids=lambda path: f"ComfyUI-{comfyui_checkouts.version(path)}",
)
def server(request, tmp_path_factory, checkpoint_folder, photos):
    """A running ComfyUI with a tiny critic, two photographs, and a file of the right name for every model."""
    folder = tmp_path_factory.mktemp("comfyui")
    known = [read(name) for name in NAMES] + [read(name, EARLIER) for name in EARLIER_NAMES]
    prepare(folder, request.param, [model for workflow in known for model in models(workflow)])
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


def bends(workflow):
    """Where a saved workflow's links are led around nodes."""
    return sorted((one["pos"], sorted(one["linkIds"])) for one in workflow["extra"].get("reroutes", []))


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
    assert set(MAKERS) == set(NAMES)
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
        # Some versions of Preview as Text save how they show it, and those of Train LoRA end differently;
        # nothing else may have values that the file lacks.
        more = [widget["name"] for widget in widgets[len(values(node)) :]]
        assert more in ([], ["previewMode"]) or node["type"] in LAST_VALUE
    assert overlaps(page.boxes()) == []
    saved = page.serialize()
    assert len(shown) == len(workflow["nodes"]) == len(saved["nodes"])
    assert wires(saved) == wires(workflow)
    assert bends(saved) == bends(workflow)
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


@pytest.mark.parametrize("name", NAMES)
def test_links_run_to_the_right_or_down_a_column(name):
    workflow = read(name)
    # Left, top, right, bottom.
    boxes = {
        node["id"]: (
            node["pos"][0],
            node["pos"][1] - TITLE,
            node["pos"][0] + node["size"][0],
            node["pos"][1] + node["size"][1],
        )
        for node in workflow["nodes"]
    }
    for _, origin, _, target, *_ in workflow["links"]:
        start, end = boxes[origin], boxes[target]
        to_the_right = end[0] >= start[2] + COLUMN_GAP
        down = end[0] == start[0] and end[1] >= start[3] + NODE_GAP
        assert to_the_right or down, (origin, target)


# Links as they are drawn: which of those between neighbouring columns, or along a lane, lie under a node,
# further than a curve may bend beyond its column.
HIDDEN_LINKS = """([gap, bend]) => {
    const STEP = 12
    const context = document.createElement("canvas").getContext("2d")
    // No line slips between the points below.
    context.lineWidth = STEP + 1
    const hidden = []
    for (const link of app.graph._links.values()) {
        const origin = app.graph.getNodeById(link.origin_id), target = app.graph.getNodeById(link.target_id)
        const far = target.pos[0] - origin.pos[0] - origin.size[0] > gap + 1
        const column = target.pos[0] === origin.pos[0]
        const reroutes = []
        for (let id = link.parentId; id; id = reroutes.at(-1).parentId)
            reroutes.push(app.graph.reroutes.get(id))
        if (column || (far && !reroutes.length)) continue
        for (const { path } of [link, ...reroutes])
            for (const { title, pos, size } of app.graph.nodes)
                for (let x = pos[0] + bend; x < pos[0] + size[0] - bend; x += STEP)
                    for (let y = pos[1] - 20; y < pos[1] + size[1] - 10; y += STEP)
                        if (context.isPointInStroke(path, x, y))
                            hidden.push([origin.title, target.title, title])
    }
    return hidden
}"""


@with_comfyui
@with_browser
@pytest.mark.parametrize("name", NAMES)
def test_links_to_the_next_column_and_along_lanes_are_not_hidden(page, name):
    page.load(read(name))
    page.fit()
    assert page.page.evaluate(HIDDEN_LINKS, [COLUMN_GAP, COLUMN_GAP / 2]) == []


@with_comfyui
@with_browser
def test_links_of_the_trainer_are_found_by_name(page):
    """Its outputs have other places in other versions."""
    name = "best-of-n-into-train-lora"
    workflow = read(name)
    trainer = next(node for node in workflow["nodes"] if node["type"] == "TrainLoraNode")
    trainer["outputs"].reverse()
    for link in workflow["links"]:
        if link[1] == trainer["id"]:
            link[2] = len(trainer["outputs"]) - 1 - link[2]
    page.load(workflow)
    assert wires(page.serialize()) == wires(read(name))


@with_comfyui
@with_browser
def test_seeds_of_the_critic_do_not_change_by_themselves(page):
    page.load(read("score-a-batch"))
    named = {node["type"]: [widget["name"] for widget in node["widgets"]] for node in page.nodes()}
    assert "control_after_generate" in named["KSampler"]
    assert "seed" in named["RationalRewardsCritique"]
    assert "control_after_generate" not in named["RationalRewardsCritique"]
    page.load(read("compare-two-samplers"))
    compare = next(node for node in page.nodes() if node["type"] == "RationalRewardsCompare")
    assert "control_after_generate" not in [widget["name"] for widget in compare["widgets"]]


@with_comfyui
@with_browser
def test_a_picture_is_judged_from_the_page(page, server):
    page.load(read("judge-a-picture"))
    page.set("Load Critic", "checkpoint", "tiny critic")
    page.set("Load Critic", "max_pixels", 32 * 32 * 16)
    page.set("Your image", "image", "a.png")
    for title in ("Critique", "Compare"):
        page.set(title, "max_new_tokens", 64)
    ids = {node["title"]: node["id"] for node in page.nodes()}

    def settings():
        ours = (node for node in page.nodes() if node["type"].startswith("RationalRewards"))
        return {node["id"]: [widget for widget in node["widgets"] if widget["saved"]] for node in ours}

    before = settings()
    outputs = server.result(page.queue())

    assert "Text Faithfulness" in outputs[ids["Critique"]]["text"][0]
    assert outputs[ids["Refine Prompt"]]["text"][0].strip()
    assert "Judged by" in outputs[ids["Compare"]]["text"][0]
    assert outputs[ids["Critique Card"]]["images"]

    # What the artist sees: the critique on the node, and every setting as it was.
    page.panel("Critique").get_by_text("Text Faithfulness").first.wait_for(timeout=15_000)
    assert settings() == before
    page.picture(comfyui_page.artifact(server, "judge-a-picture"))
    assert page.errors == []


@with_comfyui
@with_browser
@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_where_it_begins_and_can_be_read(page, name):
    page.page.set_viewport_size({"width": 1600, "height": 1000})
    page.page.wait_for_function("() => app.canvas.canvas.width <= 1600 && app.canvas.canvas.height <= 1000")
    # A zoom from before, which is not to be mistaken for the template's.
    page.page.evaluate("() => { app.canvas.ds.scale = 0.2 }")
    view = page.open_template(name)
    boxes = page.boxes()
    texts_are_left_out = page.page.evaluate("() => app.canvas.low_quality")
    page.page.set_viewport_size({"width": 2400, "height": 1200})
    # The page leaves texts out that are smaller than eight pixels; titles are fourteen at full size.
    assert 14 * view["scale"] >= 9
    assert not texts_are_left_out
    left = (min(box[1] for box in boxes) + view["offset"][0]) * view["scale"]
    top = (min(box[2] for box in boxes) + view["offset"][1]) * view["scale"]
    assert 0 <= left <= 300
    assert 0 <= top <= 300


def test_templates_without_a_download_come_first_and_say_so():
    free = [name for name in NAMES if name.endswith("-no-download")]
    assert NAMES[: len(free)] == free
    assert len(free) == 3
    for name in NAMES:
        (note,) = [node for node in read(name)["nodes"] if node["type"] == "MarkdownNote"]
        words = note["widgets_values"][0]
        if name in free:
            assert "Nothing is downloaded" in words
            assert "transformers 5" in words
        else:
            assert "17.5 GB" in words, f"{name} says what it downloads before it runs"


def source_of(workflow, link):
    """What an input shows: a file for one that is loaded, else an output of a node."""
    _, node_id, output, *_ = next(one for one in workflow["links"] if one[0] == link)
    node = next(node for node in workflow["nodes"] if node["id"] == node_id)
    return node["widgets_values"][0] if node["type"] == "LoadImage" else (node_id, output)


@pytest.mark.parametrize("name", NAMES)
def test_no_template_repeats_the_panel_or_compares_an_image_with_itself(name):
    workflow = read(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for _, source, output, *_ in workflow["links"]:
        assert nodes[source]["outputs"][output]["name"] != "report", "its panel shows it already"
    for node in workflow["nodes"]:
        if node["type"] == "RationalRewardsCompare":
            shown = [source_of(workflow, i["link"]) for i in node["inputs"] if i["name"].startswith("image_")]
            assert shown[0] != shown[1]
        if node["type"] == "RationalRewardsShapesPainter":
            assert node["widgets_values"][0] == "", "a linked painter shows no prompt that is not used"


@with_comfyui
@with_browser
@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes-2"])
def test_workflows_of_an_earlier_version_load_and_are_taken(page, server, nodes_2):
    page.open(nodes_2=nodes_2)
    for name in EARLIER_NAMES:
        workflow = read(name, EARLIER)
        assert page.load(workflow) == [], name
        assert [node["title"] for node in page.nodes() if node["faulty"]] == [], name
        assert wires(page.serialize()) == wires(workflow), name
        assert server.queue(page.prompt()), name
        server.post("/queue", {"clear": True})
        server.post("/interrupt", {})
    assert page.errors == []
    page.open(nodes_2=False)


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


# Results as long as a panel shows them, on every node that has a panel.
LONG_RESULTS = """() => {
    const words = "word ".repeat(400)
    const dimensions = ["a", "b", "c", "d", "e", "f"].map(key => (
        { key, name: "Physical and Visual Quality", applicable: true, score: 2, a: 2, b: 2, reason: words }
    ))
    for (const node of app.graph.nodes) {
        if (!node.widgets?.some(widget => widget.name === "rational_rewards")) continue
        const page = { critic: "a critic", dimensions, summary: words, comments: words }
        const more = node.type.endsWith("RefinePrompt") ? { of: "prompt", before: words, after: "new" }
            : node.type.endsWith("Compare") ? { of: "pair", winner: "A", totals: [3, 2] }
            : { of: "image", score: 0.5, mean: 2.5, confidence: 1 }
        node.onExecuted({ rational_rewards: [{ ...page, ...more }] })
    }
}"""


@with_comfyui
@with_browser
@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes-2"])
def test_nothing_overlaps_before_and_after_a_run(page, nodes_2):
    page.open(nodes_2=nodes_2)
    for name in NAMES:
        assert page.load(read(name)) == []
        assert overlaps(page.boxes()) == [], name
        page.page.evaluate(LONG_RESULTS)
        page.page.wait_for_timeout(1000)
        assert page.page.locator(".rr-panel").get_by_text("word word").count(), name
        assert overlaps(page.boxes()) == [], name
    assert page.errors == []
    page.open(nodes_2=False)
