/** What changed between two texts, word by word. */

// Spaces; one letter of a script that writes without spaces; a word; any other sign.
const SCRIPTS = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer"]
const UNSPACED = SCRIPTS.map((script) => `\\p{Script=${script}}`).join("")
const TOKENS = new RegExp(`\\s+|[${UNSPACED}]\\p{M}*|[\\p{L}\\p{M}\\p{N}_'’-]+|[^]`, "gu")
const WORD = /[\p{L}\p{N}]/u
// Of the table below: 500 words against 500, a tenth of a second at most.
const MOST_CELLS = 1_000_000
// Words that must stay together to be worth showing as unchanged between two changes.
const SHORTEST = 3

/**
 * A list of ["same" | "gone" | "new", text]. Joined without "new" it is `before`, joined without "gone" it is
 * `after`. Texts whose table would be too large for a browser are shown as replaced where they differ.
 */
export function wordDiff(before, after) {
    const old = before.match(TOKENS) ?? []
    const young = after.match(TOKENS) ?? []
    let start = 0
    while (start < old.length && start < young.length && old[start] === young[start]) start++
    let end = 0
    const most = Math.min(old.length, young.length) - start
    while (end < most && old.at(-1 - end) === young.at(-1 - end)) end++
    const middle = compare(old.slice(start, old.length - end), young.slice(start, young.length - end))
    const tail = end ? [["same", old.slice(-end)]] : []
    return merge(readable([["same", old.slice(0, start)], ...middle, ...tail]))
}

/** Runs of tokens by the longest common subsequence. */
function compare(old, young) {
    if (old.length * young.length > MOST_CELLS) return [["gone", old], ["new", young]]
    const width = young.length + 1
    // [i, j]: length of the longest one behind old[i] and young[j].
    const common = new Uint32Array((old.length + 1) * width)
    for (let i = old.length - 1; i >= 0; i--)
        for (let j = young.length - 1; j >= 0; j--)
            common[i * width + j] =
                old[i] === young[j]
                    ? common[(i + 1) * width + j + 1] + 1
                    : Math.max(common[(i + 1) * width + j], common[i * width + j + 1])
    const runs = []
    const put = (kind, token) => {
        if (runs.at(-1)?.[0] !== kind) runs.push([kind, []])
        runs.at(-1)[1].push(token)
    }
    let i = 0
    let j = 0
    while (i < old.length || j < young.length) {
        if (i < old.length && j < young.length && old[i] === young[j]) {
            put("same", old[i++])
            j++
            continue
        }
        const isGone =
            j === young.length || (i < old.length && common[(i + 1) * width + j] >= common[i * width + j + 1])
        if (isGone) put("gone", old[i++])
        else put("new", young[j++])
    }
    return runs
}

/**
 * A word or two that stayed between two changes are shown as changed too: a text striped word by word is
 * hard to read.
 */
function readable(runs) {
    const found = []
    let gone = []
    let fresh = []
    const flush = () => {
        if (gone.length) found.push(["gone", gone])
        if (fresh.length) found.push(["new", fresh])
        gone = []
        fresh = []
    }
    runs.forEach(([kind, tokens], index) => {
        const between = gone.length + fresh.length > 0 && index < runs.length - 1
        if (kind === "gone") gone = gone.concat(tokens)
        else if (kind === "new") fresh = fresh.concat(tokens)
        else if (between && tokens.filter((token) => WORD.test(token)).length < SHORTEST) {
            gone = gone.concat(tokens)
            fresh = fresh.concat(tokens)
        } else {
            flush()
            found.push(["same", tokens])
        }
    })
    flush()
    return found
}

const merge = (runs) => runs.map(([kind, tokens]) => [kind, tokens.join("")]).filter(([, text]) => text)
