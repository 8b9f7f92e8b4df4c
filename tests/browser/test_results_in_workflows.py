"""Results that travel: in saved images, and on the nodes of subgraphs."""

from __future__ import annotations

import json

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import PACK
from PIL import Image

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
PROMPT = "a red star between a blue circle and a yellow square on a pink background with the word SUN"


def node(type, x, y, values=None, **links):
    return {"type": type, "values": values or {}, "at": [x, y], "links": links}


PAINTER = node(
    "RationalRewardsShapesPainter",
    0,
    340,
    {"prompt": PROMPT, "seed": 1, "control_after_generate": "fixed", "flaws": 1.0},
)
LOADER = node("RationalRewardsLoadCritic", 0, 0, {"checkpoint": "shapes demo (CPU)", "quantization": "none"})
GRAPH = {
    "Load Critic": LOADER,
    "Painter": PAINTER,
    "Critique": node(
        "RationalRewardsCritique", 460, 0, {"prompt": PROMPT}, critic="Load Critic", image="Painter"
    ),
    "Save with Scores": node(
        "RationalRewardsSaveWithScores",
        900,
        0,
        {"filename_prefix": "scored"},
        image="Painter",
        critique="Critique",
    ),
    "Save": node("SaveImage", 900, 300, {"filename_prefix": "plain"}, images="Painter"),
}
OPEN = """async ([name, type, data]) => {
    await app.handleFile(new File([new Uint8Array(data)], name, { type }))
    await new Promise(done => setTimeout(done, 1500))
}"""
DROP = """async ([name, type, data]) => {
    const carried = new DataTransfer()
    carried.items.add(new File([new Uint8Array(data)], name, { type }))
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }))
    await new Promise(done => setTimeout(done, 1500))
}"""


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request, server):
    with comfyui_page.canvas(server, 2000, 1200) as opened:
        opened.name = "nodes-2" if request.param else "classic"  # type: ignore[attr-defined]
        opened.open(nodes_2=request.param)
        yield opened
        assert opened.errors == []


def raw(outputs, id):
    return outputs[id]["rational_rewards"][0]["raw"]


def kept(file):
    """The pages on the Critique node of the workflow in an image."""
    workflow = json.loads(Image.open(file).info["workflow"])
    critique = next(one for one in workflow["nodes"] if one["type"] == "RationalRewardsCritique")
    return critique["properties"].get("rational_rewards", {}).get("pages", [])


def shown_raw(canvas):
    return canvas.panel("Critique").locator(".rr-raw .rr-text").text_content()


def expect_result(canvas, title):
    """Wait until the panel shows a judgement."""
    from playwright.sync_api import expect

    expect(canvas.panel(title)).to_contain_text("mean", timeout=30_000)


def two_runs(canvas, server):
    """Run with seed 1, then with seed 2; returns both raw answers, and the images of both runs."""
    ids = canvas.build(GRAPH)
    answers, files = [], []
    for seed in (1, 2):
        canvas.set("Painter", "seed", seed)
        outputs = server.result(canvas.queue())
        answers.append(raw(outputs, ids["Critique"]))
        named = {
            title: outputs[ids[title]]["images"][0]["filename"] for title in ("Save with Scores", "Save")
        }
        files.append({title: server.folder / "output" / name for title, name in named.items()})
        canvas.page.wait_for_timeout(1500)
    assert answers[0] != answers[1], "two seeds, two images, two critiques"
    return answers, files


@pytest.mark.parametrize("how", [OPEN, DROP], ids=["opened", "dropped"])
def test_an_image_shows_its_own_critique_not_that_of_the_run_before(canvas, server, how):
    answers, files = two_runs(canvas, server)
    for answer, saved in zip(answers, files, strict=True):
        for title, file in saved.items():
            pages = [page["raw"] for page in kept(file)]
            assert pages == [answer] or (title == "Save" and pages == []), title
        file = saved["Save with Scores"]
        canvas.page.evaluate(how, [file.name, "image/png", list(file.read_bytes())])
        assert shown_raw(canvas) == answer


