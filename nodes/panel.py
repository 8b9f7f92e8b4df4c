"""What the panel on a node shows, as plain JSON. Nothing here asks ComfyUI for anything.

A page is what the panel shows at once: one image's judgement, one pair's comparison, one rewritten prompt,
or several of them merged. The browser decides by the keys that are there what to draw. Texts are cut to
what can be read on a node, because a page travels to the browser, into the history and into the saved
workflow; the node's own outputs always have all of it.

An image that ComfyUI saves holds the workflow as it was when it was queued, with the pages of an earlier run.
`clear_pages` removes those when a prompt is queued, and `embed_pages` adds each node's new pages as it runs.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from ..models.judgement import Comparison, Judgement
from ..models.loop import Rounds
from ..models.question import LONGEST_PROMPT
from ..models.refine import RefinedPrompt

Page = dict[str, Any]

# The property of a node in the workflow that holds its pages; web/keep.js reads and writes it too.
PROPERTY = "rational_rewards"
# Characters of one node's pages in a workflow, as in web/keep.js.
MOST_KEPT = 200_000
# Pixels of a round's thumbnail, the longer side.
THUMBNAIL = 128
# Characters.
LONGEST_TEXT, LONGEST_RAW, LONGEST_NAME = 4_000, 40_000, 100
MOST_DIMENSIONS, MOST_NOTES, MOST_PAGES = 32, 8, 100
LEFT_OUT = "{count} more are not shown here; the node's outputs have all of them."


def judgement_page(judgement: Judgement) -> Page:
    """One image: the overall `score` 0..1, its `mean` 1..4, a bar for each dimension, and the words."""
    dimensions = [
        {**_dimension(key, d), "score": _number(d.score, 1, 4) if d.applicable else None}
        for key, d in _first(judgement.dimensions)
    ]
    return {
        "score": _number(judgement.score, 0, 1),
        "mean": _number(judgement.mean, 1, 4),
        "confidence": _number(judgement.confidence, 0, 1),
        "dimensions": dimensions,
        **_words(judgement),
    }


def ranked_page(judgement: Judgement, image: int, kept: bool) -> Page:
    """One image of a ranking: its judgement, its number in the batch (from 1), and whether it passes."""
    return {**judgement_page(judgement), "image": image, "kept": kept}


def comparison_page(comparison: Comparison) -> Page:
    """One pair: `winner` "A", "B", "tie" or None, both `totals` 1..4, and both scores in each dimension."""
    dimensions = [
        {
            **_dimension(key, d),
            "a": _number(d.score_a, 1, 4) if d.applicable else None,
            "b": _number(d.score_b, 1, 4) if d.applicable else None,
        }
        for key, d in _first(comparison.dimensions)
    ]
    return {
        "winner": comparison.winner,
        "totals": [_number(total, 1, 4) for total in comparison.totals or (None, None)],
        "consistent": comparison.consistent,
        "dimensions": dimensions,
        **_words(comparison),
    }


def refinement_page(before: str, refined: RefinedPrompt) -> Page:
    """One prompt `before` and `after`. Prompts are not cut short: the panel's button copies them."""
    return {
        "before": _text(before, LONGEST_PROMPT),
        "after": _text(refined.prompt, LONGEST_PROMPT),
        "comments": _text(refined.comments),
    }


def round_pages(rounds: Rounds, why: str = "") -> list[Page]:
    """A loop's rounds: each one's judgement, its prompt `after` the one `before`, whether it is the `best` so
    far, `number` of `most`; on the last one, `stopped` says why the loop ended.
    """
    best, count = rounds.best, len(rounds.done)
    pages = []
    for number, one in enumerate(rounds.done):
        before = rounds.done[number - 1].prompt if number else one.prompt
        notes = [f"The best of {one.candidates} candidates: number {one.candidate + 1}."]
        pages.append(
            {
                **judgement_page(one.judgement),
                "before": _text(before, LONGEST_PROMPT),
                "after": _text(one.prompt, LONGEST_PROMPT),
                "comments": _text(one.comments),
                "best": number == best,
                "number": number + 1,
                "most": rounds.start.max_rounds,
                "stopped": why if number == count - 1 else "",
            }
        )
        if one.candidates > 1:
            pages[-1]["notes"] = [*notes, *pages[-1]["notes"]]
    return pages


