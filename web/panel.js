/** The panel of one node: what it shows now, and how high it is. */

import { button, make } from "./elements.js"
import { finish, isRunning, usePrompt } from "./loop.js"
import { isOnCanvas, tame } from "./pointer.js"
import { bestAt, isLoop, liveLoop, scrollStrip, strip } from "./rounds.js"
import { say } from "./strings.js"
import { details, empty, failure, headline, live } from "./view.js"

// Pixels.
// One line.
const LOWEST = 34
// What is longer scrolls, or the user makes the node larger.
const HIGHEST = 380
// With a strip of rounds.
const HIGHEST_LOOP = 480
// A node that is higher than it must be by more than this was made so by the user.
const SLACK = 2

export class Panel {
    /** `save(pages, folded)` is called when there is something new to keep. */
    constructor(node, save) {
        this.node = node
        this.save = save
        this.pages = []
        this.at = 0
        this.folded = false
        // Rows that are open, on every page.
        this.open = new Set()
        // The execution id of the loop's End that runs: inside a subgraph it is another node.
        this.loop = null
        this.live = null
        this.error = null
        this.height = LOWEST
        this.body = make("div", "rr-body")
        this.scroller = make("div", "rr-scroller", this.body)
        this.root = make("div", "rr-panel", this.scroller)
        this.root.role = "group"
        this.root.ariaLabel = say("panel")
        tame(this.root, this.scroller)
        this.body.addEventListener("click", ({ target }) => {
            const details = target.closest?.("summary")?.parentElement
            if (details) requestAnimationFrame(() => this.reveal(details))
        })
        this.observer = new ResizeObserver(() => this.fit())
        this.draw()
    }

    /** Follow the height of what is shown, until `dispose`. */
    watch() {
        this.observer.observe(this.body)
    }

    /** What was kept. */
    show(pages, folded) {
        Object.assign(this, { pages, folded, live: null, error: null })
        this.at = isLoop(pages) ? bestAt(pages) : 0
        this.draw()
    }

    /** A new result. */
    receive(pages) {
        if (isLoop(pages) && !pages.at(-1).stopped && isRunning()) this.follow(pages)
        else this.show(pages, this.folded)
        this.save(pages, this.folded)
    }

    /** The critic at work, in the node of an execution id. */
    stream(stream, node) {
        if (stream.round) this.startLoop(node, stream.round)
        else if (!this.live) {
            this.live = live()
            this.draw()
        }
        this.live.update(stream)
    }

    /** A loop has begun whose End has an execution id; `most` rounds, null where that is not known. */
    begin(node, most) {
        if (this.live?.isLoop) return
        this.startLoop(node, 1)
        this.live.wait(1, most, null)
    }

    /** The rounds so far of a loop that goes on. */
    follow(pages) {
        this.startLoop(this.loop, pages.length + 1)
        Object.assign(this, { pages, error: null })
        this.live.rounds = pages
        this.live.wait(pages.length + 1, pages[0].most, pages[bestAt(pages)].score)
        this.draw()
    }

    /** The live view of a loop, with the rounds before `round` where they are from this run. */
    startLoop(node, round) {
        this.loop = node ?? this.loop
        if (this.live?.isLoop) return
        this.live = liveLoop(() => finish(this.loop))
        // After the page was loaded again in the middle of a run.
        if (round > 1 && isLoop(this.pages)) this.live.rounds = this.pages.slice(0, round - 1)
        this.at = -1
        this.draw()
    }

    /** An error, in words; an empty string where none came. */
    fail(message) {
        this.live = null
        this.error = message
        this.toBest()
        this.draw()
    }

    /** The last result again, after a run that was stopped, or when a new one starts. */
    settle() {
        if (!this.live && this.error === null) return
        this.live = this.error = null
        this.toBest()
        this.draw()
    }

    /** Back to the best round, from a run in which none was chosen. */
    toBest() {
        if (this.at < 0) this.at = isLoop(this.pages) ? bestAt(this.pages) : 0
    }

    dispose() {
        this.observer.disconnect()
    }

