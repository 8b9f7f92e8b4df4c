"""The panel while a critic writes, fails or loses its line, and with hostile words."""

from __future__ import annotations

import json
import uuid

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import PACK, Failed
from panel_page import (
    CONTRAST,
    COUNT_OBSERVERS,
    EXECUTED,
    GRAPH,
    HOLD_NEWS,
    HOSTILE,
    KIND,
    STREAM,
    TAB,
    UNDO,
    WORDS,
    WORKFLOW,
    fresh_seed,
    in_theme,
    node,
    wait,
)

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]


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
    ran.set("Second", "seed", fresh_seed(ran.name, "written"))
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
    # Not a result that ComfyUI still has from a workflow in another tab.
    ran.set("First", "seed", fresh_seed(ran.name, "after an error"))
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