def thumbnail(image: Image.Image) -> str:
    """A small copy of an image as a data URL: it outlives the files that ComfyUI keeps for one session."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def payload(pages: Sequence[Page], of: str, critic: str, workflow: str | None = None) -> list[Page]:
    """The pages as a node hands them to the browser under `ui["rational_rewards"]`.

    `of` says what a page stands for: "image", "pair", "prompt", "round" or "place". `critic` is who judged.
    `workflow` is the id of the workflow that was run: another one may be open when the result arrives.
    """
    stamp = {"of": of, "critic": _text(critic, LONGEST_NAME), "workflow": workflow}
    shown = [{**stamp, **page} for page in pages[:MOST_PAGES]]
    if len(pages) > MOST_PAGES:
        shown[-1]["notes"] = [*shown[-1].get("notes", []), LEFT_OUT.format(count=len(pages) - MOST_PAGES)]
    return shown


def ui(
    pages: Sequence[Page], texts: list[str], of: str, critic: str, workflow: str | None = None
) -> dict[str, Any]:
    """A node's `ui`: pages for the panel (see `payload`), and `texts` with the same content for other
    readers.
    """
    return {"rational_rewards": payload(pages, of, critic, workflow), "text": texts}


def clear_pages(workflow: Any) -> None:
    """Remove every node's pages from a workflow in ComfyUI's own form, in place; folded panels stay folded.

    A workflow may come from anybody: what does not look like one is left alone.
    """
    for node in _all_nodes(workflow):
        properties = node.get("properties")
        kept = properties.get(PROPERTY) if isinstance(properties, dict) else None
        if isinstance(kept, dict):
            kept.pop("pages", None)
            kept.pop("node", None)


def embed_pages(workflow: Any, node: str | None, pages: Sequence[Page]) -> None:
    """Add `pages` to the node with the execution id `node` ("12", or "5:3" inside subgraph 5) of a workflow,
    in place.

    The subgraph nodes around it get them too: there a rewritten prompt joins the judgement that it comes
    from. A node that runs once for each item of a list collects the pages of all its calls.
    """
    path = _path_to(workflow, str(node).split(":"))
    for around in path[:-1]:
        _keep(around, str(around.get("id")), joined(_kept_pages(around), pages))
    if path:
        inner = path[-1]
        earlier = _kept_pages(inner) if _kept(inner).get("node") == str(node) else []
        _keep(inner, str(node), [*earlier, *pages])


def replace_pages(workflow: Any, node: str, pages: Sequence[Page]) -> None:
    """As `embed_pages`, with these pages alone on the node itself."""
    path = _path_to(workflow, node.split(":"))
    if path:
        _keep(path[-1], node, pages)


def embed_rounds(workflow: Any, node: str, pages: Sequence[Page]) -> None:
    """As `embed_pages`, for a loop's rounds so far: they replace those of the round before, also on the
    subgraph nodes around.
    """
    for around in _path_to(workflow, node.split(":"))[:-1]:
        _keep(around, str(around.get("id")), pages)
    replace_pages(workflow, node, pages)


def has_rounds(workflow: Any, node: str) -> bool:
    """Whether a node of a workflow holds a loop's rounds."""
    path = _path_to(workflow, node.split(":"))
    pages = _kept_pages(path[-1]) if path else []
    return any(isinstance(page, dict) and page.get("of") == "round" for page in pages)