def test_a_workflow_file_shows_what_its_page_showed(canvas, server):
    answers, _ = two_runs(canvas, server)
    data = list(json.dumps(canvas.serialize()).encode())
    canvas.load(comfyui_page.EMPTY)
    canvas.page.evaluate(OPEN, ["a.json", "application/json", data])
    assert shown_raw(canvas) == answers[1]


def test_an_image_without_a_critique_of_its_own_shows_none(canvas, server):
    canvas.build(GRAPH)
    server.result(canvas.queue())
    canvas.page.wait_for_timeout(1500)
    # The nodes that judge do not run: the image that is saved has no critique.
    canvas.page.evaluate(
        """() => {
            for (const title of ["Critique", "Save with Scores"])
                app.graph.nodes.find(node => node.title === title).mode = 2
        }"""
    )
    canvas.set("Painter", "seed", 3)
    outputs = server.result(canvas.queue())
    (image,) = [one["images"][0]["filename"] for one in outputs.values() if "images" in one]
    assert kept(server.folder / "output" / image) == []


PREVIEW = """nodes_2 => {
    const node = app.graph.nodes.find(node => node.title === "Save with Scores")
    if (nodes_2) {
        const frame = document.querySelector(`[data-node-id="${node.id}"]`)
        const [inner, outer] = [frame.querySelector("img"), frame].map(each => each.getBoundingClientRect())
        return { height: inner.height / app.canvas.ds.scale, beyond: inner.bottom - outer.bottom }
    }
    const widget = node.widgets.find(widget => widget.name === "$$canvas-image-preview")
    return { height: widget.computedHeight, beyond: widget.y + widget.computedHeight - node.size[1] }
}"""


def test_a_saved_image_is_drawn_inside_its_node(canvas, server):
    canvas.build(GRAPH)
    server.result(canvas.queue())
    canvas.page.wait_for_timeout(2000)
    canvas.picture(comfyui_page.artifact(server, f"{canvas.name}-saved"))
    drawn = canvas.page.evaluate(PREVIEW, canvas.name == "nodes-2")
    assert drawn["height"] > 100
    assert drawn["beyond"] <= 1


# ---------------------------------------------------------------- subgraphs


def test_a_subgraph_shows_the_result_of_the_nodes_inside(canvas, server):
    blueprint = json.loads((PACK / "subgraphs" / "Critique and refine.json").read_text(encoding="utf-8"))
    other = PAINTER | {"values": PAINTER["values"] | {"seed": 7}, "at": [0, 700]}
    prompt = node("PrimitiveStringMultiline", 0, 0, {"value": PROMPT})
    canvas.build({"Prompt": prompt, "Painter": PAINTER, "Other": other})
    canvas.load(add_hosts(canvas, blueprint))
    for title in ("Blueprint 500", "Blueprint 1000"):
        canvas.set(title, "checkpoint", "shapes demo (CPU)")
    server.result(canvas.queue())
    canvas.page.wait_for_timeout(2000)
    panels = {title: canvas.panel(title).inner_text() for title in ("Blueprint 500", "Blueprint 1000")}
    for text in panels.values():
        assert "mean" in text, "the critique"
        assert "Changes" in text, "and the rewritten prompt"
    assert panels["Blueprint 500"] != panels["Blueprint 1000"]
    canvas.picture(comfyui_page.artifact(server, f"{canvas.name}-blueprint"))
    canvas.page.wait_for_timeout(1000)
    canvas.reload()
    assert {title: canvas.panel(title).inner_text() for title in panels} == panels


def add_hosts(canvas, blueprint):
    """The workflow on the canvas with the blueprint's node in it twice, wired."""
    workflow = canvas.serialize()
    host = blueprint["nodes"][0]
    workflow["definitions"] = blueprint["definitions"]
    by_title = {one.get("title"): one for one in workflow["nodes"]}
    link = int(workflow.get("last_link_id") or 0)
    for number, (x, painter) in enumerate(((500, "Painter"), (1000, "Other")), 1):
        copy = json.loads(json.dumps(host)) | {"id": 50 + number, "pos": [x, 0], "title": f"Blueprint {x}"}
        for source, name, kind in ((painter, "image", "IMAGE"), ("Prompt", "prompt", "STRING")):
            link += 1
            slot = next(i for i, one in enumerate(copy["inputs"]) if one["name"] == name)
            copy["inputs"][slot]["link"] = link
            output = by_title[source]["outputs"][0]
            output["links"] = [*(output.get("links") or []), link]
            workflow["links"].append([link, by_title[source]["id"], 0, copy["id"], slot, kind])
        workflow["nodes"].append(copy)
    workflow["last_node_id"], workflow["last_link_id"] = 60, link
    return workflow


