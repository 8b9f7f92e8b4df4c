"""The body of a loop in a running prompt, and its copy for the next round.

Everything that ComfyUI needs to run for a round is between Refine Loop Start and Refine Loop End; what hangs
off it (previews, saves) belongs to the round, too. Nodes outside are linked to, never copied. See
`comfy_execution.graph.DynamicPrompt` and `GraphBuilder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from comfy_execution.graph_utils import GraphBuilder, is_link


class RunningPrompt(Protocol):
    """What is used of ComfyUI's `DynamicPrompt`."""

    def get_node(self, node_id: str) -> dict[str, Any]:
        """A node: `class_type` and `inputs`."""
        ...

    def all_node_ids(self) -> set[str]:
        """The nodes of the prompt and of all expansions."""
        ...

    def get_display_node_id(self, node_id: str) -> str:
        """The node on the canvas."""
        ...


@dataclass(frozen=True)
class LoopBody:
    """`inside`: the nodes from which End gets what depends on Start, without both. `hanging`: output nodes
    that depend on Start and that End does not wait for, with the nodes on their way.
    """

    start: str
    end: str
    inside: frozenset[str]
    hanging: frozenset[str]

    @property
    def nodes(self) -> frozenset[str]:
        """All that runs again."""
        return self.inside | self.hanging | {self.start, self.end}


def find_body(prompt: RunningPrompt, start: str, end: str, is_output: Callable[[str], bool]) -> LoopBody:
    """The body between two nodes; `is_output` says of a class whether its nodes are outputs."""
    links = _Links(prompt)
    inside = {node for node in links.ancestors(end) if start in links.ancestors(node)}
    hanging: set[str] = set()
    for node in prompt.all_node_ids():
        if node in inside or node in (start, end) or not is_output(prompt.get_node(node)["class_type"]):
            continue
        above = links.ancestors(node)
        # What comes behind the loop waits for its result.
        if start in above and end not in above:
            hanging |= {node} | {one for one in above if start in links.ancestors(one)}
    return LoopBody(start, end, frozenset(inside - {start}), frozenset(hanging - inside - {start}))


def copy_body(
    prompt: RunningPrompt,
    body: LoopBody,
    start_inputs: Mapping[str, Any],
    end_inputs: Mapping[str, Any],
) -> tuple[GraphBuilder, Any]:
    """The body once more, and its End. `start_inputs` are all that the new Start has; `end_inputs` replace
    inputs of the new End. Every copy shows its results on the node that it is a copy of.
    """
    graph = GraphBuilder()
    copies = {}
    for id in sorted(body.nodes):
        name = "end" if id == body.end else prompt.get_display_node_id(id)
        copies[id] = graph.node(prompt.get_node(id)["class_type"], name)
        copies[id].set_override_display_id(prompt.get_display_node_id(id))
    for id, copy in copies.items():
        given = start_inputs if id == body.start else prompt.get_node(id)["inputs"]
        if id == body.end:
            given = {**given, **end_inputs}
        for name, value in given.items():
            if is_link(value) and value[0] in copies:
                value = copies[value[0]].out(value[1])
            copy.inputs[name] = value
    return graph, copies[body.end]


class _Links:
    """The links of a prompt, followed upwards."""

    def __init__(self, prompt: RunningPrompt):
        self.prompt = prompt
        self.known: dict[str, frozenset[str]] = {}

    def ancestors(self, node: str) -> frozenset[str]:
        """Every node that a node gets something from, however far up."""
        # Without recursion: a prompt may be deeper than Python's stack.
        waiting = [node]
        while waiting:
            current = waiting[-1]
            if current in self.known:
                waiting.pop()
                continue
            parents = [
                value[0] for value in self.prompt.get_node(current)["inputs"].values() if is_link(value)
            ]
            unknown = [parent for parent in parents if parent not in self.known]
            if unknown:
                waiting += unknown
                continue
            above = (frozenset({parent}) | self.known[parent] for parent in parents)
            self.known[current] = frozenset().union(*above)
        return self.known[node]
