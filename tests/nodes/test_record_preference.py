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


def from_page(server: Server, prompt: dict[str, Any], workflow: str | None = None) -> str:
    """Queue as the page does, which sends the workflow along (its id: the dataset's name); returns the
    prompt's id.
    """
    workflow = workflow or prompt["record"]["inputs"]["dataset"]
    data = {"extra_pnginfo": {"workflow": {"id": workflow, "nodes": []}}}
    answer = server.post("/prompt", {"prompt": prompt, "client_id": server.client, "extra_data": data})
    answer.raise_for_status()
    return answer.json()["prompt_id"]


def shown(server: Server, prompt: dict[str, Any], workflow: str | None = None) -> dict[str, Any]:
    """What the node shows after a run from the page."""
    return server.result(from_page(server, prompt, workflow))["record"]


def others(dataset: str, seed: int, **inputs: Any) -> dict[str, Any]:
    """`graph` with another image B."""
    return graph(dataset, **inputs) | {"b": painter(seed, 1.0)}


def slow() -> dict[str, Any]:
    """A second or more of work, during which others can be queued."""
    inputs = {"width": 2048, "height": 2048, "batch_size": 1, "color": 0}
    blur = {"image": ["image", 0], "blur_radius": 31, "sigma": 5.0}
    return {
        "image": {"class_type": "EmptyImage", "inputs": inputs},
        "blur": {"class_type": "ImageBlur", "inputs": blur},
        "end": {"class_type": "PreviewImage", "inputs": {"images": ["blur", 0]}},
    }


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
    assert chosen["text"] == ["Recorded: B. looked holds 1 preference."]
    assert [line["preferred"] for line in kept(server, "looked")] == ["B"]


def test_the_node_says_whether_a_choice_is_new_changed_or_known(server: Server) -> None:
    said = [
        server.run(graph("again", preferred=choice))["record"]["text"][0] for choice in ("B", "B", "A", "A")
    ]
    holds = "again holds 1 preference."
    changed = f"Changed to: A (chosen by human). {holds}"
    known = [f"Already recorded: {choice}. {holds}" for choice in "BA"]
    assert said == [f"Recorded: B. {holds}", known[0], changed, known[1]]
    assert [line["preferred"] for line in kept(server, "again")] == ["B", "A"], "the same is no second vote"


def test_a_batch_says_it_for_each_of_its_pairs(server: Server) -> None:
    server.run(graph("some", preferred="A"))
    prompt = graph("some", preferred="A") | {"c": painter(3, 1.0)}
    prompt["aa"] = {"class_type": "ImageBatch", "inputs": {"image1": ["a", 0], "image2": ["a", 0]}}
    prompt["bc"] = {"class_type": "ImageBatch", "inputs": {"image1": ["b", 0], "image2": ["c", 0]}}
    prompt["record"]["inputs"] |= {"image_a": ["aa", 0], "image_b": ["bc", 0]}
    text = server.run(prompt)["record"]["text"][0]
    assert text == "Recorded: A. Already recorded: A. some holds 2 preferences."


# ---------------------------------------------------------------- queued from the page


def test_a_choice_is_kept_for_no_images_that_nobody_saw(server: Server) -> None:
    shown(server, others("seeds", 2, preferred="not yet"))
    # As with a seed that is drawn anew after each run.
    told = shown(server, others("seeds", 3, preferred="A"))
    assert kept(server, "seeds") == []
    assert told["text"][0].startswith("These are other images")
    assert "set the seed to fixed" in told["text"][0]
    assert len(told["images"]) == 2
    assert told["rational_rewards_recorded"] == [False]
    assert told["rational_rewards_choose_again"] == [True]
    # Now they have been seen: the very same inputs do not come from ComfyUI's cache.
    told = shown(server, others("seeds", 3, preferred="A"))
    assert told["text"][0].startswith("Recorded: A.")
    assert told["rational_rewards_choose_again"] == [False]
    assert [line["preferred"] for line in kept(server, "seeds")] == ["A"]


def test_several_runs_queued_at_once_keep_nothing_unseen(server: Server) -> None:
    shown(server, others("queue", 2, preferred="not yet"))
    # Two of the same new images: nobody saw them when the second was queued, either.
    server.queue(slow())
    runs = [from_page(server, others("queue", seed, preferred="A")) for seed in (3, 3, 4)]
    assert len(server.get("/queue")["queue_pending"]) == 3, "all were queued before the first ran"
    for run in runs:
        server.result(run)
    assert kept(server, "queue") == []
    # What is seen, and queued twice, is kept once.
    runs = [from_page(server, others("queue", 4, preferred="B")) for _ in range(2)]
    said = [server.result(run)["record"]["text"][0] for run in runs]
    assert [text.split(":")[0] for text in said] == ["Recorded", "Already recorded"]


def test_images_that_were_never_shown_are_shown_first(server: Server) -> None:
    told = shown(server, graph("first", preferred="A"))
    assert told["text"][0].startswith("Look at both images")
    assert kept(server, "first") == []
    # Another workflow, and another node, show images of their own.
    shown(server, graph("first", preferred="A"), workflow="another")
    assert kept(server, "first") == []
    prompt = graph("first", preferred="A")
    server.result(from_page(server, {**prompt, "twin": prompt["record"]}))
    assert len(kept(server, "first")) == 1, "only the one that has been seen"


def test_images_that_change_places_and_another_prompt_are_another_pair(server: Server) -> None:
    shown(server, graph("places", preferred="not yet"))
    turned = graph("places", preferred="A", image_a=["b", 0], image_b=["a", 0])
    assert shown(server, turned)["rational_rewards_choose_again"] == [True]
    shown(server, graph("places", preferred="not yet"))
    told = shown(server, graph("places", preferred="A", prompt="a blue square"))
    assert told["rational_rewards_choose_again"] == [True]
    assert kept(server, "places") == []


def test_a_run_from_a_shell_needs_no_look(server: Server) -> None:
    shown(server, others("shell", 2, preferred="not yet"))
    server.run(others("shell", 3, preferred="A"))
    assert [line["preferred"] for line in kept(server, "shell")] == ["A"]


def test_a_wired_winner_needs_no_look(server: Server) -> None:
    number = {"class_type": "PrimitiveInt", "inputs": {"value": 2}}
    told = shown(server, {**graph("decided", preferred="not yet", winner=["number", 0]), "number": number})
    assert told["text"][0].startswith("Recorded: B.")
    assert [line["chosen_by"] for line in kept(server, "decided")] == ["critic"], "nobody else chose"


def test_a_critics_choice_comes_by_wire_pair_by_pair(server: Server) -> None:
    batch = {"class_type": "ImageBatch", "inputs": {"image1": ["a", 0], "image2": ["b", 0]}}
    turned = {"class_type": "ImageBatch", "inputs": {"image1": ["b", 0], "image2": ["a", 0]}}
    critic = {
        "class_type": "RationalRewardsLoadCritic",
        "inputs": {"checkpoint": "shapes demo (CPU)", "quantization": "none"},
    }
    pair = {"image_a": ["ab", 0], "image_b": ["ba", 0], "prompt": PROMPT}
    compare = {"class_type": "RationalRewardsCompare", "inputs": {"critic": ["critic", 0], **pair}}
    prompt = graph("wired", preferred="not yet", winner=["compare", 1], chosen_by="human")
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
