"""What the panel on a node shows, as plain JSON. Nothing here asks ComfyUI for anything.

A page is what the panel shows at once: one image's judgement, one pair's comparison, one rewritten prompt, or
several of them merged. The browser decides by the keys that are there what to draw. Texts are cut to what can
be read on a node, because a page travels to the browser, into the history and into the saved workflow; the
node's own outputs always have all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..models.judgement import Comparison, Judgement
from ..models.question import LONGEST_PROMPT
from ..models.refine import RefinedPrompt

Page = dict[str, Any]

# The name under which the browser keeps pages in a node's properties.
PROPERTY = "rational_rewards"
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


def comparison_page(comparison: Comparison) -> Page:
    """One pair: `winner` "A", "B", "tie" or None, both `totals` 1..4, and both sides' scores in each
    dimension.
    """
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


def payload(pages: Sequence[Page], of: str, critic: str, workflow: str | None = None) -> list[Page]:
    """The pages as a node hands them to the browser under `ui["rational_rewards"]`.

    `of` says what a page stands for: "image", "pair" or "prompt". `critic` is who judged. `workflow` is the
    id of the workflow that was run: another one may be open when the result arrives.
    """
    stamp = {"of": of, "critic": _text(critic, LONGEST_NAME), "workflow": workflow}
    shown = [{**stamp, **page} for page in pages[:MOST_PAGES]]
    if len(pages) > MOST_PAGES:
        shown[-1]["notes"] = [*shown[-1].get("notes", []), LEFT_OUT.format(count=len(pages) - MOST_PAGES)]
    return shown


def embed(workflow: Any, node: str, pages: Sequence[Page]) -> None:
    """Put pages on a node in a workflow that images carry, as the browser keeps them, so that an image opens
    with its own.

    `node` is an execution id: "12", or "5:3" for node 3 inside the subgraph node 5, on which the pages show,
    too. A workflow that does not have the node, or is none, stays as it is.
    """
    path = node.split(":")
    for depth in range(len(path)):
        holder = _node_of(workflow, path[: depth + 1])
        if holder is None:
            return
        properties = holder.setdefault("properties", {})
        kept = properties.get(PROPERTY) or {}
        before = kept.get("pages") or []
        inner = depth == len(path) - 1
        properties[PROPERTY] = {**kept, "pages": list(pages) if inner else _merged(before, pages)}


def _merged(before: Sequence[Page], pages: Sequence[Page]) -> list[Page]:
    """What two nodes inside a subgraph say of the same images, one page an image."""
    longest = max(len(before), len(pages))
    merged: list[Page] = []
    for index in range(longest):
        page: Page = {}
        for part in (before, pages):
            if index < len(part):
                page |= {key: value for key, value in part[index].items() if value not in ("", [], None)}
        merged.append(page)
    return merged


def _node_of(workflow: Any, path: Sequence[str]) -> dict[str, Any] | None:
    """The node at a path of ids, the last one inside the subgraphs of those before."""
    try:
        graph = workflow
        node = None
        for step in path:
            if node is not None:
                graph = next(g for g in workflow["definitions"]["subgraphs"] if g["id"] == node["type"])
            node = next(candidate for candidate in graph["nodes"] if str(candidate["id"]) == step)
        return node
    except (KeyError, TypeError, StopIteration):
        return None


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
