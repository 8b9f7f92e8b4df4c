/** What the server reports while a prompt runs, and to which panel it goes. */

import { api } from "../../scripts/api.js"
import { isElsewhere, nodeOfExecution } from "./graph.js"
import { note, pagesOf } from "./keep.js"
import { loopsFrom } from "./loop.js"
import { readStream, text } from "./pages.js"

// The event with which our nodes report what they write.
const STREAM = "rational_rewards.stream"
// That with which a loop tells its rounds while it goes on.
const ROUNDS = "rational_rewards.rounds"

/**
 * Listen; `panelsOf(id)` gives the panels that show the node of an execution id, `allPanels()` all of them.
 */
export function listen(panelsOf, allPanels) {
    // Whose run it is, as soon as one of our nodes has said so: ComfyUI's own events do not.
    let workflow = null

    api.addEventListener(STREAM, ({ detail }) => {
        workflow = detail?.workflow
        const stream = readStream(detail)
        if (!stream || isElsewhere(workflow)) return
        for (const panel of panelsOf(detail.node)) panel.stream(stream, String(detail.node))
    })
    api.addEventListener(ROUNDS, ({ detail }) => {
        const pages = pagesOf({ rational_rewards: detail?.pages })
        const node = pages.length && nodeOfExecution(detail.node)
        if (!node) return
        note(node, detail.pages)
        for (const panel of panelsOf(detail.node)) panel.receive(pages)
    })
    // Before the critic has a word to say, the image is made.
    api.addEventListener("executing", ({ detail }) => {
        for (const { id, most } of loopsFrom(detail?.display_node ?? detail?.node ?? detail))
            for (const panel of panelsOf(id)) panel.begin(id, most)
    })
    api.addEventListener("execution_error", ({ detail }) => {
        settle()
        const node = nodeOfExecution(detail?.node_id)
        // Another tab's node may have the same id, and be of another kind.
        if (!node || node.comfyClass !== detail.node_type || isElsewhere(workflow)) return
        for (const panel of panelsOf(detail.node_id)) panel.fail(text(detail.exception_message).trim())
    })
    api.addEventListener("execution_interrupted", settle)
    // A loop that began may have been left without an end.
    api.addEventListener("execution_success", () => {
        for (const panel of allPanels()) if (panel.live) panel.settle()
    })
    api.addEventListener("execution_start", () => {
        workflow = null
        settle()
    })
    // The server may have been started anew, and its run is lost. If it goes on, its next word makes the live
    // view again. Errors stay.
    api.addEventListener("reconnected", () => {
        for (const panel of allPanels()) if (panel.live) panel.settle()
    })

    function settle() {
        for (const panel of allPanels()) panel.settle()
    }
}
