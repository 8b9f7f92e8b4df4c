/** What the server tells while a prompt runs, and to which panel it goes. */

import { api } from "../../scripts/api.js"
import { isElsewhere, nodeOfExecution } from "./graph.js"
import { readStream, text } from "./pages.js"

const STREAM = "rational_rewards.stream" // the event with which our nodes tell what they write

/** Listen; `panelOf(node)` gives a node's panel if it has one, `allPanels()` all of them. */
export function listen(panelOf, allPanels) {
    let workflow = null // whose run it is, as soon as one of our nodes has told: ComfyUI's own events do not

    api.addEventListener(STREAM, ({ detail }) => {
        workflow = detail?.workflow
        const stream = readStream(detail)
        if (stream && !isElsewhere(workflow)) panelOf(nodeOfExecution(detail.node))?.stream(stream)
    })
    api.addEventListener("execution_error", ({ detail }) => {
        settle()
        const node = nodeOfExecution(detail?.node_id)
        // Another tab's node may have the same id, and be of another kind.
        if (!node || node.comfyClass !== detail.node_type || isElsewhere(workflow)) return
        panelOf(node)?.fail(text(detail.exception_message).trim())
    })
    api.addEventListener("execution_interrupted", settle)
    api.addEventListener("execution_start", () => {
        workflow = null
        settle()
    })
    // The server may have been started anew, and its run is lost. If it goes on, its next word makes the live view again.
    api.addEventListener("reconnected", () => {
        for (const panel of allPanels()) if (panel.live) panel.settle() // errors stay
    })

    function settle() {
        for (const panel of allPanels()) panel.settle()
    }
}
