/** Record Preference forgets a choice once it is recorded: the next pair waits until somebody has looked at it. */

const RECORDED = "rational_rewards_recorded"
const UNDECIDED = "not yet"

/** Keep a node's choice from outliving the pair that it was made for. */
export function watchChoice(node, after) {
    const reset = () => {
        const widget = node.widgets?.find((widget) => widget.name === "preferred")
        if (!widget || widget.value === UNDECIDED) return
        widget.value = UNDECIDED
        widget.callback?.(UNDECIDED)
        node.graph?.setDirtyCanvas(true, true)
    }
    after(node, "onExecuted", (output) => output?.[RECORDED]?.[0] === true && reset())
    // A workflow from a file holds the choice of another day.
    after(node, "onConfigure", reset)
}
