/**
 * Keeping results: ComfyUI forgets them when the page is closed, so a compact copy stays with the node in
 * the workflow.
 */

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { isElsewhere, locatorOf } from "./graph.js"
import { readPages } from "./pages.js"

// The key under which nodes hand over their pages.
const OUTPUT = "rational_rewards"
// The node's property in the workflow; nodes/panel.py writes it too, for the images saved in a run.
const PROPERTY = "rational_rewards"
// Characters of one node's results: the workflow also travels in every image that is saved.
const MOST = 200_000

/** The pages in what a node has brought out, without those for a workflow in another tab. */
export function pagesOf(output) {
    const pages = output?.[OUTPUT]
    return Array.isArray(pages) ? readPages(pages.filter((page) => !isElsewhere(page?.workflow))) : []
}

/** What a node has: the pages of this session where it has run, else those that came with the workflow. */
export function recall(node) {
    const now = pagesOf(app.nodeOutputs?.[locatorOf(node)])
    return now.length ? now : readPages(node.properties?.[PROPERTY]?.pages)
}

/**
 * Take another tab's pages out of what ComfyUI has noted for a node: it would bring them back when that tab
 * is closed. The output itself stays as it is, for the tab that it belongs to has the same object.
 */
export function forget(node) {
    const locator = locatorOf(node)
    const noted = app.nodeOutputs?.[locator]
    if (!noted?.[OUTPUT] || pagesOf(noted).length) return
    const others = { ...noted }
    delete others[OUTPUT]
    app.nodeOutputs[locator] = others
}

/** Whether results came with the workflow for this node. */
export function hasKeptPages(node) {
    return readPages(node.properties?.[PROPERTY]?.pages).length > 0
}

/** Whether the node's panel is folded. */
export function isFolded(node) {
    return node.properties?.[PROPERTY]?.folded === true
}

/** Put pages and fold into the workflow; with nothing to keep, what was there goes. */
export function keep(node, pages, folded) {
    const kept = compact(pages)
    const before = JSON.stringify(node.properties[PROPERTY])
    if (kept.length || folded) node.properties[PROPERTY] = { pages: kept, folded }
    else delete node.properties[PROPERTY]
    if (JSON.stringify(node.properties[PROPERTY]) !== before) noteChange()
}

/** As much as may be kept: without the raw answers where it is too much, then the first pages. */
function compact(pages) {
    const fits = (some) => JSON.stringify(some).length <= MOST
    if (fits(pages)) return pages
    let kept = pages.map((page) => ({ ...page, raw: "" }))
    while (kept.length && !fits(kept)) kept = kept.slice(0, Math.floor(kept.length / 2))
    return kept
}

let running = false
let changed = false
let timer = 0

api.addEventListener("execution_start", () => (running = true))
for (const end of ["execution_success", "execution_error", "execution_interrupted", "reconnected"])
    api.addEventListener(end, () => {
        running = false
        if (changed) noteChange()
    })

/**
 * Have ComfyUI look at the workflow: by itself it saves its draft only after clicks and keys, and there may
 * be none. While a prompt runs it waits for the end, so that a run is one step to undo.
 */
function noteChange() {
    changed = true
    clearTimeout(timer)
    if (running) return
    timer = setTimeout(() => {
        changed = false
        const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
        const look = tracker?.captureCanvasState ?? tracker?.checkState
        look?.call(tracker)
    }, 300)
}
