/** This pack's page in ComfyUI's settings. What stands there under Critics is read on the server, by `models/user_settings.py`. */

import { app } from "../../scripts/app.js"

const ALL = [
    {
        id: "RationalRewards.Panel",
        name: "Show the critique on the nodes",
        tooltip: "For nodes that are added or opened from now on. Without it the critique is still in the nodes' outputs.",
        group: "Critique on the nodes",
        type: "boolean",
        defaultValue: true,
    },
    {
        id: "RationalRewards.KeepResults",
        name: "Keep results in the workflow",
        tooltip: "The last result is saved with its node, and comes back with the workflow or with an image that holds it.",
        group: "Critique on the nodes",
        type: "boolean",
        defaultValue: true,
    },
    {
        id: "RationalRewards.MaxPixels",
        name: "Largest image that is judged",
        tooltip: "For Load Critic nodes that are added from now on. Larger images are shrunk to as many pixels; fewer save memory and time. The critics were trained at 896 × 896.",
        group: "Critics",
        type: "combo",
        options: [448, 672, 896, 1120, 1344].map((side) => ({ text: `${side} × ${side}`, value: side ** 2 })),
        defaultValue: 896 ** 2, // the node's own
    },
    {
        id: "RationalRewards.ModelFolder",
        name: "Model folder",
        tooltip: "Where critics and adapters are looked for first, and where downloads go. Empty is models/rationalrewards. Press R on the canvas after a change.",
        group: "Critics",
        type: "text",
        defaultValue: "",
    },
    {
        id: "RationalRewards.Offline",
        name: "Stay offline",
        tooltip: "Nothing is ever downloaded: choosing a critic that is not here says how to bring it here by hand.",
        group: "Critics",
        type: "boolean",
        defaultValue: false,
    },
]

// The dialog takes the last part of the category as the setting itself, and lists what came last first.
export const SETTINGS = ALL.map(({ group, ...setting }) => {
    return { ...setting, category: ["RationalRewards", group, setting.id] }
}).reverse()

const get = (id) => app.extensionManager.setting.get(id)
export const isPanelOn = () => get("RationalRewards.Panel") !== false
export const keepsResults = () => get("RationalRewards.KeepResults") !== false

/** A new Load Critic takes the size from the settings; one from a workflow then gets its own value back. */
export function setSize(node) {
    const widget = node.widgets?.find((widget) => widget.name === "max_pixels")
    const pixels = Number(get("RationalRewards.MaxPixels"))
    if (widget && pixels > 0) widget.value = pixels
}
