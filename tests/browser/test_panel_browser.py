"""The panel on the nodes, in ComfyUI's real page: on the classic canvas and in Nodes 2.0, light and dark,
before and after a reload.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid

import comfyui_checkouts
import comfyui_page
import pytest
import requests
import websocket
from comfyui_server import NAME, PACK, Failed
from page_contrast import CONTRAST

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
PROMPT = "two small blue squares on the left and a red star on a pink background with the word SUN"
HOSTILE = '<img src=x onerror="hacked=1"> <script>hacked=2</script> \u202ered\u202c (star:1.2) {a|b} &lt;'
WORDS = "word " * 10_000
KIND = "RationalRewards{}".format
JUDGES = ("Critique", "Score", "Compare")
SHOWN = (*JUDGES, "Refine Prompt")


def node(type, x, y, values=None, **links):
    return {"type": type, "values": values or {}, "at": [x, y], "links": links}


def painter(x, y, seed, flaws):
    values = {"prompt": PROMPT, "seed": seed, "control_after_generate": "fixed", "flaws": flaws}
    return node(KIND("ShapesPainter"), x, y, values)


GRAPH = {
    "Load Critic": node(
        KIND("LoadCritic"), 0, 0, {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
    ),
    "First": painter(0, 340, 1, 0.5),
    "Second": painter(0, 640, 7, 1.0),
    "Both": node("ImageBatch", 0, 940, image1="First", image2="Second"),
    "Critique": node(KIND("Critique"), 460, 0, {"prompt": PROMPT}, critic="Load Critic", image="Both"),
    "Score": node(KIND("Score"), 900, 0, {"prompt": PROMPT}, critic="Load Critic", image="First"),
    "Compare": node(
        KIND("Compare"), 1340, 0, {"prompt": PROMPT}, critic="Load Critic", image_a="First", image_b="Second"
    ),
    "Refine Prompt": node(KIND("RefinePrompt"), 1780, 0, critique="Critique"),
    "Save": node("SaveImage", 460, 860, {"filename_prefix": "panel"}, images="First"),
}

# The same nodes under the same ids in two tabs, with different pictures.
TAB = {
    "Load Critic": GRAPH["Load Critic"],
    "Picture": painter(0, 340, 1, 0.0),
    "Critique": node(KIND("Critique"), 460, 0, {"prompt": PROMPT}, critic="Load Critic", image="Picture"),
    "Score": node(KIND("Score"), 900, 0, {"prompt": PROMPT}, critic="Load Critic", image="Picture"),
}
WORKFLOW = "() => (app.rootGraph ?? app.graph).id"
# Have ComfyUI look at the workflow for what has changed, as after a click.
LOOK = """() => {
    const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
    ;(tracker.captureCanvasState ?? tracker.checkState).call(tracker)
}"""
# A change of the workflow, and Ctrl+Z.
UNDO = """async () => {
    const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
    const titles = () => app.graph.nodes.map(node => node.title).join()
    const before = titles()
    app.graph.nodes[0].title = "changed"
    ;(tracker.captureCanvasState ?? tracker.checkState).call(tracker)
    await app.extensionManager.command.execute("Comfy.Undo")
    await new Promise(done => setTimeout(done, 500))
    return titles() === before
}"""
# Real words of the server reach the page only when `tellNews()` is called.
HOLD_NEWS = """() => {
    const { socket } = app.api, held = []
    const hold = event => {
        event.stopImmediatePropagation()
        held.push(event.data)
    }
    socket.addEventListener("message", hold, true)
    window.tellNews = () => {
        socket.removeEventListener("message", hold, true)
        for (const data of held) socket.dispatchEvent(new MessageEvent("message", { data }))
    }
}"""
# Every observer that watches a panel from now on, until it is disconnected.
COUNT_OBSERVERS = """() => {
    window.observers ??= new Set()
    const Real = window.RealObserver ??= ResizeObserver
    window.ResizeObserver = class extends Real {
        observe(target, options) {
            super.observe(target, options)
            if (target.matches(".rr-panel *")) observers.add(this)
        }
        disconnect() {
            super.disconnect()
            observers.delete(this)
        }
    }
}"""

# What a node hands over, given to its panel as ComfyUI does.
EXECUTED = "([title, output]) => app.graph.nodes.find(node => node.title === title).onExecuted(output)"


@pytest.fixture(scope="module")
def shots(server):
    """Takes pictures of the page: `shots(canvas, name)`."""
    return lambda canvas, name: canvas.picture(comfyui_page.artifact(server, name))


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request, server):
    """The page with the graph, not yet run."""
    server.post("/api/settings/Comfy.ColorPalette", "dark").raise_for_status()
    with comfyui_page.canvas(server, 2400, 1200) as opened:
        opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened.name = "nodes-2" if request.param else "classic"  # type: ignore[attr-defined]
        opened.open(nodes_2=request.param)
        opened.ids = opened.build(GRAPH)  # type: ignore[attr-defined]
        yield opened


@pytest.fixture(scope="module")
def ran(canvas, server):
    """The page after one run; `outputs` by title."""
    outputs = server.result(canvas.queue())
    canvas.outputs = {title: outputs[canvas.ids[title]] for title in SHOWN}
    wait(canvas, "Refine Prompt", "Prompt")
    yield canvas
    assert canvas.errors == []


def wait(canvas, title, text):
    """The panel's text, as soon as it has `text` in it."""
    from playwright.sync_api import expect

    panel = canvas.panel(title)
    expect(panel).to_contain_text(text, timeout=30_000)
    return panel.inner_text()


