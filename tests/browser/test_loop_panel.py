"""The story of a loop on Refine Loop End, in ComfyUI's real page: while it runs, when it is done, after a
reload and in a saved image, on the classic canvas and in Nodes 2.0, light and dark.
"""

from __future__ import annotations

import base64
import io
import json
import uuid

import comfyui_checkouts
import comfyui_page
import pytest
from panel_page import CONTRAST, EXECUTED, PROMPT, fresh_seed, in_theme
from PIL import Image

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
KIND = "RationalRewards{}".format
END = "Refine Loop End"
START = "Refine Loop Start"


def node(type, x, y, values=None, **links):
    return {"type": type, "values": values or {}, "at": [x, y], "links": links}


def graph(prompt=True, **start):
    """The demo loop; `start` are values of Refine Loop Start."""
    values = {"max_rounds": 4, "seed": 1} | start
    return {
        "Load Critic": node(
            KIND("LoadCritic"), 0, 0, {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
        ),
        START: node(KIND("LoopStart"), 0, 340, values | ({"prompt": PROMPT} if prompt else {})),
        "Painter": node(
            KIND("ShapesPainter"), 460, 340, {"flaws": 1.0}, prompt=f"{START}.prompt", seed=f"{START}.seed"
        ),
        END: node(
            KIND("LoopEnd"), 900, 0, {"stop_at": 1.0}, loop=START, critic="Load Critic", image="Painter"
        ),
        "Save with Scores": node(
            KIND("SaveWithScores"),
            1340,
            0,
            {"filename_prefix": "loop"},
            image=END,
            critique=f"{END}.critique",
        ),
    }


# Everything that is seen on the way: text of the live view, and how many rounds stand below it.
WATCH = """() => {
    window.seen = []
    window.watching?.disconnect()
    window.watching = new MutationObserver(() => {
        for (const live of document.querySelectorAll(".rr-loop"))
            seen.push([live.innerText, live.parentElement.querySelectorAll(".rr-round").length])
    })
    watching.observe(document.body, { subtree: true, childList: true, characterData: true })
}"""
# A click as soon as the button is there: on a busy machine the loop may be over before a hand is there.
FINISH = """() => {
    const click = (_, observer) => {
        const button = document.querySelector(".rr-loop [data-key=finish]")
        if (!button) return
        observer.disconnect()
        button.click()
    }
    new MutationObserver(click).observe(document.body, { subtree: true, childList: true })
}"""
OPEN = """async ([name, type, data]) => {
    await app.handleFile(new File([new Uint8Array(data)], name, { type }))
    await new Promise(done => setTimeout(done, 1500))
}"""
VALUE = """([title, name]) => app.graph.nodes.find(node => node.title === title)
    .widgets.find(widget => widget.name === name).value"""
TELL = "([type, detail]) => app.api.dispatchEvent(new CustomEvent(type, { detail }))"
CLIPBOARD = "() => navigator.clipboard.readText()"


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request, server):
    """The page, empty."""
    server.post("/api/settings/Comfy.ColorPalette", "dark").raise_for_status()
    with comfyui_page.canvas(server, 2200, 1200) as opened:
        opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened.name = "nodes-2" if request.param else "classic"  # type: ignore[attr-defined]
        opened.open(nodes_2=request.param)
        yield opened
        assert opened.errors == []


@pytest.fixture(scope="module")
def ran(canvas, server):
    """The page after a loop; `rounds` are its pages, `seen` what was to be read on the way, `file` the image
    that was saved.
    """
    ids = canvas.build(graph(seed=fresh_seed(canvas.name, "ran")))
    canvas.page.evaluate(WATCH)
    outputs = server.result(canvas.queue())
    canvas.page.wait_for_timeout(2000)
    canvas.seen = canvas.page.evaluate("() => seen")
    (story,) = outputs[ids[END]]["rational_rewards"]
    canvas.rounds = story["rounds"]
    # As from a run of no open tab: the tests open more of them.
    canvas.story = story | {"rounds": [page | {"workflow": None} for page in story["rounds"]]}
    saved = outputs[ids["Save with Scores"]]["images"][0]["filename"]
    canvas.file = server.folder / "output" / saved
    canvas.workflow = canvas.serialize()
    return canvas


