/** Refine Loop Start and Refine Loop End in the graph and on the server: ends of a loop, finish, prompts. */

import { api } from "../../scripts/api.js"
import { copy } from "./elements.js"
import { allNodes, nodeOfExecution } from "./graph.js"
import { noteChange } from "./keep.js"

export const START = "RationalRewardsLoopStart"
export const END = "RationalRewardsLoopEnd"
const FINISH = "/rational_rewards/finish"
// Where links from outside begin in a subgraph.
const INPUTS_OF_SUBGRAPH = -10
// Widgets that hold a text.
const TEXTS = ["customtext", "text", "string"]
// Wires through more nodes than this are not followed.
const FARTHEST = 50

// The id of the prompt that runs.
let prompt = null

for (const word of ["execution_start", "execution_cached", "executed", "progress_state"])
    api.addEventListener(word, ({ detail }) => (prompt = detail?.prompt_id ?? prompt))
for (const end of ["execution_success", "execution_error", "execution_interrupted", "reconnected"])
    api.addEventListener(end, () => (prompt = null))

export const isRunning = () => prompt !== null

/** Ask the running loop that ends in the node of an execution id to stop; whether that has arrived. */
export async function finish(node) {
    try {
        const body = JSON.stringify({ prompt, node })
        const headers = { "Content-Type": "application/json" }
        return (await api.fetchApi(FINISH, { method: "POST", headers, body })).ok
    } catch {
        return false
    }
}

/** The loops that begin with the node of an execution id: the execution id of each End, and most rounds. */
export function loopsFrom(id) {
    const start = nodeOfExecution(id)
    if (start?.comfyClass !== START) return []
    const around = String(id).split(":").slice(0, -1)
    const links = start.outputs?.[0]?.links ?? []
    const ends = links.map((link) => start.graph.getNodeById(linkOf(start.graph, link)?.target_id))
    const isLinked = start.inputs?.some((input) => input.name === "max_rounds" && input.link != null)
    const most = isLinked ? null : start.widgets?.find((widget) => widget.name === "max_rounds")?.value
    return ends
        .filter((end) => end?.comfyClass === END)
        .map((end) => ({ id: [...around, end.id].join(":"), most: Number(most) || null }))
}

/**
 * Write a prompt to where a loop's prompt comes from; `node` is the loop's End, or a subgraph node around it.
 * Returns the title of the node that has it now; null where there is no such place, and it was copied
 * (or `undefined`, where not even that could be done).
 */
export async function usePrompt(node, text) {
    const end = node.comfyClass === END ? node : onlyEndIn(node)
    const start = end && sourceOf(end, "loop")?.node
    const place = start?.comfyClass === START ? fieldOf(start, "prompt") : null
    if (!place) return (await copy(text)) ? null : undefined
    place.widget.value = text
    place.widget.callback?.(text)
    place.node.graph?.setDirtyCanvas(true, true)
    noteChange()
    return String(place.node.title)
}

function onlyEndIn(node) {
    const nodes = [...(node.subgraph?.nodes ?? [])]
    const ends = nodes.flatMap((inner) => (inner.comfyClass === END ? inner : (onlyEndIn(inner) ?? [])))
    return ends.length === 1 ? ends[0] : null
}

/** Where the text of a node's input is written: a node and its field; null where there is no such place. */
function fieldOf(node, name) {
    const { node: at, field } = sourceOf(node, name) ?? {}
    const fields = at?.widgets?.filter((widget) => (field ? widget.name === field : isText(widget))) ?? []
    return fields.length === 1 ? { node: at, widget: fields[0] } : null
}

/**
 * What an input gets its value from, through reroutes and out of subgraphs: another `node`, or the `field`
 * of a node where no wire leads on. Null where nobody can know.
 */
function sourceOf(node, name) {
    for (let far = 0; far < FARTHEST; far++) {
        const input = node.inputs?.find((one) => one.name === name)
        const link = input?.link == null ? null : linkOf(node.graph, input.link)
        if (!link) return { node, field: name }
        if (Number(link.origin_id) === INPUTS_OF_SUBGRAPH) {
            const hosts = allNodes().filter((one) => one.subgraph === node.graph)
            if (hosts.length !== 1) return null
            node = hosts[0]
            name = node.inputs[link.origin_slot]?.name
            continue
        }
        const origin = node.graph.getNodeById(link.origin_id)
        if (!isReroute(origin)) return { node: origin, field: null }
        node = origin
        name = origin.inputs[0].name
    }
    return null
}

const isText = ({ type, value }) => typeof value === "string" && TEXTS.includes(type)
const isReroute = (node) => node?.type === "Reroute" && node.inputs?.length === 1

const linkOf = (graph, id) => graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id] ?? null
