"""What runs again in a loop, and its copy: found in any graph, however deep, wide or nested."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from comfyui_checkouts import HINT, checkouts

PACK = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
OUTPUTS = {"Preview", "End"}


def load(name, file):
    """One module by itself."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bodies():
    """nodes/loop_body.py with ComfyUI's own graph builder, and nothing else of ComfyUI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "comfy_execution.graph_utils", raising=False)
        utils = load("comfy_execution.graph_utils", checkouts()[0] / "comfy_execution" / "graph_utils.py")
        yield load("rational_rewards.nodes.loop_body", PACK / "nodes" / "loop_body.py")
        utils.GraphBuilder.set_default_prefix("", 0)
        for name in ("comfy_execution.graph_utils", "rational_rewards.nodes.loop_body"):
            sys.modules.pop(name, None)


class Prompt:
    """A running prompt as ComfyUI keeps it: the nodes that were queued, and those of expansions."""

    def __init__(self, **nodes):
        self.nodes = {id: {"class_type": kind, "inputs": inputs} for id, (kind, inputs) in nodes.items()}
        self.parents, self.shown = {}, {}
        self.reads = 0

    def get_node(self, node_id):
        self.reads += 1
        return self.nodes[node_id]

    def all_node_ids(self):
        return set(self.nodes)

    def get_display_node_id(self, node_id):
        while node_id in self.shown:
            node_id = self.shown[node_id]
        return node_id

    def get_parent_node_id(self, node_id):
        return self.parents.get(node_id)

    def expand(self, parent, graph):
        for id, node in graph.items():
            self.nodes[id] = node
            self.parents[id] = parent
            self.shown[id] = node["override_display_id"]


def is_output(kind):
    return kind in OUTPUTS


def again(bodies, prompt, body, number=0):
    """The next round, as End expands it; returns where it is."""
    bodies.GraphBuilder.set_default_prefix(body.end, 0)
    graph, following = bodies.copy_body(prompt, body, {"round": number}, {"keep": number})
    prompt.expand(body.end, graph.finalize())
    return following


SIMPLE = {
    "model": ("Model", {}),
    "start": ("Start", {}),
    "text": ("Text", {"text": ["start", 1], "model": ["model", 0]}),
    "paint": ("Paint", {"text": ["text", 0], "model": ["model", 0]}),
    "end": ("End", {"loop": ["start", 0], "image": ["paint", 0], "critic": ["model", 1]}),
    "scale": ("Scale", {"image": ["paint", 0]}),
    "peek": ("Preview", {"image": ["scale", 0]}),
    "unseen": ("Scale", {"image": ["paint", 0]}),
    "behind": ("Scale", {"image": ["end", 0], "like": ["paint", 0]}),
    "result": ("Preview", {"image": ["behind", 0]}),
}


def test_the_body_is_what_end_needs_of_start_and_what_hangs_off_it(bodies):
    body = bodies.find_body(Prompt(**SIMPLE), "start", "end", is_output)
    assert body.inside == {"text", "paint"}
    assert body.hanging == {"scale", "peek"}


def test_a_copy_is_linked_within_itself_and_to_the_nodes_outside(bodies):
    prompt = Prompt(**SIMPLE)
    following = again(bodies, prompt, bodies.find_body(prompt, "start", "end", is_output), 1)
    assert following == bodies.find_body(prompt, following.start, following.end, is_output)
    assert prompt.get_node(following.start)["inputs"] == {"round": 1}
    inputs = prompt.get_node(following.end)["inputs"]
    assert inputs["loop"] == [following.start, 0]
    assert inputs["critic"] == ["model", 1]
    assert inputs["keep"] == 1
    assert prompt.get_display_node_id(inputs["image"][0]) == "paint"
    assert prompt.get_node(inputs["image"][0])["inputs"]["model"] == ["model", 0]
    copied = {prompt.get_display_node_id(id) for id in prompt.parents}
    assert copied == {"start", "text", "paint", "end", "scale", "peek"}


def test_a_node_of_the_body_may_be_called_end(bodies):
    names = {"paint": "end", "end": "last"}

    def renamed(value):
        return [names.get(value[0], value[0]), value[1]] if isinstance(value, list) else value

    nodes = {
        names.get(id, id): (kind, {name: renamed(value) for name, value in inputs.items()})
        for id, (kind, inputs) in SIMPLE.items()
    }
    prompt = Prompt(**nodes)
    end = again(bodies, prompt, bodies.find_body(prompt, "start", "last", is_output)).end
    assert prompt.get_node(end)["class_type"] == "End"
    assert prompt.get_node(prompt.get_node(end)["inputs"]["image"][0])["class_type"] == "Paint"


def test_nodes_that_are_shown_on_one_stay_apart(bodies):
    prompt = Prompt(**SIMPLE)
    prompt.shown = dict.fromkeys(("start", "text", "paint", "end"), "group")
    before = len(prompt.nodes)
    end = again(bodies, prompt, bodies.find_body(prompt, "start", "end", is_output)).end
    assert len(prompt.nodes) == before + 6
    assert prompt.get_node(prompt.get_node(end)["inputs"]["image"][0])["class_type"] == "Paint"


def test_the_rounds_of_an_inner_loop_are_not_copied_into_the_outer_ones(bodies):
    prompt = Prompt(
        outer=("Start", {}),
        inner=("Start", {"prompt": ["outer", 1]}),
        paint=("Paint", {"text": ["inner", 1], "seed": ["outer", 3]}),
        peek=("Preview", {"image": ["paint", 0]}),
        inner_end=("End", {"loop": ["inner", 0], "image": ["paint", 0]}),
        outer_end=("End", {"loop": ["outer", 0], "image": ["inner_end", 0]}),
    )
    inner = bodies.find_body(prompt, "inner", "inner_end", is_output)
    again(bodies, prompt, again(bodies, prompt, inner))
    body = bodies.find_body(prompt, "outer", "outer_end", is_output)
    assert body.nodes == {"outer", "inner", "paint", "peek", "inner_end", "outer_end"}


@pytest.mark.parametrize(("shape", "rounds"), [("deep", 100), ("wide", 5), ("hanging", 5)])
def test_a_thousand_nodes_and_a_hundred_rounds_take_time_in_proportion(bodies, shape, rounds):
    count = 1000
    nodes = {"start": ("Start", {}), "n0": ("Paint", {"text": ["start", 1]})}
    for number in range(1, count):
        above = f"n{number - 1}" if shape == "deep" else "n0"
        kind = "Preview" if shape == "hanging" else "Paint"
        nodes[f"n{number}"] = (kind, {"image": [above, 0], "seed": ["start", 3]})
    images = [["n0", 0]] if shape == "hanging" else [[f"n{number}", 0] for number in range(count)]
    ends = {f"image{number}": link for number, link in enumerate(images)}
    prompt = Prompt(**nodes, end=("End", {"loop": ["start", 0], **ends}))
    body = bodies.find_body(prompt, "start", "end", is_output)
    assert len(body.nodes) == len(prompt.nodes)
    reads = [prompt.reads]
    for number in range(rounds):
        body = again(bodies, prompt, body, number)
        reads.append(prompt.reads - sum(reads))
    assert len(prompt.nodes) == (rounds + 1) * (count + 2)
    assert max(reads) <= 3 * (count + 2)