def in_theme(canvas, theme):
    canvas.choose("Comfy.ColorPalette", theme)
    canvas.page.wait_for_function(
        "dark => Boolean(document.body.closest('.dark-theme')) === dark", arg=theme == "dark"
    )
    canvas.page.wait_for_timeout(500)


def texts(canvas):
    return {title: canvas.panel(title).inner_text() for title in SHOWN}


def pages(canvas, title):
    return canvas.outputs[title]["rational_rewards"]


# ---------------------------------------------------------------- what an artist sees


def test_a_new_node_has_room_for_its_panel_and_says_what_to_do(canvas):
    for title in SHOWN:
        assert canvas.panel(title).inner_text().strip() == "Run the workflow to see the result here."
    for shown in canvas.nodes():
        panel = [widget for widget in shown["widgets"] if widget["name"] == "rational_rewards"]
        assert [widget["saved"] for widget in panel] == [False] * (shown["title"] in SHOWN)
    assert all("rational_rewards" not in one["inputs"] for one in canvas.prompt().values())


def test_the_panel_speaks_the_user_s_language_where_it_has_the_words(canvas):
    said = canvas.page.evaluate(
        """async module => {
            const { say, speak } = await import(module)
            const keys = ["empty", "raw", "panel"]
            speak("xx", { xx: { rationalRewards: { empty: "Noch leer", raw: 7, other: "x" } } })
            const translated = keys.map(key => say(key))
            speak("yy", { xx: {} })
            return [translated, keys.map(key => say(key)), say("image", { number: 2, count: 3 })]
        }""",
        f"/extensions/{NAME}/strings.js",
    )
    english = ["Run the workflow to see the result here.", "Raw answer", "Critique"]
    assert said == [["Noch leer", *english[1:]], english, "Image 2 of 3"]


def test_results_are_read_on_their_nodes(ran, shots):
    critique, score, compare, refine = (pages(ran, title)[0] for title in SHOWN)
    shown = texts(ran)
    for title, page in (("Critique", critique), ("Score", score)):
        assert f"{page['score']:.2f}" in shown[title]
        for dimension in page["dimensions"]:
            assert dimension["name"] in shown[title]
            assert ("N/A" if not dimension["applies"] else f"{dimension['score']:.1f}") in shown[title]
    assert critique["summary"] in shown["Critique"]
    assert {"A": "A is better", "B": "B is better", "tie": "A tie"}[compare["winner"]] in shown["Compare"]
    assert "A {:.2f}, B {:.2f} of 4".format(*compare["totals"]) in shown["Compare"]
    assert refine["comments"] in shown["Refine Prompt"]
    prompt = ran.panel("Refine Prompt").locator(".rr-prompt")
    assert "".join(prompt.locator("span, del").all_text_contents()) == refine["before"] == PROMPT
    assert "".join(prompt.locator("span, ins").all_text_contents()) == refine["after"]
    shots(ran, f"{ran.name}-dark")


def test_each_picture_has_its_page(ran):
    panel, (first, second) = ran.panel("Critique"), pages(ran, "Critique")
    assert panel.locator(".rr-pager").inner_text().split() == ["‹", "1", "/", "2", "›"]
    panel.get_by_role("button", name="Next").click()
    assert f"{second['score']:.2f}" in panel.inner_text()
    assert panel.get_by_label("Next, Image 2 of 2").count() == 1
    # The button keeps the focus; behind the last comes the first.
    ran.page.keyboard.press("Enter")
    assert f"{first['score']:.2f}" in panel.inner_text()
    assert ran.panel("Score").locator(".rr-pager").count() == 0


def test_reasons_and_the_raw_answer_open_by_mouse_and_by_keyboard(ran):
    panel, page = ran.panel("Critique"), pages(ran, "Critique")[0]
    dimension = page["dimensions"][0]
    row = panel.locator("summary", has_text=dimension["name"])
    reason = panel.locator(".rr-why", has_text=dimension["why"])
    assert not reason.is_visible()
    row.click()
    assert reason.is_visible()
    row.press("Enter")
    assert not reason.is_visible()
    row.press("Enter")
    panel.locator("summary", has_text="Raw answer").press("Space")
    assert panel.locator(".rr-raw .rr-text").text_content() == page["raw"]
    panel.locator("summary", has_text="Raw answer").press("Space")
    assert reason.is_visible()
    row.click()


