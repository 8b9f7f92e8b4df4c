/** A loop's rounds: the strip to choose one from, and what is seen while the loop runs. */

import { button, make } from "./elements.js"
import { say } from "./strings.js"
import { live } from "./view.js"

// How far an arrow key goes; the other keys go to an end.
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }

/** Whether pages are the rounds of a loop. */
export const isLoop = (pages) => pages.length > 0 && pages.every((page) => page.of === "round")

/** Index of the best round; of the last one where none was marked. */
export function bestAt(pages) {
    const best = pages.findIndex((page) => page.best)
    return best < 0 ? pages.length - 1 : best
}

/** Every round as a button, the one at `at` chosen; `open(index)` is called for another one. */
export function strip(pages, at, open) {
    const tiles = pages.map((page, index) => tile(page, index, index === at, open))
    // One of them takes the Tab key, and the arrows go on from there.
    const first = tiles[at] ?? tiles.at(-1)
    if (first) first.tabIndex = 0
    const element = make("div", "rr-strip", ...tiles)
    element.role = "tablist"
    element.ariaLabel = say("rounds")
    element.addEventListener("keydown", (event) => {
        const from = tiles.indexOf(event.target)
        const to = next(event.key, from, tiles.length)
        if (from < 0 || to === null) return
        // On the canvas, arrows move nodes.
        event.preventDefault()
        event.stopPropagation()
        tiles[to].focus({ preventScroll: true })
        open(to)
    })
    return element
}

/** Bring the chosen round into view, or the newest; nothing but the strip is moved. */
export function scrollStrip(element, left) {
    element.scrollLeft = left
    const shown = element.querySelector("[aria-selected=true]") ?? element.lastElementChild
    if (!shown) return
    const [start, end] = [shown.offsetLeft, shown.offsetLeft + shown.offsetWidth]
    if (start < element.scrollLeft) element.scrollLeft = start
    else if (end > element.scrollLeft + element.clientWidth) element.scrollLeft = end - element.clientWidth
}

function next(key, from, count) {
    if (key === "Home") return 0
    if (key === "End") return count - 1
    return key in STEPS ? Math.min(count - 1, Math.max(0, from + STEPS[key])) : null
}

function tile(page, index, chosen, open) {
    const score = page.score?.toFixed(2) ?? "–"
    const label = say(page.best ? "bestRound" : "scoredRound", { ...placeOf(page), score })
    const fill = make("b", `rr-level-${Math.round(1 + 3 * (page.score ?? 0))}`)
    fill.style.width = `${100 * (page.score ?? 0)}%`
    const words = make("span", "rr-round-score", score, page.best && make("span", "rr-star", "★"))
    const element = button("rr-round", image(page), label, () => open(index))
    element.append(words, make("span", "rr-round-bar", fill))
    element.role = "tab"
    element.ariaSelected = String(chosen)
    element.tabIndex = -1
    element.dataset.key = `round-${page.number}`
    return element
}

function image(page) {
    if (!page.thumbnail) return make("span", "rr-thumb", String(page.number))
    const element = make("img", "rr-thumb")
    element.alt = ""
    element.draggable = false
    element.decoding = "async"
    element.src = page.thumbnail
    return element
}

/** The numbers for "Round 2 of 4". */
export const placeOf = (page) => ({ number: page.number, count: page.most })

/**
 * What is seen while a loop runs. `update(stream)` says what the critic does, `wait(round, rounds, best)` that
 * the image is being made; `finish()` asks the loop to stop, and says whether that has arrived.
 */
export function liveLoop(finish) {
    const place = make("strong", "rr-verdict")
    const critic = live()
    const heading = make("div", "rr-headline", place)
    const element = make("div", "rr-loop", heading, critic.element, finishButton(finish))
    const tell = (round, rounds, best) => (place.textContent = progress(round, rounds, best))
    return {
        element,
        isLoop: true,
        // The rounds of this run.
        rounds: [],
        update(stream) {
            // Another node of the same subgraph has none.
            if (stream.round) tell(stream.round, stream.rounds, stream.best)
            critic.update(stream)
        },
        wait(round, rounds, best) {
            tell(round, rounds, best)
            critic.rest(say("generating"))
        },
    }
}

function progress(number, count, best) {
    if (!count) return say("firstRound", { number })
    if (best === null) return say("round", { number, count })
    return say("roundBest", { number, count, best: best.toFixed(2) })
}

function finishButton(finish) {
    const element = button("rr-action", say("finish"), say("finish"), async () => {
        // Not disabled, which would take the focus away.
        if (element.ariaDisabled === "true") return
        element.ariaDisabled = "true"
        const arrived = await finish()
        element.textContent = say(arrived ? "finishing" : "finishFailed")
        element.ariaDisabled = String(arrived)
    })
    element.dataset.key = "finish"
    element.ariaLive = "polite"
    return element
}
