/** What the server tells while a prompt runs, and to which panel it goes. */

import { api } from "../../scripts/api.js"
import { isElsewhere, nodeOfExecution } from "./graph.js"
import { readStream, text } from "./pages.js"

/** Listen; `panelOf(node)` gives a node's panel if it has one, `allPanels()` all of them. */
export function listen(panelOf, allPanels) {
    const panelAt = (id) => panelOf(nodeOfExecution(id))

    api.addEventListener("rational_rewards.stream", ({ detail }) => {
        const stream = readStream(detail)
        if (stream && !isElsewhere(detail.workflow)) panelAt(detail.node)?.stream(stream)
    })
    api.addEventListener("execution_error", ({ detail }) => {
        settle()
        panelAt(detail?.node_id)?.fail(text(detail?.exception_message).trim())
    })
    api.addEventListener("execution_interrupted", settle)
    api.addEventListener("execution_start", settle)

    function settle() {
        for (const panel of allPanels()) panel.settle()
    }
}
