/**
 * Keeping results: ComfyUI forgets them when the page is closed, so a compact copy stays with the node in
 * the workflow.
 */

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { isElsewhere, locatorOf } from "./graph.js"
import { readPages, unrolled } from "./pages.js"

// The key under which nodes hand over their pages.
const OUTPUT = "rational_rewards"
// The node's property in the workflow; nodes/panel.py writes it too, for the images saved in a run.
const PROPERTY = "rational_rewards"
// Characters of one node's results: the workflow also travels in every image that is saved.
const MOST = 200_000

/** The pages in what a node has brought out, without those for a workflow in another tab. */
export function pagesOf(output) {
    const pages = output?.[OUTPUT]
    if (!Array.isArray(pages)) return []
    return readPages(unrolled(pages).filter((page) => !isElsewhere(page?.workflow)))
}

/**
 * Note pages that came with an event as ComfyUI notes a node's output: it would bring back the first round
 * of a loop that was cancelled.
 */
export function note(node, pages) {
    const locator = locatorOf(node)
    if (app.nodeOutputs) app.nodeOutputs[locator] = { ...app.nodeOutputs[locator], [OUTPUT]: pages }
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

/**
 * As much as may be kept: where it is too much, without the raw answers, then without thumbnails, then the
 * first pages. See `_compact` in nodes/panel.py.
 */
function compact(pages) {
    const fits = (some) => JSON.stringify(some).length <= MOST
    let kept = pages
    for (const field of ["raw", "thumbnail"])
        if (!fits(kept)) kept = kept.map((page) => (field in page ? { ...page, [field]: "" } : page))
    while (kept.length && !fits(kept)) kept = fewer(kept)
    return kept
}

/** The first half of the pages; of a loop's rounds the best and the last go last. */
function fewer(pages) {
    const others = pages.filter((page) => !page.best && !page.stopped)
    if (!others.length) return pages.slice(0, Math.floor(pages.length / 2))
    const staying = new Set(others.slice(0, Math.floor(others.length / 2)))
    return pages.filter((page) => page.best || page.stopped || staying.has(page))
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
export function noteChange() {
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
