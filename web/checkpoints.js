/** The list on Load Critic says which critics are on disk, and how large a download would be. */

const STATES = "rational_rewards_states"

let states = {}

/** Take the states from a node's definition as the server sends it. */
export function readStates(definition) {
    const given = definition?.input?.required?.checkpoint?.[1]?.[STATES]
    if (given && typeof given === "object") states = given
}

/** Label the choices of a new Load Critic; their values stay the plain names. */
export function labelChoices(node) {
    const widget = node.widgets?.find((widget) => widget.name === "checkpoint")
    if (widget?.options) widget.options.getOptionLabel = (name) => (states[name] ? `${name} (${states[name]})` : name)
}
