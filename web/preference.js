/**
 * Record Preference forgets a choice once it is recorded, or was for images that nobody had seen: the next pair waits
 * until somebody has looked at it.
 */

const RECORDED = "rational_rewards_recorded"
const CHOOSE_AGAIN = "rational_rewards_choose_again"
const UNDECIDED = "not yet"

// Whether the workflow that is being loaded has been open in this page: undo, redo, another tab coming to the front.
let isOpen = false

/** Learn from ComfyUI what is loaded: its hooks do not tell a file from an undo. */
export function watchLoading(app) {
    const load = app.loadGraphData
    app.loadGraphData = function (...given) {
        const path = given[3]?.path
        const open = app.extensionManager?.workflow?.openWorkflows ?? []
        isOpen = path !== undefined && open.some((workflow) => workflow.path === path)
        return load.apply(this, given)
    }
}

/** Keep a node's choice from outliving the pair that it was made for. */
export function watchChoice(node, after) {
    const reset = () => {
        const widget = node.widgets?.find((widget) => widget.name === "preferred")
        if (!widget || widget.value === UNDECIDED) return
        widget.value = UNDECIDED
        widget.callback?.(UNDECIDED)
        node.graph?.setDirtyCanvas(true, true)
    }
    after(node, "onExecuted", (output) => {
        if (output?.[RECORDED]?.[0] === true || output?.[CHOOSE_AGAIN]?.[0] === true) reset()
    })
    // A workflow from a file holds the choice of another day.
    after(node, "onConfigure", () => isOpen || reset())
}
