/** The panel of one node: what it shows now, and how high it is. */

import { button, make } from "./elements.js"
import { isOnCanvas, tame } from "./pointer.js"
import { say } from "./strings.js"
import { details, empty, failure, headline, live } from "./view.js"

// Pixels.
// One line.
const LOWEST = 34
// What is longer scrolls, or the user makes the node larger.
const HIGHEST = 380
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
        this.at = pages[0]?.of === "round" ? pages.length - 1 : 0
        this.draw()
    }

    /** A new result. */
    receive(pages) {
        this.show(pages, this.folded)
        this.save(pages, this.folded)
    }

    /** The critic at work. */
    stream(stream) {
        if (!this.live) {
            this.live = live()
            this.draw()
        }
        this.live.update(stream)
    }

    /** An error, in words; an empty string where none came. */
    fail(message) {
        this.live = null
        this.error = message
        this.draw()
    }

    /** The last result again, after a run that was stopped, or when a new one starts. */
    settle() {
        if (!this.live && this.error === null) return
        this.live = this.error = null
        this.draw()
    }

    dispose() {
        this.observer.disconnect()
    }

    draw() {
        const page = this.pages[this.at]
        if (this.live) this.body.replaceChildren(this.live.element)
        else if (this.error !== null) this.body.replaceChildren(failure(this.error))
        else if (!page) this.body.replaceChildren(empty())
        else {
            const below = this.folded ? [] : details(page, this.open).filter(Boolean)
            const head = make("div", "rr-head", headline(page), this.pager(page), this.folder())
            this.body.replaceChildren(head, ...below)
        }
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
        this.height = Math.min(HIGHEST, Math.max(least, closed))
        if (this.height === before) return
        if (!this.node.flags?.collapsed) this.fitNode(this.height - before, this.root.offsetHeight - before)
        this.root.style.setProperty("--rr-height", `${this.height}px`)
        this.node.graph?.setDirtyCanvas(true, true)
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
