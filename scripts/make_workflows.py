"""Make the workflows of `workflows/` in ComfyUI's own page, each with its picture: `python
scripts/make_workflows.py [NAME...]`.

Needs a ComfyUI checkout and a Chromium, as the browser tests do. What they hold stands in
`workflow_designs.py`, and `workflow_layout.py` says where on the canvas.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfyui_checkouts import checkouts
from comfyui_page import Canvas, canvas
from comfyui_server import NAME, PACK, Server
from PIL import Image
from workflow_designs import MAKERS
from workflow_layout import first_view, lanes, layout
from workflow_parts import Workflow
from workflow_stand_ins import values_for_picture, with_stand_ins, write_pictures

FOLDER = PACK / "workflows"
# These have outputs in newer versions only, which add them when they load.
OUTPUTS_SINCE = ("SaveImage", "PreviewImage", "PreviewAny")
# Up to this widget all versions have the same ones: what comes behind is not saved, and stays as it is.
LAST_VALUE = {"TrainLoraNode": "lora_dtype"}
# Not run for their picture: nothing here can edit an image again and again.
NOT_RUN = {"refine-loop-edit"}
# Width of the pictures in pixels.
PICTURE = 1600
# Bytes of a picture.
LARGEST = 200_000

CREATE = """async ({ nodes, pack }) => {
    const made = {}, least = {}
    for (const [name, wanted] of Object.entries(nodes)) {
        const node = LiteGraph.createNode(wanted.type)
        if (wanted.title) node.title = wanted.title
        if (wanted.models.length) node.properties.models = wanted.models
        if (wanted.type.startsWith("RationalRewards")) node.properties.cnr_id = pack
        app.graph.add(node)
        for (const [key, value] of Object.entries(wanted.values)) {
            const widget = node.widgets.find(widget => widget.name === key)
            if (!widget) throw new Error(`${wanted.type} has no widget ${key}`)
            widget.value = value
        }
        made[name] = node
    }
    for (const [name, wanted] of Object.entries(nodes))
        for (const [input, from] of Object.entries(wanted.links)) {
            const [source, output] = from.split(".")
            const slot = output ? made[source].findOutputSlot(output) : 0
            if (slot < 0 || !made[source].connect(slot, made[name], made[name].findInputSlot(input)))
                throw new Error(`cannot connect ${from} to ${name}.${input}`)
        }
    for (const name in made) least[name] = made[name].computeSize()[1]
    window.made = made
    return least
}"""
PLACE = """async ({ nodes, groups }) => {
    for (const [name, [x, y, width, height]] of Object.entries(nodes)) {
        made[name].pos = [x, y]
        made[name].setSize([width, height])
    }
    for (const { title, color, box } of groups) {
        const group = new LiteGraph.LGraphGroup(title)
        group.color = color
        group.pos = [box[0], box[1]]
        group.size = [box[2], box[3]]
        app.graph.add(group)
    }
}"""
SET = """([id, values]) => {
    const node = app.graph.getNodeById(id)
    for (const [name, value] of Object.entries(values)) {
        const widget = node.widgets.find(widget => widget.name === name)
        widget.value = value
        widget.callback?.(value)
    }
}"""
SHOW = """async ({ x, y }) => {
    app.canvas.deselectAll?.()
    app.canvas.ds.scale = 1
    app.canvas.ds.offset = [x, y]
    app.canvas.setDirty(true, true)
    await new Promise(done => setTimeout(done, 1500))
}"""


def identity(name: str) -> str:
    """A workflow's id, the same each time it is made."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{name}"))


