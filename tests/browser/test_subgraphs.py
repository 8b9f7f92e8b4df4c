"""The blueprint: found by its name in ComfyUI's own search, put on the canvas, wired and run."""

from __future__ import annotations

import json
from pathlib import Path

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import NAME, Server
from make_subgraphs import FOLDER, INPUTS, OUTPUTS, TITLE

pytestmark = pytest.mark.comfyui
FILE = FOLDER / f"{TITLE}.json"
GRAPH = {
    "Prompt": {
        "type": "PrimitiveStringMultiline",
        "values": {"value": "two large red stars"},
        "at": [0, 0],
        "links": {},
    },
    "Painter": {
        "type": "RationalRewardsShapesPainter",
        "values": {},
        "at": [0, 300],
        "links": {"prompt": "Prompt"},
    },
    "Better": {"type": "PreviewAny", "values": {}, "at": [1000, 0], "links": {}},
    "Words": {"type": "PreviewAny", "values": {}, "at": [1000, 300], "links": {}},
}
WIRE = """title => {
    const find = title => app.graph.nodes.find(node => node.title === title)
    const host = find(title)
    const input = name => host.inputs.findIndex(slot => slot.name === name)
    find("Painter").connect(0, host, input("image"))
    find("Prompt").connect(0, host, input("prompt"))
    host.connect(host.findOutputSlot("refined_prompt"), find("Better"), 0)
    host.connect(host.findOutputSlot("report"), find("Words"), 0)
    host.pos = [450, 0]
    return host.inputs.map(slot => slot.name)
}"""


def names(paths):
    return [path.split(".")[1] for path in paths]


def test_the_file_holds_one_node_and_no_wire_to_the_outside():
    text = FILE.read_bytes().decode("ascii")
    graph = json.loads(text)
    (host,), (inner,) = graph["nodes"], graph["definitions"]["subgraphs"]
    assert host["type"] == inner["id"]
    assert graph["links"] == []
    for one in (host, inner):
        assert [slot["name"] for slot in one["inputs"]] == names(INPUTS)
        assert [slot["name"] for slot in one["outputs"]] == names(OUTPUTS)
    assert not any(slot["link"] for slot in host["inputs"])


@pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
@pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)
@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes-2"])
def test_it_is_found_in_the_search_and_runs(server: Server, nodes_2: bool, tmp_path: Path) -> None:
    listed = [entry for entry in server.get("/api/global_subgraphs").values() if entry["name"] == TITLE]
    assert [entry["info"]["node_pack"] for entry in listed] == [f"custom_nodes.{NAME}"]
    with comfyui_page.canvas(server, 2000, 1200) as canvas:
        canvas.open(nodes_2=nodes_2)
        ids = canvas.build(GRAPH)
        canvas.search(TITLE, 1500, 1000)
        canvas.page.get_by_text(TITLE).first.wait_for()
        canvas.page.keyboard.press("Enter")
        canvas.page.wait_for_function(
            "title => app.graph.nodes.some(node => node.title === title)", arg=TITLE
        )
        canvas.page.wait_for_timeout(500)
        # Newer pages have the node follow the mouse until then.
        canvas.page.mouse.click(1500, 1000)
        canvas.page.wait_for_timeout(500)
        assert canvas.page.evaluate(WIRE, TITLE) == names(INPUTS)
        canvas.set(TITLE, "checkpoint", "shapes demo (CPU)")
        outputs = server.result(canvas.queue())
        better, words = (outputs[ids[title]]["text"][0] for title in ("Better", "Words"))
        assert "two large red stars" in better
        assert "Text Faithfulness" in words
        canvas.picture(comfyui_page.artifact(server, f"subgraph-{'nodes-2' if nodes_2 else 'classic'}"))
        assert canvas.errors == []
