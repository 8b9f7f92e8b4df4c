"""The panel on the nodes, in ComfyUI's real page: on the classic canvas and in Nodes 2.0, light and dark,
before and after a reload. `test_panel_live.py` has what happens during a run.
"""

from __future__ import annotations

import uuid

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import NAME
from panel_page import (
    CONTRAST,
    COUNT_OBSERVERS,
    EXECUTED,
    HOSTILE,
    PROMPT,
    SHOWN,
    WORDS,
    in_theme,
    texts,
)

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]


# Have ComfyUI look at the workflow for what has changed, as after a click.
LOOK = """() => {
    const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
    ;(tracker.captureCanvasState ?? tracker.checkState).call(tracker)
}"""


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
