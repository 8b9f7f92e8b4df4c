/**
 * Mouse and wheel on the panel. The left button is the panel's: text can be selected, rows open. The middle
 * button and the wheel move the canvas, unless the panel has the focus and something to scroll. Nodes 2.0
 * looks at the wheel first, and leaves it to the panel while that is marked with `data-capture-wheel`.
 */

import { app } from "../../scripts/app.js"

const CANVAS = {
    pointerdown: "processMouseDown",
    pointermove: "processMouseMove",
    pointerup: "processMouseUp",
}
const MIDDLE = { button: 1, buttons: 4 }

/** Bring `root`, whose content scrolls in `scroller`, in tune with the canvas. */
export function tame(root, scroller) {
    // So that a click gives it the focus.
    root.tabIndex = -1
    const mark = () => {
        if (scrolls(root, scroller)) root.dataset.captureWheel = "true"
        else delete root.dataset.captureWheel
    }
    for (const type of ["focusin", "pointermove", "wheel"]) root.addEventListener(type, mark)
    // Of rows: these events do not bubble.
    root.addEventListener("toggle", mark, true)
    root.addEventListener("focusout", () => delete root.dataset.captureWheel)
    for (const [type, handler] of Object.entries(CANVAS))
        root.addEventListener(type, (event) => {
            const moved = type === "pointermove"
            const middle = moved ? event.buttons & MIDDLE.buttons : event.button === MIDDLE.button
            if (!middle) event.stopPropagation()
            else if (isOnCanvas(root)) app.canvas[handler](event)
        })
    root.addEventListener("wheel", (event) => steer(event, root, scroller), { passive: false })
}

function steer(event, root, scroller) {
    const zooms = event.ctrlKey || event.metaKey
    const ours = scrolls(root, scroller)
    if (ours && !zooms) event.stopPropagation()
    else if (ours || isOnCanvas(root)) {
        event.preventDefault()
        event.stopPropagation()
        app.canvas.processMouseWheel(event)
    }
}

const scrolls = (root, scroller) =>
    root.contains(document.activeElement) && scroller.scrollHeight > scroller.clientHeight + 1

/**
 * Whether nodes are drawn on the canvas, and the panel above it. In Nodes 2.0 it lies in the node, which
 * passes events on.
 */
export const isOnCanvas = (root) => !root.closest(".lg-node")
