"""ComfyUI's page in a real Chromium, driven as an artist would drive it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfyui_checkouts import chromium
from comfyui_server import NAME, PACK, Server

HINT = (
    "browser tests are skipped: no Chromium found (set CHROMIUM to one)"
    if chromium() is None
    else "browser tests are skipped: the Python package playwright is not installed"
)
AVAILABLE = chromium() is not None and importlib.util.find_spec("playwright") is not None
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

READY = """name => Boolean(window.app && (app.rootGraph ?? app.graph) && app.extensionManager
    && window.LiteGraph && LiteGraph.registered_node_types[name])"""
LOAD = """async workflow => {
    window.missing = []
    const watch = { name: "tests.missing", afterConfigureGraph(types) { missing.push(...types) } }
    if (!window.listening) app.registerExtension(watch)
    window.listening = true
    await app.loadGraphData(workflow)
    await new Promise(done => setTimeout(done, 500))
    return missing.map(type => type.type ?? type)
}"""
# As a click in the template browser does.
TEMPLATE = """async ([pack, name]) => {
    const workflow = await (await fetch(`/api/workflow_templates/${pack}/${name}.json`)).json()
    await app.loadGraphData(workflow, true, true, name, { openSource: "template" })
    await new Promise(done => setTimeout(done, 500))
    return { scale: app.canvas.ds.scale, offset: [...app.canvas.ds.offset] }
}"""
NODES = """() => app.graph.nodes.map(node => ({
    id: String(node.id), type: node.type, title: node.title, pos: [...node.pos], size: [...node.size],
    faulty: Boolean(node.has_errors) || !LiteGraph.registered_node_types[node.type],
    widgets: (node.widgets ?? []).map(widget => (
        { name: widget.name, value: widget.value, saved: widget.serialize !== false }
    )),
}))"""
# Nodes 2.0 draws nodes as elements of the page, and may make them taller than the graph says.
BOXES = """() => app.graph.nodes.map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`)
    if (!element) return [node.title, node.pos[0], node.pos[1] - 30, node.size[0], node.size[1] + 30]
    const box = element.getBoundingClientRect(), zoom = app.canvas.ds.scale
    return [node.title, box.x / zoom, box.y / zoom, box.width / zoom, box.height / zoom]
})"""
SET = """([title, name, value]) => {
    const node = app.graph.nodes.find(node => node.title === title)
    const widget = node.widgets.find(widget => widget.name === name)
    widget.value = value
    widget.callback?.(value)
}"""


# Nodes by title: type, widget values, place, and links to other nodes' outputs ("Title" or "Title.output").
BUILD = """nodes => {
    const made = {}
    for (const [title, { type, values, at }] of Object.entries(nodes)) {
        const node = made[title] = LiteGraph.createNode(type)
        node.title = title
        node.pos = at
        app.graph.add(node)
        for (const [name, value] of Object.entries(values)) {
            const widget = node.widgets.find(widget => widget.name === name)
            widget.value = value
            widget.callback?.(value)
        }
    }
    for (const [title, { links }] of Object.entries(nodes))
        for (const [input, from] of Object.entries(links)) {
            const [source, output] = from.split(".")
            const slot = output ? made[source].findOutputSlot(output) : 0
            made[source].connect(slot, made[title], made[title].findInputSlot(input))
        }
    return Object.fromEntries(Object.entries(made).map(([title, node]) => [title, String(node.id)]))
}"""
# The panels of this pack, each marked with the title of its node.
MARK = """() => {
    for (const node of app.graph.nodes) {
        const panel = node.widgets?.find(widget => widget.name === "rational_rewards")?.element
        if (panel) panel.dataset.of = node.title
    }
}"""
EMPTY = {
    "last_node_id": 0,
    "last_link_id": 0,
    "nodes": [],
    "links": [],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}


def artifact(server: Server, name: str) -> Path:
    """The file of a screenshot, kept to be looked at: below `artifacts`, or the folder that RR_SCREENSHOTS
    names.
    """
    version = server.get("/system_stats")["system"]["comfyui_version"]
    folder = Path(os.environ.get("RR_SCREENSHOTS") or PACK / "artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{version}-{name}.png"


class Canvas:
    """The page with its graph. `errors` collects what went wrong in it: exceptions, and console errors of
    this pack's files.
    """

    def __init__(self, page: Any, server: Server):
        self.page = page
        self.server = server
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type == "error" and f"/extensions/{NAME}/" in message.location.get("url", ""):
            self.errors.append(message.text)

    def open(self, nodes_2: bool = False) -> None:
        """Open the page and wait until it can be used; `nodes_2` chooses between the two ways of drawing
        nodes.
        """
        self.server.post("/api/settings/Comfy.VueNodes.Enabled", nodes_2).raise_for_status()
        self.page.goto(self.server.url)
        self._wait()

    def reload(self) -> None:
        """Load the page again, as F5 does, until its workflow is back."""
        self.page.reload()
        self._wait()
        self.page.wait_for_function("() => app.graph.nodes.length > 0")

    def _wait(self) -> None:
        self.page.wait_for_function(READY, arg="RationalRewardsCritique", timeout=120_000)
        self.page.wait_for_timeout(1500)

    def load(self, workflow: dict[str, Any]) -> list[str]:
        """Load a workflow; returns the types of nodes that this ComfyUI does not have."""
        missing = self.page.evaluate(LOAD, workflow)
        # Older frontends open a dialog about missing models.
        self.page.keyboard.press("Escape")
        return missing

    def open_template(self, name: str) -> dict[str, Any]:
        """Open a template of this pack; returns the view that the page chose: scale, offset."""
        view = self.page.evaluate(TEMPLATE, [NAME, name])
        self.page.keyboard.press("Escape")
        return view

    def build(self, nodes: dict[str, dict[str, Any]]) -> dict[str, str]:
        """A new workflow with these nodes, by title: `type`, `values`, `at`, `links`. Returns their ids by
        title.
        """
        self.load(EMPTY)
        return self.page.evaluate(BUILD, nodes)

    def panel(self, title: str) -> Any:
        """The panel on the node with that title, as a locator."""
        self.page.evaluate(MARK)
        return self.page.locator(f'.rr-panel[data-of="{title}"]')

    def choose(self, setting: str, value: Any) -> None:
        """Change a setting in the settings dialog."""
        self.page.evaluate("([id, value]) => app.extensionManager.setting.set(id, value)", [setting, value])

    def nodes(self) -> list[dict[str, Any]]:
        """What the page shows: id, type, title, pos, size, faulty, widgets (name, value, saved) of every
        node.
        """
        return self.page.evaluate(NODES)

    def boxes(self) -> list[tuple[str, float, float, float, float]]:
        """Title, left, top, width and height of every node as it is drawn, title bar included."""
        return [tuple(box) for box in self.page.evaluate(BOXES)]

    def set(self, title: str, widget: str, value: Any) -> None:
        """Change a widget of the node with that title."""
        self.page.evaluate(SET, [title, widget, value])

    def serialize(self) -> dict[str, Any]:
        """The workflow as the page would save it."""
        return self.page.evaluate(
            "() => JSON.parse(JSON.stringify((app.rootGraph ?? app.graph).serialize()))"
        )

    def prompt(self) -> dict[str, Any]:
        """The workflow as the page would queue it."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def queue(self) -> str:
        """Press Run; returns the prompt's id. Raises AssertionError with the server's answer where it is
        refused.
        """
        with self.page.expect_response(
            lambda r: r.url.endswith("/prompt") and r.request.method == "POST"
        ) as waiting:
            self.page.evaluate("async () => { await app.queuePrompt(0, 1) }")
        assert waiting.value.status == 200, waiting.value.text()
        return waiting.value.json()["prompt_id"]

    def search(self, words: str, x: float, y: float) -> None:
        """Type words into the node search, opened by a double click on an empty place of the canvas."""
        # A double click may close the box of the search before in place of opening a new one.
        for _ in range(5):
            self.page.mouse.dblclick(x, y)
            self.page.wait_for_timeout(2000)
            if self.page.evaluate("() => document.activeElement?.tagName === 'INPUT'"):
                break
        self.page.keyboard.type(words, delay=30)
        # The list is sorted while one types.
        self.page.wait_for_timeout(1500)

    def fit(self) -> None:
        """Bring the whole graph into view."""
        # Or only what is selected would be in view.
        self.page.evaluate("() => app.canvas.deselectAll()")
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1500)

    def picture(self, file: Path) -> None:
        """Save a picture of the page with the whole graph in view."""
        self.fit()
        self.page.screenshot(path=file)


@contextmanager
def canvas(server: Server, width: int = 1600, height: int = 1000) -> Iterator[Canvas]:
    """A Chromium with one page of that size; `open()` it before use."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(OPTIONS))
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            # Computers that run tests are busy.
            page.set_default_timeout(60_000)
            yield Canvas(page, server)
        finally:
            browser.close()
