/**
 * What is queued carries the workflow, and images that are saved in the run carry it on. Results of earlier runs stay out of it:
 * the server puts this run's results in while it goes (see nodes/panel.py), so that a saved image opens with its own.
 */

import { api } from "../../scripts/api.js"

const PROPERTY = "rational_rewards"

/** Have every prompt queued without the results that are on its nodes now. */
export function leaveResultsBehind() {
    const queue = api.queuePrompt
    api.queuePrompt = function (number, prompt, ...rest) {
        const workflow = withoutResults(prompt?.workflow)
        return queue.call(this, number, workflow ? { ...prompt, workflow } : prompt, ...rest)
    }
}

function withoutResults(workflow) {
    if (!workflow?.nodes) return workflow
    const definitions = workflow.definitions
    const subgraphs = definitions?.subgraphs?.map((subgraph) => ({ ...subgraph, nodes: stripped(subgraph.nodes) }))
    return {
        ...workflow,
        nodes: stripped(workflow.nodes),
        ...(subgraphs && { definitions: { ...definitions, subgraphs } }),
    }
}

function stripped(nodes) {
    return nodes?.map((node) => {
        const kept = node.properties?.[PROPERTY]
        if (!kept?.pages) return node
        return { ...node, properties: { ...node.properties, [PROPERTY]: { ...kept, pages: [] } } }
    })
}
