"""Refine Loop Start and End in a real ComfyUI: generate until it is good."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Failed
from loop_graphs import (
    PROMPT,
    SEED,
    equal,
    held,
    loop_graph,
    node,
    noise,
    painting,
    pictures,
    rounds_of,
    shapes_graph,
    shown_on,
    start_server,
    text,
    times,
)
from PIL import Image

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
FINISH = "/rational_rewards/finish"


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory):
    """A running ComfyUI with the test nodes."""
    running = start_server(request.param, tmp_path_factory.mktemp("comfyui"))
    yield running
    running.stop()


def prompts_of(rounds):
    return [one["after"] for one in rounds]


def wait_for(server, name, count=1):
    """Return when a counted node has run that often."""
    end = time.monotonic() + 120
    while times(server, name) < count:
        assert time.monotonic() < end, server.text()[-2000:]
        time.sleep(0.02)


# ---------------------------------------------------------------- what a loop does


def test_a_loop_gives_back_the_best_round_and_shows_every_one(server):
    graph = shapes_graph()
    graph["peek"] = node("PreviewImage", images=["paint", 0])
    outputs = server.run(graph)
    rounds = rounds_of(outputs)
    scores = [one["score"] for one in rounds]
    assert len(rounds) >= 2
    assert prompts_of(rounds)[0] == PROMPT
    assert max(scores) > scores[0] + 0.2
    best = rounds[scores.index(max(scores))]
    assert [one["best"] for one in rounds] == [one is best for one in rounds]
    assert text(outputs, "best prompt") == best["after"]
    assert float(text(outputs, "best score")) == pytest.approx(max(scores), abs=1e-4)
    painted = [painting(prompt, SEED) for prompt in prompts_of(rounds)]
    assert np.array_equal(pictures(server, outputs["best"])[0], painting(best["after"], SEED))
    assert np.array_equal(pictures(server, outputs["images"]), painted)
    seen = [pictures(server, shown)[0] for shown in shown_on(outputs, "peek")]
    assert np.array_equal(seen, painted)
    assert text(outputs, "history").count("\n|") == len(rounds) + 1
    assert rounds[-1]["stopped"] in text(outputs, "history")


def test_nothing_outside_the_body_runs_again_and_a_second_queue_comes_from_the_cache(server):
    graph = loop_graph(seed=11, rounds=3)
    graph["outside"] = node("TestCounted", value=["critic", 0], name="outside")
    graph["inside"] = node("TestCounted", value=["paint", 0], name="inside")
    graph["end"]["inputs"] |= {"critic": ["outside", 0], "image": ["inside", 0]}
    first = server.run(graph)
    assert len(rounds_of(first)) == 3
    assert (times(server, "outside"), times(server, "inside")) == (1, 3)
    again = server.run(graph)
    assert (times(server, "outside"), times(server, "inside")) == (1, 3)
    assert rounds_of(again) == rounds_of(first)
    assert text(again, "history") == text(first, "history")
    graph["end"]["inputs"]["stop_at"] = 0.01
    early = server.run(graph)
    assert len(rounds_of(early)) == 1
    assert "0.01 is reached" in rounds_of(early)[-1]["stopped"]
    assert (times(server, "outside"), times(server, "inside")) == (1, 3)


def test_a_changed_stop_at_runs_no_round_again(server):
    # ComfyUI's default cache lets go of what came out of an expansion of an expansion: later rounds run again
    # with it, and with --cache-classic do not (test_loop_caches.py).
    graph = loop_graph(seed=12, rounds=2)
    graph["inside"] = node("TestCounted", value=["paint", 0], name="stop_at")
    graph["end"]["inputs"]["image"] = ["inside", 0]
    first = rounds_of(server.run(graph))
    graph["end"]["inputs"]["stop_at"] = 0.99
    assert prompts_of(rounds_of(server.run(graph))) == prompts_of(first)
    assert len(first) == 2 == times(server, "stop_at")


def test_one_round_is_a_critique(server):
    rounds = rounds_of(server.run(loop_graph(seed=13, rounds=1)))
    assert [one["stopped"] for one in rounds] == ["Stopped after the last round."]


def test_each_round_may_have_its_own_seed(server):
    outputs = server.run(loop_graph(seed=27, rounds=3, mode="next"))
    prompts = prompts_of(rounds_of(outputs))
    assert len(prompts) == 3
    painted = [noise(prompt, 27 + number) for number, prompt in enumerate(prompts)]
    assert equal(pictures(server, outputs["images"]), painted)


def test_the_best_candidate_of_a_batch_counts(server):
    graph = loop_graph(seed=15, rounds=2)
    graph |= {
        "other seed": node("TestCounted", value=["start", 3], name="seed", plus=100),
        "other": node("TestNoise", prompt=["start", 1], seed=["other seed", 0]),
        "batch": node("ImageBatch", image1=["paint", 0], image2=["other", 0]),
    }
    graph["end"]["inputs"]["image"] = ["batch", 0]
    outputs = server.run(graph)
    rounds = rounds_of(outputs)
    shown = pictures(server, outputs["images"])
    assert len(shown) == len(rounds) == 2
    for one, picture in zip(rounds, shown, strict=True):
        number = [f"number {n}" in one["notes"][0] for n in (1, 2)].index(True)
        assert equal(picture, noise(one["after"], 15 + 100 * number))


def test_images_of_different_sizes_become_one_batch(server):
    graph = loop_graph(seed=16, rounds=2, mode="next")
    graph["grown"] = node("TestGrown", image=["paint", 0], round=["start", 2])
    graph["end"]["inputs"]["image"] = ["grown", 0]
    outputs = server.run(graph)
    shown = pictures(server, outputs["images"])
    assert [picture.shape for picture in shown] == [(96, 96, 3)] * 2


def test_words_to_keep_stay_in_every_round(server):
    graph = loop_graph(prompt=f"{PROMPT}, golden hour", seed=17, rounds=3, keep="golden hour\nfilm grain")
    graph["start"]["inputs"]["seed_mode"] = "next"
    prompts = prompts_of(rounds_of(server.run(graph)))
    assert len(prompts) == 3
    assert all("golden hour" in prompt and "film grain" in prompt for prompt in prompts[1:])


def test_an_edit_is_judged_with_its_source(server):
    graph = loop_graph(prompt="replace the red circle with a green star", seed=18, rounds=2)
    graph["text"] = node("TestCounted", value="a red circle", name="text")
    graph["source"] = node("TestNoise", prompt=["text", 0], seed=1)
    graph["end"]["inputs"]["source_image"] = ["source", 0]
    outside = rounds_of(server.run(graph))
    assert "image_faithfulness" in [one["key"] for one in outside[0]["dimensions"]]
    # A source that is made in the body: every round has its own.
    graph["seeded"] = node("TestCounted", value=["source", 0], name="source", round=["start", 2])
    graph["end"]["inputs"]["source_image"] = ["seeded", 0]
    assert prompts_of(rounds_of(server.run(graph))) == prompts_of(outside)
    assert times(server, "source") == len(outside)


# ---------------------------------------------------------------- other nodes in the body


def test_images_are_saved_with_scores_inside_the_body_and_off_it(server):
    graph = loop_graph(seed=19, rounds=2, mode="next")
    graph |= {
        "judged": node("Critique", critic=["critic", 0], image=["paint", 0], prompt=PROMPT),
        "inside": node(
            "SaveWithScores", image=["paint", 0], critique=["judged", 0], filename_prefix="loop/inside"
        ),
        "off": node("SaveWithScores", image=["paint", 0], critique=["judged", 0], filename_prefix="loop/off"),
    }
    graph["end"]["inputs"]["image"] = ["inside", 0]
    outputs = server.run(graph)
    prompts = prompts_of(rounds_of(outputs))
    for name in ("inside", "off"):
        files = sorted((server.folder / "output" / "loop").glob(f"{name}_*.png"))
        assert len(files) == len(prompts) == 2
        for number, (file, prompt) in enumerate(zip(files, prompts, strict=True)):
            with Image.open(file) as saved:
                assert equal(saved.convert("RGB"), noise(prompt, 19 + number))
                judged = json.loads(saved.info["rational_rewards"])
            assert judged["score"] == pytest.approx(rounds_of(outputs)[number]["score"], abs=1e-4)


def test_two_loops_stand_in_one_graph(server):
    graph = loop_graph(seed=20, rounds=2)
    second = loop_graph(prompt=["end", 1], seed=21, rounds=2)
    for name in ("start", "paint", "end"):
        links = {
            key: [f"second {value[0]}", value[1]] if isinstance(value, list) and value[0] in second else value
            for key, value in second[name]["inputs"].items()
        }
        graph[f"second {name}"] = {**second[name], "inputs": links}
    graph["second start"]["inputs"]["prompt"] = ["end", 1]
    graph["second end"]["inputs"]["critic"] = ["critic", 0]
    outputs = server.run(graph)
    first, then = rounds_of(outputs), rounds_of(outputs, "second end")
    assert len(first) == 2
    assert prompts_of(then)[0] == text(outputs, "best prompt")


def test_a_loop_stands_in_a_loop(server):
    graph = loop_graph(seed=22, rounds=2, mode="next")
    graph |= {
        "inner": node("LoopStart", prompt=["start", 1], max_rounds=2, seed=["start", 3]),
        "paint": node("TestNoise", prompt=["inner", 1], seed=["start", 3]),
        "counted": node("TestCounted", value=["paint", 0], name="nested"),
        "peek": node("PreviewImage", images=["counted", 0]),
        "inner end": node(
            "LoopEnd", loop=["inner", 0], critic=["critic", 0], image=["counted", 0], stop_at=1.0
        ),
    }
    graph["end"]["inputs"]["image"] = ["inner end", 0]
    outputs = server.run(graph)
    outer = rounds_of(outputs)
    assert len(outer) == 2
    inner = [rounds_of(outputs, id) for id in outputs if id == "inner end" or id.endswith(".inner end")]
    # Every inner loop is shown twice: as it began, and as it ended.
    begun = {prompts_of(rounds)[0]: rounds for rounds in inner}
    assert list(begun) == prompts_of(outer)
    assert times(server, "nested") == sum(map(len, begun.values())) == len(shown_on(outputs, "peek"))


def test_a_body_that_blocks_ends_the_loop_and_not_the_workflow(server):
    graph = loop_graph(seed=23, rounds=3, mode="next")
    graph["blocked"] = node("TestBlocked", value=["paint", 0], round=["start", 2], first=1)
    graph["end"]["inputs"]["image"] = ["blocked", 0]
    graph["beside"] = node("PreviewImage", images=["paint", 0])
    outputs = server.run(graph)
    assert len(shown_on(outputs, "beside")) == 2
    assert "best" not in outputs
    assert len(rounds_of(outputs)) == 1


def test_every_node_passes_something_on(server):
    # ComfyUI's own loops want every output node of a body to reach their end.
    ours = {
        name: node for name, node in server.get("/object_info").items() if name.startswith("RationalRewards")
    }
    assert sum(node["output_node"] for node in ours.values()) >= 8
    assert [name for name, node in ours.items() if not node["output"]] == []


# ---------------------------------------------------------------- what is refused, in a sentence


def test_a_list_is_refused(server):
    graph = loop_graph(seed=24)
    graph["list"] = node("TestListed", value=["paint", 0])
    graph["end"]["inputs"]["image"] = ["list", 0]
    with pytest.raises(Failed, match="`image` of Refine Loop End gets a list of 2") as failed:
        server.run(graph)
    assert failed.value.node == "end"
    graph = loop_graph(seed=24)
    graph["list"] = node("TestListed", value=PROMPT)
    graph["start"]["inputs"]["prompt"] = ["list", 0]
    with pytest.raises(Failed, match="Refine Loop End gets a list of 2"):
        server.run(graph)


def test_an_image_that_no_round_can_change_is_refused(server):
    graph = loop_graph(seed=25)
    graph["text"] = node("TestCounted", value=PROMPT, name="fixed")
    graph["paint"]["inputs"] |= {"prompt": ["text", 0], "seed": 25}
    with pytest.raises(Failed, match="does not depend on Refine Loop Start"):
        server.run(graph)
    # Something else that depends on it does not help.
    graph["wire"] = node("TestCounted", value=["critic", 0], name="wire", round=["start", 2])
    graph["end"]["inputs"]["critic"] = ["wire", 0]
    with pytest.raises(Failed, match="does not depend on Refine Loop Start"):
        server.run(graph)


def test_a_loop_wire_that_comes_by_way_of_another_node_is_refused(server):
    graph = loop_graph(seed=26)
    graph["wire"] = node("TestCounted", value=["start", 0], name="loop")
    graph["end"]["inputs"]["loop"] = ["wire", 0]
    with pytest.raises(Failed, match="Connect `loop` of Refine Loop End directly"):
        server.run(graph)


# ---------------------------------------------------------------- cancel, finish, saved pictures


def slow_graph(name, seed):
    """A loop that waits in its second round."""
    graph = loop_graph(seed=seed, rounds=4, mode="next")
    graph["wait"] = node(
        "TestCounted", value=["paint", 0], name=name, round=["start", 2], hold_from=1, plus=0
    )
    graph["end"]["inputs"]["image"] = ["wait", 0]
    return graph


def test_after_a_cancel_in_the_second_round_a_run_is_clean(server):
    graph = slow_graph("cancelled", 27)
    with held(server):
        prompt = server.queue(graph)
        wait_for(server, "cancelled", 2)
        server.post("/interrupt", {})
        with pytest.raises(Failed) as failed:
            server.result(prompt)
    assert failed.value.kind == "execution_interrupted"
    outputs = server.run(graph)
    rounds = rounds_of(outputs)
    assert len(rounds) == 4
    assert [one["number"] for one in rounds] == [1, 2, 3, 4]
    assert "best" in outputs


def test_a_loop_that_is_asked_to_finish_keeps_its_best_and_the_workflow_goes_on(server):
    graph = slow_graph("finished", 27)
    with held(server) as hold:
        prompt = server.queue(graph)
        wait_for(server, "finished", 2)
        assert server.post(FINISH, {"prompt": prompt, "node": "end"}).status_code == 200
        hold.unlink()
        outputs = server.result(prompt)
    rounds = rounds_of(outputs)
    assert [one["stopped"] for one in rounds] == ["", "Stopped by hand after this round."]
    best = max(rounds, key=lambda one: one["score"])
    assert equal(pictures(server, outputs["best"])[0], noise(best["after"], 27 + best["number"] - 1))
    # Another run of the same workflow was not asked to.
    graph["end"]["inputs"]["stop_at"] = 0.99
    assert len(rounds_of(server.run(graph))) == 4


def test_a_request_to_finish_that_names_nothing_is_refused(server):
    for wrong in ({}, {"prompt": 1, "node": "end"}, [], None):
        assert server.post(FINISH, wrong).status_code == 400
    assert requests_post(server, b"no json") == 400


def requests_post(server, data):
    import requests

    return requests.post(f"{server.url}{FINISH}", data=data, timeout=60).status_code


def test_an_image_saved_behind_the_loop_holds_all_rounds(server):
    graph = loop_graph(seed=29, rounds=2, mode="next")
    graph["saved"] = node("SaveImage", images=["end", 0], filename_prefix="story")
    workflow = {"id": "w", "nodes": [{"id": name, "type": "x", "properties": {}} for name in graph]}
    queued = {"prompt": graph, "extra_data": {"extra_pnginfo": {"workflow": workflow}}}
    outputs = server.result(server.post("/prompt", queued).json()["prompt_id"])
    file = server.folder / "output" / outputs["saved"]["images"][0]["filename"]
    with Image.open(file) as saved:
        nodes = {one["id"]: one for one in json.loads(saved.info["workflow"])["nodes"]}
    pages = nodes["end"]["properties"]["rational_rewards"]["pages"]
    assert [page["after"] for page in pages] == prompts_of(rounds_of(outputs))
    assert len(pages) == 2
    assert all(page["thumbnail"].startswith("data:image/webp") for page in pages)