# ---------------------------------------------------------------- small nodes, search


@pytest.mark.parametrize("width", [200, 300, 340])
def test_words_stay_whole_and_what_opens_can_be_read_on_a_narrow_node(canvas, server, width):
    canvas.build(GRAPH)
    # An image that no other tab has judged.
    canvas.set("Painter", "seed", width + 1000 * (canvas.name == "nodes-2"))
    server.result(canvas.queue())
    expect_result(canvas, "Critique")
    resize = """width => {
        const node = app.graph.nodes.find(node => node.title === "Critique")
        node.setSize([width, node.computeSize()[1]])
        app.canvas.setDirty(true, true)
    }"""
    canvas.page.evaluate(resize, width)
    canvas.picture(comfyui_page.artifact(server, f"{canvas.name}-{width}-closed"))
    panel = canvas.panel("Critique")
    lines = """panel => [...panel.querySelectorAll(".rr-name")].map(name => {
        const words = name.textContent.split(" "), text = name.firstChild
        let at = 0
        return words.map(word => {
            const range = document.createRange()
            range.setStart(text, at)
            range.setEnd(text, at + word.length)
            at += word.length + 1
            return range.getClientRects().length
        })
    })"""
    assert all(count == 1 for words in panel.evaluate(lines) for count in words), "no word is broken"
    before = next(box[4] for box in canvas.boxes() if box[0] == "Critique")
    for summary in panel.locator("summary").all():
        summary.click()
    canvas.page.wait_for_timeout(500)
    after = next(box[4] for box in canvas.boxes() if box[0] == "Critique")
    assert after == pytest.approx(before, abs=2), "the node keeps its size"
    seen = """panel => {
        const text = panel.querySelector(".rr-raw .rr-text").getBoundingClientRect()
        const frame = panel.querySelector(".rr-scroller").getBoundingClientRect()
        return (Math.min(text.bottom, frame.bottom) - Math.max(text.top, frame.top)) / app.canvas.ds.scale
    }"""
    assert panel.evaluate(seen) > 60, "several lines of the raw answer"
    canvas.picture(comfyui_page.artifact(server, f"{canvas.name}-{width}"))


def test_a_linked_painter_shows_no_example_that_is_not_used(canvas):
    prompt = node("PrimitiveStringMultiline", 0, 0, {"value": PROMPT})
    painter = node("RationalRewardsShapesPainter", 400, 0, prompt="Prompt")
    canvas.build({"Prompt": prompt, "Painter": painter})
    value = "() => app.graph.nodes.find(node => node.title === 'Painter').widgets[0].value"
    assert canvas.page.evaluate(value) == ""
    canvas.load(canvas.serialize())
    assert canvas.page.evaluate(value) == ""
    canvas.page.evaluate("() => app.graph.nodes.find(node => node.title === 'Painter').disconnectInput(0)")
    assert canvas.page.evaluate(value) == PROMPT


@pytest.mark.parametrize(
    ("words", "title"), [("pick best", "Compare"), ("rating", "Critique"), ("rating", "Score")]
)
def test_nodes_are_found_by_what_an_artist_would_type(canvas, server, words, title):
    if not server.get("/object_info/RationalRewardsCompare")["RationalRewardsCompare"].get("search_aliases"):
        # ComfyUI 0.8 knows no search aliases: nodes are found by their names there.
        words = title
    canvas.build({})
    canvas.search(words, 1500, 1000)
    canvas.page.screenshot(path=comfyui_page.artifact(server, f"{canvas.name}-search-{words}-{title}"))
    listed = "[role=option], .comfy-vue-node-search-box li, [data-testid=result-item]"
    found = canvas.page.locator(listed).filter(has_text=title)
    assert found.count() > 0
    canvas.page.keyboard.press("Escape")
