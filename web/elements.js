/** Elements of the page. Text only ever enters as text: nothing here reads HTML. */

import { say } from "./strings.js"

/** An element with a class and children; strings become text, null and false are left out. */
export function make(tag, name, ...children) {
    const element = document.createElement(tag)
    if (name) element.className = name
    element.append(...children.filter((child) => child !== null && child !== false && child !== undefined))
    return element
}

/** A paragraph that somebody else wrote: its own direction, and no effect on what stands around it. */
export function words(tag, name, ...children) {
    const element = make(tag, name, ...children)
    element.dir = "auto"
    return element
}

/** Open `details` where `open` has its key, and keep `open` up to date. */
export function remember(details, key, open) {
    details.open = open.has(key)
    details.addEventListener("toggle", () => {
        if (details.open) open.add(key)
        else open.delete(key)
    })
}

/** A button with words, or with a sign and words for those who cannot see it. */
export function button(name, text, label, press) {
    const element = make("button", `rr-button ${name}`, text)
    element.type = "button"
    if (label !== text) {
        element.ariaLabel = label
        element.title = label
    }
    element.addEventListener("click", press)
    return element
}

/** A button that copies `text` and says so for a moment. */
export function copyButton(label, text) {
    const element = button("rr-copy", say("copy"), label, async () => {
        element.textContent = say((await copy(text)) ? "copied" : "copyFailed")
        setTimeout(() => (element.textContent = say("copy")), 1500)
    })
    element.ariaLive = "polite"
    return element
}

/** Put a text on the clipboard; whether that has worked. */
export async function copy(text) {
    try {
        await navigator.clipboard.writeText(text)
        return true
    } catch {
        // Pages on plain http have no clipboard.
        return copyFromField(text)
    }
}

function copyFromField(text) {
    const field = make("textarea", "rr-field", text)
    const focused = document.activeElement
    document.body.append(field)
    field.select()
    const done = document.execCommand("copy")
    field.remove()
    focused?.focus()
    return done
}
