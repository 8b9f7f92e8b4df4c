"""The page with every node that has a panel, and what tests read on it."""

from __future__ import annotations

import zlib

PROMPT = "two small blue squares on the left and a red star on a pink background with the word SUN"
HOSTILE = '<img src=x onerror="hacked=1"> <script>hacked=2</script> \u202ered\u202c (star:1.2) {a|b} &lt;'
WORDS = "word " * 10_000
KIND = "RationalRewards{}".format
JUDGES = ("Critique", "Score", "Compare")
SHOWN = (*JUDGES, "Refine Prompt")


def node(type, x, y, values=None, **links):
    return {"type": type, "values": values or {}, "at": [x, y], "links": links}


def fresh_seed(*names):
    """A seed for a picture that nobody has judged yet: the same in every run of the tests, so that none of
    them meets a picture that was not met before.
    """
    return zlib.crc32(" ".join(names).encode())


def painter(x, y, seed, flaws):
    values = {"prompt": PROMPT, "seed": seed, "control_after_generate": "fixed", "flaws": flaws}
    return node(KIND("ShapesPainter"), x, y, values)


GRAPH = {
    "Load Critic": node(
        KIND("LoadCritic"), 0, 0, {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
    ),
    "First": painter(0, 340, 1, 0.5),
    "Second": painter(0, 640, 7, 1.0),
    "Both": node("ImageBatch", 0, 940, image1="First", image2="Second"),
    "Critique": node(KIND("Critique"), 460, 0, {"prompt": PROMPT}, critic="Load Critic", image="Both"),
    "Score": node(KIND("Score"), 900, 0, {"prompt": PROMPT}, critic="Load Critic", image="First"),
    "Compare": node(
        KIND("Compare"), 1340, 0, {"prompt": PROMPT}, critic="Load Critic", image_a="First", image_b="Second"
    ),
    "Refine Prompt": node(KIND("RefinePrompt"), 1780, 0, critique="Critique"),
    "Save": node("SaveImage", 460, 860, {"filename_prefix": "panel"}, images="First"),
}

# The same nodes under the same ids in two tabs, with different pictures.
TAB = {
    "Load Critic": GRAPH["Load Critic"],
    "Picture": painter(0, 340, 1, 0.0),
    "Critique": node(KIND("Critique"), 460, 0, {"prompt": PROMPT}, critic="Load Critic", image="Picture"),
    "Score": node(KIND("Score"), 900, 0, {"prompt": PROMPT}, critic="Load Critic", image="Picture"),
}
WORKFLOW = "() => (app.rootGraph ?? app.graph).id"


# A change of the workflow, and Ctrl+Z.
UNDO = """async () => {
    const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
    const titles = () => app.graph.nodes.map(node => node.title).join()
    const before = titles()
    app.graph.nodes[0].title = "changed"
    ;(tracker.captureCanvasState ?? tracker.checkState).call(tracker)
    await app.extensionManager.command.execute("Comfy.Undo")
    await new Promise(done => setTimeout(done, 500))
    return titles() === before
}"""
# Real words of the server reach the page only when `tellNews()` is called.
HOLD_NEWS = """() => {
    const { socket } = app.api, held = []
    const hold = event => {
        event.stopImmediatePropagation()
        held.push(event.data)
    }
    socket.addEventListener("message", hold, true)
    window.tellNews = () => {
        socket.removeEventListener("message", hold, true)
        for (const data of held) socket.dispatchEvent(new MessageEvent("message", { data }))
    }
}"""
# Every observer that watches a panel from now on, until it is disconnected.
COUNT_OBSERVERS = """() => {
    window.observers ??= new Set()
    const Real = window.RealObserver ??= ResizeObserver
    window.ResizeObserver = class extends Real {
        observe(target, options) {
            super.observe(target, options)
            if (target.matches(".rr-panel *")) observers.add(this)
        }
        disconnect() {
            super.disconnect()
            observers.delete(this)
        }
    }
}"""

# What a node hands over, given to its panel as ComfyUI does.
EXECUTED = "([title, output]) => app.graph.nodes.find(node => node.title === title).onExecuted(output)"
# Contrast (WCAG 2.2) of the colour of every element that matches with what lies behind it, painted as the
# browser would.
CONTRAST = """([selector, property]) => {
    const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    const brush = pixel.getContext("2d", { willReadFrequently: true })
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    const paint = colors => {
        brush.clearRect(0, 0, 1, 1)
        for (const color of colors) { brush.fillStyle = color; brush.fillRect(0, 0, 1, 1) }
        const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].map(v => linear(v / 255))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    return [...document.querySelectorAll(selector)].map(element => {
        const behind = []
        const first = property === "backgroundColor" ? element.closest(".rr-cells") : element
        for (let at = first; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor)
        const [one, two] = [paint(behind), paint([...behind, getComputedStyle(element)[property]])]
        return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
    })
}"""


def wait(canvas, title, text):
    """The panel's text, as soon as it has `text` in it."""
    from playwright.sync_api import expect

    panel = canvas.panel(title)
    expect(panel).to_contain_text(text, timeout=30_000)
    return panel.inner_text()


def in_theme(canvas, theme):
    canvas.choose("Comfy.ColorPalette", theme)
    canvas.page.wait_for_function(
        "dark => Boolean(document.body.closest('.dark-theme')) === dark", arg=theme == "dark"
    )
    canvas.page.wait_for_timeout(500)


def texts(canvas):
    return {title: canvas.panel(title).inner_text() for title in SHOWN}


STREAM = "rational_rewards.stream"