def test_bars_are_read_out_and_controls_show_where_the_focus_is(ran):
    dimension = pages(ran, "Score")[0]["dimensions"][0]
    label = f"{dimension['name']}: {dimension['score']:.1f} of 4"
    bar = ran.panel("Score").get_by_role("img", name=label)
    assert bar.count() == 1
    fields = bar.locator("i").evaluate_all(
        "fields => fields.map(field => field.firstChild.offsetWidth / field.offsetWidth)"
    )
    assert sum(fields) == pytest.approx(dimension["score"], abs=0.1)
    both = pages(ran, "Compare")[0]["dimensions"][0]
    label = f"{both['name']}: A {both['a']:.1f} of 4, B {both['b']:.1f} of 4"
    assert ran.panel("Compare").get_by_role("img", name=label).count() == 1
    ran.panel("Score").locator("summary").first.focus()
    ran.page.keyboard.press("Tab")
    assert ran.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for control in ran.panel("Critique").get_by_role("button").all():
        assert control.get_attribute("aria-label") or control.inner_text().strip()


def test_prompt_and_comments_are_copied(ran):
    page = pages(ran, "Refine Prompt")[0]
    read = "() => navigator.clipboard.readText()"
    for name, text in (("Copy prompt", page["after"]), ("Copy comments", page["comments"])):
        ran.panel("Refine Prompt").get_by_role("button", name=name).click()
        ran.page.wait_for_timeout(200)
        assert ran.page.evaluate(read) == text
    # Pages on plain http have no clipboard of their own.
    ran.page.evaluate("""() => {
        window.writer = navigator.clipboard.writeText
        navigator.clipboard.writeText = undefined
    }""")
    ran.panel("Refine Prompt").get_by_role("button", name="Copy prompt").click()
    ran.page.wait_for_timeout(200)
    ran.page.evaluate("() => { navigator.clipboard.writeText = writer }")
    assert ran.page.evaluate(read) == page["after"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read_in_every_theme(ran, shots, theme):
    in_theme(ran, theme)
    for selector in (
        ".rr-verdict, .rr-score, .rr-name, .rr-text, .rr-prompt *",
        ".rr-panel .rr-quiet, .rr-why, .rr-note, .rr-button",
    ):
        found = ran.page.evaluate(CONTRAST, [selector, "color"])
        assert found
        assert min(found) >= 4.5, selector
    assert min(ran.page.evaluate(CONTRAST, [".rr-bar b", "backgroundColor"])) >= 3
    shots(ran, f"{ran.name}-{theme}")


def test_nodes_grow_with_their_panels_and_shrink_when_they_are_folded(ran):
    def height(title):
        return next(box[4] for box in ran.boxes() if box[0] == title)

    panel, title = ran.panel("Score"), "Score"
    body = panel.locator(".rr-body").bounding_box()
    outside = panel.bounding_box()
    assert outside["y"] <= body["y"]
    assert outside["y"] + outside["height"] >= body["y"] + body["height"] - 1, (
        "what is there is seen without scrolling"
    )
    before = height(title)
    panel.get_by_role("button", name="Show less").click()
    ran.page.wait_for_timeout(500)
    assert panel.locator(".rr-row").count() == 0
    assert f"{pages(ran, title)[0]['score']:.2f}" in panel.inner_text()
    assert height(title) < before - 40
    panel.get_by_role("button", name="Show more").click()
    ran.page.wait_for_timeout(500)
    assert height(title) == pytest.approx(before, abs=2)


def test_a_panel_follows_its_node_when_that_is_resized_or_collapsed(ran):
    resize = """([more]) => {
        const node = app.graph.nodes.find(node => node.title === "Compare")
        node.setSize([node.size[0], node.size[1] + more])
        app.canvas.setDirty(true, true)
    }"""
    collapse = "() => app.graph.nodes.find(node => node.title === 'Compare').collapse()"
    panel = ran.panel("Compare")
    shown, before = panel.inner_text(), panel.bounding_box()["height"]
    # It shares spare room with the prompt's field; Nodes 2.0 gives all of it to that in one version.
    if ran.name == "classic":
        ran.page.evaluate(resize, [200])
        ran.page.wait_for_timeout(500)
        zoom = ran.page.evaluate("() => app.canvas.ds.scale")
        assert panel.bounding_box()["height"] > before + 60 * zoom
        ran.page.evaluate(resize, [-200])
    ran.page.evaluate(collapse)
    ran.page.wait_for_timeout(500)
    assert not panel.is_visible()
    ran.page.evaluate(collapse)
    ran.page.wait_for_timeout(500)
    assert ran.panel("Compare").inner_text() == shown


def test_the_wheel_scrolls_a_panel_with_the_focus_and_else_moves_the_canvas(ran):
    scale, top = "() => app.canvas.ds.scale", "panel => panel.querySelector('.rr-scroller').scrollTop"

    def turn(title, y, key=None):
        """Click into the panel, turn the wheel over it: did the canvas zoom, did the panel scroll?"""
        panel = ran.panel(title)
        panel.locator(".rr-headline").click()
        before = ran.page.evaluate(scale), panel.evaluate(top)
        if key:
            ran.page.keyboard.down(key)
        ran.page.mouse.wheel(0, y)
        ran.page.wait_for_timeout(400)
        if key:
            ran.page.keyboard.up(key)
        return ran.page.evaluate(scale) != before[0], panel.evaluate(top) != before[1]

    critique, score = ran.panel("Critique"), ran.panel("Score")
    room = (
        "panel => { const s = panel.querySelector('.rr-scroller'); return s.scrollHeight - s.clientHeight }"
    )
    assert score.evaluate(room) < 2
    assert turn("Score", 100) == (True, False), "a panel that has nothing to scroll"
    assert turn("Score", -100) == (True, False)
    critique.locator("summary", has_text="Raw answer").click()
    ran.page.wait_for_timeout(300)
    assert critique.evaluate(room) > 50
    assert turn("Critique", 60) == (False, True)
    assert turn("Critique", -120, "Control")[0], "zooming goes through everywhere"
    assert ran.page.evaluate("() => visualViewport.scale") == 1
    assert ran.page.evaluate("() => devicePixelRatio") == 1
    turn("Critique", 120, "Control")
    critique.locator("summary", has_text="Raw answer").click()
    ran.fit()


def test_copying_and_deleting_nodes_leaves_no_panel_behind(ran):
    ran.page.evaluate(COUNT_OBSERVERS)
    counts = ran.page.evaluate(
        """() => {
            const nodes = [...app.graph.nodes], counts = []
            app.canvas.copyToClipboard(nodes)
            counts.push(observers.size)
            app.canvas.pasteFromClipboard()
            const copies = app.graph.nodes.filter(node => !nodes.includes(node))
            counts.push(observers.size)
            const panel = node => node.widgets?.find(widget => widget.name === "rational_rewards")
            window.copied = copies.map(node => panel(node)?.element.textContent)
            for (const copy of copies) app.graph.remove(copy)
            counts.push(observers.size)
            return counts
        }"""
    )
    assert counts == [0, len(SHOWN), 0]
    copied = [text for text in ran.page.evaluate("() => copied") if text]
    assert any(f"{pages(ran, 'Score')[0]['score']:.2f}" in text for text in copied), (
        "a copy brings its result"
    )
    ran.page.evaluate("() => { window.ResizeObserver = RealObserver }")


def test_switching_between_the_ways_of_drawing_keeps_what_is_shown(ran):
    drawn = "nodes2 => Boolean(document.querySelector('.lg-node')) === nodes2"
    before = {title: ran.panel(title).text_content() for title in SHOWN}
    for nodes_2 in (ran.name == "classic", ran.name != "classic"):
        ran.choose("Comfy.VueNodes.Enabled", nodes_2)
        ran.page.wait_for_function(drawn, arg=nodes_2)
        ran.fit()
        assert {title: ran.panel(title).text_content() for title in SHOWN} == before
    ran.fit()


def test_a_run_is_one_step_to_undo(ran, server):
    steps = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"
    ran.set("First", "seed", 3)
    ran.page.evaluate(LOOK)
    before = ran.page.evaluate(steps)
    server.result(ran.queue())
    ran.page.wait_for_timeout(1500)
    assert ran.page.evaluate(steps) == before + 1
    ran.set("First", "seed", 1)
    server.result(ran.queue())
    ran.page.wait_for_timeout(1500)
    assert f"{pages(ran, 'Score')[0]['score']:.2f}" in ran.panel("Score").inner_text()


def test_a_word_diff_holds_both_texts_and_is_readable(canvas):
    """In the browser, where it is used: every pair of texts, and what a reader sees of some."""
    pairs = [
        ("", ""),
        ("", "a fox"),
        ("a fox", ""),
        ("a red fox, (soft:1.2) light", "a large red fox, (soft:1.4) light, at dawn"),
        ("一只红猫坐在椅子上", "一只黑猫坐在红色椅子上"),
        ("عين ثعلب", "عين ذئب"),
        (HOSTILE, "something else"),
        (WORDS, f"new {WORDS} new"),
        (" ".join(f"a{i}" for i in range(3000)), " ".join(f"b{i % 7}" for i in range(3000))),
    ]
    pieces = canvas.page.evaluate(
        "async ([module, pairs]) => { const { wordDiff } = await import(module); return pairs.map(pair => "
        "wordDiff(...pair)) }",
        [f"/extensions/{NAME}/diff.js", pairs],
    )
    for (before, after), found in zip(pairs, pieces, strict=True):
        assert "".join(text for kind, text in found if kind != "new") == before
        assert "".join(text for kind, text in found if kind != "gone") == after
    changed = [piece for piece in pieces[3] if piece[0] != "same"]
    assert changed == [["new", "large "], ["gone", "2) light"], ["new", "4) light, at dawn"]], (
        "one word between is no rest"
    )
    assert ["same", "椅子上"] in pieces[4]


# ---------------------------------------------------------------- hostile words


def test_hostile_words_are_shown_as_words(ran, shots):
    dimension = {"key": HOSTILE, "name": HOSTILE, "applies": True, "score": 2, "why": f"{HOSTILE} {WORDS}"}
    page = {
        "of": "image",
        "critic": HOSTILE,
        "score": 0.5,
        "mean": 2.5,
        "dimensions": [dimension],
        "summary": HOSTILE,
    }
    page |= {
        "before": "a fox",
        "after": HOSTILE,
        "comments": HOSTILE,
        "notes": [HOSTILE],
        "raw": f"{HOSTILE}\n{WORDS}",
    }
    before = next(box for box in ran.boxes() if box[0] == "Score")
    ran.page.evaluate(EXECUTED, ["Score", {"rational_rewards": [page]}])
    panel = ran.panel("Score")
    for summary in panel.locator("summary").all():
        summary.click()
    ran.page.wait_for_timeout(500)
    visible = panel.evaluate("panel => panel.textContent")
    assert visible.count(HOSTILE) == 8, "name, reason, prompt, comments, summary, note, raw answer, critic"
    assert visible.count("word word word") > 1000
    assert panel.locator("img, script").count() == 0
    assert ran.page.evaluate("() => window.hacked") is None
    after = next(box for box in ran.boxes() if box[0] == "Score")
    assert after[4] < before[4] + 400, "ten thousand words do not make a node endless"
    assert after[3] == pytest.approx(before[3], abs=1), "nor wide"
    shots(ran, f"{ran.name}-hostile")
    for summary in panel.locator("summary").all():
        summary.click()
    # The browser tells a little later what was closed.
    ran.page.wait_for_timeout(500)
    ran.page.evaluate(EXECUTED, ["Score", ran.outputs["Score"]])


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "text",
        {"pages": "text"},
        {
            "pages": [
                None,
                7,
                "x",
                [],
                {"score": "NaN"},
                {"score": 1e400, "dimensions": {"length": 1e9}, "notes": [None, {"a": 1}]},
            ]
        },
        {
            "pages": [{"winner": "<b>", "totals": "12", "dimensions": [None, {"a": "x", "key": 3}]}],
            "folded": "yes",
        },
        {"pages": [{"after": 3}, {"after": "x", "before": {"toString": 1}}], "__proto__": {"polluted": True}},
    ],
)
def test_a_workflow_file_may_hold_anything(ran, kept):
    """Results travel in workflow files, which anybody can write: what is no result is left out, and the node
    works.
    """
    ran.page.evaluate(
        """kept => {
            const node = app.graph.nodes.find(node => node.title === "Compare")
            const data = node.serialize()
            data.properties = { ...data.properties, rational_rewards: kept }
            node.configure(JSON.parse(JSON.stringify(data)))
        }""",
        kept,
    )
    assert ran.panel("Compare").inner_text().strip()
    assert ran.page.evaluate("() => ({}).polluted") is None
    ran.page.evaluate(EXECUTED, ["Compare", ran.outputs["Compare"]])
    assert "better" in ran.panel("Compare").inner_text() or "A tie" in ran.panel("Compare").inner_text()


