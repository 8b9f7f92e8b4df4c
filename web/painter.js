/** Shapes Painter: a prompt that comes through a wire is not hidden behind an example that is not used. */

const NAME = "prompt"

/**
 * Empty the example while `prompt` is connected, and bring it back when the wire goes; the user's own words
 * stay.
 */
export function showLinkedPrompt(node, after) {
    const widget = node.widgets?.find((one) => one.name === NAME)
    if (!widget) return
    const example = widget.value
    const isLinked = () => Boolean(node.inputs?.some((input) => input.name === NAME && input.link != null))
    const update = () => {
        if (isLinked() && widget.value === example) widget.value = ""
        else if (!isLinked() && widget.value === "") widget.value = example
    }
    after(node, "onConnectionsChange", update)
    after(node, "onConfigure", () => isLinked() && update())
}
