/** The panel's door to ComfyUI: which nodes get one, what it is told, the settings. */

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { isElsewhere, nodeOfLocator } from "./graph.js"
import { isFolded, keep, recall } from "./keep.js"
import { readPages } from "./pages.js"
import { Panel } from "./panel.js"
import { say, speak } from "./strings.js"
import { listen } from "./stream.js"

const NODES = new Set(["Critique", "Score", "Compare", "RefinePrompt", "LoopEnd"].map((name) => `RationalRewards${name}`))
const OUTPUT = "rational_rewards" // the key under which nodes hand over their pages
const TYPE = "RATIONAL_REWARDS_PANEL" // a word of our own: for core's words Nodes 2.0 would draw core's widgets
const WIDTH = 340 // of a new node: room for a dimension's name, its bar and its score
const MARGIN = 10 // around the panel on the canvas, as around text fields
const SETTINGS = [
    {
        id: "RationalRewards.Panel",
        name: "Show the critique on the nodes",
        tooltip: "For nodes that are added or opened from now on. Without it the critique is still in the nodes' outputs.",
    },
    {
        id: "RationalRewards.KeepResults",
        name: "Keep results in the workflow",
        tooltip: "The last result is saved with its node, and comes back with the workflow or with a picture that holds it.",
    },
]

const panels = new Map()
const isOn = (id) => app.extensionManager.setting.get(id) !== false

/** Give a node its panel, behind all its inputs. */
function attach(node) {
    const save = (pages, folded) => keep(node, isOn("RationalRewards.KeepResults") ? pages : [], folded)
    const panel = new Panel(node, save)
    const widget = node.addDOMWidget(OUTPUT, TYPE, panel.root, {
        serialize: false, // not an input of the prompt
        hideOnZoom: false,
        hideInPanel: true, // the side panel of newer pages would take it away from the node
        margin: MARGIN,
        getMinHeight: () => panel.height + 2 * MARGIN,
    })
    widget.serialize = false // not a value of the saved workflow
    widget.label = say("panel")
    node.setSize([Math.max(WIDTH, node.size[0]), node.computeSize()[1]])
    panels.set(node, panel)

    after(node, "onExecuted", (output) => accept(node, output))
    after(node, "onConfigure", () => panel.show(recall(node), isFolded(node)))
    after(node, "onRemoved", () => {
        panel.dispose()
        panels.delete(node)
    })
}

/** Call `more` behind what the node does already. */
function after(node, name, more) {
    const first = node[name]
    node[name] = function (...given) {
        const result = first?.apply(this, given)
        more(...given)
        return result
    }
}

/** Show and keep what a node has brought out. */
function accept(node, output) {
    const panel = panels.get(node)
    const pages = readPages(output?.[OUTPUT])
    if (panel && pages.length && !isElsewhere(output[OUTPUT][0]?.workflow)) panel.receive(pages)
}

app.registerExtension({
    name: "RationalRewards.Panel",
    settings: SETTINGS.map((setting) => ({ ...setting, type: "boolean", defaultValue: true })),

    async init() {
        const sheet = document.createElement("link")
        sheet.rel = "stylesheet"
        sheet.href = new URL("./panel.css", import.meta.url).href
        document.head.append(sheet)
        const locale = app.extensionManager.setting.get("Comfy.Locale")
        if (!locale || locale === "en") return
        const answer = await api.fetchApi("/i18n")
        if (answer.ok) speak(locale, await answer.json())
    },

    setup() {
        listen(
            (node) => panels.get(node),
            () => panels.values(),
        )
    },

    nodeCreated(node) {
        if (NODES.has(node.comfyClass) && isOn("RationalRewards.Panel")) attach(node)
    },

    /** Another tab came to the front, or a job was opened from the queue: `outputs` are those of its nodes, by locator. */
    onNodeOutputsUpdated(outputs) {
        for (const [locator, output] of Object.entries(outputs ?? {})) accept(nodeOfLocator(locator), output)
    },
})
