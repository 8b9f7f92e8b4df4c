"""Make the blueprint of `subgraphs/` in ComfyUI's own page: `python scripts/make_subgraphs.py`.

A blueprint is a workflow whose only node is a subgraph. ComfyUI lists it by the name of its file, among the
nodes. Needs a ComfyUI checkout and a Chromium, as the browser tests do.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from comfyui_checkouts import checkouts
from comfyui_page import EMPTY, canvas
from comfyui_server import NAME, PACK, Server
from make_workflows import identity

FOLDER = PACK / "subgraphs"
TITLE = "Critique and refine"
ABOUT = (
    "Judges pictures with reasons and rewrites their prompt: from an image and its prompt to a better "
    "prompt, in one node."
)
# By name: type, place, size.
NODES = {
    "load": ("RationalRewardsLoadCritic", (0, 0), (340, 180)),
    "critique": ("RationalRewardsCritique", (400, 0), (400, 510)),
    "refine": ("RationalRewardsRefinePrompt", (860, 0), (380, 380)),
}
LINKS = [("load.critic", "critique.critic"), ("critique.critique", "refine.critique")]
INPUTS = [
    "critique.image",
    "critique.prompt",
    "critique.source_image",
    "load.checkpoint",
    "load.quantization",
    "refine.keep",
]
OUTPUTS = ["refine.refined_prompt", "critique.score", "critique.report", "critique.critique", "load.critic"]
# Of the node on the canvas.
WIDTH = 420

CREATE = """({ nodes, links, inputs, outputs, title, width, pack }) => {
    const made = {}
    for (const [name, [type, place, size]] of Object.entries(nodes)) {
        const node = (made[name] = LiteGraph.createNode(type))
        node.properties.cnr_id = pack
        app.graph.add(node)
        node.pos = place
        node.setSize(size)
    }
    const slot = (path, kind) => {
        const [name, id] = path.split(".")
        const found = made[name][kind].find((slot) => slot.name === id)
        if (!found) throw new Error(`no ${kind} ${path}`)
        return [found, made[name]]
    }
    for (const [from, to] of links) {
        const [output, source] = slot(from, "outputs")
        const [input, target] = slot(to, "inputs")
        source.connect(source.outputs.indexOf(output), target, target.inputs.indexOf(input))
    }
    const { subgraph, node } = app.graph.convertToSubgraph(new Set(Object.values(made)))
    for (const input of [...subgraph.inputs]) subgraph.removeInput(input) // the page offers seeds by itself
    for (const [name, [type]] of Object.entries(nodes)) {
        made[name] = subgraph.nodes.find((node) => node.type === type) // others than before
        made[name].pos = nodes[name][1]
    }
    const add = (path, kind, way) => {
        const [inner, node] = slot(path, kind)
        subgraph[way](inner.name, String(inner.type)).connect(inner, node)
    }
    for (const path of inputs) add(path, "inputs", "addInput")
    for (const path of outputs) add(path, "outputs", "addOutput")
    subgraph.name = node.title = title
    node.pos = [0, 0]
    node.setSize([width, node.computeSize()[1]])
}"""


def clean(graph: dict[str, Any]) -> dict[str, Any]:
    """The blueprint's file: the same each time, without what belongs to the page that made it."""
    (host,), (inner,) = graph["nodes"], graph["definitions"]["subgraphs"]
    inner["id"] = host["type"] = identity(TITLE)
    for kind in ("inputs", "outputs"):
        for slot in inner[kind]:
            slot["id"] = identity(f"{TITLE}/{kind}/{slot['name']}")
    bottom = max(node["pos"][1] + node["size"][1] for node in inner["nodes"])
    right = max(node["pos"][0] + node["size"][0] for node in inner["nodes"])
    inner["inputNode"]["bounding"] = [-220, bottom / 4, 160, 20 * len(INPUTS) + 8]
    inner["outputNode"]["bounding"] = [right + 60, bottom / 4, 160, 20 * len(OUTPUTS) + 8]
    inner |= {"category": "RationalRewards", "description": ABOUT}
    for node in (host, *inner["nodes"]):
        # The same values again, which older frontends do not know.
        node.pop("widgets_values_named", None)
        node["properties"].pop("ver", None)
    return graph | {
        "id": identity(f"blueprint {TITLE}"),
        "groups": [],
        "extra": {"BlueprintDescription": ABOUT},
    }


def main() -> None:
    """Make the blueprint."""
    with tempfile.TemporaryDirectory() as temporary:
        server = Server(checkouts()[0], Path(temporary))
        try:
            with canvas(server) as page:
                page.open()
                page.load(EMPTY)
                asked = {"nodes": NODES, "links": LINKS, "inputs": INPUTS, "outputs": OUTPUTS}
                page.page.evaluate(CREATE, {**asked, "title": TITLE, "width": WIDTH, "pack": NAME})
                graph = clean(page.serialize())
                if page.errors:
                    raise SystemExit("\n".join(page.errors))
        finally:
            server.stop()
    FOLDER.mkdir(exist_ok=True)
    # ASCII, because ComfyUI 0.8.0 reads it in the system's encoding.
    (FOLDER / f"{TITLE}.json").write_text(json.dumps(graph, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