def tiles(canvas, title=END):
    return canvas.panel(title).get_by_role("tab")


def best(rounds):
    return next(index for index, page in enumerate(rounds) if page["best"])


def chosen(canvas):
    return tiles(canvas).evaluate_all("tabs => tabs.findIndex(tab => tab.ariaSelected === 'true')")


def expect_story(canvas, rounds, title=END):
    """The strip of these rounds, opened on the best one."""
    from playwright.sync_api import expect

    expect(tiles(canvas, title)).to_have_count(len(rounds), timeout=30_000)
    shown = canvas.panel(title).inner_text()
    assert f"{rounds[best(rounds)]['score']:.2f}" in shown
    assert f"Round {best(rounds) + 1} of 4, best" in shown
    assert rounds[-1]["stopped"] in shown
    assert canvas.panel(title).locator("img.rr-thumb").count() == len(rounds)


def shot(canvas, server, name):
    canvas.picture(comfyui_page.artifact(server, f"loop-{canvas.name}-{name}"))


def restore(canvas):
    """The loop as it was when it had run."""
    canvas.load(canvas.workflow)


# ---------------------------------------------------------------- when it is done


def test_all_rounds_are_seen_and_the_best_one_is_open(ran, server):
    assert len(ran.rounds) > 1
    expect_story(ran, ran.rounds)
    assert chosen(ran) == best(ran.rounds)
    assert ran.panel(END).locator(".rr-star").count() == 1
    loaded = "images => images.map(image => image.naturalWidth)"
    assert ran.panel(END).locator("img.rr-thumb").evaluate_all(loaded) == [128] * len(ran.rounds)
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        shot(ran, server, f"done-{theme}")


def test_a_click_opens_a_round_with_its_reasons_and_what_its_prompt_changed(ran, server):
    for number, page in enumerate(ran.rounds):
        tiles(ran).nth(number).click()
        panel = ran.panel(END)
        assert chosen(ran) == number
        assert f"{page['score']:.2f}" in panel.locator(".rr-head").inner_text()
        for dimension in page["dimensions"]:
            assert dimension["name"] in panel.inner_text()
        assert page["summary"] in panel.inner_text()
        prompt = panel.locator(".rr-prompt")
        assert "".join(prompt.locator("> span, > del").all_text_contents()) == page["before"]
        assert "".join(prompt.locator("> span, > ins").all_text_contents()) == page["after"]
        assert page["before"] == ran.rounds[max(0, number - 1)]["after"]
        panel.get_by_role("button", name="Copy prompt").click()
        ran.page.wait_for_timeout(200)
        assert ran.page.evaluate(CLIPBOARD) == page["after"]
    ran.panel(END).locator("summary").first.click()
    assert ran.panel(END).locator(".rr-why").first.is_visible()
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        shot(ran, server, f"opened-{theme}")