# ---------------------------------------------------------------- what stays


def test_results_are_kept_after_a_reload(ran, shots):
    critic = f"critic {uuid.uuid4().hex}"
    ran.page.evaluate(
        EXECUTED, ["Score", {"rational_rewards": [pages(ran, "Score")[0] | {"critic": critic}]}]
    )
    before = texts(ran)
    # ComfyUI writes its draft a little later. Nobody clicks or types meanwhile.
    draft = """critic => [localStorage, sessionStorage]
        .flatMap(Object.values)
        .some(draft => draft.includes(critic))"""
    ran.page.wait_for_function(draft, arg=critic)
    ran.reload()
    assert critic in ran.panel("Score").inner_text()
    assert texts(ran) == before
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        shots(ran, f"{ran.name}-{theme}-after-reload")
    assert ran.page.evaluate("() => Object.keys(app.nodeOutputs ?? {}).length") == 0, (
        "they come from the workflow"
    )


def test_keeping_can_be_switched_off(ran):
    held = "() => app.graph.nodes.filter(node => node.properties.rational_rewards).map(node => node.title)"
    ran.page.evaluate(EXECUTED, ["Score", ran.outputs["Score"]])
    assert "Score" in ran.page.evaluate(held)
    ran.choose("RationalRewards.KeepResults", False)
    ran.page.evaluate(EXECUTED, ["Score", ran.outputs["Score"]])
    assert "Score" not in ran.page.evaluate(held)
    assert f"{pages(ran, 'Score')[0]['score']:.2f}" in ran.panel("Score").inner_text()
    ran.choose("RationalRewards.KeepResults", True)
    ran.page.evaluate(EXECUTED, ["Score", ran.outputs["Score"]])


