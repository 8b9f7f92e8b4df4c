/** The pack's door to ComfyUI's page: which nodes get a panel, what it is told, the settings. */

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { labelChoices, readStates } from "./checkpoints.js"
import { allNodes, isGone, nodeOfExecution, nodeOfLocator, subgraphNodesAround } from "./graph.js"
import { forget, hasKeptPages, isFolded, keep, pagesOf, recall } from "./keep.js"
import { joinPages } from "./pages.js"
import { showLinkedPrompt } from "./painter.js"
import { Panel } from "./panel.js"
import { watchChoice, watchLoading } from "./preference.js"
import { isPanelOn, keepsResults, setSize, SETTINGS } from "./settings.js"
import { say, speak } from "./strings.js"
import { listen } from "./stream.js"
import { findOutputs, readOutputs } from "./trainer.js"

// The ids of the pack's nodes begin so.
const PACK = "RationalRewards"
const NODES = new Set(
    ["Critique", "Score", "Compare", "BestOf", "RefinePrompt", "LoopEnd", "Rank"].map((name) => PACK + name),
)
const LOADER = `${PACK}LoadCritic`
const PREFERENCE = `${PACK}RecordPreference`
const PAINTER = `${PACK}ShapesPainter`
// The panel's name among a node's widgets.
const WIDGET = "rational_rewards"
// A word of our own: for core's words Nodes 2.0 would draw core's widgets.
const TYPE = "RATIONAL_REWARDS_PANEL"
// Of a new node: room for a dimension's name, its bar and its score.
const WIDTH = 340
// For a new node's title, which ComfyUI leaves no room for where inputs have short names.
const NARROWEST = 225
// Around the panel on the canvas, as around text fields.
const MARGIN = 10

const panels = new Map()

/** Give a node its panel, behind all its inputs. */
function attach(node) {
    const panel = addPanel(node)
    // Not before: ComfyUI also makes nodes that it only reads and drops, for example when others are copied.
    after(node, "onAdded", () => register(node, panel))
    after(node, "onExecuted", (output) => accept(node, output))
    after(node, "onConfigure", () => panel.show(recall(node), isFolded(node)))
    after(node, "onRemoved", () => release(node))
}

/** The panel of a subgraph node, with what the nodes inside show; it comes with the first result. */
function panelOfSubgraph(node) {
    if (!panels.has(node) && isPanelOn()) {
        const panel = addPanel(node)
        register(node, panel)
        panel.show(recall(node), isFolded(node))
        after(node, "onRemoved", () => release(node))
    }
    return panels.get(node)
}

/** Give the subgraph nodes their panels that have kept results. */
function restoreSubgraphs() {
    for (const node of allNodes()) if (node.subgraph && hasKeptPages(node)) panelOfSubgraph(node)
}

function register(node, panel) {
    panels.set(node, panel)
    panel.watch()
}

function addPanel(node) {
    const save = (pages, folded) => keep(node, keepsResults() ? pages : [], folded)
    const panel = new Panel(node, save)
    const widget = node.addDOMWidget(WIDGET, TYPE, panel.root, {
        // Not an input of the prompt.
        serialize: false,
        hideOnZoom: false,
        // The side panel of newer pages would take it away from the node.
        hideInPanel: true,
        margin: MARGIN,
        getMinHeight: () => panel.height + 2 * MARGIN,
    })
    // Not a value of the saved workflow.
    widget.serialize = false
    widget.label = say("panel")
    node.setSize([Math.max(WIDTH, node.size[0]), node.computeSize()[1]])
    return panel
}

/** Let go of a node that is no longer there. */
function release(node) {
    panels.get(node)?.dispose()
    panels.delete(node)
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

/** Show and keep what a node has brought out; what another tab's node of the same id has, is put away. */
function accept(node, output) {
    const panel = panels.get(node)
    if (!panel) return
    const pages = pagesOf(output)
    if (pages.length) panel.receive(pages)
    else forget(node)
}

/** Show what a node inside subgraphs has brought out on the subgraph nodes around it. */
function acceptInside({ node, display_node, output }) {
    const pages = pagesOf(output)
    if (!pages.length) return
    for (const around of subgraphNodesAround(display_node ?? node)) {
        const panel = panelOfSubgraph(around)
        panel?.receive(joinPages(panel.pages, pages))
    }
}

/**
 * The panels that show what the node of an execution id does: its own and those of the subgraph nodes
 * around it.
 */
function panelsOf(id) {
    const nodes = [nodeOfExecution(id), ...subgraphNodesAround(id)]
    return nodes.map((node) => panels.get(node)).filter(Boolean)
}

/** Speak the language of the page. */
async function translate() {
    const locale = app.extensionManager.setting.get("Comfy.Locale") ?? "en"
    const answer = locale === "en" ? null : await api.fetchApi("/i18n")
    speak(locale, answer?.ok ? await answer.json() : {})
}

app.registerExtension({
    name: "RationalRewards.Panel",
    settings: SETTINGS,

    async init() {
        watchLoading(app)
        const sheet = document.createElement("link")
        sheet.rel = "stylesheet"
        sheet.href = new URL("./panel.css", import.meta.url).href
        document.head.append(sheet)
        await translate()
        app.ui?.settings?.addEventListener?.("Comfy.Locale.change", async () => {
            await translate()
            for (const panel of panels.values()) panel.draw()
        })
    },

    beforeRegisterNodeDef(type, definition) {
        if (definition.name === LOADER) readStates(definition)
        readOutputs(definition)
    },

    refreshComboInNodes(definitions) {
        readStates(definitions?.[LOADER])
    },

    setup() {
        listen(panelsOf, () => panels.values())
        api.addEventListener("executed", ({ detail }) => acceptInside(detail ?? {}))
    },

    nodeCreated(node) {
        const isOurs = node.comfyClass?.startsWith(PACK)
        if (isOurs && node.size[0] < NARROWEST) node.setSize([NARROWEST, node.size[1]])
        if (NODES.has(node.comfyClass) && isPanelOn()) attach(node)
        if (node.comfyClass === LOADER) {
            setSize(node)
            labelChoices(node)
        }
        if (node.comfyClass === PREFERENCE) watchChoice(node, after)
        if (node.comfyClass === PAINTER) showLinkedPrompt(node, after)
    },

    beforeConfigureGraph(workflow) {
        const isOurs = workflow.nodes?.some((node) => node.type?.startsWith(PACK))
        if (isOurs) findOutputs(workflow)
    },

    /**
     * A workflow was loaded. Of the one before, ComfyUI has removed the nodes on the canvas, not those
     * in subgraphs.
     */
    afterConfigureGraph() {
        for (const node of panels.keys()) if (isGone(node)) release(node)
        restoreSubgraphs()
    },

    /**
     * Another tab came to the front, or a job was opened from the queue: `outputs` are those of its
     * nodes, by locator.
     */
    onNodeOutputsUpdated(outputs) {
        // Older versions note by execution ids what ended while another tab was in front.
        for (const [id, output] of Object.entries(outputs ?? {})) {
            accept(nodeOfLocator(id) ?? nodeOfExecution(id), output)
        }
    },
})