def test_rounds_are_chosen_with_the_arrow_keys(ran):
    last = len(ran.rounds) - 1
    tiles(ran).nth(last).click()
    place = "() => [...app.graph.nodes.find(node => node.type.endsWith('LoopEnd')).pos].map(Math.round)"
    before = ran.page.evaluate(place)
    for key, expected in (("Home", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", last)):
        ran.page.keyboard.press(key)
        assert chosen(ran) == expected, key
        assert ran.page.evaluate("() => document.activeElement.ariaSelected") == "true"
    assert ran.page.evaluate(place) == before, "arrows on the canvas move nodes"
    assert [tile.get_attribute("tabindex") for tile in tiles(ran).all()].count("0") == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_story_can_be_read_in_every_theme(ran, theme):
    in_theme(ran, theme)
    found = ran.page.evaluate(CONTRAST, [".rr-round-score, .rr-action", "color"])
    assert found
    assert min(found) >= 4.5
    # A sign needs less than words.
    assert min(ran.page.evaluate(CONTRAST, [".rr-star", "color"])) >= 3


def test_a_round_s_prompt_goes_back_to_where_the_loop_s_prompt_comes_from(ran):
    tiles(ran).nth(1).click()
    ran.panel(END).get_by_role("button", name="Use this prompt").click()
    ran.page.wait_for_timeout(500)
    assert ran.page.evaluate(VALUE, [START, "prompt"]) == ran.rounds[1]["after"]
    assert f"Written into {START}." in ran.panel(END).inner_text()
    assert any(one["inputs"].get("prompt") == ran.rounds[1]["after"] for one in ran.prompt().values())


@pytest.mark.parametrize(
    ("source", "field"), [("PrimitiveStringMultiline", "value"), ("StringConcatenate", None)]
)
def test_a_prompt_that_comes_through_a_wire_is_written_to_the_other_end_or_copied(ran, source, field):
    nodes = graph(prompt=False)
    nodes[START]["links"] = {"prompt": "Text"}
    values = {field: PROMPT} if field else {"string_a": "a red", "string_b": "star"}
    ran.build(nodes | {"Text": node(source, -460, 340, values)})
    ran.page.evaluate(EXECUTED, [END, {"rational_rewards": [ran.story]}])
    tiles(ran).nth(1).click()
    ran.page.evaluate("() => navigator.clipboard.writeText('')")
    ran.panel(END).get_by_role("button", name="Use this prompt").click()
    ran.page.wait_for_timeout(500)
    after = ran.rounds[1]["after"]
    if field:
        assert ran.page.evaluate(VALUE, ["Text", field]) == after
        assert "Written into Text." in ran.panel(END).inner_text()
    else:
        assert ran.page.evaluate(CLIPBOARD) == after
        assert "Copied" in ran.panel(END).inner_text()
        assert ran.page.evaluate(VALUE, ["Text", "string_a"]) == "a red"
    restore(ran)


# ---------------------------------------------------------------- what stays


def test_the_story_is_kept_after_a_reload(ran, server):
    restore(ran)
    critic = f"critic {uuid.uuid4().hex}"
    story = ran.story | {"rounds": [page | {"critic": critic} for page in ran.story["rounds"]]}
    ran.page.evaluate(EXECUTED, [END, {"rational_rewards": [story]}])
    before = ran.panel(END).inner_text()
    draft = "critic => [localStorage, sessionStorage].flatMap(Object.values).some(d => d.includes(critic))"
    ran.page.wait_for_function(draft, arg=critic)
    ran.reload()
    expect_story(ran, ran.rounds)
    assert ran.panel(END).inner_text() == before
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        shot(ran, server, f"after-reload-{theme}")


def test_the_story_travels_in_the_image_of_its_best_round(ran, server):
    ran.load(comfyui_page.EMPTY)
    ran.page.evaluate(OPEN, [ran.file.name, "image/png", list(ran.file.read_bytes())])
    expect_story(ran, ran.rounds)
    for theme in ("light", "dark"):
        in_theme(ran, theme)
        shot(ran, server, f"from-image-{theme}")
    restore(ran)


def wide_story(count):
    """A loop of long answers and large thumbnails."""
    data = io.BytesIO()
    Image.effect_noise((128, 128), 60).convert("RGB").save(data, "WEBP", quality=80)
    image = f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
    why = "A long reason for a score. " * 12
    dimensions = [
        {"key": f"d{n}", "name": f"Dimension {n}", "applies": True, "score": 3.0, "why": why}
        for n in range(4)
    ]
    return [
        {
            "of": "round",
            "critic": "critic",
            "score": 0.5 + (number == count - 3) / 10,
            "mean": 2.5,
            "dimensions": dimensions,
            "summary": why,
            "before": f"before {number} {why}",
            "after": f"after {number} {why}",
            "raw": why * 8,
            "thumbnail": image,
            "best": number == count - 3,
            "number": number + 1,
            "most": count,
            "stopped": "Stopped after the last round." if number == count - 1 else "",
        }
        for number in range(count)
    ]


def test_a_hundred_rounds_stay_usable_and_what_is_kept_stays_small(ran, server):
    restore(ran)
    rounds = wide_story(100)
    before = next(box for box in ran.boxes() if box[0] == END)
    ran.page.evaluate(EXECUTED, [END, {"rational_rewards": [{"of": "loop", "rounds": rounds}]}])
    ran.page.wait_for_timeout(500)
    assert tiles(ran).count() == 100
    assert chosen(ran) == 97
    box = "tab => { const a = tab.getBoundingClientRect(), b = tab.parentElement.getBoundingClientRect(); "
    inside = box + "return a.left >= b.left - 1 && a.right <= b.right + 1 }"
    assert tiles(ran).nth(97).evaluate(inside), "what is open is in view"
    after = next(box for box in ran.boxes() if box[0] == END)
    assert after[3] == pytest.approx(before[3], abs=1), "the node stays as wide"
    shot(ran, server, "hundred-rounds")
    ran.page.keyboard.press("Escape")
    tiles(ran).nth(97).press("Home")
    assert chosen(ran) == 0
    assert tiles(ran).nth(0).evaluate(inside)
    kept = next(one for one in ran.serialize()["nodes"] if one["type"] == KIND("LoopEnd"))["properties"]
    assert len(json.dumps(kept["rational_rewards"])) < 210_000
    pages = kept["rational_rewards"]["pages"]
    assert not any(page["raw"] or page["thumbnail"] for page in pages)
    assert [page["number"] for page in pages if page["best"]] == [98]
    assert pages[-1]["stopped"]
    restore(ran)


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    "thumbnail",
    [
        "http://127.0.0.1:9/spy.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "javascript:window.hacked=1",
        'data:image/png;base64,AAAA" onerror="window.hacked=1',
        "data:image/png;base64,AAAA\nhttp://127.0.0.1:9",
        "data:image/png;base64," + "A" * 100_000,
        {"toString": "data:image/png;base64,AAAA"},
        None,
    ],
)
def test_only_small_images_that_lie_in_the_file_are_shown(canvas, thumbnail):
    canvas.build(graph())
    page = wide_story(3)[0] | {"thumbnail": thumbnail}
    canvas.page.evaluate(EXECUTED, [END, {"rational_rewards": [{"of": "loop", "rounds": [page]}]}])
    assert tiles(canvas).count() == 1
    assert canvas.panel(END).locator("img").count() == 0
    assert canvas.page.evaluate("() => window.hacked") is None


@pytest.mark.parametrize(
    "rounds",
    [
        None,
        "text",
        {"length": 3},
        [None, 7, [], {"score": "x", "best": "yes", "number": -4, "most": 1e400, "stopped": {"a": 1}}],
        [{"of": "loop", "rounds": [{"of": "loop"}]}],
        [{"of": "round", "after": "<img src=x onerror=hacked=1>", "score": None, "number": "1"}],
    ],
)
def test_a_loop_in_a_workflow_file_may_hold_anything(canvas, rounds):
    canvas.build(graph())
    canvas.page.evaluate(
        """pages => {
            const node = app.graph.nodes.find(node => node.type.endsWith("LoopEnd"))
            const data = node.serialize()
            data.properties = { ...data.properties, rational_rewards: { pages } }
            node.configure(JSON.parse(JSON.stringify(data)))
            node.onExecuted({ rational_rewards: [{ of: "loop", rounds: pages }] })
        }""",
        rounds,
    )
    assert canvas.panel(END).inner_text().strip()
    assert canvas.panel(END).locator("img, script").count() == 0
    assert canvas.page.evaluate("() => window.hacked") is None


# ---------------------------------------------------------------- while it runs


def test_the_loop_is_told_while_it_runs(ran):
    first = [text for text, rounds in ran.seen if rounds == 0]
    later = [text for text, rounds in ran.seen if rounds == 1]
    assert any("Round 1 of 4\n" in text and "Generating the image" in text for text in first)
    assert any("Writing: Text Faithfulness" in text for text in first)
    so_far = f"Round 2 of 4, best {ran.rounds[0]['score']:.2f}"
    assert any(so_far in text and "Generating the image" in text for text in later)
    assert any(so_far in text and "Writing" in text for text in later)
    assert all("Finish this round, then stop" in text for text, _ in ran.seen)
    # The last round may be seen, too, before the loop's own story takes the place of all this.
    assert max(rounds for _, rounds in ran.seen) in (len(ran.rounds) - 1, len(ran.rounds))
    assert ran.panel(END).locator(".rr-loop").count() == 0


def test_finish_keeps_the_best_so_far_and_the_workflow_goes_on(ran, server):
    from playwright.sync_api import expect

    # Whose image is never what was asked for.
    nodes = graph(max_rounds=50, seed_mode="next", seed=fresh_seed(ran.name, "finish"))
    nodes["Painter"]["links"].pop("prompt")
    nodes["Painter"]["values"]["prompt"] = "a green circle on a white background"
    ids = ran.build(nodes)
    # The round may end before one looks.
    ran.page.evaluate(WATCH)
    ran.page.evaluate(FINISH)
    outputs = server.result(ran.queue())
    assert any("Stops after this round" in text for text, _ in ran.page.evaluate("() => seen"))
    (story,) = outputs[ids[END]]["rational_rewards"]
    assert story["rounds"][-1]["stopped"] == "Stopped by hand after this round."
    assert outputs[ids["Save with Scores"]]["images"], "what comes after the loop runs"
    expect(ran.panel(END)).to_contain_text("Stopped by hand after this round.")
    restore(ran)


def test_a_finished_round_is_read_while_the_next_one_is_made(canvas, server):
    ids = canvas.build(graph())
    rounds = [page | {"most": 4, "stopped": "", "best": page["number"] == 1} for page in wide_story(3)]
    canvas.page.evaluate(TELL, ["execution_start", {"prompt_id": "told"}])
    canvas.page.evaluate(TELL, ["executing", ids[START]])
    assert "Round 1 of 4" in canvas.panel(END).inner_text()
    canvas.page.evaluate(
        TELL, ["rational_rewards.rounds", {"node": ids[END], "pages": [{"of": "loop", "rounds": rounds[:2]}]}]
    )
    assert "Round 3 of 4, best 0.60" in canvas.panel(END).inner_text()
    tiles(canvas).nth(1).click()
    assert "Dimension 3" in canvas.panel(END).inner_text()
    words = {"node": ids[END], "done": 0.5, "total": 1, "section": "summary", "text": "A square that"}
    canvas.page.evaluate(TELL, ["rational_rewards.stream", words | {"round": 3, "rounds": 4, "best": 0.5}])
    assert "A square that" in canvas.panel(END).inner_text()
    for theme in ("light", "dark"):
        in_theme(canvas, theme)
        shot(canvas, server, f"running-{theme}")
    tiles(canvas).nth(1).click()
    canvas.page.evaluate(
        TELL, ["rational_rewards.rounds", {"node": ids[END], "pages": [{"of": "loop", "rounds": rounds}]}]
    )
    assert tiles(canvas).count() == 3
    assert chosen(canvas) == 1, "what is read stays open"
    assert canvas.page.evaluate("() => document.activeElement.dataset.key") == "round-2", "with the focus"
    # Cancelled: what there is stays.
    canvas.page.evaluate(TELL, ["execution_interrupted", {"prompt_id": "told"}])
    assert canvas.panel(END).locator(".rr-loop").count() == 0
    assert tiles(canvas).count() == 3
    outputs = canvas.page.evaluate("id => app.nodeOutputs[id].rational_rewards[0].rounds.length", ids[END])
    assert outputs == 3, "ComfyUI knows them, too: it brings back what it knows when something is undone"


def test_a_loop_of_another_tab_leaves_this_one_alone(canvas):
    ids = canvas.build(graph())
    mine = canvas.page.evaluate("() => (app.rootGraph ?? app.graph).id")
    canvas.page.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    canvas.page.wait_for_timeout(1000)
    assert canvas.page.evaluate(comfyui_page.BUILD, graph()) == ids
    before = canvas.panel(END).inner_text()
    rounds = [page | {"workflow": mine} for page in wide_story(2)]
    story = {"node": ids[END], "pages": [{"of": "loop", "rounds": rounds}]}
    canvas.page.evaluate(TELL, ["rational_rewards.rounds", story])
    assert canvas.panel(END).inner_text() == before


def test_finish_says_when_it_did_not_arrive(canvas):
    ids = canvas.build(graph())
    canvas.page.route("**/rational_rewards/finish", lambda route: route.abort())
    canvas.page.evaluate(TELL, ["execution_start", {"prompt_id": "lost"}])
    canvas.page.evaluate(TELL, ["executing", ids[START]])
    button = canvas.panel(END).locator(".rr-loop .rr-action")
    button.click()
    canvas.page.wait_for_timeout(500)
    assert button.inner_text() == "ComfyUI did not answer. Ask again"
    canvas.page.unroute("**/rational_rewards/finish")
    with canvas.page.expect_request("**/rational_rewards/finish") as asked:
        button.click()
    assert asked.value.post_data_json == {"prompt": "lost", "node": ids[END]}
    canvas.page.wait_for_timeout(500)
    assert button.inner_text() == "Stops after this round"
    canvas.page.evaluate(TELL, ["execution_interrupted", {"prompt_id": "lost"}])
    assert canvas.panel(END).locator(".rr-loop").count() == 0


# ---------------------------------------------------------------- in subgraphs

SUBGRAPH = """async () => {
    const inside = ["Refine Loop Start", "Painter", "Refine Loop End"]
    const nodes = app.graph.nodes.filter(node => inside.includes(node.title))
    const { node } = app.graph.convertToSubgraph(new Set(nodes))
    node.title = "The loop"
    await new Promise(done => setTimeout(done, 500))
    return String(node.id)
}"""


def test_a_subgraph_shows_the_story_of_the_loop_inside(canvas, server):
    canvas.build(graph(seed=fresh_seed(canvas.name, "subgraph")))
    host = canvas.page.evaluate(SUBGRAPH)
    canvas.page.evaluate(WATCH)
    outputs = server.result(canvas.queue())
    canvas.page.wait_for_timeout(2000)
    inner = next(
        output for id, output in outputs.items() if id.startswith(f"{host}:") and "rational_rewards" in output
    )
    rounds = inner["rational_rewards"][0]["rounds"]
    assert any("Round 2 of 4, best" in text for text, _ in canvas.page.evaluate("() => seen"))
    expect_story(canvas, rounds, "The loop")
    shot(canvas, server, "subgraph")
    saved = next(output["images"][0]["filename"] for output in outputs.values() if "images" in output)
    file = server.folder / "output" / saved
    canvas.panel("The loop").get_by_role("tab").nth(1).click()
    canvas.panel("The loop").get_by_role("button", name="Use this prompt").click()
    canvas.page.wait_for_timeout(500)
    assert any(one["inputs"].get("prompt") == rounds[1]["after"] for one in canvas.prompt().values())
    canvas.reload()
    expect_story(canvas, rounds, "The loop")
    canvas.load(comfyui_page.EMPTY)
    canvas.page.evaluate(OPEN, [file.name, "image/png", list(file.read_bytes())])
    expect_story(canvas, rounds, "The loop")