    draw() {
        const focused = this.body.contains(document.activeElement) && document.activeElement.dataset.key
        const left = this.body.querySelector(".rr-strip")?.scrollLeft ?? 0
        this.body.replaceChildren(...this.content().filter(Boolean))
        const rounds = this.body.querySelector(".rr-strip")
        if (rounds) scrollStrip(rounds, left)
        if (focused) this.body.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true })
    }

    content() {
        if (this.live) return [this.live.element, ...this.story(this.live.rounds ?? [])]
        const rounds = isLoop(this.pages) ? this.pages : []
        if (this.error !== null) return [failure(this.error), ...this.story(rounds)]
        if (!this.pages.length) return [empty()]
        if (rounds.length) return this.story(rounds)
        const page = this.pages[this.at]
        return [this.head(page, this.pager(page)), ...this.below(page)]
    }

    /** A loop's rounds, and the one that is chosen. */
    story(rounds) {
        if (!rounds.length) return []
        const choice = strip(rounds, this.at, (index) => {
            this.at = index
            this.draw()
        })
        const page = rounds[this.at]
        const head = page && this.head(page, null)
        // It does not move when a round is chosen.
        if (this.live) return page ? [choice, head, ...this.below(page)] : [choice]
        if (this.folded) return [head]
        const why = rounds.at(-1).stopped
        return [head, choice, why && make("p", "rr-note", why), ...this.below(page)]
    }

    head(page, pager) {
        return make("div", "rr-head", headline(page), pager, this.folder())
    }

    below(page) {
        return this.folded ? [] : details(page, this.open, (prompt) => usePrompt(this.node, prompt))
    }

    pager(page) {
        const count = this.pages.length
        if (count < 2) return null
        const turn = (by) => () => {
            this.at = (this.at + by + count) % count
            this.draw()
            this.root.querySelector(by > 0 ? ".rr-next" : ".rr-previous").focus()
        }
        const place = say(page.of, { number: this.at + 1, count })
        const where = make("span", "rr-quiet", `${this.at + 1} / ${count}`)
        where.title = place
        // The buttons, one of which has the focus when a page is turned, say it.
        where.ariaHidden = "true"
        const turner = (kind, sign, by) => {
            const element = button(`rr-${kind}`, sign, say(kind), turn(by))
            element.ariaLabel = `${say(kind)}, ${place}`
            return element
        }
        return make("div", "rr-pager", turner("previous", "‹", -1), where, turner("next", "›", 1))
    }

    folder() {
        const fold = button("rr-fold", make("span", "rr-turn"), say(this.folded ? "unfold" : "fold"), () => {
            this.folded = !this.folded
            this.draw()
            this.root.querySelector(".rr-fold").focus()
            this.save(this.pages, this.folded)
        })
        fold.ariaExpanded = String(!this.folded)
        return fold
    }

    /**
     * Follow the content's height. The content lies absolutely in its frame, so that the height it asks for
     * cannot grow by itself. Rows that are opened scroll: a node that grew would cover the one below it.
     */
    fit() {
        const before = this.height
        const content = Math.ceil(this.body.offsetHeight)
        // Not on the screen.
        if (!content) return
        const opened = [...this.body.querySelectorAll("details[open]")]
        const inside = opened.map((details) => details.offsetHeight - details.firstElementChild.offsetHeight)
        const closed = content - inside.reduce((sum, height) => sum + height, 0)
        // A panel that jumps while it is read would be hard to follow.
        const least = this.live ? before : LOWEST
        this.height = Math.min(this.highest(), Math.max(least, closed))
        if (this.height === before) return
        if (!this.node.flags?.collapsed) this.fitNode(this.height - before, this.root.offsetHeight - before)
        this.root.style.setProperty("--rr-height", `${this.height}px`)
        this.node.graph?.setDirtyCanvas(true, true)
    }

    highest() {
        return this.body.querySelector(".rr-strip") ? HIGHEST_LOOP : HIGHEST
    }

    /** Scroll what was opened into view, its first line at the top where it is longer than the panel. */
    reveal(details) {
        if (!details.open) return
        const head = this.body.querySelector(".rr-head")?.offsetHeight ?? 0
        const top = details.offsetTop - head
        const bottom = details.offsetTop + details.offsetHeight - this.scroller.clientHeight
        if (bottom > this.scroller.scrollTop) this.scroller.scrollTop = Math.min(top, bottom)
    }

    /** Let the node grow and shrink along, unless the user has made it larger than it must be. */
    fitNode(change, spare) {
        const { node } = this
        const [width, height] = node.size
        if (isOnCanvas(this.root)) {
            const least = node.computeSize()[1]
            const tight = height - (least - change) < SLACK
            if (tight || height < least) node.setSize([width, least])
        } else if (change < 0 && spare < SLACK) {
            // It grows by itself.
            node.setSize([width, height + change])
        }
    }
}
