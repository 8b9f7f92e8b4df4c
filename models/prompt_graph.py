"""ComfyUI's prompt graph: the text that reached the sampler.

The walk starts at the nodes that save an image, goes back along the wires to the nearest sampler, and from
its positive conditioning to the text. It goes by the names of inputs, not of nodes, so that packs that nobody
has heard of are read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Graph = dict[str, dict[str, Any]]

# What leads from an image back to a model or to a judgement, not to the prompt it was made from.
ASIDE = {"model", "clip", "vae", "critic", "critique", "control_net", "negative", "mask"}
# Images that a text was written about.
PIXELS = {"image", "images", "pixels", "samples", "latent", "latent_image"}
# Where nodes keep text, in the order in which a node with several is read: an encoder with a field for each
# of its models gets whole sentences for the largest of them, and keywords for the others.
TEXTS = (
    *("text", "prompt", "value", "string", "positive", "positive_prompt", "populated_text", "wildcard_text"),
    *("t5xxl", "llama", "text_g", "clip_g", "text_l", "clip_l"),
)
CONDITIONINGS = ("positive", "conditioning", "conditioning_to", "conditioning_from")
# The second conditioning input of ComfyUI's combining nodes, and both of its dual guider.
CONDITIONINGS += ("conditioning_1", "conditioning_2", "cond1", "cond2")


def positive_prompt(graph: Graph) -> str | None:
    """The one prompt behind the graph's outputs; None where there is none, or more than one."""
    prompts: set[str] = set()
    for key in _outputs(graph):
        prompts |= _prompts_behind(graph, key, set())
    return prompts.pop() if len(prompts) == 1 else None


def _outputs(graph: Graph) -> list[str]:
    """The nodes that save or show an image; where none does, those that nothing follows."""
    saving = [key for key, node in graph.items() if "Save" in str(node.get("class_type"))]
    if saving:
        return saving
    used = {origin for node in graph.values() for _, origin in _links(graph, node)}
    return [key for key in graph if key not in used]


def _links(graph: Graph, node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(input, id of the node it comes from) of every wire into a node."""
    for name, value in node["inputs"].items():
        if isinstance(value, list) and len(value) == 2 and str(value[0]) in graph:
            yield name, str(value[0])


def _prompts_behind(graph: Graph, key: str, seen: set[str]) -> set[str]:
    """Walk from an image back to the nearest nodes that sample (or paint) and read their prompts."""
    if key in seen:
        return set()
    seen.add(key)
    node = graph[key]
    links = dict(_links(graph, node))
    for name in ("positive", "guider"):
        if name in links:
            return _encoded(graph, links[name], set())
    # Nodes that make an image from a prompt without a sampler: painters, and services behind an API; and
    # loaders that hand text and models to a sampler over one wire.
    for name in ("prompt", "positive"):
        if isinstance(node["inputs"].get(name), (str, list)) and "image" not in links:
            return _strings(graph, key, set())
    prompts: set[str] = set()
    for name, origin in links.items():
        if name not in ASIDE:
            prompts |= _prompts_behind(graph, origin, seen)
    return prompts


def _encoded(graph: Graph, key: str, seen: set[str]) -> set[str]:
    """The texts behind a conditioning."""
    if key in seen:
        return set()
    seen.add(key)
    links = dict(_links(graph, graph[key]))
    onward = [links[name] for name in CONDITIONINGS if name in links]
    if not onward:
        texts = _strings(graph, key, set())
        # A switch or a reroute: whatever its inputs are called.
        onward = [] if texts else [origin for name, origin in links.items() if name not in ASIDE]
        if not onward:
            return texts
    prompts: set[str] = set()
    for origin in onward:
        prompts |= _encoded(graph, origin, seen)
    return prompts


def _strings(graph: Graph, key: str, seen: set[str]) -> set[str]:
    """The text that a node holds or gets over a wire; several where it cannot be told which one is meant."""
    if key in seen:
        return set()
    seen.add(key)
    inputs, links = graph[key]["inputs"], dict(_links(graph, graph[key]))
    if "string_a" in inputs or "string_b" in inputs:
        return _joined(graph, key, seen)
    for name in TEXTS:
        value = inputs.get(name)
        texts = {value} if isinstance(value, str) and value.strip() else set()
        if name in links:
            texts = _strings(graph, links[name], seen)
        if texts:
            return texts
    # Text on its way through another node, such as a rewritten prompt that comes from the critique of the
    # first.
    texts = set()
    for name, origin in links.items():
        if name == "critique" or name not in ASIDE | PIXELS:
            texts |= _strings(graph, origin, seen)
    return texts


def _joined(graph: Graph, key: str, seen: set[str]) -> set[str]:
    """The text of a node that joins two."""
    inputs, links = graph[key]["inputs"], dict(_links(graph, graph[key]))
    parts = []
    for name in ("string_a", "string_b"):
        texts = _strings(graph, links[name], set(seen)) if name in links else {str(inputs.get(name) or "")}
        if len(texts) != 1:
            return texts
        parts += texts
    delimiter = inputs.get("delimiter")
    text = (delimiter if isinstance(delimiter, str) else "").join(parts)
    return {text} if text.strip() else set()
