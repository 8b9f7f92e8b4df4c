/** From a page to elements: what the panel shows. */

import { comparisonRow, judgementRow } from "./bars.js"
import { wordDiff } from "./diff.js"
import { button, copyButton, make, remember, words } from "./elements.js"
import { dimensionOfKey, say } from "./strings.js"

// The raw answer's key among those of open rows.
const RAW = Symbol("raw answer")

/** The line that stays when the panel is folded. */
export function headline(page) {
    if ("winner" in page) {
        const winner = { A: "aWins", B: "bWins", tie: "tie" }[page.winner] ?? "noWinner"
        const verdict = make("strong", "rr-verdict", say(winner))
        return make("div", "rr-headline", verdict, make("span", "rr-quiet", totals(page)))
    }
    if ("score" in page) {
        const number = make("strong", "rr-score", page.score === null ? "–" : page.score.toFixed(2))
        number.title = say("score")
        // One line: a round says where it stands.
        const words = page.of === "round" ? `${round(page)} · ${mean(page)}` : facts(page)
        const said = make("span", "rr-quiet", words)
        said.title = facts(page)
        return make("div", "rr-headline", number, said)
    }
    const outcome = page.before === page.after ? "unchanged" : "rewritten"
    return make("div", "rr-headline", make("strong", "rr-verdict", say(outcome)))
}

function round({ number, most, best }) {
    const place = say("round", { number, count: most })
    return best ? `${place}, ${say("best")}` : place
}

const mean = (page) => (page.mean === null ? say("notRead") : say("mean", { mean: page.mean.toFixed(1) }))

function facts(page) {
    const facts = "image" in page ? [say(page.kept ? "kept" : "rejected", { image: page.image })] : []
    facts.push(mean(page))
    if (page.mean !== null && page.confidence !== null)
        facts.push(say("confidence", { value: page.confidence.toFixed(2) }))
    return facts.join(" · ")
}

function totals({ totals: [a, b] }) {
    return a === null || b === null ? "" : say("totals", { a: a.toFixed(2), b: b.toFixed(2) })
}

/**
 * Everything below the headline. `open` holds the keys of the rows that are open, and is kept up to date.
 * `use(prompt)` puts a round's prompt back into the loop; see `usePrompt`.
 */
export function details(page, open, use) {
    const rows = page.dimensions.map((dimension) =>
        "a" in dimension ? comparisonRow(dimension, open) : judgementRow(dimension, open),
    )
    return [
        rows.length > 0 && make("div", "rr-rows", ...rows),
        "after" in page && prompts(page, use),
        page.comments && passage(say("comments"), page.comments, say("copyComments")),
        page.summary && passage(say("summary"), page.summary),
        page.consistent === true && make("p", "rr-note", say("bothOrders")),
        ...page.notes.map((note) => words("p", "rr-note", note)),
        foot(page, open),
    ]
}

/** The prompt as it was and as it is, in one text. */
function prompts(page, use) {
    const { before, after } = page
    const pieces = wordDiff(before, after).map(([kind, text]) => {
        if (kind === "same") return make("span", "", text)
        // Spaces around it are not marked.
        const start = text.length - text.trimStart().length
        const changed = text.trim()
        const [lead, trail] = [text.slice(0, start), text.slice(start + changed.length)]
        return make(kind === "gone" ? "del" : "ins", "", lead, make("b", "", changed), trail)
    })
    const shown = words("p", "rr-prompt", ...pieces)
    const copy = copyButton(say("copyPrompt"), after)
    if (page.of !== "round") return section(say("changes"), copy, shown)
    const title = before === after ? say("promptOfRound") : say("changesSince", { number: page.number - 1 })
    const passage = section(title, copy, shown)
    passage.append(...useButton(after, use))
    return passage
}

/** A button that puts a prompt back into the loop, and a line that says where it is now. */
function useButton(prompt, use) {
    const said = make("p", "rr-note")
    said.role = "status"
    const press = button("rr-action", say("usePrompt"), say("usePrompt"), async () => {
        const name = await use(prompt)
        if (name === undefined) said.textContent = say("copyFailed")
        else said.textContent = name === null ? say("promptCopied") : say("promptUsed", { name })
    })
    return [press, said]
}

function passage(title, text, copyLabel) {
    return section(title, copyLabel && copyButton(copyLabel, text), words("p", "rr-text", text))
}

const section = (title, copy, text) =>
    make("section", "rr-passage", make("div", "rr-title", make("h4", "", title), copy), text)

function foot(page, open) {
    const judge = page.critic && words("span", "rr-quiet", say("judgedBy", { name: page.critic }))
    if (judge) judge.title = judge.textContent
    if (!page.raw) return judge && make("div", "rr-foot", judge)
    const summary = make("summary", "", make("span", "rr-turn"), say("raw"))
    const copy = copyButton(say("copyRaw"), page.raw)
    const raw = make("details", "rr-raw", summary, copy, words("p", "rr-text", page.raw))
    remember(raw, RAW, open)
    return make("div", "rr-foot", judge, raw)
}

/** What is seen while the critic works; `update(stream)` brings it up to date. */
export function live() {
    const doing = make("span", "rr-doing")
    const which = make("span", "rr-quiet")
    const fill = make("i", "")
    const bar = make("div", "rr-progress", fill)
    const text = words("p", "rr-stream")
    bar.role = "progressbar"
    bar.ariaValueMin = "0"
    bar.ariaValueMax = "100"
    const element = make("div", "rr-live", make("div", "rr-headline", doing, which), bar, text)
    return {
        element,
        update(stream) {
            const share = Math.round((100 * stream.done) / stream.total)
            // Between two parts nothing is announced, and what was stays.
            if (stream.section || !stream.done) doing.textContent = bar.ariaLabel = activity(stream.section)
            const current = Math.min(stream.total, Math.floor(stream.done) + 1)
            which.textContent = stream.total > 1 ? `${current} / ${stream.total}` : ""
            fill.style.width = `${share}%`
            bar.ariaValueNow = String(share)
            text.textContent = stream.text
            text.scrollTop = text.scrollHeight
        },
        /** Others work: `words` say what is done. */
        rest(words) {
            doing.textContent = bar.ariaLabel = words
            which.textContent = text.textContent = ""
            fill.style.width = "0"
            bar.ariaValueNow = "0"
        },
    }
}

const PARTS = {
    analysis: "analysis",
    summary: "summary",
    comments: "comments",
    refined_request: "refinedRequest",
}

/** What a section such as "text_faithfulness.justification" means in words. */
function activity(section) {
    if (!section) return say("reading")
    const [part, ...inside] = section.split(".")
    if (Object.hasOwn(PARTS, part)) return say("writingPart", { part: say(PARTS[part]) })
    if (inside.length) return say("writingPart", { part: dimensionOfKey(part) })
    return say(part === "scores" ? "scoring" : "writing")
}

export const empty = () => make("p", "rr-empty", say("empty"))

export function failure(message) {
    const element = words("p", "rr-failure", message || say("failed"))
    element.role = "alert"
    return element
}
