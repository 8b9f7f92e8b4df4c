"""The prompt that an image was made from, as the program that made it wrote it into the file.

Read are, in this order: this pack's own metadata (Save with Scores), ComfyUI's prompt graph or its workflow,
and the parameters that AUTOMATIC1111 and related programs write; in PNG text chunks and in the EXIF data of
JPEG and WebP. Last comes a text file of the image's name beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

OWN = "rational_rewards"
GRAPH, WORKFLOW, PARAMETERS = "prompt", "workflow", "parameters"
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
# What leads from an image back to a model or to a judgement, not to the prompt it was made from.
ASIDE = {"model", "clip", "vae", "critic", "critique", "control_net", "negative", "mask"}
TEXTS = ("text", "prompt", "value", "string", "text_g", "text_l", "clip_l", "t5xxl")
CONDITIONINGS = ("positive", "conditioning", "conditioning_to", "conditioning_from")
# The second conditioning input of ComfyUI's combining nodes.
CONDITIONINGS += ("conditioning_1", "conditioning_2")

Graph = dict[str, dict[str, Any]]


def prompt_of(image: str | Path) -> str | None:
    """The positive prompt that an image file says it was made from; None where it cannot be told or read."""
    try:
        texts = _texts(image)
    except Exception:
        # Pillow raises anything for a damaged file; opening the image for the critic says what is wrong with
        # it.
        return None
    readers = {OWN: _own, GRAPH: _from_graph, WORKFLOW: _from_workflow, PARAMETERS: _from_parameters}
    for name, reader in readers.items():
        if name in texts:
            prompt = _plain(reader(texts[name]))
            if prompt:
                return prompt
    return _beside(Path(image))


def _beside(image: Path) -> str | None:
    """The text file of the image's name, as data sets for training have them."""
    try:
        return _plain(image.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")) or None
    except OSError:
        return None


def _texts(image: str | Path) -> dict[str, str]:
    """The texts in the file by their names."""
    with Image.open(image) as opened:
        texts = {name: text for name, text in opened.info.items() if isinstance(text, str)}
        exif = opened.getexif()
        values = [value for value in exif.values() if isinstance(value, str)]
        comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    for value in values:
        # ComfyUI writes "prompt:{...}" and "workflow:{...}" into whatever tags are free.
        name, colon, text = value.partition(":")
        if colon and name in (OWN, GRAPH, WORKFLOW):
            texts.setdefault(name, text.rstrip("\0"))
    if comment:
        texts.setdefault(PARAMETERS, _user_comment(comment))
    return texts


def _user_comment(comment: bytes | str) -> str:
    """EXIF's user comment; its first eight bytes name its encoding."""
    if isinstance(comment, str):
        return comment
    encoding, content = comment[:8].rstrip(b"\0"), comment[8:]
    if encoding == b"UNICODE":
        # Big-endian by the standard, but many writers use the other order; ASCII letters tell which it is.
        big_endian = content[0:1] == b"\0"
        return content.decode("utf-16-be" if big_endian else "utf-16-le", "replace")
    return (content if encoding in (b"ASCII", b"") else comment).decode("utf-8", "replace")


def _plain(prompt: str | None) -> str:
    return prompt.encode("utf-8", "replace").decode("utf-8").strip() if prompt else ""


def _own(text: str) -> str | None:
    data = _json(text)
    prompt = data.get("prompt")
    return prompt if isinstance(prompt, str) else None


def _from_parameters(text: str) -> str | None:
    """AUTOMATIC1111's text: the prompt, "Negative prompt: ..." and a last line of settings."""
    lines = text.rstrip("\0").strip().splitlines()
    prompt = []
    for line in lines:
        if line.startswith(("Negative prompt:", "Steps: ")):
            break
        prompt.append(line)
    # Without either mark it is some other program's comment.
    return "\n".join(prompt) if len(prompt) < len(lines) else None


def _from_graph(text: str) -> str | None:
    nodes = _json(text)
    graph = {
        str(key): node
        for key, node in nodes.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    return _positive(graph)


def _from_workflow(text: str) -> str | None:
    """The workflow as it is on the canvas, brought into the shape of the prompt graph."""
    data = _json(text)
    origins = {}
    for link in data.get("links") or []:
        if isinstance(link, list) and len(link) >= 3:
            origins[link[0]] = [str(link[1]), link[2]]
    graph: Graph = {}
    for node in data.get("nodes") or []:
        if isinstance(node, dict):
            graph[str(node.get("id"))] = {
                "class_type": node.get("type"),
                "inputs": _canvas_inputs(node, origins),
            }
    return _positive(graph)


def _canvas_inputs(node: dict[str, Any], origins: dict[Any, list[Any]]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for socket in node.get("inputs") or []:
        if isinstance(socket, dict) and socket.get("link") in origins:
            inputs[str(socket.get("name"))] = origins[socket["link"]]
    widgets = node.get("widgets_values")
    written = [value for value in widgets if isinstance(value, str)] if isinstance(widgets, list) else []
    # Widgets have no names here: the only text of a node is taken for its text, several cannot be told apart.
    if len(written) == 1:
        inputs.setdefault("text", written[0])
    return inputs


def _positive(graph: Graph) -> str | None:
    """The one prompt behind the graph's outputs; None where there is none, or more than one."""
    prompts = set()
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
    # Nodes that make an image from a prompt without a sampler: painters, and services behind an API.
    if isinstance(node["inputs"].get("prompt"), (str, list)) and "image" not in links:
        return _strings(graph, node, set())
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
    node = graph[key]
    links = dict(_links(graph, node))
    onward = [links[name] for name in CONDITIONINGS if name in links]
    if not onward:
        return _strings(graph, node, set())
    prompts: set[str] = set()
    for origin in onward:
        prompts |= _encoded(graph, origin, seen)
    return prompts


def _strings(graph: Graph, node: dict[str, Any], seen: set[str]) -> set[str]:
    """The texts that a node holds or gets over a wire."""
    inputs, links = node["inputs"], dict(_links(graph, node))
    texts: set[str] = set()
    for name in TEXTS:
        value = inputs.get(name)
        if isinstance(value, str) and value.strip():
            texts.add(value)
        elif name in links and links[name] not in seen:
            seen.add(links[name])
            texts |= _strings(graph, graph[links[name]], seen)
    return texts


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
