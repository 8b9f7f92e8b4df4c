"""Record Preference in ComfyUI's page: look, choose, run; the choice does not outlive its pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import Server

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]
PROMPT = "a red circle on a white background"
TITLE = "Record Preference"
TRACKER = "app.extensionManager.workflow.activeWorkflow.changeTracker"


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes-2"])
def canvas(request: pytest.FixtureRequest, server: Server) -> Iterator[comfyui_page.Canvas]:
    with comfyui_page.canvas(server) as opened:
        opened.open(nodes_2=request.param)
        yield opened
        assert opened.errors == []


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """A dataset of the test's own."""
    name = request.node.name
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")


def build(canvas: comfyui_page.Canvas, dataset: str, control: str = "fixed") -> str:
    """Two painted images and the node that records which is better; returns that node's id."""

    def painter(y: int, seed: int, flaws: float) -> dict[str, Any]:
        values = {"prompt": PROMPT, "seed": seed, "control_after_generate": control, "flaws": flaws}
        return {"type": "RationalRewardsShapesPainter", "values": values, "at": [0, y], "links": {}}

    record = {
        "type": "RationalRewardsRecordPreference",
        "values": {"prompt": PROMPT, "dataset": dataset},
        "at": [460, 0],
        "links": {"image_a": "A", "image_b": "B"},
    }
    return canvas.build({"A": painter(0, 1, 0.0), "B": painter(400, 2, 1.0), TITLE: record})[TITLE]


def choice(canvas: comfyui_page.Canvas) -> Any:
    """What the widget `preferred` shows."""
    node = next(node for node in canvas.nodes() if node["type"] == "RationalRewardsRecordPreference")
    return next(widget["value"] for widget in node["widgets"] if widget["name"] == "preferred")


def wait_for_choice(canvas: comfyui_page.Canvas, value: str) -> None:
    canvas.page.wait_for_function(
        """([type, value]) => app.graph.nodes.find(node => node.type === type)
            .widgets.find(widget => widget.name === "preferred").value === value""",
        arg=["RationalRewardsRecordPreference", value],
        timeout=30_000,
    )


def capture(canvas: comfyui_page.Canvas) -> None:
    """A step that can be undone, as after a click."""
    canvas.page.evaluate(
        f"() => {{ const tracker = {TRACKER};"
        " (tracker.captureCanvasState ?? tracker.checkState).call(tracker) }"
    )


def recorded(server: Server, dataset: str) -> list[str]:
    file = server.folder / "user" / "rational_rewards" / "preferences" / dataset / "preferences.jsonl"
    lines = Path(file).read_text("utf-8").splitlines() if file.is_file() else []
    return [json.loads(line)["preferred"] for line in lines]


def test_look_choose_run(canvas: comfyui_page.Canvas, server: Server, dataset: str) -> None:
    record = build(canvas, dataset)
    assert choice(canvas) == "not yet", "a new node has no choice"

    looked = server.result(canvas.queue())[record]
    assert len(looked["images"]) == 2, "both images are on the node"
    assert recorded(server, dataset) == []

    canvas.set(TITLE, "preferred", "B")
    server.result(canvas.queue())
    wait_for_choice(canvas, "not yet")
    assert recorded(server, dataset) == ["B"]

    # Run once more without a choice, as somebody does who made the next pair.
    server.result(canvas.queue())
    assert recorded(server, dataset) == ["B"]


def test_new_seeds_bring_new_images_and_no_vote(
    canvas: comfyui_page.Canvas, server: Server, dataset: str
) -> None:
    record = build(canvas, dataset, control="randomize")
    server.result(canvas.queue())
    canvas.set(TITLE, "preferred", "A")
    # The page has drawn new seeds after the first run.
    told = server.result(canvas.queue())[record]
    assert told["text"][0].startswith("These are other images")
    wait_for_choice(canvas, "not yet")
    assert recorded(server, dataset) == []
    # As the sentence says: with fixed seeds, the images on the node are the ones of the next run.
    assert "set the seed to fixed" in told["text"][0]
    for title in "AB":
        canvas.set(title, "control_after_generate", "fixed")
    server.result(canvas.queue())
    canvas.set(TITLE, "preferred", "B")
    server.result(canvas.queue())
    wait_for_choice(canvas, "not yet")
    assert recorded(server, dataset) == ["B"]


def test_undo_and_redo_leave_a_choice_that_has_not_run(canvas: comfyui_page.Canvas, dataset: str) -> None:
    build(canvas, dataset)
    capture(canvas)
    canvas.set(TITLE, "preferred", "A")
    capture(canvas)
    canvas.set(TITLE, "dataset", "another")
    capture(canvas)
    for step in ("undo", "redo"):
        canvas.page.evaluate(f"() => {TRACKER}.{step}()")
        assert choice(canvas) == "A"


def test_turning_to_another_tab_leaves_a_choice_that_has_not_run(
    canvas: comfyui_page.Canvas, dataset: str
) -> None:
    build(canvas, dataset)
    canvas.set(TITLE, "preferred", "B")
    capture(canvas)
    mine = canvas.page.evaluate("() => app.extensionManager.workflow.activeWorkflow.path")
    run = "command => app.extensionManager.command.execute(command)"
    front = "path => app.extensionManager.workflow.activeWorkflow.path === path"
    canvas.page.evaluate(run, "Comfy.NewBlankWorkflow")
    canvas.page.wait_for_function(f"path => !({front})(path)", arg=mine)
    canvas.page.wait_for_timeout(500)
    canvas.page.evaluate(run, "Workspace.PreviousOpenedWorkflow")
    canvas.page.wait_for_function(front, arg=mine)
    canvas.page.wait_for_timeout(500)
    assert choice(canvas) == "B"


def test_a_run_without_a_choice_leaves_what_was_chosen_meanwhile(
    canvas: comfyui_page.Canvas, server: Server, dataset: str
) -> None:
    build(canvas, dataset)
    prompt = canvas.queue()
    canvas.set(TITLE, "preferred", "A")
    server.result(prompt)
    canvas.page.wait_for_timeout(1000)
    assert choice(canvas) == "A"


def test_a_workflow_that_is_opened_brings_no_choice_along(
    canvas: comfyui_page.Canvas, server: Server, dataset: str
) -> None:
    build(canvas, dataset)
    canvas.set(TITLE, "preferred", "tie")
    saved = canvas.serialize()
    assert "tie" in json.dumps(saved["nodes"])
    assert canvas.load(saved) == []
    assert choice(canvas) == "not yet"
    server.result(canvas.queue())
    assert recorded(server, dataset) == []
