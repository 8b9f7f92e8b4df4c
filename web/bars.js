/** Rows of bars: a dimension's score from 1 to 4, of one image or of two, with the reasons behind it. */

import { make, remember, words } from "./elements.js"
import { dimensionName, say } from "./strings.js"

/** One image's dimension. `open` holds the keys of open rows. */
export function judgementRow(dimension, open) {
    const { score, applies } = dimension
    const name = dimensionName(dimension.key, dimension.name)
    const label = spoken(name, applies, "ofFour", { score })
    const bars = [bar(score, label, `rr-level-${Math.round(score ?? 0)}`)]
    return row(dimension, name, bars, [value(score, applies)], open)
}

/** The same dimension of two images, A above B. */
export function comparisonRow(dimension, open) {
    const { a, b, applies } = dimension
    const name = dimensionName(dimension.key, dimension.name)
    const label = spoken(name, applies, "bothOfFour", { a, b })
    if (a === null || b === null) {
        return row(dimension, name, [bar(null, label, "")], [value(null, applies)], open)
    }
    const bars = [bar(a, label, "rr-side-a"), bar(b, "", "rr-side-b")]
    return row(dimension, name, bars, [value(a, true), value(b, true)], open)
}

function row(dimension, name, bars, values, open) {
    const sides = bars.length > 1 ? ["A", "B"].map((side) => make("span", "rr-side", side)) : []
    const [title, letters] = [words("span", "rr-name", name), make("span", "rr-sides", ...sides)]
    // The bar says it.
    title.ariaHidden = letters.ariaHidden = "true"
    const cells = [
        title,
        letters,
        make("span", "rr-bars", ...bars),
        make("span", "rr-values", ...values),
    ]
    const unscored = values.some((value) => value.classList.contains("rr-none"))
    const quiet = (unscored ? " rr-quiet-row" : "") + (dimension.applies ? "" : " rr-off")
    if (!dimension.why) {
        return make("div", `rr-row rr-plain${quiet}`, make("div", "rr-cells", make("span", ""), ...cells))
    }
    const summary = make("summary", "rr-cells", make("span", "rr-turn"), ...cells)
    const details = make("details", `rr-row${quiet}`, summary, words("p", "rr-why", dimension.why))
    remember(details, dimension.key, open)
    return details
}

/**
 * Four fields, filled up to the score. A label is read out for the bar; a bar without one is part of
 * another.
 */
function bar(score, label, kind) {
    const fields = [0, 1, 2, 3].map((field) => {
        const fill = make("b", kind)
        fill.style.width = `${100 * Math.min(1, Math.max(0, (score ?? 0) - field))}%`
        return make("i", "", fill)
    })
    const element = make("span", score === null ? "rr-bar rr-none" : "rr-bar", ...fields)
    if (label) {
        element.role = "img"
        element.ariaLabel = element.title = label
    } else element.ariaHidden = "true"
    return element
}

function value(score, applies) {
    const text = applies ? (score?.toFixed(1) ?? "–") : say("notApplicable")
    const element = make("span", score === null ? "rr-value rr-none" : "rr-value", text)
    // The bar says it.
    element.ariaHidden = "true"
    return element
}

/**
 * What is read out for a bar. `scores` are an image's or a pair's, by the names that the words have for
 * them.
 */
function spoken(name, applies, key, scores) {
    if (!applies) return say("doesNotApply", { name })
    if (Object.values(scores).includes(null)) return say("couldNotBeRead", { name })
    const written = Object.entries(scores).map(([side, score]) => [side, score.toFixed(1)])
    return say(key, { name, ...Object.fromEntries(written) })
}