def joined(earlier: Sequence[Page], new: Sequence[Page]) -> list[Page]:
    """The pages of a subgraph: each rewritten prompt joins the first judgement without one, all else is
    added.
    """
    pages = list(earlier)
    for page in new:
        waiting = [number for number, one in enumerate(pages) if "after" not in one]
        if "after" in page and "score" not in page and waiting:
            judged = pages[waiting[0]]
            pages[waiting[0]] = {**judged, **page, "of": judged.get("of", page.get("of"))}
        else:
            pages.append(page)
    return pages


def _definitions(workflow: Any) -> dict[str, Any]:
    definitions = workflow.get("definitions") if isinstance(workflow, dict) else None
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    if not isinstance(subgraphs, list):
        return {}
    return {str(one.get("id")): one for one in subgraphs if isinstance(one, dict)}


def _nodes(graph: Any) -> list[dict[str, Any]]:
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    return [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []


def _all_nodes(workflow: Any) -> Iterator[dict[str, Any]]:
    for graph in (workflow, *_definitions(workflow).values()):
        yield from _nodes(graph)


def _path_to(workflow: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The nodes from the canvas down to the one that `ids` name; empty where one of them is not there."""
    definitions, graph, path = _definitions(workflow), workflow, []
    for id in ids:
        node = next((node for node in _nodes(graph) if str(node.get("id")) == id), None)
        if node is None:
            return []
        path.append(node)
        graph = definitions.get(str(node.get("type")))
    return path


def _kept(node: dict[str, Any]) -> dict[str, Any]:
    properties = node.get("properties")
    kept = properties.get(PROPERTY) if isinstance(properties, dict) else None
    return kept if isinstance(kept, dict) else {}


def _kept_pages(node: dict[str, Any]) -> list[Page]:
    pages = _kept(node).get("pages")
    return pages if isinstance(pages, list) else []


def _keep(node: dict[str, Any], id: str, pages: Sequence[Page]) -> None:
    if not isinstance(node.get("properties"), dict):
        node["properties"] = {}
    folded = _kept(node).get("folded") is True
    node["properties"][PROPERTY] = {"pages": _compact(pages), "folded": folded, "node": id}


def _compact(pages: Sequence[Page]) -> list[Page]:
    """As much as a workflow may hold: where it is too much, without the raw answers, then without thumbnails,
    then the first pages. See `compact` in web/keep.js.
    """
    kept = list(pages)
    for field in ("raw", "thumbnail"):
        if not _fits(kept):
            kept = [{**page, field: ""} if field in page else page for page in kept]
    while kept and not _fits(kept):
        kept = _fewer(kept)
    return kept


def _fits(pages: Sequence[Page]) -> bool:
    return len(json.dumps(pages)) <= MOST_KEPT


def _fewer(pages: list[Page]) -> list[Page]:
    """The first half of the pages; of a loop's rounds the best and the last go last."""
    others = [index for index, page in enumerate(pages) if not page.get("best") and not page.get("stopped")]
    if not others:
        return pages[: len(pages) // 2]
    leaving = set(others[len(others) // 2 :])
    return [page for index, page in enumerate(pages) if index not in leaving]


def _first(dimensions: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(dimensions.items())[:MOST_DIMENSIONS]


def _dimension(key: str, dimension: Any) -> Page:
    return {
        "key": _text(key, LONGEST_NAME),
        "name": _text(dimension.name, LONGEST_NAME),
        "applies": dimension.applicable,
        "why": _text(dimension.justification),
    }


def _words(one: Judgement | Comparison) -> Page:
    notes = [_text(note) for note in one.notes[:MOST_NOTES]]
    return {"summary": _text(one.summary), "notes": notes, "raw": _text(one.raw, LONGEST_RAW)}


def _text(text: str, most: int = LONGEST_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: float | None, low: float, high: float) -> float | None:
    """Within the scale, or None. NaN would be no JSON, and the browser would lose the whole message."""
    if value is None or not math.isfinite(value):
        return None
    return round(min(max(float(value), low), high), 4)