def test_the_panel_can_be_switched_off(ran):
    ran.choose("RationalRewards.Panel", False)
    workflow = ran.serialize()
    ran.load(workflow)
    assert ran.page.locator(".rr-panel").count() == 0
    ran.choose("RationalRewards.Panel", True)
    ran.load(workflow)
    assert f"{pages(ran, 'Score')[0]['score']:.2f}" in ran.panel("Score").inner_text()


# ---------------------------------------------------------------- while it runs


def test_the_answer_is_seen_while_it_is_written_then_the_result(ran, server):
    ran.build(GRAPH)
    ran.page.evaluate(
        """() => {
            window.seen = []
            const look = () => document.querySelectorAll(".rr-live").forEach(live =>
                seen.push([live.innerText, live.querySelector("[role=progressbar]").ariaValueNow]))
            const all = { subtree: true, childList: true, characterData: true }
            new MutationObserver(look).observe(document.body, all)
        }"""
    )
    # A picture that nobody has judged.
    ran.set("Second", "seed", uuid.uuid4().int % 10**9)
    server.result(ran.queue())
    wait(ran, "Refine Prompt", "Prompt")
    seen = ran.page.evaluate("() => seen")
    assert any("Looking at the images" in text for text, _ in seen)
    assert any("Writing: Text Faithfulness" in text for text, _ in seen)
    assert any(0 < int(share) < 100 for _, share in seen)
    assert ran.page.locator(".rr-live").count() == 0


