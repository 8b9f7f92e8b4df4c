"""The body of a loop in a running prompt, and its copy for the next round.

Everything that ComfyUI needs to run for a round is between Refine Loop Start and Refine Loop End; what hangs
off it (previews, saves) belongs to the round, too. Nodes outside are linked to, never copied. See
`comfy_execution.graph.DynamicPrompt` and `GraphBuilder`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
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

    def get_parent_node_id(self, node_id: str) -> str | None:
        """The node that expanded into this one; None for a node of the prompt itself."""
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
    """The body between two nodes; `is_output` says of a class whether its nodes are outputs.

    Takes time in proportion to the prompt, and no recursion: a prompt may be deeper than Python's stack.
    """
    level = prompt.get_parent_node_id(start)
    # What a node inside expands into (another loop's rounds) is that node's own business.
    beside = [node for node in prompt.all_node_ids() if prompt.get_parent_node_id(node) == level]
    parents = {node: links_of(prompt.get_node(node)) for node in beside}
    children: dict[str, list[str]] = {}
    for node, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(node)
    below = _reach([start], children)
    inside = _reach([end], parents) & below
    # What comes behind the loop waits for its result.
    loose = below - inside - _reach([end], children)
    outputs = [node for node in loose if is_output(prompt.get_node(node)["class_type"])]
    hanging = _reach(outputs, parents) & loose
    return LoopBody(start, end, frozenset(inside - {start, end}), frozenset(hanging - {start}))


def links_of(node: Mapping[str, Any]) -> set[str]:
    """The nodes that a node gets something from."""
    return {value[0] for value in node["inputs"].values() if is_link(value)}


def copy_body(
    prompt: RunningPrompt,
    body: LoopBody,
    start_inputs: Mapping[str, Any],
    end_inputs: Mapping[str, Any],
) -> tuple[GraphBuilder, LoopBody]:
    """The body once more, and what it is in the graph. `start_inputs` are all that the new Start has;
    `end_inputs` replace inputs of the new End. Every copy shows its results on the node that it is a copy of.
    """
    graph = GraphBuilder()
    copies: dict[str, Any] = {}
    taken: set[str] = set()
    for id in sorted(body.nodes):
        shown = prompt.get_display_node_id(id)
        # Several nodes may be shown on one.
        own = next(name for name in _names(shown) if name not in taken)
        taken.add(own)
        copies[id] = graph.node(prompt.get_node(id)["class_type"], own)
        copies[id].set_override_display_id(shown)
    for id, copy in copies.items():
        given = start_inputs if id == body.start else prompt.get_node(id)["inputs"]
        if id == body.end:
            given = {**given, **end_inputs}
        for name, value in given.items():
            if is_link(value) and value[0] in copies:
                value = copies[value[0]].out(value[1])
            copy.inputs[name] = value
    inside, hanging = (frozenset(copies[id].id for id in part) for part in (body.inside, body.hanging))
    return graph, LoopBody(copies[body.start].id, copies[body.end].id, inside, hanging)


def _names(shown: str) -> Iterator[str]:
    yield shown
    yield from (f"{shown}-{number}" for number in itertools.count(2))


def _reach(nodes: Iterable[str], steps: Mapping[str, Iterable[str]]) -> set[str]:
    """These nodes, and all that can be reached from them."""
    reached, waiting = set(nodes), list(nodes)
    while waiting:
        for one in steps.get(waiting.pop(), ()):
            if one not in reached:
                reached.add(one)
                waiting.append(one)
    return reached
