/** Finding nodes in ComfyUI's graph, by the ids that the server and the page use for them. */

import { app } from "../../scripts/app.js"

const root = () => app.rootGraph ?? app.graph

/** The node of an execution id: "12", or "5:3" for node 3 inside the subgraph node 5. */
export function nodeOfExecution(id) {
    return pathOfExecution(id).at(-1) ?? null
}

/** The subgraph nodes around the node of an execution id, from the canvas inwards. */
export function subgraphNodesAround(id) {
    return pathOfExecution(id).slice(0, -1)
}

/** The nodes from the canvas to the one of an execution id; empty where one of them is not there. */
function pathOfExecution(id) {
    const path = []
    let graph = root()
    for (const step of String(id ?? "").split(":")) {
        const node = nodeIn(graph, step)
        if (!node) return []
        path.push(node)
        graph = node.subgraph
    }
    return path
}

/** Every node of the workflow, those inside subgraphs included. */
export function allNodes() {
    const graphs = [root(), ...(root()?.subgraphs?.values() ?? [])]
    return graphs.flatMap((graph) => [...(graph?.nodes ?? [])])
}

/** The node of a locator: "12", or "<id of a subgraph>:3". */
export function nodeOfLocator(locator) {
    const [last, graph] = String(locator).split(":").reverse()
    return nodeIn(graph ? root()?.subgraphs?.get(graph) : root(), last)
}

/** The locator of a node, under which the page keeps its outputs. */
export function locatorOf(node) {
    return !node.graph || node.graph === root() ? String(node.id) : `${node.graph.id}:${node.id}`
}

/**
 * Whether the graph that a node is in has left the page. A node that waits to be put into one has gone
 * nowhere.
 */
export function isGone({ graph }) {
    return Boolean(graph) && graph !== root() && root()?.subgraphs?.get(graph.id) !== graph
}

// Ids are numbers in some versions and strings in others.
const nodeIn = (graph, id) => graph?.getNodeById?.(/^\d+$/.test(id) ? Number(id) : id) ?? null

/**
 * Whether a result belongs to another workflow that is open in another tab: ComfyUI hands every result to the
 * tab in front. A mere difference says nothing, for results from the cache carry the id of the run that made
 * them.
 */
export function isElsewhere(workflow) {
    if (typeof workflow !== "string" || !workflow || root()?.id === workflow) return false
    const tabs = app.extensionManager?.workflow
    const id = (tab) => tab.activeState?.id ?? tab.initialState?.id
    return Boolean(tabs?.openWorkflows?.some((tab) => tab !== tabs.activeWorkflow && id(tab) === workflow))
}