def test_an_error_is_read_on_its_node_and_goes_with_the_next_run(ran, server):
    ran.set("Score", "rubric", "edit")
    with pytest.raises(Failed) as caught:
        server.result(ran.queue())
    assert "source_image" in str(caught.value)
    shown = wait(ran, "Score", "source_image")
    assert shown.strip() == str(caught.value).strip()
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        assert min(ran.page.evaluate(CONTRAST, [".rr-failure", "color"])) >= 4.5
    ran.page.keyboard.press("Escape")
    ran.set("Score", "rubric", "auto")
    server.result(ran.queue())
    assert "source_image" not in wait(ran, "Score", "Text Faithfulness")


def test_a_result_for_another_tab_stays_away(ran):
    """ComfyUI hands every result to the tab in front, whichever workflow it is from."""
    mine = ran.page.evaluate("() => (app.rootGraph ?? app.graph).id")
    ran.page.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    ran.page.wait_for_timeout(1000)
    ran.page.evaluate(comfyui_page.BUILD, {"Score": node(KIND("Score"), 0, 0)})
    before = ran.panel("Score").inner_text()
    output = ran.outputs["Score"]["rational_rewards"][0]
    ran.page.evaluate(EXECUTED, ["Score", {"rational_rewards": [output | {"workflow": mine}]}])
    assert ran.panel("Score").inner_text() == before
    # Results from the cache carry the id of the run that made them.
    unknown = output | {"workflow": str(uuid.uuid4())}
    ran.page.evaluate(EXECUTED, ["Score", {"rational_rewards": [unknown]}])
    assert f"{output['score']:.2f}" in ran.panel("Score").inner_text()


def turn_to(canvas, side, workflow):
    """Bring the "Previous" or "Next" tab to the front, which must be that workflow."""
    canvas.page.evaluate(
        "command => app.extensionManager.command.execute(command)", f"Workspace.{side}OpenedWorkflow"
    )
    canvas.page.wait_for_function(f"id => ({WORKFLOW})() === id", arg=workflow)
    canvas.page.wait_for_timeout(1000)


def finish(canvas, prompt_id):
    """Wait until the page has heard that a run is over."""
    canvas.page.wait_for_function("id => over.includes(id)", arg=prompt_id, timeout=240_000)
    canvas.page.wait_for_timeout(300)
    # Older frontends open a dialog about errors.
    canvas.page.keyboard.press("Escape")


