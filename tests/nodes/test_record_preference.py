"""Record Preference in a real ComfyUI server: nothing is recorded that nobody chose, a critic's choice
comes by wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Failed, Server

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
PROMPT = "a red circle on a white background"


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running ComfyUI; the painter and the embedded critic need nothing in it."""
    running = Server(request.param, tmp_path_factory.mktemp("comfyui"))
    yield running
    running.stop()


def painter(seed: int, flaws: float) -> dict[str, Any]:
    inputs = {"prompt": PROMPT, "seed": seed, "flaws": flaws}
    return {"class_type": "RationalRewardsShapesPainter", "inputs": inputs}


def graph(dataset: str, **inputs: Any) -> dict[str, Any]:
    """Two painted images and the node that records which one is better."""
    wired = {"image_a": ["a", 0], "image_b": ["b", 0], "prompt": PROMPT, "dataset": dataset}
    record = {"class_type": "RationalRewardsRecordPreference", "inputs": {**wired, **inputs}}
    return {"a": painter(1, 0.0), "b": painter(2, 1.0), "record": record}


def kept(server: Server, dataset: str) -> list[dict[str, Any]]:
    file = server.folder / "user" / "rational_rewards" / "preferences" / dataset / "preferences.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def test_nothing_is_recorded_before_somebody_has_chosen(server: Server) -> None:
    known = server.get("/object_info/RationalRewardsRecordPreference")["RationalRewardsRecordPreference"]
    options = known["input"]["required"]["preferred"]
    assert "not yet" in json.dumps(options)
    for _ in range(2):
        shown = server.run(graph("looked", preferred="not yet"))["record"]
        assert len(shown["images"]) == 2, "both images are shown on the node"
        assert shown["rational_rewards_recorded"] == [False]
        assert not kept(server, "looked")
    chosen = server.run(graph("looked", preferred="B"))["record"]
    assert chosen["rational_rewards_recorded"] == [True]
    assert [line["preferred"] for line in kept(server, "looked")] == ["B"]
    server.run(graph("looked", preferred="B"))
    assert len(kept(server, "looked")) == 1, "the same choice again is no second vote"


def test_a_critics_choice_comes_by_wire_pair_by_pair(server: Server) -> None:
    batch = {"class_type": "ImageBatch", "inputs": {"image1": ["a", 0], "image2": ["b", 0]}}
    turned = {"class_type": "ImageBatch", "inputs": {"image1": ["b", 0], "image2": ["a", 0]}}
    critic = {
        "class_type": "RationalRewardsLoadCritic",
        "inputs": {"checkpoint": "shapes demo (CPU)", "quantization": "none"},
    }
    pair = {"image_a": ["ab", 0], "image_b": ["ba", 0], "prompt": PROMPT}
    compare = {"class_type": "RationalRewardsCompare", "inputs": {"critic": ["critic", 0], **pair}}
    prompt = graph("wired", preferred="not yet", winner=["compare", 1], chosen_by="critic")
    prompt["record"]["inputs"] |= pair
    server.run({**prompt, "ab": batch, "ba": turned, "critic": critic, "compare": compare})
    lines = kept(server, "wired")
    # The same two images the other way round are the same pair: what was said last stands, from the other
    # side.
    assert {line["chosen_by"] for line in lines} == {"critic"}
    better = {line["image_a"] if line["preferred"] == "A" else line["image_b"] for line in lines}
    assert len(better) == 1, "each winner met its own pair"


def test_counts_that_do_not_fit_and_winners_that_are_none_are_one_sentence(server: Server) -> None:
    prompt = graph("wrong", preferred="A")
    prompt["ab"] = {"class_type": "ImageBatch", "inputs": {"image1": ["a", 0], "image2": ["b", 0]}}
    prompt["record"]["inputs"]["image_b"] = ["ab", 0]
    with pytest.raises(Failed, match="`image_a` has 1 images and `image_b` has 2"):
        server.run(prompt)
    assert not kept(server, "wrong")


def test_a_workflow_of_an_earlier_version_still_says_what_was_chosen(server: Server) -> None:
    """Its API form holds a choice, and has no input that came later."""
    server.run(graph("earlier", preferred="tie"))
    assert [line["preferred"] for line in kept(server, "earlier")] == ["tie"]
