"""The prompt that an image was made from, as its own metadata has it.

Read are, in this order: what Save with Scores writes, the parameters of A1111 and its relatives, ComfyUI's
graph (the `prompt` in PNG text; in WebP and JPEG the same in EXIF fields), and a text file of the image's
name beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from .errors import QuestionError

Graph = Mapping[str, Any]
# EXIF tags in which ComfyUI packs and A1111 write text: Make, Model, ImageDescription, UserComment.
EXIF_TEXTS = (0x010F, 0x0110, 0x010E)
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
# Inputs that lead from a sampler to the words of its positive prompt, the likeliest first.
TOWARDS_WORDS = ("positive", "conditioning", "conditioning_1", "cond1", "guider", "cond", "conditioning_to")
WORDS = ("text", "prompt", "text_g", "t5xxl", "clip_l", "string", "value", "wildcard_text", "populated_text")
# Links followed before a graph is given up: graphs in files may be made by anybody.
DEPTH = 64


def prompt_of(image: Path) -> str:
    """The positive prompt of an image file, or "" where its metadata does not say it unmistakably.

    Raises QuestionError where the file cannot be read.
    """
    texts = _texts(image)
    for read in (_own_prompt, _a1111_prompt, _graph_prompt):
        prompt = read(texts)
        if prompt:
            return prompt
    beside = image.with_suffix(".txt")
    if beside.is_file():
        return beside.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _texts(path: Path) -> dict[str, str]:
    """Every text in a file's metadata by its key."""
    try:
        with Image.open(path) as image:
            texts = {key: value for key, value in image.info.items() if isinstance(value, str)}
            exif = image.getexif()
            # PNG texts may stand behind the pixels.
            if path.suffix.lower() == ".png" and not texts:
                image.load()
                texts = {key: value for key, value in image.info.items() if isinstance(value, str)}
    except FileNotFoundError:
        raise QuestionError(f"There is no image {path}.") from None
    except Exception as error:
        raise QuestionError(
            f"The image {path} cannot be read ({error}): save it again as PNG or JPEG."
        ) from error
    for tag in EXIF_TEXTS:
        value = exif.get(tag)
        if isinstance(value, str):
            # ComfyUI's convention: "prompt:{...}" or "workflow:{...}".
            key, colon, rest = value.partition(":")
            if colon and key.strip().lower() in ("prompt", "workflow"):
                texts.setdefault(key.strip().lower(), rest.strip())
            else:
                texts.setdefault("parameters", value)
    comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    if isinstance(comment, bytes):
        texts.setdefault("parameters", _user_comment(comment))
    return texts


def _user_comment(raw: bytes) -> str:
    """The text of an EXIF UserComment, whose first eight bytes name its encoding."""
    code, body = raw[:8], raw[8:]
    if code.startswith(b"UNICODE"):
        # A1111 writes big-endian; others follow the file.
        encoding = "utf-16-le" if body[1:2] == b"\0" else "utf-16-be"
        return body.decode(encoding, "replace").strip("\0 ")
    if code.startswith((b"ASCII", b"\0\0\0\0")):
        return body.decode("utf-8", "replace").strip("\0 ")
    return raw.decode("utf-8", "replace").strip("\0 ")


def _own_prompt(texts: Mapping[str, str]) -> str:
    data = _object(texts.get("rational_rewards", ""))
    prompt = data.get("prompt")
    return prompt.strip() if isinstance(prompt, str) else ""


def _a1111_prompt(texts: Mapping[str, str]) -> str:
    """The text in front of "Negative prompt:" or of the line of settings."""
    parameters = texts.get("parameters", "")
    if not re.search(r"^(?:Negative prompt:|Steps: \d)", parameters, re.MULTILINE):
        return ""
    return re.split(r"^(?:Negative prompt:|Steps: \d)", parameters, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _graph_prompt(texts: Mapping[str, str]) -> str:
    """The words at the end of the positive links of all samplers in ComfyUI's graph, where all say the same."""
    graph = _object(texts.get("prompt", ""))
    nodes = {str(id): node for id, node in graph.items() if isinstance(node, dict)}
    prompts = {words for node in nodes.values() for words in _sampler_words(nodes, node)}
    return prompts.pop() if len(prompts) == 1 else ""


def _sampler_words(nodes: Graph, node: Mapping[str, Any]) -> Iterator[str]:
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        return
    # A sampler has a positive link; a guided one has a guider. Nodes between have one, too, and lead to the
    # same words.
    start = inputs.get("positive", inputs.get("guider"))
    if _is_link(start):
        words = _words(nodes, start, DEPTH)
        if words:
            yield words


def _words(nodes: Graph, link: Any, depth: int) -> str:
    """The text that a conditioning link comes from, or ""."""
    node = nodes.get(str(link[0]))
    inputs = node.get("inputs") if node else None
    if not isinstance(inputs, dict) or depth == 0:
        return ""
    for name in WORDS:
        value = inputs.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if _is_link(value):
            words = _words(nodes, value, depth - 1)
            if words:
                return words
    for name in TOWARDS_WORDS:
        if _is_link(inputs.get(name)):
            words = _words(nodes, inputs[name], depth - 1)
            if words:
                return words
    return ""


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int))


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