def test_runs_of_another_tab_leave_this_one_alone(canvas, server):
    """What is queued in one tab, and then another is turned to: results, live words and errors, and what is
    undone and kept later.
    """

    def shown():
        return [canvas.panel(title).inner_text() for title in ("Critique", "Score")]

    # As queued by this page.
    def run(prompt, workflow=None):
        info = {"extra_pnginfo": {"workflow": {"id": workflow}}} if workflow else {}
        client = canvas.page.evaluate("() => app.api.clientId")
        answer = server.post("/prompt", {"prompt": prompt, "client_id": client, "extra_data": info})
        finish(canvas, answer.json()["prompt_id"])

    canvas.page.evaluate(
        """() => {
            window.over = []
            for (const end of ["execution_success", "execution_error"])
                app.api.addEventListener(end, ({ detail }) => over.push(detail.prompt_id))
        }"""
    )
    ids, mine = canvas.build(TAB), canvas.page.evaluate(WORKFLOW)
    finish(canvas, canvas.queue())
    here = shown()
    assert canvas.build(TAB) == ids
    other = canvas.page.evaluate(WORKFLOW)
    canvas.set("Score", "rubric", "edit")
    failing = canvas.prompt()
    canvas.set("Score", "rubric", "auto")
    canvas.set("Picture", "flaws", 1.0)
    canvas.set("Picture", "seed", 7)
    working = canvas.prompt()

    canvas.page.evaluate(HOLD_NEWS)
    queued = canvas.queue()
    results = server.result(queued)
    turn_to(canvas, "Previous", mine)
    assert shown() == here
    canvas.page.evaluate(
        """() => {
            window.lives = 0
            window.looking = new MutationObserver(() => {
                lives += document.querySelectorAll(".rr-live").length
            })
            looking.observe(document.body, { subtree: true, childList: true })
            tellNews()
        }"""
    )
    finish(canvas, queued)
    assert shown() == here
    assert canvas.page.evaluate(UNDO)
    assert shown() == here, "nor by Ctrl+Z"
    canvas.panel("Score").get_by_role("button", name="Show less").click()
    canvas.panel("Score").get_by_role("button", name="Show more").click()
    score = next(node for node in canvas.serialize()["nodes"] if str(node["id"]) == ids["Score"])
    assert f"{score['properties']['rational_rewards']['pages'][0]['score']:.2f}" in here[1], "nor is it kept"

    # A node of the same kind fails there, then one of another kind under the id of a panel's node.
    run(failing, other)
    assert shown() == here
    picture = {
        "class_type": "SaveImage",
        "inputs": {"images": [ids["Picture"], 0], "filename_prefix": "../../outside"},
    }
    run({ids["Picture"]: working[ids["Picture"]], ids["Critique"]: picture})
    assert shown() == here
    assert canvas.page.evaluate("() => lives") == 0
    canvas.page.evaluate("() => looking.disconnect()")

    turn_to(canvas, "Next", other)
    there = shown()
    for text, old, title in zip(there, here, ("Critique", "Score"), strict=True):
        assert text != old
        assert f"{results[ids[title]]['rational_rewards'][0]['score']:.2f}" in text, (
            "where it belongs it has arrived"
        )
    turn_to(canvas, "Previous", mine)
    assert shown() == here

    del working[ids["Critique"]]
    working[ids["Score"]]["inputs"]["seed"] += 1
    run(working, other)
    canvas.page.evaluate(
        """async id => {
            const tabs = app.extensionManager.workflow
            await tabs.closeWorkflow(tabs.openWorkflows.find(tab => tab.activeState?.id === id))
        }""",
        other,
    )
    assert canvas.page.evaluate(UNDO)
    assert shown() == here, "nor when the other tab has gone"


def test_a_lost_connection_ends_the_live_view_and_leaves_errors(canvas):
    """The server may have crashed and been started again: no word of the old run's end will come."""
    from playwright.sync_api import expect

    ids = canvas.build(TAB)
    tell = "([type, detail]) => app.api.dispatchEvent(new CustomEvent(type, { detail }))"
    error = {
        "node_id": ids["Score"],
        "node_type": KIND("Score"),
        "exception_message": "It went wrong.",
        "traceback": [],
    }
    error |= {
        "prompt_id": "lost",
        "exception_type": "Exception",
        "executed": [],
        "current_inputs": {},
        "current_outputs": {},
    }
    canvas.page.evaluate(tell, ["execution_start", {"prompt_id": "lost"}])
    canvas.page.evaluate(tell, ["execution_error", error])
    wait(canvas, "Score", "It went wrong.")
    canvas.page.keyboard.press("Escape")
    words = {
        "node": ids["Critique"],
        "workflow": None,
        "done": 0.5,
        "total": 1,
        "section": "summary",
        "text": "A square that",
    }
    canvas.page.evaluate(tell, [STREAM, words])
    assert "A square that" in wait(canvas, "Critique", "Writing")
    canvas.page.evaluate(
        """() => new Promise(done => {
            app.api.addEventListener("reconnected", done, { once: true })
            app.api.socket.close()
        })"""
    )
    expect(canvas.page.locator(".rr-live")).to_have_count(0)
    assert "Run the workflow" in canvas.panel("Critique").inner_text()
    assert "It went wrong." in canvas.panel("Score").inner_text()
    canvas.page.evaluate(tell, [STREAM, words])
    assert "A square that" in wait(canvas, "Critique", "Writing"), "the run goes on"
    canvas.page.evaluate(tell, ["execution_start", {"prompt_id": "next"}])
    assert canvas.page.locator(".rr-live").count() == 0