def clean(name: str, graph: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """The graph without what belongs to this computer or this minute: the same input gives the same file."""
    graph["id"] = identity(name)
    graph["extra"] = {"workflowRendererVersion": "LG", "ds": view}
    for node in graph["nodes"]:
        node["pos"] = [round(value) for value in node["pos"]]
        node["size"] = [round(value) for value in node["size"]]
        # The same values again, which older frontends do not know.
        node.pop("widgets_values_named", None)
        node["properties"].pop("ver", None)
        if node["type"] in OUTPUTS_SINCE:
            node["outputs"] = []
        if node["type"] in LAST_VALUE:
            forget_later_widgets(node, LAST_VALUE[node["type"]])
    for group in graph["groups"]:
        group["bounding"] = [round(value) for value in group["bounding"]]
    return graph


def forget_later_widgets(node: dict[str, Any], last: str) -> None:
    """Leave out the values of a node's widgets behind `last`, and the inputs that go with them."""
    inputs = node["inputs"]
    number = next(i for i, one in enumerate(inputs) if one["name"] == last)
    later = [one for one in inputs[number + 1 :] if "widget" in one]
    node["inputs"] = [one for one in inputs if one not in later]
    del node["widgets_values"][-len(later) :]


def picture(page: Canvas, groups: list[dict[str, Any]]) -> bytes:
    """A JPEG of the whole graph on the page."""
    margin = 24
    right = max(group["box"][0] + group["box"][2] for group in groups)
    bottom = max(group["box"][1] + group["box"][3] for group in groups)
    # Clear of the page's own bars.
    left, top = 420, 320
    page.page.set_viewport_size({"width": round(right) + 2 * left, "height": round(bottom) + 2 * top})
    page.page.evaluate(SHOW, {"x": left, "y": top})
    corner = page.page.evaluate(
        "() => { const box = app.canvas.canvas.getBoundingClientRect(); return [box.x, box.y] }"
    )
    clip = {
        "x": left - margin + corner[0],
        "y": top - margin + corner[1],
        "width": round(right) + 2 * margin,
        "height": round(bottom) + 2 * margin,
    }
    shot = Image.open(io.BytesIO(page.page.screenshot(clip=clip))).convert("RGB")
    shot = shot.resize((PICTURE, round(shot.height * PICTURE / shot.width)), Image.Resampling.LANCZOS)
    for quality in range(90, 40, -5):
        file = io.BytesIO()
        shot.save(file, "JPEG", quality=quality, optimize=True, subsampling=0)
        if file.tell() < LARGEST:
            break
    return file.getvalue()


def make(page: Canvas, name: str, workflow: Workflow) -> None:
    """Create a workflow in the page, save it, load the saved file and take its picture."""
    page.page.set_viewport_size({"width": 1600, "height": 1000})
    # An empty graph with an id of its own: the page remembers values and previews by the ids of graph and
    # node.
    page.load(
        {
            "id": identity(name),
            "nodes": [],
            "links": [],
            "groups": [],
            "last_node_id": 0,
            "last_link_id": 0,
            "version": 0.4,
        }
    )
    nodes = {key: vars(node) for key, node in workflow.nodes.items()}
    least = page.page.evaluate(CREATE, {"nodes": nodes, "pack": NAME})
    boxes, groups = layout(workflow, least)
    page.page.evaluate(PLACE, {"nodes": boxes, "groups": groups})
    graph = clean(name, page.serialize(), first_view(groups))
    reroutes, ends = lanes(workflow, boxes, graph)
    if reroutes:
        graph["extra"] |= {"reroutes": reroutes, "linkExtensions": ends}
    (FOLDER / f"{name}.json").write_text(
        json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    missing = page.load(graph)
    if missing or any(node["faulty"] for node in page.nodes()):
        raise SystemExit(
            f"{name} does not load: {missing or [node['title'] for node in page.nodes() if node['faulty']]}"
        )
    if name not in NOT_RUN:
        run(page, workflow, graph)
    (FOLDER / f"{name}.jpg").write_bytes(picture(page, groups))


def run(page: Canvas, workflow: Workflow, graph: dict[str, Any]) -> None:
    """Run the workflow in the page, with stand-ins for image models where it has any."""
    ids = dict(zip(workflow.nodes, sorted(node["id"] for node in graph["nodes"]), strict=True))
    for node, values in values_for_picture(workflow).items():
        page.page.evaluate(SET, [ids[node], values])

    def stand_in(route: Any) -> None:
        body = route.request.post_data_json
        route.continue_(post_data=json.dumps(body | {"prompt": with_stand_ins(body["prompt"])}))

    page.page.route("**/api/prompt", stand_in)
    # A result that ComfyUI kept from another workflow is not shown in this one.
    page.server.free()
    try:
        page.server.result(page.queue())
    finally:
        page.page.unroute("**/api/prompt")
    page.page.wait_for_timeout(3000)


def models(workflow: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The files that a saved workflow's loaders name: name, url, directory."""
    for node in workflow["nodes"]:
        yield from node["properties"].get("models", [])


def prepare(folder: Path, checkout: Path, files: list[dict[str, str]]) -> None:
    """Give a server's folder the example picture and an empty file for every model, so that the page misses
    nothing.
    """
    (folder / "input").mkdir(parents=True, exist_ok=True)
    shutil.copy(checkout / "input" / "example.png", folder / "input")
    for file in files:
        path = folder / "models" / file["directory"] / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def main(wanted: list[str]) -> None:
    """Make the named workflows, or all."""
    makers = {name: maker() for name, maker in MAKERS.items()}
    if unknown := set(wanted) - set(makers):
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(makers)}")
    checkout = checkouts()[0]
    files = [
        model for workflow in makers.values() for node in workflow.nodes.values() for model in node.models
    ]
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary), checkout, files)
        write_pictures(Path(temporary) / "input")
        server = Server(checkout, Path(temporary))
        try:
            with canvas(server) as page:
                page.open()
                for name in wanted or makers:
                    make(page, name, makers[name])
                    print(name)
                if page.errors:
                    raise SystemExit("\n".join(page.errors))
        finally:
            server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
