/** Core's Train LoRA in workflows of another version: they name outputs by their places, and those have moved. */

const TRAINER = "TrainLoraNode"

// What this version's outputs are: { names, types }.
let here = { names: [], types: [] }

/** Note the outputs, where it is the trainer's definition. */
export function readOutputs(definition) {
    if (definition.name === TRAINER) here = { names: definition.output_name, types: definition.output }
}

/** Lead links from the trainer, in a workflow that is about to be loaded, to the outputs of the same names. */
export function findOutputs({ nodes = [], links = [] }) {
    for (const node of nodes) {
        if (node.type !== TRAINER) continue
        const saved = node.outputs ?? []
        const used = saved.filter((output) => output.links?.length)
        if (!used.every(({ name }) => here.names.includes(name))) continue
        node.outputs = here.names.map(
            (name, i) => saved.find((output) => output.name === name) ?? { name, type: here.types[i], links: null },
        )
        // A link: its id, from which node and place, to which node and place, its type.
        for (const link of links)
            if (link[1] === node.id) link[2] = here.names.indexOf(saved[link[2]].name)
    }
}
