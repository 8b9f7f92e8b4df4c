/**
 * What may be shown. A page comes from the node, or from a workflow file that anybody may have written: every
 * field is checked, every number clamped, every text cut, and nothing else is taken over.
 */

const MOST = {
    pages: 100,
    dimensions: 32,
    notes: 8,
    rounds: 1_000,
    name: 100,
    text: 4_000,
    raw: 40_000,
    thumbnail: 40_000,
    prompt: 100_000,
}
// An image that lies in the page itself; anything else would be asked for somewhere.
const THUMBNAIL = /^data:image\/(webp|png|jpeg);base64,[A-Za-z0-9+/=]+$/

/** The pages of a list; what is no page is left out. */
export function readPages(list) {
    return Array.isArray(list) ? list.slice(0, MOST.pages).map(readPage).filter(Boolean) : []
}

/** A list of pages with the rounds of a loop in the place of the loop that holds them. */
export function unrolled(given) {
    return given.flatMap((page) => (page?.of === "loop" ? list(page.rounds, MOST.pages) : [page]))
}

/** One page, or null where there is nothing to show. See nodes/panel.py for the fields. */
function readPage(given) {
    if (!given || typeof given !== "object") return null
    const page = {
        of: choice(given.of, ["image", "pair", "prompt", "round", "place"]) ?? "image",
        critic: text(given.critic, MOST.name),
        dimensions: list(given.dimensions, MOST.dimensions).map(readDimension).filter(Boolean),
        summary: text(given.summary),
        comments: text(given.comments),
        notes: list(given.notes, MOST.notes).map((note) => text(note)).filter(Boolean),
        raw: text(given.raw, MOST.raw),
    }
    if ("winner" in given) {
        page.winner = choice(given.winner, ["A", "B", "tie"])
        page.totals = [number(given.totals?.[0], 1, 4), number(given.totals?.[1], 1, 4)]
        page.consistent = typeof given.consistent === "boolean" ? given.consistent : null
    } else if ("score" in given) {
        page.score = number(given.score, 0, 1)
        page.mean = number(given.mean, 1, 4)
        page.confidence = number(given.confidence, 0, 1)
        if (Number.isInteger(given.image)) {
            page.image = number(given.image, 1, 1e6)
            page.kept = given.kept === true
        }
    }
    if (typeof given.after === "string") {
        page.before = text(given.before, MOST.prompt)
        page.after = text(given.after, MOST.prompt)
    }
    if (page.of === "round") Object.assign(page, readRound(given))
    return "winner" in page || "score" in page || "after" in page ? page : null
}

/** What a round of a loop has besides: its place, its image, and on the last one why the loop ended. */
function readRound(given) {
    const most = whole(given.most) ?? 1
    return {
        best: given.best === true,
        number: whole(given.number) ?? 1,
        most: Math.max(most, whole(given.number) ?? 1),
        stopped: text(given.stopped),
        thumbnail: isThumbnail(given.thumbnail) ? given.thumbnail : "",
    }
}

const isThumbnail = (value) =>
    typeof value === "string" && value.length <= MOST.thumbnail && THUMBNAIL.test(value)

/**
 * What a subgraph node shows: a rewritten prompt joins the judgement that it comes from, a new judgement
 * replaces what was there. See `joined` in nodes/panel.py.
 */
export function joinPages(before, pages) {
    const isRewrite = (page) => "after" in page && !("score" in page) && !("winner" in page)
    if (!pages.every(isRewrite) || before.length !== pages.length || before.every(isRewrite)) return pages
    return before.map((page, index) => ({
        ...page,
        before: pages[index].before,
        after: pages[index].after,
        comments: pages[index].comments,
    }))
}

function readDimension(given) {
    if (!given || typeof given !== "object") return null
    const [score, a, b] = [given.score, given.a, given.b].map((value) => number(value, 1, 4))
    return {
        key: text(given.key, MOST.name),
        name: text(given.name, MOST.name),
        applies: given.applies !== false,
        why: text(given.why),
        ...("a" in given ? { a, b } : { score }),
    }
}

/** What the critic is doing, from an event; null where it is none. */
export function readStream(given) {
    if (!given || typeof given !== "object") return null
    const total = number(given.total, 1, 1e6) ?? 1
    return {
        total,
        done: number(given.done, 0, total) ?? 0,
        section: text(given.section, MOST.name),
        text: text(given.text),
        // Of a loop.
        round: whole(given.round),
        rounds: whole(given.rounds),
        best: number(given.best, 0, 1),
    }
}

/** A string of at most `most` characters; empty where it is none. */
export function text(value, most = MOST.text) {
    if (typeof value !== "string") return ""
    return value.length > most ? `${value.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…` : value
}

const number = (value, low, high) =>
    typeof value === "number" && Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : null
const whole = (value) => {
    const found = number(value, 1, MOST.rounds)
    return found === null ? null : Math.round(found)
}
const choice = (value, known) => (known.includes(value) ? value : null)
const list = (value, most) => (Array.isArray(value) ? value.slice(0, most) : [])
