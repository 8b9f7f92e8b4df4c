/**
 * Mouse and wheel on the panel. The left button is the panel's: text can be selected, rows open. The middle button and the
 * wheel move the canvas, unless the panel has the focus and something to scroll.
 */

import { app } from "../../scripts/app.js"

const CANVAS = { pointerdown: "processMouseDown", pointermove: "processMouseMove", pointerup: "processMouseUp" }
const MIDDLE = { button: 1, buttons: 4 }

/** Bring `root`, whose content scrolls in `scroller`, in tune with the canvas. */
export function tame(root, scroller) {
    root.tabIndex = -1 // so that a click gives it the focus
    root.addEventListener("focusin", () => (root.dataset.captureWheel = "true"))
    root.addEventListener("focusout", () => delete root.dataset.captureWheel)
    for (const [type, handler] of Object.entries(CANVAS))
        root.addEventListener(type, (event) => {
            const middle = type === "pointermove" ? event.buttons & MIDDLE.buttons : event.button === MIDDLE.button
            if (!middle) event.stopPropagation()
            else if (isOnCanvas(root)) app.canvas[handler](event)
        })
    root.addEventListener("wheel", (event) => steer(event, root, scroller), { passive: false })
}

function steer(event, root, scroller) {
    const zooms = event.ctrlKey || event.metaKey
    const scrolls = root.contains(document.activeElement) && scroller.scrollHeight > scroller.clientHeight + 1
    if (scrolls && !zooms) event.stopPropagation()
    else if (isOnCanvas(root)) {
        event.preventDefault()
        event.stopPropagation()
        app.canvas.processMouseWheel(event)
    }
}

/** Whether nodes are drawn on the canvas, and the panel above it. In Nodes 2.0 it lies in the node, which passes events on. */
export const isOnCanvas = (root) => !root.closest(".lg-node")
