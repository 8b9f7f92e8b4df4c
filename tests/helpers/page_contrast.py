"""How well colours can be told apart in a page."""

from __future__ import annotations

# Contrast (WCAG 2.2) of the colour of every element that matches with what lies behind it, painted as the
# browser would.
CONTRAST = """([selector, property]) => {
    const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    const brush = pixel.getContext("2d", { willReadFrequently: true })
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    const paint = colors => {
        brush.clearRect(0, 0, 1, 1)
        for (const color of colors) { brush.fillStyle = color; brush.fillRect(0, 0, 1, 1) }
        const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].map(v => linear(v / 255))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    return [...document.querySelectorAll(selector)].map(element => {
        const behind = []
        const first = property === "backgroundColor" ? element.closest(".rr-cells") : element
        for (let at = first; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor)
        const [one, two] = [paint(behind), paint([...behind, getComputedStyle(element)[property]])]
        return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
    })
}"""