def test_panels_inside_subgraphs_go_with_their_workflow(canvas):
    blueprint = json.loads((PACK / "subgraphs" / "Critique and refine.json").read_text(encoding="utf-8"))
    canvas.page.evaluate(COUNT_OBSERVERS)
    counts = []
    for _ in range(4):
        canvas.load(blueprint)
        counts.append(canvas.page.evaluate("() => observers.size"))
    assert counts == [2] * 4, "Critique and Refine Prompt"
    # A panel that is there lives on, and so does that of a node that is not yet on the canvas.
    canvas.page.evaluate("type => { window.waiting = LiteGraph.createNode(type) }", KIND("Score"))
    canvas.load(blueprint)
    page = {"of": "image", "score": 0.5, "mean": 2.5, "critic": "somebody"}
    texts = canvas.page.evaluate(
        """async output => {
            app.graph.add(waiting)
            const inner = [...(app.rootGraph ?? app.graph).subgraphs.values()].flatMap(graph => graph.nodes)
            const isPanel = widget => widget.name === "rational_rewards"
            const nodes = [waiting, ...inner].filter(node => node.widgets?.some(isPanel))
            return nodes.map(node => {
                node.onExecuted(output)
                return node.widgets.find(widget => widget.name === "rational_rewards").element.textContent
            })
        }""",
        {"rational_rewards": [page]},
    )
    assert len(texts) == 3
    assert all("0.50" in text for text in texts)
    assert canvas.page.evaluate("() => observers.size") == 3
    canvas.load(comfyui_page.EMPTY)
    assert canvas.page.evaluate("() => observers.size") == 0
    canvas.page.evaluate("() => { window.ResizeObserver = RealObserver }")


# ---------------------------------------------------------------- without the page


def test_progress_and_words_arrive_in_order_over_the_websocket(server):
    """What another program gets that queues a prompt: and only that one."""
    paint = {"prompt": PROMPT, "seed": uuid.uuid4().int % 10**9}
    prompt = {
        "critic": {
            "class_type": KIND("LoadCritic"),
            "inputs": {"checkpoint": "shapes demo (CPU)", "quantization": "none"},
        },
        "image": {"class_type": KIND("ShapesPainter"), "inputs": paint},
        "critique": {
            "class_type": KIND("Critique"),
            "inputs": {"critic": ["critic", 0], "image": ["image", 0], "prompt": HOSTILE},
        },
        "refine": {"class_type": KIND("RefinePrompt"), "inputs": {"critique": ["critique", 0]}},
    }
    other = websocket.create_connection(
        server.url.replace("http", "ws") + f"/ws?clientId={uuid.uuid4().hex}", timeout=60
    )
    socket = server.listen()
    info = {"extra_pnginfo": {"workflow": {"id": "the workflow"}}}
    asked = {"prompt": prompt, "client_id": server.client, "extra_data": info}
    start = time.monotonic()
    prompt_id = requests.post(f"{server.url}/prompt", json=asked, timeout=60).json()["prompt_id"]
    events = []
    while not (events and events[-1]["type"] in ("execution_success", "execution_error")):
        message = socket.recv()
        if isinstance(message, str):
            events.append(json.loads(message))
    seconds = time.monotonic() - start
    outputs = server.result(prompt_id)
    for name in ("critique", "refine"):
        mine = [
            e
            for e in events
            if str(e["data"].get("node")) == name and e["type"] in (STREAM, "progress", "executed")
        ]
        kinds = [event["type"] for event in mine]
        streams = [event["data"] for event in mine if event["type"] == STREAM]
        assert kinds[0] == STREAM, "what the panel shows first"
        assert len(streams) <= 8 * seconds + 1, "no more than an eye can follow"
        assert "progress" in kinds
        assert kinds.index("executed") == len(kinds) - 1
        assert [s["done"] for s in streams] == sorted(s["done"] for s in streams)
        assert all(
            s["workflow"] == "the workflow" and s["done"] <= s["total"] and len(s["text"]) <= 400
            for s in streams
        )
        assert mine[-1]["data"]["output"] == outputs[name]
        assert all(page["workflow"] == "the workflow" for page in outputs[name]["rational_rewards"])
    written = [e["data"] for e in events if e["type"] == STREAM and e["data"]["text"]]
    assert any("Justification" in s["text"] for s in written)
    assert outputs["refine"]["rational_rewards"][0]["before"] == HOSTILE
    refined = outputs["refine"]["rational_rewards"][0]
    assert outputs["refine"]["text"] == [f"{refined['after']}\n\nBefore: {HOSTILE}\n\n{refined['comments']}"]
    other.settimeout(1)
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        while True:
            assert STREAM not in str(other.recv()), "what somebody else's critic writes is nobody's business"
    other.close()
    socket.close()


STREAM = "rational_rewards.stream"
