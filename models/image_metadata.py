"""The prompt that an image was made from, as the program that made it wrote it into the file.

Read are, in this order: this pack's own metadata (Save with Scores), ComfyUI's prompt graph or its workflow,
and the parameters that AUTOMATIC1111 and related programs write; in PNG text chunks and in the EXIF data of
JPEG and WebP. Last comes a text file of the image's name beside it.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from .canvas_graph import graph_of
from .prompt_graph import Graph, positive_prompt

OWN = "rational_rewards"
GRAPH, WORKFLOW, PARAMETERS = "prompt", "workflow", "parameters"
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
# Bytes of a text file that are read: far above any prompt.
LONGEST_FILE = 1 << 20

Source = Literal["this pack", "ComfyUI", "parameters", "text file"]


@dataclass(frozen=True)
class FoundPrompt:
    """A prompt, and who wrote it down."""

    text: str
    source: Source


def prompt_of(image: str | Path) -> str | None:
    """The positive prompt that an image file says it was made from; None where it cannot be told or read."""
    found = find_prompt(image)
    return found.text if found else None


def find_prompt(image: str | Path) -> FoundPrompt | None:
    """As `prompt_of`, with where the prompt was found."""
    try:
        texts = _texts(image)
    except Exception:
        # Pillow raises anything for a damaged file; opening the image for the critic says what is wrong with
        # it.
        return None
    readers: dict[str, tuple[Callable[[str], str | None], Source]] = {
        OWN: (_own, "this pack"),
        GRAPH: (_from_graph, "ComfyUI"),
        WORKFLOW: (_from_workflow, "ComfyUI"),
        PARAMETERS: (_from_parameters, "parameters"),
    }
    for name, (reader, source) in readers.items():
        if name in texts:
            prompt = _plain(reader(texts[name]))
            if prompt:
                return FoundPrompt(prompt, source)
    beside = _beside(Path(image))
    return FoundPrompt(beside, "text file") if beside else None


def _beside(image: Path) -> str | None:
    """The text file of the image's name: a caption, as data sets for training have them, or parameters."""
    try:
        with image.with_suffix(".txt").open("rb") as file:
            data = file.read(LONGEST_FILE)
    except OSError:
        return None
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf_16 else "utf-8-sig", "replace")
    parameters = _from_parameters(text)
    return _plain(text if parameters is None else parameters) or None


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
        # Big-endian by the standard, but many writers use the other order; ASCII characters tell which it is.
        big_endian = content[0::2].count(0) >= content[1::2].count(0)
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
    data = _json(text)
    if data:
        # Programs of that family that write JSON.
        inner = data.get("sui_image_params")
        prompt = (inner if isinstance(inner, dict) else data).get("prompt")
        return prompt if isinstance(prompt, str) else None
    lines = text.rstrip("\0").strip().splitlines()
    written = []
    for line in lines:
        if line.startswith(("Negative prompt:", "Steps: ")):
            break
        written.append(line)
    # Without either mark it is some other program's comment.
    return "\n".join(written) if len(written) < len(lines) else None


def _from_graph(text: str) -> str | None:
    nodes = _json(text)
    graph: Graph = {
        str(key): node
        for key, node in nodes.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    return positive_prompt(graph)


def _from_workflow(text: str) -> str | None:
    return positive_prompt(graph_of(_json(text)))


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
