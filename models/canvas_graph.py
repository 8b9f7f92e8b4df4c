"""A workflow as it is on the canvas, brought into the shape of the prompt graph: subgraphs are taken apart.

An inner node gets the id that ComfyUI gives it when it runs: "5:3" is node 3 inside subgraph node 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .prompt_graph import Graph

# The nodes that stand in a subgraph's definition for its inputs and its outputs.
INPUTS, OUTPUTS = "-10", "-20"
# A file may come from anybody: subgraphs that hold each other would never end.
MOST_SUBGRAPHS, LONGEST_ID = 5000, 200
Origin = tuple[str, int]


def graph_of(workflow: dict[str, Any]) -> Graph:
    """The workflow's nodes by the ids they run under. Whatever does not look like a node is left out."""
    definitions = workflow.get("definitions")
    subgraphs = _listed(definitions, "subgraphs") if isinstance(definitions, dict) else []
    flat = _Flat({str(one.get("id")): one for one in subgraphs})
    flat.add(workflow)
    return flat.graph


class _Flat:
    """The graph without subgraphs; `known` are their definitions by id."""

    def __init__(self, known: dict[str, Any]):
        self.known = known
        self.graph: Graph = {}
        self.left = MOST_SUBGRAPHS

    def add(
        self, level: dict[str, Any], prefix: str = "", given: dict[int, list[Any]] = {}
    ) -> dict[int, list[Any]]:
        """Add the nodes of one level; `given` are the wires into its inputs. Returns those out of its
        outputs.
        """
        origins, ends = _wires(level)
        # Where an output of a subgraph node on this level really comes from.
        inner: dict[Origin, list[Any]] = {}

        def wire(link: Any) -> list[Any] | None:
            origin = origins.get(link)
            if origin is None:
                return None
            if origin[0] == INPUTS:
                return given.get(origin[1])
            return inner.get(origin, [f"{prefix}{origin[0]}", origin[1]])

        nodes = _listed(level, "nodes")
        subgraphs = [node for node in nodes if str(node.get("type")) in self.known]
        # Again for each of them, because one subgraph may feed another, in any order.
        for _ in subgraphs:
            for node in subgraphs:
                inner |= self._taken_apart(node, prefix, wire)
        for node in nodes:
            if node not in subgraphs:
                wires = ((str(one.get("name")), wire(one.get("link"))) for one in _listed(node, "inputs"))
                inputs = _texts(node) | {name: found for name, found in wires if found}
                self.graph[f"{prefix}{node.get('id')}"] = {"class_type": node.get("type"), "inputs": inputs}
        return {place: found for place, link in ends.items() if (found := wire(link))}

    def _taken_apart(
        self, node: dict[str, Any], prefix: str, wire: Callable[[Any], list[Any] | None]
    ) -> dict[Origin, list[Any]]:
        """Add what is inside a subgraph node; where each of its outputs comes from."""
        if self.left <= 0 or len(prefix) > LONGEST_ID:
            return {}
        self.left -= 1
        key, sockets = str(node.get("id")), _listed(node, "inputs")
        given = {place: found for place, one in enumerate(sockets) if (found := wire(one.get("link")))}
        out = self.add(self.known[str(node["type"])], f"{prefix}{key}:", given)
        return {(key, place): found for place, found in out.items()}


def _wires(level: dict[str, Any]) -> tuple[dict[Any, Origin], dict[int, Any]]:
    """Where each wire comes from, by its id; and the wire into each output of a subgraph."""
    origins: dict[Any, Origin] = {}
    ends: dict[int, Any] = {}
    links = level.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict):
            # In definitions.
            names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            link = [link.get(name) for name in names]
        if not (isinstance(link, list) and len(link) >= 5 and isinstance(link[0], (int, str))):
            continue
        start, place = link[2], link[4]
        if isinstance(start, int):
            origins[link[0]] = (str(link[1]), start)
        if str(link[3]) == OUTPUTS and isinstance(place, int):
            ends[place] = link[0]
    return origins, ends


def _texts(node: dict[str, Any]) -> dict[str, Any]:
    """Widgets have no names here: the only text of a node is taken for its text, several cannot be told
    apart.
    """
    widgets = node.get("widgets_values")
    written = [value for value in widgets if isinstance(value, str)] if isinstance(widgets, list) else []
    return {"text": written[0]} if len(written) == 1 else {}


def _listed(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = data.get(key)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
